//! Level 8. The parent: reads the command line, makes the plan, clones, waits, and passes on how
//! the command ended.

use core::cell::Cell;
use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{Process, Strings, tail};
use crate::buf::Line;
use crate::cgroup::Cgroups;
use crate::error::{Cause, EXIT_SIGNAL, Error, Fault, On};
use crate::flags::{Clone, Ended};
use crate::helper::{Helper, Job, Work};
use crate::image::{self, Path};
use crate::options::{self, Banner, DryRun, Network, Options, Request, Study};
use crate::plan::{Plan, Shared};
use crate::steps::Step;
use crate::sys::{self, Format, Orders, skippable, step};
use crate::{descriptors, executable, ids, network};

/// The child's side of the clone: `child::child`.
pub type Entry = extern "C" fn(&Shared) -> !;

const VERSION: &str = concat!("tinyctr ", env!("CARGO_PKG_VERSION"), "\n");

/// A line for the terminal: a banner, an error, a list of places.
type Text = Line<1024>;

/// All of tinyctr. Returns the exit status.
pub fn run(process: &Process, child: Entry) -> i32 {
    let answer = match options::parse(process.arguments()) {
        Ok(Request::Help) => print_help().map(|()| 0),
        Ok(Request::Version) => print(VERSION).map(|()| 0),
        Ok(Request::Run(options)) => return run_container(&options, process, child),
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
    if let Err(error) = begin_study(&options.study) {
        return told(Err(error));
    }
    if let Err(error) = executable::is_of_this_root(process) {
        return told(Err(error));
    }
    let mut path = None;
    let image = match find_image(options, process, &mut path) {
        Ok(image) => image,
        Err(error) => {
            let code = told(Err(error));
            report_places(&error, options, process);
            return code;
        }
    };
    if !options.bare
        && let Err(error) = shed_inheritance()
    {
        return told(Err(error));
    }
    limited(options, image, process, child)
}

#[inline(never)] // once
fn shed_inheritance() -> Result<(), Error<'static>> {
    skippable(Step::Close, descriptors::close_inherited)?;
    skippable(Step::Sigchld, || sys::reset_signal(libc::SIGCHLD).on(c"SIGCHLD"))
}

/// Orders what was asked for to be shown.
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
    let orders = Orders { format, file, explain, rehearse: dry_run.is_some(), skip };
    let begun = sys::begin_watch(&orders);
    begun.map_err(|errno| Error::errno(Step::Trace, file.unwrap_or(c""), errno))
}

/// The path of the image's directory: what was given, or what the look-up found.
fn find_image<'a>(
    options: &Options<'static>,
    process: &Process,
    path: &'a mut Option<Path>,
) -> Result<&'a CStr, Error<'static>> {
    let kind = image::kind(options.image);
    if matches!(kind, image::Kind::Host | image::Kind::Path) {
        // To mount(2) such a source is just EINVAL.
        if options.image.count_bytes() >= libc::PATH_MAX as usize {
            return Err(Error::errno(Step::Image, options.image, Errno::ENAMETOOLONG));
        }
        return Ok(options.image);
    }
    let path = path.insert(Path::new()); // a page that a path given as such need not touch
    match kind {
        image::Kind::Here => step(Step::Image, || image::here(options.image, path))?,
        _ => image::find(options.image, process, path)?,
    }
    path.as_cstr().ok_or(Error::errno(Step::Image, c"", Errno::ENAMETOOLONG))
}

/// The container, and around it the cgroups that limit it, where there are limits.
fn limited(options: &Options<'static>, image: &CStr, process: &Process, child: Entry) -> i32 {
    let mut cgroups = None;
    if options.is_limited() {
        let cgroups = cgroups.insert(Cgroups::none()); // pages that nobody else need touch
        if let Err(error) = step(Step::Limits, || cgroups.make(options.limits)) {
            return told(Err(error));
        }
    }
    let mut code = told(container(options, image, process, child, cgroups.as_ref()));
    if let Some(cgroups) = &cgroups {
        if code == EXIT_SIGNAL + libc::SIGKILL && cgroups.ran_out_of_memory() {
            print_out_of_memory(options);
        }
        code = told(step(Step::Unlimit, || cgroups.remove()).map(|()| code));
    }
    code
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
    prepare_network(options, process, &mut pasta)?;
    let (plan, stack) = Plan::new(options, image, process)?;
    let banner = step(Step::Banner, || Ok(wants_banner(options.banner)))?;
    let pid_namespace = plan.namespaces.contains(Clone::NEWPID);
    if banner {
        print_unsealed(options);
    }
    if banner && let Some(command) = named(options) {
        print_running(command, pid_namespace, options.image);
    }
    let (failure, program) = (Cell::new(None), Cell::new(None));
    let shared = Shared { plan: &plan, pasta: pasta.as_ref(), cgroups, failure, program };
    let mut namespaces = plan.namespaces;
    if cgroups.is_some() {
        // It is made where the cgroups are entered.
        namespaces = Clone::from_bits(namespaces.bits() & !Clone::NEWCGROUP.bits());
    }
    let own_user = namespaces.contains(Clone::NEWUSER);
    let wanted = if own_user { ids::WANTED } else { c"" };
    let pid = step(Step::Clone, || sys::clone(namespaces, stack, child, &shared).on(wanted));
    if let Some(helper) = &plan.helper {
        helper.dismiss()?;
    }
    let (pid, failure) = (pid?, shared.failure.take());
    // Which shell the image has is known only now.
    if banner && failure.is_none() && options.command.is_empty() {
        print_running(&[shared.program.get()], pid_namespace, options.image);
    }
    let ended = step(Step::Wait, || wait(pid))?;
    if let Some(pasta) = &pasta {
        pasta.dismiss()?;
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if banner {
        print_ended(ended);
    }
    Ok(match ended {
        Ended::Exited(code) => code,
        Ended::Killed(signal) => EXIT_SIGNAL + signal,
    })
}

/// Enters another's network, or has pasta(1) ready for the child: it opens no port of the host's to
/// the container, nor the other way round, and does not lead to what listens on the host's
/// loopback. (Its helper comes before all others, the end of whose pipes it would else keep from
/// being seen.)
#[inline(never)] // seldom
fn prepare_network(
    options: &Options<'static>,
    process: &Process,
    pasta: &mut Option<Helper>,
) -> Result<(), Error<'static>> {
    match options.network {
        Network::Named => return network::join(options.net),
        Network::Pasta => {}
        _ => return Ok(()),
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

fn wait(pid: i32) -> Result<Ended, Fault<'static>> {
    loop {
        match sys::wait4(pid) {
            Err(Errno::EINTR) => {}
            answer => return answer.on(c""),
        }
    }
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
#[inline(never)] // a large frame, and not on the way to the wait
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
fn print_unsealed(options: &Options) {
    // Not packed: this is on the way to the command.
    if options.bare {
        say(b"bare: nothing is sealed; all capabilities, no filter, no /dev\n");
    } else if options.privileged {
        say(b"privileged: all capabilities, no filter, nothing masked\n");
    }
}

#[inline(never)] // a large frame, and not on the way to the wait
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
#[inline(never)] // a large frame, and not on the way to the wait
fn print_out_of_memory(options: &Options) {
    if options.banner == Banner::Never {
        return;
    }
    let mut line = Text::new();
    line.push("container killed: out of memory (limit ");
    line.push_visible(options.memory.to_bytes()).push(")");
    say(line.end());
}

#[inline(never)] // a large frame, and not on the way to the wait
fn report(error: &Error) {
    sys::end_rehearsal(); // this is really said
    let error = &ids::blamed(error);
    let Ok(texts) = sys::texts() else {
        // Where there is no memory for words there is none for a stack: the words for that.
        return say(b"tinyctr: map stack: ENOMEM (Cannot allocate memory)\n");
    };
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
#[inline(never)] // a large frame, and not on the way to the wait
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

#[inline(never)] // a large frame, and not on the way to the wait
fn print_help() -> Result<(), Error<'static>> {
    let mut text = Line::<4096>::new();
    step(Step::Output, || {
        options::help(&mut text, sys::texts().on(c"help")?);
        Ok(())
    })?;
    print(text.as_bytes())
}
