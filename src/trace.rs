//! Level 3. A system call as a line of text, in the notation of
//! [strace(1)](https://man7.org/linux/man-pages/man1/strace.1.html). Pure: nothing is called here.

use core::ffi::CStr;
use syscalls::{Errno, Sysno};

use crate::arch::Strings;
use crate::buf::{Buffer, Line};
use crate::caps;
use crate::errno::push_errno;
use crate::flags::{self, Ended, Table};

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

/// A call that is about to be made.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub number: Sysno,
    pub name: &'static str,
    pub args: &'a [Arg<'a>],
    pub door: Door,
}

/// One argument. `raw` is the number that goes into the register.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A path or another NUL-terminated string that the kernel reads.
    Str(&'a CStr),
    /// Memory that the kernel reads; its length is another argument.
    Bytes(&'a [u8]),
    /// Memory that the kernel writes: where, how much fits, and how to show it.
    Out(usize, u32, Shown),
    /// An `argv`, with its final NULL.
    Argv(Strings<'a>),
    /// An `envp`, with its final NULL.
    Envp(Strings<'a>),
    /// A structure that we fill in: where it is, and how to show it.
    Struct(usize, Filled),
    /// A pointer that may be left out, and is.
    Null,
    Address(usize),
    /// The stack of `clone`, which strace(1) shows by name, like its flags.
    ChildStack(usize),
    /// A file descriptor, `AT_FDCWD` included.
    Fd(i32),
    Flags(u64, &'static Table),
    /// As `clone` has them: flags, and the signal in the lowest byte.
    CloneFlags(u64),
    /// As `open` has them: an access mode, and flags.
    OpenFlags(u64),
    /// A constant that is not a flag word, by the kernel's name for it.
    Named(u32, &'static str),
    Signal(i32),
    Signed(isize),
    Unsigned(usize),
    Octal(u32),
    /// Octal, with three digits at least.
    Umask(u32),
    /// As `mknod` has it: a file type and permissions.
    Mode(u32),
    /// The major and minor number of a device.
    Device([u8; 2]),
    Capability(u32),
    /// The sets of `capset`: where they are, and the one that is permitted and effective.
    Capabilities(usize, u64),
}

/// The structures that we fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// A `struct sigaction`.
    DefaultAction,
    /// A `struct timespec` of so many nanoseconds.
    Time(u32),
    /// A `struct rlimit`.
    LimitOfOne,
    /// A `struct mount_attr` that sets these flags.
    MountAttr(u32),
    /// Version 3, our own process.
    CapabilityHeader,
    /// A `struct sock_fprog` of so many instructions.
    Filter(u32),
}

// Six of them are made for every call, watched or not.
const _: () = assert!(size_of::<Arg>() <= 24);

/// How to show what the kernel wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As many bytes of text as the call returned.
    Text,
    /// The same, of a path, the NUL included: it is shown whole.
    Path,
    /// Directory entries, counted.
    Entries,
    /// The status of `wait4`.
    Status,
    /// The three sets of `capget`.
    Capabilities,
    /// A structure, without its content.
    Struct,
    /// The two descriptors of `pipe2`.
    Pipe,
    /// One pollfd that asks for nothing, of this descriptor.
    Poll(i32),
}

impl Arg<'_> {
    pub fn raw(self) -> usize {
        match self {
            Arg::Str(string) => string.as_ptr() as usize,
            Arg::Bytes(bytes) => bytes.as_ptr() as usize,
            Arg::Argv(strings) | Arg::Envp(strings) => strings.as_ptr() as usize,
            Arg::Out(address, _, _) | Arg::Struct(address, _) => address,
            Arg::Capabilities(address, _) => address,
            Arg::Address(address) | Arg::ChildStack(address) => address,
            Arg::Null => 0,
            Arg::Fd(number) | Arg::Signal(number) => number as isize as usize,
            Arg::Flags(bits, _) => bits as usize,
            Arg::Named(bits, _) => bits as usize,
            Arg::OpenFlags(bits) | Arg::CloneFlags(bits) => bits as usize,
            Arg::Signed(number) => number as usize,
            Arg::Unsigned(number) => number,
            Arg::Octal(mode) | Arg::Umask(mode) | Arg::Mode(mode) => mode as usize,
            Arg::Device([major, minor]) => usize::from(major) << 8 | usize::from(minor),
            Arg::Capability(number) => number as usize,
        }
    }
}

/// What a call returned, and what it wrote: `memory` reads it.
#[derive(Clone, Copy)]
pub struct Outcome<'a> {
    pub result: Result<usize, Errno>,
    pub memory: &'a dyn Fn(usize, usize) -> &'a [u8],
}

/// Before a call there is no outcome.
pub type Known<'a> = Option<Outcome<'a>>;

/// `mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)`
pub fn call(line: &mut Buffer, call: &Call, known: Known) {
    line.push(call.name).push("(");
    for (number, arg) in call.args.iter().enumerate() {
        line.push(if number == 0 { "" } else { ", " });
        argument(line, *arg, known);
    }
    line.push(")");
}

/// `3`, `-1 ENOENT (No such file or directory)`
pub fn result(line: &mut Buffer, number: Sysno, result: Result<usize, Errno>) {
    match result {
        Ok(address) if number == Sysno::mmap => line.push_hex(address as u64),
        Ok(mask) if number == Sysno::umask => {
            octal(line, mask as u32, 2);
            line
        }
        Ok(number) => line.push_decimal(number as u64),
        Err(errno) => push_errno(line.push("-1 "), errno),
    };
}

pub fn argument(line: &mut Buffer, arg: Arg, known: Known) {
    match arg {
        Arg::Str(string) => quoted(line, string.to_bytes(), usize::MAX),
        Arg::Bytes(bytes) => quoted(line, bytes, STRING_LIMIT),
        Arg::Out(address, size, shown) => written(line, address, size as usize, shown, known),
        Arg::Argv(strings) => list(line, strings),
        Arg::Envp(strings) => {
            let count = strings.iter().flatten().count() as u64;
            line.push_hex(strings.as_ptr() as u64).push(" /* ").push_decimal(count);
            line.push(if count == 1 { " var */" } else { " vars */" });
        }
        Arg::Struct(address, filled) => structure(line, address, filled),
        Arg::Null => drop(line.push("NULL")),
        Arg::Address(address) => drop(line.push_hex(address as u64)),
        Arg::ChildStack(address) => drop(line.push("child_stack=").push_hex(address as u64)),
        Arg::Fd(libc::AT_FDCWD) => drop(line.push("AT_FDCWD")),
        Arg::Fd(number) => signed(line, number as isize),
        Arg::Flags(bits, table) => flag_word(line, bits, table),
        Arg::CloneFlags(bits) => {
            line.push("flags=");
            flag_word(line, bits & !0xff, flags::Clone::TABLE);
            line.push("|");
            signal(line, (bits & 0xff) as i32);
        }
        Arg::OpenFlags(bits) => {
            line.push(match bits as i32 & libc::O_ACCMODE {
                libc::O_RDONLY => "O_RDONLY",
                libc::O_WRONLY => "O_WRONLY",
                _ => "O_RDWR",
            });
            if bits & !3 != 0 {
                line.push("|");
                flag_word(line, bits & !3, flags::O::TABLE);
            }
        }
        Arg::Named(_, name) => drop(line.push(name)),
        Arg::Signal(number) => signal(line, number),
        Arg::Signed(number) => signed(line, number),
        Arg::Unsigned(number) => drop(line.push_decimal(number as u64)),
        Arg::Octal(mode) => octal(line, mode, 1),
        Arg::Umask(mask) => octal(line, mask, 2),
        Arg::Mode(mode) => {
            line.push(if mode & libc::S_IFMT == libc::S_IFCHR { "S_IFCHR|" } else { "S_IFREG|" });
            octal(line, mode & !libc::S_IFMT, 1);
        }
        Arg::Device([major, minor]) => {
            line.push("makedev(").push_hex(major.into()).push(", ");
            if minor == 0 { line.push("0") } else { line.push_hex(minor.into()) }.push(")");
        }
        Arg::Capability(number) => capability(line, number),
        Arg::Capabilities(_, set) => capability_sets(line, [set, set, 0]),
    }
}

fn structure(line: &mut Buffer, address: usize, filled: Filled) {
    match filled {
        Filled::DefaultAction => line.push("{sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}"),
        Filled::Time(time) => line.push("{tv_sec=0, tv_nsec=").push_decimal(time.into()).push("}"),
        Filled::LimitOfOne => line.push("{rlim_cur=1, rlim_max=1}"),
        Filled::CapabilityHeader => line.push("{version=_LINUX_CAPABILITY_VERSION_3, pid=0}"),
        Filled::MountAttr(flags) => {
            flag_word(line.push("{attr_set="), flags.into(), flags::MountAttr::TABLE);
            line.push(", attr_clr=0, propagation=0, userns_fd=0}")
        }
        Filled::Filter(length) => {
            line.push("{len=").push_decimal(length.into()).push(", filter=");
            line.push_hex(address as u64).push("}")
        }
    };
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

fn list(line: &mut Buffer, strings: Strings) {
    line.push("[");
    for (number, string) in strings.iter().flatten().enumerate() {
        line.push(if number == 0 { "" } else { ", " });
        if number == STRING_LIMIT {
            line.push("...");
            break;
        }
        quoted(line, string.to_cstr().to_bytes(), STRING_LIMIT);
    }
    line.push("]");
}

fn flag_word(line: &mut Buffer, bits: u64, table: &Table) {
    let mut rest = bits;
    let mut separator = "";
    for (name, value) in table.flags() {
        if value != 0 && rest & value == value {
            line.push(separator).push(table.prefix).push_each(name);
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

fn written(line: &mut Buffer, address: usize, size: usize, shown: Shown, known: Known) {
    let Some(Outcome { result: Ok(returned), memory }) = known else {
        line.push_hex(address as u64);
        return;
    };
    match shown {
        Shown::Text => quoted(line, memory(address, size.min(returned)), STRING_LIMIT),
        Shown::Path => {
            let path = memory(address, size.min(returned));
            quoted(line, path.strip_suffix(b"\0").unwrap_or(path), usize::MAX);
        }
        Shown::Pipe => {
            let fd = |at: usize| memory(address + at, 4).try_into().map_or(0, i32::from_ne_bytes);
            line.push("[");
            signed(line, fd(0) as isize);
            line.push(", ");
            signed(line, fd(4) as isize);
            line.push("]");
        }
        Shown::Poll(fd) => {
            line.push("[{fd=");
            signed(line, fd as isize);
            line.push(", events=0}]");
        }
        Shown::Struct => drop(line.push("{...}")),
        Shown::Status => {
            let bytes = memory(address, size).try_into().unwrap_or([0; 4]);
            status(line, i32::from_ne_bytes(bytes));
        }
        Shown::Capabilities => {
            let half = |at| memory(address + at, 4).try_into().map_or(0, u32::from_ne_bytes);
            let set = |at| u64::from(half(at)) | u64::from(half(at + 12)) << 32;
            capability_sets(line, [set(0), set(4), set(8)]);
        }
        Shown::Entries => {
            let entries = flags::directory_entries(memory(address, size.min(returned)));
            line.push_hex(address as u64).push(" /* ").push_decimal(entries.count() as u64);
            line.push(" entries */");
        }
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

fn signal(line: &mut Buffer, number: i32) {
    match flags::signal_name(number) {
        Some(name) => drop(line.push("SIG").push(name)),
        None => signed(line, number as isize),
    }
}

fn signed(line: &mut Buffer, number: isize) {
    line.push(if number < 0 { "-" } else { "" }).push_decimal(number.unsigned_abs() as u64);
}

/// 0, and at least so many digits.
fn octal(line: &mut Buffer, mode: u32, digits: u32) {
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

    fn shown(arg: Arg) -> String {
        let mut line = Text::new();
        argument(&mut line, arg, None);
        String::from_utf8(line.as_bytes().to_vec()).expect("the notation is ASCII")
    }

    fn after(arg: Arg, result: Result<usize, Errno>, memory: &'static [u8]) -> String {
        let mut line = Text::new();
        let read = |_, length: usize| &memory[..length];
        argument(&mut line, arg, Some(Outcome { result, memory: &read }));
        String::from_utf8(line.as_bytes().to_vec()).expect("the notation is ASCII")
    }

    #[test]
    fn a_negative_descriptor_keeps_its_sign_in_the_register() {
        assert_eq!(Arg::Fd(libc::AT_FDCWD).raw() as isize, -100);
    }

    #[test]
    fn strings_are_quoted_as_strace_quotes_them() {
        assert_eq!(shown(Arg::Str(c"/proc")), r#""/proc""#);
        assert_eq!(
            shown(Arg::Bytes(b"a\"b\\c\n\t\x1b[0m\x1b1\xff\0")),
            r#""a\"b\\c\n\t\33[0m\0331\377\0""#
        );
        let long = [b'x'; 33];
        assert_eq!(shown(Arg::Bytes(&long)), format!("\"{}\"...", "x".repeat(32)));
        assert_eq!(shown(Arg::Bytes(&long[..32])), format!("\"{}\"", "x".repeat(32)));
    }

    #[test]
    fn flags_are_named_and_unknown_bits_shown() {
        let word = |bits| shown(Arg::Flags(bits, flags::Ms::TABLE));
        assert_eq!(word(2 | 4 | 8), "MS_NOSUID|MS_NODEV|MS_NOEXEC");
        assert_eq!(word(2 | 1 << 40), "MS_NOSUID|0x10000000000");
        assert_eq!(word(0), "0");
        assert_eq!(shown(Arg::Flags(0, flags::Prot::TABLE)), "PROT_NONE");
    }

    #[test]
    fn numbers_have_the_form_that_fits_them() {
        assert_eq!(shown(Arg::Octal(0o555)), "0555");
        assert_eq!(shown(Arg::Octal(0)), "00");
        assert_eq!(shown(Arg::Fd(-1)), "-1");
        assert_eq!(shown(Arg::Fd(libc::AT_FDCWD)), "AT_FDCWD");
        assert_eq!(shown(Arg::Signal(9)), "SIGKILL");
        assert_eq!(shown(Arg::Signal(99)), "99");
    }

    #[test]
    fn a_long_argv_is_cut() {
        let argv = vec![Some(ThinCStr::new(c"x")); 40];
        let expected = format!("[{}...]", r#""x", "#.repeat(32));
        assert_eq!(shown(Arg::Argv(&argv)), expected);
        assert_eq!(shown(Arg::Argv(&argv[..2])), r#"["x", "x"]"#);
    }

    #[test]
    fn what_the_kernel_wrote_is_shown_only_after_a_call_that_worked() {
        let status = Arg::Out(0x1000, 4, Shown::Status);
        assert_eq!(
            after(status, Ok(1), &[0, 42, 0, 0]),
            "[{WIFEXITED(s) && WEXITSTATUS(s) == 42}]"
        );
        assert_eq!(
            after(status, Ok(1), &[9, 0, 0, 0]),
            "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]"
        );
        assert_eq!(after(status, Err(Errno::ECHILD), &[]), "0x1000");
        assert_eq!(after(Arg::Out(0x1000, 9, Shown::Text), Ok(2), b"/x"), r#""/x""#);
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
