//! What psrpcore, an independent implementation of the protocol, encodes, is decoded: every message
//! that it can send, values of all kinds, two pipelines at a time, versions 2.1 to 2.3.

use std::process::Command;

use psr_forensics::psrp::{self, Conversation, Fragment, MessageType, Pipeline, SessionKey};
use serde_json::{Value, json};

use super::fixtures::{bytes, exchange, text};
use crate::common::{root, say};

/// A conversation that psrpcore made; says so where Python does not have it.
fn made(seed: u32) -> Option<Value> {
    let script = root().join("tests/it/psrp/peer.py");
    let python = |arguments: &[&str]| Command::new("python3").args(arguments).output().ok();
    if !python(&["-c", "import psrpcore"]).is_some_and(|run| run.status.success()) {
        say("skipped: there is no Python with psrpcore");
        return None;
    }
    let run = python(&[script.to_str().unwrap(), &seed.to_string()]).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(serde_json::from_slice(&run.stdout).unwrap())
}

fn conversation(made: &Value) -> Conversation<usize> {
    let rows = made["rows"].as_array().unwrap().iter().flat_map(|row| {
        let (fragments, rest) = Fragment::split(&bytes(text(row, "bytes")));
        assert_eq!(rest, None);
        let to_server = row["to_server"].as_bool().unwrap();
        fragments.into_iter().map(move |fragment| (1, to_server, fragment))
    });
    let conversation = exchange(rows);
    assert_eq!((conversation.gaps.len(), conversation.faults.len()), (0, 0));
    assert_eq!(conversation.damaged().count(), 0);
    assert_eq!(conversation.absent, []);
    conversation
}

/// A pipeline in the form in which psrpcore's side tells it.
fn told(found: &Pipeline) -> Value {
    let (creation, _) = found.creation.as_ref().unwrap();
    let script = &creation.commands[0];
    assert_eq!(creation.commands[1].text, "Get-Item");
    assert!(script.end_of_statement && script.is_script);
    assert_eq!((found.state(), found.input_closed), (Some("Completed"), true));
    let lines = |items: &[psrp::PipelineObject]| {
        items.iter().map(psrp::PipelineObject::line).collect::<Vec<_>>()
    };
    let calls: Vec<_> = found.host_calls.iter().map(|(call, _)| call).collect();
    let methods: Vec<&str> = calls.iter().map(|call| &*call.method).collect();
    assert_eq!(methods, ["WriteLine2", "ReadLine", "PromptForChoice", "PromptForCredential1"]);
    assert_eq!(&calls[2].parameters[..2], ["caption", "message"]);
    assert_eq!(calls[2].response.as_deref(), Some("1"));
    assert!(calls[3].response.as_ref().unwrap().contains("UserName=user"));
    let (error, _) = &found.errors[0];
    assert_eq!(error.category_name, Some("ObjectNotFound"));
    assert_eq!(error.fully_qualified_error_id.as_deref(), Some("Id,1"));
    json!({
        "script": script.text,
        "argument": script.parameters[0].value,
        "secret": script.parameters[1].value,
        "input": lines(&found.input),
        "output": lines(&found.output),
        "warning": found.warnings[0].0,
        "verbose": found.verbose[0].0,
        "debug": found.debug[0].0,
        "error": error.message,
        "progress": psrp::progress_lines(found.progress.iter().map(|(record, _)| record)),
        "information": found.information.iter().map(|(record, _)| &record.data).collect::<Vec<_>>(),
        "written": calls[0].parameters[0],
        "answer": calls[1].response,
    })
}

#[test]
fn what_psrpcore_encodes_is_decoded() {
    for seed in 1..=6 {
        let Some(made) = made(seed) else { return };
        let mut conversation = conversation(&made);
        let pools = conversation.pools();
        let [pool] = &pools[..] else { panic!("{} pools", pools.len()) };
        assert_eq!(pool.id.to_string(), text(&made, "pool"));
        let calls = pool
            .host_calls
            .iter()
            .map(|(call, _)| (&*call.method, call.parameters.clone(), call.response.as_deref()));
        assert_eq!(
            calls.collect::<Vec<_>>(),
            [
                ("SetWindowTitle", vec!["a title".to_owned()], None),
                ("GetName", vec![], Some("a host"))
            ]
        );
        assert_eq!(pool.states.last().unwrap().0, "Broken");
        assert_eq!(pool.failure.as_ref().unwrap().message, "gone");
        assert!(pool.key_exchange);
        let sent = |kind| conversation.messages.iter().any(|message| message.header.kind == kind);
        let late = text(&made, "version") == "2.3";
        for (kind, is_sent) in [
            (MessageType::UserEvent, true),
            (MessageType::ApplicationPrivateData, true),
            (MessageType::GetAvailableRunspaces, true),
            (MessageType::RunspaceAvailability, true),
            (MessageType::SetMaxRunspaces, true),
            (MessageType::SetMinRunspaces, true),
            (MessageType::PublicKey, true),
            (MessageType::EncryptedSessionKey, true),
            (MessageType::ResetRunspaceState, late),
            (MessageType::InformationRecord, late),
        ] {
            assert_eq!(sent(kind), is_sent, "{}", kind.name());
        }
        let pipelines: Vec<Pipeline> = conversation.pipelines().collect();
        let of = |id: &str| pipelines.iter().find(|found| found.id.to_string() == id).unwrap();
        let expected = made["pipelines"].as_array().unwrap();
        assert_eq!(pipelines.len(), 2 * expected.len() + 1);
        for expected in expected {
            let found = told(of(text(expected, "id")));
            for (key, found) in found.as_object().unwrap() {
                match key.as_str() {
                    "secret" => assert_eq!(found, "<encrypted SecureString>"),
                    _ => assert_eq!(found, &expected[key], "seed {seed}: {key}"),
                }
            }
            let other = of(text(expected, "other"));
            assert_eq!(other.state(), Some("Stopped"));
            assert!(other.command_text().unwrap().starts_with("Get-Other "));
            let output: Vec<String> = other.output.iter().map(psrp::PipelineObject::line).collect();
            assert_eq!(output, (0..20).map(|at| format!("other {at}")).collect::<Vec<_>>());
            let (failure, _) = other.failure.as_ref().unwrap();
            assert_eq!(failure.message, "The pipeline has been stopped.");
        }
        let metadata = of(text(&made, "metadata")).metadata_request.as_ref().unwrap();
        assert_eq!(metadata.0, ["Get-Item", "Get-It*"]);

        conversation.session_key = SessionKey::parse(text(&made, "session_key"));
        for (at, expected) in expected.iter().enumerate() {
            let id = text(expected, "id");
            let found = conversation.pipelines().find(|found| found.id.to_string() == id).unwrap();
            assert_eq!(told(&found)["secret"], expected["secret"], "seed {seed}, {at}");
            let (credential, _) = found.host_calls.iter().nth(3).unwrap();
            let answer = credential.response.as_ref().unwrap();
            assert!(answer.contains(text(expected, "secret")), "seed {seed}, {at}: {answer}");
        }
    }
}
