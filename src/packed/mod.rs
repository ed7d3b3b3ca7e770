//! Level 1. The texts of the program, in a third of the space: all of them packed together when it
//! is built, and unpacked together by whoever has something to say; and the code that says it, in
//! half of the space (examples/pack).
//!
//! The source has them where they belong: `packed!("the text")`. build.rs collects them from there.

use core::fmt;

pub mod code;
mod instructions;
pub mod model;
#[cfg(test)]
mod pack;

use model::PART;
pub use model::{Chances, Opinions, Scratch};

/// Where the texts begin; the first is that of the errnos. (build.rs writes it, and the two below.)
const STARTS: &[u16] = &include!(concat!(env!("OUT_DIR"), "/texts.starts"));
/// As they are. A constant that is read only while we are compiled: no byte of it is in the file.
const PLAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.plain"));
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.packed"));

/// A text, or several, each a part: `packed!("one", "two")`. It is where among all texts it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed(u16);

/// A text that was packed.
macro_rules! packed {
    ($first:expr $(, $part:expr)* $(,)?) => {{
        const TEXT: $crate::packed::Packed =
            $crate::packed::Packed::find(concat!($first $(, "\x1f", $part)*));
        TEXT
    }};
}
pub(crate) use packed;

/// Names and texts of the errnos, by number, each a part (build.rs has the order).
pub const ERRNOS: Packed = Packed(0);

impl Packed {
    /// To be asked at compile time.
    pub const fn find(text: &str) -> Packed {
        let mut number = 0;
        while number < STARTS.len() {
            if is_at(text.as_bytes(), STARTS[number] as usize) {
                return Packed(STARTS[number]);
            }
            number += 1;
        }
        panic!("build.rs has not found this text: is it `packed!(` and nothing but literals?")
    }

    /// A byte of the first part, `None` behind it. To be asked at compile time.
    pub const fn plain(self, at: usize) -> Option<u8> {
        match PLAIN[self.0 as usize + at] {
            PART | 0 => None,
            byte => Some(byte),
        }
    }

    /// How long the first part is. To be asked at compile time.
    pub const fn plain_length(self) -> usize {
        let mut length = 0;
        while self.plain(length).is_some() {
            length += 1;
        }
        length
    }
}

const fn is_at(text: &[u8], start: usize) -> bool {
    let mut at = 0;
    while at < text.len() {
        if PLAIN[start + at] != text[at] {
            return false;
        }
        at += 1;
    }
    PLAIN[start + at] == 0
}

/// Room for all texts, and the texts once they are unpacked.
pub struct Texts([u8; PLAIN.len()]);

impl Texts {
    /// Takes some milliseconds: not for the child, and not for a run of which nothing is to be
    /// said.
    pub fn unpack(&mut self, scratch: Scratch) {
        model::unpack(PACKED, &mut self.0, model::TEXT, scratch);
    }

    /// The text, or the first of its parts.
    pub fn text(&self, packed: Packed) -> Text<'_> {
        self.part(packed, 0)
    }

    /// A part by its number. Behind the last there are empty ones.
    #[inline(never)]
    pub fn part(&self, packed: Packed, number: usize) -> Text<'_> {
        let rest = self.0.get(usize::from(packed.0)..).unwrap_or(&[]);
        let text = rest.split(|&byte| byte == 0).next().unwrap_or(&[]);
        Text(part(text, number))
    }
}

/// Of a text in parts, one by its number: of a plain one too, `concat!("one", "\x1f", "two")`.
#[inline(never)]
pub fn part(text: &[u8], number: usize) -> &[u8] {
    text.split(|&byte| byte == PART).nth(number).unwrap_or(&[])
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl Text<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CODE, TEXT};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn texts() -> Texts {
        let mut texts = Texts([0; _]);
        texts.unpack((&mut pack::opinions(), &mut [0; _]));
        texts
    }

    #[test]
    fn every_text_of_the_program_comes_back() {
        assert!(texts().0[..] == *PLAIN);
    }

    #[test]
    fn what_the_source_has_is_what_is_found() {
        let texts = texts();
        let text = packed!("needs a value");
        assert_eq!(texts.text(text).to_string(), "needs a value");
        let long = (0..).map_while(|at| text.plain(at)).collect::<Vec<u8>>();
        assert_eq!(long, b"needs a value");
    }

    #[test]
    fn parts_are_counted_from_0_and_behind_the_last_there_is_nothing() {
        let texts = texts();
        let text = packed!("unknown option", "see tinyctr --help");
        let parts: Vec<String> = (0..4).map(|at| texts.part(text, at).to_string()).collect();
        assert_eq!(parts, ["unknown option", "see tinyctr --help", "", ""]);
    }

    /// What `Texts::unpack` does, with bytes of another's.
    fn unpacked(packed: &[u8], length: usize, bits: u32) -> Vec<u8> {
        let mut text = vec![0; length];
        model::unpack(packed, &mut text, bits, (&mut pack::opinions(), &mut [0; _]));
        text
    }

    /// However sure the guesses are: what stands for the other bit has some room, so that what is
    /// not expected can be said.
    #[test]
    fn no_chance_is_none_and_none_is_certain() {
        let mut chances = Vec::new();
        let mut text = [vec![b'a'; 2000], vec![b'z'; 2000]].concat();
        let scratch = (&mut *pack::opinions(), &mut [0; _]);
        model::walk(&mut text, CODE, scratch, |chance, bit| {
            chances.push(chance);
            bit
        });
        let (least, most) = (chances.iter().min(), chances.iter().max());
        assert!(chances[0].abs_diff(1 << 15) < 100, "nothing is known yet: {}", chances[0]);
        assert!(least >= Some(&24) && least < Some(&200), "{least:?}");
        assert!(most <= Some(&(65_536 - 24)) && most > Some(&(65_536 - 200)), "{most:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_text_comes_back(text in "[ -~\n\0\x1f]{0,200}") {
            let text = text.into_bytes();
            prop_assert_eq!(unpacked(&pack::pack(&text, TEXT), text.len(), TEXT), text);
        }

        #[test]
        fn all_code_comes_back(
            code in vec(prop_oneof![any::<u8>(), Just(0xe8), Just(0x0f), Just(0x84)], 0..200)
        ) {
            let mut turned = code.clone();
            code::turn_calls(&mut turned, 0x20_0000, true);
            let mut back = unpacked(&pack::pack(&turned, CODE), code.len(), CODE);
            prop_assert_eq!(&back, &turned);
            code::turn_calls(&mut back, 0x20_0000, false);
            prop_assert_eq!(back, code);
        }
    }
}
