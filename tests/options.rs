//! The command line: what every option refuses, what is left untouched, and where an image is
//! looked for.

mod common;

use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use common::{
    NO_NAMESPACES, binary, can_contain, copy, copy_image, fails, failure, image, isolate, output,
    require, run, stdout, tempdir, tinyctr,
};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::mkdir;
use proptest::prelude::*;
use tinyctr::arch::ThinCStr;
use tinyctr::options::{self, Options, Request};

/// Runs tinyctr with `args`, which it must refuse; the object and the cause.
#[track_caller]
fn refused(args: &[&str]) -> (String, String) {
    let failure = fails(&mut tinyctr(args), 125);
    assert_eq!(failure.step, "option", "{args:?}");
    (failure.object, failure.cause)
}

// --- what is refused -----------------------------------------------------------------------------

#[test]
fn an_unknown_option_is_refused_by_its_name() {
    for option in ["--nosuch", "--nosuch=1", "-Z", "-qZ", "--n", "---", "--=", "-ZZ", "--\n"] {
        let (object, cause) = refused(&[option, "/", "true"]);
        assert_eq!(object, option.replace('\n', r"\x0a"));
        assert_eq!(cause, "unknown option");
    }
}

#[test]
fn a_missing_value_is_refused() {
    let others = ["--workdir", "-w", "-qw", "--memory", "--cpus", "--pids"];
    for option in ["--ns", "--hostname", "--env", "-e"].into_iter().chain(others) {
        assert_eq!(refused(&[option]), (option.into(), "needs a value".into()));
    }
}

#[test]
fn a_value_where_none_belongs_is_refused() {
    for option in ["--bare", "--quiet", "--verbose", "--help", "--version"] {
        let written = format!("{option}=1");
        assert_eq!(refused(&[&written, "/"]), (written.clone(), "takes no value".into()));
    }
}

#[test]
fn a_list_of_namespaces_that_names_no_such_thing_is_refused() {
    for list in ["", "uts,", ",uts", "UTS", "uts,none", "none,none", "time", "uts pid", "mount"] {
        let (object, cause) = refused(&["--ns", list, "/", "true"]);
        assert_eq!((object.as_str(), cause.as_str()), (list, "no such list of namespaces"));
    }
}

#[test]
fn a_host_name_that_cannot_be_is_refused() {
    assert_eq!(refused(&["--hostname", "", "/"]).1, "empty");
    assert_eq!(refused(&["--hostname", &"n".repeat(65), "/"]).1, "longer than 64 bytes");
    let without_uts = ["--ns", "pid,mnt", "--hostname", "x", "/"];
    assert!(refused(&without_uts).1.contains("uts namespace"));
}

#[test]
fn a_variable_without_a_name_is_refused() {
    for option in ["-e=x", "--env=", "--env==", "--env==x"] {
        assert_eq!(refused(&[option, "/", "true"]).1, "a variable needs a name", "{option}");
    }
    assert_eq!(refused(&["-e", "", "/", "true"]).1, "a variable needs a name");
}

#[test]
fn an_image_is_needed() {
    for args in [&[][..], &["run"], &["-q"], &["--"], &["run", "--bare", "--"]] {
        assert_eq!(refused(args), ("IMAGE".into(), "missing".into()), "{args:?}");
    }
    assert_eq!(refused(&["", "true"]), ("IMAGE".into(), "empty".into()));
}

#[test]
fn no_arguments_at_all_are_refused_too() {
    let mut command = Command::new(binary());
    let failure = fails(command.arg0(""), 125);
    assert_eq!(failure.told(), ("option", "IMAGE", "missing"));
}

/// What later versions will understand: with a script written for them, a wall that is missing
/// must not go unnoticed.
#[test]
fn every_reserved_option_is_refused_as_not_yet() {
    let with_value = "-v/a:/b --volume=/a:/b --tmpfs=/a --overlay=/a";
    let alone = "-v --volume --tmpfs --read-only --ephemeral --overlay -qv";
    for option in with_value.split_whitespace().chain(alone.split_whitespace()) {
        let not_yet = (option.to_owned(), "not yet in this version".to_owned());
        assert_eq!(refused(&[option, "/", "true"]), not_yet);
        assert_eq!(refused(&[option]), not_yet, "with nothing behind it");
    }
}

// --- help and version ----------------------------------------------------------------------------

#[test]
fn help_and_version_stand_on_stdout() {
    let version = concat!("tinyctr ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(stdout(&mut tinyctr(["--version"])), version);
    for option in ["--help", "-h"] {
        let help = stdout(&mut tinyctr([option]));
        for row in options::OPTIONS {
            assert!(
                help.contains(&format!("--{}", row.long(common::texts()))),
                "{}",
                row.long(common::texts())
            );
        }
        assert!(help.lines().all(|line| line.len() <= 80), "it fits a terminal");
    }
    assert_eq!(stdout(&mut tinyctr(["-q", "--bare", "--version", "--nosuch"])), version);
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for option in ["--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has one");
        let child = tinyctr([option]).stdout(full).stderr(std::process::Stdio::piped()).spawn();
        let said = child.expect("tinyctr starts").wait_with_output().expect("it ends");
        assert_eq!(said.status.code(), Some(125));
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert_eq!(stderr, "tinyctr: output: stdout: ENOSPC (No space left on device)\n");
    }
}

// --- what is left untouched ----------------------------------------------------------------------

#[test]
fn a_leading_run_is_ignored_and_two_dashes_end_the_options() {
    let echo = ["/", "echo", "--ns", "-q", "--"];
    for before in [&["run"][..], &["--"], &["run", "--"], &["-q", "--"], &[]] {
        let (run, dashes): (Vec<&str>, Vec<&str>) = before.iter().partition(|word| **word == "run");
        let mut command = tinyctr(run);
        command.args(["--ns", "none"]).args(dashes).args(echo);
        assert_eq!(stdout(&mut command), "--ns -q --\n", "{before:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_reach_the_command_untouched() {
    require!(can_contain(), NO_NAMESPACES);
    let all: Vec<u8> = (1..=255).collect();
    let mut value = b"ALL=".to_vec();
    value.extend(&all);
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut command = tinyctr([word(b"-e"), word(&value), image().into()]);
    command.args(["sh", "-c", "cat /proc/$$/cmdline /proc/$$/environ", "sh"]);
    command.args([word(&all), word(b""), word(b"\xff\xfe")]);
    let said = output(&mut command).stdout;
    let words: Vec<&[u8]> = said.split(|&byte| byte == 0).collect();
    assert_eq!(words[3..7], [b"sh", &all[..], b"", b"\xff\xfe"]);
    assert!(words.contains(&&value[..]), "the variable");
}

#[test]
fn names_that_are_not_utf8_are_paths_and_working_directories_like_others() {
    require!(can_contain(), NO_NAMESPACES);
    let (_directory, image) = common::copy_of_image("bytes");
    let odd = OsString::from_vec(b"odd \xff".to_vec());
    let odd_image = image.with_file_name(&odd);
    fs::rename(&image, &odd_image).expect("the directory is ours");
    fs::create_dir(odd_image.join(&odd)).expect("the image is a copy of ours");
    let mut command = tinyctr(["-w"]);
    command.arg(&odd).arg(&odd_image).args(["sh", "-c", "pwd; cat /proc/sys/kernel/hostname"]);
    assert_eq!(output(&mut command).stdout, b"/odd \xff\nodd \xff\n");
}

// --- where an image is looked for ----------------------------------------------------------------

/// A directory of images that are not there yet, and tinyctr's own copy of itself.
struct Places {
    directory: tempfile::TempDir,
    binary: PathBuf,
}

impl Places {
    fn new() -> Places {
        let directory = tempdir();
        for place in ["cwd", "own", "listed", "listed-later", "images"] {
            fs::create_dir(directory.path().join(place)).expect("the directory is ours");
        }
        let own = directory.path().join("own/tinyctr");
        copy(binary(), &own);
        Places { directory, binary: own }
    }

    fn path(&self, place: &str) -> PathBuf {
        self.directory.path().join(place)
    }

    /// Puts an image there that is known by its link's target. Returns its place.
    fn put(&self, place: &str) -> PathBuf {
        let link = self.path(place);
        let parent = link.parent().expect("it is below our directory");
        fs::create_dir_all(parent).expect("the directory is ours");
        let real = self.path("images").join(place.replace('/', "-"));
        copy_image(&real);
        fs::write(real.join("etc/found"), place).expect("the image is a copy of ours");
        symlink(real, &link).expect("the directory is ours");
        link
    }

    /// The place where `name` is found, or what is said if it isn't.
    fn find(&self, name: &str) -> Result<String, common::Failure> {
        let mut command = Command::new(&self.binary);
        let listed = format!("{}:/nosuch::", self.path("listed").display());
        let listed = format!("{listed}{}", self.path("listed-later").display());
        command.arg(name).args(["cat", "/etc/found"]).current_dir(self.path("cwd"));
        let said = run(command.env("TINYCTR_PATH", listed).stdin(std::process::Stdio::null()));
        match said.code {
            Some(0) => Ok(said.stdout),
            Some(125) => Err(failure(&said)),
            _ => panic!("{name}: {said:?}"),
        }
    }
}

#[test]
fn a_name_is_looked_up_place_by_place() {
    require!(can_contain(), NO_NAMESPACES);
    let places = Places::new();
    // From the last place to the first: each is preferred to those before it here.
    for place in ["own/rootfs/x", "cwd/rootfs/x", "listed-later/x", "listed/x"] {
        let link = places.put(place);
        assert_eq!(places.find("x").expect("it is there"), place);
        assert!(link.exists());
    }
}

#[test]
fn the_systems_own_places_come_last() {
    require!(can_contain(), NO_NAMESPACES);
    let place = |name: &CStr| {
        let mut command = tinyctr(["x", "cat", "/proc/sys/kernel/hostname"]);
        isolate(&mut command, CloneFlags::CLONE_NEWNS);
        let name = name.to_owned();
        let source = CString::new(image().to_str().expect("our own path")).expect("no NUL");
        // SAFETY: system calls only; nothing here allocates.
        unsafe {
            command.pre_exec(move || {
                let none: Option<&CStr> = None;
                mount(none, c"/var/lib", Some(c"tmpfs"), MsFlags::empty(), none)?;
                mkdir(c"/var/lib/machines", Mode::S_IRWXU)?;
                mkdir(c"/var/lib/tinyctr", Mode::S_IRWXU)?;
                mkdir(name.as_c_str(), Mode::S_IRWXU)?;
                let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
                Ok(mount(Some(source.as_c_str()), name.as_c_str(), none, bind, none)?)
            })
        };
        stdout(&mut command)
    };
    assert_eq!(place(c"/var/lib/machines/x"), "x\n");
    assert_eq!(place(c"/var/lib/tinyctr/x"), "x\n");
}

#[test]
fn a_name_that_is_nowhere_lists_the_places_in_their_order() {
    let places = Places::new();
    let failure = places.find("x").expect_err("it is nowhere");
    assert_eq!(failure.told(), ("image", "x", "ENOENT (No such file or directory)"));
    let place = |place: &str| places.path(place).display().to_string();
    let expected = [
        &place("listed/x"),
        "/nosuch/x",
        &place("listed-later/x"),
        "./rootfs/x",
        &place("own/rootfs/x"),
        "/var/lib/tinyctr/x",
        "/var/lib/machines/x",
        "/rootfs-x",
    ];
    assert_eq!(failure.hint, Some(format!("looked for as {}", expected.join(", "))));
}

#[test]
fn a_file_is_no_image_and_the_look_up_goes_on() {
    require!(can_contain(), NO_NAMESPACES);
    let places = Places::new();
    fs::write(places.path("listed/x"), "").expect("the directory is ours");
    places.put("cwd/rootfs/x");
    assert_eq!(places.find("x").expect("it is there"), "cwd/rootfs/x");
}

#[test]
fn a_single_file_image_is_not_yet_understood() {
    for suffix in ["squashfs", "erofs", "ext4", "img"] {
        let places = Places::new();
        fs::write(places.path("listed").join(format!("x.{suffix}")), "").expect("it is ours");
        let failure = places.find("x").expect_err("it is a file");
        assert_eq!(failure.step, "image", "{suffix}");
        assert!(failure.object.starts_with("x: a single-file image"), "{failure:?}");
        assert_eq!(failure.cause, "not yet in this version");
    }
}

#[test]
fn at_one_place_a_directory_comes_before_a_file() {
    require!(can_contain(), NO_NAMESPACES);
    let places = Places::new();
    fs::write(places.path("listed/x.squashfs"), "").expect("the directory is ours");
    places.put("listed/x");
    assert_eq!(places.find("x").expect("it is there"), "listed/x");
}

#[test]
fn an_image_with_a_slash_is_a_path_and_not_looked_up() {
    require!(can_contain(), NO_NAMESPACES);
    let places = Places::new();
    places.put("listed/x");
    places.put("cwd/sub/x");
    places.put("cwd/y");
    let absolute = places.path("cwd/y").display().to_string();
    for (image, found) in [
        ("./y", "cwd/y"),
        ("y/", "cwd/y"),
        ("y///", "cwd/y"),
        ("sub/x", "cwd/sub/x"),
        ("sub/../y", "cwd/y"),
        ("../cwd/y", "cwd/y"),
        (&absolute, "cwd/y"),
        (&format!("/{absolute}//"), "cwd/y"),
    ] {
        assert_eq!(places.find(image).as_deref(), Ok(found), "{image}");
    }
    assert_eq!(places.find("./x").expect_err("it isn't here").step, "bind root");
}

#[test]
fn the_working_directory_can_be_the_image() {
    require!(can_contain(), NO_NAMESPACES);
    for image_word in [".", "./", "./.", "../image", "etc/.."] {
        let mut command = tinyctr([image_word, "cat", "/etc/issue"]);
        let issue = fs::read_to_string(image().join("etc/issue")).expect("the image has one");
        assert_eq!(stdout(command.current_dir(image())), issue, "{image_word}");
    }
    let mut command = tinyctr(["..", "cat", "/proc/sys/kernel/hostname"]);
    assert_eq!(stdout(command.current_dir(image().join("etc"))), "tinyctr\n", "it has no name");
}

// --- the parser, given anything ------------------------------------------------------------------

/// Words that mean something more often than bytes at random would.
fn word() -> impl Strategy<Value = CString> {
    let known = options::OPTIONS.iter().flat_map(|row| {
        let short = row.short.map(|letter| format!("-{}", char::from(letter)));
        [
            Some(format!("--{}", row.long(common::texts()))),
            Some(format!("--{}=", row.long(common::texts()))),
            short,
        ]
    });
    let mut known: Vec<String> = known.flatten().collect();
    let others = ["run", "--", "-", "", "none", "uts,pid", "/", "A=1", "trusty"];
    known.extend(others.map(String::from));
    let known = prop::sample::select(known).prop_map(String::into_bytes);
    let bytes = prop::collection::vec(1..=u8::MAX, 0..12);
    let joined = (known.clone(), bytes.clone()).prop_map(|(a, b)| [a, b].concat());
    prop_oneof![4 => known, 1 => bytes, 2 => joined]
        .prop_map(|bytes| CString::new(bytes).expect("none of them is NUL"))
}

/// Parses `words`, and hands the result to `look`.
fn parsed<R>(
    words: &[CString],
    look: impl FnOnce(Result<(Request, Options), tinyctr::error::Error>) -> R,
) -> R {
    let mut argv: Vec<_> = words.iter().map(|word| Some(ThinCStr::new(word))).collect();
    argv.push(None);
    let mut options = Options::none();
    let request = options.parse(&argv);
    look(request.map(|request| (request, options)))
}

fn bytes_of<'a>(words: impl IntoIterator<Item = &'a CString>) -> Vec<&'a CStr> {
    words.into_iter().map(CString::as_c_str).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_accepted_has_an_image_and_an_untouched_command(
        words in prop::collection::vec(word(), 0..10),
    ) {
        parsed(&words, |request| {
            let Ok((Request::Run, options)) = request else { return Ok(()) };
            prop_assert!(!options.image.is_empty());
            let command = options.command.iter().flatten().map(|word| word.to_cstr());
            let tail: Vec<&CStr> = [options.image].into_iter().chain(command).collect();
            prop_assert!(bytes_of(&words).ends_with(&tail));
            // It is an `argv`, and ends as one.
            prop_assert!(matches!(options.command, [] | [.., None]));
            for entry in options.environment() {
                prop_assert!(!matches!(entry.to_bytes(), [] | [b'=', ..]));
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_refusal_names_a_word_of_the_command_line(
        words in prop::collection::vec(word(), 0..10),
    ) {
        parsed(&words, |request| {
            let Err(error) = request else { return Ok(()) };
            prop_assert_eq!(error.exit_code(), 125);
            let object = error.object.to_cstr().to_bytes();
            let named = [&b"IMAGE"[..], b"--hostname", b"--env"].contains(&object)
                || words.iter().any(|word| word.as_bytes() == object)
                || words.iter().any(|word| word.as_bytes().ends_with(object));
            prop_assert!(named, "{:?}", error);
            Ok(())
        })?;
    }

    #[test]
    fn what_follows_the_image_is_never_read(
        tail in prop::collection::vec(word(), 0..10),
        options in prop::sample::subsequence(vec!["-q", "--bare", "-eA=1", "-w/x"], 0..=4),
    ) {
        let mut words: Vec<CString> =
            options.iter().map(|word| CString::new(*word).expect("no NUL")).collect();
        words.push(c"image".to_owned());
        words.extend(tail.iter().cloned());
        parsed(&words, |request| {
            let Ok((Request::Run, parsed)) = request else { panic!("{words:?} was refused") };
            prop_assert_eq!(parsed.image, c"image");
            let command: Vec<&CStr> =
                parsed.command.iter().flatten().map(|word| word.to_cstr()).collect();
            prop_assert_eq!(command, bytes_of(&tail));
            prop_assert_eq!(parsed.bare, options.contains(&"--bare"));
            Ok(())
        })?;
    }
}
