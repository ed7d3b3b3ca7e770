//! Who one is inside, and who that is outside: the ids of a user namespace, and `-u`.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{
    NEEDS_ROOT, NO_NAMESPACES, Said, binary, can_contain, can_inject, children, copy,
    copy_of_image, fails, failure, have, image, image_has, is_alive, is_root, isolate, require,
    run, stdout, strace, tempdir, tinyctr, token, wait_until,
};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The namespaces of a container in which root is nobody outside.
const OWN_USER: &str = "--ns=uts,pid,mnt,ipc,cgroup,user";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
short:x:7
big:x:99999999999:1::/:/
minus:x:-1:1::/:/
alice:x:1000:1001:A,B,C:/home/alice:/bin/zsh
alice:x:0:0::/evil:/evil
homeless:x:1004:1004::
last:x:1002:1003::/last:/bin/sh"; // no newline

const GROUP: &str = "root:x:0:
wheel:x:10:bob,alice
video:x:44:alice
alicex:x:45:alicex,xalice
odd:x:-1:alice
staff:x:50:last,alice";

/// Copies of `/etc` and of the image, which an ordinary user can enter.
struct Ordinary {
    directory: tempfile::TempDir,
    image: PathBuf,
}

/// An ordinary user, who needs no entry in passwd.
const USER: u32 = 12345;

impl Ordinary {
    fn new() -> Ordinary {
        let (directory, image) = copy_of_image("rootless");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("it is ours");
        copy(binary(), &directory.path().join("tinyctr"));
        copy(Path::new("/etc"), &directory.path().join("etc"));
        for file in ["subuid", "subgid"] {
            fs::write(directory.path().join("etc").join(file), "").expect("it is a copy");
        }
        let owner = format!("{USER}:{USER}");
        assert_eq!(stdout(Command::new("chown").arg("-Rh").arg(owner).arg(&image)), "");
        Ordinary { directory, image }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.path().join("etc").join(file), text).expect("it is a copy");
    }

    fn gives_range(&self) {
        // newuidmap(1) wants him to have a name.
        self.write("passwd", &format!("root:x:0:0::/:/bin/sh\neve:x:{USER}:{USER}::/:/bin/sh"));
        self.write("subuid", &format!("{USER}:200000:65536\n"));
        self.write("subgid", &format!("{USER}:300000:65536\n"));
    }

    /// `program ARGS` by that user, where /etc is the copy, and what else `script` does before, as
    /// root, in a mount namespace of its own.
    fn after<'a>(&self, script: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("sh");
        let script = format!(
            "set -eu; cd \"$0\"; mount --bind etc /etc; {script}
             exec setpriv --reuid={USER} --regid={USER} --clear-groups \"$@\""
        );
        command.arg("-c").arg(script).arg(self.directory.path()).args(args);
        command.env_remove("TINYCTR_PATH").stdin(Stdio::null());
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        command
    }

    fn tinyctr<'a>(&'a self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.after("", ["./tinyctr"]);
        command.args(args);
        command
    }

    fn image(&self) -> &str {
        text(&self.image)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path of the tree is UTF-8")
}

/// An image with these users.
fn with_users() -> (tempfile::TempDir, PathBuf) {
    let (directory, image) = copy_of_image("users");
    fs::write(image.join("etc/passwd"), PASSWD).expect("it is a copy");
    fs::write(image.join("etc/group"), GROUP).expect("it is a copy");
    (directory, image)
}

fn owner(path: &Path) -> (u32, u32) {
    let data = fs::symlink_metadata(path).expect("it is there");
    (data.uid(), data.gid())
}

/// `0 12345 1` and the like.
fn maps(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

const LOOK: &str = "cat /proc/self/uid_map /proc/self/gid_map";

// --- an ordinary user ----------------------------------------------------------------------------

#[test]
fn without_a_range_one_id_is_mapped_and_groups_are_given_up() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let ordinary = Ordinary::new();
    let one = [format!("0 {USER} 1"), format!("0 {USER} 1"), "deny".into()];
    let look = format!("{LOOK} /proc/self/setgroups");
    for range in ["", "somebody-else:200000:65536\n"] {
        ordinary.write("subuid", range);
        ordinary.write("subgid", range);
        let said = stdout(&mut ordinary.tinyctr([ordinary.image(), "sh", "-c", &look]));
        assert_eq!(maps(&said), one);
    }
    // Only half a range is none.
    ordinary.write("subuid", &format!("{USER}:200000:65536\n"));
    let said = stdout(&mut ordinary.tinyctr([ordinary.image(), "sh", "-c", &look]));
    assert_eq!(maps(&said), one);
}

#[test]
fn a_range_is_mapped_by_number_and_by_name() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    let expected =
        [&format!("0 {USER} 1"), "1 200000 65536", &format!("0 {USER} 1"), "1 300000 65536"];
    ordinary.gives_range();
    let look = [ordinary.image(), "sh", "-c", LOOK];
    assert_eq!(maps(&stdout(&mut ordinary.tinyctr(look))), expected);
    ordinary.write("subuid", "eve:200000:65536");
    ordinary.write("subgid", "eve:300000:65536");
    assert_eq!(maps(&stdout(&mut ordinary.tinyctr(look))), expected);
}

#[test]
fn with_a_range_files_are_owned_by_its_ids_outside_and_terminals_by_tty() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let script = "touch /by-root /by-user && chown 1000:2000 /by-user && stat -c %u:%g / /by-user
        sed -n 's/^devpts .*,\\(gid=[0-9]*\\).*/\\1/p' /proc/mounts
        grep Groups: /proc/self/status | tr -d '\\t '";
    let said = stdout(&mut ordinary.tinyctr([ordinary.image(), "sh", "-c", script]));
    assert_eq!(said.lines().collect::<Vec<_>>(), ["0:0", "1000:2000", "gid=300004", "Groups:"]);
    assert_eq!(owner(&ordinary.image.join("by-root")), (USER, USER));
    assert_eq!(owner(&ordinary.image.join("by-user")), (200_999, 301_999));
    let said = stdout(&mut ordinary.tinyctr(["-u", "5:6", ordinary.image(), "sh", "-c", "id -u"]));
    assert_eq!(said, "5\n");
}

#[test]
fn nonsense_in_subuid_maps_nothing() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let ordinary = Ordinary::new();
    for range in ["0", "-1", "4294967295", "99999999999999999999", "", " 1", "0x10", "1:2:3", "\0"]
    {
        let line = format!("::::\n{USER}\n{USER}:\n{USER}:200000:{range}\n:0:9\n{USER}:a:9\n");
        ordinary.write("subuid", &line);
        ordinary.write("subgid", &line);
        let said = run(&mut ordinary.tinyctr([ordinary.image(), "sh", "-c", LOOK]));
        if have("newuidmap") && range == "1:2:3" {
            continue; // a range of one, and more behind it
        }
        assert_eq!(maps(&said.stdout), vec![format!("0 {USER} 1"); 2], "{range:?}: {said:?}");
    }
    // Our own id.
    let line = format!("{USER}:12000:1000\n");
    ordinary.write("subuid", &line);
    ordinary.write("subgid", &line);
    let said = stdout(&mut ordinary.tinyctr([ordinary.image(), "sh", "-c", LOOK]));
    assert_eq!(maps(&said), vec![format!("0 {USER} 1"); 2]);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    ordinary.write("subuid", &"x".repeat(100_000));
    let failed = fails(&mut ordinary.tinyctr([ordinary.image(), "true"]), 125);
    assert_eq!(failed.told(), ("map ids", "/etc/subuid", "EFBIG (File too large)"));
}

#[test]
fn a_range_that_stands_there_twice_is_mapped_once() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let ranges = format!("eve:200000:65536\n{USER}:200000:65536\n{USER}:250000:9\neve:400000:5\n");
    ordinary.write("subuid", &ranges);
    let said = stdout(&mut ordinary.tinyctr([ordinary.image(), "cat", "/proc/self/uid_map"]));
    let own = format!("0 {USER} 1");
    assert_eq!(maps(&said), [own.as_str(), "1 200000 65536", "65537 400000 5"]);
}

#[test]
fn who_maps_a_range_and_what_is_mapped_is_explained() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let said = run(&mut ordinary.tinyctr(["-q", "--explain", ordinary.image(), "true"]));
    let maps = format!("# now: uid_map is 0 {USER} 1, 1 200000 65536\n");
    for told in [maps.as_str(), "\nhelper   execve(\"/usr/bin/newgidmap\", [", "# now: CapEff: "] {
        assert!(said.stderr.contains(told), "{told}: {}", said.stderr);
    }
}

/// newuidmap(1) would refuse all of these.
#[test]
fn who_can_not_be_helped_has_one_id() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let of = |before: &str, gid: u32, around: &str| {
        let script = format!(
            "{before} exec setpriv --reuid={USER} --regid={gid} --clear-groups {around} \
             ./tinyctr '{}' sh -c '{LOOK}';",
            ordinary.image()
        );
        maps(&stdout(&mut ordinary.after(&script, [])))
    };
    let one = |gid: u32| vec![format!("0 {USER} 1"), format!("0 {gid} 1")];
    assert_eq!(of("", 777, ""), one(777), "in another group than his own");
    let nosuid = "mount --bind /usr /usr; mount -o remount,bind,nosuid /usr;";
    assert_eq!(of(nosuid, USER, ""), one(USER), "where set-user-ID means nothing");
    let nested = of("", USER, "unshare --user --map-current-user");
    assert_eq!(nested, one(USER), "in a user namespace without the range");
}

#[test]
fn a_helper_that_fails_is_an_error_that_names_the_step() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let script = "echo '#!/bin/false' > etc/no; chmod 755 etc/no; mount --bind etc/no";
    for program in ["newuidmap", "newgidmap"] {
        let mut command = ordinary.after(
            &format!("{script} /usr/bin/{program};"),
            ["./tinyctr", ordinary.image(), "true"],
        );
        let failed = fails(&mut command, 125);
        assert_eq!(failed.told(), ("map ids", program, "it failed"));
        assert!(failed.hint.expect("a hint").contains("set-user-ID"));
    }
}

/// Wherever tinyctr is when it is killed, its helper, the program that this runs, and the child
/// that waits for both go with it; and where the helper is killed, the child does not wait on.
#[test]
fn nobody_waits_for_the_dead() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    let script = "printf '#!/bin/sh\\nexec sleep 1000\\n' > etc/slow; chmod 755 etc/slow
        mount --bind etc/slow /usr/bin/newuidmap;";
    for victim in ["tinyctr", "helper"] {
        let mark = token();
        let mut command =
            ordinary.after(script, ["./tinyctr", ordinary.image(), "echo", mark.as_str()]);
        let mut started = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let pid = Pid::from_raw(started.id().cast_signed());
        let mut family = Vec::new();
        wait_until("the program runs", || {
            family = common::family(pid);
            family.len() >= 4 && family.iter().any(|pid| common::name(*pid) == "sleep")
        });
        assert_eq!(family.len(), 4, "helper, guard, child, and program: {}", tree(pid));
        let helper = *family.iter().find(|pid| !children(**pid).is_empty()).expect("it runs");
        kill(if victim == "helper" { helper } else { pid }, Signal::SIGKILL).expect("it is ours");
        wait_until("all are gone", || family.iter().all(|pid| !is_alive(*pid)));
        let ended = started.wait().expect("it is ours");
        assert_eq!(ended.code(), (victim == "helper").then_some(125));
    }
}

fn tree(pid: Pid) -> String {
    let all = stdout(Command::new("ps").args(["-eo", "pid,ppid,stat,args", "--forest"]));
    all.lines().skip_while(|line| !line.contains(&pid.to_string())).take(9).collect()
}

// --- root, as nobody -----------------------------------------------------------------------------

#[test]
fn root_of_an_own_user_namespace_is_nobody_outside_and_files_keep_their_owners() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (directory, image) = copy_of_image("nobody");
    let ours = image.join("ours");
    fs::write(&ours, "").expect("it is a copy");
    chown(&ours, Some(1000), Some(2000)).expect("we are root");
    // No right to look up the image is needed.
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(directory.path(), closed).expect("it is ours");
    let script = "stat -c %u:%g / /ours; touch /by-root /by-user; chown 3:4 /by-user
        mkdir /by-root.d; stat -c %u:%g /by-root /by-user; cat /proc/self/uid_map";
    let said = stdout(&mut tinyctr([OWN_USER, text(&image), "sh", "-c", script]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], ["0:0", "1000:2000", "0:0", "3:4"]);
    assert_eq!(owner(&image.join("by-root")), (0, 0));
    assert_eq!(owner(&image.join("by-user")), (3, 4));
    assert_eq!(owner(&ours), (1000, 2000));
    let range: Vec<u32> = maps(lines[4])[0].split(' ').map(|id| id.parse().expect("it")).collect();
    assert_eq!((range[0], range[2]), (0, 65536));
    assert!(range[1] >= 65536, "nobody of the host: {range:?}");
}

#[test]
fn root_of_an_own_user_namespace_is_seen_outside_as_an_id_of_the_range() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let mut command = tinyctr(["-q", OWN_USER, text(image()), "sh", "-c", "cat"]);
    let running = common::Running::start(&mut command);
    let status = fs::read_to_string(format!("/proc/{}/status", running.inside())).expect("it runs");
    for line in status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:")) {
        let ids: Vec<u32> =
            line.split_whitespace().skip(1).map(|id| id.parse().expect("a number")).collect();
        assert!(ids.iter().all(|id| (0x7000_0000..0x8000_0000).contains(id)), "{line}");
    }
    assert!(status.contains("\nGroups:\t \n"), "{status}");
    running.end();
}

/// Even with every capability in there.
#[test]
fn the_hosts_ids_can_not_be_had() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = copy_of_image("grasping");
    fs::write(image.join("secret"), "s").expect("it is a copy");
    chown(image.join("secret"), Some(70_000), Some(70_000)).expect("we are root");
    fs::set_permissions(image.join("secret"), fs::Permissions::from_mode(0o600)).expect("ours");
    let script = "stat -c %u:%g /secret
        cat /secret && echo read; chown 0:0 /secret && echo taken; chown 70000 / && echo given
        echo '0 0 1' > /proc/self/uid_map && echo mapped
        setpriv --reuid=70000 true && echo changed
        mknod /disk b 8 0 && echo node; echo 1 > /proc/sys/vm/drop_caches && echo written
        unshare --user --map-users=0,0,1 true && echo unshared; :";
    for sealed in [&["-q"][..], &["-q", "--privileged"]] {
        let said = run(tinyctr(sealed).args([OWN_USER, text(&image), "sh", "-c", script]));
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), "65534:65534\n"), "{said:?}");
    }
    assert_eq!(owner(&image.join("secret")), (70_000, 70_000));
}

#[test]
fn a_mount_in_the_image_whose_owners_can_not_be_mapped_is_an_error() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = copy_of_image("mixed");
    fs::create_dir(image.join("below")).expect("it is a copy");
    let start = |fstype: &str| {
        let mut command = Command::new("sh");
        let script = "mount -t \"$0\" none \"$1/below\" && shift && exec \"$@\"";
        command.args(["-c", script, fstype]).arg(&image).arg(binary()).arg(OWN_USER);
        command.arg(&image).args(["stat", "-c", "%u", "/below"]);
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        command
    };
    let failed = fails(&mut start("proc"), 125);
    assert_eq!(failed.told(), ("map owners", "image", "EINVAL (Invalid argument)"));
    assert!(failed.hint.expect("a hint").contains("5.12"));
    let said = run(&mut start("tmpfs"));
    // Since Linux 6.3.
    let mapped = (said.code, said.stdout.as_str()) == (Some(0), "0\n");
    assert!(mapped || failure(&said).step == "map owners", "{said:?}");
}

#[test]
fn roots_range_is_the_one_that_subuid_gives_else_one_beyond_everybody() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let ordinary = Ordinary::new();
    let by_root = || {
        let script = "cd \"$0\"; mount --bind etc /etc; exec ./tinyctr \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(ordinary.directory.path());
        command.args([OWN_USER, ordinary.image(), "sh", "-c", LOOK]).stdin(Stdio::null());
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        command
    };
    ordinary
        .write("subuid", "eve:100000:65536\nroot:5:65536\nroot:200000:65535\nroot:300000:99999");
    ordinary.write("subgid", "containers:400000:65536\nroot:500000:65536");
    assert_eq!(maps(&stdout(&mut by_root())), ["0 300000 65536", "0 400000 65536"]);
    ordinary.write("subuid", "eve:1879048192:65537\nadam:4000000000:65536");
    ordinary.write("subgid", "");
    assert_eq!(maps(&stdout(&mut by_root())), vec!["0 1879179264 65536"; 2]);
    ordinary.write("subuid", "eve:1879048192:268435456");
    let failed = fails(&mut by_root(), 125);
    assert_eq!((failed.step.as_str(), &failed.cause[..6]), ("map ids", "EDQUOT"));
}

#[test]
fn in_somebody_elses_user_namespace_there_is_one_id() {
    require!(can_contain(), NO_NAMESPACES);
    require!(have("unshare"), "needs unshare(1)");
    let mut nested = Command::new("unshare");
    nested.args(["--user", "--map-root-user"]).arg(binary()).stdin(Stdio::null());
    nested.args([OWN_USER, text(image()), "sh", "-c", "cat /proc/self/uid_map"]);
    assert_eq!(maps(&stdout(&mut nested)), ["0 0 1"]);
    // Groups were given up out there.
    let mut nested = Command::new("unshare");
    nested.args(["--user", "--map-root-user"]).arg(binary()).stdin(Stdio::null());
    nested.args(["-q", "-u", "0:0", text(image()), "id", "-u"]);
    assert_eq!(stdout(&mut nested), "0\n");
}

// --- -u ------------------------------------------------------------------------------------------

const WHO: &str = "id -u; id -g; id -G; env | grep -E '^(HOME|USER|LOGNAME|SHELL)=' | sort";

fn who(image: &Path, options: &[&str]) -> String {
    let said = stdout(tinyctr(["-q"]).args(options).args([text(image), "sh", "-c", WHO]));
    said.trim_end().replace('\n', " ")
}

#[test]
fn a_user_is_found_by_name_and_by_number_in_the_images_own_files() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let alice = "HOME=/home/alice LOGNAME=alice SHELL=/bin/zsh USER=alice";
    for (given, expected) in [
        ("alice", format!("1000 1001 1001 10 44 50 {alice}")),
        ("1000", format!("1000 1001 1001 10 44 50 {alice}")),
        ("alice:video", format!("1000 44 44 {alice}")),
        ("alice:7", format!("1000 7 7 {alice}")),
        ("last", "1002 1003 1003 50 HOME=/last LOGNAME=last SHELL=/bin/sh USER=last".into()),
        ("homeless", "1004 1004 1004 HOME=/ LOGNAME=homeless USER=homeless".into()),
        ("root", "0 0 0 HOME=/root LOGNAME=root SHELL=/bin/bash USER=root".into()),
        ("4242", "4242 0 0 HOME=/".into()),
        ("4242:staff", "4242 50 50 HOME=/".into()),
        ("4294967294:4294967294", "4294967294 4294967294 4294967294 HOME=/".into()),
    ] {
        assert_eq!(who(&image, &["-u", given]), expected, "{given}");
        if !given.starts_with("4294") {
            assert_eq!(who(&image, &[OWN_USER, "-u", given]), expected, "{given}");
        }
    }
    assert_eq!(who(&image, &[]), "0 0 0 HOME=/root");
    let set = ["-e", "HOME=/h", "-e", "SHELL=", "-u", "alice"];
    assert_eq!(
        who(&image, &set),
        "1000 1001 1001 10 44 50 HOME=/h LOGNAME=alice SHELL= USER=alice"
    );
}

#[test]
fn who_is_not_there_is_an_error() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let no = |given: &str| {
        let failed = fails(&mut tinyctr(["-u", given, text(&image), "true"]), 125);
        assert_eq!((failed.step.as_str(), failed.object.as_str()), ("find user", given));
        failed.cause
    };
    for given in ["nobody", "big", "minus", "short", "-1", "4294967295", "alic", "alicex", "x"] {
        assert_eq!(no(given), "not in the image's /etc/passwd", "{given}");
    }
    for given in ["alice:none", "1000:odd", "4242:-1", "0:4294967295"] {
        assert_eq!(no(given), "not in the image's /etc/group", "{given}");
    }
    fs::remove_file(image.join("etc/group")).expect("it is a copy");
    assert_eq!(who(&image, &["-u", "last"]).split(" HOME").next(), Some("1002 1003 1003"));
    fs::remove_file(image.join("etc/passwd")).expect("it is a copy");
    assert_eq!(who(&image, &["-u", "7:8"]), "7 8 8 HOME=/");
    let failed = fails(&mut tinyctr(["-u", "root", text(&image), "true"]), 125);
    let enoent = "ENOENT (No such file or directory)";
    assert_eq!(failed.told(), ("find user", "/etc/passwd", enoent));
}

#[test]
fn hostile_files_are_read_to_their_end_or_refused() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let passwd = image.join("etc/passwd");
    let fails_with = |cause: &str| {
        let failed = fails(&mut tinyctr(["-u", "alice", text(&image), "true"]), 125);
        assert_eq!(failed.told(), ("find user", "/etc/passwd", cause));
    };
    // NULs, nothing but colons, the longest line; and then what is looked for.
    let odd = format!("\0\nalice\0:x:5:5::/:/\n{}\nalice\n:x:7:7\n", ":".repeat(4096));
    let entry = format!("alice:x:1000:1001::/h\0z:/bin/{}\n", "z".repeat(4000));
    fs::write(&passwd, odd.clone() + &entry).expect("it is a copy");
    let who_it_is = who(&image, &["-u", "alice"]);
    assert!(who_it_is.starts_with("1000 1001 1001 10 44 50 HOME=/h LOGNAME=alice SHELL=/bin/zz"));
    // One byte more, and what stands behind it could be anything.
    fs::write(&passwd, format!("{odd}{}\n{entry}", "y".repeat(4097))).expect("it is a copy");
    fails_with("EFBIG (File too large)");
    // A hole of a terabyte.
    let file = fs::File::create(&passwd).expect("it is a copy");
    file.set_len(1 << 40).expect("a sparse file");
    fails_with("EFBIG (File too large)");
    // Nobody writes to it, and nobody waits.
    fs::remove_file(&passwd).expect("it is a copy");
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("a FIFO");
    let failed = fails(&mut tinyctr(["-u", "alice", text(&image), "true"]), 125);
    assert_eq!(failed.cause, "not in the image's /etc/passwd");
    // A group too many.
    fs::remove_file(&passwd).expect("it is a copy");
    fs::write(&passwd, PASSWD).expect("it is a copy");
    let groups = |count: u32| {
        let line = |number| format!("g{number}:x:{number}:alice\n");
        fs::write(image.join("etc/group"), (0..count).map(line).collect::<String>()).expect("copy");
    };
    groups(128);
    assert_eq!(
        who(&image, &["-u", "alice"]).split(" HOME").next().map(|it| it.split(' ').count()),
        Some(2 + 1 + 128)
    );
    groups(129);
    let failed = fails(&mut tinyctr(["-u", "alice", text(&image), "true"]), 125);
    assert_eq!(failed.told(), ("find user", "alice", "in more than 128 groups"));
}

#[test]
fn a_link_of_the_image_does_not_lead_to_the_hosts_passwd() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (directory, image) = with_users();
    let outside = directory.path().join("outside");
    fs::write(&outside, "mallory:x:666:666::/:/\n").expect("a file of the host's");
    fs::remove_file(image.join("etc/passwd")).expect("it is a copy");
    for up in ["", &"../".repeat(20)] {
        let link = image.join("etc/passwd");
        symlink(format!("{up}{}", text(&outside)), &link).expect("it is a copy");
        let failed = fails(&mut tinyctr(["-u", "mallory", text(&image), "true"]), 125);
        let enoent = "ENOENT (No such file or directory)";
        assert_eq!(failed.told(), ("find user", "/etc/passwd", enoent));
        fs::remove_file(link).expect("it is a copy");
    }
    // What tinyctr has open is the host's, too.
    symlink("/proc/self/fd/0", image.join("etc/passwd")).expect("it is a copy");
    let mut command = tinyctr(["-u", "mallory", text(&image), "true"]);
    command.stdin(fs::File::open(&outside).expect("it was written"));
    let failed = fails(&mut command, 125);
    let eloop = "ELOOP (Too many symbolic links encountered)";
    assert_eq!(failed.told(), ("find user", "/etc/passwd", eloop));
    fs::remove_file(image.join("etc/passwd")).expect("it is a copy");
    // Inside a link is as good as a file.
    fs::write(image.join("elsewhere"), PASSWD).expect("it is a copy");
    symlink("/elsewhere", image.join("etc/passwd")).expect("it is a copy");
    assert!(who(&image, &["-u", "alice"]).starts_with("1000 1001 "));
}

#[test]
fn who_is_a_number_needs_no_file_that_can_be_read() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    for file in ["etc/passwd", "etc/group"] {
        fs::remove_file(image.join(file)).expect("it is a copy");
        fs::create_dir(image.join(file)).expect("it is a copy");
    }
    assert!(who(&image, &["-u", "5:6"]).starts_with("5 6 6"));
    let failed = fails(&mut tinyctr(["-u", "alice", text(&image), "true"]), 125);
    assert_eq!(failed.told(), ("find user", "/etc/passwd", "EISDIR (Is a directory)"));
}

#[test]
fn in_a_rehearsal_the_user_is_the_images_too() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let rehearse = |user| run(&mut tinyctr(["--dry-run", "-u", user, text(&image), "true"]));
    let said = rehearse("alice");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("setuid(1000) = ?"), "{said:?}");
    let said = rehearse("daemon"); // whom the host has
    assert_eq!(said.code, Some(125), "{said:?}");
}

/// Where nothing else is given up: on the host's own root.
#[test]
fn of_a_caller_who_hands_capabilities_on_a_user_gets_none() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]).arg(binary());
    command.args(["-q", "-u", "1000", "/", "grep", "-E", "^Cap(Inh|Prm|Eff|Amb)"]);
    command.arg("/proc/self/status").stdin(Stdio::null());
    for line in stdout(&mut command).lines() {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}

#[test]
fn a_user_who_is_not_root_has_no_capability_and_can_not_become_root() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let script = "grep -E '^(Uid|Gid|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status
        for id in 0 1; do setpriv --reuid=$id true && echo changed; done
        setpriv --clear-groups true && echo changed; :";
    for options in [&["-u", "alice"][..], &["--privileged", "-u", "alice"], &[OWN_USER, "-u1000"]] {
        let said = run(tinyctr(["-q"]).args(options).args([text(&image), "sh", "-c", script]));
        let none = "0000000000000000";
        let expected = format!(
            "Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\nCapInh:\t{none}\n\
             CapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\nNoNewPrivs:\t1\n"
        );
        assert_eq!(said.stdout, expected, "{options:?}");
    }
    let said = stdout(
        tinyctr(["-q", "-u", "root", text(&image), "sh", "-c"])
            .arg("grep CapEff /proc/self/status"),
    );
    assert_eq!(said, "CapEff:\t00000000a80425fb\n");
}

#[test]
fn an_id_that_is_not_mapped_is_refused_with_the_way_out() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let ordinary = Ordinary::new();
    for user in ["1", "0:1"] {
        let failed = fails(&mut ordinary.tinyctr(["-u", user, ordinary.image(), "true"]), 125);
        assert_eq!((failed.step.as_str(), &failed.cause[..6]), ("become user", "EINVAL"));
        assert!(failed.hint.expect("a hint").contains("subuid"));
    }
    let said = stdout(&mut ordinary.tinyctr(["-u", "root", ordinary.image(), "id", "-u"]));
    assert_eq!(said, "0\n");
    let failed = fails(&mut tinyctr([OWN_USER, "-u", "65536", text(image()), "true"]), 125);
    assert_eq!(failed.told(), ("become user", "user", "EINVAL (Invalid argument)"));
}

/// The kernel forgets PR_SET_PDEATHSIG when ids change.
#[test]
fn who_changed_his_ids_still_ends_with_tinyctr() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    for options in [&["-u", "alice"][..], &[OWN_USER], &["--ns=mnt", "-u", "alice:video"]] {
        let mut command = tinyctr(["-q"]);
        command.args(options).args([text(&image), "sh", "-c", "cat; sleep 1000"]);
        let running = common::Running::start(&mut command);
        let (tinyctr, inside) = (running.pid(), running.inside());
        kill(tinyctr, Signal::SIGKILL).expect("it is ours");
        wait_until("the container is gone", || !is_alive(inside));
    }
}

/// So it does when somebody inside changes them, who has a range of them: there is a guard.
#[test]
fn who_has_a_range_and_changes_his_ids_ends_with_tinyctr() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    require!(image_has("setpriv"), "needs setpriv in the image");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    for option in ["--no-tty", "--init"] {
        let mark = token();
        let script = "echo up; sleep 1000; : \"$0\"";
        let words = ["setpriv", "--reuid=1000", "--clear-groups", "sh", "-c", script, &mark];
        let mut command = ordinary.tinyctr(["-q", option, ordinary.image()]);
        let running = common::Running::start(command.args(words));
        kill(running.pid(), Signal::SIGKILL).expect("it is ours");
        wait_until("nothing is left", || common::processes_with(&mark).is_empty());
    }
}

/// Whoever is ignored is not waited for: the kernel forgets how he ended.
#[test]
fn a_caller_who_ignores_the_end_of_his_children_has_a_helper_too() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("newuidmap"), "needs newuidmap(1) (uidmap)");
    let ordinary = Ordinary::new();
    ordinary.gives_range();
    for option in ["--no-tty", "--init", "--bare"] {
        let mut command = ordinary.after(
            "trap '' CHLD;",
            ["./tinyctr", "-q", option, ordinary.image(), "sh", "-c", LOOK],
        );
        let said = run(&mut command);
        assert!(said.stdout.contains(" 200000 "), "{option}: {said:?}");
        assert!(option == "--bare" || said.code == Some(0), "{option}: {said:?}");
    }
}

/// Our init is that user as well, and what it starts finds his variables.
#[test]
fn with_init_the_command_runs_as_the_same_user() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let (_directory, image) = with_users();
    let script =
        "id -u; id -G; echo $HOME $USER; sed -n 's/^Uid:\t\\([0-9]*\\).*/\\1/p' /proc/1/status";
    let said = stdout(
        tinyctr(["-q", "--init", "-u", "alice", text(&image), "sh", "-c", script]).env_clear(),
    );
    assert_eq!(said, "1000\n1001 10 44 50\n/home/alice alice\n1000\n");
    let failed = fails(&mut tinyctr(["--init", "-u", "nobody-at-all", text(&image), "true"]), 125);
    assert_eq!(failed.cause, "not in the image's /etc/passwd");
    let failed =
        fails(&mut tinyctr(["--init", OWN_USER, "-u", "65536", text(&image), "true"]), 125);
    assert_eq!(failed.told(), ("become user", "user", "EINVAL (Invalid argument)"));
}

// --- who forbids user namespaces -----------------------------------------------------------------

fn forbidden(said: &Said) -> (String, String, String) {
    let failed = failure(said);
    (failed.object, failed.cause, failed.hint.expect("a hint"))
}

#[test]
fn a_limit_of_none_is_named_with_the_command_that_lifts_it() {
    require!(can_contain() && have("unshare"), NO_NAMESPACES);
    // It is one for each user namespace, so that of the host stays as it is.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(binary());
    let said = run(command.args([OWN_USER, text(image()), "true"]).stdin(Stdio::null()));
    let (object, cause, hint) = forbidden(&said);
    assert_eq!(object, "user.max_user_namespaces");
    assert_eq!(cause, "being 0 it forbids user namespaces");
    assert_eq!(hint, "as root: sysctl user.max_user_namespaces=15000");
}

#[test]
fn a_chroot_is_named() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(have("chroot"), "needs chroot(8)");
    let ordinary = Ordinary::new();
    copy(binary(), &ordinary.image.join("tinyctr"));
    copy(image(), &ordinary.image.join("image"));
    let script = "mount -t proc proc \"$0/proc\"
        exec chroot \"$0\" setpriv --reuid=12345 --regid=12345 --clear-groups /tinyctr /image true";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&ordinary.image).stdin(Stdio::null());
    isolate(&mut command, CloneFlags::CLONE_NEWNS);
    let (object, _, hint) = forbidden(&run(&mut command));
    assert_eq!(object, "chroot");
    assert!(hint.contains("tinyctr --bare --ns mnt DIR"), "{hint}");
}

#[test]
fn a_filter_is_named() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = copy_of_image("around");
    copy(binary(), &image.join("tinyctr"));
    fs::create_dir_all(image.join("image/bin")).expect("it is a copy");
    let mut command = tinyctr(if is_root() { &["-u", "12345"][..] } else { &[] });
    command.args([text(&image), "/tinyctr", "--ns=user,mnt,pid", "/image", "true"]);
    let (object, _, hint) = forbidden(&run(&mut command));
    assert_eq!(object, "seccomp");
    assert!(hint.contains("seccomp=unconfined"), "{hint}");
}

#[test]
fn settings_that_only_some_kernels_have_are_named() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    require!(can_inject(), common::NO_STRACE);
    let list = tempdir();
    let start = |name: &str, value: &str| {
        let script = "mount -t tmpfs none /proc/sys/kernel && echo \"$1\" > \
            \"/proc/sys/kernel/$0\" && shift && exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, name, value]);
        // The first one is that of the guard, for which nobody needs a right.
        let traced = strace(["-e", "inject=clone:error=EPERM:when=2+"], &list.path().join("list"));
        command.arg(traced.get_program()).args(traced.get_args()).arg(binary());
        command.args(["--ns=user,mnt", "/", "true"]).stdin(Stdio::null());
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        run(&mut command)
    };
    for (name, value, other) in [
        ("unprivileged_userns_clone", "0", "1"),
        ("apparmor_restrict_unprivileged_userns", "1", "0"),
    ] {
        let (object, _, hint) = forbidden(&start(name, value));
        assert_eq!(object, format!("kernel.{name}"));
        assert_eq!(hint, format!("as root: sysctl kernel.{name}={other}"));
        assert_eq!(failure(&start(name, other)).object, "user namespace");
    }
}
