//! A terminal of the container's own: what it is like inside, what comes through, what is left of
//! it outside, and where there is none.

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::terminal::Terminal;
use common::{
    NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, binary, can_contain, can_inject, children, compile,
    container, copy_of_image, fails, have, image, image_has, is_alive, is_root, name,
    processes_with, require, run, stat, stdout, strace, tempdir, tinyctr, token, wait_until,
};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

/// `tinyctr -q OPTIONS IMAGE WORDS`, in the shared image.
fn inside(options: &[&str], words: &[&str]) -> Command {
    let mut command = tinyctr(["-q"]);
    command.args(options).arg(image()).args(words);
    command
}

/// A shell inside, which runs `script`.
fn shell(script: &str) -> Command {
    inside(&[], &["sh", "-c", script])
}

/// All that a script shows on a terminal, and its status.
fn shown(command: &mut Command) -> (i32, String) {
    let mut terminal = Terminal::new();
    terminal.start(command);
    let code = terminal.end();
    (code, terminal.rest())
}

// --- what it is like inside ----------------------------------------------------------------------

#[test]
fn the_container_has_a_terminal_of_its_own() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut shell("tty; ps -o tty= -p 1; echo /dev/pts/*; stat -c %d /dev/pts/0"));
    assert_eq!(terminal.end(), 0);
    let shown = terminal.rest();
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    assert_eq!(lines[..3], ["/dev/pts/0", "pts/0", "/dev/pts/0 /dev/pts/ptmx"]);
    let outside = run(Command::new("stat").args(["-c", "%d", &terminal.name()]));
    assert_ne!(lines[3], outside.stdout.trim(), "its file system is the host's");
}

#[test]
fn the_command_leads_a_session_on_it() {
    require!(can_contain(), NO_NAMESPACES);
    let script = "ps -o pid=,pgid=,sid=,tpgid= -p 1; : </dev/tty && echo opened; \
        for fd in 0 1 2; do readlink /proc/self/fd/$fd; done";
    let (code, text) = shown(&mut shell(script));
    assert_eq!(code, 0, "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let own = "/dev/pts/0";
    assert_eq!(words, ["1", "1", "1", "1", "opened", own, own, own]);
}

#[test]
fn it_belongs_to_the_user_that_the_command_runs_as() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let script = "for file in /dev/tty /dev/pts/0 /dev/console; do : <>$file && echo yes; done; \
        stat -c %u:%g:%a /dev/pts/0";
    let own_user = "--ns=uts,pid,mnt,ipc,cgroup,user";
    for options in [&["-u", "65534:100"][..], &["--init", "-u", "65534"], &[own_user, "-u65534"]] {
        let (code, text) = shown(&mut inside(options, &["sh", "-c", script]));
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!((code, words), (0, vec!["yes", "yes", "yes", "65534:5:620"]), "{options:?}");
    }
}

#[test]
fn its_size_is_that_of_the_users_terminal_and_follows_it() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let mut terminal = Terminal::new();
        terminal.resize(33, 101);
        let script = "trap 'stty size' WINCH; stty size; sleep 1000 & while :; do wait; done";
        terminal.start(&mut inside(options, &["sh", "-c", script]));
        terminal.expect("33 101\r\n");
        for (lines, columns) in [(40, 90), (1, 1), (500, 1000), (24, 80)] {
            terminal.resize(lines, columns);
            terminal.expect(&format!("{lines} {columns}\r\n"));
        }
    }
}

#[test]
fn its_settings_are_those_of_the_users_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    for setting in ["-echo", "-onlcr", "intr ^G", "-ixon", "erase ^H", "sane"] {
        let mut stty = Command::new("stty");
        stty.args(setting.split(' ')).stdin(terminal.stdio());
        assert_eq!(stdout(&mut stty), "");
        let outside = stdout(Command::new("stty").arg("-g").stdin(terminal.stdio()));
        terminal.start(&mut shell("stty -g"));
        assert_eq!(terminal.end(), 0);
        assert_eq!(terminal.rest().trim_end(), outside.trim_end(), "{setting}");
    }
}

#[test]
fn a_shell_complains_of_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        for name in ["bash", "sh"] {
            let mut terminal = Terminal::new();
            terminal.start(&mut inside(&[options, &["-ePS1=prompt: "]].concat(), &[name, "-i"]));
            let start = terminal.expect("prompt: ");
            let before = start.trim_start_matches("\x1b[?2004h"); // a paste is to be bracketed
            assert_eq!(before, "prompt: ", "{name}, before its prompt");
            terminal.send("sh -c 'echo ol$0' a\n");
            terminal.expect("ola\r\n");
            terminal.send("exit 3\n");
            assert_eq!(terminal.end(), 3);
            let text = terminal.rest();
            for complaint in ["process group", "job control", "can't access tty"] {
                assert!(!text.contains(complaint), "{name}: {text}");
            }
        }
    }
}

#[test]
fn the_kernels_signals_reach_the_foreground_only() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut inside(&["-ePS1=prompt: "], &["bash", "--norc", "-i"]));
    terminal.expect("prompt: ");
    let script = "trap 'echo $0 got it; exit' INT; echo $0 up; sleep 1000 & while :; do wait; done";
    terminal.send(format!("sh -c \"{}\" behind &\n", script.replace('$', "\\$")));
    terminal.expect("behind up\r\n");
    terminal.send(format!("sh -c \"{}\" before\n", script.replace('$', "\\$")));
    terminal.expect("before up\r\n");
    terminal.send("\x03");
    terminal.expect("before got it\r\n");
    terminal.expect("prompt: ");
    terminal.send("jobs; echo en''d\n");
    let jobs = terminal.expect("end\r\n");
    assert!(jobs.contains("Running") && !jobs.contains("behind got it"), "{jobs}");
    terminal.send("kill %1; exit\n");
    terminal.end();
}

/// dash catches SIGINT; what comes when its execve has begun finds nobody to catch it.
#[test]
fn an_interrupt_that_is_typed_while_the_command_becomes_another_ends_it() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    // The second execve of a process is the shell's, and takes its time.
    let delay = "inject=execve:delay_enter=50000:when=2";
    for _ in 0..3 {
        let mut command = strace(["-e", "trace=execve", "-e", delay], Path::new("/dev/null"));
        command.arg(binary()).args(["-q", "-t"]).arg(image());
        command.args(["/bin/sh", "-c", "echo up; exec /bin/sleep 30"]);
        let mut terminal = Terminal::new();
        terminal.start(&mut command);
        terminal.expect("up\r\n");
        terminal.send([3]);
        assert_eq!(terminal.end(), 130);
    }
}

/// The kernel spares a PID 1 what it does nothing about, that which is typed included.
#[test]
fn an_interrupt_that_is_typed_ends_a_first_process_that_does_nothing_about_it() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        for (key, code) in [("\x03", 130), ("\x1c", 131)] {
            let mut terminal = Terminal::new();
            terminal.start(&mut inside(options, &["cat"]));
            terminal.send("here\n");
            terminal.expect("here\r\nhere\r\n"); // typed, and said
            terminal.send(key);
            assert_eq!(terminal.end(), code, "{options:?}");
            assert_eq!(terminal.settings(), terminal.before);
        }
    }
}

// --- what comes through --------------------------------------------------------------------------

/// Bytes of every value, in no order that repeats.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_be_bytes()[7]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn bytes_of_any_value_come_through_both_ways() {
    require!(can_contain(), NO_NAMESPACES);
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(noise(100_000));
    let mut terminal = Terminal::new();
    let script = format!("stty raw -echo; echo ready; head -c {}", bytes.len());
    terminal.start(&mut shell(&script));
    terminal.expect("ready\n");
    terminal.send(&bytes);
    assert!(terminal.take(bytes.len()) == bytes, "what came back is what was typed");
    assert_eq!(terminal.end(), 0);
    assert_eq!(terminal.rest(), "");
}

#[test]
fn a_paste_of_a_megabyte_arrives_whole() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("sha256sum") && image_has("sha256sum"), "needs sha256sum");
    let bytes = noise(1 << 20);
    let directory = tempdir();
    let file = directory.path().join("bytes");
    fs::write(&file, &bytes).expect("the directory is ours");
    let sum = stdout(Command::new("sha256sum").stdin(fs::File::open(&file).expect("it is there")));
    let mut terminal = Terminal::new();
    terminal.start(&mut shell("stty raw -echo; echo ready; head -c 1048576 | sha256sum"));
    terminal.expect("ready\n");
    terminal.send(&bytes);
    assert_eq!(terminal.end(), 0);
    assert_eq!(terminal.rest(), sum);
}

#[test]
fn a_hundred_megabytes_come_out_byte_for_byte() {
    require!(can_contain(), NO_NAMESPACES);
    const COUNT: usize = 100 << 20;
    let mut terminal = Terminal::new();
    let script = format!("stty raw -echo; seq 1 20000000 2>/dev/null | head -c {COUNT}");
    terminal.start(&mut shell(&script));
    let mut left = COUNT;
    let mut number = 1;
    let mut expected = Vec::new();
    while left > 0 {
        while expected.len() < (1 << 20).min(left) {
            writeln!(expected, "{number}").expect("memory is writable");
            number += 1;
        }
        let count = expected.len().min(left);
        let got = terminal.take(count);
        assert!(got == expected[..count], "{left} bytes before the end");
        expected.drain(..count);
        left -= count;
    }
    assert_eq!(terminal.end(), 0);
    assert_eq!(terminal.rest(), "");
}

#[test]
fn the_last_output_is_not_lost() {
    require!(can_contain(), NO_NAMESPACES);
    let expected: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
    for (options, runs) in [(&[][..], 100), (&["--init"], 20)] {
        for round in 0..runs {
            let (code, text) = shown(&mut inside(options, &["seq", "1", "3000"]));
            assert_eq!(code, 0);
            assert!(text == expected, "{round}: {} of {} bytes", text.len(), expected.len());
        }
        for _ in 0..runs {
            let words = ["sh", "-c", "printf last; exit 3"];
            assert_eq!(shown(&mut inside(options, &words)), (3, "last".to_owned()));
        }
    }
}

#[test]
fn an_end_of_file_that_is_typed_is_one_inside() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut shell("echo ready; cat; echo after; cat; exit 5"));
    terminal.expect("ready\r\n");
    terminal.send("ola\n");
    terminal.expect("ola\r\nola\r\n"); // the echo, and cat's
    terminal.send("\x04");
    terminal.expect("after\r\n");
    terminal.send("half\x04"); // hands over what is there
    terminal.expect("halfhalf");
    terminal.send("\x04");
    assert_eq!(terminal.end(), 5);
}

/// ^S and ^Q are for the terminal inside. Meanwhile the command waits, and says it afterwards.
#[test]
fn output_is_stopped_and_started_by_keys() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let mut terminal = Terminal::new();
        let script = "trap 'echo alive' USR1; echo ready; sleep 1000 & while :; do wait; done";
        terminal.start(&mut inside(options, &["sh", "-c", script]));
        terminal.expect("ready\r\n");
        let family = family(terminal.pid());
        terminal.send("\x13");
        wait_until_stuck(&family);
        kill(terminal.pid(), Signal::SIGUSR1).expect("it is ours");
        std::thread::sleep(Duration::from_millis(300)); // in which nothing must appear
        assert_eq!(terminal.rest(), "", "{options:?}");
        terminal.send("\x11");
        terminal.expect("alive\r\n");
    }
}

/// A daemon's habit. That nobody has it open for a while is not its end.
#[test]
fn a_terminal_that_was_closed_can_be_opened_again() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let mut terminal = Terminal::new();
        let script = "exec <&- >&- 2>&-; sleep 0.3; exec </dev/tty >/dev/tty 2>&1
            echo again; read -r line; echo \"got $line\"; exit 4";
        terminal.start(&mut inside(options, &["sh", "-c", script]));
        terminal.expect("again\r\n");
        terminal.send("ola\n");
        terminal.expect("got ola\r\n");
        assert_eq!(terminal.end(), 4, "{options:?}");
    }
}

/// Typed before anybody asks, as who types ahead does.
#[test]
fn what_is_typed_early_is_not_lost() {
    require!(can_contain(), NO_NAMESPACES);
    for round in 0..20 {
        let mut terminal = Terminal::new();
        terminal.start(&mut shell("read -r line; echo \"got $line\"; exit 4"));
        if round % 2 == 0 {
            wait_until("raw mode", || terminal.is_raw());
        }
        terminal.send("early\n");
        terminal.expect("got early\r\n");
        assert_eq!(terminal.end(), 4);
    }
}

// --- a reader that stops -------------------------------------------------------------------------

/// Waits until nothing of `pids` runs, since each waits for room: a few looks in a row.
fn wait_until_stuck(pids: &[Pid]) {
    let mut last = Vec::new();
    let mut same = 0;
    wait_until("all of them wait", || {
        let now: Vec<_> = pids.iter().map(|pid| (stat(*pid, 0), switches(*pid))).collect();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 50
    });
}

/// How often a process has been on and off a processor.
fn switches(pid: Pid) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_screen_that_stops_for_a_while_loses_nothing() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut shell("seq 1 200000; echo done"));
    terminal.expect("100\r\n");
    let family: Vec<Pid> = family(terminal.pid());
    wait_until_stuck(&family);
    let all = terminal.expect("done\r\n");
    let rest: String = (101..=200_000).map(|number| format!("{number}\r\n")).collect();
    assert!(all == rest + "done\r\n", "{} bytes", all.len());
    assert_eq!(terminal.end(), 0);
}

#[test]
fn meanwhile_a_signal_still_ends_the_container() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut inside(&[], &["seq", "1", "100000000"]));
    terminal.expect("100\r\n");
    let family = family(terminal.pid());
    wait_until_stuck(&family);
    let container = container(terminal.pid());
    kill(terminal.pid(), Signal::SIGTERM).expect("it is ours");
    wait_until("the container ends", || !is_alive(container));
    assert_eq!(terminal.end(), 128 + 15);
    assert_eq!(terminal.settings(), terminal.before);
    let text = terminal.rest();
    let mut numbers = text.split_terminator("\r\n").map(|line| line.parse::<u32>().ok());
    let mut next = 101;
    let in_order = numbers.by_ref().take_while(|it| {
        *it == Some(next) && {
            next += 1;
            true
        }
    });
    let in_order = in_order.count();
    let last = numbers.count(); // the one that was cut
    assert!(in_order > 100 && last == 0, "{in_order} lines, then something else");
}

#[test]
fn input_that_nobody_reads_holds_up_neither_output_nor_signals() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    let script = "stty raw -echo; trap 'echo signal' USR1; trap 'go=1' USR2; echo ready; \
        sleep 1000 & while test -z \"$go\"; do wait; done; cat | wc -c";
    let script = script.replace("cat |", "head -c $0 |");
    let bytes = noise(1 << 20);
    terminal.start(&mut inside(&[], &["sh", "-c", &script, &bytes.len().to_string()]));
    terminal.expect("ready\n");
    let taken = terminal.send_some(&bytes, Duration::from_millis(500));
    assert!(taken < bytes.len(), "somebody reads");
    for _ in 0..3 {
        kill(terminal.pid(), Signal::SIGUSR1).expect("it is ours");
        terminal.expect("signal\n");
    }
    kill(terminal.pid(), Signal::SIGUSR2).expect("it is ours");
    terminal.send(&bytes[taken..]);
    terminal.expect("1048576\n");
    assert_eq!(terminal.end(), 0);
}

/// tinyctr, and all that runs below it.
fn family(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

// --- nothing to do, nothing done -----------------------------------------------------------------

#[test]
fn an_idle_shell_costs_nothing_in_three_seconds() {
    require!(can_contain(), NO_NAMESPACES);
    costs_nothing_in(Duration::from_secs(3));
}

#[test]
#[ignore = "takes a minute; the bench measures it too"]
fn an_idle_shell_costs_nothing_in_a_minute() {
    require!(can_contain(), NO_NAMESPACES);
    costs_nothing_in(Duration::from_secs(60));
}

fn costs_nothing_in(time: Duration) {
    for options in [&[][..], &["--init"]] {
        let mut terminal = Terminal::new();
        terminal.start(&mut inside(&[options, &["-ePS1=prompt: "]].concat(), &["bash", "--norc"]));
        terminal.expect("prompt: ");
        let family = family(terminal.pid());
        assert!(family.len() >= 2, "tinyctr and the shell");
        wait_until_stuck(&family);
        let costs =
            || -> Vec<_> { family.iter().map(|pid| (ticks(*pid), switches(*pid))).collect() };
        let before = costs();
        let start = Instant::now();
        std::thread::sleep(time); // what is measured is this time
        assert_eq!(costs(), before, "{options:?}, in {:?}", start.elapsed());
        terminal.send("exit\n");
        assert_eq!(terminal.end(), 0);
    }
}

/// utime and stime.
fn ticks(pid: Pid) -> (String, String) {
    (stat(pid, 11), stat(pid, 12))
}

/// The relay polls a terminal that is gone: that it is gone is no news a second time.
#[test]
fn a_terminal_that_is_gone_is_not_asked_again_and_again() {
    require!(can_contain(), NO_NAMESPACES);
    let token = token();
    let mut terminal = Terminal::new();
    let script = "trap '' HUP; echo ready; read -r _; exec sleep 1000";
    let mut command = inside(&[], &["sh", "-c", script, &token]);
    terminal.start(ignoring_sighup(&mut command));
    terminal.expect("ready\r\n");
    let family = family(terminal.pid());
    let mut child = terminal.hang_up();
    let tinyctr = family[0];
    let mut last = switches(tinyctr);
    wait_until("it is quiet", || {
        let before = std::mem::take(&mut last);
        std::thread::sleep(Duration::from_millis(200));
        last = switches(tinyctr);
        last == before
    });
    assert!(family.iter().all(|pid| is_alive(*pid)), "nobody minds the hangup, and so all go on");
    let _gone = child.kill();
    child.wait().expect("it is ours");
    wait_until("its processes end", || processes_with(&token).is_empty());
}

fn ignoring_sighup(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: a system call, nothing else; no handler is installed.
    let ignore = || unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }.map(drop);
    // SAFETY: as above.
    unsafe { command.pre_exec(move || Ok(ignore()?)) }
}

#[test]
fn a_terminal_that_is_switched_off_ends_the_container() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"], &["-T"]] {
        let token = token();
        let mut terminal = Terminal::new();
        let words = ["sh", "-c", "echo ready; sleep 1000", &token];
        terminal.start(&mut inside(options, &words));
        terminal.expect("ready");
        let mut child = terminal.hang_up();
        let mut code = None;
        wait_until("it ends", || {
            code = child.try_wait().expect("it is ours");
            code.is_some()
        });
        assert_eq!(code.and_then(|it| it.code()), Some(128 + 1), "{options:?}");
        assert_eq!(processes_with(&token), []);
    }
}

/// Where it doesn't control tinyctr (setsid(1), su(1)) nobody sends a signal for that.
#[test]
fn a_terminal_of_another_session_that_is_switched_off_ends_the_container_too() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        for (script, code) in [
            ("echo ready; read -r _; exec sleep 1000", 128 + 1),
            ("trap 'exit 6' HUP; echo ready; sleep 1000 & wait", 6),
        ] {
            let token = token();
            let mut terminal = Terminal::new();
            let mut command = inside(options, &["sh", "-c", script, &token]);
            command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
            terminal.attach_in_another_session(&mut command);
            terminal.expect("ready\r\n");
            let mut child = terminal.hang_up();
            let mut ended = None;
            wait_until("it ends", || {
                ended = child.try_wait().expect("it is ours");
                ended.is_some()
            });
            assert_eq!(ended.and_then(|it| it.code()), Some(code), "{options:?}: {script}");
            assert_eq!(processes_with(&token), []);
        }
    }
}

/// What less(1) does at the end of a pipeline: somebody else sets the terminal back.
#[test]
fn an_end_of_file_of_a_terminal_that_was_set_back_is_no_end() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    let script = "echo ready; while read -r line; do echo got $line; done";
    start_raw(&mut terminal, &mut inside(&[], &["sh", "-c", script]));
    terminal.reset();
    terminal.send("\x04");
    terminal.send("one\n");
    terminal.expect("got one");
    kill(terminal.pid(), Signal::SIGTERM).expect("it is ours");
    assert_eq!(terminal.end(), 143);
}

/// The settings that a shell reads its own line with are not those for a job.
#[test]
fn a_job_that_comes_to_the_foreground_has_the_settings_of_a_job() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("bash") && image_has("stty"), "needs bash, and stty in the image");
    let mut terminal = Terminal::new();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]).env("PS1", "prompt: ").env("IMAGE", image());
    terminal.start(bash.env("TINYCTR", binary()).env_remove("TINYCTR_PATH"));
    terminal.expect("prompt: ");
    let look = "stty -a | grep -q \" icanon\" && echo li''nes || echo by''tes";
    terminal.send(format!("$TINYCTR -q $IMAGE sh -c '{look}' &\n"));
    let pid = terminal.pid();
    let stopped = || children(pid).iter().any(|child| stat(*child, 0) == "T");
    wait_until("it is stopped", stopped);
    terminal.send("fg\n");
    terminal.expect("lines\r\n");
    terminal.expect("prompt: ");
    terminal.send("exit 0\n");
    assert_eq!(terminal.end(), 0);
}

/// After su(1): it can't be opened again, and a write to it waits. What is said comes whole, and
/// tinyctr answers a signal all the same.
#[test]
fn a_screen_of_another_user_that_stops_holds_nothing_up_but_itself() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("setpriv") && image_has("seq"), "needs setpriv, and seq in the image");
    let (directory, image) = copy_of_image("image");
    let directory = directory.path();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = directory.join("tinyctr");
    fs::copy(binary(), &program).expect("of the program");
    let run = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command.arg("-q").arg(&image).args(words).current_dir("/");
        command
    };
    let mut terminal = Terminal::new();
    terminal.start(&mut run(&["seq", "1", "20000"]));
    let text: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    assert!(terminal.expect("\r\n20000\r\n") == text);
    assert_eq!(terminal.end(), 0);
    let mut terminal = Terminal::new();
    terminal.start(&mut run(&["seq", "1", "1000000"]));
    terminal.expect("1\r\n2\r\n");
    std::thread::sleep(Duration::from_millis(500)); // until the screen is full
    kill(terminal.pid(), Signal::SIGTERM).expect("it is ours");
    wait_until("nothing runs", || children(terminal.pid()).is_empty());
    kill(terminal.pid(), Signal::SIGTERM).expect("it is ours"); // its last words are not waited for
    assert_eq!(terminal.end(), 143);
}

// --- what is left outside ------------------------------------------------------------------------

/// Starts `command` on `terminal`, which must say `ready`, and then is in raw mode.
#[track_caller]
fn start_raw(terminal: &mut Terminal, command: &mut Command) {
    terminal.start(command);
    terminal.expect("ready\r\n");
    assert!(terminal.is_raw(), "else there is nothing to restore");
}

#[test]
fn the_users_terminal_is_restored_at_the_end() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let mut terminal = Terminal::new();
        let script = "stty -echo intr ^G; echo ready; read -r line; exit 9";
        start_raw(&mut terminal, &mut inside(options, &["sh", "-c", script]));
        terminal.send("\n");
        assert_eq!(terminal.end(), 9);
        assert_eq!(terminal.settings(), terminal.before);
        for (code, command) in [(127, "nosuch"), (126, "/etc")] {
            terminal.start(&mut inside(options, &[command]));
            assert_eq!(terminal.end(), code);
            assert_eq!(terminal.settings(), terminal.before, "{command}");
        }
    }
    let mut terminal = Terminal::new();
    terminal.start(&mut tinyctr(["-t", "/no/such/image", "true"]));
    assert_eq!(terminal.end(), 125);
    assert_eq!(terminal.settings(), terminal.before);
}

#[test]
fn the_users_terminal_is_restored_after_a_crash_of_the_command() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("cc"), "needs a C compiler");
    let (_directory, image) = copy_of_image("image");
    compile("crash", &image.join("crash"));
    let script = "stty raw -echo; echo ready; read -r line; exec /crash";
    let mut terminal = Terminal::new();
    terminal.start(tinyctr(["-q"]).arg(&image).args(["sh", "-c", script]));
    terminal.expect("ready\n");
    assert!(terminal.is_raw());
    terminal.send("\n");
    assert_eq!(terminal.end(), 128 + 11);
    assert_eq!(terminal.settings(), terminal.before);
}

#[test]
fn the_users_terminal_is_restored_after_a_signal_that_ends_tinyctr() {
    require!(can_contain(), NO_NAMESPACES);
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGALRM,
    ] {
        for options in [&[][..], &["--init"]] {
            let mut terminal = Terminal::new();
            let words = ["sh", "-c", "echo ready; exec sleep 1000"];
            start_raw(&mut terminal, &mut inside(options, &words));
            // What comes while a shell becomes another program may be lost, outside as well.
            let sleeps = || family(terminal.pid()).into_iter().any(|pid| name(pid) == "sleep");
            wait_until("it sleeps", sleeps);
            kill(terminal.pid(), signal).expect("it is ours");
            assert_eq!(terminal.end(), 128 + signal as i32, "{options:?}");
            assert_eq!(terminal.settings(), terminal.before, "{signal}, {options:?}");
        }
    }
}

#[test]
fn after_sigkill_the_container_is_gone_and_resetting_the_terminal_is_enough() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&[][..], &["--init"]] {
        let token = token();
        let mut terminal = Terminal::new();
        let words = ["sh", "-c", "echo ready; read -r _; exec sleep 1000", &token];
        start_raw(&mut terminal, &mut inside(options, &words));
        kill(terminal.pid(), Signal::SIGKILL).expect("it is ours");
        assert_eq!(terminal.end(), 128 + 9);
        wait_until("its processes end", || processes_with(&token).is_empty());
        terminal.reset();
        terminal.start(&mut shell("echo ready; read -r line; echo \"got $line\""));
        terminal.expect("ready\r\n");
        terminal.send("ola\n");
        terminal.expect("got ola\r\n");
        assert_eq!(terminal.end(), 0);
    }
}

/// The terminal inside lives on with them: its end is not the end of the output.
#[test]
fn background_processes_do_not_hold_the_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    require!(image_has("setsid"), "needs setsid in the image");
    let token = token();
    let script = "trap '' HUP; (while :; do sleep 1000; done) & (setsid sleep 1000 &); echo last";
    let (code, text) = shown(&mut inside(&[], &["sh", "-c", script, &token]));
    assert_eq!((code, text.as_str()), (0, "last\r\n"));
    assert_eq!(processes_with(&token), []);
}

// --- what is redirected --------------------------------------------------------------------------

/// A shell of the host's on the terminal, which runs `script`; `$0` is tinyctr, `$1` the image.
fn outside(terminal: &mut Terminal, script: &str) {
    let mut sh = Command::new("sh");
    terminal.start(sh.args(["-c", script]).arg(binary()).arg(image()));
}

#[test]
fn a_redirected_stdout_passes_through_untouched() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    outside(&mut terminal, r#""$0" -q -t "$1" ls / | cat"#);
    assert_eq!(terminal.end(), 0);
    let list = terminal.rest();
    // One column, which begins at the left: while tinyctr runs there is still who else writes to
    // the terminal, and relies on it for the carriage return.
    let lines: Vec<&str> = list.split_terminator("\r\n").collect();
    assert!(lines.contains(&"etc") && lines.contains(&"usr"), "{list:?}");

    let directory = tempdir();
    let file = directory.path().join("file");
    let bytes = noise(300_000);
    fs::write(&file, &bytes).expect("the directory is ours");
    let input = fs::File::open(&file).expect("it is there");
    let mut command = inside(&["-t"], &["sh", "-c", "cat; tty <&2 >&2"]);
    let copy = directory.path().join("copy");
    let mut terminal = Terminal::new();
    command.stdin(input).stderr(terminal.stdio());
    command.stdout(fs::File::create(&copy).expect("the directory is ours"));
    terminal.attach(&mut command);
    assert_eq!(terminal.end(), 0);
    assert_eq!(terminal.rest().trim_end(), "/dev/pts/0", "stderr is the own terminal");
    assert!(fs::read(&copy).expect("it was made") == bytes, "no byte is changed or lost");
}

#[test]
fn a_redirected_stderr_passes_through_untouched() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let file = directory.path().join("stderr");
    let mut terminal = Terminal::new();
    let mut command = shell("tty; printf 'a\\nb\\0c\\n' >&2; ls -l /proc/self/fd >&2; echo out");
    command.stdin(terminal.stdio()).stdout(terminal.stdio());
    command.stderr(fs::File::create(&file).expect("the directory is ours"));
    terminal.attach(&mut command);
    assert_eq!(terminal.end(), 0);
    assert_eq!(terminal.rest(), "/dev/pts/0\r\nout\r\n");
    let written = fs::read_to_string(&file).expect("it was made");
    assert!(written.starts_with("a\nb\0c\n"), "{written:?}");
    assert!(written.contains(" 0 -> /dev/pts/0\n"), "{written:?}");
}

#[test]
fn a_script_as_stdin_passes_through_untouched() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let script = directory.path().join("script");
    fs::write(&script, "echo one\nprintf 'two\\n'\ntest -t 0 || echo none\nexit 6\n")
        .expect("the directory is ours");
    for options in [&[][..], &["-t"]] {
        let mut terminal = Terminal::new();
        let mut command = inside(options, &["sh"]);
        command.stdin(fs::File::open(&script).expect("it is there"));
        command.stdout(terminal.stdio()).stderr(terminal.stdio());
        terminal.attach(&mut command);
        assert_eq!(terminal.end(), 6, "{options:?}");
        assert_eq!(terminal.rest(), "one\r\ntwo\r\nnone\r\n", "{options:?}");
        assert_eq!(terminal.settings(), terminal.before, "{options:?}");
    }
}

/// What a pipe carries are bytes, not keys: ^C and ^D have no meaning there.
#[test]
fn a_pipe_as_stdin_is_no_keyboard() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    let script = r#"printf 'a\003\004b\r\n' | "$0" -q -t "$1" od -An -c"#;
    outside(&mut terminal, script);
    assert_eq!(terminal.end(), 0);
    let words = terminal.rest();
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(words, ["a", "003", "004", "b", r"\r", r"\n"]);
}

#[test]
fn without_a_terminal_nothing_stands_between_the_pipes_and_the_command() {
    require!(can_contain(), NO_NAMESPACES);
    let directory = tempdir();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    fs::write(&input, "ola").expect("the directory is ours");
    let script =
        r#""$0" -q "$1" sh -c 'it=$(readlink /proc/1/fd/1); echo $it >&2; cat' <"$2" >"$3""#;
    let mut sh = Command::new("sh");
    let said = run(sh.args(["-c", script]).arg(binary()).arg(image()).arg(&input).arg(&output));
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    // The very file, by the path that is known here: no pipe of tinyctr's stands in between.
    assert_eq!(said.stderr.trim_end(), output.to_str().expect("ours"));
    assert_eq!(fs::read_to_string(&output).expect("it was made"), "ola");
}

// --- on request ----------------------------------------------------------------------------------

#[test]
fn no_tty_leaves_the_command_on_the_callers_terminal_and_in_its_session() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&["-T"][..], &["--no-tty"], &["-T", "--init"]] {
        let mut terminal = Terminal::new();
        let script = "test -t 0 && echo terminal; echo /dev/pts/*; read -r _";
        terminal.start(&mut inside(options, &["sh", "-c", script]));
        terminal.expect("terminal\r\n/dev/pts/ptmx\r\n");
        assert_eq!(terminal.settings(), terminal.before, "nobody relays");
        let family = family(terminal.pid());
        assert!(family.len() >= 2, "tinyctr and the shell");
        for pid in &family {
            // Process group, session, terminal.
            let places = |pid| [stat(pid, 2), stat(pid, 3), stat(pid, 4)];
            assert_eq!(places(*pid), places(family[0]), "{options:?}");
        }
        terminal.send("\n");
        assert_eq!(terminal.end(), 0);
    }
}

#[test]
fn a_terminal_can_be_had_where_the_caller_has_none() {
    require!(can_contain(), NO_NAMESPACES);
    for option in ["-t", "--tty"] {
        let script = "echo out; echo err >&2; : </dev/tty && ps -o tty= -p $$; \
            stty -F /dev/tty size; cat";
        let mut command = inside(&[option], &["sh", "-c", script]);
        let said = run(&mut command);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), "err\n"));
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        assert_eq!(words[..2], ["out", "pts/0"]);
        assert_eq!(words.len(), 4, "and a size: {words:?}");
    }
    // What is shown there nobody sees; that many do it must not stop anybody.
    let mut command = inside(&["-t"], &["sh", "-c", "head -c 1000000 /dev/zero >/dev/tty; echo"]);
    assert_eq!(stdout(&mut command), "\n");
}

#[test]
fn the_last_of_contradicting_wishes_counts_and_bare_has_no_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    for (options, own) in [(&["-T", "-t"][..], true), (&["-t", "-T"], false)] {
        let (_, text) = shown(&mut inside(options, &["sh", "-c", "echo /dev/pts/[0-9]*"]));
        assert_eq!(text == "/dev/pts/0\r\n", own, "{options:?}: {text}");
    }
    let failure = fails(tinyctr(["--bare", "-t"]).arg(image()).arg("true"), 125);
    assert_eq!(failure.step, "option");
    let mut terminal = Terminal::new();
    terminal.start(tinyctr(["--bare", "-q"]).arg(image()).args(["sh", "-c", "echo up; read -r _"]));
    terminal.expect("up\r\n");
    assert_eq!(terminal.settings(), terminal.before);
    terminal.send("\n");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn the_hosts_root_gets_a_terminal_of_its_own_too() {
    require!(can_contain(), NO_NAMESPACES);
    let mut terminal = Terminal::new();
    terminal.start(&mut tinyctr(["-q", "/", "sh", "-c", "tty; test -t 0; echo $?; stty size"]));
    assert_eq!(terminal.end(), 0);
    let text = terminal.rest();
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], terminal.name());
    assert_eq!(lines[1..], ["0", "24 80"]);
    assert_eq!(terminal.settings(), terminal.before);
}

// --- what can't be pushed in ---------------------------------------------------------------------

#[test]
fn nothing_can_be_pushed_into_the_users_terminal() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("cc"), "needs a C compiler");
    let (_directory, image) = copy_of_image("image");
    let push = image.join("push");
    compile("push", &push);
    let pushed = |command: &mut Command| {
        let mut terminal = Terminal::new();
        terminal.start(command);
        assert_eq!(terminal.end(), 0);
        (terminal.rest(), terminal.left_to_read())
    };
    let (said, count) = pushed(&mut Command::new(&push));
    require!(count > 0, "this kernel lets nobody push (dev.tty.legacy_tiocsti)");
    assert!(said.contains("TIOCSTI 7"), "that is what is prevented: {said}");
    for options in [&[][..], &["--seccomp=none"], &["--privileged"], &["--init", "--privileged"]] {
        let mut command = tinyctr(["-q"]);
        let (said, count) = pushed(command.args(options).arg(&image).arg("/push"));
        assert_eq!(count, 0, "{options:?}: {said}");
        assert!(!said.contains("TIOCLINUX works"), "{options:?}: {said}");
        let own = options.iter().any(|option| ["--privileged", "--seccomp=none"].contains(option));
        assert_eq!(said.contains("TIOCSTI 7"), own, "into the own one: {options:?}: {said}");
    }
    // What is the caller's own terminal the filter protects.
    let (said, count) = pushed(tinyctr(["-q", "-T"]).arg(&image).arg("/push"));
    assert_eq!(count, 0, "{said}");
}
