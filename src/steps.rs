//! Level 2. The steps of the story: one table of names and reasons. Errors name them, `--explain`
//! tells them, `--skip` leaves them out.

use crate::packed::{Packed, Text, packed};

/// What tinyctr is doing, in the order of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// From 1, so that `None` of an `Option<Step>` is zero, and a static of it costs no file.
    Option = 1,
    Output,
    Trace,
    Image,
    Close,
    Sigchld,
    Memory,
    Banner,
    Clone,
    MapIds,
    DieWithParent,
    Hostname,
    Private,
    BindRoot,
    EnterRoot,
    PivotRoot,
    MoveRoot,
    Chroot,
    Proc,
    LeaveHost,
    Workdir,
    Exec,
    Wait,
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
    pub fn name(&self) -> Text {
        self.texts.part(0)
    }

    /// For `--skip`; empty where nothing would be left without it.
    pub fn skip(&self) -> Text {
        self.texts.part(1)
    }

    pub fn why(&self) -> Text {
        self.texts.part(2)
    }

    /// What breaks without it.
    pub fn without(&self) -> Text {
        self.texts.part(3)
    }
}

/// In the order of `Step`.
pub const LESSONS: &[Lesson; 23] = &[
    lesson(Step::Option, packed!("option")),
    lesson(Step::Output, packed!("output")),
    lesson(Step::Trace, packed!("trace")),
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
        Step::Sigchld,
        packed!(
            "reset SIGCHLD",
            "sigchld",
            "The caller may have ignored it, and what is ignored stays ignored (signal(7)).",
            "The kernel would reap the command by itself, and how it ended would be lost \
             (wait(2)).",
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
        Step::MapIds,
        packed!(
            "map ids",
            "ids",
            "In a new user namespace nobody has an id. We become root there, and outside stay who \
             we are. setgroups(2) is given up first (CVE-2014-8989).",
            "We would be the overflow user, nobody, and own no file (user_namespaces(7)).",
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
        Step::EnterRoot,
        packed!(
            "enter root",
            "",
            "The path is looked up again: now it names the new mount.",
            "We would stand in the directory beneath it.",
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
        Step::Proc,
        packed!(
            "mount proc",
            "proc",
            "ps reads /proc, and a proc shows the PID namespace in which it was mounted. The \
             place is opened without following a link: one could name a directory of the host.",
            "ps would fail, or, with the host's /proc, lie (pid_namespaces(7)).",
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
        Step::Workdir,
        packed!(
            "change directory",
            "workdir",
            "The command starts where it was told to, looked up inside.",
            "It starts in the root directory.",
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
        Step::Wait,
        packed!(
            "wait",
            "",
            "tinyctr is asleep until the command ends, and then ends as it did.",
            "",
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

impl Step {
    pub fn lesson(self) -> &'static Lesson {
        let [first, rest @ ..] = LESSONS;
        rest.get((self as usize).wrapping_sub(2)).unwrap_or(first)
    }

    pub fn name(self) -> Text {
        self.lesson().name()
    }

    /// The step that `--skip WORD` leaves out.
    pub fn to_skip(word: &[u8]) -> Option<Step> {
        let known = |lesson: &&Lesson| !word.is_empty() && lesson.skip().is(word);
        LESSONS.iter().find(known).map(|lesson| lesson.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_skipped_by_its_word() {
        assert_eq!(Step::to_skip(b"hostname"), Some(Step::Hostname));
        assert_eq!(Step::to_skip(b"clone"), None);
        assert_eq!(Step::to_skip(b""), None);
    }

    #[test]
    fn no_name_and_no_word_stands_twice() {
        for (at, lesson) in LESSONS.iter().enumerate() {
            for other in &LESSONS[at + 1..] {
                assert!(!lesson.name().eq(other.name()), "{lesson:?}");
                assert!(lesson.skip().is_empty() || !lesson.skip().eq(other.skip()), "{lesson:?}");
            }
        }
    }
}
