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
//!    would be an owner too. Who is forked later closes its copy of our `inlet`.
//! 4. It ends with its parent (SIGKILL), and is waited for before the child is: as long as it
//!    works, the child's PID can't become somebody else's.
//! 5. Unless it has a program to keep (pasta): then it ends, and the program before it, once the
//!    way there has no writer any more: when child and parent are gone, or the parent dismisses
//!    it. In a session of its own, so that a ^C for the container is none for the two of them.

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{ThinCStr, until_nul};
use crate::error::{Error, On, Refusal};
use crate::flags::{Ended, Events, MountAttr, O};
use crate::steps::Step;
use crate::sys::{self, Poll, step};

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
    /// Writes this to `object`, a file of the child's in /proc, where the helper stands. Or,
    /// where it begins with a `/`, as no map does, it is for a program (`Run`).
    Map(&'a [u8]),
    /// Runs a program, which has to succeed: its path and its arguments, each with NUL behind it.
    /// An empty word stands for the child's PID.
    Run(&'a [u8]),
    /// The same, of a program that is ready once it has said something, and then stays for as long
    /// as the container. Its standard input is the child's network namespace.
    Keep(&'a [u8]),
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
}

/// More words than a program gets, the final NULL included.
const WORDS: usize = 24;
/// Room for the number of a process, and its NUL.
type Pid = [u8; 16];

impl Helper {
    /// Forks it.
    #[inline(never)] // packed
    pub fn start(jobs: &[Job]) -> Result<Helper, Error<'static>> {
        step(Step::Helper, || {
            let make = || {
                let (there, back) = (sys::pipe2()?, sys::pipe2()?);
                let helper = Helper { pid: sys::fork()?, there, back };
                if helper.pid == 0 {
                    helper.serve(jobs);
                }
                sys::close_end(back[1])?;
                Ok(helper)
            };
            make().on(c"")
        })
    }

    /// By the child: has the jobs done, and waits for it.
    pub fn call(&self) -> Result<(), Error<'static>> {
        step(Step::Helper, || {
            let own = c"/proc/self";
            // Our name in this /proc, which may be another PID namespace's than our parent's.
            let mut pid: Pid = [0; _];
            let pid = sys::readlinkat(own, &mut pid).on(own)?;
            let told = sys::tell(self.there[1], pid);
            told.and_then(|_| sys::hear_outcome(self.back[0])).on(c"")
        })?
    }

    /// The end to write to on the way there.
    pub fn inlet(&self) -> i32 {
        self.there[1]
    }

    /// By the parent, once the child is the command or gone. What the helper had to say, the child
    /// has heard.
    #[inline(never)] // packed
    pub fn dismiss(&self) -> Result<(), Error<'static>> {
        step(Step::Helper, || {
            for end in [self.there[0], self.there[1], self.back[0]] {
                sys::close_end(end).on(c"")?;
            }
            match sys::wait4_briefly(self.pid) {
                Err(Errno::ECHILD) => Ok(()), // the caller ignores SIGCHLD (`--bare`)
                answer => answer.map(drop).on(c""),
            }
        })
    }

    /// The helper itself. Its memory is its own. Where it can't say what became of it, the child
    /// sees that it is gone.
    fn serve(&self, jobs: &[Job]) -> ! {
        let mut pid: Pid = [0; _];
        let keeps = jobs.iter().any(|job| matches!(job.work, Work::Keep(_)));
        if let Ok(true) = self.is_called(&mut pid, keeps) {
            let pid = until_nul(&pid).unwrap_or(c"");
            let (mut outcome, mut kept) = (Ok(()), None);
            for job in jobs {
                outcome = outcome.and_then(|()| job.perform(pid, self.there[0], &mut kept));
            }
            let _gone = sys::tell_outcome(self.back[1], &outcome);
            if let Some(program) = kept {
                let _nobody_writes_now = sys::read(self.there[0], &mut [0]);
                let _ended = sys::kill_own(program, libc::SIGKILL)
                    .and_then(|()| sys::wait4_briefly(program));
            }
        }
        sys::exit_group(0)
    }

    /// Waits for the child's word, and goes where it is in /proc.
    fn is_called(&self, pid: &mut Pid, keeps: bool) -> Result<bool, Errno> {
        if keeps {
            sys::setsid()?
        } else {
            sys::prctl_set_pdeathsig(libc::SIGKILL)?
        }
        // Where the caller ignores the one nobody could be waited for; and pasta needs the other.
        sys::reset_signal(libc::SIGCHLD)?;
        sys::reset_signal(libc::SIGPIPE)?;
        // If the parent had died before, there is no child, and we read the end of the pipe.
        sys::close_end(self.there[1])?;
        let (_nul, room) = pid.split_last_mut().unwrap_or((&mut 0, &mut []));
        if sys::read(self.there[0], room)?.is_empty() {
            return Ok(false);
        }
        sys::chdir(c"/proc")?;
        sys::chdir(until_nul(pid).unwrap_or(c""))?;
        Ok(true)
    }
}

impl Job<'_> {
    /// `asked`: where it is heard that nobody waits for it any more.
    fn perform(
        &self,
        pid: &CStr,
        asked: i32,
        kept: &mut Option<i32>,
    ) -> Result<(), Error<'static>> {
        if step(self.step, || self.attempt(pid, asked, kept).on(self.object))? {
            return Ok(());
        }
        let is_mapper = self.step == Step::MapIds;
        let why = if is_mapper { Refusal::MapperFailed } else { Refusal::PastaFailed };
        Err(Error::refused(self.step, self.object, why))
    }

    /// False where a program ran, and failed.
    #[inline(never)]
    fn attempt(&self, pid: &CStr, asked: i32, kept: &mut Option<i32>) -> Result<bool, Errno> {
        match self.work {
            Work::Run(words) | Work::Map(words @ [b'/', ..]) => {
                return succeeded(run(words, pid, &[])?);
            }
            Work::Keep(words) => return keep(words, pid, asked, kept),
            Work::Map(content) => sys::write_file(sys::AT_FDCWD, self.object, content)?,
            Work::MapOwners(None) => {}
            Work::MapOwners(Some(tree)) => {
                let namespace = sys::openat(sys::AT_FDCWD, c"ns/user", O::CLOEXEC)?;
                sys::mount_setattr_of(tree, MountAttr::IDMAP, namespace)?;
            }
        }
        Ok(true)
    }
}

/// Starts a program, with some descriptors as its first ones.
fn run(mut words: &[u8], pid: &CStr, descriptors: &[i32]) -> Result<i32, Errno> {
    let mut argv = [None; WORDS];
    let (_null, places) = argv.split_last_mut().ok_or(Errno::E2BIG)?;
    for place in places {
        let Some(word) = until_nul(words) else { break };
        *place = Some(ThinCStr::new(if word.is_empty() { pid } else { word }));
        words = words.get(word.count_bytes() + 1..).unwrap_or(b"");
    }
    let child = sys::fork()?;
    if child == 0 {
        for (place, descriptor) in descriptors.iter().enumerate() {
            sys::dup3(*descriptor, place as i32)?;
        }
        // It ends with us too. Who is set-user-ID forgets that, and is soon done.
        sys::prctl_set_pdeathsig(libc::SIGKILL)?;
        let program = argv.first().copied().flatten().map_or(c"", ThinCStr::to_cstr);
        let _its_status_says_it = sys::execve(program, &argv, &[None]);
        sys::exit_group(1);
    }
    Ok(child)
}

fn succeeded(child: i32) -> Result<bool, Errno> {
    Ok(sys::wait4_briefly(child)? == Ended::Exited(0))
}

/// Ten seconds: meanwhile tinyctr sleeps, and hears no signal.
const PATIENCE: &sys::Time = &sys::milliseconds(10_000);

fn keep(words: &[u8], pid: &CStr, asked: i32, kept: &mut Option<i32>) -> Result<bool, Errno> {
    let [out, inlet] = sys::pipe2()?;
    let namespace = sys::openat(sys::AT_FDCWD, c"ns/net", O::CLOEXEC)?;
    let child = run(words, pid, &[namespace, inlet])?;
    sys::close_end(inlet)?;
    let poll = |fd| Poll { fd, events: Events::IN.bits() as i16, revents: 0 };
    let mut polls = [poll(out), poll(asked)];
    let ready = sys::ppoll(&mut polls, Some(PATIENCE))?;
    let [said, gone] = polls;
    if ready == 0 || gone.revents != 0 {
        sys::kill_own(child, libc::SIGKILL)?;
        sys::wait4_briefly(child)?;
        return Err(if ready == 0 { Errno::ETIMEDOUT } else { Errno::ESRCH });
    }
    if said.revents == 0 || sys::read(out, &mut [0; 16])?.is_empty() {
        return succeeded(child); // only in a rehearsal does it succeed
    }
    *kept = Some(child);
    Ok(true)
}
