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

/// Between the errnos that programs see and the kernel's own there is none.
const LAST: usize = 133;
const FIRST_OF_THE_KERNEL: usize = 512;

/// `ENOENT` and `No such file or directory`.
fn name_and_text(errno: Errno, texts: &Texts) -> Option<(Text<'_>, Text<'_>)> {
    let number = usize::try_from(errno.into_raw()).ok()?;
    let row = match number {
        ..=LAST => number.checked_sub(1)?,
        FIRST_OF_THE_KERNEL.. => number - (FIRST_OF_THE_KERNEL - LAST),
        _ => return None,
    };
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
        for number in -1..=4096 {
            let errno = Errno::new(number);
            let expected = errno.name_and_description();
            let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let known = name_and_text(errno, texts);
            let known = known.map(|(name, text)| (name.to_string(), text.to_string()));
            assert_eq!(known, expected, "{number}");
        }
    }
}
