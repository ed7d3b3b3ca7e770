//! Level 6. The container ends when tinyctr ends, SIGKILL included.
//!
//! Hazard: the kernel forgets PR_SET_PDEATHSIG when a process changes its ids or gains
//! capabilities (PR_SET_PDEATHSIG(2const)). Where we do so it is asked for once more; for a command
//! that may do so the guard is there, a process of ours that nobody in the container can reach.

use core::convert::Infallible;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::Events;
use crate::sys::{self, Poll, Stack};

/// A socket between two processes of ours; each notices when nobody is at the other end any more.
#[derive(Clone, Copy)]
pub struct Wire {
    pub parents: i32,
    pub childs: i32,
}

impl Wire {
    pub fn new() -> Result<Wire, Errno> {
        sys::socketpair().map(|[parents, childs]| Wire { parents, childs })
    }
}

/// Asks for SIGKILL at the death of our parent, and makes sure that it had not died before: then
/// the signal would never come. (getppid(2) says nothing here: in a new PID namespace the parent
/// is always 0.) Where there is a guard it knows, by execve at the latest: that closes our own copy
/// of our parent's end.
pub fn end_with_parent(wire: Wire, guarded: bool) -> Result<(), Error<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).on(c"SIGKILL")?;
    if guarded {
        return Ok(());
    }
    sys::close(wire.parents).on(c"socket")?;
    make_sure(wire)
}

/// The same, after a change of ids.
#[inline(never)] // packed
pub fn end_with_parent_again(wire: Wire, guarded: bool) -> Result<(), Error<'static>> {
    sys::prctl_set_pdeathsig(libc::SIGKILL).on(c"SIGKILL")?;
    if guarded { Ok(()) } else { make_sure(wire) }
}

fn make_sure(wire: Wire) -> Result<(), Error<'static>> {
    let events = 0; // POLLHUP is told unasked
    let mut polls = [Poll { fd: wire.childs, events, revents: 0 }];
    sys::ppoll(&mut polls, Some(&[0; 2])).on(c"socket")?;
    let [poll] = polls;
    if poll.revents as u64 & Events::HUP.bits() != 0 {
        return Err(Errno::ESRCH).on(c"parent");
    }
    Ok(())
}

/// A process beside us, which waits for our end and then ends the container.
pub struct Guard {
    pid: i32,
    guarded: &'static Guarded,
}

struct Guarded {
    wire: Wire,
    /// What is heard of only once nobody has an end of it any more: not ours to keep. -1: nothing.
    inlets: [i32; 2],
    /// The pid of the container; 0 as long as there is none.
    container: AtomicI32,
}

impl Guard {
    /// To be called before there is a container: afterwards it could change its ids, and we could
    /// be killed, before the guard is there.
    pub fn begin(stack: Stack, wire: Wire, inlets: [i32; 2]) -> Result<Guard, Error<'static>> {
        let guarded = Guarded { wire, inlets, container: AtomicI32::new(0) };
        let (pid, guarded) = sys::clone_beside(stack, guard, guarded).on(c"guard")?;
        Ok(Guard { pid, guarded })
    }

    /// Where the kernel writes the pid of the container, as it makes it.
    pub fn container(&self) -> &'static AtomicI32 {
        &self.guarded.container
    }

    /// The container is gone, and so goes its guard.
    pub fn end(self) -> Result<(), Error<'static>> {
        sys::kill_own(self.pid, libc::SIGKILL).on(c"guard")?;
        sys::wait4_briefly(self.pid).map(drop).on(c"guard")
    }
}

/// It shares our memory, and reads of it only what it was given.
extern "C" fn guard(guarded: &Guarded) -> ! {
    let Err(_) = wait_and_kill(guarded);
    sys::exit_group(crate::error::EXIT_FAILURE)
}

/// Nobody sends anything: the answer comes when tinyctr is gone, and is that nobody is there.
/// The pid can't be another's by now: numbers go round in order, and it was in use a moment ago.
fn wait_and_kill(guarded: &Guarded) -> Result<Infallible, Errno> {
    // What is closed is closed, whatever the answer (close(2), NOTES).
    let _released = sys::close(guarded.wire.parents);
    for inlet in guarded.inlets.into_iter().filter(|inlet| *inlet >= 0) {
        let _released = sys::close(inlet);
    }
    let events = Events::IN.bits() as i16;
    // Not idle: our memory is tinyctr's, who is at work.
    sys::ppoll(&mut [Poll { fd: guarded.wire.childs, events, revents: 0 }], None)?;
    // 0: it was never made. To kill(2) that would be our own group.
    let container = guarded.container.load(Relaxed);
    if container > 0 {
        sys::kill(container, libc::SIGKILL)?;
    }
    Err(Errno::ESRCH)
}
