//! What keeps the container and the host apart: namespaces, mounts, the root, descriptors, and the
//! environment. Each wall that something else could be holding up has a test that it falls without.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, can_contain, can_inject, compile, copy_of_image, fails,
    image, is_root, isolate, propagate, require, run, stdout, strace, tempdir, tinyctr,
};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};

/// Makes tinyctr take the other way into the root: the one of an initramfs.
const NO_PIVOT: &str = "inject=pivot_root:error=EINVAL";
/// Makes tinyctr close descriptors as on Linux before 5.9.
const NO_CLOSE_RANGE: &str = "inject=close_range:error=ENOSYS";

/// `tinyctr -q ARGS`, with a fault where one is given.
fn with_fault<'a>(fault: Option<&str>, args: impl IntoIterator<Item = &'a str>) -> Command {
    match fault {
        None => {
            let mut command = tinyctr(["-q"]);
            command.args(args);
            command
        }
        Some(fault) => {
            let mut command = strace(["-e", fault], Path::new("/dev/null"));
            command.arg(common::binary()).arg("-q").args(args);
            command
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' own path")
}

// --- namespaces ----------------------------------------------------------------------------------

const NAMESPACES: [&str; 7] = ["uts", "pid", "mnt", "ipc", "net", "user", "cgroup"];

/// The inode of each namespace, as `ls -l /proc/self/ns` shows it.
fn namespaces(list: &str) -> BTreeMap<String, String> {
    let links = list.lines().filter_map(|line| line.split_once(" -> "));
    let name = |left: &str| left.rsplit(' ').next().expect("it is not empty").to_owned();
    links.map(|(left, target)| (name(left), target.to_owned())).collect()
}

/// The namespaces that a container made with `args` doesn't share with us.
fn new_namespaces(args: &[&str]) -> Vec<&'static str> {
    let mut command = tinyctr(args);
    let inside = namespaces(&stdout(command.args(["ls", "-l", "/proc/self/ns"])));
    let is_new = |name: &&str| {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).expect("it is one of Linux's");
        inside[*name] != text(&ours)
    };
    NAMESPACES.into_iter().filter(is_new).collect()
}

#[test]
fn exactly_the_chosen_namespaces_are_new() {
    require!(can_contain(), NO_NAMESPACES);
    assert!(new_namespaces(&["--ns", "none", "/"]).is_empty());
    for subset in 1..1 << NAMESPACES.len() {
        let is_chosen = |(bit, _): &(usize, &str)| subset >> bit & 1 == 1;
        let names = NAMESPACES.into_iter().enumerate().filter(is_chosen);
        let chosen: Vec<&str> = names.map(|(_, name)| name).collect();
        if is_root() || chosen.contains(&"user") {
            assert_eq!(new_namespaces(&["--ns", &chosen.join(","), "/"]), chosen);
        }
    }
}

#[test]
fn by_default_all_namespaces_are_new_but_the_network_and_for_root_the_users() {
    require!(can_contain(), NO_NAMESPACES);
    let mut expected = vec!["uts", "pid", "mnt", "ipc"];
    expected.extend((!is_root()).then_some("user"));
    expected.push("cgroup");
    assert_eq!(new_namespaces(&[text(image())]), expected);
    assert_eq!(new_namespaces(&["--bare", text(image())]), expected);
}

#[test]
fn namespaces_that_need_root_are_refused_with_the_way_out() {
    require!(!is_root(), "needs an ordinary user");
    let failure = fails(&mut tinyctr(["--ns", "uts", "/", "true"]), 125);
    assert_eq!(failure.told(), ("clone", "", "EPERM (Operation not permitted)"));
    assert!(failure.hint.expect("a hint").contains("--ns user"));
}

#[test]
fn in_a_user_namespace_we_are_root_inside_and_ourselves_outside() {
    // Root, and who was given one, has a range: see tests/users.rs.
    require!(!is_root() && can_contain(), "needs an ordinary user");
    let (_directory, image) = copy_of_image("owned");
    let script = "read -r inside outside count < /proc/self/uid_map; echo $inside $outside $count";
    let args = ["--ns", "user,pid,mnt", text(&image), "sh", "-c"];
    let uid = nix::unistd::geteuid();
    assert_eq!(stdout(tinyctr(args).arg(script)), format!("0 {uid} 1\n"));
    assert_eq!(stdout(tinyctr(args).arg("echo x > /made-inside; echo $?")), "0\n");
    let made = fs::metadata(image.join("made-inside")).expect("the container made it");
    assert_eq!(made.uid(), uid.as_raw());
}

// --- mounts --------------------------------------------------------------------------------------

/// Shows the mount table before, while and after the container of `"$0" "$@"` runs.
const WATCH_MOUNTS: &str = r#"
    table() { cat /proc/self/mountinfo; echo; }
    table
    coproc "$0" "$@" sh -c 'echo up; read -r _'
    pid=$COPROC_PID
    read -r _ <&"${COPROC[0]}"
    table
    echo >&"${COPROC[1]}"
    wait "$pid" || exit
    table"#;

/// Without CAP_SYS_RESOURCE nobody may raise that limit again.
#[test]
fn a_caller_who_may_have_no_core_dumps_has_containers() {
    require!(can_contain(), NO_NAMESPACES);
    let mut command = tinyctr(["-q", text(image()), "sh", "-c", "ulimit -H -c"]);
    let no_core = || Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?);
    // SAFETY: a system call, nothing else.
    unsafe { command.pre_exec(no_core) };
    assert_eq!(stdout(&mut command), "0\n");
}

#[test]
fn no_mount_reaches_the_host_even_where_its_root_is_shared() {
    require!(can_contain(), NO_NAMESPACES);
    for options in [&["-q"][..], &["--bare"]] {
        let [before, during, after] = mounts_of_a_shared_host(None, options);
        assert!(before.contains(" shared:"), "{before}");
        assert_eq!(during, before, "while the container runs");
        assert_eq!(after, before, "when it is gone");
    }
}

/// The test above can fail: without the private propagation the image's bind would be seen.
#[test]
fn a_mount_would_reach_a_shared_host_if_it_were_not_made_private_first() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let fault = Some("inject=mount:retval=0:when=1");
    let [before, _, after] = mounts_of_a_shared_host(fault, &["--bare"]);
    assert_ne!(after, before);
    assert!(after.contains(text(image())), "{after}");
}

fn mounts_of_a_shared_host(fault: Option<&str>, options: &[&str]) -> [String; 3] {
    let container = with_fault(fault, options.iter().copied().chain([text(image())]));
    let mut host = Command::new("bash");
    // With the fault the container can't start: what counts then is what it left.
    let script = WATCH_MOUNTS.replace("|| exit", if fault.is_some() { "" } else { "|| exit" });
    host.args(["-c", &script]).arg(container.get_program()).args(container.get_args());
    isolate(&mut host, CloneFlags::CLONE_NEWNS);
    // SAFETY: a system call, nothing else.
    unsafe { host.pre_exec(|| propagate(MsFlags::MS_SHARED)) };
    let said = run(&mut host);
    let tables: Vec<String> = said.stdout.split_terminator("\n\n").map(str::to_owned).collect();
    tables.try_into().unwrap_or_else(|tables| panic!("three tables: {tables:?}, {said:?}"))
}

#[test]
fn with_bare_nothing_is_mounted_but_the_image_and_proc() {
    require!(can_contain(), NO_NAMESPACES);
    assert_mounted(None, &["--bare"], &["/", "/proc"]);
}

#[test]
fn with_bare_nothing_is_mounted_but_the_image_and_proc_without_pivot_root_too() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    assert_mounted(Some(NO_PIVOT), &["--bare"], &["/", "/proc"]);
}

const OWN: [&str; 11] = [
    "/",
    "/dev",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
];

#[test]
fn inside_only_our_own_file_systems_are_mounted_and_what_masks_them() {
    require!(can_contain() && is_root(), NEEDS_ROOT);
    assert_mounted(None, &["-q"], &OWN);
    require!(can_inject(), NO_STRACE);
    assert_mounted(Some(NO_PIVOT), &["-q"], &OWN);
}

/// The masks aside, which cover what this kernel has of a list.
fn assert_mounted(fault: Option<&str>, options: &[&str], expected: &[&str]) {
    let mut command = with_fault(fault, options.iter().copied());
    let table = stdout(command.args([text(image()), "cat", "/proc/self/mountinfo"]));
    let mounts: Vec<Vec<&str>> = table.lines().map(|line| line.split(' ').collect()).collect();
    let is_mask =
        |point: &&str| ["/proc/", "/sys/f", "/sys/d"].iter().any(|p| point.starts_with(p));
    let mut points: Vec<&str> = mounts.iter().map(|fields| fields[4]).collect();
    points.retain(|point| !is_mask(point) || expected.contains(point));
    points.sort_unstable();
    assert_eq!(points, expected, "{table}");
    assert!(text(image()).ends_with(mounts[0][3]), "the image, not what it lies in: {table}");
    let proc = mounts.iter().find(|fields| fields[4] == "/proc").expect("it is there");
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(proc[5].split(',').any(|given| given == option), "{option}: {table}");
    }
}

// --- the terminal --------------------------------------------------------------------------------

#[test]
fn a_terminal_on_standard_input_is_the_console() {
    require!(can_contain(), NO_NAMESPACES);
    let terminal = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    let look = "test -c /dev/console && tty";
    let mut command = tinyctr(["-q", text(image()), "sh", "-c", look]);
    command.stdin(terminal.slave);
    assert_eq!(stdout(&mut command), "/dev/console\n");
    let none = tinyctr(["-q", text(image()), "sh", "-c", "test ! -e /dev/console; echo $?"]);
    assert_eq!(stdout(&mut { none }), "0\n", "without a terminal there is none");
}

// --- the root ------------------------------------------------------------------------------------

/// An image with `/escape` in it, and a file that only the host has.
struct Prison {
    _directory: tempfile::TempDir,
    image: PathBuf,
    outside: PathBuf,
}

const SECRET: &str = "only the host has this\n";

fn prison() -> Prison {
    let (directory, image) = copy_of_image("prison");
    compile("escape", &image.join("escape"));
    let outside = directory.path().join("outside");
    fs::write(&outside, SECRET).expect("the directory is ours");
    Prison { _directory: directory, image, outside }
}

#[test]
fn the_second_chroot_escape_fails() {
    require!(can_contain(), NO_NAMESPACES);
    assert_no_escape(None, &["-q"]);
    assert_no_escape(None, &["--bare"]);
}

#[test]
fn the_second_chroot_escape_fails_without_pivot_root_too() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    assert_no_escape(Some(NO_PIVOT), &["-q"]);
    assert_no_escape(Some(NO_PIVOT), &["--bare"]);
}

/// The escape itself works: a plain chroot does not hold it.
#[test]
fn the_second_chroot_escape_succeeds_from_a_plain_chroot() {
    require!(can_contain(), NO_NAMESPACES);
    let prison = prison();
    let namespaces = if is_root() { "none" } else { "user" };
    let args = ["--bare", "--ns", namespaces, text(&prison.image)];
    assert_eq!(stdout(tinyctr(args).arg("/escape").arg(&prison.outside)), SECRET);
}

fn assert_no_escape(fault: Option<&str>, options: &[&str]) {
    let prison = prison();
    let mut command = with_fault(fault, options.iter().copied());
    let said = run(command.arg(&prison.image).arg("/escape").arg(&prison.outside));
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{fault:?} {options:?}");
    assert_eq!(said.code, Some(1), "it climbed, and ended in the image");
}

#[test]
fn no_path_names_the_host() {
    require!(can_contain(), NO_NAMESPACES);
    let prison = prison();
    for way in ["", "/proc/self/root", "/proc/self/cwd", "/proc/1/root", "/..", "/../../.."] {
        let path = format!("{way}{}", text(&prison.outside));
        let said = run(&mut tinyctr([text(&prison.image), "cat", &path]));
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{path}");
    }
}

#[test]
fn the_working_directory_is_the_images_root() {
    require!(can_contain(), NO_NAMESPACES);
    for fault in [None, Some(NO_PIVOT)] {
        require!(fault.is_none() || can_inject(), NO_STRACE);
        let pwd = stdout(&mut with_fault(fault, [text(image()), "sh", "-c", "pwd -P"]));
        assert_eq!(pwd, "/\n", "{fault:?}");
    }
    assert_eq!(stdout(&mut tinyctr(["--ns", "none", "/", "sh", "-c", "pwd -P"])), "/\n");
}

#[test]
fn without_a_mount_namespace_an_image_is_refused() {
    let failure = fails(&mut tinyctr(["--ns", "none", text(image()), "true"]), 125);
    assert_eq!(failure.step, "option");
    assert!(failure.cause.contains("mnt namespace"), "{failure:?}");
}

// --- descriptors ---------------------------------------------------------------------------------

/// Runs `"$@"` with three more descriptors, one of them a directory of the host.
const MORE_DESCRIPTORS: &str = r#"exec "$@" 3< / 9< "$0" 200< /dev/null"#;

fn with_descriptors(directory: &Path, command: &Command) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", MORE_DESCRIPTORS]).arg(directory);
    bash.arg(command.get_program()).args(command.get_args());
    bash
}

/// The descriptors inside, the one among them that ls reads its list from.
fn descriptors_inside(command: &Command) -> Vec<String> {
    let list = stdout(&mut with_descriptors(Path::new("/"), command));
    let mut numbers: Vec<String> = list.lines().map(str::to_owned).collect();
    numbers.sort_by_key(|number| number.parse::<u32>().expect("ls lists numbers"));
    numbers
}

const LIST: [&str; 2] = ["ls", "/proc/self/fd"];

#[test]
fn no_descriptor_above_stderr_is_inherited() {
    require!(can_contain(), NO_NAMESPACES);
    let args = [&[text(image())][..], &LIST].concat();
    assert_eq!(descriptors_inside(&with_fault(None, args)), ["0", "1", "2", "3"]); // 3 is the list
}

#[test]
fn no_descriptor_is_inherited_where_the_kernel_has_no_close_range() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    for fault in [NO_CLOSE_RANGE, "inject=close_range:error=EPERM"] {
        let args = [&[text(image())][..], &LIST].concat();
        assert_eq!(descriptors_inside(&with_fault(Some(fault), args)), ["0", "1", "2", "3"]);
    }
}

/// More than one read of the list returns.
#[test]
fn a_thousand_descriptors_are_closed_one_by_one() {
    require!(can_contain(), NO_NAMESPACES);
    require!(can_inject(), NO_STRACE);
    let args = [&[text(image())][..], &LIST].concat();
    let command = with_fault(Some(NO_CLOSE_RANGE), args);
    let open = r#"ulimit -n 2048 && for i in {10..1010}; do eval "exec $i< /"; done; exec "$@""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", open, "bash"]).arg(command.get_program()).args(command.get_args());
    assert_eq!(stdout(&mut bash), "0\n1\n2\n3\n");
}

#[test]
fn bare_leaves_descriptors_open() {
    require!(can_contain(), NO_NAMESPACES);
    let args = [&["--bare", text(image())][..], &LIST].concat();
    let inside = descriptors_inside(&with_fault(None, args));
    for expected in ["3", "9", "200"] {
        assert!(inside.iter().any(|number| number == expected), "{expected}: {inside:?}");
    }
}

#[test]
fn no_descriptor_of_the_caller_is_a_working_directory() {
    require!(can_contain(), NO_NAMESPACES);
    let outside = tempdir();
    fs::write(outside.path().join("secret"), SECRET).expect("the directory is ours");
    for number in (3..16).chain([200]) {
        let directory = format!("--workdir=/proc/self/fd/{number}");
        let command = tinyctr([&directory, text(image()), "cat", "secret"]);
        let said = run(&mut with_descriptors(outside.path(), &command));
        assert_ne!(said.code, Some(0), "{directory}: {said:?}");
        assert_eq!(said.stdout, "", "{directory}");
    }
}

/// The test above can fail: with `--bare` the same descriptor leads out.
#[test]
fn bare_lets_a_descriptor_be_the_working_directory() {
    require!(can_contain(), NO_NAMESPACES);
    let outside = tempdir();
    fs::write(outside.path().join("secret"), SECRET).expect("the directory is ours");
    let args = ["--bare", "--workdir=/proc/self/fd/9", text(image()), "cat", "secret"];
    assert_eq!(stdout(&mut with_descriptors(outside.path(), &tinyctr(args))), SECRET);
}

// --- the environment -----------------------------------------------------------------------------

/// The variables inside, sorted. The caller has a few of its own.
fn variables_inside(options: &[&str]) -> Vec<String> {
    let mut command = tinyctr(options);
    command.arg(image()).args(["cat", "/proc/self/environ"]);
    command.env("SECRET", "x").env("LANG", "C").env("TERM", "dumb").env("HOME", "/home/me");
    let mut variables: Vec<String> =
        stdout(&mut command).split_terminator('\0').map(str::to_owned).collect();
    variables.sort();
    variables
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn the_environment_is_four_variables() {
    require!(can_contain(), NO_NAMESPACES);
    let expected = ["HOME=/root", PATH, "TERM=dumb", "container=tinyctr"];
    assert_eq!(variables_inside(&[]), expected);
    assert_eq!(variables_inside(&["--bare"]), expected);
}

#[test]
fn a_variable_is_set_or_passed_on() {
    require!(can_contain(), NO_NAMESPACES);
    let options = ["-e", "A=1", "--env=LANG", "-eEMPTY=", "-e", "NOT_SET", "-eTWO==2="];
    assert_eq!(
        variables_inside(&options),
        [
            "A=1",
            "EMPTY=",
            "HOME=/root",
            "LANG=C",
            PATH,
            "TERM=dumb",
            "TWO==2=",
            "container=tinyctr"
        ]
    );
}

#[test]
fn the_last_value_of_a_variable_wins() {
    require!(can_contain(), NO_NAMESPACES);
    let options =
        ["-eHOME=/a", "-e", "HOME", "-ePATH=/bin", "-econtainer=x", "-eTERM=a", "-eTERM="];
    assert_eq!(variables_inside(&options), ["HOME=/home/me", "PATH=/bin", "TERM=", "container=x"]);
}

#[test]
fn without_a_terminal_type_there_is_none_inside() {
    require!(can_contain(), NO_NAMESPACES);
    let mut command = tinyctr([text(image()), "cat", "/proc/self/environ"]);
    assert!(!stdout(command.env_remove("TERM")).contains("TERM"));
}

// --- the host name -------------------------------------------------------------------------------

#[test]
fn the_host_name_is_the_images_or_the_one_that_was_given() {
    require!(can_contain(), NO_NAMESPACES);
    let name = |options: &[&str], image: &Path| {
        let mut command = tinyctr(options);
        stdout(command.arg(image).args(["cat", "/proc/sys/kernel/hostname"]))
    };
    assert_eq!(name(&[], image()), "image\n");
    assert_eq!(name(&["--hostname", "given"], image()), "given\n");
    let longest = "n".repeat(64);
    assert_eq!(name(&["--hostname", &longest], image()), format!("{longest}\n"));
    let long_link = tempdir();
    let long_link = long_link.path().join("m".repeat(65));
    std::os::unix::fs::symlink(image(), &long_link).expect("the directory is ours");
    assert_eq!(name(&[], &long_link), format!("{}\n", "m".repeat(64)), "as much as fits");
}

#[test]
fn the_hosts_own_root_keeps_the_hosts_name() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let own = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has one");
    let args = ["--ns", "uts", "/", "cat", "/proc/sys/kernel/hostname"];
    assert_eq!(stdout(&mut tinyctr(args)), own);
}
