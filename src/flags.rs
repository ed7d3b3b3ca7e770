//! Level 2. The kernel's flag words, each one table: the wrappers take the type, and whoever
//! prints a call finds the names here; and the other numbers of its that mean something.

use core::ops::{BitOr, BitOrAssign};

use crate::buf::copied;

/// The names of a flag word.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What the kernel puts before each name.
    pub prefix: &'static str,
    /// In the order of `bits`, each with a space behind it.
    names: &'static [u8],
    bits: &'static [u32],
    /// What the word is called when no bit is set.
    pub zero: &'static str,
}

impl Table {
    /// The flags: of each its name, without the prefix, and its bits.
    pub fn flags(&self) -> impl Iterator<Item = (&'static [u8], u64)> {
        self.names
            .split(|&byte| byte == b' ')
            .zip(self.bits)
            .map(|(name, &bits)| (name, bits.into()))
    }
}

/// Declares a flag type and its table. `$prefix` is what the kernel puts before each name.
macro_rules! flags {
    (
        $(#[$doc:meta])*
        $type:ident, $prefix:literal, $zero:literal, { $($name:ident = $value:expr,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(u64);

        impl $type {
            $(pub const $name: $type = $type($value as u64);)*

            /// Every flag that is known here. (Statics have a name for the linker: build.rs.)
            pub const TABLE: &'static Table = {
                const PLAIN: &[u8] = concat!($(stringify!($name), " "),*).as_bytes();
                static NAMES: [u8; PLAIN.len()] = copied(PLAIN);
                static BITS: [u32; [$($value as u32),*].len()] = [$($value as u32),*];
                static TABLE: Table =
                    Table { prefix: $prefix, names: &NAMES, bits: &BITS, zero: $zero };
                &TABLE
            };

            /// With bits that may have no name here.
            pub const fn from_bits(bits: u64) -> $type {
                $type(bits)
            }

            pub const fn empty() -> $type {
                $type(0)
            }

            pub const fn bits(self) -> u64 {
                self.0
            }

            pub const fn contains(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }

            pub const fn with(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }
        }

        impl BitOr for $type {
            type Output = $type;
            fn bitor(self, other: $type) -> $type {
                self.with(other)
            }
        }

        impl BitOrAssign for $type {
            fn bitor_assign(&mut self, other: $type) {
                *self = self.with(other);
            }
        }
    };
}

flags! {
    /// [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html)
    Clone, "CLONE_", "0", {
        VM = libc::CLONE_VM,
        VFORK = libc::CLONE_VFORK,
        NEWNS = libc::CLONE_NEWNS,
        PARENT_SETTID = libc::CLONE_PARENT_SETTID,
        NEWCGROUP = libc::CLONE_NEWCGROUP,
        NEWUTS = libc::CLONE_NEWUTS,
        NEWIPC = libc::CLONE_NEWIPC,
        NEWUSER = libc::CLONE_NEWUSER,
        NEWPID = libc::CLONE_NEWPID,
        NEWNET = libc::CLONE_NEWNET,
    }
}

flags! {
    /// [mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html)
    Ms, "MS_", "0", {
        RDONLY = libc::MS_RDONLY,
        NOSUID = libc::MS_NOSUID,
        NODEV = libc::MS_NODEV,
        NOEXEC = libc::MS_NOEXEC,
        REMOUNT = libc::MS_REMOUNT,
        BIND = libc::MS_BIND,
        MOVE = libc::MS_MOVE,
        REC = libc::MS_REC,
        PRIVATE = libc::MS_PRIVATE,
    }
}

flags! {
    /// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html)
    MountAttr, "MOUNT_ATTR_", "0", {
        RDONLY = libc::MOUNT_ATTR_RDONLY,
        NOSUID = libc::MOUNT_ATTR_NOSUID,
        NODEV = libc::MOUNT_ATTR_NODEV,
        NOEXEC = libc::MOUNT_ATTR_NOEXEC,
        IDMAP = libc::MOUNT_ATTR_IDMAP,
    }
}

flags! {
    /// [umount2(2)](https://man7.org/linux/man-pages/man2/umount.2.html)
    Mnt, "MNT_", "0", {
        DETACH = libc::MNT_DETACH,
    }
}

flags! {
    /// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html)
    Lock, "LOCK_", "0", {
        EX = libc::LOCK_EX,
        NB = libc::LOCK_NB,
    }
}

flags! {
    /// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html): a type, and flags.
    Sock, "SOCK_", "0", {
        SEQPACKET = libc::SOCK_SEQPACKET,
        CLOEXEC = libc::SOCK_CLOEXEC,
    }
}

flags! {
    /// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html). No bit stands for reading
    /// only: `O_RDONLY` is 0.
    O, "O_", "0", {
        WRONLY = libc::O_WRONLY,
        RDWR = libc::O_RDWR,
        CREAT = libc::O_CREAT,
        NOCTTY = libc::O_NOCTTY,
        TRUNC = libc::O_TRUNC,
        NONBLOCK = libc::O_NONBLOCK,
        NOFOLLOW = libc::O_NOFOLLOW,
        CLOEXEC = libc::O_CLOEXEC,
        PATH = libc::O_PATH,
        DIRECTORY = libc::O_DIRECTORY,
    }
}

flags! {
    /// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
    Events, "POLL", "0", {
        IN = libc::POLLIN,
        OUT = libc::POLLOUT,
        ERR = libc::POLLERR,
        HUP = libc::POLLHUP,
    }
}

flags! {
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), protection. None of them is
    /// `PROT_NONE`: 0.
    Prot, "PROT_", "PROT_NONE", {
        READ = libc::PROT_READ,
        WRITE = libc::PROT_WRITE,
        EXEC = libc::PROT_EXEC,
    }
}

flags! {
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    Map, "MAP_", "0", {
        PRIVATE = libc::MAP_PRIVATE,
        FIXED = libc::MAP_FIXED,
        ANONYMOUS = libc::MAP_ANONYMOUS,
        NORESERVE = libc::MAP_NORESERVE,
    }
}

/// The names of the signals, by number from 1 on, without their `SIG`
/// ([signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html)).
const SIGNALS: &[u8] = b"HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM \
    STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";

/// `KILL` for 9; a real-time signal has no name here.
pub fn signal_name(number: i32) -> Option<&'static [u8]> {
    let before = usize::try_from(number.checked_sub(1)?).ok()?;
    SIGNALS.split(|&byte| byte == b' ').nth(before)
}

/// 9 for `KILL`, `SIGKILL` or `9`; real-time signals by number alone, up to 64.
pub fn signal_number(word: &[u8]) -> Option<i32> {
    let name = word.strip_prefix(b"SIG").unwrap_or(word);
    let number = match SIGNALS.split(|&byte| byte == b' ').position(|known| known == name) {
        Some(before) => before as i32 + 1,
        None => word.iter().try_fold(0, |number, byte| match byte {
            b'0'..=b'9' if number <= 6 => Some(number * 10 + i32::from(byte & 15)),
            _ => None,
        })?,
    };
    (1..=64).contains(&number).then_some(number)
}

/// How a process ended, as the status of
/// [wait4(2)](https://man7.org/linux/man-pages/man2/wait4.2.html) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    pub fn from_status(status: i32) -> Ended {
        match status & 0x7f {
            0 => Ended::Exited(status >> 8 & 0xff),
            signal => Ended::Killed(signal),
        }
    }
}

/// The names in what `getdents64` filled in: records of inode (8 bytes), offset (8), length of
/// the record (2), type (1), and the name up to its NUL
/// ([getdents64(2)](https://man7.org/linux/man-pages/man2/getdents64.2.html)).
pub fn directory_entries(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let length = u16::from_ne_bytes(records.get(16..18)?.try_into().ok()?);
        let (record, rest) = records.split_at_checked(usize::from(length))?;
        records = rest;
        record.get(19..)?.split(|&byte| byte == 0).next()
    })
}

/// A name that is a number: of a descriptor, of a process. `None` for others.
pub fn number(name: &[u8]) -> Option<i32> {
    name.iter().try_fold(0_i32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_carry_the_kernels_names() {
        let has = |table: &Table, prefix, name: &[u8], known| {
            table.prefix == prefix && table.flags().any(|flag| flag == (name, known))
        };
        assert!(has(Ms::TABLE, "MS_", b"NOSUID", 2));
        assert!(has(Clone::TABLE, "CLONE_", b"NEWNS", 0x0002_0000));
    }

    #[test]
    fn signals_have_the_names_of_their_numbers() {
        assert_eq!(signal_name(libc::SIGHUP), Some(&b"HUP"[..]));
        assert_eq!(signal_name(libc::SIGKILL), Some(&b"KILL"[..]));
        assert_eq!(signal_name(libc::SIGCHLD), Some(&b"CHLD"[..]));
        assert_eq!(signal_name(libc::SIGSYS), Some(&b"SYS"[..]));
        assert_eq!([signal_name(0), signal_name(32), signal_name(-1)], [None; 3]);
    }

    #[test]
    fn a_status_is_an_exit_code_or_a_signal() {
        assert_eq!(Ended::from_status(0), Ended::Exited(0));
        assert_eq!(Ended::from_status(42 << 8), Ended::Exited(42));
        assert_eq!(Ended::from_status(9), Ended::Killed(9));
        assert_eq!(Ended::from_status(11 | 0x80), Ended::Killed(11)); // with a core dump
    }

    #[test]
    fn contains_asks_for_every_bit() {
        let both = Ms::REC | Ms::PRIVATE;
        assert!(both.contains(Ms::REC));
        assert!(!Ms::REC.contains(both));
    }
}
