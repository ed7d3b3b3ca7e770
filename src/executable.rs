//! Level 6. Whose file we are. A container must not be handed the host's tinyctr: who may open it
//! may write to it, once nobody runs it any more (CVE-2019-5736).
//!
//! An image gets as far as `/proc/self/exe`: its command can be a link to that, or a script that
//! names it behind `#!`, and then what we execute is ourselves. That can't be refused before, since
//! only the kernel knows where a path ends. But then it is our own code that runs, as the only
//! process of the container; and it looks, and leaves.

use syscalls::Errno;

use crate::arch::{Process, until_nul};
use crate::error::{Error, On};
use crate::steps::Step;
use crate::sys::{self, step};

/// In a container (`container=` in the environment, which execve passes on and no image takes
/// away): is our file in its root? On the host, nothing is asked.
pub fn is_of_this_root(process: &Process) -> Result<(), Error<'static>> {
    match process.variable(b"container") {
        Some(_) => step(Step::OwnFile, compare),
        None => Ok(()),
    }
}

#[inline(never)] // a large frame, and not on the way to the wait
fn compare() -> Result<(), Error<'static>> {
    let link = c"/proc/self/exe";
    let mut path = [0; libc::PATH_MAX as usize];
    match sys::readlinkat(link, &mut path) {
        Err(Errno::ENOENT) => return Ok(()), // no proc: nobody came by its link
        found => found.on(link)?,
    };
    let named = until_nul(&path).unwrap_or(c"");
    // The link leads to our file wherever that is. Its text is a path, which begins at our root. An
    // image may have put a link there, back to where we came from: it is not followed.
    let ours = sys::identity(link, true).on(link)?;
    if sys::identity(named, false) == Ok(ours) { Ok(()) } else { Err(Errno::EXDEV).on(link) }
}
