//! Level 6. The container ends when tinyctr ends, SIGKILL included.
//!
//! Hazard: the kernel forgets PR_SET_PDEATHSIG when a process changes its ids or gains
//! capabilities (PR_SET_PDEATHSIG(2const)): then the guard is there, a process of ours that nobody
//! in the container can reach.

use core::convert::Infallible;
use syscalls::Errno;

use crate::error::{Fault, On};
use crate::flags::Events;
use crate::sys::{self, Poll};

/// A socket between two processes of ours; each notices when nobody is at the other end any more.
#[derive(Clone, Copy)]
pub struct Line {
    pub parents: i32,
    pub childs: i32,
}

impl Line {
    pub fn new() -> Result<Line, Errno> {
        sys::socketpair().map(|[parents, childs]| Line { parents, childs })
    }
}

/// Asks for SIGKILL at the death of our parent, and makes sure that it had not died before: then
/// the signal would never come. (getppid(2) says nothing here: in a new PID namespace the parent
/// is always 0.)
pub fn end_with_parent(line: Line) -> Result<(), Fault<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).on(c"SIGKILL")?;
    sys::close(line.parents).on(c"socket")?; // our own copy, an end too
    let events = 0; // POLLHUP is told unasked
    let mut polls = [Poll { fd: line.childs, events, revents: 0 }];
    sys::ppoll(&mut polls, &[0; 2]).on(c"socket")?;
    let [poll] = polls;
    if poll.revents as u64 & Events::HUP.bits() != 0 {
        return Err(Errno::ESRCH).on(c"parent");
    }
    Ok(())
}

/// Begins to guard `container`: a process beside us, which waits for our end. Returns its pid.
pub fn begin_guard(page_size: usize, container: i32, line: Line) -> Result<i32, Fault<'static>> {
    let (stack, _) = sys::map_memory(page_size, 0).on(c"guard")?;
    sys::clone_beside(stack, guard, Guarded { container, line }).on(c"guard")
}

#[derive(Clone, Copy)]
struct Guarded {
    container: i32,
    line: Line,
}

/// It shares our memory, and reads of it only what it was given.
extern "C" fn guard(guarded: &Guarded) -> ! {
    let Err(_) = wait_and_kill(guarded);
    sys::exit_group(crate::error::EXIT_FAILURE)
}

/// Nobody sends anything: the answer comes when tinyctr is gone, and is that nobody is there.
/// The pid can't be another's by now: numbers go round in order, and it was in use a moment ago.
fn wait_and_kill(&Guarded { container, line }: &Guarded) -> Result<Infallible, Errno> {
    sys::close(line.parents)?;
    let mut polls = [Poll { fd: line.childs, events: Events::IN.bits() as i16, revents: 0 }];
    sys::ppoll_idle(&mut polls)?;
    sys::kill(container, libc::SIGKILL)?;
    Err(Errno::ESRCH)
}

/// The container is gone, and so goes its guard.
pub fn end_guard(pid: i32) -> Result<(), Fault<'static>> {
    sys::kill_helper(pid).on(c"guard")?;
    sys::wait4_briefly(pid).map(drop).on(c"guard")
}
