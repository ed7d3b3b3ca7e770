//! Level 1. The kernel's flag words, each one table: the wrappers take the type, and whoever
//! prints a call finds the names here.

use core::ops::{BitOr, BitOrAssign};

/// Declares a flag type and its table. `$prefix` is what the kernel puts before each name.
macro_rules! flags {
    ($(#[$doc:meta])* $type:ident, $prefix:literal, { $($name:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(u64);

        impl $type {
            $(pub const $name: $type = $type($value as u64);)*

            /// Every flag that is known here: the kernel's name, and its bits.
            pub const TABLE: &'static [(&'static str, u64)] =
                &[$((concat!($prefix, stringify!($name)), $value as u64),)*];

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
    Clone, "CLONE_", {
        VM = libc::CLONE_VM,
        VFORK = libc::CLONE_VFORK,
        NEWNS = libc::CLONE_NEWNS,
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
    Ms, "MS_", {
        NOSUID = libc::MS_NOSUID,
        NODEV = libc::MS_NODEV,
        NOEXEC = libc::MS_NOEXEC,
        BIND = libc::MS_BIND,
        MOVE = libc::MS_MOVE,
        REC = libc::MS_REC,
        PRIVATE = libc::MS_PRIVATE,
    }
}

flags! {
    /// [umount2(2)](https://man7.org/linux/man-pages/man2/umount.2.html)
    Mnt, "MNT_", {
        DETACH = libc::MNT_DETACH,
    }
}

flags! {
    /// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html). No bit stands for reading
    /// only: `O_RDONLY` is 0.
    O, "O_", {
        WRONLY = libc::O_WRONLY,
        DIRECTORY = libc::O_DIRECTORY,
        NOFOLLOW = libc::O_NOFOLLOW,
        CLOEXEC = libc::O_CLOEXEC,
        PATH = libc::O_PATH,
    }
}

flags! {
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), protection. None of them is
    /// `PROT_NONE`: 0.
    Prot, "PROT_", {
        READ = libc::PROT_READ,
        WRITE = libc::PROT_WRITE,
    }
}

flags! {
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    Map, "MAP_", {
        PRIVATE = libc::MAP_PRIVATE,
        ANONYMOUS = libc::MAP_ANONYMOUS,
        NORESERVE = libc::MAP_NORESERVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_carry_the_kernels_names() {
        assert!(Ms::TABLE.contains(&("MS_NOSUID", 2)));
        assert!(Clone::TABLE.contains(&("CLONE_NEWNS", 0x0002_0000)));
    }

    #[test]
    fn contains_asks_for_every_bit() {
        let both = Ms::REC | Ms::PRIVATE;
        assert!(both.contains(Ms::REC));
        assert!(!Ms::REC.contains(both));
    }
}
