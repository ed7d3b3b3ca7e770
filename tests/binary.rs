//! What the file itself is, and what it costs: a program of its own, small, and frugal with calls
//! and memory. The budgets are DESIGN's.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{
    NEEDS_RELEASE, NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, Running, binary, can_contain, can_inject,
    image, is_release, is_root, require, run, stdout, strace, tempdir, tinyctr, wait_until,
};

#[test]
fn a_debug_build_links_and_runs() {
    let debug = || Command::new(env!("CARGO_BIN_EXE_tinyctr"));
    let version = concat!("tinyctr ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(stdout(debug().arg("--version")), version);
    require!(can_contain(), NO_NAMESPACES);
    assert_eq!(stdout(debug().arg("-q").arg(image()).args(["echo", "ola"])), "ola\n");
}

// --- the file ------------------------------------------------------------------------------------

/// The program headers of a 64-bit ELF file: type and flags.
fn segments(file: &[u8]) -> Vec<(u32, u32)> {
    assert_eq!(file[..6], *b"\x7fELF\x02\x01", "64 bits, little-endian");
    let half = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().expect("two bytes"));
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let table = word(32) as usize; // e_phoff, which fits here
    let (size, count) = (usize::from(half(54)), usize::from(half(56)));
    (0..count).map(|n| table + n * size).map(|at| (word(at), word(at + 4))).collect()
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;

#[test]
fn the_file_needs_no_loader_and_no_library() {
    let segments = segments(&fs::read(binary()).expect("it is there"));
    let kinds: Vec<u32> = segments.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&PT_LOAD));
    assert!(!kinds.contains(&PT_INTERP) && !kinds.contains(&PT_DYNAMIC), "{kinds:x?}");
}

#[test]
fn nothing_of_the_file_is_writable_and_executable() {
    let segments = segments(&fs::read(binary()).expect("it is there"));
    for (kind, flags) in &segments {
        assert_ne!(flags & (PF_W | PF_X), PF_W | PF_X, "segment of type {kind:x}");
    }
    assert!(segments.iter().any(|(kind, _)| *kind == PT_GNU_STACK), "else the stack would be");
}

#[test]
fn the_file_is_within_64_kib() {
    require!(is_release(), NEEDS_RELEASE);
    let size = fs::metadata(binary()).expect("it is there").len();
    assert!(size <= 64 << 10, "{size} bytes");
}

// --- calls and memory ----------------------------------------------------------------------------

/// The calls from tinyctr's own execve, which does not count, to the command's, which does.
fn calls_up_to_execve(options: &[&str]) -> Vec<String> {
    let directory = tempdir();
    let list = directory.path().join("list");
    let mut command = strace([""; 0], &list);
    command.arg(binary()).args(options).arg(image()).arg("/bin/true");
    assert_eq!(run(&mut command).code, Some(0));
    let text = fs::read_to_string(&list).expect("strace wrote it");
    let names = text.lines().filter_map(|line| {
        let (_pid, call) = line.split_once(' ')?; // `-f` puts it there
        let (name, _) = call.trim_start().split_once('(')?;
        (!name.contains(' ')).then(|| name.to_owned()) // not `<... wait4 resumed>`
    });
    let mut calls: Vec<String> = names.skip(1).collect();
    let execve = calls.iter().position(|name| name == "execve").expect("the command's");
    calls.truncate(execve + 1);
    calls
}

#[test]
fn bare_makes_at_most_15_calls_up_to_the_commands_execve() {
    require!(is_root() && can_contain(), NEEDS_ROOT); // a user namespace takes more
    require!(can_inject(), NO_STRACE);
    let calls = calls_up_to_execve(&["--bare", "-q"]);
    assert!(calls.len() <= 15, "{}: {calls:?}", calls.len());
}

#[test]
fn the_default_makes_at_most_120_calls_up_to_the_commands_execve() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), NO_STRACE);
    let calls = calls_up_to_execve(&["-q"]);
    assert!(calls.len() <= 120, "{}: {calls:?}", calls.len());
}

#[test]
fn the_waiting_parent_keeps_at_most_64_kib_resident() {
    require!(can_contain(), NO_NAMESPACES);
    require!(is_release(), NEEDS_RELEASE);
    for option in ["-q", "--bare"] {
        let running = Running::start(tinyctr([option]).arg(image()).arg("cat"));
        // The command is up before its parent is asleep.
        wait_until("64 KiB or less", || resident_kib(running.pid()) <= 64);
        assert_eq!(running.end().code, Some(0));
    }
}

/// From the page tables where the kernel adds them up (4.14), else its own rounder count.
fn resident_kib(pid: nix::unistd::Pid) -> u64 {
    let read = |file: &str| fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file));
    let text = read("smaps_rollup").or_else(|_| read("status")).expect("the process is ours");
    let line = text.lines().find(|line| line.starts_with("Rss:") || line.starts_with("VmRSS:"));
    let line = line.expect("it has memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect(line)
}
