//! What a step has changed, read back from the kernel for `--explain`. All of it goes behind the
//! doorway's back: a look that a plain run doesn't take is not part of the story.

use core::ffi::CStr;
use syscalls::{Errno, Sysno};

use super::{AT_FDCWD, raw};
use crate::buf::Line;
use crate::flags::O;
use crate::steps::Step;

/// The namespaces of /proc/self/ns, in the order in which they are told.
const LINKS: [&CStr; 7] = [
    c"/proc/self/ns/user",
    c"/proc/self/ns/uts",
    c"/proc/self/ns/pid",
    c"/proc/self/ns/mnt",
    c"/proc/self/ns/ipc",
    c"/proc/self/ns/cgroup",
    c"/proc/self/ns/net",
];

type Name = Line<32>;

/// Where we were before the clone: `uts:[4026531838]` and its like.
pub(super) struct Namespaces([Name; LINKS.len()]);

impl Namespaces {
    pub const fn new() -> Self {
        Namespaces([const { Name::new() }; LINKS.len()])
    }

    pub fn remember(&mut self) {
        for (name, link) in self.0.iter_mut().zip(LINKS) {
            *name = read_link(link);
        }
    }

    /// Tells those in which we are no longer.
    pub fn changed(&mut self, mut tell: impl FnMut(&[u8])) {
        for (before, link) in self.0.iter().zip(LINKS) {
            let now = read_link(link);
            if now.as_bytes() != before.as_bytes() {
                let mut line = Line::<80>::new();
                line.push(now.as_bytes()).push(", no longer ").push(before.as_bytes());
                tell(line.as_bytes());
            }
        }
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells what `step` has changed, as far as it can be seen from where we are.
pub(super) fn after(step: Step, mut tell: impl FnMut(&[u8])) {
    match step {
        Step::MapIds => {
            file(c"/proc/self/uid_map", "uid_map is", &mut tell);
            file(c"/proc/self/gid_map", "gid_map is", &mut tell);
        }
        Step::BecomeUser => status(&[b"Uid:", b"Gid:", b"Groups:"], &mut tell),
        Step::Capabilities => status(&[b"CapEff:", b"CapBnd:"], &mut tell),
        Step::Hostname => file(c"/proc/sys/kernel/hostname", "the host name is", &mut tell),
        Step::Proc => last_line(c"/proc/self/mountinfo", &mut tell), // the newest mount
        Step::LeaveHost => every_line(c"/proc/self/mountinfo", &mut tell),
        Step::EnterRoot | Step::PivotRoot | Step::Chroot | Step::Workdir => {
            working_directory(&mut tell);
        }
        _ => {}
    }
}

fn read_link(path: &CStr) -> Name {
    let mut target = [0; 32];
    let mut name = Name::new();
    let to = target.as_mut_ptr() as usize;
    let args = [AT_FDCWD as usize, path.as_ptr() as usize, to, target.len()];
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let read = unsafe { raw(Sysno::readlinkat, args) };
    name.push(read.ok().and_then(|length| target.get(..length)).unwrap_or(b"?"));
    name
}

fn working_directory(tell: &mut impl FnMut(&[u8])) {
    let mut path = [0; 512];
    // SAFETY: as in `read_link`. The length that it returns counts the NUL.
    let read = unsafe { raw(Sysno::getcwd, [path.as_mut_ptr() as usize, path.len()]) };
    if let Ok(length) = read {
        let mut line = Line::<600>::new();
        line.push("the working directory is ");
        line.push_visible(path.get(..length.saturating_sub(1)).unwrap_or(&[]));
        tell(line.as_bytes());
    }
}

/// Lines of our status in /proc, by what they begin with.
fn status(wanted: &[&[u8]], tell: &mut impl FnMut(&[u8])) {
    let mut words = Line::<200>::new();
    read_lines(c"/proc/self/status", &mut |line| {
        if wanted.iter().any(|word| line.starts_with(word)) {
            words.push(line).push(" ");
        }
    });
    words.replace(b'\t', b' ');
    tell(words.as_bytes());
}

/// The lines of a small file.
fn file(path: &CStr, what: &str, tell: &mut impl FnMut(&[u8])) {
    let mut line = Line::<200>::new();
    line.push(what);
    let mut first = true;
    read_lines(path, &mut |content| {
        line.push(if core::mem::take(&mut first) { "" } else { "," });
        for word in content.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
            line.push(" ").push_visible(word);
        }
    });
    if !first {
        tell(line.as_bytes());
    }
}

fn last_line(path: &CStr, tell: &mut impl FnMut(&[u8])) {
    let mut last = Line::<512>::new();
    read_lines(path, &mut |line| {
        last.clear();
        last.push_visible(line);
    });
    if !last.as_bytes().is_empty() {
        tell(last.as_bytes());
    }
}

fn every_line(path: &CStr, tell: &mut impl FnMut(&[u8])) {
    read_lines(path, &mut |line| {
        let mut shown = Line::<512>::new();
        shown.push_visible(line);
        tell(shown.as_bytes());
    });
}

/// Gives each line to `take`, cut at 1 KiB. A file that can't be read has none.
fn read_lines(path: &CStr, take: &mut dyn FnMut(&[u8])) {
    let args = [AT_FDCWD as usize, path.as_ptr() as usize, O::CLOEXEC.bits() as usize];
    // SAFETY: the kernel copies the path.
    let Ok(fd) = (unsafe { raw(Sysno::openat, args) }) else { return };
    let mut line = Line::<1024>::new();
    let mut block = [0; 1024];
    loop {
        // SAFETY: the kernel writes at most as much as fits.
        match unsafe { raw(Sysno::read, [fd, block.as_mut_ptr() as usize, block.len()]) } {
            Err(Errno::EINTR) => {}
            Err(_) | Ok(0) => break,
            Ok(length) => {
                for &byte in block.get(..length).unwrap_or(&[]) {
                    if byte == b'\n' {
                        take(line.as_bytes());
                        line.clear();
                    } else {
                        line.push([byte]);
                    }
                }
            }
        }
    }
    // SAFETY: it is ours, and was just opened.
    let _closed = unsafe { raw(Sysno::close, [fd]) };
}
