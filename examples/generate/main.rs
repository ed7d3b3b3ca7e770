//! What is written from the tables, and not by hand: the manual page, the completions of three
//! shells, the list of system calls, and the dictionary that the texts are packed with.
//!
//!     cargo run --quiet --example generate -- man|bash|zsh|fish|syscalls|dictionary

mod completions;
mod dictionary;
mod man;
mod source;
mod syscalls;

use std::io::Write;
use std::process::ExitCode;

use tinyctr::options::{Id, OPTIONS, Opt};

fn main() -> ExitCode {
    let kinds: Vec<String> = std::env::args().skip(1).collect();
    let text = match &kinds[..] {
        [kind] => output(kind),
        _ => Err("which of man, bash, zsh, fish, syscalls, dictionary?".to_owned()),
    };
    let written = text.and_then(|text| {
        std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole of one file.
pub fn output(kind: &str) -> Result<String, String> {
    match kind {
        "man" => Ok(man::page()),
        "bash" => Ok(completions::bash()),
        "zsh" => Ok(completions::zsh()),
        "fish" => Ok(completions::fish()),
        "syscalls" => syscalls::document(),
        "dictionary" => Ok(dictionary::dictionary()),
        _ => Err(format!("{kind}: none of man, bash, zsh, fish, syscalls, dictionary")),
    }
}

/// The options that do something in this version.
fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(|opt| opt.id != Id::Reserved)
}

/// The calls of docs/syscalls.md, and whether a container starts without them, for its test.
pub fn syscalls_facts() -> impl Iterator<Item = (&'static str, bool)> {
    syscalls::FACTS.iter().map(|fact| (fact.call, fact.starts))
}
