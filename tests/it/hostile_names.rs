//! File names as an attacker may choose them, through every verb: shown as text, and in nobody's
//! way. Other systems' file systems refuse some of them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{Row, root, rows, run_json};

/// The samples' logs, in order.
fn logs() -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for host in ["DC01", "SRV02", "WS01"] {
        for entry in fs::read_dir(root().join("samples").join(host)).unwrap() {
            logs.push(entry.unwrap().path());
        }
    }
    logs.sort();
    logs
}

fn names() -> Vec<OsString> {
    let long = format!("{}.evtx", "n".repeat(250));
    assert_eq!(long.len(), 255);
    let texts = [
        "a\nb.evtx",
        "\u{1b}[31mred\u{1b}]0;title\u{7}.evtx",
        "rtl\u{202e}xtve.evtx",
        "=cmd|' C calc'!A0.evtx",
        "-o",
        "--help",
        "a:1@2;b:3@4, \"quoted\".evtx",
        "CON",
        " ",
        "<script>alert(1)&lt;.evtx",
        &long,
    ];
    let mut names: Vec<OsString> = texts.iter().map(OsString::from).collect();
    names.push(OsString::from_vec(b"non\xffutf8.evtx".to_vec()));
    names.push(OsString::from_vec(b"\x80".to_vec()));
    names
}

/// The samples under hostile names.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let hostile = folder.path().join("logs");
    fs::create_dir(&hostile).unwrap();
    let (logs, names) = (logs(), names());
    assert_eq!(logs.len(), names.len());
    for (log, name) in logs.iter().zip(names) {
        fs::copy(log, hostile.join(name)).unwrap();
    }
    (folder, hostile)
}

fn psr(folder: &Path, args: &[OsString]) -> Output {
    let program = env!("CARGO_BIN_EXE_psr-forensics");
    let output = Command::new(program).current_dir(folder).args(args).output().unwrap();
    for said in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(said.clone()).expect("what is said is UTF-8");
        assert!(!text.contains("panicked"), "{text}");
        for c in text.chars() {
            assert!(c == '\n' || (!c.is_control() && c != '\u{202e}'), "{c:?} in {text}");
        }
    }
    output
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn names_are_text_in_every_output() {
    let (folder, _) = folder();
    let out = folder.path().join("out");
    let run = psr(folder.path(), &words(&["analyze", "logs", "-o", "out", "-vv"]));
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    // The sessions are those of the samples, and all logs were read.
    assert_eq!(rows(&out, "sessions.csv").len(), 2);
    assert_eq!(run_json(&out)["counts"]["inputs_read"], 13);
    for name in
        ["timeline.csv", "sessions.csv", "detections.csv", "coverage.csv", "scripts/index.csv"]
    {
        let rows = rows(&out, name);
        assert!(!rows.is_empty(), "{name}");
        for cell in rows.iter().flat_map(|row| row.values()) {
            let hostile = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!cell.contains(hostile) && !cell.starts_with('='), "{name}: {cell:?}");
        }
    }
    let told = psr(folder.path(), &words(&["explain", "all", "-o", "out"]));
    assert_eq!(told.status.code(), Some(0));
    let held = psr(folder.path(), &words(&["info", "logs"]));
    assert_eq!(held.status.code(), Some(0));
    let text = String::from_utf8(held.stdout).unwrap();
    for shown in
        ["logs/a␊b.evtx\n", "logs/␛[31mred␛]0;title␇.evtx\n", "logs/rtl<U+202E>xtve.evtx\n"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    let held = psr(folder.path(), &words(&["info", "logs", "--json"]));
    let document: serde_json::Value = serde_json::from_slice(&held.stdout.clone()).unwrap();
    assert_eq!(document["logs"].as_array().unwrap().len(), 13);
    // No name of a log is a name among the results.
    let results = fs::read_dir(&out).unwrap().chain(fs::read_dir(out.join("scripts")).unwrap());
    for entry in results {
        let name = entry.unwrap().file_name();
        assert!(
            name.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b)),
            "{name:?}"
        );
    }
}

#[test]
fn names_can_be_typed() {
    let (folder, logs) = folder();
    let out = folder.path().join("out");
    for name in names() {
        let args = [words(&["info", "--json", "--"]), vec![name.clone()]].concat();
        assert_eq!(psr(&logs, &args).status.code(), Some(0), "{name:?}");
        let more = words(&["analyze", "-o", "../out", "-q", "--force", "--no-default-pack", "--"]);
        assert_eq!(
            psr(&logs, &[more, vec![name.clone()]].concat()).status.code(),
            Some(0),
            "{name:?}"
        );
        let timeline = rows(&out, "timeline.csv");
        assert!(!timeline.is_empty(), "{name:?}");
        let formula = |row: &Row| row["input_file"].starts_with(['=', '-']);
        assert!(!timeline.iter().any(formula), "{name:?}");
    }
    // What is not there, and an option that a shell made of a name.
    for name in ["no\u{1b}[2Jsuch\n", "--no\u{1b}[2J\u{202e}such"] {
        assert_eq!(psr(&logs, &words(&["info", name])).status.code(), Some(2));
    }
}
