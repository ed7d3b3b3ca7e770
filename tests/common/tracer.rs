//! tinyctr, stopped at each system call of its own and of its container's, by ptrace(2), and killed
//! at one of them: what is done at a moment, and not by chance.

use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::DEADLINE;

pub const NO_PTRACE: &str = "needs the right to trace";

/// Whether a process of ours may be traced.
pub fn can_trace() -> bool {
    let mut command = Command::new("true");
    // SAFETY: a system call only.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    command.spawn().is_ok_and(|child| {
        let pid = Pid::from_raw(child.id().cast_signed());
        waitpid(pid, None).is_ok()
            && ptrace::detach(pid, None).is_ok()
            && waitpid(pid, None).is_ok()
    })
}

/// What came of a run that was to be killed at a moment of one of its phases.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// It was.
    Killed,
    /// The phase was over before: the command ran, and was killed then.
    Started,
    /// The phase was over before, and with it the run.
    Ended(i32),
}

/// The command of these runs. It goes on, unless it is told to end.
pub const WAITS: &str = "echo up >&2; read -r _; exit 7";

/// Runs `command`, and kills tinyctr when it and its container have begun or ended `moment` system
/// calls, all counted together. By ptrace(2), which stops at each: so this is no race. The others
/// are let go then, to end, or not, on their own.
///
/// Counted is from the start until the command runs; or, where there is something to `end` it by,
/// from there.
pub fn killed_at(command: &mut Command, moment: usize, end: Option<&mut dyn FnMut()>) -> Came {
    let (mut reader, writer) = std::io::pipe().expect("there are pipes");
    let flags = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    fcntl(&reader, flags).expect("it is open");
    command.stderr(writer);
    let tinyctr = start_traced(command);
    let mut is_up = || reader.read(&mut [0; 64]).is_ok();
    let (mut calls, mut end) = (0, end);
    let only_start = end.is_none();
    let mut counts = only_start;
    loop {
        match next_stop().expect("tinyctr is not over") {
            WaitStatus::PtraceSyscall(pid) => {
                calls += usize::from(counts);
                let up = is_up();
                if calls == moment || (up && only_start) {
                    kill(tinyctr, Signal::SIGKILL).expect("it is ours");
                    let_go(pid);
                    return if calls == moment { Came::Killed } else { Came::Started };
                }
                if up && let Some(end) = end.take() {
                    end();
                    counts = true;
                }
                go_on(pid, None);
            }
            WaitStatus::Exited(pid, code) if pid == tinyctr => {
                let_go(pid);
                return Came::Ended(code);
            }
            WaitStatus::Signaled(pid, signal, _) if pid == tinyctr => {
                let_go(pid);
                return Came::Ended(128 + signal as i32);
            }
            // What is new stops first.
            WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, Signal::SIGSTOP) => {
                go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            _ => {} // somebody else's end
        }
    }
}

/// Starts `command`, to stop at each system call of it and of its children.
#[expect(clippy::zombie_processes, reason = "`next_stop` waits for it")]
pub fn start_traced(command: &mut Command) -> Pid {
    // SAFETY: a system call only.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn().expect("tinyctr starts");
    let tinyctr = Pid::from_raw(child.id().cast_signed());
    waitpid(tinyctr, None).expect("it stops at its execve");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::setoptions(tinyctr, options).expect("it is stopped");
    go_on(tinyctr, None);
    tinyctr
}

/// Goes on to the next stop.
pub fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {} // killed meanwhile
        Err(error) => panic!("{error}"),
    }
}

/// Only those of this thread: other tests wait for children of their own.
const OURS: WaitPidFlag =
    WaitPidFlag::__WALL.union(WaitPidFlag::__WNOTHREAD).union(WaitPidFlag::WNOHANG);

/// What has happened, where anything has.
pub fn stop_now() -> Option<WaitStatus> {
    match waitpid(None, Some(OURS)).expect("tinyctr is not over") {
        WaitStatus::StillAlive => None,
        stop => Some(stop),
    }
}

/// What happens next to one of our own children or to what is traced. `None`: there is nobody.
fn next_stop() -> Option<WaitStatus> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        match waitpid(None, Some(OURS)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(20)),
            Ok(stop) => return Some(stop),
            Err(Errno::ECHILD) => return None,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("neither a stop nor an end: somebody waits for what does not come");
}

/// Stops tracing: `stopped` at once, the others when they stop next. Waits for the end of those
/// that end.
pub fn let_go(stopped: Pid) {
    let detach = |pid| match ptrace::detach(pid, None) {
        Ok(()) | Err(Errno::ESRCH) => {} // killed meanwhile
        Err(error) => panic!("{error}"),
    };
    detach(stopped);
    while let Some(stop) = next_stop() {
        match stop {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
            stop => detach(stop.pid().expect("it is somebody's")),
        }
    }
}
