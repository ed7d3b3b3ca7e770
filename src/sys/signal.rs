//! Signals, and waiting: for signals, for bytes, for processes.

use core::ptr::null;
use syscalls::Errno;

use super::{Resident, Which, act, arch, call, enter, six, watch};
use crate::flags::Ended;

/// Signals by number: bit N - 1 is signal N, as the kernel has it in its `sigset_t`.
pub type SignalSet = u64;

pub const fn signal_bit(signal: i32) -> SignalSet {
    1 << (signal - 1)
}

/// The size of a `sigset_t`, which every call that takes one wants to be told.
const SET_SIZE: usize = size_of::<SignalSet>();

/// What the kernel does not let anybody change, and so need not be reset.
pub const UNCHANGEABLE: SignalSet = signal_bit(libc::SIGKILL) | signal_bit(libc::SIGSTOP);

/// `rt_sigaction(signal, {SIG_DFL}, NULL, 8)`,
/// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
pub fn reset_signal(signal: i32) -> Result<(), Errno> {
    // The kernel's struct sigaction: handler, flags, restorer, mask. All zero is SIG_DFL.
    let default = [0_u8; 32];
    let action = &raw const default;
    let call = call!(
        Open,
        rt_sigaction,
        Signal(signal),
        DefaultAction(action),
        Address(0),
        Unsigned(SET_SIZE),
    );
    // SAFETY: the kernel reads at most 32 bytes (4 words on a 64-bit machine), and installs no
    // handler.
    unsafe { act(call) }
}

/// `rt_sigprocmask(SIG_SETMASK, &set, NULL, 8)`,
/// [sigprocmask(2)](https://man7.org/linux/man-pages/man2/sigprocmask.2.html).
pub fn block_signals(set: SignalSet) -> Result<(), Errno> {
    let how = libc::SIG_SETMASK as u32;
    let set = &raw const set;
    let call =
        call!(Open, rt_sigprocmask, Named(how), Signals(set), Address(0), Unsigned(SET_SIZE));
    // SAFETY: the kernel reads eight bytes.
    unsafe { act(call) }
}

/// `signalfd4(-1, &set, 8, SFD_CLOEXEC)`,
/// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html): signals that are blocked,
/// to be read.
#[inline(never)] // smaller alone than among its caller's variables
pub fn signalfd(set: SignalSet) -> Result<i32, Errno> {
    let flags = libc::SFD_CLOEXEC as u32;
    let set = &raw const set;
    let call = call!(Open, signalfd4, Fd(-1), Signals(set), Unsigned(SET_SIZE), Named(flags));
    // SAFETY: the kernel reads eight bytes.
    unsafe { enter(call) }.map(|fd| fd as i32)
}

/// `kill(pid, signal)`, [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html).
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, kill, Signed(pid), Signal(signal))) }
}

/// `kill(pid, signal)` for a process of our own, which is there in a rehearsal too; 0 is our
/// process group.
pub fn kill_own(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Open, kill, Signed(pid), Signal(signal))) }
}

/// `getpgid(0)`, [getpgid(2)](https://man7.org/linux/man-pages/man2/getpgid.2.html): our process
/// group.
pub fn getpgid() -> Result<i32, Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call!(Open, getpgid, Signed(0))) }.map(|group| group as i32)
}

/// `getpid()`, [getpid(2)](https://man7.org/linux/man-pages/man2/getpid.2.html).
pub fn getpid() -> i32 {
    // SAFETY: the call touches no memory of ours. It can't fail.
    unsafe { enter(call!(Open, getpid)) }.map_or(0, |pid| pid as i32)
}

/// `setitimer(ITIMER_REAL, {interval, value}, NULL)`,
/// [setitimer(2)](https://man7.org/linux/man-pages/man2/setitimer.2.html): SIGALRM, once, after
/// so many milliseconds.
pub fn set_alarm(milliseconds: u64) -> Result<(), Errno> {
    let timer = [0, 0, milliseconds / 1000, milliseconds % 1000 * 1000]; // seconds, microseconds
    let which = libc::ITIMER_REAL as u32;
    let timer = &raw const timer;
    // SAFETY: the kernel reads four words, and writes nowhere.
    unsafe { act(call!(Open, setitimer, Named(which), Timer(timer), Address(0))) }
}

/// One descriptor to wait for: `struct pollfd`. A negative one is passed over.
pub type Poll = libc::pollfd;

/// `struct timespec`: seconds and nanoseconds.
pub type Time = [u64; 2];

pub const fn milliseconds(count: u64) -> Time {
    [count / 1000, count % 1000 * 1_000_000]
}

/// `ppoll(polls, count, timeout, NULL, 8)`,
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html). Returns how many are ready; none,
/// where nothing happened in that time; without one it waits for as long as it takes.
pub fn ppoll(polls: &mut [Poll], time: Option<&'static Time>) -> Result<usize, Errno> {
    let count = polls.len();
    let (polls, time) = (polls.as_mut_ptr(), time.map_or(null(), |time| &raw const *time));
    let call =
        call!(Open, ppoll, Polls(polls), Unsigned(count), Time(time), Address(0), Unsigned(8));
    // SAFETY: the kernel reads and writes so many pollfds, and there is no mask. It would write
    // what is left of the time, but a constant can't be written to, and it lets that be
    // (fs/select.c, poll_select_finish).
    unsafe { enter(call) }
}

/// The same without a time, and with nothing of ours in memory (`Resident`).
pub fn ppoll_idle(polls: &mut [Poll]) -> Result<usize, Errno> {
    let count = polls.len();
    let polls = polls.as_mut_ptr();
    let forever = null::<Time>();
    let call =
        call!(Open, ppoll, Polls(polls), Unsigned(count), Time(forever), Address(0), Unsigned(8));
    // SAFETY: as in `ppoll`.
    unsafe { idle(call.0, six(call.1)) }
}

/// `wait4(pid, &status, options, NULL)`,
/// [wait4(2)](https://man7.org/linux/man-pages/man2/wait4.2.html): which process has ended, and
/// how. -1 is any child.
#[inline(never)]
fn wait(pid: i32, options: u32, is_idle: bool) -> Result<(i32, Ended), Errno> {
    let mut status = 0_i32;
    let out = &raw mut status;
    let call = call!(Open, wait4, Signed(pid), Status(out), Named(options), Address(0));
    loop {
        // SAFETY: the kernel writes an int that is ours.
        match unsafe { if is_idle { idle(call.0, six(call.1)) } else { enter(call) } } {
            Err(Errno::EINTR) => {}
            ended => return ended.map(|pid| (pid as i32, Ended::from_status(status))),
        }
    }
}

/// `wait4`, with nothing of ours in memory. Without `WUNTRACED` it returns only when the process
/// has ended.
pub fn wait4(pid: i32) -> Result<Ended, Errno> {
    wait(pid, 0, true).map(|(_, ended)| ended)
}

/// `wait4`, for a process that is about to end.
pub fn wait4_briefly(pid: i32) -> Result<Ended, Errno> {
    wait(pid, 0, false).map(|(_, ended)| ended)
}

/// `wait4` with `WNOHANG`: `None` where none has ended.
pub fn reap(pid: i32) -> Result<Option<(i32, Ended)>, Errno> {
    wait(pid, libc::WNOHANG as u32, false).map(|ended| (ended.0 != 0).then_some(ended))
}

/// `madvise(code, length, MADV_RANDOM)`, `madvise(image, length, MADV_DONTNEED)` and a call that
/// waits, [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html). See `Resident`.
///
/// # Safety
/// As for `enter`.
#[inline(never)]
unsafe fn idle(which: Which, registers: [usize; 6]) -> Result<usize, Errno> {
    let resident = Resident::of_this_program();
    let (random, dontneed) = (libc::MADV_RANDOM as u32, libc::MADV_DONTNEED as u32);
    let [code, length] = resident.wait;
    let advice = call!(Open, madvise, Address(code), Unsigned(length), Named(random));
    // SAFETY: advice about read-ahead: no byte changes. A kernel that doesn't take it lets more of
    // us stay resident, which is no reason to abandon a container that runs.
    let _stays_resident = unsafe { enter(advice) };
    let [image, length] = resident.image;
    if watch::is_on() {
        let advice = call!(Open, madvise, Address(image), Unsigned(length), Named(dontneed));
        // SAFETY: code and constants come back from the file; then the caller's contract.
        unsafe {
            let _stays_resident = enter(advice);
            enter((which, registers))
        }
    } else {
        let number = which.number as usize;
        // SAFETY: the same two calls.
        let answer = unsafe { arch::call_after_madvise(image, length, number, &registers) };
        Errno::from_ret(answer)
    }
}
