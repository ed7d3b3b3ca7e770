//! Level 6. Closing what the caller left open: an inherited descriptor of a host directory is a
//! way out of any root (CVE-2024-21626).

use core::ffi::CStr;
use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::{O, number};
use crate::sys;

const OWN: &CStr = c"/proc/self/fd";

const STANDARD: [&CStr; 3] = [c"standard input", c"standard output", c"standard error"];

/// Closes every descriptor above 2 but `spared`, which is not passed on; and looks at those three:
/// a directory is refused, and where none is open the null device takes the place, so that no file
/// of the command's gets it.
#[inline(never)] // alone it is smaller than among its caller's variables
pub fn close_inherited(spared: Option<i32>) -> Result<(), Error<'static>> {
    if let Some(fd) = spared {
        sys::close_on_exec(fd).on(c"--status-fd")?;
    }
    for (fd, name) in STANDARD.iter().enumerate() {
        match sys::is_directory(fd as i32) {
            Err(Errno::ENOTDIR) => {}
            Ok(()) => return Err(Errno::EISDIR).on(name),
            Err(Errno::EBADF) => {
                // The lowest free number: this one.
                sys::openat(sys::AT_FDCWD, c"/dev/null", O::RDWR).on(name)?;
            }
            error => error.on(name)?,
        }
    }
    match close_all_but(spared) {
        // Before Linux 5.9, or under a filter that knows nothing of it: one by one.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            sys::rare().on(OWN)?;
            close_listed(spared)
        }
        answer => answer.on(OWN),
    }
}

fn close_all_but(spared: Option<i32>) -> Result<(), Errno> {
    let mut first = sys::STDERR as u32 + 1;
    if let Some(fd) = spared {
        if fd as u32 > first {
            sys::close_range(first, fd as u32 - 1)?;
        }
        first = fd as u32 + 1;
    }
    sys::close_range(first, u32::MAX)
}

#[inline(never)] // packed
fn close_listed(spared: Option<i32>) -> Result<(), Error<'static>> {
    let is_spared = |fd| sys::is_watchers(fd) || spared == Some(fd);
    let directory = sys::openat(sys::AT_FDCWD, OWN, O::DIRECTORY | O::CLOEXEC).on(OWN)?;
    let mut close = |name: &[u8]| match number(name) {
        Some(fd) if fd > sys::STDERR && fd != directory && !is_spared(fd) => sys::close(fd),
        _ => Ok(()), // `.`, `..`, the three standard ones, and the list itself
    };
    sys::each_entry(directory, &mut close).and_then(|()| sys::close(directory)).on(OWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::directory_entries;

    #[test]
    fn records_are_read_by_their_own_length() {
        let mut bytes = Vec::new();
        for (name, length) in [("12", 24_u16), ("..", 32)] {
            let start = bytes.len();
            bytes.extend([0; 16]);
            bytes.extend(length.to_ne_bytes());
            bytes.push(0);
            bytes.extend(name.bytes());
            bytes.resize(start + usize::from(length), 0);
        }
        assert_eq!(directory_entries(&bytes).collect::<Vec<_>>(), [b"12", b".."]);
        assert_eq!(directory_entries(&bytes[..40]).count(), 1, "half a record is none");
    }

    #[test]
    fn the_kernels_own_list_is_understood() {
        let directory =
            sys::openat(sys::AT_FDCWD, OWN, O::DIRECTORY | O::CLOEXEC).expect("/proc is mounted");
        let mut fds = Vec::new();
        let mut list = |name: &[u8]| {
            fds.extend(number(name));
            Ok(())
        };
        sys::each_entry(directory, &mut list).expect("it is a directory");
        assert!(fds.contains(&directory), "{fds:?}");
        sys::close(directory).expect("it was open");
    }
}
