//! A helper: a process of ours that is forked, and the pipes to it.

use core::mem::size_of_val;
use core::slice;
use syscalls::Errno;

use super::{act, call, enter, read};
use crate::arch::ThinCStr;
use crate::error::Error;
use crate::flags::O;

/// `pipe2(fds, O_CLOEXEC)`, [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html).
/// The end to read from, and the end to write to.
pub fn pipe2() -> Result<[i32; 2], Errno> {
    let mut ends = [0_i32; 2];
    let out = &raw mut ends;
    // SAFETY: the kernel writes two ints there, which are ours alone.
    unsafe { enter(call!(Open, pipe2, Pipe(out), O(O::CLOEXEC))) }?;
    Ok(ends)
}

/// `fork()`, [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html): 0 in the new process,
/// which has a copy of our memory, and none of its own threads to miss. (Newer architectures have
/// only clone(2) for it.)
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: there is one thread, so nothing is left half done in the copy.
    unsafe { enter(call!(Open, fork)) }.map(|pid| pid as i32)
}

/// `write`, to one of our own: a rehearsal tells it too.
pub fn tell(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: as in `write`.
    unsafe { enter(call!(Open, write, Fd(fd), Bytes(bytes), Unsigned(bytes.len()))) }
}

/// Tells what became of something, by `write`, to who has our memory, or had it when we were
/// forked: two words.
pub fn tell_outcome(fd: i32, outcome: &Result<(), Error<'static>>) -> Result<usize, Errno> {
    let words =
        outcome.err().map_or([0; 2], |error| [error.object.address(), error.code() as usize]);
    // SAFETY: the bytes of two words.
    tell(fd, unsafe { slice::from_raw_parts(words.as_ptr().cast(), size_of_val(&words)) })
}

/// What was told so. `ESRCH` where nobody is left who could.
pub fn hear_outcome(fd: i32) -> Result<Result<(), Error<'static>>, Errno> {
    let mut words = [0_usize; 2];
    let size = size_of_val(&words);
    // SAFETY: the bytes of two words, which are ours alone.
    let bytes = unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size) };
    if read(fd, bytes)?.len() < size {
        return Err(Errno::ESRCH); // a pipe takes so little at once or not at all (pipe(7))
    }
    let [object, code] = words;
    // SAFETY: `tell_outcome` wrote it, in a copy of this very memory, where what an error of that
    // lifetime is about is a static of this program, and never changes.
    let object = unsafe { ThinCStr::from_address(object) };
    Ok(object.map_or(Ok(()), |object| Err(Error::from_parts(object, code as u32))))
}

/// `close(fd)`, of what only we and our helper have: a rehearsal closes it too.
pub fn close_end(fd: i32) -> Result<(), Errno> {
    // SAFETY: descriptors are plain numbers here; no object of ours owns one.
    unsafe { act(call!(Open, close, Fd(fd))) }
}
