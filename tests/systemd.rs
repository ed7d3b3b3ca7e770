//! tinyctr as a service of systemd: a virtual machine boots Debian's systemd, with units of the
//! test's own and the one that the README shows.
//!
//! The machine boots once, for all of the claims here. Its root is a tmpfs, like any other file
//! system and unlike the initramfs that it is copied from.

mod common;

use std::path::Path;
use std::sync::OnceLock;

use common::vm::{self, Console, Initramfs};
use common::{copy, copy_image, have};

/// From the initramfs to the system.
const INIT: &str = "#!/bin/busybox sh
busybox mount -t tmpfs -o mode=755 root /new
busybox cp -a /system/. /new
exec busybox switch_root /new /lib/systemd/systemd
";

/// What a unit has without saying so; Debian's own would bring up much more.
const TARGETS: [&str; 3] = ["sysinit", "basic", "shutdown"];

/// Makes a place for tinyctr in the unit's own cgroup, beside which there is room for the
/// container's: what DelegateSubgroup= does since systemd 254.
const SUBGROUP: &str = "cd /sys/fs/cgroup$(sed s/0::// /proc/self/cgroup)
mkdir tinyctr
echo 0 > tinyctr/cgroup.procs
cd /
exec \"$@\"
";

/// What each service says is in a file, for there is no journal.
const OUTPUT: &str = "[Service]\nStandardOutput=append:/said/%N\n";

/// A command that says when it is up, what it is told, and `bye` when it is told to stop.
macro_rules! waiting {
    ($options:literal) => {
        concat!(
            "/usr/local/bin/tinyctr ",
            $options,
            " trusty sh -c 'trap \"echo bye; exit 0\" TERM; trap \"echo reload\" HUP; echo up; ",
            "sleep 1000 & while :; do wait; done'"
        )
    };
}

/// One that takes memory until somebody stops it.
macro_rules! hog {
    ($options:literal) => {
        concat!(
            "/usr/local/bin/tinyctr ",
            $options,
            " trusty sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$$x$$x; done'"
        )
    };
}

/// Services: the name, the settings, the command.
const SERVICES: &[(&str, &str, &str)] = &[
    ("claims", "Type=oneshot", "/bin/busybox sh /claims"),
    ("good", "Type=oneshot", "/usr/local/bin/tinyctr -q trusty true"),
    ("seven", "Type=oneshot", "/usr/local/bin/tinyctr -q trusty sh -c 'exit 7'"),
    ("plain", "Type=exec\nExecReload=/bin/busybox kill -HUP $MAINPID", waiting!("-q")),
    ("init", "Type=exec\nKillMode=mixed", waiting!("-q --init")),
    (
        "stubborn",
        "Type=exec\nKillMode=mixed\nTimeoutStopSec=1",
        "/usr/local/bin/tinyctr -q trusty sh -c 'trap \"\" TERM; echo up; sleep 1000; sleep 1000'",
    ),
    (
        "no-code",
        "Type=oneshot\nMemoryDenyWriteExecute=yes",
        "/usr/local/bin/tinyctr -q --timeout 60 trusty grep Seccomp_filters /proc/self/status",
    ),
    (
        "hardened",
        "Type=oneshot\nMemoryDenyWriteExecute=yes\nProtectSystem=strict\nProtectHome=yes\n\
         PrivateTmp=yes\nPrivateDevices=yes\nNoNewPrivileges=yes\nLockPersonality=yes\n\
         ProtectControlGroups=yes\nProtectClock=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes",
        "/usr/local/bin/tinyctr -q --timeout 60 trusty cat /proc/1/comm",
    ),
    (
        "user",
        "Type=oneshot\nUser=65534\nNoNewPrivileges=yes",
        "/usr/local/bin/tinyctr -q trusty sh -c 'id -u; ls /sys/fs/cgroup; echo $$$$'",
    ),
    ("restricted", "Type=oneshot\nRestrictNamespaces=yes", "/usr/local/bin/tinyctr -q trusty true"),
    ("units-limit", "Type=oneshot\nMemoryMax=32M", hog!("--verbose")),
    ("delegated", "Type=oneshot\nDelegate=yes", hog!("--verbose --memory 32M")),
    ("delegated-on", "Type=exec\nDelegate=yes", waiting!("-q --memory 32M --cpus 0.5 --pids 20")),
    (
        "delegated-shell",
        "Type=oneshot\nDelegate=yes",
        "/bin/busybox sh -c '\
         tinyctr -q --memory 32M trusty sleep 3 & usleep 1500000; \
         find /sys/fs/cgroup -name \"tinyctr*\"; wait'",
    ),
    (
        "within",
        "Type=exec\nDelegate=yes\nKillMode=mixed",
        concat!(
            "/bin/sh /subgroup ",
            waiting!("-q --pid-file /run/within.pid --memory 32M --cpus 0.5 --pids 20")
        ),
    ),
    ("neighbour", "Type=exec\nCPUWeight=50", "/bin/busybox sleep 1000"),
    ("refused", "Type=oneshot", "/usr/local/bin/tinyctr -q --cpus 0.5 trusty true"),
];

/// What is done with them. Each answer stands between lines that name it.
const CLAIMS: &str = r#"
exec > /dev/ttyS0 2>&1
export PATH=/usr/local/bin:/bin
for tool in cat dirname dmesg find grep mkdir poweroff ps rm sed seq sh usleep; do
    ln -s busybox /bin/$tool
done

say() { echo "<$1>"; shift; "$@"; echo "</>"; }
main_pid() { systemctl show --value -p MainPID "$1"; }
show() { systemctl show -p Result,ExecMainCode,ExecMainStatus,ActiveState "$1"; }
# Waits up to ten seconds for what is to come at once.
soon() { for _ in $(seq 200); do "$@" && return; usleep 50000; done; echo "in vain: $*"; }
hears() { grep -q "$1" "/said/$2"; }
# What there is of any container: its processes, its cgroups, its mounts.
left() {
    ps -o args | grep -E '^(/usr/local/bin/)?tinyctr|^sh -c|^sleep'
    find /sys/fs/cgroup -name 'tinyctr-*'
    grep trusty /proc/self/mountinfo
}
none_left() { test -z "$(left)"; }

once() { systemctl start "$1" 2> /dev/null; cat "/said/$1"; show "$1"; left; }
start() { rm -f "/said/$1"; systemctl start "$1"; soon hears up "$1"; }
stop() { systemctl stop "$1"; cat "/said/$1"; show "$1"; left; }
start_stop() { start "$1"; stop "$1"; }
kill_main() {
    start "$1"
    none_left && echo "nothing runs"
    systemctl kill --kill-whom=main -s KILL "$1"
    soon none_left
    show "$1"
}
reload() { start plain; systemctl reload plain; soon hears reload plain; stop plain; }
place() { find /sys/fs/cgroup -type d -name 'tinyctr-*'; }
limits() { for it in memory cpu pids; do cat "$(place)/$it.max"; done; }
delegated() {
    systemctl start neighbour
    start delegated-on
    systemctl stop neighbour
    place
    limits
    cat "$(dirname "$(place)")/tinyctr/cgroup.procs" | grep -c "^$(main_pid delegated-on)\$"
    stop delegated-on
    find /sys/fs/cgroup -name 'delegated-on.service'
}
within() {
    start within
    place
    limits
    grep -c -x "$(cat /run/within.pid)" "$(place)/cgroup.procs"
    stop within
    find /sys/fs/cgroup -name 'within.service'
}

for unit in refused good seven no-code hardened user restricted; do say $unit once $unit; done
for unit in units-limit delegated delegated-shell; do say $unit once $unit; done
for unit in plain init stubborn readme; do say stop-$unit start_stop $unit; done
for unit in plain init within; do say kill-$unit kill_main $unit; done
say reload reload
say delegated-on delegated
say within within
dmesg | grep systemd
poweroff -f
"#;

/// The unit that the README shows.
fn readme() -> &'static str {
    let (_, rest) = include_str!("../README.md").split_once("```ini\n").expect("it shows a unit");
    rest.split_once("```").expect("it has an end").0
}

fn boot(vm: &Path) -> Console {
    let machine = Initramfs::new(INIT, "bin");
    for directory in ["proc", "sys", "dev", "run", "tmp", "root", "said", "usr/local/bin"] {
        machine.make_directory(&format!("system/{directory}"));
    }
    for directory in ["new", "system/var/lib/machines", "system/etc/systemd/system/service.d"] {
        machine.make_directory(directory);
    }
    let system = machine.root().join("system");
    copy(&vm.join("systemd/."), &system);
    copy(&machine.root().join("bin/busybox"), &system.join("bin"));
    copy(&machine.root().join("bin/tinyctr"), &system.join("usr/local/bin"));
    copy_image(&system.join("var/lib/machines/trusty"));
    machine.write("system/claims", CLAIMS);
    machine.write("system/subgroup", SUBGROUP);
    let unit = |name: &str, text: &str| {
        machine.write(&format!("system/etc/systemd/system/{name}"), text);
    };
    for target in TARGETS {
        unit(&format!("{target}.target"), "[Unit]\nDefaultDependencies=no\n");
    }
    unit("service.d/output.conf", OUTPUT);
    for (name, settings, command) in SERVICES {
        let text = format!("[Service]\n{settings}\nExecStart={command}\n");
        unit(&format!("{name}.service"), &text);
    }
    unit("readme.service", readme());
    machine.boot(vm, "1024", "loglevel=1 systemd.show_status=0 systemd.unit=claims.service")
}

/// What the machine has said; `None` where there is none.
fn console() -> Option<&'static Console> {
    static CONSOLE: OnceLock<Console> = OnceLock::new();
    let vm = vm::directory().filter(|vm| vm.join("systemd").exists() && have("busybox"));
    vm.map(|vm| CONSOLE.get_or_init(|| boot(&vm)))
}

const NO_SYSTEMD: &str = "needs busybox, and TINYCTR_VM with a systemd, which tests/get-vm makes";

/// What the machine has said to `name`; where there is none, why not.
macro_rules! said {
    ($name:expr) => {
        match console() {
            Some(console) => console.said($name),
            None => return common::skip(NO_SYSTEMD),
        }
    };
}

/// What systemd shows of a service that has ended, with nothing left of its container.
fn ended(result: &str, code: u32, status: u32) -> String {
    let state = if result == "success" { "inactive" } else { "failed" };
    format!("Result={result}\nExecMainCode={code}\nExecMainStatus={status}\nActiveState={state}\n")
}

/// An exit status, as systemd calls what it has of wait(2): CLD_EXITED, and CLD_KILLED.
const EXITED: u32 = 1;
const KILLED: u32 = 2;

/// It forgets both where all was well.
fn success() -> String {
    ended("success", 0, 0)
}

#[test]
fn the_status_of_a_service_is_the_commands() {
    assert_eq!(said!("good"), success());
    assert_eq!(said!("seven"), ended("exit-code", EXITED, 7));
}

/// KillMode=control-group, the default: SIGTERM for all of them at once, and tinyctr's comes on
/// top. KillMode=mixed: for tinyctr alone.
#[test]
fn a_service_that_is_told_to_stop_does_and_nothing_is_left() {
    for name in ["stop-plain", "stop-init"] {
        assert_eq!(said!(name), format!("up\nbye\n{}", success()), "{name}");
    }
}

#[test]
fn the_unit_of_the_readme_starts_and_stops() {
    let said = said!("stop-readme");
    assert!(said.starts_with("up\n") && said.contains(" UTC "), "{said}");
    assert!(said.ends_with(&success()), "{said}");
}

#[test]
fn a_service_that_does_not_stop_in_time_is_killed_and_nothing_is_left() {
    assert_eq!(said!("stop-stubborn"), format!("up\n{}", ended("timeout", KILLED, 9)));
}

#[test]
fn where_the_main_process_is_killed_the_container_ends() {
    for name in ["kill-plain", "kill-init", "kill-within"] {
        assert_eq!(said!(name), ended("signal", KILLED, 9), "{name}");
    }
}

#[test]
fn a_reload_reaches_the_command() {
    assert_eq!(said!("reload"), format!("up\nreload\nbye\n{}", success()));
}

#[test]
fn where_memory_may_not_become_code_it_behaves() {
    let said = said!("no-code");
    let filters = said.lines().next().and_then(|line| line.strip_prefix("Seccomp_filters:\t"));
    let filters: u32 = filters.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(filters > 1, "systemd's, and the container's: {filters}");
    assert!(said.ends_with(&success()), "{said}");
}

#[test]
fn in_a_unit_that_is_sealed_itself_it_behaves() {
    assert_eq!(said!("hardened"), format!("cat\n{}", success()));
}

/// The host's control groups are v2, and so are the container's: one file system.
#[test]
fn a_service_of_an_ordinary_user_has_a_container() {
    let said = said!("user");
    assert!(said.starts_with("0\n") && said.contains("\ncgroup.procs\n"), "{said}");
    assert!(said.ends_with(&format!("\n1\n{}", success())), "{said}");
}

#[test]
fn where_namespaces_are_forbidden_there_is_no_container() {
    let said = said!("restricted");
    assert!(said.starts_with("tinyctr: clone: EPERM (Operation not permitted)\n"), "{said}");
    assert!(said.ends_with(&ended("exit-code", EXITED, 125)), "{said}");
}

// --- limits --------------------------------------------------------------------------------------

#[test]
fn the_limits_of_the_unit_hold_for_the_container() {
    // tinyctr is told to stop by systemd, or sees before that how its container has ended.
    let said = said!("units-limit");
    assert!(said.contains("\ncontainer exited: signal "), "{said}");
    assert!(said.contains("\nResult=oom-kill\n"), "{said}");
    assert!(said.ends_with("\nActiveState=failed\n"), "nothing is left: {said}");
}

#[test]
fn a_limit_that_systemd_has_no_controller_for_is_refused() {
    let said = said!("refused");
    assert!(said.starts_with("tinyctr: set limits: ../cgroup.subtree_control: ENOENT"), "{said}");
    assert!(said.contains("Delegate=yes"), "{said}");
    assert!(said.ends_with(&ended("exit-code", EXITED, 125)), "{said}");
}

#[test]
fn where_the_unit_is_delegated_the_limits_hold() {
    let said = said!("delegated");
    assert!(said.contains("\ncontainer killed: out of memory (limit 32M)\n"), "{said}");
    assert!(said.ends_with(&ended("exit-code", EXITED, 137)), "{said}");
    // Also when a unit has stopped for which systemd had the same controller.
    let limits = "33554432\n50000 100000\n20\n";
    // It is within the unit's, and tinyctr is beside it; both go with the unit.
    let place = "/sys/fs/cgroup/system.slice/delegated-on.service/tinyctr-0\n";
    let is_beside = "1\n";
    let expected = format!("{place}{limits}{is_beside}up\nbye\n{}", success());
    assert_eq!(said!("delegated-on"), expected);
}

#[test]
fn who_is_not_alone_in_a_delegated_unit_moves_nobody() {
    // What finds it is in the unit's cgroup itself. So the container's is beside that.
    let place = "/sys/fs/cgroup/system.slice/tinyctr-0\n";
    assert_eq!(said!("delegated-shell"), format!("{place}{}", success()));
}

#[test]
fn beside_a_subgroup_the_containers_cgroup_is_within_the_units() {
    let place = "/sys/fs/cgroup/system.slice/within.service/tinyctr-0\n";
    let limits = "33554432\n50000 100000\n20\n";
    let is_member = "1\n";
    let expected = format!("{place}{limits}{is_member}up\nbye\n{}", success());
    assert_eq!(said!("within"), expected);
}
