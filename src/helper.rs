//! Level 6. A helper outside, for what has to be done while the child already exists and its parent
//! still sleeps: the ids of a range are mapped by programs that may do that, from outside.
//!
//! It is an ordinary fork, made before the clone: it shares no memory with anybody. It waits until
//! the child says who it is, does its jobs one after the other, and answers; the child waits for
//! that. There are two pipes, a way there and a way back:
//!
//! 1. An end that nobody else has open tells by its silence that the other side is gone: the helper
//!    ends where no child comes (any more), the child fails where the helper is killed.
//! 2. The reading end of the way there stays open in parent and child, so that the child, where
//!    the helper is gone, is told so on the way back and is not ended by SIGPIPE.
//! 3. The helper is forked before anything is made whose last owner's death means something: it
//!    would be an owner too.
//! 4. It ends with its parent (SIGKILL), and is waited for before the child is: as long as it works,
//!    the child's PID can't become somebody else's.

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{ThinCStr, until_nul};
use crate::buf::Line;
use crate::error::{Error, On, Refusal};
use crate::flags::{Ended, MountAttr, O};
use crate::steps::Step;
use crate::sys::{self, step};

/// Something to be done outside, once the child is there.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub step: Step,
    /// What an error is about.
    pub object: &'static CStr,
    pub work: Work<'a>,
}

#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// Writes to `object`, a file of the child's in /proc: `uid_map`.
    Write(&'a [u8]),
    /// Runs a program, which has to succeed: its path and its arguments, each with NUL behind it.
    /// An empty word stands for the child's PID.
    Run(&'a [u8]),
    /// Maps the owners of files in these mounts, which are nowhere yet, as the child's user
    /// namespace maps ids.
    MapOwners(Option<i32>),
}

/// A helper that waits for the child, or has done its work.
pub struct Helper {
    pid: i32,
    /// From the child to the helper, and back: each an end to read from and one to write to.
    there: [i32; 2],
    back: [i32; 2],
    /// Of each job, for errors.
    names: [Option<(Step, &'static CStr)>; MOST],
}

/// More jobs than there are.
pub const MOST: usize = 6;
/// More words than a program gets, the final NULL included.
const WORDS: usize = 24;
/// In the place of an errno: the program ran, and said no.
const REFUSED: u8 = u8::MAX;
/// Room for the number of a process, and its NUL.
type Pid = [u8; 16];

impl Helper {
    /// Forks it.
    #[inline(never)] // a large frame, and not on the way to the wait
    pub fn start(jobs: &[Job]) -> Result<Helper, Error<'static>> {
        step(Step::Helper, || {
            let (there, back) = (sys::pipe2().on(c"pipe")?, sys::pipe2().on(c"pipe")?);
            let pid = sys::fork().on(c"fork")?;
            if pid == 0 {
                sys::exit_group(serve(jobs, there, back).is_err().into());
            }
            sys::close_end(back[1]).on(c"pipe")?;
            let mut names = [None; MOST];
            for (name, job) in names.iter_mut().zip(jobs) {
                *name = Some((job.step, job.object));
            }
            Ok(Helper { pid, there, back, names })
        })
    }

    /// By the child: has the jobs done, and waits for it.
    pub fn call(&self) -> Result<(), Error<'static>> {
        let mut answer = [0; 2];
        let answer = step(Step::Helper, || {
            // Its name in this /proc, which may be another PID namespace's than our parent's.
            let own = c"/proc/self";
            let mut pid: Pid = [0; _];
            let pid = sys::readlinkat(own, &mut pid).on(own)?;
            sys::tell(self.there[1], pid).on(c"helper")?;
            sys::read(self.back[0], &mut answer).on(c"helper")
        })?;
        let &[job, errno] = answer else {
            return Err(Error::errno(Step::Helper, c"helper", Errno::ESRCH));
        };
        let (step, object) = match self.names.get(usize::from(job)) {
            Some(Some(name)) => *name,
            _ => return Ok(()), // past the last one: all is done
        };
        Err(match errno {
            REFUSED => Error::refused(step, object, Refusal::HelperFailed),
            _ => Error::errno(step, object, Errno::new(errno.into())),
        })
    }

    /// By the parent, once the child is the command or gone. What the helper had to say, the child
    /// has heard.
    #[inline(never)] // seldom
    pub fn dismiss(&self) -> Result<(), Error<'static>> {
        step(Step::Helper, || {
            for end in [self.there[0], self.there[1], self.back[0]] {
                sys::close_end(end).on(c"pipe")?;
            }
            match sys::wait_for(self.pid) {
                Err(Errno::ECHILD) => Ok(()), // the caller ignores SIGCHLD (`--bare`)
                answer => answer.map(drop).on(c"helper"),
            }
        })
    }
}

/// The helper itself. Its memory is its own.
fn serve(jobs: &[Job], there: [i32; 2], back: [i32; 2]) -> Result<(), Errno> {
    sys::prctl_set_pdeathsig(libc::SIGKILL)?;
    // If the parent had died before, there is no child, and we read the end of the pipe.
    sys::close_end(there[1])?;
    let mut pid: Pid = [0; _];
    let (_nul, room) = pid.split_last_mut().ok_or(Errno::EINVAL)?;
    if sys::read(there[0], room)?.is_empty() {
        return Ok(());
    }
    let pid = until_nul(&pid).unwrap_or(c"");
    let mut answer = [jobs.len() as u8, 0];
    for (number, job) in jobs.iter().enumerate() {
        if let Err(error) = step(job.step, || job.perform(pid).on(job.object)) {
            answer = [number as u8, error.number() as u8];
            break;
        }
    }
    sys::tell(back[1], &answer).map(drop)
}

impl Job<'_> {
    fn perform(&self, pid: &CStr) -> Result<(), Errno> {
        match self.work {
            Work::Write(content) => {
                let file = open_of(pid, self.object, O::WRONLY | O::CLOEXEC)?;
                sys::write(file, content).map(drop)
            }
            Work::Run(words) => run(words, pid),
            Work::MapOwners(None) => Ok(()),
            Work::MapOwners(Some(tree)) => {
                let namespace = open_of(pid, c"ns/user", O::CLOEXEC)?;
                let mut flags = MountAttr::IDMAP;
                if !sys::skips(Step::NoDevices) {
                    flags |= MountAttr::NODEV;
                }
                sys::mount_setattr_of(tree, flags, namespace)
            }
        }
    }
}

/// Opens a file of the child's in /proc.
fn open_of(pid: &CStr, file: &CStr, flags: O) -> Result<i32, Errno> {
    let mut path = Line::<64>::new();
    path.push("/proc/").push(pid.to_bytes()).push("/").push(file.to_bytes()).push("\0");
    sys::openat(sys::AT_FDCWD, path.as_cstr().unwrap_or(c""), flags)
}

fn run(mut words: &[u8], pid: &CStr) -> Result<(), Errno> {
    let mut argv = [None; WORDS];
    let (_null, places) = argv.split_last_mut().ok_or(Errno::EINVAL)?;
    for place in places {
        let Some(word) = until_nul(words) else { break };
        *place = Some(ThinCStr::new(if word.is_empty() { pid } else { word }));
        words = words.get(word.count_bytes() + 1..).unwrap_or(b"");
    }
    let program = argv.first().copied().flatten().ok_or(Errno::EINVAL)?;
    let child = sys::fork()?;
    if child == 0 {
        let _its_status_says_it = sys::execve(program.to_cstr(), &argv, &[None]);
        sys::exit_group(1);
    }
    match sys::wait_for(child)? {
        Ended::Exited(0) => Ok(()),
        _ => Err(Errno::new(REFUSED.into())),
    }
}
