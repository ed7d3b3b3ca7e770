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
use crate::flags::{Clone, Ended, Mnt, MountAttr, Ms, O};
use crate::seccomp;
use crate::trace::{Arg, Call, Door, Filled, Shown};

use memory::Resident;
pub use memory::{Arena, Stack, map_memory};
pub use watch::{Format, Orders, begin_watch, end_rehearsal, is_watchers, skippable, skips, step};

/// Instead of a directory: relative paths start at the working directory.
pub const AT_FDCWD: i32 = libc::AT_FDCWD;
const CWD: Arg = Arg::Fd(AT_FDCWD);

pub const STDIN: i32 = 0;
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

/// `openat(directory, path, flags)`, [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
/// Not `open`: newer architectures lack it.
pub fn openat(directory: i32, path: &CStr, flags: O) -> Result<i32, Errno> {
    let args = [Arg::Fd(directory), Arg::Str(path), Arg::OpenFlags(flags.bits())];
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

/// `mkdirat(directory, path, mode)`,
/// [mkdir(2)](https://man7.org/linux/man-pages/man2/mkdir.2.html). The umask is taken from `mode`.
pub fn mkdirat(directory: i32, path: &CStr, mode: u32) -> Result<(), Errno> {
    let args = [Arg::Fd(directory), Arg::Str(path), Arg::Octal(mode)];
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, mkdirat, args)) }.map(drop)
}

/// `mknodat(AT_FDCWD, path, S_IFCHR | mode, makedev(major, minor))`,
/// [mknod(2)](https://man7.org/linux/man-pages/man2/mknod.2.html): a character device.
/// `EPERM` without CAP_MKNOD in the initial user namespace.
pub fn mknodat(path: &CStr, mode: u32, [major, minor]: [u8; 2]) -> Result<(), Errno> {
    let args = [CWD, Arg::Str(path), Arg::Mode(libc::S_IFCHR | mode), Arg::Device([major, minor])];
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, mknodat, args)) }.map(drop)
}

/// `mknodat(AT_FDCWD, path, S_IFREG | mode, 0)`,
/// [mknod(2)](https://man7.org/linux/man-pages/man2/mknod.2.html): an empty file, in one call and
/// without a descriptor; `EEXIST` where anything is there.
pub fn make_file(path: &CStr, mode: u32) -> Result<(), Errno> {
    let args = [CWD, Arg::Str(path), Arg::Mode(libc::S_IFREG | mode)];
    // SAFETY: as in `openat`. For a file the kernel ignores the fourth argument.
    unsafe { enter(call!(Shut, mknodat, args)) }.map(drop)
}

/// `symlinkat(target, AT_FDCWD, path)`,
/// [symlink(2)](https://man7.org/linux/man-pages/man2/symlink.2.html).
pub fn symlinkat(target: &CStr, path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, symlinkat, [Arg::Str(target), CWD, Arg::Str(path)])) }.map(drop)
}

/// `read(fd, buf, count)`, [read(2)](https://man7.org/linux/man-pages/man2/read.2.html).
pub fn read(fd: i32, bytes: &mut [u8]) -> Result<&[u8], Errno> {
    let buffer = Arg::Out(bytes.as_mut_ptr() as usize, bytes.len() as u32, Shown::Text);
    let args = [Arg::Fd(fd), buffer, Arg::Unsigned(bytes.len())];
    // SAFETY: the kernel writes at most `count` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call!(Open, read, args)) }?;
    Ok(bytes.get(..length).unwrap_or(&[]))
}

/// `faccessat(fd, ".", F_OK)`,
/// [access(2)](https://man7.org/linux/man-pages/man2/access.2.html): only a directory has a `.`;
/// `ENOTDIR` for what else is open, `EBADF` for what is not.
pub fn is_directory(fd: i32) -> Result<(), Errno> {
    let mode = Arg::Named(libc::F_OK as u32, "F_OK");
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Open, faccessat, [Arg::Fd(fd), Arg::Str(c"."), mode])) }.map(drop)
}

/// `newfstatat(AT_FDCWD, path, &stat, flags)`,
/// [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html): device and inode, which no two
/// files have in common. Of a link, where `follow` says so, those of its target.
pub fn identity(path: &CStr, follow: bool) -> Result<[u64; 2], Errno> {
    let flags = match follow {
        true => Arg::Unsigned(0),
        false => Arg::Named(libc::AT_SYMLINK_NOFOLLOW as u32, "AT_SYMLINK_NOFOLLOW"),
    };
    let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
    let out = Arg::Out(stat.as_mut_ptr() as usize, size_of_val(&stat) as u32, Shown::Struct);
    // SAFETY: the kernel writes its `struct stat`, which is the one of libc on this machine.
    unsafe { enter(call!(Open, newfstatat, [CWD, Arg::Str(path), out, flags])) }?;
    // SAFETY: it succeeded, so all of it is written.
    let stat = unsafe { stat.assume_init() };
    Ok([stat.st_dev, stat.st_ino])
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
    mount(Arg::Str(c"none"), target, Arg::Null, flags, Arg::Null)
}

/// `mount(source, target, NULL, MS_BIND | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_bind(source: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(Arg::Str(source), target, Arg::Null, Ms::BIND | flags, Arg::Null)
}

/// `mount("none", target, NULL, MS_REMOUNT | MS_BIND | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): other flags for a mount, not
/// for the file system under it.
pub fn mount_flags(target: &CStr, flags: Ms) -> Result<(), Errno> {
    let flags = Ms::REMOUNT | Ms::BIND | flags;
    mount(Arg::Str(c"none"), target, Arg::Null, flags, Arg::Null)
}

/// `mount(source, target, NULL, MS_MOVE, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_move(source: &CStr, target: &CStr) -> Result<(), Errno> {
    mount(Arg::Str(source), target, Arg::Null, Ms::MOVE, Arg::Null)
}

/// `mount(fstype, target, fstype, flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html). The source of a virtual file
/// system is a word for `/proc/mounts`; its type is the customary one.
pub fn mount_new(fstype: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(Arg::Str(fstype), target, Arg::Str(fstype), flags, Arg::Null)
}

/// `mount(fstype, target, fstype, flags, data)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): with options of the file
/// system, where there are any.
pub fn mount_with(fstype: &CStr, target: &CStr, flags: Ms, data: &CStr) -> Result<(), Errno> {
    // strace(1) shows 32 bytes of it, as of other bytes.
    let data = if data.is_empty() { Arg::Null } else { Arg::Bytes(data.to_bytes()) };
    mount(Arg::Str(fstype), target, Arg::Str(fstype), flags, data)
}

#[inline(never)] // the story mounts a lot
fn mount(source: Arg, target: &CStr, fstype: Arg, flags: Ms, data: Arg) -> Result<(), Errno> {
    let flags = Arg::Flags(flags.bits(), Ms::TABLE);
    // SAFETY: the kernel copies the strings and keeps no pointer.
    unsafe { enter(call!(Shut, mount, [source, Arg::Str(target), fstype, flags, data])) }.map(drop)
}

/// `mount_setattr(AT_FDCWD, path, AT_RECURSIVE, {attr_set=flags}, 32)`,
/// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html), since Linux
/// 5.12: flags for a mount and all mounts below it.
pub fn mount_setattr(path: &CStr, flags: MountAttr) -> Result<(), Errno> {
    let attr = [flags.bits(), 0, 0, 0]; // attr_set, attr_clr, propagation, userns_fd
    let recursive = Arg::Named(libc::AT_RECURSIVE as u32, "AT_RECURSIVE");
    let size = Arg::Unsigned(size_of_val(&attr));
    let attr = Arg::Struct(attr.as_ptr() as usize, Filled::MountAttr(flags.bits() as u32));
    // SAFETY: the kernel reads the path and the four words, and keeps no pointer.
    unsafe { enter(call!(Shut, mount_setattr, [CWD, Arg::Str(path), recursive, attr, size])) }
        .map(drop)
}

/// `statfs(path, &buf)`, [statfs(2)](https://man7.org/linux/man-pages/man2/statfs.2.html): the
/// flags of the mount that `path` is in. A remount must repeat them, or take them away.
pub fn mount_flags_of(path: &CStr) -> Result<Ms, Errno> {
    // include/linux/statfs.h: all flags that a mount can have are the MS_ ones, but for this.
    const ST_RELATIME: u64 = 0x1000;
    const SAME: u64 = libc::MS_RDONLY
        | libc::MS_NOSUID
        | libc::MS_NODEV
        | libc::MS_NOEXEC
        | libc::MS_NOATIME
        | libc::MS_NODIRATIME;
    // struct statfs of a 64-bit machine: type, bsize, blocks, bfree, bavail, files, ffree, fsid,
    // namelen, frsize, flags, and four to spare.
    let mut statfs = [0_u64; 15];
    let out = Arg::Out(statfs.as_mut_ptr() as usize, size_of_val(&statfs) as u32, Shown::Struct);
    // SAFETY: the kernel writes its `struct statfs`, which is as long as that.
    unsafe { enter(call!(Open, statfs, [Arg::Str(path), out])) }?;
    let flags = statfs[10];
    let relatime = if flags & ST_RELATIME == 0 { 0 } else { libc::MS_RELATIME };
    Ok(Ms::from_bits(flags & SAME | relatime))
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

/// `prctl(PR_SET_DUMPABLE, 0)`,
/// [PR_SET_DUMPABLE(2const)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html):
/// no process without CAP_SYS_PTRACE looks into this memory. It holds for the memory, so for all
/// that share it, and until execve.
pub fn prctl_set_undumpable() -> Result<(), Errno> {
    prctl(&[Arg::Named(libc::PR_SET_DUMPABLE as u32, "PR_SET_DUMPABLE"), SUID_DUMP_DISABLE])
}

const SUID_DUMP_DISABLE: Arg = Arg::Named(0, "SUID_DUMP_DISABLE");

/// `prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`, [PR_SET_NO_NEW_PRIVS(2const)](
/// https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html): execve gives nobody
/// more than he has, for good.
pub fn prctl_set_no_new_privs() -> Result<(), Errno> {
    let option = Arg::Named(libc::PR_SET_NO_NEW_PRIVS as u32, "PR_SET_NO_NEW_PRIVS");
    let zero = Arg::Unsigned(0);
    prctl(&[option, Arg::Unsigned(1), zero, zero, zero])
}

/// `prctl(PR_CAPBSET_READ, capability)`,
/// [PR_CAPBSET_READ(2const)](https://man7.org/linux/man-pages/man2/PR_CAPBSET_READ.2const.html):
/// may execve ever give it to us? `EINVAL` for a capability that this kernel doesn't know.
pub fn prctl_capbset_read(capability: u32) -> Result<bool, Errno> {
    let option = Arg::Named(libc::PR_CAPBSET_READ as u32, "PR_CAPBSET_READ");
    let args = [option, Arg::Capability(capability)];
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Open, prctl, args)) }.map(|answer| answer == 1)
}

/// `prctl(PR_CAPBSET_DROP, capability)`,
/// [PR_CAPBSET_DROP(2const)](https://man7.org/linux/man-pages/man2/PR_CAPBSET_DROP.2const.html).
/// Needs CAP_SETPCAP; `EINVAL` for a capability that this kernel doesn't know.
pub fn prctl_capbset_drop(capability: u32) -> Result<(), Errno> {
    let option = Arg::Named(libc::PR_CAPBSET_DROP as u32, "PR_CAPBSET_DROP");
    prctl(&[option, Arg::Capability(capability)])
}

fn prctl(args: &[Arg]) -> Result<(), Errno> {
    // SAFETY: no option that we use touches memory.
    unsafe { enter(Call { number: Sysno::prctl, name: "prctl", args, door: Door::Shut }) }.map(drop)
}

/// `capget({_LINUX_CAPABILITY_VERSION_3, 0}, data)`,
/// [capget(2)](https://man7.org/linux/man-pages/man2/capget.2.html): our permitted set.
pub fn capget() -> Result<u64, Errno> {
    let mut data = [0_u32; 6]; // twice effective, permitted, inheritable: the low halves first
    let header = Arg::Struct(CAPABILITY_HEADER.as_ptr() as usize, Filled::CapabilityHeader);
    let size = size_of_val(&data) as u32;
    let out = Arg::Out(data.as_mut_ptr() as usize, size, Shown::Capabilities);
    // SAFETY: the kernel reads the header, whose version it knows since 2.6.26, and so doesn't
    // write to it; it writes six words that are ours.
    unsafe { enter(call!(Open, capget, [header, out])) }?;
    Ok(u64::from(data[1]) | u64::from(data[4]) << 32)
}

/// `capset({_LINUX_CAPABILITY_VERSION_3, 0}, data)`,
/// [capset(2)](https://man7.org/linux/man-pages/man2/capset.2.html): permitted and effective.
/// Nothing is inheritable, and so nothing stays ambient.
pub fn capset(set: u64) -> Result<(), Errno> {
    let [low, high] = [set as u32, (set >> 32) as u32];
    let data = [low, low, 0, high, high, 0];
    let header = Arg::Struct(CAPABILITY_HEADER.as_ptr() as usize, Filled::CapabilityHeader);
    let sets = Arg::Capabilities(data.as_ptr() as usize, set);
    // SAFETY: the kernel reads both, and keeps no pointer.
    unsafe { enter(call!(Shut, capset, [header, sets])) }.map(drop)
}

/// include/uapi/linux/capability.h: _LINUX_CAPABILITY_VERSION_3, and pid 0 for ourselves.
static CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// `seccomp(SECCOMP_SET_MODE_FILTER, 0, {len, filter})`,
/// [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html). Needs no_new_privs, or
/// CAP_SYS_ADMIN.
pub fn seccomp_set_mode_filter(filter: &seccomp::Program) -> Result<(), Errno> {
    let length = filter.len();
    let program = [length, filter.as_ptr() as usize]; // struct sock_fprog: a short, then a pointer
    let operation = Arg::Named(libc::SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER");
    let program = Arg::Struct(program.as_ptr() as usize, Filled::Filter(length as u32));
    // SAFETY: the kernel copies the program, and keeps no pointer.
    unsafe { enter(call!(Shut, seccomp, [operation, Arg::Unsigned(0), program])) }.map(drop)
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`, [keyctl(2)](
/// https://man7.org/linux/man-pages/man2/keyctl.2.html): a new session keyring without a name.
pub fn keyctl_join_session_keyring() -> Result<(), Errno> {
    let operation = Arg::Named(libc::KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING");
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Shut, keyctl, [operation, Arg::Null])) }.map(drop)
}

/// `prlimit64(0, RLIMIT_CORE, {1, 1}, NULL)`,
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
pub fn limit_core_dumps() -> Result<(), Errno> {
    let limit = [1_u64; 2]; // rlim_cur, rlim_max
    let resource = Arg::Named(libc::RLIMIT_CORE as u32, "RLIMIT_CORE");
    let limit = Arg::Struct(limit.as_ptr() as usize, Filled::LimitOfOne);
    // SAFETY: the kernel reads two words, and writes nowhere.
    unsafe { enter(call!(Shut, prlimit64, [Arg::Unsigned(0), resource, limit, Arg::Null])) }
        .map(drop)
}

/// `umask(mask)`, [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html). It can't fail.
pub fn umask(mask: u32) {
    // SAFETY: the call touches no memory of ours.
    let _infallible = unsafe { enter(call!(Shut, umask, [Arg::Umask(mask)])) };
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
    let time = Arg::Struct(now.as_ptr() as usize, Filled::Time(0));
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

// --- limits ------------------------------------------------------------------------------------

/// Opens a file, writes to it once, and closes it: what the kernel's files of one value want.
pub fn write_file(directory: i32, path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let fd = openat(directory, path, O::WRONLY | O::CLOEXEC)?;
    let written = write(fd, content);
    close(fd)?;
    written.map(drop)
}

/// `unlinkat(directory, path, AT_REMOVEDIR)`,
/// [rmdir(2)](https://man7.org/linux/man-pages/man2/rmdir.2.html).
pub fn rmdir(directory: i32, path: &CStr) -> Result<(), Errno> {
    let flag = Arg::Named(libc::AT_REMOVEDIR as u32, "AT_REMOVEDIR");
    // SAFETY: as in `openat`.
    unsafe { enter(call!(Shut, unlinkat, [Arg::Fd(directory), Arg::Str(path), flag])) }.map(drop)
}

/// `flock(fd, LOCK_EX|LOCK_NB)`, [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html).
/// The lock is there for as long as anybody has this very opening of the file.
pub fn flock(fd: i32) -> Result<(), Errno> {
    let operation = Arg::Named((libc::LOCK_EX | libc::LOCK_NB) as u32, "LOCK_EX|LOCK_NB");
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Open, flock, [Arg::Fd(fd), operation])) }.map(drop)
}

/// `kill(pid, SIGKILL)`, [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html).
pub fn kill(pid: u32) -> Result<(), Errno> {
    let args = [Arg::Unsigned(pid as usize), Arg::Signal(libc::SIGKILL)];
    // SAFETY: as in `flock`.
    unsafe { enter(call!(Shut, kill, args)) }.map(drop)
}

/// `unshare(flags)`, [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html).
pub fn unshare(namespaces: Clone) -> Result<(), Errno> {
    let flags = Arg::Flags(namespaces.bits(), Clone::TABLE);
    // SAFETY: as in `flock`: no memory is unshared.
    unsafe { enter(call!(Shut, unshare, [flags])) }.map(drop)
}

/// `nanosleep({0, 10000000}, NULL)`,
/// [nanosleep(2)](https://man7.org/linux/man-pages/man2/nanosleep.2.html): 10 milliseconds, or
/// less, where a signal comes.
pub fn sleep_a_little() {
    const TIME: u32 = 10_000_000;
    let time = [0, u64::from(TIME)]; // struct timespec: seconds, nanoseconds
    let time = Arg::Struct(time.as_ptr() as usize, Filled::Time(TIME));
    // SAFETY: the kernel reads the two words.
    let _short = unsafe { enter(call!(Open, nanosleep, [time, Arg::Null])) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_all_reports_a_full_disk() {
        let fd = openat(AT_FDCWD, c"/dev/full", O::WRONLY | O::CLOEXEC).expect("/dev/full opens");
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
