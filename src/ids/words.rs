//! Files of words with colons between them: passwd(5), group(5), subuid(5). An image's are
//! somebody else's, so they may hold anything, and of any length: they are read in pieces, and no
//! more is kept of them than one word.

use core::ffi::CStr;
use syscalls::Errno;

use crate::buf::Line;
use crate::sys;

/// A word that is longer counts as empty.
pub const LONGEST: usize = 255;

/// Larger files are nobody's: read for seconds, they would hold up the start.
const LARGEST: usize = 16 << 20;

/// Gives each word of a file to `take`, with the column that it is in, and whether its line ends
/// after it. In the fourth column, where group(5) has its members, words have commas between them.
#[inline(never)]
pub fn each_word(file: &CStr, take: &mut dyn FnMut(usize, &[u8], bool)) -> Result<(), Errno> {
    let fd = sys::open_to_read(file)?;
    let mut piece = [0; 1024];
    let (mut word, mut column, mut total) = (Line::<LONGEST>::new(), 0, 0);
    loop {
        let mut piece = sys::read(fd, &mut piece)?;
        let at_end = piece.is_empty();
        if at_end {
            piece = b"\n"; // the last line may have none
        }
        total += piece.len();
        if total > LARGEST {
            return Err(Errno::EFBIG);
        }
        for &byte in piece {
            let ends = byte == b'\n';
            if !(ends || byte == b':' || byte == b',' && column == 3) {
                word.push([byte]);
                continue;
            }
            take(column, if word.is_cut() { b"" } else { word.as_bytes() }, ends);
            word.clear();
            column = match byte {
                b'\n' => 0,
                b':' => column.saturating_add(1),
                _ => column,
            };
        }
        if at_end {
            return sys::close(fd);
        }
    }
}

/// Whether these words, sixteen bytes at most, are in the file. Before its first line there is a
/// newline.
#[inline(never)]
pub fn says(file: &CStr, words: &[u8]) -> bool {
    let (mut wanted, mut mask, mut seen) = (0_u128, 0_u128, u128::from(b'\n'));
    for byte in words {
        wanted = wanted << 8 | u128::from(*byte);
        mask = mask << 8 | 0xff;
    }
    let mut found = false;
    if let Ok(fd) = sys::open_to_read(file) {
        let mut piece = [0; 1024];
        while let Ok(piece @ [_, ..]) = sys::read(fd, &mut piece) {
            for byte in piece {
                seen = seen << 8 | u128::from(*byte);
                found |= seen & mask == wanted;
            }
        }
        let _closed = sys::close(fd);
    }
    found
}

/// A decimal number that can be an id: -1 means something else to the kernel.
pub fn number(word: &[u8]) -> Option<u32> {
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

    fn words_of(content: &[u8]) -> Vec<(usize, Vec<u8>, bool)> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("it can be written");
        let path = CString::new(file.path().to_str().expect("UTF-8")).expect("no NUL");
        let mut words = Vec::new();
        let read = each_word(&path, &mut |column, word, ends| {
            words.push((column, word.to_owned(), ends));
        });
        read.expect("it can be read");
        words
    }

    #[test]
    fn a_last_line_needs_no_newline_and_members_are_words_of_their_own() {
        let words = words_of(b"a:x:1:b,c\nd");
        let told: Vec<_> =
            words.iter().map(|(at, word, ends)| (*at, word.as_slice(), *ends)).collect();
        let expected: [(usize, &[u8], bool); 6] = [
            (0, b"a", false),
            (1, b"x", false),
            (2, b"1", false),
            (3, b"b", false),
            (3, b"c", true),
            (0, b"d", true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_too_long_counts_as_empty_and_nothing_is_lost_behind_it() {
        let long = "x".repeat(LONGEST + 1);
        let words = words_of(format!("{long}:{}\nroot\n", &long[1..]).as_bytes());
        assert_eq!(words[0], (0, vec![], false));
        assert_eq!(words[1], (1, long[1..].into(), true));
        assert_eq!(words[2], (0, b"root".to_vec(), true));
    }

    #[test]
    fn a_number_is_an_id_or_none() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"4294967294"), Some(u32::MAX - 1));
        let none =
            ["", "-1", "+1", " 1", "1 ", "0x1", "4294967295", "4294967296", "1\0", "99999999999"];
        for word in none {
            assert_eq!(number(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(number(&[b'9'; 300]), None);
    }

    #[test]
    fn words_are_found_from_the_first_line_on() {
        assert!(says(c"/proc/self/status", b"\nName:\t"));
        assert!(says(c"/proc/self/status", b"\nPid:\t"));
        assert!(!says(c"/proc/self/status", b"\nNames:\t"));
        assert!(!says(c"/no/such/file", b""));
    }

    #[test]
    fn a_file_without_end_is_an_error() {
        assert_eq!(each_word(c"/dev/zero", &mut |_, _, _| {}), Err(Errno::EFBIG));
    }
}
