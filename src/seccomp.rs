//! Level 1. The system call filter: a program that the kernel runs before each system call of the
//! container, [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html). It lets through
//! what the list of docker and podman does
//! ([moby/profiles](https://github.com/moby/profiles/tree/main/seccomp)), and refuses two requests
//! of ioctl more. The compiler assembles it; a run only fills in the answers that depend on
//! capabilities. Pure.
//!
//! Hazards, and what is done about them:
//!
//! 1. **A number is another call in another ABI.** The architecture is compared first: that refuses
//!    i386 (`int 0x80`). x32 sets bit 30 of the number, which makes it newer than any.
//! 2. **The kernel reads 32 bits where the program sees 64.** Compared as a whole, the request
//!    `TIOCSTI | 1 << 32` is no TIOCSTI here, and is one there (CVE-2019-7303). So the low half of
//!    an argument decides.
//! 3. **An error is an answer.** ENOSYS sends a C library to the call that it used before; EPERM is
//!    final. So ENOSYS is for what is newer than the list, for numbers of no call, for foreign
//!    ABIs, and for clone3, whose flags lie in memory that no filter can read. EPERM is for the
//!    calls that are known and refused.
//! 4. **Every system call pays.** The numbers are searched as a tree. Since 5.11 the kernel
//!    remembers which of them are always let through, if the way there loads nothing but number and
//!    architecture: no argument, and no constant either (`seccomp_is_const_allow` in
//!    [kernel/seccomp.c](https://elixir.bootlin.com/linux/v5.11/source/kernel/seccomp.c)). That is
//!    why a run fills in answers, not capabilities to test.
//! 5. **Before 4.8 a tracer could change a call that had been let through** (seccomp(2), at
//!    `SECCOMP_RET_TRACE`). ptrace is let through here: such a kernel is the caller's business.

use core::mem::{offset_of, size_of};
use libc::{ENOSYS, EPERM, seccomp_data, sock_filter};
use syscalls::Sysno;

/// What seccomp(2) takes.
pub type Program = [sock_filter; LENGTH];

/// Writes the program for a container with these capabilities: bit N is the one with number N in
/// [linux/capability.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/capability.h).
pub fn write(program: &mut Program, capabilities: u64) {
    for (place, word) in program.iter_mut().zip(&SHORT) {
        *place = long(*word);
    }
    for (answer, [one, other]) in program[SEARCHED + GATES as usize..].iter_mut().zip(&KEYS) {
        if (capabilities >> one | capabilities >> other) & 1 == 1 {
            answer.k = libc::SECCOMP_RET_ALLOW;
        }
    }
}

/// The same, by itself.
pub fn program(capabilities: u64) -> Program {
    let mut program = [answer(0); LENGTH];
    write(&mut program, capabilities);
    program
}

// --- what is let through -------------------------------------------------------------------------

/// The calls of these names.
macro_rules! calls {
    ($($name:ident)*) => { &[$(Sysno::$name),*] };
}

/// Whatever the arguments. A call that is in no table is refused: pivot_root, swapon, kexec_load,
/// keyctl, userfaultfd, io_uring_setup and the like, and those that the kernel itself gave up.
const ALLOWED: [&[Sysno]; 10] =
    [FILES, NAMES, ATTRIBUTES, EVENTS, MEMORY, PROCESSES, IDS, TIME, MESSAGES, OF_THIS_MACHINE];

/// Open files: reading, writing, moving bytes between them.
const FILES: &[Sysno] = calls![
    openat openat2 close close_range dup dup3 fcntl flock lseek
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2
    copy_file_range sendfile splice tee vmsplice pipe2 readahead fadvise64 cachestat
    fallocate ftruncate fsync fdatasync sync_file_range syncfs sync
    io_setup io_submit io_cancel io_getevents io_pgetevents io_destroy
];

/// The file system by name, and what it says about files.
const NAMES: &[Sysno] = calls![
    getcwd chdir fchdir getdents64 readlinkat faccessat faccessat2 name_to_handle_at
    mkdirat mknodat linkat symlinkat unlinkat renameat renameat2 truncate umask
    fstat statx statfs fstatfs statmount listmount
];

/// Owners, modes, times, extended attributes.
const ATTRIBUTES: &[Sysno] = calls![
    fchown fchownat fchmod fchmodat fchmodat2 utimensat
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
    listxattr llistxattr flistxattr listxattrat
    removexattr lremovexattr fremovexattr removexattrat
];

/// Waiting for something to happen.
const EVENTS: &[Sysno] = calls![
    ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 signalfd4
    inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    timerfd_create timerfd_settime timerfd_gettime
    futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list
];

const MEMORY: &[Sysno] = calls![
    brk mmap mremap munmap mprotect madvise mincore msync remap_file_pages mseal
    mlock mlock2 mlockall munlock munlockall memfd_create memfd_secret map_shadow_stack
    pkey_alloc pkey_free pkey_mprotect membarrier process_mrelease
];

/// Processes, their signals, how they are scheduled, and how one confines itself.
const PROCESSES: &[Sysno] = calls![
    execve execveat exit exit_group wait4 waitid prctl seccomp
    set_tid_address rseq restart_syscall ptrace process_vm_readv process_vm_writev
    kill tkill tgkill pidfd_open pidfd_send_signal
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigreturn
    rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack
    sched_yield sched_setattr sched_getattr sched_setparam sched_getparam
    sched_setscheduler sched_getscheduler sched_setaffinity sched_getaffinity
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    getpriority setpriority ioprio_get ioprio_set getcpu
    landlock_create_ruleset landlock_add_rule landlock_restrict_self
];

/// Who a process is, and what it may use.
const IDS: &[Sysno] = calls![
    getpid getppid gettid getpgid setpgid getsid setsid
    getuid geteuid getresuid setuid setreuid setresuid setfsuid
    getgid getegid getresgid setgid setregid setresgid setfsgid getgroups setgroups
    capget capset getrlimit setrlimit prlimit64 getrusage times
];

/// Reading clocks and sleeping. adjtimex and clock_adjtime read too; the kernel asks for
/// CAP_SYS_TIME where they change anything.
const TIME: &[Sysno] = calls![
    gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep adjtimex clock_adjtime
    getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete
];

/// Sockets, System V IPC, message queues; and what the system says about itself.
const MESSAGES: &[Sysno] = calls![
    socketpair bind listen accept accept4 connect shutdown getsockname getpeername
    setsockopt getsockopt sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
    shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
    mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
    uname sysinfo getrandom
];

/// Calls that go by one or two capabilities, any of which is enough; and what a process without
/// gets. The kernel asks as well, but of the user namespace at hand, which may be the process's
/// own: what is closed here is code that it could reach there.
const GATED: [([u8; 2], i32, &[Sysno]); 15] = [
    ([SYS_ADMIN; 2], EPERM, ADMINISTRATION), // the first: see ADMINISTRATORS
    ([SYS_ADMIN; 2], ENOSYS, calls![clone3]),
    ([SYS_ADMIN, BPF], EPERM, calls![bpf]),
    ([SYS_ADMIN, PERFMON], EPERM, calls![perf_event_open]),
    ([SYS_ADMIN, SYSLOG], EPERM, calls![syslog]),
    ([DAC_READ_SEARCH; 2], EPERM, calls![open_by_handle_at]),
    ([SYS_BOOT; 2], EPERM, calls![reboot]),
    ([SYS_CHROOT; 2], EPERM, calls![chroot]),
    ([SYS_MODULE; 2], EPERM, calls![init_module finit_module delete_module]),
    ([SYS_NICE; 2], EPERM, calls![get_mempolicy set_mempolicy set_mempolicy_home_node mbind]),
    ([SYS_PACCT; 2], EPERM, calls![acct]),
    ([SYS_PTRACE; 2], EPERM, calls![kcmp pidfd_getfd process_madvise]),
    ([SYS_RAWIO; 2], EPERM, PORTS),
    ([SYS_TIME; 2], EPERM, calls![settimeofday clock_settime]),
    ([SYS_TTY_CONFIG; 2], EPERM, calls![vhangup]),
];

const ADMINISTRATION: &[Sysno] = calls![
    mount umount2 move_mount open_tree mount_setattr fsopen fsconfig fsmount fspick
    unshare setns sethostname setdomainname quotactl quotactl_fd fanotify_init
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules lookup_dcookie
];

const DAC_READ_SEARCH: u8 = 2;
const SYS_MODULE: u8 = 16;
const SYS_RAWIO: u8 = 17;
const SYS_CHROOT: u8 = 18;
const SYS_PTRACE: u8 = 19;
const SYS_PACCT: u8 = 20;
const SYS_ADMIN: u8 = 21;
const SYS_BOOT: u8 = 22;
const SYS_NICE: u8 = 23;
const SYS_TIME: u8 = 25;
const SYS_TTY_CONFIG: u8 = 26;
const SYSLOG: u8 = 34;
const PERFMON: u8 = 38;
const BPF: u8 = 39;

// --- for an architecture to join: these three, and a golden list for tests/seccomp.rs ------------

/// `AUDIT_ARCH_X86_64`: the ELF machine, 64 bits, little endian
/// ([linux/audit.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/audit.h)).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = libc::EM_X86_64 as u32 | 0x8000_0000 | 0x4000_0000;

/// Let through too: what later architectures do without, and what only this one has.
#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[Sysno] = calls![
    open creat access readlink stat lstat newfstatat getdents
    mkdir rmdir mknod link symlink unlink rename chown lchown chmod utime utimes futimesat
    dup2 pipe poll select epoll_create epoll_wait epoll_ctl_old epoll_wait_old
    eventfd signalfd inotify_init fork vfork getpgrp alarm pause time
    arch_prctl modify_ldt set_thread_area get_thread_area uretprobe
];

/// Input and output ports, for CAP_SYS_RAWIO.
#[cfg(target_arch = "x86_64")]
const PORTS: &[Sysno] = calls![ioperm iopl];

// --- where the search ends -----------------------------------------------------------------------
//
// The program is a search among the numbers, and behind it these ends. Each is called by its place
// among them.

const CLONE: u8 = 0;
const SOCKET: u8 = 2;
const IOCTL: u8 = 5;
const PERSONALITY: u8 = 8;
/// The first of the gates, which stand in the order of their table.
const GATES: u8 = 11;
const ALLOW: u8 = GATES + GATED.len() as u8;
const REFUSED: u8 = ALLOW + 1;
const UNKNOWN: u8 = ALLOW + 2;
const ENDS: usize = UNKNOWN as usize + 1;

const ADMINISTRATORS: u8 = GATES;

/// Calls that go by their arguments.
const CHECKED: [(u8, &[Sysno]); 4] = [
    (CLONE, calls![clone]),
    (SOCKET, calls![socket]),
    (IOCTL, calls![ioctl]),
    (PERSONALITY, calls![personality]),
];

/// The ends that look at arguments.
const CHECKS: [sock_filter; GATES as usize] = [
    // clone: new namespaces are for administrators.
    load_argument(0),
    jump(libc::BPF_JSET, NEW_NAMESPACES, ADMINISTRATORS, ALLOW),
    // socket: AF_VSOCK reaches the hypervisor, whatever the network namespace; AF_ALG is the
    // kernel's cryptography, large, and no container's need.
    load_argument(0),
    jump(libc::BPF_JEQ, libc::AF_VSOCK as u32, REFUSED, NEXT),
    jump(libc::BPF_JEQ, libc::AF_ALG as u32, REFUSED, ALLOW),
    // ioctl: both put words into the mouth of the terminal's user.
    load_argument(1),
    jump(libc::BPF_JEQ, libc::TIOCSTI as u32, REFUSED, NEXT),
    jump(libc::BPF_JEQ, libc::TIOCLINUX as u32, REFUSED, ALLOW),
    // personality: to ask for it, 32 bits, and 2.6 as the kernel's version. Others weaken what
    // protects memory (ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC).
    load_argument(0),
    jump(libc::BPF_JEQ, u32::MAX, ALLOW, NEXT),
    jump(libc::BPF_JSET, !(PER_LINUX32 | libc::UNAME26 as u32), REFUSED, ALLOW),
];

/// [personality(2)](https://man7.org/linux/man-pages/man2/personality.2.html)
const PER_LINUX32: u32 = 0x8;

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u32;

/// The capabilities of each gate: all of its table that the binary has.
static KEYS: [[u8; 2]; GATED.len()] = {
    let mut keys = [[0; 2]; GATED.len()];
    let mut gate = 0;
    while gate < GATED.len() {
        keys[gate] = GATED[gate].0;
        gate += 1;
    }
    keys
};

// --- instructions --------------------------------------------------------------------------------
//
// https://www.kernel.org/doc/html/latest/networking/filter.html

const _: () = assert!(size_of::<sock_filter>() == 8);

/// Where a jump goes that goes on.
const NEXT: u8 = u8::MAX;

const fn load(offset: usize) -> sock_filter {
    let code = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    sock_filter { code, jt: 0, jf: 0, k: offset as u32 }
}

/// Loads the low half of an argument.
const fn load_argument(index: usize) -> sock_filter {
    let low = if cfg!(target_endian = "big") { size_of::<u32>() } else { 0 };
    load(offset_of!(seccomp_data, args) + index * size_of::<u64>() + low)
}

/// Jumps to an end: `Assembler::push` makes distances of both.
const fn jump(condition: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    let code = (libc::BPF_JMP | condition | libc::BPF_K) as u16;
    sock_filter { code, jt: yes, jf: no, k }
}

const fn answer(k: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k }
}

const fn error(errno: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

// --- from tables to ends -------------------------------------------------------------------------

/// The end of each number. The last one is that of all newer numbers.
const END_OF: [u8; NEWEST + 2] = {
    let mut ends = [UNKNOWN; NEWEST + 2];
    let mut number = 0;
    while number <= NEWEST {
        if Sysno::new(number).is_some() {
            ends[number] = REFUSED;
        }
        number += 1;
    }
    let mut table = 0;
    while table < TABLES {
        let (end, calls) = table_of(table);
        let mut call = 0;
        while call < calls.len() {
            let number = calls[call] as usize;
            assert!(ends[number] == REFUSED, "a call is listed once");
            ends[number] = end;
            call += 1;
        }
        table += 1;
    }
    ends
};

/// The highest number in any table. runc draws this line at the same place: what came after the
/// list was written can't have been refused on purpose
/// ([runc](https://github.com/opencontainers/runc/blob/main/libcontainer/seccomp/patchbpf/enosys_linux.go)).
const NEWEST: usize = {
    let (mut newest, mut table) = (0, 0);
    while table < TABLES {
        let (_, calls) = table_of(table);
        let mut call = 0;
        while call < calls.len() {
            if calls[call] as usize > newest {
                newest = calls[call] as usize;
            }
            call += 1;
        }
        table += 1;
    }
    newest
};

const TABLES: usize = ALLOWED.len() + GATED.len() + CHECKED.len();

/// All tables as one: where a call goes, and which calls.
const fn table_of(index: usize) -> (u8, &'static [Sysno]) {
    if index < ALLOWED.len() {
        return (ALLOW, ALLOWED[index]);
    }
    let index = index - ALLOWED.len();
    if index < GATED.len() {
        return (GATES + index as u8, GATED[index].2);
    }
    CHECKED[index - GATED.len()]
}

// --- from ends to leaves -------------------------------------------------------------------------
//
// A leaf of the search is a span of numbers with one usual end, and a few exceptions that are
// compared one after another. A branch and an exception are an instruction each, so that the
// cheapest division into leaves has the fewest of both.

/// More exceptions make the program smaller, and longer to run.
const MAX_EXCEPTIONS: usize = 3;

/// The best leaf that starts at a number. `cost` counts all leaves from here on.
#[derive(Clone, Copy)]
struct Leaf {
    cost: usize,
    /// Where the next leaf starts.
    next: usize,
    usual: u8,
}

/// From the last number to the first, since the cost of a leaf includes what follows it.
const LEAVES: [Leaf; END_OF.len() + 1] = {
    let mut leaves = [Leaf { cost: usize::MAX, next: 0, usual: 0 }; END_OF.len() + 1];
    leaves[END_OF.len()].cost = 0;
    let mut start = END_OF.len();
    while start > 0 {
        start -= 1;
        let is_inside_a_run = start > 0 && END_OF[start] == END_OF[start - 1];
        // One of the first few is usual, or else all of them were exceptions.
        let mut chosen = start;
        while !is_inside_a_run && chosen <= start + MAX_EXCEPTIONS && chosen < END_OF.len() {
            leaves[start] = best_leaf(&leaves, start, END_OF[chosen]);
            chosen += 1;
        }
    }
    leaves
};

/// The better one of what is known and what can be had with this usual end.
const fn best_leaf(leaves: &[Leaf; END_OF.len() + 1], start: usize, usual: u8) -> Leaf {
    let mut best = leaves[start];
    let (mut next, mut exceptions) = (start, 0);
    while next < END_OF.len() {
        exceptions += (END_OF[next] != usual) as usize;
        next += 1;
        let is_endless = next == END_OF.len(); // many numbers can't be exceptions
        if exceptions > MAX_EXCEPTIONS || is_endless && usual != UNKNOWN {
            break;
        }
        let after = leaves[next].cost;
        if after != usize::MAX && 1 + exceptions + after < best.cost {
            best = Leaf { cost: 1 + exceptions + after, next, usual };
        }
    }
    best
}

// --- from leaves to the program ------------------------------------------------------------------

const PROLOGUE: [sock_filter; 3] = [
    load(offset_of!(seccomp_data, arch)),
    jump(libc::BPF_JEQ, ARCHITECTURE, NEXT, UNKNOWN),
    load(offset_of!(seccomp_data, nr)),
];

/// Where the search is over, and the ends begin. A tree has one branch less than leaves.
const SEARCHED: usize = PROLOGUE.len() + LEAVES[0].cost - 1;
const LENGTH: usize = SEARCHED + ENDS;

const PROGRAM: Program = {
    let mut assembler = Assembler { program: [answer(0); LENGTH], length: 0 };
    assembler.push_all(&PROLOGUE);
    assembler.push_search(0, END_OF.len());
    assert!(assembler.length == SEARCHED);
    assembler.push_all(&CHECKS);
    let mut gate = 0;
    while gate < GATED.len() {
        assembler.push(error(GATED[gate].1));
        gate += 1;
    }
    assembler.push_all(&[answer(libc::SECCOMP_RET_ALLOW), error(EPERM), error(ENOSYS)]);
    assert!(assembler.length == LENGTH);
    assembler.program
};

// --- in half of the space ----------------------------------------------------------------------
//
// An instruction in four bytes: both distances, the code as one of a few, and a number; or, where
// that is large, which of the large ones.

static CODES: [u8; 5] = [
    load(0).code as u8,
    jump(libc::BPF_JEQ, 0, 0, 0).code as u8,
    jump(libc::BPF_JGE, 0, 0, 0).code as u8,
    jump(libc::BPF_JSET, 0, 0, 0).code as u8,
    answer(0).code as u8,
];

/// As the first number that stands for a large one.
const LARGE: u32 = 0x800;
static NUMBERS: [u32; 12] = large_numbers();
static SHORT: [u32; LENGTH] = {
    let (mut all, mut at) = ([0; LENGTH], 0);
    while at < LENGTH {
        all[at] = short(PROGRAM[at]);
        at += 1;
    }
    all
};

fn long(word: u32) -> sock_filter {
    let number = word >> 20;
    let large = NUMBERS.get(number.wrapping_sub(LARGE) as usize);
    let code = CODES.get((word >> 16 & 7) as usize).copied().unwrap_or(0);
    let k = large.copied().unwrap_or(number);
    sock_filter { code: code.into(), jt: word as u8, jf: (word >> 8) as u8, k }
}

const fn short(instruction: sock_filter) -> u32 {
    let mut code = 0;
    while CODES[code] as u16 != instruction.code {
        code += 1;
    }
    let mut number = instruction.k;
    if number >= LARGE {
        number = LARGE;
        while large_numbers()[(number - LARGE) as usize] != instruction.k {
            number += 1;
        }
    }
    number << 20 | (code as u32) << 16 | (instruction.jf as u32) << 8 | instruction.jt as u32
}

/// Those of the program, each once.
const fn large_numbers() -> [u32; 12] {
    let (mut all, mut count, mut at) = ([0; 12], 0, 0);
    while at < LENGTH {
        let number = PROGRAM[at].k;
        let mut known = 0;
        while known < count && all[known] != number {
            known += 1;
        }
        if number >= LARGE && known == count {
            all[count] = number;
            count += 1;
        }
        at += 1;
    }
    all
}

struct Assembler {
    program: Program,
    length: usize,
}

impl Assembler {
    const fn push(&mut self, mut instruction: sock_filter) {
        if instruction.code as u32 & 7 == libc::BPF_JMP {
            instruction.jt = self.distance(instruction.jt);
            instruction.jf = self.distance(instruction.jf);
        }
        self.program[self.length] = instruction;
        self.length += 1;
    }

    const fn push_all(&mut self, instructions: &[sock_filter]) {
        let mut index = 0;
        while index < instructions.len() {
            self.push(instructions[index]);
            index += 1;
        }
    }

    /// How many instructions the next one has to skip.
    const fn distance(&self, end: u8) -> u8 {
        if end == NEXT { 0 } else { distance(self.length, SEARCHED + end as usize) }
    }

    /// The search among the leaves from `first` on, up to `last`. Both are numbers.
    const fn push_search(&mut self, first: usize, last: usize) {
        if LEAVES[first].next == last {
            return self.push_exceptions(first, last);
        }
        let middle = middle_leaf(first, last);
        let branch = self.length;
        let (below, above) = (only_end(first, middle), only_end(middle, last));
        self.push(jump(libc::BPF_JGE, middle as u32, above, below));
        if below == NEXT {
            self.push_search(first, middle);
        }
        if above == NEXT {
            self.program[branch].jt = distance(branch, self.length);
            self.push_search(middle, last);
        }
    }

    /// The leaf: its exceptions, the last of which leads to the usual end.
    const fn push_exceptions(&mut self, first: usize, last: usize) {
        let usual = LEAVES[first].usual;
        let (mut number, mut left) = (first, exceptions(first, last));
        while number < last {
            if END_OF[number] != usual {
                left -= 1;
                let no = if left == 0 { usual } else { NEXT };
                self.push(jump(libc::BPF_JEQ, number as u32, END_OF[number], no));
            }
            number += 1;
        }
    }
}

const fn distance(from: usize, to: usize) -> u8 {
    let skipped = to - from - 1;
    assert!(skipped <= u8::MAX as usize, "a jump has eight bits");
    skipped as u8
}

/// The end of a leaf without exceptions, which needs no instruction; else `NEXT`.
const fn only_end(first: usize, last: usize) -> u8 {
    let is_leaf = LEAVES[first].next == last;
    if is_leaf && exceptions(first, last) == 0 { LEAVES[first].usual } else { NEXT }
}

const fn exceptions(first: usize, last: usize) -> usize {
    let (mut number, mut count) = (first, 0);
    while number < last {
        count += (END_OF[number] != LEAVES[first].usual) as usize;
        number += 1;
    }
    count
}

/// Where the second half of the leaves begins.
const fn middle_leaf(first: usize, last: usize) -> usize {
    let (mut middle, mut end, mut steps) = (first, first, 0);
    while end != last {
        end = LEAVES[end].next;
        steps += 1;
        if steps % 2 == 0 {
            middle = LEAVES[middle].next;
        }
    }
    middle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_says_the_same() {
        let words = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
        for (short, instruction) in SHORT.iter().zip(&PROGRAM) {
            assert_eq!(words(&long(*short)), words(instruction));
        }
    }

    /// Where two programs differ.
    fn changed(one: &Program, other: &Program) -> Vec<usize> {
        let words = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
        (0..LENGTH).filter(|&index| words(&one[index]) != words(&other[index])).collect()
    }

    #[test]
    fn a_capability_changes_the_answers_of_its_gates_and_nothing_else() {
        for capability in 0..u64::BITS as u8 {
            let opens = |gate: &usize| KEYS[*gate].contains(&capability);
            let expected = (0..GATED.len()).filter(opens).map(|it| SEARCHED + GATES as usize + it);
            let with = program(1 << capability);
            assert_eq!(changed(&with, &program(0)), expected.collect::<Vec<_>>(), "{capability}");
            let answers = &with[SEARCHED + GATES as usize..SEARCHED + ALLOW as usize];
            assert!(answers.iter().all(|it| it.code == answer(0).code), "answers, all of them");
        }
    }

    #[test]
    fn a_search_over_few_leaves_is_a_tree() {
        let mut starts = vec![0];
        while starts[starts.len() - 1] != END_OF.len() {
            starts.push(LEAVES[starts[starts.len() - 1]].next);
        }
        for (first, last) in [(0, 2), (0, 3), (3, 8), (0, starts.len() - 1)] {
            let half = first + (last - first) / 2;
            assert_eq!(middle_leaf(starts[first], starts[last]), starts[half]);
        }
    }
}
