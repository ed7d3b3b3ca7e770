//! Level 8. While the container runs: its signals, its terminal, its time, its end. Asleep, unless
//! there is something to do.

use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::{Ended, Events};
use crate::relay::Relay;
use crate::signals::{self, Source};
use crate::sys::{self, Poll, SignalSet, signal_bit};

/// What was asked for.
#[derive(Clone, Copy)]
pub struct Orders {
    /// Sent in the place of SIGTERM.
    pub stop_signal: i32,
    /// In milliseconds, from the stop signal to SIGKILL; 0: never.
    pub patience: u64,
    /// In milliseconds, until the container is ended; 0: never.
    pub timeout: u64,
    /// What the caller ignores is not passed on.
    pub ignored: SignalSet,
    /// The command is PID 1, which is spared where the default would end it (`signals`, hazard 2).
    pub command_is_first: bool,
    /// Our own init is PID 1.
    pub has_init: bool,
}

/// How it ended.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub ended: Ended,
    pub timed_out: bool,
}

/// After a time-out, in milliseconds, where nobody said how long.
const PATIENCE: u64 = 10_000;

/// While bytes come and go we stay in memory; after so long without any we don't.
const LULL: &sys::Time = &sys::milliseconds(100);

struct Supervisor<'a, 'b> {
    orders: &'a Orders,
    pid: i32,
    signals: Source,
    relay: Option<&'a mut Relay<'b>>,
    timed_out: bool,
    /// Its patience began when it was told to stop: the next alarm is the last.
    is_last_alarm: bool,
    /// The signal that PID 1 was spared, and ended for.
    carried_out: Option<i32>,
    /// What we hear of SIGCONT next has been passed on.
    has_continued: bool,
}

/// Waits for the end of `pid`.
pub fn supervise(
    orders: &Orders,
    pid: i32,
    relay: Option<&mut Relay>,
) -> Result<Outcome, Error<'static>> {
    let signals = Source::new()?;
    if orders.timeout != 0 {
        sys::set_alarm(orders.timeout).on(c"--timeout")?;
    }
    let supervisor = Supervisor {
        orders,
        pid,
        signals,
        relay,
        timed_out: false,
        is_last_alarm: false,
        carried_out: None,
        has_continued: false,
    };
    supervisor.run()
}

impl Supervisor<'_, '_> {
    fn run(mut self) -> Result<Outcome, Error<'static>> {
        let ended = loop {
            let (signal, ways) = self.sleep()?;
            if signal && let Some(ended) = self.take_signal()? {
                break ended;
            }
            if self.relay.is_some() {
                self.carry(ways)?;
            }
        };
        if let Some(relay) = self.relay.take() {
            self.drain(relay)?;
        }
        let ended = match self.carried_out {
            Some(signal) if ended == Ended::Killed(libc::SIGKILL) => Ended::Killed(signal),
            _ => ended,
        };
        Ok(Outcome { ended, timed_out: self.timed_out })
    }

    /// Until there is a signal, or there are bytes, or there is room for them.
    fn sleep(&self) -> Result<(bool, [Poll; 2]), Error<'static>> {
        let nobody = Poll { fd: -1, events: 0, revents: 0 };
        let [there, back] = self.relay.as_ref().map_or([nobody; 2], |relay| relay.polls());
        let mut polls = [self.signals.poll(), there, back];
        let lull = self.relay.is_none() || is_ready(sys::ppoll(&mut polls, Some(LULL)))? == 0;
        if lull {
            is_ready(sys::ppoll_idle(&mut polls))?;
        }
        let [signal, there, back] = polls;
        Ok((signal.revents != 0, [there, back]))
    }

    /// Returns how the container ended, where it has.
    fn take_signal(&mut self) -> Result<Option<Ended>, Error<'static>> {
        let (signal, from_kernel) = self.signals.next()?;
        if signal == libc::SIGCHLD {
            let ended = sys::reap(self.pid).on(c"")?;
            return Ok(ended.map(|(_, ended)| ended));
        }
        if sys::seldom().is_err() {
            // No room for more than to pass it on.
            let _gone = sys::kill(self.pid, signal);
            return Ok(None);
        }
        self.answer(signal, from_kernel).map(|()| None)
    }

    /// Carries what there is; and what was typed for a PID 1, the kernel spares it.
    #[inline(never)] // packed
    fn carry(&mut self, ways: [Poll; 2]) -> Result<(), Error<'static>> {
        let Some(relay) = &mut self.relay else { return Ok(()) };
        relay.carry(ways);
        let [keys, _] = ways;
        match if keys.revents == 0 { None } else { relay.typed_for(self.pid) } {
            Some(signal) => self.pass_on(signal, true),
            // Switched off; and where it doesn't control us that is all that we hear of it.
            None if is_hung_up(keys) => self.answer(libc::SIGHUP, false),
            None => Ok(()),
        }
    }

    #[inline(never)] // packed
    fn answer(&mut self, signal: i32, from_kernel: bool) -> Result<(), Error<'static>> {
        match (signal, &self.relay) {
            (libc::SIGALRM, _) if from_kernel => self.time_is_up(),
            (libc::SIGWINCH, Some(relay)) => {
                relay.resize();
                // The kernel tells of a size that has changed, and somebody else of none.
                if from_kernel { Ok(()) } else { self.kill(signal) }
            }
            (libc::SIGPIPE, _) => Ok(()), // a write was answered
            _ if self.orders.ignored & signal_bit(signal) != 0 => Ok(()),
            (libc::SIGTSTP, _) => self.pause(),
            (libc::SIGCONT, _) if core::mem::take(&mut self.has_continued) => Ok(()),
            (libc::SIGTERM, _) => self.stop(),
            // What is typed at the terminal goes to all of its foreground job. Where that is us, a
            // container without a terminal of its own is part of it. (SIGHUP is for its leader.)
            (_, relay) => {
                let was_sent = from_kernel && relay.is_none() && signal != libc::SIGHUP;
                self.pass_on(signal, was_sent)
            }
        }
    }

    fn pass_on(&mut self, signal: i32, was_sent: bool) -> Result<(), Error<'static>> {
        if self.orders.command_is_first && signals::is_spared(self.pid, signal) {
            self.carried_out = Some(signal);
            return self.kill(libc::SIGKILL);
        }
        if was_sent { Ok(()) } else { self.kill(signal) }
    }

    fn stop(&mut self) -> Result<(), Error<'static>> {
        if self.orders.patience != 0 && !self.is_last_alarm {
            self.is_last_alarm = true;
            sys::set_alarm(self.orders.patience).on(c"--stop-timeout")?;
        }
        self.pass_on(self.orders.stop_signal, false)
    }

    fn time_is_up(&mut self) -> Result<(), Error<'static>> {
        if self.is_last_alarm {
            return self.kill(libc::SIGKILL);
        }
        self.timed_out = true;
        if self.orders.patience == 0 {
            self.is_last_alarm = true;
            sys::set_alarm(PATIENCE).on(c"--timeout")?;
        }
        self.stop()
    }

    /// The container stops, then we do; when we go on, so does it.
    fn pause(&mut self) -> Result<(), Error<'static>> {
        self.kill(if self.orders.has_init { libc::SIGTSTP } else { libc::SIGSTOP })?;
        self.tell_others(libc::SIGSTOP)?;
        if let Some(relay) = &mut self.relay {
            relay.end();
        }
        sys::kill(sys::getpid(), libc::SIGSTOP).on(c"SIGSTOP")?;
        // Stopped; and here somebody sent SIGCONT, which goes before all that came meanwhile: who
        // is stopped answers to nothing else.
        self.tell_others(libc::SIGCONT)?;
        self.kill(libc::SIGCONT)?;
        self.has_continued = true;
        if let Some(relay) = &mut self.relay {
            relay.begin()?;
            relay.resize();
        }
        Ok(())
    }

    /// Our init tells all the others; where the command is PID 1 it is us. (Without a PID namespace
    /// they are nobody's.)
    fn tell_others(&self, signal: i32) -> Result<(), Error<'static>> {
        if self.orders.command_is_first {
            signals::send_to_others(self.pid, signal)
        } else {
            Ok(())
        }
    }

    fn kill(&self, signal: i32) -> Result<(), Error<'static>> {
        sys::kill(self.pid, signal).on(c"signal")
    }

    /// The last words of a container that is gone. Whoever doesn't want to wait until they are
    /// read says so with a signal.
    #[inline(never)] // packed
    fn drain(&self, relay: &mut Relay) -> Result<(), Error<'static>> {
        while let Some(back) = relay.drain() {
            let mut polls = [self.signals.poll(), back];
            is_ready(sys::ppoll_idle(&mut polls))?;
            let [signal, _] = polls;
            if signal.revents != 0 && signals::is_deadly(self.signals.next()?.0) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a terminal was read from that is gone. It is asked once: then nothing comes from it.
fn is_hung_up(keys: Poll) -> bool {
    let Poll { events, revents, .. } = keys;
    events as u64 & Events::IN.bits() != 0 && revents as u64 & Events::HUP.bits() != 0
}

/// How many are ready; a signal that nobody holds back (SIGCONT after SIGSTOP) is no error.
fn is_ready(answer: Result<usize, Errno>) -> Result<usize, Error<'static>> {
    match answer {
        Err(Errno::EINTR) => Ok(0),
        answer => answer.on(c"poll"),
    }
}
