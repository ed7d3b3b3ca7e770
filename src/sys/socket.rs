//! The socket between a child and its parent: over it a terminal is handed out of the container,
//! and a child that has memory of its own tells what became of it.

use core::mem::MaybeUninit;
use core::ptr::null_mut;
use syscalls::Errno;

use super::{act, call, enter};
use crate::arch::ThinCStr;
use crate::error::Error;
use crate::flags::Sock;

/// `socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, fds)`,
/// [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html).
pub fn socketpair() -> Result<[i32; 2], Errno> {
    let mut ends = [0_i32; 2];
    let (family, out) = (libc::AF_UNIX as u32, &raw mut ends);
    let kind = Sock::SEQPACKET | Sock::CLOEXEC;
    // SAFETY: the kernel writes two ints there, which are ours alone.
    unsafe { enter(call!(Open, socketpair, Named(family), Sock(kind), Unsigned(0), Pipe(out))) }?;
    Ok(ends)
}

/// What a child tells its parent. Of what it points to, each has its own copy at the same place.
#[derive(Clone, Copy, Default)]
pub struct Report<'a> {
    pub failure: Option<Error<'a>>,
    /// What it became.
    pub program: Option<ThinCStr<'a>>,
    /// The other side of a terminal: a descriptor, which is copied on the way.
    pub terminal: Option<i32>,
}

/// Three words, and beside them room for one descriptor
/// ([cmsg(3)](https://man7.org/linux/man-pages/man3/cmsg.3.html)).
struct Parcel {
    words: [usize; 3],
    control: Control,
    iov: libc::iovec,
}

/// `struct cmsghdr`, and an int.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    descriptor: i32,
}

/// What CMSG_LEN says of one int.
const CONTROL_LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<i32>();

impl Parcel {
    fn new(words: [usize; 3], descriptor: i32) -> Self {
        let control = Control {
            length: CONTROL_LENGTH,
            level: libc::SOL_SOCKET,
            kind: libc::SCM_RIGHTS,
            descriptor,
        };
        Parcel { words, control, iov: libc::iovec { iov_base: null_mut(), iov_len: 0 } }
    }

    /// Points into the parcel, which must stay where it is.
    #[inline(never)] // smaller alone than among its caller's variables
    fn header(&mut self, has_descriptor: bool) -> libc::msghdr {
        let (start, length) = (self.words.as_mut_ptr().cast(), size_of_val(&self.words));
        self.iov = libc::iovec { iov_base: start, iov_len: length };
        // SAFETY: a struct of numbers and pointers, for which zero is no name and no flag.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_iov = &raw mut self.iov;
        header.msg_iovlen = 1;
        if has_descriptor {
            header.msg_control = (&raw mut self.control).cast();
            header.msg_controllen = size_of::<Control>();
        }
        header
    }
}

/// `sendmsg(socket, {words, descriptor}, MSG_NOSIGNAL)`,
/// [sendmsg(2)](https://man7.org/linux/man-pages/man2/sendmsg.2.html),
/// SCM_RIGHTS in [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
#[inline(never)]
pub fn send(socket: i32, report: &Report) -> Result<(), Errno> {
    let (object, code) = report.failure.map_or((0, 0), |it| (it.object.address(), it.code()));
    let words = [object, code as usize, report.program.map_or(0, ThinCStr::address)];
    let mut parcel = Parcel::new(words, report.terminal.unwrap_or(-1));
    let mut header = parcel.header(report.terminal.is_some());
    let (header, flags) = (&raw mut header, libc::MSG_NOSIGNAL as u32);
    // SAFETY: the kernel reads the message, and what it points to, all of which is here.
    unsafe { act(call!(Shut, sendmsg, Fd(socket), Struct(header), Named(flags))) }
}

/// `recvmsg(socket, &message, MSG_CMSG_CLOEXEC)`,
/// [recvmsg(2)](https://man7.org/linux/man-pages/man2/recvmsg.2.html). `None` where nobody is left
/// who could send anything.
#[inline(never)]
pub fn receive<'a>(socket: i32) -> Result<Option<Report<'a>>, Errno> {
    let mut parcel = Parcel::new([0; 3], -1);
    let mut header = parcel.header(true);
    let (out, flags) = (&raw mut header, libc::MSG_CMSG_CLOEXEC as u32);
    // SAFETY: the kernel writes at most as much as the parcel has room for.
    let length = unsafe { enter(call!(Open, recvmsg, Fd(socket), Struct(out), Named(flags))) }?;
    if length == 0 {
        return Ok(None);
    }
    let [object, code, program] = parcel.words;
    // SAFETY: only a copy of ours is at the other end (`send`), and the strings that a plan and an
    // error name were there before it was made: at the same address here.
    let string = |address| unsafe { ThinCStr::from_address(address) };
    let failure = string(object).map(|object| Error::from_parts(object, code as u32));
    let came = header.msg_controllen >= CONTROL_LENGTH;
    let terminal = came.then_some(parcel.control.descriptor);
    Ok(Some(Report { failure, program: string(program), terminal }))
}
