//! Holes in logs, from the file to the rules on them.

use std::fs;
use std::path::Path;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};

use crate::common::{analyze, rows};

/// A log with these records.
fn log(mut log: LogWriter, ids: impl Iterator<Item = u64>) -> Vec<u8> {
    for record_id in ids {
        let event = EvtxEvent {
            provider: "Microsoft-Windows-Security-Auditing".into(),
            event_id: 4672,
            record_id,
            time: FileTime::from_unix(1_773_522_847 + record_id, 0),
            channel: "Security".into(),
            computer: "SRV01.corp.example".into(),
            payload: Payload::EventData(vec![("SubjectUserName".into(), "a".into())]),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    log.finish()
}

fn without_three() -> impl Iterator<Item = u64> {
    (1000..3000).filter(|id| !(2000..2003).contains(id))
}

/// Titles, fields and evidence of what the rules on holes find in a log, and its row of
/// `coverage.csv`.
fn found(bytes: &[u8], exit: i32) -> (Vec<[String; 3]>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.evtx");
    fs::write(&path, bytes).unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze(path.to_str().unwrap(), &out, &[]), exit);
    let on_gaps = |out: &Path| {
        let found = rows(out, "detections.csv").into_iter();
        let found = found.filter(|row| row["fired_on"] == "log_gap");
        let cells =
            found.map(|row| ["rule_title", "matched_fields", "evidence"].map(|c| row[c].clone()));
        cells.collect::<Vec<_>>()
    };
    let coverage = rows(&out, "coverage.csv");
    assert_eq!(coverage.len(), 1);
    (on_gaps(&out), coverage[0]["missing_records"].clone())
}

#[test]
fn records_that_are_missing_in_a_log_are_found() {
    let (gaps, missing) = found(&log(LogWriter::new(), without_three()), 0);
    assert_eq!(missing, "2000-2002");
    let [[title, fields, evidence]] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!(title, "Records missing in the middle of a log");
    assert!(fields.contains("Channel=Security"), "{fields}");
    let pointers: Vec<&str> = evidence.split("; ").collect();
    assert_eq!(pointers.len(), 2);
    assert!(pointers[0].contains("log.evtx:1999@") && pointers[1].contains("log.evtx:2003@"));

    let (gaps, missing) = found(&log(LogWriter::numbered_from(1), without_three()), 0);
    assert_eq!(missing, "2000-2002");
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0][0], "Records missing in the middle of an exported log");
}

#[test]
fn whole_logs_selections_and_damaged_logs_have_no_gap() {
    assert_eq!(found(&log(LogWriter::new(), 1000..3000), 0), (vec![], String::new()));
    let selection = (1000..3000).filter(|id| id % 5 == 0);
    assert_eq!(found(&log(LogWriter::numbered_from(1), selection), 0), (vec![], "many".into()));
    // The third chunk is damaged: its records are missing because they cannot be read.
    let mut damaged = log(LogWriter::new(), 1000..3000);
    let chunk = 4096 + 2 * 65536;
    damaged[chunk..chunk + 8].fill(b'x');
    let (gaps, missing) = found(&damaged, 4);
    assert_eq!(gaps, Vec::<[String; 3]>::new());
    assert!(missing.contains('-') && !missing.contains(';'), "{missing}");
}

#[test]
fn a_log_that_was_cleared_while_a_session_was_open_names_it_by_number() {
    // 2026-03-14 21:15:35, in the samples' first session on SRV02; minutes before it; long before.
    for (time, expected) in [(1_773_522_935, 1), (1_773_522_700, 0), (1_773_510_000, 0)] {
        let event = EvtxEvent {
            provider: "Microsoft-Windows-Eventlog".into(),
            event_id: 104,
            record_id: 7,
            time: FileTime::from_unix(time, 0),
            channel: "System".into(),
            computer: "SRV02.corp.example".into(),
            payload: Payload::UserData {
                element: "LogFileCleared".into(),
                namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
                fields: vec![
                    ("SubjectUserName".into(), "adm.lee".into()),
                    ("SubjectDomainName".into(), "CORP".into()),
                    ("Channel".into(), "Windows PowerShell".into()),
                ],
            },
            ..EvtxEvent::default()
        };
        let mut log = LogWriter::new();
        log.push(&event).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("System.evtx");
        fs::write(&path, log.finish()).unwrap();
        let out = folder.path().join("out");
        assert_eq!(analyze("samples", &out, &[path.to_str().unwrap()]), 0);
        let found = rows(&out, "detections.csv");
        let found: Vec<_> = found.iter().filter(|row| row["fired_on"] == "log_gap").collect();
        assert_eq!(found.len(), expected, "{time}");
        for row in found {
            assert_eq!(row["rule_title"], "Log cleared while a remoting session was open");
            assert_eq!(row["matched_fields"], "Kind=cleared; SessionsInside=1");
            assert_eq!(row["user"], r"CORP\adm.lee");
            assert!(row["evidence"].ends_with("System.evtx:7@4608"), "{}", row["evidence"]);
        }
    }
}
