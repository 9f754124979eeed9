//! Other kinds of input give what the same records give as EVTX.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use evtx::EvtxParser;
use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::common::{Row, analyze, corpus, psr, root, rows, run_json};

/// The samples' logs, and their names in the samples' folder.
pub fn samples() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("samples")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(root().join("samples")).unwrap();
            let name = name.to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".evtx") {
                found.push((path, name));
            }
        }
    }
    found.sort();
    found
}

/// What an independent reader renders of each sample, written to a file of its own.
pub fn render(folder: &Path, extension: &str, text: impl Fn(&mut EvtxParser<File>) -> Vec<u8>) {
    fs::create_dir(folder).unwrap();
    for (path, name) in samples() {
        let name = name.replace(['/', '\\'], "-");
        let mut parser = EvtxParser::from_path(&path).unwrap();
        fs::write(folder.join(format!("{name}.{extension}")), text(&mut parser)).unwrap();
    }
}

pub fn json_lines(parser: &mut EvtxParser<File>) -> Vec<u8> {
    let lines = parser.records_json().map(|record| record.unwrap().data.replace('\n', " ") + "\n");
    lines.collect::<String>().into_bytes()
}

/// As PowerShell's `Out-File` writes it.
fn json_array_utf16(parser: &mut EvtxParser<File>) -> Vec<u8> {
    let records = parser.records_json_value().map(|record| record.unwrap().data);
    let text = serde_json::to_string_pretty(&records.collect::<Vec<_>>()).unwrap();
    let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// As Event Viewer saves it: one root, no declaration between.
pub fn xml(parser: &mut EvtxParser<File>) -> Vec<u8> {
    let mut text = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<Events>".to_owned();
    for record in parser.records() {
        let xml = record.unwrap().data;
        let (_, event) = xml.split_once("?>").unwrap();
        text.push_str(event.trim());
    }
    (text + "</Events>\r\n").into_bytes()
}

/// Rows without what differs by where a record lies.
fn facts(out: &Path, table: &str) -> Vec<Row> {
    let mut rows = rows(out, table);
    for row in &mut rows {
        for column in ["evidence", "input_file", "offset", "record_number"] {
            row.remove(column);
        }
    }
    rows
}

fn assert_same_as_samples(path: &Path, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let (expected, out) = (folder.path().join("expected"), folder.path().join("out"));
    assert_eq!(analyze("samples", &expected, &[]), 0);
    assert_eq!(analyze(path.to_str().unwrap(), &out, &[]), code);
    for table in ["sessions.csv", "commands.csv", "attempts.csv", "coverage.csv"] {
        assert_eq!(facts(&out, table), facts(&expected, table), "{table}");
    }
    assert_eq!(run_json(&out)["counts"]["records"], run_json(&expected)["counts"]["records"]);
}

#[test]
fn exports_of_the_samples_give_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    render(&at("lines"), "jsonl", json_lines);
    assert_same_as_samples(&at("lines"), 0);
    render(&at("array"), "json", json_array_utf16);
    assert_same_as_samples(&at("array"), 0);
    render(&at("xml"), "xml", xml);
    assert_same_as_samples(&at("xml"), 0);
}

/// A folder of the samples as JSON, as XML and in a zip.
pub fn exports_and_archives(folder: &Path) -> PathBuf {
    let logs = folder.join("logs");
    std::fs::create_dir(&logs).unwrap();
    render(&logs.join("json"), "jsonl", json_lines);
    render(&logs.join("xml"), "xml", xml);
    triage_zip(&logs.join("triage.zip"));
    logs
}

/// The samples as a triage zip with hostile names.
pub fn triage_zip(path: &Path) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (index, (sample, name)) in samples().iter().enumerate() {
        let name = match index {
            0 => format!("../../{name}"),
            1 => format!("/etc/{name}\u{1b}[2J"),
            _ => format!("uploads/auto/C%3A/Windows/System32/winevt/Logs/{name}"),
        };
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(sample).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn a_zip_of_the_samples_gives_the_same_and_hashes_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("triage.zip");
    triage_zip(&path);
    assert_same_as_samples(&path, 0);
    let out = folder.path().join("out");
    assert_eq!(analyze(path.to_str().unwrap(), &out, &[]), 0);
    let run = run_json(&out);
    let readme = fs::read_to_string(root().join("samples/README.md")).unwrap();
    let inputs = run["inputs"].as_array().unwrap();
    for input in inputs.iter().filter(|input| input["kind"] == "evtx") {
        assert!(readme.contains(input["sha256"].as_str().unwrap()), "{input}");
    }
    assert_eq!(inputs.iter().filter(|input| input["kind"] == "zip").count(), 1);
    assert_eq!(run["counts"]["inputs_read"], samples().len());
    for name in fs::read_dir(&out).unwrap() {
        let name = name.unwrap().file_name();
        let name = name.to_str().unwrap();
        let own = [
            "timeline.csv",
            "run.json",
            "run.json.sha256",
            "sessions.jsonl",
            "scripts",
            "report.html",
        ];
        assert!(name.ends_with(".csv") || own.contains(&name), "{name}");
    }
}

#[test]
fn captured_intrusions_are_rebuilt() {
    let Some(path) = corpus("json") else { return };
    // The times that the captures' notes give, three seconds more or less; the second session goes
    // on to the capture's end.
    let captures = [
        (
            "covenant_psremoting_command",
            4284,
            "2020-08-06 15:56:21".."2020-08-06 15:56:28",
            "2020-08-06 15:56:32".."2020-08-06 15:56:39",
        ),
        (
            "empire_psremoting_stager",
            2744,
            "2020-09-20 21:09:06".."2020-09-20 21:09:13",
            "2020-09-20 21:09:13".."2020-09-20 21:15:00",
        ),
    ];
    for (name, lines, start, end) in captures {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(analyze(&format!("{path}/{name}.zip"), out.path(), &[]), 0);
        assert_eq!(run_json(out.path())["counts"]["records"], lines);
        let sessions = rows(out.path(), "sessions.csv");
        let [session] = &sessions[..] else { panic!("{sessions:?}") };
        assert!(session["source_host"].starts_with("WORKSTATION5"), "{session:?}");
        assert!(session["target_host"].starts_with("WORKSTATION6"), "{session:?}");
        assert!(session["user"].ends_with("pgustavo") && session["auth"] == "kerberos");
        assert!(start.contains(&&*session["start_time"]), "{session:?}");
        assert!(end.contains(&&*session["end_time"]), "{session:?}");
        let timeline = rows(out.path(), "timeline.csv");
        let of = |column: &str| -> BTreeSet<String> {
            timeline.iter().map(|row| row[column].to_lowercase()).collect()
        };
        let hosts = of("host");
        for host in ["workstation5", "workstation6", "mordordc"] {
            assert!(hosts.contains(&format!("{host}.theshire.local")), "{hosts:?}");
        }
        let channels = of("channel");
        for channel in ["security", "windows powershell", "microsoft-windows-sysmon/operational"] {
            assert!(channels.contains(channel), "{channels:?}");
        }
    }
}

#[test]
fn forwarded_records_keep_their_host_and_channel() {
    let mut log = LogWriter::new();
    let channels = [
        ("WS01", "Microsoft-Windows-WinRM/Operational", 6),
        ("SRV02", "Security", 4672),
        ("SRV02", "Windows PowerShell", 400),
    ];
    for (index, (computer, channel, event_id)) in channels.into_iter().enumerate() {
        let event = EvtxEvent {
            event_id,
            channel: channel.into(),
            computer: computer.into(),
            time: FileTime::from_unix(1_773_522_847, index as u32),
            record_id: index as u64 + 1,
            payload: Payload::EventData(vec![("a".into(), "b".into())]),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ForwardedEvents.evtx");
    fs::write(&path, log.finish()).unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze(path.to_str().unwrap(), &out, &[]), 0);
    let timeline = rows(&out, "timeline.csv");
    let found: Vec<_> = timeline.iter().map(|row| (&*row["host"], &*row["channel"])).collect();
    let expected: Vec<_> = channels.iter().map(|&(host, channel, _)| (host, channel)).collect();
    assert_eq!(found, expected);
}

const RECORD: &str =
    r#"{"EventID":4672,"Channel":"Security","Hostname":"H","EventTime":"2026-03-14 21:14:07"}"#;

#[test]
fn json_without_records_is_not_a_log_and_damage_is_located() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let logs = out("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("config.json"), r#"{"name": "x", "list": [1, 2]}"#).unwrap();
    fs::write(logs.join("rule.json"), r#"[{"rule": {"EventID": 4624}}, 5]"#).unwrap();
    let output = psr(&["analyze", logs.to_str().unwrap(), "-o", out("none").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    fs::write(logs.join("good.jsonl"), format!("{RECORD}\n{RECORD}\n")).unwrap();
    assert_eq!(analyze(logs.to_str().unwrap(), &out("good"), &[]), 0);
    let mut hostile = format!("{RECORD}\n{{\"other\": 1}}\n{}\n", "[".repeat(100_000));
    let long = hostile.len();
    writeln!(hostile, "{{\"EventID\":1,\"long\":\"{}\"}}", "x".repeat(9 << 20)).unwrap();
    write!(hostile, "{RECORD}\n{}", &RECORD[..40]).unwrap();
    fs::write(logs.join("hostile.jsonl"), &hostile).unwrap();
    assert_eq!(analyze(logs.to_str().unwrap(), &out("hostile"), &[]), 4);
    let run = run_json(&out("hostile"));
    let input = |name: &str| {
        let inputs = run["inputs"].as_array().unwrap();
        inputs.iter().find(|input| input["path"].as_str().unwrap().ends_with(name)).unwrap()
    };
    for name in ["config.json", "rule.json"] {
        assert_eq!(input(name)["kind"], "unknown");
        assert_eq!(input(name)["faults"][0]["kind"], "not_a_log");
        assert_eq!(input(name)["faults"].as_array().unwrap().len(), 1);
    }
    assert_eq!(input("hostile.jsonl")["records"], 2);
    let faults = input("hostile.jsonl")["faults"].as_array().unwrap();
    let offsets: Vec<_> = faults.iter().map(|fault| fault["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [RECORD.len() + 1, long, hostile.len() - 40].map(|offset| offset as u64));
}

/// A host logs a part of a script block under its short name, and the next under its full one.
#[test]
fn a_block_logged_under_two_names_of_a_host_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let part = |number: u32, computer: &str, text: &str| {
        let record = serde_json::json!({"Event": {
            "System": {
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-PowerShell"}},
                "EventID": 4104,
                "TimeCreated": {"#attributes": {"SystemTime": format!("2026-03-14T10:00:0{number}Z")}},
                "EventRecordID": number,
                "Channel": "Microsoft-Windows-PowerShell/Operational",
                "Computer": computer,
            },
            "EventData": {
                "MessageNumber": number,
                "MessageTotal": 2,
                "ScriptBlockText": text,
                "ScriptBlockId": "6f2c1d3e-0b7a-4c55-9a55-0d4f1c9b7a10",
            },
        }});
        format!("{record}\n")
    };
    let log = part(1, "SRV", "# quiet") + &part(2, "SRV.corp.example", "meadow");
    fs::write(folder.path().join("log.json"), log).unwrap();
    let rule = "title: Meadow\nid: 7d0f2c3e-95b1-4f0f-8f0e-6a1f4b7c2d90\nlogsource:\n    \
                product: windows\n    category: script_block\ndetection:\n    selection:\n        \
                ScriptBlockText|contains: quietmeadow\n        Complete: 'true'\n    \
                condition: selection\nlevel: low\n";
    let pack = folder.path().join("rule.yml");
    fs::write(&pack, rule).unwrap();
    let out = folder.path().join("out");
    let more = ["--no-default-pack", "--pack", pack.to_str().unwrap()];
    let log = folder.path().join("log.json");
    assert_eq!(analyze(log.to_str().unwrap(), &out, &more), 0);
    let found = rows(&out, "detections.csv");
    assert_eq!(found.len(), 1);
    assert!(found[0]["evidence"].contains("; "), "{}", found[0]["evidence"]);
}
