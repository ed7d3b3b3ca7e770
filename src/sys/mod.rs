//! Level 5. The only doorway to the kernel: one typed function a system call, each three lines
//! that describe the call, and one place, `enter`, that makes it. Whoever wants to watch tinyctr,
//! or to stop it, has this one line to stand on.

mod memory;
mod observe;
mod rehearsal;
mod watch;

use core::convert::Infallible;
use core::ffi::{CStr, c_void};
use core::mem::{size_of_val, transmute};
use syscalls::{Errno, Sysno, syscall};

use crate::arch::{self, Strings};
use crate::flags::{Clone, Ended, Mnt, Ms, O};
use crate::trace::{Arg, Call, Door, Filled, Shown};

use memory::Resident;
pub use memory::{Arena, Stack, map_memory};
pub use watch::{Format, Orders, begin_watch, end_rehearsal, is_watchers, skippable, skips, step};

/// Relative paths start at the working directory.
const CWD: Arg = Arg::Fd(libc::AT_FDCWD);

pub const STDOUT: i32 = 1;
pub const STDERR: i32 = 2;

/// A call by its name: `call!(Open, chdir, [Arg::Str(path)])`.
macro_rules! call {
    ($door:ident, $name:ident, $args:expr) => {
        Call { number: Sysno::$name, name: stringify!($name), args: &$args, door: Door::$door }
    };
}
use call;

/// Makes the call.
///
/// # Safety
/// What the call does with its arguments is sound: memory it reads is initialised, memory it
/// writes is ours alone and long enough, and it changes no mapping that a reference points into.
#[inline(always)] // so that a call is passed in registers
unsafe fn enter(call: Call) -> Result<usize, Errno> {
    // SAFETY: the caller's contract.
    Errno::from_ret(unsafe { pass(call.number, call.name, call.args, call.door) })
}

/// The doorway: past the watcher, where there is one. The answer is the kernel's.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn pass(number: Sysno, name: &'static str, args: &[Arg], door: Door) -> usize {
    if watch::is_on() {
        // SAFETY: the caller's contract.
        return answer(unsafe { watch::enter(&Call { number, name, args, door }) });
    }
    // SAFETY: the caller's contract.
    unsafe { raw_answer(number, args) }
}

/// A result as the kernel gives it: one register.
fn answer(result: Result<usize, Errno>) -> usize {
    result.unwrap_or_else(|errno| (errno.into_raw() as usize).wrapping_neg())
}

/// The kernel itself, behind the doorway's back.
///
/// # Safety
/// As for `enter`.
#[inline(always)]
unsafe fn raw(number: Sysno, args: &[Arg]) -> Result<usize, Errno> {
    // SAFETY: the caller's contract.
    Errno::from_ret(unsafe { raw_answer(number, args) })
}

/// The one place where the kernel is entered.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn raw_answer(number: Sysno, args: &[Arg]) -> usize {
    let mut registers = [0; 6];
    for (register, arg) in registers.iter_mut().zip(args) {
        *register = arg.raw();
    }
    let [a, b, c, d, e, f] = registers;
    // SAFETY: the caller's contract. The kernel ignores registers beyond a call's own arguments.
    answer(unsafe { syscall!(number, a, b, c, d, e, f) })
}

// --- files -------------------------------------------------------------------------------------

/// `write(fd, buf, count)`, [write(2)](https://man7.org/linux/man-pages/man2/write.2.html).
/// May write less than it was given, as the man page says.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `count` bytes and keeps no pointer.
    unsafe {
        enter(call!(Shut, write, [Arg::Fd(fd), Arg::Bytes(bytes), Arg::Unsigned(bytes.len())]))
    }
}

/// `write` until all of it is written; a signal in between is no error.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return Err(Errno::EIO), // no progress and no error: don't spin
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `openat(AT_FDCWD, path, flags)`, [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
/// Not `open`: newer architectures lack it.
pub fn openat(path: &CStr, flags: O) -> Result<i32, Errno> {
    let args = [CWD, Arg::Str(path), Arg::OpenFlags(flags.bits())];
    let mut call = call!(Open, openat, args);
    if flags.contains(O::WRONLY) {
        call.door = Door::Shut;
    }
    // SAFETY: the kernel copies the path and keeps no pointer.
    unsafe { enter(call) }.map(|fd| fd as i32)
}

/// `close(fd)`, [close(2)](https://man7.org/linux/man-pages/man2/close.2.html).
pub fn close(fd: i32) -> Result<(), Errno> {
    // SAFETY: descriptors are plain numbers here; no object of ours owns one.
    unsafe { enter(call!(Shut, close, [Arg::Fd(fd)])) }.map(drop)
}

/// `close_range(first, ~0, 0)`,
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html), since Linux 5.9.
pub fn close_range_from(first: u32) -> Result<(), Errno> {
    let last = Arg::Unsigned(u32::MAX as usize);
    // SAFETY: as in `close`.
    unsafe {
        enter(call!(Shut, close_range, [Arg::Unsigned(first as usize), last, Arg::Unsigned(0)]))
    }
    .map(drop)
}

/// `getdents64(fd, dirp, count)`,
/// [getdents64(2)](https://man7.org/linux/man-pages/man2/getdents64.2.html).
/// Returns how many bytes of `entries` are filled; 0 at the end.
pub fn getdents64(fd: i32, entries: &mut [u8]) -> Result<usize, Errno> {
    let buffer = Arg::Out(entries.as_mut_ptr() as usize, entries.len() as u32, Shown::Entries);
    // SAFETY: the kernel writes at most `count` bytes to a buffer that is ours alone.
    unsafe { enter(call!(Open, getdents64, [Arg::Fd(fd), buffer, Arg::Unsigned(entries.len())])) }
}

/// `faccessat(AT_FDCWD, path, F_OK)`,
/// [access(2)](https://man7.org/linux/man-pages/man2/access.2.html): is anything there?
/// With a final slash in `path`: is a directory there? It leaves no descriptor behind.
pub fn exists(path: &CStr) -> Result<(), Errno> {
    let mode = Arg::Named(libc::F_OK as u32, "F_OK");
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Open, faccessat, [CWD, Arg::Str(path), mode])) }.map(drop)
}

/// `readlinkat(AT_FDCWD, path, buf, size)`,
/// [readlink(2)](https://man7.org/linux/man-pages/man2/readlink.2.html).
/// No NUL is written; a target that is as long as `target` may have been cut.
pub fn readlinkat<'a>(path: &CStr, target: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let buffer = Arg::Out(target.as_mut_ptr() as usize, target.len() as u32, Shown::Text);
    let size = Arg::Unsigned(target.len());
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call!(Open, readlinkat, [CWD, Arg::Str(path), buffer, size])) }?;
    Ok(target.get(..length).unwrap_or(&[]))
}

/// `getcwd(buf, size)`, [getcwd(2)](https://man7.org/linux/man-pages/man2/getcwd.2.html).
pub fn getcwd(path: &mut [u8]) -> Result<&[u8], Errno> {
    let buffer = Arg::Out(path.as_mut_ptr() as usize, path.len() as u32, Shown::Path);
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call!(Open, getcwd, [buffer, Arg::Unsigned(path.len())])) }?;
    Ok(path.get(..length.saturating_sub(1)).unwrap_or(&[])) // the kernel counts the NUL
}

/// `mkdirat(AT_FDCWD, path, mode)`,
/// [mkdir(2)](https://man7.org/linux/man-pages/man2/mkdir.2.html).
pub fn mkdirat(path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, mkdirat, [CWD, Arg::Str(path), Arg::Octal(mode)])) }.map(drop)
}

/// `ioctl(fd, TCGETS, &termios)`,
/// [TCGETS(2const)](https://man7.org/linux/man-pages/man2/TCGETS.2const.html):
/// what isatty(3) does. `ENOTTY` where `fd` is no terminal.
pub fn ioctl_tcgets(fd: i32) -> Result<(), Errno> {
    // libc's termios is larger than the kernel's on every machine, never smaller.
    let mut termios = core::mem::MaybeUninit::<libc::termios>::uninit();
    let request = Arg::Named(libc::TCGETS as u32, "TCGETS");
    let out = Arg::Out(termios.as_mut_ptr() as usize, size_of_val(&termios) as u32, Shown::Struct);
    // SAFETY: the kernel writes its `struct termios` there, and nobody reads it.
    unsafe { enter(call!(Open, ioctl, [Arg::Fd(fd), request, out])) }.map(drop)
}

// --- the container -----------------------------------------------------------------------------

/// `sethostname(name, len)`,
/// [sethostname(2)](https://man7.org/linux/man-pages/man2/sethostname.2.html).
/// Takes bytes, not a C string: the kernel counts, it does not look for NUL.
pub fn sethostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel copies `len` bytes and keeps no pointer.
    unsafe { enter(call!(Shut, sethostname, [Arg::Bytes(name), Arg::Unsigned(name.len())])) }
        .map(drop)
}

/// `mount("none", target, NULL, flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): a change of propagation. The
/// source is ignored.
pub fn mount_propagation(target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(Arg::Str(c"none"), target, Arg::Null, flags)
}

/// `mount(source, target, NULL, MS_BIND | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_bind(source: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(Arg::Str(source), target, Arg::Null, Ms::BIND | flags)
}

/// `mount(source, target, NULL, MS_MOVE, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_move(source: &CStr, target: &CStr) -> Result<(), Errno> {
    mount(Arg::Str(source), target, Arg::Null, Ms::MOVE)
}

/// `mount(fstype, target, fstype, flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html). The source of a virtual file
/// system is a word for `/proc/mounts`; its type is the customary one.
pub fn mount_new(fstype: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(Arg::Str(fstype), target, Arg::Str(fstype), flags)
}

fn mount(source: Arg, target: &CStr, fstype: Arg, flags: Ms) -> Result<(), Errno> {
    let flags = Arg::Flags(flags.bits(), Ms::TABLE);
    // SAFETY: the kernel copies the strings and keeps no pointer.
    unsafe { enter(call!(Shut, mount, [source, Arg::Str(target), fstype, flags, Arg::Null])) }
        .map(drop)
}

/// `umount2(target, flags)`, [umount(2)](https://man7.org/linux/man-pages/man2/umount.2.html).
pub fn umount2(target: &CStr, flags: Mnt) -> Result<(), Errno> {
    let flags = Arg::Flags(flags.bits(), Mnt::TABLE);
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, umount2, [Arg::Str(target), flags])) }.map(drop)
}

/// `pivot_root(new_root, put_old)`,
/// [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html).
pub fn pivot_root(new_root: &CStr, put_old: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, pivot_root, [Arg::Str(new_root), Arg::Str(put_old)])) }.map(drop)
}

/// `chroot(path)`, [chroot(2)](https://man7.org/linux/man-pages/man2/chroot.2.html).
/// Leaves the working directory where it was.
pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, chroot, [Arg::Str(path)])) }.map(drop)
}

/// `chdir(path)`, [chdir(2)](https://man7.org/linux/man-pages/man2/chdir.2.html).
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, chdir, [Arg::Str(path)])) }.map(drop)
}

/// `fchdir(fd)`, [chdir(2)](https://man7.org/linux/man-pages/man2/chdir.2.html).
/// An `O_PATH` descriptor will do, since Linux 3.5.
pub fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Shut, fchdir, [Arg::Fd(fd)])) }.map(drop)
}

// --- processes ---------------------------------------------------------------------------------

/// `clone(CLONE_VM | CLONE_VFORK | namespaces | SIGCHLD, stack)`, the child beginning in
/// `entry(shared)`, [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html).
///
/// The two flags are not for the caller to choose: the child borrows `shared`, the caller's
/// memory, and with them the caller sleeps until the child has called execve or is gone.
pub fn clone<T>(
    namespaces: Clone,
    stack: Stack,
    entry: extern "C" fn(&T) -> !,
    shared: &T,
) -> Result<i32, Errno> {
    let mut flags = (Clone::VM | Clone::VFORK | namespaces).bits() | libc::SIGCHLD as u64;
    let top = stack.top();
    let argument = (&raw const *shared).cast::<c_void>();
    if watch::is_on() {
        let args = [Arg::ChildStack(top as usize), Arg::CloneFlags(flags)];
        flags = watch::before_clone(&call!(Shut, clone, args), flags);
    }
    // SAFETY: a reference and a pointer are passed alike, and `entry` gets the `T` it expects.
    let entry: extern "C" fn(*const c_void) -> ! =
        unsafe { transmute::<extern "C" fn(&T) -> !, _>(entry) };
    // SAFETY: `stack` is a mapping that was made for this and is given away here; `shared`
    // outlives the child's use of it, since CLONE_VFORK holds us in this call until execve.
    let result = unsafe { arch::clone(flags as usize, top, entry, argument) };
    let result = Errno::from_ret(result as usize);
    if watch::is_on() {
        watch::after_clone(result);
    }
    result.map(|pid| pid as i32)
}

/// `execve(path, argv, envp)`,
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html). Returns only to say why it
/// failed. Both arrays end with their NULL (`None`).
pub fn execve(path: &CStr, argv: Strings, envp: Strings) -> Result<Infallible, Errno> {
    if !matches!((argv.last(), envp.last()), (Some(None), Some(None))) {
        return Err(Errno::EFAULT); // what the kernel says to an array that does not end
    }
    // SAFETY: the strings are NUL-terminated, and the arrays NULL-terminated, as just seen.
    let errno =
        unsafe { enter(call!(Shut, execve, [Arg::Str(path), Arg::Argv(argv), Arg::Envp(envp)])) };
    Err(errno.err().unwrap_or(Errno::EINVAL)) // it does not return on success
}

/// `prctl(PR_SET_PDEATHSIG, signal)`,
/// [PR_SET_PDEATHSIG(2const)](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html):
/// the signal that we get when our parent dies. It outlives execve, but not a change of ids.
pub fn prctl_set_pdeathsig(signal: i32) -> Result<(), Errno> {
    let option = Arg::Named(libc::PR_SET_PDEATHSIG as u32, "PR_SET_PDEATHSIG");
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Shut, prctl, [option, Arg::Signal(signal)])) }.map(drop)
}

/// `pipe2(fds, O_CLOEXEC)`, [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html).
/// The end to read from, and the end to write to.
pub fn pipe2() -> Result<[i32; 2], Errno> {
    let mut ends = [0_i32; 2];
    let out = Arg::Out(ends.as_mut_ptr() as usize, size_of_val(&ends) as u32, Shown::Pipe);
    let flags = Arg::Flags(O::CLOEXEC.bits(), O::TABLE);
    // SAFETY: the kernel writes two ints there, which are ours alone.
    unsafe { enter(call!(Open, pipe2, [out, flags])) }?;
    Ok(ends)
}

/// `ppoll({fd}, 1, {0, 0}, NULL, 8)`,
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html): has the end of a pipe that we
/// write to nobody left who could read? It never waits.
pub fn is_unread(fd: i32) -> Result<bool, Errno> {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    let now = [0_u8; 16]; // struct timespec: no time at all
    let fds = Arg::Out(&raw mut poll as usize, size_of_val(&poll) as u32, Shown::Poll(fd));
    let time = Arg::Struct(now.as_ptr() as usize, Filled::NoTime);
    let args = [fds, Arg::Unsigned(1), time, Arg::Null, Arg::Unsigned(8)];
    // SAFETY: the kernel reads and writes one pollfd, reads the time, and there is no mask.
    unsafe { enter(call!(Open, ppoll, args)) }?;
    Ok(poll.revents & libc::POLLERR != 0)
}

/// `rt_sigaction(signal, {SIG_DFL}, NULL, 8)`,
/// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
pub fn reset_signal(signal: i32) -> Result<(), Errno> {
    // The kernel's struct sigaction: handler, flags, restorer, mask. All zero is SIG_DFL.
    let default = [0_u8; 32];
    let action = Arg::Struct(default.as_ptr() as usize, Filled::DefaultAction);
    let args = [Arg::Signal(signal), action, Arg::Null, Arg::Unsigned(8)];
    // SAFETY: the kernel reads at most 32 bytes (4 words on a 64-bit machine), and installs no
    // handler.
    unsafe { enter(call!(Open, rt_sigaction, args)) }.map(drop)
}

/// `madvise(code, length, MADV_RANDOM)`, `madvise(image, length, MADV_DONTNEED)` and
/// `wait4(pid, &status, 0, NULL)`, [wait4(2)](https://man7.org/linux/man-pages/man2/wait4.2.html),
/// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html).
/// Without `WUNTRACED` it returns only when the process has ended. See `Resident` for the rest.
pub fn wait4(pid: i32) -> Result<Ended, Errno> {
    let resident = Resident::of_this_program();
    let mut status = 0_i32;
    let random = Arg::Named(libc::MADV_RANDOM as u32, "MADV_RANDOM");
    let [code, length] = resident.wait;
    let args = [Arg::Address(code), Arg::Unsigned(length), random];
    // SAFETY: advice about read-ahead: no byte changes. A kernel that doesn't take it lets more of
    // us stay resident, which is no reason to abandon a container that runs.
    let _stays_resident = unsafe { enter(call!(Open, madvise, args)) };
    let [image, length] = resident.image;
    if watch::is_on() {
        let dontneed = Arg::Named(libc::MADV_DONTNEED as u32, "MADV_DONTNEED");
        let args = [Arg::Address(image), Arg::Unsigned(length), dontneed];
        let out = Arg::Out(&raw mut status as usize, size_of_val(&status) as u32, Shown::Status);
        // SAFETY: code and constants come back from the file; wait4 writes an int that is ours.
        unsafe {
            let _stays_resident = enter(call!(Open, madvise, args));
            let args = [Arg::Signed(pid as isize), out, Arg::Unsigned(0), Arg::Null];
            enter(call!(Open, wait4, args))?;
        }
    } else {
        // SAFETY: the same two calls.
        let pid =
            unsafe { arch::wait4_after_madvise(pid as usize, &raw mut status, image, length) };
        Errno::from_ret(pid as usize)?;
    }
    Ok(Ended::from_status(status))
}

/// `exit_group(status)`,
/// [exit_group(2)](https://man7.org/linux/man-pages/man2/exit_group.2.html).
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: nothing of ours runs afterwards. It can't fail; the loop is for the type.
        let _never = unsafe { enter(call!(Open, exit_group, [Arg::Signed(status as isize)])) };
    }
}

/// The watcher's own way out, behind the doorway's back.
fn exit_unseen(status: i32) -> ! {
    loop {
        // SAFETY: as in `exit_group`.
        let _never = unsafe { raw(Sysno::exit_group, &[Arg::Signed(status as isize)]) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_all_reports_a_full_disk() {
        let fd = openat(c"/dev/full", O::WRONLY | O::CLOEXEC).expect("/dev/full opens");
        assert_eq!(write_all(fd, b"x"), Err(Errno::ENOSPC));
        close(fd).expect("it was open");
    }

    #[test]
    fn execve_refuses_an_array_without_its_null() {
        assert_eq!(execve(c"/bin/true", &[], &[None]), Err(Errno::EFAULT));
    }

    #[test]
    fn exists_with_a_final_slash_asks_for_a_directory() {
        assert_eq!(exists(c"/proc/"), Ok(()));
        assert_eq!(exists(c"/dev/null/"), Err(Errno::ENOTDIR));
        assert_eq!(exists(c"/dev/null"), Ok(()));
    }
}
