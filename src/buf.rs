//! Level 1. Strings of fixed capacity: there is no allocator to grow one. And what is looked for in
//! bytes.

use core::ffi::CStr;
use core::ops::{Deref, DerefMut};

use crate::arch::until_nul;

/// A string of bytes with a fixed capacity. What does not fit is cut, and `end` shows it.
///
/// Its methods are written for a slice, so that they exist once, not once for each capacity.
pub struct Buffer<B: ?Sized = [u8]> {
    len: usize,
    cut: bool,
    bytes: B,
}

/// A buffer of at most `N` bytes.
pub type Line<const N: usize> = Buffer<[u8; N]>;

/// For a static, which, unlike a constant, has a name of its own in the file. All of it fits.
pub const fn copied<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let (mut all, mut at) = ([0; N], 0);
    while at < bytes.len() {
        all[at] = bytes[at];
        at += 1;
    }
    all
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const ELLIPSIS: &[u8] = b"...";

impl<const N: usize> Line<N> {
    pub const fn new() -> Self {
        Buffer { bytes: [0; N], len: 0, cut: false }
    }
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Line<N> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        self
    }
}

impl<const N: usize> DerefMut for Line<N> {
    fn deref_mut(&mut self) -> &mut Buffer {
        self
    }
}

impl Buffer {
    #[inline(never)]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    pub fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    pub fn set(&mut self, text: &[u8]) {
        self.clear();
        self.push_bytes(text);
    }

    /// Forgets all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts one byte in the place of another, wherever it stands.
    pub fn replace(&mut self, byte: u8, by: u8) {
        let used = self.bytes.get_mut(..self.len).unwrap_or(&mut []);
        used.iter_mut().filter(|place| **place == byte).for_each(|place| *place = by);
    }

    /// True when something had to be left out.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn push(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.push_bytes(text.as_ref());
        self
    }

    fn push_bytes(&mut self, text: &[u8]) {
        for &byte in text {
            self.push_byte(byte);
        }
    }

    fn push_byte(&mut self, byte: u8) {
        match self.bytes.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.cut = true,
        }
    }

    /// Appends text that somebody else chose. Control characters become `\x1b` and the like: a
    /// name must not drive the terminal that it is printed on.
    pub fn push_visible(&mut self, text: &[u8]) -> &mut Self {
        for &byte in text {
            if byte < b' ' || byte == 0x7f {
                self.push(b"\\x");
                self.push_byte(HEX[usize::from(byte >> 4)]);
                self.push_byte(HEX[usize::from(byte & 15)]);
            } else {
                self.push_byte(byte);
            }
        }
        self
    }

    /// As `push_visible`, at most so many columns: what follows has to fit too.
    pub fn push_visible_within(&mut self, text: &[u8], columns: usize) -> &mut Self {
        let start = self.len;
        self.push_visible(text);
        if self.cut || self.len - start > columns {
            self.truncate(start + columns - ELLIPSIS.len());
            self.cut = false;
            self.push(ELLIPSIS);
        }
        self
    }

    pub fn push_decimal(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20]; // u64::MAX has twenty
        let mut rest = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(digits.len() - used..).unwrap_or(&[]))
    }

    /// `0x7f10f2a0e000`
    pub fn push_hex(&mut self, number: u64) -> &mut Self {
        self.push("0x");
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.push_byte(HEX[(number >> (digit * 4) & 15) as usize]);
        }
        self
    }

    /// Ends the line with a newline, where it was cut with `...` before it.
    pub fn end(&mut self) -> &[u8] {
        let tail = if self.cut { ELLIPSIS.len() + 1 } else { 1 };
        self.len = self.len.min(self.bytes.len().saturating_sub(tail));
        if self.cut {
            self.push(ELLIPSIS);
        }
        self.push(b"\n");
        self.as_bytes()
    }

    /// The bytes as a C string, once a NUL has been pushed. `None` where it was cut.
    pub fn as_cstr(&self) -> Option<&CStr> {
        until_nul(self.as_bytes())
    }
}

// --- of any bytes -------------------------------------------------------------------------------

/// `bytes.contains(&byte)` without its haste, which is long.
#[inline(never)]
#[expect(clippy::manual_contains, reason = "it is what this is for")]
pub fn has(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().any(|it| *it == byte)
}

/// Takes what stands before the separator, or all that is left.
#[inline(never)]
pub fn take_until<'a>(rest: &mut &'a [u8], separator: u8) -> &'a [u8] {
    let end = rest.iter().position(|&byte| byte == separator).unwrap_or(rest.len());
    let (word, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
    *rest = after.get(1..).unwrap_or(b"");
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_does_not_fit_ends_with_an_ellipsis_and_a_newline() {
        let mut line = Line::<10>::new();
        line.push("0123456789abc");
        assert!(line.is_cut());
        assert_eq!(line.end(), b"012345...\n");
    }

    #[test]
    fn a_line_that_fits_exactly_is_cut_only_to_make_room_for_its_newline() {
        let mut line = Line::<4>::new();
        assert_eq!(line.push("abc").end(), b"abc\n");
    }

    #[test]
    fn control_characters_are_shown_and_utf8_is_left_alone() {
        let mut line = Line::<64>::new();
        line.push_visible("a\x1b[2J\n\x7f é".as_bytes());
        assert_eq!(line.as_bytes(), "a\\x1b[2J\\x0a\\x7f é".as_bytes());
    }

    #[test]
    fn a_long_name_leaves_room_for_what_follows() {
        let mut line = Line::<20>::new();
        line.push("x: ").push_visible_within(&[b'n'; 99], 8).push(": why");
        assert_eq!(line.end(), b"x: nnnnn...: why\n");
        line.clear();
        line.push_visible_within(b"12345678", 8);
        assert_eq!(line.as_bytes(), b"12345678");
    }

    #[test]
    fn decimals_have_no_leading_zero_and_reach_the_largest() {
        for number in [0, 1, 9, 10, 99, 100, 12345, u64::MAX] {
            let mut line = Line::<32>::new();
            line.push_decimal(number);
            assert_eq!(line.as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn hexadecimals_have_no_leading_zero_either() {
        for number in [0, 1, 0x10, 0x7f10_f2a0_e000, u64::MAX] {
            let mut line = Line::<32>::new();
            assert_eq!(line.push_hex(number).as_bytes(), format!("{number:#x}").as_bytes());
        }
    }

    #[test]
    fn a_c_string_needs_its_nul() {
        let mut line = Line::<8>::new();
        line.push("/proc");
        assert!(line.as_cstr().is_none());
        line.push("\0");
        assert_eq!(line.as_cstr(), Some(c"/proc"));
    }
}
