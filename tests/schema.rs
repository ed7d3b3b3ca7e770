//! docs/trace.schema.json describes what `--trace=json:FILE` writes: real traces are held against
//! it, by as much of JSON Schema as it uses.

mod common;

use std::fs;
use std::path::Path;

use common::{NO_NAMESPACES, can_contain, image, require, run, tempdir, tinyctr};
use serde_json::{Value, json};
use tinyctr::steps::LESSONS;

fn schema() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trace.schema.json");
    serde_json::from_str(&fs::read_to_string(file).expect("it is there")).expect("it is JSON")
}

/// The lines of the trace of `tinyctr ARGS`.
fn trace(args: &[&str]) -> Vec<Value> {
    let directory = tempdir();
    let file = directory.path().join("trace");
    run(tinyctr([format!("--trace=json:{}", file.display())]).args(args));
    let text = fs::read_to_string(file).expect("tinyctr made it");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

#[test]
fn every_line_of_a_trace_is_as_the_schema_says() {
    require!(can_contain(), NO_NAMESPACES);
    let schema = schema();
    let image = image().to_str().expect("the tests' own path");
    let mut kinds = Vec::new();
    for args in [
        &[image, "true"][..],
        &["--bare", image, "true"],
        &["--ns", "user,pid,mnt,uts", "--workdir", "/tmp", "/", "true"],
        &["--explain", image, "sh", "-c", "exit 3"],
        &["--explain", "--skip", "proc", "--verbose", image, "true"],
        &["--dry-run", image, "true"],
        &["--verbose", image, "no \"such\" \\ command\n\u{e9}"],
        &[image, "sh", "-c", "kill -9 $$"],
        &["no-such-image"],
    ] {
        let lines = trace(args);
        assert!(lines.len() > 2, "{args:?}: {lines:?}");
        for line in lines {
            validate(&schema, &schema, &line).unwrap_or_else(|why| panic!("{args:?}: {why}"));
            let has = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_owned);
            kinds.push(has("part").or(has("remark").map(|_| "remark".to_owned())));
        }
    }
    for kind in ["unfinished", "resumed", "remark"] {
        assert!(kinds.iter().any(|it| it.as_deref() == Some(kind)), "no {kind} was seen");
    }
}

/// Every step is in the schema, in the order of the table.
#[test]
fn the_schema_knows_every_step() {
    let names: Vec<String> =
        LESSONS.iter().map(|lesson| lesson.name(common::texts()).to_string()).collect();
    assert_eq!(schema()["$defs"]["step"]["enum"], json!(names));
}

#[test]
fn a_line_that_is_not_as_the_schema_says_is_found() {
    let schema = schema();
    let good = json!({
        "who": "child", "step": "chroot", "call": "chroot", "args": ["\".\""], "result": "0",
        "nanoseconds": 7
    });
    assert_eq!(validate(&schema, &schema, &good), Ok(()));
    for (key, value) in [
        ("who", json!("nobody")),
        ("step", json!("no step")),
        ("call", json!("")),
        ("args", json!([7])),
        ("args", json!(["a", "b", "c", "d", "e", "f", "g"])),
        ("result", json!(0)),
        ("result", json!("-1 whatever")),
        ("nanoseconds", json!(-7)),
        ("nanoseconds", json!(0.5)),
        ("part", json!("resumed")),
        ("extra", json!(1)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(validate(&schema, &schema, &bad).is_err(), "{bad}");
    }
    for key in ["who", "call", "args", "result"] {
        let mut bad = good.clone();
        bad.as_object_mut().expect("it is one").remove(key);
        assert!(validate(&schema, &schema, &bad).is_err(), "{bad}");
    }
}

// --- as much of JSON Schema as is needed ---------------------------------------------------------

/// Holds `value` against `schema`, a part of `root`.
fn validate(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, told) in keywords {
        if !holds(root, keywords, keyword, told, value)? {
            return Err(format!("{keyword}: {told}: {value}"));
        }
    }
    Ok(())
}

fn holds(
    root: &Value,
    schema: &serde_json::Map<String, Value>,
    keyword: &str,
    told: &Value,
    value: &Value,
) -> Result<bool, String> {
    let list = || told.as_array().expect("a list");
    let valid = |schema: &Value, value: &Value| validate(root, schema, value);
    Ok(match keyword {
        "$schema" | "$defs" | "title" | "description" => true,
        "$ref" => {
            let path = told.as_str().and_then(|path| path.strip_prefix('#')).expect("local");
            valid(root.pointer(path).expect("it is there"), value)?;
            true
        }
        "oneOf" => list().iter().filter(|it| valid(it, value).is_ok()).count() == 1,
        "type" => match told {
            Value::Array(types) => types.iter().any(|it| is_a(it, value)),
            one => is_a(one, value),
        },
        "enum" => list().contains(value),
        "const" => told == value,
        "minimum" => value.as_f64().is_none_or(|it| it >= told.as_f64().expect("a number")),
        "maxItems" => value.as_array().is_none_or(|it| it.len() as u64 <= number(told)),
        "items" => {
            value.as_array().into_iter().flatten().try_for_each(|it| valid(told, it))?;
            true
        }
        "pattern" => value.as_str().is_none_or(|it| fits(told.as_str().expect("text"), it)),
        "required" => list().iter().all(|key| value.get(key.as_str().expect("a key")).is_some()),
        "properties" => {
            for (key, schema) in told.as_object().expect("an object") {
                value.get(key).map_or(Ok(()), |it| valid(schema, it))?;
            }
            true
        }
        "additionalProperties" => {
            let known = |key: &String| schema["properties"].get(key).is_some();
            value.as_object().is_none_or(|it| it.keys().all(known))
        }
        unknown => panic!("{unknown}: teach this test the keyword"),
    })
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        unknown => panic!("{unknown}: teach this test the type"),
    }
}

/// The three patterns of the schema, in Rust.
fn fits(pattern: &str, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    match pattern {
        "^[ -~]+$" => !text.is_empty() && text.bytes().all(|it| (b' '..=b'~').contains(&it)),
        "^[a-z][a-z0-9_]*$" => {
            text.starts_with(|it: char| it.is_ascii_lowercase())
                && text
                    .bytes()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        }
        r"^([0-9]+|0x[0-9a-f]+|-1 (E[A-Z0-9]+ \(.*\)|errno [0-9]+))$" => {
            let named = |it: &str| it.starts_with('E') && it.contains(" (") && it.ends_with(')');
            digits(text)
                || text
                    .strip_prefix("0x")
                    .is_some_and(|it| !it.is_empty() && it.bytes().all(is_hex))
                || text.strip_prefix("-1 errno ").is_some_and(digits)
                || text.strip_prefix("-1 ").is_some_and(named)
        }
        unknown => panic!("{unknown}: teach this test the pattern"),
    }
}
