//! Files of lines, and of words with colons between them: passwd(5), group(5), subuid(5). Those of
//! an image are somebody else's, so they may hold anything: they are read in pieces, and no more is
//! kept of them than one line.

use core::ffi::CStr;
use syscalls::Errno;

use crate::buf::{Line, take_until};
use crate::sys;

/// A longer line is an error: to overlook it could be to overlook a group. Its entry is some 400
/// members of a group.
const LONGEST: usize = 4096;

/// Larger files are nobody's: read for seconds, they would hold up the start.
const LARGEST: usize = 16 << 20;

/// Gives each line of a file to `take`, without its newline, which the last one may lack.
#[inline(never)]
pub fn each_line(file: &CStr, take: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let fd = sys::open_to_read(file)?;
    let mut piece = [0; 1024];
    let (mut line, mut total) = (Line::<LONGEST>::new(), 0);
    loop {
        let piece = sys::read(fd, &mut piece)?;
        total += piece.len();
        let at_end = piece.is_empty();
        let rest = if at_end && !line.as_bytes().is_empty() { b"\n" } else { piece };
        for &byte in rest {
            if byte == b'\n' && !line.is_cut() {
                take(line.as_bytes());
                line.clear();
            } else {
                line.push([byte]);
            }
        }
        if line.is_cut() || total > LARGEST {
            return Err(Errno::EFBIG);
        }
        if at_end {
            return sys::close(fd);
        }
    }
}

/// Takes the word before the next colon, or all that is left.
pub fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    take_until(rest, b':')
}

/// The same, as a decimal number that can be an id: -1 means something else to the kernel.
#[inline(never)]
pub fn number(rest: &mut &[u8]) -> Option<u32> {
    let word = word(rest);
    let mut number = 0_u64;
    for &byte in word {
        if !byte.is_ascii_digit() || number > u32::MAX.into() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    let id = u32::try_from(number).ok()?;
    (!word.is_empty() && id != u32::MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::io::Write;

    fn lines_of(content: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("it can be written");
        let path = CString::new(file.path().to_str().expect("UTF-8")).expect("no NUL");
        let mut lines = Vec::new();
        each_line(&path, &mut |line| lines.push(line.to_owned())).map(|()| lines)
    }

    #[test]
    fn a_last_line_needs_no_newline() {
        assert_eq!(lines_of(b"a\n\nb").expect("lines"), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines_of(b"a\n").expect("lines"), [b"a"]);
        assert!(lines_of(b"").expect("lines").is_empty());
    }

    #[test]
    fn a_line_that_does_not_fit_is_an_error() {
        let fits = vec![b'x'; LONGEST];
        assert_eq!(lines_of(&fits).expect("lines"), [&fits[..]]);
        for tail in [&b"x"[..], b"x\n", b"x\ny\n"] {
            assert_eq!(lines_of(&[&fits, tail].concat()), Err(Errno::EFBIG));
        }
    }

    #[test]
    fn words_end_at_colons() {
        let mut rest = &b"a::b"[..];
        let words = [word(&mut rest), word(&mut rest), word(&mut rest), word(&mut rest)];
        assert_eq!(words, [&b"a"[..], b"", b"b", b""]);
    }

    #[test]
    fn a_number_is_an_id_or_none() {
        let id = |mut text: &[u8]| number(&mut text);
        assert_eq!(id(b"0:1"), Some(0));
        assert_eq!(id(b"4294967294"), Some(u32::MAX - 1));
        let none =
            ["", "-1", "+1", " 1", "1 ", "0x1", "4294967295", "4294967296", "1\0", "99999999999"];
        for text in none {
            assert_eq!(id(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(id(&[b'9'; 300]), None);
    }

    #[test]
    fn a_file_without_end_is_an_error() {
        assert_eq!(each_line(c"/dev/zero", &mut |_| {}), Err(Errno::EFBIG));
    }
}
