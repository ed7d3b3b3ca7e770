//! What is made from the tables: the manual page, the completions, docs/syscalls.md, and how
//! `make install` puts them in place.

mod common;
#[expect(dead_code, reason = "main is for the example")]
#[path = "../examples/generate/main.rs"]
mod generate;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    NEEDS_ROOT, NO_STRACE, can_contain, can_inject, have, is_root, require, run, stdout, strace,
    tempdir,
};
use generate::{output, texts};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tinyctr::options::{Id, OPTIONS};
use tinyctr::steps::LESSONS;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn made(kind: &str) -> String {
    output(kind).unwrap_or_else(|error| panic!("{error}"))
}

/// A file with what was made, which goes away with the first.
fn file(kind: &str) -> (TempDir, PathBuf) {
    let directory = tempdir();
    let path = directory.path().join(kind);
    fs::write(&path, made(kind)).expect("it can be written");
    (directory, path)
}

/// What of this version's options can be typed: `--ns`, `-e`, `--env`.
fn typed() -> impl Iterator<Item = String> {
    OPTIONS.iter().filter(|opt| opt.id != Id::Reserved).flat_map(|opt| {
        let short = opt.short.map(|letter| format!("-{}", char::from(letter)));
        short.into_iter().chain([format!("--{}", opt.long(texts()))])
    })
}

// --- the manual page -----------------------------------------------------------------------------

#[test]
fn mandoc_finds_no_fault_with_the_manual_page() {
    require!(have("mandoc"), "needs mandoc");
    let (_directory, page) = file("man");
    let said = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page));
    // A page that it refers to may not be on this machine.
    let faults = said.stdout.lines().chain(said.stderr.lines());
    let faults: Vec<&str> = faults.filter(|line| !line.contains("outdated mandoc.db")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn groff_finds_no_fault_with_the_manual_page() {
    require!(have("groff"), "needs groff");
    let (_directory, page) = file("man");
    let said = run(Command::new("groff").args(["-mandoc", "-ww", "-z"]).arg(page));
    // Without the macros (Debian's groff-base has them, a bare groff has not) nothing is checked.
    let no_macros = said.stderr.contains("can't open") || said.stderr.contains("cannot open");
    require!(!no_macros, "needs groff's mdoc macros");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

/// As a reader gets it, without overstriking and on one line.
fn read_page() -> Option<String> {
    let (_directory, page) = file("man");
    let mut reader = Command::new(if have("mandoc") { "mandoc" } else { "groff" });
    let options: &[&str] =
        if have("mandoc") { &["-T", "utf8"] } else { &["-mandoc", "-Tutf8", "-P-c"] };
    if !have("mandoc") && !have("groff") {
        return None;
    }
    let said = run(reader.args(options).arg(page));
    let mut plain = String::new();
    for c in said.stdout.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c);
        }
    }
    // groff parts words, with a hyphen of its own.
    let mut parts = plain.split("\u{2010}\n");
    let whole = parts.next().into_iter().map(str::to_owned);
    let whole: String = whole.chain(parts.map(|part| part.trim_start().to_owned())).collect();
    Some(whole.replace('\u{2212}', "-").split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn the_manual_page_has_every_option_and_every_step() {
    let page = read_page();
    require!(page.is_some(), "needs mandoc or groff");
    let page = page.unwrap_or_default();
    for opt in OPTIONS {
        let (before, _) = page.split_once("STEPS").expect("options come first");
        assert!(before.contains(&format!("--{}", opt.long(texts()))), "--{}", opt.long(texts()));
        let help = opt.help(texts()).to_string();
        let help: Vec<&str> = help.split_whitespace().skip(1).collect(); // the first: a capital
        assert!(before.replace("- ", "-").contains(&help.join(" ")), "--{}", opt.long(texts()));
    }
    for lesson in LESSONS {
        let (name, why, word) =
            (lesson.name(texts()), lesson.why(texts()).to_string(), lesson.skip(texts()));
        assert!(page.contains(&name.to_string()), "{name}");
        let why: Vec<&str> = why.split_whitespace().collect();
        // A line may end at the hyphen of a word.
        assert!(page.replace("- ", "-").contains(&why.join(" ")), "{name}");
        if !word.is_empty() {
            assert!(page.contains(&format!("(--skip {word})")), "--skip {word}");
        }
    }
    for section in ["SYNOPSIS", "ENVIRONMENT TINYCTR_PATH", "EXIT STATUS", "SEE ALSO"] {
        assert!(page.contains(section), "{section}");
    }
}

#[test]
fn text_can_not_become_a_roff_request() {
    let page = made("man");
    let macros = ["Sh", "Nm", "Nd", "Op", "Ar", "Pa", "Pp", "Bl", "It", "El", "Fl", "Cm", "Ev"];
    let more = ["Sy", "Dd", "Dt", "Os", "Dl", "Dq", "Xr"];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let name = line[1..].split(' ').next().unwrap_or("");
        assert!(macros.contains(&name) || more.contains(&name), "{line}");
    }
    assert!(!page.contains("`"), "roff prints another sign");
}

// --- completions ---------------------------------------------------------------------------------

const LIBRARY: &str = "/usr/share/bash-completion/bash_completion";

/// A directory to complete in, and images with names that no machine has.
fn place() -> TempDir {
    let place = tempdir();
    for directory in ["images/zz-trusty", "images/zz-jessie", "here/subdirectory"] {
        fs::create_dir_all(place.path().join(directory)).expect("it is new");
    }
    place
}

fn in_place<'a>(command: &'a mut Command, place: &TempDir) -> &'a mut Command {
    command.current_dir(place.path().join("here"));
    command.env("TINYCTR_PATH", place.path().join("images"))
}

/// What bash offers for the last of the words, as bash itself takes them apart.
fn bash(library: &str, words: &[&str]) -> Vec<String> {
    let place = place();
    let (_directory, completion) = file("bash");
    let mut bash = Command::new("bash");
    bash.arg(Path::new(TOP).join("tests/programs/complete.bash")).arg(completion);
    let said = stdout(in_place(bash.arg(library).args(words), &place));
    said.lines().map(str::to_owned).collect()
}

fn check_bash(library: &str) {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--ns"], &["--ns"]),
        (&["--h"], &["--hostname", "--help"]),
        (&["--ephem"], &[]), // not in this version
        (&["--ns", "uts,p"], &["uts,pid"]),
        (&["--ns", "=", "uts,p"], &["uts,pid"]),
        (&["--ns", "uts,u"], &["uts,user"]), // no element twice
        (&["--ns", "n"], &["net", "none"]),
        (&["--ns", "uts,n"], &["uts,net"]),
        (&["--skip", "h"], &["hostname"]),
        (&["--dry-run", "="], &["sh"]),
        (&["--trace", "=", "json", ":", "sub"], &["subdirectory"]),
        (&["--workdir", "/"], &[]), // it is inside
        (&["zz-t"], &["zz-trusty"]),
        (&["zz"], &["zz-jessie", "zz-trusty"]),
        (&["run", "zz-t"], &["zz-trusty"]),
        (&["--", "zz-t"], &["zz-trusty"]),
        (&["-qe", "A", "=", "B", "zz-t"], &["zz-trusty"]),
        (&["-w", "/", "--trace", "zz-t"], &["zz-trusty"]),
        (&["./"], &["./subdirectory"]),
        (&["trusty", "tinyctr-has-no-such-command"], &[]),
    ];
    for (words, expected) in cases {
        assert_eq!(bash(library, words), *expected, "{words:?}");
    }
    assert!(
        bash(library, &["trusty", "bas"]).contains(&"bash".to_owned()),
        "after IMAGE, commands"
    );
    let all = bash(library, &["-"]);
    assert!(typed().all(|option| all.contains(&option)), "{all:?}");
}

#[test]
fn bash_completes_options_values_images_and_commands() {
    require!(have("bash"), "needs bash");
    check_bash("");
}

#[test]
fn bash_completes_with_bash_completion_too() {
    require!(have("bash"), "needs bash");
    require!(Path::new(LIBRARY).exists(), "needs bash-completion");
    check_bash(LIBRARY);
}

#[test]
fn the_bash_completion_passes_shellcheck() {
    require!(have("shellcheck"), "needs shellcheck");
    let (_directory, completion) = file("bash");
    stdout(Command::new("shellcheck").args(["-s", "bash"]).arg(completion));
}

#[test]
fn zsh_completes_options_values_images_and_commands() {
    require!(have("zsh"), "needs zsh");
    let (_directory, completion) = file("zsh");
    stdout(Command::new("zsh").arg("-n").arg(&completion));
    let cases = [
        ("tinyctr --ns", "tinyctr --ns="),
        ("tinyctr --ns uts,p", "tinyctr --ns uts,pid,"),
        ("tinyctr --ns=uts,p", "tinyctr --ns=uts,pid,"),
        ("tinyctr --skip h", "tinyctr --skip hostname "),
        ("tinyctr --dry-run=", "tinyctr --dry-run=sh "),
        ("tinyctr --ephem", "tinyctr --ephem"),
        ("tinyctr zz-t", "tinyctr zz-trusty "),
        ("tinyctr -e A=B -q --wor", "tinyctr -e A=B -q --workdir="),
        ("tinyctr -q trusty ls sub", "tinyctr -q trusty ls subdirectory/"),
        ("tinyctr trusty --n", "tinyctr trusty --n"),
    ];
    let place = place();
    let mut zsh = Command::new("zsh");
    zsh.arg("-f").arg(Path::new(TOP).join("tests/programs/complete.zsh")).arg(completion);
    zsh.args(cases.map(|(line, _)| line));
    let said = stdout(in_place(&mut zsh, &place));
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, cases.map(|(_, completed)| completed));
}

#[test]
fn fish_completes_options_values_images_and_commands() {
    require!(have("fish"), "needs fish");
    let (directory, completion) = file("fish");
    stdout(Command::new("fish").arg("-n").arg(&completion));
    let place = place();
    let offers = |line: &str| -> Vec<String> {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete --do-complete=$argv[2]"]);
        fish.arg(&completion).arg(line).env("HOME", directory.path());
        let said = stdout(in_place(&mut fish, &place));
        said.lines().map(|line| line.split('\t').next().unwrap_or("").to_owned()).collect()
    };
    let cases: &[(&str, &[&str])] = &[
        ("tinyctr --ns", &["--ns"]),
        ("tinyctr --ephem", &[]),
        ("tinyctr --ns uts,p", &["uts,pid"]),
        ("tinyctr --ns=uts,p", &["--ns=uts,pid"]),
        ("tinyctr --skip h", &["hostname"]),
        ("tinyctr --dry-run=", &["--dry-run=sh"]),
        ("tinyctr zz-t", &["zz-trusty"]),
        ("tinyctr run zz-t", &["zz-trusty"]),
        ("tinyctr -e A=B -q zz-t", &["zz-trusty"]),
        ("tinyctr ./", &["./subdirectory/"]),
        ("tinyctr -q trusty ls sub", &["subdirectory/"]),
    ];
    for (line, expected) in cases {
        assert_eq!(offers(line), *expected, "{line}");
    }
    assert!(!offers("tinyctr trusty --n").contains(&"--ns".to_owned()), "the command's own");
    assert!(offers("tinyctr trusty bas").contains(&"bash".to_owned()), "after IMAGE, commands");
}

// --- docs/syscalls.md ----------------------------------------------------------------------------

fn document() -> String {
    fs::read_to_string(Path::new(TOP).join("docs/syscalls.md")).expect("it is there")
}

#[test]
fn the_list_of_system_calls_is_what_the_code_says() {
    let (written, made) = (document(), made("syscalls"));
    for (written, made) in written.lines().zip(made.lines()) {
        assert_eq!(written, made, "run `make docs`");
    }
    assert_eq!(written.len(), made.len(), "run `make docs`");
}

/// The first column of the table below `heading`.
fn rows(heading: &str) -> BTreeSet<String> {
    let document = document();
    let (_, section) = document.split_once(heading).expect(heading);
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let names = lines.filter_map(|line| line.strip_prefix("| [")?.split(']').next());
    names.map(str::to_owned).collect()
}

/// The names of the calls that tinyctr makes up to its command, and afterwards as the parent.
fn traced(args: &[&str]) -> BTreeSet<String> {
    let directory = tempdir();
    let list = directory.path().join("list");
    let command = strace([""; 0], &list).arg(common::binary()).args(args).output();
    assert!(command.expect("strace starts").status.success(), "{args:?}");
    let text = fs::read_to_string(list).expect("strace wrote it");
    let mut parent = "";
    let mut become_command = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let (pid, call) = line.split_once(' ').expect("strace -f begins with a pid");
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        if number == 0 {
            parent = pid; // strace's own execve
        } else if !become_command.contains(pid) && !name.starts_with(['<', '-', '+']) {
            calls.insert(name.to_owned());
            let failed = arguments.contains(" = -1 ");
            if pid != parent && name == "execve" && !failed {
                become_command.insert(pid.to_owned());
            }
        }
    }
    calls
}

#[test]
fn every_call_that_strace_sees_is_in_the_list() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), NO_STRACE);
    let image = common::image().to_str().expect("the tests' own path");
    let listed = rows("## The story");
    for args in [&["-q", image, "true"][..], &["--bare", "-q", image, "true"], &["/", "true"]] {
        let calls = traced(args);
        assert!(calls.len() > 8, "{args:?}: {calls:?}");
        let missing: Vec<_> = calls.difference(&listed).collect();
        assert!(missing.is_empty(), "{args:?}: {missing:?}");
    }
}

#[test]
fn watching_makes_no_call_that_is_not_in_the_list() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), NO_STRACE);
    let image = common::image().to_str().expect("the tests' own path");
    let listed = &rows("## The story") | &rows("## Only when watched");
    for how in ["--explain", "--dry-run", "--trace=/dev/null"] {
        let calls = traced(&[how, image, "true"]);
        let missing: Vec<_> = calls.difference(&listed).collect();
        assert!(missing.is_empty(), "{how}: {missing:?}");
    }
}

/// Each call in turn is made to fail as a kernel without it would.
#[test]
fn a_missing_call_has_the_effect_that_the_list_says() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), NO_STRACE);
    let image = common::image();
    let (path, name) = (image.parent().expect("it has one"), image.file_name().expect("a name"));
    // Those that strace itself, or an end, needs.
    let facts =
        generate::syscalls_facts().filter(|fact| !["execve", "exit_group"].contains(&fact.0));
    for (call, starts) in facts {
        let inject = format!("inject={call}:error=ENOSYS");
        let mut command = strace(["-e", &inject], Path::new("/dev/null"));
        command.env("TINYCTR_PATH", path).arg(common::binary()).args([
            "-q".as_ref(),
            name,
            "true".as_ref(),
        ]);
        let said = run(common::ignoring(Signal::SIGUSR1, &mut command));
        // A command that lacks a call has an exit status of its own.
        assert_eq!(said.code != Some(125), starts, "{call}: {said:?}");
    }
}

// --- make install --------------------------------------------------------------------------------

#[test]
fn make_install_puts_every_file_in_place() {
    require!(have("make") && have("cargo"), "needs make and cargo");
    require!(Path::new(TOP).join("tinyctr").exists(), "needs `make` to have been run");
    let owner = fs::metadata(Path::new(TOP).join("target")).map(|target| target.uid());
    let own = owner.is_ok_and(|owner| owner == nix::unistd::geteuid().as_raw());
    require!(own, "needs a target/ of one's own");
    let to = tempdir();
    let mut make = Command::new("make");
    // Without `program`: it would build the one that other tests are running.
    make.current_dir(TOP).args(["-s", "-o", "program", "install", "PREFIX=/opt/tinyctr"]);
    let said = run(make.arg(format!("DESTDIR={}", to.path().display())));
    assert_eq!(said.code, Some(0), "{said:?}");
    let at = |path: &str| fs::read_to_string(to.path().join("opt/tinyctr").join(path));
    let share = |path: &str| at(&format!("share/{path}")).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert_eq!(share("man/man1/tinyctr.1"), made("man"));
    assert_eq!(share("bash-completion/completions/tinyctr"), made("bash"));
    assert_eq!(share("zsh/site-functions/_tinyctr"), made("zsh"));
    assert_eq!(share("fish/vendor_completions.d/tinyctr.fish"), made("fish"));
    share("doc/tinyctr/README.md");
    let binary = to.path().join("opt/tinyctr/bin/tinyctr");
    assert!(stdout(Command::new(binary).arg("--version")).starts_with("tinyctr "));
    let found: Vec<_> = fs::read_dir(to.path()).expect("it is there").flatten().collect();
    assert_eq!(found.len(), 1, "nothing beside PREFIX: {found:?}");
}

#[test]
fn make_help_lists_the_targets_that_write_files() {
    require!(have("make"), "needs make");
    let help = stdout(Command::new("make").current_dir(TOP).args(["-s", "help"]));
    for target in ["generate", "docs", "install"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("make {target} "))));
    }
}
