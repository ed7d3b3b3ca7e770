//! How the command is found, how it ended, and how tinyctr says what it could not do.

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{
    NO_NAMESPACES, Running, can_contain, copy_of_image, fails, image, require, run, stdout,
    tempdir, tinyctr, write_program,
};
use nix::sys::signal::{Signal, kill};

/// `tinyctr IMAGE WORDS`, in the shared image.
fn inside(words: &[&str]) -> Command {
    let mut command = tinyctr([image()]);
    command.args(words);
    command
}

fn on_the_host(words: &[&str]) -> Command {
    let mut command = tinyctr(["--ns", "none", "/"]);
    command.args(words);
    command
}

// --- how the command ended -----------------------------------------------------------------------

#[test]
fn the_exit_status_is_the_commands_own() {
    require!(can_contain(), NO_NAMESPACES);
    for code in [0, 1, 42, 124, 125, 126, 127, 128, 255] {
        let said = run(&mut inside(&["sh", "-c", &format!("exit {code}")]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(code), ""));
    }
}

#[test]
fn a_signal_is_128_more_than_its_number() {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("HUP", 1)] {
        let said = run(&mut on_the_host(&["sh", "-c", &format!("kill -{name} $$")]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(128 + number), ""), "{name}");
    }
}

#[test]
fn a_container_that_is_killed_from_outside_ended_with_137() {
    require!(can_contain(), NO_NAMESPACES);
    let running = Running::start(&mut inside(&["cat"]));
    kill(running.inside(), Signal::SIGKILL).expect("it is ours");
    let said = running.end();
    assert_eq!((said.code, said.stderr.as_str()), (Some(137), ""));
}

#[test]
fn a_stopped_container_has_not_ended() {
    require!(can_contain(), NO_NAMESPACES);
    let running = Running::start(&mut inside(&["cat"]));
    kill(running.inside(), Signal::SIGSTOP).expect("it is ours");
    kill(running.inside(), Signal::SIGCONT).expect("it is ours");
    assert_eq!(running.end().code, Some(0));
}

/// The kernel forgets how a child ended whose parent ignores SIGCHLD, and that is inherited.
#[test]
fn a_caller_that_ignores_sigchld_still_learns_the_status() {
    require!(can_contain(), NO_NAMESPACES);
    let said = run(ignoring_sigchld(&mut inside(&["sh", "-c", "exit 42"])));
    assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""));
}

#[test]
fn with_bare_an_ignored_sigchld_is_an_error_and_no_hang() {
    require!(can_contain(), NO_NAMESPACES);
    let mut command = tinyctr(["--bare"]);
    let failure = fails(ignoring_sigchld(command.arg(image()).arg("true")), 125);
    assert_eq!(failure.told(), ("wait", "", "ECHILD (No child processes)"));
    assert!(failure.hint.expect("a hint").contains("SIGCHLD"));
    // But what is known is told: that there was no command.
    let mut command = tinyctr(["--bare"]);
    let failure = fails(ignoring_sigchld(command.arg(image()).arg("no-such-command")), 127);
    assert_eq!(failure.told(), ("exec", "no-such-command", "ENOENT (No such file or directory)"));
}

fn ignoring_sigchld(command: &mut Command) -> &mut Command {
    common::ignoring(Signal::SIGCHLD, command)
}

#[test]
fn closed_standard_descriptors_change_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    for script in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        for options in ["-q", "--bare"] {
            let script = format!(r#"exec "$0" {options} "$@" {script}"#);
            let mut bash = Command::new("bash");
            bash.args(["-c", &script]).arg(common::binary()).arg(image());
            let said = run(bash.args(["sh", "-c", "exit 42"]));
            assert_eq!(said.code, Some(42), "{script}: {said:?}");
        }
    }
}

#[test]
fn a_closed_descriptor_is_not_taken_by_one_of_ours() {
    require!(can_contain(), NO_NAMESPACES);
    let mut bash = Command::new("bash");
    bash.args(["-c", r#"exec "$0" "$@" 0<&-"#]).arg(common::binary()).arg(image());
    let list = stdout(bash.args(["ls", "-l", "/proc/self/fd"]));
    let first = list.lines().find(|line| line.contains(" 0 -> "));
    assert!(first.is_some_and(|line| line.ends_with("-> /dev/null")), "{list}");
}

// --- the command ---------------------------------------------------------------------------------

#[test]
fn a_command_that_is_not_there_is_127() {
    require!(can_contain(), NO_NAMESPACES);
    let missing = "ENOENT (No such file or directory)";
    let by_path = fails(&mut inside(&["/bin/nosuch"]), 127);
    assert_eq!(by_path.told(), ("exec", "/bin/nosuch", missing));
    let by_name = fails(&mut inside(&["nosuch"]), 127);
    assert_eq!(by_name.told(), ("exec", "nosuch", missing));
    assert!(by_name.hint.expect("a hint").contains("PATH"));
    assert_eq!(fails(&mut inside(&["nosuch/nosuch"]), 127).object, "nosuch/nosuch");
    assert_eq!(fails(&mut inside(&[""]), 127).told(), ("exec", "", missing));
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("broken");
    write_program(&image.join("locked"), "#!/bin/sh\n", 0o644);
    write_program(&image.join("garbage"), "\x07\x07\x07\x07", 0o755);
    write_program(&image.join("empty"), "", 0o755);
    let cause = |program| {
        let failure = fails(tinyctr([&image]).arg(program), 126);
        assert_eq!((failure.step.as_str(), failure.object.as_str()), ("exec", program));
        failure.cause
    };
    assert_eq!(cause("/locked"), "EACCES (Permission denied)");
    assert_eq!(cause("/etc"), "EACCES (Permission denied)");
    assert_eq!(cause("/garbage"), "ENOEXEC (Exec format error)");
    assert_eq!(cause("/empty"), "ENOEXEC (Exec format error)");
}

#[test]
fn a_missing_interpreter_is_hinted_at() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("broken");
    write_program(&image.join("script"), "#!/nosuch/interpreter\n", 0o755);
    let failure = fails(tinyctr([&image]).arg("/script"), 127);
    assert!(failure.hint.expect("a hint").contains("interpreter"));
}

/// An image with `program` in /first, /second and /locked (not executable); each says its name.
fn image_with_programs() -> (tempfile::TempDir, PathBuf) {
    let (directory, image) = copy_of_image("programs");
    for (place, mode) in [("first", 0o755), ("second", 0o755), ("locked", 0o644)] {
        fs::create_dir(image.join(place)).expect("the image is a copy of ours");
        let script = format!("#!/bin/sh\necho {place}\n");
        write_program(&image.join(place).join("program"), &script, mode);
    }
    fs::create_dir_all(image.join("directory/program")).expect("the image is a copy of ours");
    (directory, image)
}

fn with_path(image: &Path, path: &str) -> Command {
    let mut command = tinyctr(["-e", &format!("PATH={path}")]);
    command.arg(image).arg("program");
    command
}

#[test]
fn the_first_directory_of_path_that_has_the_command_wins() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_programs();
    for (path, found) in [
        ("/first:/second", "first"),
        ("/second:/first", "second"),
        ("/nosuch:/etc/passwd:/second", "second"), // ENOENT, ENOTDIR
        ("/locked:/directory:/first", "first"),    // EACCES, twice
        ("first", "first"),                        // relative to the working directory
    ] {
        assert_eq!(stdout(&mut with_path(&image, path)), format!("{found}\n"), "{path}");
    }
}

#[test]
fn an_empty_directory_in_path_is_the_working_directory() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_programs();
    for path in ["", ":/nosuch", "/nosuch:", "/nosuch::/second"] {
        let mut command = tinyctr(["-w", "/first", "-e", &format!("PATH={path}")]);
        assert_eq!(stdout(command.arg(&image).arg("program")), "first\n", "{path:?}");
    }
}

/// As execvp(3) does it: what was there, but not for us, is what is said in the end.
#[test]
fn a_refusal_on_the_way_through_path_is_remembered() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_programs();
    for path in ["/locked", "/locked:/nosuch", "/nosuch:/locked", "/directory:/etc/passwd"] {
        let failure = fails(&mut with_path(&image, path), 126);
        assert_eq!(failure.told(), ("exec", "program", "EACCES (Permission denied)"), "{path}");
    }
    fails(&mut with_path(&image, "/nosuch:/etc"), 127);
}

#[test]
fn the_command_is_looked_up_in_the_image_and_not_on_the_host() {
    require!(can_contain(), NO_NAMESPACES);
    let host = tempdir();
    write_program(&host.path().join("only-on-the-host"), "#!/bin/sh\necho host\n", 0o755);
    let mut command = inside(&["only-on-the-host"]);
    fails(command.env("PATH", host.path()), 127);
    // Not even where the caller's PATH is passed on.
    let mut command = tinyctr(["-e", "PATH"]);
    command.arg(image()).arg("only-on-the-host").env("PATH", host.path());
    fails(&mut command, 127);
    let mut command = tinyctr(["-e", "PATH", "--ns", "none", "/", "only-on-the-host"]);
    assert_eq!(stdout(command.env("PATH", host.path())), "host\n", "on the host it is there");
}

#[test]
fn a_link_in_the_image_is_followed_inside_the_image() {
    require!(can_contain(), NO_NAMESPACES);
    let (directory, image) = image_with_programs();
    let outside = directory.path().join("outside");
    write_program(&outside, "#!/bin/sh\necho host\n", 0o755);
    symlink(&outside, image.join("leads-out")).expect("the image is a copy of ours");
    symlink("/first/program", image.join("stays-in")).expect("the image is a copy of ours");
    fails(tinyctr([&image]).arg("/leads-out"), 127);
    assert_eq!(stdout(tinyctr([&image]).arg("/stays-in")), "first\n");
}

#[test]
fn the_command_is_called_by_the_name_that_was_given() {
    require!(can_contain(), NO_NAMESPACES);
    assert_eq!(stdout(&mut inside(&["cat", "/proc/self/cmdline"])), "cat\0/proc/self/cmdline\0");
}

#[test]
fn without_a_command_it_is_bash_and_else_sh() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("shells");
    let mut shell = tinyctr([&image]);
    let mut said = |script: &str| {
        let mut running = Running::spawn(&mut shell);
        running.write(script);
        running.end()
    };
    let words = "cat /proc/$$/cmdline; exit 42\n";
    let bash = said(words);
    assert_eq!((bash.code, bash.stdout.as_str()), (Some(42), "/bin/bash\0"));
    fs::remove_file(image.join("usr/bin/bash")).expect("the image is a copy of ours");
    let sh = said(words);
    assert_eq!((sh.code, sh.stdout.as_str()), (Some(42), "/bin/sh\0"));
    fs::remove_file(image.join("usr/bin/sh")).expect("the image is a copy of ours");
    let failure = fails(shell.stdin(Stdio::null()), 127);
    assert_eq!((failure.step.as_str(), failure.object.as_str()), ("exec", "/bin/sh"));
}

// --- what tinyctr could not do -------------------------------------------------------------------

#[test]
fn a_missing_image_is_125() {
    require!(can_contain(), NO_NAMESPACES);
    let missing = "ENOENT (No such file or directory)";
    let failure = fails(&mut tinyctr(["/no/such/image", "true"]), 125);
    assert_eq!((failure.object.as_str(), failure.cause.as_str()), ("/no/such/image", missing));
    let failure = fails(&mut tinyctr(["nosuchimage", "true"]), 125);
    assert_eq!(failure.told(), ("image", "nosuchimage", missing));
}

#[test]
fn an_image_that_is_a_file_is_125() {
    require!(can_contain(), NO_NAMESPACES);
    let file = image().join("etc/passwd");
    let failure = fails(tinyctr([&file]).arg("true"), 125);
    assert_eq!(failure.cause, "ENOTDIR (Not a directory)");
    assert!(failure.hint.expect("a hint").contains("directory"));
}

#[test]
fn a_failing_step_is_125_and_names_its_object() {
    require!(can_contain(), NO_NAMESPACES);
    let failure = fails(tinyctr(["-w", "/no/such"]).arg(image()).arg("true"), 125);
    let missing = "ENOENT (No such file or directory)";
    assert_eq!(failure.told(), ("change directory", "/no/such", missing));
    let failure = fails(tinyctr(["-w", "/etc/passwd"]).arg(image()).arg("true"), 125);
    assert_eq!(failure.cause, "ENOTDIR (Not a directory)");
}

#[test]
fn a_name_cannot_drive_the_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    let failure = fails(&mut inside(&["/bin/\x1b[2J\n\r\x07"]), 127);
    assert_eq!(failure.object, r"/bin/\x1b[2J\x0a\x0d\x07");
}

#[test]
fn an_object_of_any_length_leaves_room_for_the_cause() {
    require!(can_contain(), NO_NAMESPACES);
    let long = format!("/{}", "x/".repeat(2000));
    let failure = fails(&mut inside(&[&long]), 127);
    assert_eq!(failure.step, "exec");
    assert_eq!(failure.cause, "ENOENT (No such file or directory)");
}

#[test]
fn an_error_that_nobody_hears_is_still_an_exit_status() {
    require!(can_contain(), NO_NAMESPACES);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
    let status = inside(&["nosuch"]).stderr(full).status().expect("tinyctr starts");
    assert_eq!(status.code(), Some(127));
}
