//! A shell in a container as its user sees it: in tmux, by keys that are typed and a screen that is
//! looked at. Job control, editors and pagers, and a window that changes its size.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{
    NO_NAMESPACES, binary, can_contain, copy_of_image, have, image, image_has, processes_with,
    stdout, tempdir, token, wait_until,
};

/// A terminal of tmux's, 80 columns and 24 lines, in a server of its own.
struct Screen {
    directory: tempfile::TempDir,
}

impl Screen {
    /// `words` run on it; when they have ended, the screen stays to be looked at.
    fn start(words: &[&str]) -> Screen {
        let directory = tempdir();
        let settings = "set -g status off\nset -g default-terminal screen\n\
            setw -g remain-on-exit on\nset -g escape-time 0\nset -g history-limit 5000\n";
        fs::write(directory.path().join("settings"), settings).expect("the directory is ours");
        // tmux itself loses the status of a pane now and then.
        let status = directory.path().join("status");
        let note = ["sh", "-c", "\"$@\"; echo $? >\"$0\"", status.to_str().expect("it is ours")];
        let screen = Screen { directory };
        let session = ["new-session", "-d", "-x", "80", "-y", "24"];
        screen.tmux(&[&session[..], &note, words].concat());
        screen
    }

    /// A shell in a container, with a prompt that is known.
    fn shell(options: &[&str], image: &Path) -> Screen {
        let program = binary().to_str().expect("the tests' own path");
        let image = image.to_str().expect("the tests' own path");
        let words = [&[program, "-q", "-ePS1=prompt: "], options, &[image, "bash", "--norc"]];
        let screen = Screen::start(&words.concat());
        screen.expect("prompt:");
        screen
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-f").arg(self.directory.path().join("settings"));
        tmux.arg("-S").arg(self.directory.path().join("socket")).args(words);
        // Where these are set, tmux takes itself to be inside of another one.
        tmux.env_remove("TMUX").env_remove("TMUX_PANE").env_remove("TINYCTR_PATH");
        tmux.env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        stdout(&mut tmux)
    }

    /// Types `keys`: text, or a key by tmux's name for it.
    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// What is on the screen now.
    fn look(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until `text` is on the screen, which is returned.
    #[track_caller]
    fn expect(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits until the screen fits.
    #[track_caller]
    fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let start = std::time::Instant::now();
        while !fits(&screen) {
            assert!(start.elapsed() < common::DEADLINE, "no {what}:\n{screen}");
            std::thread::sleep(std::time::Duration::from_millis(10));
            screen = self.look();
        }
        screen
    }

    /// Clears the screen of a shell with that prompt, so that what is there is new.
    fn clear(&self) {
        self.line("printf '\\033[H\\033[2J'");
        self.wait("empty screen", |screen| screen.trim_end() == "prompt:");
    }

    fn resize(&self, lines: u16, columns: u16) {
        let (lines, columns) = (lines.to_string(), columns.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
    }

    /// Waits for the end of what runs; its status.
    fn end(&self) -> i32 {
        let read = || fs::read_to_string(self.directory.path().join("status")).unwrap_or_default();
        self.wait("end", |_| read().ends_with('\n'));
        read().trim_end().parse().expect("a status")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let socket = self.directory.path().join("socket");
        let _gone = Command::new("tmux").arg("-S").arg(socket).arg("kill-server").output();
    }
}

const NO_TMUX: &str = "needs tmux";

/// Whether tmux works here, and the image has `program`.
fn can_show(program: &str) -> Result<(), String> {
    if !can_contain() {
        return Err(NO_NAMESPACES.into());
    }
    if !have("tmux") {
        return Err(NO_TMUX.into());
    }
    if !image_has(program) {
        return Err(format!("needs {program}, on this machine and so in the image"));
    }
    Ok(())
}

macro_rules! needs {
    ($program:expr) => {
        if let Err(reason) = can_show($program) {
            return common::skip(&reason);
        }
    };
}

/// With the shell as PID 1, and with an init before it.
const BOTH: [&[&str]; 2] = [&[], &["--init"]];

#[test]
fn a_job_is_stopped_listed_sent_back_and_fetched() {
    needs!("bash");
    for options in BOTH {
        let screen = Screen::shell(options, image());
        screen.line("sleep 1000");
        screen.wait("echo of the keys", |screen| screen.contains("sleep 1000"));
        wait_for_child(&screen, "S+");
        screen.keys(&["C-z"]);
        let text = screen.expect("Stopped");
        assert!(text.contains("[1]+"), "{text}");
        screen.line("jobs");
        screen.wait("list", |screen| screen.matches("Stopped").count() == 2);
        screen.clear();
        screen.line("bg");
        screen.expect("[1]+ sleep 1000 &");
        screen.line("jobs");
        screen.expect("Running");
        screen.line("fg");
        wait_for_child(&screen, "S+");
        screen.keys(&["C-c"]);
        screen.line("echo status=$?");
        screen.expect("status=130");
        screen.line("jobs; echo none''left");
        let text = screen.expect("noneleft");
        assert_eq!(text.matches("Running").count(), 1, "{text}");
        screen.line("exit 5");
        assert_eq!(screen.end(), 5);
        let text = screen.look();
        for complaint in ["job control", "process group"] {
            assert!(!text.contains(complaint), "{text}");
        }
    }
}

/// Waits until the sleep of a screen's shell has this state. `+` is the foreground.
fn wait_for_child(screen: &Screen, state: &str) {
    let server = screen.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let mut pids = vec![server.trim().to_owned()];
    let mut states = || {
        let mut at = 0;
        while at < pids.len() {
            let pid = nix::unistd::Pid::from_raw(pids[at].parse().expect("a number"));
            for child in common::children(pid) {
                if !pids.contains(&child.to_string()) {
                    pids.push(child.to_string());
                }
            }
            at += 1;
        }
        let mut ps = Command::new("ps");
        common::run(ps.args(["-o", "stat=,args=", "-p", &pids.join(",")])).stdout
    };
    wait_until("the job", || {
        states().lines().any(|line| line.starts_with(state) && line.ends_with(" sleep 1000"))
    });
}

#[test]
fn an_interrupt_reaches_the_foreground_job_only() {
    needs!("bash");
    for options in BOTH {
        let screen = Screen::shell(options, image());
        screen.line("sleep 2000 & sleep 3000 &");
        screen.line("sleep 1000");
        wait_for_child(&screen, "S+");
        screen.keys(&["C-c"]);
        screen.line("echo status=$?");
        screen.expect("status=130");
        screen.line("jobs; echo en''d");
        let text = screen.expect("end\n");
        assert_eq!(text.matches("Running").count(), 2, "{text}");
        screen.line("exit");
        assert_eq!(screen.end(), 0);
    }
}

#[test]
fn an_editor_works() {
    needs!("vi");
    let (_directory, image) = copy_of_image("image");
    let screen = Screen::shell(&[], &image);
    screen.line("vi -u NONE -N /text");
    screen.wait("editor", |screen| screen.matches("\n~").count() > 10);
    screen.keys(&["i"]);
    screen.tmux(&["send-keys", "-l", "first line"]);
    screen.keys(&["Enter"]);
    screen.tmux(&["send-keys", "-l", "second x"]);
    screen.keys(&["BSpace"]);
    screen.tmux(&["send-keys", "-l", "line"]);
    screen.keys(&["Up", "Home"]);
    screen.tmux(&["send-keys", "-l", "the "]);
    screen.keys(&["Escape"]);
    screen.expect("the first line\nsecond line\n~");
    // The window grows while it is open.
    screen.resize(40, 100);
    screen.wait("taller editor", |screen| screen.matches("\n~").count() > 30);
    screen.line(":wq");
    screen.expect("prompt:");
    screen.line("echo status=$?");
    screen.expect("status=0");
    let text = fs::read_to_string(image.join("text")).expect("it was written");
    assert_eq!(text, "the first line\nsecond line\n");
}

#[test]
fn top_shows_the_container_and_ends_at_a_key() {
    needs!("top");
    let screen = Screen::shell(&[], image());
    screen.line("top");
    let is_there = |screen: &str| screen.contains("PID") && screen.contains(" top\n");
    let text = screen.wait("table", is_there);
    assert!(text.contains("bash"), "{text}");
    assert!(!text.contains("tmux"), "and nothing of the host: {text}");
    screen.keys(&["q"]);
    screen.line("echo status=$?");
    screen.expect("status=0");
}

#[test]
fn a_pager_works() {
    needs!("less");
    let screen = Screen::shell(&[], image());
    screen.line("seq 1 1000 | less");
    screen.expect("\n23\n:");
    screen.keys(&["Space"]);
    screen.expect("\n46\n:");
    screen.keys(&["G"]);
    screen.expect("\n1000\n");
    screen.tmux(&["send-keys", "-l", "?^777"]);
    screen.keys(&["Enter"]);
    screen.wait("line that was looked for", |screen| screen.starts_with("777\n"));
    screen.keys(&["q"]);
    screen.line("echo status=$?");
    screen.expect("status=0");
}

#[test]
fn a_window_that_changes_its_size_is_followed() {
    needs!("bash");
    for options in BOTH {
        let screen = Screen::shell(options, image());
        screen.line("stty size");
        screen.expect("\n24 80\n");
        // While a command runs in the foreground, and it is told.
        screen.line(
            "sh -c 'trap \"stty size\" WINCH; echo u''p; sleep 1000 & while wait; do :; done; \
            while :; do wait; done'",
        );
        screen.expect("\nup\n");
        for (lines, columns) in [(30, 100), (10, 40), (50, 132)] {
            screen.resize(lines, columns);
            screen.expect(&format!("\n{lines} {columns}\n"));
        }
        screen.keys(&["C-c"]);
        screen.line("echo $LINES $COLUMNS");
        screen.wait("the shell's own idea", |screen| screen.matches("\n50 132\n").count() == 2);
    }
}

/// The terminal of a shell on the host, after a container has been on it.
#[test]
fn the_callers_shell_goes_on_as_before() {
    needs!("bash");
    let token = token();
    let program = binary().to_str().expect("the tests' own path");
    let image = image().to_str().expect("the tests' own path");
    let run = format!("{program} -q {image}");
    let screen = Screen::start(&["env", "PS1=prompt: ", "bash", "--norc", "--noprofile"]);
    screen.expect("prompt:");
    screen.line("before=$(stty -g); echo ready''1");
    screen.expect("ready1");
    for (command, keys, status) in [
        ("sh -c 'exit 3'", "", 3),
        ("sh -c 'echo u''p; exec cat'", "C-d", 0),
        ("sh -c 'echo u''p; exec cat'", "C-c", 130),
        ("bash --norc -c 'stty raw -echo; exit 4'", "", 4),
    ] {
        screen.clear();
        screen.line(&format!("{run} {command}; echo status=$?"));
        if !keys.is_empty() {
            screen.expect("\nup\n");
            screen.tmux(&["send-keys", "-l", "ola"]);
            screen.keys(&["Enter"]);
            screen.expect("\nola\nola\n");
            screen.keys(&[keys]);
        }
        screen.expect(&format!("status={status}\n"));
        screen.line("test \"$before\" = \"$(stty -g)\" && echo sa''me");
        screen.expect("\nsame\n");
    }
    screen.clear();
    // Killed, and repaired by the one command that everybody knows.
    screen.line(&format!("{run} sh -c 'echo u''p; exec sleep 1000' {token}"));
    screen.expect("\nup\n");
    for pid in processes_with(&token) {
        if !common::children(pid).is_empty() {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is ours");
        }
    }
    screen.wait("prompt", |screen| screen.contains("Killed"));
    screen.line("stty sane; echo ag''ain");
    screen.expect("again");
    wait_until("nothing is left", || processes_with(&token).is_empty());
    screen.line("exit 0");
    assert_eq!(screen.end(), 0);
}
