//! Level 3. The container ends when tinyctr ends, SIGKILL included.

use syscalls::Errno;

use crate::error::{At, Error, Step};
use crate::sys;

/// Asks for SIGKILL at the death of our parent, and makes sure that it had not died before:
/// then the signal would never come. `pipe` is one that our parent holds the reading end of.
pub fn end_with_parent([read, write]: [i32; 2]) -> Result<(), Error<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).at(Step::DieWithParent, c"SIGKILL")?;
    sys::close(read).at(Step::DieWithParent, c"pipe")?; // our own copy, a reader too
    if sys::is_unread(write).at(Step::DieWithParent, c"pipe")? {
        return Err(Error::errno(Step::DieWithParent, b"parent", Errno::ESRCH));
    }
    Ok(())
}
