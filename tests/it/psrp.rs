//! The exchanges made with an independent implementation, outside the repository: from fragments,
//! event rows and SOAP documents, all that they say and nothing else.

use std::collections::BTreeMap;

use evtx_writer::{Event as Logged, Guid, LogWriter, Payload, Value as Wired};
use psr_forensics::decode::{Decoder, Wanted};
use psr_forensics::input::{Piece, Reader, discover, piece_count};
use psr_forensics::normalise::{holds_wire, wire};
use psr_forensics::psrp::{
    Anomaly, Chunk, ChunkKey, Container, Conversation, Direction, ErrorRecord, Exchange, Fragment,
    Gap, Header, HostCall, HostCalls, Information, LostDocument, Message, Node, Oddity, Pipeline,
    Pool, Primitive, Progress, Value as Typed,
};
use psr_forensics::{Channel, RecordRef, psrp};
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
fn pipeline(pipeline: &Pipeline, conversation: &Conversation<impl Clone>) -> Value {
    let creation = pipeline.creation.as_ref().map(|creation| &creation.0);
    // The trees of parameters, from the message itself.
    let typed =
        pipeline.creation.as_ref().map(|(_, at)| conversation.messages[*at].document().unwrap());
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
fn messages(conversation: &Conversation<impl Clone>) -> Vec<Value> {
    let row = |message: &Message<_>| {
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
fn incomplete(conversation: &Conversation<impl Clone>) -> Vec<Value> {
    let each = |ranges: &[std::ops::RangeInclusive<u64>]| {
        ranges.iter().cloned().flatten().collect::<Vec<u64>>()
    };
    let row = |gap: &Gap<_>| {
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
fn anomalies(conversation: &Conversation<impl Clone>) -> Vec<Value> {
    let row = |anomaly: &Anomaly<_>| {
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

/// The event rows as the records of a log, in its order, one JSON text a line, as evtx_dump has
/// them.
fn lines(fixture: &Value) -> String {
    let row = |common: &Value, event: &Value, id: &Value, data: Value| {
        json!({"Event": {
            "System": {
                "Provider": {"#attributes": {"Name": common["Provider"], "Guid": common["ProviderGuid"]}},
                "EventID": id,
                "Version": common["Version"],
                "Level": 4,
                "TimeCreated": {"#attributes": {"SystemTime": event["TimeCreated"]}},
                "EventRecordID": event["EventRecordID"],
                "Correlation": {"#attributes": {"ActivityID": event["ActivityID"]}},
                "Execution": {"#attributes": {"ProcessID": event["ProcessID"], "ThreadID": event["ThreadID"]}},
                "Channel": common["Channel"],
                "Computer": common["Computer"],
            },
            "EventData": data,
        }})
        .to_string()
    };
    let events = fixture["events"].as_array().unwrap().iter().map(|event| {
        row(&fixture["events_common"], event, &event["EventID"], event["EventData"].clone())
    });
    events.collect::<Vec<_>>().join("\n")
}

/// The same rows as EVTX, with the types of the manifests.
fn evtx(fixture: &Value) -> Vec<u8> {
    let common = &fixture["events_common"];
    let mut writer = LogWriter::new();
    for row in fixture["events"].as_array().unwrap() {
        let number = |key: &str| row[key].as_u64().unwrap();
        let data = row["EventData"].as_object().unwrap().iter();
        let field = |(name, value): (&String, &Value)| {
            let value = match (name.as_str(), value) {
                ("ObjectId" | "FragmentId", Value::Number(n)) => Wired::Int64(n.as_i64().unwrap()),
                ("sFlag" | "eFlag", Value::Number(n)) => Wired::Int32(n.as_i64().unwrap() as i32),
                (_, Value::Number(n)) => Wired::UInt32(n.as_u64().unwrap() as u32),
                // Windows 7 has it as binary.
                ("FragmentPayload", Value::String(hex)) if !hex.starts_with("0x") => {
                    Wired::Binary(bytes(hex))
                }
                (_, value) => Wired::String(value.as_str().unwrap().to_owned()),
            };
            (name.clone(), value)
        };
        let event = Logged {
            provider: text(common, "Provider").to_owned(),
            event_id: number("EventID") as u16,
            version: 1,
            level: 5,
            record_id: number("EventRecordID"),
            activity_id: Some(guid(text(row, "ActivityID"))),
            process_id: number("ProcessID") as u32,
            thread_id: number("ThreadID") as u32,
            channel: text(common, "Channel").to_owned(),
            computer: text(common, "Computer").to_owned(),
            payload: Payload::EventData(data.map(field).collect()),
            ..Logged::default()
        };
        writer.push(&event).unwrap();
    }
    writer.finish()
}

fn guid(text: &str) -> Guid {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Guid::from_u128(u128::from_str_radix(&digits, 16).unwrap())
}

/// Wants all records that hold traffic.
struct Traffic;

impl Wanted for Traffic {
    fn wants(&self, _: RecordRef, channel: Channel, _: &str, event_id: u32) -> bool {
        holds_wire(channel, event_id)
    }
}

/// What a log's records give, decoded as any log is.
fn from_log(name: &str, bytes: &[u8]) -> Conversation<u64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let inputs = discover(&[path]).unwrap();
    let (mut exchange, mut decoder, mut piece) =
        (Exchange::new(), Decoder::default(), Piece::default());
    let mut reader = Reader::new(&inputs[0]);
    for _ in 0..piece_count(&inputs[0]) {
        reader.next(&mut piece).unwrap();
        let tally = decoder.piece(&inputs[0], 0, &mut piece, &Traffic, |record| {
            if let Some(wire) = wire(record) {
                wire.add_to(&mut exchange, record.record_id);
            }
        });
        assert_eq!(tally.faults, [], "{name}");
    }
    exchange.finish()
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
                    of_row && matches!(anomaly.oddity, Oddity::Refused(_))
                });
                let faulty = conversation.faults.iter().any(|fault| fault.object_id == id);
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
        if name == "thirdparty_client_no_bom" {
            // An empty element is an empty text.
            wanted.iter_mut().for_each(|row| {
                row["rsp_command"] = json!(row["rsp_command"].as_str().unwrap_or(""))
            });
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

/// Every text that a conversation shows, by pipeline, in its kind; host calls apart from answers.
fn shown(conversation: &Conversation<usize>) -> Vec<String> {
    let mut all = Vec::new();
    for found in conversation.pipelines() {
        let mut say = |kind: &str, text: &str| {
            all.push(format!("{} {} {kind}: {text}", found.pool, found.id))
        };
        if let Some(commands) = found.command_text() {
            say("commands", &commands);
        }
        for (kind, items) in [("input", &found.input), ("output", &found.output)] {
            items.iter().for_each(|item| say(kind, &item.line()));
        }
        for (kind, records) in [
            ("warning", &found.warnings),
            ("verbose", &found.verbose),
            ("debug", &found.debug),
            ("state", &found.states),
        ] {
            records.iter().for_each(|(text, _)| say(kind, text));
        }
        found.errors.iter().for_each(|(record, _)| say("error", &psrp::error(record)));
        found.failure.iter().for_each(|(record, _)| say("failure", &psrp::error(record)));
        found.information.iter().for_each(|(record, _)| say("information", &record.data));
        found.progress.iter().for_each(|(record, _)| say("progress", &format!("{record:?}")));
        for (call, _) in found.host_calls.iter() {
            say("call", &format!("{} {} {:?}", call.call_id, call.method, call.parameters));
            call.response
                .iter()
                .for_each(|text| say("answer", &format!("{} {text}", call.call_id)));
        }
    }
    for pool in conversation.pools() {
        pool.states.iter().for_each(|(state, _)| all.push(format!("{} state: {state}", pool.id)));
        for (call, _) in pool.host_calls.iter() {
            all.push(format!("{} call: {} {:?}", pool.id, call.method, call.parameters));
        }
    }
    all.sort();
    all
}

/// The texts of the first list that are not in the second, each as often as it is missing there.
fn beyond(texts: &[String], truth: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    truth.iter().for_each(|text| *left.entry(text.as_str()).or_default() += 1);
    let mut has_place = |text: &&String| match left.get_mut(text.as_str()) {
        Some(0) | None => false,
        Some(count) => {
            *count -= 1;
            true
        }
    };
    texts.iter().filter(|text| !has_place(text)).cloned().collect()
}

/// Whether a conversation says itself that something is missing.
fn tells_gaps(conversation: &Conversation<usize>) -> bool {
    let told = conversation.gaps.len() + conversation.absent.len();
    let without_command = |found: &Pipeline| {
        found.creation.is_none() && found.metadata_request.is_none() && !found.messages.is_empty()
    };
    told + conversation.lost_documents.len() + conversation.faults.len() > 0
        || conversation.pipelines().any(|found| without_command(&found))
}

/// Numbers that look random and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// At most this many places of a log of so many rows, evenly.
fn some_of(rows: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..rows).step_by(rows.div_ceil(most).max(1))
}

#[test]
fn lost_fragments_are_gaps_and_never_wrong_text() {
    for (name, fixture) in fixtures() {
        let rows = fragments(&fixture);
        let truth = shown(&exchange(rows.clone()));
        for lost in some_of(rows.len(), 40) {
            let mut rows = rows.clone();
            let (process, received, fragment) = rows.remove(lost);
            let conversation = exchange(rows.clone());
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name} without row {lost}");
            // That the last object of all is not there, nobody can tell.
            let later = rows.iter().any(|row| {
                let same = row.2.object_id == fragment.object_id;
                let later = row.2.object_id > fragment.object_id;
                row.0 == process && row.1 == received && (same || later)
            });
            let is_missed = !beyond(&truth, &texts).is_empty();
            assert!(!is_missed || !later || tells_gaps(&conversation), "{name} without row {lost}");
        }
    }
}

#[test]
fn doubled_fragments_add_nothing_but_their_own_mention() {
    for (name, fixture) in fixtures() {
        let rows = fragments(&fixture);
        let once = exchange(rows.clone());
        let truth = shown(&once);
        for twice in some_of(rows.len(), 20) {
            for place in [twice, rows.len()] {
                let mut rows = rows.clone();
                rows.insert(place, rows[twice].clone());
                let conversation = exchange(rows);
                assert_eq!(shown(&conversation), truth, "{name}: row {twice} again at {place}");
                let count = |c: &Conversation<usize>| {
                    c.anomalies.iter().filter(|anomaly| anomaly.oddity == Oddity::Duplicate).count()
                };
                assert_eq!(count(&conversation), count(&once) + 1, "{name}: row {twice}");
            }
        }
    }
}

#[test]
fn shuffled_fragments_say_the_same_or_less() {
    let mut dice = Dice(7);
    for (name, fixture) in fixtures() {
        let mut rows = fragments(&fixture);
        let truth = shown(&exchange(rows.clone()));
        let is_one = sessions(&fixture["expected"]).len() == 1;
        for round in 0..10 {
            dice.shuffle(&mut rows);
            let conversation = exchange(rows.clone());
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name}, round {round}");
            // Where nobody counts anew, the numbers alone put everything right.
            assert!(!is_one || texts == truth, "{name}, round {round}");
        }
    }
}

#[test]
fn lost_doubled_and_shuffled_chunks() {
    let mut dice = Dice(11);
    for (name, fixture) in fixtures() {
        let rows = chunks(&fixture);
        let truth = shown(&soap(rows.clone()));
        for at in some_of(rows.len(), 12) {
            let mut less = rows.clone();
            less.remove(at);
            let conversation = soap(less);
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name} without chunk {at}");
            // A document of one chunk that is not there, is missed by its objects' numbers only.
            let is_missed = rows[at].total > 1 && texts != truth;
            assert!(!is_missed || tells_gaps(&conversation), "{name} without chunk {at}");
            let mut more = rows.clone();
            more.insert(at, rows[at].clone());
            assert_eq!(shown(&soap(more)), truth, "{name} with chunk {at} again");
        }
        let mut rows = rows;
        for round in 0..3 {
            dice.shuffle(&mut rows);
            assert_eq!(shown(&soap(rows.clone())), truth, "{name}, round {round}");
        }
    }
}
