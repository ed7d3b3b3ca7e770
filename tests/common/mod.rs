//! What the integration tests share: the binary, an image, and an honest way to skip.
//!
//! Every test leaves the machine as it found it: what would change a host name or a mount table
//! runs in a namespace that the test made.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(unused_macros, unused_imports, reason = "as above")]

pub mod terminal;
pub mod tracer;
pub mod vm;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use tinyctr::packed::Texts;
use tinyctr::steps::LESSONS;

/// What no test waits longer for: a slow machine under load is not a defect, a hang is.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub const NEEDS_RELEASE: &str = "needs a release build (make test, or TINYCTR=its path)";

/// The program under test: the one that `make` built, else the debug build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var_os("TINYCTR").unwrap_or_else(|| env!("CARGO_BIN_EXE_tinyctr").into()).into()
    })
}

/// The budgets are for what is shipped; TINYCTR names that, without it this is a debug build.
pub fn is_release() -> bool {
    std::env::var_os("TINYCTR").is_some()
}

/// What it has to say.
pub fn texts() -> &'static Texts {
    static TEXTS: OnceLock<&Texts> = OnceLock::new();
    TEXTS.get_or_init(|| tinyctr::sys::texts().expect("memory"))
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
        let line = format!("{test}: {reason}\n"); // one write, so that lines stay whole
        list.write_all(line.as_bytes()).expect("the list of skips can be written");
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

/// Whether this machine lets us have what a container needs: namespaces (of their own users, for
/// who isn't root), and a proc mounted in them. Asked without tinyctr.
pub fn can_contain() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut probe = Command::new("sh");
        // mount is the first process of the PID namespace; the shell that starts it isn't in it.
        let script = if have("mount") { "mount -t proc proc /proc; exit $?" } else { "exit 0" };
        probe.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
        isolate(&mut probe, CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID);
        probe.status().is_ok_and(|status| status.success())
    })
}

pub const NO_NAMESPACES: &str = "needs the right to make namespaces (root, or user namespaces)";
pub const NEEDS_ROOT: &str = "needs root, with the right to make namespaces";

pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// An image made of this machine's own programs. It is shared by all tests: don't write to it,
/// make a `copy_of_image`.
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let image = cache().join("image");
        let lock = fs::File::create(image.with_extension("lock")).expect("the lock can be made");
        lock.lock().expect("test binaries take turns");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs/stand-in");
        let written = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
        if written(&image) < written(&script) {
            let aside = image.with_extension("aside");
            for old in [&image, &aside] {
                let _absent = fs::remove_dir_all(old);
            }
            let made = Command::new(script).arg(&aside).output().expect("the script starts");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            fs::rename(&aside, &image).expect("it was just made");
        }
        image
    })
}

/// Whether the image has `program`, which not every machine has.
pub fn image_has(program: &str) -> bool {
    image().join("usr/bin").join(program).exists()
}

/// Where the image stays from one test binary to the next. One for each user: what root made,
/// somebody else can't use as the root of their namespace; and a tree that root compiled offers
/// somebody else no place to write.
pub fn cache() -> PathBuf {
    let user = nix::unistd::geteuid();
    let make = |path: PathBuf| {
        let made = fs::DirBuilder::new().mode(0o755).create(&path);
        made.or_else(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
        })?;
        let own = fs::symlink_metadata(&path)?.uid() == user.as_raw();
        if own { Ok(path) } else { Err(io::Error::other("it is somebody else's")) }
    };
    make(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("user-{user}")))
        .or_else(|_| make(std::env::temp_dir().join(format!("tinyctr-tests-{user}"))))
        .expect("a directory for the image")
}

/// A copy of the image that goes away with the result. Its last path component is `name`.
pub fn copy_of_image(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempdir();
    let copy = directory.path().join(name);
    copy_image(&copy);
    (directory, copy)
}

pub fn copy_image(to: &Path) {
    copy(image(), to);
}

/// Copies a file or a tree. Not by our own hand: what we have open for writing while another test
/// forks can't be executed for as long as that child has it open too.
pub fn copy(from: &Path, to: &Path) {
    assert_eq!(stdout(Command::new("cp").arg("-a").arg(from).arg(to)), "");
}

/// Writes a program to `path`. Not by our own hand, for the same reason.
pub fn write_program(path: &Path, text: &str, mode: u32) {
    let script = r#"printf %s "$1" > "$0" && chmod "$2" "$0""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(path).arg(text).arg(format!("{mode:o}"));
    assert_eq!(stdout(&mut shell), "");
}

pub fn tempdir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tinyctr-").tempdir().expect("a temporary directory")
}

/// Makes `command` run in new namespaces of the test's own, its mounts private. Who isn't root
/// becomes root of a user namespace around them.
pub fn isolate(command: &mut Command, namespaces: CloneFlags) -> &mut Command {
    let maps = (!is_root()).then(|| {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        (format!("0 {uid} 1"), format!("0 {gid} 1"))
    });
    let enter = move || {
        match &maps {
            None => unshare(namespaces)?,
            Some((uid, gid)) => {
                unshare(namespaces | CloneFlags::CLONE_NEWUSER)?;
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", uid)?;
                fs::write("/proc/self/gid_map", gid)?;
            }
        }
        if namespaces.contains(CloneFlags::CLONE_NEWNS) {
            propagate(MsFlags::MS_PRIVATE)?;
        }
        Ok(())
    };
    // SAFETY: system calls only; nothing here allocates.
    unsafe { command.pre_exec(enter) }
}

/// Sets how mounts spread from this mount namespace to others, for all of its mounts.
pub fn propagate(kind: MsFlags) -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(none, "/", none, MsFlags::MS_REC | kind, none)?)
}

// --- running a command to its end ----------------------------------------------------------------

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end, which must come.
pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = output(command);
    Said {
        code: status.code(),
        signal: status.signal(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// `Command::output`, with a deadline.
pub fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    finish(child.expect("the command starts"), &format!("{command:?}"), DEADLINE)
}

fn finish(child: Child, what: &str, deadline: Duration) -> Output {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(deadline) {
        Ok(output) => output.expect("what it says can be read"),
        Err(RecvTimeoutError::Timeout) => {
            kill(pid, Signal::SIGKILL).expect("it is ours, and not waited for yet");
            panic!("{what} did not end");
        }
        Err(RecvTimeoutError::Disconnected) => unreachable!("the thread sends first"),
    }
}

/// Runs `command`, which must succeed without a word on stderr; its stdout.
pub fn stdout(command: &mut Command) -> String {
    let said = run(command);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{command:?}: {}", said.stdout);
    said.stdout
}

/// tinyctr's error: `tinyctr: STEP: OBJECT: CAUSE`, and the hint below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub step: String,
    /// Empty where the step has none.
    pub object: String,
    pub cause: String,
    pub hint: Option<String>,
}

/// What `said` tells: one error line, at most one hint line, and nothing on stdout.
pub fn failure(said: &Said) -> Failure {
    assert_eq!(said.stdout, "", "stdout is the command's alone: {said:?}");
    let lines: Vec<&str> = said.stderr.lines().collect();
    let (line, hint) = match lines[..] {
        [line] => (line, None),
        [line, hint] => (line, Some(hint)),
        _ => panic!("one line, and at most one hint: {said:?}"),
    };
    let hint = hint.map(|hint| hint.strip_prefix("  hint: ").expect(hint).to_owned());
    let body = line.strip_prefix("tinyctr: ").expect("our name comes first");
    let (step, rest) = body.split_once(": ").expect("a step is named");
    assert!(
        LESSONS.iter().any(|lesson| lesson.name(texts()).as_ref() == step.as_bytes()),
        "no such step: {line}"
    );
    let (object, cause) = rest.rsplit_once(": ").unwrap_or(("", rest));
    Failure { step: step.into(), object: object.into(), cause: cause.into(), hint }
}

/// Runs `command`, in which tinyctr must fail with exit status `code`.
#[track_caller]
pub fn fails(command: &mut Command, code: i32) -> Failure {
    let said = run(command);
    assert_eq!(said.code, Some(code), "{command:?}: {said:?}");
    failure(&said)
}

impl Failure {
    /// Step, object and cause, to compare with.
    pub fn told(&self) -> (&str, &str, &str) {
        (&self.step, &self.object, &self.cause)
    }
}

// --- watching a container from outside -----------------------------------------------------------

/// A container whose command is a conversation: it runs until its stdin ends. Killed when dropped.
pub struct Running {
    tinyctr: Option<Child>,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `command`. Returns when the container is up: its command must copy stdin to stdout.
    pub fn start(command: &mut Command) -> Running {
        let mut running = Running::spawn(command);
        running.write("up\n");
        let mut line = String::new();
        running.stdout.read_line(&mut line).expect("the container answers");
        assert_eq!(line, "up\n", "{command:?}");
        running
    }

    /// Starts `command`, and does not wait for its container.
    pub fn spawn(command: &mut Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tinyctr = command.spawn().expect("tinyctr starts");
        let stdin = tinyctr.stdin.take();
        let stdout = BufReader::new(tinyctr.stdout.take().expect("it is a pipe"));
        Running { tinyctr: Some(tinyctr), stdin, stdout }
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it is a pipe");
        stdin.write_all(text.as_bytes()).expect("the container listens");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.tinyctr.as_ref().expect("it runs").id().cast_signed())
    }

    /// The container's first process, as it is known outside.
    pub fn inside(&self) -> Pid {
        let children = children(self.pid());
        // Perhaps a helper, for a moment still, and a guard.
        assert!(matches!(children.len(), 1..=3), "and then the container: {children:?}");
        children[children.len() - 1]
    }

    /// Ends the conversation; what was said.
    pub fn end(mut self) -> Said {
        drop(self.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("it is text");
        let ended = finish(self.tinyctr.take().expect("it runs"), "the container", DEADLINE);
        Said {
            code: ended.status.code(),
            signal: ended.status.signal(),
            stdout: text,
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut tinyctr) = self.tinyctr.take() {
            let _gone = tinyctr.kill();
            let _gone = tinyctr.wait();
        }
    }
}

/// Waits for a condition that nobody announces.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The children of `parent`. Read from every process's own word: not every kernel lists them.
pub fn children(parent: Pid) -> Vec<Pid> {
    let is_child = |pid: &Pid| status(*pid).is_some_and(|(_, its_parent)| its_parent == parent);
    processes().filter(is_child).collect()
}

/// The children of `parent`, and theirs.
pub fn family(parent: Pid) -> Vec<Pid> {
    let first = children(parent);
    let second: Vec<Pid> = first.iter().copied().flat_map(children).collect();
    [first, second].concat()
}

/// The first process of the container, as it is known outside.
pub fn container(tinyctr: Pid) -> Pid {
    let is_inside = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        line.ends_with("\t1")
    };
    children(tinyctr).into_iter().find(is_inside).expect("it runs")
}

/// Whether there is such a process, and it still runs.
pub fn is_alive(pid: Pid) -> bool {
    status(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

/// State and parent. `None` where there is no such process (any more).
fn status(pid: Pid) -> Option<(char, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?; // the name may hold anything
    let mut fields = after_name.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)))
}

/// A field of /proc/PID/stat, counted from the state, which is 0. Empty where there is no such
/// process (any more).
pub fn stat(pid: Pid, field: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').nth(field).unwrap_or_default().to_owned()
}

/// What it runs. Empty where there is no such process (any more).
pub fn name(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// A word that no other process has on its command line.
pub fn token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("token-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The running processes that have `token` on their command lines.
pub fn processes_with(token: &str) -> Vec<Pid> {
    let has = |pid: &Pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == token.as_bytes())
    };
    processes().filter(|pid| has(pid) && is_alive(*pid)).collect()
}

/// The lines of this mount namespace's table that name `path`. (Not the whole table: somebody
/// else on this machine may be mounting too.)
pub fn mounts_naming(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let path = path.to_str().expect("the tests' own path");
    table.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
}

// --- tools ---------------------------------------------------------------------------------------

/// strace(1) with `options`, following both sides of the clone; its list goes to `list`. What is
/// to be traced follows as further arguments.
pub fn strace<S: AsRef<OsStr>>(options: impl IntoIterator<Item = S>, list: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(list).args(options).arg("--");
    command.env_remove("TINYCTR_PATH").stdin(Stdio::null());
    command
}

/// Whether strace is here, may trace, and can make calls fail.
pub fn can_inject() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut probe = strace(["-e", "inject=chdir:error=EIO"], Path::new("/dev/null"));
        have("strace") && probe.arg("true").output().is_ok_and(|said| said.status.success())
    })
}

pub const NO_STRACE: &str = "needs strace (4.15 or later), and the right to trace";

/// Compiles `tests/programs/NAME.c`, with the libc that the image has too, to `to`.
pub fn compile(name: &str, to: &Path) {
    compile_with(&[], name, to);
}

/// As `compile`, for an image that has no libc.
pub fn compile_static(name: &str, to: &Path) {
    compile_with(&["-O", "-static"], name, to);
}

pub fn compile_with(flags: &[&str], name: &str, to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Werror"]).args(flags).arg("-o").arg(to).arg(source.with_extension("c"));
    assert_eq!(stdout(&mut cc), "");
}

/// As a caller that ignores `signal`.
pub fn ignoring(signal: Signal, command: &mut Command) -> &mut Command {
    // SAFETY: a system call, nothing else; no handler is installed.
    let ignore = move || unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    // SAFETY: as above.
    unsafe { command.pre_exec(move || Ok(ignore().map(drop)?)) }
}
