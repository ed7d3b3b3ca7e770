//! Guessing a text bit by bit, from what came before: what was guessed well takes little room
//! ([context mixing](https://en.wikipedia.org/wiki/Context_mixing) in a small form: an opinion in
//! each context, all of them added up; and a
//! [range coder](https://en.wikipedia.org/wiki/Range_coding)). Needs nothing of the crate: build.rs
//! packs with the very guesses that the program unpacks with.
//!
//! It is good at English, and at machine code, which has its idioms too.

use super::instructions::Place;

/// What ends one part of a text that has several; NUL ends the text.
pub const PART: u8 = 0x1f;

/// A context's opinion is 0 where it has seen nothing yet. Its upper bits are the logarithm of the
/// odds that the next bit is 1; the lower ones count how often it was asked, up to `SURE`.
type Opinion = i32;

/// The opinions on four bits that follow each other are neighbours, all that may come of them: a
/// line of the cache. Its place is a hash. Two that meet there spoil each other: with a quarter of
/// the places, what is packed would take 1,300 bytes more.
pub type Opinions = [[Opinion; 16]; LINES];
pub const LINES: usize = 1 << u16::BITS;

/// The chances, by the upper bits of the odds' logarithm, for odds that are not below 1. `walk`
/// fills it in: that is sooner done than to work out each chance when it is asked for.
pub type Chances = [u16; 1 << (ODDS - STEP)];

/// The memory that guessing takes: the opinions are all 0 to begin with, and of no use afterwards.
pub type Scratch<'a> = (&'a mut Opinions, &'a mut Chances);

/// Of more bits than that is what is certain; and so many make no difference.
const ODDS: u32 = 20;
const STEP: u32 = 8;

/// What is packed, by how many bits a character has.
pub const TEXT: u32 = 7;
pub const CODE: u32 = 8;

/// After what there are opinions on the next bit: see `in_text` and `in_code`.
const CONTEXTS: usize = 6;

/// No chance is less.
const LEAST: u32 = 24;

const COUNT: u32 = 6;
const SURE: i32 = 50;

/// Odd numbers without a pattern: what is multiplied with one is spread over all bits.
const SPREAD: u32 = 0x9e37_79b1;
const SPREAD_BITS: u32 = 0x2f0b_4c47;

/// Goes through `text`, whose characters have so many bits. Each bit is handed on with the chance,
/// out of 65,536, that it is 1; what is handed back is taken for the text's.
pub fn walk(
    text: &mut [u8],
    bits: u32,
    (opinions, chances): Scratch,
    mut code: impl FnMut(u32, bool) -> bool,
) {
    for (chance, odds) in chances.iter_mut().zip((1 << (STEP - 1)..).step_by(1 << STEP)) {
        *chance = chance_of(odds);
    }
    // How much is learned from one bit: less and less. (Division is slow.)
    let mut rates = [0; 1 << COUNT];
    for (rate, count) in rates.iter_mut().zip(8..) {
        *rate = (6 << 11) / count;
    }
    let (mut last, mut word, mut place) = (0_u32, 0_u32, Place::default());
    for byte in text {
        let mut contexts = if bits == CODE { in_code(last, &place) } else { in_text(last, word) };
        for (context, number) in contexts.iter_mut().zip(8..) {
            *context = context.wrapping_add(SPREAD_BITS.wrapping_mul(number)).wrapping_mul(SPREAD);
        }
        let mut begun = 1_u32;
        let (mut lines, mut node) = ([0; CONTEXTS], 1);
        for left in (0..bits).rev() {
            if begun == 1 || left == 3 {
                for (line, context) in lines.iter_mut().zip(&contexts) {
                    let mixed = (context ^ begun.wrapping_mul(SPREAD_BITS)).wrapping_mul(SPREAD);
                    *line = (mixed >> u16::BITS) as u16;
                }
                node = 1;
            }
            let opinion = |line: &u16| opinions[usize::from(*line)][node & 15] >> COUNT;
            let odds: i32 = lines.iter().map(opinion).sum();
            let step = (odds.unsigned_abs() >> STEP) as usize;
            let likely = chances.get(step).map_or(65_536 - LEAST, |chance| u32::from(*chance));
            let chance = if odds < 0 { 65_536 - likely } else { likely };
            let bit = i32::from(code(chance, *byte >> left & 1 != 0));
            let surprise = (bit << 16) - chance as i32;
            for line in &lines {
                let opinion = &mut opinions[usize::from(*line)][node & 15];
                let count = *opinion & ((1 << COUNT) - 1);
                let lesson = (surprise * rates[count as usize]) >> 12;
                *opinion += (lesson << (COUNT + 1)) + i32::from(count < SURE);
            }
            begun = begun << 1 | bit as u32;
            node = node << 1 | bit as usize;
        }
        *byte = (begun ^ 1 << bits) as u8;
        last = last << 8 | u32::from(*byte);
        word = match byte {
            b'A'..=b'Z' | b'a'..=b'z' => (word + (begun | 0x20)).wrapping_mul(SPREAD),
            _ => 0,
        };
        place.pass(*byte);
    }
}

/// The last bytes, and the word so far.
fn in_text(last: u32, word: u32) -> [u32; CONTEXTS] {
    let and_last = word.wrapping_mul(SPREAD).wrapping_add(last & 0xff);
    [0, last & 0xff, last & 0xffff, last, word, and_last]
}

/// The last bytes; the last and the one before the last but one; where in an instruction.
fn in_code(last: u32, place: &Place) -> [u32; CONTEXTS] {
    let here = place.here();
    [0, last & 0xff, last & 0xffff, last & 0xff_00ff, here, here << 16 | place.before()]
}

/// Of odds' logarithm, 65,536 for 1: 1 / (1 + e^-odds), with (1 - odds/16)^16 for the power.
fn chance_of(odds: u32) -> u16 {
    let mut power = 65_535_u32.saturating_sub(odds >> 4);
    for _ in 0..4 {
        power = (power * power) >> 16;
    }
    let less = ((power << 16) / (power + 65_536)).max(LEAST);
    (65_536 - less) as u16
}

/// What of a range stands for a 1.
pub const fn share(range: u32, chance: u32) -> u32 {
    ((range as u64 * chance as u64) >> 16) as u32
}

/// Fills `text` with what was packed.
#[allow(dead_code, reason = "build.rs only packs")]
pub fn unpack(packed: &[u8], text: &mut [u8], bits: u32, scratch: Scratch) {
    let mut packed = packed.iter();
    let (mut range, mut value) = (0_u32, 0_u32);
    walk(text, bits, scratch, |chance, _| {
        while range < 1 << 24 {
            range = range << 8 | 0xff; // all four bytes come in the first time
            value = value << 8 | u32::from(packed.next().copied().unwrap_or(0));
        }
        let ones = share(range, chance);
        let is_one = value < ones;
        if is_one {
            range = ones - 1; // the highest value that it may be
        } else {
            value -= ones;
            range -= ones;
        }
        is_one
    });
}
