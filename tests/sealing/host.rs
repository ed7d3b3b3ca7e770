//! What there is on the host to be found, an image with nothing but the probe, and what the probe
//! says.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::common::{Said, cache, compile_static, copy, run, tempdir, token};

/// What probe.c found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Held,
    Open,
    /// This machine can't tell.
    Unknown,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Open => "open",
            Verdict::Unknown => "n/a",
        }
    }
}

/// The compiled probe, made once and kept.
pub fn probe() -> PathBuf {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let probe = cache().join("probe");
    ONCE.call_once(|| {
        let lock = fs::File::create(probe.with_extension("lock")).expect("the lock can be made");
        lock.lock().expect("test binaries take turns");
        let aside = probe.with_extension("aside");
        compile_static("probe", &aside);
        fs::rename(&aside, &probe).expect("it was just made");
    });
    probe
}

// --- the host, and an almost empty image ---------------------------------------------------------

pub const SECRET: &str = "only the host has this\n";

/// What there is on the host to be found, and an image with nothing but the probe.
pub struct Host {
    directory: tempfile::TempDir,
    process: Child,
    socket: String,
    _listener: UnixListener,
    _terminal: OpenptyResult,
}

impl Host {
    pub fn new() -> Host {
        let directory = tempdir();
        let image = directory.path().join("image");
        for place in ["dev", "proc", "sys", "tmp", "run"] {
            fs::create_dir_all(image.join(place)).expect("the directory is ours");
        }
        copy(&probe(), &image.join("probe"));
        fs::write(directory.path().join("outside"), SECRET).expect("the directory is ours");
        let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn();
        let socket = token();
        let address = SocketAddr::from_abstract_name(&socket).expect("it is short");
        let listener = UnixListener::bind_addr(&address).expect("nobody else has it");
        let process = process.expect("sleep starts");
        let terminal = openpty(None, None).expect("a pseudo-terminal");
        Host { directory, process, socket, _listener: listener, _terminal: terminal }
    }

    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// The value of each `{word}`.
    fn fact(&self, word: &str) -> String {
        match word {
            "{mark}" => self.directory.path().join("outside").display().to_string(),
            "{pid}" => self.process.id().to_string(),
            "{devices}" => fs::metadata("/dev/null").expect("Linux has one").dev().to_string(),
            "{socket}" => self.socket.clone(),
            "{pid-namespace}" => namespace("pid"),
            _ => match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some(kind) => namespace(kind),
                None => word.to_owned(),
            },
        }
    }

    /// Makes the attempt in what `runtime` starts, after `before`, in bash.
    pub fn attempt(&self, before: &str, runtime: &[PathBuf], probe: &str) -> (Verdict, String) {
        judge(&run(self.command(before, runtime).args(self.words(probe))))
    }

    pub fn command(&self, before: &str, command: &[PathBuf]) -> Command {
        let script = format!("{before}\nexec \"$@\"");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script, "bash"]).args(command).stdin(Stdio::null());
        bash.env("PROBE", probe()).env("HOST_DIRECTORY", self.directory.path());
        bash.env_remove("TINYCTR_PATH");
        bash
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The words of an attempt, with the facts filled in.
    pub fn words(&self, probe: &str) -> Vec<String> {
        let probe = probe.replace("{disk}", &disk());
        probe.split_whitespace().map(|word| self.fact(word)).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

pub fn judge(said: &Said) -> (Verdict, String) {
    let line = said.stdout.lines().next_back().unwrap_or("").to_owned();
    let verdicts = [Verdict::Held, Verdict::Open, Verdict::Unknown];
    let code = said.code.and_then(|code| usize::try_from(code).ok());
    let verdict = code.and_then(|code| verdicts.get(code).copied());
    let verdict = verdict.unwrap_or_else(|| panic!("the probe did not run: {said:?}"));
    assert_eq!(line.split(':').next(), Some(verdict.word()), "{said:?}");
    (verdict, line)
}

fn namespace(kind: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).expect("it is one of Linux's");
    link.display().to_string()
}

/// Major and minor number of a disk that this machine lets us open, as two words; of none if there
/// is none.
fn disk() -> String {
    let place = tempdir();
    let node = place.path().join("disk");
    let opens = |numbers: &str| {
        let (major, minor) = numbers.split_once(':').expect("MAJOR:MINOR");
        let number = |text: &str| text.parse().expect("a number");
        let _absent = fs::remove_file(&node);
        mknod(&node, SFlag::S_IFBLK, Mode::S_IRUSR, makedev(number(major), number(minor)))
            .is_ok_and(|()| {
                let flags = OFlag::O_NONBLOCK.bits();
                fs::File::options().read(true).custom_flags(flags).open(&node).is_ok()
            })
    };
    let entries = fs::read_dir("/sys/dev/block").expect("/sys is mounted").flatten();
    let mut disks = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    disks.find(|disk| opens(disk)).map_or("0 0".into(), |disk| disk.replace(':', " "))
}
