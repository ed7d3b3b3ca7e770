//! Level 4. A system call as a line of shell: what `--dry-run=sh` prints. The closest that
//! unshare(1), mount(8) and pivot_root(8) come to it, for those who want to take the story apart
//! at a prompt. Pure.
//!
//! All that happens in the container stands in the single quotes of `sh -c '...'`; a quote inside
//! them is `QUOTE`.

use syscalls::Sysno;

use crate::arch::Strings;
use crate::buf::{Buffer, Line};
use crate::flags::{Clone, Ms};
use crate::trace::{self, Arg, Call, Filled};

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
        match (call.number, call.args) {
            (Sysno::clone, &[_, Arg::CloneFlags(flags)]) => {
                self.inside = true;
                clone(line, flags);
            }
            _ if !self.inside => {}
            (Sysno::sethostname, &[Arg::Bytes(name), ..]) => {
                quote(line.push("hostname -- "), name).push("\n");
            }
            (Sysno::mount, args) => mount(line, args),
            (Sysno::mount_setattr, &[_, Arg::Str(path), _, Arg::Struct(_, filled), _]) => {
                if let Filled::MountAttr(flags) = filled {
                    // Not recursive: mount(8) learnt that late. Few images have mounts in them.
                    line.push("mount -o remount,bind");
                    options(line, flags.into()); // the low bits are those of MS_
                    quote_path(line.push(" "), path.to_bytes()).push("\n");
                }
            }
            (Sysno::umask, &[mask]) => {
                trace::argument(line.push("umask "), mask, None);
                line.push("\n");
            }
            (Sysno::mknodat, &[_, Arg::Str(path), Arg::Mode(_), Arg::Device([major, minor])]) => {
                quote_path(line.push("mknod -m 666 "), path.to_bytes()).push(" c ");
                line.push_decimal(major.into()).push(" ").push_decimal(minor.into()).push("\n");
            }
            (Sysno::mknodat, &[_, Arg::Str(path), _]) => {
                quote_path(line.push("touch "), path.to_bytes()).push("\n");
            }
            (Sysno::symlinkat, &[Arg::Str(target), _, Arg::Str(path)]) => {
                quote(line.push("ln -s "), target.to_bytes()).push(" ");
                quote_path(line, path.to_bytes()).push("\n");
            }
            (Sysno::chroot, &[Arg::Str(path)]) if path != c"." => {
                self.chroot.push(path.to_bytes()); // `.` is where pivot_root has brought us
            }
            (Sysno::chdir, &[Arg::Str(path)]) if waits => {
                self.directory.clear();
                self.directory.push(path.to_bytes());
            }
            (Sysno::chdir, &[Arg::Str(path)]) => change_directory(line, path.to_bytes()),
            (Sysno::openat, &[_, Arg::Str(path), Arg::OpenFlags(flags)])
                if flags & libc::O_PATH as u64 != 0 =>
            {
                self.open(line, path.to_bytes());
                return;
            }
            (Sysno::fchdir, _) if self.there => {}
            (Sysno::fchdir, _) => drop(line.push("cd \"$root\"\n")),
            (Sysno::mkdirat, &[directory, Arg::Str(path), mode]) => {
                line.push(if matches!(directory, Arg::Fd(0..)) { "cd \"$root\"\n" } else { "" });
                trace::argument(line.push("mkdir -m "), mode, None);
                quote_path(line.push(" "), path.to_bytes()).push("\n");
            }
            (Sysno::pivot_root, _) => {
                line.push("pivot_root . .\n");
                line.push("cd /  # of the image, and so are the programs from here on\n");
                line.push("hash -r\n");
            }
            (Sysno::umount2, &[Arg::Str(path), _]) => {
                quote_path(line.push("umount -l "), path.to_bytes()).push("\n");
            }
            (Sysno::keyctl | Sysno::prlimit64 | Sysno::seccomp | Sysno::capset, _) => {
                trace::call(line.push("# no command does this: "), call, None);
                line.push("\n");
            }
            (Sysno::execve, &[Arg::Str(program), Arg::Argv(argv), Arg::Envp(environment)]) => {
                self.execute(line, program.to_bytes(), argv, environment);
            }
            (Sysno::exit_group, &[Arg::Signed(status)]) => {
                line.push("exit ").push_decimal(status.unsigned_abs() as u64).push("\n'\n");
                self.end();
            }
            _ => {}
        }
        self.there = false;
    }

    /// First of all the image; then a directory in it, where no link is followed.
    fn open(&mut self, line: &mut Buffer, path: &[u8]) {
        if self.root_open {
            quote_path(line.push("cd \"$root\"\n[ ! -L "), path).push(" ]\n");
        }
        change_directory(line, path);
        line.push(if self.root_open { "" } else { "root=$PWD\n" });
        self.there = self.root_open;
        self.root_open = true;
    }

    /// The quotes are closed: nothing of the container's follows.
    pub fn end(&mut self) {
        self.inside = false;
    }

    fn execute(&self, line: &mut Buffer, program: &[u8], argv: Strings, environment: Strings) {
        line.push("exec ");
        if !self.chroot.as_bytes().is_empty() {
            quote_path(line.push("chroot "), self.chroot.as_bytes());
            // chroot(8) changes to the root; whoever is started there has to change further.
            line.push(" sh -c ").push(QUOTE).push(r#"cd "$0" && exec "$@""#).push(QUOTE).push(" ");
            quote_path(line, self.directory.as_bytes()).push(" ");
        }
        line.push("env -i --");
        for entry in environment.iter().flatten() {
            quote(line.push(" "), entry.to_cstr().to_bytes());
        }
        if program.contains(&b'=') {
            // To env(1) this would be a variable.
            line.push(" sh -c ").push(QUOTE).push(r#"exec "$0" "$@""#).push(QUOTE);
        }
        quote_path(line.push(" "), program);
        for word in argv.get(1..).unwrap_or(&[]).iter().flatten() {
            quote(line.push(" "), word.to_cstr().to_bytes());
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
    line.push("exec unshare --fork --kill-child");
    for (flag, option) in UNSHARE {
        line.push(if flags & flag.bits() != 0 { option } else { "" });
    }
    line.push(" sh -euc '\n");
}

fn mount(line: &mut Buffer, args: &[Arg]) {
    let &[source, Arg::Str(target), fstype, Arg::Flags(flags, _), data] = args else { return };
    let has = |flag: Ms| flags & flag.bits() != 0;
    match (source, fstype) {
        (_, Arg::Str(fstype)) => {
            quote(line.push("mount -t "), fstype.to_bytes()).push(" -o rw");
            options(line, flags);
            if let Arg::Bytes(data) = data {
                line.push(",").push(data); // ours, and plain
            }
            quote(line.push(" "), fstype.to_bytes());
        }
        _ if has(Ms::PRIVATE) => drop(line.push("mount --make-rprivate")),
        _ if has(Ms::REMOUNT) => options(line.push("mount -o remount,bind,rw"), flags),
        (Arg::Str(source), _) => {
            line.push(match (has(Ms::BIND), has(Ms::REC)) {
                (true, true) => "mount --rbind ",
                (true, false) => "mount --bind ",
                _ => "mount --move ",
            });
            quote_path(line, source.to_bytes());
        }
        _ => return,
    }
    quote_path(line.push(" "), target.to_bytes()).push("\n");
}

fn options(line: &mut Buffer, flags: u64) {
    for (flag, option) in [
        (Ms::RDONLY, ",ro"),
        (Ms::NOSUID, ",nosuid"),
        (Ms::NODEV, ",nodev"),
        (Ms::NOEXEC, ",noexec"),
    ] {
        line.push(if flags & flag.bits() != 0 { option } else { "" });
    }
}

fn change_directory(line: &mut Buffer, path: &[u8]) {
    quote_path(line.push("cd "), path).push("\n");
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
            line.push(QUOTE).push("\\").push(QUOTE).push(QUOTE);
        } else {
            line.push([byte]);
        }
    }
    line.push(QUOTE)
}
