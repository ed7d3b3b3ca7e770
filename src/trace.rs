//! Level 3. A system call as a line of text, in the notation of
//! [strace(1)](https://man7.org/linux/man-pages/man1/strace.1.html). Pure: nothing is called here.

use core::mem::size_of;
use syscalls::{Errno, Sysno};

use crate::buf::{Buffer, Line, copied};
use crate::caps;
use crate::errno::push_errno;
use crate::flags::{self, Ended, Table};
use crate::packed::{self, Texts};

/// One argument: a path of PATH_MAX, each byte of it as `\377`.
pub type Word = Line<{ 4 * libc::PATH_MAX as usize + 8 }>;

/// One call: no call has more than two paths, and JSON may double every byte of them.
pub type Text = Line<{ 2 * 2 * size_of::<Word>() + 1024 }>;

/// What happens to a call in a rehearsal (`--dry-run`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It only looks, or concerns nobody but us: it is made.
    Open,
    /// It changes something: it is told and not made.
    Shut,
}

/// How a system call looks, whoever makes it. All numbers: a constant that nothing is done to.
#[derive(Debug)]
pub struct Signature {
    pub number: Sysno,
    pub door: Door,
    /// `Kind::Nothing` after the last.
    kinds: [Kind; 6],
    /// NUL after its end.
    name: [u8; 14],
}

impl Signature {
    pub const fn new(number: Sysno, name: &str, door: Door, kinds: &[Kind]) -> Signature {
        let mut all = [Kind::Nothing; 6];
        all.split_at_mut(kinds.len()).0.copy_from_slice(kinds);
        let mut padded = [0; 14];
        padded.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
        Signature { number, door, kinds: all, name: padded }
    }

    pub fn name(&self) -> &[u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or(&self.name)
    }
}

/// A call that is about to be made, or was.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub signature: &'static Signature,
    pub registers: [usize; 6],
    /// Reads the memory that the registers point to: an address and a length.
    pub memory: fn(usize, usize) -> &'a [u8],
}

/// What an argument is: how a register is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Nothing,
    /// A path or another NUL-terminated string that the kernel reads, or NULL.
    Str,
    /// A string of which strace(1) shows no more than of bytes, or NULL.
    Data,
    /// Memory that the kernel reads; its length is the next argument.
    Bytes,
    /// An `argv`, with its final NULL.
    Argv,
    /// An `envp`, with its final NULL.
    Envp,
    Address,
    /// The stack of `clone`, which strace(1) shows by name, like its flags.
    ChildStack,
    /// A file descriptor, `AT_FDCWD` included.
    Fd,
    Ms,
    Mnt,
    Prot,
    Map,
    O,
    Lock,
    Sock,
    /// Namespaces alone, without a signal.
    Namespaces,
    /// As `clone` has them: flags, and the signal in the lowest byte.
    CloneFlags,
    /// As `open` has them: an access mode, and flags.
    OpenFlags,
    /// A constant that is not a flag word: one of `NAMED`, or a number.
    Named,
    Signal,
    Signed,
    Unsigned,
    Hex,
    Octal,
    /// Octal, with three digits at least.
    Umask,
    /// As `mknod` has it: a file type and permissions.
    Mode,
    /// The major and minor number of a device, a byte each.
    Device,
    Capability,
    /// A `struct sigaction` of zeros.
    DefaultAction,
    /// A `struct ifreq` that raises the loopback.
    LoopbackUp,
    /// A `struct open_how` of a file that is somebody else's.
    OpenHow,
    /// A `struct timespec`, or NULL.
    Time,
    /// A `sigset_t`.
    Signals,
    /// A `struct itimerval`.
    Timer,
    /// A `struct rlimit` of ones.
    LimitOfOne,
    /// Version 3, our own process.
    CapabilityHeader,
    /// A `struct mount_attr` that only sets flags.
    MountAttr,
    /// A `struct sock_fprog`, its length filled up to a word.
    Filter,
    /// The three sets of `capset`.
    Sets,
    /// Numbers of groups; how many is the argument before.
    Groups,

    /// Pollfds, whose number is the next argument. What was found is not shown.
    Polls,

    // What the kernel writes. Before it has, it is an address.
    /// The three sets of `capget`.
    SetsOut,
    /// As many bytes of text as the call returned.
    Text,
    /// The same, of a path, the NUL included: it is shown whole.
    Path,
    /// Directory entries, counted.
    Entries,
    /// The status of `wait4`.
    Status,
    /// A structure, without its content.
    Struct,
    /// The two descriptors of `pipe2`.
    Pipe,
}

impl Kind {
    fn is_written(self) -> bool {
        self >= Kind::SetsOut
    }
}

impl<'a> Call<'a> {
    pub fn number(&self) -> Sysno {
        self.signature.number
    }

    /// The numbers of the arguments.
    pub fn arguments(&self) -> impl Iterator<Item = usize> {
        let kinds = self.signature.kinds.iter();
        kinds.take_while(|kind| **kind != Kind::Nothing).enumerate().map(|(at, _)| at)
    }

    /// The bytes of an argument that is `Str`, `Data` or `Bytes`.
    pub fn text(&self, at: usize) -> &'a [u8] {
        let (kind, value) = self.argument(at);
        if kind == Kind::Bytes {
            return (self.memory)(value, self.argument(at + 1).1);
        }
        self.string(value)
    }

    fn argument(&self, at: usize) -> (Kind, usize) {
        let kind = self.signature.kinds.get(at).copied().unwrap_or(Kind::Nothing);
        (kind, self.registers.get(at).copied().unwrap_or(0))
    }

    /// What is at `address`, up to its NUL.
    pub fn string(&self, address: usize) -> &'a [u8] {
        let mut length = 0;
        while (self.memory)(address + length, 1) != b"\0" {
            length += 1;
        }
        (self.memory)(address, length)
    }

    /// The strings of an `argv` or `envp`, up to its NULL.
    pub fn strings(&self, at: usize) -> Strings<'_, 'a> {
        Strings { call: self, place: self.argument(at).1 }
    }

    /// The number at `address`.
    fn word(&self, address: usize) -> usize {
        (self.memory)(address, 8).try_into().map_or(0, usize::from_ne_bytes)
    }

    /// The half as large one.
    pub fn half(&self, address: usize) -> u32 {
        (self.memory)(address, 4).try_into().map_or(0, u32::from_ne_bytes)
    }
}

/// See `Call::strings`.
pub struct Strings<'c, 'a> {
    call: &'c Call<'a>,
    place: usize,
}

impl<'a> Iterator for Strings<'_, 'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let address = self.call.word(self.place);
        self.place += size_of::<usize>();
        (address != 0).then(|| self.call.string(address))
    }
}

/// Declares the constants that are no flags, by the call that takes them.
macro_rules! named {
    ($($call:ident: $($name:ident $(| $more:ident)* = $value:expr),+;)*) => {
        static NAMED: [(Sysno, u32); [$($(stringify!($name)),+),*].len()] =
            [$($((Sysno::$call, $value as u32)),+),*];

        /// In the order of `NAMED`.
        static NAMES: [u8; PLAIN_NAMES.len()] = copied(PLAIN_NAMES);
        const PLAIN_NAMES: &[u8] =
            concat!($($(stringify!($name) $(, "|", stringify!($more))*, "\x1f"),+),*).as_bytes();
    };
}

named! {
    faccessat: F_OK = libc::F_OK;
    fcntl: FD_CLOEXEC = libc::FD_CLOEXEC, F_SETFD = libc::F_SETFD;
    ioctl: TCGETS = libc::TCGETS, TCSETS = libc::TCSETS, TIOCSCTTY = libc::TIOCSCTTY,
        TIOCGWINSZ = libc::TIOCGWINSZ, TIOCSWINSZ = libc::TIOCSWINSZ,
        TIOCGPGRP = libc::TIOCGPGRP, TIOCSPTLCK = libc::TIOCSPTLCK, TIOCGPTPEER = libc::TIOCGPTPEER,
        SIOCSIFFLAGS = libc::SIOCSIFFLAGS;
    keyctl: KEYCTL_JOIN_SESSION_KEYRING = libc::KEYCTL_JOIN_SESSION_KEYRING;
    madvise: MADV_RANDOM = libc::MADV_RANDOM, MADV_DONTNEED = libc::MADV_DONTNEED,
        MADV_HUGEPAGE = libc::MADV_HUGEPAGE;
    memfd_create: MFD_CLOEXEC = libc::MFD_CLOEXEC;
    mount_setattr: AT_RECURSIVE = libc::AT_RECURSIVE,
        AT_EMPTY_PATH | AT_RECURSIVE = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    move_mount: MOVE_MOUNT_F_SYMLINKS = 1, MOVE_MOUNT_F_EMPTY_PATH = 4;
    newfstatat: AT_SYMLINK_NOFOLLOW = libc::AT_SYMLINK_NOFOLLOW;
    open_tree: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE =
        1 | libc::O_CLOEXEC | libc::AT_RECURSIVE;
    prctl: SUID_DUMP_DISABLE = 0, // no option of prctl is 0
        PR_SET_PDEATHSIG = libc::PR_SET_PDEATHSIG,
        PR_SET_DUMPABLE = libc::PR_SET_DUMPABLE,
        PR_GET_NO_NEW_PRIVS = libc::PR_GET_NO_NEW_PRIVS,
        PR_CAPBSET_READ = libc::PR_CAPBSET_READ,
        PR_CAPBSET_DROP = libc::PR_CAPBSET_DROP,
        PR_SET_NO_NEW_PRIVS = libc::PR_SET_NO_NEW_PRIVS;
    recvmsg: MSG_CMSG_CLOEXEC = libc::MSG_CMSG_CLOEXEC;
    rt_sigprocmask: SIG_SETMASK = libc::SIG_SETMASK;
    sendmsg: MSG_NOSIGNAL = libc::MSG_NOSIGNAL;
    setitimer: ITIMER_REAL = libc::ITIMER_REAL;
    signalfd4: SFD_CLOEXEC = libc::SFD_CLOEXEC;
    socketpair: AF_UNIX = libc::AF_UNIX;
    wait4: WNOHANG = libc::WNOHANG;
    prlimit64: RLIMIT_CORE = libc::RLIMIT_CORE;
    socket: AF_INET = libc::AF_INET, IPPROTO_IP = 0,
        SOCK_DGRAM | SOCK_CLOEXEC = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    unlinkat: AT_REMOVEDIR = libc::AT_REMOVEDIR;
    seccomp: SECCOMP_SET_MODE_FILTER = libc::SECCOMP_SET_MODE_FILTER;
}

/// What a call returned. Before a call there is nothing.
pub type Known = Option<Result<usize, Errno>>;

/// `mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)`
pub fn call(line: &mut Buffer, call: &Call, known: Known) {
    line.push(call.signature.name()).push("(");
    for at in call.arguments() {
        line.push(if at == 0 { "" } else { ", " });
        argument(line, call, at, known);
    }
    line.push(")");
}

/// `3`, `-1 ENOENT (No such file or directory)`
pub fn result(line: &mut Buffer, number: Sysno, result: Result<usize, Errno>, texts: &Texts) {
    match result {
        Ok(address) if number == Sysno::mmap => line.push_hex(address as u64),
        Ok(mask) if number == Sysno::umask => {
            octal(line, mask, 2);
            line
        }
        Ok(number) => line.push_decimal(number as u64),
        Err(errno) => push_errno(line.push("-1 "), errno, texts),
    };
}

pub fn argument(line: &mut Buffer, call: &Call, at: usize, known: Known) {
    let (kind, value) = call.argument(at);
    let bits = value as u64;
    let Some(returned) = known.and_then(Result::ok).or((!kind.is_written()).then_some(0)) else {
        line.push_hex(bits);
        return;
    };
    match kind {
        Kind::Nothing => {}
        Kind::Str | Kind::Data | Kind::Address | Kind::Time if value == 0 => {
            line.push("NULL");
        }
        Kind::Str => quoted(line, call.text(at), usize::MAX),
        Kind::Data | Kind::Bytes => quoted(line, call.text(at), STRING_LIMIT),
        Kind::Argv => list(line, call.strings(at)),
        Kind::Envp => {
            let count = call.strings(at).count() as u64;
            line.push_hex(bits).push(" /* ").push_decimal(count);
            line.push(if count == 1 { " var */" } else { " vars */" });
        }
        Kind::Address | Kind::Hex => drop(line.push_hex(bits)),
        Kind::ChildStack => drop(line.push("child_stack=").push_hex(bits)),
        Kind::Fd if value as i32 == libc::AT_FDCWD => drop(line.push("AT_FDCWD")),
        Kind::Fd | Kind::Signed => signed(line, value as isize),
        Kind::Ms => flag_word(line, bits, flags::Ms::TABLE),
        Kind::Mnt => flag_word(line, bits, flags::Mnt::TABLE),
        Kind::Prot => flag_word(line, bits, flags::Prot::TABLE),
        Kind::Map => flag_word(line, bits, flags::Map::TABLE),
        Kind::O => flag_word(line, bits, flags::O::TABLE),
        Kind::Sock => flag_word(line, bits, flags::Sock::TABLE),
        Kind::Lock => flag_word(line, bits, flags::Lock::TABLE),
        Kind::Namespaces => flag_word(line, bits, flags::Clone::TABLE),
        Kind::CloneFlags => {
            flag_word(line.push("flags="), bits & !0xff, flags::Clone::TABLE);
            signal(line.push("|"), (bits & 0xff) as i32);
        }
        Kind::OpenFlags => open_flags(line, bits),
        Kind::Named => named(line, call.number(), value),
        Kind::Signal => signal(line, value as i32),
        Kind::Unsigned => drop(line.push_decimal(bits)),
        Kind::Octal => octal(line, value, 1),
        Kind::Umask => octal(line, value, 2),
        Kind::Mode => {
            let mode = value as u32;
            line.push(if mode & libc::S_IFMT == libc::S_IFCHR { "S_IFCHR|" } else { "S_IFREG|" });
            octal(line, value & !(libc::S_IFMT as usize), 1);
        }
        Kind::Device => {
            for (before, number) in [("makedev(", bits >> 8), (", ", bits & 0xff)] {
                line.push(before);
                if number == 0 {
                    line.push("0")
                } else {
                    line.push_hex(number)
                };
            }
            line.push(")");
        }
        Kind::Capability => capability(line, value as u32),
        Kind::Polls => polls(line, call, at, value),
        _ => structure(line, call, kind, value, returned),
    }
}

fn structure(line: &mut Buffer, call: &Call, kind: Kind, address: usize, returned: usize) {
    let half = |at: usize| call.half(address + at);
    match kind {
        Kind::MountAttr => {
            flag_word(line.push("{attr_set="), half(0).into(), flags::MountAttr::TABLE);
            line.push(", attr_clr=0, propagation=0, userns_fd=");
            line.push_decimal(half(24).into()).push("}");
        }
        Kind::Filter => {
            line.push("{len=").push_decimal(half(0).into()).push(", filter=");
            line.push_hex(call.word(address + 8) as u64).push("}");
        }
        Kind::Sets | Kind::SetsOut => {
            let set = |at| u64::from(half(at)) | u64::from(half(at + 12)) << 32;
            capability_sets(line, [set(0), set(4), set(8)]);
        }
        Kind::Groups => {
            line.push("[");
            for at in 0..call.registers[0].min(STRING_LIMIT) {
                line.push(if at == 0 { "" } else { ", " }).push_decimal(half(4 * at).into());
            }
            line.push(if call.registers[0] > STRING_LIMIT { ", ...]" } else { "]" });
        }
        Kind::Text => quoted(line, (call.memory)(address, returned), STRING_LIMIT),
        Kind::Path => {
            let path = (call.memory)(address, returned);
            quoted(line, path.strip_suffix(b"\0").unwrap_or(path), usize::MAX);
        }
        Kind::Time => {
            line.push("{tv_sec=").push_decimal(call.word(address) as u64).push(", tv_nsec=");
            line.push_decimal(call.word(address + 8) as u64).push("}");
        }
        Kind::Pipe => {
            signed(line.push("["), half(0) as i32 as isize);
            signed(line.push(", "), half(4) as i32 as isize);
            line.push("]");
        }
        Kind::Signals => signals(line, call.word(address) as u64),
        Kind::Timer => {
            let names =
                ["{it_interval={tv_sec=", ", tv_usec=", "}, it_value={tv_sec=", ", tv_usec="];
            for (at, name) in names.iter().enumerate() {
                line.push(name).push_decimal(call.word(address + at * 8) as u64);
            }
            line.push("}}");
        }
        // Without a process that has ended nothing is written.
        Kind::Status if returned == 0 => drop(line.push_hex(address as u64)),
        Kind::Status => status(line, half(0) as i32),
        Kind::Entries => {
            let entries = flags::directory_entries((call.memory)(address, returned));
            line.push_hex(address as u64).push(" /* ").push_decimal(entries.count() as u64);
            line.push(" entries */");
        }
        _ => drop(line.push(always_the_same(kind))),
    }
}

fn polls(line: &mut Buffer, call: &Call, at: usize, address: usize) {
    let (_, count) = call.argument(at + 1);
    for number in 0..count {
        line.push(if number == 0 { "[{fd=" } else { ", {fd=" });
        let poll = address + number * size_of::<libc::pollfd>();
        let fd = call.half(poll) as i32;
        signed(line, fd as isize);
        if fd >= 0 {
            let events = call.half(poll + 4) & 0xffff;
            flag_word(line.push(", events="), events.into(), flags::Events::TABLE);
        }
        line.push("}");
    }
    line.push("]");
}

/// `[HUP INT]`
fn signals(line: &mut Buffer, set: u64) {
    let mut separator = "[";
    for number in (1..=64).filter(|number| set >> (number - 1) & 1 != 0) {
        line.push(separator).push(flags::signal_name(number).unwrap_or(b"RT"));
        separator = " ";
    }
    line.push(if set == 0 { "[]" } else { "]" });
}

fn always_the_same(kind: Kind) -> &'static str {
    match kind {
        Kind::OpenHow => {
            "{flags=O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS}"
        }
        Kind::LoopbackUp => "{ifr_name=\"lo\", ifr_flags=IFF_UP}",
        Kind::DefaultAction => "{sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}",
        Kind::LimitOfOne => "{rlim_cur=1, rlim_max=1}",
        Kind::CapabilityHeader => "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}",
        _ => "{...}",
    }
}

fn named(line: &mut Buffer, call: Sysno, value: usize) {
    match NAMED.iter().position(|&row| row == (call, value as u32)) {
        Some(at) => line.push(packed::part(&NAMES, at)),
        None => line.push_decimal(value as u64),
    };
}

fn open_flags(line: &mut Buffer, bits: u64) {
    line.push(match bits as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        _ => "O_RDWR",
    });
    if bits & !3 != 0 {
        flag_word(line.push("|"), bits & !3, flags::O::TABLE);
    }
}

/// The three sets as strace(1) has them: `1<<CAP_CHOWN|1<<CAP_KILL`.
fn capability_sets(line: &mut Buffer, sets: [u64; 3]) {
    for (name, set) in ["{effective=", ", permitted=", ", inheritable="].iter().zip(sets) {
        capabilities(line.push(name), set);
    }
    line.push("}");
}

fn capabilities(line: &mut Buffer, set: u64) {
    let mut separator = "";
    for number in (0..64).filter(|number| set >> number & 1 != 0) {
        capability(line.push(separator).push("1<<"), number);
        separator = "|";
    }
    line.push(if separator.is_empty() { "0" } else { "" });
}

fn capability(line: &mut Buffer, number: u32) {
    match caps::name(number) {
        Some(name) => {
            line.push("CAP_");
            for byte in name.to_bytes() {
                line.push([byte.to_ascii_uppercase()]);
            }
        }
        None => drop(line.push_hex(number.into()).push(" /* CAP_??? */")),
    }
}

/// strace(1) shows so many bytes of a string, and elements of an array.
const STRING_LIMIT: usize = 32;

fn quoted(line: &mut Buffer, bytes: &[u8], limit: usize) {
    line.push("\"");
    let shown = bytes.get(..limit).unwrap_or(bytes);
    for (at, &byte) in shown.iter().enumerate() {
        match byte {
            b'"' => line.push("\\\""),
            b'\\' => line.push("\\\\"),
            b'\n' => line.push("\\n"),
            b'\t' => line.push("\\t"),
            b'\r' => line.push("\\r"),
            0x0b => line.push("\\v"),
            0x0c => line.push("\\f"),
            b' '..=b'~' => line.push([byte]),
            _ => {
                let digit_follows = shown.get(at + 1).is_some_and(u8::is_ascii_digit);
                escape(line, byte, digit_follows)
            }
        };
    }
    line.push(if shown.len() < bytes.len() { "\"..." } else { "\"" });
}

/// `\33`; all three digits where a digit follows, which would else be read as part of it.
fn escape(line: &mut Buffer, byte: u8, full: bool) -> &mut Buffer {
    let digits = [byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| digit + b'0');
    let zeros = digits.iter().take(2).take_while(|digit| **digit == b'0').count();
    line.push("\\").push(digits.get(if full { 0 } else { zeros }..).unwrap_or(&digits))
}

fn list<'a>(line: &mut Buffer, strings: impl Iterator<Item = &'a [u8]>) {
    line.push("[");
    for (number, string) in strings.enumerate() {
        line.push(if number == 0 { "" } else { ", " });
        if number == STRING_LIMIT {
            line.push("...");
            break;
        }
        quoted(line, string, STRING_LIMIT);
    }
    line.push("]");
}

fn flag_word(line: &mut Buffer, bits: u64, table: &Table) {
    let mut rest = bits;
    let mut separator = "";
    for (name, value) in table.flags() {
        if value != 0 && rest & value == value {
            line.push(separator).push(table.prefix).push(name);
            separator = "|";
            rest &= !value;
        }
    }
    if rest != 0 {
        line.push(separator).push_hex(rest);
    } else if separator.is_empty() {
        line.push(table.zero);
    }
}

fn status(line: &mut Buffer, status: i32) {
    match Ended::from_status(status) {
        Ended::Exited(code) => {
            line.push("[{WIFEXITED(s) && WEXITSTATUS(s) == ");
            signed(line, code as isize);
        }
        Ended::Killed(number) => {
            line.push("[{WIFSIGNALED(s) && WTERMSIG(s) == ");
            signal(line, number);
            line.push(if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" });
        }
    }
    line.push("}]");
}

/// As the kernel counts: a C library keeps two for itself, and begins at 34.
const FIRST_REAL_TIME: i32 = 32;

fn signal(line: &mut Buffer, number: i32) {
    match flags::signal_name(number) {
        Some(name) => drop(line.push("SIG").push(name)),
        None if number == FIRST_REAL_TIME => drop(line.push("SIGRTMIN")),
        None if (FIRST_REAL_TIME..=64).contains(&number) => {
            line.push("SIGRT_").push_decimal((number - FIRST_REAL_TIME) as u64);
        }
        None => signed(line, number as isize),
    }
}

fn signed(line: &mut Buffer, number: isize) {
    line.push(if number < 0 { "-" } else { "" }).push_decimal(number.unsigned_abs() as u64);
}

/// 0, and at least so many digits.
fn octal(line: &mut Buffer, mode: usize, digits: u32) {
    line.push("0");
    let mut shift = 30;
    while shift > 3 * (digits - 1) && mode >> shift == 0 {
        shift -= 3;
    }
    loop {
        line.push([b'0' + (mode >> shift & 7) as u8]);
        if shift == 0 {
            break;
        }
        shift -= 3;
    }
}

/// Whether a clone with these flags runs beside us, in our memory: the guard.
pub fn is_beside(flags: usize) -> bool {
    let both = flags::Clone::VM | flags::Clone::VFORK;
    flags as u64 & both.bits() == flags::Clone::VM.bits()
}

/// ` <0.000012>`, as `strace -T`.
pub fn seconds(line: &mut Buffer, nanoseconds: u64) {
    let microseconds = nanoseconds / 1000;
    line.push(" <").push_decimal(microseconds / 1_000_000).push(".");
    let mut unit = 100_000;
    while unit > 0 {
        line.push([b'0' + (microseconds / unit % 10) as u8]);
        unit /= 10;
    }
    line.push(">");
}

/// Text that is ASCII already, inside a JSON string.
pub fn json_text(line: &mut Buffer, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => line.push([b'\\', byte]),
            b' '..=b'~' => line.push([byte]),
            _ => line.push("?"),
        };
    }
}

/// The words, in lines of at most a hundred columns that begin with `indent`.
pub fn wrapped(line: &mut Buffer, indent: &str, words: &[u8]) {
    const WIDTH: usize = 100;
    let mut column = indent.len();
    let mut space = false;
    line.push(indent);
    for word in words.split_inclusive(|&byte| byte == b' ') {
        let bare = word.strip_suffix(b" ").unwrap_or(word);
        if column + usize::from(space) + bare.len() > WIDTH {
            line.push("\n").push(indent).push("  ");
            column = indent.len() + "  ".len();
        } else if space {
            line.push(" ");
            column += 1;
        }
        line.push(bare);
        column += bare.len();
        space = bare.len() < word.len();
    }
    line.push("\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ThinCStr;
    use core::slice::from_raw_parts;

    /// The first argument of a call that has these two.
    fn told(kind: Kind, registers: [usize; 2], known: Known) -> String {
        let kinds = [kind, Kind::Unsigned];
        let signature = Signature::new(Sysno::prctl, "prctl", Door::Open, &kinds);
        let [first, second] = registers;
        let call = Call {
            signature: Box::leak(Box::new(signature)),
            registers: [first, second, 0, 0, 0, 0],
            // SAFETY: every test holds what it gives the address of.
            memory: |at, length| unsafe { from_raw_parts(at as *const u8, length) },
        };
        text(|line| argument(line, &call, 0, known))
    }

    fn shown(kind: Kind, register: usize) -> String {
        told(kind, [register, 0], None)
    }

    fn bytes(bytes: &[u8]) -> String {
        told(Kind::Bytes, [bytes.as_ptr() as usize, bytes.len()], None)
    }

    fn after<T: ?Sized>(kind: Kind, memory: &T, returned: usize) -> String {
        told(kind, [(&raw const *memory).cast::<u8>() as usize, 0], Some(Ok(returned)))
    }

    #[test]
    fn a_call_has_its_name_and_as_many_arguments_as_it_takes() {
        let signature = Signature::new(Sysno::clone, "mount_setattr", Door::Shut, &[Kind::Fd; 2]);
        let signature = Box::leak(Box::new(signature));
        let call = Call { signature, registers: [3; 6], memory: |_, _| &[] };
        assert_eq!(text(|line| super::call(line, &call, None)), "mount_setattr(3, 3)");
    }

    #[test]
    fn strings_are_quoted_as_strace_quotes_them() {
        assert_eq!(shown(Kind::Str, c"/proc".as_ptr() as usize), r#""/proc""#);
        assert_eq!(shown(Kind::Str, c"".as_ptr() as usize), r#""""#);
        assert_eq!(bytes(b"a\"b\\c\n\t\x1b[0m\x1b1\xff\0"), r#""a\"b\\c\n\t\33[0m\0331\377\0""#);
        let long = [b'x'; 33];
        assert_eq!(bytes(&long), format!("\"{}\"...", "x".repeat(32)));
        assert_eq!(bytes(&long[..32]), format!("\"{}\"", "x".repeat(32)));
        let long = c"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".as_ptr() as usize;
        assert_eq!(shown(Kind::Data, long), format!("\"{}\"...", "x".repeat(32)));
        assert_eq!(shown(Kind::Str, long), format!("\"{}\"", "x".repeat(33)));
    }

    #[test]
    fn a_pointer_that_is_left_out_is_null() {
        assert_eq!([Kind::Str, Kind::Data, Kind::Address].map(|kind| shown(kind, 0)), ["NULL"; 3]);
        assert_eq!(shown(Kind::Address, 0x1000), "0x1000");
    }

    #[test]
    fn flags_are_named_and_unknown_bits_shown() {
        let word = |bits| shown(Kind::Ms, bits);
        assert_eq!(word(2 | 4 | 8), "MS_NOSUID|MS_NODEV|MS_NOEXEC");
        assert_eq!(word(2 | 1 << 40), "MS_NOSUID|0x10000000000");
        assert_eq!(word(0), "0");
        assert_eq!(shown(Kind::Prot, 0), "PROT_NONE");
        assert_eq!(shown(Kind::OpenFlags, 0), "O_RDONLY");
        assert_eq!(shown(Kind::OpenFlags, libc::O_WRONLY as usize), "O_WRONLY");
        assert_eq!(shown(Kind::OpenFlags, (libc::O_RDWR | libc::O_PATH) as usize), "O_RDWR|O_PATH");
        assert_eq!(
            shown(Kind::CloneFlags, (libc::CLONE_VM | libc::SIGCHLD) as usize),
            "flags=CLONE_VM|SIGCHLD"
        );
    }

    #[test]
    fn what_is_waited_for_is_shown_as_strace_shows_it() {
        let polls = [[5_i32, 1], [-1, 0], [6, 4 | 1 << 16]]; // what was found is not shown
        let registers = [polls.as_ptr() as usize, polls.len()];
        assert_eq!(
            told(Kind::Polls, registers, None),
            "[{fd=5, events=POLLIN}, {fd=-1}, {fd=6, events=POLLOUT}]"
        );
        assert_eq!(after(Kind::Signals, &(1_u64 << 14 | 1), 0), "[HUP TERM]");
        assert_eq!(after(Kind::Signals, &0_u64, 0), "[]");
        assert_eq!(
            after(Kind::Timer, &[0_u64, 0, 1, 500_000], 0),
            "{it_interval={tv_sec=0, tv_usec=0}, it_value={tv_sec=1, tv_usec=500000}}"
        );
    }

    #[test]
    fn numbers_have_the_form_that_fits_them() {
        assert_eq!(shown(Kind::Octal, 0o555), "0555");
        assert_eq!(shown(Kind::Octal, 0), "00");
        assert_eq!(shown(Kind::Umask, 0o22), "022");
        assert_eq!(shown(Kind::Umask, 0), "000");
        assert_eq!(shown(Kind::Mode, libc::S_IFCHR as usize | 0o666), "S_IFCHR|0666");
        assert_eq!(shown(Kind::Device, 0x0103), "makedev(0x1, 0x3)");
        assert_eq!(shown(Kind::Device, 0x0500), "makedev(0x5, 0)");
        assert_eq!(shown(Kind::Fd, -1_i32 as usize), "-1");
        assert_eq!(shown(Kind::Fd, libc::AT_FDCWD as usize), "AT_FDCWD");
        assert_eq!(shown(Kind::Signal, 9), "SIGKILL");
        assert_eq!(shown(Kind::Signal, 99), "99");
    }

    #[test]
    fn a_constant_has_its_name_with_its_own_call_only() {
        assert_eq!(shown(Kind::Named, libc::PR_SET_DUMPABLE as usize), "PR_SET_DUMPABLE");
        assert_eq!(shown(Kind::Named, 0), "SUID_DUMP_DISABLE");
        assert_eq!(shown(Kind::Named, libc::AT_RECURSIVE as usize), "32768");
        for (at, &(call, value)) in NAMED.iter().enumerate() {
            let name = text(|line| named(line, call, value as usize));
            assert_eq!(
                name.as_bytes(),
                packed::part(&NAMES, at),
                "each row is the first of its kind"
            );
        }
    }

    #[test]
    fn a_long_argv_is_cut() {
        let mut argv = vec![Some(ThinCStr::new(c"x")); 40];
        argv.push(None);
        let expected = format!("[{}...]", r#""x", "#.repeat(32));
        assert_eq!(shown(Kind::Argv, argv.as_ptr() as usize), expected);
        argv[2] = None;
        assert_eq!(shown(Kind::Argv, argv.as_ptr() as usize), r#"["x", "x"]"#);
        let address = argv.as_ptr() as usize;
        assert_eq!(shown(Kind::Envp, address), format!("{address:#x} /* 2 vars */"));
    }

    #[test]
    fn what_the_kernel_wrote_is_shown_only_after_a_call_that_worked() {
        assert_eq!(
            after(Kind::Status, &(42_i32 << 8), 1),
            "[{WIFEXITED(s) && WEXITSTATUS(s) == 42}]"
        );
        assert_eq!(after(Kind::Status, &9_i32, 1), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]");
        assert_eq!(told(Kind::Status, [0x1000, 0], Some(Err(Errno::ECHILD))), "0x1000");
        for kind in [Kind::SetsOut, Kind::Text, Kind::Path, Kind::Entries, Kind::Struct, Kind::Pipe]
        {
            assert_eq!(shown(kind, 0x1000), "0x1000");
        }
        assert_eq!(after(Kind::Text, b"/x and more", 2), r#""/x""#);
        assert_eq!(after(Kind::Path, b"/x\0 and more", 3), r#""/x""#);
        assert_eq!(after(Kind::Pipe, &[3_i32, 4], 0), "[3, 4]");
        assert_eq!(after(Kind::Status, &0_i32, 0).get(..2), Some("0x")); // WNOHANG, and nobody
        assert_eq!(after(Kind::Struct, &0, 0), "{...}");
        assert_eq!(
            after(Kind::SetsOut, &[1, 3, 0, 0, 0, 1 << 8], 0),
            "{effective=1<<CAP_CHOWN, permitted=1<<CAP_CHOWN|1<<CAP_DAC_OVERRIDE, \
             inheritable=1<<CAP_CHECKPOINT_RESTORE}"
        );
    }

    #[test]
    fn structures_that_we_fill_in_are_shown_before_the_call() {
        let attr = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
        assert_eq!(
            shown(Kind::MountAttr, attr.as_ptr() as usize),
            "{attr_set=MOUNT_ATTR_RDONLY, attr_clr=0, propagation=0, userns_fd=0}"
        );
        let program = [7, 0x1000_usize];
        assert_eq!(shown(Kind::Filter, program.as_ptr() as usize), "{len=7, filter=0x1000}");
        assert_eq!(
            shown(Kind::Sets, [0_u32; 6].as_ptr() as usize),
            "{effective=0, permitted=0, inheritable=0}"
        );
    }

    fn text(write: impl FnOnce(&mut Buffer)) -> String {
        let mut line = Line::<1000>::new();
        write(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).expect("ASCII")
    }

    #[test]
    fn seconds_have_six_places() {
        assert_eq!(text(|line| seconds(line, 12_999)), " <0.000012>");
        assert_eq!(text(|line| seconds(line, 61_000_000_000)), " <61.000000>");
    }

    #[test]
    fn json_text_closes_no_string_early() {
        assert_eq!(text(|line| json_text(line, b"a\"\\\n\xff")), "a\\\"\\\\??");
    }

    #[test]
    fn lines_are_wrapped_at_a_hundred_columns_and_no_word_is_lost() {
        let words = "word ".repeat(60);
        let wrapped =
            text(|line| wrapped(line, "    # ", format!("now: {}", words.trim_end()).as_bytes()));
        assert!(wrapped.lines().all(|line| line.len() <= 100 && line.starts_with("    # ")));
        assert!(wrapped.lines().all(|line| line == line.trim_end()));
        assert_eq!(wrapped.matches("word").count(), 60);
        assert_eq!(text(|line| super::wrapped(line, "# ", b"")), "# \n");
    }
}
