//! What is written from the tables, and not by hand: the manual page, the completions of three
//! shells, and the list of system calls.
//!
//!     cargo run --quiet --example generate -- man|bash|zsh|fish|syscalls

mod completions;
mod man;
mod source;
mod syscalls;

use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

use tinyctr::options::{Id, OPTIONS, Opt};
use tinyctr::packed::Texts;

fn main() -> ExitCode {
    let kinds: Vec<String> = std::env::args().skip(1).collect();
    let text = match &kinds[..] {
        [kind] => output(kind),
        _ => Err("which of man, bash, zsh, fish, syscalls?".to_owned()),
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
        _ => Err(format!("{kind}: none of man, bash, zsh, fish, syscalls")),
    }
}

/// What the program has to say.
pub fn texts() -> &'static Texts {
    static TEXTS: OnceLock<&Texts> = OnceLock::new();
    TEXTS.get_or_init(|| tinyctr::sys::texts().expect("memory"))
}

/// The options that do something in this version.
fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(|opt| opt.id != Id::Reserved)
}

/// The calls of docs/syscalls.md, and whether a container starts without them, for its test.
pub fn syscalls_facts() -> impl Iterator<Item = (&'static str, bool)> {
    syscalls::FACTS.iter().map(|fact| (fact.call, fact.starts))
}
