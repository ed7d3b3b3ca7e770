//! Packing, for build.rs and examples/pack, and for the test that what was packed comes back.

use super::model::{LINES, Opinions, share, walk};

/// What `model::unpack` makes `text` of again.
pub fn pack(text: &[u8], bits: u32) -> Vec<u8> {
    let mut packed = Vec::new();
    let (mut low, mut range) = (0_u32, u32::MAX);
    walk(&mut text.to_vec(), bits, (&mut opinions(), &mut [0; _]), |chance, is_one| {
        while range < 1 << 24 {
            packed.push((low >> 24) as u8);
            (low, range) = (low << 8, range << 8 | 0xff);
        }
        let ones = share(range, chance);
        if is_one {
            range = ones - 1;
        } else {
            let (sum, over) = low.overflowing_add(ones);
            if over {
                carry(&mut packed);
            }
            (low, range) = (sum, range - ones);
        }
        is_one
    });
    packed.extend(low.to_be_bytes());
    packed
}

/// None yet; and not by way of the stack.
pub fn opinions() -> Box<Opinions> {
    vec![[0; _]; LINES].try_into().expect("so many")
}

/// One more, to the number that these bytes are.
fn carry(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}
