//! Level 6. Signals: those that tinyctr gets are the container's; and none of the caller's habits
//! reaches the command.
//!
//! Hazards:
//! 1. Between the clone and execve a signal handler would run in borrowed memory. There is none:
//!    from before the clone on signals are blocked, and read from a descriptor.
//! 2. A process that is PID 1 gets no signal whose disposition is the default
//!    ([pid_namespaces(7)](https://man7.org/linux/man-pages/man7/pid_namespaces.7.html)). What the
//!    default would do is then done from outside.

use core::ffi::CStr;

use crate::buf::Line;
use crate::error::{Fault, On};
use crate::flags::{Events, O};
use crate::sys::{self, Poll, SignalSet, UNCHANGEABLE, signal_bit};

/// What is passed on, or means something to us. SIGPIPE is among them so that a write is answered
/// instead.
pub const OURS: SignalSet = {
    const SIGNALS: [i32; 12] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGTSTP,
        libc::SIGWINCH,
    ];
    set_of(&SIGNALS)
};

/// Whose default is not to end the process: to do nothing, to go on, or to stop.
const HARMLESS: SignalSet = set_of(&[
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
]);

const fn set_of(signals: &[i32]) -> SignalSet {
    let (mut set, mut at) = (0, 0);
    while at < signals.len() {
        set |= signal_bit(signals[at]);
        at += 1;
    }
    set
}

/// Resets what the caller ignored, and holds back all that will be passed on. Returns what was
/// ignored: the command gets none of that by us (nohup(1) ignores SIGHUP).
#[inline(never)] // a large frame, and not on the way to the wait
pub fn hold() -> Result<SignalSet, Fault<'static>> {
    let known = masks(c"/proc/self/status");
    let ignored = sys::ignored_by_caller(known.map_or(0, |masks| masks.ignored));
    // Without /proc all of them are reset: whether anybody ignored them is not known then.
    let reset = if known.is_some() { ignored } else { !UNCHANGEABLE };
    for signal in (1..=64).filter(|signal| reset & signal_bit(*signal) != 0) {
        sys::reset_signal(signal).on(c"signals")?;
    }
    sys::block_signals(OURS).on(c"signals")?;
    Ok(ignored)
}

/// Where the signals come from.
pub struct Source(i32);

impl Source {
    pub fn new() -> Result<Source, Fault<'static>> {
        sys::signalfd(OURS).on(c"signals").map(Source)
    }

    pub fn poll(&self) -> Poll {
        Poll { fd: self.0, events: Events::IN.bits() as i16, revents: 0 }
    }

    /// The next one, and whether it is the kernel that sent it: a terminal, or a timer.
    pub fn next(&self) -> Result<(i32, bool), Fault<'static>> {
        const SI_KERNEL: i32 = 0x80; // include/uapi/asm-generic/siginfo.h
        let mut info = [0; 128]; // struct signalfd_siginfo: signal, errno, code, and more
        let info = sys::read(self.0, &mut info).on(c"signals")?;
        let word =
            |at: usize| info.get(at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        Ok((word(0).unwrap_or(0), word(8) == Some(SI_KERNEL)))
    }
}

/// Whether the default of a signal is to end the process.
pub fn is_deadly(signal: i32) -> bool {
    HARMLESS & signal_bit(signal) == 0
}

/// What a process does about signals.
#[derive(Clone, Copy)]
struct Masks {
    blocked: SignalSet,
    ignored: SignalSet,
    caught: SignalSet,
}

/// Of a `/proc/PID/status`, proc_pid_status(5). `None` where that can't be read.
fn masks(path: &CStr) -> Option<Masks> {
    let mut text = [0; 4096];
    let file = sys::openat(sys::AT_FDCWD, path, O::CLOEXEC).ok()?;
    let read = sys::read(file, &mut text).ok();
    sys::close(file).ok()?;
    let text = read?;
    // "SigBlk:\t0123456789abcdef\nSigIgn:\t...\nSigCgt:\t..."
    let start = text.windows(7).position(|word| word == b"SigBlk:")?;
    let line = "SigBlk:\t0123456789abcdef\n".len();
    let mask = |number: usize| {
        let digits = text.get(start + number * line + 8..)?.get(..16)?;
        digits.iter().try_fold(0, |mask: u64, digit| {
            Some(mask << 4 | char::from(*digit).to_digit(16)? as u64)
        })
    };
    Some(Masks { blocked: mask(0)?, ignored: mask(1)?, caught: mask(2)? })
}

/// Whether `signal` would end an ordinary process where PID 1 is spared (hazard 2).
#[inline(never)] // packed
pub fn is_spared(pid: i32, signal: i32) -> bool {
    let mut path = Line::<32>::new();
    path.push("/proc/").push_decimal(pid.unsigned_abs().into()).push("/status\0");
    for _ in 0..10 {
        let Some(masks) = masks(path.as_cstr().unwrap_or(c"")) else { return false };
        if (HARMLESS | masks.ignored | masks.caught) & signal_bit(signal) != 0 {
            return false;
        }
        if masks.blocked & signal_bit(signal) == 0 {
            return true;
        }
        // Blocked for a moment, as around a fork; or by somebody who waits for it (sigwait(3)).
        sys::sleep_a_little();
    }
    false
}
