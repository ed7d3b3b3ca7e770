//! Level 6. The container ends when tinyctr ends, SIGKILL included.
//!
//! Hazard: the kernel forgets the wish when a process changes its ids or gains capabilities
//! (PR_SET_PDEATHSIG(2const)). Where we do so it is repeated; a command that does so itself
//! (setpriv, su) outlives a tinyctr that is killed.

use syscalls::Errno;

use crate::error::{Fault, On};
use crate::sys;

/// Asks for SIGKILL at the death of our parent, and makes sure that it had not died before:
/// then the signal would never come. The pipe is one that our parent holds the reading end of.
pub fn end_with_parent([read, write]: [i32; 2], again: bool) -> Result<(), Fault<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).on(c"SIGKILL")?;
    if !again {
        sys::close(read).on(c"pipe")?; // our own copy, a reader too
    }
    if sys::is_unread(write).on(c"pipe")? {
        return Err(Errno::ESRCH).on(c"parent");
    }
    Ok(())
}
