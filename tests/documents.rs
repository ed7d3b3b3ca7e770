//! The documents tell the truth: every `console` block in them is run, on a terminal, and what
//! comes out is what stands there.
//!
//! In a block `$ ` begins a command, and `# ` a line that is typed into the shell that it started.
//! A line `...` stands for any lines. Compared are words: numbers, months, and the width
//! of columns differ from day to day.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{NO_NAMESPACES, can_contain, isolate, require};
use nix::pty::openpty;
use nix::sched::CloneFlags;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_readme_tells_the_truth() {
    check("README.md");
}

fn check(document: &str) {
    require!(can_contain(), NO_NAMESPACES);
    require!(common::is_root(), "the transcripts were made by root");
    require!(Path::new(ROOT).join("tinyctr").exists(), "needs `make` to have been run");
    require!(
        std::fs::read_to_string(Path::new(ROOT).join("rootfs/trusty/etc/issue"))
            .is_ok_and(|issue| issue.contains("Debian GNU/Linux 12")),
        "the transcripts were made with the stand-in for trusty on Debian 12"
    );
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).expect("it is there");
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{document} has no console block");
    for (line, block) in blocks {
        let (script, expected) = parse(&block);
        let happened = run_on_a_terminal(&script);
        let (said, expected) = (words(&happened), words(&expected.join("\n")));
        assert!(
            matches(&said, &expected),
            "{document}:{line}: this does not happen:\n{block}\n--- but this:\n{happened}"
        );
    }
}

/// The `console` blocks, each with the line that it begins on.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line == "```console" {
            let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            blocks.push((number + 1, block.collect::<Vec<_>>().join("\n")));
        }
    }
    blocks
}

/// A block as a script for bash, and the lines that it should print.
fn parse(block: &str) -> (String, Vec<&str>) {
    let mut script = String::new();
    let mut expected = Vec::new();
    let mut typing = false;
    for line in block.lines().chain(["$ :"]) {
        if let Some(typed) = line.strip_prefix("# ") {
            // The shell inside has no terminal to prompt on, so it only prints what it is told to.
            script += if typing { "" } else { " <<'TYPED'" };
            script += &format!("\n{typed}");
            typing = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            script += if typing { "\nTYPED\n" } else { "\n" };
            script += command.strip_prefix("sudo ").unwrap_or(command);
            typing = false;
        } else {
            expected.push(line);
        }
    }
    (script, expected)
}

/// Runs `script` in bash, in a UTS namespace where the host is called `host`.
fn run_on_a_terminal(script: &str) -> String {
    let terminal = openpty(None, None).expect("a pseudo-terminal");
    let output = || Stdio::from(terminal.slave.try_clone().expect("a descriptor"));
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(format!("hostname host\n{script}"));
    bash.current_dir(ROOT).stdin(Stdio::null()).stdout(output()).stderr(output());
    bash.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    isolate(&mut bash, CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS);
    let mut child = bash.spawn().expect("bash starts");
    drop(bash); // and with it our copies of the slave's descriptor
    drop(terminal.slave);
    let mut happened = Vec::new();
    // The end of a terminal is an error, EIO, once nobody has it open any more.
    let _end = File::from(terminal.master).read_to_end(&mut happened);
    child.wait().expect("bash ends");
    String::from_utf8_lossy(&happened).replace('\r', "")
}

/// Lines of words, with what differs from day to day made equal.
fn words(text: &str) -> Vec<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let word = |word: &str| {
        if MONTHS.contains(&word) {
            return "Month".to_owned();
        }
        let mut digits = word.replace(|letter: char| letter.is_ascii_digit(), "0");
        while digits.contains("00") {
            digits = digits.replace("00", "0");
        }
        digits.replace("0:0:0", "0:0") // a time, or a day that `ls` shows as a year
    };
    let lines = text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>());
    lines.map(|words| words.join(" ")).filter(|line| !line.is_empty()).collect()
}

/// Whether the lines are the expected ones, `...` being any lines or none.
fn matches(said: &[String], expected: &[String]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=said.len()).any(|skipped| matches(&said[skipped..], rest))
        }
        Some((first, rest)) => said.first() == Some(first) && matches(&said[1..], rest),
    }
}

#[test]
fn an_untrue_transcript_is_found() {
    let lines = |text: &str| words(text);
    assert!(matches(&lines("a 12\nb\nc"), &lines("a 7\n...\nc")));
    assert!(!matches(&lines("a\nb"), &lines("a")));
    assert!(!matches(&lines("a"), &lines("a\nb")));
    assert!(!matches(&lines("root 1 ps aux"), &lines("root 1 ps ax")));
}
