//! Results in the forms of other tools: read by those tools, alike at any number of threads, and
//! none the worse for hostile text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use serde_json::Value;

use crate::common::{FILES, analyze, psr, root, rows, say};

const ALL: [&str; 7] = ["csv", "html", "evtxecmd", "timesketch", "ecs", "splunk", "parquet"];

fn options() -> Vec<&'static str> {
    ALL.iter().flat_map(|format| ["--format", format]).collect()
}

/// The files below a folder by their names, all but `run.json`, which has the clock in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("run.json") && !path.ends_with("run.json.sha256") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Has the tools that the formats are for read a folder of results in all of them.
fn check(out: &Path) {
    let python = std::env::var("PSR_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = root().join("tests/outputs/check.py");
    let mut run = Command::new(python);
    run.arg(script).arg(env!("CARGO_BIN_EXE_psr-forensics")).arg(out);
    let Ok(done) = run.output() else {
        return say("skipped: no python3 here");
    };
    let told = String::from_utf8_lossy(&done.stdout);
    match done.status.code() {
        Some(0) => told.lines().for_each(say),
        Some(77) => say(told.trim()),
        _ => panic!("{told}\n{}", String::from_utf8_lossy(&done.stderr)),
    }
}

#[test]
fn tools_read_what_is_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &options()), 0);
    check(&out);
    let parted = folder.path().join("parted");
    let mut more = options();
    more.push("--partition-by-host");
    assert_eq!(analyze("samples", &parted, &more), 0);
    let parts = files(&parted);
    assert!(
        parts.contains_key("parquet/timeline/srv02.corp.example.parquet"),
        "{:?}",
        parts.keys()
    );
    assert!(parts.contains_key("parquet/hosts.parquet"), "a table of hosts is not parted");
    check(&parted);
}

#[test]
fn formats_are_the_same_at_any_number_of_threads_and_do_not_change_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        assert_eq!(analyze("samples", &out, more), 0);
        files(&out)
    };
    let mut parted = options();
    parted.push("--partition-by-host");
    for options in [options(), parted] {
        let with = |threads: &'static str| [&options[..], &["--threads", threads]].concat();
        let one = run(&format!("one{}", options.len()), &with("1"));
        let three = run(&format!("three{}", options.len()), &with("3"));
        assert_eq!(one.keys().collect::<Vec<_>>(), three.keys().collect::<Vec<_>>());
        for (name, bytes) in &one {
            assert!(*bytes == three[name], "{name} differs");
        }
    }
    let plain = run("plain", &[]);
    let mut names = FILES.to_vec();
    names.sort_unstable();
    let own = plain.keys().filter(|name| !name.starts_with("scripts/"));
    assert_eq!(own.collect::<Vec<_>>(), names);
    let all = files(&folder.path().join("one14"));
    for (name, bytes) in &plain {
        assert!(*bytes == all[name], "{name} is not what a plain run writes");
    }
}

#[test]
fn what_is_not_asked_for_is_not_there_and_what_was_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &options()), 0);
    assert_eq!(analyze("samples", &out, &["--force", "--format", "ecs", "--no-scripts"]), 0);
    let names: Vec<String> = files(&out).into_keys().collect();
    assert_eq!(names, ["ecs.jsonl", "sessions.jsonl"], "no file of another run is left");
    let wrong = psr(&["analyze", "samples", "-o", "never", "--format", "xlsx"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(told.contains("timesketch") && !root().join("never").exists(), "{told}");
}

/// Text that is not what it seems.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "+1;-1;@SUM(1)",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "exe.\u{202e}txt",
    "a\0b",
    "quote\" comma, line\r\nnext\u{2028}sep",
    "..\\..\\..\\windows\\x; C:\\nul",
    "{\"@timestamp\":1}\n{\"x\":2}",
];

/// A log in which every text is hostile, hosts and names of fields among them, and some are long.
fn hostile(folder: &Path) -> PathBuf {
    let mut log = LogWriter::default();
    let long = "\u{202e}=long\n".repeat(1 << 11);
    let texts = HOSTILE.iter().map(|text| (*text).to_owned()).chain([long]);
    for (index, text) in (0_u64..).zip(texts) {
        let host = match index {
            0 => "../../escaped".to_owned(),
            1 => "=HOST".to_owned(),
            2 => "con".to_owned(),
            _ => format!("HOST{index}\u{202e}<b>"),
        };
        let data = [
            ("MessageNumber", "1"),
            ("MessageTotal", "1"),
            ("ScriptBlockText", text.as_str()),
            ("ScriptBlockId", "11111111-2222-3333-4444-555555555555"),
            ("Path", "C:\\=x\\..\\\u{202e}y.ps1"),
            ("Computer", "another host"),
            ("winlog.event_data", "a dot in a name"),
        ];
        let event = EvtxEvent {
            provider: "Microsoft-Windows-PowerShell".to_owned(),
            event_id: 4104,
            record_id: index + 1,
            time: FileTime::from_unix(1_773_522_847 + index, 1),
            channel: "Microsoft-Windows-PowerShell/Operational".into(),
            computer: host,
            payload: Payload::EventData(
                data.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect(),
            ),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    let path = folder.join("log.evtx");
    fs::write(&path, log.finish()).unwrap();
    path
}

#[test]
fn hostile_text_stays_text_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let log = hostile(folder.path());
    let log = log.to_str().unwrap();
    for (name, more) in [("whole", vec![]), ("parted", vec!["--partition-by-host"])] {
        let out = folder.path().join("results").join(name);
        let more = [options(), more].concat();
        assert_eq!(analyze(log, &out, &more), 0);
        assert_eq!(rows(&out, "timeline.csv").len(), HOSTILE.len() + 1, "each record is a row");
        check(&out);
        // Names of hosts made no folder elsewhere, and no name that a file system minds.
        for name in files(folder.path()).keys() {
            assert!(name == "log.evtx" || name.starts_with("results/"), "{name}");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            assert!(name.chars().all(is_plain), "{name}");
        }
        // JSON keeps the exact text.
        let lines = fs::read_to_string(out.join("ecs.jsonl")).unwrap();
        for (line, text) in lines.split('\n').zip(HOSTILE) {
            let line: Value = serde_json::from_str(line).unwrap();
            // A text of binary XML ends at a NUL.
            let text = text.split('\0').next().unwrap();
            assert_eq!(line["winlog"]["event_data"]["ScriptBlockText"], text);
            assert_eq!(line["winlog"]["event_data"]["winlog.event_data"], "a dot in a name");
        }
        // The log cannot say that it was another host.
        let lines = fs::read_to_string(out.join("splunk.jsonl")).unwrap();
        let second: Value = serde_json::from_str(lines.split('\n').nth(1).unwrap()).unwrap();
        assert_eq!(second["host"], "=HOST");
        assert_eq!(second["event"]["Computer"][0], "=HOST");
    }
}

/// The fields of a line of JSON by their dotted names, down to those of the schema.
fn flat(
    value: &Value,
    path: &str,
    schema: &BTreeMap<String, String>,
    to: &mut Vec<(String, Value)>,
) {
    let Value::Object(members) = value else {
        return to.push((path.to_owned(), value.clone()));
    };
    if schema.get(path).is_some_and(|kind| kind == "object") {
        return to.push((path.to_owned(), value.clone()));
    }
    for (name, inner) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        flat(inner, &path, schema, to);
    }
}

/// Whether a value is of a type that a schema names.
fn is_of(value: &Value, kind: &str) -> bool {
    match (kind, value) {
        ("text", Value::String(_)) | ("object", Value::Object(_)) => true,
        ("integer", value) => value.is_u64() || value.is_i64(),
        ("number", value) => value.is_number(),
        ("time", Value::String(text)) => psr_forensics::model::parse_utc(text).is_ok(),
        ("texts", Value::Array(values)) => values.iter().all(Value::is_string),
        ("address", Value::String(text)) => text.parse::<std::net::IpAddr>().is_ok(),
        _ => false,
    }
}

#[test]
fn files_match_their_schema() {
    let folder = tempfile::tempdir().unwrap();
    let log = hostile(folder.path());
    let schema = psr(&["schema", "--json"]);
    let formats: Vec<Value> = serde_json::from_slice(&schema.stdout).unwrap();
    let files = formats.iter().flat_map(|format| format["files"].as_array().unwrap());
    let files: Vec<&Value> = files.collect();
    for (name, input) in [("samples", "samples"), ("hostile", log.to_str().unwrap())] {
        let out = folder.path().join(name);
        assert_eq!(analyze(input, &out, &options()), 0);
        for file in &files {
            let name = file["name"].as_str().unwrap();
            let columns = file["columns"].as_array().unwrap().iter().map(|column| {
                let text = |key: &str| column[key].as_str().unwrap().to_owned();
                assert!(!text("description").is_empty());
                (text("name"), text("kind"))
            });
            let columns: Vec<(String, String)> = columns.collect();
            let kinds: BTreeMap<String, String> = columns.iter().cloned().collect();
            assert_eq!(kinds.len(), columns.len(), "no name of {name} stands for two things");
            let text = || fs::read_to_string(out.join(name)).unwrap();
            if name.ends_with(".csv") {
                let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(text().split('\n').next().unwrap(), names.join(","), "{name}");
                for row in rows(&out, name) {
                    for (column, cell) in row.iter().filter(|(_, cell)| !cell.is_empty()) {
                        let fits = match kinds[column].as_str() {
                            "integer" => cell.parse::<u64>().is_ok(),
                            "number" => cell.parse::<f64>().is_ok(),
                            "time" => psr_forensics::model::parse_utc(cell).is_ok(),
                            "boolean" => ["yes", "no", "False"].contains(&&**cell),
                            "texts" if name == "timesketch.csv" => {
                                serde_json::from_str::<Vec<String>>(cell).is_ok()
                            }
                            _ => true,
                        };
                        assert!(fits, "{name}: {column} is {cell}");
                    }
                }
            } else if name.ends_with(".jsonl") {
                let text = text();
                for line in text.split_terminator('\n') {
                    let mut fields = Vec::new();
                    flat(&serde_json::from_str(line).unwrap(), "", &kinds, &mut fields);
                    for (field, value) in fields {
                        match kinds.get(&field) {
                            // What the log names, a record's data may repeat.
                            Some(kind)
                                if field.starts_with("event.") && kinds.contains_key("event.*") =>
                            {
                                let first = value.get(0).filter(|_| kind != "texts");
                                assert!(is_of(first.unwrap_or(&value), kind), "{name}: {field}");
                            }
                            Some(kind) => {
                                assert!(is_of(&value, kind), "{name}: {field} is {value}")
                            }
                            None => assert!(
                                field.starts_with("event.") && kinds.contains_key("event.*"),
                                "{name}: {field} is not in the schema"
                            ),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn results_are_no_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    assert_eq!(analyze("samples", &results, &options()), 0);
    let log = root().join("samples/WS01/System.evtx");
    fs::copy(log, folder.path().join("System.evtx")).unwrap();
    // A case's folder that holds results of a run before: they are passed over, and nothing is amiss.
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(folder.path().to_str().unwrap(), out.path(), &[]), 0);
    let run = crate::common::run_json(out.path());
    let read = run["inputs"].as_array().unwrap().iter().filter(|input| input["records"] != 0);
    let read: Vec<&str> = read.map(|input| input["path"].as_str().unwrap()).collect();
    assert!(matches!(&read[..], [only] if only.ends_with("System.evtx")), "{read:?}");
}

#[test]
fn the_output_reference_has_every_column_of_every_file() {
    let page = fs::read_to_string(root().join("docs/outputs.md")).unwrap();
    let schema = psr(&["schema", "--json"]);
    let formats: Vec<Value> = serde_json::from_slice(&schema.stdout).unwrap();
    for name in ALL {
        assert!(formats.iter().any(|format| format["format"] == name), "{name}");
    }
    for file in formats.iter().flat_map(|format| format["files"].as_array().unwrap()) {
        let name = file["name"].as_str().unwrap();
        assert!(page.contains(&format!("`{name}`")), "{name} is not in the page");
        let columns = file["columns"].as_array().unwrap();
        let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
        let row = |column: &Value| {
            let [name, kind, about] = ["name", "kind", "description"].map(|key| text(column, key));
            format!("| `{name}` | {kind} | {about} |\n")
        };
        let table: String = columns.iter().map(row).collect();
        assert!(page.contains(&table), "the page's table of {name} is not:\n{table}");
    }
    let named = psr(&["schema", "splunk"]);
    let named = String::from_utf8(named.stdout).unwrap();
    assert!(named.starts_with("splunk: ") && named.contains("event.EventCode"), "{named}");
}
