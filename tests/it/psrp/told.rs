//! What a conversation tells, in the form in which the fixtures expect it.

use std::collections::BTreeMap;

use psr_forensics::psrp::{
    Anomaly, AnomalyKind, ClixmlNode, ClixmlValue as Typed, Container, Conversation, Direction,
    ErrorRecord, HostCall, HostCalls, InformationRecord, Message, MessageGap, MessageHeader,
    Pipeline, Primitive, ProgressRecord,
};
use serde_json::{Value, json};

/// A typed tree in the form of the fixtures.
pub fn tree(node: ClixmlNode<'_>) -> Value {
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

pub fn error(error: &ErrorRecord) -> Value {
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

pub fn host_calls(calls: &HostCalls) -> Value {
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

pub fn texts(records: &[(String, usize)]) -> Vec<&String> {
    records.iter().map(|record| &record.0).collect()
}

/// A pipeline in the form of the fixtures.
pub fn pipeline(pipeline: &Pipeline, conversation: &Conversation<impl Clone>) -> Value {
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
    let information = |(record, _): &(InformationRecord, usize)| {
        json!({
            "data": record.data,
            "source": record.source,
            "tags": record.tags,
            "user": record.user,
            "computer": record.computer,
        })
    };
    let progress = |(record, _): &(ProgressRecord, usize)| {
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
pub fn arguments(root: ClixmlNode<'_>) -> Vec<Value> {
    let powershell = root.get("PowerShell").unwrap();
    let statements = match powershell.get("ExtraCmds").filter(|extra| extra.items().len() > 0) {
        Some(extra) => extra.items().map(|statement| statement.get("Cmds").unwrap()).collect(),
        None => vec![powershell.get("Cmds").unwrap()],
    };
    let commands = statements.into_iter().flat_map(ClixmlNode::items);
    let arguments = commands.flat_map(|command| command.get("Args").unwrap().items());
    arguments.map(|argument| tree(argument.get("V").unwrap())).collect()
}

/// The messages in the form of the fixtures.
pub fn messages(conversation: &Conversation<impl Clone>) -> Vec<Value> {
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
    let readable = |message: &&Message<_>| message.document().is_ok();
    conversation.messages.iter().filter(readable).map(row).collect()
}

/// The gaps in the form of the fixtures.
pub fn incomplete(conversation: &Conversation<impl Clone>) -> Vec<Value> {
    let each = |ranges: &[std::ops::RangeInclusive<u64>]| {
        ranges.iter().cloned().flatten().collect::<Vec<u64>>()
    };
    let row = |gap: &MessageGap<_>| {
        let head = gap.head.as_deref().and_then(|head| MessageHeader::parse(head).ok());
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

/// The anomalies in the form of the fixtures.
pub fn anomalies(conversation: &Conversation<impl Clone>) -> Vec<Value> {
    let row = |anomaly: &Anomaly<_>| {
        let (lane, object_id, fragment_id) = anomaly.fragment.as_ref()?;
        let kind = match &anomaly.kind {
            AnomalyKind::Duplicate => "duplicate",
            AnomalyKind::OutOfOrder => "out_of_order",
            AnomalyKind::Rejected(_) => return None,
        };
        let direction = conversation.direction(lane).map(Direction::as_str);
        Some(json!({
            "kind": kind, "direction": direction, "object_id": object_id, "fragment_id": fragment_id,
        }))
    };
    conversation.anomalies.iter().filter_map(row).collect()
}
