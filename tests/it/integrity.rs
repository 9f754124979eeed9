//! Signs that a log is not as it was written, from the file to `integrity.csv` and the rules.

use std::fs;
use std::path::Path;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};

use crate::common::{Row, analyze, corpus, rows};

const START: u64 = 1_773_522_847;
const CHUNK: usize = 65536;
const HEADER: usize = 4096;

/// A record of a channel: its id, its event id, seconds after the start.
fn event(channel: &str, record_id: u64, event_id: u16, second: i64) -> EvtxEvent {
    let provider = match (channel, event_id) {
        ("System", 6005 | 6006) => "EventLog",
        ("System", _) => "Microsoft-Windows-Kernel-General",
        (_, 1100..1200) => "Microsoft-Windows-Eventlog",
        _ => "Microsoft-Windows-Security-Auditing",
    };
    EvtxEvent {
        provider: provider.into(),
        event_id,
        record_id,
        time: FileTime::from_unix(START.saturating_add_signed(second), 0),
        channel: channel.into(),
        computer: "SRV01.corp.example".into(),
        payload: Payload::EventData(vec![("SubjectUserName".into(), "a".into())]),
        ..EvtxEvent::default()
    }
}

fn log(events: impl IntoIterator<Item = EvtxEvent>) -> Vec<u8> {
    let mut log = LogWriter::new();
    events.into_iter().for_each(|event| log.push(&event).unwrap());
    log.finish()
}

/// A log of several chunks.
fn long() -> Vec<u8> {
    log((1..2000).map(|id| event("Security", id, 4672, id as i64)))
}

/// The rows of `integrity.csv` and the rules that fired on them, of such files.
fn found(files: &[(&str, &[u8])]) -> (Vec<Row>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    for (name, bytes) in files {
        fs::write(logs.join(name), bytes).unwrap();
    }
    let out = folder.path().join("out");
    analyze(logs.to_str().unwrap(), &out, &[]);
    (rows(&out, "integrity.csv"), rules(&out))
}

fn rules(out: &Path) -> Vec<String> {
    let found = rows(out, "detections.csv").into_iter();
    let found = found.filter(|row| row["fired_on"] == "log_integrity");
    found.map(|row| row["rule_title"].clone()).collect()
}

/// Kind and level of rows.
fn kinds(rows: &[Row]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row["kind"].as_str(), row["level"].as_str())).collect()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Overwrites a place of the file header, and its checksum to match.
fn with_header(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    let sum = crc(&bytes[..120]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The same log with its chunks in another order, some left out or twice.
fn rearranged(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let mut new = bytes[..HEADER].to_vec();
    for chunk in order {
        new.extend_from_slice(&bytes[HEADER + chunk * CHUNK..][..CHUNK]);
    }
    let count = (order.len() as u16).to_le_bytes();
    with_header(new, 42, &count)
}

#[test]
fn a_whole_log_has_no_sign() {
    assert_eq!(found(&[("a.evtx", &long())]), (vec![], vec![]));
}

#[test]
fn faults_of_a_file_are_reported_by_chunk() {
    let whole = long();
    assert!((whole.len() - HEADER) / CHUNK >= 6, "{}", whole.len());
    let order: Vec<usize> = (0..(whole.len() - HEADER) / CHUNK).collect();
    let with = |edit: fn(&mut Vec<usize>)| {
        let mut order = order.clone();
        edit(&mut order);
        rearranged(&whole, &order)
    };
    let mut flipped = whole.clone();
    flipped[24] ^= 1;
    let mut changed = whole.clone();
    changed[HEADER + 2 * CHUNK + 30_000] ^= 1;
    let mut dirty = changed.clone();
    dirty[120] = 1;
    let altered = vec!["Log file not as the service writes it".to_owned()];
    for (bytes, kind, level, what, fired) in [
        (flipped, "file_header", "medium", "checksum", true),
        (
            with_header(whole.clone(), 24, &5000_u64.to_le_bytes()),
            "header_disagrees",
            "medium",
            "says that record 5000 is the next, but the last one is 1999",
            true,
        ),
        (changed, "chunk_checksum", "medium", "wrong checksum: chunk 2", true),
        (with(|order| order.swap(1, 3)), "chunk_order", "medium", "chunks 2, 3", true),
        (with(|order| order.insert(2, 1)), "chunk_repeated", "medium", "chunk 2", true),
        (with(|order| drop(order.drain(2..4))), "chunk_missing", "medium", "before chunk 2", true),
        (dirty, "chunk_checksum", "low", "wrong checksum: chunk 2", false),
    ] {
        let (rows, rules) = found(&[("a.evtx", &bytes)]);
        let row = rows.iter().find(|row| row["kind"] == kind);
        let row = row.unwrap_or_else(|| panic!("{kind}: {:?}", kinds(&rows)));
        assert_eq!(row["level"], level, "{kind}");
        assert!(row["what"].contains(what), "{kind}: {}", row["what"]);
        assert_eq!((&*row["host"], &*row["channel"]), ("SRV01.corp.example", "Security"), "{kind}");
        assert!(row["evidence"].contains("a.evtx:"), "{kind}: {}", row["evidence"]);
        if kind != "chunk_missing" {
            assert_eq!(rules, if fired { altered.clone() } else { vec![] }, "{kind}");
        }
    }
}

#[test]
fn a_wrapped_log_is_reported_without_an_alarm() {
    let whole = long();
    let count = (whole.len() - HEADER) / CHUNK;
    let order: Vec<usize> = (3..count).chain(0..3).collect();
    let oldest = (count as u64 - 3).to_le_bytes();
    let wrapped = with_header(rearranged(&whole, &order), 8, &oldest);
    let (rows, rules) = found(&[("a.evtx", &wrapped)]);
    assert_eq!(kinds(&rows), [("wrapped", "informational")]);
    assert_eq!(rules, [""; 0]);
    // The header does not know of it.
    let (rows, _) = found(&[("a.evtx", &rearranged(&whole, &order))]);
    assert_eq!(kinds(&rows), [("chunk_order", "medium")]);
}

#[test]
fn time_that_runs_backwards_is_reported_unless_the_clock_was_set() {
    let back = |id: u64| if id < 50 { id as i64 } else { id as i64 - 3600 };
    let security = log((1..100).map(|id| event("Security", id, 4672, back(id))));
    let system = |id: u16, second: i64| {
        log([
            event("System", 1, 7036, -9000),
            event("System", 2, id, second),
            event("System", 3, 7036, 9000),
        ])
    };
    let (rows, rules) = found(&[("sec.evtx", &security)]);
    assert_eq!(kinds(&rows), [("time_backwards", "low")]);
    assert_eq!(rules, [""; 0]);
    assert!(rows[0]["what"].starts_with("record 50 is 3599 s older than record 49 before it"));
    let evidence: Vec<&str> = rows[0]["evidence"].split("; ").collect();
    assert!(evidence[0].contains(":49@") && evidence[1].contains(":50@"), "{evidence:?}");
    let (rows, rules) = found(&[("sec.evtx", &security), ("sys.evtx", &system(7040, 50))]);
    assert_eq!(kinds(&rows), [("time_backwards", "medium")]);
    assert_eq!((&*rows[0]["explained"], &*rules.join("")), ("no", "Time runs backwards in a log"));
    let (rows, rules) = found(&[("sec.evtx", &security), ("sys.evtx", &system(1, 50))]);
    assert_eq!(kinds(&rows), [("time_backwards", "informational")]);
    assert_eq!((&*rows[0]["explained"], rules.len()), ("yes", 0));
    // By moments, as buffers have it, is nothing.
    let moments =
        log((1..100).map(|id| event("Security", id, 4672, id as i64 - 30 * (id as i64 % 2))));
    assert_eq!(kinds(&found(&[("sec.evtx", &moments)]).0), []);
}

#[test]
fn a_service_that_stops_alone_is_distinguished_from_a_shutdown() {
    let around = [(1, 7036, -90_000), (9, 7036, 90_000)];
    let system = |events: &[(u64, u16, i64)]| {
        let mut all = [&around[..], events].concat();
        all.sort_by_key(|(id, ..)| *id);
        log(all.into_iter().map(|(id, event_id, second)| event("System", id, event_id, second)))
    };
    let sign = |events: &[(u64, u16, i64)]| {
        let (rows, rules) = found(&[("sys.evtx", &system(events))]);
        let told = rows.iter().map(|row| (row["level"].clone(), row["explained"].clone()));
        (told.collect::<Vec<_>>(), rules.len())
    };
    let one = |level: &str, explained: &str| vec![(level.to_owned(), explained.to_owned())];
    let (stop, start) = ((3, 6006, 0), (5, 6005, 300));
    assert_eq!(sign(&[stop, start]), (one("medium", "no"), 1));
    // Told to shut down, shuts down, starts a day later.
    assert_eq!(sign(&[(2, 1074, -60), stop, start]), (one("informational", "yes"), 0));
    assert_eq!(sign(&[stop, (4, 13, 10), start]), (one("informational", "yes"), 0));
    assert_eq!(sign(&[stop, (4, 12, 43_100), (5, 6005, 43_200)]), (one("informational", "yes"), 0));
    // The log does not say that it started again.
    assert_eq!(sign(&[stop]), (one("low", ""), 0));
}

#[test]
fn a_clearing_shows_what_the_log_held_before() {
    let before = log((1..60).map(|id| event("Security", id, 4672, id as i64)));
    let cleared = |first| {
        let clearing = event("Security", first, 1102, 4000);
        log([clearing, event("Security", first + 1, 4672, 4001)])
    };
    let (rows, _) = found(&[("old.evtx", &before), ("new.evtx", &cleared(100))]);
    let row = rows.iter().find(|row| row["kind"] == "cleared").unwrap();
    assert_eq!(row["level"], "high");
    assert!(row["what"].contains("continues with record 100."), "{}", row["what"]);
    assert!(row["what"].contains("is 59 of 2026-03-14"), "{}", row["what"]);
    assert!(row["what"].ends_with("40 after it are lost"), "{}", row["what"]);
    let (rows, _) = found(&[("new.evtx", &cleared(100))]);
    assert!(rows[0]["what"].ends_with("the input has no record before it"), "{}", rows[0]["what"]);
}

#[test]
fn single_records_are_reported_once_per_kind() {
    let events = [(1, 1101), (2, 1101), (3, 1104), (4, 1108), (5, 4719), (6, 4912)];
    let bytes = log(events.map(|(id, event_id)| event("Security", id, event_id, id as i64)));
    let (rows, _) = found(&[("a.evtx", &bytes)]);
    let mut told: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["kind"].as_str(), row["what"].as_str())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("events_dropped", "audit events were dropped (1101), 2 times"),
            ("log_full", "the Security log was full (1104)"),
            ("logging_error", "an event could not be logged (1108)"),
            ("policy_changed", "the audit policy was changed, 2 times"),
        ]
    );
}

/// Healthy logs, many of them exports of a part: what is told must be true of them.
#[test]
fn real_logs_have_no_sign_that_is_none() {
    let Some(path) = corpus("evtx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze(&path, &out, &[]), 0);
    for row in rows(&out, "integrity.csv") {
        // Cleared they were, before many of these were recorded.
        let is_true = matches!(&*row["kind"], "cleared" | "policy_changed");
        assert!(is_true || row["level"] != "high", "{row:?}");
        assert!(
            !["file_header", "chunk_checksum", "chunk_order"].contains(&&*row["kind"]),
            "{row:?}"
        );
    }
    assert_eq!(rules(&out), [""; 0]);
}
