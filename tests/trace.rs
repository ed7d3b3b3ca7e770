//! What `--trace`, `--dry-run`, `--explain` and `--skip` say is what happens: held against
//! strace(1), against the host before and after, and against the container itself.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{
    NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, binary, can_contain, can_inject, fails, have, image,
    is_root, isolate, propagate, require, run, stdout, strace, tempdir, tinyctr,
};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use tinyctr::steps::{LESSONS, Step};

/// A system call, as either of the two prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    who: &'static str,
    /// `mount("proc", ".", ...)`, what differs from run to run made equal.
    text: String,
    /// `0`, `-1 ENOENT`, `?`.
    result: String,
}

// --- the same as strace --------------------------------------------------------------------------

#[test]
fn a_bare_run_is_told_as_strace_tells_it() {
    same_as_strace(&["--bare", "-q", image_name(), "/bin/true"]);
}

#[test]
fn a_sealed_run_is_told_as_strace_tells_it() {
    same_as_strace(&["-e", "A=1", "-w", "/tmp", "--verbose", image_name(), "true"]);
}

#[test]
fn a_network_is_told_as_strace_tells_it() {
    same_as_strace(&["-q", "--net=none", image_name(), "true"]);
    // As root it is entered, else it is refused.
    same_as_strace(&["-q", "--net=/proc/self/ns/net", image_name(), "true"]);
    same_as_strace(&["-q", "--net=no-such-name", "/", "true"]);
}

#[test]
fn a_run_with_a_helper_is_told_as_strace_tells_it() {
    let ns = "--ns=uts,pid,mnt,ipc,cgroup,user";
    same_as_strace(&["-q", ns, "-u", "5:6", image_name(), "true"]);
    same_as_strace(&["-q", "--bare", ns, image_name(), "true"]);
}

#[test]
fn a_run_on_the_hosts_own_root_is_told_as_strace_tells_it() {
    same_as_strace(&["--verbose", "/", "true"]);
    same_as_strace(&["--ns", "none", "/", "sh", "-c", "exit 3"]);
}

#[test]
fn a_failing_start_is_told_as_strace_tells_it() {
    same_as_strace(&[image_name(), "no-such-command"]);
    same_as_strace(&["-w", "/no/such/directory", image_name(), "true"]);
    same_as_strace(&["no-such-image", "true"]);
    same_as_strace(&["/no/such/image\u{e9}\"\n", "true"]);
}

/// Of a path all is shown, of what a link says no more than 32 bytes.
#[test]
fn a_long_link_and_a_long_working_directory_are_told_as_strace_tells_them() {
    require!(can_contain() && can_inject(), NO_STRACE);
    let directory = tempdir();
    let place = directory.path().join("a-directory-with-quite-a-long-name");
    for name in ["dev", "proc", "sys"] {
        fs::create_dir_all(place.join(name)).expect("a place");
    }
    let copy = place.join("tinyctr");
    fs::copy(binary(), &copy).expect("of the program");
    for image in [".", "no-such-image"] {
        let list = directory.path().join("list");
        let mut plain = strace([] as [&str; 0], &list);
        run(plain.arg(&copy).args([image, "true"]).current_dir(&place));
        let expected = hidden(from_strace(&fs::read_to_string(&list).expect("strace wrote it")));
        let mut traced = Command::new(&copy);
        traced.args(["--trace", image, "true"]).current_dir(&place).env_remove("TINYCTR_PATH");
        let told = hidden(from_trace(&run(traced.stdin(Stdio::null())).stderr));
        assert_eq!(told, expected);
    }
}

#[test]
fn a_command_that_a_signal_ends_is_told_as_strace_tells_it() {
    same_as_strace(&["--ns", "none", "/", "sh", "-c", "kill -9 $$"]);
}

#[test]
fn closing_one_by_one_is_told_as_strace_tells_it() {
    require!(can_contain() && can_inject(), NO_STRACE);
    let directory = tempdir();
    let inject = ["-e", "inject=close_range:error=ENOSYS"];
    let list = directory.path().join("list");
    run(strace(inject, &list).arg(binary()).args(["--ns", "none", "/", "true"]));
    let expected = from_strace(&fs::read_to_string(&list).expect("strace wrote it"));
    let ours = directory.path().join("ours");
    let trace = format!("--trace={}", ours.display());
    run(strace(inject, &list).arg(binary()).arg(trace).args(["--ns", "none", "/", "true"]));
    let told = from_trace(&fs::read_to_string(&ours).expect("tinyctr wrote it"));
    let names = |calls: &[Call]| -> Vec<String> {
        calls.iter().map(|call| call.text.split('(').next().unwrap_or("").to_owned()).collect()
    };
    assert_eq!(names(&told), names(&expected));
}

fn image_name() -> &'static str {
    image().to_str().expect("the path of the tree is UTF-8")
}

#[track_caller]
fn same_as_strace(args: &[&str]) {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let directory = tempdir();
    let list = directory.path().join("list");
    let mut plain = strace([] as [&str; 0], &list);
    let untraced = run(plain.arg(binary()).args(args).env_remove("TINYCTR_PATH"));
    let expected = hidden(from_strace(&fs::read_to_string(&list).expect("strace wrote it")));
    let traced = run(tinyctr(["--trace"]).args(args));
    let told = hidden(from_trace(&traced.stderr));
    assert!(expected.len() > 5, "strace saw the start: {expected:?}");
    for (ours, theirs) in told.iter().zip(&expected) {
        assert_eq!(ours, theirs, "all of ours: {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}\n{expected:#?}");
    assert_eq!(traced.code, untraced.code);
}

/// Once the memory is hidden, an ordinary user's strace(1) can't read what pointers lead to.
fn hidden(mut calls: Vec<Call>) -> Vec<Call> {
    let from = calls.iter().position(|call| call.text.contains("PR_SET_DUMPABLE"));
    for call in calls.iter_mut().skip(from.map_or(usize::MAX, |at| at + 1)) {
        if !is_root() {
            call.text = call.text.split('(').next().unwrap_or("").to_owned();
        }
    }
    calls
}

/// `strace -f -o`: each line begins with a pid. Calls in the order in which they began, up to
/// the child's last execve, which worked.
fn from_strace(text: &str) -> Vec<Call> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    let mut open: BTreeMap<u32, usize> = BTreeMap::new();
    for line in text.lines() {
        let (pid, rest) = line.split_once(' ').expect("a pid comes first");
        let (pid, rest) = (pid.parse().expect("a pid"), rest.trim_start());
        if rest.starts_with("---") || rest.starts_with("+++") {
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, end) = resumed.split_once(" resumed>").expect("strace's form");
            let at = open.remove(&pid).expect("it began");
            lines[at].1.push_str(end.trim_start());
        } else if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(pid, lines.len());
            lines.push((pid, begun.to_owned()));
        } else {
            lines.push((pid, rest.to_owned()));
        }
    }
    let parent = lines.first().expect("strace saw something").0;
    lines.remove(0); // strace's own execve of tinyctr
    // The guard runs beside all others, and is killed in the middle of a call.
    let clone = lines.iter().find(|(_, line)| line.contains("flags=CLONE_VM|SIGCHLD)"));
    if let Some((_, guard)) = clone.and_then(|(_, line)| line.rsplit_once(" = ")) {
        let guard: u32 = guard.parse().expect("a pid");
        lines.retain(|(pid, _)| *pid != guard);
    }
    let mut calls = Vec::new();
    let mut became = false;
    let mut helper = 0;
    for (pid, line) in lines {
        let who = match pid {
            _ if pid == parent => "parent",
            _ if pid == helper => "helper",
            _ if became => continue, // the command's own
            _ => "child",
        };
        let call = call(who, &line);
        became |= call.text.starts_with("execve(") && call.result == "0";
        if call.text.starts_with("fork(") {
            helper = call.result.parse().expect("a pid");
        }
        calls.push(call);
    }
    without_pids(without_unpacking(calls))
}

/// A watch has unpacked all code before its first line. Who is not watched unpacks it on the way:
/// into memory at its place, with the help of a workshop that is given back where there is nothing
/// to say.
fn without_unpacking(mut calls: Vec<Call>) -> Vec<Call> {
    if let Some(end) = calls.iter().position(|call| call.text.starts_with("munmap(")) {
        let is_huge = |call: &Call| call.text.contains("MADV_HUGEPAGE");
        let advice = calls[..end].iter().rposition(is_huge).expect("it was made before");
        calls.remove(end);
        calls.drain(advice - 1..=advice); // what was mapped, and the advice about it
    }
    calls.retain(|call| !call.text.contains("MAP_FIXED") && !call.text.contains("PROT_EXEC"));
    calls
}

/// `--trace`: `parent   call(...) = 0 <0.000012>`, between words of the command's and tinyctr's.
fn from_trace(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open = None;
    for line in text.lines() {
        let (who, rest) = match line.split_at_checked(9) {
            Some(("parent   ", rest)) => ("parent", rest),
            Some(("child    ", rest)) => ("child", rest),
            Some(("init     ", rest)) => ("init", rest),
            Some(("helper   ", rest)) => ("helper", rest),
            _ => continue,
        };
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open = Some((calls.len(), begun));
            calls.push(Call { who, text: String::new(), result: String::new() });
        } else if let Some(resumed) = rest.strip_prefix("<... clone resumed>") {
            let (at, begun) = open.take().expect("it began");
            calls[at] = call(calls[at].who, &format!("{begun}{resumed}"));
        } else {
            calls.push(call(who, rest));
        }
    }
    without_pids(calls)
}

fn call(who: &'static str, line: &str) -> Call {
    let end = line.rfind(" = ").unwrap_or_else(|| panic!("no result: {line}"));
    let mut text = shown(&line[..end].trim_end().replace(UNKNOWN, ""));
    // What is known of a signal: whose, and when.
    if text.starts_with("read(") && text.ends_with(", 128)") {
        text = "read(SIGNAL)".into();
    }
    // What strace says behind the result of ppoll: what it found.
    let line = line.split(" ([{fd=").next().unwrap_or(line);
    // A keyring's number is the kernel's choice.
    let result = if text.starts_with("keyctl(") {
        "KEY".into()
    } else if text.starts_with("read(") && text.contains("\"Name:") {
        "LENGTH".into() // of a status, which has numbers in it
    } else {
        result(line)
    };
    Call { who, text, result }
}

/// What strace says of a propagation of 0, which is no name that it knows.
const UNKNOWN: &str = " /* MS_??? */";

/// What follows the last ` = `, without the text of an errno, an address, a time.
fn result(line: &str) -> String {
    let words: Vec<&str> = line.rsplit(" = ").next().unwrap_or("").split(' ').collect();
    match words[..] {
        ["-1", errno, ..] => format!("-1 {errno}"),
        [address, ..] if address.starts_with("0x") => "ADDRESS".into(),
        [number, ..] => number.into(),
        [] => String::new(),
    }
}

/// Addresses made equal, and flags put in one order.
fn shown(call: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in call.chars().chain(['\n']) {
        quoted ^= letter == '"' && !out.ends_with('\\');
        if !quoted && (letter.is_alphanumeric() || "_|".contains(letter)) {
            word.push(letter);
            continue;
        }
        let mut flags: Vec<&str> = word.split('|').collect();
        flags.sort_unstable();
        out += &if word.starts_with("0x") { "ADDRESS".to_owned() } else { flags.join("|") };
        word.clear();
        out.push(letter);
    }
    out.trim_end().to_owned()
}

/// The pids of child and helper, wherever they stand, made equal; and what the helper does, at the
/// same time as the others, put behind what they do.
fn without_pids(mut calls: Vec<Call>) -> Vec<Call> {
    let made_by = |maker: &'static str| {
        let made = calls.iter().filter(move |call| call.text.starts_with(maker));
        made.map(|call| call.result.clone())
    };
    // A rehearsal doesn't tell what clone has returned; but the child says it to its helper.
    let said = calls.iter().find(|call| call.text.contains("\"/proc/self\""));
    let said = said.and_then(|call| call.text.split('"').nth(3).map(str::to_owned));
    let pids: Vec<_> = made_by("clone(").chain(made_by("fork(")).chain(said).collect();
    for pid in pids {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let length = pid.len().to_string();
        let places =
            [("wait4(", ","), ("kill(", ","), ("parent_tid=[", "]"), ("/proc/", "/"), ("\"", "\"")];
        for call in &mut calls {
            for (before, after) in places {
                let named = format!("{before}{pid}{after}");
                if call.text.contains(&named) {
                    call.text = call.text.replace(&named, &format!("{before}PID{after}"));
                    call.text = call.text.replace(&format!(", {length})"), ", LENGTH)");
                    if call.result == length {
                        call.result = "LENGTH".into();
                    }
                }
            }
            if call.result == pid {
                call.result = "PID".into();
            }
        }
    }
    calls.sort_by_key(|call| call.who == "helper");
    // The end of a helper is a SIGCHLD too: whether it wakes the parent once more, for nothing,
    // depends on when.
    const ROUND: usize = 5; // advice twice, ppoll, read, wait4
    let in_vain = |call: &Call| call.text.starts_with("wait4(") && call.result == "0";
    while let Some(at) = calls.iter().position(in_vain) {
        calls.drain(at + 1 - ROUND..=at);
    }
    calls
}

#[test]
fn a_difference_is_found() {
    let ours = from_trace("child    mount(\"a\", 0x7f, MS_REC|MS_BIND) = 0 <0.000001>\n");
    let theirs =
        from_strace("1 execve() = 0\n1 x() = 0\n2 mount(\"a\", 0x1, MS_BIND|MS_REC) = 0\n");
    assert_eq!(ours[0], theirs[1]);
    let other = from_strace("1 execve() = 0\n1 x() = 0\n2 mount(\"b\", 0x1, MS_BIND|MS_REC) = 0\n");
    assert_ne!(ours[0], other[1]);
    let failed = from_trace("child    chdir(\"/\") = -1 ENOENT (No such file or directory) <0.0>");
    assert_eq!(failed[0].result, "-1 ENOENT");
}

// --- where it goes -------------------------------------------------------------------------------

#[test]
fn a_trace_in_a_file_is_the_trace_on_stderr() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let file = directory.path().join("trace");
    let said = run(tinyctr([format!("--trace={}", file.display())]).args([image_name(), "ls"]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let in_file = from_trace(&fs::read_to_string(&file).expect("it was made"));
    let on_stderr = from_trace(&run(&mut tinyctr(["--trace", image_name(), "ls"])).stderr);
    assert_eq!(without_fds(in_file), without_fds(on_stderr));
}

/// The file takes a number of its own; and in a rehearsal so do directories.
fn without_fds(mut calls: Vec<Call>) -> Vec<Call> {
    for call in &mut calls {
        let is_fd = [
            "close(",
            "fchdir(",
            "ppoll(",
            "pipe2(",
            "socketpair(",
            "write(",
            "read(",
            "openat(",
            "open_tree(",
            "move_mount(",
            "mount_setattr(",
        ]
        .iter();
        if is_fd.clone().any(|name| call.text.starts_with(name)) {
            call.text.retain(|letter| !letter.is_ascii_digit());
        }
        if call.text.starts_with("open") || call.text.starts_with("signalfd4(") {
            call.result.clear();
        }
    }
    calls
}

#[test]
fn the_container_can_not_reach_the_file() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let file = directory.path().join("trace");
    let trace = format!("--trace={}", file.display());
    for sealed in [&["-q"][..], &["--bare"]] {
        let mut command = tinyctr([&trace]);
        command.args(sealed).args([image_name(), "sh", "-c", "readlink /proc/self/fd/*; :"]);
        let links = stdout(&mut command);
        assert!(!links.contains("trace"), "{links}");
    }
}

#[test]
fn json_is_an_object_a_line() {
    require!(can_contain(), NO_NAMESPACES);
    let calls = json(&["--verbose"], &[image_name(), "true"]);
    let clone = calls.iter().filter(|call| call["call"] == "clone").count();
    let guard = usize::from(is_root());
    assert_eq!(clone, 2 + 2 * guard, "where each begins, and where it ends");
    let last = calls.last().expect("there are some");
    assert_eq!((&last["who"], &last["call"]), (&"parent".into(), &"exit_group".into()));
    let mount = calls.iter().find(|call| call["step"] == "mount proc" && call["call"] == "mount");
    let mount = mount.expect("proc is mounted");
    assert_eq!(mount["args"][0], "\"proc\"");
    assert_eq!(mount["result"], "0");
    assert!(mount["nanoseconds"].is_u64());
}

#[test]
fn the_longest_and_oddest_path_is_told_whole() {
    // 4,095 bytes, none of which can be printed as it is.
    let path: Vec<u8> = b"\x01/\xff".iter().copied().cycle().take(4095).collect();
    let path = std::os::unix::ffi::OsStringExt::from_vec(path);
    let path: &std::ffi::OsString = &path;
    let directory = tempdir();
    let file = directory.path().join("trace");
    let told = |option: String| {
        run(tinyctr([option]).args(["--dry-run", "--bare"]).arg(path).arg("true"));
        fs::read_to_string(&file).expect("it was made")
    };
    let text = told(format!("--trace={}", file.display()));
    let mount = text.lines().find(|line| line.contains("MS_BIND")).expect("the image is bound");
    assert_eq!(mount.matches("\\1/\\377").count(), 2 * 4095 / 3, "twice, and all of it");
    for line in told(format!("--trace=json:{}", file.display())).lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
}

/// The lines of a run with `--trace=json:FILE`.
fn json(options: &[&str], command: &[&str]) -> Vec<serde_json::Value> {
    let directory = tempdir();
    let file = directory.path().join("trace");
    let trace = format!("--trace=json:{}", file.display());
    run(tinyctr([&trace]).args(options).args(command));
    let text = fs::read_to_string(&file).expect("it was made");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_file_that_can_not_be_written_is_an_error() {
    let failure = fails(&mut tinyctr(["--trace=/proc/no/such", "/", "true"]), 125);
    assert_eq!((failure.step.as_str(), failure.object.as_str()), ("trace", "/proc/no/such"));
    let failure = fails(&mut tinyctr(["--trace=/", "/", "true"]), 125);
    assert!(failure.cause.starts_with("EISDIR"), "{failure:?}");
}

#[test]
fn a_fifo_without_a_reader_is_an_error_and_no_hang() {
    let directory = tempdir();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let failure = fails(tinyctr([format!("--trace={}", fifo.display())]).args(["/", "x"]), 125);
    assert!(failure.cause.starts_with("ENXIO"), "{failure:?}");
}

#[test]
fn a_full_disk_ends_the_trace_and_not_the_container() {
    let said = run(&mut tinyctr(["--trace=/dev/full", "--ns", "none", "/", "sh", "-c", "exit 7"]));
    assert_eq!(said.code, Some(7));
    let word = "tinyctr: trace: the trace ends here: ENOSPC (No space left on device)\n";
    assert_eq!(said.stderr, word, "once");
}

#[test]
fn a_limit_on_file_sizes_ends_the_trace_and_not_the_container() {
    let directory = tempdir();
    let file = directory.path().join("trace");
    let script = r#"ulimit -f 1; exec "$0" --trace="$1" --ns none / sh -c 'echo on'"#;
    let said = run(Command::new("bash").args(["-c", script]).arg(binary()).arg(&file));
    // How much one `ulimit -f` is differs between shells; a trace is longer than any of them.
    assert_eq!(said.stdout, "on\n", "{said:?}");
}

#[test]
fn a_closed_stderr_ends_the_trace_and_not_the_container() {
    let script = r#"exec "$0" --trace --ns none / sh -c 'echo on' 2>&-"#;
    let mut shell = Command::new("sh");
    assert_eq!(stdout(shell.args(["-c", script]).arg(binary())), "on\n");
}

/// And the command does not inherit that we ignore SIGPIPE.
#[test]
fn a_pipe_that_nobody_reads_ends_the_trace_and_not_the_container() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let command = ["--ns", "none", "/", "sh", "-c", "grep SigIgn /proc/self/status"];
    let mut traced = tinyctr(["--trace"]);
    let output = traced.args(command).stderr(Stdio::from(writer)).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, stdout(&mut tinyctr(command)), "SIGPIPE as without a trace");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_trace_does_not_change_what_the_command_inherits() {
    let command =
        ["--ns", "none", "/", "sh", "-c", "grep -E 'Sig[PBIC]|Shd' /proc/self/status; env"];
    let traced = run(tinyctr(["--trace"]).args(command));
    assert_eq!(traced.stdout, stdout(&mut tinyctr(command)));
}

// --- a dry run -----------------------------------------------------------------------------------

#[test]
fn a_dry_run_tells_what_a_run_does() {
    require!(can_contain(), NO_NAMESPACES);
    for args in [
        &["--verbose", image_name(), "ls", "-l"][..],
        &["--bare", image_name()],
        &["--ns", "user,uts,pid,mnt", "-w", "/etc", image_name(), "true"],
        &["/", "true"],
        &[image_name(), "no-such-command"],
        &["-w", "/no/such/directory", image_name(), "true"],
    ] {
        let told = run(tinyctr(["--dry-run"]).args(args));
        let done = run(tinyctr(["--trace"]).args(args).stdout(Stdio::null()));
        assert_eq!(told.stdout, "", "the command did not run");
        assert_eq!(told.code, done.code, "{args:?}: {}", told.stderr);
        assert_eq!(names_and_arguments(&told.stderr), names_and_arguments(&done.stderr));
    }
}

fn names_and_arguments(trace: &str) -> Vec<String> {
    let calls = from_trace(trace).into_iter();
    // A rehearsal has its own child, and waits for it; and it writes its account to other numbers.
    without_fds(calls.collect())
        .into_iter()
        .map(|call| match call.text.split('(').next() {
            // Where we really are, and what we really may.
            Some(name @ ("wait4" | "kill" | "getcwd" | "capget")) => name.into(),
            // Nobody has a pid that could be told.
            _ => call.text.replace(", parent_tid=[PID]", ""),
        })
        .collect()
}

#[test]
fn a_dry_run_changes_nothing() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = common::copy_of_image("untouched");
    fs::remove_dir(image.join("proc")).expect("a directory that a run would make");
    let before = state_of_host(&image);
    let said = run(tinyctr(["--dry-run"]).arg(&image).arg("true"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains(", \"proc\", 0755)"), "{}", said.stderr);
    run(tinyctr(["--dry-run", "--ns", "none", "--bare"]).arg(&image).arg("true"));
    assert_eq!(state_of_host(&image), before);
}

/// Mounts, the host name, the cgroups, and the image's files.
fn state_of_host(image: &Path) -> [String; 4] {
    let read = |path: &str| fs::read_to_string(path).expect("/proc is mounted");
    let find = |what: &[&str]| {
        let mut find = Command::new("find");
        String::from_utf8_lossy(&find.args(what).output().expect("find runs").stdout).into_owned()
    };
    let image = image.to_str().expect("UTF-8");
    [
        read("/proc/self/mountinfo"),
        read("/proc/sys/kernel/hostname"),
        find(&["/sys/fs/cgroup", "-type", "d", "-name", "*tinyctr*"]),
        find(&[image, "-printf", "%p %m %u %s %T@\n"]),
    ]
}

#[test]
fn a_rehearsal_finds_a_link_in_the_place_of_a_directory_too() {
    require!(can_contain(), NO_NAMESPACES);
    for name in ["dev", "proc", "sys"] {
        let (_directory, image) = common::copy_of_image("rehearsed");
        if image.join(name).exists() {
            fs::remove_dir_all(image.join(name)).expect("it is a copy");
        }
        symlink("/etc", image.join(name)).expect("it is a copy");
        let start = |options: &[&str]| {
            let said = run(tinyctr(["-q"]).args(options).arg(&image).arg("true"));
            assert_eq!(said.code, Some(125), "{name}: {said:?}");
            let error = said.stderr.lines().find(|line| line.starts_with("tinyctr: "));
            error.expect("it is told").to_owned()
        };
        assert_eq!(start(&["--dry-run"]), start(&[]));
    }
}

#[test]
fn a_dry_run_needs_no_right() {
    let said = run(&mut tinyctr(["--dry-run", "--ns", "uts,mnt,pid", image_name(), "true"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_dry_run_whose_account_can_not_be_written_fails() {
    let failed = run(&mut tinyctr(["--dry-run", "--trace=/dev/full", "/", "true"]));
    assert_eq!(failed.code, Some(125));
    assert!(failed.stderr.contains("ENOSPC"), "{}", failed.stderr);
}

const LOOK: &str = "for ns in uts pid mnt ipc cgroup net user; do readlink /proc/self/ns/$ns; done
    cat /proc/self/mountinfo; hostname; pwd; env | sort";

#[test]
fn the_script_makes_the_same_container() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("unshare") && have("pivot_root"), "needs unshare(1) and pivot_root(8)");
    let run_args = [image_name(), "sh", "-c", LOOK];
    let script = stdout(tinyctr(["--dry-run=sh"]).args(run_args));
    let by_script = stdout(Command::new("sh").arg("-c").arg(&script).stdin(Stdio::null()));
    let by_us = stdout(&mut tinyctr(run_args));
    let here = stdout(Command::new("sh").arg("-c").arg(LOOK));
    let ours: Vec<&str> = by_us.lines().collect();
    for (number, (theirs, host)) in by_script.lines().zip(here.lines()).take(7).enumerate() {
        assert_eq!(theirs == host, ours[number] == host, "{theirs} and {}", ours[number]);
    }
    // The numbers of mounts, and the variables that sh itself sets, are no part of a container.
    let rest = |text: &str| -> Vec<String> {
        let lines = text.lines().skip(7).filter(|line| !line.starts_with("_="));
        lines
            .map(|line| line.trim_start_matches(|c: char| " :0123456789".contains(c)).to_owned())
            .collect()
    };
    assert_eq!(rest(&by_script), rest(&by_us));
}

#[test]
fn the_script_quotes_what_a_shell_would_read() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("unshare"), "needs unshare(1)");
    let odd = "a 'b' \"c\" $d `e` \\ \n*";
    let script = stdout(&mut tinyctr(["--dry-run=sh", "--ns", "uts", "/", "printf", "%s", odd]));
    assert_eq!(stdout(Command::new("sh").arg("-c").arg(script)), odd);
}

#[test]
fn the_script_ends_where_the_command_would() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("unshare") && have("pivot_root"), "needs unshare(1) and pivot_root(8)");
    let (_directory, image) = common::copy_of_image("by-script");
    fs::remove_dir(image.join("proc")).expect("to be made by the script");
    let image = image.to_str().expect("UTF-8");
    for (options, command, code) in [
        (&["-w", "/tmp"][..], "pwd; ls -d /proc/1", 0),
        (&["--bare", "--ns", "uts", "-w", "/etc"], "pwd; hostname; ls /", 0),
        (&["--hostname", "other", "-e", "-S=x", "-e", "Q=it's"], "hostname; echo $Q", 0),
        (&["--explain"], "exit 7", 7),
    ] {
        let args = [image, "sh", "-c", command];
        let script = run(tinyctr(["--dry-run=sh"]).args(options).args(args));
        let by_script = run(Command::new("sh").arg("-c").arg(&script.stdout).stdin(Stdio::null()));
        let by_us = run(tinyctr(options).args(args));
        assert_eq!(by_script.stdout, by_us.stdout, "{}", script.stdout);
        assert_eq!(by_script.code, Some(code), "{}", script.stdout);
    }
    let nowhere = run(&mut tinyctr(["--dry-run=sh", image, "no-such-command"]));
    let by_script = run(Command::new("sh").arg("-c").arg(&nowhere.stdout).stdin(Stdio::null()));
    assert_eq!((nowhere.code, by_script.code), (Some(127), Some(127)));
}

#[test]
fn a_script_that_would_be_half_a_script_is_an_error() {
    let long = "x".repeat(100_000);
    let failed = run(&mut tinyctr(["--dry-run=sh", "--ns", "none", "/", "echo", &long]));
    assert_eq!(failed.code, Some(125));
    assert!(failed.stderr.contains("trace: the trace ends here: E2BIG"), "{}", failed.stderr);
    let failure = fails(&mut tinyctr(["--dry-run=sh", "--trace=json:/dev/null", "/", "x"]), 125);
    assert_eq!(
        failure.cause,
        "a script is not JSON, leaves no step out, sets no limits, joins nothing, becomes nobody \
         and attends to nothing"
    );
}

// --- reasons -------------------------------------------------------------------------------------

#[test]
fn explain_gives_the_reason_of_each_step_before_its_calls() {
    require!(can_contain(), NO_NAMESPACES);
    let lines = json(&["--explain", "-w", "/tmp"], &[image_name(), "true"]);
    let mut explained: Vec<String> = Vec::new(); // once each: a step may have two sides
    for line in &lines {
        let step = line["step"].as_str().unwrap_or_default().to_owned();
        if let Some(remark) = line["remark"].as_str() {
            if remark.starts_with(&format!("{step}: ")) {
                assert!(!explained.contains(&step), "twice: {line}");
                explained.push(step);
            }
        } else if line["part"] != "resumed" {
            assert!(explained.contains(&step), "before {line}");
        }
    }
}

#[test]
fn explain_says_what_has_changed_as_it_is_inside() {
    require!(can_contain(), NO_NAMESPACES);
    let look = "readlink /proc/self/ns/uts; readlink /proc/self/ns/mnt; cat /proc/self/mountinfo";
    let said =
        run(&mut tinyctr(["--explain", "--hostname", "told", image_name(), "sh", "-c", look]));
    let told = said.stderr.replace("\n         #   ", " ");
    for inside in said.stdout.lines() {
        assert!(told.contains(&format!("# now: {inside}")), "{inside} in {told}");
    }
    assert!(told.contains("# now: the host name is told"), "{told}");
}

#[test]
fn explain_tells_the_mapped_ids_and_the_capabilities() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let ns = "--ns=uts,pid,mnt,ipc,cgroup,user";
    let said = run(&mut tinyctr(["--explain", ns, "-u", "5:6", image_name(), "true"]));
    let told = said.stderr.replace("\n         #   ", " ");
    for map in ["uid_map", "gid_map"] {
        assert!(told.contains(&format!("# now: {map} is 0 1879048192 65536\n")), "{told}");
    }
    assert!(told.contains("# now: Uid: 5 5 5 5 Gid: 6 6 6 6 Groups:"), "{told}");
    let none = "# now: CapEff: 0000000000000000 CapBnd: 00000000a80425fb";
    assert!(told.contains(none), "{told}");
}

// --- what breaks ---------------------------------------------------------------------------------

#[test]
fn skip_is_for_study_only() {
    let failure = fails(&mut tinyctr(["--skip", "proc", "/", "true"]), 125);
    assert_eq!(
        failure.told(),
        ("option", "--skip", "needs --trace or --explain, being for study only")
    );
    let failure = fails(&mut tinyctr(["--trace", "--skip", "clone", "/", "true"]), 125);
    assert_eq!(failure.cause, "no step that can be left out");
    let hint = failure.hint.expect("the words that there are");
    for word in LESSONS.iter().map(|lesson| lesson.skip(common::texts()).to_string()) {
        assert!(hint.contains(&word), "{word}");
    }
}

#[test]
fn what_is_skipped_is_missing_and_said_so() {
    require!(can_contain(), NO_NAMESPACES);
    let options = ["--ns", "user,uts,pid,mnt", "-w", "/tmp"];
    let all = steps_of(&options);
    for lesson in LESSONS.iter() {
        let (name, word) =
            (lesson.name(common::texts()).to_string(), lesson.skip(common::texts()).to_string());
        // Who can't change his ids needs no guard.
        if word.is_empty() || (lesson.step == Step::Guard && !is_root()) {
            continue;
        }
        assert!(all.contains(&name), "{name} is part of a run");
        // A root that is only a chroot has nothing on top of it to leave.
        let gone = |step: &String| {
            *step == name || (lesson.step == Step::PivotRoot && step == "leave host")
        };
        let mut without: Vec<String> = all.iter().filter(|step| !gone(step)).cloned().collect();
        if lesson.step == Step::PivotRoot {
            without.push("chroot".into());
        }
        let mut skipping = vec!["--skip", &word];
        skipping.extend(options);
        let mut found = steps_of(&skipping);
        assert!(!found.contains(&name), "{word}: {found:?}");
        // Nobody may do what follows; or the kernel refuses it on shared mounts: a shorter start.
        if !matches!(lesson.step, Step::MapIds | Step::Private) {
            without.sort();
            found.sort();
            assert_eq!(found, without, "{word}: all the others are taken");
        }
        let said =
            run(tinyctr(["--trace", "--skip", &word]).args(options).args([image_name(), "true"]));
        let mark = format!("# SKIPPED, to see what breaks: {name}. Not for use.");
        assert!(said.stderr.contains(&mark), "{}", said.stderr);
    }
}

/// The names of the steps that a run takes, in order, each once.
fn steps_of(options: &[&str]) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for line in json(options, &[image_name(), "true"]) {
        let step = line["step"].as_str().unwrap_or_default().to_owned();
        if line["call"].is_string() && !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

#[test]
fn without_its_step_the_host_shows_through() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let inside = |skip: &str, script: &str| {
        let mut command = tinyctr(["--explain", "--skip", skip, image_name(), "sh", "-c", script]);
        run(&mut command).stdout
    };
    let host = nix::unistd::gethostname().expect("a name").into_string().expect("of letters");
    assert_eq!(inside("hostname", "hostname").trim(), host);
    assert_eq!(inside("proc", "ls /proc"), "");
    let mounts = "wc -l < /proc/self/mountinfo";
    let few: usize =
        stdout(&mut tinyctr([image_name(), "sh", "-c", mounts])).trim().parse().unwrap();
    let many: usize = inside("leave", mounts).trim().parse().expect("a number");
    assert!(many > few, "the host's mounts are still there: {many}");
}

#[test]
fn without_private_mounts_they_appear_on_the_host() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = common::copy_of_image("leaking");
    // How many mounts name the image: after a run that leaks, and after one that does not.
    let script = r#""$0" --explain --skip private "$1" true 2>/dev/null
        grep -c " $1" /proc/self/mountinfo; "$0" "$1" true; grep -c " $1" /proc/self/mountinfo"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(binary()).arg(&image);
    isolate(&mut shell, CloneFlags::CLONE_NEWNS);
    // SAFETY: mount(2) is async-signal-safe.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut shell, || propagate(MsFlags::MS_SHARED))
    };
    let said = run(&mut shell);
    let counts: Vec<u32> = said.stdout.lines().map(|line| line.parse().expect("a count")).collect();
    assert!(counts[0] > 0, "the leak is seen: {said:?}");
    assert_eq!(counts[1], counts[0], "and nothing is added without --skip: {said:?}");
}
