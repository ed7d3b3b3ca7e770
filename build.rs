//! The linker's orders for the binary, and only for it: tests and build scripts link as usual.
//!
//! They stand here rather than in `.cargo/config.toml`, because a `RUSTFLAGS` in the environment
//! silently replaces what is written there.
//!
//! And the texts of the program, which are collected and packed here (src/packed).

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::{env, fs};

use syscalls::Errno;

#[path = "src/packed/instructions.rs"]
mod instructions;
#[path = "src/packed/model.rs"]
mod model;
#[path = "src/packed/pack.rs"]
mod pack;

/// What the `libc` crate asks the linker for. We use its types and constants alone, so each of
/// them is an empty archive: libc code can't get in, not even by mistake.
const EMPTY: [&str; 6] = ["c", "m", "rt", "pthread", "util", "dl"];

/// An `ar` archive without members is its magic number and nothing else.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

/// Tables for an unwinder that is not there (`core` brings them along), and the compiler's
/// signature: a tenth of the file. A debug build keeps them, for the debugger's sake.
const DISCARD: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.comment) } } INSERT AFTER .text;\n";

/// What a plain run does without, by its path in the crate: rooms, and functions of other rooms.
/// The linker puts it into a section of its own, which examples/pack packs.
const SELDOM: [&str; 70] = [
    "buf::Buffer::push_visible",
    "caps",
    "cgroup",
    "child::be_init",
    "child::command",
    "child::tell_failure",
    "flags::number",
    "flags::signal_name",
    "image::list_places",
    "init",
    "options::Options::apply_seldom",
    "options::Options::check",
    "options::Options::is_attended",
    "options::amount",
    "options::parse_limit",
    "options::parse_skip",
    "options::parse_time",
    "parent::Container::hear_over",
    "parent::Container::tell_pid",
    "parent::begin_study",
    "parent::create_pid_file",
    "parent::print_ended",
    "parent::print_out_of_memory",
    "parent::print_running",
    "parent::print_unsealed",
    "parent::relayed",
    "parent::report_places",
    "parent::run_as_asked",
    "parent::run_limited",
    "parent::tell",
    "plan::look_for",
    "plan::terminal",
    "relay",
    "signals::awaited",
    "signals::is_spared",
    "signals::of_process",
    "signals::send_to_others",
    "signals::start_of",
    "supervise::Supervisor::answer",
    "supervise::Supervisor::carry",
    "supervise::Supervisor::drain",
    "supervise::Supervisor::kill",
    "supervise::Supervisor::pass_on",
    "supervise::Supervisor::pause",
    "supervise::Supervisor::stop",
    "supervise::Supervisor::tell_others",
    "sys::each_entry",
    "sys::flock",
    "sys::read_word",
    "sys::rmdir",
    "sys::signal::getpgid",
    "sys::sleep_a_little",
    "sys::socket::Parcel::header",
    "sys::socket::receive",
    "sys::socket::send",
    "sys::terminal::dup3",
    "sys::terminal::ioctl_tcsets",
    "sys::terminal::ioctl_tiocgpgrp",
    "sys::terminal::ioctl_tiocgptpeer",
    "sys::terminal::ioctl_tiocsctty",
    "sys::terminal::ioctl_tiocsptlck",
    "sys::terminal::ioctl_tiocswinsz",
    "sys::terminal::setsid",
    "sys::watch::begin_watch",
    "sys::watch::mute",
    "terminal::Terminal::come_to_the_front",
    "terminal::Terminal::first_of",
    "terminal::raw",
    "terminal::signal_of",
    "terminal::take",
];

/// The same, of what fewer runs need. It stands behind, so that the others unpack less.
const RARE: [&str; 34] = [
    "child::become_user",
    "child::find_user",
    "descriptors::close_listed",
    "helper",
    "ids::lines",
    "ids::map::Maps::search",
    "ids::map::Search",
    "ids::map::beyond_everybody",
    "ids::map::each_range",
    "ids::map::groups_are_denied",
    "ids::user",
    "lifetime::end_with_parent_again",
    "network::join",
    "options::check_user",
    "parent::prepare_network",
    "plan::Plan::identify",
    "plan::Plan::map_range",
    "root::Tree::enter_otherwise",
    "root::Tree::place_otherwise",
    "root::attach",
    "root::chroot_only",
    "root::one_without_devices",
    "sys::close_on_exec",
    "sys::helper",
    "sys::ids::mount_setattr_of",
    "sys::ids::move_tree",
    "sys::ids::open_tree",
    "sys::ids::setgid",
    "sys::ids::setgroups",
    "sys::ids::setuid",
    "sys::mount_flags_of",
    "sys::mount_move",
    "sys::network",
    "sys::open_to_read",
];

/// The same, of what only those need who have something to say. It stands behind both.
const SPEAKING: [&str; 27] = [
    "trace",
    "script",
    "errno",
    "flags::*::TABLE",
    "sys::*::SIGNATURE",
    "sys::observe",
    "sys::rehearsal",
    "sys::watcher",
    "parent::tell_error",
    "parent::tell_help",
    "options::help",
    "options::usage",
    "options::Opt",
    "error::Error::line",
    "error::Error::advice",
    "error::Error::experience",
    "steps::Lesson",
    "steps::Step::to_skip",
    "steps::Step::name",
    "packed::Texts::text",
    "packed::Texts::part",
    "buf::Buffer::push_hex",
    "ids::blame",
    "packed::part",
    "sys::make",
    "buf::Buffer::replace",
    "sys::exit_unseen",
];

const FLAGS: [&str; 11] = [
    "-nostartfiles", // `_start` is ours (src/arch): no crt1.o
    "-nostdlib",     // neither libc nor libgcc
    "-static",       // no dynamic loader: the file runs wherever the kernel does
    "-no-pie",       // a static-pie needs somebody to relocate it, and nobody is there
    // Nothing may be writable and executable, on the stack neither.
    "-Wl,-z,noexecstack",
    // RELRO protects a table that only a dynamic loader writes; without one it is a page lost.
    "-Wl,-z,norelro",
    // Code and constants may share a page: a page less on disk, a page less resident.
    "-Wl,-z,noseparate-code",
    "-Wl,--build-id=none",   // 36 bytes that nobody reads here
    "-Wl,--no-eh-frame-hdr", // an index to those tables
    // One mapping for both: the kernel has one less to make, and maps what lies around at once.
    "-Wl,--no-rosegment",
    "-Wl,--gc-sections", // what nothing calls goes
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=examples/pack"); // the linker
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    write_texts(Path::new(&out));
    for name in EMPTY {
        let archive = Path::new(&out).join(format!("lib{name}.a"));
        fs::write(&archive, EMPTY_ARCHIVE).expect("the empty archive can be written");
    }
    // A search path for all targets would hand the tests an empty libc too.
    println!("cargo::rustc-link-arg-bins=-L{out}");
    for flag in FLAGS {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
    let mut script = packed_section();
    if env::var("PROFILE").as_deref() == Ok("release") {
        script += DISCARD;
    }
    let path = Path::new(&out).join("sections.ld");
    fs::write(&path, script).expect("the linker script can be written");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", path.display());
}

/// Behind everything else, on pages of its own. What a part ends with is no code, so that no call
/// reaches across (src/packed/code.rs).
fn packed_section() -> String {
    let [seldom, rare, speaking] = [inputs(&SELDOM), inputs(&RARE), inputs(&SPEAKING)];
    // examples/pack finds the constants that only these need.
    let content = format!(
        "{seldom} /* seldom */ . = . + 8; seldom_end = .; {rare} /* rare */ . = . + 8; \
         rare_end = .; {speaking} /* speaking */"
    );
    format!("SECTIONS {{ .packed ALIGN(4096) : {{ {content} }} }} INSERT AFTER .got;\n")
}

/// The compiler gives each function a section, and names it by the path: each part with its length
/// before it, and the type of an `impl` with dots.
fn inputs(paths: &[&str]) -> String {
    let input = |path: &&str| {
        let parts = || ["tinyctr"].into_iter().chain(path.split("::"));
        let count = |part: &str| match part {
            "*" => "*".to_owned(),
            _ => format!("{}{part}", part.len()),
        };
        let counted: String = parts().map(count).collect();
        let dotted = parts().collect::<Vec<_>>().join("..");
        let names = [counted, format!("{dotted}..")];
        names.map(|name| format!("*(.text.*{name}* .rodata.*{name}*)")).join(" ")
    };
    paths.iter().map(input).collect::<Vec<_>>().join(" ")
}

// --- texts ---------------------------------------------------------------------------------------

/// All texts, each with NUL: as they are, where each begins, and packed.
fn write_texts(out: &Path) {
    let mut texts = vec![errnos()];
    for file in sources(Path::new("src")) {
        let source = fs::read_to_string(&file).expect("a source can be read");
        // A test asks for texts that are there.
        let program = source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(&source);
        for call in program.split("packed!(").skip(1) {
            let text = literals(call).join(&char::from(model::PART).to_string());
            if !text.is_empty() && !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    let mut plain = Vec::new();
    let mut starts = Vec::new();
    for text in texts {
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..0x7f | b'\n' | model::PART)),
            "{text}"
        );
        starts.push(u16::try_from(plain.len()).expect("64 KiB of texts and no more"));
        plain.extend(text.into_bytes());
        plain.push(0);
    }
    fs::write(out.join("texts.starts"), format!("{starts:?}")).expect("a list can be written");
    fs::write(out.join("texts.packed"), pack::pack(&plain, model::TEXT))
        .expect("texts can be written");
    fs::write(out.join("texts.plain"), plain).expect("texts can be written");
}

/// In an order that is the same everywhere.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of sources can be read");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let files = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    files.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

/// The string literals that `source` begins with, with commas between them. What this reads
/// otherwise than the compiler does is not found by `packed!`, and doesn't compile.
fn literals(source: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut rest = source.trim_start();
    while let Some(inside) = rest.strip_prefix('"') {
        let mut literal = String::new();
        let mut chars = inside.chars();
        while let Some(char) = chars.next() {
            match char {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => literal.push('\n'),
                    Some('\n') => chars = chars.as_str().trim_start().chars(),
                    Some(char) => literal.push(char),
                    None => {}
                },
                char => literal.push(char),
            }
        }
        literals.push(literal);
        rest = chars.as_str().trim_start().trim_start_matches(',').trim_start();
    }
    literals
}

/// Of errno.h, those of other Unixes (STREAMS, XENIX, shared libraries of COFF) that no call of
/// ours gets from Linux but perhaps by a file system in user space: they are told as numbers.
const FOREIGN: [RangeInclusive<i32>; 5] = [44..=60, 63..=70, 72..=74, 76..=79, 81..=83];

/// Name and text of every other errno, each a part: far less than the match that they are in
/// `syscalls`. (Those from 512 on the kernel keeps to itself.)
fn errnos() -> String {
    let rows = (1..=133).map(|number| match FOREIGN.iter().any(|range| range.contains(&number)) {
        true => ("", ""),
        false => Errno::new(number).name_and_description().unwrap_or(("", "")),
    });
    let parts: Vec<&str> = rows.flat_map(|(name, text)| [name, text]).collect();
    parts.join(&char::from(model::PART).to_string())
}
