//! Fleets are the same each time, another reader reads them, and they have all that they should.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use scenario::{Config, ExpectedResult, FactEvidence, Fleet, JsonLineFormat};
use serde_json::Value;

fn small() -> Config {
    Config { sessions: 40, noise_per_host: 60, ..Config::default() }
}

/// The files below a folder by their path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(
                    path.strip_prefix(folder).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

fn logs(config: &Config) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    Fleet::generate(config).write_evtx(folder.path()).unwrap();
    files(folder.path())
}

#[test]
fn one_seed_makes_one_fleet() {
    assert!(logs(&small()) == logs(&small()));
    assert_eq!(Fleet::generate(&small()).truth(), Fleet::generate(&small()).truth());
    let other = Config { seed: 2, ..small() };
    assert_ne!(Fleet::generate(&small()).truth(), Fleet::generate(&other).truth());
}

#[test]
fn another_reader_reads_the_logs_and_agrees_with_the_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::generate(&small());
    fleet.write_evtx(folder.path()).unwrap();
    let lines = tempfile::tempdir().unwrap();
    fleet.write_json_lines(lines.path(), JsonLineFormat::EvtxDump).unwrap();
    let lines = files(lines.path());
    let logs = files(folder.path());
    assert_eq!(logs.len(), lines.len());
    for path in logs.keys() {
        let mut parser = evtx::EvtxParser::from_path(folder.path().join(path)).unwrap();
        let read: Vec<Value> = parser
            .records_json_value()
            .map(|record| record.expect("every record is whole").data)
            .collect();
        let text = String::from_utf8(lines[&path.with_extension("jsonl")].clone()).unwrap();
        let own: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(own.len(), read.len(), "{}", path.display());
        for (own, read) in own.iter().zip(&read) {
            assert_eq!(own, read, "{}", path.display());
        }
    }
}

#[test]
fn all_cases_are_there_and_something_is_unknown() {
    let fleet = Fleet::generate(&Config { noise_per_host: 20, ..Config::default() });
    let truth = fleet.truth();
    let cases: BTreeSet<&str> = truth.sessions.iter().map(|s| s.case.as_str()).collect();
    assert!(cases.len() >= 35, "{cases:?}");
    let failed: BTreeSet<&str> = truth.attempts.iter().map(|a| a.case.as_str()).collect();
    assert_eq!(failed.len(), 6, "{failed:?}");
    let all = || truth.sessions.iter();
    let found = all().filter(|session| session.expected == ExpectedResult::Yes);
    assert!(found.count() >= 200);
    assert!(all().any(|session| session.expected == ExpectedResult::No));
    assert!(all().any(|session| session.source_host.evidence == FactEvidence::No));
    assert!(all().any(|session| session.transport.evidence == FactEvidence::No));
    assert!(all().any(|session| session.parent.evidence == FactEvidence::Yes));
    // Each side alone, and all together.
    let sides: BTreeSet<String> = all().map(|session| session.sides.join(" ")).collect();
    for expected in ["client", "server", "dc", "client server", "client server dc"] {
        assert!(sides.contains(expected), "{expected} in {sides:?}");
    }
    let clocks = truth.hosts.iter().map(|host| host.clock_offset_seconds.abs());
    assert!(clocks.fold(0.0, f64::max) > 60.0);
    assert!(truth.hosts.iter().all(|host| host.clock_offset_seconds.abs() <= 90.0));
}
