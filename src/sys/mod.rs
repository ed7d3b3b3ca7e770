//! Level 5. The only doorway to the kernel: one typed function a system call, each three lines
//! that describe the call, and one place, `enter`, that makes it. Whoever wants to watch tinyctr,
//! or to stop it, has this one line to stand on.

mod helper;
mod ids;
mod memory;
mod network;
mod observe;
mod register;
mod rehearsal;
mod signal;
mod socket;
mod terminal;
mod watch;
mod watcher;

use core::convert::Infallible;
use core::ffi::{CStr, c_void};
use core::mem::{MaybeUninit, size_of_val, transmute};
use core::ptr::null_mut;
use core::sync::atomic::AtomicI32;
use syscalls::{Errno, Sysno, syscall};

use crate::arch::{self, Strings};
use crate::flags::{Clone, Lock, Mnt, MountAttr, Ms, O, directory_entries};
use crate::seccomp;
use crate::trace::{Call, Signature};

pub use helper::*;
pub use ids::*;
use memory::Resident;
pub use memory::{Arena, STACK_SIZE, Stack, map_memory, rare, seldom, texts};
pub use network::*;
pub use signal::*;
pub use socket::*;
pub use terminal::*;
pub use watch::{
    begin_watch, end_rehearsal, ignored_by_caller, is_watchers, mute, rehearses, skippable, skips,
    step,
};
pub use watcher::{Format, Orders};

/// Instead of a directory: relative paths start at the working directory.
pub const AT_FDCWD: i32 = libc::AT_FDCWD;
/// A pointer that may be left out, and is.
const NULL: usize = 0;
const F_OK: u32 = libc::F_OK as u32;

pub const STDIN: i32 = 0;
pub const STDOUT: i32 = 1;
pub const STDERR: i32 = 2;

/// A call: its name, which is a constant, and its registers. `call!(Open, chdir, Str(path))`:
/// the door, the name, and each argument as one of `trace::Kind`.
macro_rules! call {
    ($door:ident, $name:ident $(, $kind:ident($value:expr))* $(,)?) => {{
        #[allow(unused_imports, reason = "a call may have no argument")]
        use $crate::sys::register;
        use $crate::trace::{Door, Kind, Signature};

        const KINDS: &[Kind] = &[$(Kind::$kind),*];
        static SIGNATURE: Signature =
            Signature::new(syscalls::Sysno::$name, stringify!($name), Door::$door, KINDS);
        let number = syscalls::Sysno::$name;
        ($crate::sys::Which { number, signature: &SIGNATURE }, [$(register::$kind($value)),*])
    }};
}
use call;

/// A call without its arguments: what the kernel needs, and what the watcher does. The latter is
/// packed with him, so nobody else may look at it.
#[derive(Clone, Copy)]
struct Which {
    number: Sysno,
    signature: &'static Signature,
}

/// Makes the call.
///
/// # Safety
/// What the call does with its arguments is sound: memory it reads is initialised, memory it
/// writes is ours alone and long enough, and it changes no mapping that a reference points into.
#[inline(always)] // so that a call is passed in registers
unsafe fn enter<const N: usize>(call: (Which, [usize; N])) -> Result<usize, Errno> {
    let (which, given) = call;
    let [a, b, c, d, e, f] = six(given);
    // SAFETY: the caller's contract.
    Errno::from_ret(unsafe {
        if N <= 3 { pass_three(a, b, c, which) } else { pass(a, b, c, d, e, f, which) }
    })
}

/// Makes a call that answers with 0, or with why not.
///
/// # Safety
/// As for `enter`.
#[inline(always)]
unsafe fn act<const N: usize>(call: (Which, [usize; N])) -> Result<(), Errno> {
    let (which, given) = call;
    let [a, b, c, ..] = six(given);
    // SAFETY: the caller's contract.
    unsafe { if N <= 3 { act_three(a, b, c, which) } else { enter(call).map(drop) } }
}

/// What became of it, in two registers.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn act_three(a: usize, b: usize, c: usize, which: Which) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    Errno::from_ret(unsafe { pass_three(a, b, c, which) }).map(drop)
}

/// The kernel ignores registers beyond a call's own arguments.
#[inline(always)]
fn six<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let register = |at| given.get(at).copied().unwrap_or(0);
    [register(0), register(1), register(2), register(3), register(4), register(5)]
}

/// Most calls have no more: they are smaller without the others.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn pass_three(a: usize, b: usize, c: usize, which: Which) -> usize {
    // SAFETY: the caller's contract.
    unsafe { pass(a, b, c, 0, 0, 0, which) }
}

/// The doorway: past the watcher, where there is one. The answer is the kernel's.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn pass(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, which: Which) -> usize {
    if watch::is_on() {
        // SAFETY: the caller's contract.
        return unsafe { watch::enter(which.signature, [a, b, c, d, e, f]) };
    }
    // SAFETY: the caller's contract.
    unsafe { raw_answer(a, b, c, d, e, f, which.number) }
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
unsafe fn raw<const N: usize>(number: Sysno, given: [usize; N]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = six(given);
    // SAFETY: the caller's contract.
    Errno::from_ret(unsafe {
        if N <= 3 { raw_three(a, b, c, number) } else { raw_answer(a, b, c, d, e, f, number) }
    })
}

/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn raw_three(a: usize, b: usize, c: usize, number: Sysno) -> usize {
    // SAFETY: the caller's contract.
    unsafe { raw_answer(a, b, c, 0, 0, 0, number) }
}

/// A call of the story, as it is.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn make(call: &Call) -> Result<usize, Errno> {
    // SAFETY: the caller's contract.
    unsafe { raw(call.number(), call.registers) }
}

/// The one place where the kernel is entered.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn raw_answer(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    number: Sysno,
) -> usize {
    // SAFETY: the caller's contract.
    answer(unsafe { syscall!(number, a, b, c, d, e, f) })
}

// --- files -------------------------------------------------------------------------------------

/// `write(fd, buf, count)`, [write(2)](https://man7.org/linux/man-pages/man2/write.2.html).
/// May write less than it was given, as the man page says.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `count` bytes and keeps no pointer.
    unsafe { enter(call!(Shut, write, Fd(fd), Bytes(bytes), Unsigned(bytes.len()))) }
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
    let mut call = call!(Open, openat, Fd(directory), Str(path), OpenFlags(flags));
    if flags.contains(O::WRONLY) {
        call = call!(Shut, openat, Fd(directory), Str(path), OpenFlags(flags));
    }
    // SAFETY: the kernel copies the path and keeps no pointer.
    unsafe { enter(call) }.map(|fd| fd as i32)
}

/// `openat2(AT_FDCWD, path, {O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS})`,
/// [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html), since Linux 5.6, else
/// `openat`: a file that somebody else made. It may be a FIFO or a terminal, which is not waited
/// for, and does not become ours; and a link in /proc, to what we or another has open, is none of
/// his: `ELOOP`.
pub fn open_to_read(path: &CStr) -> Result<i32, Errno> {
    const RESOLVE_NO_MAGICLINKS: u64 = 2; // include/uapi/linux/openat2.h
    let flags = O::NONBLOCK | O::NOCTTY | O::CLOEXEC;
    let how = [flags.bits(), 0, RESOLVE_NO_MAGICLINKS];
    let (size, how) = (size_of_val(&how), &raw const how);
    let call = call!(Open, openat2, Fd(AT_FDCWD), Str(path), OpenHow(how), Unsigned(size));
    // SAFETY: the kernel copies the path and the three words, and keeps no pointer.
    match unsafe { enter(call) } {
        Err(Errno::ENOSYS | Errno::EPERM) => openat(AT_FDCWD, path, flags),
        answer => answer.map(|fd| fd as i32),
    }
}

/// `openat(AT_FDCWD, path, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0644)`,
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
pub fn create(path: &CStr) -> Result<i32, Errno> {
    let flags = O::WRONLY | O::CREAT | O::TRUNC | O::CLOEXEC;
    let call = call!(Shut, openat, Fd(AT_FDCWD), Str(path), OpenFlags(flags), Octal(0o644));
    // SAFETY: as in `openat`.
    unsafe { enter(call) }.map(|fd| fd as i32)
}

/// `close(fd)`, [close(2)](https://man7.org/linux/man-pages/man2/close.2.html).
pub fn close(fd: i32) -> Result<(), Errno> {
    // SAFETY: descriptors are plain numbers here; no object of ours owns one.
    unsafe { act(call!(Shut, close, Fd(fd))) }
}

/// `close_range(first, last, 0)`,
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html), since Linux 5.9.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    let (first, last) = (first as usize, last as usize);
    // SAFETY: as in `close`.
    unsafe { act(call!(Shut, close_range, Unsigned(first), Unsigned(last), Unsigned(0))) }
}

/// `getdents64(fd, dirp, count)`,
/// [getdents64(2)](https://man7.org/linux/man-pages/man2/getdents64.2.html).
/// Returns how many bytes of `entries` are filled; 0 at the end.
fn getdents64(fd: i32, entries: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `count` bytes to a buffer that is ours alone.
    unsafe { enter(call!(Open, getdents64, Fd(fd), Entries(entries), Unsigned(entries.len()))) }
}

/// Gives each name in a directory to `visit`: `getdents64` until the end. `fd` stays open.
#[inline(never)]
pub fn each_entry(fd: i32, visit: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut entries = [0; 1024];
    loop {
        let filled = getdents64(fd, &mut entries)?;
        if filled == 0 {
            return Ok(());
        }
        directory_entries(entries.get(..filled).unwrap_or(&[])).try_for_each(&mut *visit)?;
    }
}

/// `faccessat(AT_FDCWD, path, F_OK)`,
/// [access(2)](https://man7.org/linux/man-pages/man2/access.2.html): is anything there?
/// With a final slash in `path`: is a directory there? It leaves no descriptor behind.
pub fn exists(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Open, faccessat, Fd(AT_FDCWD), Str(path), Named(F_OK))) }
}

/// `readlinkat(AT_FDCWD, path, buf, size)`,
/// [readlink(2)](https://man7.org/linux/man-pages/man2/readlink.2.html).
/// No NUL is written; a target that is as long as `target` may have been cut.
pub fn readlinkat<'a>(path: &CStr, target: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let size = target.len();
    let call = call!(Open, readlinkat, Fd(AT_FDCWD), Str(path), Text(target), Unsigned(size));
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call) }?;
    Ok(target.get(..length).unwrap_or(&[]))
}

/// `getcwd(buf, size)`, [getcwd(2)](https://man7.org/linux/man-pages/man2/getcwd.2.html).
pub fn getcwd(path: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call!(Open, getcwd, Path(path), Unsigned(path.len()))) }?;
    Ok(path.get(..length.saturating_sub(1)).unwrap_or(&[])) // the kernel counts the NUL
}

/// `mkdirat(directory, path, mode)`,
/// [mkdir(2)](https://man7.org/linux/man-pages/man2/mkdir.2.html). The umask is taken from `mode`.
pub fn mkdirat(directory: i32, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, mkdirat, Fd(directory), Str(path), Octal(mode))) }
}

/// `mknodat(AT_FDCWD, path, S_IFCHR | mode, makedev(major, minor))`,
/// [mknod(2)](https://man7.org/linux/man-pages/man2/mknod.2.html): a character device.
/// `EPERM` without CAP_MKNOD in the initial user namespace.
pub fn mknodat(path: &CStr, mode: u32, device: [u8; 2]) -> Result<(), Errno> {
    let mode = libc::S_IFCHR | mode;
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, mknodat, Fd(AT_FDCWD), Str(path), Mode(mode), Device(device))) }
}

/// `mknodat(directory, path, S_IFREG | mode, 0)`,
/// [mknod(2)](https://man7.org/linux/man-pages/man2/mknod.2.html): an empty file, in one call and
/// without a descriptor; `EEXIST` where anything is there.
pub fn make_file(directory: i32, path: &CStr, mode: u32) -> Result<(), Errno> {
    let mode = libc::S_IFREG | mode;
    // SAFETY: as in `openat`. For a file the kernel ignores the fourth argument.
    unsafe { act(call!(Shut, mknodat, Fd(directory), Str(path), Mode(mode))) }
}

/// `symlinkat(target, AT_FDCWD, path)`,
/// [symlink(2)](https://man7.org/linux/man-pages/man2/symlink.2.html).
pub fn symlinkat(target: &CStr, path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, symlinkat, Str(target), Fd(AT_FDCWD), Str(path))) }
}

/// `read(fd, buf, count)`, [read(2)](https://man7.org/linux/man-pages/man2/read.2.html).
pub fn read(fd: i32, bytes: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the kernel writes at most `count` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call!(Open, read, Fd(fd), Text(bytes), Unsigned(bytes.len()))) }?;
    Ok(bytes.get(..length).unwrap_or(&[]))
}

/// `pread64(fd, buf, count, offset)`,
/// [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html): a word from the memory of a
/// process, by its `/proc/PID/mem`.
pub fn read_word(memory: i32, address: usize) -> Result<u64, Errno> {
    let mut word = [0; 8];
    let (count, bytes) = (word.len(), word.as_mut_slice());
    let call = call!(Open, pread64, Fd(memory), Text(bytes), Unsigned(count), Unsigned(address));
    // SAFETY: the kernel writes at most `count` bytes to a buffer that is ours alone.
    unsafe { enter(call) }?;
    Ok(u64::from_ne_bytes(word))
}

/// `faccessat(fd, ".", F_OK)`,
/// [access(2)](https://man7.org/linux/man-pages/man2/access.2.html): only a directory has a `.`;
/// `ENOTDIR` for what else is open, `EBADF` for what is not.
pub fn is_directory(fd: i32) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Open, faccessat, Fd(fd), Str(c"."), Named(F_OK))) }
}

/// `newfstatat(AT_FDCWD, path, &stat, flags)`,
/// [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html): device and inode, which no two
/// files have in common. Of a link, where `follow` says so, those of its target.
pub fn identity(path: &CStr, follow: bool) -> Result<[u64; 2], Errno> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW as u32 };
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let out = &raw mut stat;
    let call = call!(Open, newfstatat, Fd(AT_FDCWD), Str(path), Struct(out), Named(flags));
    // SAFETY: the kernel writes its `struct stat`, which is the one of libc on this machine.
    unsafe { enter(call) }?;
    // SAFETY: it succeeded, so all of it is written.
    let stat = unsafe { stat.assume_init() };
    Ok([stat.st_dev, stat.st_ino])
}

// --- the container -----------------------------------------------------------------------------

/// `sethostname(name, len)`,
/// [sethostname(2)](https://man7.org/linux/man-pages/man2/sethostname.2.html).
/// Takes bytes, not a C string: the kernel counts, it does not look for NUL.
pub fn sethostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel copies `len` bytes and keeps no pointer.
    unsafe { act(call!(Shut, sethostname, Bytes(name), Unsigned(name.len()))) }
}

/// `mount("none", target, NULL, flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): a change of propagation. The
/// source is ignored.
pub fn mount_propagation(target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(c"none", target, None, flags, None)
}

/// `mount(source, target, NULL, MS_BIND | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_bind(source: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(source, target, None, Ms::BIND | flags, None)
}

/// `mount("none", target, NULL, MS_REMOUNT | MS_BIND | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): other flags for a mount, not
/// for the file system under it.
pub fn mount_flags(target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(c"none", target, None, Ms::REMOUNT | Ms::BIND | flags, None)
}

/// `mount("none", target, NULL, MS_REMOUNT | flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): other flags for a file system,
/// and for this mount of it.
pub fn remount(target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(c"none", target, None, Ms::REMOUNT | flags, None)
}

/// `mount(source, target, NULL, MS_MOVE, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html).
pub fn mount_move(source: &CStr, target: &CStr) -> Result<(), Errno> {
    mount(source, target, None, Ms::MOVE, None)
}

/// `move_mount(AT_FDCWD, source, directory, name, 0)`,
/// [move_mount(2)](https://man7.org/linux/man-pages/man2/move_mount.2.html), since Linux 5.2: what
/// MS_MOVE does, but a link in the place of `name` is not followed.
pub fn move_mount(source: &CStr, directory: i32, name: &CStr) -> Result<(), Errno> {
    let call =
        call!(Shut, move_mount, Fd(AT_FDCWD), Str(source), Fd(directory), Str(name), Named(0));
    // SAFETY: the kernel copies the paths and keeps no pointer.
    unsafe { act(call) }
}

/// The same with `MOVE_MOUNT_F_SYMLINKS`: `source` may be a link to what is mounted.
pub fn move_mount_at_link(source: &CStr, directory: i32, name: &CStr) -> Result<(), Errno> {
    const MOVE_MOUNT_F_SYMLINKS: u32 = 1; // include/uapi/linux/mount.h
    let flags = MOVE_MOUNT_F_SYMLINKS;
    let call =
        call!(Shut, move_mount, Fd(AT_FDCWD), Str(source), Fd(directory), Str(name), Named(flags));
    // SAFETY: as in `move_mount`.
    unsafe { act(call) }
}

/// `mount(fstype, target, fstype, flags, NULL)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html). The source of a virtual file
/// system is a word for `/proc/mounts`; its type is the customary one.
pub fn mount_new(fstype: &CStr, target: &CStr, flags: Ms) -> Result<(), Errno> {
    mount(fstype, target, Some(fstype), flags, None)
}

/// `mount(fstype, target, fstype, flags, data)`,
/// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html): with options of the file
/// system, where there are any.
pub fn mount_with(fstype: &CStr, target: &CStr, flags: Ms, data: &CStr) -> Result<(), Errno> {
    mount(fstype, target, Some(fstype), flags, (!data.is_empty()).then_some(data))
}

fn mount(
    source: &CStr,
    target: &CStr,
    fstype: Option<&CStr>,
    flags: Ms,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    let call = call!(Shut, mount, Str(source), Str(target), Str(fstype), Ms(flags), Data(data));
    // SAFETY: the kernel copies the strings and keeps no pointer.
    unsafe { act(call) }
}

/// `mount_setattr(AT_FDCWD, path, AT_RECURSIVE, {attr_set=flags}, 32)`,
/// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html), since Linux
/// 5.12: flags for a mount and all mounts below it.
pub fn mount_setattr(path: &CStr, flags: MountAttr) -> Result<(), Errno> {
    let attr = [flags.bits(), 0, 0, 0]; // attr_set, attr_clr, propagation, userns_fd
    let (at, size) = (libc::AT_RECURSIVE as u32, size_of_val(&attr));
    let call = call!(
        Shut,
        mount_setattr,
        Fd(AT_FDCWD),
        Str(path),
        Named(at),
        MountAttr(&raw const attr),
        Unsigned(size),
    );
    // SAFETY: the kernel reads the path and the four words, and keeps no pointer.
    unsafe { act(call) }
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
    // SAFETY: the kernel writes its `struct statfs`, which is as long as that.
    unsafe { enter(call!(Open, statfs, Str(path), Struct(&raw mut statfs))) }?;
    let flags = statfs[10];
    let relatime = if flags & ST_RELATIME == 0 { 0 } else { libc::MS_RELATIME };
    Ok(Ms::from_bits(flags & SAME | relatime))
}

/// `umount2(target, flags)`, [umount(2)](https://man7.org/linux/man-pages/man2/umount.2.html).
pub fn umount2(target: &CStr, flags: Mnt) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, umount2, Str(target), Mnt(flags))) }
}

/// `pivot_root(new_root, put_old)`,
/// [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html).
pub fn pivot_root(new_root: &CStr, put_old: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, pivot_root, Str(new_root), Str(put_old))) }
}

/// `chroot(path)`, [chroot(2)](https://man7.org/linux/man-pages/man2/chroot.2.html).
/// Leaves the working directory where it was.
pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, chroot, Str(path))) }
}

/// `chdir(path)`, [chdir(2)](https://man7.org/linux/man-pages/man2/chdir.2.html).
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, chdir, Str(path))) }
}

/// `fchdir(fd)`, [chdir(2)](https://man7.org/linux/man-pages/man2/chdir.2.html).
/// An `O_PATH` descriptor will do, since Linux 3.5.
pub fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, fchdir, Fd(fd))) }
}

// --- processes ---------------------------------------------------------------------------------

/// Whose memory a new process runs in.
#[derive(Clone, Copy)]
pub enum Memory {
    /// Its parent's, who sleeps until execve (`CLONE_VM | CLONE_VFORK`).
    Lent,
    /// A copy. The parent goes on.
    Copied,
}

/// Starts a child. Its pid is in `pid` before it runs.
pub fn clone<T>(
    memory: Memory,
    namespaces: Clone,
    stack: Stack,
    entry: extern "C" fn(&T) -> !,
    shared: &T,
    pid: Option<&AtomicI32>,
) -> Result<i32, Errno> {
    let ours = match memory {
        Memory::Lent => Clone::VM | Clone::VFORK,
        Memory::Copied => Clone::empty(),
    };
    // SAFETY: neither of the two runs while the other one uses its memory.
    unsafe { clone_with(ours | namespaces, stack, entry, shared, pid) }
}

/// Starts a process beside us, in our memory, which costs less than a copy. What both of us know is
/// on its own stack, which is to be of `map_memory` with `beside`: a watch has all else copied.
pub fn clone_beside<T: Sync>(
    stack: Stack,
    entry: extern "C" fn(&T) -> !,
    known: T,
) -> Result<(i32, &'static T), Errno> {
    let (stack, place) = stack.with_room_for::<T>();
    // SAFETY: the place is inside a mapping that nobody else has, and aligned; it is never given
    // back. What else there is to share is `WATCH`: where that is in use, memory is copied.
    unsafe {
        place.write(known);
        let pid = clone_with(Clone::VM, stack, entry, &*place, None)?;
        Ok((pid, &*place))
    }
}

/// `clone(flags | SIGCHLD, stack, parent_tid)`, the child beginning in `entry(shared)`,
/// [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html).
///
/// # Safety
/// Memory that is shared (`CLONE_VM`) is sound to be: `shared` lives for as long as the child does,
/// and neither of the two changes what the other one uses.
unsafe fn clone_with<T>(
    mut flags: Clone,
    stack: Stack,
    entry: extern "C" fn(&T) -> !,
    shared: &T,
    pid: Option<&AtomicI32>,
) -> Result<i32, Errno> {
    let pid = match pid {
        Some(pid) => {
            flags |= Clone::PARENT_SETTID;
            pid.as_ptr()
        }
        None => null_mut(),
    };
    let mut flags = flags.bits() | libc::SIGCHLD as u64;
    let top = stack.top();
    let argument = (&raw const *shared).cast::<c_void>();
    if watch::is_on() {
        let call = call!(Shut, clone, ChildStack(top as usize), CloneFlags(flags));
        flags = watch::before_clone(call.0.signature, call.1, pid as usize);
    }
    // SAFETY: a reference and a pointer are passed alike, and `entry` gets the `T` it expects.
    let entry: extern "C" fn(*const c_void) -> ! =
        unsafe { transmute::<extern "C" fn(&T) -> !, _>(entry) };
    // SAFETY: `stack` is a mapping that was made for this and is given away here; `shared`
    // outlives the child's use of it: CLONE_VFORK holds us in this call until execve, or the child
    // has a copy, or the caller sees to it. `pid` is NULL, or an atomic that is still borrowed.
    let result = unsafe { arch::clone(flags as usize, top, entry, argument, pid) };
    let result = Errno::from_ret(result as usize);
    if watch::is_on() {
        watch::after_clone(result);
    }
    result.map(|pid| pid as i32)
}

/// `execve(path, argv, envp)`,
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html). Returns only to say why it
/// failed. Both arrays end with their NULL (`None`).
#[inline(never)] // smaller alone than among its caller's variables
pub fn execve(path: &CStr, argv: Strings, envp: Strings) -> Result<Infallible, Errno> {
    if !matches!((argv.last(), envp.last()), (Some(None), Some(None))) {
        return Err(Errno::EFAULT); // what the kernel says to an array that does not end
    }
    // SAFETY: the strings are NUL-terminated, and the arrays NULL-terminated, as just seen.
    let errno = unsafe { enter(call!(Shut, execve, Str(path), Argv(argv), Envp(envp))) };
    Err(errno.err().unwrap_or(Errno::EINVAL)) // it does not return on success
}

/// `prctl(PR_SET_PDEATHSIG, signal)`,
/// [PR_SET_PDEATHSIG(2const)](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html):
/// the signal that we get when our parent dies. It outlives execve, but not a change of ids.
pub fn prctl_set_pdeathsig(signal: i32) -> Result<(), Errno> {
    let option = libc::PR_SET_PDEATHSIG as u32;
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, prctl, Named(option), Signal(signal))) }
}

/// `prctl(PR_SET_DUMPABLE, 0)`,
/// [PR_SET_DUMPABLE(2const)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html):
/// no process without CAP_SYS_PTRACE looks into this memory. It holds for the memory, so for all
/// that share it, and until execve.
pub fn prctl_set_undumpable() -> Result<(), Errno> {
    const SUID_DUMP_DISABLE: u32 = 0; // include/linux/sched/coredump.h
    let option = libc::PR_SET_DUMPABLE as u32;
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, prctl, Named(option), Named(SUID_DUMP_DISABLE))) }
}

/// `prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`, [PR_SET_NO_NEW_PRIVS(2const)](
/// https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html): execve gives nobody
/// more than he has, for good.
pub fn prctl_set_no_new_privs() -> Result<(), Errno> {
    let option = libc::PR_SET_NO_NEW_PRIVS as u32;
    let call =
        call!(Shut, prctl, Named(option), Unsigned(1), Unsigned(0), Unsigned(0), Unsigned(0));
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call) }
}

/// `prctl(PR_CAPBSET_READ, capability)`,
/// [PR_CAPBSET_READ(2const)](https://man7.org/linux/man-pages/man2/PR_CAPBSET_READ.2const.html):
/// may execve ever give it to us? `EINVAL` for a capability that this kernel doesn't know.
pub fn prctl_capbset_read(capability: u32) -> Result<bool, Errno> {
    let option = libc::PR_CAPBSET_READ as u32;
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Open, prctl, Named(option), Capability(capability))) }
        .map(|answer| answer == 1)
}

/// `prctl(PR_CAPBSET_DROP, capability)`,
/// [PR_CAPBSET_DROP(2const)](https://man7.org/linux/man-pages/man2/PR_CAPBSET_DROP.2const.html).
/// Needs CAP_SETPCAP; `EINVAL` for a capability that this kernel doesn't know.
pub fn prctl_capbset_drop(capability: u32) -> Result<(), Errno> {
    let option = libc::PR_CAPBSET_DROP as u32;
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, prctl, Named(option), Capability(capability))) }
}

/// `capget({_LINUX_CAPABILITY_VERSION_3, 0}, data)`,
/// [capget(2)](https://man7.org/linux/man-pages/man2/capget.2.html): our permitted set.
pub fn capget() -> Result<u64, Errno> {
    let mut data = [0_u32; 6]; // twice effective, permitted, inheritable: the low halves first
    let header = &raw const CAPABILITY_HEADER;
    // SAFETY: the kernel reads the header, whose version it knows since 2.6.26, and so doesn't
    // write to it; it writes six words that are ours.
    unsafe { enter(call!(Open, capget, CapabilityHeader(header), SetsOut(&raw mut data))) }?;
    Ok(u64::from(data[1]) | u64::from(data[4]) << 32)
}

/// `capset({_LINUX_CAPABILITY_VERSION_3, 0}, data)`,
/// [capset(2)](https://man7.org/linux/man-pages/man2/capset.2.html): permitted and effective.
/// Nothing is inheritable, and so nothing stays ambient.
pub fn capset(set: u64) -> Result<(), Errno> {
    let [low, high] = [set as u32, (set >> 32) as u32];
    let data = [low, low, 0, high, high, 0];
    let header = &raw const CAPABILITY_HEADER;
    // SAFETY: the kernel reads both, and keeps no pointer.
    unsafe { act(call!(Shut, capset, CapabilityHeader(header), Sets(&raw const data))) }
}

/// include/uapi/linux/capability.h: _LINUX_CAPABILITY_VERSION_3, and pid 0 for ourselves.
static CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// `seccomp(SECCOMP_SET_MODE_FILTER, 0, {len, filter})`,
/// [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html). Needs no_new_privs, or
/// CAP_SYS_ADMIN.
pub fn seccomp_set_mode_filter(filter: &seccomp::Program) -> Result<(), Errno> {
    // struct sock_fprog: a short, filled up, then a pointer.
    let program = [filter.len(), filter.as_ptr() as usize];
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    let program = &raw const program;
    // SAFETY: the kernel copies the program, and keeps no pointer.
    unsafe { act(call!(Shut, seccomp, Named(operation), Unsigned(0), Filter(program))) }
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`, [keyctl(2)](
/// https://man7.org/linux/man-pages/man2/keyctl.2.html): a new session keyring without a name.
pub fn keyctl_join_session_keyring() -> Result<(), Errno> {
    let operation = libc::KEYCTL_JOIN_SESSION_KEYRING;
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, keyctl, Named(operation), Address(NULL))) }
}

/// `prlimit64(0, RLIMIT_CORE, {1, 1}, NULL)`,
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
pub fn limit_core_dumps() -> Result<(), Errno> {
    let limit = [1_u64; 2]; // rlim_cur, rlim_max
    let (resource, limit) = (libc::RLIMIT_CORE, &raw const limit);
    let call =
        call!(Shut, prlimit64, Unsigned(0), Named(resource), LimitOfOne(limit), Address(NULL));
    // SAFETY: the kernel reads two words, and writes nowhere.
    unsafe { act(call) }
}

/// `umask(mask)`, [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html). It can't fail.
pub fn umask(mask: u32) {
    // SAFETY: the call touches no memory of ours.
    let _infallible = unsafe { enter(call!(Shut, umask, Umask(mask))) };
}

/// `exit_group(status)`,
/// [exit_group(2)](https://man7.org/linux/man-pages/man2/exit_group.2.html).
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: nothing of ours runs afterwards. It can't fail; the loop is for the type.
        let _never = unsafe { enter(call!(Open, exit_group, Signed(status))) };
    }
}

/// The watcher's own way out, behind the doorway's back.
fn exit_unseen(status: i32) -> ! {
    loop {
        // SAFETY: as in `exit_group`.
        let _never = unsafe { raw(Sysno::exit_group, [status as usize]) };
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
    let flag = libc::AT_REMOVEDIR as u32;
    // SAFETY: as in `openat`.
    unsafe { act(call!(Shut, unlinkat, Fd(directory), Str(path), Named(flag))) }
}

/// `getxattr(path, name, value, size)`,
/// [getxattr(2)](https://man7.org/linux/man-pages/man2/getxattr.2.html). `ENODATA` where the file
/// has no such attribute, `ERANGE` where it is longer.
pub fn getxattr<'a>(path: &CStr, name: &CStr, value: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let size = value.len();
    let call = call!(Open, getxattr, Str(path), Str(name), Text(value), Unsigned(size));
    // SAFETY: the kernel writes at most `size` bytes to a buffer that is ours alone.
    let length = unsafe { enter(call) }?;
    Ok(value.get(..length).unwrap_or(&[]))
}

/// `flock(fd, LOCK_EX|LOCK_NB)`, [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html).
/// The lock is there for as long as anybody has this very opening of the file.
pub fn flock(fd: i32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Open, flock, Fd(fd), Lock(Lock::EX | Lock::NB))) }
}

/// `unshare(flags)`, [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html).
pub fn unshare(namespaces: Clone) -> Result<(), Errno> {
    // SAFETY: as in `flock`: no memory is unshared.
    unsafe { act(call!(Shut, unshare, Namespaces(namespaces))) }
}

/// `nanosleep({0, 10000000}, NULL)`,
/// [nanosleep(2)](https://man7.org/linux/man-pages/man2/nanosleep.2.html): 10 milliseconds, or
/// less, where a signal comes.
pub fn sleep_a_little() {
    let time = [0, 10_000_000_u64]; // struct timespec: seconds, nanoseconds
    // SAFETY: the kernel reads the two words.
    let _short = unsafe { act(call!(Open, nanosleep, Time(&raw const time), Address(NULL))) };
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
