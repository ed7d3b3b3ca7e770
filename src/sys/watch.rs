//! Watching the doorway: `--trace`, `--explain`, `--skip` and `--dry-run`.
//!
//! A call that is watched goes through `enter` here; where nothing is watched, nothing gets this
//! far. Its state is made when it begins, and parent and child have it in common, as they have all
//! memory until execve, so that the child's lines come between the parent's.
//!
//! What the watcher itself needs (the clock, its own file, SIGPIPE) is called behind the doorway's
//! back and doesn't show: a trace lists what an untraced run does.
//!
//! Watching breaks a rule of the child, that nothing is formatted there. It is for study, it is off
//! by default, and what it writes to is its own: its state, and the stack.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr::null_mut;
use core::slice;
use syscalls::{Errno, Sysno};

use super::memory::zeroed;
use super::observe;
use super::rehearsal::Rehearsal;
use super::{AT_FDCWD, NULL, STDERR, STDOUT, make, raw};
use crate::buf::Buffer;
use crate::error::{Error, Fault};
use crate::flags::O;
use crate::packed::Texts;
use crate::script::Script;
use crate::steps::Step;
use crate::trace::{self, Call, Door, Known, Signature, Text, Word};

/// What to print for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// In strace's notation.
    Strace,
    /// An object a line, docs/trace.schema.json.
    Json,
    /// As a shell script that does the same.
    Shell,
}

/// What to watch, and how to tell it.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    pub format: Format,
    /// `None`: stderr; a script goes to stdout, nothing else does.
    pub file: Option<&'a CStr>,
    pub explain: bool,
    pub rehearse: bool,
    pub skip: Option<Step>,
}

/// All of it zero is a watch that was told nothing yet: so it can live in fresh memory.
pub(super) struct Watch {
    format: Format,
    fd: i32,
    /// Whether `fd` is a file that we opened: out of the container's reach, and spared by `close`.
    own_file: bool,
    explain: bool,
    skip: Option<Step>,
    step: Option<Step>,
    in_child: bool,
    in_helper: bool,
    /// When the call under way began, in nanoseconds.
    began: u64,
    /// When the clone began: its second line comes after all of the child's.
    clone_began: u64,
    /// An execve is under way. If it never returns, the parent ends its line.
    becoming: bool,
    line: Text,
    word: Word,
    rehearsal: Rehearsal,
    script: Script,
    texts: Texts,
    namespaces: observe::Namespaces,
    /// The steps that were told, a bit each: a step may be taken on both sides of the clone.
    told: u64,
    /// The caller's dispositions of `QUIET`, as rt_sigaction(2) gave them.
    callers: Actions,
}

/// The kernel's struct sigaction of a 64-bit machine: handler, flags, restorer, mask.
type Action = [u64; 4];

/// Of each signal of `QUIET`.
type Actions = [Action; QUIET.len()];

const IGNORED: Actions = [[1, 0, 0, 0]; QUIET.len()]; // SIG_IGN

/// What a write may be answered with: a trace that can't be written ends, the container doesn't.
const QUIET: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

// What makes zero a valid `Watch`, where the language doesn't say so.
const _: () = assert!(
    // SAFETY: both are one byte, and every byte is a u8.
    unsafe { core::mem::transmute::<Option<Step>, u8>(None) } == 0 && Format::Strace as u8 == 0
);

struct OneThread(UnsafeCell<*mut Watch>);

// SAFETY: there is one thread. The child of a clone runs while its parent sleeps (CLONE_VFORK).
unsafe impl Sync for OneThread {}

/// NULL where nothing is watched. Not in .bss: a program without one starts with a page less to
/// clear, and this one is read by every run.
#[unsafe(link_section = ".data")]
static WATCH: OneThread = OneThread(UnsafeCell::new(null_mut()));

pub(super) fn is_on() -> bool {
    // SAFETY: one thread, and a plain read.
    unsafe { !(*WATCH.0.get()).is_null() }
}

/// To be called only where `is_on`.
fn watch() -> &'static mut Watch {
    // SAFETY: `begin_watch` made it. One thread; and each function of this file that takes the
    // reference passes it down and calls none that takes it again.
    unsafe { &mut **WATCH.0.get() }
}

fn set_watch(watch: *mut Watch) {
    // SAFETY: one thread; `is_on` and `watch` read it, and keep no reference to the pointer.
    unsafe { *WATCH.0.get() = watch }
}

/// Begins to watch.
#[inline(never)] // alone it is smaller than among its caller's variables
pub fn begin_watch(orders: &Orders) -> Result<(), Errno> {
    // SAFETY: zero is a valid `Watch`.
    let watch: &'static mut Watch = unsafe { zeroed() }?;
    watch.own_file = orders.file.is_some();
    watch.fd = match orders.file {
        Some(path) => open_file(path)?,
        None if orders.format == Format::Shell => STDOUT,
        None => STDERR,
    };
    watch.format = orders.format;
    watch.explain = orders.explain;
    watch.skip = orders.skip;
    if orders.rehearse {
        watch.rehearsal.begin();
    }
    // SAFETY: zero is a valid array of numbers.
    watch.texts.unpack(unsafe { zeroed() }?);
    exchange_actions(&IGNORED, &mut watch.callers);
    set_watch(watch);
    if watch.format == Format::Shell {
        watch.line.push(Script::HEAD);
        watch.out();
    }
    if let Some(step) = watch.skip {
        watch.remark(|words, texts| {
            let words = words.push("SKIPPED, to see what breaks: ").push(step.name(texts));
            words.push(". Not for use.");
        });
        if watch.own_file {
            // Whoever looks at the terminal should know it as well.
            watch.line.clear();
            trace::wrapped(&mut watch.line, "tinyctr: ", watch.word.as_bytes());
            let _unheard = write(STDERR, watch.line.as_bytes());
        }
    }
    Ok(())
}

/// A FIFO that nobody reads is an error (ENXIO), not a wait: hence O_NONBLOCK, until it is open.
fn open_file(path: &CStr) -> Result<i32, Errno> {
    let flags = O::WRONLY | O::CREAT | O::TRUNC | O::NOCTTY | O::NONBLOCK | O::CLOEXEC;
    let args = [AT_FDCWD as usize, path.as_ptr() as usize, flags.bits() as usize, 0o666];
    // SAFETY: the kernel copies the path and keeps no pointer.
    let mut fd = unsafe { raw(Sysno::openat, args) }?;
    if fd <= STDERR as usize {
        // Where the caller had closed one of the three, we are not to take its place.
        let args = [fd, libc::F_DUPFD_CLOEXEC as usize, STDERR as usize + 1];
        // SAFETY: it takes a number, and touches no memory.
        fd = unsafe { raw(Sysno::fcntl, args) }?;
    }
    // SAFETY: F_SETFL takes a number: no flag, so that a slow reader is waited for.
    unsafe { raw(Sysno::fcntl, [fd, libc::F_SETFL as usize, 0]) }?;
    Ok(fd as i32)
}

/// From here on calls are made again, whatever was ordered: an error is really said.
pub fn end_rehearsal() {
    if is_on() {
        watch().rehearsal.end();
    }
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
pub fn step<'a, T>(step: Step, act: impl FnOnce() -> Result<T, Fault<'a>>) -> Result<T, Error<'a>> {
    begin_step(step);
    match act() {
        Ok(value) => {
            told(step);
            Ok(value)
        }
        Err(fault) => Err(fault.at(step)),
    }
}

/// A step that `--skip` may leave out.
pub fn skippable<'a>(
    this: Step,
    act: impl FnOnce() -> Result<(), Fault<'a>>,
) -> Result<(), Error<'a>> {
    if begin_unless_skipped(this) { end_step(this, act()) } else { Ok(()) }
}

#[inline(never)] // what begins and ends a step is there once, not once a step
fn begin_step(step: Step) {
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

#[inline(never)]
fn end_step<'a>(step: Step, done: Result<(), Fault<'a>>) -> Result<(), Error<'a>> {
    if done.is_ok() {
        told(step);
    }
    done.map_err(|fault| fault.at(step))
}

#[inline(never)]
fn told(step: Step) {
    if is_on() {
        watch().leave_step(step);
    }
}

/// Makes a call that is watched.
///
/// # Safety
/// That of `super::enter`.
#[inline(never)]
pub(super) unsafe fn enter(
    signature: &'static Signature,
    registers: [usize; 6],
) -> Result<usize, Errno> {
    let watch = watch();
    let call = &described(signature, registers);
    let number = signature.number;
    let leaves = matches!(number, Sysno::execve | Sysno::exit_group);
    if leaves {
        watch.compose(call, None); // afterwards there may be nobody to do it
    }
    if number == Sysno::exit_group || watch.in_helper && leaves && !watch.rehearsal.is_on() {
        watch.conclude(number, None, 0);
    }
    watch.becoming = number == Sysno::execve;
    watch.began = now();
    let result = if watch.rehearsal.is_on() {
        // SAFETY: the caller's contract, for the calls that a rehearsal makes.
        unsafe { watch.rehearsal.make(call) }
    } else {
        // SAFETY: the caller's contract.
        unsafe { watch.make(call) }
    };
    if number == Sysno::fork && result == Ok(0) {
        watch.in_helper = true;
        return result; // the other side tells it
    }
    let took = now().saturating_sub(watch.began);
    if !leaves {
        watch.compose(call, Some(result));
    }
    watch.becoming = false;
    if watch.format == Format::Shell && result.is_err() {
        return result; // a shell does what worked
    }
    let pretended = watch.rehearsal.is_on() && signature.door == Door::Shut;
    watch.conclude(number, (!pretended).then_some(result), took);
    if number == Sysno::execve && watch.rehearsal.is_on() && result.is_ok() {
        watch.script.end();
        super::exit_unseen(0); // the command would run now
    }
    result
}

/// A call for those who tell it. They ask for the memory that its kinds say there is: before the
/// call what the kernel reads, and what it wrote once it succeeded.
fn described<'a>(signature: &'static Signature, registers: [usize; 6]) -> Call<'a> {
    // SAFETY: `call!` made each register from what its kind says, and the wrapper still holds it;
    // nobody writes to it now.
    let memory = |at: usize, size| unsafe { slice::from_raw_parts(at as *const u8, size) };
    Call { signature, registers, memory }
}

/// The clone begins; its second line is `after_clone`'s. A rehearsal makes no namespaces.
/// Returns the flags to clone with.
pub(super) fn before_clone((signature, [stack, flags]): (&'static Signature, [usize; 2])) -> u64 {
    let watch = watch();
    if watch.explain {
        watch.namespaces.remember();
    }
    watch.compose(&described(signature, [stack, flags, 0, 0, 0, 0]), None);
    watch.break_off();
    watch.clone_began = now();
    watch.in_child = true;
    if watch.rehearsal.is_on() { watch.rehearsal.clone_flags(flags as u64) } else { flags as u64 }
}

pub(super) fn after_clone(result: Result<usize, Errno>) {
    let watch = watch();
    if watch.becoming && result.is_ok() {
        // The child has become the command: its execve worked.
        watch.becoming = false;
        let took = now().saturating_sub(watch.began);
        watch.conclude(Sysno::execve, Some(Ok(0)), took);
    }
    watch.in_child = false;
    watch.step = Some(Step::Clone);
    watch.resume("clone");
    let took = now().saturating_sub(watch.clone_began);
    let pretended = watch.rehearsal.is_on();
    watch.conclude(Sysno::clone, (!pretended).then_some(result), took);
}

impl Watch {
    /// The call itself, past the watcher's own descriptor and disposition of SIGPIPE.
    ///
    /// # Safety
    /// That of `super::enter`.
    unsafe fn make(&mut self, call: &Call) -> Result<usize, Errno> {
        match call.number() {
            number @ Sysno::close_range if self.own_file => {
                let [first, last, flags, ..] = call.registers;
                let spared = self.fd as usize; // above 2, as `first` is
                // SAFETY: the two ranges close nothing that the one would not.
                unsafe {
                    if first < spared {
                        raw(number, [first, spared - 1, flags])?;
                    }
                    raw(number, [spared + 1, last, flags])
                }
            }
            Sysno::execve => {
                exchange_actions(&self.callers, &mut Actions::default());
                // SAFETY: the caller's contract.
                let result = unsafe { make(call) };
                exchange_actions(&IGNORED, &mut self.callers); // it failed, and we go on
                result
            }
            // SAFETY: the caller's contract.
            _ => unsafe { make(call) },
        }
    }

    fn enter_step(&mut self, step: Step) {
        if self.step == Some(step) {
            return;
        }
        if self.explain && self.in_child && self.step == Some(Step::Clone) {
            let mut told = core::mem::take(&mut self.namespaces);
            told.changed(|text| self.remark_now(text));
        }
        self.step = Some(step);
        let lesson = step.lesson();
        let told = self.told >> step as u64 & 1 != 0;
        self.told |= 1 << step as u64;
        if self.explain && !told && !lesson.why(&self.texts).is_empty() {
            self.remark(|words, texts| {
                words.push(lesson.name(texts)).push(": ").push(lesson.why(texts));
            });
            if !lesson.without(&self.texts).is_empty() {
                self.remark(|words, texts| {
                    words.push("without it: ").push(lesson.without(texts));
                });
            }
        }
    }

    fn leave_step(&mut self, step: Step) {
        if self.explain && !self.rehearsal.is_on() && (self.in_child || step != Step::MapIds) {
            observe::after(step, |text| self.remark_now(text));
        }
    }

    // --- lines ---------------------------------------------------------------------------------

    /// Everything before the result.
    fn compose(&mut self, call: &Call, known: Known) {
        self.line.clear();
        match self.format {
            Format::Strace => {
                let who = self.who();
                self.line.push(who);
                trace::call(&mut self.line, call, known);
            }
            Format::Json => {
                self.begin_object("call", call.signature.name());
                self.line.push("\",\"args\":[");
                for at in call.arguments() {
                    self.line.push(if at == 0 { "\"" } else { ",\"" });
                    self.word.clear();
                    trace::argument(&mut self.word, call, at, known);
                    trace::json_text(&mut self.line, self.word.as_bytes());
                    self.line.push("\"");
                }
                self.line.push("]");
            }
            Format::Shell => self.script.line(&mut self.line, call),
        }
    }

    /// The result and the time, where they are known; and out with the line.
    fn conclude(&mut self, number: Sysno, result: Option<Result<usize, Errno>>, took: u64) {
        match self.format {
            Format::Shell => {}
            Format::Strace => {
                self.line.push(" = ");
                match result {
                    None => drop(self.line.push("?")),
                    Some(result) => {
                        trace::result(&mut self.line, number, result, &self.texts);
                        trace::seconds(&mut self.line, took);
                    }
                }
                self.line.push("\n");
            }
            Format::Json => {
                self.line.push(",\"result\":");
                match result {
                    None => self.line.push("null"),
                    Some(result) => {
                        self.line.push("\"");
                        trace::result(&mut self.line, number, result, &self.texts);
                        self.line.push("\",\"nanoseconds\":").push_decimal(took)
                    }
                };
                self.line.push("}\n");
            }
        }
        self.out();
    }

    /// The first half of a call that others come in between.
    fn break_off(&mut self) {
        match self.format {
            Format::Shell => {}
            Format::Strace => {
                let open = self.line.as_bytes().len().saturating_sub(")".len());
                self.line.truncate(open);
                self.line.push(" <unfinished ...>\n");
            }
            Format::Json => drop(self.line.push(",\"part\":\"unfinished\"}\n")),
        }
        self.out();
    }

    /// The second half, up to its result.
    fn resume(&mut self, name: &str) {
        self.line.clear();
        match self.format {
            Format::Shell => {}
            Format::Strace => {
                let who = self.who();
                self.line.push(who).push("<... ").push(name).push(" resumed>)");
            }
            Format::Json => {
                self.begin_object("call", name.as_bytes());
                self.line.push("\",\"part\":\"resumed\"");
            }
        }
    }

    /// An object, up to the end of the text `value`, which needs no escape.
    fn begin_object(&mut self, key: &str, value: &[u8]) {
        let who = self.who().trim_ascii_end();
        self.line.push("{\"who\":\"").push(who);
        if let Some(step) = self.step {
            self.line.push("\",\"step\":\"").push(step.name(&self.texts));
        }
        self.line.push("\",\"").push(key).push("\":\"").push(value);
    }

    /// Words between the calls: a reason, or what has changed.
    fn remark(&mut self, say: impl FnOnce(&mut Buffer, &Texts)) {
        self.word.clear();
        say(&mut self.word, &self.texts);
        self.tell_remark();
    }

    fn remark_now(&mut self, what: &[u8]) {
        self.remark(|words, _| {
            words.push("now: ").push(what);
        });
    }

    fn tell_remark(&mut self) {
        self.line.clear();
        if self.format == Format::Json {
            self.begin_object("remark", b"");
            trace::json_text(&mut self.line, self.word.as_bytes());
            self.line.push("\"}\n");
        } else {
            let indent = if self.format == Format::Shell { "# " } else { "         # " };
            trace::wrapped(&mut self.line, indent, self.word.as_bytes());
            if self.format == Format::Shell {
                self.script.comment(&mut self.line);
            }
        }
        self.out();
    }

    fn who(&self) -> &'static str {
        match (self.in_helper, self.in_child) {
            (true, _) => "helper   ",
            (_, true) => "child    ",
            _ => "parent   ",
        }
    }

    /// Writes the line. Where that fails the watch is over: one word about it, and the container
    /// runs on.
    fn out(&mut self) {
        if self.format == Format::Shell && self.line.is_cut() {
            return self.give_up(Errno::E2BIG); // half a script is worse than none
        }
        let mut rest = self.line.as_bytes();
        while !rest.is_empty() {
            match write(self.fd, rest) {
                Ok(0) => return self.give_up(Errno::EIO), // no progress and no error: don't spin
                Ok(written) => rest = rest.get(written..).unwrap_or(&[]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_for_room(self.fd),
                Err(errno) => return self.give_up(errno),
            }
        }
    }

    fn give_up(&mut self, errno: Errno) {
        set_watch(null_mut());
        let mut line = crate::buf::Line::<256>::new();
        Error::errno(Step::Trace, c"the trace ends here", errno).line(&mut line, &self.texts);
        let _unheard = write(STDERR, line.as_bytes());
        if self.rehearsal.is_on() {
            super::exit_unseen(crate::error::EXIT_FAILURE); // its account is all that it is for
        }
        // The command is not to inherit ours.
        exchange_actions(&self.callers, &mut Actions::default());
    }
}

/// Sets what is done about the signals of `QUIET`, and notes what was done before.
fn exchange_actions(actions: &Actions, before: &mut Actions) {
    for ((signal, new), old) in QUIET.iter().zip(actions).zip(before) {
        let args = [*signal as usize, new.as_ptr() as usize, old.as_mut_ptr() as usize, 8];
        // SAFETY: both are as large as the kernel's struct. The handler is the caller's own, or
        // SIG_IGN. It can't fail: these signals may be ignored.
        let _infallible = unsafe { raw(Sysno::rt_sigaction, args) };
    }
}

/// Somebody made our stderr non-blocking, and it is full.
fn wait_for_room(fd: i32) {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    let args = [&raw mut poll as usize, 1, NULL, NULL];
    // SAFETY: the kernel reads and writes one pollfd; no time-out and no mask. If it fails, the
    // next write says why.
    let _next_write_tells = unsafe { raw(Sysno::ppoll, args) };
}

fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `len` bytes and keeps no pointer.
    unsafe { raw(Sysno::write, [fd as usize, bytes.as_ptr() as usize, bytes.len()]) }
}

/// CLOCK_MONOTONIC in nanoseconds.
fn now() -> u64 {
    let mut time = [0_u64; 2]; // struct timespec of a 64-bit machine: seconds, nanoseconds
    let args = [libc::CLOCK_MONOTONIC as usize, &raw mut time as usize];
    // SAFETY: the kernel writes two words there. This clock exists on every kernel.
    let _infallible = unsafe { raw(Sysno::clock_gettime, args) };
    time[0] * 1_000_000_000 + time[1]
}
