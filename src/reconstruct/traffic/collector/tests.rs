use psrp::{Fragment, MessageType};

use super::*;
use crate::model::InputIdx;
use crate::normalise::{FragmentRecord, Wire};

/// Returns a record of a message in one fragment, some seconds after the start.
fn traffic_record(
    object_id: u64,
    seconds: i64,
    kind: MessageType,
    pipeline: u8,
    xml: &str,
) -> TrafficRecord {
    let mut blob = 1u32.to_le_bytes().to_vec();
    blob.extend(kind.value().to_le_bytes());
    blob.extend([7; 16]);
    blob.extend([pipeline; 16]);
    blob.extend(xml.as_bytes());
    let fragment = Fragment { object_id, fragment_id: 0, start: true, end: true, blob };
    let fragment = FragmentRecord {
        host: "srv".to_owned(),
        process: 1,
        activity: None,
        received: false,
        object_id,
        fragment_id: 0,
        fragment: Ok(fragment),
    };
    TrafficRecord {
        time: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        source: RecordRef { input: InputIdx::default(), offset: object_id, number: object_id },
        event_id: 32868,
        wire: Wire::Fragment(fragment),
    }
}

/// A pipeline's command, forty lines of output and its state, among those of another pipeline.
fn pipeline() -> Vec<TrafficRecord> {
    let script = "<Obj RefId='0'><MS><Obj N='PowerShell' RefId='1'><MS><Obj N='Cmds' RefId='2'><LST>\
                  <Obj RefId='3'><MS><S N='Cmd'>long</S><B N='IsScript'>true</B></MS></Obj>\
                  </LST></Obj></MS></Obj></MS></Obj>";
    let state = "<Obj RefId='0'><MS><I32 N='PipelineState'>4</I32></MS></Obj>";
    let mut all = vec![traffic_record(1, 0, MessageType::CreatePipeline, 9, script)];
    for line in 2..42 {
        let (id, text) = (line as u64, format!("<S>{line}</S>"));
        let kind = MessageType::PipelineOutput;
        all.push(traffic_record(id, line, kind, if line % 2 == 0 { 9 } else { 8 }, &text));
    }
    all.push(traffic_record(42, 60, MessageType::PipelineState, 9, state));
    all
}

fn collected(most_held: usize, room: usize, all: Vec<TrafficRecord>) -> Vec<PoolConversation> {
    let mut collector = TrafficCollector { most_held, ..TrafficCollector::new("srv".into(), room) };
    all.into_iter().for_each(|one| collector.push(one));
    collector.finish();
    collector.conversations.into_vec()
}

#[test]
fn a_long_trace_is_taken_down_in_parts_and_says_the_same() {
    let whole = collected(MOST_HELD, MOST_SHOWN, pipeline());
    let lines_of = |conversations: &[PoolConversation]| {
        let sent =
            conversations.iter().flat_map(|conversation| &conversation.commands).map(|sent| {
                let records: BTreeSet<RecordRef> = sent.records.iter().copied().collect();
                format!(
                    "{} {} {:?} {:?} {records:?}",
                    sent.time, sent.text, sent.parts, sent.output
                )
            });
        sent.collect::<Vec<_>>()
    };
    for most_held in [PIECE_OVERHEAD, 3 * PIECE_OVERHEAD, 20 * PIECE_OVERHEAD] {
        let parts = collected(most_held, MOST_SHOWN, pipeline());
        assert_eq!(lines_of(&parts), lines_of(&whole), "{most_held}");
        assert_eq!(parts.len(), 1, "{most_held}");
    }
    let [conversation] = &whole[..] else { panic!("{} talks", whole.len()) };
    let sent = conversation.commands.iter().find(|sent| sent.text == "long").unwrap();
    let lines: Vec<&str> = sent.output.lines.iter().map(|line| &*line.text).collect();
    assert_eq!(lines.len(), 20);
    assert_eq!((lines[0], lines[19], &*sent.output.state), ("2", "40", "Completed"));
    assert!(sent.completeness.is_whole());
    assert!(sent.output.gaps.is_empty());
}

#[test]
fn what_there_is_no_room_for_is_told() {
    let conversations = collected(MOST_HELD, "long".len() * 2 + 3, pipeline());
    let sent = conversations[0].commands.iter().find(|sent| sent.text == "long").unwrap();
    assert_eq!(sent.output.gaps, ["more came back than is shown"]);
    assert!(sent.output.lines.len() < 4);
    let conversations = collected(MOST_HELD, 2, pipeline());
    let sent = conversations[0].commands.iter().find(|sent| sent.text == "lo").unwrap();
    assert!(sent.output.gaps.contains(&"its text is longer than is kept".to_owned()));
}
