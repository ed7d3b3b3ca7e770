//! `--dry-run`: the doorway shut. Calls that only look are made; calls that change anything are
//! told and answered as if they had worked. The child of a rehearsal is a process like its parent,
//! in no new namespace; it ends where it would have become the command.
//!
//! To answer truly where PATH or `/proc` lead inside an image that is nobody's root, look-ups go
//! through openat2(2) with RESOLVE_IN_ROOT. Before Linux 5.6 there is none: then the answer is yes.

use core::ffi::{CStr, c_char};
use core::mem::size_of_val;
use syscalls::{Errno, Sysno};

use super::{AT_FDCWD, make, raw};
use crate::buf::Line;
use crate::flags::{Clone, O};
use crate::trace::{Call, Door};

/// Where our own descriptor goes, so that those of the story have the numbers of a real run.
const OUT_OF_THE_WAY: usize = 500;

pub(super) struct Rehearsal {
    on: bool,
    /// What the root would be by now.
    root: Option<i32>,
    in_child: bool,
    /// In a user namespace of its own: with every capability.
    would_be_root: bool,
    /// A directory would have been made, so that opening it would work.
    made: bool,
}

impl Rehearsal {
    pub fn begin(&mut self) {
        self.on = true;
    }

    pub fn end(&mut self) {
        self.on = false;
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The process is cloned, the namespaces are not.
    pub fn clone_flags(&mut self, flags: u64) -> u64 {
        self.in_child = true;
        self.would_be_root = flags & Clone::NEWUSER.bits() != 0;
        (Clone::VM | Clone::VFORK).bits() | libc::SIGCHLD as u64
    }

    /// # Safety
    /// That of `super::enter`.
    pub unsafe fn make(&mut self, call: &Call) -> Result<usize, Errno> {
        // SAFETY: the caller's contract: it is made with its own arguments.
        let make = || unsafe { make(call) };
        let [first, second, length, ..] = call.registers;
        match (call.number(), call.signature.door) {
            (Sysno::openat, Door::Open) => match make() {
                Err(Errno::ENOENT) if core::mem::take(&mut self.made) => open_nothing(),
                answer => answer,
            },
            (Sysno::openat, _) => open_nothing(),
            (Sysno::openat2, _) if self.root.is_some() => self.open_inside(path(second)),
            (Sysno::open_tree, _) => {
                self.find(path(second), libc::O_DIRECTORY).map(|fd| fd as usize)
            }
            (Sysno::flock, _) => match make() {
                Err(Errno::EBADF) => Ok(0), // what would be ours
                answer => answer,
            },
            (Sysno::close, Door::Shut) if self.in_child => make(), // the child is gone soon
            (Sysno::write, Door::Shut) => Ok(length),
            (Sysno::mkdirat, _) => {
                self.made = first as i32 >= 0; // in the image, and about to be opened
                Ok(0)
            }
            (Sysno::capget, _) if self.would_be_root => {
                // SAFETY: the wrapper has six words there, which it reads next.
                unsafe { *(second as *mut [u32; 6]) = [!0, !0, 0, !0, !0, 0] };
                Ok(0)
            }
            (Sysno::mount, _) => can_cover(path(second)),
            (Sysno::move_mount, _) if call.registers[4] == 0 => is_place(length, call.registers[3]),
            (Sysno::move_mount, _) => exists(length, call.registers[3]),
            (Sysno::prctl, Door::Shut) if first == libc::PR_CAPBSET_DROP as usize => {
                is_known(second)
            }
            // Where we stand is nobody's business but our own, and where we look from.
            (Sysno::chdir, _) => self.stand_in(path(first)),
            (Sysno::fchdir, _) => make(),
            (Sysno::pivot_root | Sysno::chroot, _) => self.enter_root(path(first)),
            (Sysno::execve, _) => self.can_execute(path(first)),
            (_, Door::Open) => make(),
            (_, Door::Shut) => Ok(0),
        }
    }

    fn enter_root(&mut self, path: &CStr) -> Result<usize, Errno> {
        if self.root.is_none() {
            let found = self.find(path, libc::O_DIRECTORY)?;
            let args = [found as usize, libc::F_DUPFD_CLOEXEC as usize, OUT_OF_THE_WAY];
            // SAFETY: it takes a number, and touches no memory.
            let root = unsafe { raw(Sysno::fcntl, args) }?;
            close(found);
            self.root = Some(root as i32);
        }
        Ok(0)
    }

    fn stand_in(&self, path: &CStr) -> Result<usize, Errno> {
        let directory = match self.find(path, libc::O_DIRECTORY) {
            Err(Errno::ENOSYS) => return Ok(0),
            found => found?,
        };
        // SAFETY: the call touches no memory of ours.
        let answer = unsafe { raw(Sysno::fchdir, [directory as usize]) };
        close(directory);
        answer
    }

    fn can_execute(&self, path: &CStr) -> Result<usize, Errno> {
        let file = match self.find(path, 0) {
            Err(Errno::ENOSYS) => return Ok(0),
            found => found?,
        };
        let args = [file as usize, c".".as_ptr() as usize, libc::F_OK as usize];
        // SAFETY: the kernel copies the path. `.` exists in a directory only.
        let directory = unsafe { raw(Sysno::faccessat, args) };
        let (x_ok, empty_path) = (libc::X_OK as usize, libc::AT_EMPTY_PATH as usize);
        let args = [file as usize, c"".as_ptr() as usize, x_ok, empty_path];
        // SAFETY: as above.
        let answer = unsafe { raw(Sysno::faccessat2, args) };
        close(file);
        match (directory, answer) {
            (Ok(_), _) => Err(Errno::EACCES),
            (_, Err(Errno::ENOSYS)) => Ok(0), // faccessat2 is younger than openat2
            (_, answer) => answer,
        }
    }

    /// Opens a file of the image to read it, as `sys::open_to_read` does.
    fn open_inside(&self, path: &CStr) -> Result<usize, Errno> {
        let file = self.find(path, 0)? as usize;
        let mut name = Line::<32>::new();
        let name = name.push("/proc/self/fd/").push_decimal(file as u64).push("\0").as_cstr();
        let name = name.unwrap_or(c"").as_ptr() as usize;
        let flags = (O::NONBLOCK | O::NOCTTY | O::CLOEXEC).bits() as usize;
        // SAFETY: the kernel copies the path.
        let opened = unsafe { raw(Sysno::openat, [AT_FDCWD as usize, name, flags]) };
        close(file as i32);
        opened
    }

    /// Opens `path` as what it would name: in the root that would be ours.
    fn find(&self, path: &CStr, flags: i32) -> Result<i32, Errno> {
        const RESOLVE_IN_ROOT: usize = 0x10; // include/uapi/linux/openat2.h
        let flags = (libc::O_PATH | libc::O_CLOEXEC | flags) as usize;
        let from = match self.root {
            Some(root) if path.to_bytes().starts_with(b"/") => root,
            Some(_) => AT_FDCWD, // which is the root, wherever a path is looked up
            None => {
                let args = [AT_FDCWD as usize, path.as_ptr() as usize, flags];
                // SAFETY: the kernel copies the path.
                return unsafe { raw(Sysno::openat, args) }.map(|fd| fd as i32);
            }
        };
        let how = [flags, 0, RESOLVE_IN_ROOT]; // struct open_how: flags, mode, resolve
        let (at, size) = (how.as_ptr() as usize, size_of_val(&how));
        // SAFETY: the kernel reads the path and the three words of `how`.
        unsafe { raw(Sysno::openat2, [from as usize, path.as_ptr() as usize, at, size]) }
            .map(|fd| fd as i32)
    }
}

/// A path of the call that is made.
fn path<'a>(register: usize) -> &'a CStr {
    // SAFETY: it is asked for where the kernel expects a path, so `call!` made it from one.
    unsafe { CStr::from_ptr(register as *const c_char) }
}

/// A descriptor with the number that the file would have had, to be written to by nobody.
fn open_nothing() -> Result<usize, Errno> {
    let flags = (O::PATH | O::CLOEXEC).bits() as usize;
    // SAFETY: the kernel copies the path.
    unsafe { raw(Sysno::openat, [AT_FDCWD as usize, c"/".as_ptr() as usize, flags]) }
}

/// PR_CAPBSET_DROP fails for a capability that the kernel doesn't know.
fn is_known(capability: usize) -> Result<usize, Errno> {
    // SAFETY: the call touches no memory.
    unsafe { raw(Sysno::prctl, [libc::PR_CAPBSET_READ as usize, capability]) }.map(|_| 0)
}

/// What our own /proc and /sys would have is what the host's have. (Elsewhere nothing is asked:
/// there we would have made the place.)
fn can_cover(target: &CStr) -> Result<usize, Errno> {
    let path = target.to_bytes();
    if !path.starts_with(b"/proc/") && !path.starts_with(b"/sys/") {
        return Ok(0);
    }
    exists(AT_FDCWD as usize, target.as_ptr() as usize)
}

/// A directory takes a directory, and a link is none (do_move_mount in fs/namespace.c).
fn is_place(directory: usize, path: usize) -> Result<usize, Errno> {
    let flags = (O::PATH | O::NOFOLLOW | O::DIRECTORY | O::CLOEXEC).bits() as usize;
    // SAFETY: the kernel copies the path.
    match unsafe { raw(Sysno::openat, [directory, path, flags]) } {
        Ok(fd) => close(fd as i32),
        Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(Errno::EINVAL),
        Err(errno) => return Err(errno),
    }
    Ok(0)
}

fn exists(directory: usize, path: usize) -> Result<usize, Errno> {
    // SAFETY: the kernel copies the path.
    unsafe { raw(Sysno::faccessat, [directory, path, libc::F_OK as usize]) }
}

fn close(fd: i32) {
    // SAFETY: it is ours, and was just opened.
    let _closed = unsafe { raw(Sysno::close, [fd as usize]) };
}
