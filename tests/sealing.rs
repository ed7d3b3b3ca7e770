//! The seal, attempt by attempt: tests/programs/probe.c tries inside what sealing/checks.rs lists.
//! Each attempt is made twice: sealed it must be held, and with its protection lifted it must
//! succeed, so that no check is empty. docs/security.md has the same list, and what other runtimes
//! make of it.

#[path = "sealing/checks.rs"]
mod checks;
mod common;
#[path = "sealing/host.rs"]
mod host;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use checks::CHECKS;
use common::{
    NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, binary, can_contain, can_inject, fails, have, is_root,
    require, run, skip, stdout, tinyctr, token,
};
use host::{Host, Verdict, probe};

pub struct Check {
    /// Of the test.
    pub name: &'static str,
    /// For the document: what is tried, and what must happen.
    pub tried: &'static str,
    pub must: &'static str,
    /// What probe.c is told.
    pub probe: &'static str,
    /// tinyctr's options, where the default is not what is looked at.
    pub options: &'static str,
    /// tinyctr's options under which it must not hold; a last word `/`: on the host's own root.
    pub lifted: &'static str,
    /// In bash, outside, before: the command to run is `"$@"`.
    pub before: &'static str,
    /// An ordinary user can't make the attempt, or gains nothing by it.
    pub needs_root: bool,
}

pub const NONE: Check = Check {
    name: "",
    tried: "",
    must: "",
    probe: "",
    options: "",
    lifted: "",
    before: "",
    needs_root: false,
};

fn holds(name: &str) {
    require!(can_contain(), NO_NAMESPACES);
    let check = CHECKS.iter().find(|check| check.name == name).expect("it is in the list");
    require!(is_root() || !check.needs_root, NEEDS_ROOT);
    let (sealed, line) = attempt(check, check.options);
    assert_ne!(sealed, Verdict::Open, "{line}");
    if !is_root() {
        return; // who has no privileges can't be given any back
    }
    let (lifted, lifted_line) = attempt(check, check.lifted);
    if lifted == Verdict::Unknown || lacks(&lifted_line) {
        return skip(&format!("this machine can't tell: {lifted_line}"));
    }
    assert_eq!(lifted, Verdict::Open, "an empty check: {:?}: {lifted_line}", check.lifted);
    assert_eq!(sealed, Verdict::Held, "{line}");
}

/// A kernel that lacks a call refuses it as the filter would.
fn lacks(unprotected: &str) -> bool {
    unprotected.ends_with("Function not implemented")
}

/// On an initramfs the host's root is covered, not detached.
#[test]
fn no_escape_works_where_the_kernel_refuses_pivot_root() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), NO_STRACE);
    let is_escape = |check: &&Check| check.probe.contains("{mark}");
    for check in CHECKS.iter().filter(is_escape) {
        let host = Host::new();
        let strace = "strace -f -qq -o /dev/null -e inject=pivot_root:error=EINVAL --";
        let mut words: Vec<PathBuf> = strace.split(' ').map(PathBuf::from).collect();
        words.extend([binary().into(), "-q".into(), host.image(), "/probe".into()]);
        let (verdict, line) = host.attempt(check.before, &words, check.probe);
        assert_eq!(verdict, Verdict::Held, "{}: {line}", check.name);
    }
}

fn attempt(check: &Check, options: &str) -> (Verdict, String) {
    let host = Host::new();
    let mut options: Vec<&str> = options.split_whitespace().collect();
    let on_host = options.last() == Some(&"/");
    options.truncate(options.len() - usize::from(on_host));
    let mut words: Vec<PathBuf> = vec![binary().into(), "-q".into()];
    words.extend(options.iter().map(PathBuf::from));
    if on_host {
        words.extend(["/".into(), probe()]);
    } else {
        words.extend([host.image(), "/probe".into()]);
    }
    host.attempt(check.before, &words, check.probe)
}

// --- capabilities --------------------------------------------------------------------------------

const FOURTEEN: u64 = 0xa804_25fb;
const CHOWN: u64 = 1 << 0;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;

/// CapInh, CapPrm, CapEff, CapBnd, CapAmb, with these options.
fn capabilities(options: &[&str]) -> [u64; 5] {
    let host = Host::new();
    let set = |name: &str| {
        let mut command = tinyctr(options);
        command.arg(host.image()).args(["/probe", "capabilities", name, "?"]);
        let line = run(&mut command).stdout;
        let value = line.trim_end().rsplit(' ').next().expect("it is not empty").to_owned();
        u64::from_str_radix(&value, 16).unwrap_or_else(|_| panic!("{options:?}: {line:?}"))
    };
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(set)
}

#[test]
fn capabilities_are_added_and_dropped_by_name() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for (options, expected) in [
        (&[][..], FOURTEEN),
        (&["--cap-drop", "all"], 0),
        (&["--cap-drop=chown"], FOURTEEN & !CHOWN),
        (&["--cap-drop", "CAP_CHOWN"], FOURTEEN & !CHOWN),
        (&["--cap-add", "sys_admin"], FOURTEEN | SYS_ADMIN),
        (
            &["--cap-add=sys_admin", "--cap-drop=chown,net_raw"],
            (FOURTEEN | SYS_ADMIN) & !CHOWN & !NET_RAW,
        ),
        (&["--cap-drop=all", "--cap-add=net_raw"], NET_RAW),
        (&["--cap-add=chown"], FOURTEEN),
    ] {
        assert_eq!(capabilities(options), [0, expected, expected, expected, 0], "{options:?}");
    }
}

#[test]
fn all_capabilities_are_those_that_the_caller_can_have() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let ours = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a set");
    let ours = u64::from_str_radix(ours.trim(), 16).expect("a number");
    for options in [&["--cap-add", "all"][..], &["--privileged"]] {
        let [_, permitted, effective, bounding, _] = capabilities(options);
        assert_eq!([permitted, effective, bounding], [ours; 3], "{options:?}");
    }
    let [_, _, effective, bounding, _] = capabilities(&["--cap-add=all", "--cap-drop=sys_admin"]);
    assert_eq!([effective, bounding], [ours & !SYS_ADMIN; 2]);
}

#[test]
fn a_capability_that_does_not_exist_is_refused() {
    for option in ["--cap-add", "--cap-drop"] {
        for list in ["", "no_such", "chown,no_such", "chown,", "CAP_", "cap", "41", "chownx"] {
            let failure = fails(&mut tinyctr([option, list, "/", "true"]), 125);
            assert_eq!(failure.step, "option", "{option} {list:?}");
        }
    }
}

#[test]
fn a_filter_that_does_not_exist_is_refused() {
    for profile in ["", "no-such", "/dev/null"] {
        let failure = fails(&mut tinyctr(["--seccomp", profile, "/", "true"]), 125);
        assert_eq!(failure.step, "option", "{profile:?}");
    }
}

// --- the banner ----------------------------------------------------------------------------------

/// Who runs a container without its seal is told so where the banner is.
#[test]
fn the_banner_tells_of_a_lifted_seal() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    let banner = |options: &[&str]| {
        let mut command = tinyctr(["--verbose"]);
        command.args(options).arg(host.image()).args(["/probe", "working-directory"]);
        let said = run(&mut command);
        assert_eq!(said.code, Some(0), "{options:?}: {said:?}");
        said.stderr
    };
    let sealed = banner(&[]);
    assert!(!sealed.contains("seal") && !sealed.contains("privileged"), "{sealed}");
    for option in ["--privileged", "--bare"] {
        let lifted = banner(&[option]);
        assert!(lifted.contains(option.trim_start_matches('-')), "{option}: {lifted}");
    }
}

// --- other runtimes, and the document ------------------------------------------------------------

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");

/// As bubblewrap's manual would have it for somebody else's program.
const BWRAP: &str = "bwrap --unshare-all --share-net --bind IMAGE / --proc /proc --dev /dev \
                     --die-with-parent --new-session";

#[derive(Clone, Copy, Debug)]
enum Runtime {
    Tinyctr,
    Runc,
    Bubblewrap,
}

impl Runtime {
    const ALL: [Runtime; 3] = [Runtime::Tinyctr, Runtime::Runc, Runtime::Bubblewrap];

    /// Makes the attempt in this runtime, by its defaults.
    fn attempt(self, check: &Check) -> (Verdict, String) {
        let host = Host::new();
        let words = match self {
            Runtime::Tinyctr => {
                vec![binary().into(), "-q".into(), host.image(), "/probe".into()]
            }
            Runtime::Runc => return host.attempt(check.before, &runc(&host, check), ""),
            Runtime::Bubblewrap => {
                let image = host.image().display().to_string();
                let words = BWRAP.split_whitespace().map(|word| word.replace("IMAGE", &image));
                words.map(PathBuf::from).chain(["/probe".into()]).collect()
            }
        };
        host.attempt(check.before, &words, check.probe)
    }
}

/// `runc spec`, with the image as it is for the others: to be written to, and without a terminal.
fn runc(host: &Host, check: &Check) -> Vec<PathBuf> {
    let spec = host.path().join("config.json");
    stdout(Command::new("runc").arg("spec").current_dir(host.path()));
    let text = fs::read_to_string(&spec).expect("runc wrote it");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut args = vec!["/probe".to_owned()];
    args.extend(host.words(check.probe));
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = args.into();
    config["root"]["path"] = "image".into();
    config["root"]["readonly"] = false.into();
    fs::write(&spec, config.to_string()).expect("the directory is ours");
    let state = host.path().join("state");
    let mut words: Vec<PathBuf> = vec!["runc".into(), "--root".into(), state, "run".into()];
    words.extend(["--bundle".into(), host.path().into(), token().into()]);
    words
}

/// `make compare`: both tables of the document, written anew from the list and from real runs.
#[test]
#[ignore = "takes a minute, needs runc and bubblewrap, and writes docs/security.md"]
fn the_document_is_written() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("runc") && have("bwrap"), "needs runc and bubblewrap");
    let mut comparison = String::from("| test | tinyctr | runc | bubblewrap |\n");
    comparison += "| --- | --- | --- | --- |\n";
    for check in CHECKS {
        comparison += &format!("| `{}` |", check.name);
        let (_, unprotected) = attempt(check, check.lifted);
        for runtime in Runtime::ALL {
            let (verdict, line) = runtime.attempt(check);
            println!("{}: {runtime:?}: {line}", check.name);
            let verdict = if lacks(&unprotected) { Verdict::Unknown } else { verdict };
            comparison += &format!(" {} |", verdict.word());
        }
        comparison += "\n";
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has one");
    let first_line = |program: &str| {
        let version = stdout(Command::new(program).arg("--version"));
        version.lines().next().unwrap_or("").replace(" version", "")
    };
    let kernel = kernel.split('-').next().unwrap_or("").trim();
    comparison += &format!(
        "\n{}, {}, {}, on Linux {kernel}, {}.\n",
        first_line(text(binary())),
        first_line("runc"),
        first_line("bwrap"),
        std::env::consts::ARCH
    );
    let mut document = fs::read_to_string(DOCUMENT).expect("it is there");
    for (name, table) in [("list", list()), ("comparison", comparison)] {
        let start = format!("<!-- {name} -->\n\n");
        let old = format!("{start}{}", part(&document, name));
        document = document.replace(&old, &(start + &table));
    }
    fs::write(DOCUMENT, document).expect("it can be written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' own path")
}

fn list() -> String {
    let mut list = String::from("| what is tried | what must happen | lifted by | test |\n");
    list += "| --- | --- | --- | --- |\n";
    for Check { name, tried, must, options, lifted, .. } in CHECKS {
        let lifted = match (*lifted, *options) {
            ("", options) => format!("no `{options}`"),
            (lifted, _) => format!("`{}`", lifted.replace("--trace=/dev/null ", "")),
        };
        list += &format!("| {tried} | {must} | {lifted} | `{name}` |\n");
    }
    list
}

/// What stands between `<!-- NAME -->` and `<!-- end -->`.
fn part<'a>(document: &'a str, name: &str) -> &'a str {
    let start = format!("<!-- {name} -->\n\n");
    let from = document.find(&start).unwrap_or_else(|| panic!("{start}")) + start.len();
    let length = document[from..].find("\n<!-- end -->").expect("it ends");
    &document[from..from + length]
}

#[test]
fn the_document_has_every_check_and_no_other() {
    let document = fs::read_to_string(DOCUMENT).expect("it is there");
    assert!(part(&document, "list") == list(), "docs/security.md is not up to date: make compare");
}

/// Where tinyctr's default leaves something open the list says by what it is held.
#[test]
fn the_comparison_has_every_check_and_hides_nothing() {
    let document = fs::read_to_string(DOCUMENT).expect("it is there");
    let rows = part(&document, "comparison").lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches(['|', '`', ' '])).collect();
    let expected: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names, expected, "make compare");
    for (row, check) in rows.iter().zip(CHECKS) {
        assert_eq!(row.len(), 4, "{row:?}");
        let verdicts = row[1..].iter().map(|cell| cell.trim_end_matches(" |"));
        assert!(verdicts.clone().all(|verdict| ["held", "open", "n/a"].contains(&verdict)));
        assert!(row[1] != "open" || !check.options.is_empty(), "{row:?}");
    }
}

#[test]
fn every_test_of_hostile_images_is_in_the_document() {
    let document = fs::read_to_string(DOCUMENT).expect("it is there");
    let rows = part(&document, "hostile").lines().filter(|line| line.ends_with("` |"));
    let listed: BTreeSet<&str> = rows.filter_map(|row| row.rsplit('`').nth(1)).collect();
    let source = include_str!("hostile.rs");
    let tests = source.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
    assert_eq!(listed, tests.collect());
}
