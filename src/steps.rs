//! Level 1. The steps of the story: one table of names and reasons. Errors name them, `--explain`
//! tells them, `--skip` leaves them out.

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
    /// In messages.
    pub name: &'static str,
    /// For `--skip`; `None` where nothing would be left without it.
    pub skip: Option<&'static str>,
    pub why: &'static str,
    /// What breaks without it.
    pub without: &'static str,
}

const fn lesson(
    step: Step,
    name: &'static str,
    skip: Option<&'static str>,
    why: &'static str,
    without: &'static str,
) -> Lesson {
    Lesson { step, name, skip, why, without }
}

/// In the order of `Step`.
pub static LESSONS: [Lesson; 23] = [
    lesson(Step::Option, "option", None, "", ""),
    lesson(Step::Output, "output", None, "", ""),
    lesson(Step::Trace, "trace", None, "", ""),
    lesson(
        Step::Image,
        "image",
        None,
        "A bare name is looked for where images are kept. The places are asked, not opened.",
        "An open directory of the host would be a way out of the container (CVE-2024-21626).",
    ),
    lesson(
        Step::Close,
        "close descriptors",
        Some("close"),
        "What the caller left open, the command would inherit.",
        "A descriptor of a host directory leads out of any root: fchdir(2) (CVE-2024-21626).",
    ),
    lesson(
        Step::Sigchld,
        "reset SIGCHLD",
        Some("sigchld"),
        "The caller may have ignored it, and what is ignored stays ignored (signal(7)).",
        "The kernel would reap the command by itself, and how it ended would be lost (wait(2)).",
    ),
    lesson(
        Step::Memory,
        "map stack",
        None,
        "The child will run in our memory, and needs a stack of its own there; below it lies a \
         page that can't be touched.",
        "It would return into frames that are gone, or overflow into its parent's variables.",
    ),
    lesson(
        Step::Banner,
        "banner",
        None,
        "The banner is for people: it is printed where stderr is a terminal.",
        "",
    ),
    lesson(
        Step::Clone,
        "clone",
        None,
        "Here the container begins: one call makes the process and its namespaces \
         (namespaces(7)). CLONE_VM|CLONE_VFORK lend it our memory until execve, so that nothing \
         is copied (vfork(2)).",
        "A process like any other.",
    ),
    lesson(
        Step::MapIds,
        "map ids",
        Some("ids"),
        "In a new user namespace nobody has an id. We become root there, and outside stay who we \
         are. setgroups(2) is given up first (CVE-2014-8989).",
        "We would be the overflow user, nobody, and own no file (user_namespaces(7)).",
    ),
    lesson(
        Step::DieWithParent,
        "die with parent",
        Some("parent"),
        "Should tinyctr be killed, the kernel kills the command, and with PID 1 its whole PID \
         namespace goes.",
        "The container would run on, with nobody to wait for it.",
    ),
    lesson(
        Step::Hostname,
        "set hostname",
        Some("hostname"),
        "The UTS namespace began as a copy: it still has the host's name.",
        "The prompt would say that you are on the host.",
    ),
    lesson(
        Step::Private,
        "make mounts private",
        Some("private"),
        "The mount namespace is a copy too, but its mounts are still peers of the host's: what is \
         mounted on one side appears on the other (mount_namespaces(7)).",
        "Where the host's / is shared, as systemd makes it, our mounts would stay on the host.",
    ),
    lesson(
        Step::BindRoot,
        "bind root",
        None,
        "pivot_root(2) wants a mount point. A directory becomes one by being bound to itself.",
        "pivot_root would refuse it (EINVAL).",
    ),
    lesson(
        Step::EnterRoot,
        "enter root",
        None,
        "The path is looked up again: now it names the new mount.",
        "We would stand in the directory beneath it.",
    ),
    lesson(
        Step::PivotRoot,
        "pivot root",
        Some("pivot"),
        "The image becomes the root of this mount namespace; the host's root lies on top of it \
         until it is detached.",
        "chroot(2) alone only starts look-ups elsewhere: root leaves it with a second chroot \
         (chroot(2), NOTES).",
    ),
    lesson(
        Step::MoveRoot,
        "move root",
        None,
        "The root is an initramfs, which can't be pivoted away. The image is moved over it.",
        "chroot(2) alone would be left by a second one.",
    ),
    lesson(
        Step::Chroot,
        "chroot",
        None,
        "Look-ups of absolute paths start here from now on.",
        "They would start at the host's root.",
    ),
    lesson(
        Step::Proc,
        "mount proc",
        Some("proc"),
        "ps reads /proc, and a proc shows the PID namespace in which it was mounted. The place is \
         opened without following a link: one could name a directory of the host.",
        "ps would fail, or, with the host's /proc, lie (pid_namespaces(7)).",
    ),
    lesson(
        Step::LeaveHost,
        "leave host",
        Some("leave"),
        "The host's root is detached. With it go all its mounts.",
        "`cd ..` from / would lead into the host.",
    ),
    lesson(
        Step::Workdir,
        "change directory",
        Some("workdir"),
        "The command starts where it was told to, looked up inside.",
        "It starts in the root directory.",
    ),
    lesson(
        Step::Exec,
        "exec",
        None,
        "The process becomes the command, and gives its parent's memory back. PATH is the \
         container's, the files are the image's.",
        "",
    ),
    lesson(
        Step::Wait,
        "wait",
        None,
        "tinyctr is asleep until the command ends, and then ends as it did.",
        "",
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
        let [first, rest @ ..] = &LESSONS;
        rest.get((self as usize).wrapping_sub(2)).unwrap_or(first)
    }

    pub fn name(self) -> &'static str {
        self.lesson().name
    }

    /// The step that `--skip WORD` leaves out.
    pub fn to_skip(word: &[u8]) -> Option<Step> {
        let known = |lesson: &&Lesson| lesson.skip.is_some_and(|skip| skip.as_bytes() == word);
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
                assert_ne!(lesson.name, other.name);
                assert!(lesson.skip.is_none() || lesson.skip != other.skip, "{lesson:?}");
            }
        }
    }
}
