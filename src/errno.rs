//! Level 1. The kernel's errors by name.

use syscalls::Errno;

use crate::buf::Buffer;

/// Names and texts, by number from 1 on, each ended by NUL (build.rs packs them).
static ERRNO_TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/errno.txt"));

/// `ENOENT (No such file or directory)`
pub fn push_errno(line: &mut Buffer, errno: Errno) -> &mut Buffer {
    match name_and_text(errno) {
        Some((name, text)) => line.push(name).push(" (").push(text).push(")"),
        None => line.push("errno ").push_decimal(errno.into_raw().unsigned_abs().into()),
    }
}

/// `ENOENT` and `No such file or directory`.
fn name_and_text(errno: Errno) -> Option<(&'static [u8], &'static [u8])> {
    let before = usize::try_from(errno.into_raw().checked_sub(1)?).ok()?;
    let mut words = ERRNO_TABLE.split(|&byte| byte == 0).skip(before.checked_mul(2)?);
    let name = words.next().filter(|name| !name.is_empty())?;
    Some((name, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_table_says_what_the_crate_says() {
        for number in -1..=4096 {
            let errno = Errno::new(number);
            let expected = errno.name_and_description();
            let expected = expected.map(|(name, text)| (name.as_bytes(), text.as_bytes()));
            assert_eq!(name_and_text(errno), expected, "{number}");
        }
    }
}
