use psrp::{Fragment, MessageType};

use super::*;
use crate::model::InputIdx;
use crate::normalise::{FragmentRecord, Wire};

/// A record of a message in one fragment, so many seconds after the start.
fn overheard(
    object_id: u64,
    seconds: i64,
    kind: MessageType,
    pipeline: u8,
    xml: &str,
) -> Overheard {
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
    Overheard {
        time: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        source: RecordRef { input: InputIdx::default(), offset: object_id, number: object_id },
        event_id: 32868,
        wire: Wire::Fragment(fragment),
    }
}

/// A pipeline's command, forty lines of output and its state, among those of another one.
fn pipeline() -> Vec<Overheard> {
    let script = "<Obj RefId='0'><MS><Obj N='PowerShell' RefId='1'><MS><Obj N='Cmds' RefId='2'><LST>\
                  <Obj RefId='3'><MS><S N='Cmd'>long</S><B N='IsScript'>true</B></MS></Obj>\
                  </LST></Obj></MS></Obj></MS></Obj>";
    let state = "<Obj RefId='0'><MS><I32 N='PipelineState'>4</I32></MS></Obj>";
    let mut all = vec![overheard(1, 0, MessageType::CreatePipeline, 9, script)];
    for line in 2..42 {
        let (id, text) = (line as u64, format!("<S>{line}</S>"));
        let kind = MessageType::PipelineOutput;
        all.push(overheard(id, line, kind, if line % 2 == 0 { 9 } else { 8 }, &text));
    }
    all.push(overheard(42, 60, MessageType::PipelineState, 9, state));
    all
}

fn listened(most_held: usize, room: usize, all: Vec<Overheard>) -> Vec<Talk> {
    let mut listener = Listener { most_held, ..Listener::new("srv".into(), room) };
    all.into_iter().for_each(|one| listener.hear(one));
    listener.finish();
    listener.talks.into_vec()
}

#[test]
fn a_long_trace_is_taken_down_in_parts_and_says_the_same() {
    let whole = listened(MOST_HELD, MOST_SHOWN, pipeline());
    let told = |talks: &[Talk]| {
        let said = talks.iter().flat_map(|talk| &talk.said).map(|said| {
            let records: BTreeSet<RecordRef> = said.records.iter().copied().collect();
            format!("{} {} {:?} {:?} {records:?}", said.time, said.text, said.parts, said.heard)
        });
        said.collect::<Vec<_>>()
    };
    for most_held in [PIECE, 3 * PIECE, 20 * PIECE] {
        let parts = listened(most_held, MOST_SHOWN, pipeline());
        assert_eq!(told(&parts), told(&whole), "{most_held}");
        assert_eq!(parts.len(), 1, "{most_held}");
    }
    let [talk] = &whole[..] else { panic!("{} talks", whole.len()) };
    let said = talk.said.iter().find(|said| said.text == "long").unwrap();
    let lines: Vec<&str> = said.heard.lines.iter().map(|line| &*line.text).collect();
    assert_eq!(lines.len(), 20);
    assert_eq!((lines[0], lines[19], &*said.heard.state), ("2", "40", "Completed"));
    assert!(said.completeness.is_whole());
    assert!(said.heard.gaps.is_empty());
}

#[test]
fn what_there_is_no_room_for_is_told() {
    let talks = listened(MOST_HELD, "long".len() * 2 + 3, pipeline());
    let said = talks[0].said.iter().find(|said| said.text == "long").unwrap();
    assert_eq!(said.heard.gaps, ["more came back than is shown"]);
    assert!(said.heard.lines.len() < 4);
    let talks = listened(MOST_HELD, 2, pipeline());
    let said = talks[0].said.iter().find(|said| said.text == "lo").unwrap();
    assert!(said.heard.gaps.contains(&"its text is longer than is kept".to_owned()));
}
