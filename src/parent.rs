//! Level 9. The parent: reads the command line, makes the plan, clones, waits, and passes on how
//! the command ended.

use core::cell::Cell;
use core::ffi::CStr;
use core::sync::atomic::AtomicI32;
use syscalls::Errno;

use crate::arch::{Process, Strings, tail};
use crate::buf::Line;
use crate::cgroup::Cgroups;
use crate::error::{Cause, EXIT_SIGNAL, EXIT_TIMED_OUT, Error, On, Refusal};
use crate::flags::{Clone, Ended};
use crate::helper::{Helper, Job, Work};
use crate::image::{self, Path};
use crate::lifetime::{Guard, Wire};
use crate::options::{self, Banner, DryRun, Network, Options, Request, Study};
use crate::packed::Texts;
use crate::plan::{Plan, Shared};
use crate::relay::Relay;
use crate::steps::Step;
use crate::supervise::{Orders, Outcome, supervise};
use crate::sys::{self, Format, Memory, Report, SignalSet, Stack, skippable, step};
use crate::terminal::Terminal;
use crate::{descriptors, executable, ids, network, signals};

/// The child's side of the clone: `child::child`.
pub type Entry = extern "C" fn(&Shared) -> !;

const VERSION: &str = concat!("tinyctr ", env!("CARGO_PKG_VERSION"), "\n");

/// A line for the terminal: a banner, an error, a list of places.
type Text = Line<1024>;

/// All of tinyctr. Returns the exit status.
pub fn run(process: &Process, child: Entry) -> i32 {
    let mut options = Options::none();
    let answer = match options.parse(process.arguments()) {
        Ok(Request::Help) => print_help().map(|()| 0),
        Ok(Request::Version) => print(VERSION).map(|()| 0),
        Ok(Request::Run) => return run_container(&options, process, child),
        Err(error) => Err(error),
    };
    told(answer)
}

/// The exit status; of an error that is told here.
#[inline(never)] // once
fn told(answer: Result<i32, Error>) -> i32 {
    answer.unwrap_or_else(|error| {
        report(&error);
        error.exit_code()
    })
}

fn run_container(options: &Options<'static>, process: &Process, child: Entry) -> i32 {
    if !options.is_plain
        && let Err(error) = begin_study(&options.study)
    {
        return told(Err(error));
    }
    if let Err(error) = executable::is_of_this_root(process) {
        return told(Err(error));
    }
    if !matches!(image::kind(options.image), image::Kind::Host | image::Kind::Path) {
        return run_named(options, process, child);
    }
    // To mount(2) such a source is just EINVAL.
    if options.image.count_bytes() >= libc::PATH_MAX as usize {
        return told(Err(Error::errno(Step::Image, options.image, Errno::ENAMETOOLONG)));
    }
    run_image(options, options.image, process, child)
}

/// With an image that has to be looked up.
#[inline(never)] // a page of its frame, which a path that was given need not touch
fn run_named(options: &Options<'static>, process: &Process, child: Entry) -> i32 {
    let mut path = Path::new();
    match find_image(options, process, &mut path) {
        Ok(image) => run_image(options, image, process, child),
        Err(error) => {
            let code = told(Err(error));
            if sys::seldom().is_ok() {
                report_places(&error, options, process);
            }
            ended(options, code)
        }
    }
}

fn run_image(options: &Options<'static>, image: &CStr, process: &Process, child: Entry) -> i32 {
    let shed = if options.bare { Ok(()) } else { shed_inheritance(options) };
    match shed {
        Ok(()) if !options.is_plain => run_as_asked(options, image, process, child),
        Ok(()) => told(container(options, image, process, child, None)),
        Err(error) => ended(options, told(Err(error))),
    }
}

/// Perhaps limited, and told to who wants to know.
#[inline(never)] // packed
fn run_as_asked(options: &Options<'static>, image: &CStr, process: &Process, child: Entry) -> i32 {
    let code = if options.is_limited() {
        run_limited(options, image, process, child)
    } else {
        told(container(options, image, process, child, None))
    };
    ended(options, code)
}

/// Tells the exit status to whoever asked for it.
#[inline(always)] // in those who may call what is packed
fn ended(options: &Options, code: i32) -> i32 {
    match options.status_fd {
        Some(fd) => told(tell(fd, "exited\",\"status\":", code).map(|()| code)),
        None => code,
    }
}

/// A line of JSON for whoever asked: `{"event":"started","pid":1234}`.
#[inline(never)] // packed
fn tell<'a>(fd: i32, event: &str, number: i32) -> Result<(), Error<'a>> {
    let mut line = Line::<64>::new();
    line.push("{\"event\":\"").push(event).push_decimal(number.unsigned_abs().into()).push("}");
    step(Step::Report, || {
        // An early failure comes before `hold`; of SIGPIPE we would die.
        sys::block_signals(signals::OURS).on(c"signals")?;
        match sys::write_all(fd, line.end()) {
            Err(Errno::EPIPE) => Ok(()), // nobody reads it any more, and nobody misses it
            answer => answer.on(c"--status-fd"),
        }
    })
}

#[inline(never)] // once
fn shed_inheritance(options: &Options) -> Result<(), Error<'static>> {
    skippable(Step::Close, || descriptors::close_inherited(options.status_fd))
}

/// Orders what was asked for to be shown.
#[inline(never)] // packed
fn begin_study<'a>(study: &Study<'a>) -> Result<(), Error<'a>> {
    let Study { trace, explain, dry_run, skip } = *study;
    if trace.is_none() && !explain && dry_run.is_none() {
        return Ok(());
    }
    let value = trace.unwrap_or(c"");
    let json = value.to_bytes().starts_with(b"json:");
    let file = if json { tail(value, "json:".len()) } else { value };
    let format = match (dry_run, json) {
        (Some(DryRun::Script), _) => Format::Shell,
        (_, true) => Format::Json,
        (_, false) => Format::Strace,
    };
    let file = (!file.is_empty()).then_some(file);
    let orders = sys::Orders { format, file, explain, rehearse: dry_run.is_some(), skip };
    let begun = sys::begin_watch(&orders);
    begun.map_err(|errno| Error::errno(Step::Trace, file.unwrap_or(c""), errno))
}

/// The path of the image's directory.
fn find_image<'a>(
    options: &Options<'static>,
    process: &Process,
    path: &'a mut Path,
) -> Result<&'a CStr, Error<'static>> {
    match image::kind(options.image) {
        image::Kind::Here => step(Step::Image, || image::here(options.image, path))?,
        _ => image::find(options.image, process, path)?,
    }
    path.as_cstr().ok_or(Error::errno(Step::Image, c"", Errno::ENAMETOOLONG))
}

/// The container, and around it the cgroups that limit it.
#[inline(never)] // packed
fn run_limited(options: &Options<'static>, image: &CStr, process: &Process, child: Entry) -> i32 {
    let mut cgroups = Cgroups::none();
    if let Err(error) = step(Step::Limits, || cgroups.make(options.limits)) {
        return told(Err(error));
    }
    let code = told(container(options, image, process, child, Some(&cgroups)));
    if code == EXIT_SIGNAL + libc::SIGKILL && cgroups.ran_out_of_memory() {
        print_out_of_memory(options);
    }
    told(step(Step::Unlimit, || cgroups.remove()).map(|()| code))
}

/// From the plan to the command's end. Returns the exit status.
fn container<'a>(
    options: &Options<'static>,
    image: &'a CStr,
    process: &Process,
    child: Entry,
    cgroups: Option<&Cgroups>,
) -> Result<i32, Error<'a>> {
    let mut pasta = None;
    if matches!(options.network, Network::Named | Network::Pasta) {
        prepare_network(options, process, &mut pasta)?;
    }
    let mut plan = Plan::none();
    plan.make(options, image, process)?;
    let (stack, guards_stack) = (plan.stack.take(), plan.guards_stack.take());
    let stack = stack.ok_or(Error::refused(Step::Memory, c"", Refusal::PlanOutgrown))?;
    let banner = step(Step::Banner, || Ok(wants_banner(options.banner)))?;
    let pid_namespace = plan.namespaces.contains(Clone::NEWPID);
    if banner {
        step(Step::Banner, || sys::seldom().on(c"standard error"))?;
        print_unsealed(options);
        if let Some(command) = named(options) {
            print_running(command, pid_namespace, options.image);
        }
    }
    let pid_file = match options.pid_file {
        Some(path) => Some(create_pid_file(path)?),
        None => None,
    };
    let ignored = if options.bare { 0 } else { step(Step::HoldSignals, signals::hold)? };
    let mut guard = None;
    if let (true, Some(wire), Some(stack)) = (plan.guarded, plan.wire, guards_stack) {
        skippable(Step::Guard, || {
            let helpers = [plan.helper.as_ref(), pasta.as_ref()];
            let inlets = helpers.map(|helper| helper.map_or(-1, Helper::inlet));
            guard = Some(Guard::begin(stack, wire, inlets)?);
            Ok(())
        })?;
    }
    let (failure, program) = (Cell::new(None), Cell::new(None));
    let shared = Shared { plan: &plan, pasta: pasta.as_ref(), cgroups, failure, program };
    let container = Container { options, shared: &shared, banner, pid_file, ignored };
    let outcome = container.run(stack, child, guard.as_ref().map(Guard::container));
    let guard_ended = guard.map_or(Ok(()), |guard| step(Step::Guard, || guard.end()));
    let guard_ended = guard_ended.map_err(Error::settled);
    let pasta_ended = dismiss(pasta.as_ref());
    let outcome = outcome?;
    guard_ended?;
    pasta_ended?;
    if banner {
        print_ended(outcome.ended);
    }
    Ok(match outcome.ended {
        _ if outcome.timed_out => EXIT_TIMED_OUT,
        Ended::Exited(code) => code,
        Ended::Killed(signal) => EXIT_SIGNAL + signal,
    })
}

#[inline(never)] // packed
fn create_pid_file(path: &CStr) -> Result<i32, Error<'_>> {
    step(Step::Report, || sys::create(path).on(path))
}

/// Enters another's network, or has pasta(1) ready for the child: it opens no port of the host's to
/// the container, nor the other way round, and does not lead to what listens on the host's
/// loopback. (Its helper comes before all others, the end of whose pipes it would else keep from
/// being seen.)
#[inline(never)] // packed
fn prepare_network(
    options: &Options<'static>,
    process: &Process,
    pasta: &mut Option<Helper>,
) -> Result<(), Error<'static>> {
    if options.network == Network::Named {
        return network::join(options.net.unwrap_or(c""));
    }
    let program = c"/usr/bin/pasta";
    step(Step::Network, || sys::exists(program).on(program))?;
    let mut words = Text::new();
    words.push(
        "/usr/bin/pasta\0--config-net\0-fql\0/dev/null\0-P\0/proc/self/fd/1\0--no-map-gw\0\
         -tnone\0-unone\0-Tnone\0-Unone\0",
    );
    // Of root it would make nobody, who can't enter root's namespaces. For others it finds the user
    // namespace by the number of the process, too.
    let root = process.euid == 0;
    words.push(if root { "--runas=0\0--netns=/proc/self/fd/0\0" } else { "\0" });
    let work = Work::Keep(words.as_bytes());
    *pasta = Some(Helper::start(&[Job { step: Step::Network, object: c"pasta", work }])?);
    Ok(())
}

fn dismiss(helper: Option<&Helper>) -> Result<(), Error<'static>> {
    match helper {
        Some(helper) => helper.dismiss(), // packed
        None => Ok(()),
    }
}

/// All that was prepared.
struct Container<'s, 'p, 'a> {
    options: &'s Options<'static>,
    shared: &'s Shared<'p, 'a>,
    banner: bool,
    pid_file: Option<i32>,
    ignored: SignalSet,
}

impl<'a> Container<'_, '_, 'a> {
    /// From the clone to the end.
    fn run(
        &self,
        stack: Stack,
        child: Entry,
        pid_place: Option<&AtomicI32>,
    ) -> Result<Outcome, Error<'a>> {
        let Shared { plan, cgroups, .. } = self.shared;
        let mut namespaces = plan.namespaces;
        if cgroups.is_some() {
            // It is made where the cgroups are entered.
            namespaces = Clone::from_bits(namespaces.bits() & !Clone::NEWCGROUP.bits());
        }
        // An init stays, and so has memory of its own.
        let memory = if plan.init { Memory::Copied } else { Memory::Lent };
        let own_user = namespaces.contains(Clone::NEWUSER);
        let wanted = if own_user { ids::WANTED } else { c"" };
        let cloned = step(Step::Clone, || {
            sys::clone(memory, namespaces, stack, child, self.shared, pid_place).on(wanted)
        })
        .map_err(Error::settled);
        // It has done its work, or nobody will ask for it; else it does it now (`--init`).
        let helped = dismiss(plan.helper.as_ref());
        let pid = cloned?;
        let report = helped.and_then(|()| self.hear());
        if let Ok(Report { failure: Some(error), .. }) = report {
            // It ends by itself; and the first error counts, should the kernel have reaped it.
            let _ended = step(Step::Wait, || sys::wait4(pid).on(c""));
            return Err(error);
        }
        let outcome = report.and_then(|report| self.attend(pid, report)).map_err(Error::settled);
        if outcome.is_err() {
            // Nobody would look after it any more.
            let _ended = step(Step::Wait, || {
                sys::kill(pid, libc::SIGKILL).and_then(|()| sys::wait4(pid)).on(c"")
            });
        }
        outcome
    }

    /// Does all that there is to do until it has ended.
    fn attend(&self, pid: i32, report: Report<'a>) -> Result<Outcome, Error<'a>> {
        let options = self.options;
        let is_first = self.shared.plan.namespaces.contains(Clone::NEWPID);
        // Which shell the image has is known only now.
        if self.banner && options.command.is_empty() {
            print_running(&[report.program], is_first, options.image);
        }
        if options.bare {
            // Nothing is passed on, and so nothing but the end is waited for.
            let ended = step(Step::Wait, || sys::wait4(pid).on(c""))?;
            return Ok(Outcome { ended, timed_out: false });
        }
        if options.status_fd.is_some() || self.pid_file.is_some() {
            self.tell_pid(pid)?;
        }
        let orders = Orders {
            stop_signal: if options.stop_signal == 0 { libc::SIGTERM } else { options.stop_signal },
            patience: options.stop_timeout,
            timeout: options.timeout,
            ignored: self.ignored,
            command_is_first: is_first && !options.init,
            has_init: options.init,
        };
        match (&self.shared.plan.terminal, report.terminal) {
            (Some(user), Some(master)) => relayed(user, master, &orders, pid),
            _ => step(Step::Wait, || supervise(&orders, pid, None)),
        }
    }

    /// What the child says that it has become: in the memory that we lent it, or over the wire.
    fn hear(&self) -> Result<Report<'a>, Error<'a>> {
        let Shared { plan, failure, program, .. } = self.shared;
        let (failure, program) = (failure.take(), program.get());
        let heard = Report { failure, program, terminal: None };
        match plan.wire {
            Some(wire) if plan.init || plan.terminal.is_some() => self.hear_over(wire, heard),
            _ => Ok(heard),
        }
    }

    #[inline(never)] // packed
    fn hear_over(&self, wire: Wire, mut heard: Report<'a>) -> Result<Report<'a>, Error<'a>> {
        step(Step::Wait, || {
            if self.shared.plan.init {
                sys::close(wire.childs).on(c"socket")?; // so that the wire has an end
                while let Some(report) = sys::receive(wire.parents).on(c"socket")? {
                    let terminal = report.terminal.or(heard.terminal);
                    heard = Report { terminal, ..report };
                }
            } else if heard.failure.is_none() && !sys::rehearses() {
                let report = sys::receive(wire.parents).on(c"socket")?;
                heard.terminal = report.and_then(|report| report.terminal);
            }
            Ok(())
        })?;
        Ok(heard)
    }

    /// To whoever builds on us.
    #[inline(never)] // packed
    fn tell_pid(&self, pid: i32) -> Result<(), Error<'static>> {
        if let Some(fd) = self.options.status_fd {
            tell(fd, "started\",\"pid\":", pid)?;
        }
        let Some(file) = self.pid_file else { return Ok(()) };
        let mut line = Line::<16>::new();
        line.push_decimal(pid.unsigned_abs().into());
        step(Step::Report, || {
            sys::write_all(file, line.end()).on(c"--pid-file")?;
            sys::close(file).on(c"--pid-file")
        })
    }
}

/// With the user's terminal as the container's, until it ends.
#[inline(never)] // packed
fn relayed(
    user: &Terminal,
    master: i32,
    orders: &Orders,
    pid: i32,
) -> Result<Outcome, Error<'static>> {
    let mut relay = Relay::new(user, master);
    step(Step::Relay, || relay.begin())?;
    let outcome = step(Step::Wait, || supervise(orders, pid, Some(&mut relay)));
    relay.end();
    outcome
}

// --- what is said, and where ---------------------------------------------------------------------

fn wants_banner(banner: Banner) -> bool {
    match banner {
        Banner::Always => true,
        Banner::Never => false,
        Banner::Auto => sys::ioctl_tcgets(sys::STDERR).is_ok(),
    }
}

/// The command that the user named, without its final NULL.
fn named<'a>(options: &Options<'a>) -> Option<Strings<'a>> {
    options.command.split_last().map(|(_null, words)| words)
}

/// `running [ps aux] as PID 1 in image trusty`. Where the container has no PID namespace, its
/// PID is a number like any other and not worth a word.
#[inline(never)] // packed
fn print_running(command: Strings, pid_namespace: bool, image: &CStr) {
    let mut line = Text::new();
    line.push("running [");
    for (number, word) in command.iter().flatten().enumerate() {
        line.push(if number == 0 { "" } else { " " }).push_visible(word.to_cstr().to_bytes());
    }
    line.push(if pid_namespace { "] as PID 1 in image " } else { "] in image " });
    line.push_visible(image.to_bytes());
    say(line.end());
}

/// What is off, where anything is.
#[inline(never)] // packed
fn print_unsealed(options: &Options) {
    if options.bare {
        say(b"bare: nothing is sealed; all capabilities, no filter, no /dev\n");
    } else if options.privileged {
        say(b"privileged: all capabilities, no filter, nothing masked\n");
    }
}

#[inline(never)] // packed
fn print_ended(ended: Ended) {
    let mut line = Text::new();
    line.push("container exited: ");
    match ended {
        Ended::Exited(code) => line.push_decimal(code.unsigned_abs().into()),
        Ended::Killed(signal) => line.push("signal ").push_decimal(signal.unsigned_abs().into()),
    };
    say(line.end());
}

/// Important enough to be said where no banner is. The limit stands as it was written.
#[inline(never)] // packed
fn print_out_of_memory(options: &Options) {
    if options.banner == Banner::Never {
        return;
    }
    let mut line = Text::new();
    line.push("container killed: out of memory (limit ");
    line.push_visible(options.memory.unwrap_or(c"").to_bytes()).push(")");
    say(line.end());
}

#[inline(never)] // a large frame, and not on the way to the wait
fn report(error: &Error) {
    sys::end_rehearsal(); // this is really said
    match sys::texts() {
        Ok(texts) => tell_error(error, texts),
        Err(Errno::ENOMEM) => say(b"tinyctr: output: ENOMEM (Cannot allocate memory)\n"),
        Err(_) => {
            let mut line = Line::<64>::new();
            line.push("tinyctr: error ").push_decimal(error.number().into());
            line.push(" (its words can't be unpacked here)");
            say(line.end());
        }
    }
}

#[inline(never)] // packed, unlike its caller
fn tell_error(error: &Error, texts: &Texts) {
    let error = &ids::blamed(error);
    let mut line = Text::new();
    error.line(&mut line, texts);
    say(line.as_bytes());
    if let Some(hint) = error.advice(texts) {
        line.clear();
        line.push(HINT).push(hint);
        say(line.end());
    }
}

/// An image that is nowhere: where it was looked for.
#[inline(never)] // packed
fn report_places(error: &Error, options: &Options, process: &Process) {
    let is_name = image::kind(options.image) == image::Kind::Name;
    if is_name && matches!(error.cause(), Cause::Errno(_)) {
        let mut line = Line::<4096>::new();
        line.push(HINT).push("looked for as ");
        image::list_places(options.image, process, &mut line);
        say(line.end());
    }
}

const HINT: &str = "  hint: ";

/// To stderr. Where even that fails there is nobody left to tell, and the exit status says it.
fn say(line: &[u8]) {
    let _unheard = sys::write_all(sys::STDERR, line);
}

/// To stdout: help and version only.
fn print(text: impl AsRef<[u8]>) -> Result<(), Error<'static>> {
    step(Step::Output, || sys::write_all(sys::STDOUT, text.as_ref()).on(c"stdout"))
}

#[inline(never)] // once
fn print_help() -> Result<(), Error<'static>> {
    tell_help(step(Step::Output, || sys::texts().on(c"help"))?)
}

#[inline(never)] // packed, unlike its caller
fn tell_help(texts: &Texts) -> Result<(), Error<'static>> {
    let mut text = Line::<4096>::new();
    options::help(&mut text, texts);
    print(text.as_bytes())
}
