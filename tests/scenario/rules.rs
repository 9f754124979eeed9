//! Runs the default pack on fleets without an attack, and checks the session fields that rules
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use scenario::{Config, Fleet, Loss};

use crate::found::{Row, rows};

/// Runs the program on a fleet's logs.
fn analyzed(config: &Config, folder: &Path, more: &[&str]) {
    let (logs, out) = (folder.join("logs"), folder.join("out"));
    Fleet::generate(config).write_evtx(&logs).expect("there is room");
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.args(["analyze", "-q"]).args(more).arg(logs).arg("-o").arg(out);
    let run = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{errors}");
}

/// No log is cleared, because clearing a log is not noise.
const NO_CLEARING: Loss = Loss { cleared: 0, rolled_over: 2, uncollected: 3 };

fn no_hit_of_level_high(config: &Config) {
    let folder = tempfile::tempdir().expect("there is room");
    analyzed(config, folder.path(), &[]);
    let detections = rows(&folder.path().join("out"), "detections.csv");
    assert!(!detections.is_empty(), "no rule of any level fired: was the pack loaded?");
    let loud: Vec<(&str, &str)> = detections
        .iter()
        .filter(|row| ["high", "critical"].contains(&&*row["level"]))
        .map(|row| (&*row["rule_title"], &*row["evidence"]))
        .collect();
    assert_eq!(loud, []);
}

#[test]
fn the_noise_of_a_fleet_trips_no_rule_of_level_high() {
    let quiet =
        Config { sessions: 0, noise_per_host: 1_000, loss: NO_CLEARING, ..Config::default() };
    no_hit_of_level_high(&quiet);
}

#[test]
fn everyday_sessions_trip_no_rule_of_level_high() {
    no_hit_of_level_high(&Config { loss: NO_CLEARING, ..Config::default() });
}

#[test]
#[ignore = "a minute without optimization"]
fn no_fleet_of_several_trips_a_rule_of_level_high() {
    for seed in 2..8 {
        for sessions in [0, 220] {
            let loss = NO_CLEARING;
            no_hit_of_level_high(&Config { seed, sessions, loss, ..Config::default() });
        }
    }
}

/// A rule for each field that describes the time before a session.
const ASKS: &str = "
{title: first, level: low, logsource: {category: remoting_session}, detection: {s: {PairFirstSeen: 'true'}, condition: s}}
---
{title: again, level: low, logsource: {category: remoting_session}, detection: {s: {PairFirstSeen: 'false'}, condition: s}}
---
{title: hop, level: low, logsource: {category: remoting_session}, detection: {s: {SecondHop: 'true', ParentSessionId|startswith: S}, condition: s}}
---
{title: tool, level: low, logsource: {category: remoting_session}, detection: {s: {Tool|exists: true}, condition: s}}
---
{title: refused, level: low, logsource: {category: remoting_session}, detection: {s: {RefusedBefore|gte: 1}, condition: s}}
";

#[test]
fn rules_can_read_what_happened_before_a_session() {
    let folder = tempfile::tempdir().expect("there is room");
    let pack = folder.path().join("asks.yml");
    fs::write(&pack, ASKS).expect("there is room");
    let pack = pack.to_str().expect("test folders are UTF-8");
    analyzed(&Config::default(), folder.path(), &["--no-default-pack", "--pack", pack]);
    let out = folder.path().join("out");
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&out, "detections.csv") {
        told.entry(row["rule_title"].clone()).or_default().insert(row["session_id"].clone());
    }
    let sessions = rows(&out, "sessions.csv");
    let with = |filled: &dyn Fn(&Row) -> bool| -> BTreeSet<String> {
        let chosen = sessions.iter().filter(|row| filled(row));
        chosen.map(|row| row["session_id"].clone()).collect()
    };
    assert_eq!(told["hop"], with(&|row| !row["parent_session_id"].is_empty()));
    assert_eq!(told["tool"], with(&|row| !row["tool"].is_empty()));
    const REFUSALS: [&str; 3] = ["access_denied", "bad_credentials", "not_authorised"];
    let attempts = rows(&out, "attempts.csv").into_iter();
    let refused = attempts.filter(|row| REFUSALS.contains(&&*row["reason"]));
    let mut refused: BTreeSet<String> =
        refused.map(|row| row["later_session_id"].clone()).collect();
    refused.remove("");
    assert_eq!(told["refused"], refused);
    // Rows are in the order of starts; an account may be known by its SID, its name or both.
    let (mut first, mut again) = (BTreeSet::new(), BTreeSet::new());
    for (index, row) in sessions.iter().enumerate() {
        let same = |column: &str, other: &Row| {
            !row[column].is_empty() && row[column].eq_ignore_ascii_case(&other[column])
        };
        if row["user"].is_empty() && row["user_sid"].is_empty() {
            continue;
        }
        let seen = sessions[..index].iter().any(|other| {
            same("target_host", other) && (same("user", other) || same("user_sid", other))
        });
        if seen { &mut again } else { &mut first }.insert(row["session_id"].clone());
    }
    assert!(!first.is_empty() && !again.is_empty());
    assert_eq!((&told["first"], &told["again"]), (&first, &again));
}
