//! Level 1. The texts of the program, in half the space: packed when it is compiled, and unpacked
//! a byte at a time where one is printed.
//!
//! The source has them as they are: `packed!("the text")`.

use core::ffi::CStr;
use core::fmt;

use crate::arch::ThinCStr;

pub mod pairs;

use pairs::{FIRST, MAX_DEPTH, PAIRS, PART};

/// A packed text, or several, each a part: `packed!("one", "two")`.
#[derive(Clone, Copy)]
pub struct Packed(ThinCStr<'static>);

/// Packs texts at compile time.
macro_rules! packed {
    ($first:expr $(, $part:expr)* $(,)?) => {{
        const TEXT: &str = concat!($first $(, "\x1f", $part)*);
        const PACKED: ([u8; TEXT.len()], usize) = $crate::packed::pack(TEXT);
        const BYTES: [u8; PACKED.1 + 1] = $crate::packed::with_nul(&PACKED.0);
        const THIN: $crate::packed::Packed = $crate::packed::Packed::new(&BYTES);
        THIN
    }};
}
pub(crate) use packed;

/// The packed text, and its length.
pub const fn pack<const N: usize>(text: &str) -> ([u8; N], usize) {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    let length = pairs::pack(&mut bytes);
    (bytes, length)
}

/// The first bytes, and NUL.
pub const fn with_nul<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut cut = [0; N];
    let mut at = 0;
    while at + 1 < N {
        cut[at] = bytes[at];
        at += 1;
    }
    cut
}

impl Packed {
    /// Of bytes that `pairs::pack` made, and NUL.
    pub const fn new(bytes: &'static [u8]) -> Packed {
        match CStr::from_bytes_with_nul(bytes) {
            Ok(string) => Packed(ThinCStr::new(string)),
            Err(_) => panic!("a packed text ends at the first NUL"),
        }
    }

    /// The text, or the first of its parts.
    pub fn text(self) -> Text {
        self.part(0)
    }

    /// A part by its number. Behind the last there are empty ones.
    pub fn part(self, number: usize) -> Text {
        let mut text = Text { packed: self.0.to_cstr().to_bytes(), waiting: [0; _], depth: 0 };
        for _ in 0..number {
            while text.next().is_some() {}
        }
        text
    }
}

/// A text as it is unpacked.
#[derive(Clone)]
pub struct Text {
    packed: &'static [u8],
    /// Second halves of the pairs that were begun.
    waiting: [u8; MAX_DEPTH],
    depth: usize,
}

impl Text {
    pub fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }

    pub fn is(self, bytes: &[u8]) -> bool {
        self.eq(bytes.iter().copied())
    }
}

impl Iterator for Text {
    type Item = u8;

    /// `None` where a part ends, and then the next one begins.
    #[inline(never)]
    fn next(&mut self) -> Option<u8> {
        let mut byte = match self.depth.checked_sub(1) {
            Some(last) => {
                self.depth = last;
                *self.waiting.get(last)?
            }
            None => {
                let (first, rest) = self.packed.split_first()?;
                self.packed = rest;
                *first
            }
        };
        while let Some(&[first, second]) = PAIRS.get(usize::from(byte.wrapping_sub(FIRST))) {
            if first == 0 {
                break;
            }
            *self.waiting.get_mut(self.depth)? = second;
            self.depth += 1;
            byte = first;
        }
        (byte != PART).then_some(byte)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.clone().try_for_each(|byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0.to_cstr())
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        self.0.to_cstr() == other.0.to_cstr()
    }
}

impl Eq for Packed {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        let text = packed!("the text, as it is: `cd ..`\nof 2 lines");
        assert_eq!(text.to_string(), "the text, as it is: `cd ..`\nof 2 lines");
        assert_eq!(packed!("").to_string(), "");
    }

    #[test]
    fn parts_are_counted_from_0_and_behind_the_last_there_is_nothing() {
        let text = packed!("one", "", "three");
        let parts: Vec<String> = (0..5).map(|number| text.part(number).to_string()).collect();
        assert_eq!(parts, ["one", "", "three", "", ""]);
    }

    #[test]
    fn every_code_stands_for_printable_text() {
        for byte in 1..=u8::MAX {
            let bytes: &'static [u8] = Box::leak(Box::new([byte, 0]));
            let text = Packed::new(bytes).to_string();
            if !pairs::stands_for_itself(byte) && !text.starts_with(char::from(byte)) {
                assert!(text.len() > 1 && text.bytes().all(pairs::stands_for_itself), "{byte:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[ -~\n]{0,200}") {
            let mut bytes = text.clone().into_bytes();
            let length = pairs::pack(&mut bytes);
            prop_assert!(!bytes[..length].contains(&0));
            bytes.truncate(length);
            bytes.push(0);
            prop_assert_eq!(Packed::new(bytes.leak()).to_string(), text);
        }
    }
}
