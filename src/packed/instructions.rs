//! Where in an instruction of x86_64 a byte stands. What may follow an operation, and which
//! operation may follow another, is easier to guess than bytes are. It is only for guesses: an
//! instruction that is taken for another one costs room, and nothing else.

/// From this operation on, up to the next row: whether a ModRM byte follows, and so many bytes of
/// a number (Intel's manual, volume 2, appendix A).
const fn row(operation: u16, modrm: bool, number: u16) -> u16 {
    operation | (modrm as u16) << MODRM | number << NUMBER
}

const MODRM: u16 = 15;
const NUMBER: u16 = 12;
/// Of an operation that came after 0f.
const ESCAPED: u16 = 0x100;
const OPERATION: u16 = 0x1ff;

const ROWS: [u16; 35] = [
    row(0x40, false, 0),
    row(0x63, true, 0), // movsxd
    row(0x68, false, 4),
    row(0x69, true, 4),
    row(0x6a, false, 1),
    row(0x6b, true, 1),
    row(0x70, false, 1), // jumps on a condition
    row(0x80, true, 1),
    row(0x81, true, 4),
    row(0x83, true, 1),
    row(0x84, true, 0), // test, xchg, mov, lea
    row(0x90, false, 0),
    row(0xa8, false, 1),
    row(0xa9, false, 4),
    row(0xaa, false, 0),
    row(0xb0, false, 1),
    row(0xb8, false, 4), // mov
    row(0xc0, true, 1),  // shifts
    row(0xc2, false, 0), // ret
    row(0xc6, true, 1),
    row(0xc7, true, 4),
    row(0xd0, true, 0),
    row(0xe8, false, 4), // call, jmp
    row(0xeb, false, 1),
    row(0xec, false, 0),
    row(0xf6, true, 0),
    row(ESCAPED, false, 0),
    row(ESCAPED | 0x10, true, 0),  // SSE, cmov
    row(ESCAPED | 0x80, false, 4), // jumps on a condition
    row(ESCAPED | 0x90, true, 0),
    row(ESCAPED | 0xa2, false, 0),
    row(ESCAPED | 0xa3, true, 0),
    row(ESCAPED | 0xba, true, 1),
    row(ESCAPED | 0xbb, true, 0),
    row(ESCAPED | 0xc8, false, 0),
];

/// add, or, adc, sbb, and, sub, xor, cmp: the lowest three bits say it.
const ARITHMETIC: [u16; 8] = {
    let (with, without) = (row(0, true, 0), row(0, false, 0));
    [with, with, with, with, row(0, false, 1), row(0, false, 4), without, without]
};

/// A place between two bytes.
#[derive(Clone, Copy, Default)]
pub struct Place {
    /// The operation, plus 1; 0 as long as there was none.
    operation: u16,
    escape: u16,
    modrm: bool,
    /// So many bytes are behind us, and before us.
    bytes: u8,
    left: u8,
    /// The operation of the instruction before.
    before: u16,
}

impl Place {
    /// Where in this instruction, whichever was before.
    pub fn here(&self) -> u32 {
        u32::from(self.operation) << 4 | u32::from(self.bytes)
    }

    /// The operation of the instruction before.
    pub fn before(&self) -> u32 {
        self.before.into()
    }

    /// Goes over a byte.
    #[inline(never)]
    pub fn pass(&mut self, byte: u8) {
        self.bytes += 1;
        if self.modrm {
            self.modrm = false;
            let (mode, register) = (byte >> 6, byte & 7);
            self.left += match mode {
                0 => 4 * u8::from(register == 5), // an address
                1 => 1,
                2 => 4,
                _ => 0,
            };
            self.left += u8::from(mode != 3 && register == 4); // SIB
        } else if self.left > 0 {
            self.left -= 1;
        } else if self.escape == 0 && (byte & 0xf0 == 0x40 || matches!(byte, 0x66 | 0xf2 | 0xf3)) {
            return; // a prefix
        } else if self.escape == 0 && byte == 0x0f {
            self.escape = ESCAPED;
            return;
        } else {
            let operation = u16::from(byte) | self.escape;
            let row = ROWS.iter().rev().find(|row| **row & OPERATION <= operation);
            let row = row.unwrap_or(&ARITHMETIC[usize::from(byte & 7)]);
            self.modrm = row >> MODRM != 0;
            self.left = (row >> NUMBER & 7) as u8;
            self.operation = operation + 1;
        }
        if !self.modrm && self.left == 0 {
            *self = Place { before: self.operation, ..Place::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of each shape, as an assembler writes them.
    const INSTRUCTIONS: &[&[u8]] = &[
        &[0x55],                                     // push rbp
        &[0xc3],                                     // ret
        &[0x41, 0x5f],                               // pop r15
        &[0x6a, 0x0e],                               // push 14
        &[0x89, 0xc3],                               // mov ebx, eax
        &[0x48, 0x8b, 0x03],                         // mov rax, [rbx]
        &[0x48, 0x8b, 0x43, 0x08],                   // mov rax, [rbx + 8]
        &[0x48, 0x89, 0x44, 0x24, 0x10],             // mov [rsp + 16], rax
        &[0x8b, 0x83, 0x04, 0x01, 0x00, 0x00],       // mov eax, [rbx + 260]
        &[0x48, 0x8b, 0x05, 0x01, 0x02, 0x03, 0x00], // mov rax, [rip + ...]
        &[0x83, 0xf8, 0x26],                         // cmp eax, 38
        &[0x48, 0x81, 0xec, 0x48, 0x04, 0x00, 0x00], // sub rsp, 1096
        &[0x3c, 0x2f],                               // cmp al, 47
        &[0x3d, 0x01, 0xf0, 0xff, 0xff],             // cmp eax, -4095
        &[0xbf, 0xb8, 0x07, 0x20, 0x00],             // mov edi, 0x2007b8
        &[0xc1, 0xe8, 0x19],                         // shr eax, 25
        &[0xc7, 0x44, 0x24, 0x08, 0, 0, 0, 0],       // mov dword [rsp + 8], 0
    ];

    #[test]
    fn each_instruction_ends_where_it_ends() {
        let mut place = Place::default();
        for bytes in INSTRUCTIONS {
            for (before, byte) in bytes.iter().enumerate() {
                assert_eq!(place.bytes as usize, before, "{bytes:x?}");
                place.pass(*byte);
            }
            assert_eq!(place.here(), 0, "{bytes:x?}");
        }
    }

    #[test]
    fn jumps_and_what_is_escaped_have_their_numbers() {
        let four = [0_u8; 4];
        for (operation, number) in
            [(&[0xe8][..], 4), (&[0xe9], 4), (&[0xeb], 1), (&[0x74], 1), (&[0x0f, 0x84], 4)]
        {
            let mut place = Place::default();
            operation.iter().chain(&four[..number]).for_each(|byte| place.pass(*byte));
            assert_eq!(place.here(), 0, "{operation:x?}");
        }
        // movzx, cmovne, setne: a ModRM byte, here with nothing behind it.
        for second in [0xb6, 0x45, 0x95] {
            let mut place = Place::default();
            [0x0f, second, 0xc0].iter().for_each(|byte| place.pass(*byte));
            assert_eq!(place.here(), 0, "{second:x}");
        }
    }

    #[test]
    fn an_operation_is_remembered_for_one_instruction() {
        let mut place = Place::default();
        place.pass(0xc3);
        let ret = place.before();
        assert_ne!(ret, 0);
        place.pass(0x89);
        assert_eq!(place.before(), ret, "within the next one");
        place.pass(0xc3);
        assert_ne!(place.before(), ret, "that was a mov, with 0xc3 in it");
    }

    #[test]
    fn no_bytes_are_too_odd() {
        let mut place = Place::default();
        for byte in (0..=u8::MAX).cycle().take(100_000) {
            place.pass(byte.wrapping_mul(97));
            assert!(place.bytes < 32, "an instruction ends");
        }
    }
}
