//! STYLE.md's countable habits, and DESIGN's invariants as far as they show in the text.
//!
//! This reads the code as rustfmt leaves it: an item ends at the first `}` that stands where the
//! item began.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_COLUMNS: usize = 100;
const MAX_FUNCTION_LINES: usize = 70;
/// What the binary may be made of.
const DEPENDENCIES: [&str; 5] = ["libc", "syscalls", "bitflags", "arrayvec", "itoa"];

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of ours, by its path below the top of the project.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn read(path: &Path) -> Source {
        let relative = path.strip_prefix(home()).expect("below the top").display().to_string();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{relative}: {error}"));
        Source { path: relative, text }
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines without the unit tests, which stand at the end, and without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(index, line)| (index + 1, without_comment(line)))
    }

    /// The room that this file belongs to: `sys` for `src/sys/memory.rs` too.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").expect("a source file");
        let room = below.split('/').next().expect("not empty");
        room.strip_suffix(".rs").unwrap_or(room)
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or("") }
}

/// The files below `directory` whose names end with `.extension`.
fn files(directory: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![home().join(directory)];
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.expect("it can be read").path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|given| given == extension) {
                found.push(Source::read(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn product() -> Vec<Source> {
    files("src", "rs")
}

fn all_rust() -> Vec<Source> {
    let mut all = product();
    all.extend(files("tests", "rs"));
    all.extend(files("examples", "rs"));
    all.extend(files("fuzz/fuzz_targets", "rs"));
    all.push(Source::read(&home().join("build.rs")));
    all
}

/// The scripts: by their first line, wherever they are. Built images are not ours.
fn scripts() -> Vec<Source> {
    let mut found = Vec::new();
    for directory in ["rootfs", "tests", "bench", ".ci", "."] {
        let Ok(entries) = fs::read_dir(home().join(directory)) else { continue };
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let is_script = fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"#!"));
            let is_sourced = path.extension().is_some_and(|it| it == "sh" || it == "recipe");
            if is_script || is_sourced {
                found.push(Source::read(&path));
            }
        }
    }
    found
}

/// Fails with every complaint at once.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

// --- rooms and their levels ----------------------------------------------------------------------

/// The level of each room, as the first line of its file says it.
fn levels() -> BTreeMap<String, u32> {
    let mut levels = BTreeMap::from([("lib".to_owned(), 10)]); // the tour; all of it is at hand
    for source in product() {
        let first = source.text.lines().next().unwrap_or("");
        if let Some(rest) = first.strip_prefix("//! Level ") {
            let (level, _) = rest.split_once('.').expect("//! Level N. What it is.");
            let level = level.parse().expect("//! Level N. What it is.");
            levels.insert(source.room().to_owned(), level);
        }
    }
    levels
}

#[test]
fn every_room_says_its_level() {
    let levels = levels();
    let rooms = product().into_iter().map(|source| source.room().to_owned());
    none(rooms.filter(|room| !levels.contains_key(room)).collect());
}

#[test]
fn a_room_imports_only_rooms_of_a_lower_level() {
    let levels = levels();
    let mut complaints = Vec::new();
    for source in product() {
        let own = source.room();
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        for room in rooms_named(&code.join("\n")) {
            let is_lower = levels.get(&room).is_none_or(|level| *level < levels[own]);
            if room != own && !is_lower {
                complaints.push(format!("{}: {room} is not below {own}", source.path));
            }
        }
    }
    none(complaints);
}

/// What follows each `crate::` and `tinyctr::`, the braces of a list included.
fn rooms_named(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for path in ["crate::", "tinyctr::"] {
        for (start, _) in code.match_indices(path) {
            let rest = &code[start + path.len()..];
            match rest.strip_prefix('{') {
                None => rooms.push(identifier(rest)),
                Some(list) => rooms.extend(top_level_names(list)),
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each entry of a list, up to the brace that closes it.
fn top_level_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut entry) = (1, String::new());
    for c in list.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 || (depth == 1 && c == ',') {
            names.push(identifier(entry.trim()));
            entry.clear();
        } else {
            entry.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[test]
fn imports_are_found_in_every_spelling() {
    let code = "use crate::a;\nuse crate::{b::{self, X}, c, d::Y};\nfn f(x: crate::e::Z) {}";
    assert_eq!(rooms_named(code), ["a", "b", "c", "d", "e"]);
}

#[test]
fn every_room_is_in_the_tour() {
    let tour = Source::read(&home().join("src/lib.rs"));
    let introduction: String = tour.text.lines().filter(|line| line.starts_with("//!")).collect();
    let mut rooms: Vec<String> = levels().into_keys().collect();
    rooms.retain(|room| !["lib", "main"].contains(&room.as_str()));
    none(rooms.into_iter().filter(|room| !introduction.contains(&format!("[`{room}`]"))).collect());
}

/// In docs/architecture.md each level has a row: `| 3 | ... `options.rs` ... |`.
#[test]
fn the_map_has_every_room_on_its_level() {
    let map = Source::read(&home().join("docs/architecture.md"));
    let mut complaints = Vec::new();
    for (room, level) in levels() {
        let row_start = format!("| {level} |");
        let mut rows = map.text.lines().filter(|line| line.starts_with(&row_start));
        let names = [format!("`{room}.rs`"), format!("`{room}/`")];
        if !rows.any(|row| names.iter().any(|name| row.contains(name))) {
            complaints.push(format!("`{room}.rs` (or `{room}/`) is not in a row `{row_start}`"));
        }
    }
    for (number, line) in map.lines().filter(|(_, line)| line.starts_with("| ")) {
        for name in line.split('`').skip(1).step_by(2) {
            let is_file = name.ends_with(".rs") || name.ends_with('/');
            if is_file && !home().join("src").join(name).exists() {
                complaints.push(format!("{}:{number}: there is no src/{name}", map.path));
            }
        }
    }
    none(complaints);
}

// --- unsafe, and the doorway ---------------------------------------------------------------------

#[test]
fn unsafe_lives_in_main_sys_and_arch() {
    let mut complaints = Vec::new();
    for source in product() {
        if !["main", "sys", "arch"].contains(&source.room()) {
            let found = source.code().filter(|(_, line)| has_word(line, "unsafe"));
            complaints.extend(found.map(|(number, _)| format!("{}:{number}", source.path)));
        }
    }
    none(complaints);
}

#[test]
fn only_sys_makes_system_calls() {
    let mut complaints = Vec::new();
    for source in product().iter().filter(|source| source.room() != "sys") {
        let calls = ["syscall!", "asm!(", "syscalls::raw", "syscall_"];
        let is_call = |line: &str| calls.iter().any(|call| line.contains(call));
        // The assembly of arch: clone, and where a program begins.
        let found = source.code().filter(|(_, line)| is_call(line) && source.room() != "arch");
        complaints.extend(found.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    none(complaints);
}

#[test]
fn there_is_one_doorway() {
    let calls =
        |source: &Source| source.code().filter(|(_, line)| line.contains("syscall!(")).count();
    assert_eq!(product().iter().map(calls).sum::<usize>(), 1, "syscall!, in all of src/");
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.split(|c| !is_part(c)).any(|given| given == word)
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    let mut complaints = Vec::new();
    for source in all_rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_block = without_comment(line).contains("unsafe {");
            let quoted = line.contains("\"unsafe {");
            if is_block && !quoted && !has_comment_above(&lines[..index], "// SAFETY: ") {
                complaints.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    none(complaints);
}

/// Whether the comment that stands above the statement has `word` in it. A statement may have
/// begun a few lines before its `unsafe`.
fn has_comment_above(above: &[&str], word: &str) -> bool {
    let mut lines = above.iter().rev().map(|line| line.trim());
    let is_comment = |line: &str| line.starts_with("//");
    let ends_statement = |line: &str| line.is_empty() || line.ends_with([';', '{', '}']);
    let comment = lines.find(|line| is_comment(line) || ends_statement(line));
    let comment = comment.filter(|line| is_comment(line)).into_iter();
    comment.chain(lines.take_while(|line| is_comment(line))).any(|line| line.contains(word))
}

/// An assembler symbol of C's is left out: its contract is C's.
#[test]
fn every_unsafe_function_states_its_contract() {
    let mut complaints = Vec::new();
    for source in product() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_function = has_word(without_comment(line), "unsafe") && has_word(line, "fn");
            let is_type = line.contains("unsafe {") || line.contains("unsafe(");
            let attached = lines[..index].iter().rev().map(|line| line.trim());
            let mut attached = attached.take_while(|line| line.starts_with(['/', '#']));
            let mut is_told =
                || attached.any(|it| it == "/// # Safety" || it.contains("no_mangle"));
            if is_function && !is_type && !is_told() {
                complaints.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none(complaints);
}

// --- lengths -------------------------------------------------------------------------------------

#[test]
fn lines_have_at_most_100_columns() {
    let mut complaints = Vec::new();
    let programs = files("tests/programs", "c").into_iter().chain(files("bench", "c"));
    for source in all_rust().into_iter().chain(scripts()).chain(programs) {
        let is_long = |line: &str| line.chars().count() > MAX_COLUMNS;
        // A link can't be broken.
        let long = source.lines().filter(|(_, line)| is_long(line) && !line.contains("https://"));
        complaints.extend(long.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    none(complaints);
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut complaints = Vec::new();
    for source in all_rust() {
        for (number, name, length) in functions(&source.text) {
            if length > MAX_FUNCTION_LINES {
                complaints.push(format!("{}:{number}: {name}: {length} lines", source.path));
            }
        }
    }
    for source in scripts() {
        for (number, name, length) in shell_functions(&source.text) {
            if length > MAX_FUNCTION_LINES {
                complaints.push(format!("{}:{number}: {name}: {length} lines", source.path));
            }
        }
    }
    none(complaints);
}

/// Line, name and length of each function in `text`.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let words = ["pub", "const", "unsafe", "extern", "\"C\"", "pub(super)", "pub(crate)"];
        if before.split_whitespace().all(|word| words.contains(&word)) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            let body = lines[index..].iter();
            let length = body.take_while(|line| **line != end).count() + 1;
            let is_short = line.ends_with(['}', ';']); // all of it on one line
            found.push((index + 1, identifier(after), if is_short { 1 } else { length }));
        }
    }
    found
}

/// As `functions`, for `name() {`.
fn shell_functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.ends_with("() {"));
    let length = |start: usize| lines[start..].iter().take_while(|line| **line != "}").count() + 1;
    starts.map(|(index, line)| (index + 1, line.to_string(), length(index))).collect()
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let text = "fn a() {\n    x\n}\nimpl X {\n    pub const fn b(\n    ) {\n    }\n}\nfn c() {}\n";
    let found = functions(text);
    let lengths: Vec<(&str, usize)> =
        found.iter().map(|(_, name, length)| (name.as_str(), *length)).collect();
    assert_eq!(lengths, [("a", 3), ("b", 3), ("c", 1)]);
}

// --- what is not there ---------------------------------------------------------------------------

#[test]
fn nothing_unfinished_and_no_shortcut_is_in_the_product() {
    let unwanted = ["todo!", "unimplemented!", "dbg!", ".unwrap()", "println!", "let _ ="];
    let mut complaints = Vec::new();
    for source in product() {
        for (number, line) in source.code() {
            for word in unwanted.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    none(complaints);
}

#[test]
fn the_binary_is_made_of_few_crates() {
    let manifest = Source::read(&home().join("Cargo.toml"));
    let mut section = "";
    let mut complaints = Vec::new();
    for (number, line) in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            let inline = section.strip_prefix("dependencies.");
            if inline.is_some_and(|name| !DEPENDENCIES.contains(&name)) {
                complaints.push(format!("Cargo.toml:{number}: {section}"));
            }
        } else if section.ends_with("dependencies") && !section.ends_with("dev-dependencies") {
            let name = line.split(['=', '.']).next().unwrap_or("").trim();
            if !name.is_empty() && !name.starts_with('#') && !DEPENDENCIES.contains(&name) {
                complaints.push(format!("Cargo.toml:{number}: {name}"));
            }
        }
    }
    none(complaints);
}

#[test]
fn this_test_sees_the_files_that_it_is_about() {
    assert!(product().len() >= 15 && levels().len() >= 10, "src/");
    assert!(scripts().len() >= 2, "scripts");
    assert!(product().iter().any(|source| source.path == "src/arch/x86_64/start.rs"));
    let lines: usize = product().iter().map(|source| source.code().count()).sum();
    assert!(lines > 1000, "of code: {lines}");
}
