//! How images are made: `rootfs/build`, `rootfs/stand-in`, `rootfs/binfmt`.
//!
//! Every test works on a copy of the scripts in a directory of its own (with a space in its name),
//! against a publisher of its own on 127.0.0.1. No test needs a network, and none touches the real
//! images. Where root matters, it is said in the test; the others run as root and as anybody else.

mod common;

use common::{have, is_root, require, skip};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

/// An ordinary user: nobody.
const NOBODY: u32 = 65534;

/// Longer than any step takes on a slow machine; reached only where a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

// --- The real image, from its publisher ---

#[test]
fn a_signed_image_is_built_and_nothing_else_is_left() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish();
    place.build(&["trusty"], &publisher, &signed.key).succeeds_with(&["signature checked"]);
    assert!(place.has_real_image());
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn every_shell_that_may_be_sh_builds_it() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    for shell in [&["dash"][..], &["busybox", "ash"], &["bash", "--posix"]] {
        if !have(shell[0]) {
            skip(&format!("{} is not installed", shell[0]));
            continue;
        }
        let publisher = signed.publish();
        let mut command = place.command(shell[0]);
        command.args(&shell[1..]).arg(place.script("build")).arg("trusty");
        finish(command.env("MIRROR", &publisher.url).env("KEYRING", &signed.key.public))
            .succeeds_with(&["finished"]);
        assert!(place.has_real_image(), "{shell:?}");
        fs::remove_dir_all(place.image()).unwrap();
    }
}

#[test]
fn busybox_alone_builds_it() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let Some(path) = place.busybox_path(&["gpgv"]) else { return };
    let publisher = signed.publish();
    let mut command = place.command("busybox");
    command.arg("ash").arg(place.script("build")).arg("trusty").env("PATH", path);
    finish(command.env("MIRROR", &publisher.url).env("KEYRING", &signed.key.public))
        .succeeds_with(&["finished"]);
    assert!(place.has_real_image());
}

#[test]
fn a_finished_image_is_not_built_again() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish();
    place.build(&["trusty"], &publisher, &signed.key).succeeds_with(&[]);
    let before = publisher.requests();
    for arguments in [&["trusty"][..], &["--or-stand-in", "trusty"]] {
        let outcome = place.build(arguments, &publisher, &signed.key);
        outcome.succeeds_with(&["is there already: not built again"]);
        assert_eq!(outcome.text.lines().count(), 1, "{}", outcome.text);
    }
    assert_eq!(publisher.requests(), before);
}

#[test]
fn a_tarball_that_does_not_match_its_sum_is_not_unpacked() {
    let place = Place::new();
    let Some(mut signed) = place.signed_release() else { return };
    signed.release.tarball.push(0);
    for arguments in [&["trusty"][..], &["--or-stand-in", "trusty"]] {
        place
            .build(arguments, &signed.publish(), &signed.key)
            .fails_with(&["doesn't match its sum", "nothing was unpacked"]);
        assert_eq!(place.directories(), [""; 0], "and no stand-in hides it");
    }
}

#[test]
fn a_tarball_that_sha256sums_does_not_name_is_not_unpacked() {
    let place = Place::new();
    let Some(mut signed) = place.signed_release() else { return };
    // Another file's sum, for a name that ours is a part of.
    signed.release.sums = signed.release.sums.replace("*ubuntu", "*not-ubuntu");
    signed.signature = signed.key.sign(signed.release.sums.as_bytes());
    place
        .build(&["--or-stand-in", "trusty"], &signed.publish(), &signed.key)
        .fails_with(&["doesn't name ubuntu-base-14.04.6-base-", "nothing was unpacked"]);
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn an_http_mirror_without_a_signature_is_refused() {
    let place = Place::new();
    let publisher = Release::new(&place).publish();
    let path = place.path_without(&["gpgv"]);
    finish(
        place
            .command(place.script("build"))
            .args(["--or-stand-in", "trusty"])
            .env("PATH", path)
            .env("MIRROR", &publisher.url),
    )
    .fails_with(&["not https", "signature can't be checked", "KEYRING"]);
    assert_eq!(publisher.requests(), [""; 0], "refused before anything is asked for");
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn a_signature_that_does_not_hold_is_refused() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let Some(stranger) = Key::new(&place, "stranger") else { return };
    let sums = signed.release.sums.as_bytes();
    let cases = [
        ("a stranger's", stranger.sign(sums)),
        ("of another file", signed.key.sign(b"another file")),
        ("no signature at all", b"nonsense".to_vec()),
    ];
    for (case, signature) in cases {
        let publisher = Signed { signature, ..signed.clone() }.publish();
        let outcome = place.build(&["--or-stand-in", "trusty"], &publisher, &signed.key);
        outcome.fails_with(&["the signature doesn't hold", "nothing was unpacked"]);
        assert_eq!(place.directories(), [""; 0], "{case}");
        let tarball_was_asked_for = publisher.requests().iter().any(|r| r.ends_with(".gz"));
        assert!(!tarball_was_asked_for, "{case}");
    }
}

#[test]
fn a_missing_signature_is_refused_where_it_could_be_checked() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    place
        .build(&["--or-stand-in", "trusty"], &signed.release.publish(), &signed.key)
        .fails_with(&["SHA256SUMS.gpg", "has no such file"]);
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn one_good_signature_of_two_is_enough() {
    let place = Place::new();
    let Some(mut signed) = place.signed_release() else { return };
    let Some(stranger) = Key::new(&place, "stranger") else { return };
    let mut both = stranger.sign(signed.release.sums.as_bytes());
    both.append(&mut signed.signature);
    signed.signature = both;
    place.build(&["trusty"], &signed.publish(), &signed.key).succeeds_with(&["signature checked"]);
}

#[test]
fn https_is_trusted_as_far_as_its_certificate() {
    let place = Place::new();
    let Some(https) = Https::new(&place, &Release::new(&place)) else { return };
    let path = place.path_without(&["gpgv"]);
    let build = |configure: &dyn Fn(&mut Command)| {
        let mut command = place.command(place.script("build"));
        command.args(["--or-stand-in", "trusty"]).env("MIRROR", &https.url).env("PATH", &path);
        configure(&mut command);
        finish(&mut command)
    };
    build(&|_| ()).fails_with(&["certificate", "hint:"]);
    assert_eq!(place.directories(), [""; 0], "a false certificate is no reason for a stand-in");

    build(&|command| {
        command.env("CURL_CA_BUNDLE", &https.certificate);
    })
    .succeeds_with(&["signature is not checked", "finished"]);
    assert!(place.has_real_image());
}

#[test]
fn wget_does_what_curl_does() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let path = place.path_without(&["curl"]);
    require!(is_there_in(&path, "wget"), "wget is not installed");
    let build = |url: &str, arguments: &[&str]| {
        let mut command = place.command(place.script("build"));
        command.args(arguments).env("PATH", &path).env("MIRROR", url);
        finish(command.env("KEYRING", &signed.key.public))
    };
    build(&signed.release.publish().url, &["--or-stand-in", "trusty"])
        .fails_with(&["SHA256SUMS.gpg", "has no such file"]);
    build(&nobody_listens(), &["trusty"]).fails_with(&["can't be fetched"]);
    build(&Publisher::new([("SHA256SUMS", Answer::Status(503))]).url, &["trusty"])
        .fails_with(&["can't be fetched"]);
    build(&signed.publish().url, &["trusty"]).succeeds_with(&["signature checked"]);
    assert!(place.has_real_image());
}

#[test]
fn wget_trusts_https_as_far_as_its_certificate() {
    let place = Place::new();
    let path = place.path_without(&["curl", "gpgv"]);
    require!(is_there_in(&path, "wget"), "wget is not installed");
    let Some(https) = Https::new(&place, &Release::new(&place)) else { return };
    let mut command = place.command(place.script("build"));
    command.args(["--or-stand-in", "trusty"]).env("MIRROR", &https.url).env("PATH", &path);
    finish(&mut command).fails_with(&["certificate", "hint:"]);
    assert_eq!(place.directories(), [""; 0]);

    let settings = place.path("wgetrc");
    fs::write(&settings, format!("ca_certificate = {}\n", https.certificate.display())).unwrap();
    finish(command.env("WGETRC", settings)).succeeds_with(&["finished"]);
    assert!(place.has_real_image());
}

#[test]
fn busybox_wget_is_not_trusted_with_https() {
    let place = Place::new();
    let Some(path) = place.busybox_path(&[]) else { return };
    let mut command = place.command("busybox");
    command.arg("ash").arg(place.script("build")).arg("trusty").env("PATH", path);
    finish(command.env("MIRROR", "https://127.0.0.1:1"))
        .fails_with(&["takes any certificate", "curl"]);
}

#[test]
fn root_keeps_what_the_tarball_says() {
    let place = Place::new();
    require!(may_make_nodes(&place), "needs root, with the right to make device nodes");
    let Some(signed) = place.signed_release() else { return };
    place.build(&["trusty"], &signed.publish(), &signed.key).succeeds_with(&[]);
    let owned = fs::metadata(place.image().join("home/user")).unwrap();
    assert_eq!((owned.uid(), owned.gid()), (1000, 1000));
    let tool = fs::metadata(place.image().join("bin/set-user-id")).unwrap();
    assert_eq!(tool.mode() & 0o7777, 0o4755);
    assert!(place.image().join("dev/null").exists());
}

#[test]
fn an_ordinary_user_builds_it_too() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish();
    let mut command = place.command(place.script("build"));
    command.arg("trusty").env("MIRROR", &publisher.url).env("KEYRING", &signed.key.public);
    finish(place.as_ordinary_user(&mut command)).succeeds_with(&["finished"]);
    assert!(place.has_real_image());
    assert!(!place.image().join("dev/null").exists(), "device nodes are left out");
    let tool = fs::metadata(place.image().join("bin/set-user-id")).unwrap();
    assert_eq!(tool.mode() & 0o7777, 0o755, "nobody is given the user's rights");
    assert_eq!(place.directories(), ["trusty"]);
}

// --- The stand-in ---

#[test]
fn make_falls_back_to_the_stand_in_when_nobody_answers() {
    for mirror in [nobody_listens().replace("http:", "https:"), "https://name.invalid".into()] {
        let place = Place::new();
        let words = format!("stand-in for Ubuntu 14.04, made from the tools of {}", system_name());
        place.build_from(&["--or-stand-in", "trusty"], &mirror).succeeds_with(&[
            "can't be fetched",
            "is NOT Ubuntu 14.04",
            &words,
            "make trusty",
        ]);
        for file in ["etc/issue", "etc/os-release"] {
            let text = fs::read_to_string(place.image().join(file)).unwrap();
            assert!(text.contains(&words), "{file}: {text}");
        }
        assert!(place.image().join("bin/sh").exists());
        assert_eq!(place.directories(), ["trusty"]);
    }
}

#[test]
fn a_server_in_trouble_counts_as_nobody_but_a_missing_file_does_not() {
    let place = Place::new();
    let Some(key) = Key::new(&place, "publisher") else { return };
    let answers = |status| Publisher::new([("SHA256SUMS", Answer::Status(status))]);
    for status in [404, 410] {
        place
            .build(&["--or-stand-in", "trusty"], &answers(status), &key)
            .fails_with(&["has no such file", "MIRROR"]);
    }
    assert_eq!(place.directories(), [""; 0]);
    for status in [403, 503] {
        place
            .build(&["--or-stand-in", "trusty"], &answers(status), &key)
            .succeeds_with(&["is NOT Ubuntu 14.04"]);
        fs::remove_dir_all(place.image()).unwrap();
    }
}

#[test]
fn without_curl_and_wget_there_is_still_a_stand_in() {
    let place = Place::new();
    let path = place.path_without(&["curl", "wget"]);
    let build = |arguments: &[&str]| {
        finish(place.command(place.script("build")).args(arguments).env("PATH", &path))
    };
    build(&["trusty"]).fails_with(&["neither curl nor wget", "hint:"]);
    build(&["--or-stand-in", "trusty"]).succeeds_with(&["neither curl nor wget", "NOT Ubuntu"]);
}

#[test]
fn a_stand_in_is_kept_without_asking_anybody() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    place.build_from(&["--or-stand-in", "trusty"], "https://127.0.0.1:1").succeeds_with(&[]);
    let publisher = signed.publish();
    place
        .build(&["--or-stand-in", "trusty"], &publisher, &signed.key)
        .succeeds_with(&["stand-in for Ubuntu 14.04", "make trusty"]);
    assert_eq!(publisher.requests(), [""; 0]);
    assert!(place.has_stand_in());
}

#[test]
fn a_real_image_replaces_a_stand_in() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    place.build_from(&["--or-stand-in", "trusty"], "https://127.0.0.1:1").succeeds_with(&[]);
    place.build(&["trusty"], &signed.publish(), &signed.key).succeeds_with(&["finished"]);
    assert!(place.has_real_image() && !place.has_stand_in());
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn a_stand_in_stays_where_the_real_image_can_not_be_had() {
    let place = Place::new();
    place.build_from(&["--or-stand-in", "trusty"], "https://127.0.0.1:1").succeeds_with(&[]);
    place
        .build_from(&["trusty"], "https://127.0.0.1:1")
        .fails_with(&["can't be fetched", "the stand-in stays in place"]);
    assert!(place.has_stand_in());
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn an_ordinary_user_makes_a_stand_in() {
    let place = Place::new();
    let image = place.path("made by hand");
    let mut command = place.command(place.script("stand-in"));
    finish(place.as_ordinary_user(command.arg(&image))).succeeds_with(&["programs of"]);
    let names = ["root", "nobody"];
    for file in ["etc/passwd", "etc/group"] {
        let text = fs::read_to_string(image.join(file)).unwrap();
        let user = if file == "etc/group" { "nogroup" } else { names[1] };
        assert!(text.starts_with("root:x:0:") && text.contains(user), "{file}: {text}");
    }
    assert_eq!(fs::metadata(image.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    for directory in ["proc", "sys", "dev", "etc", "root", "home", "run", "var/tmp"] {
        assert!(image.join(directory).is_dir(), "{directory}");
    }
    // Nothing in it may lead out of it again.
    let finding = Command::new("find").arg(&image).args(["-type", "l", "-lname", "/*"]).output();
    assert_eq!(String::from_utf8_lossy(&finding.unwrap().stdout), "");
}

#[test]
fn the_programs_of_a_stand_in_run_in_it() {
    let place = Place::new();
    let image = place.path("image");
    finish(place.command(place.script("stand-in")).arg(&image)).succeeds_with(&[]);
    require!(may_unshare(&["-m", "-p", "-f"]), "needs root: chroot, and a PID namespace for ps");
    let inside = |line: &str| {
        let mut command = place.command("unshare");
        command.args(["-m", "-p", "-f", "chroot"]).arg(&image);
        finish(
            command
                .args(["sh", "-c"])
                .arg(format!("export PATH=/bin; mount -t proc proc /proc && {line}")),
        )
    };
    let outcome = inside("ps aux && cat /etc/issue && ls -l / && id -un && command -v bash");
    outcome.succeeds_with(&["PID", "ps aux", "stand-in for Ubuntu 14.04", "root", "/bash"]);
    // 127: not found, or its libraries are not.
    let every = "cd /usr/bin && for program in *; do \
                 ./$program --help </dev/null >/tmp/out 2>&1; status=$?; \
                 [ $status != 127 ] || { echo \"$program: $(cat /tmp/out)\"; exit 1; }; done";
    inside(every).succeeds_with(&[]);
}

#[test]
fn a_missing_ps_is_named_with_its_package() {
    let place = Place::new();
    require!(may_unshare(&["-m"]), "needs root: ps is hidden under a mount of its own");
    let image = place.path("image");
    // PATH can't hide it: stand-in looks into the system's own directories first.
    let hide = "mount --bind /dev/null \"$(command -v ps)\" && exec \"$@\"";
    let mut command = place.command("unshare");
    command.args(["-m", "sh", "-c", hide, "sh"]).arg(place.script("stand-in")).arg(&image);
    finish(&mut command).succeeds_with(&["no ps on this machine", "procps"]);
    assert!(!image.join("bin/ps").exists() && image.join("bin/sh").exists());
}

#[test]
fn a_stand_in_takes_no_directory_that_holds_something() {
    let place = Place::new();
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "").unwrap();
    finish(place.command(place.script("stand-in")).arg(&full)).fails_with(&["not an empty"]);
    assert!(full.join("precious").exists());
}

// --- Builds that do not go as they should ---

#[test]
fn a_failed_build_leaves_no_half_image() {
    let place = Place::new();
    let Some(mut signed) = place.signed_release() else { return };
    // Published and signed as it is, but half of it is missing.
    signed.release.tarball.truncate(signed.release.tarball.len() / 2);
    signed.release.sum_up();
    signed.signature = signed.key.sign(signed.release.sums.as_bytes());
    place.build(&["trusty"], &signed.publish(), &signed.key).fails_with(&["can't be unpacked"]);
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    for (signal, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        if is_ignored(number) {
            skip(&format!("SIG{signal} is ignored here, and no shell can catch it then"));
            continue;
        }
        let place = Place::new();
        let Some(signed) = place.signed_release() else { return };
        let publisher = signed.publish_with_stalling_tarball();
        let mut child = place.start(&["trusty"], &publisher, &signed.key);
        publisher.wait_for_stall();
        assert_eq!(place.directories().len(), 1, "the build happens aside");
        kill(signal, child.id());
        publisher.wait_for_hang_up(); // the download has ended, too
        assert_eq!(child.wait().unwrap().code(), Some(128 + number), "SIG{signal}");
        assert_eq!(place.directories(), [""; 0], "SIG{signal}");
    }
}

#[test]
fn what_sigkill_leaves_is_removed_by_the_next_build() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish_with_stalling_tarball();
    let mut child = place.start(&["trusty"], &publisher, &signed.key);
    publisher.wait_for_stall();
    child.kill().unwrap();
    child.wait().unwrap();
    let left = place.directories();
    assert!(left.len() == 1 && left[0].starts_with(".trusty.build."), "{left:?}");
    place.build(&["trusty"], &signed.publish(), &signed.key).succeeds_with(&["finished"]);
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn two_builds_at_once_make_one_whole_image() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    // Each has its tarball at the same moment, so that they meet at the end.
    let builds = 3;
    let publisher = signed.publish_tarball_to_all_at_once(builds);
    let children: Vec<Child> =
        (0..builds).map(|_| place.start(&["trusty"], &publisher, &signed.key)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert!(place.has_real_image());
    assert_eq!(place.directories(), ["trusty"]);
    let nested = fs::read_dir(place.image()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("image.")
    });
    assert_eq!(nested.count(), 0);
}

#[test]
fn a_build_that_comes_second_takes_nothing_away() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish();
    // The other build finishes between this one's last look and its mv.
    let path = place.path_without(&["mv"]);
    let mv = find("mv").unwrap();
    let script = format!(
        "#!/bin/sh\n[ -e rootfs/trusty ] || {{ mkdir rootfs/trusty; : >rootfs/trusty/theirs; }}\n\
         exec {} \"$@\"\n",
        mv.display()
    );
    fs::write(path.join("mv"), script).unwrap();
    fs::set_permissions(path.join("mv"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command(place.script("build"));
    command.arg("trusty").env("PATH", path).env("MIRROR", &publisher.url);
    finish(command.env("KEYRING", &signed.key.public))
        .succeeds_with(&["another build has finished meanwhile"]);
    let left = fs::read_dir(place.image()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["theirs"]);
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn a_stand_in_never_wins_over_a_real_image() {
    let place = Place::new();
    let Some(signed) = place.signed_release() else { return };
    let publisher = signed.publish();
    let mut stand_in = place
        .command(place.script("build"))
        .args(["--or-stand-in", "trusty"])
        .env("MIRROR", "https://127.0.0.1:1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    place.build(&["trusty"], &publisher, &signed.key).succeeds_with(&[]);
    assert!(stand_in.wait().unwrap().success());
    assert!(place.has_real_image() && !place.has_stand_in());
    assert_eq!(place.directories(), ["trusty"]);
}

#[test]
fn removing_an_image_does_not_reach_into_a_mount() {
    let place = Place::new();
    require!(may_unshare(&["-m"]), "needs root: something has to be mounted below the image");
    place.build_from(&["--or-stand-in", "trusty"], "https://127.0.0.1:1").succeeds_with(&[]);
    let precious = place.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "").unwrap();
    // In a mount namespace of their own, where nothing is left behind.
    let script = |before: &str| {
        let line = format!("mount --bind \"$1\" \"$2\" && {before} \"$3\" --remove trusty");
        let mut command = place.command("unshare");
        command.args(["-m", "sh", "-c", &line, "sh"]).arg(&precious);
        finish(command.arg(place.image().join("mnt")).arg(place.script("build")))
    };
    script("cd \"$2\" &&").fails_with(&["in use", "nothing was removed"]);
    assert!(precious.join("file").exists() && place.has_stand_in());
    script("").succeeds_with(&["rootfs/trusty: removed"]);
    assert!(precious.join("file").exists());
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn a_wrong_name_is_answered_with_the_right_ones() {
    let place = Place::new();
    place
        .build_from(&["nonesuch"], "https://127.0.0.1:1")
        .fails_with(&["no rootfs/nonesuch.recipe", "bookworm jessie trusty"]);
    for name in ["../tests", ".git", "--nonsense"] {
        place.build_from(&[name], "https://127.0.0.1:1").fails_with(&["hint: rootfs/build"]);
        place.build_from(&["--remove", name], "https://127.0.0.1:1").fails_with(&["hint:"]);
    }
}

// --- Debian images (built for real by hand and in CI: they need a mirror) ---

#[test]
fn a_debian_image_asks_for_root_before_anything_else() {
    require!(is_root(), "needs root, to become an ordinary user for certain");
    let place = Place::new();
    for name in ["jessie", "bookworm"] {
        let mut command = place.command(place.script("build"));
        finish(place.as_ordinary_user(command.arg(name)))
            .fails_with(&["needs root", &format!("sudo make {name}")]);
    }
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn a_mirror_without_jessie_is_answered_with_what_helps() {
    require!(is_root() && have("debootstrap") && have("gpgv"), "needs root, debootstrap and gpgv");
    let place = Place::new();
    let Some(key) = Key::new(&place, "debian") else { return };
    let publisher = Publisher::new([]);
    place.build(&["jessie"], &publisher, &key).fails_with(&[
        "suite jessie is not on",
        &publisher.url,
        "MIRROR=",
        "make jessie SUITE=bookworm",
    ]);
    assert_eq!(publisher.requests(), ["InRelease", "Release"], "quickly, without debootstrap");
    let mut command = place.command(place.script("build"));
    command.arg("jessie").env("MIRROR", nobody_listens()).env("KEYRING", &key.public);
    finish(&mut command).fails_with(&["no mirror can be reached", "MIRROR="]);
    assert_eq!(place.directories(), [""; 0]);
}

#[test]
fn a_debian_image_is_not_built_without_keys() {
    require!(is_root() && have("debootstrap"), "needs root and debootstrap");
    let place = Place::new();
    let publisher = Publisher::new([]);
    let mut command = place.command(place.script("build"));
    command.arg("bookworm").env("MIRROR", &publisher.url);
    finish(command.env("KEYRING", place.path("nonesuch")))
        .fails_with(&["KEYRING", "can't be read"]);
    assert_eq!(publisher.requests(), [""; 0]);
}

// --- Programs of another architecture ---

#[test]
fn a_handler_that_is_not_needed_is_not_registered() {
    let place = Place::new();
    let binfmt = |arguments: &[&str]| finish(place.command(place.script("binfmt")).args(arguments));
    if matches!(std::env::consts::ARCH, "x86_64" | "aarch64" | "arm") {
        binfmt(&["register", std::env::consts::ARCH]).succeeds_with(&["without help"]);
    }
    binfmt(&["register", "pdp11"]).fails_with(&["pdp11: unknown architecture", "aarch64"]);
    binfmt(&["nonsense"]).fails_with(&["hint: rootfs/binfmt register"]);
}

/// Since Linux 6.7 a user namespace has a binfmt_misc of its own, so this changes nothing outside.
fn in_a_binfmt_of_its_own(place: &Place, script: &str) -> Option<Outcome> {
    let namespaces = ["-U", "-r", "-m", "sh", "-euc"];
    let mount =
        "mount -t binfmt_misc somebody /proc/sys/fs/binfmt_misc; cd /proc/sys/fs/binfmt_misc";
    let foreign = foreign_arch();
    if !have(&format!("qemu-{foreign}-static")) {
        skip(&format!("qemu-{foreign}-static is not installed"));
        return None;
    }
    let run = |script: &str| {
        let mut command = place.command("unshare");
        finish(
            command.args(namespaces).args([script, "sh"]).arg(place.script("binfmt")).arg(foreign),
        )
    };
    if !run(&format!("{mount}; [ -z \"$(ls | grep -v -e register -e status)\" ]")).ok {
        skip("needs user namespaces with a binfmt_misc of their own (Linux 6.7)");
        return None;
    }
    Some(run(&format!("{mount}; {script}")))
}

fn foreign_arch() -> &'static str {
    if matches!(std::env::consts::ARCH, "aarch64" | "arm") { "x86_64" } else { "arm" }
}

#[test]
fn remove_takes_away_what_register_made_and_nothing_else() {
    let place = Place::new();
    let script = "printf ':theirs:M::xyz::/bin/sh:' >register; \
                  \"$1\" register $2; cat tinyctr-$2; \"$1\" register $2; \
                  \"$1\" remove; ls; \"$1\" remove";
    let Some(outcome) = in_a_binfmt_of_its_own(&place, script) else { return };
    outcome.succeeds_with(&["flags: PF", "is there already", "removed", "nothing here that"]);
    assert!(outcome.text.contains("\ntheirs\n"), "{}", outcome.text);
    assert!(!outcome.text.contains("unmounted"), "it was mounted by somebody else");
}

#[test]
fn a_mount_that_register_made_goes_with_its_last_handler() {
    let place = Place::new();
    let script = "cd /; umount /proc/sys/fs/binfmt_misc; \
                  [ ! -e /proc/sys/fs/binfmt_misc/register ] || { echo outer one; exit 0; }; \
                  \"$1\" register $2; \"$1\" remove; [ ! -e /proc/sys/fs/binfmt_misc/register ]";
    let Some(outcome) = in_a_binfmt_of_its_own(&place, script) else { return };
    if outcome.text.contains("outer one") {
        return skip("this machine has binfmt_misc mounted, so register mounts nothing");
    }
    outcome.succeeds_with(&["binfmt_misc: mounted", "binfmt_misc: unmounted"]);
}

#[test]
fn a_handler_without_the_f_flag_is_refused() {
    let place = Place::new();
    let script = "\"$1\" register $2; \
                  qemu=$(sed -n 's/^interpreter //p' tinyctr-$2); \
                  hex() { sed -n \"s/^$1 //p\" tinyctr-arm | sed 's/../\\\\x&/g'; }; \
                  line=\":theirs:M::$(hex magic):$(hex mask):$qemu:\"; \
                  \"$1\" remove; printf '%s' \"$line\" >register; \"$1\" register $2";
    require!(foreign_arch() == "arm", "written for machines that are not arm");
    let Some(outcome) = in_a_binfmt_of_its_own(&place, script) else { return };
    outcome.fails_with(&["theirs lacks the F flag", "inside a container"]);
}

// --- A place of its own for each test ---

struct Place {
    temporary: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let temporary = tempfile::Builder::new().prefix("tinyctr images ").tempdir().unwrap();
        // For the tests that become an ordinary user.
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let scripts = temporary.path().join("rootfs");
        fs::create_dir(&scripts).unwrap();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), scripts.join(entry.file_name())).unwrap();
            }
        }
        Place { temporary }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn script(&self, name: &str) -> PathBuf {
        self.path("rootfs").join(name)
    }

    fn image(&self) -> PathBuf {
        self.script("trusty")
    }

    fn has_real_image(&self) -> bool {
        fs::read_to_string(self.image().join("etc/issue"))
            .is_ok_and(|issue| issue == "the real one")
    }

    fn has_stand_in(&self) -> bool {
        self.image().join("etc/tinyctr-stand-in").exists()
    }

    /// What there is beside the scripts: images, and whatever builds have left.
    fn directories(&self) -> Vec<String> {
        fs::read_dir(self.path("rootfs"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    /// A command that nothing in the caller's environment leads elsewhere.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for name in ["MIRROR", "KEYRING", "SUITE", "CURL_CA_BUNDLE", "WGETRC", "CDPATH"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.env("HOME", self.temporary.path()).current_dir(self.temporary.path());
        command
    }

    fn build(&self, arguments: &[&str], publisher: &Publisher, key: &Key) -> Outcome {
        let mut command = self.command(self.script("build"));
        command.args(arguments).env("MIRROR", &publisher.url).env("KEYRING", &key.public);
        finish(&mut command)
    }

    fn build_from(&self, arguments: &[&str], mirror: &str) -> Outcome {
        finish(self.command(self.script("build")).args(arguments).env("MIRROR", mirror))
    }

    /// A build that goes on while the test does something.
    fn start(&self, arguments: &[&str], publisher: &Publisher, key: &Key) -> Child {
        let mut command = self.command(self.script("build"));
        command.args(arguments).env("MIRROR", &publisher.url).env("KEYRING", &key.public);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Root becomes nobody, who owns the place from then on; anybody else stays who he is.
    fn as_ordinary_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if is_root() {
            for directory in [self.temporary.path(), self.path("rootfs").as_path()] {
                chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn signed_release(&self) -> Option<Signed> {
        let key = Key::new(self, "publisher")?;
        let release = Release::new(self);
        let signature = key.sign(release.sums.as_bytes());
        Some(Signed { release, signature, key: Arc::new(key) })
    }

    /// A PATH with every program of this machine but some.
    fn path_without(&self, hidden: &[&str]) -> PathBuf {
        let path = self.path("bin");
        fs::create_dir(&path).unwrap();
        let all = std::env::var_os("PATH").unwrap();
        for entry in
            std::env::split_paths(&all).filter_map(|place| fs::read_dir(place).ok()).flatten()
        {
            let entry = entry.unwrap();
            if !hidden.iter().any(|name| *name == entry.file_name()) {
                // The first place that has a program wins, as in any PATH.
                let _ = symlink(entry.path(), path.join(entry.file_name()));
            }
        }
        path
    }

    /// A PATH with nothing but busybox, and what else is named.
    fn busybox_path(&self, others: &[&str]) -> Option<PathBuf> {
        let Some(busybox) = find("busybox") else {
            skip("busybox is not installed");
            return None;
        };
        let path = self.path("busybox only");
        fs::create_dir(&path).unwrap();
        let applets = Command::new(&busybox).arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines() {
            symlink(&busybox, path.join(applet)).unwrap();
        }
        for other in others {
            symlink(find(other).unwrap(), path.join(other)).unwrap();
        }
        Some(path)
    }
}

// --- What commands do ---

struct Outcome {
    ok: bool,
    text: String,
}

impl Outcome {
    fn succeeds_with(&self, words: &[&str]) {
        assert!(self.ok, "it failed: {}", self.text);
        self.says(words);
    }

    fn fails_with(&self, words: &[&str]) {
        assert!(!self.ok, "it should have failed: {}", self.text);
        self.says(words);
    }

    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.text.contains(word), "{word:?} is missing in: {}", self.text);
        }
    }
}

fn finish(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Outcome { ok: output.status.success(), text }
}

fn kill(signal: &str, process: u32) {
    let status = Command::new("kill").args(["-s", signal]).arg(process.to_string()).status();
    assert!(status.unwrap().success());
}

/// Whether this process ignores a signal, and so hands it on ignored (nohup, or `&` in a script).
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
}

fn may_make_nodes(place: &Place) -> bool {
    let node = place.path("node");
    let mut mknod = Command::new("mknod");
    let made = mknod.arg(&node).args(["c", "1", "3"]).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}

fn may_unshare(namespaces: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    is_root() && command.args(namespaces).arg("true").status().is_ok_and(|status| status.success())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

fn is_there_in(path: &Path, program: &str) -> bool {
    path.join(program).is_file()
}

/// As /etc/os-release has it, without the code name.
fn system_name() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap();
    let name = name.trim_matches('"');
    name.split(" (").next().unwrap().to_string()
}

// --- What a publisher publishes ---

#[derive(Clone)]
struct Release {
    name: String,
    tarball: Vec<u8>,
    sums: String,
}

impl Release {
    /// A small root file system, packed.
    fn new(place: &Place) -> Release {
        let base = place.path("base");
        for directory in ["bin", "dev", "etc", "home/user", "root"] {
            fs::create_dir_all(base.join(directory)).unwrap();
        }
        fs::write(base.join("etc/issue"), "the real one").unwrap();
        // Something to unpack: enough that half of the archive is a broken archive.
        fs::write(base.join("root/data"), noise(200_000)).unwrap();
        fs::write(base.join("bin/set-user-id"), "").unwrap();
        if is_root() {
            chown(base.join("home/user"), Some(1000), Some(1000)).unwrap();
        }
        let mode = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(base.join("bin/set-user-id"), mode).unwrap();
        // Refused to ordinary users; the tarball does without then.
        let _ = Command::new("mknod")
            .arg(base.join("dev/null"))
            .args(["c", "1", "3"])
            .stderr(Stdio::null())
            .status();
        let packed = Command::new("tar").arg("-C").arg(&base).args(["-czf", "-", "."]).output();
        fs::remove_dir_all(&base).unwrap();
        let name = format!("ubuntu-base-14.04.6-base-{}.tar.gz", ubuntu_arch());
        let mut release = Release { name, tarball: packed.unwrap().stdout, sums: String::new() };
        release.sum_up();
        release
    }

    /// SHA256SUMS as Ubuntu writes it, with the sums of other files around ours.
    fn sum_up(&mut self) {
        let mut child =
            Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&self.tarball).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let sum = String::from_utf8(output).unwrap()[..64].to_string();
        let other = "0".repeat(64);
        self.sums =
            format!("{other} *before.tar.gz\n{sum} *{}\n{other} *after.tar.gz\n", self.name);
    }

    fn files(&self) -> [(&str, Answer); 2] {
        let sums = Answer::File(self.sums.clone().into_bytes());
        [("SHA256SUMS", sums), (&self.name, Answer::File(self.tarball.clone()))]
    }

    fn publish(&self) -> Publisher {
        Publisher::new(self.files())
    }
}

/// Bytes that don't compress (a linear congruential generator).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// By the kernel's word, as the recipe asks for it.
fn ubuntu_arch() -> &'static str {
    let output = Command::new("uname").arg("-m").output().unwrap().stdout;
    match String::from_utf8(output).unwrap().trim() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "ppc64le" => "ppc64el",
        machine if machine.starts_with("armv") => "armhf",
        machine if machine.ends_with("86") => "i386",
        machine => panic!("Ubuntu 14.04 has nothing for {machine}; see rootfs/trusty.recipe"),
    }
}

#[derive(Clone)]
struct Signed {
    release: Release,
    signature: Vec<u8>,
    key: Arc<Key>,
}

impl Signed {
    fn publish(&self) -> Publisher {
        let tarball = Answer::File(self.release.tarball.clone());
        self.publish_with(tarball)
    }

    fn publish_with_stalling_tarball(&self) -> Publisher {
        self.publish_with(Answer::Stall)
    }

    fn publish_tarball_to_all_at_once(&self, count: usize) -> Publisher {
        let barrier = Arc::new(Barrier::new(count));
        self.publish_with(Answer::Together(barrier, self.release.tarball.clone()))
    }

    fn publish_with(&self, tarball: Answer) -> Publisher {
        let sums = Answer::File(self.release.sums.clone().into_bytes());
        let signature = Answer::File(self.signature.clone());
        Publisher::new([
            ("SHA256SUMS", sums),
            ("SHA256SUMS.gpg", signature),
            (&self.release.name, tarball),
        ])
    }
}

/// A throw-away key in a gpg home of its own.
struct Key {
    home: PathBuf,
    public: PathBuf,
}

impl Key {
    fn new(place: &Place, name: &str) -> Option<Key> {
        if !have("gpg") || !have("gpgv") {
            skip("gpg and gpgv are not both installed");
            return None;
        }
        let home = place.path(name);
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let key = Key { home, public: place.path(&format!("{name}.gpg")) };
        let user = format!("{name}@example.invalid");
        key.gpg(&["--passphrase", "", "--quick-gen-key", &user, "ed25519", "sign", "never"], b"");
        fs::write(&key.public, key.gpg(&["--export"], b"")).unwrap();
        Some(key)
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.gpg(&["--detach-sign"], text)
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback"])
            .args(arguments)
            .env("GNUPGHOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // gpg has started an agent for this home; it would stay.
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.args(["--kill", "all"]).env("GNUPGHOME", &self.home).status().unwrap();
    }
}

// --- Publishers ---

#[derive(Clone)]
enum Answer {
    File(Vec<u8>),
    Status(u16),
    /// Begins, and never goes on.
    Stall,
    /// Goes out when as many have asked as the barrier counts.
    Together(Arc<Barrier>, Vec<u8>),
}

/// An HTTP server that knows a few files. Its threads end with the test's process.
struct Publisher {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    stalled: Receiver<()>,
    hung_up: Receiver<()>,
}

impl Publisher {
    fn new<const N: usize>(answers: [(&str, Answer); N]) -> Publisher {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers.map(|(name, answer)| (name.to_string(), answer));
        let answers = Arc::new(HashMap::from(answers));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (stall, stalled) = channel();
        let (hang_up, hung_up) = channel();
        let log = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, log) = (answers.clone(), log.clone());
                let (stall, hang_up) = (stall.clone(), hang_up.clone());
                let stream = stream.unwrap();
                std::thread::spawn(move || answer(stream, &answers, &log, &stall, &hang_up));
            }
        });
        Publisher { url, requests, stalled, hung_up }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn wait_for_stall(&self) {
        self.stalled.recv_timeout(PATIENCE).expect("the download begins");
    }

    /// Sooner than curl and wget give up a stalled download themselves (30 seconds).
    fn wait_for_hang_up(&self) {
        self.hung_up.recv_timeout(Duration::from_secs(15)).expect("the download is ended");
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &HashMap<String, Answer>,
    log: &Mutex<Vec<String>>,
    stall: &Sender<()>,
    hang_up: &Sender<()>,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.find(|line| line.is_empty()); // the rest of the request's head
    let name = request.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_string();
    let found = answers.get(&name).cloned().unwrap_or(Answer::Status(404));
    log.lock().unwrap().push(name);
    // A client that goes away in between is not this side's trouble.
    let _ = match found {
        Answer::File(bytes) => send(&mut stream, 200, &bytes),
        Answer::Status(status) => send(&mut stream, status, b"no\n"),
        Answer::Together(barrier, bytes) => {
            barrier.wait();
            send(&mut stream, 200, &bytes)
        }
        Answer::Stall => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe first bytes";
            let begun = stream.write_all(head.as_bytes());
            let _ = stall.send(());
            let _ = stream.read(&mut [0]); // returns when the client has hung up
            let _ = hang_up.send(());
            begun
        }
    };
}

fn send(stream: &mut TcpStream, status: u16, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Because\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// An address where a connection is refused.
fn nobody_listens() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The release by https, with a certificate that nobody knows unless he is told.
struct Https {
    url: String,
    certificate: PathBuf,
    server: Child,
}

impl Https {
    fn new(place: &Place, release: &Release) -> Option<Https> {
        if !have("openssl") {
            skip("openssl is not installed");
            return None;
        }
        let directory = place.path("https");
        fs::create_dir(&directory).unwrap();
        for (name, answer) in release.files() {
            if let Answer::File(bytes) = answer {
                fs::write(directory.join(name), bytes).unwrap();
            }
        }
        let made = place
            .command("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let certificate = place.path("certificate.pem");
        let mut server = place
            .command("openssl")
            .args(["s_server", "-WWW", "-accept", "127.0.0.1:0", "-key", "../key.pem"])
            .args(["-cert", "../certificate.pem"])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = server.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_string));
        let url = format!("https://{}", address.expect("openssl says where it listens"));
        // It goes on talking, and must not stop for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Https { url, certificate, server })
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
