//! The container lives as long as tinyctr, and tinyctr as long as the container: whoever is ended
//! first, and at whatever moment, nothing is left.

mod common;

use std::fs;
use std::io::{PipeWriter, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::terminal::Terminal;
use common::tracer::{
    Came, NO_PTRACE, WAITS, can_trace, go_on, killed_at, let_go, start_traced, stop_now,
};
use common::{
    DEADLINE, NEEDS_ROOT, NO_NAMESPACES, Running, can_contain, children, copy_of_image, image,
    image_has, is_alive, is_root, mounts_naming, name, processes_with, require, skip, tempdir,
    tinyctr, token, wait_until,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

/// Whoever gains capabilities makes the kernel forget with whom he is to end.
#[test]
fn who_may_gain_rights_has_a_guard() {
    require!(can_contain(), NO_NAMESPACES);
    let guarded = |options: &[&str], image: &Path| {
        let mut command = tinyctr(["-q"]);
        let running = Running::start(command.args(options).arg(image).arg("cat"));
        let family = children(running.pid()).len();
        assert_eq!(running.end().code, Some(0));
        family == 2
    };
    assert!(guarded(&["--new-privs"], image()));
    assert!(guarded(&[], Path::new("/")), "where no right is given up");
    assert_eq!(guarded(&[], image()), is_root(), "who has one id can't change it");
}

/// `tinyctr -q OPTIONS IMAGE WORDS`, in the shared image.
fn inside(options: &[&str], words: &[&str]) -> Command {
    let mut command = tinyctr(["-q"]);
    command.args(options).arg(image()).args(words);
    // Killed, it can't put a terminal right again: so none of whoever tests.
    command.stderr(Stdio::null());
    command
}

// --- killed at every system call -----------------------------------------------------------------

/// Who starts a run, and how its command is told to end.
trait Stage {
    /// Sets up stdin and stdout of the next run.
    fn prepare(&mut self, command: &mut Command);
    fn end(&mut self);
    /// Looks at what is left.
    fn look(&mut self) {}
}

/// Its stdin is a pipe.
struct Pipe(Option<PipeWriter>);

impl Stage for Pipe {
    fn prepare(&mut self, command: &mut Command) {
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        command.stdin(reader).stdout(Stdio::null());
        self.0 = Some(writer);
    }

    fn end(&mut self) {
        self.0 = None;
    }
}

/// It is on a terminal; a new one each time, since the end of its session hangs it up.
struct Seat(Terminal);

impl Stage for Seat {
    fn prepare(&mut self, command: &mut Command) {
        self.0 = Terminal::new();
        command.stdin(self.0.stdio()).stdout(self.0.stdio());
        self.0.seat(command);
    }

    fn end(&mut self) {
        self.0.send("\n");
    }

    fn look(&mut self) {
        self.0.reset();
        assert_eq!(self.0.settings(), self.0.before, "resetting it is enough");
    }
}

/// Runs tinyctr again and again, killed a call later each time, and looks what is left.
fn leaves_nothing_wherever_it_is_killed(options: &[&str], stage: &mut impl Stage) {
    let token = token();
    let directory = tempdir();
    let mounts = mounts_naming(image());
    for ends in [false, true] {
        let start = Instant::now();
        for moment in 1.. {
            let mut command = inside(options, &["sh", "-c", WAITS, &token]);
            command.current_dir(directory.path());
            stage.prepare(&mut command);
            let mut end = || stage.end();
            let came = killed_at(&mut command, moment, ends.then_some(&mut end));
            let what = format!("{options:?}, killed at stop {moment}, {ends}");
            wait_until(&format!("{what}: no process is left"), || {
                processes_with(&token).is_empty()
            });
            assert_eq!(mounts_naming(image()), mounts, "{what}");
            let files = fs::read_dir(directory.path()).expect("it is ours").count();
            assert_eq!(files, 0, "{what}");
            stage.look();
            if came != Came::Killed {
                let expected = if ends { Came::Ended(7) } else { Came::Started };
                assert_eq!(came, expected, "{what}");
                assert!(moment > if ends { 4 } else { 100 }, "{what}: that is no run");
                eprintln!("{what}: all of it, in {:?}", start.elapsed());
                break;
            }
        }
    }
}

#[test]
fn nothing_is_left_of_a_start_that_is_killed_wherever() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_trace(), NO_PTRACE);
    leaves_nothing_wherever_it_is_killed(&[], &mut Pipe(None));
}

#[test]
fn nothing_is_left_of_a_start_with_init_that_is_killed_wherever() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_trace(), NO_PTRACE);
    leaves_nothing_wherever_it_is_killed(&["--init"], &mut Pipe(None));
}

#[test]
fn nothing_is_left_of_a_start_with_a_time_limit_that_is_killed_wherever() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_trace(), NO_PTRACE);
    leaves_nothing_wherever_it_is_killed(&["--timeout=50"], &mut Pipe(None));
}

#[test]
fn nothing_is_left_of_a_start_on_a_terminal_that_is_killed_wherever() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_trace(), NO_PTRACE);
    leaves_nothing_wherever_it_is_killed(&[], &mut Seat(Terminal::new()));
}

#[test]
fn nothing_is_left_of_a_start_with_a_helper_that_is_killed_wherever() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_trace(), NO_PTRACE);
    let own_user = "--ns=uts,pid,mnt,ipc,cgroup,user";
    leaves_nothing_wherever_it_is_killed(&[own_user, "-u", "5:6"], &mut Pipe(None));
    leaves_nothing_wherever_it_is_killed(&[own_user, "--init"], &mut Pipe(None));
}

// --- killed at any moment ------------------------------------------------------------------------

/// Pauses that differ, the same in every run.
fn pauses(most: Duration) -> impl Iterator<Item = Duration> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        most.mul_f64((state >> 11) as f64 / (1_u64 << 53) as f64)
    })
}

#[test]
fn nothing_is_left_of_a_run_that_is_killed_at_any_moment() {
    require!(can_contain(), NO_NAMESPACES);
    require!(image_has("setsid"), "needs setsid in the image");
    let mounts = mounts_naming(image());
    let script = "sleep 1000 & (setsid sleep 1000 &); sh -c 'sleep 0.01'; sleep 0.01; exit 7";
    for options in [&[][..], &["--init"], &["-t"], &["-t", "--init", "--timeout=9"]] {
        let token = token();
        let (mut killed, mut ended) = (0, 0);
        for pause in pauses(Duration::from_millis(60)).take(60) {
            let mut command = inside(options, &["sh", "-c", script, &token]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("tinyctr starts");
            std::thread::sleep(pause); // any moment will do
            child.kill().expect("it is not waited for yet");
            match child.wait().expect("it is ours").code() {
                Some(7) => ended += 1,
                None => killed += 1,
                other => panic!("{other:?}"),
            }
            wait_until("its processes end", || processes_with(&token).is_empty());
        }
        assert_eq!(mounts_naming(image()), mounts);
        eprintln!("{options:?}: {killed} killed, {ended} ended before");
        assert!(killed > 5, "{options:?}: {killed} killed, {ended} ended before");
    }
}

/// So many seconds that no other process sleeps as many.
fn nap() -> String {
    token().replace("token-", "1000.").replace('-', "")
}

fn sleeper(nap: &str) -> Option<Pid> {
    processes_with(nap).into_iter().find(|pid| name(*pid) == "sleep")
}

/// The kernel forgets who is to die with whom when a process changes its ids.
#[test]
fn a_command_that_changes_its_ids_ends_with_tinyctr_too() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(image_has("setpriv"), "needs setpriv in the image");
    let changes = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    for options in [&[][..], &["--init"], &["-t"], &["--cap-drop=all", "--cap-add=setuid,setgid"]] {
        let nap = nap();
        let mut command = inside(options, &changes);
        command.args(["sleep", &nap]).stdout(Stdio::null());
        let mut child = command.spawn().expect("tinyctr starts");
        wait_until("it sleeps", || sleeper(&nap).is_some());
        let sleeper = sleeper(&nap).expect("it was just there");
        let status = fs::read_to_string(format!("/proc/{sleeper}/status")).expect("it is there");
        assert!(status.contains("Uid:\t1000\t"), "it has changed them");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        wait_until("it ends", || !is_alive(sleeper));
        wait_until("nothing is left", || processes_with(&nap).is_empty());
    }
}

/// tinyctr is slow to come back from the clone, and then is killed: the command has changed its ids
/// long before. Not tinyctr but the kernel decides which of the two goes on first.
#[test]
fn a_command_that_changes_its_ids_at_once_ends_with_tinyctr_too() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_trace(), NO_PTRACE);
    require!(image_has("setpriv"), "needs setpriv in the image");
    let changes = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c"];
    for options in [&[][..], &["--init"]] {
        let token = token();
        let mut command = inside(options, &changes);
        let (stdin, _writer) = std::io::pipe().expect("there are pipes");
        let (mut reader, stderr) = std::io::pipe().expect("there are pipes");
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is open");
        command.args([WAITS, &token]).stdin(stdin).stdout(Stdio::null()).stderr(stderr);
        let tinyctr = start_traced(&mut command);
        let mut has_cloned = false;
        let start = Instant::now();
        // Where the command waits for tinyctr it does so in vain, which is as good.
        while reader.read(&mut [0; 64]).is_err() && start.elapsed() < Duration::from_secs(5) {
            match stop_now() {
                Some(WaitStatus::PtraceEvent(pid, ..)) => {
                    has_cloned |= pid == tinyctr;
                    go_on(pid, None);
                }
                Some(WaitStatus::PtraceSyscall(pid)) if pid == tinyctr && has_cloned => {}
                Some(WaitStatus::PtraceSyscall(pid) | WaitStatus::Stopped(pid, _)) => {
                    go_on(pid, None);
                }
                Some(_) => {}
                None => std::thread::sleep(Duration::from_micros(20)),
            }
        }
        kill(tinyctr, Signal::SIGKILL).expect("it is ours");
        let_go(tinyctr);
        wait_until("nothing is left", || processes_with(&token).is_empty());
    }
}

/// A set-user-ID program has that effect as well.
#[test]
fn a_command_that_gains_privileges_ends_with_tinyctr_too() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(image_has("setpriv"), "needs setpriv in the image");
    let (_directory, image) = copy_of_image("image");
    let script = r#"cp "$0"/usr/bin/sleep "$0"/usr/bin/suid && chmod 4755 "$0"/usr/bin/suid"#;
    assert_eq!(common::stdout(Command::new("sh").args(["-c", script]).arg(&image)), "");
    let nap = nap();
    let mut command = tinyctr(["-q", "--new-privs"]);
    command.arg(&image).args(["setpriv", "--reuid=1000", "suid", &nap]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("tinyctr starts");
    let find = || processes_with(&nap).into_iter().find(|pid| name(*pid) == "suid");
    wait_until("it sleeps", || find().is_some());
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    wait_until("nothing is left", || processes_with(&nap).is_empty());
}

/// Whoever sends SIGKILL may send it to all that bears the name.
#[test]
fn all_of_tinyctrs_processes_killed_at_once_leave_nothing() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for options in [&[][..], &["--init"], &["-t"]] {
        for _ in 0..10 {
            let nap = nap();
            let mut command = inside(options, &["sleep", &nap]);
            let mut child = command.stdout(Stdio::null()).spawn().expect("tinyctr starts");
            wait_until("it sleeps", || sleeper(&nap).is_some());
            for pid in processes_with(&nap).into_iter().filter(|pid| name(*pid) != "sleep") {
                let _gone = kill(pid, Signal::SIGKILL);
            }
            child.wait().expect("it is ours");
            wait_until("nothing is left", || processes_with(&nap).is_empty());
        }
    }
}

/// A stopped container can't do anything for its own end.
#[test]
fn a_stopped_container_ends_with_tinyctr_too() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let nap = nap();
        let mut command = inside(options, &["sleep", &nap]);
        let mut child = command.stdout(Stdio::null()).spawn().expect("tinyctr starts");
        wait_until("it sleeps", || sleeper(&nap).is_some());
        let tinyctr = Pid::from_raw(child.id().cast_signed());
        kill(tinyctr, Signal::SIGTSTP).expect("it is ours");
        wait_until("it is stopped", || common::stat(tinyctr, 0) == "T");
        kill(tinyctr, Signal::SIGKILL).expect("it is ours");
        child.wait().expect("it is ours");
        wait_until("nothing is left", || processes_with(&nap).is_empty());
    }
}

// --- the command ends first ----------------------------------------------------------------------

#[test]
fn all_processes_of_the_container_are_gone_before_tinyctr_returns() {
    require!(can_contain(), NO_NAMESPACES);
    require!(image_has("setsid"), "needs setsid in the image");
    let nap = nap();
    let script = format!(
        "for n in 1 2 3 4 5 6 7 8; do sleep {nap} & done; (setsid sleep {nap} &)
        (trap '' TERM HUP INT; while :; do sleep {nap}; done) &
        exit 3"
    );
    for options in [&[][..], &["--init"], &["-t"]] {
        for _ in 0..15 {
            let mut command = inside(options, &["sh", "-c", &script]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(command.status().expect("tinyctr starts").code(), Some(3));
            assert_eq!(processes_with(&nap), [], "{options:?}");
        }
    }
    for _ in 0..15 {
        let mut terminal = Terminal::new();
        terminal.start(&mut inside(&[], &["sh", "-c", &script]));
        assert_eq!(terminal.end(), 3);
        assert_eq!(processes_with(&nap), []);
    }
}

/// Nor is one of tinyctr's own left: a watcher, a helper. The command line is theirs too.
#[test]
fn no_helper_outlives_tinyctr() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"], &["-t"], &["--timeout=50"], &["--stop-timeout=50"]] {
        for _ in 0..20 {
            let token = token();
            let status = inside(options, &["sh", "-c", "exit 4", &token]).status();
            assert_eq!(status.expect("tinyctr starts").code(), Some(4));
            assert_eq!(processes_with(&token), [], "{options:?}");
        }
    }
}

/// What still holds a pipe open is gone as well: who reads it sees its end.
#[test]
fn pipes_are_closed_when_tinyctr_returns() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"], &["-t"]] {
        let mut command = inside(options, &["sh", "-c", "sleep 1000 & echo last"]);
        let start = Instant::now();
        assert_eq!(common::stdout(&mut command), "last\n");
        assert!(start.elapsed() < DEADLINE / 2, "{options:?}");
    }
}

/// The end, seen by a caller who is not the parent: the pipe's end comes no sooner than that of
/// the processes.
#[test]
fn a_run_that_is_over_has_no_mount_left() {
    require!(can_contain(), NO_NAMESPACES);
    let (directory, copy) = copy_of_image("image");
    for options in [&[][..], &["--init"], &["-t"]] {
        let mut command = tinyctr(["-q"]);
        command.args(options).arg(&copy).args(["sh", "-c", "sleep 1000 & exit 2"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(command.status().expect("tinyctr starts").code(), Some(2));
        assert_eq!(mounts_naming(directory.path()), [""; 0], "{options:?}");
    }
    remove(&copy);
}

/// What is mounted somewhere can't be removed.
fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        skip(&format!("{}: {error}", directory.display()));
        panic!("something holds it: {error}");
    }
}
