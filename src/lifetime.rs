//! Level 6. The container ends when tinyctr ends, SIGKILL included.
//!
//! Hazard: the kernel forgets the wish when a process changes its ids or gains capabilities
//! (PR_SET_PDEATHSIG(2const)). A command that does so itself (setpriv, su) outlives a tinyctr that
//! is killed.

use syscalls::Errno;

use crate::error::{Fault, On};
use crate::sys;

/// Asks for SIGKILL at the death of our parent, and makes sure that it had not died before:
/// then the signal would never come. `pipe` is one that our parent holds the reading end of.
pub fn end_with_parent(pipe: [i32; 2]) -> Result<(), Fault<'static>> {
    sys::close(pipe[0]).on(c"pipe")?; // our own copy, a reader too
    insist(pipe)
}

/// Asks once more, after a change of ids.
pub fn insist([_, write]: [i32; 2]) -> Result<(), Fault<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).on(c"SIGKILL")?;
    if sys::is_unread(write).on(c"pipe")? {
        return Err(Errno::ESRCH).on(c"parent");
    }
    Ok(())
}
