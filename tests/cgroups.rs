//! `--memory`, `--cpus` and `--pids`: that they hold, that they are told, and that nothing of them
//! is left.
//!
//! Each test runs tinyctr in cgroups of the test's own, so that the machine's are not touched.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::tracer;
use common::vm::{self, Initramfs};
use common::{
    Running, can_contain, fails, have, image, is_root, isolate, require, run, skip, stdout,
    tinyctr, wait_until,
};
use nix::mount::{MntFlags, umount2};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Uid, setgid, setuid};

const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const NO_CGROUPS: &str = "needs root, and v1 hierarchies of cgroups that can be written to";

/// A cgroup for tinyctr to run in, in each v1 hierarchy.
struct Home {
    directories: Vec<PathBuf>,
}

impl Home {
    fn new() -> Option<Home> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !is_root() || !can_contain() {
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tinyctr.test-{}-{number}", std::process::id());
        let mut home = Home { directories: Vec::new() };
        for controller in CONTROLLERS {
            let directory = own_cgroup(controller)?.join(&name);
            if !home.directories.contains(&directory) {
                fs::create_dir(&directory).ok()?;
                home.directories.push(directory);
            }
        }
        Some(home)
    }

    fn of(&self, controller: &str) -> &Path {
        let at = CONTROLLERS.iter().position(|it| *it == controller).expect("it is one of ours");
        &self.directories[at.min(self.directories.len() - 1)]
    }

    /// `tinyctr ARGS`, started in there.
    fn tinyctr<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.enter(tinyctr(args))
    }

    fn enter(&self, mut command: Command) -> Command {
        let files: Vec<PathBuf> =
            self.directories.iter().map(|directory| directory.join("cgroup.procs")).collect();
        let enter = move || files.iter().try_for_each(|file| fs::write(file, "0"));
        // SAFETY: a few writes to files.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// The cgroups of tinyctr, in all of the hierarchies.
    fn left(&self) -> Vec<PathBuf> {
        self.directories.iter().flat_map(|directory| children(directory)).collect()
    }

    #[track_caller]
    fn assert_empty(&self) {
        let left = self.left();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The one that a running tinyctr has made.
    fn made(&self, controller: &str) -> PathBuf {
        let children = children(self.of(controller));
        assert_eq!(children.len(), 1, "{children:?}");
        children[0].clone()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = self.left();
        for directory in left.iter().chain(&self.directories) {
            let gone = |directory: &PathBuf| fs::remove_dir(directory).is_ok();
            let start = Instant::now();
            while !gone(directory) && start.elapsed() < Duration::from_secs(5) {
                sleep(Duration::from_millis(10));
            }
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it is ours").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Where we are ourselves, in the v1 hierarchy that has `controller`.
fn own_cgroup(controller: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split(',').any(|it| it == controller);
    let mine = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut lines = mine.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let (_, own) = lines.find(|(list, _)| has(list))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|fields| {
        fields[fields.len() - 3] == "cgroup" && fields[3] == "/" && has(fields[fields.len() - 1])
    })?;
    Some(Path::new(mount[4]).join(own.trim_start_matches('/')))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' own path")
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).expect("the kernel has it").trim().to_owned()
}

macro_rules! home {
    () => {
        match Home::new() {
            Some(home) => home,
            None => return skip(NO_CGROUPS),
        }
    };
}

// --- the command line ----------------------------------------------------------------------------

#[test]
fn an_amount_that_is_none_is_refused() {
    for option in [
        "--memory=",
        "--memory=0",
        "--memory=-1",
        "--memory=64X",
        "--memory=M",
        "--memory=64MB",
        "--memory=6 4",
        "--memory=99999999999999999999",
        "--memory=9999999999T",
        "--memory=1.2.3M",
        "--cpus=",
        "--cpus=0",
        "--cpus=0.009",
        "--cpus=1M",
        "--cpus=.",
        "--cpus=1,5",
        "--pids=0",
        "--pids=1.5",
        "--pids=-1",
        "--pids=max",
        "--pids=1k",
    ] {
        let failure = fails(&mut tinyctr([option, "/", "true"]), 125);
        assert_eq!(failure.told(), ("option", option, "no amount that can be a limit"));
    }
}

#[test]
fn a_script_is_refused_for_it_would_set_no_limits() {
    let failure = fails(&mut tinyctr(["--dry-run=sh", "--pids", "9", "/", "true"]), 125);
    assert_eq!((failure.step.as_str(), failure.object.as_str()), ("option", "--dry-run=sh"));
}

// --- the limits ----------------------------------------------------------------------------------

#[test]
fn limits_are_set_before_the_command_runs_and_can_be_read_from_outside() {
    let home = home!();
    let options = ["--memory", "1.5g", "--cpus", "0.25", "--pids", "7"];
    let mut container = home.tinyctr(options);
    let running = Running::start(container.arg(image()).arg("cat"));
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "1610612736"),
        ("cpu", "cpu.cfs_quota_us", "25000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("pids", "pids.max", "7"),
    ] {
        let made = home.made(controller);
        assert_eq!(read(&made, file), value, "{file}");
        assert_eq!(read(&made, "cgroup.procs"), running.inside().to_string());
    }
    assert_eq!(running.end().code, Some(0));
    home.assert_empty();
}

#[test]
fn inside_the_own_cgroup_is_the_root() {
    let home = home!();
    let args = ["--memory", "64M", "--cpus", "1", "--pids", "9", text(image())];
    let list = stdout(home.tinyctr(args).args(["cat", "/proc/self/cgroup"]));
    for controller in CONTROLLERS {
        let fits = |line: &&str| line.split([':', ',']).any(|it| it == controller);
        let line = list.lines().find(fits).expect("there is such a hierarchy");
        assert!(line.ends_with(":/"), "{list}");
    }
}

#[test]
fn without_the_cgroup_namespace_the_limits_hold_too() {
    let home = home!();
    let args = ["--ns", "pid,mnt", "--pids", "9", text(image()), "cat", "/proc/self/cgroup"];
    let list = stdout(&mut home.tinyctr(args));
    assert!(list.contains("/tinyctr-"), "{list}");
}

/// A program that takes memory until somebody stops it.
const HOG: &str = r#"x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"#;

#[test]
fn a_memory_hog_is_killed_and_that_is_said() {
    let home = home!();
    let script = ["sh", "-c", HOG];
    let said = run(home.tinyctr(["--memory", "32M"]).arg(image()).args(script));
    assert_eq!(said.code, Some(137), "{said:?}");
    assert_eq!(said.stderr, "container killed: out of memory (limit 32M)\n");
    let said = run(home.tinyctr(["--quiet", "--memory", "32M"]).arg(image()).args(script));
    assert_eq!((said.code, said.stderr.as_str()), (Some(137), ""));
    home.assert_empty();
}

/// Until execve the child's memory is tinyctr's own: what the kernel does about the one must not
/// befall the other.
#[test]
fn a_limit_that_is_too_small_to_start_with_ends_the_container_and_not_tinyctr() {
    let home = home!();
    for size in ["1", "4K", "16K"] {
        let said = run(home.tinyctr(["--memory", size]).arg(image()).arg("true"));
        assert!(matches!(said.code, Some(125..=137)), "{size}: {said:?}");
        assert!(!said.stderr.is_empty(), "{size}: {said:?}");
        home.assert_empty();
    }
}

#[test]
fn who_is_killed_by_somebody_else_did_not_run_out_of_memory() {
    let home = home!();
    let args = ["--memory", "64M", "--ns", "mnt", text(image()), "sh", "-c", "kill -9 $$"];
    let said = run(&mut home.tinyctr(args));
    assert_eq!((said.code, said.stderr.as_str()), (Some(137), ""));
}

#[test]
fn a_fork_bomb_is_contained() {
    let home = home!();
    let script = "bomb() { bomb | bomb & }; bomb 2> /dev/null & exec cat";
    let mut container = home.tinyctr(["--pids", "20", text(image()), "sh", "-c", script]);
    let running = Running::start(&mut container);
    let made = home.made("pids");
    wait_until("the limit is reached", || read(&made, "pids.events") != "max 0");
    for _ in 0..50 {
        let count: u32 = read(&made, "pids.current").parse().expect("a number");
        assert!(count <= 20, "{count}");
    }
    assert_eq!(stdout(Command::new("echo").arg("the host can fork")), "the host can fork\n");
    running.end();
    home.assert_empty();
}

#[test]
fn a_busy_loop_gets_no_more_of_the_processor() {
    let home = home!();
    let script = "cat & while :; do :; done";
    let mut container = home.tinyctr(["--cpus", "0.1", text(image()), "sh", "-c", script]);
    container.stdin(Stdio::null());
    let running = Running::spawn(&mut container);
    wait_until("it is made", || !home.left().is_empty());
    let made = home.made("cpu");
    let throttled = |line: &str| line.starts_with("nr_throttled ") && line != "nr_throttled 0";
    wait_until("it is throttled", || read(&made, "cpu.stat").lines().any(throttled));
    kill(running.pid(), Signal::SIGKILL).expect("it is ours");
    running.end();
}

// --- what is left --------------------------------------------------------------------------------

#[test]
fn nothing_is_left_of_a_command_that_can_not_run() {
    let home = home!();
    let args = ["--memory", "64M", "--pids", "9", text(image()), "frobnicate"];
    assert_eq!(fails(&mut home.tinyctr(args), 127).step, "exec");
    home.assert_empty();
    let args = ["--memory", "64M", "--ns", "none", text(image()), "true"];
    assert_eq!(fails(&mut home.tinyctr(args), 125).step, "option");
    home.assert_empty();
}

#[test]
fn what_a_killed_tinyctr_left_goes_with_the_next_run() {
    let home = home!();
    let mut container = home.tinyctr(["--memory", "64M", "--pids", "9"]);
    let running = Running::start(container.arg(image()).arg("cat"));
    let left = home.left();
    assert!(!left.is_empty());
    let inside = running.inside();
    kill(running.pid(), Signal::SIGKILL).expect("it is ours");
    running.end();
    wait_until("the container is gone", || !common::is_alive(inside));
    assert_eq!(home.left(), left, "nobody was there to do it");
    let args = ["--memory", "64M", "--pids", "9", text(image()), "true"];
    assert_eq!(stdout(&mut home.tinyctr(args)), "");
    home.assert_empty();
}

#[test]
fn a_run_does_not_sweep_away_what_is_somebody_elses() {
    let home = home!();
    let mut container = home.tinyctr(["--memory", "64M", "--pids", "9"]);
    let running = Running::start(container.arg(image()).arg("cat"));
    let theirs = home.left();
    let args = ["--memory", "64M", "--pids", "9", text(image()), "true"];
    for _ in 0..5 {
        let together = [(); 4].map(|()| {
            let mut command = home.tinyctr(args);
            command.stderr(Stdio::piped()).spawn().expect("tinyctr starts")
        });
        for child in together {
            let said = child.wait_with_output().expect("it ends");
            assert!(said.status.success(), "{said:?}");
        }
    }
    assert_eq!(home.left(), theirs);
    assert_eq!(running.end().code, Some(0));
    home.assert_empty();
}

#[test]
fn who_outlives_the_command_is_killed_with_the_cgroup() {
    let home = home!();
    let token = common::token();
    let script = r#"sh -c 'sleep 1000; :' "$0" > /dev/null 2>&1 &"#;
    let args = ["--ns", "none", "--pids", "9", "/", "sh", "-c", script, &token];
    assert_eq!(stdout(&mut home.tinyctr(args)), "");
    assert_eq!(common::processes_with(&token), []);
    home.assert_empty();
}

#[test]
fn cgroups_that_were_made_inside_go_too() {
    let home = home!();
    let script = r#"for place in "$0"/tinyctr-*; do mkdir -p "$place/below/deep"; done"#;
    let place = text(home.of("pids"));
    let args = ["--pids", "9", "/", "sh", "-c", script, place];
    assert_eq!(stdout(&mut home.tinyctr(args)), "");
    home.assert_empty();
}

#[test]
fn a_rehearsal_makes_nothing() {
    let home = home!();
    let args = ["--memory", "64M", "--pids", "9", "--dry-run", text(image()), "true"];
    let said = run(&mut home.tinyctr(args));
    assert_eq!(said.code, Some(0), "{said:?}");
    for told in ["mkdirat(", "\"67108864\"", "unshare(CLONE_NEWCGROUP) = ?", "AT_REMOVEDIR"] {
        assert!(said.stderr.contains(told), "{told}: {}", said.stderr);
    }
    home.assert_empty();
}

// --- where it can't be ---------------------------------------------------------------------------

#[test]
fn where_no_hierarchy_can_be_seen_a_limit_is_an_error() {
    let home = home!();
    for option in ["--memory=64M", "--cpus=1", "--pids=9"] {
        let mut command = home.tinyctr([option, "/", "true"]);
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        // SAFETY: a system call, nothing else.
        unsafe {
            command.pre_exec(|| Ok(umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH)?));
        }
        let failure = fails(&mut command, 125);
        let controller = option[2..].split('=').next().expect("a name");
        assert_eq!(failure.step, "set limits");
        assert_eq!(failure.object, if controller == "cpus" { "cpu" } else { controller });
        assert_eq!(failure.cause, "ENOENT (No such file or directory)");
    }
}

#[test]
fn a_limit_that_the_kernel_refuses_is_an_error_that_names_the_file() {
    let home = home!();
    let failure = fails(&mut home.tinyctr(["--pids", "99999999", "/", "true"]), 125);
    assert_eq!(failure.step, "set limits");
    assert_eq!(failure.object, "pids.max");
    assert_eq!(failure.cause, "EINVAL (Invalid argument)");
    home.assert_empty();
}

#[test]
fn who_may_make_no_cgroup_gets_no_container() {
    let home = home!();
    let mut command = home.tinyctr(["--pids", "9", "/", "true"]);
    let leave = || {
        setgid(Gid::from_raw(65534))?;
        Ok(setuid(Uid::from_raw(65534))?)
    };
    // SAFETY: system calls, nothing else. (`uid` would come before the cgroup is entered.)
    unsafe { command.pre_exec(leave) };
    let said = run(&mut command);
    assert_eq!(said.code, Some(125), "{said:?}");
    assert!(said.stderr.starts_with("tinyctr: set limits: "), "{said:?}");
    assert!(said.stderr.contains("EACCES") && said.stderr.contains("Delegate"), "{said:?}");
}

// --- v2 ------------------------------------------------------------------------------------------

/// In a virtual machine without v1: what the machine does. Each answer stands between lines that
/// name it.
const INIT: &str = r#"#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
say() { echo "<$1>"; shift; "$@"; echo "status $?"; echo "</>"; }
cgroups() { busybox find /sys/fs/cgroup -type d -name 'tinyctr-*'; }
look() {
    tinyctr --ns uts,pid,cgroup --memory 64M --cpus 0.5 --pids 20 / busybox sleep 1 &
    busybox usleep 500000
    cd /sys/fs/cgroup$1/tinyctr-*
    busybox head -n 9 memory.max memory.oom.group cpu.max pids.max
    cd /
    wait
}
HOG='x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'
LEAVE='busybox setsid busybox sleep 1000 & busybox sleep 1000 &'
say root look
say gone cgroups
say inside tinyctr --pids 9 / busybox cat /proc/self/cgroup
say hog tinyctr --memory 32M / busybox sh -c "$HOG"
say group tinyctr --memory 32M / busybox sh -c "busybox sh -c '$HOG'; busybox sleep 1000"
say outlived tinyctr --ns none --pids 9 / busybox sh -c "$LEAVE"
say gone-too cgroups
tinyctr --bare --pids 9 / busybox sleep 1000 &
busybox usleep 500000
busybox kill -9 $!
say killed cgroups
say next tinyctr --pids 9 / busybox true
say swept cgroups
busybox mkdir -p /sys/fs/cgroup/a/b
echo $$ > /sys/fs/cgroup/a/b/cgroup.procs
say beside look /a
say gone-beside cgroups
say alone tinyctr --pids 9 --ns pid,mnt,cgroup / busybox sh -c '
    busybox umount -l /sys/fs/cgroup
    busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
    tinyctr --pids 3 / busybox true'
say gone-alone cgroups
busybox poweroff -f
"#;

#[test]
fn on_a_machine_with_v2_alone_the_limits_hold_and_nothing_is_left() {
    let vm = vm::directory();
    require!(vm.is_some(), vm::NO_VM);
    require!(have("busybox"), vm::NO_BUSYBOX);
    let machine = Initramfs::new(INIT, "bin");
    for place in ["proc", "sys", "dev"] {
        machine.make_directory(place);
    }
    let console = machine.boot(&vm.expect("it is set"), "512", "cgroup_no_v1=all PATH=/bin");
    let said = |name: &str| console.said(name);
    let console = &console.0;
    for place in ["root", "beside"] {
        for line in ["67108864\n", "\n1\n", "\n50000 100000\n", "\n20\n"] {
            assert!(said(place).contains(line), "{line:?}: {console}");
        }
    }
    for place in ["gone", "gone-too", "swept", "gone-beside", "gone-alone"] {
        assert_eq!(said(place), "status 0\n", "{place}: {console}");
    }
    assert!(said("inside").contains("\n0::/\n"), "{console}");
    for hog in ["hog", "group"] {
        let told = "container killed: out of memory (limit 32M)\nstatus 137\n";
        assert!(said(hog).ends_with(told), "{console}");
    }
    assert!(said("outlived").ends_with("container exited: 0\nstatus 0\n"), "{console}");
    assert!(said("killed").contains("/sys/fs/cgroup/tinyctr-"), "{console}");
    // Nothing but ourselves is in that hierarchy: there is no place beside us.
    let alone = "tinyctr: set limits: pids: EBUSY (Device or resource busy)";
    assert!(said("alone").contains(alone), "{console}");
}

/// What a tinyctr that was killed can't remove any more, the next one does.
#[test]
fn a_start_with_limits_that_is_killed_wherever_leaves_nothing_that_stays() {
    let home = home!();
    require!(tracer::can_trace(), tracer::NO_PTRACE);
    let limits = ["-q", "--memory=64M", "--cpus=1", "--pids=20", text(image())];
    let token = common::token();
    for ends in [false, true] {
        for moment in 1.. {
            let (stdin, writer) = std::io::pipe().expect("there are pipes");
            let mut command = home.tinyctr(limits);
            command.args(["sh", "-c", tracer::WAITS, &token]).stdin(stdin).stdout(Stdio::null());
            let mut writer = Some(writer);
            let mut end = || writer = None;
            let came = tracer::killed_at(&mut command, moment, ends.then_some(&mut end));
            let what = format!("killed at stop {moment}, {ends}");
            wait_until(&what, || common::processes_with(&token).is_empty());
            let left = home.left().len();
            assert!(left <= CONTROLLERS.len(), "{what}: it has removed none: {left}");
            if came != tracer::Came::Killed {
                assert!(moment > if ends { 4 } else { 100 }, "{what}: that is no run");
                break;
            }
        }
    }
    assert_eq!(stdout(home.tinyctr(limits).arg("true")), "");
    home.assert_empty();
}
