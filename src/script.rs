//! Level 2. A system call as a line of shell: what `--dry-run=sh` prints. The closest that
//! unshare(1), mount(8), pivot_root(8) and chroot(8) come to it, for those who want to take the
//! story apart at a prompt. Pure.

use syscalls::Sysno;

use crate::arch::Strings;
use crate::buf::Buffer;
use crate::flags::{Clone, Ms};
use crate::trace::{Arg, Call};

/// What of the calls so far the later lines depend on.
pub struct Script {
    /// After the clone: inside the quotes of `sh -c '...'`.
    open: bool,
    /// chroot(8) goes together with the exec.
    chroot: bool,
}

impl Script {
    pub const fn new() -> Self {
        Script { open: false, chroot: false }
    }

    /// Whether the first line is there.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Appends the lines for `call`; none where a shell has done it already, or needs not to.
    pub fn line(&mut self, line: &mut Buffer, call: &Call) {
        match (call.number, call.args) {
            (Sysno::clone, &[_, Arg::CloneFlags(flags)]) => {
                self.open = true;
                clone(line, flags);
            }
            _ if !self.open => {}
            (Sysno::sethostname, &[Arg::Bytes(name), ..]) => command(line, "hostname", name),
            (Sysno::mount, args) => mount(line, args),
            (Sysno::chdir, &[Arg::Str(path)]) => command(line, "cd", path.to_bytes()),
            (Sysno::openat, &[_, Arg::Str(path), Arg::OpenFlags(flags)])
                if flags & libc::O_PATH as u64 != 0 =>
            {
                // No link of the image is followed.
                quote(line.push("[ ! -L "), path.to_bytes()).push(" ]\n");
                command(line, "cd", path.to_bytes());
            }
            (Sysno::mkdirat, &[_, Arg::Str(path), _]) => {
                command(line, "mkdir -m 555", path.to_bytes());
            }
            (Sysno::pivot_root, _) => {
                line.push("pivot_root . .\n");
                line.push("cd /  # of the image, and so are the programs from here on\n");
                line.push("hash -r\n");
            }
            (Sysno::umount2, _) => drop(line.push("umount -l .\n")),
            (Sysno::chroot, &[Arg::Str(path)]) => {
                if path != c"." {
                    command(line, "cd", path.to_bytes());
                }
                self.chroot = true;
            }
            (Sysno::execve, &[Arg::Str(program), Arg::Argv(argv), Arg::Envp(environment)]) => {
                self.execute(line, program.to_bytes(), argv, environment);
            }
            _ => {}
        }
    }

    fn execute(&self, line: &mut Buffer, program: &[u8], argv: Strings, environment: Strings) {
        line.push(if self.chroot { "exec chroot . env -i" } else { "exec env -i" });
        let arguments = argv.get(1..).unwrap_or(&[]);
        let words = environment.iter().flatten().map(|entry| entry.to_cstr().to_bytes());
        let words = words.chain([program]);
        for word in words.chain(arguments.iter().flatten().map(|word| word.to_cstr().to_bytes())) {
            line.push(" ");
            quote(line, word);
        }
        line.push("\n'\n");
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

/// The options of unshare(1), and the flags that they stand for.
const UNSHARE: [(Clone, &str); 7] = [
    (Clone::NEWUSER, " --user --map-root-user"),
    (Clone::NEWUTS, " --uts"),
    (Clone::NEWPID, " --pid"),
    (Clone::NEWNS, " --mount --propagation unchanged"),
    (Clone::NEWIPC, " --ipc"),
    (Clone::NEWNET, " --net"),
    (Clone::NEWCGROUP, " --cgroup"),
];

fn clone(line: &mut Buffer, flags: u64) {
    line.push("#!/bin/sh\n# Made by tinyctr --dry-run=sh.\nexec unshare --fork --kill-child");
    for (flag, option) in UNSHARE {
        line.push(if flags & flag.bits() != 0 { option } else { "" });
    }
    line.push(" sh -euc '\n");
}

fn mount(line: &mut Buffer, args: &[Arg]) {
    let &[source, Arg::Str(target), fstype, Arg::Flags(flags, _), _] = args else { return };
    let has = |flag: Ms| flags & flag.bits() != 0;
    match (source, fstype) {
        (_, Arg::Str(fstype)) => {
            quote(line.push("mount -t "), fstype.to_bytes());
            quote(line.push(" -o nosuid,nodev,noexec "), fstype.to_bytes());
        }
        _ if has(Ms::PRIVATE) => drop(line.push("mount --make-rprivate")),
        (Arg::Str(source), _) => {
            line.push(if has(Ms::BIND) { "mount --rbind " } else { "mount --move " });
            quote(line, source.to_bytes());
        }
        _ => return,
    }
    quote(line.push(" "), target.to_bytes()).push("\n");
}

fn command(line: &mut Buffer, name: &str, argument: &[u8]) {
    quote(line.push(name).push(" "), argument).push("\n");
}

/// A single quote of the shell inside, within the single quotes of the shell outside.
const QUOTE: &str = r"'\''";

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
            line.push(QUOTE).push("\\").push(QUOTE).push(QUOTE);
        } else {
            line.push([byte]);
        }
    }
    line.push(QUOTE)
}
