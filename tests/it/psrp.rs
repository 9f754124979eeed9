//! The exchanges made with an independent implementation, outside the repository: from fragments,
//! event rows and SOAP documents, all that they say and nothing else.

use std::collections::BTreeMap;

use psr_forensics::psrp::{
    Chunk, ChunkKey, Container, Conversation, Direction, ErrorRecord, Exchange, Fragment, Gap,
    HostCall, HostCalls, Lane, Node, Oddity, Pipeline, Pool, Primitive, Value as Typed, line,
};
use psr_forensics::psrp::{Header, Information, Progress};
use serde_json::{Value, json};

use crate::common::root;

/// A fixture's name and what it holds.
type Fixture = (String, Value);

/// All fixtures; says so where they are absent.
fn fixtures() -> Vec<Fixture> {
    let path = root().join("../shared/fixtures/psrp");
    let Ok(entries) = std::fs::read_dir(&path) else {
        #[expect(clippy::print_stdout, reason = "a test that skips says so")]
        {
            println!("skipped: {} is not here", path.display());
        }
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    paths.iter().map(read).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value:.200}"))
}

/// The fragments of the form `fragments`, in the order of the log.
fn fragments(fixture: &Value) -> Vec<(u32, bool, Fragment)> {
    let read = |row: &Value| {
        let (fragments, rest) = Fragment::split(&bytes(text(row, "raw_fragment_hex")));
        assert_eq!((fragments.len(), rest), (1, None));
        let process = u32::try_from(row["process_id"].as_u64().unwrap()).unwrap();
        let to_server = text(row, "direction") == "client_to_server";
        (process, to_server, fragments.into_iter().next().unwrap())
    };
    fixture["fragments"].as_array().unwrap().iter().map(read).collect()
}

fn exchange(fragments: impl IntoIterator<Item = (u32, bool, Fragment)>) -> Conversation<usize> {
    let mut exchange = Exchange::new();
    for (tag, (process, received, fragment)) in fragments.into_iter().enumerate() {
        exchange.fragment("srv", process, received, fragment, tag);
    }
    exchange.finish()
}

/// The chunks of the form `soap`, in the order of the log.
fn chunks(fixture: &Value) -> Vec<Chunk> {
    let number = |row: &Value, key: &str| u32::try_from(row[key].as_u64().unwrap()).unwrap();
    let read = |row: &Value| Chunk {
        key: ChunkKey {
            host: text(&fixture["soap_common"], "Computer").to_owned(),
            activity: row["ActivityID"].as_str().map(str::to_owned),
            process: Some(number(row, "ProcessID")),
            thread: Some(number(row, "ThreadID")),
            event_id: number(row, "eid"),
        },
        index: number(row, "index"),
        total: number(row, "totalChunks"),
        text: text(row, "SoapDocument").to_owned(),
    };
    fixture["soap"].as_array().unwrap().iter().map(read).collect()
}

fn soap(chunks: impl IntoIterator<Item = Chunk>) -> Conversation<usize> {
    let mut exchange = Exchange::new();
    for (tag, chunk) in chunks.into_iter().enumerate() {
        exchange.chunk(chunk, tag);
    }
    exchange.finish()
}

/// What is expected, session by session.
fn sessions(expected: &Value) -> Vec<&Value> {
    match expected["sessions"].as_array() {
        Some(sessions) => sessions.iter().collect(),
        None => vec![expected],
    }
}

/// What the SOAP form is expected to give: where one of the two forms is damaged, only what is told
/// of this one, and what the SOAP documents say themselves.
fn from_soap(fixture: &Value) -> Value {
    let expected = &fixture["expected"];
    let Some(other) = fixture.get("expected_from_soap") else { return expected.clone() };
    let mut other = other.clone();
    for key in ["runspace_pool_id", "shell_id", "soap"] {
        other[key] = expected[key].clone();
    }
    other
}

/// A list of all sessions' lists of this name.
fn all<'v>(expected: &'v Value, key: &str) -> Vec<&'v Value> {
    let lists = sessions(expected).into_iter().filter_map(|session| session[key].as_array());
    lists.flatten().collect()
}

/// A typed tree in the form of the fixtures.
fn tree(node: Node<'_>) -> Value {
    match node.value() {
        Typed::Null => return json!({"t": "Nil", "v": null}),
        Typed::Simple(Primitive::Secure, _) => return json!({"t": "SS", "v": null}),
        Typed::Simple(Primitive::Bool, text) => return json!({"t": "B", "v": text == "true"}),
        Typed::Simple(primitive, text) => return json!({"t": primitive.tag(), "v": text}),
        Typed::Dangling(id) => panic!("object {id} is missing"),
        Typed::Object(_) => {}
    }
    let mut object = json!({"t": "Obj"});
    if !node.types().is_empty() {
        object["types"] = json!(node.types());
    }
    if let Some(text) = node.to_string_text() {
        object["tostring"] = json!(text);
    }
    for (key, members) in
        [("props", node.adapted().collect::<Vec<_>>()), ("ms", node.extended().collect())]
    {
        if !members.is_empty() {
            // The later one of two members of one name is the one that is there.
            let members: BTreeMap<&str, Value> =
                members.into_iter().map(|(name, value)| (name, tree(value))).collect();
            object[key] = json!(members);
        }
    }
    if let Some(inner) = node.inner() {
        object["value"] = tree(inner);
    }
    match node.container() {
        None => {}
        Some(Container::Dictionary) => {
            object["container"] = json!("DCT");
            let entries: Vec<_> =
                node.entries().map(|(key, value)| json!([tree(key), tree(value)])).collect();
            object["dict"] = json!(entries);
        }
        Some(container) => {
            object["container"] = json!(container.tag());
            object["list"] = json!(node.items().map(tree).collect::<Vec<_>>());
        }
    }
    object
}

fn error(error: &ErrorRecord) -> Value {
    json!({
        "message": error.message,
        "exception_type": error.exception_type,
        "fully_qualified_error_id": error.fully_qualified_error_id,
        "category": error.category,
        "category_name": error.category_name,
        "category_message": error.category_message,
        "activity": error.activity,
        "reason": error.reason,
        "target_name": error.target_name,
        "target_object": error.target_object,
        "details_message": error.details_message,
        "script_stack_trace": error.script_stack_trace,
        "position_message": error.position_message,
    })
}

fn host_calls(calls: &HostCalls) -> Value {
    let call = |(call, _): &(HostCall, usize)| {
        json!({
            "ci": call.call_id,
            "mi": call.method_id,
            "method": call.method,
            "parameters": call.parameters,
            "response": call.response,
            "answered": call.answered,
        })
    };
    calls.iter().map(call).collect()
}

fn texts(records: &[(String, usize)]) -> Vec<&String> {
    records.iter().map(|record| &record.0).collect()
}

/// A pipeline in the form of the fixtures.
fn pipeline(pipeline: &Pipeline, conversation: &Conversation<usize>) -> Value {
    let creation = pipeline.creation.as_ref().map(|creation| &creation.0);
    // The trees of parameters, from the message itself.
    let typed = pipeline.creation.as_ref().map(|(_, at)| conversation.messages[*at].document().unwrap());
    let typed: Vec<Value> = typed.iter().flat_map(|document| arguments(document.root())).collect();
    let mut typed = typed.into_iter();
    let commands: Vec<Value> = creation
        .iter()
        .flat_map(|creation| &creation.commands)
        .map(|command| {
            let parameters = command.parameters.iter().map(|parameter| {
                json!({
                    "name": parameter.name,
                    "value": parameter.value,
                    "typed": typed.next().unwrap(),
                })
            });
            json!({
                "text": command.text,
                "is_script": command.is_script,
                "end_of_statement": command.end_of_statement,
                "parameters": parameters.collect::<Vec<_>>(),
            })
        })
        .collect();
    let information = |(record, _): &(Information, usize)| {
        json!({
            "data": record.data,
            "source": record.source,
            "tags": record.tags,
            "user": record.user,
            "computer": record.computer,
        })
    };
    let progress = |(record, _): &(Progress, usize)| {
        json!({
            "activity": record.activity,
            "activity_id": record.activity_id,
            "status": record.status,
            "operation": record.operation,
            "percent": record.percent,
            "type": record.kind,
        })
    };
    let mut row = json!({
        "pipeline_id": pipeline.id.to_string(),
        "runspace_pool_id": pipeline.pool.to_string(),
        "commands": commands,
        "history": creation.and_then(|creation| creation.history.as_ref()),
        "input": pipeline.input.iter().map(|item| item.line()).collect::<Vec<_>>(),
        "input_values": pipeline.input.iter().map(|item| tree(item.document.root())).collect::<Vec<_>>(),
        "input_closed": pipeline.input_closed,
        "output": pipeline.output.iter().map(|item| item.line()).collect::<Vec<_>>(),
        "output_values": pipeline.output.iter().map(|item| tree(item.document.root())).collect::<Vec<_>>(),
        "errors": pipeline.errors.iter().map(|(record, _)| error(record)).collect::<Vec<_>>(),
        "warnings": texts(&pipeline.warnings),
        "verbose": texts(&pipeline.verbose),
        "debug": texts(&pipeline.debug),
        "information": pipeline.information.iter().map(information).collect::<Vec<_>>(),
        "progress": pipeline.progress.iter().map(progress).collect::<Vec<_>>(),
        "host_calls": host_calls(&pipeline.host_calls),
        "states": texts(&pipeline.states),
        "state": pipeline.state(),
        "failure": pipeline.failure.as_ref().map(|(record, _)| error(record)),
    });
    if let Some((names, _)) = &pipeline.metadata_request {
        row["metadata_request"] = json!({ "names": names });
    }
    row
}

/// The values of all arguments of a CREATE_PIPELINE.
fn arguments(root: Node<'_>) -> Vec<Value> {
    let powershell = root.get("PowerShell").unwrap();
    let statements = match powershell.get("ExtraCmds").filter(|extra| extra.items().len() > 0) {
        Some(extra) => extra.items().map(|statement| statement.get("Cmds").unwrap()).collect(),
        None => vec![powershell.get("Cmds").unwrap()],
    };
    let commands = statements.into_iter().flat_map(Node::items);
    let arguments = commands.flat_map(|command| command.get("Args").unwrap().items());
    arguments.map(|argument| tree(argument.get("V").unwrap())).collect()
}

/// The messages in the form of the fixtures.
fn messages(conversation: &Conversation<usize>) -> Vec<Value> {
    let row = |message: &psr_forensics::psrp::Message<usize>| {
        json!({
            "direction": message.header.direction.as_str(),
            "object_id": message.object_id,
            "message_type": message.header.kind.name(),
            "message_type_value": message.header.kind.value(),
            "destination": match message.header.direction { Direction::ToClient => 1, Direction::ToServer => 2 },
            "runspace_pool_id": message.header.pool.to_string(),
            "pipeline_id": message.header.pipeline.map(|id| id.to_string()),
            "message_length": message.length(),
            "fragment_count": message.fragments,
            "bom": message.has_bom(),
            "generation": message.generation,
        })
    };
    conversation.messages.iter().map(row).collect()
}

/// The gaps in the form of the fixtures.
fn incomplete(conversation: &Conversation<usize>) -> Vec<Value> {
    let each = |ranges: &[std::ops::RangeInclusive<u64>]| {
        ranges.iter().cloned().flatten().collect::<Vec<u64>>()
    };
    let row = |gap: &Gap<usize>| {
        let head = gap.head.as_deref().and_then(|head| Header::parse(head).ok());
        let pipeline = head.and_then(|head| head.pipeline);
        json!({
            "direction": conversation.direction(&gap.lane).map(Direction::as_str),
            "object_id": gap.object_id,
            "have": each(&gap.have),
            "missing": each(&gap.missing),
            "end_seen": gap.end_seen,
            "message_type": head.map(|head| head.kind.name()),
            "pipeline_id": pipeline.map(|id| id.to_string()),
        })
    };
    conversation.gaps.iter().map(row).collect()
}

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
fn compare(name: &str, expected: &Value, conversation: &Conversation<usize>) {
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
    let wanted: std::collections::BTreeSet<&str> = sessions(expected)
        .into_iter()
        .filter_map(|session| session["runspace_pool_id"].as_str())
        .collect();
    if !wanted.is_empty() {
        assert_eq!(pools.len(), wanted.len(), "{name}: pools");
    }
    let wanted = without(all(expected, "incomplete"), &[]);
    assert_eq!(sorted(incomplete(conversation)), sorted(wanted), "{name}: incomplete");
}

fn compare_pool(name: &str, sessions: &[&Value], pool: &Pool) {
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

/// The anomalies in the form of the fixtures.
fn anomalies(conversation: &Conversation<usize>) -> Vec<Value> {
    let row = |anomaly: &psr_forensics::psrp::Anomaly<usize>| {
        let (lane, object_id, fragment_id) = anomaly.fragment.as_ref()?;
        let kind = match &anomaly.oddity {
            Oddity::Duplicate => "duplicate",
            Oddity::OutOfOrder => "out_of_order",
            Oddity::Refused(_) => return None,
        };
        let direction = conversation.direction(lane).map(Direction::as_str);
        Some(json!({
            "kind": kind, "direction": direction, "object_id": object_id, "fragment_id": fragment_id,
        }))
    };
    conversation.anomalies.iter().filter_map(row).collect()
}

#[test]
fn from_fragments() {
    for (name, fixture) in fixtures() {
        let conversation = exchange(fragments(&fixture));
        let expected = &fixture["expected"];
        compare(&name, expected, &conversation);
        // Sessions in one file take turns in the log, and stand one after the other in what is expected.
        let mut wanted = without(all(expected, "messages"), &["summary"]);
        let mut found = messages(&conversation);
        if sessions(expected).len() > 1 {
            (wanted, found) = (sorted(wanted), sorted(found));
        }
        assert_eq!(found, wanted, "{name}: messages");
        assert_eq!(json!(anomalies(&conversation)), json!(all(expected, "anomalies")), "{name}");
    }
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
        let missing = |lost: &psr_forensics::psrp::LostDocument<usize>| {
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
fn shells(name: &str, expected: &Value, conversation: &Conversation<usize>) {
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
        if name == "thirdparty_client_no_bom" {
            // An empty element is an empty text.
            wanted.iter_mut().for_each(|row| row["rsp_command"] = json!(row["rsp_command"].as_str().unwrap_or("")));
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
