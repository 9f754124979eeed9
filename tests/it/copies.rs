//! A record that lies in several inputs counts once, and all its places are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use scenario::{Config, Fleet, JsonLineFormat};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::common::{Row, TABLES, analyze, root, rows, run_json};
use crate::determinism::assert_same_bytes;
use crate::inputs;

/// The tables of a run on a folder, as text, in which `from` in a path reads `to`.
fn tables(folder: &Path, from: &str, to: &str) -> BTreeMap<&'static str, String> {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(folder.to_str().unwrap(), out.path(), &[]), 0);
    let table = |name: &'static str| {
        let text = fs::read_to_string(out.path().join(name)).unwrap();
        (name, text.replace(from, to))
    };
    TABLES.map(table).into()
}

/// The rows of a timeline without the copies, and the copies.
fn apart(timeline: &str) -> (Vec<Row>, Vec<String>) {
    let rows = csv::Reader::from_reader(timeline.as_bytes()).into_deserialize::<Row>();
    rows.map(|row| row.unwrap())
        .map(|mut row| {
            let copies = row.remove("copies").unwrap();
            (row, copies)
        })
        .unzip()
}

/// That a table is as expected; coverage has a row for each file besides.
fn assert_table(name: &str, found: &str, expected: &str) {
    match name {
        "coverage.csv" | "integrity.csv" => {
            let found: BTreeSet<&str> = found.lines().collect();
            let lost: Vec<&str> = expected.lines().filter(|line| !found.contains(line)).collect();
            assert!(lost.is_empty(), "{lost:?}");
        }
        _ => assert!(found == expected, "{name} differs"),
    }
}

/// That all tables of `folder` are those of `once`, but for copies; yields each record's copies.
fn assert_same(once: &Path, folder: &Path, from: &str, to: &str) -> Vec<String> {
    let (mut expected, mut found) = (tables(once, "", ""), tables(folder, from, to));
    let (lines, none) = apart(&expected.remove("timeline.csv").unwrap());
    let (found_lines, copies) = apart(&found.remove("timeline.csv").unwrap());
    assert!(none.iter().all(String::is_empty));
    assert_eq!(found_lines, lines);
    for (name, table) in expected {
        assert_table(name, &found[name], &table);
    }
    copies
}

fn copy_samples(to: &Path) {
    for (path, name) in inputs::samples() {
        let to = to.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

#[test]
fn logs_given_twice_change_nothing_whichever_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("m");
    copy_samples(&logs);
    let once = tempfile::tempdir().unwrap();
    let expected = tables(folder.path(), "", "");
    let later = folder.path().join("n");
    copy_samples(&later);
    let found = tables(folder.path(), "", "");
    let (lines, _) = apart(&expected["timeline.csv"]);
    let (found_lines, copies) = apart(&found["timeline.csv"]);
    assert_eq!(found_lines, lines);
    for (line, copy) in lines.iter().zip(copies) {
        let file = line["input_file"].replace(logs.to_str().unwrap(), later.to_str().unwrap());
        assert!(copy.starts_with(&format!("{file}:{}", line["record_id"])), "{copy}");
        assert!(copy.ends_with(&format!("@{}", line["offset"])), "{copy}");
    }
    for name in TABLES.into_iter().filter(|name| *name != "timeline.csv") {
        assert_table(name, &found[name], &expected[name]);
    }
    // The same logs under a name that comes first are now those that rows name.
    fs::rename(&later, folder.path().join("a")).unwrap();
    let found = tables(folder.path(), "/a/", "/m/");
    let (found_lines, _) = apart(&found["timeline.csv"]);
    assert_eq!(found_lines, lines);
    for name in TABLES.into_iter().filter(|name| *name != "timeline.csv") {
        assert_table(name, &found[name], &expected[name]);
    }
    assert_eq!(analyze(folder.path().to_str().unwrap(), once.path(), &[]), 0);
    let run = run_json(once.path());
    let inputs = run["inputs"].as_array().unwrap();
    assert_eq!(run["counts"]["events"], lines.len());
    assert_eq!(run["counts"]["copies"], lines.len());
    let mut copies = 0;
    for input in inputs {
        let path = input["path"].as_str().unwrap();
        for overlap in input["overlaps"].as_array().unwrap() {
            assert_eq!(overlap["with"], path.replace("/m/", "/a/"));
            assert_eq!(overlap["differing"], 0);
            copies += overlap["copies"].as_u64().unwrap();
        }
        assert!(!path.contains("/a/") || input["overlaps"].as_array().unwrap().is_empty());
    }
    assert_eq!(copies, lines.len() as u64);
    assert_same_bytes(folder.path().to_str().unwrap(), 0);
}

/// EVTX beside what an independent reader renders of it, and a zip of it.
#[test]
fn of_a_log_and_its_exports_the_log_counts() {
    let once = tempfile::tempdir().unwrap();
    copy_samples(&once.path().join("m"));
    let folder = tempfile::tempdir().unwrap();
    copy_samples(&folder.path().join("m"));
    inputs::render(&folder.path().join("a"), "jsonl", inputs::json_lines);
    inputs::render(&folder.path().join("b"), "xml", inputs::xml);
    let mut zip = ZipWriter::new(File::create(folder.path().join("z.zip")).unwrap());
    for (path, name) in inputs::samples() {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(path).unwrap()).unwrap();
    }
    zip.finish().unwrap();
    let (from, to) = (folder.path().to_str().unwrap(), once.path().to_str().unwrap());
    let copies = assert_same(once.path(), folder.path(), from, to);
    for copy in copies {
        assert_eq!(copy.matches("; ").count(), 2, "{copy}");
        assert!(copy.contains(".jsonl:") && copy.contains(".xml:") && copy.contains("z.zip/"));
    }
}

#[test]
fn of_a_log_and_what_nxlog_shipped_of_it_the_log_counts() {
    let config = Config { sessions: 30, noise_per_host: 40, ..Config::default() };
    let fleet = Fleet::generate(&config);
    let (once, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fleet.write_evtx(&once.path().join("logs")).unwrap();
    fleet.write_evtx(&folder.path().join("logs")).unwrap();
    fleet.write_json_lines(&folder.path().join("collector"), JsonLineFormat::NxLog).unwrap();
    let (from, to) = (folder.path().to_str().unwrap(), once.path().to_str().unwrap());
    let copies = assert_same(once.path(), folder.path(), from, to);
    let shipped = copies.iter().filter(|copies| copies.contains("/collector/")).count();
    assert_eq!(shipped, copies.len());
}

fn event(record_id: u64, seconds: u64, user: &str) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Security-Auditing".into(),
        event_id: 4672,
        channel: "Security".into(),
        computer: "SRV02".into(),
        time: FileTime::from_unix(1_773_522_847 + seconds, 1_234_567),
        record_id,
        payload: Payload::EventData(vec![
            ("SubjectUserName".into(), user.into()),
            ("SubjectLogonId".into(), format!("{record_id:#x}").into()),
        ]),
        ..EvtxEvent::default()
    }
}

fn log(path: &Path, mut log: LogWriter, events: impl Iterator<Item = EvtxEvent>) {
    events.for_each(|event| log.push(&event).unwrap());
    fs::write(path, log.finish()).unwrap();
}

/// A log that has rolled over, an older shadow copy of it, an export, and the log that was begun
/// after it was cleared.
#[test]
fn logs_that_overlap_give_their_union() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let events = |ids: std::ops::Range<u64>| ids.map(|id| event(id, id, "a"));
    log(&at("live.evtx"), LogWriter::new(), events(400..1000));
    log(&at("shadow.evtx"), LogWriter::new(), events(1..700));
    log(&at("x-export.evtx"), LogWriter::numbered_from(1), events(650..750));
    log(&at("y-cleared.evtx"), LogWriter::new(), (1..100).map(|id| event(id, 5000 + id, "a")));
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(folder.path().to_str().unwrap(), out.path(), &[]), 0);
    let timeline = rows(out.path(), "timeline.csv");
    let ids: Vec<u64> = timeline.iter().map(|row| row["record_id"].parse().unwrap()).collect();
    assert_eq!(ids, (1..1000).chain(1..100).collect::<Vec<_>>());
    for row in &timeline[..999] {
        let id: u64 = row["record_id"].parse().unwrap();
        let file = if id < 400 { "shadow.evtx" } else { "live.evtx" };
        assert!(row["input_file"].ends_with(file), "{row:?}");
        let copies = &row["copies"];
        assert_eq!(copies.contains(&format!("shadow.evtx:{id}@")), (400..700).contains(&id));
        let number = id.wrapping_sub(649);
        let export = format!("x-export.evtx:{id}#{number}@");
        assert_eq!(copies.contains(&export), (650..750).contains(&id), "{row:?}");
    }
    assert!(timeline[999..].iter().all(|row| row["copies"].is_empty()));
    let run = run_json(out.path());
    let overlaps = |index: usize| -> Vec<(String, u64)> {
        let overlaps = run["inputs"][index]["overlaps"].as_array().unwrap();
        let overlap = |overlap: &serde_json::Value| {
            let name = Path::new(overlap["with"].as_str().unwrap()).file_name().unwrap().to_owned();
            (name.into_string().unwrap(), overlap["copies"].as_u64().unwrap())
        };
        overlaps.iter().map(overlap).collect()
    };
    assert_eq!(overlaps(0), []);
    assert_eq!(overlaps(1), [("live.evtx".to_owned(), 300)]);
    assert_eq!(overlaps(2), [("live.evtx".to_owned(), 100)]);
    assert_eq!(overlaps(3), []);
    assert_eq!(run["counts"]["events"], 999 + 99);
    assert_eq!(run["counts"]["copies"], 400);
    assert_same_bytes(folder.path().to_str().unwrap(), 0);
}

#[test]
fn a_copy_that_was_changed_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    log(&at("live.evtx"), LogWriter::new(), (1..10).map(|id| event(id, id, "a")));
    let changed = |id| event(id, id, if id == 5 { "b" } else { "a" });
    log(&at("a-changed.evtx"), LogWriter::new(), (1..10).map(changed));
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(folder.path().to_str().unwrap(), out.path(), &[]), 0);
    let timeline = rows(out.path(), "timeline.csv");
    assert_eq!(timeline.len(), 10);
    let users: Vec<&str> = timeline.iter().map(|row| &*row["user"]).collect();
    assert_eq!(users.iter().filter(|user| **user == "b").count(), 1);
    let run = run_json(out.path());
    assert_eq!(run["inputs"][1]["overlaps"][0]["copies"], 8);
    assert_eq!(run["inputs"][1]["overlaps"][0]["differing"], 1);
}

/// A collector has the host's own records, in chunks and under numbers of its own.
#[test]
fn forwarded_records_are_copies_of_the_hosts_own() {
    let folder = tempfile::tempdir().unwrap();
    let own = root().join("samples");
    let out = tempfile::tempdir().unwrap();
    copy_samples(folder.path());
    let mut forwarded = LogWriter::numbered_from(1);
    let mut count = 0;
    for id in 1..=40 {
        forwarded.push(&event(id, id, "a")).unwrap();
        forwarded.push(&EvtxEvent { computer: "SRV03".into(), ..event(id, id, "a") }).unwrap();
        count += 2;
    }
    fs::write(folder.path().join("ForwardedEvents.evtx"), forwarded.finish()).unwrap();
    log(&folder.path().join("own.evtx"), LogWriter::new(), (1..=40).map(|id| event(id, id, "a")));
    assert_eq!(analyze(folder.path().to_str().unwrap(), out.path(), &[]), 0);
    let found = rows(out.path(), "timeline.csv").len();
    assert_eq!(analyze(own.to_str().unwrap(), &out.path().join("samples"), &[]), 0);
    assert_eq!(found, rows(&out.path().join("samples"), "timeline.csv").len() + count);
    assert_eq!(run_json(out.path())["counts"]["copies"], 40);
}

/// Rules that count records.
const BURST: &str = "\
title: Privileges
name: privileges
logsource: {product: windows, service: security}
detection: {selection: {EventID: 4672}, condition: selection}
---
title: A burst of privileges
correlation:
    type: event_count
    rules: [privileges]
    group-by: [SubjectUserName]
    timespan: 1m
    condition: {gte: 5}
    generate: true
---
title: Privileges of two kinds
correlation:
    type: value_count
    rules: [privileges]
    group-by: [SubjectUserName]
    timespan: 1m
    condition: {field: PrivilegeList, gte: 2}
    generate: true
";

/// `detections.csv` and `findings.csv` of a folder with these rules.
fn burst(folder: &Path, rules: &Path) -> [String; 2] {
    let out = tempfile::tempdir().unwrap();
    let more = ["--no-default-pack", "--pack", rules.to_str().unwrap()];
    assert_eq!(analyze(folder.to_str().unwrap(), out.path(), &more), 0);
    ["detections.csv", "findings.csv"]
        .map(|name| fs::read_to_string(out.path().join(name)).unwrap())
}

#[test]
fn copies_count_for_nothing_in_correlations_and_findings() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, logs) = (folder.path().join("rules.yml"), folder.path().join("logs"));
    fs::write(&rules, BURST).unwrap();
    fs::create_dir(&logs).unwrap();
    let events = || (1..=9).map(|id| event(id, id, if id < 5 { "a" } else { "b" }));
    log(&logs.join("live.evtx"), LogWriter::new(), events());
    let once = burst(&logs, &rules);
    // The five of `b`; the four of `a` are too few.
    let found = once[0].lines().filter(|line| line.contains(",A burst of privileges,"));
    let found: Vec<&str> = found.collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(",SubjectUserName=b; count=5; hits=5,"), "{found:?}");
    assert_eq!(once[0].lines().filter(|line| line.contains(",Privileges,")).count(), 9);
    // A shadow copy, and an export that was renumbered.
    log(&logs.join("shadow.evtx"), LogWriter::new(), events());
    log(&logs.join("x-export.evtx"), LogWriter::numbered_from(100), events());
    assert_eq!(burst(&logs, &rules), once);
}

/// What only correlations ask for belongs to what a record says.
#[test]
fn records_that_correlations_tell_apart_are_no_copies() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, logs) = (folder.path().join("rules.yml"), folder.path().join("logs"));
    fs::write(&rules, BURST).unwrap();
    fs::create_dir(&logs).unwrap();
    let with = |privilege: &str| {
        let mut with = event(1, 1, "a");
        if let Payload::EventData(data) = &mut with.payload {
            data.push(("PrivilegeList".into(), privilege.into()));
        }
        [with].into_iter()
    };
    log(&logs.join("live.evtx"), LogWriter::new(), with("SeDebugPrivilege"));
    log(&logs.join("shadow.evtx"), LogWriter::new(), with("SeTcbPrivilege"));
    let [detections, _] = burst(&logs, &rules);
    assert!(detections.contains(",SubjectUserName=a; count=2; hits=2,"), "{detections}");
    log(&logs.join("shadow.evtx"), LogWriter::new(), with("SeDebugPrivilege"));
    let [detections, _] = burst(&logs, &rules);
    assert!(!detections.contains("Privileges of two kinds"), "{detections}");
}
