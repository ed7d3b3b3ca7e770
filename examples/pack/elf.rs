//! The little of [elf(5)](https://man7.org/linux/man-pages/man5/elf.5.html) that it takes.

use std::ops::Range;

// Where the fields are: in the header of the file, ...
pub const E_PHOFF: usize = 32;
pub const E_SHOFF: usize = 40;
pub const E_PHNUM: usize = 56;
pub const E_SHNUM: usize = 60;
pub const E_SHSTRNDX: usize = 62;
// ... in a program header, ...
pub const PHDR: usize = 56;
pub const P_FLAGS: usize = 4;
pub const P_OFFSET: usize = 8;
pub const P_VADDR: usize = 16;
pub const P_PADDR: usize = 24;
pub const P_FILESZ: usize = 32;
pub const P_MEMSZ: usize = 40;
// ... in a section header, ...
pub const SHDR: usize = 64;
pub const SH_NAME: usize = 0;
pub const SH_TYPE: usize = 4;
pub const SH_FLAGS: usize = 8;
pub const SH_ADDR: usize = 16;
pub const SH_OFFSET: usize = 24;
pub const SH_SIZE: usize = 32;
pub const SH_LINK: usize = 40;
pub const SH_INFO: usize = 44;
// ... in a symbol, and in a relocation.
pub const SYM: usize = 24;
pub const ST_INFO: usize = 4;
pub const ST_SHNDX: usize = 6;
pub const ST_VALUE: usize = 8;
pub const ST_SIZE: usize = 16;
pub const RELA: usize = 24;
pub const R_TYPE: usize = 8;
pub const R_SYM: usize = 12;
pub const R_ADDEND: usize = 16;
pub const R_PC32: u32 = 2;
pub const R_PLT32: u32 = 4;

pub const PT_LOAD: u32 = 1;
pub const PF_R: u32 = 4;
pub const SHT_RELA: u32 = 4;
pub const SHF_ALLOC: u64 = 2;
pub const STT_SECTION: u8 = 3;
pub const PAGE: u64 = 4096;

pub struct Elf<'a>(pub &'a [u8]);

impl Elf<'_> {
    pub fn half(&self, at: usize) -> usize {
        u16::from_le_bytes(self.0[at..at + 2].try_into().expect("two bytes")).into()
    }

    pub fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    pub fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    /// The string that begins at `at`.
    pub fn string(&self, at: usize) -> &str {
        let bytes = self.0[at..].split(|byte| *byte == 0).next().expect("there is always one");
        std::str::from_utf8(bytes).expect("names are ASCII")
    }

    pub fn program_headers(&self) -> impl Iterator<Item = usize> {
        let first = self.long(E_PHOFF) as usize;
        (0..self.half(E_PHNUM)).map(move |number| first + number * PHDR)
    }

    pub fn section(&self, number: usize) -> usize {
        self.long(E_SHOFF) as usize + number * SHDR
    }

    pub fn content(&self, section: usize) -> Range<usize> {
        let start = self.long(section + SH_OFFSET) as usize;
        start..start + self.long(section + SH_SIZE) as usize
    }

    pub fn section_name(&self, number: usize) -> &str {
        let names = self.content(self.section(self.half(E_SHSTRNDX))).start;
        self.string(names + self.word(self.section(number)) as usize)
    }

    /// The number of the section of that name.
    pub fn section_named(&self, name: &str) -> usize {
        let found = (0..self.half(E_SHNUM)).find(|number| self.section_name(*number) == name);
        found.unwrap_or_else(|| panic!("no section {name}"))
    }
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
