//! tinyctr as the command of an ssh, with a terminal and without: what sshd tells it, and what
//! happens when the connection ends.
//!
//! The sshd is a real one, on loopback, with keys and a configuration of the test's own. What it
//! wants to see in /run and in /etc/shadow is in a mount namespace of its own.

mod common;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::terminal::Terminal;
use common::{
    NEEDS_ROOT, Running, binary, can_contain, children, copy_of_image, have, image, is_root,
    isolate, name, output, processes_with, require, run, stat, stdout, tempdir, token, wait_until,
};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};

const SSHD: &str = "/usr/sbin/sshd";
const NO_SSH: &str = "needs sshd and ssh (openssh-server, openssh-client)";

/// Root may log in where /etc/shadow says that there is no password; where it says that the
/// account is locked, not even with a key.
const START: &str = r#"
mount -t tmpfs -o mode=755 none /run
mkdir /run/sshd
echo 'root:*:19000:0:99999:7:::' > /run/shadow
mount --bind /run/shadow /etc/shadow
exec "$0" -D -e -f "$1"
"#;

/// A running sshd.
struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    daemon: Child,
}

impl Sshd {
    fn start() -> Sshd {
        let directory = tempdir();
        let path = |name: &str| directory.path().join(name);
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key));
            stdout(&mut keygen);
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let configuration = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n",
            path("host").display(),
            path("user.pub").display()
        );
        fs::write(path("configuration"), configuration).expect("it can be written");
        let log = File::create(path("log")).expect("it can be made");
        let mut sh = Command::new("sh");
        sh.args(["-euc", START, SSHD]).arg(path("configuration")).stdin(Stdio::null());
        isolate(&mut sh, CloneFlags::CLONE_NEWNS);
        let daemon = sh.stdout(Stdio::null()).stderr(log).spawn().expect("sh starts");
        let mut sshd = Sshd { directory, port, daemon };
        wait_until("it listens", || {
            let ended = sshd.daemon.try_wait().expect("it is ours");
            assert!(ended.is_none(), "{}", sshd.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        sshd
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `ssh OPTION root@127.0.0.1 REMOTE`.
    fn ssh(&self, option: &str, remote: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", option, "-p", &self.port.to_string(), "-i"]);
        ssh.arg(self.directory.path().join("user"));
        for setting in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "LogLevel=ERROR",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            ssh.args(["-o", setting]);
        }
        ssh.args(["root@127.0.0.1", remote]).env("TERM", "xterm").stdin(Stdio::null());
        ssh
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.daemon.kill();
        let _gone = self.daemon.wait();
    }
}

/// `tinyctr -q IMAGE sh -c SCRIPT TOKEN`, for a shell on the other side. Neither path has anything
/// in it that a shell would mind; `script` has no quote.
fn remote(image: &Path, script: &str, token: &str) -> String {
    assert!(!script.contains('\''), "{script}");
    format!("exec {} -q {} sh -c '{script}' {token}", binary().display(), image.display())
}

/// (ssh and the shell of sshd have the token on their command lines too, within a longer word.)
fn wait_for_the_end(token: &str, sshd: &Sshd) {
    let what = format!("nothing is left of {token}: {}", sshd.log());
    wait_until(&what, || processes_with(token).is_empty());
}

macro_rules! sshd {
    () => {{
        require!(is_root() && can_contain(), NEEDS_ROOT);
        require!(Path::new(SSHD).exists() && have("ssh"), NO_SSH);
        Sshd::start()
    }};
}

// --- without a terminal --------------------------------------------------------------------------

#[test]
fn over_ssh_without_a_terminal_the_status_is_the_commands() {
    let sshd = sshd!();
    for (script, status) in [("exit 7", 7), ("test -t 0 || exit 8", 8)] {
        let said = run(&mut sshd.ssh("-T", &remote(image(), script, "")));
        let told = (said.code, said.stdout.as_str(), said.stderr.as_str());
        assert_eq!(told, (Some(status), "", ""), "{script}: {}", sshd.log());
    }
    let no_such = format!("{} -q {} frobnicate", binary().display(), image().display());
    let said = run(&mut sshd.ssh("-T", &no_such));
    assert_eq!(said.code, Some(127), "{said:?}");
    assert!(said.stderr.starts_with("tinyctr: exec: frobnicate: ENOENT"), "{said:?}");
}

#[test]
fn over_ssh_without_a_terminal_bytes_pass_both_ways_as_they_are() {
    let sshd = sshd!();
    let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| ((at % 251) ^ (at >> 10)) as u8).collect();
    let file = sshd.directory.path().join("bytes");
    fs::write(&file, &bytes).expect("it can be written");
    let mut ssh = sshd.ssh("-T", &remote(image(), "cat; echo to stderr >&2", ""));
    let said = output(ssh.stdin(File::open(&file).expect("it was just made")));
    assert!(said.status.success(), "{said:?}");
    assert!(said.stdout == bytes, "{} bytes came back", said.stdout.len());
    assert_eq!(said.stderr, b"to stderr\n");
}

/// sshd sends no signal where there is no terminal; it closes its ends of the pipes.
#[test]
fn over_ssh_without_a_terminal_who_reads_or_writes_ends_with_the_connection() {
    let sshd = sshd!();
    for script in ["cat", "read line; echo $line; while echo tick; do sleep 0.01; done"] {
        let token = token();
        let mut ssh = sshd.ssh("-T", &remote(image(), script, &token));
        let client = Running::start(&mut ssh);
        assert!(!processes_with(&token).is_empty(), "it runs");
        kill(client.pid(), Signal::SIGKILL).expect("it is ours");
        wait_for_the_end(&token, &sshd);
    }
}

/// So a command that does neither learns nothing, in a container as outside of one. Somebody has
/// to end it, and then nothing is left.
#[test]
fn over_ssh_without_a_terminal_who_is_silent_goes_on_as_without_a_container() {
    let sshd = sshd!();
    let script = "read line; echo $line; sleep 1000; :";
    let outside = format!("exec sh -c '{script}' ");
    for container in [false, true] {
        let token = token();
        let inside = remote(image(), script, &token);
        let remote = if container { inside } else { outside.clone() + &token };
        let client = Running::start(&mut sshd.ssh("-T", &remote));
        // Of tinyctr, or of the shell: what sshd has started is the oldest.
        let first = processes_with(&token)[0];
        let session = stat(first, 1);
        kill(client.pid(), Signal::SIGKILL).expect("it is ours");
        wait_until("sshd's session has ended", || stat(first, 1) != session);
        drop(client);
        sleep(Duration::from_millis(100));
        // Outside of a container nobody else ends what the shell has started.
        let started = if container { Vec::new() } else { children(first) };
        for pid in [first].into_iter().chain(started) {
            assert_eq!(kill(pid, Signal::SIGKILL), Ok(()), "it went on: {}", sshd.log());
        }
        wait_for_the_end(&token, &sshd);
    }
}

// --- with a terminal -----------------------------------------------------------------------------

#[test]
fn over_ssh_with_a_terminal_the_container_has_one_of_its_own() {
    let sshd = sshd!();
    let script = "trap hit=yes INT; tty; stty size; echo up
        until test $hit; do sleep 0.01; done; echo interrupted
        read line; echo got $line
        until stty size | grep \"30 100\"; do sleep 0.01; done; exit 9";
    let mut terminal = Terminal::new();
    terminal.start(&mut sshd.ssh("-tt", &remote(image(), script, "")));
    let shown = terminal.expect("up\r\n");
    assert!(shown.contains("/dev/") && shown.contains("24 80\r\n"), "{shown}");
    terminal.send([3]);
    terminal.expect("^Cinterrupted\r\n");
    terminal.send("word\r");
    terminal.expect("got word\r\n");
    terminal.resize(30, 100); // goes through ssh, sshd and tinyctr
    terminal.expect("30 100\r\n");
    assert_eq!(terminal.end(), 9);
    assert!(!terminal.is_raw(), "the user's terminal is as it was");
}

#[test]
fn over_ssh_with_a_terminal_an_interrupt_ends_a_command_that_does_nothing_about_it() {
    let sshd = sshd!();
    // Its command line is what it can be found by.
    let nap = format!("1{:06}", std::process::id());
    let remote = format!("exec {} -q {} sleep {nap}", binary().display(), image().display());
    let mut terminal = Terminal::new();
    terminal.start(&mut sshd.ssh("-tt", &remote));
    let sleeps = || processes_with(&nap).into_iter().any(|pid| name(pid) == "sleep");
    wait_until("it sleeps", sleeps);
    terminal.send([3]);
    assert_eq!(terminal.end(), 130);
    wait_for_the_end(&nap, &sshd);
}

#[test]
fn over_ssh_with_a_terminal_the_end_of_the_connection_is_a_hangup() {
    let sshd = sshd!();
    let (_directory, image) = copy_of_image("image");
    for (script, heard) in [
        ("trap \"echo hangup > /heard; exit\" HUP; echo up; sleep 1000 & wait; :", "hangup\n"),
        ("echo up; sleep 1000; :", ""),
    ] {
        let _none_yet = fs::remove_file(image.join("heard"));
        let token = token();
        let mut terminal = Terminal::new();
        terminal.start(&mut sshd.ssh("-tt", &remote(&image, script, &token)));
        terminal.expect("up\r\n");
        assert!(!processes_with(&token).is_empty(), "it runs");
        kill(terminal.pid(), Signal::SIGKILL).expect("it is ours");
        wait_for_the_end(&token, &sshd);
        let told = fs::read_to_string(image.join("heard")).unwrap_or_default();
        assert_eq!(told, heard, "{}", sshd.log());
    }
}
