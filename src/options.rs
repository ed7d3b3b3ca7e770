//! Level 6. The command line: one table, from which the parser and `--help` are made (and
//! whatever else lists the options).
//!
//! Nothing is copied: a parsed option points into the arguments. A repeatable option is not
//! stored at all but read again from the arguments (`Options::environment`), so that there is no
//! limit on how often it may stand there.

use core::ffi::CStr;

use crate::arch::{Strings, ThinCStr, tail};
use crate::buf::{Buffer, take_until};
use crate::caps;
use crate::error::{Error, Refusal};
use crate::flags::{Clone, signal_number};
use crate::packed::{Packed, Text, Texts, packed};
use crate::steps::Step;
use crate::sys;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    /// `--opt VALUE` or `--opt=VALUE`.
    Required,
    /// `--opt` or `--opt=VALUE`, never `--opt VALUE`.
    Optional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// No option: they ended before.
    End,
    Ns,
    Net,
    Hostname,
    Env,
    Workdir,
    User,
    Memory,
    Cpus,
    Pids,
    CapAdd,
    CapDrop,
    Seccomp,
    NewPrivs,
    Privileged,
    Bare,
    Tty,
    NoTty,
    Init,
    StopSignal,
    StopTimeout,
    Timeout,
    PidFile,
    StatusFd,
    Quiet,
    Verbose,
    Trace,
    Explain,
    DryRun,
    Skip,
    Help,
    Version,
    /// The name is taken, so that a script written for a later version fails here, loudly.
    Reserved,
}

/// A row of the table.
#[derive(Debug)]
pub struct Opt {
    pub id: Id,
    pub short: Option<u8>,
    pub value: Value,
    /// The long name, what `--help` calls the value, and what it says.
    texts: Packed,
}

const fn opt(id: Id, short: Option<u8>, value: Value, texts: Packed) -> Opt {
    Opt { id, short, value, texts }
}

const fn reserved(short: Option<u8>, value: Value, texts: Packed) -> Opt {
    opt(Id::Reserved, short, value, texts)
}

impl Opt {
    pub fn long<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 0)
    }

    /// What `--help` calls the value.
    pub fn value_name<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 1)
    }

    pub fn help<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 2)
    }
}

/// Every option, in the order of `--help`.
pub const OPTIONS: &[Opt] = &[
    opt(
        Id::Ns,
        None,
        Value::Required,
        packed!(
            "ns",
            "LIST",
            "namespaces to create, or none: a list of\n\
         uts,pid,mnt,ipc,net,user,cgroup\n\
         (default: all but net, and user only when not root)"
        ),
    ),
    opt(
        Id::Net,
        None,
        Value::Required,
        packed!(
            "net",
            "MODE",
            "host (default), none (own loopback), pasta (own, with\n\
         internet), or a namespace to join: NAME or PATH"
        ),
    ),
    opt(
        Id::Hostname,
        None,
        Value::Required,
        packed!("hostname", "NAME", "host name inside (default: the image's name)"),
    ),
    opt(
        Id::Env,
        Some(b'e'),
        Value::Required,
        packed!(
            "env",
            "NAME[=VALUE]",
            "set a variable, or pass on the caller's; repeatable\n\
         (default: PATH, HOME, TERM and container=tinyctr only)"
        ),
    ),
    opt(
        Id::Workdir,
        Some(b'w'),
        Value::Required,
        packed!("workdir", "DIR", "working directory inside (default: /)"),
    ),
    opt(
        Id::User,
        Some(b'u'),
        Value::Required,
        packed!(
            "user",
            "USER[:GROUP]",
            "who the command runs as: names of the image's, or\n\
             numbers (default: root)"
        ),
    ),
    opt(
        Id::Memory,
        None,
        Value::Required,
        packed!("memory", "SIZE", "at most so much memory: 64M, 1.5G"),
    ),
    opt(
        Id::Cpus,
        None,
        Value::Required,
        packed!("cpus", "N", "at most so many processors: 2, 0.5"),
    ),
    opt(
        Id::Pids,
        None,
        Value::Required,
        packed!("pids", "N", "at most so many processes and threads"),
    ),
    opt(
        Id::CapAdd,
        None,
        Value::Required,
        packed!("cap-add", "LIST", "give a capability more, or all; repeatable"),
    ),
    opt(
        Id::CapDrop,
        None,
        Value::Required,
        packed!(
            "cap-drop",
            "LIST",
            "give one less, or none: all; repeatable\n\
             (default: the usual fourteen)"
        ),
    ),
    opt(
        Id::Seccomp,
        None,
        Value::Required,
        packed!("seccomp", "PROFILE", "filter of system calls: default, or none"),
    ),
    opt(
        Id::NewPrivs,
        None,
        Value::None,
        packed!("new-privs", "", "let set-user-ID programs gain privileges"),
    ),
    opt(
        Id::Privileged,
        None,
        Value::None,
        packed!("privileged", "", "all capabilities, no filter, nothing masked"),
    ),
    opt(
        Id::Bare,
        None,
        Value::None,
        packed!("bare", "", "only namespaces, host name, root and /proc: unsealed"),
    ),
    opt(
        Id::Tty,
        Some(b't'),
        Value::None,
        packed!(
            "tty",
            "",
            "a terminal of its own (default: where stdin and\n\
         stdout are terminals)"
        ),
    ),
    opt(Id::NoTty, Some(b'T'), Value::None, packed!("no-tty", "", "no terminal of its own")),
    opt(
        Id::Init,
        None,
        Value::None,
        packed!("init", "", "a small init is PID 1, and the command PID 2"),
    ),
    opt(
        Id::StopSignal,
        None,
        Value::Required,
        packed!("stop-signal", "SIG", "sent in the place of SIGTERM"),
    ),
    opt(
        Id::StopTimeout,
        None,
        Value::Required,
        packed!("stop-timeout", "SECONDS", "from SIGTERM to SIGKILL (default: never)"),
    ),
    opt(
        Id::Timeout,
        None,
        Value::Required,
        packed!("timeout", "SECONDS", "end the container then, with status 124"),
    ),
    opt(
        Id::PidFile,
        None,
        Value::Required,
        packed!("pid-file", "FILE", "write the container's PID to FILE"),
    ),
    opt(
        Id::StatusFd,
        None,
        Value::Required,
        packed!("status-fd", "N", "tell start and end on descriptor N, as lines of JSON"),
    ),
    opt(
        Id::Quiet,
        Some(b'q'),
        Value::None,
        packed!("quiet", "", "no banner lines (default: where stderr is a terminal)"),
    ),
    opt(
        Id::Verbose,
        None,
        Value::None,
        packed!("verbose", "", "banner lines on stderr, terminal or not"),
    ),
    opt(
        Id::Trace,
        None,
        Value::Optional,
        packed!(
            "trace",
            "[json:]FILE",
            "print tinyctr's system calls as strace(1) does, or as\n\
         JSON; on stderr, or to FILE"
        ),
    ),
    opt(
        Id::Explain,
        None,
        Value::None,
        packed!("explain", "", "--trace, with each step's reason and what it changed"),
    ),
    opt(
        Id::DryRun,
        None,
        Value::Optional,
        packed!(
            "dry-run",
            "sh",
            "print the calls without making those that change\n\
         anything; sh: a script that does the same, on stdout"
        ),
    ),
    opt(
        Id::Skip,
        None,
        Value::Required,
        packed!(
            "skip",
            "STEP",
            "leave a step out, to see what breaks: for study,\n\
         only with --trace or --explain"
        ),
    ),
    opt(Id::Help, Some(b'h'), Value::None, packed!("help", "", "this text")),
    opt(Id::Version, None, Value::None, packed!("version", "", "the version")),
    reserved(Some(b'v'), Value::Required, packed!("volume", "SRC:DST[:ro]")),
    reserved(None, Value::Required, packed!("tmpfs", "DST[:SIZE]")),
    reserved(None, Value::None, packed!("read-only")),
    reserved(None, Value::None, packed!("ephemeral")),
    reserved(None, Value::Required, packed!("overlay", "DIR")),
];

/// The long names once more, as they are, each with a space behind it: a command line is read
/// without unpacking anything.
static LONG: [u8; LONG_LENGTH] = {
    let (mut all, mut end) = ([b' '; _], 0);
    let mut row = 0;
    while row < OPTIONS.len() {
        let mut at = 0;
        while let Some(byte) = OPTIONS[row].texts.plain(at) {
            all[end + at] = byte;
            at += 1;
        }
        end += at + 1;
        row += 1;
    }
    all
};
const LONG_LENGTH: usize = {
    let (mut length, mut row) = (0, 0);
    while row < OPTIONS.len() {
        length += OPTIONS[row].texts.plain_length() + 1;
        row += 1;
    }
    length
};

/// The namespaces that `--ns` knows, by the kernel's names in `/proc/PID/ns`.
pub const NAMESPACES: &[(&str, Clone)] = &[
    ("uts", Clone::NEWUTS),
    ("pid", Clone::NEWPID),
    ("mnt", Clone::NEWNS),
    ("ipc", Clone::NEWIPC),
    ("net", Clone::NEWNET),
    ("user", Clone::NEWUSER),
    ("cgroup", Clone::NEWCGROUP),
];

/// When the two banner lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Banner {
    /// Where stderr is a terminal.
    Auto,
    Always,
    Never,
}

/// Whose network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Not said: the host's, unless `--ns` has another.
    Default,
    Host,
    /// Its own, with nothing but a loopback.
    None,
    /// Its own, which pasta(1) connects with the host's.
    Pasta,
    /// That of a namespace which somebody else has made.
    Named,
}

/// A filter of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Default,
    /// No filter.
    None,
}

/// What is to be shown of the story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Study<'a> {
    /// The value of `--trace`, empty for stderr.
    pub trace: Option<&'a CStr>,
    pub explain: bool,
    pub dry_run: Option<DryRun>,
    pub skip: Option<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    Calls,
    Script,
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Help,
    Version,
    Run,
}

#[repr(C)] // what is asked for most comes first, where it takes less code to get at
pub struct Options<'a> {
    pub bare: bool,
    pub privileged: bool,
    pub init: bool,
    pub new_privs: bool,
    /// Nothing that is seldom asked for: of what that takes, nothing is unpacked.
    pub is_plain: bool,
    /// `None`: where stdin and stdout are terminals.
    pub tty: Option<bool>,
    /// `None`: not given.
    pub seccomp: Option<Profile>,
    pub network: Network,
    pub banner: Banner,
    pub status_fd: Option<i32>,
    /// 0: not given.
    pub stop_signal: i32,
    /// `None`: not given.
    pub namespaces: Option<Clone>,
    pub image: &'a CStr,
    /// Empty where no command was given; else an `argv` with its final NULL.
    pub command: Strings<'a>,
    /// All that stands before IMAGE: read again for the repeatable options.
    arguments: Strings<'a>,
    /// `USER[:GROUP]`, neither of them empty.
    pub user: Option<&'a CStr>,
    pub workdir: Option<&'a CStr>,
    pub hostname: Option<&'a CStr>,
    /// What `--cap-add` and `--cap-drop` name.
    pub cap_add: caps::Set,
    pub cap_drop: caps::Set,
    /// Of memory in bytes, of each 100 milliseconds in microseconds, of processes and threads.
    /// 0: no limit.
    pub limits: [u64; 3],
    /// In milliseconds; 0: not given.
    pub stop_timeout: u64,
    pub timeout: u64,
    pub pid_file: Option<&'a CStr>,
    /// The value of `--memory` as it was written.
    pub memory: Option<&'a CStr>,
    /// The value of `--net`.
    pub net: Option<&'a CStr>,
    pub study: Study<'a>,
}

fn refuse<T>(object: &CStr, why: Refusal) -> Result<T, Error<'_>> {
    Err(Error::refused(Step::Option, object, why))
}

impl<'a> Options<'a> {
    /// As if none had been given, and no image either.
    pub const fn none() -> Self {
        let study = Study { trace: None, explain: false, dry_run: None, skip: None };
        Options {
            arguments: &[],
            is_plain: true,
            namespaces: None,
            network: Network::Default,
            net: None,
            hostname: None,
            workdir: None,
            user: None,
            limits: [0; 3],
            memory: None,
            cap_add: 0,
            cap_drop: 0,
            seccomp: None,
            new_privs: false,
            privileged: false,
            bare: false,
            tty: None,
            init: false,
            stop_signal: 0,
            stop_timeout: 0,
            timeout: 0,
            pid_file: None,
            status_fd: None,
            banner: Banner::Auto,
            study,
            image: c"",
            command: &[],
        }
    }

    /// Reads the arguments into these, of which none was given yet: our own name not among them,
    /// the final NULL at their end.
    pub fn parse(&mut self, arguments: Strings<'a>) -> Result<Request, Error<'a>> {
        let arguments = match arguments {
            [Some(first), rest @ ..] if first.to_cstr() == c"run" => rest,
            all => all,
        };
        let mut tokens = Tokens::new(arguments);
        loop {
            tokens.advance()?;
            match tokens.id {
                Id::End => break,
                Id::Help => return Ok(Request::Help),
                Id::Version => return Ok(Request::Version),
                Id::Bare => self.bare = true,
                Id::Workdir => self.workdir = Some(tokens.value),
                Id::Env => check_variable(tokens.value)?,
                Id::NoTty => self.tty = Some(false),
                Id::Quiet => self.banner = Banner::Never,
                _ => {
                    // Packed, like all that it asks for.
                    let unpacked = if is_rare(tokens.id) { sys::rare() } else { sys::seldom() };
                    unpacked.map_err(|errno| Error::errno(Step::Option, tokens.written, errno))?;
                    self.apply_seldom(&tokens)?;
                    self.is_plain = false;
                }
            }
        }
        let rest = tokens.rest;
        let Some((Some(image), command)) = rest.split_first() else {
            return refuse(c"IMAGE", Refusal::ImageMissing);
        };
        self.arguments = arguments.get(..arguments.len() - rest.len()).unwrap_or(&[]);
        self.command = if matches!(command, [Some(_), ..]) { command } else { &[] };
        self.image = image.to_cstr();
        if self.image.is_empty() {
            return refuse(c"IMAGE", Refusal::ImageEmpty);
        }
        if !self.is_plain {
            self.check()?;
        }
        Ok(Request::Run)
    }

    #[inline(never)] // packed
    fn apply_seldom(&mut self, token: &Tokens<'a>) -> Result<(), Error<'a>> {
        match token.id {
            Id::Ns => self.namespaces = Some(parse_namespaces(token.value)?),
            Id::Net => (self.network, self.net) = (parse_network(token)?, Some(token.value)),
            Id::User => self.user = Some(check_user(token)?),
            Id::Hostname => self.hostname = Some(token.value),
            Id::Memory | Id::Cpus | Id::Pids => {
                let [memory, cpus, pids] = &mut self.limits;
                let (limit, unit) = match token.id {
                    Id::Memory => {
                        self.memory = Some(token.value);
                        (memory, 1)
                    }
                    Id::Cpus => (cpus, 100_000),
                    _ => (pids, 1),
                };
                *limit = parse_limit(token, unit)?;
            }
            Id::CapAdd => self.cap_add |= parse_capabilities(token.value)?,
            Id::CapDrop => self.cap_drop |= parse_capabilities(token.value)?,
            Id::Seccomp => self.seccomp = Some(parse_profile(token.value)?),
            Id::NewPrivs => self.new_privs = true,
            Id::Privileged => self.privileged = true,
            Id::Tty => self.tty = Some(true),
            Id::Init => self.init = true,
            Id::StopSignal => self.stop_signal = parse_signal(token)?,
            Id::StopTimeout => self.stop_timeout = parse_time(token)?,
            Id::Timeout => self.timeout = parse_time(token)?,
            Id::PidFile => self.pid_file = Some(token.value),
            Id::StatusFd => self.status_fd = Some(parse_descriptor(token)?),
            Id::Verbose => self.banner = Banner::Always,
            Id::Trace => self.study.trace = Some(token.value),
            Id::Explain => self.study.explain = true,
            Id::DryRun => self.study.dry_run = Some(parse_dry_run(token)?),
            Id::Skip => self.study.skip = Some(parse_skip(token.value)?),
            Id::Reserved => return refuse(token.written, Refusal::NotYet),
            // `parse` knows them.
            Id::Help | Id::Version | Id::Bare | Id::Workdir | Id::Env | Id::NoTty => {}
            Id::Quiet | Id::End => {}
        }
        Ok(())
    }

    /// Whether what was given goes together.
    #[inline(never)] // packed
    fn check(&self) -> Result<(), Error<'a>> {
        if self.study.skip.is_some() && self.study.trace.is_none() && !self.study.explain {
            return refuse(c"--skip", Refusal::SkipUnseen);
        }
        if self.study.dry_run == Some(DryRun::Script) {
            let json = self.study.trace.is_some_and(|file| file.to_bytes().starts_with(b"json:"));
            let joins = matches!(self.network, Network::Pasta | Network::Named);
            let does = self.is_limited() || self.is_attended() || joins || self.user.is_some();
            if json || self.study.skip.is_some() || does {
                return refuse(c"--dry-run=sh", Refusal::ScriptOfThat);
            }
        }
        let sealing = self.cap_add | self.cap_drop != 0 || self.new_privs || self.privileged;
        if self.bare && (sealing || self.seccomp.is_some()) {
            return refuse(c"--bare", Refusal::BareAlready);
        }
        if self.bare && self.is_attended() {
            return refuse(c"--bare", Refusal::BareHasNone);
        }
        if self.init && self.namespaces.is_some_and(|ns| !ns.contains(Clone::NEWPID)) {
            return refuse(c"--init", Refusal::InitShared);
        }
        let own = self.namespaces.is_some_and(|ns| ns.contains(Clone::NEWNET));
        if own && matches!(self.network, Network::Host | Network::Named) {
            return refuse(c"--net", Refusal::NetworkTwice);
        }
        let Some(name) = self.hostname else { return Ok(()) };
        // Without a namespace of its own it would be the caller's host name that changes.
        let shared = self.namespaces.is_some_and(|ns| !ns.contains(Clone::NEWUTS));
        let why = match name.count_bytes() {
            0 => Refusal::HostnameEmpty,
            65.. => Refusal::HostnameTooLong, // include/uapi/linux/utsname.h, __NEW_UTS_LEN
            _ if shared => Refusal::HostnameShared,
            _ => return Ok(()),
        };
        refuse(c"--hostname", why)
    }

    /// Something is asked for that has to be done while the container runs.
    fn is_attended(&self) -> bool {
        let time = self.stop_timeout | self.timeout;
        let told = self.pid_file.is_some() || self.status_fd.is_some();
        self.tty == Some(true) || self.init || self.stop_signal != 0 || time != 0 || told
    }

    pub fn is_limited(&self) -> bool {
        let [memory, cpus, pids] = self.limits;
        memory | cpus | pids != 0
    }

    /// The values of `-e`, in the order in which they stand.
    pub fn environment(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut tokens = Tokens::new(self.arguments);
        core::iter::from_fn(move || {
            loop {
                tokens.advance().ok()?;
                match tokens.id {
                    Id::Env => return Some(tokens.value),
                    Id::End => return None,
                    _ => {}
                }
            }
        })
    }
}

/// What takes more than what is unpacked for most options.
fn is_rare(id: Id) -> bool {
    matches!(id, Id::Ns | Id::Net | Id::User | Id::StatusFd)
}

fn parse_network<'a>(token: &Tokens<'a>) -> Result<Network, Error<'a>> {
    Ok(match token.value.to_bytes() {
        b"" => return refuse(token.written, Refusal::NeedsValue),
        b"host" => Network::Host,
        b"none" => Network::None,
        b"pasta" => Network::Pasta,
        _ => Network::Named,
    })
}

fn parse_namespaces(list: &CStr) -> Result<Clone, Error<'_>> {
    let bytes = list.to_bytes();
    if bytes == b"none" {
        return Ok(Clone::empty());
    }
    let mut flags = Clone::empty();
    for name in bytes.split(|&byte| byte == b',') {
        match NAMESPACES.iter().find(|(known, _)| known.as_bytes() == name) {
            Some(&(_, flag)) => flags |= flag,
            None => return refuse(list, Refusal::NoSuchNamespaces),
        }
    }
    Ok(flags)
}

fn parse_capabilities(list: &CStr) -> Result<caps::Set, Error<'_>> {
    caps::parse(list.to_bytes()).map_or_else(|| refuse(list, Refusal::NoSuchCapability), Ok)
}

fn parse_profile(name: &CStr) -> Result<Profile, Error<'_>> {
    match name.to_bytes() {
        b"none" => Ok(Profile::None),
        b"default" => Ok(Profile::Default),
        _ => refuse(name, Refusal::NoSuchProfile),
    }
}

#[inline(never)] // once
fn parse_limit<'a>(token: &Tokens<'a>, unit: u64) -> Result<u64, Error<'a>> {
    // The kernel takes no less than 1000 of its 100,000 microseconds.
    let limit = amount(token, unit).unwrap_or(0);
    if limit < unit.div_ceil(100) { refuse(token.written, Refusal::NoLimit) } else { Ok(limit) }
}

/// `64`, `64M`, `1.5g`: a decimal number of `unit`, for memory perhaps with a letter behind it.
fn amount(token: &Tokens, mut unit: u64) -> Option<u64> {
    let (mut number, mut parts) = (0_u64, 0_u64); // no parts: no point yet
    let mut text = token.value.to_bytes();
    while let [byte, rest @ ..] = text {
        text = rest;
        match byte {
            b'0'..=b'9' if number < 1 << 53 => {
                number = number * 10 + u64::from(byte & 15);
                parts = parts.saturating_mul(10);
            }
            b'.' if parts == 0 && !matches!(token.id, Id::Pids | Id::StatusFd) => parts = 1,
            letter if token.id == Id::Memory && rest.is_empty() => {
                unit = 1 << (10 * b"bkmgt".iter().position(|it| *it == letter | 32)?);
            }
            _ => return None,
        }
    }
    Some(number.checked_mul(unit)? / parts.max(1))
}

/// Seconds, as milliseconds.
fn parse_time<'a>(token: &Tokens<'a>) -> Result<u64, Error<'a>> {
    match amount(token, 1000) {
        None | Some(0) => refuse(token.written, Refusal::NoTime),
        Some(time) => Ok(time),
    }
}

fn parse_signal<'a>(token: &Tokens<'a>) -> Result<i32, Error<'a>> {
    let number = signal_number(token.value.to_bytes());
    number.map_or_else(|| refuse(token.written, Refusal::NoSuchSignal), Ok)
}

/// Above the three standard ones.
fn parse_descriptor<'a>(token: &Tokens<'a>) -> Result<i32, Error<'a>> {
    match amount(token, 1) {
        Some(number @ 3..0x7fff_ffff) => Ok(number as i32),
        _ => refuse(token.written, Refusal::NoDescriptor),
    }
}

fn parse_dry_run<'a>(token: &Tokens<'a>) -> Result<DryRun, Error<'a>> {
    match token.value.to_bytes() {
        b"" => Ok(DryRun::Calls),
        b"sh" => Ok(DryRun::Script),
        _ => refuse(token.written, Refusal::NoSuchDryRun),
    }
}

#[inline(never)] // once
fn parse_skip(word: &CStr) -> Result<Step, Error<'_>> {
    let texts = sys::texts().map_err(|errno| Error::errno(Step::Option, word, errno))?;
    Step::to_skip(word.to_bytes(), texts).map_or_else(|| refuse(word, Refusal::NoSuchStep), Ok)
}

fn check_user<'a>(token: &Tokens<'a>) -> Result<&'a CStr, Error<'a>> {
    let mut words = token.value.to_bytes().split(|&byte| byte == b':');
    let wrong = words.next() == Some(b"") || words.next() == Some(b"") || words.next().is_some();
    if wrong { refuse(token.written, Refusal::NoSuchUserOption) } else { Ok(token.value) }
}

fn check_variable(entry: &CStr) -> Result<(), Error<'_>> {
    match entry.to_bytes() {
        [] | [b'=', ..] => refuse(c"--env", Refusal::VariableWithoutName),
        _ => Ok(()),
    }
}

/// Walks over the options, up to the first argument that is none: the option that it stands at.
struct Tokens<'a> {
    /// What was not read yet: in the end, IMAGE and what follows.
    rest: Strings<'a>,
    /// What is left of `-abc` after `-a`.
    cluster: Option<&'a CStr>,
    id: Id,
    /// Empty where it has none.
    value: &'a CStr,
    /// The argument in which it stands, for messages.
    written: &'a CStr,
}

impl<'a> Tokens<'a> {
    fn new(arguments: Strings<'a>) -> Self {
        Tokens { rest: arguments, cluster: None, id: Id::End, value: c"", written: c"" }
    }

    /// Goes to the next option, or to `Id::End`.
    #[inline(never)]
    fn advance(&mut self) -> Result<(), Error<'a>> {
        if let Some(cluster) = self.cluster.take() {
            return self.short(cluster);
        }
        self.id = Id::End;
        let Some(argument) = self.peek() else { return Ok(()) };
        let [b'-', second, ..] = *argument.to_bytes() else { return Ok(()) };
        self.take();
        self.written = argument;
        match second {
            b'-' if argument.count_bytes() == 2 => Ok(()),
            b'-' => self.long(tail(argument, 2)),
            _ => self.short(tail(argument, 1)),
        }
    }

    fn take(&mut self) -> Option<&'a CStr> {
        let first = self.peek()?;
        self.rest = self.rest.get(1..).unwrap_or(&[]);
        Some(first)
    }

    fn peek(&self) -> Option<&'a CStr> {
        self.rest.first().copied().flatten().map(ThinCStr::to_cstr)
    }

    /// `--name`, `--name=value`, `--name value`.
    fn long(&mut self, body: &'a CStr) -> Result<(), Error<'a>> {
        let name = take_until(&mut body.to_bytes(), b'=');
        let has_value = name.len() < body.count_bytes();
        let attached = has_value.then(|| tail(body, name.len() + 1));
        let mut names = &LONG[..];
        let opt = OPTIONS.iter().find(|_| take_until(&mut names, b' ') == name);
        let Some(opt) = opt else { return refuse(self.written, Refusal::UnknownOption) };
        self.id = opt.id;
        self.value = match (opt.value, attached) {
            (Value::None, Some(_)) => return refuse(self.written, Refusal::TakesNoValue),
            (Value::None | Value::Optional, None) => c"",
            (_, Some(value)) => value,
            (Value::Required, None) => return self.following(),
        };
        Ok(())
    }

    /// `-x`, `-xyz`, `-xVALUE`, `-x VALUE`.
    fn short(&mut self, cluster: &'a CStr) -> Result<(), Error<'a>> {
        let letter = cluster.to_bytes().first().copied();
        let opt = OPTIONS.iter().find(|opt| letter.is_some() && opt.short == letter);
        let Some(opt) = opt else { return refuse(self.written, Refusal::UnknownOption) };
        self.id = opt.id;
        self.value = c"";
        let after = tail(cluster, 1);
        match opt.value {
            Value::Required if after.is_empty() => return self.following(),
            Value::Required => self.value = after,
            Value::None | Value::Optional => {
                self.cluster = (!after.is_empty()).then_some(after);
            }
        }
        Ok(())
    }

    /// The value in the argument after the option's own. A reserved option is refused in any
    /// case, so what it lacks is not worth a word.
    fn following(&mut self) -> Result<(), Error<'a>> {
        match self.take() {
            None if self.id != Id::Reserved => return refuse(self.written, Refusal::NeedsValue),
            value => self.value = value.unwrap_or(c""),
        }
        Ok(())
    }
}

/// The text of `--help`.
pub fn help(text: &mut Buffer, texts: &Texts) {
    text.push(texts.text(HELP_HEAD));
    for opt in OPTIONS.iter().filter(|opt| opt.id != Id::Reserved) {
        let start = text.as_bytes().len();
        usage(opt, text, texts);
        let mut width = text.as_bytes().len() - start;
        if width >= HELP_COLUMN {
            text.push("\n");
            width = 0;
        }
        text.push(SPACES.get(width..).unwrap_or(""));
        for &byte in opt.help(texts).as_ref() {
            text.push([byte]);
            if byte == b'\n' {
                text.push(SPACES);
            }
        }
        text.push("\n");
    }
    text.push("\nNot in this version yet:");
    let mut width = HELP_WIDTH; // so that the first begins a line
    for opt in OPTIONS.iter().filter(|opt| opt.id == Id::Reserved) {
        let length = " --".len() + opt.long(texts).as_ref().len();
        width += length;
        if width > HELP_WIDTH {
            width = INDENT.len() + length;
            text.push("\n").push(INDENT);
        }
        text.push(" --").push(opt.long(texts));
    }
    text.push(texts.text(HELP_TAIL));
}

/// `  -e, --env NAME[=VALUE]`
fn usage(opt: &Opt, text: &mut Buffer, texts: &Texts) {
    match opt.short {
        Some(letter) => text.push("  -").push([letter]).push(", --"),
        None => text.push("      --"),
    };
    text.push(opt.long(texts));
    match opt.value {
        Value::None => text,
        Value::Required => text.push(" ").push(opt.value_name(texts)),
        Value::Optional => text.push("[=").push(opt.value_name(texts)).push("]"),
    };
}

const HELP_COLUMN: usize = 26;
const HELP_WIDTH: usize = 80;
const SPACES: &str = "                          ";
const INDENT: &str = "     ";

const HELP_HEAD: Packed = packed!(
    "\
Usage: tinyctr [OPTION...] IMAGE [COMMAND [ARG...]]

Runs COMMAND in a container: a process in namespaces of its own, with IMAGE as
its root. Without COMMAND: the image's /bin/bash, else /bin/sh.

IMAGE with a / in it is a path; / itself is the host's own root, and then the
file system is left as it is. A bare NAME is looked for in each directory of
$TINYCTR_PATH, then as ./rootfs/NAME, rootfs/NAME beside tinyctr itself,
/var/lib/tinyctr/NAME, /var/lib/machines/NAME and /rootfs-NAME.

Options end at IMAGE, or at --. A leading word `run` is ignored.

"
);

const HELP_TAIL: Packed = packed!(
    "

Exit status: the command's own; 128+N where signal N ended it; 125 where tinyctr
failed; 126 where COMMAND can't be executed; 127 where it isn't found.
"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Line;
    use crate::error::Cause;
    use std::ffi::CString;

    /// Parses a command line of words, and hands the result to `look`.
    fn with<R>(words: &[&str], look: impl FnOnce(Result<(Request, Options), Error>) -> R) -> R {
        let words: Vec<CString> = words.iter().map(|word| CString::new(*word).unwrap()).collect();
        let mut argv: Vec<_> = words.iter().map(|word| Some(ThinCStr::new(word))).collect();
        argv.push(None);
        let mut options = Options::none();
        let request = options.parse(&argv);
        look(request.map(|request| (request, options)))
    }

    fn run<R>(words: &[&str], look: impl FnOnce(&Options) -> R) -> R {
        with(words, |request| match request {
            Ok((Request::Run, options)) => look(&options),
            Ok(_) => panic!("{words:?}: not a run"),
            Err(error) => panic!("{words:?}: {error:?}"),
        })
    }

    fn refusal(words: &[&str]) -> (String, String) {
        with(words, |request| match request {
            Err(error) => match error.cause() {
                Cause::Refused(why) => {
                    let why = sys::texts().expect("memory").text(why).to_string();
                    (error.object.to_cstr().to_string_lossy().into_owned(), why)
                }
                cause => panic!("{words:?}: {cause:?}"),
            },
            Ok(_) => panic!("{words:?} was not refused"),
        })
    }

    fn command(options: &Options) -> Vec<String> {
        let words = options.command.iter().flatten();
        words.map(|word| word.to_cstr().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn options_end_at_the_image() {
        run(&["-q", "trusty", "ls", "-al", "--help"], |options| {
            assert_eq!(options.image, c"trusty");
            assert_eq!(command(options), ["ls", "-al", "--help"]);
            assert_eq!(options.banner, Banner::Never);
        });
    }

    #[test]
    fn a_value_may_be_attached_or_follow() {
        for words in [
            &["--workdir", "/x", "i"][..],
            &["--workdir=/x", "i"],
            &["-w", "/x", "i"],
            &["-w/x", "i"],
            &["-qw/x", "i"],
            &["-qw", "/x", "i"],
        ] {
            run(words, |options| assert_eq!(options.workdir, Some(c"/x"), "{words:?}"));
        }
    }

    #[test]
    fn a_leading_run_is_ignored_and_only_a_leading_one() {
        run(&["run", "--bare", "run", "run"], |options| {
            assert_eq!(options.image, c"run");
            assert_eq!(command(options), ["run"]);
        });
    }

    #[test]
    fn two_dashes_end_the_options() {
        run(&["--", "--odd-image", "x"], |options| assert_eq!(options.image, c"--odd-image"));
    }

    #[test]
    fn namespaces_are_a_list_or_none() {
        run(&["--ns", "none", "/"], |o| assert_eq!(o.namespaces, Some(Clone::empty())));
        run(&["--ns=uts,pid", "/"], |o| {
            assert_eq!(o.namespaces, Some(Clone::NEWUTS | Clone::NEWPID));
        });
        run(&["/"], |o| assert_eq!(o.namespaces, None));
        for bad in ["", "uts,", "UTS", "none,uts", "utspid", "time"] {
            assert_eq!(
                refusal(&["--ns", bad, "/"]),
                (bad.into(), "no such list of namespaces".into())
            );
        }
    }

    #[test]
    fn the_environment_is_read_in_order() {
        run(&["-eA=1", "-q", "--env", "B", "--env=A=2", "i", "-e", "C"], |options| {
            let entries: Vec<_> = options.environment().collect();
            assert_eq!(entries, [c"A=1", c"B", c"A=2"]);
        });
    }

    #[test]
    fn what_is_not_right_is_named() {
        assert_eq!(refusal(&[]), ("IMAGE".into(), "missing".into()));
        assert_eq!(refusal(&["run"]), ("IMAGE".into(), "missing".into()));
        assert_eq!(refusal(&[""]), ("IMAGE".into(), "empty".into()));
        assert_eq!(refusal(&["--nss", "x"]), ("--nss".into(), "unknown option".into()));
        assert_eq!(refusal(&["-qZ", "x"]), ("-qZ".into(), "unknown option".into()));
        assert_eq!(refusal(&["--bare=1", "x"]), ("--bare=1".into(), "takes no value".into()));
        assert_eq!(refusal(&["--workdir"]), ("--workdir".into(), "needs a value".into()));
        assert_eq!(refusal(&["-w"]), ("-w".into(), "needs a value".into()));
        assert_eq!(refusal(&["-e", "=x", "i"]), ("--env".into(), "a variable needs a name".into()));
        assert_eq!(refusal(&["--hostname", "", "i"]), ("--hostname".into(), "empty".into()));
        let long = "n".repeat(65);
        assert_eq!(refusal(&["--hostname", &long, "i"]).1, "longer than 64 bytes");
        let words = ["--ns", "pid", "--hostname", "x", "/"];
        assert_eq!(refusal(&words).1, "needs the uts namespace (--ns)");
    }

    #[test]
    fn every_reserved_option_is_refused_as_not_yet() {
        let texts = sys::texts().expect("memory");
        for opt in OPTIONS.iter().filter(|opt| opt.id == Id::Reserved) {
            let long = format!("--{}", opt.long(texts));
            assert_eq!(refusal(&[&long, "x"]), (long.clone(), "not yet in this version".into()));
            if let Some(letter) = opt.short {
                let short = format!("-{}", char::from(letter));
                assert_eq!(
                    refusal(&[&short, "x"]),
                    (short.clone(), "not yet in this version".into())
                );
            }
        }
    }

    #[test]
    fn no_name_stands_twice_in_the_table() {
        let texts = sys::texts().expect("memory");
        for (at, opt) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[at + 1..] {
                assert!(opt.long(texts) != other.long(texts));
                assert!(opt.short.is_none() || opt.short != other.short, "-{:?}", opt.short);
            }
        }
    }

    #[test]
    fn help_lists_every_option_and_fits_a_terminal() {
        let mut text = Line::<4096>::new();
        let texts = sys::texts().expect("memory");
        help(&mut text, texts);
        assert!(!text.is_cut(), "the buffer that it is printed from");
        let text = String::from_utf8(text.as_bytes().to_vec()).expect("it is ASCII");
        for opt in OPTIONS {
            let long = opt.long(texts);
            assert!(text.contains(&format!("--{long}")), "{long}");
        }
        for line in text.lines() {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
