//! Level 3. What can go wrong, told in one line: the step, the object, the kernel's word.
//!
//! An error is a few words and two borrowed strings, made without formatting: the child may fail
//! while it runs in its parent's memory. The parent turns it into text (`Error::line`).

use core::ffi::CStr;
use syscalls::Errno;

use crate::buf::Buffer;
use crate::errno::push_errno;
use crate::packed::{Packed, packed};
use crate::steps::Step;

/// tinyctr itself failed; the command did not run.
pub const EXIT_FAILURE: i32 = 125;
/// The command was found and can't be executed.
pub const EXIT_CANNOT_EXECUTE: i32 = 126;
/// The command was not found.
pub const EXIT_NOT_FOUND: i32 = 127;
/// Signal N ended the command: 128 + N, as a shell says it.
pub const EXIT_SIGNAL: i32 = 128;

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel said so.
    Errno(Errno),
    /// We said so, before asking the kernel.
    Text(Packed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error<'a> {
    pub step: Step,
    pub object: &'a [u8],
    pub cause: Cause,
    pub hint: Option<Packed>,
}

/// More of an object than this is not shown, so that the cause always is.
const OBJECT_WIDTH: usize = 512;

impl<'a> Error<'a> {
    /// A refusal of ours, with no call behind it.
    pub const fn refused(step: Step, object: &'a [u8], why: Packed) -> Self {
        Error { step, object, cause: Cause::Text(why), hint: None }
    }

    pub const fn errno(step: Step, object: &'a [u8], errno: Errno) -> Self {
        Error { step, object, cause: Cause::Errno(errno), hint: None }
    }

    pub const fn hint(self, hint: Packed) -> Self {
        Error { hint: Some(hint), ..self }
    }

    /// `tinyctr: STEP: OBJECT: ERRNO (its text)`, and the newline.
    pub fn line(&self, line: &mut Buffer) {
        line.push("tinyctr: ").push_each(self.step.name()).push(": ");
        if !self.object.is_empty() {
            line.push_visible_within(self.object, OBJECT_WIDTH).push(": ");
        }
        match self.cause {
            Cause::Text(text) => line.push_each(text.text()),
            Cause::Errno(errno) => push_errno(line, errno),
        };
        line.end();
    }

    /// What the user can do about it: what was given along, or else what this step and errno
    /// have meant before.
    pub fn advice(&self) -> Option<Packed> {
        let Cause::Errno(errno) = self.cause else { return self.hint };
        let known = match (self.step, errno) {
            (Step::Clone, Errno::EPERM) => packed!(
                "not root: these namespaces need a user namespace around them (--ns user,...)"
            ),
            (Step::Clone, Errno::EINVAL) => {
                packed!("this kernel lacks one of the namespaces (--ns)")
            }
            (Step::Clone, Errno::ENOSPC) => {
                packed!("the limit on namespaces is reached: see /proc/sys/user/max_*_namespaces")
            }
            (Step::Clone, Errno::EAGAIN) => {
                packed!("the limit on processes is reached: ulimit -u, or the cgroup's pids.max")
            }
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
            (Step::Proc, Errno::EPERM) => packed!(
                "in a user namespace this needs a pid namespace of its own (--ns pid,...), \
                 and a host whose own /proc is not masked"
            ),
            (Step::DieWithParent, Errno::ESRCH) => packed!("tinyctr was killed in the meantime"),
            (Step::Wait, Errno::ECHILD) => {
                packed!("the caller ignores SIGCHLD, so how the command ended is lost")
            }
            (Step::Exec, Errno::ENOENT) if self.object == b"/bin/sh" => {
                packed!("the image has neither /bin/bash nor /bin/sh, or lacks their loader")
            }
            (Step::Exec, Errno::ENOENT) if self.object.contains(&b'/') => {
                packed!("if it is there, its interpreter or its loader is missing from the image")
            }
            (Step::Exec, Errno::ENOENT) => packed!("it is in no directory of the container's PATH"),
            (Step::Exec, Errno::ENOEXEC) => packed!(
                "a script needs a #! line; a program for another machine needs a binfmt_misc \
                 handler with the F flag"
            ),
            _ => return self.hint,
        };
        self.hint.or(Some(known))
    }

    pub fn exit_code(&self) -> i32 {
        match (self.step, self.cause) {
            (Step::Exec, Cause::Errno(Errno::ENOENT)) => EXIT_NOT_FOUND,
            (Step::Exec, _) => EXIT_CANNOT_EXECUTE,
            _ => EXIT_FAILURE,
        }
    }
}

/// A call that failed, and on what. The step in which it happened makes it an `Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    pub object: &'a [u8],
    pub errno: Errno,
}

/// Names the object of a call that failed.
pub trait On<T> {
    fn on<'a>(self, object: impl Object<'a>) -> Result<T, Fault<'a>>;
}

impl<T> On<T> for Result<T, Errno> {
    fn on<'a>(self, object: impl Object<'a>) -> Result<T, Fault<'a>> {
        self.map_err(|errno| Fault { object: object.name(), errno })
    }
}

/// What a call can fail on: a path, or a name of bytes.
pub trait Object<'a> {
    fn name(self) -> &'a [u8];
}

impl<'a> Object<'a> for &'a CStr {
    fn name(self) -> &'a [u8] {
        self.to_bytes()
    }
}

impl<'a> Object<'a> for &'a [u8] {
    fn name(self) -> &'a [u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Line;

    fn line(error: Error) -> String {
        let mut line = Line::<1024>::new();
        error.line(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).expect("the test's own text")
    }

    #[test]
    fn a_line_names_step_object_and_errno() {
        let error = Error::errno(Step::Proc, b"/proc", Errno::EPERM);
        assert_eq!(line(error), "tinyctr: mount proc: /proc: EPERM (Operation not permitted)\n");
    }

    #[test]
    fn an_errno_without_a_name_is_shown_as_its_number() {
        let error = Error::errno(Step::Clone, b"", Errno::new(4000));
        assert_eq!(line(error), "tinyctr: clone: errno 4000\n");
    }

    #[test]
    fn only_exec_has_exit_codes_of_its_own() {
        let code = |step, errno| Error::errno(step, b"x", errno).exit_code();
        assert_eq!(code(Step::Exec, Errno::ENOENT), 127);
        assert_eq!(code(Step::Exec, Errno::EACCES), 126);
        assert_eq!(code(Step::Exec, Errno::ENOEXEC), 126);
        assert_eq!(code(Step::Workdir, Errno::ENOENT), 125);
    }
}
