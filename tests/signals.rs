//! Signals, time limits, `--init`, and what a supervisor sees: what is sent to tinyctr, what
//! arrives inside, and what tinyctr's end says.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::terminal::Terminal;
use common::{
    NEEDS_ROOT, NO_NAMESPACES, Running, Said, binary, can_contain, children, compile, container,
    copy_of_image, fails, have, image, image_has, is_alive, is_root, name, processes_with, require,
    run, skip, stat, stdout, tempdir, tinyctr, token, wait_until,
};
use nix::errno::Errno;
use nix::sys::signal::{
    SigHandler, SigSet, SigmaskHow, Signal, kill, pthread_sigmask, signal as set_disposition,
};
use nix::unistd::{Pid, setsid};
use serde_json::{Value, json};

/// `tinyctr -q OPTIONS IMAGE WORDS`, in the shared image.
fn inside(options: &[&str], words: &[&str]) -> Command {
    let mut command = tinyctr(["-q"]);
    command.args(options).arg(image()).args(words);
    command
}

const FORWARDED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGALRM,
];

/// Those of them that end a process which does nothing about it.
const DEADLY: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// Says each signal that it gets by its name, until `exit`, a signal that ends it, is there.
const SAYS_SIGNALS: &str = "for name in TERM INT HUP QUIT USR1 USR2 WINCH CONT ALRM; do
        trap \"echo got $name\" $name
    done
    echo up
    sleep 1000 & while :; do wait; done";

/// A container that talks, on pipes.
struct Talking {
    running: Option<std::process::Child>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Talking {
    /// Starts `command`, which must say `up`.
    #[track_caller]
    fn start(command: &mut Command) -> Talking {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tinyctr starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut talking = Talking { running: Some(child), stdout };
        talking.hear("up");
        talking
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.running.as_ref().expect("it runs").id().cast_signed())
    }

    fn send(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is ours");
    }

    #[track_caller]
    fn hear(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it is text");
        line.trim_end().to_owned()
    }

    /// Waits for the end.
    #[track_caller]
    fn end(mut self) -> Said {
        let child = self.running.as_mut().expect("it runs");
        wait_until("it ends", || child.try_wait().is_ok_and(|ended| ended.is_some()));
        let child = self.running.take().expect("it has ended, and is not killed any more");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it is text");
        let output = child.wait_with_output().expect("it has ended");
        Said {
            code: output.status.code(),
            signal: std::os::unix::process::ExitStatusExt::signal(&output.status),
            stdout: rest,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// With a command that is the container's PID 1, and with an init before it.
const BOTH: [&[&str]; 2] = [&[], &["--init"]];

/// The command: PID 1, or what an init has started.
fn command(tinyctr: Pid) -> Pid {
    let first = container(tinyctr);
    if name(first) == "tinyctr" { children(first)[0] } else { first }
}

// --- forwarding ----------------------------------------------------------------------------------

#[test]
fn each_signal_goes_on_to_the_command() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let mut talking = Talking::start(&mut inside(options, &["sh", "-c", SAYS_SIGNALS]));
        for signal in FORWARDED {
            talking.send(signal);
            talking.hear(&format!("got {}", signal.as_str().trim_start_matches("SIG")));
        }
    }
}

#[test]
fn each_signal_goes_on_to_a_command_with_its_own_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let mut terminal = Terminal::new();
        terminal.start(&mut inside(options, &["sh", "-c", SAYS_SIGNALS]));
        terminal.expect("up\r\n");
        for signal in FORWARDED {
            kill(terminal.pid(), signal).expect("it is ours");
            let got = format!("got {}\r\n", signal.as_str().trim_start_matches("SIG"));
            assert_eq!(terminal.expect("\r\n"), got, "{options:?}");
        }
    }
}

#[test]
fn a_command_that_does_nothing_about_a_signal_is_ended_by_it() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        for signal in DEADLY {
            let words = ["sh", "-c", "echo up; exec sleep 1000"];
            let talking = Talking::start(&mut inside(options, &words));
            // The shell catches SIGINT, and may lose it on its way.
            wait_until("it sleeps", || name(command(talking.pid())) == "sleep");
            talking.send(signal);
            let said = talking.end();
            let told = (said.code, said.stderr.as_str());
            assert_eq!(told, (Some(128 + signal as i32), ""), "{signal}, {options:?}");
        }
    }
}

#[test]
fn sleep_ends_at_a_signal_as_it_does_outside() {
    require!(can_contain(), NO_NAMESPACES);
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let nap = nap();
        let mut child = inside(&[], &["sleep", &nap]).spawn().expect("tinyctr starts");
        let tinyctr = Pid::from_raw(child.id().cast_signed());
        // tinyctr and sleep, and whoever watches over tinyctr's end.
        wait_until("it sleeps", || {
            processes_with(&nap).into_iter().any(|pid| name(pid) == "sleep")
        });
        kill(tinyctr, signal).expect("it is ours");
        wait_until("it ends", || child.try_wait().is_ok_and(|ended| ended.is_some()));
        assert_eq!(child.wait().expect("it has ended").code(), Some(code));
        assert_eq!(processes_with(&nap), []);
    }
}

/// So many seconds that no other process sleeps as many.
fn nap() -> String {
    token().replace("token-", "1000.").replace('-', "")
}

#[test]
fn a_command_that_ignores_a_signal_or_blocks_it_goes_on() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap '' TERM INT HUP QUIT; trap 'echo alive' USR1; echo up
        sleep 1000 & while :; do wait; done";
    for options in BOTH {
        let mut talking = Talking::start(&mut inside(options, &["sh", "-c", script]));
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            talking.send(signal);
        }
        talking.send(Signal::SIGUSR1);
        talking.hear("alive");
    }
}

#[test]
fn a_caught_signal_that_makes_the_command_exit_gives_its_own_status() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let script = "trap 'exit 7' TERM; echo up; sleep 1000 & while :; do wait; done";
        let talking = Talking::start(&mut inside(options, &["sh", "-c", script]));
        talking.send(Signal::SIGTERM);
        let said = talking.end();
        assert_eq!((said.code, said.stderr.as_str()), (Some(7), ""), "{options:?}");
    }
}

/// A shell holds all signals back while it starts a program, most of them just for a moment.
#[test]
fn a_command_that_is_busy_with_its_children_is_ended_too() {
    require!(can_contain(), NO_NAMESPACES);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for round in 0..20 {
            let words = ["sh", "-c", "echo up; while :; do /bin/true; done"];
            let talking = Talking::start(&mut inside(&[], &words));
            std::thread::sleep(Duration::from_micros(777 * round)); // any moment will do
            talking.send(signal);
            assert_eq!(talking.end().code, Some(128 + signal as i32));
        }
    }
}

/// Starts tests/programs/await.c as the command, and hands it to `test`.
fn with_one_who_waits(arguments: &[&str], test: impl Fn(Talking) -> Said, code: i32) {
    let (_directory, image) = copy_of_image("image");
    compile("await", &image.join("await"));
    for options in BOTH {
        let mut command = tinyctr(["-q"]);
        command.args(options).arg(&image).arg("/await").args(arguments);
        assert_eq!(test(Talking::start(&mut command)).code, Some(code), "{options:?}");
    }
}

/// Who waits for a signal blocks it, and does nothing else about it.
#[test]
fn a_command_that_waits_for_a_signal_gets_it() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("cc"), "needs a C compiler");
    let test = |mut talking: Talking| {
        // Long enough for who thinks that it holds them back for a moment only.
        std::thread::sleep(Duration::from_millis(200));
        talking.send(Signal::SIGTERM);
        talking.hear("got 15");
        talking.send(Signal::SIGUSR1);
        talking.hear("got 10");
        talking.end()
    };
    with_one_who_waits(&[], test, 6);
}

#[test]
fn a_command_that_waits_for_another_signal_is_ended_by_this_one() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("cc"), "needs a C compiler");
    let test = |mut talking: Talking| {
        talking.send(Signal::SIGUSR1);
        talking.hear("got 10");
        talking.send(Signal::SIGTERM);
        talking.end()
    };
    with_one_who_waits(&[&(Signal::SIGUSR1 as i32).to_string()], test, 143);
}

/// Two hundred of them: none ends tinyctr, is taken for an error, or is left over at the end.
#[test]
fn many_signals_at_once_do_no_harm() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'n=1' USR1; trap 'exit 9' TERM; echo up
        sleep 1000 & while :; do wait; done";
    for options in BOTH {
        let talking = Talking::start(&mut inside(options, &["sh", "-c", script]));
        for _ in 0..200 {
            talking.send(Signal::SIGUSR1);
        }
        talking.send(Signal::SIGTERM);
        assert_eq!(talking.end().code, Some(9));
    }
}

/// A start takes some milliseconds, in which a signal must be neither lost nor leave anything.
#[test]
fn a_signal_during_the_start_ends_it_too() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        for round in 0..40 {
            let nap = nap();
            let mut child = inside(options, &["sleep", &nap]).spawn().expect("tinyctr starts");
            let tinyctr = Pid::from_raw(child.id().cast_signed());
            std::thread::sleep(Duration::from_micros(150 * round));
            kill(tinyctr, Signal::SIGTERM).expect("it is ours");
            let mut ended = None;
            wait_until("it ends", || {
                ended = child.try_wait().expect("it is ours");
                ended.is_some()
            });
            // Before it has taken charge of its signals it may simply die of it.
            let ended = ended.expect("it has ended");
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&ended) == Some(15);
            assert!(by_signal || ended.code() == Some(143), "{ended:?}, {options:?}");
            wait_until("nothing is left", || processes_with(&nap).is_empty());
        }
    }
}

// --- what the terminal sends to all --------------------------------------------------------------

#[test]
fn an_interrupt_ends_a_pipeline() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let nap = nap();
        let mut terminal = Terminal::new();
        let mut sh = Command::new("sh");
        let script = r#""$0" -q $1 "$2" sleep "$3" | cat"#;
        sh.args(["-c", script]).arg(binary()).arg(options.join(" ")).arg(image()).arg(&nap);
        terminal.start(&mut sh);
        let sleeps = || processes_with(&nap).into_iter().any(|pid| name(pid) == "sleep");
        wait_until("it sleeps", sleeps);
        terminal.send("\x03");
        assert_eq!(terminal.end(), 130, "{options:?}");
        wait_until("nothing is left", || processes_with(&nap).is_empty());
        assert_eq!(terminal.settings(), terminal.before);
    }
}

/// It is a member of the foreground process group, so the kernel has told it already.
#[test]
fn an_interrupt_is_told_once() {
    require!(can_contain(), NO_NAMESPACES);
    for _ in 0..5 {
        let mut terminal = Terminal::new();
        terminal.start(&mut inside(&["-T"], &["sh", "-c", SAYS_SIGNALS]));
        terminal.expect("up\r\n");
        terminal.send("\x03");
        terminal.expect("got INT\r\n");
        kill(terminal.pid(), Signal::SIGUSR1).expect("it is ours");
        let between = terminal.expect("got USR1\r\n");
        assert!(!between.contains("INT"), "{between}");
    }
}

#[test]
fn a_stop_stops_both_and_a_continue_continues_both() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let mut talking = Talking::start(&mut inside(options, &["sh", "-c", SAYS_SIGNALS]));
        let (tinyctr, command) = (talking.pid(), command(talking.pid()));
        for _ in 0..3 {
            talking.send(Signal::SIGTSTP);
            let is_stopped = || stat(tinyctr, 0) == "T" && stat(command, 0) == "T";
            wait_until("both are stopped", is_stopped);
            talking.send(Signal::SIGCONT);
            wait_until("both go on", || stat(tinyctr, 0) != "T" && stat(command, 0) != "T");
            talking.hear("got CONT");
        }
        talking.send(Signal::SIGUSR1);
        talking.hear("got USR1");
    }
}

/// All of the container, and nobody beside it.
#[test]
fn a_stop_stops_what_the_command_has_started_too() {
    require!(can_contain(), NO_NAMESPACES);
    let (mine, theirs) = (nap(), nap());
    let mut neighbour = Command::new("sleep").arg(&mine).spawn().expect("sleep starts");
    for options in BOTH {
        let script = format!("setsid sleep {theirs} & (sleep {theirs} &) ; echo up; wait; cat");
        let talking = Talking::start(&mut inside(options, &["sh", "-c", &script]));
        let sleepers = || -> Vec<Pid> {
            processes_with(&theirs).into_iter().filter(|pid| name(*pid) == "sleep").collect()
        };
        wait_until("both sleep", || sleepers().len() == 2);
        for (signal, stopped) in [(Signal::SIGTSTP, true), (Signal::SIGCONT, false)] {
            talking.send(signal);
            wait_until("all do as one", || {
                let mut all = sleepers();
                all.push(talking.pid()); // a continue before that would come too early
                all.iter().all(|pid| (stat(*pid, 0) == "T") == stopped)
            });
            assert_eq!(stat(Pid::from_raw(neighbour.id().cast_signed()), 0), "S");
        }
        talking.send(Signal::SIGTERM);
        assert_eq!(talking.end().code, Some(143), "{options:?}");
    }
    neighbour.kill().and_then(|()| neighbour.wait()).expect("it is ours");
}

#[test]
fn while_it_is_stopped_the_users_terminal_is_as_it_was() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let mut terminal = Terminal::new();
        let script = "echo up; while read -r line; do echo got $line; done; exit 3";
        terminal.start(&mut inside(options, &["sh", "-c", script]));
        terminal.expect("up\r\n");
        let (tinyctr, command) = (terminal.pid(), command(terminal.pid()));
        assert!(terminal.is_raw());
        kill(tinyctr, Signal::SIGTSTP).expect("it is ours");
        wait_until("both are stopped", || stat(tinyctr, 0) == "T" && stat(command, 0) == "T");
        assert_eq!(terminal.settings(), terminal.before);
        terminal.resize(31, 91);
        kill(tinyctr, Signal::SIGCONT).expect("it is ours");
        wait_until("both go on", || stat(tinyctr, 0) != "T" && stat(command, 0) != "T");
        wait_until("raw mode", || terminal.is_raw());
        terminal.send("ola\n");
        terminal.expect("got ola\r\n");
        terminal.send("\x04");
        assert_eq!(terminal.end(), 3);
        assert_eq!(terminal.settings(), terminal.before);
    }
}

/// As a user does it: ^Z at the caller's shell, jobs, fg, ^C.
#[test]
fn a_container_without_its_own_terminal_is_a_job_of_the_callers_shell() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("bash"), "needs bash");
    let mut terminal = Terminal::new();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]).env("PS1", "prompt: ").env("IMAGE", image());
    terminal.start(bash.env("TINYCTR", binary()).env_remove("TINYCTR_PATH"));
    terminal.expect("prompt: ");
    let nap = nap();
    terminal.send(format!("$TINYCTR -q -T $IMAGE sleep {nap}\n"));
    let sleeper = || processes_with(&nap).into_iter().find(|pid| name(*pid) == "sleep");
    wait_until("it sleeps", || sleeper().is_some());
    let sleeper = sleeper().expect("it was just there");
    for _ in 0..2 {
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect("prompt: ");
        wait_until("it is stopped", || stat(sleeper, 0) == "T");
        terminal.send("fg\n");
        wait_until("it goes on", || stat(sleeper, 0) == "S");
        terminal.expect("sleep");
    }
    terminal.send("\x03");
    terminal.expect("prompt: ");
    terminal.send("echo status=$?\n");
    terminal.expect("status=130\r\n");
    assert_eq!(processes_with(&nap), []);
    terminal.send("exit\n");
    terminal.end();
}

// --- --stop-signal, --stop-timeout, --timeout ----------------------------------------------------

#[test]
fn the_stop_signal_is_what_arrives_for_term() {
    require!(can_contain(), NO_NAMESPACES);
    let stop = "--stop-signal";
    for name in ["USR1", "SIGUSR1", "10"] {
        for options in [&[stop, name][..], &[stop, name, "--init"]] {
            let mut talking = Talking::start(&mut inside(options, &["sh", "-c", SAYS_SIGNALS]));
            talking.send(Signal::SIGTERM);
            talking.hear("got USR1");
            talking.send(Signal::SIGINT);
            talking.hear("got INT");
        }
    }
    let talking = Talking::start(&mut inside(&["--stop-signal=KILL"], &["sh", "-c", SAYS_SIGNALS]));
    talking.send(Signal::SIGTERM);
    assert_eq!(talking.end().code, Some(137));
}

#[test]
fn what_is_no_signal_and_no_time_is_refused() {
    for option in [
        "--stop-signal=",
        "--stop-signal=NOSUCH",
        "--stop-signal=SIG",
        "--stop-signal=0",
        "--stop-signal=65",
        "--stop-signal=-1",
        "--stop-signal=9x",
        "--stop-timeout=",
        "--stop-timeout=x",
        "--stop-timeout=-1",
        "--stop-timeout=1.2.3",
        "--timeout=",
        "--timeout=x",
        "--timeout=-1",
        "--timeout=99999999999999999999",
    ] {
        let failure = fails(&mut tinyctr([option, "/", "true"]), 125);
        assert_eq!(failure.step, "option", "{option}");
    }
}

const IGNORES_TERM: &str = "trap '' TERM; trap 'echo alive' USR1; echo up
    sleep 1000 & while :; do wait; done";

#[test]
fn who_does_not_stop_is_killed_after_the_stop_timeout() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&["--stop-timeout=0.5"][..], &["--stop-timeout=0.5", "--init"]] {
        let mut talking = Talking::start(&mut inside(options, &["sh", "-c", IGNORES_TERM]));
        talking.send(Signal::SIGUSR1); // no stop signal: nothing begins to run out
        talking.hear("alive");
        let start = Instant::now();
        talking.send(Signal::SIGTERM);
        let said = talking.end();
        assert_eq!((said.code, said.stderr.as_str()), (Some(137), ""), "{options:?}");
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

#[test]
fn who_stops_in_time_has_its_own_status() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'exit 7' TERM; echo up; sleep 1000 & while :; do wait; done";
    for options in [&["--stop-timeout=50"][..], &["--stop-timeout=50", "--init"]] {
        let talking = Talking::start(&mut inside(options, &["sh", "-c", script]));
        talking.send(Signal::SIGTERM);
        assert_eq!(talking.end().code, Some(7), "{options:?}");
    }
}

/// A second TERM does not put the end off.
#[test]
fn the_stop_timeout_counts_from_the_first() {
    require!(can_contain(), NO_NAMESPACES);
    let talking = Talking::start(&mut inside(&["--stop-timeout=1"], &["sh", "-c", IGNORES_TERM]));
    let mut ended = false;
    let pid = talking.pid();
    wait_until("it ends, though it is told so again and again", || {
        talking.send(Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(50));
        ended = stat(pid, 0) == "Z";
        ended
    });
    assert_eq!(talking.end().code, Some(137));
}

#[test]
fn the_time_is_over_with_124() {
    require!(can_contain(), NO_NAMESPACES);
    let catches = "trap 'echo got TERM; exit 3' TERM; sleep 1000 & while :; do wait; done";
    let ignores = "trap '' TERM; sleep 1000 & while :; do wait; done";
    for options in BOTH {
        for (script, more, said_last) in [
            ("sleep 1000", &[][..], ""),
            (catches, &[], "got TERM\n"),
            (ignores, &["--stop-timeout=0.2"], ""),
        ] {
            let options = [options, &["--timeout", "0.5"], more].concat();
            let start = Instant::now();
            let said = run(&mut inside(&options, &["sh", "-c", script]));
            assert!(start.elapsed() >= Duration::from_millis(500), "{options:?}");
            assert!(start.elapsed() < Duration::from_secs(8), "not the ten seconds: {options:?}");
            assert_eq!((said.code, said.stderr.as_str()), (Some(124), ""), "{options:?} {script}");
            assert_eq!(said.stdout, said_last, "{options:?} {script}");
        }
    }
}

#[test]
fn the_time_is_over_with_a_terminal_too() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    let words = ["sh", "-c", "echo up; exec sleep 1000"];
    terminal.start(&mut inside(&["--timeout=0.5"], &words));
    assert_eq!(terminal.end(), 124);
    assert_eq!(terminal.settings(), terminal.before);
    assert_eq!(terminal.rest(), "up\r\n");
}

/// That it was told to stop before, and did not, is no reason to end it without a word.
#[test]
fn the_time_is_over_for_who_was_told_to_stop_before() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'n=$((n + 1)); echo got $n; test $n = 1 || exit 5' TERM; echo up
        sleep 1000 & while :; do wait; done";
    for options in BOTH {
        let options = [options, &["--timeout=1.5"]].concat();
        let mut talking = Talking::start(&mut inside(&options, &["sh", "-c", script]));
        talking.send(Signal::SIGTERM);
        talking.hear("got 1");
        talking.hear("got 2");
        assert_eq!(talking.end().code, Some(124), "{options:?}");
    }
}

#[test]
fn who_ends_in_time_has_its_own_status_and_nobody_waits_for_the_rest() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let start = Instant::now();
        let options = [options, &["--timeout=1000"]].concat();
        let said = run(&mut inside(&options, &["sh", "-c", "exit 5"]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(5), ""));
        assert!(start.elapsed() < Duration::from_secs(50));
    }
}

#[test]
fn the_stop_signal_is_what_the_timeout_sends() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'echo got USR2; exit' USR2; sleep 1000 & while :; do wait; done";
    let options = ["--timeout=0.5", "--stop-signal=USR2"];
    let said = run(&mut inside(&options, &["sh", "-c", script]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(124), "got USR2\n"));
}

// --- what tinyctr inherited ----------------------------------------------------------------------

/// Makes `command` start with every signal blocked, and all ignored that can be.
fn with_everything_blocked_and_ignored(command: &mut Command) -> &mut Command {
    let shut = || {
        for signal in Signal::iterator() {
            // SAFETY: no handler is installed.
            let _kill_and_stop_refuse = unsafe { set_disposition(signal, SigHandler::SigIgn) };
        }
        Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
    };
    // SAFETY: system calls only.
    unsafe { command.pre_exec(shut) }
}

/// The lines about signals of a process's status, without their white space.
fn signal_lines(status: &str) -> String {
    let is_about = |line: &&str| {
        ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].iter().any(|it| line.starts_with(it))
    };
    status.lines().filter(is_about).flat_map(str::split_whitespace).collect()
}

#[test]
fn masks_and_dispositions_of_the_caller_do_not_reach_the_command() {
    require!(can_contain(), NO_NAMESPACES);
    let none = "SigPnd:0000000000000000ShdPnd:0000000000000000SigBlk:0000000000000000\
        SigIgn:0000000000000000SigCgt:0000000000000000";
    let cat = ["cat", "/proc/self/status"];
    for options in [&[][..], &["--init"], &["-t"], &["-t", "--init"], &["--timeout=50"]] {
        let plain = stdout(&mut inside(options, &cat));
        assert_eq!(signal_lines(&plain), none, "{options:?}");
        let mut command = inside(options, &cat);
        let shut = stdout(with_everything_blocked_and_ignored(&mut command));
        assert_eq!(signal_lines(&shut), none, "{options:?}");
    }
    for options in BOTH {
        let mut terminal = Terminal::new();
        terminal.start(with_everything_blocked_and_ignored(&mut inside(options, &cat)));
        assert_eq!(terminal.end(), 0);
        assert_eq!(signal_lines(&terminal.rest()), none, "{options:?}");
    }
}

#[test]
fn with_everything_blocked_and_ignored_the_status_still_comes() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let mut command = inside(options, &["sh", "-c", "exit 42"]);
        let said = run(with_everything_blocked_and_ignored(&mut command));
        assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""), "{options:?}");
    }
}

/// SIGPIPE is a case of its own: Rust's and python's children often have it ignored.
#[test]
fn a_reader_that_has_enough_ends_the_command() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let script = r#"trap '' PIPE CHLD; "$0" -q $1 "$2" sh -c 'yes 2>&1; exit 3' | head -n 1"#;
        let mut sh = Command::new("sh");
        sh.args(["-c", &script.replace("yes", "while echo y; do :; done")]);
        sh.arg(binary()).arg(options.join(" ")).arg(image()).stdin(Stdio::null());
        let said = run(&mut sh);
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), "y\n"), "{options:?}: {said:?}");
    }
}

#[test]
fn a_hangup_that_the_caller_ignores_does_not_end_the_container() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'echo alive' USR1; echo up; sleep 1000 & while :; do wait; done";
    for options in BOTH {
        let mut nohup = Command::new("nohup");
        nohup.arg(binary()).arg("-q").args(options).arg(image()).args(["sh", "-c", script]);
        nohup.stdin(Stdio::null());
        let mut talking = Talking::start(&mut nohup);
        talking.send(Signal::SIGHUP);
        talking.send(Signal::SIGUSR1);
        talking.hear("alive");
    }
}

// --- --init --------------------------------------------------------------------------------------

#[test]
fn with_init_the_command_is_the_second_process() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "echo $$ $PPID; ps -A -o pid=,comm=; exit";
    let said = stdout(&mut inside(&["--init"], &["sh", "-c", script]));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["2", "1", "1", "tinyctr", "2", "sh", "3", "ps"]);
}

#[test]
fn init_passes_the_status_on() {
    require!(can_contain(), NO_NAMESPACES);
    for code in [0, 1, 42, 125, 255] {
        let said = run(&mut inside(&["--init"], &["sh", "-c", &format!("exit {code}")]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(code), ""));
    }
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("USR1", 10)] {
        let said = run(&mut inside(&["--init"], &["sh", "-c", &format!("kill -{name} $$")]));
        assert_eq!((said.code, said.stderr.as_str()), (Some(128 + number), ""), "{name}");
    }
    assert_eq!(fails(&mut inside(&["--init"], &["nosuch"]), 127).step, "exec");
    assert_eq!(fails(&mut inside(&["--init"], &["/etc"]), 126).step, "exec");
}

#[test]
fn init_reaps_orphans() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sh -c 'sh -c \"exit $0\" $0 & exit' $n; done
        while ps -A -o stat= | grep -q Z; do sleep 0.01; done
        ps -A -o stat= | grep -c Z
        exit 8";
    let said = run(&mut inside(&["--init"], &["sh", "-c", script]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(8), "0\n"), "and not with theirs");
}

/// The same with a command that waits for nobody, looked at from outside; and that there is
/// something to reap: without `--init` the orphans stay.
#[test]
fn without_init_orphans_are_the_commands_own_affair() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "(sleep 0.01 &); (sleep 0.01 &); echo up; exec sleep 1000";
    for options in BOTH {
        let talking = Talking::start(&mut inside(options, &["sh", "-c", script]));
        let container = container(talking.pid());
        wait_until("the orphans end", || {
            let states: Vec<String> =
                children(container).into_iter().map(|pid| stat(pid, 0)).collect();
            if options.is_empty() { states == ["Z", "Z"] } else { states == ["S"] }
        });
    }
}

#[test]
fn an_orphan_that_outlives_the_command_ends_with_it() {
    require!(can_contain(), NO_NAMESPACES);
    require!(image_has("setsid"), "needs setsid in the image");
    let nap = nap();
    let script = format!("(setsid sleep {nap} &) ; (sleep {nap} &) ; exit 6");
    let start = Instant::now();
    let mut command = inside(&["--init"], &["sh", "-c", &script]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(6));
    assert_eq!(processes_with(&nap), []);
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn init_leads_nobody_to_the_hosts_binary() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "for name in exe root cwd fd/0 fd/1 fd/2; do
            readlink /proc/1/$name && echo open: $name
        done
        for name in exe mem environ maps auxv; do
            head -c 1 /proc/1/$name >/dev/null && echo open: $name
        done
        for file in /proc/1/fd/* /proc/1/map_files/*; do
            test -e $file && echo open: $file
        done
        echo end";
    for option in [&[][..], &["--seccomp=none"], &["-t"]] {
        let options = [&["--init"], option].concat();
        let said = run(&mut inside(&options, &["sh", "-c", script]));
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), "end\n"), "{options:?}");
    }
}

#[test]
fn the_container_shares_no_memory_with_tinyctr() {
    require!(can_contain(), NO_NAMESPACES);
    let same = |first: Pid, second: Pid| {
        const KCMP_VM: i32 = 1;
        // SAFETY: kcmp(2) takes numbers, and only compares.
        let answer = unsafe {
            libc::syscall(libc::SYS_kcmp, first.as_raw(), second.as_raw(), KCMP_VM, 0, 0)
        };
        Errno::result(answer).map(|order| order == 0)
    };
    let me = Pid::this();
    if let Err(error) = same(me, me) {
        return skip(&format!("needs kcmp(2): {error}"));
    }
    assert_eq!(same(me, me), Ok(true));
    require!(is_root(), "needs root, to compare what is not dumpable");
    for options in [&[][..], &["--init"], &["-t"], &["-t", "--init"]] {
        let mut command = inside(options, &["cat"]);
        let running = Running::start(&mut command);
        let tinyctr = running.pid();
        let below = children(tinyctr);
        assert!(!below.is_empty());
        let inside = container(tinyctr);
        assert_eq!(same(tinyctr, inside), Ok(false), "{options:?}");
        for pid in children(inside) {
            assert_eq!(same(tinyctr, pid), Ok(false), "{options:?}");
        }
        assert_eq!(running.end().code, Some(0));
    }
}

#[test]
fn init_needs_the_pid_namespace() {
    for namespaces in ["none", "uts,mnt"] {
        let failure = fails(&mut tinyctr(["--init", "--ns", namespaces, "/", "true"]), 125);
        assert!(failure.step == "option" || failure.hint.is_some(), "{failure:?}");
    }
}

// --- --pid-file, --status-fd ---------------------------------------------------------------------

#[test]
fn the_pid_file_has_the_containers_pid() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let directory = tempdir();
        let file = directory.path().join("pid");
        let option = format!("--pid-file={}", file.display());
        let running = Running::start(&mut inside(&[options, &[&option]].concat(), &["cat"]));
        let read = || fs::read_to_string(&file).unwrap_or_default();
        wait_until("it is written", || read().ends_with('\n'));
        assert_eq!(read(), format!("{}\n", container(running.pid())), "{options:?}");
        assert_eq!(running.end().code, Some(0));
        let entries = fs::read_dir(directory.path()).expect("it is ours").count();
        assert_eq!(entries, 1, "and no other file");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_is_an_error_and_no_container() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let nap = nap();
    for file in [directory.path().join("no/such"), directory.path().to_owned()] {
        let option = format!("--pid-file={}", file.display());
        let failure = fails(&mut inside(&[&option], &["sleep", &nap]), 125);
        assert_eq!(failure.object, file.display().to_string());
        assert_eq!(processes_with(&nap), []);
    }
}

/// `command` with a pipe on descriptor `fd`.
fn with_status_pipe(command: &mut Command, fd: i32) -> PipeReader {
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    let writer = OwnedFd::from(writer);
    let hand_over = move || {
        // SAFETY: numbers; what was open there belongs to nobody in the child.
        Errno::result(unsafe { libc::dup2(writer.as_raw_fd(), fd) })?;
        // SAFETY: as above. Where the two are one, dup2(2) does nothing.
        Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
        Ok(())
    };
    // SAFETY: system calls only.
    unsafe { command.pre_exec(hand_over) };
    reader
}

/// What came out of the pipe, up to its end. The command must be gone, it has the other end.
fn events(reader: PipeReader) -> Vec<Value> {
    let lines = BufReader::new(reader).lines();
    lines.map(|line| serde_json::from_str(&line.expect("it is text")).expect("JSON")).collect()
}

#[test]
fn the_status_descriptor_tells_of_start_and_end() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        for fd in [3, 9, 77] {
            let mut command =
                inside(&[options, &["--status-fd", &fd.to_string()]].concat(), &["cat"]);
            let reader = with_status_pipe(&mut command, fd);
            let running = Running::start(&mut command);
            drop(command); // and its copy of the writer
            let mut reader = BufReader::new(reader);
            let mut line = String::new();
            reader.read_line(&mut line).expect("it is told while it runs");
            let pid = container(running.pid()).as_raw();
            let started: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(started, json!({"event": "started", "pid": pid}), "{options:?}");
            assert_eq!(running.end().code, Some(0));
            line.clear();
            reader.read_line(&mut line).expect("it is told at the end");
            let exited: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(exited, json!({"event": "exited", "status": 0}), "{options:?}");
            line.clear();
            assert_eq!(reader.read_line(&mut line).expect("the end"), 0, "{line}");
        }
    }
}

#[test]
fn the_status_is_tinyctrs_own_however_it_came() {
    require!(can_contain(), NO_NAMESPACES);
    for (more, words, code) in [
        (&[][..], &["sh", "-c", "exit 42"][..], 42),
        (&["--init"], &["sh", "-c", "kill -KILL $$"], 137),
        (&["--timeout=0.2"], &["sleep", "1000"], 124),
        (&[], &["nosuch"], 127),
        (&[], &["/etc"], 126),
        (&["-w", "/no/such"], &["true"], 125),
    ] {
        let mut command = inside(&[more, &["--status-fd=5"]].concat(), words);
        let reader = with_status_pipe(&mut command, 5);
        assert_eq!(run(&mut command).code, Some(code));
        drop(command);
        let events = events(reader);
        let last = events.last().expect("there is a line");
        assert_eq!(last, &json!({"event": "exited", "status": code}), "{words:?}");
        let started = events.iter().filter(|event| event["event"] == "started").count();
        assert_eq!(started, usize::from(!(125..=127).contains(&code)), "{words:?}: {events:?}");
        assert_eq!(events.len(), started + 1);
    }
}

#[test]
fn the_status_descriptor_is_not_the_commands() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"], &["-t"]] {
        let options = [options, &["--status-fd=7"]].concat();
        let script = "echo /proc/self/fd/*; test -e /proc/self/fd/7; echo $?";
        let mut command = inside(&options, &["sh", "-c", script]);
        let _reader = with_status_pipe(&mut command, 7);
        let said = stdout(&mut command);
        assert!(said.ends_with("\n1\n"), "{options:?}: {said}");
    }
}

#[test]
fn a_status_descriptor_that_is_none_is_refused() {
    for fd in ["", "x", "-1", "0", "1", "2", "88", "99999999999", "3x"] {
        let option = format!("--status-fd={fd}");
        let mut command = tinyctr(["-q", &option, "/", "true"]);
        let said = run(&mut command);
        assert_eq!(said.code, Some(125), "{option}: {said:?}");
        assert_eq!(said.stdout, "");
        assert!(said.stderr.contains("status"), "{option}: {said:?}");
    }
}

/// A supervisor that has gone away is no reason to end what it supervised.
#[test]
fn nobody_who_reads_the_status_is_no_harm() {
    require!(can_contain(), NO_NAMESPACES);
    for options in BOTH {
        let options = [options, &["--status-fd=7"]].concat();
        let mut command = inside(&options, &["sh", "-c", "sleep 0.1; echo ran; exit 4"]);
        drop(with_status_pipe(&mut command, 7));
        let said = run(&mut command);
        let told = (said.code, said.stdout.as_str(), said.stderr.as_str());
        assert_eq!(told, (Some(4), "ran\n", ""), "{options:?}");
    }
    let mut early = tinyctr(["-q", "--status-fd=7", "no-such-image", "true"]);
    drop(with_status_pipe(&mut early, 7));
    assert_eq!(run(&mut early).code, Some(125));
}

#[test]
fn the_status_of_an_image_that_is_nowhere_is_told_too() {
    for image in ["/no/such/image", "no-such-image"] {
        let mut command = tinyctr(["-q", "--status-fd=5", image, "true"]);
        let reader = with_status_pipe(&mut command, 5);
        assert_eq!(run(&mut command).code, Some(125), "{image}");
        drop(command);
        assert_eq!(events(reader), [json!({"event": "exited", "status": 125})], "{image}");
    }
    // A directory of the host's is no standard input.
    let mut command = tinyctr(["-q", "--status-fd=5", "/", "true"]);
    let reader = with_status_pipe(&mut command, 5);
    command.stdin(fs::File::open("/").expect("it is there"));
    assert_eq!(run(&mut command).code, Some(125));
    drop(command);
    assert_eq!(events(reader), [json!({"event": "exited", "status": 125})]);
}

/// What can't be told, nor written, is an error with a word, and nothing is left running.
#[test]
fn a_full_disk_is_no_place_for_status_or_pid() {
    require!(can_contain(), NO_NAMESPACES);
    let nap = nap();
    let failure = fails(&mut inside(&["--pid-file=/dev/full"], &["sleep", &nap]), 125);
    assert_eq!(
        (failure.object.as_str(), failure.cause.as_str()),
        ("--pid-file", "ENOSPC (No space left on device)")
    );
    let mut sh = Command::new("sh");
    sh.args(["-c", r#"exec "$0" -q --status-fd=7 "$1" sleep "$2" 7>/dev/full"#]);
    let said = run(sh.arg(binary()).arg(image()).arg(&nap));
    assert_eq!((said.code, said.stdout.as_str()), (Some(125), ""), "{said:?}");
    assert!(said.stderr.contains("--status-fd: ENOSPC"), "{said:?}");
    assert_eq!(processes_with(&nap), []);
}

// --- in other hands ------------------------------------------------------------------------------

#[test]
fn under_setsid_and_without_a_terminal_it_behaves() {
    require!(can_contain(), NO_NAMESPACES);
    // As cron and sshd start commands: a session without terminal, no environment to speak of.
    for options in [&[][..], &["--init"], &["-t"]] {
        let mut command = inside(options, &["sh", "-c", "echo ola; cat; exit 5"]);
        command.env_clear();
        // SAFETY: a system call only.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        let said = run(&mut command);
        let told = (said.code, said.stdout.as_str(), said.stderr.as_str());
        assert_eq!(told, (Some(5), "ola\n", ""), "{options:?}");
    }
    let mut command = Command::new("setsid");
    command.arg("-w").arg(binary()).arg("-q").arg(image()).args(["sh", "-c", "exit 6"]);
    assert_eq!(run(command.stdin(Stdio::null())).code, Some(6));
}

#[test]
fn with_closed_descriptors_it_behaves() {
    require!(can_contain(), NO_NAMESPACES);
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for option in ["-T", "-t", "--init", "--timeout=50"] {
            let mut sh = Command::new("sh");
            sh.args(["-c", &format!(r#"exec "$0" -q {option} "$1" sh -c 'exit 42' {closed}"#)]);
            let said = run(sh.arg(binary()).arg(image()));
            assert_eq!(said.code, Some(42), "{closed} {option}: {said:?}");
        }
    }
}

/// As systemd stops a service: TERM, and the status is the command's.
#[test]
fn a_supervisor_without_a_terminal_can_stop_it() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "trap 'echo stopping; exit 0' TERM; echo up; sleep 1000 & while :; do wait; done";
    for options in BOTH {
        let mut command = inside(options, &["sh", "-c", script]);
        command.env_clear();
        // SAFETY: a system call only.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        let mut talking = Talking::start(ignoring_sigpipe(&mut command));
        talking.send(Signal::SIGTERM);
        talking.hear("stopping");
        assert_eq!(talking.end().code, Some(0));
    }
}

fn ignoring_sigpipe(command: &mut Command) -> &mut Command {
    // SAFETY: no handler is installed.
    let ignore = || unsafe { set_disposition(Signal::SIGPIPE, SigHandler::SigIgn) }.map(drop);
    // SAFETY: a system call only.
    unsafe { command.pre_exec(move || Ok(ignore()?)) }
}

/// An image that has tinyctr in it, and beneath /inner an image for that one.
fn nested() -> (tempfile::TempDir, std::path::PathBuf) {
    let (directory, outer) = copy_of_image("outer");
    common::copy_image(&outer.join("inner"));
    common::copy(binary(), &outer.join("tinyctr"));
    (directory, outer)
}

#[test]
fn inside_another_tinyctr_it_behaves() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, outer) = nested();
    let words = |path: &Path| [path.to_owned(), "/tinyctr".into(), "-q".into(), "/inner".into()];
    let script = "echo $$; test -t 0 && tty; trap 'echo got TERM; exit 9' TERM; echo up
        sleep 1000 & while :; do wait; done";
    let mut command = tinyctr(["-q", "--privileged"]);
    let mut talking = Talking::start(command.args(words(&outer)).args([
        "sh",
        "-c",
        &script.replace("echo $$;", ""),
    ]));
    talking.send(Signal::SIGTERM);
    talking.hear("got TERM");
    assert_eq!(talking.end().code, Some(9));

    let mut terminal = Terminal::new();
    let mut command = tinyctr(["-q", "--privileged"]);
    terminal.start(command.args(words(&outer)).args(["sh", "-c", script]));
    terminal.expect("1\r\n/dev/pts/0\r\nup\r\n");
    kill(terminal.pid(), Signal::SIGTERM).expect("it is ours");
    terminal.expect("got TERM\r\n");
    assert_eq!(terminal.end(), 9);
    assert_eq!(terminal.settings(), terminal.before);
}

/// The innermost of two relays gets a ^C as what it is, and a new size.
#[test]
fn two_relays_in_a_row_pass_on_keys_and_size() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, outer) = nested();
    let mut terminal = Terminal::new();
    let mut command = tinyctr(["-q", "--privileged"]);
    let script = "trap 'echo got INT' INT; trap 'stty size' WINCH; echo up
        sleep 1000 & while :; do wait; done";
    command.arg(&outer).args(["/tinyctr", "-q", "/inner", "sh", "-c", script]);
    terminal.start(&mut command);
    terminal.expect("up\r\n");
    terminal.send("\x03");
    terminal.expect("got INT\r\n");
    terminal.resize(40, 100);
    terminal.expect("40 100\r\n");
    let container = container(terminal.pid());
    kill(terminal.pid(), Signal::SIGKILL).expect("it is ours");
    assert_eq!(terminal.end(), 137);
    wait_until("both containers end", || !is_alive(container));
}

#[test]
fn a_crash_is_128_more_than_its_signal_without_init_too() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("cc"), "needs a C compiler");
    let (_directory, image) = copy_of_image("image");
    compile("crash", &image.join("crash"));
    for options in BOTH {
        let said = run(tinyctr(["-q"]).args(options).arg(&image).arg("/crash"));
        assert_eq!((said.code, said.signal), (Some(139), None), "{options:?}");
    }
}

#[test]
fn explain_says_what_a_first_process_ignores() {
    require!(can_contain(), NO_NAMESPACES);
    let said = run(&mut inside(&["--explain"], &["true"]));
    assert_eq!(said.code, Some(0));
    let words: Vec<&str> = said.stderr.split_whitespace().filter(|word| *word != "#").collect();
    let text = words.join(" ");
    for told in [
        "As PID 1 it gets only those that it has a handler for (pid_namespaces(7))",
        "with --init it is not PID 1", // the way out
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
