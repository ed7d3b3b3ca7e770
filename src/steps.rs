//! Level 2. The steps of the story: one table of names and reasons. Errors name them, `--explain`
//! tells them, `--skip` leaves them out.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::packed::{Packed, Text, Texts, packed};

/// What tinyctr is doing, in the order of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// From 1, so that `None` of an `Option<Step>` is zero, and a static of it costs no file.
    Option = 1,
    Output,
    Trace,
    OwnFile,
    Image,
    Close,
    HoldSignals,
    Limits,
    Network,
    Memory,
    Banner,
    Helper,
    Clone,
    Join,
    DieWithParent,
    Keyring,
    OomScore,
    CoreDumps,
    MapIds,
    MapOwners,
    Hostname,
    Private,
    BindRoot,
    NoDevices,
    OpenRoot,
    Dev,
    Proc,
    Sys,
    Mask,
    HostFiles,
    Place,
    EnterRoot,
    PivotRoot,
    MoveRoot,
    Chroot,
    LeaveHost,
    FindUser,
    Terminal,
    Workdir,
    Umask,
    HideMemory,
    NoNewPrivs,
    Filter,
    BecomeUser,
    Capabilities,
    FreeSignals,
    Exec,
    Init,
    Guard,
    Report,
    Relay,
    Wait,
    Unlimit,
}

/// What there is to say about a step.
#[derive(Debug)]
pub struct Lesson {
    pub step: Step,
    /// Name, word, why, without.
    texts: Packed,
}

const fn lesson(step: Step, texts: Packed) -> Lesson {
    Lesson { step, texts }
}

impl Lesson {
    /// In messages.
    pub fn name<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 0)
    }

    /// For `--skip`; empty where nothing would be left without it.
    pub fn skip<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 1)
    }

    pub fn why<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 2)
    }

    /// What breaks without it.
    pub fn without<'a>(&self, texts: &'a Texts) -> Text<'a> {
        texts.part(self.texts, 3)
    }
}

/// In the order of `Step`.
pub const LESSONS: &[Lesson; 53] = &[
    lesson(Step::Option, packed!("option")),
    lesson(Step::Output, packed!("output")),
    lesson(Step::Trace, packed!("trace")),
    lesson(
        Step::OwnFile,
        packed!(
            "own file",
            "",
            "Inside a container our file is to be the container's. An image can make it the \
             host's, by a command that is a link to /proc/self/exe.",
            "The container could write to the host's tinyctr (CVE-2019-5736).",
        ),
    ),
    lesson(
        Step::Image,
        packed!(
            "image",
            "",
            "A bare name is looked for where images are kept. The places are asked, not opened.",
            "An open directory of the host would be a way out of the container (CVE-2024-21626).",
        ),
    ),
    lesson(
        Step::Close,
        packed!(
            "close descriptors",
            "close",
            "What the caller left open, the command would inherit.",
            "A descriptor of a host directory leads out of any root: fchdir(2) (CVE-2024-21626).",
        ),
    ),
    lesson(
        Step::HoldSignals,
        packed!(
            "hold signals",
            "",
            "What the caller ignored stays ignored, even SIGCHLD (signal(7)): it is reset. From \
             here on signals wait until they can be passed on; no handler runs in lent memory.",
            "A signal would end tinyctr and not the container; and how the command ended could be \
             lost (wait(2)).",
        ),
    ),
    lesson(
        Step::Limits,
        packed!(
            "set limits",
            "",
            "A cgroup is made for the container, with its limits (cgroups(7)). What a killed \
             tinyctr left there goes.",
            "The container could take all of the machine.",
        ),
    ),
    lesson(
        Step::Network,
        packed!(
            "network",
            "",
            "Another's is entered before the clone: from a user namespace of its own the child may \
             not (setns(2)). A new one has a loopback that is down. pasta(1) turns its packets \
             into calls of sockets outside, which takes no root.",
            "It would be the host's, or not even 127.0.0.1 would answer.",
        ),
    ),
    lesson(
        Step::Memory,
        packed!(
            "map stack",
            "",
            "The child will run in our memory, and needs a stack of its own there; below it lies \
             a page that can't be touched.",
            "It would return into frames that are gone, or overflow into its parent's variables.",
        ),
    ),
    lesson(
        Step::Banner,
        packed!(
            "banner",
            "",
            "The banner is for people: it is printed where stderr is a terminal.",
            "",
        ),
    ),
    lesson(
        Step::Helper,
        packed!(
            "helper",
            "",
            "While the child borrows our memory we are asleep. What must be done from outside in \
             that time is done by a helper, forked before.",
            "The child would wait for a parent that waits for it.",
        ),
    ),
    lesson(
        Step::Clone,
        packed!(
            "clone",
            "",
            "Here the container begins: one call makes the process and its namespaces \
             (namespaces(7)). CLONE_VM|CLONE_VFORK lend it our memory until execve, so that \
             nothing is copied (vfork(2)).",
            "A process like any other.",
        ),
    ),
    lesson(
        Step::Join,
        packed!(
            "enter cgroup",
            "",
            "From here on the limits hold. The cgroup namespace comes after it, so that our cgroup \
             is its root (cgroup_namespaces(7)).",
            "The limits would be there, and nobody in them.",
        ),
    ),
    lesson(
        Step::DieWithParent,
        packed!(
            "die with parent",
            "parent",
            "Should tinyctr be killed, the kernel kills the command, and with PID 1 its whole PID \
             namespace goes.",
            "The container would run on, with nobody to wait for it.",
        ),
    ),
    lesson(
        Step::Keyring,
        packed!(
            "new keyring",
            "keyring",
            "Keys know no namespace: a session keyring passes from process to process \
             (keyrings(7)).",
            "The command could use, and add to, the keys of whoever started tinyctr.",
        ),
    ),
    lesson(
        Step::OomScore,
        packed!(
            "reset oom score",
            "oom",
            "Services like sshd are spared by the OOM killer, and so is what they start.",
            "A container that eats all memory would be the last to go (proc_pid_oom_score_adj(5)).",
        ),
    ),
    lesson(
        Step::CoreDumps,
        packed!(
            "limit core dumps",
            "core",
            "A core dump is handled on the host, by whoever core_pattern names, with the host's \
             rights. A limit of one byte stops it, a pipe included (core(5)).",
            "The host's handler would read what the container wrote.",
        ),
    ),
    lesson(
        Step::MapIds,
        packed!(
            "map ids",
            "ids",
            "In a new user namespace nobody has an id. We become root there: with one id, and \
             outside still who we are, after setgroups(2) was given up (CVE-2014-8989); or with a \
             range that the caller was given (subuid(5)).",
            "We would be the overflow user, nobody, and own no file (user_namespaces(7)).",
        ),
    ),
    lesson(
        Step::MapOwners,
        packed!(
            "map owners",
            "",
            "Outside nobody has the container's ids, so the image's mount is told them: files keep \
             their owners on disk, and inside they are root's (mount_setattr(2)).",
            "All files of the image would be nobody's.",
        ),
    ),
    lesson(
        Step::Hostname,
        packed!(
            "set hostname",
            "hostname",
            "The UTS namespace began as a copy: it still has the host's name.",
            "The prompt would say that you are on the host.",
        ),
    ),
    lesson(
        Step::Private,
        packed!(
            "make mounts private",
            "private",
            "The mount namespace is a copy too, but its mounts are still peers of the host's: \
             what is mounted on one side appears on the other (mount_namespaces(7)).",
            "Where the host's / is shared, as systemd makes it, our mounts would stay on the host.",
        ),
    ),
    lesson(
        Step::BindRoot,
        packed!(
            "bind root",
            "",
            "pivot_root(2) wants a mount point. A directory becomes one by being bound to itself.",
            "pivot_root would refuse it (EINVAL).",
        ),
    ),
    lesson(
        Step::NoDevices,
        packed!(
            "refuse devices",
            "nodev",
            "A device node in the image is a name for the machine's hardware, and nobody knows \
             who made it. MS_NODEV closes them all.",
            "Root inside could read the host's disk through a node of the image's.",
        ),
    ),
    lesson(
        Step::OpenRoot,
        packed!(
            "open root",
            "",
            "The path is looked up again: now it names the new mount. All that follows is done \
             beneath this descriptor, by single names.",
            "A link in the image could send us to a directory of the host.",
        ),
    ),
    lesson(
        Step::Dev,
        packed!(
            "make dev",
            "dev",
            "A fresh /dev, with the devices that every program may expect, and terminals of its \
             own. It is built over the host's: in this namespace nobody else looks. Then it is \
             read-only: no other device can be made where devices work.",
            "Programs would find what the image has there: nothing that works.",
        ),
    ),
    lesson(
        Step::Proc,
        packed!(
            "mount proc",
            "proc",
            "ps reads /proc, and a proc shows the PID namespace in which it was mounted.",
            "ps would fail, or, with the host's /proc, lie (pid_namespaces(7)).",
        ),
    ),
    lesson(
        Step::Sys,
        packed!(
            "mount sys",
            "sys",
            "/sys shows the machine, and is read-only here; of the control groups it shows our \
             own.",
            "Programs that ask for the number of processors would find none.",
        ),
    ),
    lesson(
        Step::Mask,
        packed!(
            "mask files",
            "mask",
            "Much in /proc and /sys is for the owner of the machine: its memory, its keys, its \
             settings. What tells too much is covered, what changes something is read-only.",
            "Root inside could write to /proc/sys/kernel/core_pattern, and the host's kernel \
             would run what it says (core(5)).",
        ),
    ),
    lesson(
        Step::HostFiles,
        packed!(
            "share files",
            "files",
            "Who shares the host's network needs its resolv.conf and hosts. They are mounted \
             read-only onto the image's, or over a link there, which is not followed.",
            "No name would be found, or by servers that are not there.",
        ),
    ),
    lesson(
        Step::Place,
        packed!(
            "place mounts",
            "place",
            "What was built is moved onto the image's directory of that name, which is opened \
             without following a link: one could name a directory of the host.",
            "The container would see its image's own.",
        ),
    ),
    lesson(
        Step::EnterRoot,
        packed!(
            "enter root",
            "",
            "We go there.",
            "pivot_root(2) would find us in a directory beneath the new mount.",
        ),
    ),
    lesson(
        Step::PivotRoot,
        packed!(
            "pivot root",
            "pivot",
            "The image becomes the root of this mount namespace; the host's root lies on top of \
             it until it is detached.",
            "chroot(2) alone only starts look-ups elsewhere: root leaves it with a second chroot \
             (chroot(2), NOTES).",
        ),
    ),
    lesson(
        Step::MoveRoot,
        packed!(
            "move root",
            "",
            "The root is an initramfs, which can't be pivoted away. The image is moved over it.",
            "chroot(2) alone would be left by a second one.",
        ),
    ),
    lesson(
        Step::Chroot,
        packed!(
            "chroot",
            "",
            "Look-ups of absolute paths start here from now on.",
            "They would start at the host's root.",
        ),
    ),
    lesson(
        Step::LeaveHost,
        packed!(
            "leave host",
            "leave",
            "The host's root is detached. With it go all its mounts.",
            "`cd ..` from / would lead into the host.",
        ),
    ),
    lesson(
        Step::FindUser,
        packed!(
            "find user",
            "",
            "Names are the image's: its own passwd(5) and group(5) say which numbers they are. \
             They are read from inside, where no link of theirs leads to the host's.",
            "",
        ),
    ),
    lesson(
        Step::Terminal,
        packed!(
            "own terminal",
            "terminal",
            "A terminal of the container's own (pty(7)), which controls its session. What is typed \
             into the user's is passed on to it, byte by byte.",
            "The command could push words into the user's terminal (TIOCSTI), and a shell would \
             have no job control.",
        ),
    ),
    lesson(
        Step::Workdir,
        packed!(
            "change directory",
            "workdir",
            "The command starts where it was told to, looked up inside; and the kernel confirms \
             that it is inside.",
            "It starts in the root directory.",
        ),
    ),
    lesson(
        Step::Umask,
        packed!(
            "set umask",
            "umask",
            "Files inside get the permissions that everybody expects, not those of the caller.",
            "With a umask of 0, every new file could be changed by every user.",
        ),
    ),
    lesson(
        Step::HideMemory,
        packed!(
            "hide memory",
            "memory",
            "Until execve our memory is tinyctr's: no process may trace it or read it, our user's \
             own included.",
            "In a container that shares the PID namespace another could reach us through /proc.",
        ),
    ),
    lesson(
        Step::NoNewPrivs,
        packed!(
            "no new privileges",
            "new-privs",
            "From here on execve gives nobody more rights than he has: the set-user-ID bit means \
             nothing.",
            "A file of the image would make root of any user inside.",
        ),
    ),
    lesson(
        Step::Filter,
        packed!(
            "filter calls",
            "seccomp",
            "The kernel has hundreds of system calls, and most of its holes are in those that no \
             program needs. A filter lets through the usual ones (seccomp(2)).",
            "Every call of the kernel could be tried from inside.",
        ),
    ),
    lesson(
        Step::BecomeUser,
        packed!(
            "become user",
            "",
            "First the groups, then the user: afterwards nobody may. With root's id go root's \
             capabilities, and the wish to end with our parent, which is repeated.",
            "The command would run as root.",
        ),
    ),
    lesson(
        Step::Capabilities,
        packed!(
            "drop capabilities",
            "caps",
            "Root is what it may do (capabilities(7)). Those that touch the machine go: from what \
             execve may give, and from what we have.",
            "Root inside would be root outside: it could mount the host's disk.",
        ),
    ),
    lesson(
        Step::FreeSignals,
        packed!(
            "free signals",
            "",
            "The command begins with no signal held back. As PID 1 it gets only those that it has \
             a handler for (pid_namespaces(7)): what would end it otherwise tinyctr does from \
             outside; with --init it is not PID 1.",
            "It would never hear of SIGTERM or ^C.",
        ),
    ),
    lesson(
        Step::Exec,
        packed!(
            "exec",
            "",
            "The process becomes the command, and gives its parent's memory back. PATH is the \
             container's, the files are the image's.",
            "",
        ),
    ),
    lesson(
        Step::Init,
        packed!(
            "be init",
            "",
            "PID 1 is ours: it passes signals on, reaps orphans, and ends as the command does. It \
             has its own memory, into which nobody looks.",
            "The command is PID 1, with all that this asks of it.",
        ),
    ),
    lesson(
        Step::Guard,
        packed!(
            "guard",
            "guard",
            "A command that changes its ids makes the kernel forget that it should die with its \
             parent. So a process outside waits for our end, and then ends the container.",
            "Such a command outlives a tinyctr that is killed.",
        ),
    ),
    lesson(
        Step::Report,
        packed!(
            "report",
            "",
            "By a socket parent and child notice when the other is gone, and a terminal comes out \
             of the container.",
            "",
        ),
    ),
    lesson(
        Step::Relay,
        packed!("relay", "", "The user's terminal does nothing by itself now.", ""),
    ),
    lesson(
        Step::Wait,
        packed!(
            "wait",
            "",
            "tinyctr is asleep: signals wake it, which it passes on, and bytes of a terminal. When \
             the command has ended it ends as the command did.",
            "",
        ),
    ),
    lesson(
        Step::Unlimit,
        packed!(
            "remove cgroup",
            "",
            "Whoever is still in it is killed, and the cgroup goes.",
            "It would be there until the next boot.",
        ),
    ),
];

const _: () = {
    let mut at = 0;
    while at < LESSONS.len() {
        assert!(LESSONS[at].step as usize == at + 1, "the table is in the order of the steps");
        at += 1;
    }
};

/// The step that was begun last, in this memory: parent and child have one.
static LAST: AtomicU32 = AtomicU32::new(Step::Option as u32);

impl Step {
    pub fn make_last(self) {
        LAST.store(self as u32, Relaxed);
    }

    pub fn number_of_last() -> u32 {
        LAST.load(Relaxed)
    }

    /// The step that is `number as Step`.
    pub fn from_number(number: u32) -> Step {
        row(number as usize).step
    }

    pub fn lesson(self) -> &'static Lesson {
        row(self as usize)
    }

    pub fn name(self, texts: &Texts) -> Text<'_> {
        self.lesson().name(texts)
    }

    /// The step that `--skip WORD` leaves out.
    #[inline(never)] // packed, unlike its caller
    pub fn to_skip(word: &[u8], texts: &Texts) -> Option<Step> {
        let known = |it: &&Lesson| !word.is_empty() && it.skip(texts).as_ref() == word;
        LESSONS.iter().find(known).map(|lesson| lesson.step)
    }
}

/// The row of a step by its number; the first for a number that is none.
fn row(number: usize) -> &'static Lesson {
    let [first, rest @ ..] = LESSONS;
    rest.get(number.wrapping_sub(2)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_skipped_by_its_word() {
        let step = |word: &[u8]| Step::to_skip(word, crate::sys::texts().expect("memory"));
        assert_eq!(step(b"hostname"), Some(Step::Hostname));
        assert_eq!(step(b"clone"), None);
        assert_eq!(step(b""), None);
    }

    #[test]
    fn no_name_and_no_word_stands_twice() {
        let texts = crate::sys::texts().expect("memory");
        for (at, lesson) in LESSONS.iter().enumerate() {
            for other in &LESSONS[at + 1..] {
                assert!(lesson.name(texts) != other.name(texts), "{lesson:?}");
                let word = lesson.skip(texts);
                assert!(word.is_empty() || word != other.skip(texts), "{lesson:?}");
            }
        }
    }
}
