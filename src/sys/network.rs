//! A network namespace, another's or our own.

use syscalls::Errno;

use super::{act, call, close, enter};
use crate::flags::Clone;

/// `setns(fd, type)`, [setns(2)](https://man7.org/linux/man-pages/man2/setns.2.html). `EINVAL` for
/// what is no namespace of that type.
pub fn setns(fd: i32, namespace: Clone) -> Result<(), Errno> {
    // SAFETY: as in `flock`.
    unsafe { act(call!(Shut, setns, Fd(fd), Namespaces(namespace))) }
}

/// `socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, 0)` and
/// `ioctl(fd, SIOCSIFFLAGS, {"lo", IFF_UP})`,
/// [netdevice(7)](https://man7.org/linux/man-pages/man7/netdevice.7.html): the loopback, which has
/// no other flag that can be changed. The socket only says whose.
pub fn raise_loopback() -> Result<(), Errno> {
    let (family, kind) = (libc::AF_INET as u32, (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u32);
    // SAFETY: the call touches no memory of ours.
    let socket =
        unsafe { enter(call!(Open, socket, Named(family), Named(kind), Named(0))) }? as i32;
    // struct ifreq: 16 bytes of name, then a union of 24, of which the flags are the first two.
    static REQUEST: [u64; 5] =
        [u64::from_ne_bytes(*b"lo\0\0\0\0\0\0"), 0, libc::IFF_UP as u64, 0, 0];
    let (operation, at) = (libc::SIOCSIFFLAGS as u32, &raw const REQUEST);
    // SAFETY: the kernel reads the 40 bytes.
    let raised = unsafe { act(call!(Shut, ioctl, Fd(socket), Named(operation), LoopbackUp(at))) };
    close(socket)?;
    raised
}
