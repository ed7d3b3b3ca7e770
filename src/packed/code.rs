//! Machine code, made easier to pack.

/// `call` and `jmp`, but for the lowest bit: a distance of four bytes follows.
const CALL: u8 = 0xe8;
/// So it does after these two bytes, but for the lowest four bits of the second: a jump on a
/// condition.
const JUMP: [u8; 2] = [0x0f, 0x80];

/// A call names its target by the distance to it, so that no two calls of a function look alike.
/// Packed they have its address instead, and the highest byte first, which differs least. `pack`
/// says which of the two is made of the other; `start` is where the code will run.
pub fn turn_calls(code: &mut [u8], start: usize, pack: bool) {
    let (mut at, mut before) = (0, 0);
    while let Some([opcode, distance @ ..]) =
        code.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<5>)
    {
        at += 1;
        let is_jump = [before, *opcode & 0xf0] == JUMP;
        before = *opcode;
        if *opcode & !1 != CALL && !is_jump {
            continue;
        }
        at += distance.len();
        before = 0;
        let here = (start + at) as u32;
        *distance = if pack {
            here.wrapping_add(u32::from_le_bytes(*distance)).to_be_bytes()
        } else {
            u32::from_be_bytes(*distance).wrapping_sub(here).to_le_bytes()
        };
    }
}
