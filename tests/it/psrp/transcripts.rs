//! Logs of the fixtures' event rows, through the whole program: sessions, their commands, what came
//! back.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::fixtures::{all, evtx, fixtures, sessions, soap_lines, text};
use crate::common::{Row, analyze, rows};

/// Analyzes one log and gives its commands' rows and the transcripts.
fn run(name: &str, log: &[u8]) -> (Vec<Row>, Vec<Row>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join(name), folder.path().join("out"));
    std::fs::write(&path, log).unwrap();
    let code = analyze(path.to_str().unwrap(), &out, &["--no-default-pack", "--transcripts"]);
    assert_eq!(code, 0, "{name}");
    (rows(&out, "sessions.csv"), rows(&out, "commands.csv"), transcripts(&out))
}

pub fn transcripts(out: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(out.join("sessions")) else { return String::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Whether all that a pipeline is expected to show stands in a transcript, in this order.
pub fn reads(name: &str, transcript: &str, pipeline: &Value) {
    let mut rest = transcript;
    let mut next = |what: &str| {
        for line in what.split('\n').filter(|line| is_plain(line)) {
            let at = rest.find(line).unwrap_or_else(|| panic!("{name}: {line:.200} is not there"));
            rest = &rest[at + line.len()..];
        }
    };
    let commands = pipeline["commands"].as_array().unwrap();
    let is_prompt = commands.len() == 1 && commands[0]["text"] == "prompt";
    if !is_prompt {
        commands.iter().for_each(|command| next(text(command, "text")));
    }
    let list = |key: &str| pipeline[key].as_array().unwrap().iter();
    list("output").for_each(|line| next(line.as_str().unwrap()));
    let errors = list("errors").chain(Some(&pipeline["failure"]).filter(|one| !one.is_null()));
    let shown = |error: &Value| {
        let details = error["details_message"].as_str();
        details.unwrap_or_else(|| text(error, "message")).to_owned()
    };
    let mut others: Vec<String> = errors.map(shown).collect();
    for key in ["warnings", "verbose", "debug"] {
        others.extend(list(key).map(|one| one.as_str().unwrap().to_owned()));
    }
    let answers = list("host_calls").filter(|call| call["answered"] == true);
    others.extend(answers.filter_map(|call| Some(call["response"].as_str()?.to_owned())));
    for line in others.iter().flat_map(|other| other.split('\n')).filter(|line| is_plain(line)) {
        assert!(transcript.contains(line), "{name}: {line:.200} is not there");
    }
}

/// Whether a line stands in a file as it is: others show their control characters.
fn is_plain(line: &str) -> bool {
    line.len() < 30_000 && line.chars().all(|c| (' '..'\u{7f}').contains(&c))
}

#[test]
fn a_logs_transcript_matches_its_scenario() {
    let mut read = 0;
    for (name, fixture) in fixtures() {
        let begins =
            fixture["events"].as_array().unwrap().iter().any(|row| row["EventID"] == 32850);
        let (sessions_found, commands, transcript) = run(&format!("{name}.evtx"), &evtx(&fixture));
        if !begins {
            // Nothing says that a session began: none is made up.
            assert_eq!(sessions_found.len(), 0, "{name}");
            continue;
        }
        read += 1;
        let expected = &fixture["expected"];
        let users: BTreeMap<String, &str> = sessions(expected)
            .iter()
            .map(|one| (one["process_id"].to_string(), text(one, "user")))
            .collect();
        assert_eq!(sessions_found.len(), users.len(), "{name}: sessions");
        for session in &sessions_found {
            assert_eq!(session["user"], users[&session["process_id"]], "{name}");
            assert!(session["command_completeness"].starts_with("remoting traffic; "), "{name}");
        }
        let pipelines = all(expected, "pipelines");
        assert_eq!(commands.len(), pipelines.len(), "{name}: commands");
        for pipeline in pipelines {
            let id = text(pipeline, "pipeline_id");
            let row = commands.iter().find(|row| row["pipeline_id"] == id);
            let row = row.unwrap_or_else(|| panic!("{name}: {id}"));
            assert_eq!(row["state"], pipeline["state"].as_str().unwrap_or(""), "{name}: {id}");
            reads(&name, &transcript, pipeline);
        }
    }
    assert!(read > 20 || fixtures().is_empty(), "{read} transcripts");
}

#[test]
fn soap_alone_appears_in_the_timeline_and_makes_no_session() {
    for (name, fixture) in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = (folder.path().join(format!("{name}.jsonl")), folder.path().join("out"));
        std::fs::write(&path, soap_lines(&fixture)).unwrap();
        assert_eq!(analyze(path.to_str().unwrap(), &out, &["--no-default-pack"]), 0, "{name}");
        assert_eq!(rows(&out, "sessions.csv").len(), 0, "{name}");
        let timeline = rows(&out, "timeline.csv");
        assert_eq!(timeline.len(), fixture["soap"].as_array().unwrap().len(), "{name}");
        assert!(timeline.iter().all(|row| row["kind"] == "traffic"), "{name}");
    }
}

/// Both logs of a target at once: what one lacks, the other has, and nothing counts twice.
#[test]
fn soap_fills_the_gaps_of_fragments() {
    for (name, fixture) in fixtures() {
        if !["oversized_fragments_not_logged", "simple_script"].contains(&&*name) {
            continue;
        }
        let both = super::fixtures::lines(&fixture) + "\n" + &soap_lines(&fixture);
        let (sessions, commands, transcript) = run(&format!("{name}.jsonl"), both.as_bytes());
        assert_eq!(sessions.len(), 1, "{name}");
        let expected = super::fixtures::from_soap(&fixture);
        let pipelines = all(&expected, "pipelines");
        assert_eq!(commands.len(), pipelines.len(), "{name}");
        pipelines.iter().for_each(|pipeline| reads(&name, &transcript, pipeline));
    }
}

/// The script block that the target logged of what came over the wire is the same command.
#[test]
fn a_pipeline_and_its_script_block_are_one_row() {
    let Some((name, fixture)) = fixtures().into_iter().find(|(name, _)| name == "simple_script")
    else {
        return;
    };
    let pipeline = all(&fixture["expected"], "pipelines")[0];
    let script = text(&pipeline["commands"][0], "text");
    let begins = &fixture["events"][0];
    let block = serde_json::json!({"Event": {
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-PowerShell"}},
            "EventID": 4104,
            "Level": 5,
            "TimeCreated": {"#attributes": {"SystemTime": begins["TimeCreated"]}},
            "EventRecordID": 7,
            "Execution": {"#attributes": {"ProcessID": begins["ProcessID"], "ThreadID": 1}},
            "Channel": "Microsoft-Windows-PowerShell/Operational",
            "Computer": fixture["events_common"]["Computer"],
        },
        "EventData": {
            "MessageNumber": 1,
            "MessageTotal": 1,
            "ScriptBlockText": script,
            "ScriptBlockId": "9f0c6f0e-5b43-4d0e-9d0a-0f3f6a1c2b3d",
            "Path": "",
        },
    }});
    let log = format!("{}\n{block}\n", super::fixtures::lines(&fixture));
    let (_, commands, transcript) = run(&format!("{name}.jsonl"), log.as_bytes());
    assert_eq!(commands.len(), 1);
    let row = &commands[0];
    assert_eq!((&*row["text"], &*row["state"], &*row["role"]), (script, "Completed", "typed"));
    assert_eq!(row["all_events"], "4104; 32867; 32868");
    assert!(row["output"].starts_with("PerfLogs␊Program Files␊"), "{}", row["output"]);
    reads(&name, &transcript, pipeline);
}
