//! `psr-forensics info`, against the samples' own README and made logs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use serde_json::Value;

use crate::common::{analyze, corpus, psr, root, rows};

/// Runs `info --json` and gives exit code and document.
fn info(path: &str) -> (i32, Value) {
    let output = psr(&["info", path, "--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Runs `info` and gives its text.
fn text(path: &str) -> String {
    String::from_utf8(psr(&["info", path]).stdout).unwrap()
}

#[test]
fn the_samples_match_their_readme() {
    let (code, told) = info("samples");
    assert_eq!(code, 0);
    let readme = fs::read_to_string(root().join("samples/README.md")).unwrap();
    let logs = told["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 13);
    for log in logs {
        let name = log["path"].as_str().unwrap().strip_prefix("samples/").unwrap();
        let row = format!(
            "| {name} | {} | {} | `{}` |",
            log["records"],
            log["chunks"],
            log["sha256"].as_str().unwrap()
        );
        assert!(readme.contains(&row), "{row}");
        assert_eq!(log["holds"].as_array().unwrap().len(), 1, "{name}");
        assert_eq!(log["holds"][0]["gaps"], serde_json::json!([]), "{name}");
        assert_eq!((&log["wrapped"], &log["header"]["dirty"]), (&false.into(), &false.into()));
        assert_eq!(log["header"]["checksum_ok"], true);
    }
    assert_eq!(told["others"].as_array().unwrap().len(), 3);
    let exported = &logs.iter().find(|log| log["path"] == "samples/SRV02/Security.evtx").unwrap();
    assert_eq!(exported["record_numbers"], serde_json::json!([1, 612]));
    assert_eq!(exported["holds"][0]["record_ids"], serde_json::json!([48210, 48821]));
}

#[test]
fn events_are_counted_as_the_timeline_has_them() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let mut expected: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let mut span: BTreeMap<String, (String, String)> = BTreeMap::new();
    for row in rows(out.path(), "timeline.csv") {
        let file = row["input_file"].clone();
        let own = span.entry(file.clone()).or_insert((row["time"].clone(), String::new()));
        own.1 = row["time"].clone();
        *expected.entry((file, row["provider"].clone(), row["event_id"].clone())).or_default() += 1;
    }
    let (_, told) = info("samples");
    let mut found = BTreeMap::new();
    for log in told["logs"].as_array().unwrap() {
        let path = log["path"].as_str().unwrap().to_owned();
        let time = |name: &str| {
            let time = log["holds"][0][name].as_str().unwrap();
            time.replace('T', " ").replace("00Z", "")
        };
        assert_eq!((time("first"), time("last")), span[&path]);
        for kind in log["events"].as_array().unwrap() {
            let provider = kind["provider"].as_str().unwrap().to_owned();
            let key = (path.clone(), provider, kind["event_id"].to_string());
            found.insert(key, kind["records"].as_u64().unwrap());
            assert_eq!(kind["records"], kind["relevant"], "all of them are relevant");
        }
    }
    assert_eq!(found, expected);
}

/// A Security log whose EventRecordIDs are these.
fn log(path: &Path, ids: impl IntoIterator<Item = u64>) {
    let mut log = LogWriter::default();
    for record_id in ids {
        let data = vec![("TargetUserName".to_owned(), "bob".into())];
        let event = EvtxEvent {
            provider: "Microsoft-Windows-Security-Auditing".to_owned(),
            event_id: 4624,
            record_id,
            time: FileTime::from_unix(1_773_522_847 + record_id, 0),
            channel: "Security".into(),
            computer: "SRV01".into(),
            payload: Payload::EventData(data),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    fs::write(path, log.finish()).unwrap();
}

#[test]
fn gaps_in_record_ids_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.evtx");
    log(&path, (5..50).chain(60..61).chain(62..99));
    let path = path.to_str().unwrap();
    let (_, told) = info(path);
    let gaps = told["logs"][0]["holds"][0]["gaps"].as_array().unwrap();
    let gaps: Vec<(u64, u64, u64)> = gaps
        .iter()
        .map(|gap| {
            let number = |name: &str| gap[name].as_u64().unwrap();
            (number("before"), number("after"), number("missing"))
        })
        .collect();
    assert_eq!(gaps, [(49, 60, 10), (60, 62, 1)]);
    let text = text(path);
    assert!(text.contains("ids 5 to 98"), "{text}");
    assert!(text.contains("HOLES: 11 ids missing (50-59, 61-61)"), "{text}");
}

#[test]
fn a_wrapped_log_and_a_dirty_log_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(root().join("samples/SRV02/Security.evtx")).unwrap();
    // The newest chunk stands where the oldest was overwritten.
    let chunks = &mut bytes[4096..];
    chunks.rotate_right(65536);
    // The file header's flags are at 120: 1 for dirty, 2 for full.
    bytes[120] |= 3;
    let path = folder.path().join("log.evtx");
    fs::write(&path, bytes).unwrap();
    let (code, told) = info(path.to_str().unwrap());
    let log = &told["logs"][0];
    assert_eq!((code, &log["wrapped"], &log["records"]), (0, &true.into(), &612.into()));
    assert_eq!((&log["header"]["dirty"], &log["header"]["full"]), (&true.into(), &true.into()));
    assert_eq!(log["holds"][0]["gaps"], serde_json::json!([]));
    let text = text(path.to_str().unwrap());
    assert!(text.contains("dirty (copied while in use, or not closed), marked full"), "{text}");
    assert!(text.contains("  Wrapped     yes"), "{text}");
}

#[test]
fn a_clearing_and_damage_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let cleared = serde_json::json!({"Event": {
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Eventlog"}},
            "EventID": 1102,
            "TimeCreated": {"#attributes": {"SystemTime": "2026-03-14T21:00:05.5Z"}},
            "EventRecordID": 9, "Channel": "Security", "Computer": "SRV\u{1b}[2J01"
        },
        "UserData": {"LogFileCleared": {"SubjectUserName": "bob", "SubjectDomainName": "CORP"}}
    }});
    fs::write(logs.join("a.json"), cleared.to_string()).unwrap();
    let whole = fs::read(root().join("samples/DC01/Security.evtx")).unwrap();
    fs::write(logs.join("b.evtx"), &whole[..whole.len() - 100]).unwrap();
    fs::write(logs.join("c.evtx"), "no log").unwrap();
    let path = logs.to_str().unwrap();
    let (code, told) = info(path);
    assert_eq!(code, 4);
    let clearing = &told["logs"][0]["cleared"][0];
    assert_eq!(clearing["time"], "2026-03-14T21:00:05.500000000Z");
    assert_eq!((&clearing["account"], &clearing["record_id"]), (&r"CORP\bob".into(), &9.into()));
    assert_eq!(told["logs"][1]["faults"][0]["kind"], "lost");
    let text = text(path);
    assert!(text.contains("  CLEARED     Security of SRV␛[2J01 at 2026-03-14 21:00:05.5000000 UTC by CORP\\bob (record 9)"), "{text}");
    assert!(text.contains("  LOST        at byte 4096: the file ends inside this chunk"), "{text}");
    assert!(text.contains("c.evtx\n  LOST        named .evtx but not an event log"), "{text}");
}

#[test]
fn threads_change_nothing_and_nothing_to_read_is_an_error() {
    for path in [Some("samples".to_owned()), corpus("evtx"), corpus("damaged"), corpus("json")] {
        let Some(path) = path else { continue };
        let run = |threads| psr(&["info", &path, "--json", "--threads", threads]).stdout;
        let first = run("1");
        assert!(first == run("2") && first == run("3"), "{path}");
    }
    let output = psr(&["info", "src"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(psr(&["info", "no/such"]).status.code(), Some(2));
}
