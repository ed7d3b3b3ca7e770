//! Level 3. What can go wrong, told in one line: the step, the object, the kernel's word or ours.
//!
//! An error is made without formatting: the child may fail while it runs in its parent's memory.
//! The parent turns it into text (`Error::line`). And it is two words, as a call returns them in
//! two registers: whoever passes one on with `?` only leaves.

use core::ffi::CStr;
use core::mem::size_of;
use syscalls::Errno;

use crate::arch::ThinCStr;
use crate::buf::{Buffer, has};
use crate::errno::push_errno;
use crate::packed::{Packed, Text, Texts, packed};
use crate::steps::Step;

/// tinyctr itself failed; the command did not run.
pub const EXIT_FAILURE: i32 = 125;
/// The time that `--timeout` gave was over, as timeout(1) says it.
pub const EXIT_TIMED_OUT: i32 = 124;
/// The command was found and can't be executed.
pub const EXIT_CANNOT_EXECUTE: i32 = 126;
/// The command was not found.
pub const EXIT_NOT_FOUND: i32 = 127;
/// Signal N ended the command: 128 + N, as a shell says it.
pub const EXIT_SIGNAL: i32 = 128;

/// Declares what we refuse by ourselves: its name, why, and what the user can do about it.
macro_rules! refusals {
    ($($name:ident = $text:expr;)*) => {
        /// What we refuse by ourselves, before asking the kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($name,)*
        }

        /// In the order of `Refusal`.
        const REFUSALS: &[Packed] = &[$($text,)*];
    };
}

refusals! {
    // Options, by themselves.
    UnknownOption = packed!("unknown option", "see tinyctr --help");
    NotYet = packed!("not yet in this version");
    NeedsValue = packed!("needs a value");
    TakesNoValue = packed!("takes no value");
    // Their values.
    NoSuchNamespaces = packed!(
        "no such list of namespaces",
        "--ns takes uts,pid,mnt,ipc,net,user,cgroup (some of them), or none",
    );
    NoSuchCapability = packed!(
        "no such capability",
        "names as in capabilities(7), with or without CAP_, separated by commas; or all",
    );
    NoSuchProfile = packed!("a profile is default or none");
    NoSuchDryRun = packed!("a dry run knows only sh");
    NoSuchStep = packed!(
        "no step that can be left out",
        "--skip takes close, ids, parent, keyring, oom, core, hostname, private, nodev, dev, \
         proc, sys, mask, files, place, pivot, leave, terminal, workdir, umask, memory, new-privs, \
         seccomp, caps or guard",
    );
    VariableWithoutName = packed!("a variable needs a name");
    NoSuchSignal = packed!("no such signal", "a name such as TERM, or a number from 1 to 64");
    NoTime = packed!("no time", "seconds, such as 10 or 0.5, and more than none");
    NoDescriptor = packed!("no descriptor to write to", "a number from 3 on");
    NoLimit =
        packed!("no amount that can be a limit", "such as --memory=64M, --cpus=0.5, --pids=20");
    NoSuchUserOption = packed!("USER[:GROUP], by names or by numbers");
    HostnameEmpty = packed!("empty");
    HostnameTooLong = packed!("longer than 64 bytes");
    // What does not go together.
    SkipUnseen = packed!("needs --trace or --explain, being for study only");
    ScriptOfThat = packed!(
        "a script is not JSON, leaves no step out, sets no limits, joins nothing, becomes nobody \
         and attends to nothing",
    );
    BareAlready = packed!(
        "leaves nothing for --cap-add, --cap-drop, --new-privs, --privileged or --seccomp to \
         change",
    );
    BareHasNone = packed!(
        "bare: no terminal, no init, no signals passed on, nothing told",
        "--tty, --init, --stop-signal, --stop-timeout, --timeout, --pid-file and --status-fd don't \
         go with it",
    );
    InitShared = packed!("needs the pid namespace (--ns)");
    NetworkTwice = packed!("--ns has a net of its own");
    HostnameShared = packed!("needs the uts namespace (--ns)");
    MountsShared = packed!(
        "an image needs the mnt namespace",
        "add mnt to --ns; or --bare, for a chroot that root can leave again",
    );
    // The image.
    ImageMissing = packed!(
        "missing",
        "tinyctr [OPTION...] IMAGE [COMMAND [ARG...]]; see tinyctr --help",
    );
    ImageEmpty = packed!(
        "empty",
        "tinyctr [OPTION...] IMAGE [COMMAND [ARG...]]; see tinyctr --help",
    );
    ImageIsFile = packed!("a single-file image was found: not yet in this version");
    // Who forbids user namespaces.
    ForbiddenByLimit = packed!(
        "being 0 it forbids user namespaces",
        "as root: sysctl user.max_user_namespaces=15000",
    );
    ForbiddenToUsers = packed!(
        "being 0 it forbids user namespaces",
        "as root: sysctl kernel.unprivileged_userns_clone=1",
    );
    ForbiddenByAppArmor = packed!(
        "being 1 it forbids user namespaces",
        "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    );
    ForbiddenByFilter = packed!(
        "forbids user namespaces",
        "the container around us has a filter: docker run --security-opt seccomp=unconfined, say",
    );
    ForbiddenByChroot = packed!(
        "forbids user namespaces",
        "as root, in place of chroot DIR: tinyctr --bare --ns mnt DIR",
    );
    // The image's files.
    NoSuchUser = packed!("not in the image's /etc/passwd");
    NoSuchGroup = packed!("not in the image's /etc/group");
    TooManyGroups = packed!("in more than 128 groups");
    // What others did for us.
    MapperFailed = packed!("it failed", "what it said stands above; it has to be set-user-ID");
    PastaFailed = packed!("it failed", "what it said stands above");
    // A mistake of ours.
    PlanOutgrown = packed!("the plan outgrew its measure");
}

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel said so.
    Errno(Errno),
    /// We said so: why, and what to do about it.
    Refused(Packed),
}

/// A step that failed, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Error<'a> {
    pub object: ThinCStr<'a>,
    /// The step, times `STEP`, and 0 for the one that was begun last; plus an errno, or a refusal
    /// from `OURS` on.
    pub code: u32,
}

const STEP: u32 = 1 << 16;
/// MAX_ERRNO of include/linux/err.h, and one.
const OURS: u32 = 4096;

const _: () = assert!(size_of::<Result<(), Error>>() == 2 * size_of::<usize>());

/// More of an object than this is not shown, so that the cause always is.
const OBJECT_WIDTH: usize = 512;

impl<'a> Error<'a> {
    /// A refusal of ours, with no call behind it.
    pub const fn refused(step: Step, object: &'a CStr, why: Refusal) -> Self {
        let code = step as u32 * STEP + OURS + why as u32;
        Error { object: ThinCStr::new(object), code }
    }

    pub fn errno(step: Step, object: &'a CStr, errno: Errno) -> Self {
        let errno = errno.into_raw() as u32; // below OURS: the kernel has no others
        Error { object: ThinCStr::new(object), code: step as u32 * STEP + errno }
    }

    /// In the step that was begun last: as long as there is no other one, or it is `settled`.
    pub fn last(object: ThinCStr<'a>, errno: Errno) -> Self {
        let errno = errno.into_raw() as u32; // below OURS: the kernel has no others
        Error { object, code: errno }
    }

    /// In the step in which it happened, also while others are taken: to be called before they are.
    #[inline(never)] // once
    pub fn settled(mut self) -> Self {
        if self.code < STEP {
            self.code += Step::number_of_last() * STEP;
        }
        self
    }

    /// Step and cause, for `from_parts`.
    pub fn code(&self) -> u32 {
        self.settled().code
    }

    pub fn from_parts(object: ThinCStr<'a>, code: u32) -> Self {
        Error { object, code }
    }

    pub fn step(&self) -> Step {
        Step::from_number(self.code() / STEP)
    }

    pub fn cause(&self) -> Cause {
        let number = self.number();
        let refusal = number.checked_sub(OURS).and_then(|at| REFUSALS.get(at as usize));
        refusal.map_or(Cause::Errno(Errno::new(number as i32)), |texts| Cause::Refused(*texts))
    }

    /// The errno, or which of our refusals it is.
    pub fn number(&self) -> u32 {
        self.code % STEP
    }

    /// `tinyctr: STEP: OBJECT: ERRNO (its text)`, and the newline.
    pub fn line(&self, line: &mut Buffer, texts: &Texts) {
        line.push("tinyctr: ").push(self.step().name(texts)).push(": ");
        let object = self.object.to_cstr().to_bytes();
        if !object.is_empty() {
            line.push_visible_within(object, OBJECT_WIDTH).push(": ");
        }
        match self.cause() {
            Cause::Refused(why) => line.push(texts.text(why)),
            Cause::Errno(errno) => push_errno(line, errno, texts),
        };
        line.end();
    }

    /// What the user can do about it: what belongs to the refusal, or what this step and errno
    /// have meant before.
    pub fn advice<'t>(&self, texts: &'t Texts) -> Option<Text<'t>> {
        let hint = match self.cause() {
            Cause::Refused(why) => texts.part(why, 1),
            Cause::Errno(errno) => texts.text(self.experience(errno)?),
        };
        (!hint.is_empty()).then_some(hint)
    }

    fn experience(&self, errno: Errno) -> Option<Packed> {
        Some(match (self.step(), errno) {
            (Step::Network, errno) => return experience_of_network(errno),
            (Step::Clone, errno) => return experience_of_clone(errno),
            (Step::Limits, _) => packed!(
                "limits need root or delegation: systemd-run --user --scope -p Delegate=yes ..."
            ),
            (Step::PivotRoot, Errno::EBUSY) => {
                packed!("this is the root file system itself, for which one writes /")
            }
            (Step::Close, Errno::EISDIR) => {
                packed!("a directory of the host would be a way out of the container")
            }
            (Step::Close, _) => packed!("without close_range(2) this needs /proc; or use --bare"),
            (Step::OwnFile, _) => {
                packed!("this is the host's tinyctr, which is no command of the image")
            }
            (Step::Workdir, Errno::EXDEV) => packed!("it leads out of the container"),
            (Step::BecomeUser | Step::MapOwners, _) => return self.experience_of_ids(errno),
            (Step::Filter, Errno::EACCES) => {
                packed!("without no_new_privs a filter needs CAP_SYS_ADMIN: --seccomp=none")
            }
            (Step::Filter, Errno::ENOSYS | Errno::EINVAL) => {
                packed!("this kernel has no filters of system calls: --seccomp=none does without")
            }
            (Step::Capabilities, Errno::EINVAL) => packed!("this kernel has no such capability"),
            (Step::Capabilities, Errno::EPERM) => {
                packed!("tinyctr can't give what it doesn't have")
            }
            (Step::OpenRoot | Step::BindRoot, Errno::ENOTDIR) => {
                packed!("an image is a directory; single-file images are not in this version yet")
            }
            (Step::Private, Errno::EINVAL) => {
                packed!("the current root is no mount of its own: are we in a chroot?")
            }
            (Step::MoveRoot, Errno::EINVAL) => {
                packed!("the mount that we are in is shared, or the root is no mount of its own")
            }
            (Step::Proc | Step::Place, Errno::ENOTDIR) => {
                packed!("in the image this is a link or a file; it must be a directory")
            }
            (Step::Proc | Step::Place, Errno::EROFS | Errno::EACCES) => {
                packed!("the image has no such directory, and none can be made in it")
            }
            (Step::Proc | Step::Dev, Errno::ENOENT) => {
                packed!("the container's is built over the host's, so the host needs one")
            }
            (Step::Proc, Errno::EPERM) => packed!(
                "in a user namespace this needs a pid namespace of its own (--ns pid,...), \
                 and a host whose own /proc is not masked"
            ),
            (Step::DieWithParent, Errno::ESRCH) => packed!("tinyctr was killed in the meantime"),
            (Step::Wait, Errno::ECHILD) => {
                packed!("the caller ignores SIGCHLD, so how the command ended is lost")
            }
            (Step::Exec, errno) => return self.experience_of_exec(errno),
            _ => return None,
        })
    }

    fn experience_of_ids(&self, errno: Errno) -> Option<Packed> {
        Some(match (self.step(), errno) {
            (Step::MapOwners, _) => packed!(
                "since Linux 5.12 root may map owners (CAP_SYS_ADMIN), on file systems that can: \
                 mount_setattr(2)"
            ),
            (_, Errno::EINVAL) => packed!(
                "this id is not mapped into the container: a range of ids, which subuid(5) and \
                 subgid(5) give and newuidmap(1) maps, would have it"
            ),
            (_, Errno::EPERM) => packed!("in this user namespace nobody may change ids or groups"),
            _ => return None,
        })
    }

    fn experience_of_exec(&self, errno: Errno) -> Option<Packed> {
        let object = self.object.to_cstr().to_bytes();
        Some(match errno {
            Errno::ENOENT if object == b"/bin/sh" => {
                packed!("the image has neither /bin/bash nor /bin/sh, or lacks their loader")
            }
            Errno::ENOENT if has(object, b'/') => {
                packed!("if it is there, its interpreter or its loader is missing from the image")
            }
            Errno::ENOENT => packed!("it is in no directory of the container's PATH"),
            Errno::ENOEXEC => packed!(
                "a script needs a #! line; a program for another machine needs a binfmt_misc \
                 handler with the F flag"
            ),
            _ => return None,
        })
    }

    pub fn exit_code(&self) -> i32 {
        match (self.step(), self.cause()) {
            (Step::Exec, Cause::Errno(Errno::ENOENT)) => EXIT_NOT_FOUND,
            (Step::Exec, _) => EXIT_CANNOT_EXECUTE,
            _ => EXIT_FAILURE,
        }
    }
}

fn experience_of_clone(errno: Errno) -> Option<Packed> {
    Some(match errno {
        Errno::EPERM => packed!(
            "who is not root needs a user namespace around these (--ns user,...); a filter around \
                 us, or a chroot, may forbid them all"
        ),
        Errno::EINVAL => {
            packed!("this kernel lacks one of the namespaces (--ns)")
        }
        Errno::ENOSPC => {
            packed!("the limit on namespaces is reached: see /proc/sys/user/max_*_namespaces")
        }
        Errno::EAGAIN => {
            packed!("the limit on processes is reached: ulimit -u, or the cgroup's pids.max")
        }
        _ => return None,
    })
}

fn experience_of_network(errno: Errno) -> Option<Packed> {
    Some(match errno {
        Errno::ENOENT => packed!("see ip netns list; pasta is in package passt"),
        Errno::EPERM => packed!("who made it may: root, for ip netns"),
        Errno::EINVAL => packed!("this is no network namespace"),
        _ => return None,
    })
}

/// Names the object of a call that failed, in the step that was begun last.
pub trait On<T> {
    fn on(self, object: &CStr) -> Result<T, Error<'_>>;
}

impl<T> On<T> for Result<T, Errno> {
    fn on(self, object: &CStr) -> Result<T, Error<'_>> {
        self.map_err(|errno| Error::last(ThinCStr::new(object), errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Line;

    fn line(error: Error) -> String {
        let mut line = Line::<1024>::new();
        error.line(&mut line, crate::sys::texts().expect("memory"));
        String::from_utf8(line.as_bytes().to_vec()).expect("the test's own text")
    }

    #[test]
    fn a_line_names_step_object_and_errno() {
        let error = Error::errno(Step::Proc, c"/proc", Errno::EPERM);
        assert_eq!(line(error), "tinyctr: mount proc: /proc: EPERM (Operation not permitted)\n");
    }

    #[test]
    fn an_errno_without_a_name_is_shown_as_its_number() {
        let error = Error::errno(Step::Clone, c"", Errno::new(4000));
        assert_eq!(line(error), "tinyctr: clone: errno 4000\n");
    }

    #[test]
    fn only_exec_has_exit_codes_of_its_own() {
        let code = |step, errno| Error::errno(step, c"x", errno).exit_code();
        assert_eq!(code(Step::Exec, Errno::ENOENT), 127);
        assert_eq!(code(Step::Exec, Errno::EACCES), 126);
        assert_eq!(code(Step::Exec, Errno::ENOEXEC), 126);
        assert_eq!(code(Step::Workdir, Errno::ENOENT), 125);
    }
}
