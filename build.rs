//! The linker's orders for the binary, and only for it: tests and build scripts link as usual.
//!
//! They stand here rather than in `.cargo/config.toml`, because a `RUSTFLAGS` in the environment
//! silently replaces what is written there.
//!
//! And a table that is packed here, since the `syscalls` crate has it only as code.

use std::{env, fs, path::Path};

use syscalls::Errno;

#[path = "src/packed/pairs.rs"]
mod pairs;

/// What the `libc` crate asks the linker for. We use its types and constants alone, so each of
/// them is an empty archive: libc code can't get in, not even by mistake.
const EMPTY: [&str; 6] = ["c", "m", "rt", "pthread", "util", "dl"];

/// An `ar` archive without members is its magic number and nothing else.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

/// Tables for an unwinder that is not there (`core` brings them along), and the compiler's
/// signature: a tenth of the file. A debug build keeps them, for the debugger's sake.
const DISCARD: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.comment) } } INSERT AFTER .text;\n";

const FLAGS: [&str; 10] = [
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
    "-Wl,--gc-sections",     // what nothing calls goes
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/packed");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("errno.packed"), errno_table())
        .expect("the table can be written");
    for name in EMPTY {
        let archive = Path::new(&out).join(format!("lib{name}.a"));
        fs::write(&archive, EMPTY_ARCHIVE).expect("the empty archive can be written");
    }
    // A search path for all targets would hand the tests an empty libc too.
    println!("cargo::rustc-link-arg-bins=-L{out}");
    for flag in FLAGS {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
    if env::var("PROFILE").as_deref() == Ok("release") {
        let script = Path::new(&out).join("discard.ld");
        fs::write(&script, DISCARD).expect("the linker script can be written");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// Name and text of every errno from 1 on, each a part of one packed text: far less than the match
/// that they are in `syscalls`, and read-only data that is not resident until it is needed.
fn errno_table() -> Vec<u8> {
    /// MAX_ERRNO of include/linux/err.h; the highest that has a name comes much earlier.
    const MAX: i32 = 4095;
    let known = |number| Errno::new(number).name_and_description();
    let last = (1..=MAX).rfind(|number| known(*number).is_some()).unwrap_or(0);
    let rows = (1..=last).map(|number| known(number).unwrap_or(("", "")));
    let parts: Vec<&str> = rows.flat_map(|(name, text)| [name, text]).collect();
    let mut table = parts.join(&char::from(pairs::PART).to_string()).into_bytes();
    let length = pairs::pack(&mut table);
    table.truncate(length);
    table.push(0);
    table
}
