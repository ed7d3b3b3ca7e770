//! A terminal for the tests to sit at: a pseudo-terminal, its size, its settings, what is typed
//! and what appears. What runs on it runs in a session of its own, with it as controlling terminal.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, read, setsid, ttyname, write};

use super::DEADLINE;

pub struct Terminal {
    /// Where the keyboard and the screen are.
    master: OwnedFd,
    /// Kept open, so that the settings can be read and what was written last is not lost.
    slave: OwnedFd,
    /// All that has appeared.
    seen: Vec<u8>,
    /// How much of it has been asked for.
    told: usize,
    /// The settings at the beginning.
    pub before: Termios,
    child: Option<Child>,
}

impl Terminal {
    /// 24 lines of 80 columns.
    pub fn new() -> Terminal {
        // CLOEXEC from the start: another test may fork meanwhile, and would keep it open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags | OFlag::O_NONBLOCK).expect("there are pseudo-terminals");
        unlockpt(&master).expect("it is new");
        let name = ptsname_r(&master).expect("it has a name");
        let slave = open(name.as_str(), flags, Mode::empty()).expect("it is unlocked");
        let before = tcgetattr(&slave).expect("it is a terminal");
        let (seen, told, child) = (Vec::new(), 0, None);
        let terminal = Terminal { master: master.into(), slave, seen, told, before, child };
        terminal.resize(24, 80);
        terminal
    }

    /// Starts `command` with the terminal as its stdin, stdout and stderr.
    pub fn start(&mut self, command: &mut Command) {
        command.stdin(self.stdio()).stdout(self.stdio()).stderr(self.stdio());
        self.attach(command);
    }

    /// Starts `command` on the terminal, and leaves to the caller what its descriptors are.
    pub fn attach(&mut self, command: &mut Command) {
        assert!(self.child.is_none(), "one at a time");
        self.seat(command);
        self.child = Some(command.spawn().expect("the command starts"));
    }

    /// Starts `command` in a session without a controlling terminal, whatever its descriptors are.
    pub fn attach_in_another_session(&mut self, command: &mut Command) {
        assert!(self.child.is_none(), "one at a time");
        // SAFETY: a system call only.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        self.child = Some(command.spawn().expect("the command starts"));
    }

    /// Makes `command` the leader of a session with this controlling terminal.
    pub fn seat(&self, command: &mut Command) {
        let slave = self.slave.as_raw_fd();
        let sit_down = move || {
            setsid()?;
            // SAFETY: the descriptor is open until exec, and the call takes a number.
            Errno::result(unsafe { libc::ioctl(slave, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: system calls only.
        unsafe { command.pre_exec(sit_down) };
    }

    pub fn stdio(&self) -> Stdio {
        self.slave.try_clone().expect("there are descriptors").into()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id().cast_signed())
    }

    /// As this machine calls it.
    pub fn name(&self) -> String {
        ttyname(&self.slave).expect("it has a name").display().to_string()
    }

    // --- settings --------------------------------------------------------------------------------

    pub fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("it is a terminal")
    }

    pub fn is_raw(&self) -> bool {
        !self.settings().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ISIG)
    }

    /// What `stty sane` is there for.
    pub fn reset(&self) {
        tcsetattr(&self.slave, SetArg::TCSANOW, &self.before).expect("it is a terminal");
    }

    /// The kernel tells the foreground process group by SIGWINCH.
    pub fn resize(&self, lines: u16, columns: u16) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel reads a struct winsize.
        let set = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        Errno::result(set).expect("it is a terminal");
    }

    // --- what is typed, and what appears ---------------------------------------------------------

    /// Types `bytes`. What appears meanwhile is kept.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut rest = bytes.as_ref();
        let start = Instant::now();
        while !rest.is_empty() {
            assert!(start.elapsed() < DEADLINE, "nobody reads: {} bytes are left", rest.len());
            self.turn(&mut rest);
        }
    }

    /// Types as much of `bytes` as is taken before nothing has moved for `patience`. How much.
    pub fn send_some(&mut self, bytes: &[u8], patience: Duration) -> usize {
        let mut rest = bytes;
        let mut moved = Instant::now();
        while !rest.is_empty() && moved.elapsed() < patience {
            let before = rest.len();
            self.turn(&mut rest);
            if rest.len() < before {
                moved = Instant::now();
            }
        }
        bytes.len() - rest.len()
    }

    /// Waits until `text` appears. What appeared up to its end, since the last time.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        let mut searched = self.told;
        loop {
            let news = &self.seen[searched..];
            if let Some(at) = news.windows(text.len()).position(|it| it == text.as_bytes()) {
                let count = searched + at + text.len() - self.told;
                return String::from_utf8_lossy(&self.take(count)).into_owned();
            }
            searched = self.told.max(self.seen.len().saturating_sub(text.len()));
            if start.elapsed() >= DEADLINE {
                panic!("{text:?} does not appear: {:?}", self.rest());
            }
            self.turn(&mut &[][..]);
        }
    }

    /// The next `count` bytes that appear.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let start = Instant::now();
        while self.seen.len() - self.told < count {
            let news = self.seen.len() - self.told;
            assert!(start.elapsed() < DEADLINE, "{news} bytes of {count} appeared");
            self.turn(&mut &[][..]);
        }
        let taken = self.seen[self.told..self.told + count].to_vec();
        self.told += count;
        if self.told > 1 << 20 {
            self.seen.drain(..self.told);
            self.told = 0;
        }
        taken
    }

    /// What has appeared and was not asked for yet. Waits for nothing.
    pub fn rest(&mut self) -> String {
        while self.read() > 0 {}
        self.take(self.seen.len() - self.told).iter().map(|&byte| char::from(byte)).collect()
    }

    /// Waits a moment for something to appear, or for room for `rest`, and moves what can be.
    fn turn(&mut self, rest: &mut &[u8]) {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !rest.is_empty());
        let mut fds = [PollFd::new(self.master.as_fd(), events)];
        poll(&mut fds, 20_u8).expect("the terminal is open");
        let ready = fds[0].revents().unwrap_or(PollFlags::empty());
        if ready.contains(PollFlags::POLLIN) {
            self.read();
        }
        if ready.contains(PollFlags::POLLOUT) {
            match write(&self.master, rest) {
                Ok(written) => *rest = &rest[written..],
                Err(Errno::EAGAIN) => {}
                Err(error) => panic!("typing: {error}"),
            }
        }
    }

    /// How much of what has appeared was read. All that was written to the slave is there: the
    /// kernel hands over what is under way before it says that there is nothing.
    fn read(&mut self) -> usize {
        let mut bytes = [0; 65536];
        match read(&self.master, &mut bytes) {
            Ok(count) => {
                self.seen.extend(&bytes[..count]);
                count
            }
            Err(Errno::EAGAIN) => 0,
            Err(error) => panic!("the screen: {error}"),
        }
    }

    // --- the end ---------------------------------------------------------------------------------

    /// Waits for the end of what was started. Its exit status, or 128 more than its signal.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            let child = self.child.as_mut().expect("it runs");
            if let Some(status) = child.try_wait().expect("it is ours") {
                self.child = None;
                while self.read() > 0 {}
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            if start.elapsed() >= DEADLINE {
                panic!("it does not end: {:?}", self.rest());
            }
            self.turn(&mut &[][..]);
        }
    }

    /// What was typed and read by nobody: what could have been pushed in.
    pub fn left_to_read(&self) -> usize {
        let mut settings = self.settings();
        settings.local_flags.remove(LocalFlags::ICANON); // counts what is no whole line too
        tcsetattr(&self.slave, SetArg::TCSANOW, &settings).expect("it is a terminal");
        let mut count: i32 = 0;
        // SAFETY: the kernel writes an int.
        let asked = unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::FIONREAD, &mut count) };
        Errno::result(asked).expect("it is a terminal");
        usize::try_from(count).expect("a count")
    }

    /// Switches the terminal off, as a closed window or a broken connection does. What runs on it.
    pub fn hang_up(mut self) -> Child {
        self.child.take().expect("it runs")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _gone = child.wait();
        }
    }
}
