//! The sample scenario against `samples/truth.json`, which was written from its script by hand.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{Row, analyze, root, rows};
use serde_json::Value;

fn truth() -> Value {
    let text = std::fs::read(root().join("samples/truth.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn run(out: &Path) {
    assert_eq!(analyze("samples", out, &[]), 0);
}

/// A fact's value: `{value, proof}` or the value itself.
fn value(fact: &Value) -> &Value {
    fact.get("value").unwrap_or(fact)
}

fn text(fact: &Value) -> &str {
    value(fact).as_str().unwrap()
}

/// A time of the truth as the CSV files show it.
fn time(fact: &Value) -> String {
    text(fact).replace('T', " ").trim_end_matches('Z').to_owned()
}

#[test]
fn sessions_are_those_of_the_script() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let truth = truth();
    let expected = truth["sessions"].as_array().unwrap();
    let found = rows(out.path(), "sessions.csv");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for column in [
            "source_host",
            "source_ip",
            "target_host",
            "user",
            "user_sid",
            "auth",
            "transport",
            "configuration",
        ] {
            assert_eq!(found[column], text(&expected[column]), "{column}");
        }
        assert_eq!(found["kind"], text(&expected["kind"]));
        assert_eq!(found["start_time"], time(&expected["shell_created"]));
        assert_eq!(found["end_time"], time(&expected["end"]));
        assert_eq!(found["end_kind"], text(&expected["end_kind"]));
        assert_eq!(found["process_id"], expected["process"]["process_id"].to_string());
        let logons = expected["logon_ids"].as_array().unwrap().iter().map(text);
        assert_eq!(found["logon_ids"], logons.collect::<Vec<_>>().join("; "));
        let runspaces = value(&expected["runspace_ids"]).as_array().unwrap().iter().map(text);
        assert_eq!(found["runspace_ids"], runspaces.collect::<Vec<_>>().join("; "));
        assert_eq!(found["evidence_sides"], "client; server; dc");
        assert_eq!(found["confidence"], "high");
    }
    // Microsoft's table: Kerberos and NTLM over HTTP.
    let consequences = |row: &Row| {
        ["message_encryption", "server_identity_proven", "credential_exposed", "second_hop"]
            .map(|column| row[column].clone())
    };
    assert_eq!(consequences(&found[0]), ["ticket", "yes", "no", "with_delegation"]);
    assert_eq!(consequences(&found[1]), ["rc4", "no", "no", "no"]);
}

#[test]
fn commands_are_those_of_the_script() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let truth = truth();
    let found = rows(out.path(), "commands.csv");
    let mut found = found.iter();
    for (session, id) in truth["sessions"].as_array().unwrap().iter().zip(["S0001", "S0002"]) {
        for (number, expected) in (1..).zip(session["commands"].as_array().unwrap()) {
            let row = found.next().expect("as many commands as the script has");
            assert_eq!(row["command_id"], format!("{id}-{number}"));
            assert_eq!(row["time"], time(&expected["time"]));
            assert_eq!(row["source_event"], expected["event_id"].to_string());
            assert_eq!(row["depth"], expected["depth"].to_string());
            assert_eq!(row["role"], text(&expected["role"]));
            let parent = expected["parent"].as_u64().map(|parent| format!("{id}-{parent}"));
            assert_eq!(row["parent"], parent.unwrap_or_default());
            assert_eq!(row["completeness"], "whole");
            let typed = text(&expected["text"]).replace("\r\n", "␊");
            match expected.get("decoded") {
                Some(decoded) => {
                    assert_eq!(row["text"], text(decoded));
                    assert_eq!(row["original"], typed);
                }
                None => assert_eq!(row["text"], typed),
            }
            // 4103 adds the parameters it bound.
            match expected.get("invokes") {
                Some(invoked) => {
                    let invocations = &row["invocations"];
                    assert!(invocations.starts_with(text(&invoked["command"])), "{invocations}");
                    for (name, value) in invoked["parameters"].as_object().unwrap() {
                        let bound = format!(" -{name} \"{}\"", value.as_str().unwrap());
                        assert!(invocations.contains(&bound), "{bound} in {invocations}");
                    }
                    assert_eq!(row["runspace_id"], text(&expected["runspace_id"]));
                    assert_eq!(row["pipeline_id"], text(&expected["pipeline_id"]));
                }
                None => assert_eq!(row["invocations"], ""),
            }
            // All its records, and no others.
            let named: Vec<String> =
                row["evidence"].split("; ").map(|proof| record_id(proof).to_owned()).collect();
            let proofs = proofs(expected).into_iter().map(|[.., record]| record);
            assert_eq!(named, proofs.collect::<Vec<_>>());
        }
    }
    assert_eq!(found.next(), None);
}

/// The EventRecordID in an evidence pointer.
fn record_id(pointer: &str) -> &str {
    let (_, id) = pointer.rsplit_once(':').unwrap();
    id.split(['@', '#']).next().unwrap()
}

#[test]
fn the_failed_attempt_is_an_attempt_and_no_session() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let truth = truth();
    let expected = &truth["failed_attempts"].as_array().unwrap()[0];
    let found = rows(out.path(), "attempts.csv");
    assert_eq!(found.len(), 1);
    let found = &found[0];
    assert_eq!(found["time"], time(&expected["time"]));
    for column in ["source_host", "source_ip", "target_host"] {
        assert_eq!(found[column], text(&expected[column]), "{column}");
    }
    assert_eq!(found["error_code"], value(&expected["error_code"]).to_string());
    assert_eq!(found["reason"], "access_denied");
    assert_eq!(found["evidence_sides"], "client; server");
    // The client's log names the account by its realm, the script by its domain.
    assert!(found["user"].ends_with(r"\j.doe"), "{}", found["user"]);
}

/// The timeline's session of each record, by host, channel, event id and record id.
fn session_of(timeline: &[Row]) -> BTreeMap<[String; 4], String> {
    let key = |row: &Row| {
        let host = row["host"].split('.').next().unwrap().to_owned();
        [host, row["channel"].clone(), row["event_id"].clone(), row["record_id"].clone()]
    };
    timeline.iter().map(|row| (key(row), row["session_id"].clone())).collect()
}

fn proofs(fact: &Value) -> Vec<[String; 4]> {
    let proofs = fact["proof"].as_array().into_iter().flatten();
    let of = |proof: &Value| {
        let host = text(&proof["host"]).to_owned();
        let channel = text(&proof["channel"]).to_owned();
        [host, channel, proof["event_id"].to_string(), proof["record_id"].to_string()]
    };
    proofs.map(of).collect()
}

#[test]
fn sessions_name_the_records_that_prove_them() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let truth = truth();
    let sessions = session_of(&rows(out.path(), "timeline.csv"));
    for (expected, id) in truth["sessions"].as_array().unwrap().iter().zip(["S0001", "S0002"]) {
        let facts = [
            "source_host",
            "source_ip",
            "target_host",
            "user",
            "user_sid",
            "auth",
            "configuration",
            "shell_created",
            "end",
            "process",
            "runspace_ids",
        ];
        let facts = facts.iter().map(|fact| &expected[fact]);
        let lists =
            ["logon_ids", "commands"].iter().flat_map(|list| expected[list].as_array().unwrap());
        for proof in facts.chain(lists).flat_map(proofs) {
            assert_eq!(sessions.get(&proof).map(String::as_str), Some(id), "{proof:?}");
        }
    }
    for noise in truth["not_sessions"].as_array().unwrap() {
        for proof in proofs(noise) {
            let session = sessions.get(&proof).unwrap_or_else(|| panic!("{proof:?} is not there"));
            assert_eq!(session, "", "{proof:?} is noise: {}", noise["what"]);
        }
    }
}

#[test]
fn detections_find_the_encoded_cradle_and_prove_it() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let detections = rows(out.path(), "detections.csv");
    let of = |session: &str, fired_on: &str, word: &str| {
        detections.iter().any(|row| {
            row["session_id"] == session
                && row["fired_on"] == fired_on
                && row["matched_fields"].contains(word)
                && row["evidence"].contains(".evtx:")
        })
    };
    // The session's own command holds the cradle in its decoded text only.
    assert!(of("S0001", "command", "DecodedText=IEX (New-Object Net.WebClient).Download"));
    assert!(of("S0001", "child_process", "-EncodedCommand"));
    assert!(of("S0002", "session", "Kind=winrs"));
    assert!(of("", "attempt", "access_denied"));
    // Nothing that was noise is worse than low.
    for row in detections.iter().filter(|row| row["session_id"].is_empty()) {
        assert!(
            row["level"] == "low"
                || row["level"] == "informational"
                || row["fired_on"] == "attempt",
            "{row:?}"
        );
    }
}

#[test]
fn every_record_is_read_and_exported_numbers_are_kept() {
    let out = tempfile::tempdir().unwrap();
    run(out.path());
    let truth = truth();
    let run = crate::common::run_json(out.path());
    let inputs = run["inputs"].as_array().unwrap();
    for file in truth["files"].as_array().unwrap() {
        let name = text(&file["file"]);
        let input = inputs.iter().find(|input| text(&input["path"]).ends_with(name)).unwrap();
        assert_eq!(input["records"], file["records"], "{name}");
        assert_eq!(input["faults"], serde_json::json!([]), "{name}");
    }
    // A log renumbered by its export: people quote EventRecordID, the bytes are found by the rest.
    let exported = &truth["exported"];
    let timeline = rows(out.path(), "timeline.csv");
    let mut of_file =
        timeline.iter().filter(|row| row["input_file"].ends_with(text(&exported["file"])));
    let number = exported["first_header_record_number"].to_string();
    let first = of_file.find(|row| row["record_number"] == number);
    assert_eq!(first.unwrap()["record_id"], exported["first_event_record_id"].to_string());
}
