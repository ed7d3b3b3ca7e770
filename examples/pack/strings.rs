//! The compiler puts all C strings of an object into one section, so that the linker can merge
//! them. Here each gets a section of its own, so that it can go along with the code that needs it.

use super::elf::*;

const TOGETHER: &str = ".rodata.str1.1";

/// An object whose C strings stand apart. Those that are not `named` the linker may still merge
/// with what else they are the end of. For the first link, which looks who needs what, nothing is
/// named yet.
pub fn apart(elf: &Elf, named: Option<&[String]>) -> Vec<u8> {
    let count = elf.half(E_SHNUM);
    let Some(together) = (0..count).find(|it| elf.section_name(*it) == TOGETHER) else {
        return elf.0.to_vec();
    };
    let mut file = elf.0.to_vec();
    let places = retarget(elf, &mut file, together);

    let mut sections = elf.0[elf.section(0)..elf.section(count)].to_vec();
    let names = elf.half(E_SHSTRNDX);
    let mut texts = elf.0[elf.content(elf.section(names))].to_vec();
    let mut symbols = Vec::new();
    for (number, place) in (count..).zip(&places) {
        let name = format!(".rodata.string.{place}");
        let start = elf.long(elf.section(together) + SH_OFFSET) + place;
        // Not always text: any bytes that only end with NUL.
        let bytes = &elf.0[start as usize..];
        let size = bytes.iter().position(|byte| *byte == 0).expect("its end") + 1;
        let size = size + usize::from(named.is_none());
        let mut section = elf.0[elf.section(together)..][..SHDR].to_vec();
        put(&mut section, SH_NAME, &(texts.len() as u32).to_le_bytes());
        put(&mut section, SH_OFFSET, &start.to_le_bytes());
        put(&mut section, SH_SIZE, &size.to_le_bytes());
        if named.is_none_or(|named| named.contains(&name)) {
            put(&mut section, SH_FLAGS, &SHF_ALLOC.to_le_bytes());
        }
        sections.extend(section);
        texts.extend(name.bytes().chain([0]));
        let mut symbol = [0; SYM];
        let number = u16::try_from(number).expect("not that many");
        put(&mut symbol, ST_SHNDX, &number.to_le_bytes());
        symbols.extend(symbol);
    }
    if named.is_none() {
        // A byte more for each, so that the end of one is nothing else's beginning.
        for number in (1..count).filter(|it| elf.section_name(*it).starts_with(".rodata.")) {
            let size = elf.long(elf.section(number) + SH_SIZE) + 1;
            if elf.long(elf.section(number) + SH_FLAGS) == SHF_ALLOC {
                put(&mut sections, number * SHDR + SH_SIZE, &size.to_le_bytes());
            }
        }
    }
    let number = elf.section_named(".symtab");
    let locals = elf.word(elf.section(number) + SH_INFO) as usize;
    let (mine, others) = elf.0[elf.content(elf.section(number))].split_at(locals * SYM);
    let info = (locals + places.len()) as u32;
    put(&mut sections, number * SHDR + SH_INFO, &info.to_le_bytes());
    // What has grown goes to the end.
    for (number, content) in [(number, [mine, &symbols, others].concat()), (names, texts)] {
        file.resize(file.len().next_multiple_of(8), 0);
        put(&mut sections, number * SHDR + SH_OFFSET, &(file.len() as u64).to_le_bytes());
        put(&mut sections, number * SHDR + SH_SIZE, &(content.len() as u64).to_le_bytes());
        file.extend(content);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let start = file.len() as u64;
    put(&mut file, E_SHOFF, &start.to_le_bytes());
    put(&mut file, E_SHNUM, &((count + places.len()) as u16).to_le_bytes());
    file.extend(sections);
    file
}

/// Has each reference to a string name a symbol of the string's own, behind the local ones, in
/// the place of the section with all of them. Returns where in that the strings begin: the
/// references have it, and nothing else.
fn retarget(elf: &Elf, file: &mut [u8], together: usize) -> Vec<u64> {
    let table = elf.section(elf.section_named(".symtab"));
    let symbols = elf.content(table);
    let is_whole = |at: &usize| {
        elf.half(at + ST_SHNDX) == together && elf.0[at + ST_INFO] & 0xf == STT_SECTION
    };
    let whole = symbols.clone().step_by(SYM).find(is_whole).expect("a section has a symbol");
    let whole = ((whole - symbols.start) / SYM) as u32;
    let locals = elf.word(table + SH_INFO);

    let sections = (0..elf.half(E_SHNUM)).map(|number| elf.section(number));
    let relocations = sections.filter(|at| elf.word(at + SH_TYPE) == SHT_RELA);
    let relocations: Vec<usize> =
        relocations.flat_map(|at| elf.content(at).step_by(RELA)).collect();
    let to_whole = relocations.iter().filter(|at| elf.word(*at + R_SYM) == whole);
    let mut places: Vec<u64> = to_whole.map(|at| elf.long(at + R_ADDEND)).collect();
    places.sort_unstable();
    places.dedup();
    for at in relocations {
        let symbol = elf.word(at + R_SYM);
        if symbol == whole {
            let is_distance = [R_PC32, R_PLT32].contains(&elf.word(at + R_TYPE));
            assert!(!is_distance, "from the end of an instruction, which nobody knows here");
            let place = places.binary_search(&elf.long(at + R_ADDEND)).expect("among them");
            put(file, at + R_SYM, &(locals + place as u32).to_le_bytes());
            put(file, at + R_ADDEND, &[0; 8]);
        } else if symbol >= locals {
            put(file, at + R_SYM, &(symbol + places.len() as u32).to_le_bytes());
        }
    }
    places
}
