//! Completions for bash, zsh and fish. The words come from the tables; how a shell wants to be
//! told is in `completions/`, with a `@NAME@` for each list of words.

use tinyctr::options::{Id, NAMESPACES, Opt, Value};
use tinyctr::steps::LESSONS;

use super::options;

const BASH: &str = include_str!("completions/tinyctr.bash");
const ZSH: &str = include_str!("completions/tinyctr.zsh");
const FISH: &str = include_str!("completions/tinyctr.fish");

fn namespaces() -> String {
    let names: Vec<&str> = NAMESPACES.iter().map(|(name, _)| *name).collect();
    names.join(" ")
}

fn skippable() -> String {
    let words: Vec<String> =
        LESSONS.iter().map(|lesson| lesson.skip(super::texts()).to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    words.join(" ")
}

fn fill(template: &str, words: &[(&str, String)]) -> String {
    let mut text = template.to_owned();
    for (name, words) in words {
        text = text.replace(&format!("@{name}@"), words);
    }
    text
}

/// The first phrase of the help, on one line: before what it says of defaults.
fn summary(opt: &Opt) -> String {
    let line = opt.help(super::texts()).to_string().replace('\n', " ");
    line.split(" (default").next().unwrap_or(&line).to_owned()
}

// --- bash ----------------------------------------------------------------------------------------

pub fn bash() -> String {
    let takes_value = |opt: &&Opt| matches!(opt.value, Value::Required);
    let long = |opt: &Opt| format!("--{}", opt.long(super::texts()));
    let letters = |keep: fn(&Opt) -> bool| -> String {
        let kept = options().filter(|opt| keep(opt));
        kept.filter_map(|opt| opt.short.map(char::from)).collect()
    };
    let valued: Vec<String> = options().filter(takes_value).map(long).collect();
    let words = [
        ("OPTIONS", options().flat_map(written).collect::<Vec<_>>().join(" ")),
        ("VALUED", valued.join("|")),
        ("FLAGS", letters(|opt| !matches!(opt.value, Value::Required))),
        ("LETTERS", letters(|opt| matches!(opt.value, Value::Required))),
        ("NAMESPACES", namespaces()),
        ("STEPS", skippable()),
    ];
    fill(BASH, &words)
}

/// What can be typed for an option: `-e`, `--env`; `--dry-run`, `--dry-run=sh`.
fn written(opt: &Opt) -> Vec<String> {
    let mut words: Vec<String> =
        opt.short.map(|it| format!("-{}", char::from(it))).into_iter().collect();
    words.push(format!("--{}", opt.long(super::texts())));
    let value = opt.value_name(super::texts()).to_string();
    match opt.value {
        Value::Optional if is_word(&value) => {
            words.push(format!("--{}={value}", opt.long(super::texts())))
        }
        Value::Optional => words.push(format!("--{}=", opt.long(super::texts()))),
        Value::None | Value::Required => {}
    }
    words
}

/// Whether what an option takes is this word itself, and no description of it.
fn is_word(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_lowercase())
}

// --- zsh -----------------------------------------------------------------------------------------

pub fn zsh() -> String {
    let rows: Vec<String> = options().map(|opt| format!("        {} \\\n", zsh_row(opt))).collect();
    let words = [("OPTIONS", rows.concat()), ("NAMESPACES", namespaces()), ("STEPS", skippable())];
    fill(ZSH, &words)
}

/// `'(-w --workdir)'{-w+,--workdir=}'[working directory inside]:DIR: '`, as `_arguments` takes it.
fn zsh_row(opt: &Opt) -> String {
    let help: String = summary(opt)
        .chars()
        .flat_map(|c| ['\\', c].into_iter().skip(usize::from(!"[]:\\".contains(c))))
        .collect();
    let word = zsh_name(&opt.value_name(super::texts()).to_string());
    let (short_end, long_end, action) = match opt.value {
        Value::None => ("", "", String::new()),
        Value::Required => ("+", "=", format!(":{word}:{}", zsh_action(opt.id))),
        Value::Optional => ("", "=-", format!("::{word}:{}", zsh_action(opt.id))),
    };
    let told = quote(&format!("[{help}]{action}"));
    let long = format!("--{}{long_end}", opt.long(super::texts()));
    let repeats = opt.id == Id::Env;
    match opt.short.map(char::from) {
        None => format!("{long}{told}"),
        Some(short) => {
            let before = if repeats {
                "'*'".to_owned()
            } else {
                quote(&format!("(-{short} --{})", opt.long(super::texts())))
            };
            format!("{before}{{-{short}{short_end},{long}}}{told}")
        }
    }
}

/// `file` for `[json:]FILE`: without what may be left out.
fn zsh_name(word: &str) -> String {
    let mut depth = 0;
    let kept = word.chars().filter(|c| {
        depth += i32::from(*c == '[') - i32::from(*c == ']');
        depth == 0 && *c != ']'
    });
    kept.collect::<String>().to_lowercase()
}

fn zsh_action(id: Id) -> &'static str {
    match id {
        Id::Ns => "_tinyctr_namespaces",
        Id::Skip => "_tinyctr_steps",
        Id::Env => "_parameters -g '*export*'",
        Id::Trace => "_files",
        Id::DryRun => "(sh)",
        _ => " ", // nothing to offer: a name, or a directory inside
    }
}

/// One word for a shell of Bourne's.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

// --- fish ----------------------------------------------------------------------------------------

pub fn fish() -> String {
    let rows: Vec<String> = options().map(fish_row).collect();
    let words = [
        ("OPTIONS", rows.concat().trim_end().to_owned()),
        ("PARSED", options().map(fish_parsed).collect::<Vec<_>>().join(" ")),
        ("NAMESPACES", namespaces()),
        ("STEPS", skippable()),
    ];
    fill(FISH, &words)
}

/// `w/workdir=+`, as fish's argparse is told of an option.
fn fish_parsed(opt: &Opt) -> String {
    let short = opt.short.map(|letter| format!("{}/", char::from(letter))).unwrap_or_default();
    let value = match opt.value {
        Value::None => "",
        Value::Required => "=+",
        Value::Optional => "=?",
    };
    format!("'{short}{}{value}'", opt.long(super::texts()))
}

/// `complete -c tinyctr -n __tinyctr_before_image -s w -l workdir -x -d 'working directory inside'`
fn fish_row(opt: &Opt) -> String {
    let mut row = "complete -c tinyctr -n __tinyctr_before_image".to_owned();
    if let Some(letter) = opt.short {
        row += &format!(" -s {}", char::from(letter));
    }
    row += &format!(" -l {}", opt.long(super::texts()));
    match opt.value {
        Value::Required => row += " -x",
        Value::Optional if is_word(&opt.value_name(super::texts()).to_string()) => row += " -f",
        Value::Optional => row += " -F", // a file
        Value::None => {}
    }
    if let Some(values) = fish_values(opt) {
        row += &format!(" -a {values}");
    }
    let help = summary(opt).replace('\\', r"\\").replace('\'', r"\'");
    row + &format!(" -d '{help}'\n")
}

fn fish_values(opt: &Opt) -> Option<String> {
    let word = opt.value_name(super::texts()).to_string();
    match (opt.id, opt.value) {
        (Id::Ns, _) => Some("'(__tinyctr_namespaces)'".to_owned()),
        (Id::Skip, _) => Some(format!("'{}'", skippable())),
        (Id::Env, _) => Some("'(set -nx)'".to_owned()),
        (_, Value::Optional) if is_word(&word) => Some(word),
        _ => None,
    }
}
