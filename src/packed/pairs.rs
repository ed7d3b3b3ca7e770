//! Byte pairs: a code stands for two bytes, each a character or a code again
//! ([byte pair encoding](https://en.wikipedia.org/wiki/Byte-pair_encoding)). Needs nothing of the
//! crate, so that build.rs can pack with it too.

/// The first code. They go on over 0xff, and from 0 on through the control characters: whatever
/// no text of ours has in it.
pub const FIRST: u8 = 0x7f;

/// What ends one part of a text that has several. It is no code: those end before it.
pub const PART: u8 = 0x1f;

/// What each code stands for, from `FIRST` on. Where it is `[0, 0]` the byte is no code: a newline
/// stands for itself, and NUL ends a text.
///
/// `make dictionary` makes it from the texts. One that was made from other texts packs them less
/// well, and as truly.
pub static PAIRS: [[u8; 2]; 160] = include!("dictionary.in");

/// Codes that wait while one is taken apart: as many as one can be nested.
pub const MAX_DEPTH: usize = 12;

// A dictionary that would not lead back to the text does not compile.
const _: () = {
    let mut depths = [0; PAIRS.len()];
    let mut number = 0;
    while number < PAIRS.len() {
        let [a, b] = PAIRS[number];
        let is_code = a != 0 && b != 0;
        assert!(is_code || (a == 0 && b == 0), "half a pair");
        assert!(!is_code || !stands_for_itself(code(number)), "a character, used as a code");
        let (a, b) = (depth(a, number, &depths), depth(b, number, &depths));
        depths[number] = 1 + if a > b { a } else { b };
        assert!(depths[number] <= MAX_DEPTH, "nested too deeply");
        number += 1;
    }
};

/// How deeply `byte` is nested, which may be made of what comes before `number`.
const fn depth(byte: u8, number: usize, depths: &[usize; PAIRS.len()]) -> usize {
    if byte == 0 || stands_for_itself(byte) {
        return 0;
    }
    let part = byte.wrapping_sub(FIRST) as usize;
    assert!(part < number, "a pair is made of pairs that come before it");
    assert!(PAIRS[part][0] != 0, "made of a code that there is not");
    depths[part]
}

pub const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..FIRST | b'\n' | PART)
}

const fn code(number: usize) -> u8 {
    FIRST.wrapping_add(number as u8)
}

/// Puts codes in the place of pairs, in the order of the dictionary. Returns how many of the
/// bytes are left; what is behind them is nothing.
pub const fn pack(text: &mut [u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        assert!(stands_for_itself(text[at]), "ASCII, and of its control characters the newline");
        at += 1;
    }
    let mut length = text.len();
    let mut number = 0;
    while number < PAIRS.len() {
        if PAIRS[number][0] != 0 {
            length = replace(text, length, PAIRS[number], code(number));
        }
        number += 1;
    }
    length
}

const fn replace(text: &mut [u8], length: usize, [a, b]: [u8; 2], code: u8) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < length {
        let byte = text[from];
        let is_pair = byte == a && from + 1 < length && text[from + 1] == b;
        text[to] = if is_pair { code } else { byte };
        from += if is_pair { 2 } else { 1 };
        to += 1;
    }
    to
}
