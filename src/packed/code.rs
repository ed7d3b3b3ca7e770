//! Machine code, made easier to pack.

/// `call` and `jmp`, but for the lowest bit: a distance of four bytes follows.
const CALL: u8 = 0xe8;

/// A call names its target by the distance to it, so that no two calls of a function look alike.
/// Packed they have its address instead, and the highest byte first, which differs least. `pack`
/// says which of the two is made of the other; `start` is where the code will run.
pub fn turn_calls(code: &mut [u8], start: usize, pack: bool) {
    let mut at = 0;
    while let Some([opcode, distance @ ..]) =
        code.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<5>)
    {
        at += 1;
        if *opcode & !1 != CALL {
            continue;
        }
        at += distance.len();
        let here = (start + at) as u32;
        *distance = if pack {
            here.wrapping_add(u32::from_le_bytes(*distance)).to_be_bytes()
        } else {
            u32::from_be_bytes(*distance).wrapping_sub(here).to_le_bytes()
        };
    }
}
