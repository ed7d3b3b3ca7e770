//! The documents tell the truth: every `console` block in them is run, on a terminal, and what
//! comes out is what stands there. The picture is redrawn, and compared.
//!
//! In a block `$ ` begins a command, and `# ` a line that is typed into the shell that it started.
//! `sudo` is root; a `./tinyctr` without it is an ordinary user's. A line `...` stands for any
//! lines. Compared are words: numbers from 10 on, months, and the width of columns differ from day
//! to day. Inodes differ too, but two that are the same, or not, stay so.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{
    NO_NAMESPACES, can_contain, have, isolate, require, run, skip, stdout, tempdir, tinyctr,
};
use nix::pty::openpty;
use nix::sched::CloneFlags;
use nix::unistd::setsid;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_readme_tells_the_truth() {
    check("README.md");
}

#[test]
fn the_tour_tells_the_truth() {
    require!(have("unshare"), "needs unshare(1)");
    check("docs/tour.md");
}

fn check(document: &str) {
    if let Some(reason) = cannot_compare() {
        return skip(reason);
    }
    require!(Path::new(ROOT).join("tinyctr").exists(), "needs `make` to have been run");
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).expect("it is there");
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{document} has no console block");
    let mut complaints = Vec::new();
    for (line, block) in blocks {
        if let Some(reason) = cannot_run(&block) {
            skip(&format!("{document}:{line}: {reason}"));
            continue;
        }
        let (script, expected) = parse(&block);
        let happened = run_on_a_terminal(&script);
        if !matches(&words(&happened), &words(&expected.join("\n"))) {
            complaints.push(format!(
                "{document}:{line}: this does not happen:\n{block}\n--- but this:\n{happened}"
            ));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// Why the documents can't be held against this machine.
fn cannot_compare() -> Option<&'static str> {
    let issue = std::fs::read_to_string(Path::new(ROOT).join("rootfs/trusty/etc/issue"));
    if !can_contain() {
        Some(NO_NAMESPACES)
    } else if !common::is_root() {
        Some("the transcripts were made by root")
    } else if !issue.is_ok_and(|issue| issue.contains("Debian GNU/Linux 12")) {
        Some("the transcripts were made with the stand-in for trusty on Debian 12")
    } else {
        None
    }
}

// --- the picture ---------------------------------------------------------------------------------

#[test]
fn the_picture_is_drawn_from_a_trace() {
    if let Some(reason) = cannot_compare() {
        return skip(reason);
    }
    require!(have("python3"), "needs python3");
    let directory = tempdir();
    let trace = directory.path().join("trace");
    let option = format!("--trace=json:{}", trace.display());
    stdout(tinyctr(["-q", &option, "trusty", "ps", "aux"]).current_dir(ROOT));
    let docs = Path::new(ROOT).join("docs");
    let drawn = stdout(Command::new(docs.join("draw-story")).arg(&trace));
    let picture = std::fs::read_to_string(docs.join("story.svg")).expect("it is there");
    assert!(
        drawn == picture,
        "docs/story.svg is not what happens any more. If that is right, draw it again, as root:\n  \
         ./tinyctr -q --trace=json:trace trusty ps aux; docs/draw-story trace > docs/story.svg"
    );
}

#[test]
fn a_story_that_goes_wrong_can_be_drawn_too() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("python3"), "needs python3");
    let directory = tempdir();
    let trace = directory.path().join("trace");
    let option = format!("--trace=json:{}", trace.display());
    let image = common::image().to_str().expect("the tests' own path");
    for (args, shown) in [
        (vec![image, "frobnicate"], "the child has ended"),
        (vec!["no-such-image"], "faccessat"),
        (vec!["--dry-run", image, "true"], "pivot_root"),
    ] {
        run(tinyctr([&option]).args(&args));
        let picture = stdout(Command::new(ROOT.to_owned() + "/docs/draw-story").arg(&trace));
        assert!(picture.contains(shown), "{args:?}: {picture}");
    }
}

// --- blocks --------------------------------------------------------------------------------------

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

/// Why this block can't be run here.
fn cannot_run(block: &str) -> Option<&'static str> {
    let begins_with = |word: &str| block.lines().any(|line| line.starts_with(word));
    if begins_with("$ cc ") && !can_link_statically() {
        Some("needs a C compiler and a static libc")
    } else if begins_with("$ ./tinyctr ") && !there_is_an_ordinary_user() {
        Some("needs setpriv(1), and an ordinary user who can reach ./tinyctr and make namespaces")
    } else {
        None
    }
}

fn can_link_statically() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let script = "echo 'int main(void) { return 0; }' | cc -static -x c -o /dev/null -";
        run(Command::new("sh").args(["-c", script])).code == Some(0)
    })
}

/// Makes an ordinary user of who runs it. No account is needed, a number is enough.
const AS_USER: &str = "setpriv --reuid=1000 --regid=1000 --clear-groups ";

fn there_is_an_ordinary_user() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let unshare = "unshare --user --map-root-user --mount --pid --fork";
        let script =
            format!("{AS_USER} test -x ./tinyctr && {AS_USER} {unshare} mount -t proc proc /proc");
        run(Command::new("sh").args(["-c", &script]).current_dir(ROOT)).code == Some(0)
    })
}

/// A block as a script for bash, and the lines that it should print.
fn parse(block: &str) -> (String, Vec<&str>) {
    let mut script = String::new();
    let mut expected = Vec::new();
    let (mut in_shell, mut typing) = (false, false);
    for line in block.lines().chain(["$ :"]) {
        if let (true, Some(typed)) = (in_shell, line.strip_prefix("# ")) {
            // The shell inside has no terminal to prompt on, so it only prints what it is told to.
            script += if typing { "" } else { " <<'TYPED'" };
            script += &format!("\n{typed}");
            typing = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            script += if typing { "\nTYPED\n" } else { "\n" };
            let user = if command.starts_with("./tinyctr ") { AS_USER } else { "" };
            script += user;
            script += command.strip_prefix("sudo ").unwrap_or(command);
            in_shell = command.ends_with("bash");
            typing = false;
        } else {
            expected.push(line);
        }
    }
    (script, expected)
}

/// Runs `script` in bash, in a UTS namespace where the host is called `host`, and a mount
/// namespace, so that no block can change the host.
fn run_on_a_terminal(script: &str) -> String {
    // bash is not to inherit them: with --bare, which closes nothing, the numbers would show it.
    let (master, slave) = {
        let terminal = openpty(None, None).expect("a pseudo-terminal");
        let closed_on_exec = |end: &OwnedFd| end.try_clone().expect("a descriptor");
        (closed_on_exec(&terminal.master), closed_on_exec(&terminal.slave))
    };
    let output = || Stdio::from(slave.try_clone().expect("a descriptor"));
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(format!("hostname host\n{script}"));
    bash.current_dir(ROOT).stdin(Stdio::null()).stdout(output()).stderr(output());
    bash.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    isolate(&mut bash, CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS);
    // Without the terminal of whoever tests: ps(1) would tell of it.
    // SAFETY: a system call, nothing else.
    unsafe { bash.pre_exec(|| Ok(setsid().map(drop)?)) };
    let mut child = bash.spawn().expect("bash starts");
    drop(bash); // and with it our copies of the slave's descriptor
    drop(slave);
    let mut happened = Vec::new();
    // The end of a terminal is an error, EIO, once nobody has it open any more.
    let _end = File::from(master).read_to_end(&mut happened);
    child.wait().expect("bash ends");
    String::from_utf8_lossy(&happened).replace('\r', "")
}

// --- words ---------------------------------------------------------------------------------------

/// Lines of words, with what differs from day to day made equal.
fn words(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(|line| {
        let mut after_month = false;
        let word = |word| {
            let is_day = std::mem::replace(&mut after_month, is_month(word));
            if is_day || is_month(word) { "DATE".to_owned() } else { plain(word) }
        };
        without_descriptors(line.split_whitespace().map(word).collect())
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// With `--bare`, which numbers are free depends on the caller.
fn without_descriptors(mut line: Vec<String>) -> Vec<String> {
    let digit = |letter: char| letter.is_ascii_digit();
    for at in 0..line.len() {
        let call = line[at].starts_with("openat(") || line[at].starts_with("fchdir(");
        if call {
            line[at] = line[at].replace(digit, "FD");
        }
        let result = at > 0 && line[at - 1] == "=";
        if result && line.iter().any(|word| word.starts_with("openat(")) {
            line[at] = line[at].replace(digit, "FD");
        }
    }
    line
}

fn is_month(word: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.contains(&word)
}

/// The word without what is another on another day: capability sets, hexadecimal numbers, and
/// numbers of more than one digit, with those that are times or fractions.
fn plain(word: &str) -> String {
    if inode(word).is_some() {
        return word.to_owned();
    }
    if word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return if word.bytes().all(|byte| byte == b'0') { "NO-SET" } else { "SET" }.to_owned();
    }
    let mut plain = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let (length, number) = match rest.strip_prefix("0x") {
            Some(digits) => {
                let digits = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
                ("0x".len() + digits, "0xN")
            }
            None => (number_length(rest), "N"),
        };
        let length = length.max(first.len_utf8());
        plain += if length > 1 && first.is_ascii_digit() { number } else { &rest[..length] };
        rest = &rest[length..];
    }
    plain
}

/// Of `12`, `12.5`, `12:05` and `0:00` at the beginning of `text`.
fn number_length(text: &str) -> usize {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(text);
    while length > 0 && text[length..].starts_with(['.', ':']) {
        match digits(&text[length + 1..]) {
            0 => break,
            more => length += 1 + more,
        }
    }
    length
}

/// The two parts of `uts:[4026531838]`.
fn inode(word: &str) -> Option<(&str, &str)> {
    let (kind, number) = word.trim_end_matches(',').strip_suffix(']')?.split_once(":[")?;
    number.parse::<u64>().is_ok().then_some((kind, number))
}

/// Whether the lines are the expected ones, `...` being any lines or none.
///
/// After execve the command and tinyctr run side by side, so that the lines of a trace and what the
/// command prints are in order each for themselves, not with one another.
fn matches(said: &[Vec<String>], expected: &[Vec<String>]) -> bool {
    let from_trace = |line: &Vec<String>| line[0] == "parent" || line[0] == "child";
    let same = |traced| {
        let part = |lines: &[Vec<String>]| {
            let is_part = |line: &&Vec<String>| from_trace(line) == traced || line[..] == ["..."];
            lines.iter().filter(is_part).cloned().collect::<Vec<_>>()
        };
        matches_from(&part(said), &part(expected), &Pairs::default())
    };
    matches_from(said, expected, &Pairs::default())
        || (expected.iter().any(from_trace) && same(true) && same(false))
}

fn matches_from(said: &[Vec<String>], expected: &[Vec<String>], pairs: &Pairs) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first[..] == ["..."] => {
            (0..=said.len()).any(|skipped| matches_from(&said[skipped..], rest, pairs))
        }
        Some((first, rest)) => {
            let mut pairs = pairs.clone();
            said.first().is_some_and(|line| pairs.join(line, first))
                && matches_from(&said[1..], rest, &pairs)
        }
    }
}

/// Which inode here is which there, both ways.
#[derive(Clone, Default)]
struct Pairs(BTreeMap<(bool, String), String>);

impl Pairs {
    /// Whether the two lines say the same.
    fn join(&mut self, said: &[String], expected: &[String]) -> bool {
        said.len() == expected.len()
            && said.iter().zip(expected).all(|(said, expected)| {
                match (inode(said), inode(expected)) {
                    (Some((kind, here)), Some((same, there))) => {
                        kind == same
                            && self.pair(here, there, false)
                            && self.pair(there, here, true)
                    }
                    _ => said == expected,
                }
            })
    }

    fn pair(&mut self, one: &str, other: &str, back: bool) -> bool {
        let known = self.0.entry((back, one.to_owned())).or_insert_with(|| other.to_owned());
        known == other
    }
}

#[test]
fn an_untrue_transcript_is_found() {
    let same = |said: &str, expected: &str| matches(&words(said), &words(expected));
    assert!(same("a 12\nb\nc", "a 78\n...\nc"));
    assert!(!same("a\nb", "a"));
    assert!(!same("a", "a\nb"));
    assert!(!same("root 1 ps aux", "root 1 ps ax"));
    assert!(!same("container exited: 1", "container exited: 0"));
    assert!(same("-rw- 1 root 4096 Nov  3 15:34 x", "-rw- 1 root 512 Dec 23 2024 x"));
    assert!(same("clone(0x7f12, 2) = 31 <0.000012>", "clone(0x2ab, 2) = 30117 <1.234567>"));
    assert!(!same("close(3) = 0 <0.000012>", "close(3) = -1 <0.000012>"));
    assert!(same("CapEff: 000001ffffffffff", "CapEff: 000001fffeffffff"));
    assert!(!same("CapEff: 000001ffffffffff", "CapEff: 0000000000000000"));
}

#[test]
fn a_trace_and_the_command_need_not_wait_for_one_another() {
    let same = |said: &str, expected: &str| matches(&words(said), &words(expected));
    assert!(same("child a\nola\nparent b", "child a\nparent b\nola"));
    assert!(!same("parent b\nola\nchild a", "child a\nparent b\nola"));
    assert!(!same("child a\nparent b\nole", "child a\nparent b\nola"));
    assert!(!same("ola\nole", "ole\nola"));
}

#[test]
fn inodes_that_are_the_same_stay_the_same() {
    let same = |said: &str, expected: &str| matches(&words(said), &words(expected));
    assert!(same("uts:[11] pid:[12]\nuts:[11]", "uts:[21] pid:[22]\nuts:[21]"));
    assert!(!same("uts:[11] pid:[12]\nuts:[13]", "uts:[21] pid:[22]\nuts:[21]"));
    assert!(!same("uts:[11] pid:[12]\nuts:[11]", "uts:[21] pid:[22]\nuts:[23]"));
    assert!(!same("uts:[11]", "pid:[11]"));
}

#[test]
fn a_block_is_a_script_and_what_it_prints() {
    let (script, expected) = parse("$ sudo bash\n# hostname x\nx\n$ ./tinyctr x\n# a remark");
    let commands: Vec<&str> = script.lines().filter(|line| !line.is_empty()).collect();
    let user = format!("{AS_USER}./tinyctr x");
    assert_eq!(commands, ["bash <<'TYPED'", "hostname x", "TYPED", &user, ":"]);
    assert_eq!(expected, ["x", "# a remark"]);
}
