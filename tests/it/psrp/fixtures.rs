//! The fixtures, and their three forms as input: fragments, event rows, SOAP documents.

use evtx_writer::{
    EvtxEvent as Logged, EvtxGuid, EvtxValue as Wired, FileTime, LogWriter, Payload,
};
use psr_forensics::decode::{Decoder, RecordFilter};
use psr_forensics::input::{InputReader, Piece, discover, piece_count};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, RecordRef};
use psr_forensics::normalise::{holds_wire, wire};
use psr_forensics::psrp::{ChunkKey, Conversation, Exchange, Fragment, SoapChunk};
use serde_json::{Value, json};

use crate::common::root;

/// A fixture's name and what it holds.
pub type Fixture = (String, Value);

/// All fixtures; says so where they are absent.
pub fn fixtures() -> Vec<Fixture> {
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

pub fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value:.200}"))
}

/// The fragments of the form `fragments`, in the order of the log.
pub fn fragments(fixture: &Value) -> Vec<(u32, bool, Fragment)> {
    let read = |row: &Value| {
        let (fragments, rest) = Fragment::split(&bytes(text(row, "raw_fragment_hex")));
        assert_eq!((fragments.len(), rest), (1, None));
        let process = u32::try_from(row["process_id"].as_u64().unwrap()).unwrap();
        let to_server = text(row, "direction") == "client_to_server";
        (process, to_server, fragments.into_iter().next().unwrap())
    };
    fixture["fragments"].as_array().unwrap().iter().map(read).collect()
}

pub fn exchange(fragments: impl IntoIterator<Item = (u32, bool, Fragment)>) -> Conversation<usize> {
    let mut exchange = Exchange::new();
    for (tag, (process, received, fragment)) in fragments.into_iter().enumerate() {
        exchange.add_fragment("srv", process, received, fragment, tag);
    }
    exchange.finish()
}

/// The chunks of the form `soap`, in the order of the log.
pub fn chunks(fixture: &Value) -> Vec<SoapChunk> {
    let number = |row: &Value, key: &str| u32::try_from(row[key].as_u64().unwrap()).unwrap();
    let read = |row: &Value| SoapChunk {
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

pub fn soap(chunks: impl IntoIterator<Item = SoapChunk>) -> Conversation<usize> {
    let mut exchange = Exchange::new();
    for (tag, chunk) in chunks.into_iter().enumerate() {
        exchange.add_chunk(chunk, tag);
    }
    exchange.finish()
}

/// What is expected, session by session.
pub fn sessions(expected: &Value) -> Vec<&Value> {
    match expected["sessions"].as_array() {
        Some(sessions) => sessions.iter().collect(),
        None => vec![expected],
    }
}

/// What the SOAP form is expected to give: where one of the two forms is damaged, only what is told
/// of this one, and what the SOAP documents say themselves.
pub fn from_soap(fixture: &Value) -> Value {
    let expected = &fixture["expected"];
    let Some(other) = fixture.get("expected_from_soap") else { return expected.clone() };
    let mut other = other.clone();
    for key in ["runspace_pool_id", "shell_id", "soap"] {
        other[key] = expected[key].clone();
    }
    other
}

/// A list of all sessions' lists of this name.
pub fn all<'v>(expected: &'v Value, key: &str) -> Vec<&'v Value> {
    let lists = sessions(expected).into_iter().filter_map(|session| session[key].as_array());
    lists.flatten().collect()
}

/// The event rows as the records of a log, in its order, one JSON text a line, as evtx_dump has
/// them.
pub fn lines(fixture: &Value) -> String {
    let events = fixture["events"].as_array().unwrap().iter().map(|event| {
        row(&fixture["events_common"], event, &event["EventID"], event["EventData"].clone())
    });
    events.collect::<Vec<_>>().join("\n")
}

/// The SOAP rows in the same form.
pub fn soap_lines(fixture: &Value) -> String {
    let chunks = fixture["soap"].as_array().unwrap().iter().map(|chunk| {
        let data = ["index", "totalChunks", "bytes", "SoapDocument"];
        let data = data.map(|name| (name.to_owned(), chunk[name].clone())).into_iter().collect();
        row(&fixture["soap_common"], chunk, &chunk["eid"], Value::Object(data))
    });
    chunks.collect::<Vec<_>>().join("\n")
}

fn row(common: &Value, event: &Value, id: &Value, data: Value) -> String {
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
}

/// The same rows as EVTX, with the types of the manifests.
pub fn evtx(fixture: &Value) -> Vec<u8> {
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
            time: file_time(text(row, "TimeCreated")),
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

fn file_time(text: &str) -> FileTime {
    let time: chrono::DateTime<chrono::Utc> = text.parse().unwrap();
    FileTime::from_unix(time.timestamp() as u64, time.timestamp_subsec_nanos() / 100)
}

pub fn guid(text: &str) -> EvtxGuid {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    EvtxGuid::from_u128(u128::from_str_radix(&digits, 16).unwrap())
}

/// Wants all records that hold traffic.
pub struct Traffic;

impl RecordFilter for Traffic {
    fn wants(&self, _: RecordRef, channel: Channel, _: &str, event_id: u32) -> bool {
        holds_wire(channel, event_id)
    }
}

/// What a log's records give, decoded as any log is.
pub fn from_log(name: &str, bytes: &[u8]) -> Conversation<u64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let inputs = discover(&[path]).unwrap();
    let (mut exchange, mut decoder, mut piece) =
        (Exchange::new(), Decoder::default(), Piece::default());
    let mut reader = InputReader::new(&inputs[0]);
    for _ in 0..piece_count(&inputs[0]) {
        reader.next(&mut piece).unwrap();
        let tally =
            decoder.decode_piece(&inputs[0], InputIdx::default(), &mut piece, &Traffic, |record| {
                if let Some(wire) = wire(record) {
                    wire.add_to(&mut exchange, record.record_id);
                }
            });
        assert_eq!(tally.faults, [], "{name}");
    }
    exchange.finish()
}
