//! The list: what is tried inside, what must happen, and how its protection is lifted.
//!
//! Words in braces are facts of the host: `{mark}`, a file that only the host has; `{pid}`, a
//! process of the host; `{disk}`, the numbers of a disk; `{devices}`, the file system of `/dev`;
//! `{socket}`, an abstract socket; `{uts}` and the like, the host's namespaces.

use super::{Check, NONE, holds};

/// Each entry becomes a row of `CHECKS` and a test of the same name.
macro_rules! checks {
    ($($name:ident { $($field:ident: $value:expr,)* })*) => {
        pub const CHECKS: &[Check] =
            &[$(Check { name: stringify!($name), $($field: $value,)* ..NONE },)*];
        $(#[test] fn $name() { holds(stringify!($name)); })*
    };
}

checks! {
    // --- namespaces and processes ---
    the_host_name_is_not_the_hosts {
        tried: "the UTS namespace is compared with the host's",
        must: "another one",
        probe: "namespace {uts}",
        lifted: "--bare --ns pid,mnt,ipc,cgroup",
    }
    the_process_ids_are_not_the_hosts {
        tried: "the PID namespace is compared with the host's",
        must: "another one",
        probe: "namespace {pid-namespace}",
        lifted: "--bare --ns uts,mnt,ipc,cgroup",
    }
    the_mounts_are_not_the_hosts {
        tried: "the mount namespace is compared with the host's",
        must: "another one",
        probe: "namespace {mnt}",
        lifted: "--bare --ns uts /",
    }
    ipc_is_not_the_hosts {
        tried: "the IPC namespace is compared with the host's",
        must: "another one",
        probe: "namespace {ipc}",
        lifted: "--bare --ns uts,pid,mnt,cgroup",
    }
    the_cgroup_root_is_not_the_hosts {
        tried: "the cgroup namespace is compared with the host's",
        must: "another one",
        probe: "namespace {cgroup}",
        lifted: "--bare --ns uts,pid,mnt,ipc",
    }
    only_own_processes_are_in_proc {
        tried: "the numbers in `/proc` are counted",
        must: "no more than the command, and an init",
        probe: "processes",
        lifted: "--bare --ns uts,mnt",
    }
    no_process_of_the_host_can_be_signalled {
        tried: "`kill(PID, 0)`, of a process of the host",
        must: "ESRCH",
        probe: "send-signal {pid}",
        lifted: "--bare --ns uts,mnt",
    }
    no_process_of_the_host_can_be_traced {
        tried: "`ptrace(PTRACE_SEIZE)`, of a process of the host",
        must: "ESRCH or EPERM",
        probe: "trace-process {pid}",
        lifted: "--bare --ns uts,mnt",
    }
    no_memory_of_the_host_can_be_read {
        tried: "`process_vm_readv`, of a process of the host",
        must: "ESRCH or EPERM",
        probe: "read-memory {pid}",
        lifted: "--bare --ns uts,mnt",
    }
    with_a_network_of_its_own_no_socket_of_the_host_answers {
        tried: "connecting to an abstract socket of the host, with `--net=none`",
        must: "ECONNREFUSED (by default the network is the host's)",
        probe: "abstract-socket {socket}",
        options: "--net=none",
        lifted: "",
        needs_root: true,
    }

    // --- the root and the mounts ---
    a_second_chroot_ends_in_the_image {
        tried: "chroot below the working directory, climb with `..`",
        must: "the climb ends in the image",
        probe: "escape-by-chroot {mark}",
        lifted: "--bare --ns none",
    }
    a_kept_descriptor_of_the_root_ends_in_the_image {
        tried: "open `/`, chroot, fchdir back, climb",
        must: "the climb ends in the image",
        probe: "escape-by-descriptor {mark}",
        lifted: "--bare --ns none",
    }
    a_directory_that_moves_out_of_a_chroot_ends_in_the_image {
        tried: "the working directory is renamed out of its root, climb",
        must: "the climb ends in the image",
        probe: "escape-by-rename {mark}",
        lifted: "--bare --ns none",
    }
    entering_its_own_mount_namespace_ends_in_the_image {
        tried: "`setns` to the own mount namespace, which resets the root",
        must: "EPERM, or the image",
        probe: "escape-by-setns {mark}",
        lifted: "--bare --ns none",
    }
    no_link_in_proc_leads_to_the_host {
        tried: "`/proc/1/root`, `cwd`, `fd/N`, and `..` above them",
        must: "no file of the host",
        probe: "links {mark} {pid}",
        lifted: "--bare --ns uts,mnt",
    }
    pid_1_runs_no_program_of_the_hosts {
        tried: "a second process opens `/proc/1/exe` (CVE-2019-5736)",
        must: "refused, or a file of the image",
        probe: "first-program {pid}",
        lifted: "--bare --ns uts,mnt",
    }
    the_mount_table_names_no_host_path {
        tried: "each mount point in `/proc/self/mountinfo`",
        must: "`/`, and below `/proc`, `/dev`, `/sys`",
        probe: "mounts",
        lifted: "--bare --trace=/dev/null --skip leave",
    }
    no_mount_has_a_peer_on_the_host {
        tried: "the same, on a host whose `/` is shared",
        must: "no `shared:`, no `master:`",
        probe: "mounts",
        lifted: "--bare --trace=/dev/null --skip leave",
        before: r#"set -- unshare --mount --propagation shared "$@""#,
        needs_root: true,
    }
    no_file_is_opened_by_handle {
        tried: "`open_by_handle_at`, of `/`",
        must: "EPERM",
        probe: "by-handle",
        lifted: "--privileged",
    }
    nothing_can_be_mounted {
        tried: "`mount` of a tmpfs",
        must: "EPERM",
        probe: "mount tmpfs",
        lifted: "--privileged",
    }
    proc_can_not_be_mounted_again {
        tried: "`mount` of a second `/proc`, which would have no masks",
        must: "EPERM",
        probe: "mount proc",
        lifted: "--privileged",
    }
    the_new_mount_calls_are_refused {
        tried: "`open_tree(OPEN_TREE_CLONE)`, `fsopen`",
        must: "EPERM",
        probe: "new-mount-calls",
        lifted: "--privileged",
    }
    cgroup_v1_can_not_be_mounted {
        tried: "`mount` of a v1 hierarchy, for its `release_agent`",
        must: "EPERM",
        probe: "cgroup-v1",
        lifted: "--privileged",
    }
    a_mask_can_not_be_unmounted {
        tried: "`umount2` of `/proc/timer_list`",
        must: "EPERM",
        probe: "unmount /proc/timer_list",
        lifted: "--cap-add sys_admin --seccomp=none",
    }
    a_read_only_mount_can_not_be_remounted {
        tried: "`mount(MS_REMOUNT)` of `/proc/sys`, to write",
        must: "EPERM",
        probe: "remount /proc/sys",
        lifted: "--cap-add sys_admin --seccomp=none",
    }

    // --- what is inherited ---
    no_descriptor_above_2_is_open {
        tried: "descriptors 3 to 1023, of a caller who has 3, 9 and 200 open",
        must: "none is open",
        probe: "descriptors",
        lifted: "--bare",
        before: "exec 3< / 9< /tmp 200< /dev/null",
    }
    the_session_keyring_is_new {
        tried: "a key is searched that is in the caller's session keyring",
        must: "ENOKEY",
        probe: "keyring",
        options: "--seccomp=none",
        lifted: "--bare",
        before: r#"set -- "$PROBE" with-key "$@""#,
    }
    no_core_is_dumped {
        tried: "RLIMIT_CORE, of a caller who has none",
        must: "at most 1 byte",
        probe: "core-size",
        lifted: "--bare",
        before: r#"[ "$(ulimit -Hc)" = unlimited ] ||
            { echo "n/a: the caller has a limit"; exit 2; }"#,
    }
    the_file_mask_is_the_usual_one {
        tried: "the umask, of a caller whose is 0",
        must: "022",
        probe: "file-mask",
        lifted: "--bare",
        before: "umask 0",
    }
    the_command_is_not_spared_when_memory_is_short {
        tried: "`oom_score_adj`, of a caller whose is -500",
        must: "0 or more",
        probe: "out-of-memory",
        lifted: "--bare",
        before: r#"echo -500 2> /dev/null > /proc/self/oom_score_adj ||
            { echo "n/a: the caller can't lower his own"; exit 2; }"#,
    }

    // --- privileges ---
    no_capability_but_the_usual_fourteen_is_permitted {
        tried: "CapPrm in `/proc/self/status`",
        must: "at most the fourteen (exactly: `capabilities_are_added_and_dropped_by_name`)",
        probe: "capabilities CapPrm 00000000a80425fb",
        lifted: "--privileged",
    }
    no_capability_but_the_usual_fourteen_is_effective {
        tried: "CapEff",
        must: "at most the fourteen",
        probe: "capabilities CapEff 00000000a80425fb",
        lifted: "--privileged",
    }
    no_capability_but_the_usual_fourteen_can_be_had {
        tried: "CapBnd",
        must: "at most the fourteen",
        probe: "capabilities CapBnd 00000000a80425fb",
        lifted: "--privileged",
    }
    no_capability_is_inheritable {
        tried: "CapInh, of a caller who has some",
        must: "none",
        probe: "capabilities CapInh 0000000000000000",
        lifted: "--bare",
        before: r#"set -- setpriv --inh-caps=+chown --ambient-caps=+chown "$@""#,
        needs_root: true,
    }
    no_capability_is_ambient {
        tried: "CapAmb, of a caller who has some",
        must: "none",
        probe: "capabilities CapAmb 0000000000000000",
        lifted: "--bare",
        before: r#"set -- setpriv --inh-caps=+chown --ambient-caps=+chown "$@""#,
        needs_root: true,
    }
    no_new_privileges_can_be_had {
        tried: "`PR_GET_NO_NEW_PRIVS`",
        must: "1",
        probe: "no-new-privs",
        lifted: "--new-privs",
    }
    a_set_user_id_program_gains_nothing {
        tried: "nobody executes a program that is set-user-ID root",
        must: "still nobody, without capabilities",
        probe: "set-user-id",
        lifted: "--new-privs",
    }
    a_program_with_capabilities_gains_nothing {
        tried: "nobody executes a program that has CAP_CHOWN on file",
        must: "still without capabilities",
        probe: "file-capabilities",
        lifted: "--new-privs",
    }
    a_filter_is_in_force {
        tried: "`PR_GET_SECCOMP`",
        must: "2, a filter",
        probe: "filter",
        lifted: "--seccomp=none",
    }

    // --- system calls ---
    clone3_is_unknown {
        tried: "`clone3(CLONE_NEWUSER)`, whose flags no filter sees",
        must: "ENOSYS",
        probe: "clone3",
        lifted: "--seccomp=none",
    }
    no_user_namespace_by_clone {
        tried: "`clone(CLONE_NEWUSER)`",
        must: "EPERM",
        probe: "clone-user 0",
        lifted: "--seccomp=none",
    }
    no_user_namespace_by_clone_with_high_bits {
        tried: "the same, with high bits set, which the kernel drops",
        must: "EPERM",
        probe: "clone-user deadbeef",
        lifted: "--seccomp=none",
    }
    no_user_namespace_by_unshare {
        tried: "`unshare(CLONE_NEWUSER)`",
        must: "EPERM",
        probe: "unshare-user",
        lifted: "--seccomp=none",
    }
    no_other_namespace_by_unshare {
        tried: "`unshare(CLONE_NEWUTS)`",
        must: "EPERM",
        probe: "unshare-uts",
        lifted: "--privileged",
    }
    no_namespace_can_be_entered {
        tried: "`setns`",
        must: "EPERM",
        probe: "enter-namespace",
        lifted: "--privileged",
    }
    calls_of_i386_are_refused {
        tried: "`int $0x80`, getpid",
        must: "ENOSYS, EPERM or SIGSYS",
        probe: "i386",
        lifted: "--seccomp=none",
    }
    calls_of_x32_are_refused {
        tried: "getpid with bit 30 set",
        must: "ENOSYS, EPERM or SIGSYS",
        probe: "x32",
        lifted: "--seccomp=none",
    }
    no_character_is_pushed_into_a_terminal {
        tried: "`ioctl(TIOCSTI)`",
        must: "EPERM",
        probe: "terminal 5412",
        lifted: "--seccomp=none",
    }
    no_character_is_pushed_into_a_terminal_by_high_bits {
        tried: "the same, with high bits set (CVE-2019-10063)",
        must: "EPERM",
        probe: "terminal dead000000005412",
        lifted: "--seccomp=none",
    }
    no_selection_is_pasted_into_a_terminal {
        tried: "`ioctl(TIOCLINUX)`",
        must: "EPERM",
        probe: "terminal 541c",
        lifted: "--seccomp=none",
    }
    no_selection_is_pasted_into_a_terminal_by_high_bits {
        tried: "the same, with high bits set (CVE-2023-28100)",
        must: "EPERM",
        probe: "terminal 10000541c",
        lifted: "--seccomp=none",
    }
    no_socket_of_af_alg {
        tried: "`socket(AF_ALG)`",
        must: "EPERM",
        probe: "socket 38 5",
        lifted: "--seccomp=none",
    }
    no_socket_of_af_vsock {
        tried: "`socket(AF_VSOCK)`",
        must: "EPERM",
        probe: "socket 40 1",
        lifted: "--seccomp=none",
    }
    no_io_uring {
        tried: "`io_uring_setup`",
        must: "EPERM",
        probe: "io_uring",
        lifted: "--seccomp=none",
    }
    no_bpf {
        tried: "`bpf(BPF_MAP_CREATE)`",
        must: "EPERM",
        probe: "bpf",
        lifted: "--privileged",
    }
    no_perf_events {
        tried: "`perf_event_open`, of the caller itself",
        must: "EPERM",
        probe: "perf",
        lifted: "--seccomp=none",
    }
    no_userfaultfd {
        tried: "`userfaultfd(UFFD_USER_MODE_ONLY)`",
        must: "EPERM",
        probe: "user-faults",
        lifted: "--seccomp=none",
    }
    no_keyring_is_named {
        tried: "`keyctl(KEYCTL_GET_KEYRING_ID)`",
        must: "EPERM",
        probe: "keys",
        lifted: "--seccomp=none",
    }
    no_key_is_added {
        tried: "`add_key`",
        must: "EPERM",
        probe: "new-key",
        lifted: "--seccomp=none",
    }

    // --- the machine ---
    no_module_is_loaded {
        tried: "`init_module`",
        must: "EPERM",
        probe: "load-module",
        lifted: "--privileged",
    }
    no_module_is_loaded_from_a_file {
        tried: "`finit_module`",
        must: "EPERM",
        probe: "load-module-file",
        lifted: "--privileged",
    }
    no_module_is_unloaded {
        tried: "`delete_module`",
        must: "EPERM",
        probe: "unload-module",
        lifted: "--privileged",
    }
    no_other_kernel_is_started {
        tried: "`kexec_load`",
        must: "EPERM",
        probe: "load-kernel",
        lifted: "--privileged",
    }
    the_machine_is_not_restarted {
        tried: "`reboot`",
        must: "EPERM",
        probe: "restart",
        lifted: "--privileged",
    }
    the_clock_is_not_set {
        tried: "`adjtimex`",
        must: "EPERM",
        probe: "clock",
        lifted: "--privileged",
    }
    the_kernel_log_is_not_read {
        tried: "`syslog(SYSLOG_ACTION_READ_ALL)`",
        must: "EPERM",
        probe: "kernel-log",
        lifted: "--privileged",
    }
    no_port_is_reached {
        tried: "`iopl(3)`",
        must: "EPERM",
        probe: "ports",
        lifted: "--privileged",
    }
    accounting_is_not_changed {
        tried: "`acct`",
        must: "EPERM",
        probe: "accounting",
        lifted: "--privileged",
    }
    swap_is_not_changed {
        tried: "`swapon`",
        must: "EPERM",
        probe: "swap",
        lifted: "--privileged",
    }
    no_process_is_made_more_urgent {
        tried: "`setpriority(-1)`",
        must: "EACCES",
        probe: "priority",
        lifted: "--privileged",
    }
    the_network_is_not_administered {
        tried: "`setsockopt(SO_RCVBUFFORCE)`",
        must: "EPERM",
        probe: "network",
        lifted: "--privileged",
    }

    // --- devices, /proc, /sys ---
    no_disk_is_opened_by_a_new_node {
        tried: "`mknod` of a disk of the host in every directory, and open",
        must: "it can't be opened",
        probe: "make-device {disk}",
        lifted: "--bare",
    }
    the_devices_are_exactly_the_usual_ones {
        tried: "the entries of `/dev`, and the numbers of its nodes",
        must: "null zero full random urandom tty ptmx pts shm mqueue fd stdin stdout stderr",
        probe: "device-list",
        lifted: "--bare",
    }
    no_device_node_of_the_host_is_changed {
        tried: "`chmod` of `/dev/null` and the like, and of masks",
        must: "it is another node than the host's, or refused",
        probe: "host-nodes {devices}",
        lifted: "--bare --ns none /",
    }
    no_device_node_of_the_host_is_changed_in_a_user_namespace {
        tried: "the same, with `--ns ...,user`, by root",
        must: "it is another node than the host's, or refused",
        probe: "host-nodes {devices}",
        options: "--ns uts,pid,mnt,ipc,cgroup,user",
        lifted: "--bare --ns none /",
        needs_root: true,
    }
    no_terminal_of_the_host_is_seen {
        tried: "the entries of `/dev/pts`",
        must: "its own devpts, empty",
        probe: "terminals",
        lifted: "--bare --ns none /",
    }
    core_pattern_is_not_written {
        tried: "opening `/proc/sys/kernel/core_pattern` to write",
        must: "EROFS",
        probe: "open-to-write /proc/sys/kernel/core_pattern",
        lifted: "--privileged",
    }
    the_path_of_modprobe_is_not_written {
        tried: "opening `/proc/sys/kernel/modprobe` to write",
        must: "EROFS",
        probe: "open-to-write /proc/sys/kernel/modprobe",
        lifted: "--privileged",
    }
    sysrq_is_not_triggered {
        tried: "opening `/proc/sysrq-trigger` to write",
        must: "EROFS",
        probe: "open-to-write /proc/sysrq-trigger",
        lifted: "--privileged",
    }
    nothing_in_proc_sys_is_written {
        tried: "each file below `/proc/sys`",
        must: "none can be written",
        probe: "writable /proc/sys",
        lifted: "--privileged",
    }
    nothing_in_proc_irq_is_written {
        tried: "each file below `/proc/irq`",
        must: "none can be written",
        probe: "writable /proc/irq",
        lifted: "--privileged",
    }
    nothing_in_proc_bus_is_written {
        tried: "each file below `/proc/bus`",
        must: "none can be written",
        probe: "writable /proc/bus",
        lifted: "--privileged",
    }
    nothing_in_proc_fs_is_written {
        tried: "each file below `/proc/fs`",
        must: "none can be written",
        probe: "writable /proc/fs",
        lifted: "--privileged",
    }
    nothing_in_sys_is_written {
        tried: "each file below `/sys`, cgroups included",
        must: "none can be written",
        probe: "writable /sys",
        lifted: "--privileged",
    }
    kcore_is_masked {
        tried: "`/proc/kcore`",
        must: "empty",
        probe: "masked /proc/kcore",
        lifted: "--privileged",
    }
    keys_are_masked {
        tried: "`/proc/keys`",
        must: "empty",
        probe: "masked /proc/keys",
        lifted: "--privileged",
    }
    latency_stats_are_masked {
        tried: "`/proc/latency_stats`",
        must: "empty",
        probe: "masked /proc/latency_stats",
        lifted: "--privileged",
    }
    timers_are_masked {
        tried: "`/proc/timer_list`",
        must: "empty",
        probe: "masked /proc/timer_list",
        lifted: "--privileged",
    }
    timer_stats_are_masked {
        tried: "`/proc/timer_stats`",
        must: "empty",
        probe: "masked /proc/timer_stats",
        lifted: "--privileged",
    }
    the_scheduler_is_masked {
        tried: "`/proc/sched_debug`",
        must: "empty",
        probe: "masked /proc/sched_debug",
        lifted: "--privileged",
    }
    interrupts_are_masked {
        tried: "`/proc/interrupts`",
        must: "empty",
        probe: "masked /proc/interrupts",
        lifted: "--privileged",
    }
    acpi_is_masked {
        tried: "`/proc/acpi`",
        must: "empty",
        probe: "masked /proc/acpi",
        lifted: "--privileged",
    }
    sound_is_masked {
        tried: "`/proc/asound`",
        must: "empty",
        probe: "masked /proc/asound",
        lifted: "--privileged",
    }
    scsi_is_masked {
        tried: "`/proc/scsi`",
        must: "empty",
        probe: "masked /proc/scsi",
        lifted: "--privileged",
    }
    firmware_is_masked {
        tried: "`/sys/firmware`",
        must: "empty",
        probe: "masked /sys/firmware",
        lifted: "--privileged",
    }
    the_power_meter_is_masked {
        tried: "`/sys/devices/virtual/powercap` (CVE-2020-8694)",
        must: "empty",
        probe: "masked /sys/devices/virtual/powercap",
        lifted: "--privileged",
    }
}
