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
use syscalls::{Errno, Sysno};

use crate::buf::{Buffer, Line};
use crate::error::{Error, On};
use crate::flags::{Events, O, number};
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
pub fn hold() -> Result<SignalSet, Error<'static>> {
    let mut text = [0; STATUS];
    // Not closed, which is a call less: execve does it for the child, and we don't miss the number.
    let known = match open(c"/proc/self/status") {
        Ok(file) => mask(sys::read(file, &mut text).on(c"/proc/self/status")?, b"SigIgn:"),
        Err(_) => None,
    };
    let ignored = sys::ignored_by_caller(known.unwrap_or(0));
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
    pub fn new() -> Result<Source, Error<'static>> {
        sys::signalfd(OURS).on(c"signals").map(Source)
    }

    pub fn poll(&self) -> Poll {
        Poll { fd: self.0, events: Events::IN.bits() as i16, revents: 0 }
    }

    /// The next one, and whether it is the kernel that sent it: a terminal, or a timer.
    pub fn next(&self) -> Result<(i32, bool), Error<'static>> {
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

/// A `/proc/PID/status`, proc_pid_status(5), is no longer.
const STATUS: usize = 4096;

/// The mask of that name there; `None` where it has none.
#[inline(never)]
fn mask(status: &[u8], name: &[u8; 7]) -> Option<SignalSet> {
    let start = status.windows(name.len()).position(|word| word == name)?;
    Some(hex(status.get(start + "SigIgn:\t".len()..)?))
}

fn open(path: &CStr) -> Result<i32, Errno> {
    sys::openat(sys::AT_FDCWD, path, O::CLOEXEC)
}

#[inline(never)] // packed
fn start_of<'a>(path: &CStr, text: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = open(path).ok()?;
    let read = sys::read(file, text).ok();
    sys::close(file).ok()?;
    read
}

/// The number that `text` begins with.
fn hex(text: &[u8]) -> u64 {
    let digits = text.iter().map_while(|digit| char::from(*digit).to_digit(16));
    digits.fold(0, |number, digit| number << 4 | u64::from(digit))
}

/// Whether `signal` would end an ordinary process where PID 1 is spared (hazard 2).
#[inline(never)] // packed
pub fn is_spared(pid: i32, signal: i32) -> bool {
    let (mut path, mut text) = (Line::<32>::new(), [0; STATUS]);
    let (mut looks, mut asleep) = (0, 0);
    while looks < LOOKS && asleep < LOOKS_ASLEEP {
        let status = start_of(of_process(&mut path, pid, "/status\0"), &mut text);
        let Some(status) = status else { return false };
        let [pending, blocked, ignored, caught] =
            [b"ShdPnd:", b"SigBlk:", b"SigIgn:", b"SigCgt:"].map(|name| mask(status, name));
        let (Some(pending), Some(blocked), Some(ignored), Some(caught)) =
            (pending, blocked, ignored, caught)
        else {
            return false;
        };
        if (HARMLESS | ignored | caught & !pending) & signal_bit(signal) != 0 {
            return false;
        }
        if (blocked | caught) & signal_bit(signal) == 0 {
            return awaited(pid, &mut path).unwrap_or(0) & signal_bit(signal) == 0;
        }
        // Blocked for a moment, as around a fork; or by somebody who reads it (signalfd(2)). Or
        // its handler has not run yet: after an execve, which may be under way, there is none.
        sys::sleep_a_little();
        looks += 1;
        // It waits for something, and can be woken: not for a child's execve, say (vfork(2)).
        asleep += u32::from(status.windows(8).any(|word| word == b"State:\tS"));
    }
    false
}

/// Who blocks a signal whenever it is looked at reads it. A shell that does nothing but start
/// programs blocks it most of the time, and then it is the kernel that makes it wait.
const LOOKS: u32 = 200;
const LOOKS_ASLEEP: u32 = 10;

/// The signals that a process waits for, sigwait(3). Meanwhile they look as if they were not
/// blocked.
fn awaited(pid: i32, path: &mut Buffer) -> Option<SignalSet> {
    let mut text = [0; 64];
    let text = start_of(of_process(path, pid, "/syscall\0"), &mut text)?;
    // "128 0x7ffd0123 ...": number and arguments, proc_pid_syscall(5).
    const { assert!(Sysno::rt_sigtimedwait as u32 == 128) };
    let set = hex(text.strip_prefix(b"128 0x")?);
    let memory = open(of_process(path, pid, "/mem\0")).ok()?;
    let awaited = sys::read_word(memory, set as usize).ok();
    sys::close(memory).ok()?;
    awaited
}

/// `/proc/PID/...`
fn of_process<'a>(path: &'a mut Buffer, pid: i32, file: &str) -> &'a CStr {
    path.clear();
    path.push("/proc/").push_decimal(pid.unsigned_abs().into()).push(file);
    path.as_cstr().unwrap_or(c"")
}

/// Sends `signal` to all processes of PID 1's namespace but that one itself; again, until no more
/// are found than the time before: then none was just being made.
#[inline(never)] // packed
pub fn send_to_others(first: i32, signal: i32) -> Result<(), Error<'static>> {
    let (mut path, mut before) = (Line::<32>::new(), 0);
    let namespace = sys::identity(of_process(&mut path, first, NAMESPACE), true).on(PROC)?;
    for _ in 0..10 {
        let mut found = 0;
        let directory = sys::openat(sys::AT_FDCWD, PROC, O::DIRECTORY | O::CLOEXEC).on(PROC)?;
        let mut send = |name: &[u8]| {
            if let Some(pid) = number(name).filter(|pid| *pid != first)
                && sys::identity(of_process(&mut path, pid, NAMESPACE), true) == Ok(namespace)
            {
                found += 1;
                let _gone_already = sys::kill(pid, signal);
            }
            Ok(())
        };
        sys::each_entry(directory, &mut send).and_then(|()| sys::close(directory)).on(PROC)?;
        if found == before {
            break;
        }
        before = found;
    }
    Ok(())
}

const PROC: &CStr = c"/proc";
const NAMESPACE: &str = "/ns/pid\0";
