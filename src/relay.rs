//! Level 7. Between the user's terminal and the container's: bytes of any value, both ways, and
//! the window's size. Nothing is lost, and nothing is looked for: it sleeps until there are bytes,
//! or room for them.

use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::{Events, O};
use crate::sys::{self, Poll};
use crate::terminal::{self, Terminal};

/// Two ways: from the user to the container, and back.
pub struct Relay<'a> {
    user: &'a Terminal,
    /// Of the user's terminal: a descriptor that it can be set by.
    screen: Option<i32>,
    /// The other side of the container's terminal.
    master: i32,
    /// The container's side.
    slave: i32,
    ways: [Way; 2],
    is_raw: bool,
}

/// As much as a terminal hands out at once, and a little more.
const SIZE: usize = 8192;

/// One way. The bytes `start..end` of the buffer wait to be written; `written..start` were, last.
struct Way {
    from: i32,
    to: i32,
    written: usize,
    start: usize,
    end: usize,
    /// To write could be to wait, unless poll(2) has said that there is room; and for one byte
    /// there is then, not for more.
    blocks: bool,
    buffer: [u8; SIZE],
}

/// Nobody: what poll(2) passes over.
const NOBODY: i32 = -1;

impl<'a> Relay<'a> {
    /// `master` came from the child (`terminal::take`).
    pub fn new(user: &'a Terminal, master: i32) -> Relay<'a> {
        // As long as somebody has the container's side open the master has no end: a command may
        // close its terminal, and open it again. (Before Linux 4.13 it may not: this fails.)
        let slave = sys::ioctl_tiocgptpeer(master).unwrap_or(NOBODY);
        let open = |order| user.first_of(order).map_or(NOBODY, reopened);
        let (keyboard, screen) = (open([0, 2, 1]), open([1, 2, 0]));
        let mut back = Way::new(master, screen);
        back.blocks = (0..=sys::STDERR).contains(&screen); // not opened again
        Relay {
            user,
            screen: (screen != NOBODY).then_some(screen),
            master,
            slave,
            ways: [Way::new(keyboard, master), back],
            is_raw: false,
        }
    }

    /// The user's terminal does nothing by itself any more: that is for the container's to do.
    pub fn begin(&mut self) -> Result<(), Error<'static>> {
        let (Some(screen), Some(settings)) = (self.screen, &self.user.settings) else {
            return Ok(());
        };
        self.is_raw = true;
        sys::mute(true);
        let mut raw = terminal::raw(*settings);
        if self.user.standard.get(1) == Some(&false) {
            raw.oflag |= settings.oflag & libc::OPOST; // others write there too, by themselves
        }
        match sys::ioctl_tcsets(screen, &raw) {
            Err(Errno::EIO) => Ok(()), // it is gone already, and SIGHUP is on its way
            answer => answer.on(c"terminal"),
        }
    }

    /// As it was. A terminal that is gone needs no settings.
    pub fn end(&mut self) {
        if let (true, Some(screen), Some(settings)) =
            (self.is_raw, self.screen, &self.user.settings)
        {
            self.is_raw = false;
            let _gone = sys::ioctl_tcsets(screen, settings);
            sys::mute(false);
        }
    }

    /// The size of the user's window has changed. (Where it can't be asked for there is none.)
    pub fn resize(&self) {
        if let Some(screen) = self.screen
            && let Ok(size) = sys::ioctl_tiocgwinsz(screen)
        {
            let _gone = sys::ioctl_tiocswinsz(self.master, &size);
        }
    }

    /// What to wait for.
    pub fn polls(&self) -> [Poll; 2] {
        [self.ways[0].poll(), self.ways[1].poll()]
    }

    /// Carries what there is.
    pub fn carry(&mut self, polls: [Poll; 2]) {
        for (way, poll) in self.ways.iter_mut().zip(polls) {
            if poll.revents != 0 {
                way.carry();
            }
            if poll.revents as u64 & Events::HUP.bits() != 0 && way.is_empty() {
                way.from = NOBODY;
            }
        }
    }

    /// The signal that the container's terminal made of the keys that came last, where it went to
    /// the group of `leader`.
    pub fn typed_for(&self, leader: i32) -> Option<i32> {
        let [keys, _] = &self.ways;
        let typed = keys.buffer.get(keys.written..keys.start)?;
        let signal = terminal::signal_of(&sys::ioctl_tcgets(self.master).ok()?, typed)?;
        // The kernel takes in what is typed by and by, but at once where somebody asks for it
        // (drivers/tty/n_tty.c, n_tty_poll): from here on the signal has been sent.
        let events = Events::IN.bits() as i16;
        sys::ppoll(&mut [Poll { fd: self.slave, events, revents: 0 }], Some(&[0; 2])).ok()?;
        (sys::ioctl_tiocgpgrp(self.master) == Ok(leader)).then_some(signal)
    }

    /// The container is gone: what it said last is in its terminal still, or in our buffer.
    /// Returns what has to be waited for, until there is nothing more.
    pub fn drain(&mut self) -> Option<Poll> {
        let [_, back] = &mut self.ways;
        while back.carry() && (!back.blocks || back.is_empty()) {}
        (!back.is_empty()).then(|| back.poll())
    }
}

impl Way {
    fn new(from: i32, to: i32) -> Way {
        Way { from, to, written: 0, start: 0, end: 0, blocks: false, buffer: [0; SIZE] }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline(never)] // smaller alone than among its caller's variables
    fn poll(&self) -> Poll {
        let (fd, events) =
            if self.is_empty() { (self.from, Events::IN) } else { (self.to, Events::OUT) };
        Poll { fd, events: events.bits() as i16, revents: 0 }
    }

    /// Reads, where nothing is left to be written, and writes. Returns whether anything moved.
    fn carry(&mut self) -> bool {
        if self.is_empty() && (!self.fill() || self.blocks) {
            return false;
        }
        let end = if self.blocks { self.start + 1 } else { self.end };
        let bytes = self.buffer.get(self.start..end).unwrap_or(&[]);
        self.written = self.start;
        match sys::write(self.to, bytes) {
            Ok(count) => self.start += count,
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            // Whoever should see it is gone; whoever says it is not to be held up by that.
            Err(_) => {
                self.to = NOBODY;
                self.start = self.end;
                self.written = self.end;
            }
        }
        true
    }

    /// Reads. Returns whether there was anything.
    fn fill(&mut self) -> bool {
        match sys::read(self.from, &mut self.buffer).map(<[u8]>::len) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) => {} // of a terminal that somebody has set back: no end of anything
            Err(_) => self.from = NOBODY, // the other side is gone
            Ok(length) => (self.start, self.end) = (0, length),
        }
        !self.is_empty()
    }
}

/// The same terminal by a descriptor that doesn't block, which it is for nobody else. Where it
/// can't be opened again (it is another user's, after su(1)) the caller's own, which does, has to
/// do.
fn reopened(fd: i32) -> i32 {
    let flags = O::RDWR | O::NOCTTY | O::NONBLOCK | O::CLOEXEC;
    let path = terminal::BY_DESCRIPTOR.get(fd as usize).copied().unwrap_or(c"");
    sys::openat(sys::AT_FDCWD, path, flags).unwrap_or(fd)
}
