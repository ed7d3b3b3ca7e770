//! Level 2. The kernel's errors by name.

use syscalls::Errno;

use crate::buf::Buffer;
use crate::packed::{ERRNOS, Text, Texts};

/// `ENOENT (No such file or directory)`
pub fn push_errno<'a>(line: &'a mut Buffer, errno: Errno, texts: &Texts) -> &'a mut Buffer {
    match name_and_text(errno, texts) {
        Some((name, text)) => line.push(name).push(" (").push(text).push(")"),
        None => line.push("errno ").push_decimal(errno.into_raw().unsigned_abs().into()),
    }
}

/// `ENOENT` and `No such file or directory`. None for those that build.rs leaves out.
fn name_and_text(errno: Errno, texts: &Texts) -> Option<(Text<'_>, Text<'_>)> {
    let row = usize::try_from(errno.into_raw()).ok()?.checked_sub(1)?;
    let name = texts.part(ERRNOS, row * 2);
    // Empty: a number without a name.
    (!name.is_empty()).then(|| (name, texts.part(ERRNOS, row * 2 + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_table_says_what_the_crate_says() {
        let texts = crate::sys::texts().expect("memory");
        let mut left_out = 0;
        for number in -1..=4096 {
            let errno = Errno::new(number);
            let expected = errno.name_and_description();
            let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let known = name_and_text(errno, texts);
            let known = known.map(|(name, text)| (name.to_string(), text.to_string()));
            if known.is_none() && expected.is_some() {
                left_out += 1;
            } else {
                assert_eq!(known, expected, "{number}");
            }
        }
        assert_eq!(left_out, 33 + 20, "of other Unixes, and the kernel's own");
    }
}
