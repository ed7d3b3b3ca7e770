//! Level 3. Closing what the caller left open: an inherited descriptor of a host directory is a
//! way out of any root (CVE-2024-21626).

use core::ffi::CStr;
use syscalls::Errno;

use crate::error::{At, Error, Step};
use crate::flags::O;
use crate::sys;

const OWN: &CStr = c"/proc/self/fd";

/// Closes every descriptor above 2.
pub fn close_inherited() -> Result<(), Error<'static>> {
    match sys::close_range_from(3) {
        Ok(()) => Ok(()),
        // Before Linux 5.9, or under a filter that knows nothing of it: one by one.
        Err(Errno::ENOSYS | Errno::EPERM) => close_listed(),
        Err(errno) => Err(Error::errno(Step::Close, b"close_range", errno)),
    }
}

fn close_listed() -> Result<(), Error<'static>> {
    let directory = sys::openat(OWN, O::DIRECTORY | O::CLOEXEC).at(Step::Close, OWN)?;
    let mut entries = [0; 1024];
    loop {
        let filled = sys::getdents64(directory, &mut entries).at(Step::Close, OWN)?;
        if filled == 0 {
            return sys::close(directory).at(Step::Close, OWN);
        }
        for name in Names(entries.get(..filled).unwrap_or(&[])) {
            match parse_descriptor(name) {
                Some(fd) if fd > sys::STDERR && fd != directory => {
                    sys::close(fd).at(Step::Close, OWN)?;
                }
                _ => {} // `.`, `..`, the three standard ones, and the list itself
            }
        }
    }
}

fn parse_descriptor(name: &[u8]) -> Option<i32> {
    name.iter().try_fold(0_i32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The names in what `getdents64` filled in: records of inode (8 bytes), offset (8), length of
/// the record (2), type (1), and the name up to its NUL.
struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_ne_bytes(self.0.get(16..18)?.try_into().ok()?);
        let (record, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        record.get(19..)?.split(|&byte| byte == 0).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Names(&bytes).collect::<Vec<_>>(), [b"12", b".."]);
        assert_eq!(Names(&bytes[..40]).count(), 1, "half a record is none");
    }

    #[test]
    fn the_kernels_own_list_is_understood() {
        let directory = sys::openat(OWN, O::DIRECTORY | O::CLOEXEC).expect("/proc is mounted");
        let mut entries = [0; 1024];
        let filled = sys::getdents64(directory, &mut entries).expect("it is a directory");
        let fds: Vec<_> = Names(&entries[..filled]).filter_map(parse_descriptor).collect();
        assert!(fds.contains(&directory), "{fds:?}");
        sys::close(directory).expect("it was open");
    }
}
