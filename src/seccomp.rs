//! Level 1. stub
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}
pub const LENGTH: usize = 1;
/// allow all, for now
pub fn program(_c: u64) -> [Instruction; LENGTH] {
    [Instruction { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }]
}
