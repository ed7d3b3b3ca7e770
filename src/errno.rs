//! Level 2. The kernel's errors by name.

use syscalls::Errno;

use crate::buf::Buffer;
use crate::packed::{Packed, Text};

/// Names and texts, by number from 1 on (build.rs packs them).
const ERRNOS: Packed = Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/errno.packed")));

/// `ENOENT (No such file or directory)`
pub fn push_errno(line: &mut Buffer, errno: Errno) -> &mut Buffer {
    match name_and_text(errno) {
        Some((name, text)) => line.push_each(name).push(" (").push_each(text).push(")"),
        None => line.push("errno ").push_decimal(errno.into_raw().unsigned_abs().into()),
    }
}

/// `ENOENT` and `No such file or directory`.
fn name_and_text(errno: Errno) -> Option<(Text, Text)> {
    let before = usize::try_from(errno.into_raw().checked_sub(1)?).ok()?;
    let row = before.checked_mul(2)?;
    let name = ERRNOS.part(row);
    // Empty: a number without a name.
    (!name.is_empty()).then(|| (name, ERRNOS.part(row + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_table_says_what_the_crate_says() {
        for number in -1..=4096 {
            let errno = Errno::new(number);
            let expected = errno.name_and_description();
            let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let known = name_and_text(errno);
            let known = known.map(|(name, text)| (name.to_string(), text.to_string()));
            assert_eq!(known, expected, "{number}");
        }
    }
}
