//! The last step of the build: `-C linker=pack`. It links twice. The first time it sees which
//! constants nobody needs but the code that a plain run does without; then they come into one
//! section with that code, where build.rs had the linker put it. And that section it packs. Its
//! first part is unpacked again by `sys::seldom`, the first two by `sys::rare`, all by
//! `sys::texts`. The names of sections and symbols, which no kernel reads, are left behind.
//!
//! It needs nothing but the compiler, so that `make` need not build what the tests need.

use std::ops::Range;
use std::process::{Command, exit};
use std::{env, fs};

#[path = "../../src/packed/code.rs"]
mod code;
mod elf;
#[path = "../../src/packed/instructions.rs"]
mod instructions;
#[allow(dead_code, reason = "build.rs and the program have the rest")]
#[path = "../../src/packed/model.rs"]
mod model;
#[path = "../../src/packed/pack.rs"]
mod pack;
mod strings;

use elf::*;

// As build.rs calls them: the section, and where its first and its second part end.
const SECTION: &str = ".packed";
const ENDS: [&str; 2] = ["seldom_end", "rare_end"];
/// What src/sys/memory.rs has to know.
const PLACE: &str = "packed_code";

/// Who may call what is in a part, by parts of a mangled path: each of them has unpacked it before.
/// Who is in a part that is further behind may call it, too.
const DOORS: [&[&str]; 3] = [
    &[
        "vtable.shim", // of a closure, which only those have who made it
        "4plan4Plan",
        "5child15enter_container",
        "5child5child",
        "6parent9container",
        "6parent3run",
        "6parent9run_image",
        "6parent9run_named",
        "6parent9Container",
        "9supervise",
    ],
    &[
        "vtable.shim",
        "4plan4Plan",
        "5child15enter_container",
        "7options7Options12apply_seldom",
        "7options7Options5check",
        "11descriptors15close_inherited",
        "6parent7dismiss",
        "6parent9container",
        "6parent12run_as_asked",
    ],
    &["3sys5watch", "6parent6report", "6parent10print_help", "7options10parse_skip"],
];

/// What may be named by anybody, since it is only handed on.
const HANDED_ON: &str = "9SIGNATURE";

/// In the linker script of build.rs: where constants go.
const MARKS: [&str; 3] = ["/* seldom */", "/* rare */", "/* speaking */"];
const SCRIPT: &str = "-Wl,-T,";
/// For the first time: together with what strings.rs does, the end of a constant is nothing else's
/// beginning.
const APART: &str =
    "SECTIONS { .rodata : SUBALIGN(32) { *(.rodata .rodata.*) } } INSERT BEFORE .text;";

fn main() {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let output = arguments.iter().position(|word| word == "-o").map(|at| arguments[at + 1].clone());
    let output = output.expect("-o FILE");
    let (map, own_script) = (format!("{output}.map"), format!("{output}.ld"));
    let read = |path: &str| fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let write = |path: &str, content: &[u8]| fs::write(path, content).expect("beside the output");
    let mut objects = Vec::new();
    for object in arguments.iter_mut().filter(|word| word.ends_with(".o")) {
        objects.push((format!("{object}.apart"), read(object)));
        *object = format!("{object}.apart");
    }
    let take_apart = |named: Option<&[String]>| {
        objects.iter().for_each(|(path, object)| write(path, &strings::apart(&Elf(object), named)));
    };
    take_apart(None);
    write(&own_script, APART.as_bytes());
    link(&arguments, &[format!("-Wl,-Map={map}"), format!("{SCRIPT}{own_script}")]);
    let constants = Elf(&read(&output)).constants(&String::from_utf8_lossy(&read(&map)));
    let given = arguments.iter_mut().find(|word| word.starts_with(SCRIPT)).expect("a script");
    let mut script = String::from_utf8(read(&given[SCRIPT.len()..])).expect("our own");
    for (mark, sections) in MARKS.iter().zip(&constants) {
        let inputs: String = sections.iter().map(|name| format!(" *({name})")).collect();
        script = script.replace(mark, &inputs);
    }
    take_apart(Some(&constants.concat()));
    write(&own_script, script.as_bytes());
    *given = format!("{SCRIPT}{own_script}");
    link(&arguments, &[]);
    write(&output, &Elf(&read(&output)).packed());
    for path in objects.iter().map(|(path, _)| path).chain([&map, &own_script]) {
        let _not_ours_any_more = fs::remove_file(path);
    }
}

/// Has the compiler's own driver link, with names and relocations: who calls whom.
fn link(arguments: &[String], more: &[String]) {
    let driver = env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(&driver).args(arguments).arg("-Wl,--emit-relocs").args(more).status();
    let status = status.unwrap_or_else(|error| panic!("{driver}: {error}"));
    if !status.success() {
        exit(1);
    }
}

impl Elf<'_> {
    /// The file with the section packed, and all of it that no kernel reads cut off.
    fn packed(&self) -> Vec<u8> {
        let number = self.section_named(SECTION);
        let section = self.section(number);
        let start = self.long(section + SH_ADDR);
        let content = self.content(section);
        let ends = self.ends();
        self.check_doors(start, &ends);
        let is_its = |at: &usize| self.word(*at) == PT_LOAD && self.long(*at + P_VADDR) == start;
        let segment = self.program_headers().find(is_its).expect("a segment of its own");
        let others = self.program_headers().filter(|at| *at != segment);
        let end = others.map(|at| self.long(at + P_OFFSET) + self.long(at + P_FILESZ)).max();
        let end = end.expect("other segments");

        let mut file = self.0[..end as usize].to_vec();
        let mut turned = self.0[content].to_vec();
        code::turn_calls(&mut turned, start as usize, true);
        file.extend(pack::pack(&turned, model::CODE));

        // Behind the place where the code will be; a segment is mapped by whole pages of the file.
        let address = (start + turned.len() as u64).next_multiple_of(PAGE) + end % PAGE;
        let size = file.len() as u64 - end;
        put(&mut file, segment + P_FLAGS, &PF_R.to_le_bytes());
        let fields = [(P_OFFSET, end), (P_VADDR, address), (P_PADDR, address)];
        for (field, value) in fields.into_iter().chain([(P_FILESZ, size), (P_MEMSZ, size)]) {
            put(&mut file, segment + field, &value.to_le_bytes());
        }
        let words = [address, size, start, 0].into_iter().chain(ends.map(|end| end - start));
        for (word, at) in words.zip((self.place_of(PLACE)..).step_by(4)) {
            let word = u32::try_from(word).expect("not that much");
            put(&mut file, at, &word.to_le_bytes());
        }
        put(&mut file, E_SHOFF, &[0; 8]);
        put(&mut file, E_SHNUM, &[0; 4]); // and E_SHSTRNDX
        file
    }

    /// Where each part of what is packed ends.
    fn ends(&self) -> [u64; 3] {
        let [seldom, rare] = ENDS.map(|name| self.value_of(name));
        [seldom, rare, self.content_at(self.section_named(SECTION)).end]
    }

    /// The constants that only packed code names, or other such constants: by the names of their
    /// input sections, of each part. `map` is the linker's.
    ///
    /// The linker has left of a reference where it leads, and no more. So what a reference may
    /// mean by an address is counted as well: the end of what lies before it, and, where the
    /// instruction has a constant behind it, what lies up to four bytes further.
    fn constants(&self, map: &str) -> [Vec<String>; 3] {
        let rodata = self.content_at(self.section_named(".rodata"));
        let mut inputs: Vec<(Range<u64>, &str, usize)> = Vec::new();
        for line in map.lines() {
            let (Some((_, name)), [start, _, size]) = (line.split_once(":("), hex_words(line))
            else {
                continue;
            };
            let name = name.trim_end_matches(')');
            if rodata.contains(&start) && name.starts_with(".rodata") {
                inputs.push((start..start + size, name, NOBODY));
            }
        }
        let packed = self.content_at(self.section_named(SECTION));
        let ends = self.ends();
        loop {
            let before = inputs.clone();
            for (place, target, span) in self.references() {
                let user = match place {
                    _ if packed.contains(&place) => part_of(place, &ends),
                    _ if rodata.contains(&place) => {
                        let holds = |input: &&(Range<u64>, &str, usize)| input.0.contains(&place);
                        inputs.iter().find(holds).map_or(EVERYBODY, |input| input.2)
                    }
                    _ => EVERYBODY,
                };
                let may_mean =
                    |range: &Range<u64>| target <= range.end && target + span >= range.start;
                for input in inputs.iter_mut().filter(|input| may_mean(&input.0)) {
                    input.2 = strongest(input.2, user);
                }
            }
            if before == inputs {
                break;
            }
        }
        let of = |part: usize| {
            let mine = inputs.iter().filter(|input| input.2 == part);
            // What is merged has one input for all.
            let whole =
                mine.filter(|input| !input.1.contains(".str1") && !input.1.contains(".cst"));
            whole.map(|input| input.1.to_owned()).collect()
        };
        [of(0), of(1), of(2)]
    }

    /// Each reference: where it stands, where it leads, and how much further it may.
    fn references(&self) -> Vec<(u64, u64, u64)> {
        let mut all = Vec::new();
        for relocations in (0..self.half(E_SHNUM)).map(|number| self.section(number)) {
            if self.word(relocations + SH_TYPE) != SHT_RELA {
                continue;
            }
            let symbols = self.section(self.word(relocations + SH_LINK) as usize);
            for at in self.content(relocations).step_by(RELA) {
                let symbol = self.content(symbols).start + self.word(at + R_SYM) as usize * SYM;
                let target = self.long(symbol + ST_VALUE).wrapping_add(self.long(at + R_ADDEND));
                // A distance is counted from the end of the instruction.
                let is_distance = [R_PC32, R_PLT32].contains(&self.word(at + R_TYPE));
                let (further, span) = if is_distance { (4, 4) } else { (0, 0) };
                all.push((self.long(at), target.wrapping_add(further), span));
            }
        }
        all
    }

    fn content_at(&self, number: usize) -> Range<u64> {
        let start = self.long(self.section(number) + SH_ADDR);
        start..start + self.content(self.section(number)).len() as u64
    }

    /// What is packed must not be called before it is unpacked: so nobody names it but itself, what
    /// is behind it, and the doors. (Data may: nobody else has the tables in which that stands.)
    fn check_doors(&self, start: u64, ends: &[u64; 3]) {
        let text = self.content_at(self.section_named(".text"));
        let mut strangers = Vec::new();
        for (here, target, _) in self.references() {
            let is_code = text.contains(&here) || (start..ends[2]).contains(&here);
            if !is_code || !(start..ends[2]).contains(&target) {
                continue;
            }
            let part = part_of(target, ends);
            if !text.contains(&here) && part_of(here, ends) >= part {
                continue;
            }
            let [caller, target] = [here, target].map(|it| self.name_at(it));
            let is_door = DOORS[part].iter().any(|door| caller.contains(door));
            if !is_door && !target.contains(HANDED_ON) {
                strangers.push((caller, target));
            }
        }
        strangers.dedup();
        assert!(strangers.is_empty(), "these call what is packed: {strangers:#?}");
    }

    /// The value of the symbol of that name.
    fn value_of(&self, name: &str) -> u64 {
        let symbols = self.section(self.section_named(".symtab"));
        let names = self.content(self.section(self.word(symbols + SH_LINK) as usize)).start;
        let is_it = |at: &usize| self.string(names + self.word(*at) as usize) == name;
        let found = self.content(symbols).step_by(SYM).find(is_it);
        self.long(found.unwrap_or_else(|| panic!("no symbol {name}")) + ST_VALUE)
    }

    /// Where in the file the symbol of that name is.
    fn place_of(&self, name: &str) -> usize {
        let address = self.value_of(name);
        let is_there = |number: &usize| self.content_at(*number).contains(&address);
        let number = (1..self.half(E_SHNUM)).find(is_there).expect("a section with it");
        self.content(self.section(number)).start
            + (address - self.content_at(number).start) as usize
    }

    /// The name of what `address` lies in.
    fn name_at(&self, address: u64) -> &str {
        let symbols = self.section(self.section_named(".symtab"));
        let names = self.content(self.section(self.word(symbols + SH_LINK) as usize)).start;
        let is_it = |at: &usize| {
            let start = self.long(*at + ST_VALUE);
            (start..start + self.long(*at + ST_SIZE)).contains(&address)
        };
        let found = self.content(symbols).step_by(SYM).find(is_it);
        found.map_or("?", |at| self.string(names + self.word(at) as usize))
    }
}

/// The number of the part of what is packed.
fn part_of(address: u64, ends: &[u64; 3]) -> usize {
    ends.iter().filter(|end| address >= **end).count()
}

// Who names a constant: a part of what is packed, by its number, or somebody else too.
const NOBODY: usize = 4;
const EVERYBODY: usize = 3;

/// Of two, who needs it unpacked: a part is there with those behind it, too.
fn strongest(one: usize, other: usize) -> usize {
    match (one, other) {
        (NOBODY, it) | (it, NOBODY) => it,
        (EVERYBODY, _) | (_, EVERYBODY) => EVERYBODY,
        (one, other) => one.min(other),
    }
}

/// Of a line of the linker's map: address, load address and size.
fn hex_words(line: &str) -> [u64; 3] {
    let mut words = line.split_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap_or(0));
    [(); 3].map(|()| words.next().unwrap_or(0))
}
