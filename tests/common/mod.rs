//! What the integration tests share: the binary, an image, and an honest way to skip.
//!
//! Every test leaves the machine as it found it: what would change a host name or a mount table
//! runs in a namespace that the test made.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The program under test: the one that `make` built, else the debug build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var_os("TINYCTR").unwrap_or_else(|| env!("CARGO_BIN_EXE_tinyctr").into()).into()
    })
}

/// `tinyctr ARGS`, without a terminal and without an environment that could change its mind.
pub fn tinyctr<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("TINYCTR_PATH").stdin(Stdio::null());
    command
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that this test can't run here, and why. `make test` lists these at its end.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?").to_owned();
    eprintln!("skipped: {test}: {reason}");
    if let Some(file) = std::env::var_os("TINYCTR_SKIPS") {
        let list = fs::OpenOptions::new().append(true).create(true).open(&file);
        let mut list = list.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        writeln!(list, "{test}: {reason}").expect("the list of skips can be written");
    }
}

/// Leaves the test where a condition does not hold: `require!(is_root(), "needs root")`.
macro_rules! require {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            $crate::common::skip($reason);
            return;
        }
    };
}
pub(crate) use require;

/// Whether a user namespace can be made here: what a container needs when it isn't run by root.
pub fn can_contain() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        is_root() || {
            let mut probe = Command::new("true");
            // SAFETY: unshare(2) is async-signal-safe.
            unsafe { probe.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWUSER)?)) };
            probe.status().is_ok_and(|status| status.success())
        }
    })
}

pub const NO_NAMESPACES: &str = "needs root, or user namespaces";
pub const NEEDS_ROOT: &str = "needs root";

pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// An image made of this machine's own programs. It is shared by all tests: don't write to it,
/// make a `copy_of_image`.
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        // One for each user: what root made, somebody else can't use as root of their namespace.
        let user = nix::unistd::geteuid();
        let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{user}"));
        let lock = fs::File::create(image.with_extension("lock")).expect("the lock can be made");
        lock.lock().expect("test binaries take turns");
        if !image.is_dir() {
            let aside = image.with_extension("aside");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs/stand-in");
            let _old = fs::remove_dir_all(&aside);
            let made = Command::new(script).arg(&aside).output().expect("the script starts");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            fs::rename(&aside, &image).expect("it was just made");
        }
        image
    })
}

/// A copy of the image that goes away with the result. Its last path component is `name`.
pub fn copy_of_image(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempdir();
    let copy = directory.path().join(name);
    let status = Command::new("cp").arg("-a").arg(image()).arg(&copy).status();
    assert!(status.expect("cp starts").success());
    (directory, copy)
}

pub fn tempdir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tinyctr-").tempdir().expect("a temporary directory")
}

/// Makes `command` run in new namespaces of the test's own, its mounts private.
pub fn isolate(command: &mut Command, namespaces: CloneFlags) -> &mut Command {
    let none: Option<&str> = None;
    let enter = move || {
        unshare(namespaces)?;
        if namespaces.contains(CloneFlags::CLONE_NEWNS) {
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        }
        Ok(())
    };
    // SAFETY: both calls are async-signal-safe, and allocate nothing.
    unsafe { command.pre_exec(enter) }
}

/// What a finished command said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    Said {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs `command`, which must succeed without a word on stderr; its stdout.
pub fn stdout(command: &mut Command) -> String {
    let said = run(command);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{command:?}: {}", said.stdout);
    said.stdout
}
