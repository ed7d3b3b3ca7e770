//! The three demos that this project grew from, word for word, and the two banner lines.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{
    NO_NAMESPACES, Said, can_contain, have, image, isolate, require, run, stdout, tempdir, tinyctr,
};
use nix::pty::openpty;
use nix::sched::CloneFlags;
use nix::unistd::gethostname;

const NO_HOSTNAME: &str = "needs hostname(1)";

// --- 1: no isolation ---------------------------------------------------------------------------

#[test]
fn without_namespaces_the_command_runs_on_the_host() {
    assert_eq!(stdout(&mut tinyctr(["--ns", "none", "/", "echo", "ola"])), "ola\n");
}

#[test]
fn without_namespaces_hostname_changes_the_callers_name() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("hostname"), NO_HOSTNAME);
    let script = r#"hostname caller; echo 'hostname demo' | "$0" --ns none / /bin/bash; hostname"#;
    assert_eq!(on_a_host_of_its_own(script), "demo\n");
}

// --- 2: a host name of its own -----------------------------------------------------------------

#[test]
fn in_a_uts_namespace_hostname_leaves_the_callers_name_alone() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("hostname"), NO_HOSTNAME);
    let script = r#"
        hostname caller
        printf 'hostname yada\nhostname\n' | "$0" --ns uts / /bin/bash
        hostname"#;
    assert_eq!(on_a_host_of_its_own(script), "yada\ncaller\n");
}

/// Runs `script` with tinyctr as its `$0`, where `hostname NAME` changes no name but the test's.
fn on_a_host_of_its_own(script: &str) -> String {
    let before = gethostname().expect("a machine has a name");
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).arg(common::binary());
    let said = stdout(isolate(&mut bash, CloneFlags::CLONE_NEWUTS));
    assert_eq!(gethostname().expect("a machine has a name"), before, "the machine's own");
    said
}

// --- 3: processes, mounts, and a root ------------------------------------------------------------

#[test]
fn ps_sees_itself_and_nobody_else() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| assert_alone(&stdout(&mut trusty(&["ps", "aux"]))));
}

#[test]
fn proc_shows_no_process_of_the_host() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| assert_eq!(numbers(&stdout(&mut trusty(&["ls", "/proc"]))), ["1"]));
}

#[test]
fn cat_shows_the_images_own_issue() {
    require!(can_contain(), NO_NAMESPACES);
    let issue = fs::read_to_string(image().join("etc/issue")).expect("the image has one");
    in_trusty(|trusty| assert_eq!(stdout(&mut trusty(&["cat", "/etc/issue"])), issue));
}

#[test]
fn ls_lists_the_images_root() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| assert_root(&stdout(&mut trusty(&["ls", "-al"])), image()));
}

/// Hands `test` a way to run `tinyctr trusty ...`, found as `./rootfs/trusty`.
fn in_trusty(test: impl FnOnce(&dyn Fn(&[&str]) -> Command)) {
    let directory = tempdir();
    fs::create_dir(directory.path().join("rootfs")).expect("the directory is ours");
    symlink(image(), directory.path().join("rootfs/trusty")).expect("the directory is ours");
    test(&|words| {
        let mut command = tinyctr(["trusty"]);
        command.args(words).current_dir(directory.path());
        command
    });
}

/// Two lines: the header, and PID 1, which is ps itself.
fn assert_alone(list: &str) {
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    let column = lines[0].split_whitespace().position(|title| title == "PID").expect(list);
    assert_eq!(lines[1].split_whitespace().nth(column), Some("1"), "{list}");
    assert!(lines[1].ends_with("ps aux"), "{list}");
}

/// `list` is what `ls -al` says of the directory `root`.
fn assert_root(list: &str, root: &Path) {
    let mut shown: Vec<&str> = list.lines().skip(1).filter_map(name_in_long_list).collect();
    let entries = fs::read_dir(root).expect("the image is a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be read").file_name();
    let names: Vec<_> = entries.map(name).collect();
    let mut expected: Vec<&str> = names.iter().map(|name| name.to_str().expect("text")).collect();
    expected.extend([".", ".."]);
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

/// The ninth column, where a link's target follows.
fn name_in_long_list(line: &str) -> Option<&str> {
    line.split_whitespace().nth(8)
}

fn numbers(names: &str) -> Vec<&str> {
    names.lines().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

// --- the same in the images that were built ------------------------------------------------------

#[test]
fn the_demos_run_in_trusty() {
    demos_run_in("trusty");
}

#[test]
fn the_demos_run_in_jessie_which_is_made_for_another_machine() {
    demos_run_in("jessie");
}

#[test]
fn the_demos_run_in_bookworm() {
    demos_run_in("bookworm");
}

fn demos_run_in(name: &str) {
    require!(can_contain(), NO_NAMESPACES);
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = home.join("rootfs").join(name);
    require!(root.join("bin").exists(), &format!("needs rootfs/{name} (make {name})"));
    let start = |words: &[&str]| {
        let mut command = tinyctr([name]);
        command.args(words).current_dir(home);
        command
    };
    let probe = run(&mut start(&["true"]));
    let runs_here = !(probe.code == Some(126) && probe.stderr.contains("ENOEXEC"));
    require!(runs_here, &format!("needs the binfmt_misc handler for {name} (make {name})"));
    assert_eq!((probe.code, probe.stderr.as_str()), (Some(0), ""), "{name}: true");

    assert_alone(&stdout(&mut start(&["ps", "aux"])));
    assert_eq!(numbers(&stdout(&mut start(&["ls", "/proc"]))), ["1"]);
    assert_root(&stdout(&mut start(&["ls", "-al"])), &root);
    let issue = fs::read_to_string(root.join("etc/issue")).expect("the image has one");
    assert_eq!(stdout(&mut start(&["cat", "/etc/issue"])), issue);
}

// --- the banner ----------------------------------------------------------------------------------

const BANNER: &str = "running [ps aux] as PID 1 in image trusty\ncontainer exited: 0\n";

#[test]
fn the_banner_stands_on_stderr_where_it_is_asked_for() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| {
        let mut command = tinyctr(["--verbose"]);
        let plain = trusty(&["ps", "aux"]);
        command.args(plain.get_args()).current_dir(plain.get_current_dir().expect("it is set"));
        let said = run(&mut command);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), BANNER));
        assert_alone(&said.stdout);
    });
}

#[test]
fn the_banner_tells_how_the_command_ended() {
    let ended = |script| run(&mut tinyctr(["--verbose", "--ns", "none", "/", "sh", "-c", script]));
    let Said { code, stderr, .. } = ended("exit 42");
    assert_eq!(
        (code, stderr.as_str()),
        (Some(42), "running [sh -c exit 42] in image /\ncontainer exited: 42\n")
    );
    assert!(ended("kill -9 $$").stderr.ends_with("\ncontainer exited: signal 9\n"));
}

#[test]
fn the_banner_names_the_default_shell() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| {
        let mut command = tinyctr(["--verbose", "trusty"]);
        command.current_dir(trusty(&[]).get_current_dir().expect("it is set"));
        let stderr = run(&mut command).stderr;
        assert_eq!(stderr, BANNER.replace("ps aux", "/bin/bash"));
    });
}

#[test]
fn the_banner_stands_on_a_terminal_unless_quiet() {
    require!(can_contain(), NO_NAMESPACES);
    in_trusty(|trusty| {
        let (said, terminal) = with_stderr_on_a_terminal(&mut trusty(&["ps", "aux"]));
        assert_eq!(terminal, BANNER.replace('\n', "\r\n"));
        assert_alone(&said);
        let mut quiet = tinyctr(["-q", "--ns", "none", "/", "echo", "ola"]);
        assert_eq!(with_stderr_on_a_terminal(&mut quiet), ("ola\n".into(), String::new()));
    });
}

#[test]
fn no_banner_stands_in_a_pipe() {
    let said = run(&mut tinyctr(["--ns", "none", "/", "true"]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn no_banner_announces_what_did_not_run() {
    let said = run(&mut tinyctr(["--verbose", "--ns", "none", "/", "/nosuch"]));
    assert_eq!(said.code, Some(127));
    assert!(!said.stderr.contains("exited"), "{said:?}");
}

/// What `command` said on stdout, and on the terminal that its stderr was.
fn with_stderr_on_a_terminal(command: &mut Command) -> (String, String) {
    let pty = openpty(None, None).expect("a pseudo-terminal can be had");
    let stderr: OwnedFd = pty.slave.as_fd().try_clone_to_owned().expect("it can be copied");
    let child = command.stdout(std::process::Stdio::piped()).stderr(stderr).spawn();
    let ended = child.expect("the command starts").wait_with_output().expect("it ends");
    // Our copies of the slave hold the terminal open; what is left to read ends with them.
    command.stderr(std::process::Stdio::null());
    drop(pty.slave);
    let mut text = Vec::new();
    // Linux ends a terminal without a slave with EIO.
    let _end = File::from(pty.master).read_to_end(&mut text);
    let word = |bytes| String::from_utf8(bytes).expect("the test's own text");
    (word(ended.stdout), word(text))
}
