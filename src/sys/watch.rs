//! Watching the doorway: `--trace`, `--explain`, `--skip` and `--dry-run`.
//!
//! This is the side that every run has: whether anybody watches. A call that is watched goes on to
//! the watcher, whose code is packed in the file (`memory::unpack`); `begin_watch` unpacks it, and
//! nobody else calls it. Its state is made then too, and parent and child have it in common, as
//! they have all memory until execve, so that the child's lines come between the parent's.
//!
//! Watching breaks a rule of the child, that nothing is formatted there. It is for study, it is off
//! by default, and what it writes to is its own: its state, and the stack.

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use syscalls::Errno;

use super::memory::texts;
use super::signal::SignalSet;
use super::watcher::{self, Orders, Watch};
use crate::error::Error;
use crate::steps::Step;
use crate::trace::Signature;

struct OneThread(UnsafeCell<*mut Watch>);

// SAFETY: there is one thread. The child of a clone runs while its parent sleeps (CLONE_VFORK).
unsafe impl Sync for OneThread {}

/// NULL where nothing is watched. Not in .bss: a program without one starts with a page less to
/// clear, and this one is read by every run.
#[unsafe(link_section = ".data")]
static WATCH: OneThread = OneThread(UnsafeCell::new(null_mut()));

/// Where the code and the constants end that are needed without a watch.
pub(super) fn end_of_code() -> usize {
    (&raw const WATCH) as usize
}

pub(super) fn is_on() -> bool {
    // SAFETY: one thread, and a plain read.
    unsafe { !(*WATCH.0.get()).is_null() }
}

/// To be called only where `is_on`.
fn watch() -> &'static mut Watch {
    // SAFETY: `begin_watch` made it. One thread; and each function of this file that takes the
    // reference passes it down, where nobody takes it again.
    unsafe { &mut **WATCH.0.get() }
}

pub(super) fn set_watch(watch: *mut Watch) {
    // SAFETY: one thread; `is_on` and `watch` read it, and keep no reference to the pointer.
    unsafe { *WATCH.0.get() = watch }
}

/// Begins to watch.
#[inline(never)] // alone it is smaller than among its caller's variables
pub fn begin_watch(orders: &Orders) -> Result<(), Errno> {
    Watch::begin(orders, texts()?)
}

/// From here on calls are made again, whatever was ordered: an error is really said.
pub fn end_rehearsal() {
    if is_on() {
        watch().rehearsal.end();
    }
}

/// While bytes are relayed to a terminal, nothing is told there.
#[inline(never)]
pub fn mute(muted: bool) {
    if is_on() {
        watch().mute(muted);
    }
}

/// Whether the calls that change anything are only told.
pub fn rehearses() -> bool {
    is_on() && watch().rehearsal.is_on()
}

/// The signals that are ignored, as they would be if nobody watched.
#[inline(never)]
pub fn ignored_by_caller(ignored: SignalSet) -> SignalSet {
    if is_on() { watch().ignored_by_caller(ignored) } else { ignored }
}

/// Whether `fd` is the watcher's own: to be spared, and not to be shown.
pub fn is_watchers(fd: i32) -> bool {
    is_on() && watch().own_file && watch().fd == fd
}

/// Whether `--skip` leaves this step out.
pub fn skips(step: Step) -> bool {
    is_on() && watch().skip == Some(step)
}

/// A step of the story: named before it is taken, so that it can be told, and named in its error.
pub fn step<'a, T>(step: Step, act: impl FnOnce() -> Result<T, Error<'a>>) -> Result<T, Error<'a>> {
    begin_step(step);
    act()
}

/// A step that `--skip` may leave out.
pub fn skippable<'a>(
    step: Step,
    act: impl FnOnce() -> Result<(), Error<'a>>,
) -> Result<(), Error<'a>> {
    if begin_unless_skipped(step) { act() } else { Ok(()) }
}

#[inline(never)] // what begins a step is there once, not once a step
fn begin_step(step: Step) {
    step.make_last();
    if is_on() {
        watch().enter_step(step);
    }
}

#[inline(never)]
fn begin_unless_skipped(step: Step) -> bool {
    let taken = !skips(step);
    if taken {
        begin_step(step);
    }
    taken
}

/// Makes a call that is watched.
///
/// # Safety
/// That of `super::enter`.
#[inline(never)]
pub(super) unsafe fn enter(signature: &'static Signature, registers: [usize; 6]) -> usize {
    // SAFETY: the caller's contract.
    super::answer(unsafe { watch().enter(signature, registers) })
}

/// Where we are watched, makes fresh memory one that we have in common with our copies.
#[inline(never)]
pub(super) fn share(place: usize, length: usize) -> Result<(), Errno> {
    if is_on() { watcher::share(place, length) } else { Ok(()) }
}

/// The clone begins; its second line is `after_clone`'s. Returns the flags to clone with.
#[inline(never)]
pub(super) fn before_clone(
    signature: &'static Signature,
    registers: [usize; 2],
    pid: usize,
) -> u64 {
    watch().before_clone(signature, registers, pid)
}

#[inline(never)]
pub(super) fn after_clone(result: Result<usize, Errno>) {
    watch().after_clone(result);
}
