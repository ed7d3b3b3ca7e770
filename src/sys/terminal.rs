//! Terminals: `ioctl_tty(2)`, and what else turns a descriptor into somebody's terminal.

use syscalls::Errno;

use super::{act, call, enter};
use crate::flags::O;

/// The kernel's `struct termios`, of all architectures that are built here: four flag words, the
/// line discipline, nineteen characters
/// ([asm-generic/termbits.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/termbits.h)).
/// Not libc's, which is longer.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub characters: [u8; 19],
}

const _: () = assert!(size_of::<Termios>() == 36);

/// `struct winsize`: rows and columns, and twice what nobody fills in.
pub type WindowSize = [u16; 4];

/// A request of ioctl that is answered with 0 and what `argument` points to.
///
/// # Safety
/// The kernel reads and writes no more than a `T` for this request.
#[inline(never)]
unsafe fn ioctl<T>(fd: i32, request: libc::c_ulong, argument: *mut T) -> Result<(), Errno> {
    let request = request as u32;
    // SAFETY: the caller's contract; and the pointer is not kept.
    unsafe { act(call!(Shut, ioctl, Fd(fd), Named(request), Struct(argument))) }
}

/// `ioctl(fd, TCGETS, &termios)`,
/// [TCGETS(2const)](https://man7.org/linux/man-pages/man2/TCGETS.2const.html):
/// what isatty(3) does. `ENOTTY` where `fd` is no terminal.
pub fn ioctl_tcgets(fd: i32) -> Result<Termios, Errno> {
    let mut termios = Termios::default();
    let (request, out) = (libc::TCGETS as u32, &raw mut termios);
    // SAFETY: the kernel writes its `struct termios`, which is as long.
    unsafe { act(call!(Open, ioctl, Fd(fd), Named(request), Struct(out))) }?;
    Ok(termios)
}

/// `ioctl(fd, TCSETS, &termios)`,
/// [TCSETS(2const)](https://man7.org/linux/man-pages/man2/TCSETS.2const.html), at once.
pub fn ioctl_tcsets(fd: i32, termios: &Termios) -> Result<(), Errno> {
    // SAFETY: the kernel reads its `struct termios`, which is as long, and writes nothing.
    unsafe { ioctl(fd, libc::TCSETS, (&raw const *termios).cast_mut()) }
}

/// `ioctl(fd, TIOCGWINSZ, &size)`,
/// [TIOCGWINSZ(2const)](https://man7.org/linux/man-pages/man2/TIOCGWINSZ.2const.html).
pub fn ioctl_tiocgwinsz(fd: i32) -> Result<WindowSize, Errno> {
    let mut size = [0; 4];
    let (request, out) = (libc::TIOCGWINSZ as u32, &raw mut size);
    // SAFETY: the kernel writes four shorts.
    unsafe { act(call!(Open, ioctl, Fd(fd), Named(request), Struct(out))) }?;
    Ok(size)
}

/// `ioctl(fd, TIOCSWINSZ, &size)`,
/// [TIOCSWINSZ(2const)](https://man7.org/linux/man-pages/man2/TIOCSWINSZ.2const.html): the
/// foreground process group gets SIGWINCH.
pub fn ioctl_tiocswinsz(fd: i32, size: &WindowSize) -> Result<(), Errno> {
    // SAFETY: the kernel reads four shorts, and writes nothing.
    unsafe { ioctl(fd, libc::TIOCSWINSZ, (&raw const *size).cast_mut()) }
}

/// `ioctl(fd, TIOCGPGRP, &group)`,
/// [TIOCGPGRP(2const)](https://man7.org/linux/man-pages/man2/TIOCGPGRP.2const.html): the foreground
/// process group, of the other side where `fd` is a master.
pub fn ioctl_tiocgpgrp(fd: i32) -> Result<i32, Errno> {
    let mut group = 0_i32;
    let (request, out) = (libc::TIOCGPGRP as u32, &raw mut group);
    // SAFETY: the kernel writes an int.
    unsafe { act(call!(Open, ioctl, Fd(fd), Named(request), Struct(out))) }?;
    Ok(group)
}

/// `ioctl(master, TIOCSPTLCK, &0)`,
/// [ioctl_tty(2)](https://man7.org/linux/man-pages/man2/TIOCSPTLCK.2const.html): the other side may
/// be opened.
pub fn ioctl_tiocsptlck(master: i32) -> Result<(), Errno> {
    let mut unlocked = 0_i32;
    // SAFETY: the kernel reads an int.
    unsafe { ioctl(master, libc::TIOCSPTLCK, &raw mut unlocked) }
}

/// `ioctl(master, TIOCGPTPEER, flags)`,
/// [TIOCGPTPEER(2const)](https://man7.org/linux/man-pages/man2/TIOCGPTPEER.2const.html), since
/// Linux 4.13: opens the other side, without a path that could be somebody else's.
pub fn ioctl_tiocgptpeer(master: i32) -> Result<i32, Errno> {
    let request = libc::TIOCGPTPEER as u32;
    let flags = (O::RDWR | O::NOCTTY | O::CLOEXEC).bits() as usize;
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Open, ioctl, Fd(master), Named(request), Hex(flags))) }.map(|fd| fd as i32)
}

/// `ioctl(fd, TIOCSCTTY, 0)`,
/// [TIOCSCTTY(2const)](https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html): the
/// controlling terminal of the session that we lead.
pub fn ioctl_tiocsctty(fd: i32) -> Result<(), Errno> {
    let request = libc::TIOCSCTTY as u32;
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, ioctl, Fd(fd), Named(request), Unsigned(0))) }
}

/// `fchown(fd, uid, -1)`, [chown(2)](https://man7.org/linux/man-pages/man2/chown.2.html): the group
/// stays what it is.
pub fn fchown(fd: i32, uid: u32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, fchown, Fd(fd), Unsigned(uid as usize), Signed(-1))) }
}

/// `setsid()`, [setsid(2)](https://man7.org/linux/man-pages/man2/setsid.2.html).
pub fn setsid() -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, setsid)) }
}

/// `dup3(fd, to, 0)`, [dup(2)](https://man7.org/linux/man-pages/man2/dup.2.html): `to` is passed on
/// by execve. Not `dup2`: newer architectures lack it.
pub fn dup3(fd: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: descriptors are plain numbers here.
    unsafe { act(call!(Shut, dup3, Fd(fd), Fd(to), Unsigned(0))) }
}

/// `fcntl(fd, F_SETFD, FD_CLOEXEC)`, [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html):
/// execve closes it. `EBADF` where it is not open.
pub fn close_on_exec(fd: i32) -> Result<(), Errno> {
    let (operation, flag) = (libc::F_SETFD as u32, libc::FD_CLOEXEC as u32);
    // SAFETY: descriptors are plain numbers here.
    unsafe { act(call!(Open, fcntl, Fd(fd), Named(operation), Named(flag))) }
}
