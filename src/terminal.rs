//! Level 6. A terminal of the container's own: what it says to it, and what is pushed into it,
//! reaches the user's terminal as bytes and no other way.

use core::ffi::CStr;
use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::{Ms, O};
use crate::sys::{self, Report, Termios, WindowSize};

/// What the plan knows of the user's terminal.
#[derive(Clone, Copy)]
pub struct Terminal {
    /// Which of the three standard descriptors are terminals: those become the container's own,
    /// what is redirected stays as it is.
    pub standard: [bool; 3],
    /// As the user has set it; that of a new terminal where there is none.
    pub settings: Option<Termios>,
    pub size: WindowSize,
    /// In a `/dev` of the container's own.
    pub own_dev: bool,
}

impl Terminal {
    /// Looks at the three. Where it is `forced` there is one in any case, else where stdin and
    /// stdout are terminals. Says in `stdin` whether that is one.
    pub fn look(forced: bool, own_dev: bool, stdin: &mut bool) -> Option<Terminal> {
        let mut terminal = Terminal { standard: [false; 3], settings: None, size: [0; 4], own_dev };
        for (fd, is_terminal) in (0..).zip(&mut terminal.standard) {
            match sys::ioctl_tcgets(fd) {
                Ok(settings) => {
                    *is_terminal = true;
                    terminal.settings = Some(settings);
                    terminal.size = sys::ioctl_tiocgwinsz(fd).unwrap_or(terminal.size);
                }
                Err(_) if fd == sys::STDERR || forced => {}
                Err(_) => {
                    *stdin = fd != sys::STDIN;
                    return None;
                }
            }
        }
        Some(terminal)
    }

    /// Stops in the background of a shell, as who reads does there: until we are in the foreground.
    /// Returns whether we had to: then the settings that were seen are those of another job.
    /// (Without a shell nobody is stopped.)
    #[inline(never)] // packed
    pub fn come_to_the_front(&self) -> bool {
        let Some(fd) = self.first_of([0, 1, 2]) else { return false };
        let foreground = sys::ioctl_tiocgpgrp(fd);
        let is_behind = foreground.is_ok() && foreground != sys::getpgid();
        if is_behind {
            let _stopped = sys::kill_own(0, libc::SIGTTIN);
        }
        is_behind
    }

    /// The first of these descriptors that is a terminal.
    pub fn first_of(&self, order: [i32; 3]) -> Option<i32> {
        order.into_iter().find(|fd| self.standard.get(*fd as usize) == Some(&true))
    }
}

/// Makes the terminal, and us the leader of a session that is controlled by it. Hands its other
/// side to our parent. To be called when the root is the container's. Of the owner, where that is
/// somebody else than we still are: he may open it too.
#[inline(never)] // packed
pub fn take(terminal: &Terminal, parent: i32, owner: Option<u32>) -> Result<(), Error<'static>> {
    let (ptmx, pts) = (c"/dev/ptmx", c"/dev/pts/0"); // the first of a new devpts
    let flags = O::RDWR | O::NOCTTY | O::NONBLOCK | O::CLOEXEC;
    let master = sys::openat(sys::AT_FDCWD, ptmx, flags).on(ptmx)?;
    sys::ioctl_tiocsptlck(master).on(ptmx)?;
    let slave = match sys::ioctl_tiocgptpeer(master) {
        // Before Linux 4.13. On the host's devpts that path would be another's.
        Err(Errno::EINVAL | Errno::ENOTTY) if terminal.own_dev => {
            sys::openat(sys::AT_FDCWD, pts, O::RDWR | O::NOCTTY | O::CLOEXEC)
        }
        opened => opened,
    }
    .on(pts)?;
    if let Some(settings) = &terminal.settings {
        sys::ioctl_tcsets(slave, settings).on(pts)?;
        sys::ioctl_tiocswinsz(slave, &terminal.size).on(pts)?;
    }
    if let Some(uid) = owner {
        sys::fchown(slave, uid).on(pts)?;
    }
    sys::setsid().on(pts)?;
    sys::ioctl_tiocsctty(slave).on(pts)?;
    for (fd, is_terminal) in (0..).zip(terminal.standard) {
        if is_terminal {
            sys::dup3(slave, fd).on(pts)?;
        }
    }
    if terminal.own_dev {
        let console = c"/dev/console";
        sys::mount_bind(pts, console, Ms::empty()).on(console)?;
    }
    sys::send(parent, &Report { terminal: Some(master), ..Report::default() }).on(ptmx)
}

/// Passes bytes on as they are typed, and shows them as they come: what cfmakeraw(3) does.
pub fn raw(mut settings: Termios) -> Termios {
    settings.iflag &= !(libc::IGNBRK
        | libc::BRKINT
        | libc::PARMRK
        | libc::ISTRIP
        | libc::INLCR
        | libc::IGNCR
        | libc::ICRNL
        | libc::IXON);
    settings.oflag &= !libc::OPOST;
    settings.lflag &= !(libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG | libc::IEXTEN);
    settings.cflag = settings.cflag & !(libc::CSIZE | libc::PARENB) | libc::CS8;
    settings.characters[libc::VMIN] = 1;
    settings.characters[libc::VTIME] = 0;
    settings
}

/// The signal that a terminal with these settings makes of what is typed: termios(3), ISIG.
#[inline(never)] // packed
pub fn signal_of(settings: &Termios, typed: &[u8]) -> Option<i32> {
    let key = |name: usize| settings.characters.get(name).copied().filter(|key| *key != 0);
    let mut quoted = false;
    for byte in typed {
        let typed = if quoted { None } else { Some(*byte) };
        quoted = typed.is_some() && typed == key(libc::VLNEXT);
        for (name, signal) in [(libc::VINTR, libc::SIGINT), (libc::VQUIT, libc::SIGQUIT)] {
            if settings.lflag & libc::ISIG != 0 && typed.is_some() && typed == key(name) {
                return Some(signal);
            }
        }
    }
    None
}

/// What names a descriptor that is open: opened again, it has flags of its own.
pub const BY_DESCRIPTOR: [&CStr; 3] = [c"/proc/self/fd/0", c"/proc/self/fd/1", c"/proc/self/fd/2"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_a_signal_where_the_terminal_says_so() {
        let mut settings = Termios { lflag: libc::ISIG, ..Termios::default() };
        let keys = [(libc::VINTR, 3), (libc::VQUIT, 0x1c), (libc::VLNEXT, 0x16)];
        for (name, key) in keys {
            settings.characters[name] = key;
        }
        for (typed, signal) in [
            (&b"abc"[..], None),
            (b"abc\x03", Some(libc::SIGINT)),
            (b"\x1c\x03", Some(libc::SIGQUIT)),
            (b"\x16\x03", None), // quoted
            (b"\x16\x16\x03", Some(libc::SIGINT)),
            (b"\0", None),
        ] {
            assert_eq!(signal_of(&settings, typed), signal, "{typed:?}");
        }
        settings.characters[libc::VINTR] = 0; // no key has that effect
        assert_eq!(signal_of(&settings, b"\0\x03"), None);
        settings.lflag = 0;
        assert_eq!(signal_of(&settings, b"\x1c"), None);
    }
}
