//! Level 7. PID 1 of a container that asked for one (`--init`): it passes signals on, buries
//! whoever nobody else does, and ends as the command does; and with it, by the kernel, all that is
//! left in the PID namespace.
//!
//! It has its own memory, and nobody inside can look into it, nor find the host's file behind
//! `/proc/1/exe`: it is not dumpable.

use core::convert::Infallible;

use crate::error::{EXIT_SIGNAL, Error, On};
use crate::flags::Ended;
use crate::signals::Source;
use crate::sys;

/// All processes of our PID namespace but ourselves.
const ALL_OTHERS: i32 = -1;

/// What is PID 1 from here on: exiting kills the whole container. Returns only to say what failed.
pub fn run(command: i32) -> Result<Infallible, Error<'static>> {
    sys::prctl_set_undumpable().on(c"dumpable")?;
    let signals = Source::new()?;
    loop {
        let (signal, from_kernel) = signals.next()?;
        match signal {
            libc::SIGCHLD => bury(command)?,
            libc::SIGTSTP => send(ALL_OTHERS, libc::SIGSTOP)?,
            libc::SIGCONT => send(ALL_OTHERS, libc::SIGCONT)?,
            // The terminal sent it to the foreground job, which the command is part of or not.
            _ if from_kernel => {}
            signal => send(command, signal)?,
        }
    }
}

fn bury(command: i32) -> Result<(), Error<'static>> {
    while let Some((pid, ended)) = sys::reap(-1).on(c"")? {
        if pid == command {
            sys::exit_group(match ended {
                Ended::Exited(code) => code,
                Ended::Killed(signal) => EXIT_SIGNAL + signal,
            });
        }
    }
    Ok(())
}

fn send(pid: i32, signal: i32) -> Result<(), Error<'static>> {
    sys::kill(pid, signal).on(c"signal")
}
