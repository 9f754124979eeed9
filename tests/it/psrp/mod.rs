//! The exchanges made with an independent implementation, outside the repository: from fragments,
//! event rows and SOAP documents, all that they say and nothing else.

mod decode;
mod fixtures;
mod hostile;
mod losses;
mod peer;
mod ties;
mod told;
mod transcripts;

use std::collections::BTreeSet;

use psr_forensics::psrp::{AnomalyKind, Conversation, LostDocument, RunspacePool};
use serde_json::{Value, json};

use fixtures::{
    all, chunks, evtx, exchange, fixtures, fragments, from_log, from_soap, lines, sessions, soap,
};
use told::{anomalies, host_calls, incomplete, messages, pipeline, texts};

/// Rows in an order that does not depend on the log's.
fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| row.to_string());
    rows
}

fn without(rows: Vec<&Value>, keys: &[&str]) -> Vec<Value> {
    let row = |row: &Value| {
        let mut row = row.clone();
        for key in keys {
            row.as_object_mut().unwrap().remove(*key);
        }
        row
    };
    rows.into_iter().map(row).collect()
}

/// Compares all that is expected of fragments with what they gave.
fn compare(name: &str, expected: &Value, conversation: &Conversation<impl Clone>) {
    let found: Vec<Value> =
        conversation.pipelines().map(|found| pipeline(&found, conversation)).collect();
    let wanted: Vec<Value> = all(expected, "pipelines").into_iter().cloned().collect();
    assert_eq!(found.len(), wanted.len(), "{name}: pipelines");
    for (found, wanted) in sorted(found).into_iter().zip(sorted(wanted)) {
        for (key, wanted) in wanted.as_object().unwrap() {
            assert_eq!(&found[key], wanted, "{name}: {key}");
        }
        assert_eq!(found.as_object().unwrap().len(), wanted.as_object().unwrap().len(), "{name}");
    }
    let pools = conversation.pools();
    let of_pool = |id: &str| -> Vec<&Value> {
        let of = sessions(expected).into_iter();
        of.filter(|session| session["runspace_pool_id"] == id).collect()
    };
    for pool in &pools {
        let sessions = of_pool(&pool.id.to_string());
        compare_pool(name, &sessions, pool);
    }
    let wanted: BTreeSet<&str> = sessions(expected)
        .into_iter()
        .filter_map(|session| session["runspace_pool_id"].as_str())
        .collect();
    if !wanted.is_empty() {
        assert_eq!(pools.len(), wanted.len(), "{name}: pools");
    }
    let wanted = without(all(expected, "incomplete"), &[]);
    assert_eq!(sorted(incomplete(conversation)), sorted(wanted), "{name}: incomplete");
}

fn compare_pool(name: &str, sessions: &[&Value], pool: &RunspacePool) {
    if sessions.is_empty() {
        return;
    }
    let lists = |key: &str| -> Vec<Value> {
        let lists = sessions.iter().filter_map(|session| session[key].as_array());
        lists.flatten().cloned().collect()
    };
    if sessions[0].get("pool_states").is_none() {
        return;
    }
    assert_eq!(json!(texts(&pool.states)), json!(lists("pool_states")), "{name}: pool states");
    assert_eq!(host_calls(&pool.host_calls), json!(lists("pool_host_calls")), "{name}: pool calls");
    assert_eq!(json!(pool.key_exchange), sessions[0]["key_exchange"], "{name}: key exchange");
    // A log that starts late does not have it.
    if lists("messages").iter().any(|message| message["message_type"] == "SESSION_CAPABILITY") {
        let wanted = sessions[0]["protocolversion"].as_str();
        assert_eq!(pool.protocol_version.as_deref(), wanted, "{name}: protocol version");
    }
}

#[test]
fn from_fragments() {
    for (name, fixture) in fixtures() {
        compare_all(&name, &fixture["expected"], &exchange(fragments(&fixture)));
    }
}

#[test]
fn from_event_rows_in_json_lines_and_evtx() {
    for (name, fixture) in fixtures() {
        for (kind, log) in [("json", lines(&fixture).into_bytes()), ("evtx", evtx(&fixture))] {
            let conversation = from_log(&format!("{name}.{kind}"), &log);
            compare_all(&format!("{name} as {kind}"), &fixture["expected"], &conversation);
            // Rows that are damaged are told, one by one, and lead to nothing else.
            let damaged = fixture["malformed_rows"].as_array().map_or(&[][..], Vec::as_slice);
            for row in damaged {
                let id = row["object_id"].as_u64().unwrap();
                let refused = conversation.anomalies.iter().any(|anomaly| {
                    let of_row = anomaly.fragment.as_ref().is_some_and(|found| found.1 == id);
                    of_row && matches!(anomaly.kind, AnomalyKind::Rejected(_))
                });
                let faulty = conversation.faults.iter().any(|fault| fault.object_id == id)
                    || conversation.damaged().any(|(message, _)| message.object_id == id);
                assert!(refused || faulty, "{name}: {row}");
            }
        }
    }
}

/// Compares all that is expected, order of messages and oddities included.
fn compare_all(name: &str, expected: &Value, conversation: &Conversation<impl Clone>) {
    compare(name, expected, conversation);
    // Sessions in one file take turns in the log, and stand one after the other in what is expected.
    let mut wanted = without(all(expected, "messages"), &["summary"]);
    let mut found = messages(conversation);
    if sessions(expected).len() > 1 {
        (wanted, found) = (sorted(wanted), sorted(found));
    }
    assert_eq!(found, wanted, "{name}: messages");
    assert_eq!(json!(anomalies(conversation)), json!(all(expected, "anomalies")), "{name}");
}

#[test]
fn from_soap_documents() {
    for (name, fixture) in fixtures() {
        let conversation = soap(chunks(&fixture));
        let expected = from_soap(&fixture);
        let mut of_soap = expected.clone();
        // Which fragments a trace of documents has twice, is not told.
        of_soap.as_object_mut().unwrap().remove("anomalies");
        compare(&name, &of_soap, &conversation);
        if expected.get("messages").is_some() || expected.get("sessions").is_some() {
            let wanted = sorted(without(all(&expected, "messages"), &["summary"]));
            let mut found = messages(&conversation);
            // Where the events lack something, less is told of each message.
            if let Some(told) = wanted.first().and_then(Value::as_object) {
                let rows = found.iter_mut().filter_map(Value::as_object_mut);
                rows.for_each(|row| row.retain(|key, _| told.contains_key(key)));
            }
            assert_eq!(sorted(found), wanted, "{name}: messages");
        }
        shells(&name, &expected, &conversation);
        let missing = |lost: &LostDocument<_>| {
            json!([lost.total, lost.missing.iter().flat_map(|&(a, b)| a..=b).collect::<Vec<_>>()])
        };
        let found: Vec<Value> = conversation.lost_documents.iter().map(missing).collect();
        let wanted = all(&expected, "incomplete_documents").into_iter();
        let wanted: Vec<Value> =
            wanted.map(|lost| json!([lost["totalChunks"], lost["missing"]])).collect();
        assert_eq!(found, wanted, "{name}: documents");
    }
}

/// Compares shells with what is expected of them, where all documents are there.
fn shells(name: &str, expected: &Value, conversation: &Conversation<impl Clone>) {
    if !conversation.lost_documents.is_empty() {
        return;
    }
    for shell in &conversation.shells {
        let mine = |session: &&Value| session["shell_id"].as_str() == shell.id.as_deref();
        let sessions: Vec<&Value> = sessions(expected).into_iter().filter(mine).collect();
        assert!(!sessions.is_empty(), "{name}: shell {:?}", shell.id);
        let soap: Vec<&Value> = sessions.iter().map(|session| &session["soap"]).collect();
        let lists = |key: &str| -> Vec<Value> {
            soap.iter().flat_map(|soap| soap[key].as_array().unwrap()).cloned().collect()
        };
        assert_eq!(json!(shell.actions), json!(lists("actions")), "{name}: actions");
        let commands: Vec<Value> = shell
            .commands
            .iter()
            .map(|command| json!({"command_id": command.id, "rsp_command": command.line}))
            .collect();
        let mut wanted = lists("commands");
        // An empty element is an empty text.
        for row in &mut wanted {
            row["rsp_command"] = json!(row["rsp_command"].as_str().unwrap_or(""));
        }
        assert_eq!(commands, wanted, "{name}: commands");
        let signals: Vec<Value> = shell
            .signals
            .iter()
            .map(|(command, code)| json!({"command_id": command, "code": code}))
            .collect();
        assert_eq!(signals, lists("signals"), "{name}: signals");
        for (key, found) in [
            ("resource_uri", &shell.resource_uri),
            ("to", &shell.to),
            ("owner", &shell.owner),
            ("client_ip", &shell.client_ip),
            ("compression", &shell.compression),
        ] {
            let mut wanted = soap.iter().map(|soap| &soap[key]).filter(|value| !value.is_null());
            assert_eq!(found.as_deref(), wanted.next().and_then(Value::as_str), "{name}: {key}");
        }
    }
}
