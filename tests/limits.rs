//! Large, missing, hostile, exhausted and broken: what is given to tinyctr at its limits, and that
//! nothing is left behind whatever came of it.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    Failure, NEEDS_RELEASE, NO_NAMESPACES, NO_STRACE, Running, binary, can_contain, can_inject,
    children, copy_of_image, fails, failure, image, is_alive, is_release, is_root, isolate,
    mounts_naming, output, processes_with, require, run, stdout, strace, tempdir, tinyctr, token,
    wait_until,
};
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, renameat};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, mkdirat};

// --- large ---------------------------------------------------------------------------------------

/// A word below the kernel's limit for one, 128 KiB.
const LARGE: usize = 120_000;

#[test]
fn a_command_line_of_a_megabyte_arrives_whole() {
    require!(can_contain(), NO_NAMESPACES);
    let mut words: Vec<String> = (0..9).map(|n| format!("{n}").repeat(LARGE)).collect();
    words.extend((0..10_000).map(|n| n.to_string()));
    let mut command = tinyctr([image()]);
    command.args(["sh", "-c", "cat /proc/$$/cmdline", "sh"]).args(&words);
    let said = output(&mut command);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(said.stdout.len() > 1 << 20, "a megabyte");
    let arrived = String::from_utf8(said.stdout).expect("digits");
    let arrived: Vec<&str> = arrived.split_terminator('\0').skip(4).collect();
    assert!(arrived == words, "word by word");
}

#[test]
fn an_environment_of_a_megabyte_arrives_where_it_is_asked_for_and_else_stays_out() {
    require!(can_contain(), NO_NAMESPACES);
    let names: Vec<String> = (0..9).map(|n| format!("LARGE{n}")).collect();
    let start = |options: &[String]| {
        let mut command = tinyctr(options);
        command.arg(image()).args(["cat", "/proc/self/environ"]);
        command.envs(names.iter().map(|name| (name, name.repeat(LARGE / 6))));
        let said = output(&mut command);
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("the test's own text")
    };
    let options: Vec<String> = names.iter().map(|name| format!("-e{name}")).collect();
    let passed_on = start(&options);
    assert!(passed_on.len() > 1 << 20, "a megabyte");
    for name in &names {
        let entry = format!("{name}={}", name.repeat(LARGE / 6));
        assert!(passed_on.split('\0').any(|given| given == entry), "{name}");
    }
    assert!(!start(&[]).contains("LARGE"));
}

#[test]
fn thousands_of_variables_are_set() {
    require!(can_contain(), NO_NAMESPACES);
    let mut command = tinyctr((0..3000).map(|n| format!("-eVARIABLE{n}={n}")));
    command.arg(image()).args(["cat", "/proc/self/environ"]);
    assert_eq!(stdout(&mut command).split_terminator('\0').count(), 3003 + terminal());
}

fn terminal() -> usize {
    usize::from(std::env::var_os("TERM").is_some())
}

#[test]
fn a_path_of_a_megabyte_in_thousands_of_directories_is_searched() {
    require!(can_contain(), NO_NAMESPACES);
    let mut path = "/nosuch/directory:".repeat(6000);
    path.push_str("/bin");
    let mut command = tinyctr(["-e", &format!("PATH={path}")]);
    assert_eq!(stdout(command.arg(image()).args(["echo", "found"])), "found\n");
}

// --- an image at the end of a long path ----------------------------------------------------------

/// PATH_MAX without its NUL.
const LONGEST_PATH: usize = 4095;

/// Moves an image to where its path has `length` bytes. No single call can name a path that is
/// longer than PATH_MAX, so this goes down step by step.
fn image_at_depth(length: usize) -> (tempfile::TempDir, OsString) {
    let (directory, image) = copy_of_image("image");
    let mut path = directory.path().as_os_str().to_owned();
    let mut depth: OwnedFd = open(directory.path(), OFlag::O_PATH, Mode::empty()).expect("ours");
    let mut down = |depth: &mut OwnedFd, name: &str| {
        mkdirat(&*depth, name, Mode::S_IRWXU).expect("the directory is ours");
        *depth = openat(&*depth, name, OFlag::O_PATH, Mode::empty()).expect("just made");
        path.push("/");
        path.push(name);
        path.len()
    };
    let mut reached = directory.path().as_os_str().len();
    while length - reached > 300 {
        reached = down(&mut depth, &"d".repeat(200));
    }
    let rest = (length - reached - 2) / 2;
    reached = down(&mut depth, &"e".repeat(rest));
    let last = "i".repeat(length - reached - 1);
    renameat(AT_FDCWD, &image, &depth, last.as_str()).expect("both are ours");
    path.push("/");
    path.push(last);
    assert_eq!(path.len(), length);
    (directory, path)
}

#[test]
fn an_image_path_of_4095_bytes_is_not_too_long() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, path) = image_at_depth(LONGEST_PATH);
    for options in ["-q", "--bare"] {
        let mut command = tinyctr([options]);
        assert_eq!(stdout(command.arg(&path).args(["echo", "deep"])), "deep\n");
    }
}

#[test]
fn an_image_path_of_4096_bytes_is_too_long_and_told_so() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, path) = image_at_depth(LONGEST_PATH + 1);
    let failure = fails(tinyctr([&path]).args(["echo", "deep"]), 125);
    assert_eq!(failure.cause, "ENAMETOOLONG (File name too long)");
}

#[test]
fn a_listed_place_that_is_too_long_is_told_so() {
    let mut command = tinyctr(["name", "true"]);
    let said = run(command.env("TINYCTR_PATH", format!("/{}", "d/".repeat(2048))));
    assert_eq!(said.code, Some(125));
    assert_eq!(failure(&said).told(), ("image", "name", "ENAMETOOLONG (File name too long)"));
}

// --- an image without a fit /proc ----------------------------------------------------------------

#[test]
fn a_missing_proc_is_made() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("image");
    fs::remove_dir(image.join("proc")).expect("it is empty");
    assert_eq!(stdout(tinyctr([&image]).args(["ls", "-d", "/proc/self/"])), "/proc/self/\n");
    assert_eq!(fs::read_dir(image.join("proc")).expect("it was made").count(), 0, "outside");
}

#[test]
fn a_link_for_proc_is_refused_and_its_target_left_alone() {
    require!(can_contain(), NO_NAMESPACES);
    let (directory, image) = copy_of_image("image");
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).expect("the directory is ours");
    fs::remove_dir(image.join("proc")).expect("it is empty");
    for target in [&outside, Path::new("etc"), Path::new("/nosuch"), Path::new("../outside")] {
        symlink(target, image.join("proc")).expect("the image is a copy of ours");
        let failure = fails(tinyctr([&image]).arg("true"), 125);
        assert_eq!(failure.told(), ("place mounts", "/proc", "ENOTDIR (Not a directory)"));
        assert!(failure.hint.expect("a hint").contains("link"));
        fs::remove_file(image.join("proc")).expect("it is still the link");
    }
    assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0);
    assert_eq!(mounts_naming(directory.path()), [""; 0]);
}

#[test]
fn a_file_for_proc_is_refused() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("image");
    fs::remove_dir(image.join("proc")).expect("it is empty");
    fs::write(image.join("proc"), "").expect("the image is a copy of ours");
    let failure = fails(tinyctr([&image]).arg("true"), 125);
    assert_eq!(failure.told(), ("place mounts", "/proc", "ENOTDIR (Not a directory)"));
}

#[test]
fn a_missing_proc_on_a_read_only_file_system_is_told_so() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("image");
    fs::remove_dir(image.join("proc")).expect("it is empty");
    let failure = fails(&mut on_a_read_only_mount(&image), 125);
    assert_eq!(failure.told(), ("place mounts", "/proc", "EROFS (Read-only file system)"));
    assert!(failure.hint.expect("a hint").contains("no such directory"));
}

#[test]
fn an_image_on_a_read_only_file_system_runs() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("image");
    assert_eq!(stdout(&mut on_a_read_only_mount(&image)), "read-only\n");
}

/// `tinyctr IMAGE ...` in a mount namespace of its own, where `image` can't be written.
fn on_a_read_only_mount(image: &Path) -> Command {
    let mut command = tinyctr([image]);
    command.args(["sh", "-c", "echo x 2>&- > /file || echo read-only"]);
    isolate(&mut command, CloneFlags::CLONE_NEWNS);
    let image = image.to_owned();
    let read_only = move || {
        let none: Option<&str> = None;
        mount(Some(&image), &image, none, MsFlags::MS_BIND, none)?;
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        // In a user namespace, what the mount has of these can't be taken away.
        let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        Ok(mount(none, &image, none, again | kept, none)?)
    };
    // SAFETY: system calls only: nix keeps a short path on the stack.
    unsafe { command.pre_exec(read_only) };
    command
}

// --- exhausted -----------------------------------------------------------------------------------

/// `tinyctr IMAGE true` with at most `limit` of `resource`.
fn limited(resource: Resource, limit: u64) -> Command {
    let mut command = tinyctr([image()]);
    command.arg("true");
    // SAFETY: a system call, nothing else.
    unsafe { command.pre_exec(move || Ok(setrlimit(resource, limit, limit)?)) };
    command
}

#[test]
fn without_a_free_descriptor_the_error_is_clear() {
    require!(can_contain(), NO_NAMESPACES);
    for limit in 0..=3 {
        let failure = fails(&mut limited(Resource::RLIMIT_NOFILE, limit), 125);
        assert_eq!(failure.cause, "EMFILE (Too many open files)", "{failure:?}");
    }
}

#[test]
fn six_free_descriptors_are_enough() {
    require!(can_contain(), NO_NAMESPACES);
    assert_eq!(stdout(&mut limited(Resource::RLIMIT_NOFILE, 9)), "");
}

/// From a limit at which the kernel can't even start us, up to one at which there is enough.
#[test]
fn without_memory_the_error_is_clear() {
    require!(can_contain(), NO_NAMESPACES);
    let page = 4096;
    let tries = (32..2048).map(|pages| run(&mut limited(Resource::RLIMIT_AS, pages * page)));
    let mut ours = tries.skip_while(|said| said.code.is_none());
    let said = ours.next().expect("8 MiB are enough to start us");
    assert_eq!(said.code, Some(125), "the first that starts: {said:?}");
    let failure = failure(&said);
    assert_eq!(failure.step, "output");
    assert!(failure.cause.starts_with("ENOMEM ("), "{failure:?}");
}

/// As a service with systemd's MemoryDenyWriteExecute: PR_SET_MDWE(2const), since Linux 6.3.
fn deny_write_execute(command: &mut Command) -> &mut Command {
    const REFUSE_EXEC_GAIN: i32 = 1;
    // SAFETY: it changes what this process may do with its memory, and touches none.
    let deny = || match unsafe { libc::prctl(libc::PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: a system call, which is all that is done between fork and exec.
    unsafe { command.pre_exec(deny) }
}

const NO_MDWE: &str = "the kernel has no PR_SET_MDWE (before Linux 6.3)";

fn can_deny_write_execute() -> bool {
    deny_write_execute(&mut Command::new("true")).status().is_ok()
}

#[test]
fn what_is_packed_is_unpacked_where_no_memory_may_become_code() {
    require!(is_release(), NEEDS_RELEASE);
    require!(can_contain(), NO_NAMESPACES);
    require!(can_deny_write_execute(), NO_MDWE);
    let said = run(deny_write_execute(&mut tinyctr(["no-such-image", "true"])));
    assert_eq!(failure(&said).cause, "ENOENT (No such file or directory)");
    let mut limited = tinyctr(["--timeout", "100", "--init"]);
    assert_eq!(stdout(deny_write_execute(limited.arg(image()).args(["echo", "here"]))), "here\n");
}

#[test]
fn where_nothing_can_be_unpacked_the_error_is_a_number() {
    require!(is_release(), NEEDS_RELEASE);
    require!(can_inject(), NO_STRACE);
    // SELinux, say: not even a file that is nowhere. (The first mprotect is that of the code.)
    let fault = "inject=mprotect,memfd_create:error=EACCES";
    for (words, error) in [
        (&["no-such-image", "true"][..], "error 2"),
        (&["--timeout", "1", "no-such-image"], "error 13"),
    ] {
        let mut command = strace(["-e", fault], Path::new("/dev/null"));
        let said = run(command.arg(binary()).args(words));
        assert_eq!(said.code, Some(125), "{said:?}");
        let line = format!("tinyctr: {error} (its words can't be unpacked here)");
        assert_eq!(said.stderr.lines().collect::<Vec<_>>(), [line]);
    }
}

/// What a signal takes is unpacked when one comes.
#[test]
fn where_no_memory_is_left_a_signal_ends_nobody() {
    require!(can_contain(), NO_NAMESPACES);
    require!(is_release(), NEEDS_RELEASE);
    let running = Running::start(tinyctr(["-q"]).arg(image()).arg("cat"));
    let pid = running.pid().to_string();
    stdout(Command::new("prlimit").args(["--pid", &pid, "--as=2000000"]));
    for signal in [Signal::SIGWINCH, Signal::SIGUSR1, Signal::SIGCONT] {
        kill(running.pid(), signal).expect("it is ours");
    }
    let said = running.end();
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

// --- every call fails in turn --------------------------------------------------------------------

/// The calls up to the command's execve, and how often each is made by one process. Left out:
/// execve, since strace makes it too, exit_group and umask, which can't fail, madvise, which is
/// advice, and ioctl, whose every error says that there is no terminal.
fn calls_of_a_start(options: &[&str]) -> BTreeMap<String, usize> {
    let directory = tempdir();
    let list = directory.path().join("list");
    let mut command = strace(["-e", "trace=!exit_group"], &list);
    command.arg(binary()).args(options).arg(image()).arg("/nosuch");
    assert_eq!(run(&mut command).code, Some(127));
    let text = fs::read_to_string(&list).expect("strace wrote it");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let (pid, call) = line.split_once(' ').expect("strace -f begins with the pid");
        let name = call.trim_start().split('(').next().expect("not empty");
        // This failure takes memory too, for its words, and for the code that tells them.
        let again = ["mmap", "mprotect"].contains(&name) && counts.contains_key(&(pid, name));
        let words = again || name == "munmap";
        if !name.contains(['<', '+', '-']) && !UNTRIED.contains(&name) && !words {
            *counts.entry((pid, name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in counts {
        let entry: &mut usize = most.entry(name.to_owned()).or_default();
        *entry = count.max(*entry);
    }
    most
}

/// The guard closes, and what is closed is closed, whatever the answer (close(2)).
const UNTRIED: [&str; 6] = ["execve", "write", "madvise", "umask", "ioctl", "close"];

/// The number of the mount of sysfs. It and the one before, which covers the host's, may fail with
/// EPERM: the host's /sys is borrowed instead.
fn mount_of_sysfs(options: &[&str]) -> Option<usize> {
    let directory = tempdir();
    let list = directory.path().join("list");
    let mut command = strace(["-e", "trace=mount"], &list);
    run(command.arg(binary()).args(options).arg(image()).arg("/nosuch"));
    let text = fs::read_to_string(&list).expect("strace wrote it");
    let mut mounts = text.lines().filter(|line| line.contains("mount("));
    mounts.position(|line| line.contains("\"sysfs\"")).map(|before| before + 1)
}

/// What came of a start in which one call failed.
fn start_with(fault: &str, options: &[&str]) -> (common::Said, String) {
    let token = token();
    let mut command = strace(["-e", fault], Path::new("/dev/null"));
    command.arg(binary()).args(options).arg(image());
    (run(command.args(["sh", "-c", "read -r _; exit 0", &token])), token)
}

#[test]
fn whichever_call_fails_the_error_names_its_step_and_nothing_is_left() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    for options in [&["-q"][..], &["-q", "--bare", "-w/etc"]] {
        let calls = calls_of_a_start(options);
        assert!(calls.len() >= 11, "{calls:?}");
        let sysfs = mount_of_sysfs(options);
        for (name, count) in calls {
            for number in 1..=count {
                for errno in ["EIO", "EPERM", "ENOMEM"] {
                    let fault = format!("inject={name}:error={errno}:when={number}");
                    let another_way = errno == "EPERM"
                        && match name.as_str() {
                            "close_range" | "move_mount" | "prlimit64" => true,
                            "mknodat" => is_root(), // else they are files, for the host's
                            "mount" => sysfs.is_some_and(|at| (at - 1..=at).contains(&number)),
                            _ => false,
                        };
                    assert_fails_cleanly(&fault, errno, options, another_way);
                }
            }
        }
    }
}

fn assert_fails_cleanly(fault: &str, errno: &str, options: &[&str], another_way: bool) {
    let (said, token) = start_with(fault, options);
    if another_way {
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{fault} {options:?}");
    } else {
        assert_eq!(said.code, Some(125), "{fault} {options:?}: {said:?}");
        let Failure { cause, .. } = failure(&said);
        assert!(cause.starts_with(&format!("{errno} (")), "{fault} {options:?}: {cause}");
    }
    if !options.contains(&"--bare") {
        wait_until("the container ends", || processes_with(&token).is_empty());
    }
}

#[test]
fn an_interrupted_wait_goes_on() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let (said, _) = start_with("inject=wait4:error=EINTR:when=1..3", &["-q"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn where_neither_way_into_the_root_is_open_the_second_is_told() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let (pivot, move_mount) =
        ("inject=pivot_root:error=EINVAL", "inject=mount:error=EINVAL:when=4");
    let mut command = strace(["-e", pivot, "-e", move_mount], Path::new("/dev/null"));
    let failure = fails(command.arg(binary()).arg("--bare").arg(image()).arg("true"), 125);
    assert_eq!(failure.step, "move root");
    assert_eq!(failure.cause, "EINVAL (Invalid argument)");
}

// --- nothing is left -----------------------------------------------------------------------------

/// What a run could leave behind, to be compared before and after.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    image: Vec<PathBuf>,
    working_directory: usize,
    mounts: Vec<String>,
}

fn traces(image: &Path, directory: &Path) -> Traces {
    let mut files = Vec::new();
    list(image, &mut files);
    Traces {
        image: files,
        working_directory: fs::read_dir(directory).expect("it is ours").count(),
        mounts: mounts_naming(image),
    }
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the image is ours") {
        let entry = entry.expect("it can be read");
        files.push(entry.path());
        if entry.file_type().expect("it can be read").is_dir() {
            list(&entry.path(), files);
        }
    }
    files.sort_unstable();
}

#[test]
fn a_thousand_runs_in_a_row_leave_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let before = traces(image(), directory.path());
    let token = token();
    for _ in 0..1000 {
        let mut command = tinyctr([image()]);
        command.args(["true", &token]).current_dir(directory.path());
        assert_eq!(stdout(&mut command), "");
    }
    assert_eq!(processes_with(&token), []);
    assert_eq!(traces(image(), directory.path()), before);
}

#[test]
fn fifty_containers_at_once_know_nothing_of_each_other_and_leave_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let before = traces(image(), directory.path());
    let token = token();
    let script = "read -r line; echo $line; read -r _; ls -d /proc/[0-9]* | wc -l; exit 42";
    let start = |_| {
        let mut command = tinyctr([image()]);
        command.args(["sh", "-c", script, &token]).current_dir(directory.path());
        Running::start(&mut command)
    };
    let containers: Vec<Running> = (0..50).map(start).collect();
    // Each is tinyctr and its shell, and as root a guard; all of them run at this moment.
    let each = if is_root() { 3 } else { 2 };
    assert_eq!(processes_with(&token).len(), 50 * each);
    for container in containers {
        let said = container.end();
        assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""));
        let processes: u32 = said.stdout.trim().parse().expect("wc counts");
        assert!(processes <= 3, "the shell, ls and wc");
    }
    assert_eq!(processes_with(&token), []);
    assert_eq!(traces(image(), directory.path()), before);
}

#[test]
fn sigkill_of_tinyctr_ends_the_container_and_leaves_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let before = traces(image(), directory.path());
    for process in ["cat", "while read -r line; do echo $line; done; read -r _"] {
        let token = token();
        let mut command = tinyctr([image()]);
        command.args(["sh", "-c", process, &token]).current_dir(directory.path());
        let running = Running::start(&mut command);
        let inside = running.inside();
        kill(running.pid(), Signal::SIGKILL).expect("it is ours");
        wait_until("the container ends", || !is_alive(inside));
        assert_eq!(running.end().signal, Some(9));
        wait_until("its processes end", || processes_with(&token).is_empty());
    }
    assert_eq!(traces(image(), directory.path()), before);
}

/// Between the clone and the child's own request to end with its parent there is a moment.
#[test]
fn sigkill_of_tinyctr_right_after_the_clone_ends_the_container_too() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let token = token();
    let delay = ["-e", "trace=prctl", "-e", "inject=prctl:delay_enter=500ms"];
    let mut command = strace(delay, Path::new("/dev/null"));
    command.arg(binary()).arg(image()).args(["sh", "-c", "read -r _", &token]);
    let running = Running::spawn(&mut command);
    let mut family = None;
    wait_until("the clone", || {
        let parent = children(running.pid()).into_iter().find(|pid| !children(*pid).is_empty());
        family = parent.and_then(|parent| Some((parent, *children(parent).first()?)));
        family.is_some()
    });
    let (parent, child) = family.expect("it was just there");
    kill(parent, Signal::SIGKILL).expect("it is ours");
    let binary = binary().canonicalize().expect("it is there");
    let program = || fs::read_link(format!("/proc/{child}/exe"));
    let is_command = || program().is_ok_and(|path| path != binary);
    wait_until("the child ends, or goes on", || !is_alive(child) || is_command());
    let goes_on = is_alive(child);
    running.end(); // and with its stdin the command, if it runs
    assert!(!goes_on, "the command runs, and nobody waits for it");
}
