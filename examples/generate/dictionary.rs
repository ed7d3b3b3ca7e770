//! src/packed/dictionary.in: the pairs of bytes that the program's texts have most of. The program
//! is asked for its texts; the few that it doesn't tell this way are of the same words.

use std::collections::{BTreeMap, BTreeSet};

use syscalls::Errno;
use tinyctr::buf::Line;
use tinyctr::error::Error;
use tinyctr::options::{self, OPTIONS};
use tinyctr::packed::pairs::{FIRST, PAIRS, stands_for_itself};
use tinyctr::steps::LESSONS;

type Pair = [u8; 2];

pub fn dictionary() -> String {
    let pairs = most_frequent(texts());
    let mut rows = String::new();
    for (number, pair) in pairs.iter().enumerate() {
        let [a, b] = pair.map(written);
        let code = FIRST.wrapping_add(number as u8);
        let meaning = spelled(pair, &pairs);
        rows += &format!("    [{a}, {b}], // {code:#04x} {meaning:?}\n");
    }
    format!("[\n{rows}]\n")
}

fn texts() -> Vec<Vec<u8>> {
    let mut texts = BTreeSet::new();
    let mut help = Line::<8192>::new();
    options::help(&mut help);
    let help = String::from_utf8_lossy(help.as_bytes()).into_owned();
    texts.extend(help.split("  ").map(str::to_owned)); // without the columns
    texts.extend(OPTIONS.iter().map(|opt| opt.value_name().to_string()));
    for lesson in LESSONS {
        let told = [lesson.name(), lesson.skip(), lesson.why(), lesson.without()];
        texts.extend(told.iter().map(|text| text.to_string()));
    }
    let errnos = (1..=4095).map(Errno::new);
    for errno in errnos.filter(|errno| errno.name().is_some()) {
        let (name, text) = errno.name_and_description().expect("it has a name");
        texts.extend([name.to_owned(), text.to_owned()]);
        for (lesson, object) in
            LESSONS.iter().flat_map(|it| [(it, c"/bin/sh"), (it, c"/"), (it, c"")])
        {
            let advice = Error::errno(lesson.step, object, errno).advice();
            texts.extend(advice.map(|advice| advice.to_string()));
        }
    }
    texts.into_iter().map(String::into_bytes).collect()
}

/// Pair by pair, the most frequent of what is left of the texts once the others were replaced.
fn most_frequent(mut texts: Vec<Vec<u8>>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS.len() {
        let code = FIRST.wrapping_add(pairs.len() as u8);
        if code == 0 || stands_for_itself(code) {
            pairs.push([0, 0]);
            continue;
        }
        let mut counts = BTreeMap::<Pair, usize>::new();
        for pair in texts.iter().flat_map(|text| text.windows(2)) {
            *counts.entry([pair[0], pair[1]]).or_default() += 1;
        }
        let most = counts.iter().max_by_key(|(_, count)| **count);
        let (&pair, _) = most.expect("there are that many");
        texts.iter_mut().for_each(|text| *text = replaced(text, pair, code));
        pairs.push(pair);
    }
    pairs
}

fn replaced(text: &[u8], pair: Pair, code: u8) -> Vec<u8> {
    let mut new = Vec::new();
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let is_pair = rest.starts_with(&pair);
        new.push(if is_pair { code } else { first });
        rest = if is_pair { &rest[2..] } else { behind };
    }
    new
}

fn written(byte: u8) -> String {
    if stands_for_itself(byte) {
        format!("b'{}'", byte.escape_ascii())
    } else if byte == 0 {
        "0".to_owned()
    } else {
        format!("{byte:#04x}")
    }
}

fn spelled(pair: &Pair, pairs: &[Pair]) -> String {
    let part = |byte: u8| match pairs.get(usize::from(byte.wrapping_sub(FIRST))) {
        _ if byte == 0 => String::new(),
        Some(inner) if !stands_for_itself(byte) => spelled(inner, pairs),
        _ => char::from(byte).to_string(),
    };
    pair.map(part).concat()
}
