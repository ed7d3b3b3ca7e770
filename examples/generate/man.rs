//! tinyctr.1, in mdoc(7). Text from the tables stands on lines of its own, so that nothing in it
//! is taken for a macro; what comes on a macro's line is a name.

use tinyctr::error::{EXIT_CANNOT_EXECUTE, EXIT_FAILURE, EXIT_NOT_FOUND, EXIT_SIGNAL};
use tinyctr::options::{Id, NAMESPACES, OPTIONS, Opt, Value};
use tinyctr::steps::{LESSONS, Lesson};

use super::options;

/// Of the text below. The page has no other date: a copy is the same wherever it is made.
const DATE: &str = "November 23, 2026";

pub fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".Dd {DATE}\n.Dt TINYCTR 1\n.Os tinyctr {version}\n{HEAD}");
    page += ".Sh OPTIONS\nOptions end at\n.Ar IMAGE ,\nor at\n.Fl \\- .\n";
    page += ".Fl \\-opt Ar VALUE\nand\n.Fl \\-opt Ns = Ns Ar VALUE\nare the same.\n";
    page += ".Bl -tag -width Ds\n";
    options().for_each(|opt| page += &item(opt));
    page += ".El\n.Pp\nThe namespaces of\n.Fl \\-ns\nare\n";
    page += &list(NAMESPACES.iter().map(|(name, _)| format!(".Cm {name}")), "and");
    page += &reserved();
    page += &steps();
    page += ENVIRONMENT;
    page += &exit_status();
    page += TAIL;
    page
}

/// `.It Fl e , Fl \-env Ar NAME[=VALUE]` and its text.
fn item(opt: &Opt) -> String {
    let mut item = ".It ".to_owned();
    if let Some(letter) = opt.short {
        item += &format!("Fl {} , ", char::from(letter));
    }
    item += &format!("Fl \\-{}", roff(&opt.long(super::texts()).to_string()));
    let word = roff(&opt.value_name(super::texts()).to_string());
    match opt.value {
        Value::None => {}
        Value::Required => item += &format!(" Ar \"{word}\""),
        Value::Optional => item += &format!(" Ns Oo = Ns Ar \"{word}\" Oc"),
    }
    format!("{item}\n{}", sentence(&opt.help(super::texts()).to_string()))
}

fn reserved() -> String {
    let reserved = OPTIONS.iter().filter(|opt| opt.id == Id::Reserved);
    let names = list(
        reserved.map(|opt| format!(".Fl \\-{}", roff(&opt.long(super::texts()).to_string()))),
        "and",
    );
    format!(".Pp\nNot in this version yet, and refused:\n{names}")
}

fn steps() -> String {
    let told: Vec<&Lesson> =
        LESSONS.iter().filter(|lesson| !lesson.why(super::texts()).is_empty()).collect();
    let other: Vec<&Lesson> =
        LESSONS.iter().filter(|lesson| lesson.why(super::texts()).is_empty()).collect();
    let mut text = STEPS.to_owned();
    text += ".Bl -tag -width Ds\n";
    for lesson in told {
        text += &format!(".It Sy {}", roff(&lesson.name(super::texts()).to_string()));
        if !lesson.skip(super::texts()).is_empty() {
            text += &format!(" Pq Fl \\-skip Cm {}", lesson.skip(super::texts()));
        }
        text += &format!("\n{}", text_lines(&lesson.why(super::texts()).to_string()));
        if !lesson.without(super::texts()).is_empty() {
            text += &format!(
                "Without it:\n{}",
                text_lines(&lesson.without(super::texts()).to_string())
            );
        }
    }
    text += ".El\n.Pp\nIn messages there are also\n";
    text + &list(other.iter().map(|lesson| format!(".Sy {}", lesson.name(super::texts()))), "and")
}

fn exit_status() -> String {
    let mut text = ".Sh EXIT STATUS\nThat of\n.Ar COMMAND ,\nor:\n.Bl -tag -width Ds\n".to_owned();
    let rows = [
        (EXIT_FAILURE.to_string(), "failed, a wrong option included"),
        (EXIT_CANNOT_EXECUTE.to_string(), "found a COMMAND that can't be executed"),
        (EXIT_NOT_FOUND.to_string(), "did not find COMMAND"),
    ];
    for (code, what) in rows {
        text += &format!(".It {code}\n.Nm\n{}", text_lines(&format!("{what}.")));
    }
    text + &format!(".It {EXIT_SIGNAL} + N\nSignal N ended the command.\n.El\n")
}

// --- roff --------------------------------------------------------------------------------------

/// Macro lines, the last one behind `and`; a comma after each but the last two, then a full stop.
fn list(lines: impl Iterator<Item = String>, and: &str) -> String {
    let lines: Vec<String> = lines.collect();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let left = lines.len() - at;
        if left == 1 && at > 0 {
            text += &format!("{and}\n");
        }
        let mark = [" .", "", " ,"][(left - 1).min(2)];
        text += &format!("{line}{mark}\n");
    }
    text
}

/// A help text is a phrase; the manual is made of sentences.
fn sentence(help: &str) -> String {
    let mut chars = help.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    let text: String = first.chain(chars).collect();
    text_lines(&format!("{}.", text.trim_end_matches('.')))
}

/// Text lines: each sentence begins on one.
fn text_lines(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = String::new();
    for sentence in one_line.replace(". ", ".\n").split('\n') {
        let leader = if sentence.starts_with(['.', '\'']) { "\\&" } else { "" };
        lines += &format!("{leader}{}\n", roff(sentence));
    }
    lines
}

/// Characters that roff would take for its own: the escape, and `-`, `` ` ``, `^`, `~`, which it
/// prints as another sign than the one that is typed.
fn roff(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' => escaped += "\\e",
            '-' => escaped += "\\-",
            '`' => escaped += "\\(ga",
            '\'' => escaped += "\\(aq",
            '"' => escaped += "\\(dq",
            '^' => escaped += "\\(ha",
            '~' => escaped += "\\(ti",
            c => escaped.push(c),
        }
    }
    escaped
}

// --- what no table has ---------------------------------------------------------------------------

const HEAD: &str = r#".Sh NAME
.Nm tinyctr
.Nd run a command in a container
.Sh SYNOPSIS
.Nm
.Op Ar OPTION ...
.Ar IMAGE
.Op Ar COMMAND Op Ar ARG ...
.Sh DESCRIPTION
.Nm
runs
.Ar COMMAND
in a container: a process in namespaces of its own, with
.Ar IMAGE
as its root.
Without
.Ar COMMAND
it runs the image's
.Pa /bin/bash ,
or else its
.Pa /bin/sh .
It makes the system calls itself, without a daemon and without a configuration file, and leaves
nothing behind.
A leading word
.Cm run
is ignored.
.Pp
An
.Ar IMAGE
is a directory with a file system in it.
With a slash in it,
.Ar IMAGE
is a path;
.Pa \&.
is the working directory, and
.Pa /
itself is the host's own root: then the file system is left as it is.
A bare
.Ar NAME
is looked up as
.Pp
.Bl -enum -compact
.It
.Ar NAME
in each directory of
.Ev TINYCTR_PATH
.It
.Pa ./rootfs/ Ns Ar NAME
.It
.Pa rootfs/ Ns Ar NAME
beside the executable
.It
.Pa /var/lib/tinyctr/ Ns Ar NAME
.It
.Pa /var/lib/machines/ Ns Ar NAME
.It
.Pa /rootfs\- Ns Ar NAME
.El
.Pp
and the first directory that is there is taken.
Where a place has no directory but one of
.Ar NAME Ns Pa .squashfs ,
.Ar NAME Ns Pa .erofs ,
.Ar NAME Ns Pa .ext4
or
.Ar NAME Ns Pa .img ,
the search ends there with an error: single-file images are not in this version yet.
.Pp
An ordinary user gets a user namespace too, and is root in it.
"#;

const STEPS: &str = r".Sh STEPS
What
.Nm
does, in this order; which of it, depends on the options.
Messages name the step that failed,
.Fl \-explain
tells each before it is taken, and
.Fl \-skip
leaves one out.
";

const ENVIRONMENT: &str = r".Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev TINYCTR_PATH
Directories to look for images in, separated by colons.
.El
.Pp
The command's own environment is
.Ev PATH ,
.Ev HOME ,
.Ev TERM ,
.Ev container Ns = Ns tinyctr ,
and what
.Fl e
adds.
";

const TAIL: &str = r#".Sh EXAMPLES
A command in the image
.Pa rootfs/trusty :
.Pp
.Dl # tinyctr trusty ps aux
.Pp
A shell that shares all but the host name with the host:
.Pp
.Dl # tinyctr \-\-ns uts / /bin/bash
.Pp
Each system call on both sides of the clone, with its reason:
.Pp
.Dl # tinyctr \-\-explain trusty true
.Pp
The same, without doing it and without being root:
.Pp
.Dl $ tinyctr \-\-dry\-run \-\-explain trusty true
.Pp
What breaks where the container keeps the host's
.Pa /proc :
.Pp
.Dl # tinyctr \-\-trace=/tmp/calls \-\-skip proc trusty ps aux
.Sh DIAGNOSTICS
An error is one line on standard error,
.Dq tinyctr: STEP: OBJECT: ERRNO ,
and where one helps a second line with a hint.
Nothing of
.Nm Ap s
own goes to standard output, except for
.Fl \-help ,
.Fl \-version
and
.Fl \-dry\-run Ns = Ns Cm sh .
.Sh SEE ALSO
.Xr nsenter 1 ,
.Xr strace 1 ,
.Xr unshare 1 ,
.Xr chroot 2 ,
.Xr clone 2 ,
.Xr execve 2 ,
.Xr mount 2 ,
.Xr pivot_root 2 ,
.Xr cgroup_namespaces 7 ,
.Xr mount_namespaces 7 ,
.Xr namespaces 7 ,
.Xr pid_namespaces 7 ,
.Xr user_namespaces 7
.Sh CAVEATS
This version does not cut the capability sets and installs no system call filter: in a container
that root started, root is the host's root.
Do not run what you do not trust.
"#;
