//! The watcher: what it prints for each call, and what it does to it. `watch` calls it, once a
//! watch has begun.
//!
//! What it needs itself (the clock, its own file, SIGPIPE) is called behind the doorway's back and
//! doesn't show: a trace lists what an untraced run does.

use core::ffi::CStr;
use core::ptr::null_mut;
use core::slice;
use syscalls::{Errno, Sysno};

use super::memory::zeroed;
use super::observe;
use super::rehearsal::Rehearsal;
use super::signal::{SignalSet, signal_bit};
use super::watch::set_watch;
use super::{AT_FDCWD, NULL, STDERR, STDOUT, make, raw};
use crate::buf::Buffer;
use crate::error::Error;
use crate::flags::{Clone, O};
use crate::packed::{Texts, packed};
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

/// All of it zero, but for the texts, is a watch that was told nothing yet: so it can live in fresh
/// memory.
pub(super) struct Watch {
    format: Format,
    pub fd: i32,
    /// Whether `fd` is a file that we opened: out of the container's reach, and spared by `close`.
    pub own_file: bool,
    explain: bool,
    pub skip: Option<Step>,
    step: Option<Step>,
    who: Who,
    /// Who began the clone.
    cloner: Who,
    /// When the call under way began, in nanoseconds.
    began: u64,
    /// When the clone began: its second line comes after all of the child's.
    clone_began: u64,
    /// Where the kernel writes its pid, or 0.
    pid: usize,
    /// An execve is under way. If it never returns, the parent ends its line.
    becoming: bool,
    /// The terminal that it would be told on is raw, and shows something else.
    muted: bool,
    line: Text,
    word: Word,
    pub rehearsal: Rehearsal,
    script: Script,
    texts: &'static Texts,
    namespaces: observe::Namespaces,
    /// The steps that were told, a bit each: a step may be taken on both sides of the clone.
    told: u64,
    /// The caller's dispositions of `QUIET`, as rt_sigaction(2) gave them.
    callers: Actions,
}

/// Who makes a call. Zero is the parent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Parent = 0,
    Child,
    /// PID 1, once it has made the command's process.
    Init,
    Guard,
    /// A process of ours that was forked.
    Helper,
}

/// The kernel's struct sigaction of a 64-bit machine: handler, flags, restorer, mask.
type Action = [u64; 4];

/// Of each signal of `QUIET`.
type Actions = [Action; QUIET.len()];

const IGNORED: Actions = [[1, 0, 0, 0]; QUIET.len()]; // SIG_IGN

/// What a write may be answered with: a trace that can't be written ends, the container doesn't.
const QUIET: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

// What makes zero valid, where the language doesn't say so.
const _: () = assert!(
    // SAFETY: both are one byte, and every byte is a u8.
    unsafe { core::mem::transmute::<Option<Step>, u8>(None) } == 0 && Format::Strace as u8 == 0
);

impl Watch {
    /// Begins to watch.
    #[inline(never)] // packed, unlike its caller
    pub fn begin(orders: &Orders, texts: &'static Texts) -> Result<(), Errno> {
        let place = zeroed::<Watch>()?;
        // SAFETY: fresh memory that is ours alone. Zero is valid for all of it but the reference,
        // which is written first.
        let watch: &'static mut Watch = unsafe {
            (*place).texts = texts;
            &mut *place
        };
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
        exchange_actions(&IGNORED, &mut watch.callers);
        set_watch(watch);
        if watch.format == Format::Shell {
            watch.line.push(Script::HEAD);
            watch.out();
        }
        if let Some(step) = watch.skip {
            watch.warn_of_skipped(step);
        }
        Ok(())
    }

    fn warn_of_skipped(&mut self, step: Step) {
        self.remark(|words, texts| {
            let words = words.push("SKIPPED, to see what breaks: ").push(step.name(texts));
            words.push(". Not for use.");
        });
        if self.own_file {
            // Whoever looks at the terminal should know it as well.
            self.line.clear();
            trace::wrapped(&mut self.line, "tinyctr: ", self.word.as_bytes());
            let _unheard = write(STDERR, self.line.as_bytes());
        }
    }
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

/// A call for those who tell it. They ask for the memory that its kinds say there is: before the
/// call what the kernel reads, and what it wrote once it succeeded.
fn described<'a>(signature: &'static Signature, registers: [usize; 6]) -> Call<'a> {
    // SAFETY: `call!` made each register from what its kind says, and the wrapper still holds it;
    // nobody writes to it now.
    let memory = |at: usize, size| unsafe { slice::from_raw_parts(at as *const u8, size) };
    Call { signature, registers, memory }
}

impl Watch {
    /// Makes a call that is watched.
    ///
    /// # Safety
    /// That of `super::enter`.
    #[inline(never)] // packed, unlike its caller
    pub unsafe fn enter(
        &mut self,
        signature: &'static Signature,
        registers: [usize; 6],
    ) -> Result<usize, Errno> {
        let call = &described(signature, registers);
        let number = signature.number;
        let leaves = matches!(number, Sysno::execve | Sysno::exit_group);
        if leaves {
            self.compose(call, None); // afterwards there may be nobody to do it
        }
        // Of a helper's execve nobody else tells.
        let alone = self.who == Who::Helper && leaves && !self.rehearsal.is_on();
        if number == Sysno::exit_group || alone {
            self.conclude(number, None, 0);
        }
        self.becoming = number == Sysno::execve;
        self.began = now();
        let result = if self.rehearsal.is_on() {
            // SAFETY: the caller's contract, for the calls that a rehearsal makes.
            unsafe { self.rehearsal.make(call) }
        } else {
            // SAFETY: the caller's contract.
            unsafe { self.make(call) }
        };
        if number == Sysno::fork && result == Ok(0) {
            self.who = Who::Helper;
            return result; // the other side tells it
        }
        let took = now().saturating_sub(self.began);
        if !leaves {
            self.compose(call, Some(result));
        }
        self.becoming = false;
        if self.format == Format::Shell && result.is_err() {
            return result; // a shell does what worked
        }
        let pretended = self.rehearsal.is_on() && signature.door == Door::Shut;
        self.conclude(number, (!pretended).then_some(result), took);
        if number == Sysno::execve && self.rehearsal.is_on() && result.is_ok() {
            self.script.end();
            super::exit_unseen(0); // the command would run now
        }
        result
    }

    /// The clone begins; its second line is `after_clone`'s. Returns the flags to clone with: a
    /// rehearsal makes no namespaces, and who runs beside us has a watch of its own.
    #[inline(never)] // packed, unlike its caller
    pub fn before_clone(
        &mut self,
        signature: &'static Signature,
        [stack, flags]: [usize; 2],
        pid: usize,
    ) -> u64 {
        let beside = trace::is_beside(flags);
        if self.explain {
            self.namespaces.remember();
        }
        self.compose(&described(signature, [stack, flags, 0, 0, 0, 0]), None);
        self.break_off();
        self.clone_began = now();
        self.pid = pid;
        self.cloner = self.who;
        self.who = if beside { Who::Guard } else { Who::Child };
        let flags = flags as u64;
        if beside {
            flags & !Clone::VM.bits()
        } else if self.rehearsal.is_on() {
            self.rehearsal.clone_flags(flags)
        } else {
            flags
        }
    }

    #[inline(never)] // packed, unlike its caller
    pub fn after_clone(&mut self, result: Result<usize, Errno>) {
        if self.becoming && result.is_ok() {
            // The child has become the command: its execve worked.
            self.becoming = false;
            let took = now().saturating_sub(self.began);
            self.conclude(Sysno::execve, Some(Ok(0)), took);
        }
        self.who = if self.cloner == Who::Parent { Who::Parent } else { Who::Init };
        let pretended = self.rehearsal.is_on();
        self.resume_clone(if pretended { None } else { Some(result) });
        let took = now().saturating_sub(self.clone_began);
        self.conclude(Sysno::clone, (!pretended).then_some(result), took);
    }

    /// While bytes are relayed to a terminal, nothing is told there: each key that is pressed would
    /// be five lines, in the middle of what it says.
    #[inline(never)] // packed, unlike its caller
    pub fn mute(&mut self, muted: bool) {
        if self.own_file {
            return;
        }
        if muted {
            self.remark(|words, texts| {
                words.push(texts.text(packed!(
                    "The calls that relay its bytes are left out here; --trace=FILE has them."
                )));
            });
        }
        self.muted = muted;
    }

    /// The signals that are ignored, as they would be if nobody watched.
    #[inline(never)] // packed, unlike its caller
    pub fn ignored_by_caller(&self, mut ignored: SignalSet) -> SignalSet {
        for (signal, [handler, ..]) in QUIET.iter().zip(self.callers) {
            ignored &= !signal_bit(*signal);
            ignored |= if handler == IGNORED[0][0] { signal_bit(*signal) } else { 0 };
        }
        ignored
    }

    /// The call itself, past the watcher's own descriptor and disposition of SIGPIPE.
    ///
    /// # Safety
    /// That of `super::enter`.
    unsafe fn make(&mut self, call: &Call) -> Result<usize, Errno> {
        match call.number() {
            number @ Sysno::close_range if self.own_file => {
                let [first, last, flags, ..] = call.registers;
                let spared = (self.fd as usize).max(first.saturating_sub(1)).min(last + 1);
                // SAFETY: the two ranges close nothing that the one would not; an empty one is
                // EINVAL, and closes nothing at all.
                unsafe {
                    if first < spared {
                        raw(number, [first, spared - 1, flags])?;
                    }
                    if spared < last { raw(number, [spared + 1, last, flags]) } else { Ok(0) }
                }
            }
            // Ours stay ignored for as long as we watch.
            Sysno::rt_sigaction if let Some(at) = quiet(call.registers[0]) => {
                if let Some(callers) = self.callers.get_mut(at) {
                    *callers = Action::default();
                }
                Ok(0)
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

    #[inline(never)] // packed, unlike its caller
    pub fn enter_step(&mut self, step: Step) {
        if self.step == Some(step) {
            return;
        }
        self.leave_step();
        if self.explain && self.who == Who::Child && self.step == Some(Step::Clone) {
            let mut told = core::mem::take(&mut self.namespaces);
            told.changed(|text| self.remark_now(text));
        }
        self.step = Some(step);
        let lesson = step.lesson();
        let told = self.told >> step as u64 & 1 != 0;
        self.told |= 1 << step as u64;
        if self.explain && !told && !lesson.why(self.texts).is_empty() {
            self.remark(|words, texts| {
                words.push(lesson.name(texts)).push(": ").push(lesson.why(texts));
            });
            if !lesson.without(self.texts).is_empty() {
                self.remark(|words, texts| {
                    words.push("without it: ").push(lesson.without(texts));
                });
            }
        }
    }

    /// What the last step of the child has changed. (A helper, and the plan, change nothing that
    /// is theirs. A step that failed is the last.)
    fn leave_step(&mut self) {
        if let (Some(step), Who::Child) = (self.step, self.who)
            && self.explain
            && !self.rehearsal.is_on()
        {
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
                        trace::result(&mut self.line, number, result, self.texts);
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
                        trace::result(&mut self.line, number, result, self.texts);
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
    fn resume_clone(&mut self, result: Option<Result<usize, Errno>>) {
        self.line.clear();
        match self.format {
            Format::Shell => {}
            Format::Strace => {
                let who = self.who();
                self.line.push(who).push("<... clone resumed>");
                if let (Some(result), 1..) = (result, self.pid) {
                    self.line.push(", parent_tid=");
                    match result {
                        Ok(pid) => self.line.push("[").push_decimal(pid as u64).push("]"),
                        Err(_) => self.line.push_hex(self.pid as u64),
                    };
                }
                self.line.push(")");
            }
            Format::Json => {
                self.begin_object("call", b"clone");
                self.line.push("\",\"part\":\"resumed\"");
            }
        }
    }

    /// An object, up to the end of the text `value`, which needs no escape.
    fn begin_object(&mut self, key: &str, value: &[u8]) {
        let who = self.who().trim_ascii_end();
        self.line.push("{\"who\":\"").push(who);
        if let Some(step) = self.step {
            self.line.push("\",\"step\":\"").push(step.name(self.texts));
        }
        self.line.push("\",\"").push(key).push("\":\"").push(value);
    }

    /// Words between the calls: a reason, or what has changed.
    fn remark(&mut self, say: impl FnOnce(&mut Buffer, &Texts)) {
        self.word.clear();
        say(&mut self.word, self.texts);
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
        match self.who {
            Who::Parent => "parent   ",
            Who::Child => "child    ",
            Who::Init => "init     ",
            Who::Guard => "guard    ",
            Who::Helper => "helper   ",
        }
    }

    /// Writes the line. Where that fails the watch is over: one word about it, and the container
    /// runs on.
    fn out(&mut self) {
        if self.muted {
            return;
        }
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
        Error::errno(Step::Trace, c"the trace ends here", errno).line(&mut line, self.texts);
        let _unheard = write(STDERR, line.as_bytes());
        if self.rehearsal.is_on() {
            super::exit_unseen(crate::error::EXIT_FAILURE); // its account is all that it is for
        }
        // The command is not to inherit ours.
        exchange_actions(&self.callers, &mut Actions::default());
    }
}

/// Where in `QUIET` a signal is.
fn quiet(signal: usize) -> Option<usize> {
    QUIET.iter().position(|quiet| *quiet as usize == signal)
}

/// Fresh memory becomes one that we have in common with our copies: `before_clone` has one made of
/// who runs beside us.
#[inline(never)] // packed, unlike its caller
pub(super) fn share(place: usize, length: usize) -> Result<(), Errno> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: nobody has a reference into what it takes the place of.
    unsafe { raw(Sysno::mmap, [place, length, protection, flags as usize, usize::MAX, 0]) }
        .map(drop)
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
