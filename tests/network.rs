//! Whose network a container has, what it reaches there, and the files that go with the host's.

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{
    NEEDS_ROOT, NO_NAMESPACES, NO_STRACE, Running, binary, cache, can_contain, can_inject,
    compile_static, copy, copy_of_image, fails, have, image, is_alive, is_root, isolate,
    mounts_naming, require, run, stdout, strace, tempdir, tinyctr, token, wait_until,
};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

const NEEDS_IP: &str = "needs root, and ip (iproute2)";

/// A copy of the image with the program `/net` in it.
fn image_with_net() -> (tempfile::TempDir, PathBuf) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let program = cache().join("net");
    ONCE.call_once(|| compile_static("net", &program));
    let (directory, image) = copy_of_image("net");
    copy(&program, &image.join("net"));
    (directory, image)
}

fn interfaces(table: &str) -> Vec<&str> {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, _)| name.trim()).collect()
}

// --- none ----------------------------------------------------------------------------------------

#[test]
fn a_network_of_its_own_has_a_loopback_that_is_up_and_nothing_else() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_net();
    let inside =
        |options: &[&str], words: &[&str]| run(tinyctr(options).arg("-q").arg(&image).args(words));
    for options in
        [&["--net", "none"][..], &["--net=none", "--bare"], &["--net=none", "--privileged"]]
    {
        assert_eq!(inside(options, &["/net", "loopback"]).stdout, "hello\n", "{options:?}");
        let table = inside(options, &["cat", "/proc/net/dev"]).stdout;
        assert_eq!(interfaces(&table), ["lo"], "{options:?}");
    }
    let shown = inside(&["--net", "none"], &["ls", "/sys/class/net"]);
    assert_eq!(shown.stdout, "lo\n", "{shown:?}");
    let host = fs::read_to_string("/proc/net/dev").expect("/proc is mounted");
    assert_eq!(interfaces(&inside(&[], &["cat", "/proc/net/dev"]).stdout), interfaces(&host));
    assert_eq!(
        interfaces(&inside(&["--net", "host"], &["cat", "/proc/net/dev"]).stdout),
        interfaces(&host)
    );
}

/// What `--ns` makes is as the kernel makes it.
#[test]
fn a_net_namespace_by_ns_alone_has_a_loopback_that_is_down() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_net();
    let list = if is_root() { "uts,pid,mnt,ipc,net" } else { "uts,pid,mnt,ipc,net,user" };
    let attempt = |options: &[&str]| {
        run(tinyctr(["-q", "--ns", list]).args(options).arg(&image).args(["/net", "loopback"]))
    };
    assert_ne!(attempt(&[]).code, Some(0));
    assert_eq!(attempt(&["--net=none"]).stdout, "hello\n");
}

#[test]
fn nothing_that_listens_on_the_host_is_reached_from_a_network_of_its_own() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = image_with_net();
    let name = token();
    let address = SocketAddr::from_abstract_name(&name).expect("it is short");
    let abstract_one = UnixListener::bind_addr(&address).expect("nobody else has it");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("it has one").port().to_string();
    std::thread::spawn(move || {
        for stream in abstract_one.incoming() {
            let _gone = stream.expect("a guest").write_all(b"the host\n");
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let _gone = stream.expect("a guest").write_all(b"the host\n");
        }
    });
    for words in [&["/net", "abstract", &name][..], &["/net", "tcp", "127.0.0.1", &port]] {
        let reach = |options: &[&str]| run(tinyctr(options).arg("-q").arg(&image).args(words));
        let said = reach(&["--net=none"]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{words:?}: {said:?}");
        assert!(said.stderr.contains("Connection refused"), "{said:?}");
        assert_eq!(reach(&[]).stdout, "the host\n", "{words:?}: else nothing is shown above");
    }
}

// --- another's -----------------------------------------------------------------------------------

/// A network namespace with a name, as ip-netns(8) makes it.
struct Named(String);

impl Named {
    fn new() -> Named {
        let name = format!("tinyctr-{}", token());
        assert_eq!(stdout(Command::new("ip").args(["netns", "add", &name])), "");
        Named(name)
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    fn link(&self) -> String {
        format!("net:[{}]\n", fs::metadata(self.path()).expect("it is there").ino())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        assert!(deleted.is_ok_and(|status| status.success()), "{}", self.0);
    }
}

#[test]
fn a_network_namespace_is_joined_by_its_name_and_by_its_path() {
    require!(is_root() && can_contain() && have("ip"), NEEDS_IP);
    let named = Named::new();
    stdout(Command::new("ip").args(["-n", &named.0, "link", "set", "lo", "name", "renamed"]));
    let path = named.path().display().to_string();
    for word in [&named.0, &path] {
        for options in [&["-q"][..], &["--bare"], &["-q", "--ns", "uts,pid,mnt,ipc,user"]] {
            let mut command = tinyctr(["--net", word]);
            command.args(options).arg(image());
            let script = "readlink /proc/self/ns/net; cat /proc/net/dev; ls -l /proc/self/fd";
            let said = stdout(command.args(["sh", "-c", script]));
            assert!(said.starts_with(&named.link()), "{word} {options:?}: {said}");
            assert!(said.contains("renamed:"), "{word} {options:?}: {said}");
            let open = said.split("renamed:").nth(1).expect("it was just found");
            assert!(!open.contains("net"), "no descriptor of it stays: {open}");
        }
        let shown =
            stdout(tinyctr(["-q", "--net", word]).arg(image()).args(["ls", "/sys/class/net"]));
        assert_eq!(shown, "renamed\n", "/sys shows that network");
    }
    let host = format!("{}\n", fs::read_link("/proc/self/ns/net").expect("a link").display());
    assert_ne!(named.link(), host);
    let own = stdout(tinyctr(["-q"]).arg(image()).args(["readlink", "/proc/self/ns/net"]));
    assert_eq!(own, host, "else it is the host's");
}

#[test]
fn what_is_no_network_namespace_is_refused_and_not_waited_for() {
    require!(is_root() && can_contain(), NEEDS_ROOT);
    let directory = tempdir();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    for file in [fifo.to_str().expect("ours"), "/etc/passwd", "/proc/self/ns/uts", "/", "/dev/null"]
    {
        let failure = fails(tinyctr(["--net", file]).arg(image()).arg("true"), 125);
        assert_eq!(failure.told(), ("network", file, "EINVAL (Invalid argument)"));
        assert_eq!(failure.hint.as_deref(), Some("this is no network namespace"));
    }
    for absent in ["/no/such/file", "no-such-name"] {
        let failure = fails(tinyctr(["--net", absent]).arg(image()).arg("true"), 125);
        assert_eq!(failure.told(), ("network", absent, "ENOENT (No such file or directory)"));
        assert!(failure.hint.is_some_and(|hint| hint.starts_with("see ip netns list")));
    }
}

#[test]
fn an_ordinary_user_is_told_whose_network_namespaces_he_may_join() {
    require!(!is_root(), "needs an ordinary user");
    let own = "/proc/self/ns/net";
    let failure = fails(tinyctr(["--net", own]).arg(image()).arg("true"), 125);
    assert_eq!(failure.told(), ("network", own, "EPERM (Operation not permitted)"));
    assert!(failure.hint.is_some_and(|hint| hint.contains("who made it may")));
}

#[test]
fn a_network_of_its_own_is_explained() {
    require!(can_contain(), NO_NAMESPACES);
    for (options, is_told) in [(&["--net=none"][..], true), (&[], false)] {
        let said = run(tinyctr(["-q", "--explain"]).args(options).arg(image()).arg("true"));
        assert_eq!(said.stderr.contains("# now: net:["), is_told, "{}", said.stderr);
        assert_eq!(said.stderr.contains("SIOCSIFFLAGS"), is_told, "the loopback is raised");
    }
}

#[test]
fn two_words_about_the_network_that_disagree_are_refused() {
    for mode in ["host", "some-name", "/some/path"] {
        let failure = fails(&mut tinyctr(["--net", mode, "--ns", "mnt,net", "/", "true"]), 125);
        assert_eq!(failure.told(), ("option", "--net", "--ns has a net of its own"));
    }
    let failure = fails(&mut tinyctr(["--net=", "/", "true"]), 125);
    assert_eq!(failure.told(), ("option", "--net=", "needs a value"));
    let failure = fails(&mut tinyctr(["--dry-run=sh", "--net=x", "/", "true"]), 125);
    assert!(failure.cause.contains("joins nothing"), "{failure:?}");
}

// --- files of names ------------------------------------------------------------------------------

/// A command that has another `/etc` than this machine: in a mount namespace of its own.
fn with_etc(etc: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"mount --bind "$0" /etc && exec "$@""#]).arg(etc).arg(binary());
    command.args(words).env_remove("TINYCTR_PATH").stdin(Stdio::null());
    isolate(&mut command, CloneFlags::CLONE_NEWNS);
    command
}

/// A host's `/etc`, where resolv.conf is a link, as systemd-resolved makes it.
fn host_etc() -> tempfile::TempDir {
    let directory = tempdir();
    let etc = directory.path().join("etc");
    fs::create_dir(&etc).expect("the directory is ours");
    fs::write(directory.path().join("stub"), "nameserver 192.0.2.53\n").expect("ours");
    symlink(directory.path().join("stub"), etc.join("resolv.conf")).expect("ours");
    fs::write(etc.join("hosts"), "192.0.2.1 the-host\n").expect("ours");
    fs::write(etc.join("hostname"), "the-host\n").expect("ours");
    directory
}

const SHOW: &str = "cat /etc/resolv.conf /etc/hosts /etc/hostname";
const SHARED: &str = "nameserver 192.0.2.53\n192.0.2.1 the-host\nnamed\n";
const FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// What each of the three may be in an image, by a shell in its /etc.
const KINDS: [&str; 6] = [
    "echo own > $0",
    ":",
    "ln -s ../run/systemd/resolve/nowhere $0",
    "ln -s $0 $0",
    "ln -s passwd $0",
    "mkfifo $0",
];

#[test]
fn the_hosts_files_are_there_whatever_the_image_has_in_their_place() {
    require!(can_contain() && have("mount"), NO_NAMESPACES);
    let host = host_etc();
    let (_directory, image) = copy_of_image("image");
    let path = image.to_str().expect("ours").to_owned();
    for kind in KINDS {
        for name in FILES {
            let _absent = fs::remove_file(image.join("etc").join(name));
            let mut shell = Command::new("sh");
            stdout(shell.args(["-c", kind, name]).current_dir(image.join("etc")));
        }
        for words in [&["-q"][..], &["-q", "--privileged"]] {
            let rest = ["--hostname=named", &path, "sh", "-c", SHOW];
            let words = [words, &rest[..]].concat();
            let said = stdout(&mut with_etc(&host.path().join("etc"), &words));
            assert_eq!(said, SHARED, "{kind} {words:?}");
        }
        for name in FILES {
            let place = image.join("etc").join(name);
            let data = fs::symlink_metadata(&place).expect("it is there, or was made");
            match kind {
                "echo own > $0" => assert_eq!(fs::read(&place).expect("a file"), b"own\n"),
                ":" => {
                    assert_eq!((data.is_file(), data.len(), data.mode() & 0o777), (true, 0, 0o644))
                }
                _ => assert!(!data.is_file(), "{kind}: it is what it was"),
            }
        }
    }
    assert_eq!(mounts_naming(&image), [""; 0]);
}

#[test]
fn the_hosts_files_can_not_be_written_to_from_inside() {
    require!(can_contain() && have("mount"), NO_NAMESPACES);
    let host = host_etc();
    let path = image().to_str().expect("ours");
    for name in FILES {
        let script = format!(
            "cd /etc; exec 2>&1; (echo bad >> {name}); chmod 777 {name}; rm -f {name}; \
             mv {name} other; :"
        );
        let said =
            stdout(&mut with_etc(&host.path().join("etc"), &["-q", path, "sh", "-c", &script]));
        // To an ordinary user /proc/sys/kernel/hostname is somebody else's, too.
        let refused = said.matches("Read-only file system").count();
        assert_eq!(refused + said.matches("Permission denied").count(), 2, "{said}");
        assert_eq!(said.matches("busy").count(), 2, "{said}");
    }
    let stub = fs::read_to_string(host.path().join("stub")).expect("it is there");
    assert_eq!(stub, "nameserver 192.0.2.53\n");
    let hosts = fs::read_to_string(host.path().join("etc/hosts")).expect("it is there");
    assert_eq!(hosts, "192.0.2.1 the-host\n");
}

#[test]
fn without_the_hosts_network_the_image_has_its_own_files() {
    require!(can_contain() && have("mount"), NO_NAMESPACES);
    let host = host_etc();
    let (_directory, image) = copy_of_image("image");
    for name in FILES {
        fs::write(image.join("etc").join(name), "own\n").expect("ours");
    }
    let path = image.to_str().expect("ours");
    let unnamed = ["--ns", "uts,pid,mnt,net"];
    let none = ["--net=none"];
    let without = ["--trace=/dev/null", "--skip=files"];
    for options in [&none[..], &["--bare"], &unnamed, &without] {
        let words = [&["-q"], options, &[path, "sh", "-c", SHOW]].concat();
        let said = run(&mut with_etc(&host.path().join("etc"), &words));
        assert_eq!(said.stdout, "own\nown\nown\n", "{options:?}: {said:?}");
    }
}

#[test]
fn where_the_files_can_not_be_the_container_runs_without() {
    require!(can_contain() && have("mount"), NO_NAMESPACES);
    let host = host_etc();
    let (_directory, image) = copy_of_image("image");
    let path = image.to_str().expect("ours");
    let etc = image.join("etc");
    let show = |etc: &Path| {
        let script = "ls /etc/ 2>/dev/null; :";
        stdout(&mut with_etc(etc, &["-q", path, "sh", "-c", script]))
    };
    // The host has none.
    let bare = tempdir();
    for name in FILES {
        fs::remove_file(etc.join(name)).expect("ours");
    }
    let said = show(bare.path());
    assert!(said.contains("hostname") && !said.contains("hosts\n"), "{said}");
    // In the image they are directories.
    for name in FILES {
        let _absent = fs::remove_file(etc.join(name));
        fs::create_dir(etc.join(name)).expect("ours");
        fs::write(etc.join(name).join("own"), "").expect("ours");
    }
    let script = "ls /etc/resolv.conf /etc/hosts /etc/hostname";
    let said = stdout(&mut with_etc(&host.path().join("etc"), &["-q", path, "sh", "-c", script]));
    assert_eq!(said.matches("own\n").count(), 3, "{said}");
    // Its /etc is a link, or missing.
    fs::rename(&etc, image.join("other")).expect("ours");
    for target in ["other", "/other", "nowhere", "/etc"] {
        symlink(target, &etc).expect("ours");
        show(&host.path().join("etc"));
        fs::remove_file(&etc).expect("ours");
    }
    show(&host.path().join("etc"));
    assert!(!etc.exists(), "none is made");
}

#[test]
fn in_a_read_only_image_no_file_is_made() {
    require!(is_root() && can_contain() && have("mount"), NEEDS_ROOT);
    let host = host_etc();
    let (_directory, image) = copy_of_image("image");
    fs::remove_file(image.join("etc/resolv.conf")).expect("ours");
    let script = r#"mount --bind "$0" /etc && mount --bind "$1" "$1" &&
        mount -o remount,bind,ro "$1" && exec "$2" -q "$1" sh -c 'ls /etc; cat /etc/hosts'"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(host.path().join("etc")).arg(&image).arg(binary());
    let said = stdout(isolate(&mut shell, CloneFlags::CLONE_NEWNS));
    assert!(said.ends_with("192.0.2.1 the-host\n"), "what is there is covered: {said}");
    assert!(!said.contains("resolv.conf"), "{said}");
}

// --- pasta ---------------------------------------------------------------------------------------

const NEEDS_PASTA: &str = "needs root, ip (iproute2), pasta (passt) and /dev/net/tun";

/// A host of its own, and a server that only it can reach: two network namespaces with a wire
/// between them. (The addresses are from a range for documents, and no packet leaves.)
struct Wired {
    host: Named,
    server: Named,
}

const SERVER: &str = "192.0.2.1";

impl Wired {
    fn new() -> Wired {
        let (host, server) = (Named::new(), Named::new());
        let script = r#"set -e
            ip -n "$0" link set lo up
            ip -n "$0" link add wire type veth peer name eriw netns "$1"
            ip -n "$1" address add 192.0.2.1/24 dev eriw
            ip -n "$1" link set eriw up
            ip -n "$0" address add 192.0.2.2/24 dev wire
            ip -n "$0" link set wire up
            ip -n "$0" route add default via 192.0.2.1"#;
        stdout(Command::new("sh").args(["-c", script, &host.0, &server.0]));
        Wired { host, server }
    }

    /// Listens in a namespace, and greets whoever comes. The port.
    fn serve(namespace: &Named, address: &'static str) -> String {
        let place = fs::File::open(namespace.path()).expect("it is there");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("root may, a thread too");
            let listener = TcpListener::bind((address, 0)).expect("a port");
            sender.send(listener.local_addr().expect("it has one").port()).expect("it is heard");
            for stream in listener.incoming() {
                let _gone = stream.expect("a guest").write_all(b"welcome\n");
            }
        });
        receiver.recv().expect("it listens").to_string()
    }

    /// tinyctr on that host, as a user who may open /dev/net/tun, as everybody may elsewhere.
    fn tinyctr(&self, user: u32, words: &[&str]) -> Command {
        let script = r#"mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 &&
            exec setpriv --reuid="$0" --regid="$0" --clear-groups "$@""#;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host.0, "sh", "-c", script, &user.to_string()]);
        command.arg(binary()).args(["-q", "--net", "pasta"]).args(words);
        command.env_remove("TINYCTR_PATH").stdin(Stdio::null());
        command
    }
}

fn can_use_pasta() -> bool {
    is_root()
        && can_contain()
        && Path::new("/usr/bin/pasta").exists()
        && ["ip", "setpriv", "mount", "mknod"].iter().all(|program| have(program))
        && fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// By whom, and with what: root, who isn't, root with a user namespace around it, and with an init.
const STARTS: [(u32, &[&str]); 4] =
    [(0, &[]), (12345, &[]), (0, &["--ns", "uts,pid,mnt,ipc,user"]), (0, &["--init"])];

#[test]
fn by_pasta_the_container_reaches_what_the_host_reaches_and_not_the_host_itself() {
    require!(can_use_pasta(), NEEDS_PASTA);
    let wired = Wired::new();
    let (_directory, image) = image_with_net();
    let path = image.to_str().expect("ours");
    let port = Wired::serve(&wired.server, SERVER);
    let local = Wired::serve(&wired.host, "127.0.0.1");
    for (user, options) in STARTS {
        let inside =
            |words: &[&str]| run(&mut wired.tinyctr(user, &[options, &[path], words].concat()));
        let said = inside(&["/net", "tcp", SERVER, &port]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), "welcome\n"), "{user}: {said:?}");
        assert_eq!(inside(&["/net", "loopback"]).stdout, "hello\n", "{user}");
        // Not by its loopback, and not by the gateway, which pasta makes its other name.
        for address in ["127.0.0.1", SERVER] {
            let said = inside(&["/net", "tcp", address, &local]);
            assert_eq!(said.stdout, "", "{user}: {said:?}");
            assert_ne!(said.code, Some(0), "{user}: {said:?}");
        }
        let own = inside(&["readlink", "/proc/self/ns/net"]).stdout;
        assert_ne!(own, wired.host.link(), "{user}");
        let fds = inside(&["sh", "-c", "ls -l /proc/self/fd"]).stdout;
        assert!(!fds.contains("net:"), "{user}: {fds}");
    }
}

/// pasta(1) with the network namespace of `wired` as its own: those of other tests aren't ours.
fn pastas(wired: &Wired) -> Vec<u32> {
    let pids = stdout(Command::new("ip").args(["netns", "pids", &wired.host.0]));
    let pids = pids.lines().filter_map(|pid| pid.trim().parse().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"/usr/bin/pasta\0")
    })
    .collect()
}

/// Everybody who is still there: tinyctr, its helper, pasta.
fn left(wired: &Wired) -> String {
    run(Command::new("ip").args(["netns", "pids", &wired.host.0])).stdout
}

#[test]
fn pasta_ends_with_the_container_and_with_a_tinyctr_that_is_killed() {
    require!(can_use_pasta(), NEEDS_PASTA);
    let path = image().to_str().expect("ours");
    for (user, options) in STARTS {
        let wired = Wired::new();
        let command = |word| wired.tinyctr(user, &[options, &[path, word]].concat());
        let running = Running::start(&mut command("cat"));
        assert_eq!(pastas(&wired).len(), 1, "{user}");
        assert_eq!(running.end().code, Some(0));
        assert_eq!(left(&wired), "", "{user}: nobody is there any more when tinyctr ends");
        let running = Running::start(&mut command("cat"));
        kill(running.pid(), Signal::SIGKILL).expect("it is ours");
        wait_until("nobody is left", || left(&wired).is_empty());
        drop(running);
        // And where the container does not even start.
        let said = run(&mut command("no-such-command"));
        assert_eq!(said.code, Some(127), "{said:?}");
        assert_eq!(left(&wired), "", "{user}");
    }
}

/// As a service of systemd does.
#[test]
fn a_caller_who_ignores_sigpipe_has_a_pasta() {
    require!(can_use_pasta(), NEEDS_PASTA);
    let wired = Wired::new();
    let path = image().to_str().expect("ours");
    for (user, options) in STARTS {
        let mut command = wired.tinyctr(user, &[options, &[path, "true"]].concat());
        let said = run(common::ignoring(Signal::SIGPIPE, &mut command));
        assert_eq!(said.code, Some(0), "{user}: {said:?}");
    }
}

#[test]
fn a_pasta_that_says_nothing_is_not_waited_for_by_the_dead() {
    require!(is_root() && can_contain(), NEEDS_PASTA);
    require!(Path::new("/usr/bin/pasta").exists(), NEEDS_PASTA);
    let directory = tempdir();
    let path = directory.path().to_str().expect("ours");
    let script = format!(
        "printf '#!/bin/sh\\nexec sleep 1000\\n' > {path}/mute; chmod 755 {path}/mute
         mount --bind {path}/mute /usr/bin/pasta; exec \"$0\" -q --net=pasta \"$1\" true"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(binary()).arg(image()).stdin(Stdio::null());
    let mut started = isolate(&mut shell, CloneFlags::CLONE_NEWNS).spawn().expect("it starts");
    let pid = Pid::from_raw(started.id().cast_signed());
    let mut family = Vec::new();
    wait_until("it runs", || {
        family = common::family(pid);
        family.iter().any(|pid| common::name(*pid) == "sleep")
    });
    kill(pid, Signal::SIGKILL).expect("it is ours");
    started.wait().expect("it is ours");
    wait_until("all are gone", || family.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn where_pasta_is_not_installed_the_package_is_named() {
    require!(can_contain() && have("mount"), NO_NAMESPACES);
    let mut shell = Command::new("sh");
    let script = r#"mount -t tmpfs none /usr/bin && exec "$0" --net=pasta / true"#;
    shell.args(["-c", script]).arg(binary()).stdin(Stdio::null());
    let failure = fails(isolate(&mut shell, CloneFlags::CLONE_NEWNS), 125);
    let cause = "ENOENT (No such file or directory)";
    assert_eq!(failure.told(), ("network", "/usr/bin/pasta", cause));
    assert!(failure.hint.is_some_and(|hint| hint.contains("package passt")));
}

/// pasta(1) has no interface to connect with.
#[test]
fn where_pasta_fails_the_command_does_not_run() {
    require!(can_use_pasta(), NEEDS_PASTA);
    let host = Named::new();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &host.0]).arg(binary()).args(["-q", "--net=pasta"]);
    let said = run(command.arg(image()).args(["echo", "it ran"]).stdin(Stdio::null()));
    assert_eq!((said.code, said.stdout.as_str()), (Some(125), ""), "{said:?}");
    assert!(said.stderr.contains("\ntinyctr: network: pasta: it failed\n"), "{said:?}");
    assert!(!said.stderr.contains("set-user-ID"), "which pasta is not: {said:?}");
    assert!(said.stderr.starts_with("No external routable interface"), "its own words: {said:?}");
    assert_eq!(run(Command::new("ip").args(["netns", "pids", &host.0])).stdout, "");
}

#[test]
fn in_a_rehearsal_pasta_is_not_started() {
    require!(can_contain() && Path::new("/usr/bin/pasta").exists(), NEEDS_PASTA);
    let said = run(tinyctr(["--dry-run", "--net=pasta"]).arg(image()).arg("true"));
    assert_eq!(said.code, Some(0), "{said:?}");
    let starts = said.stderr.matches(r#"execve("/usr/bin/pasta", ["/usr/bin/pasta", "#).count();
    assert_eq!(starts, 1, "{}", said.stderr);
    assert!(!said.stderr.contains("SIGKILL) = 0\nhelper"), "nothing has to be ended");
}

// --- what the kernel may lack --------------------------------------------------------------------

#[test]
fn on_an_older_kernel_the_files_are_sealed_otherwise_or_the_images_own() {
    require!(can_contain() && can_inject(), NO_STRACE);
    let path = image().to_str().expect("ours");
    let start = |fault: &str, script: &str| {
        let mut command = strace(["-e", fault], Path::new("/dev/null"));
        run(command.arg(binary()).args(["-q", path, "sh", "-c", script]))
    };
    let hosts = fs::read_to_string("/etc/hosts").expect("this machine has one");
    let script = "cat /etc/hosts; grep ' /etc/hosts ' /proc/self/mountinfo";
    let said = start("inject=mount_setattr:error=ENOSYS", script).stdout;
    assert!(
        said.starts_with(&hosts) && said.contains(" /etc/hosts ro,nosuid,nodev,noexec"),
        "{said}"
    );
    for errno in ["ENOSYS", "EPERM"] {
        let said = start(&format!("inject=move_mount:error={errno}"), "cat /etc/hosts");
        let own = fs::read_to_string(image().join("etc/hosts")).expect("it has one");
        assert_eq!((said.code, said.stdout), (Some(0), own), "{errno}");
    }
    let said = start("inject=mount_setattr:error=EIO:when=3", "true");
    assert_eq!(said.code, Some(125), "what can't be sealed doesn't come in: {said:?}");
}

#[test]
fn a_network_that_can_not_be_made_ends_the_start() {
    require!(can_contain() && can_inject(), NO_STRACE);
    let started = |net: &str, fault: &str| {
        let mut command = strace(["-e", fault], Path::new("/dev/null"));
        run(command.arg(binary()).args(["-q", net]).arg(image()).args(["echo", "it ran"]))
    };
    let mut faults = vec![
        ("--net=none", "inject=socket:error=EMFILE"),
        ("--net=none", "inject=ioctl:error=EPERM"), // that asks for terminals too
    ];
    if is_root() {
        faults.push(("--net=/proc/self/ns/net", "inject=setns:error=EIO"));
    }
    for (net, fault) in faults {
        let said = started(net, fault);
        assert_eq!(said.code, Some(125), "{fault}: {said:?}");
        assert!(said.stderr.starts_with("tinyctr: network: "), "{fault}: {said:?}");
    }
}
