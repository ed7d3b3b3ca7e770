//! Level 7. From options to a finished plan: every decision taken, every string built, before the
//! clone. The child only carries it out (see the hazards in `child.rs`).

use core::cell::Cell;
use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{Process, Strings, ThinCStr, until_nul, value_of};
use crate::buf::{has, take_until};
use crate::cgroup::Cgroups;
use crate::error::{Error, On, Refusal};
use crate::flags::Clone;
use crate::helper::{Helper, Job, Work};
use crate::ids::{self, Identity, Maps, One};
use crate::lifetime::Wire;
use crate::mounts::Mounts;
use crate::options::{DryRun, Network, Options, Profile};
use crate::privileges::Privileges;
use crate::steps::Step;
use crate::sys::{self, Arena, Stack, step};
use crate::terminal::Terminal;
use crate::{caps, image, network, seccomp};

const DEFAULT_PATH: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_HOME: &CStr = c"HOME=/root";
const CONTAINER: &CStr = c"container=tinyctr";

/// Without COMMAND: the first of these that the image has.
const SHELLS: Strings = &[Some(ThinCStr::new(c"/bin/bash")), Some(ThinCStr::new(c"/bin/sh"))];

/// What becomes of the file system.
#[derive(Clone, Copy)]
pub enum Root<'a> {
    /// Nothing: the host's own.
    Host,
    /// The image, as a mount of its own.
    Image(&'a CStr),
    /// The image by chroot alone: without a mount namespace nothing else leaves the host as it
    /// was. For `--bare` only.
    ChrootOnly(&'a CStr),
}

/// Everything that the child does.
#[repr(C)] // what is asked for most comes first, where it takes less code to get at
pub struct Plan<'a> {
    pub namespaces: Clone,
    pub root: Root<'a>,
    /// Our own init is PID 1.
    pub init: bool,
    /// Raise it, in a network namespace of our own.
    pub loopback: bool,
    /// The command may change its ids or gain rights, and the kernel would then forget our death.
    pub guarded: bool,
    /// To our parent. Not with `--bare`, which outlives it.
    pub wire: Option<Wire>,
    /// Not with `--bare`, which gives up no right.
    pub privileges: Option<Privileges>,
    pub hostname: Option<&'a CStr>,
    /// `None`: the root directory, where entering the root leaves us anyway.
    pub workdir: Option<&'a CStr>,
    /// `/dev`, `/proc` and `/sys`. Not with `--bare`, which has a `/proc` alone.
    pub mounts: Option<Mounts>,
    /// The paths to try, in order, each looked up in the image.
    pub programs: Strings<'a>,
    /// `None`: the program's path alone.
    pub argv: Option<Strings<'a>>,
    /// NULLs at its end; with a user, room for the variables that name him.
    pub environment: Cell<&'static mut [Option<ThinCStr<'static>>]>,
    pub page_size: usize,
    /// For the child, and for a guard: to be taken.
    pub stack: Option<Stack>,
    pub guards_stack: Option<Stack>,
    /// A copy of the image's mounts, which are nowhere yet: where the helper maps their owners.
    pub tree: Option<i32>,
    /// Who maps a range of them, from outside.
    pub helper: Option<Helper>,
    /// `None`: root.
    pub user: Option<Identity>,
    /// A terminal of its own, like that of the user.
    pub terminal: Option<Terminal>,
    /// In a user namespace of our own where one id each is mapped: which.
    pub maps: Option<One>,
}

impl<'a> Plan<'a> {
    /// Nothing is decided yet.
    pub const fn none() -> Self {
        Plan {
            namespaces: Clone::empty(),
            maps: None,
            helper: None,
            tree: None,
            wire: None,
            hostname: None,
            loopback: false,
            root: Root::Host,
            mounts: None,
            privileges: None,
            user: None,
            terminal: None,
            workdir: None,
            programs: &[],
            argv: None,
            environment: Cell::new(&mut []),
            init: false,
            page_size: 0,
            guarded: false,
            stack: None,
            guards_stack: None,
        }
    }

    /// Decides, and writes it where it stays: a plan is large. `image` is the path that
    /// `options.image` was found at. Also maps the memory that the plan and the child's stack are
    /// in.
    #[inline(never)] // smaller alone than among its caller's variables
    pub fn make(
        &mut self,
        options: &Options<'static>,
        image: &'a CStr,
        process: &Process,
    ) -> Result<(), Error<'a>> {
        self.namespaces = namespaces(options, process);
        self.root = match image::kind(options.image) {
            image::Kind::Host => Root::Host,
            _ if self.namespaces.contains(Clone::NEWNS) => Root::Image(image),
            _ if options.bare => Root::ChrootOnly(image),
            _ => return Err(Error::refused(Step::Option, c"--ns", Refusal::MountsShared)),
        };
        self.init = options.init;
        self.page_size = process.page_size;
        self.loopback = options.network == Network::None;
        self.workdir = match (options.workdir, self.root) {
            (None, Root::Host) => Some(c"/"), // nothing else takes us there
            (given, _) => given,
        };
        if self.is_sealed(options) {
            self.privileges = Some(privileges(options)?);
        }
        let search = Search::new(options, process);
        let mut arena = step(Step::Memory, || self.map_stacks(options, &search).on(c""))?;
        let written = self.write_down(options, image, process, &search, &mut arena);
        written.ok_or(Error::refused(Step::Memory, c"", Refusal::PlanOutgrown))?;
        let own_dev = matches!(self.root, Root::Image(_)) && !options.bare;
        let mut stdin = true; // as far as anybody has looked
        // A script has none: it runs in the user's.
        if !options.bare && !sys::skips(Step::Terminal) {
            step(Step::Terminal, || self.look_for_terminal(options, own_dev, &mut stdin))?;
        }
        if self.namespaces.contains(Clone::NEWUSER) {
            self.map_ids(options, process)?;
        }
        if !options.bare {
            self.wire = Some(step(Step::Report, || Wire::new().on(c"socket"))?);
        }
        if own_dev {
            self.look_at_mounts(options, stdin, &mut arena)?;
        }
        let privileges = self.privileges.as_ref();
        let has_ids = process.euid == 0 || self.helper.is_some();
        let may_change = has_ids && privileges.is_none_or(Privileges::may_change_ids)
            || privileges.is_none_or(|privileges| privileges.new_privs);
        self.guarded = may_change && self.guards_stack.is_some();
        Ok(())
    }

    /// An image is sealed in, with `--bare` excepted. A command on the host's own root is one of
    /// the host's, and gives up rights only where it is asked to.
    fn is_sealed(&self, options: &Options) -> bool {
        let asked =
            options.cap_add | options.cap_drop != 0 || options.seccomp == Some(Profile::Default);
        if matches!(self.root, Root::Host) { asked } else { !options.bare }
    }

    /// Room for the stacks and for what `write_down` writes.
    fn map_stacks(&mut self, options: &Options, search: &Search) -> Result<Arena, Errno> {
        let pointers = environment_slots(options) * size_of::<Option<ThinCStr>>();
        let size = pointers + search.size() + HOSTNAME_MAX + 1 + TERMINAL_NAME;
        let size = size + size_of::<seccomp::Program>() + align_of::<usize>();
        let size = size + if options.user.is_some() { ids::ROOM } else { 0 };
        // An init has nothing in common with us, and a guard has.
        let may_be_guarded = !options.bare && !options.init;
        let size = size + if may_be_guarded { sys::STACK_SIZE } else { 0 };
        let (stack, mut arena) = sys::map_memory(self.page_size, size, may_be_guarded)?;
        self.stack = Some(stack);
        if may_be_guarded {
            self.guards_stack = arena.stack();
        }
        Ok(arena)
    }

    /// Every string and array. `None` where there is no room, which `map_stacks` has counted.
    fn write_down(
        &mut self,
        options: &Options<'static>,
        image: &CStr,
        process: &Process,
        search: &Search,
        arena: &mut Arena,
    ) -> Option<()> {
        self.environment = Cell::new(environment(options, process, arena)?);
        if !options.command.is_empty() {
            self.argv = Some(options.command);
        }
        self.programs = search.programs(options, arena)?;
        if self.namespaces.contains(Clone::NEWUTS) {
            self.hostname = match (options.hostname, self.root) {
                (given @ Some(_), _) | (given, Root::Host) => given,
                _ => Some(own_name(image, arena)?),
            };
        }
        if let Some(given) = options.user {
            self.identify(given, arena)?;
        }
        if let Some(privileges) = &mut self.privileges
            && !options.privileged
            && options.seccomp != Some(Profile::None)
        {
            let program = arena.program()?;
            seccomp::write(program, privileges.capabilities);
            privileges.filter = Some(program);
        }
        Some(())
    }

    /// `USER:GROUP`, taken apart.
    #[inline(never)] // packed
    fn identify(&mut self, given: &'static CStr, arena: &mut Arena) -> Option<()> {
        let mut words = given.to_bytes().split(|&byte| byte == b':');
        self.user = Some(Identity {
            given,
            user: words.next()?,
            group: words.next().unwrap_or(b""),
            room: Cell::new(arena.bytes(ids::ROOM)?),
        });
        Some(())
    }

    fn look_for_terminal(
        &mut self,
        options: &Options,
        own_dev: bool,
        stdin: &mut bool,
    ) -> Result<(), Error<'static>> {
        let script = options.study.dry_run == Some(DryRun::Script);
        if options.tty == Some(false) || script {
            return Ok(());
        }
        let forced = options.tty == Some(true);
        self.terminal = Terminal::look(forced, own_dev, stdin);
        let Some(seen) = &self.terminal else { return Ok(()) };
        sys::seldom().on(c"terminal")?; // which has what it takes
        if seen.come_to_the_front() {
            self.terminal = Terminal::look(forced, own_dev, stdin);
        }
        // The host may have none to give, without a devpts: an initramfs. Then the caller's has to
        // do.
        if !own_dev && !forced && sys::exists(c"/dev/pts/ptmx").is_err() {
            self.terminal = None;
        }
        Ok(())
    }

    /// Where there is a range of ids for the caller: who will map it. Else one id each.
    #[inline(never)] // a large frame, and not on the way to the wait
    fn map_ids(&mut self, options: &Options, process: &Process) -> Result<(), Error<'a>> {
        self.maps = Some(One::of_caller(process));
        let script = options.study.dry_run == Some(DryRun::Script);
        if sys::skips(Step::MapIds) || script && process.euid != 0 {
            return Ok(()); // for a script: what unshare(1) does
        }
        if !step(Step::MapIds, || Maps::may_be_ours(process))? {
            return Ok(());
        }
        step(Step::MapIds, || sys::rare().on(c"range of ids"))?;
        self.map_range(script, process)
    }

    /// Root's range is a private one, so there the image's owners have to be mapped as well, in a
    /// copy of its mounts.
    #[inline(never)] // packed
    fn map_range(&mut self, script: bool, process: &Process) -> Result<(), Error<'a>> {
        let mut maps = Maps::none();
        if !step(Step::MapIds, || maps.search(process))? {
            return Ok(());
        }
        if script {
            return Err(Error::refused(Step::Option, c"--dry-run=sh", Refusal::ScriptOfThat));
        }
        let is_root = process.euid == 0;
        if let (Root::Image(image), true) = (self.root, is_root) {
            self.tree = Some(step(Step::MapOwners, || sys::open_tree(image).on(image))?);
        }
        let map = |object, map| Job { step: Step::MapIds, object, work: Work::Map(map) };
        let jobs = [
            map(if is_root { c"uid_map" } else { c"newuidmap" }, maps.uid.as_bytes()),
            map(if is_root { c"gid_map" } else { c"newgidmap" }, maps.gid.as_bytes()),
            Job { step: Step::MapOwners, object: c"image", work: Work::MapOwners(self.tree) },
        ];
        self.helper = Some(Helper::start(&jobs)?);
        self.maps = None;
        Ok(())
    }

    /// `stdin`: it may be a terminal.
    #[inline(never)] // smaller alone than among its caller's variables
    fn look_at_mounts(
        &mut self,
        options: &Options,
        stdin: bool,
        arena: &mut Arena,
    ) -> Result<(), Error<'static>> {
        let has = |namespace| self.namespaces.contains(namespace);
        let own_user = has(Clone::NEWUSER);
        let console = if self.terminal.is_some() || !stdin || sys::skips(Step::Dev) {
            None
        } else {
            step(Step::Dev, || match sys::ioctl_tcgets(sys::STDIN) {
                Ok(_) => sys::seldom().map(|()| terminal(arena)).on(c"/dev/console"),
                Err(_) => Ok(None),
            })?
        };
        self.mounts = Some(Mounts {
            borrowed: own_user,
            tty_group: self.maps.is_none(),
            own_network: !own_user || has(Clone::NEWNET),
            has_console: self.terminal.is_some() || console.is_some(),
            console,
            own_pid: has(Clone::NEWPID),
            own_ipc: has(Clone::NEWIPC),
            own_cgroup: has(Clone::NEWCGROUP),
            names: match options.network {
                Network::Pasta => network::FILES.len(),
                Network::Named => 0,
                _ if has(Clone::NEWNET) => 0,
                _ => network::HOSTS_FILES,
            },
            masked: !options.privileged,
        });
        Ok(())
    }
}

/// What `--ns` says, or by default all but the network; and that where `--net` wants one.
fn namespaces(options: &Options, process: &Process) -> Clone {
    let user = if process.euid == 0 { Clone::empty() } else { Clone::NEWUSER };
    let all = Clone::NEWUTS | Clone::NEWPID | Clone::NEWNS | Clone::NEWIPC | Clone::NEWCGROUP;
    let chosen = options.namespaces.unwrap_or(all | user);
    match options.network {
        Network::None | Network::Pasta => chosen | Clone::NEWNET,
        _ => chosen,
    }
}

/// What standard input is called, where it is a terminal of this `/dev`: of another, the name could
/// be another's here.
#[inline(never)] // packed
fn terminal(arena: &mut Arena) -> Option<&'static CStr> {
    let link = c"/proc/self/fd/0";
    let path = arena.bytes(TERMINAL_NAME)?;
    let (_nul, room) = path.split_last_mut()?;
    sys::readlinkat(link, room).ok()?;
    let name = until_nul(path).filter(|name| name.to_bytes().starts_with(b"/dev/"))?;
    (sys::identity(link, true) == sys::identity(name, false)).then_some(name)
}

/// With its NUL: `/dev/pts/0` and the like.
const TERMINAL_NAME: usize = 64;

/// The default, less what is to be dropped, and what is to be added.
fn privileges(options: &Options<'static>) -> Result<Privileges, Error<'static>> {
    let (add, drop) = (options.cap_add, options.cap_drop);
    let base = if options.privileged || add == caps::ALL { caps::ALL } else { caps::DEFAULT };
    let add = if add == caps::ALL { 0 } else { add };
    let named = add | if drop == caps::ALL { 0 } else { drop };
    if named != 0 {
        look_for(named, add)?;
    }
    let capabilities = base & !drop | add;
    Ok(Privileges { capabilities, new_privs: options.new_privs, filter: None })
}

/// What is named has to be there: to be dropped, it has to be known; to be added, to be ours.
#[inline(never)] // packed
fn look_for(named: caps::Set, add: caps::Set) -> Result<(), Error<'static>> {
    for number in (0..u64::BITS).filter(|number| named >> number & 1 != 0) {
        step(Step::Capabilities, || {
            let name = caps::name(number).unwrap_or(c"");
            let ours = sys::prctl_capbset_read(number).on(name)?;
            if ours || add >> number & 1 == 0 { Ok(()) } else { Err(Errno::EPERM).on(name) }
        })?;
    }
    Ok(())
}

/// The longest host name: include/uapi/linux/utsname.h, __NEW_UTS_LEN.
const HOSTNAME_MAX: usize = 64;

/// The image's name, for a host name.
#[inline(never)]
fn own_name(image: &CStr, arena: &mut Arena) -> Option<&'static CStr> {
    let name = match image::name(image) {
        b"" => b"tinyctr",
        name => name.get(..HOSTNAME_MAX).unwrap_or(name),
    };
    Some(join(b"", name, arena)?.to_cstr())
}

// --- the environment ---------------------------------------------------------------------------

/// What `environment` needs at most: one slot an option, the four defaults, those that name a user,
/// and the NULL.
fn environment_slots(options: &Options) -> usize {
    options.environment().count() + 5 + ids::VARIABLES
}

/// PATH, HOME, TERM and `container`, then what `-e` says. The last one to name a variable wins.
fn environment(
    options: &Options<'static>,
    process: &Process,
    arena: &mut Arena,
) -> Option<&'static mut [Option<ThinCStr<'static>>]> {
    let slots = arena.strings(environment_slots(options))?;
    let mut used = set(slots, 0, DEFAULT_PATH)?;
    if options.user.is_none() {
        used = set(slots, used, DEFAULT_HOME)?;
    }
    if let Some(term) = caller_entry(process, b"TERM") {
        used = set(slots, used, term)?;
    }
    used = set(slots, used, CONTAINER)?;
    for entry in options.environment().filter_map(|entry| resolve(entry, process)) {
        used = set(slots, used, entry)?;
    }
    slots.get_mut(..=used + if options.user.is_some() { ids::VARIABLES } else { 0 })
}

/// In the place of the one of that name, or behind those that are `used`. Returns how many are.
#[inline(never)]
fn set(
    slots: &mut [Option<ThinCStr<'static>>],
    used: usize,
    entry: &'static CStr,
) -> Option<usize> {
    let name = name_of(entry);
    let same = |slot: &Option<ThinCStr>| slot.is_some_and(|s| name_of(s.to_cstr()) == name);
    // As setenv(3) does it: a search a variable. 20,000 of them take two seconds.
    let place = slots.get(..used)?.iter().position(same).unwrap_or(used);
    *slots.get_mut(place)? = Some(ThinCStr::new(entry));
    Some(used.max(place + 1))
}

/// `NAME=VALUE` as it is; `NAME` as the caller has it, or nothing.
fn resolve(entry: &'static CStr, process: &Process) -> Option<&'static CStr> {
    if has(entry.to_bytes(), b'=') { Some(entry) } else { caller_entry(process, entry.to_bytes()) }
}

fn caller_entry(process: &Process, name: &[u8]) -> Option<&'static CStr> {
    let mut entries = process.environment.iter().flatten().map(|entry| entry.to_cstr());
    entries.find(|entry| value_of(entry, name).is_some())
}

fn name_of(entry: &CStr) -> &[u8] {
    take_until(&mut entry.to_bytes(), b'=')
}

// --- the command -------------------------------------------------------------------------------

/// Where the command is looked for, the way execvp(3) does it: as it is where it has a slash,
/// else in each directory of the container's own PATH.
struct Search {
    command: Option<&'static CStr>,
    path: &'static [u8],
}

impl Search {
    fn new(options: &Options<'static>, process: &Process) -> Search {
        let command = options.command.first().copied().flatten().map(ThinCStr::to_cstr);
        let given = options.environment().filter_map(|entry| resolve(entry, process));
        let path = given.filter_map(|entry| value_of(entry, b"PATH")).last();
        let default = value_of(DEFAULT_PATH, b"PATH").unwrap_or(c"");
        Search { command, path: path.unwrap_or(default).to_bytes() }
    }

    /// One for each directory of the path; an empty one is the working directory.
    fn candidates(&self) -> usize {
        self.path.iter().filter(|byte| **byte == b':').count() + 1
    }

    fn needs_path(&self) -> Option<&'static [u8]> {
        let command = self.command?.to_bytes();
        (!has(command, b'/') && !command.is_empty()).then_some(command)
    }

    /// The bytes that `programs` takes from the arena.
    fn size(&self) -> usize {
        let Some(command) = self.needs_path() else { return 0 };
        let each = size_of::<Option<ThinCStr>>() + "/".len() + command.len() + 1;
        self.path.len() + self.candidates() * each
    }

    fn programs(&self, options: &Options<'static>, arena: &mut Arena) -> Option<Strings<'static>> {
        let Some(command) = self.needs_path() else {
            // The path as it is, which is where the arguments begin.
            return Some(options.command.get(..1).unwrap_or(SHELLS));
        };
        let programs = arena.strings(self.candidates())?;
        let mut path = self.path;
        for slot in programs.iter_mut() {
            *slot = Some(join(take_until(&mut path, b':'), command, arena)?);
        }
        Some(programs)
    }
}

/// `DIRECTORY/COMMAND`, or `COMMAND` alone where the directory is empty.
fn join(directory: &[u8], command: &[u8], arena: &mut Arena) -> Option<ThinCStr<'static>> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let bytes = arena.bytes(directory.len() + slash.len() + command.len() + 1)?;
    let mut places = bytes.iter_mut();
    for part in [directory, slash, command] {
        for byte in part {
            *places.next()? = *byte;
        }
    }
    until_nul(bytes).map(ThinCStr::new)
}

// --- what parent and child have in common --------------------------------------------------------

/// What the child could not do, as it tells its parent.
pub type Failure<'a> = Option<Error<'a>>;

/// The memory that parent and child have in common.
pub struct Shared<'p, 'a> {
    pub plan: &'p Plan<'a>,
    /// Who starts pasta(1) for the child's network, and ends it.
    pub pasta: Option<&'p Helper>,
    /// Where there are limits. Then it is the child that makes the cgroup namespace.
    pub cgroups: Option<&'p Cgroups>,
    /// Written by the child, read by the parent after the clone has returned.
    pub failure: core::cell::Cell<Failure<'a>>,
    /// The program that is being executed: the last one that was tried.
    pub program: core::cell::Cell<Option<ThinCStr<'a>>>,
}
