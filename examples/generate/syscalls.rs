//! docs/syscalls.md. Which calls there are, where, and in which step, is read from the code; since
//! when, and what becomes of tinyctr without them, is in the tables here. Each is from the man
//! page that it links to (VERSIONS or HISTORY), syscalls(2) where that page has no date.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tinyctr::flags::{Clone, Map, Mnt, MountAttr, Ms, O, Prot, Table};
use tinyctr::options::NAMESPACES;
use tinyctr::steps::LESSONS;

use super::source::{Place, Project, Source, identifier, words};

/// What there is to know of a call that the code does not say.
pub struct Fact {
    pub call: &'static str,
    /// In section 2 of the manual.
    page: &'static str,
    since: &'static str,
    /// Whether a container starts without it, with the defaults: a test makes it fail.
    pub starts: bool,
    /// What happens on a kernel without it, or under a filter that refuses it.
    without: &'static str,
}

const fn fact(
    call: &'static str,
    page: &'static str,
    since: &'static str,
    starts: bool,
    without: &'static str,
) -> Fact {
    Fact { call, page, since, starts, without }
}

/// Every kernel that runs on this machine has it.
const ALWAYS: &str = "every kernel for x86_64 has it";

/// The calls of the story.
pub const FACTS: &[Fact] = &[
    fact(
        "capget",
        "capget",
        "2.2",
        true,
        "every kernel for x86_64 has it; asked only where capset says that there is less",
    ),
    fact("capset", "capget", "2.2", false, ALWAYS),
    fact(
        "chdir",
        "chdir",
        "1.0",
        true,
        "every kernel for x86_64 has it; with the defaults only an ordinary user's start needs it",
    ),
    fact(
        "chroot",
        "chroot",
        "1.0",
        true,
        "every kernel for x86_64 has it; made only where pivot_root(2) is refused, and without a \
         mount namespace",
    ),
    fact(
        "clone",
        "clone",
        "1.0",
        false,
        "every kernel for x86_64 has it; its flags are younger, see below",
    ),
    fact(
        "close",
        "close",
        "1.0",
        true,
        "every kernel for x86_64 has it; with the defaults only the guard makes it",
    ),
    fact(
        "close_range",
        "close_range",
        "5.9",
        true,
        "`ENOSYS`, or `EPERM` from a filter: /proc/self/fd is read with getdents64(2), and what it \
         lists is closed one by one. `--bare` does without either",
    ),
    fact("dup3", "dup", "2.6.27", true, "made only for a terminal of its own and `--net=pasta`"),
    fact("execve", "execve", "1.0", false, ALWAYS),
    fact("exit_group", "exit_group", "2.6", false, ALWAYS),
    fact(
        "faccessat",
        "access",
        "2.6.16",
        false,
        "a bare name is not found (`ENOSYS`); a path is not looked up, and works",
    ),
    fact("fchdir", "chdir", "1.0", false, ALWAYS),
    fact("fchown", "chown", "1.0", true, "made only for `-u` with a terminal of its own"),
    fact("fcntl", "fcntl", "1.0", true, "made only for `--status-fd`"),
    fact("flock", "flock", "2.0", true, LIMITS),
    fact("fork", "fork", "1.0", true, HELPER),
    fact(
        "getcwd",
        "getcwd",
        "2.2",
        true,
        "every kernel for x86_64 has it; only the IMAGE `.` needs it",
    ),
    fact(
        "getpgid",
        "getpgid",
        "1.0",
        true,
        "every kernel for x86_64 has it; made only for a terminal of the container's own",
    ),
    fact(
        "getdents64",
        "getdents64",
        "2.4",
        true,
        "every kernel for x86_64 has it; only those without close_range(2), and limits, need it",
    ),
    fact("getxattr", "getxattr", "2.4", true, LIMITS),
    fact("getpid", "getpid", "1.0", true, "made only to stop, at SIGTSTP"),
    fact(
        "ioctl",
        "ioctl_tty",
        "1.0",
        true,
        "any error means that there is no terminal: no banner, no /dev/console",
    ),
    fact(
        "keyctl",
        "keyctl",
        "2.6.10",
        true,
        "`ENOSYS`: a kernel built without keys (`CONFIG_KEYS`) has none to protect. Any other \
         error fails the start",
    ),
    fact("kill", "kill", "1.0", false, ALWAYS),
    fact(
        "madvise",
        "madvise",
        "2.4",
        true,
        "a kernel may be built without it (3.18, `CONFIG_ADVISE_SYSCALLS`): its answer is not \
         looked at, unpacking takes longer, and more of the waiting tinyctr stays in memory",
    ),
    fact(
        "memfd_create",
        "memfd_create",
        "3.17",
        true,
        "only where memory may not become code; any error there is told as a number, and what is \
         packed (a terminal, limits, most options) is refused",
    ),
    fact(
        "mkdirat",
        "mkdir",
        "2.6.16",
        false,
        "the start fails; with `--bare` made only for limits, and where the image has no /proc",
    ),
    fact(
        "mknodat",
        "mknod",
        "2.6.16",
        false,
        "`EPERM`, in a user namespace or without CAP_MKNOD: the host's devices are bound instead. \
         Any other error fails the start",
    ),
    fact("mmap", "mmap", "1.0", false, ALWAYS),
    fact("mount", "mount", "1.0", false, ALWAYS),
    fact(
        "mount_setattr",
        "mount_setattr",
        "5.12",
        true,
        "`ENOSYS`: the image is bound without the mounts below it, and that one mount gets \
         `MS_NODEV` by a remount; a /sys that would be borrowed from the host stays empty",
    ),
    fact(
        "move_mount",
        "move_mount",
        "5.2",
        true,
        "`ENOSYS`, or `EPERM` from a filter: the directory in the image is opened and entered, and \
         mount(2) moves onto it; /etc/hosts and its like are the image's own; with a user \
         namespace of root's the start fails",
    ),
    fact("mprotect", "mprotect", "1.0", false, ALWAYS),
    fact("munmap", "munmap", "1.0", true, ALWAYS),
    fact("nanosleep", "nanosleep", "1.0", true, LIMITS),
    fact("open_tree", "open_tree", "5.2", true, OWNERS),
    fact(
        "openat",
        "open",
        "2.6.16",
        false,
        "the start fails; only root with the IMAGE `/` opens nothing",
    ),
    fact(
        "newfstatat",
        "stat",
        "2.6.16",
        true,
        "only in a container is it asked whose file tinyctr is; then the start fails",
    ),
    fact(
        "openat2",
        "openat2",
        "5.6",
        true,
        "`ENOSYS`, or `EPERM` from a filter: openat(2), which follows a link in /proc, too; made \
         only for `-u`, and for ranges of ids",
    ),
    fact("pipe2", "pipe", "2.6.27", true, HELPER),
    fact(
        "pivot_root",
        "pivot_root",
        "2.4",
        false,
        "`EINVAL`, where the root is an initramfs: the image is moved over it (`MS_MOVE`) and \
         entered by chroot(2). Any other answer fails the start",
    ),
    fact("ppoll", "poll", "2.6.16", false, "the start fails; `--bare` does not make it"),
    fact("prctl", "prctl", "2.2", false, "every kernel for x86_64 has it; `--bare` does without"),
    fact(
        "pread64",
        "pread",
        "2.2",
        true,
        "every kernel for x86_64 has it; where it is refused, a PID 1 in sigwait(3) counts as one \
         that does nothing about the signal",
    ),
    fact(
        "prlimit64",
        "getrlimit",
        "2.6.36",
        false,
        "`EPERM`: the caller's hard limit is 0 already. Any other error fails the start; `--bare` \
         does not make it",
    ),
    fact("read", "read", "1.0", false, "every kernel for x86_64 has it; `--bare` does without"),
    fact(
        "readlinkat",
        "readlink",
        "2.6.16",
        true,
        "`rootfs/` is looked for beside the path that tinyctr was started by (`AT_EXECFN`)",
    ),
    fact("recvmsg", "recvmsg", "1.0", true, TERMINAL),
    fact(
        "rt_sigaction",
        "sigaction",
        "2.2",
        false,
        "every kernel for x86_64 has it; made only where the caller ignores signals",
    ),
    fact("rt_sigprocmask", "sigprocmask", "2.2", false, ALWAYS),
    fact(
        "seccomp",
        "seccomp",
        "3.17",
        false,
        "the start fails: there is no filter; `--seccomp=none` does without",
    ),
    fact("sendmsg", "sendmsg", "1.0", true, TERMINAL),
    fact("setgid", "setgid", "1.0", true, CHANGED_IDS),
    fact("setgroups", "setgroups", "1.0", true, CHANGED_IDS),
    fact("sethostname", "sethostname", "1.0", false, ALWAYS),
    fact("setitimer", "setitimer", "1.0", true, "made only for time limits"),
    fact("setns", "setns", "3.0", true, "made only for `--net=NAME`"),
    fact("setsid", "setsid", "1.0", true, "made only for a terminal of its own and `--net=pasta`"),
    fact("setuid", "setuid", "1.0", true, CHANGED_IDS),
    fact("signalfd4", "signalfd", "2.6.27", false, "the container is ended; `--bare` does without"),
    fact("socket", "socket", "1.0", true, "made only for `--net=none`"),
    fact(
        "socketpair",
        "socketpair",
        "1.0",
        false,
        "every kernel for x86_64 has it; `--bare` does without",
    ),
    fact("statfs", "statfs", "1.0", true, "made only where mount_setattr(2) is missing"),
    fact("symlinkat", "symlink", "2.6.16", false, "the start fails; `--bare` does not make it"),
    fact("umask", "umask", "1.0", true, ALWAYS),
    fact("umount2", "umount", "2.2", false, ALWAYS),
    fact("unlinkat", "rmdir", "2.6.16", true, LIMITS),
    fact("unshare", "unshare", "4.6", true, LIMITS),
    fact("wait4", "wait4", "1.0", false, ALWAYS),
    fact("write", "write", "1.0", true, ALWAYS),
];

const TERMINAL: &str = "made only for a terminal of the container's own, or `--init`";

const HELPER: &str =
    "every kernel for x86_64 has it; made only for a range of ids, and for `--net=pasta`";

const CHANGED_IDS: &str =
    "every kernel for x86_64 has it; made only for `-u`, and where a range of ids is mapped";

const OWNERS: &str = "the start fails; made only for a user namespace of root's (`--ns ...,user`), \
    whose image needs mount_setattr(2) too";

const LIMITS: &str = "made only for `--memory`, `--cpus` and `--pids`";

/// What the watcher calls for itself.
const WATCHERS: &[Fact] = &[
    fact("clock_gettime", "clock_gettime", "2.6", true, "every call seems to take no time"),
    fact("close", "close", "1.0", true, ALWAYS),
    fact("exit_group", "exit_group", "2.6", true, ALWAYS),
    fact("faccessat", "access", "2.6.16", true, "`--dry-run` takes a directory for a program"),
    fact(
        "faccessat2",
        "faccessat2",
        "5.8",
        true,
        "`--dry-run` takes whatever file is there for a program",
    ),
    fact("fchdir", "chdir", "1.0", true, ALWAYS),
    fact("fcntl", "fcntl", "1.0", true, ALWAYS),
    fact("getcwd", "getcwd", "2.2", true, "`--explain` does not tell the working directory"),
    fact("mmap", "mmap", "1.0", true, ALWAYS),
    fact("openat", "open", "2.6.16", true, "`--trace=FILE` fails; `--explain` tells less"),
    fact("openat2", "openat2", "5.6", true, OPENAT2),
    fact("ppoll", "poll", "2.6.16", true, "a trace into a full, non-blocking pipe spins"),
    fact("prctl", "prctl", "2.2", true, ALWAYS),
    fact("read", "read", "1.0", true, ALWAYS),
    fact("readlinkat", "readlink", "2.6.16", true, "`--explain` tells no namespaces"),
    fact("rt_sigaction", "sigaction", "2.2", true, ALWAYS),
    fact("write", "write", "1.0", true, ALWAYS),
];

const OPENAT2: &str = "`--dry-run` can't look inside an image, and takes every path as there";

/// What a flag or a file needs beyond its call: name, where it is used, since when, without it.
const BEYOND: &[(&str, &str, &str, &str)] = &[
    (
        "`CLONE_NEWPID` with `CLONE_VM`",
        "clone",
        "3.12",
        "`EINVAL` (many older stable kernels have the change, \
         [pid_namespaces(7)](https://man7.org/linux/man-pages/man7/pid_namespaces.7.html))",
    ),
    ("`CLONE_VFORK`", "clone", "2.2", ALWAYS),
    (
        "`O_PATH`",
        "openat, fchdir",
        "2.6.39, 3.5",
        "before 2.6.39 the flag is ignored and the directory opened, which does as well; \
         before 3.5 fchdir(2) says `EBADF`, and the start fails at `place mounts`",
    ),
    ("`O_CLOEXEC`", "openat", "2.6.23", "the command would inherit a descriptor"),
    ("`MS_PRIVATE`", "mount", "2.6.15", "the start fails at `make mounts private`"),
    ("`MS_BIND`", "mount", "2.4", ALWAYS),
    ("`MS_MOVE`", "mount", "2.4.18", ALWAYS),
    ("`MNT_DETACH`", "umount2", "2.4.11", ALWAYS),
    (
        "/proc/self/setgroups",
        "openat",
        "3.19",
        "in a user namespace the start fails at `map ids` with `ENOENT` (many older stable kernels \
         have the file, \
         [user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html))",
    ),
];

/// Since when there is a namespace, [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html).
const NAMESPACES_SINCE: &[(&str, &str, &str)] = &[
    ("uts", "2.6.19", "`EINVAL`"),
    ("pid", "2.6.24", "`EINVAL`"),
    ("mnt", "2.4.19", "every kernel for x86_64 has it"),
    ("ipc", "2.6.19", "`EINVAL`"),
    ("net", "2.6.24", "`EINVAL`"),
    ("user", "3.8", "`EINVAL`"),
    (
        "cgroup",
        "4.6",
        "nothing is said, and the container sees the host's cgroups: the kernel ignores the flag \
         (before 2.6.38 it meant `CLONE_STOPPED`)",
    ),
];

const HEAD: &str = "\
# The system calls of tinyctr

Written by `make docs` from the code; `tests/generated.rs` keeps it so. All of them are made by one
function, `raw_answer` in [src/sys/mod.rs](../src/sys/mod.rs), two aside that need assembly.

*Since* is the version of Linux, from the call's man page or
[syscalls(2)](https://man7.org/linux/man-pages/man2/syscalls.2.html), where 1.0 is *1.0 or earlier*.
*Without it*: on a kernel that lacks the call, or under a filter that refuses it. Where nothing
else is said the start fails: one line names the step and the errno, the exit status is 125, and
nothing stays behind.

Taken together: with the defaults tinyctr needs Linux 3.17 (3.12 with `--seccomp=none`), and 4.6 for
the cgroup namespace; as an
ordinary user 3.19.

## The story

In the order of its steps. These are the calls that `--trace` shows.
";

const WATCHER_HEAD: &str = "
## Only when watched

What `--trace`, `--explain` and `--dry-run` call for themselves. It does not show in a trace, and a
plain run makes none of it.
";

const BEYOND_HEAD: &str = "
## What their flags need

| what | call | since | without it |
| --- | --- | --- | --- |
";

const NAMESPACES_HEAD: &str = "
## Namespaces

Flags of [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html). On a kernel that was built
without one, the start fails at `clone`, and leaving it out of `--ns` is the way around.

| `--ns` | flag | since | without it |
| --- | --- | --- | --- |
";

pub fn document() -> Result<String, String> {
    let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let mut text = HEAD.to_owned();
    text += &story(&project)?;
    text += WATCHER_HEAD;
    text += &watchers(&project)?;
    text += BEYOND_HEAD;
    for (what, call, since, without) in BEYOND {
        check_flags(what)?;
        text += &format!("| {what} | {call} | {since} | {without} |\n");
    }
    text += NAMESPACES_HEAD;
    for (name, flag) in NAMESPACES {
        let row = NAMESPACES_SINCE.iter().find(|(known, ..)| known == name);
        let (_, since, without) = row.ok_or(format!("{name}: no row in NAMESPACES_SINCE"))?;
        let flag = names(Clone::TABLE).find(|(_, bits)| *bits == flag.bits());
        let (flag, _) = flag.ok_or(format!("{name}: its flag has no name"))?;
        text += &format!("| `{name}` | `{flag}` | {since} | {without} |\n");
    }
    Ok(text)
}

/// The flags of a table: the kernel's name, and the bits.
fn names(table: &Table) -> impl Iterator<Item = (String, u64)> {
    table.flags().map(|(name, bits)| (format!("{}{}", table.prefix, name.escape_ascii()), bits))
}

/// The flags that a row names are flags of ours.
fn check_flags(what: &str) -> Result<(), String> {
    let tables =
        [Clone::TABLE, Ms::TABLE, MountAttr::TABLE, Mnt::TABLE, O::TABLE, Map::TABLE, Prot::TABLE];
    let known = |word: &str| tables.iter().any(|table| names(table).any(|(name, _)| name == word));
    let mut named = what.split('`').skip(1).step_by(2);
    named.find(|word| !known(word)).map_or(Ok(()), |word| Err(format!("{word}: nobody uses it")))
}

// --- the story ---------------------------------------------------------------------------------

/// What the code says of a call.
#[derive(Default)]
struct Known {
    /// The functions of `sys` that make it, by file, with the files that use them.
    wrappers: BTreeMap<(String, String), BTreeSet<String>>,
    /// Positions in `LESSONS`.
    steps: BTreeSet<usize>,
    /// Functions that make it outside of any step.
    outside: BTreeSet<String>,
    /// Where it is made in assembly.
    assembly: BTreeSet<String>,
}

fn story(project: &Project) -> Result<String, String> {
    let mut calls = calls(project)?;
    for (source, call) in in_assembly(project) {
        let known = calls.get_mut(call).ok_or(format!("{call}: made in assembly alone"))?;
        known.assembly.insert(source.path.clone());
    }
    let facts = matched(FACTS, calls.keys(), "FACTS")?;
    let mut rows: Vec<(&Fact, &Known)> = facts.into_iter().zip(calls.values()).collect();
    rows.sort_by_key(|(fact, known)| {
        (known.steps.first().copied().unwrap_or(usize::MAX), fact.call)
    });
    let mut text =
        "\n| call | step | where | since | without it |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (fact, known) in rows {
        let (steps, place) = (known.told_steps(), known.told_places());
        let (since, without) = (fact.since, fact.without);
        text += &format!("| {} | {steps} | {place} | {since} | {without} |\n", link(fact));
    }
    Ok(text)
}

/// Every `call!(Door, NAME, ...)`.
fn calls(project: &Project) -> Result<BTreeMap<String, Known>, String> {
    let mut calls: BTreeMap<String, Known> = BTreeMap::new();
    for (index, source) in project.0.iter().enumerate() {
        for at in words(&source.code, "call") {
            let Some(inside) = source.code[at..].strip_prefix("call!(") else { continue };
            let name = inside.split(',').nth(1).map(|name| identifier(name.trim())).unwrap_or("");
            if name.is_empty() {
                return Err(format!("{}: a call! without a name", source.path));
            }
            let known = calls.entry(name.to_owned()).or_default();
            let before = known.wrappers.len();
            follow(project, Place { source: index, at }, known, &mut Vec::new())?;
            if known.wrappers.len() == before && known.wrappers.is_empty() {
                return Err(format!("{name}: nobody uses it"));
            }
        }
    }
    Ok(calls)
}

/// From a place in `sys` to those who use it.
fn follow(
    project: &Project,
    place: Place,
    known: &mut Known,
    seen: &mut Vec<(usize, usize)>,
) -> Result<(), String> {
    let source = &project.0[place.source];
    let unit = source.unit_at(place.at).ok_or(format!("{}: outside a function", source.path))?;
    if seen.contains(&(place.source, unit)) {
        return Ok(());
    }
    seen.push((place.source, unit));
    for user in project.uses(place.source, unit) {
        let other = &project.0[user.source];
        if other.room() == source.room() {
            follow(project, user, known, seen)?;
            continue;
        }
        let wrapper = (source.path.clone(), source.units[unit].name.clone());
        known.wrappers.entry(wrapper).or_default().insert(other.path.clone());
        for step in project.steps(user) {
            match step {
                None => {
                    let function = other.unit_at(user.at).map_or("", |it| &other.units[it].name);
                    known.outside.insert(format!("{}::{function}", other.room()));
                }
                Some(step) => {
                    let named =
                        |lesson: &tinyctr::steps::Lesson| format!("{:?}", lesson.step) == step;
                    let place = LESSONS.iter().position(named);
                    known.steps.insert(place.ok_or(format!("Step::{step}: not in LESSONS"))?);
                }
            }
        }
    }
    Ok(())
}

/// `const Sysno::NAME`, as the assembly writes it.
fn in_assembly(project: &Project) -> impl Iterator<Item = (&Source, &str)> {
    let arch = project.0.iter().filter(|source| source.room() == "arch");
    arch.flat_map(|source| {
        let numbers = source.code.match_indices("const Sysno::");
        numbers.map(move |(at, start)| (source, identifier(&source.code[at + start.len()..])))
    })
}

impl Known {
    fn told_steps(&self) -> String {
        let mut told: Vec<String> =
            self.steps.iter().map(|&step| LESSONS[step].name(super::texts()).to_string()).collect();
        if !self.outside.is_empty() {
            let outside: Vec<_> = self.outside.iter().map(|name| format!("`{name}`")).collect();
            let also = if told.is_empty() { "in no step: " } else { "and in none: " };
            told.push(format!("{also}{}", outside.join(", ")));
        }
        told.join("; ")
    }

    fn told_places(&self) -> String {
        let mut told = Vec::new();
        for ((path, wrapper), users) in &self.wrappers {
            let users: Vec<_> = users.iter().map(|user| file_link(user)).collect();
            told.push(format!("[`sys::{wrapper}`](../{path}) for {}", users.join(", ")));
        }
        told.extend(self.assembly.iter().map(|path| format!("assembly: {}", file_link(path))));
        told.join("; ")
    }
}

// --- the watcher -------------------------------------------------------------------------------

/// Every `raw(Sysno::NAME, ...)`.
fn watchers(project: &Project) -> Result<String, String> {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &project.0 {
        for at in words(&source.code, "raw") {
            let inside = source.code[at..].strip_prefix("raw(Sysno::");
            let Some(name) = inside.map(identifier) else { continue };
            let function = source.unit_at(at).map_or("", |unit| &source.units[unit].name);
            let place = format!("[`{function}`](../{})", source.path);
            calls.entry(name.to_owned()).or_default().insert(place);
        }
    }
    let facts = matched(WATCHERS, calls.keys(), "WATCHERS")?;
    let mut text =
        "\n| call | where | since | without it |\n| --- | --- | --- | --- |\n".to_owned();
    for (fact, places) in facts.into_iter().zip(calls.values()) {
        let places: Vec<_> = places.iter().map(String::as_str).collect();
        let (since, without) = (fact.since, fact.without);
        text += &format!("| {} | {} | {since} | {without} |\n", link(fact), places.join(", "));
    }
    Ok(text)
}

/// The facts for `calls`, in their order: one for each, and none to spare.
fn matched<'a>(
    facts: &'static [Fact],
    calls: impl Iterator<Item = &'a String>,
    table: &str,
) -> Result<Vec<&'static Fact>, String> {
    let mut found = Vec::new();
    for call in calls {
        let fact = facts.iter().find(|fact| fact.call == call);
        found.push(
            fact.ok_or(format!("{call}: no row in {table} (examples/generate/syscalls.rs)"))?,
        );
    }
    let spare = facts.iter().find(|fact| !found.iter().any(|it| it.call == fact.call));
    spare.map_or(Ok(found), |fact| Err(format!("{}: in {table}, and never made", fact.call)))
}

fn link(fact: &Fact) -> String {
    format!("[{}](https://man7.org/linux/man-pages/man2/{}.2.html)", fact.call, fact.page)
}

/// `child.rs`, linked from docs/.
fn file_link(path: &str) -> String {
    let name = path.strip_prefix("src/").unwrap_or(path);
    format!("[{name}](../{path})")
}
