//! Images and callers that mean ill. Whatever an image holds where tinyctr reaches into it, no file
//! of the host is opened, created or changed: each test watches its canary with inotify(7), which
//! sees an open in any mount namespace.

mod common;
#[path = "sealing/host.rs"]
mod host;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{
    NEEDS_ROOT, Said, binary, can_contain, compile_with, copy, is_root, require, run, stdout,
    tinyctr, write_program,
};
use host::{Host, SECRET, Verdict};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

// --- the canary ----------------------------------------------------------------------------------

/// Things of the host that nobody may touch.
struct Canary {
    directory: PathBuf,
    watch: Inotify,
}

impl Canary {
    fn new(host: &Host) -> Canary {
        let directory = host.path().join("canary");
        for place in ["", "pts", "shm", "self", "fs/cgroup", "sys/kernel"] {
            fs::create_dir_all(directory.join(place)).expect("the directory is ours");
        }
        for file in ["file", "null", "zero", "passwd", "group", "hosts", "sys/kernel/core"] {
            fs::write(directory.join(file), SECRET).expect("the directory is ours");
        }
        mkfifo(&directory.join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
        mknod(&directory.join("device"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3))
            .expect("root may");
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).expect("a watch");
        // Not of IN_CLOSE: another test may have forked while we wrote the above.
        let events = AddWatchFlags::IN_OPEN
            | AddWatchFlags::IN_ACCESS
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE;
        for place in ["", "pts", "shm", "self", "fs", "fs/cgroup", "sys", "sys/kernel"] {
            watch.add_watch(&directory.join(place), events).expect("it is there");
        }
        Canary { directory, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What happened since the last time.
    fn touched(&self) -> Vec<String> {
        let mut events = Vec::new();
        while let Ok(more) = self.watch.read_events() {
            events.extend(more.iter().map(|event| format!("{:?} {:?}", event.mask, event.name)));
        }
        events
    }
}

#[test]
fn a_touched_canary_is_seen() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    let canary = Canary::new(&host);
    assert_eq!(canary.touched(), [""; 0]);
    let image = host.image();
    replace(&image.join("dev"), &|place| symlink(&canary.directory, place));
    // As a container would that follows links, in a mount namespace of its own.
    for naive in [
        "cat \"$0\"/dev/file",
        "touch \"$0\"/dev/new",
        "ls \"$0\"/dev/shm",
        "mount --bind /dev \"$0\"/dev && touch -c \"$0\"/dev/null && umount \"$0\"/dev && \
         chmod 700 \"$0\"/dev",
    ] {
        stdout(Command::new("unshare").args(["--mount", "sh", "-c", naive]).arg(&image));
        assert_ne!(canary.touched(), [""; 0], "{naive}");
    }
}

// --- what an image holds where tinyctr reaches into it -------------------------------------------

/// Puts something else in the place of `path`.
fn replace(path: &Path, make: &dyn Fn(&Path) -> std::io::Result<()>) {
    let _absent = fs::remove_file(path);
    let _absent = fs::remove_dir_all(path);
    fs::create_dir_all(path.parent().expect("it has one")).expect("the directory is ours");
    make(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The container ran, or was refused in one line that names a step.
fn ran_or_was_refused(what: &str, said: &Said) {
    match said.code {
        Some(0) => assert!(said.stdout.starts_with("held: "), "{what}: {said:?}"),
        Some(125) => {
            common::failure(said);
        }
        _ => panic!("{what}: {said:?}"),
    }
    assert!(!said.stdout.contains(SECRET.trim_end()), "{what}: {said:?}");
}

/// Runs the probe in an image where `make` made something at `place`.
fn holds(place: &str, what: &str, make: impl Fn(&Path, &Canary) -> std::io::Result<()>) {
    let host = Host::new();
    let canary = Canary::new(&host);
    replace(&host.image().join(place), &|path| make(path, &canary));
    let what = format!("{place} is {what}");
    for options in [&["-q"][..], &["--privileged", "-q"], &["--bare", "-q"]] {
        canary.touched();
        let mut command = tinyctr(options);
        let words = host.words("links {mark} {pid}");
        let said = run(command.arg(host.image()).arg("/probe").args(words));
        ran_or_was_refused(&format!("{what}, {options:?}"), &said);
        assert_eq!(canary.touched(), [""; 0], "{what}, {options:?}: {said:?}");
    }
}

/// Where tinyctr reaches, or may want to.
const PLACES: [&str; 5] = ["dev", "proc", "sys", "etc", "tmp"];
/// Components of a target.
const BELOW: [&str; 13] = [
    "dev/pts",
    "dev/shm",
    "dev/null",
    "dev/console",
    "dev/ptmx",
    "proc/self",
    "proc/sys",
    "sys/fs/cgroup",
    "etc/passwd",
    "etc/group",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

#[test]
fn a_link_to_a_directory_of_the_host_leads_nowhere() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES.into_iter().chain(BELOW) {
        holds(place, "a link", |path, canary| symlink(&canary.directory, path));
        holds(place, "a link upwards", |path, canary| {
            let up = "../".repeat(32);
            symlink(format!("{up}{}", canary.directory.display()), path)
        });
        holds(place, "a link by a link", |path, canary| {
            symlink(&canary.directory, path.with_extension("other"))?;
            symlink(path.with_extension("other").file_name().expect("it has one"), path)
        });
    }
}

#[test]
fn a_link_to_a_file_of_the_host_is_not_followed() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES.into_iter().chain(BELOW) {
        for file in ["file", "fifo", "device"] {
            holds(place, "a link", |path, canary| symlink(canary.path(file), path));
        }
    }
}

#[test]
fn a_link_to_where_nothing_is_makes_nothing_there() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES.into_iter().chain(BELOW) {
        holds(place, "a dangling link", |path, canary| symlink(canary.path("absent"), path));
        holds(place, "a link to itself", |path, _| {
            symlink(path.file_name().expect("it has one"), path)
        });
    }
}

#[test]
fn a_magic_link_leads_nowhere() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES {
        for target in ["/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0", "/proc/1/root", ".."]
        {
            holds(place, target, |path, _| symlink(target, path));
        }
    }
}

#[test]
fn a_fifo_or_a_device_in_the_place_of_a_directory_is_not_opened() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES.into_iter().chain(BELOW) {
        holds(place, "a FIFO", |path, _| Ok(mkfifo(path, Mode::S_IRWXU)?));
        holds(place, "a device", |path, _| {
            Ok(mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5))?)
        });
        holds(place, "a file", |path, _| fs::write(path, ""));
        holds(place, "the host's own file", |path, canary| {
            fs::hard_link(canary.path("sys/kernel/core"), path)
        });
    }
}

#[test]
fn what_is_missing_is_missed_in_one_line_or_not_needed() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in PLACES {
        holds(place, "missing", |_, _| Ok(()));
    }
}

/// The nodes and links that an image has in /dev are not those that the command sees.
#[test]
fn an_image_brings_no_device() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    let image = host.image();
    mknod(&image.join("dev/disk"), SFlag::S_IFBLK, Mode::S_IRUSR, makedev(7, 0)).expect("may");
    mknod(&image.join("zero"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5)).expect("may");
    symlink("/proc/kcore", image.join("dev/core")).expect("the directory is ours");
    symlink("/zero", image.join("dev/null")).expect("the directory is ours");
    let try_it = |options: &[&str], attempt: &str| {
        let options = options.iter().map(PathBuf::from);
        let mut words: Vec<PathBuf> = vec![binary().into(), "-q".into()];
        words.extend(options.chain([image.clone(), "/probe".into()]));
        host.attempt("", &words, attempt)
    };
    for (attempt, lifted) in
        [("device-list", &["--bare"][..]), ("open-to-write /zero", &["--bare"])]
    {
        let (verdict, line) = try_it(&[], attempt);
        assert_eq!(verdict, Verdict::Held, "{attempt}: {line}");
        let (verdict, line) = try_it(lifted, attempt);
        assert_eq!(verdict, Verdict::Open, "{attempt}, {lifted:?}: {line}");
    }
}

// --- races ---------------------------------------------------------------------------------------

const STARTS: usize = 200;

/// Another process puts a link in the place of the directory and back, for as long as 200 starts
/// take.
#[test]
fn a_place_that_is_swapped_during_the_start_leads_nowhere() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    for place in ["dev", "proc", "sys", "etc", "etc/resolv.conf"] {
        let (refused, hits) = race(place, |host| {
            let mut command = tinyctr(["-q"]);
            command.arg(host.image()).arg("/probe").args(host.words("links {mark} {pid}"));
            let said = run(&mut command);
            ran_or_was_refused(place, &said);
            said.code == Some(125)
        });
        assert_eq!(hits, [""; 0], "{place}");
        eprintln!("{place}: {refused} of {STARTS} starts were refused");
    }
}

/// The race above can be lost.
#[test]
fn whoever_follows_links_loses_the_race() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_, hits) = race("dev", |host| {
        fs::write(host.image().join("dev/made"), "").expect("either is a directory");
        std::thread::sleep(std::time::Duration::from_millis(1)); // about as long as a start
        false
    });
    assert_ne!(hits, [""; 0]);
}

/// How many starts were refused, and what happened to the canary.
fn race(place: &str, start: impl Fn(&Host) -> bool) -> (usize, Vec<String>) {
    let host = Host::new();
    let canary = Canary::new(&host);
    let place = host.image().join(place);
    fs::create_dir_all(&place).expect("the directory is ours");
    let link = host.path().join("link");
    symlink(&canary.directory, &link).expect("the directory is ours");
    let (begun, over) = (Barrier::new(2), AtomicBool::new(false));
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            while !over.load(Ordering::Relaxed) {
                exchange(&place, &link);
            }
        });
        begun.wait();
        let refused = (0..STARTS).filter(|_| start(&host)).count();
        over.store(true, Ordering::Relaxed);
        refused
    });
    (refused, canary.touched())
}

/// In one step, so that something is always there.
fn exchange(one: &Path, other: &Path) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).expect("both are ours");
}

// --- our own program (CVE-2019-5736 and kin) -----------------------------------------------------

/// A copy of tinyctr, which an image may get to run as its command: then who is inside must not
/// get at its file, which the host runs again.
struct Own {
    host: Host,
    program: PathBuf,
    before: Vec<u8>,
}

impl Own {
    fn new() -> Own {
        let host = Host::new();
        let program = host.path().join("tinyctr");
        copy(binary(), &program);
        let before = fs::read(&program).expect("it is there");
        Own { host, program, before }
    }

    /// What the copy makes of the image's `command`: where that is the copy again, it is told to
    /// run the probe, which looks for its file.
    fn run(&self, command: &[&str]) -> Said {
        let file = fs::metadata(&self.program).expect("it is there");
        let mut tinyctr = Command::new(&self.program);
        tinyctr.arg("-q").arg(self.host.image()).args(command);
        tinyctr.args(["/probe", "find-file", &file.dev().to_string(), &file.ino().to_string()]);
        let said = run(tinyctr.env_remove("TINYCTR_PATH").stdin(Stdio::null()));
        assert!(fs::read(&self.program).expect("it is there") == self.before, "{command:?}");
        said
    }

    #[track_caller]
    fn is_out_of_reach(&self, command: &[&str]) {
        let said = self.run(command);
        assert!(!said.stdout.contains("open: "), "{command:?}: {said:?}");
        match said.code {
            Some(0) => assert!(said.stdout.starts_with("held: "), "{command:?}: {said:?}"),
            Some(125..=127) => drop(common::failure(&said)),
            _ => panic!("{command:?}: {said:?}"),
        }
    }
}

/// What makes tinyctr a plain parent, in whose `/proc` its child can look around.
const RUN: [&str; 4] = ["--bare", "--ns", "none", "/"];

#[test]
fn a_command_that_is_a_link_to_our_own_program_gets_no_hold_of_it() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    let [one, two, three, four] = RUN;
    for target in ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe"] {
        replace(&own.host.image().join("command"), &|path| symlink(target, path));
        own.is_out_of_reach(&["/command", one, two, three, four]);
        own.is_out_of_reach(&[target, one, two, three, four]);
    }
    replace(&own.host.image().join("bin"), &|path| symlink("/proc/self", path));
    own.is_out_of_reach(&["/bin/exe", one, two, three, four]);
    own.is_out_of_reach(&["exe", one, two, three, four]);
}

/// The image may know where tinyctr lies on the host, and have something of that name.
#[test]
fn a_link_of_our_own_name_gets_no_hold_of_our_program() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    let [one, two, three, four] = RUN;
    let name = own.host.image().join(own.program.strip_prefix("/").expect("it is absolute"));
    for target in ["/proc/self/exe", "/proc/1/exe"] {
        replace(&name, &|path| symlink(target, path));
        own.is_out_of_reach(&["/proc/self/exe", one, two, three, four]);
    }
    replace(&name, &|path| fs::write(path, ""));
    own.is_out_of_reach(&["/proc/self/exe", one, two, three, four]);
}

#[test]
fn a_script_that_is_run_by_our_own_program_gets_no_hold_of_it() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    let [one, two, three, four] = RUN;
    for interpreter in ["/proc/self/exe", "/interpreter"] {
        replace(&own.host.image().join("interpreter"), &|path| symlink("/proc/self/exe", path));
        // The kernel adds the script's name: here that is a variable to pass on.
        let script = own.host.image().join("script");
        write_program(&script, &format!("#!{interpreter} -e\n"), 0o755);
        own.is_out_of_reach(&["/script", one, two, three, four]);
        own.is_out_of_reach(&["/proc/self/root/script", one, two, three, four]);
    }
}

#[test]
fn a_program_that_is_loaded_by_our_own_program_gets_no_hold_of_it() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    let [one, two, three, four] = RUN;
    let program = own.host.image().join("dynamic");
    compile_with(&["-Wl,--dynamic-linker=/proc/self/exe"], "escape", &program);
    own.is_out_of_reach(&["/dynamic", one, two, three, four]);
}

#[test]
fn no_process_inside_finds_our_own_program() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    own.is_out_of_reach(&[]);
}

/// The tests above can fail: the probe finds the file of a parent that is tinyctr.
#[test]
fn the_program_of_a_tinyctr_inside_would_be_found() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = Own::new();
    let inside = own.host.image().join("tinyctr");
    fs::hard_link(&own.program, &inside).expect("both are ours");
    let [one, two, three, four] = RUN;
    let said = own.run(&["/tinyctr", one, two, three, four]);
    assert!(said.stdout.starts_with("open: "), "{said:?}");
}

// --- callers -------------------------------------------------------------------------------------

#[test]
fn a_working_directory_never_leads_out() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    let image = host.image();
    let up = "../".repeat(32);
    for (name, target) in [
        ("absolute", host.path().display().to_string()),
        ("upwards", format!("{up}{}", host.path().display())),
        ("descriptor", "/proc/self/fd/9".into()),
        ("first", "/proc/1/fd/9".into()),
        ("cwd", "/proc/self/cwd".into()),
        ("root", "/proc/self/root".into()),
        ("to-fifo", "/fifo".into()),
    ] {
        symlink(target, image.join(name)).expect("the directory is ours");
    }
    mkfifo(&image.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
    let ways = [
        "/absolute",
        "/upwards",
        "/descriptor",
        "/first",
        "/cwd",
        "/root",
        "/fifo",
        "/to-fifo",
        "..",
        "../../..",
        "/proc/self/fd/9",
        "/proc/1/fd/9",
        "/proc/self/cwd/..",
        "/proc/self/root/..",
        "/proc/1/cwd",
        "/proc/thread-self/fd/9",
        "/dev/fd/9",
        "/proc/self/fd/0",
        "",
    ];
    for closing in ["", "--trace=/dev/null --skip close"] {
        for way in ways {
            let mut words: Vec<PathBuf> = vec![binary().into(), "-q".into()];
            words.extend(closing.split_whitespace().map(PathBuf::from));
            words.extend(["--workdir".into(), way.into(), image.clone(), "/probe".into()]);
            words.push("working-directory".into());
            let said = run(&mut host.command(r#"exec 9< "$HOST_DIRECTORY""#, &words));
            let warning = said.stderr.lines().find(|line| line.contains("SKIPPED"));
            let stderr = said.stderr.replace(&format!("{}\n", warning.unwrap_or("\0")), "");
            ran_or_was_refused(&format!("{way} {closing}"), &Said { stderr, ..said });
        }
    }
}

/// As 0, 1 or 2 a directory would be inherited, and lead out.
#[test]
fn a_directory_as_standard_input_output_or_error_is_refused() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    for number in 0..3 {
        let before = format!(r#"exec {number}< "$HOST_DIRECTORY""#);
        let code = |options: &[&str]| {
            let mut words: Vec<PathBuf> = vec![binary().into(), "-q".into()];
            words.extend(options.iter().map(PathBuf::from));
            words.extend([host.image(), "/probe".into()]);
            let attempt = host.words(&format!("through-descriptor {number} {{mark}}"));
            run(host.command(&before, &words).args(attempt)).code
        };
        assert_eq!(code(&[]), Some(125), "{number}");
        assert_eq!(code(&["--bare"]), Some(1), "{number}: the climb ends in the host");
    }
}

/// A descriptor above 2 that was opened with O_PATH, or is a directory of /proc, is closed too.
#[test]
fn no_descriptor_of_any_kind_gets_inside() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let host = Host::new();
    let before = r#"ulimit -n 1024; exec 3< / 4<> "$HOST_DIRECTORY/outside" 5< /proc/self/ns/mnt \
        9< "$HOST_DIRECTORY" 10< /proc/1 254< /dev/null 255< / 1000< /; exec 6> /dev/null"#;
    let try_it = |options: &[&str]| {
        let mut words: Vec<PathBuf> = vec![binary().into(), "-q".into()];
        words.extend(options.iter().map(PathBuf::from));
        words.extend([host.image(), "/probe".into()]);
        host.attempt(before, &words, "descriptors").0
    };
    assert_eq!(try_it(&[]), Verdict::Held);
    assert_eq!(try_it(&["--trace=/dev/null", "--skip", "close"]), Verdict::Open);
}
