//! Level 4. A system call as a line of shell: what `--dry-run=sh` prints. The closest that
//! unshare(1), mount(8) and pivot_root(8) come to it, for those who want to take the story apart
//! at a prompt. Pure.
//!
//! All that happens in the container stands in the single quotes of `sh -c '...'`; a quote inside
//! them is `QUOTE`.

use syscalls::Sysno;

use crate::buf::{Buffer, Line, copied, has};
use crate::flags::{Clone, Ms};
use crate::packed;
use crate::trace::{self, Call};

/// What of the calls so far the later lines depend on.
pub struct Script {
    /// After the clone: inside the quotes.
    inside: bool,
    /// The image's root is open, and `$root` names it.
    root_open: bool,
    /// The last call opened a directory, and the shell went there at once.
    there: bool,
    /// chroot(8) starts a program, so the two calls that come before one wait for the exec.
    chroot: Line<4096>,
    directory: Line<4096>,
}

/// A single quote of the shell inside.
const QUOTE: &str = r"'\''";

const TO_ROOT: &str = "cd \"$root\"\n";

impl Script {
    pub const HEAD: &str = "#!/bin/sh\n# Made by tinyctr --dry-run=sh.\n";

    pub const fn new() -> Self {
        Script {
            inside: false,
            root_open: false,
            there: false,
            chroot: Line::new(),
            directory: Line::new(),
        }
    }

    /// Makes a comment fit for the place where it will stand.
    pub fn comment(&self, line: &mut Buffer) {
        if self.inside {
            line.replace(b'\'', b'`'); // no quote may close ours
        }
    }

    /// Appends the lines for a call that worked; none where a shell needs none.
    pub fn line(&mut self, line: &mut Buffer, call: &Call) {
        let waits = !self.chroot.as_bytes().is_empty();
        let [first, _, third, ..] = call.registers;
        match call.number() {
            // The guard, beside us. unshare(1) has --kill-child.
            Sysno::clone if trace::is_beside(call.registers[1]) => {}
            Sysno::clone => {
                self.inside = true;
                line.push("exec unshare --fork --kill-child");
                push_chosen(line, call.registers[1], UNSHARE);
                line.push(" sh -euc '\n");
            }
            _ if !self.inside => {}
            Sysno::mount => mount(line, call),
            Sysno::mount_setattr => {
                // Not recursive: mount(8) learnt that late. Few images have mounts in them.
                line.push("mount -o remount,bind");
                // The low bits are those of MS_.
                push_chosen(line, call.half(call.registers[3]) as usize, OPTIONS);
                fill(line, b" @1\n", call);
            }
            Sysno::mknodat if third as u32 & libc::S_IFMT == libc::S_IFCHR => {
                let device = call.registers[3] as u64;
                fill(line, b"mknod -m 666 @1 c ", call);
                line.push_decimal(device >> 8).push(" ").push_decimal(device & 0xff).push("\n");
            }
            // `.` is where pivot_root has brought us.
            Sysno::chroot if call.text(0) != b"." => drop(self.chroot.push(call.text(0))),
            Sysno::chdir if waits => {
                self.directory.clear();
                self.directory.push(call.text(0));
            }
            Sysno::openat if third & libc::O_PATH as usize != 0 => {
                self.open(line, call);
                return;
            }
            Sysno::fchdir if self.there => {}
            Sysno::fchdir => drop(line.push(TO_ROOT)),
            Sysno::mkdirat => {
                line.push(if first as i32 >= 0 { TO_ROOT } else { "" });
                fill(line, b"mkdir -m =2 @1\n", call);
            }
            // A file, beneath the directory where we stand. A link there would be followed.
            Sysno::move_mount if call.registers[4] != 0 => {
                fill(line, b"[ -L @3 ] || mount --move @1 @3\n", call);
            }
            Sysno::keyctl | Sysno::prlimit64 | Sysno::seccomp | Sysno::capset => {
                trace::call(line.push("# no command does this: "), call, None);
                line.push("\n");
            }
            Sysno::execve => self.execute(line, call),
            Sysno::exit_group => {
                fill(line, b"exit =0\n'\n", call);
                self.end();
            }
            number => {
                let (numbers, texts) = SIMPLE;
                if let Some(at) = numbers.iter().position(|simple| *simple == number) {
                    fill(line, packed::part(texts, at), call);
                }
            }
        }
        self.there = false;
    }

    /// First of all the image; then a directory in it, where no link is followed.
    fn open(&mut self, line: &mut Buffer, call: &Call) {
        if self.root_open {
            fill(line, b"cd \"$root\"\n[ ! -L @1 ]\n", call);
        }
        fill(line, b"cd @1\n", call);
        line.push(if self.root_open { "" } else { "root=$PWD\n" });
        self.there = self.root_open;
        self.root_open = true;
    }

    /// The quotes are closed: nothing of the container's follows.
    pub fn end(&mut self) {
        self.inside = false;
    }

    fn execute(&self, line: &mut Buffer, call: &Call) {
        line.push("exec ");
        if !self.chroot.as_bytes().is_empty() {
            quote_path(line.push("chroot "), self.chroot.as_bytes());
            // chroot(8) changes to the root; whoever is started there has to change further.
            line.push(r#" sh -c '\''cd "$0" && exec "$@"'\'' "#);
            quote_path(line, self.directory.as_bytes()).push(" ");
        }
        line.push("env -i --");
        for entry in call.strings(2) {
            quote(line.push(" "), entry);
        }
        if has(call.text(0), b'=') {
            // To env(1) this would be a variable.
            line.push(r#" sh -c '\''exec "$0" "$@"'\''"#);
        }
        quote_path(line.push(" "), call.text(0));
        for word in call.strings(1).skip(1) {
            quote(line.push(" "), word);
        }
        line.push("\n'\n");
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

/// Declares a list of numbers, and a text for each.
macro_rules! texts {
    ($(#[$doc:meta])* $name:ident: [$type:ty] = $($number:expr => $text:literal,)*) => {
        $(#[$doc])*
        const $name: (&[$type], &[u8]) = {
            const PLAIN: &[u8] = concat!($($text, "\x1f"),*).as_bytes();
            static TEXTS: [u8; PLAIN.len()] = copied(PLAIN);
            static NUMBERS: [$type; [$($text),*].len()] = [$($number),*];
            (&NUMBERS, &TEXTS)
        };
    };
}

texts! {
    /// The calls that a few words do, see `fill`.
    SIMPLE: [Sysno] =
    Sysno::sethostname => "hostname -- %0\n",
    Sysno::umask => "umask =0\n",
    Sysno::mknodat => "touch @1\n",
    Sysno::ioctl => "ip link set lo up\n",
    Sysno::symlinkat => "ln -s %0 @2\n",
    Sysno::chdir => "cd @0\n",
    Sysno::pivot_root => "pivot_root . .\n\
        cd /  # of the image, and so are the programs from here on\n\
        hash -r\n",
    Sysno::move_mount => "cd \"$root\"\n[ ! -L %3 ]\nmount --move @1 %3\n",
    Sysno::umount2 => "umount -l @0\n",
}

texts! {
    /// The options of unshare(1), and the flags that they stand for.
    UNSHARE: [u64] =
    Clone::NEWUSER.bits() => " --user --map-root-user",
    Clone::NEWUTS.bits() => " --uts",
    Clone::NEWPID.bits() => " --pid",
    Clone::NEWNS.bits() => " --mount --propagation unchanged",
    Clone::NEWIPC.bits() => " --ipc",
    Clone::NEWNET.bits() => " --net",
    Clone::NEWCGROUP.bits() => " --cgroup",
}

texts! {
    /// The options of mount(8).
    OPTIONS: [u64] =
    Ms::RDONLY.bits() => ",ro",
    Ms::NOSUID.bits() => ",nosuid",
    Ms::NODEV.bits() => ",nodev",
    Ms::NOEXEC.bits() => ",noexec",
}

/// A text with arguments of the call in it: `=0` as strace(1) shows it, `@0` a path, `%0` another
/// word.
fn fill(line: &mut Buffer, text: &[u8], call: &Call) {
    let mut text = text.iter();
    while let Some(&byte) = text.next() {
        let mut argument = || usize::from(text.next().unwrap_or(&0).wrapping_sub(b'0'));
        match byte {
            b'=' => trace::argument(line, call, argument(), None),
            b'@' => drop(quote_path(line, call.text(argument()))),
            b'%' => drop(quote(line, call.text(argument()))),
            _ => drop(line.push([byte])),
        }
    }
}

fn push_chosen(line: &mut Buffer, flags: usize, (bits, options): (&[u64], &[u8])) {
    for (at, flag) in bits.iter().enumerate() {
        if flags as u64 & flag != 0 {
            line.push(packed::part(options, at));
        }
    }
}

fn mount(line: &mut Buffer, call: &Call) {
    let [_, _, fstype, flags, data, _] = call.registers;
    let has = |flag: Ms| flags as u64 & flag.bits() != 0;
    if fstype != 0 {
        fill(line, b"mount -t %2 -o rw", call);
        push_chosen(line, flags, OPTIONS);
        if data != 0 {
            line.push(",").push(call.text(4)); // ours, and plain
        }
        fill(line, b" %2", call);
    } else if has(Ms::PRIVATE) {
        line.push("mount --make-rprivate");
    } else if has(Ms::REMOUNT) {
        line.push(if has(Ms::BIND) { "mount -o remount,bind" } else { "mount -o remount" });
        push_chosen(line.push(",rw,dev"), flags, OPTIONS);
    } else {
        line.push(match (has(Ms::BIND), has(Ms::REC)) {
            (true, true) => "mount --rbind ",
            (true, false) => "mount --bind ",
            _ => "mount --move ",
        });
        quote_path(line, call.text(0));
    }
    fill(line, b" @1\n", call);
}

/// A path, which must look like one: neither an option, nor `-`, nor a name for CDPATH.
fn quote_path<'a>(line: &'a mut Buffer, path: &[u8]) -> &'a mut Buffer {
    line.push(if path.starts_with(b"/") || path.starts_with(b".") { "" } else { "./" });
    quote(line, path)
}

/// A word for the shell inside.
fn quote<'a>(line: &'a mut Buffer, word: &[u8]) -> &'a mut Buffer {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./=:,%+@".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return line.push(word);
    }
    line.push(QUOTE);
    for &byte in word {
        if byte == b'\'' {
            // Inside: out of the quotes, an escaped quote, and back in.
            line.push(r"'\''\'\'''\''");
        } else {
            line.push([byte]);
        }
    }
    line.push(QUOTE)
}
