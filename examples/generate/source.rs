//! Reads the project's own code, as far as the list of system calls needs it: functions, who
//! calls them, and in which step. It relies on rustfmt and on how the rooms name each other
//! (`room::function`); what it can't place is an error, not a gap.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// A file of `src/`, without comments, the contents of its strings, and its unit tests. What was
/// taken out is blank, so that places are what they were.
pub struct Source {
    /// Below the top of the project.
    pub path: String,
    pub code: String,
    pub units: Vec<Unit>,
}

/// What can be called by a name: a function, or a closure that a variable holds.
pub struct Unit {
    pub name: String,
    /// All of it, from its `fn` or `let` on.
    pub span: Range<usize>,
    /// Of a closure: the function that it can be seen in.
    scope: Option<Range<usize>>,
    /// It is called as `.name()`.
    is_method: bool,
    /// The type in whose `impl` it stands.
    owner: Option<String>,
}

/// A place in one of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub source: usize,
    pub at: usize,
}

pub struct Project(pub Vec<Source>);

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let code = blank(&text[..end]);
        Source { path: path.to_owned(), units: units(&code), code }
    }

    /// `sys` for `src/sys/memory.rs` too.
    pub fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split(['/', '.']).next().unwrap_or(below)
    }

    /// The innermost unit that `at` is in.
    pub fn unit_at(&self, at: usize) -> Option<usize> {
        let around = self.units.iter().enumerate().filter(|(_, unit)| unit.span.contains(&at));
        around.min_by_key(|(_, unit)| unit.span.len()).map(|(index, _)| index)
    }

    /// `X` of the `step(Step::X, ...)` or `skippable(Step::X, ...)` around `at`, inside its unit.
    fn step_at(&self, at: usize) -> Option<&str> {
        let span = self.unit_at(at).map(|unit| self.units[unit].span.clone())?;
        ["step", "skippable"].iter().find_map(|name| {
            words(&self.code, name).find_map(|start| {
                let open = start + name.len();
                let inside = self.code[open..].strip_prefix('(')?.trim_start();
                let step = identifier(inside.strip_prefix("Step::")?);
                let call = open..open + matching(&self.code[open..]);
                (span.contains(&start) && call.contains(&at)).then_some(step)
            })
        })
    }
}

impl Project {
    pub fn read(top: &Path) -> Result<Project, String> {
        let mut sources = Vec::new();
        let mut left = vec![top.join("src")];
        while let Some(directory) = left.pop() {
            let told = |error| format!("{}: {error}", directory.display());
            for entry in fs::read_dir(&directory).map_err(told)? {
                let path = entry.map_err(told)?.path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    let text = fs::read_to_string(&path).map_err(told)?;
                    let below = path.strip_prefix(top).unwrap_or(&path).display().to_string();
                    sources.push(Source::new(&below, &text));
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Project(sources))
    }

    /// The steps that lead to `place`; `None` among them: it is reached outside of any step.
    pub fn steps(&self, place: Place) -> Vec<Option<&str>> {
        let mut found = Vec::new();
        self.collect_steps(place, &mut Vec::new(), &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn collect_steps<'a>(
        &'a self,
        place: Place,
        seen: &mut Vec<(usize, usize)>,
        found: &mut Vec<Option<&'a str>>,
    ) {
        let source = &self.0[place.source];
        if let Some(step) = source.step_at(place.at) {
            return found.push(Some(step));
        }
        let Some(unit) = source.unit_at(place.at) else { return found.push(None) };
        if seen.contains(&(place.source, unit)) {
            return;
        }
        seen.push((place.source, unit));
        let uses = self.uses(place.source, unit);
        if uses.is_empty() {
            found.push(None);
        }
        for user in uses {
            self.collect_steps(user, seen, found);
        }
    }

    /// Where a unit is named, its own body aside.
    pub fn uses(&self, source: usize, unit: usize) -> Vec<Place> {
        let home = &self.0[source];
        let unit = &home.units[unit];
        let mut found = Vec::new();
        for (index, other) in self.0.iter().enumerate() {
            let here = index == source;
            for at in words(&other.code, &unit.name) {
                let own = here && unit.span.contains(&at);
                if !own && is_use(unit, home.room(), here, &other.code, at) {
                    found.push(Place { source: index, at });
                }
            }
        }
        found
    }
}

/// Whether the word at `at` names `unit`, which stands in `room`, and `here` in this very file.
fn is_use(unit: &Unit, room: &str, here: bool, code: &str, at: usize) -> bool {
    let (before, after) = (&code[..at], &code[at + unit.name.len()..]);
    if let Some(scope) = &unit.scope {
        return here && scope.contains(&at) && !before.ends_with(['.', ':']);
    }
    if unit.is_method {
        return before.ends_with('.') && after.starts_with('(');
    }
    if let Some(path) = before.strip_suffix("::") {
        let last = &path[path.rfind(|c: char| !is_word(c)).map_or(0, |end| end + 1)..];
        return match &unit.owner {
            Some(owner) => last == owner || (here && last == "Self"),
            None => last == room,
        };
    }
    let is_call = after.starts_with(['(', '<']) && !before.ends_with('.');
    here && unit.owner.is_none() && is_call && !before.ends_with("fn ")
}

fn units(code: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    for start in words(code, "fn") {
        let name = identifier(code[start + 2..].trim_start());
        let rest = &code[start..];
        let open = signature(rest);
        if !name.is_empty() && rest[open..].starts_with('{') {
            let end = start + open + matching(&rest[open..]);
            let is_method = words(&rest[..open], "self").next().is_some();
            let (name, owner) = (name.to_owned(), owner(code, start));
            units.push(Unit { name, span: start..end, scope: None, is_method, owner });
        }
    }
    for start in words(code, "let") {
        let rest = code[start + 3..].trim_start();
        let rest = rest.strip_prefix("mut ").unwrap_or(rest);
        let name = identifier(rest);
        let Some(value) = rest[name.len()..].trim_start().strip_prefix("= ") else { continue };
        if ["|", "&|", "&mut |", "move |"].iter().any(|start| value.starts_with(start)) {
            let body = code.len() - value.len();
            let span = start..body + statement(value);
            let scope = units.iter().filter(|unit| unit.span.contains(&start));
            let scope = scope.min_by_key(|unit| unit.span.len()).map(|unit| unit.span.clone());
            let name = name.to_owned();
            units.push(Unit { name, span, scope, is_method: false, owner: None });
        }
    }
    units
}

/// The type of the `impl` that `at` is in.
fn owner(code: &str, at: usize) -> Option<String> {
    let start = words(code, "impl").filter(|start| *start < at).last()?;
    let open = start + code[start..].find('{')?;
    if at < open || at > open + matching(&code[open..]) {
        return None;
    }
    let head = code[start + "impl".len()..open].trim();
    let head = head.strip_prefix('<').map_or(head, |it| it.split_once('>').map_or("", |it| it.1));
    let named = head.rsplit(" for ").next().unwrap_or(head).trim();
    Some(identifier(named).to_owned())
}

/// How far it is to behind the bracket that closes the one at the start.
fn matching(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    code.len()
}

/// How far it is to the `;` that ends a statement.
fn statement(code: &str) -> usize {
    up_to(code, &[';'])
}

/// How far it is to the body of a function, or to the `;` of one that has none.
fn signature(code: &str) -> usize {
    up_to(code, &['{', ';'])
}

/// How far it is to the first of `ends` that is in no bracket.
fn up_to(code: &str, ends: &[char]) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            c if depth == 0 && ends.contains(&c) => return at,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub fn identifier(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// Where `word` stands as a word of its own.
pub fn words(code: &str, word: &str) -> impl Iterator<Item = usize> {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// `text` with blanks for its comments and for what is inside its strings and characters.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (open, inside, close) = match first {
            '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len()), 0),
            '"' => (1, quoted(&rest[1..], '"'), 1),
            '\'' if is_character(rest) => (1, quoted(&rest[1..], '\''), 1),
            _ => (first.len_utf8(), 0, 0),
        };
        let (inside, close) = (open + inside, open + inside + close);
        code.push_str(&rest[..open]);
        let blanks = rest[open..inside].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
        code.extend(blanks);
        code.push_str(rest.get(inside..close).unwrap_or(""));
        rest = rest.get(close..).unwrap_or("");
    }
    code
}

/// Not a lifetime: it is closed after one character, or begins with a backslash.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// How far it is to the quote that ends a literal.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
impl<'a> Maps<'a> {
    /// Not this: put(\"x\")
    fn write(&self) { put(b'(', \"put(\") }
}
fn put(byte: u8, text: &str) { sys::close(1) }
fn story(maps: &Maps) {
    let mut each = |x| { sys::close(x); 1 };
    step(Step::Image, || list(&mut each));
    skippable(
        Step::MapIds,
        || maps.write(),
    );
    sys::close(3)
}
";

    #[test]
    fn a_call_is_in_the_step_that_leads_to_it() {
        let project = Project(vec![Source::new("src/story.rs", TEXT)]);
        let calls: Vec<usize> = words(&project.0[0].code, "close").collect();
        let steps: Vec<_> =
            calls.iter().map(|&at| project.steps(Place { source: 0, at })).collect();
        assert_eq!(steps, [vec![Some("MapIds")], vec![Some("Image")], vec![None]]);
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        let code = blank("a(\"b(\\\"\", 'c', '\\'', x: &'a str) // d\ne");
        assert_eq!(code, "a(\"    \", ' ', '  ', x: &'a str)     \ne");
    }
}
