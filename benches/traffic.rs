//! Measures how fast remoting's traffic is read: `cargo bench --bench traffic -- [MIB [FIXTURES]]`.
//!
//! Two logs are written, MIB mebibytes together (1024 if not said): fragments as
//! Microsoft-Windows-PowerShell/Analytic has them, and SOAP documents as
//! Microsoft-Windows-WinRM/Analytic has them. Their rows repeat those of the exchanges in
//! FIXTURES, each time with new ids, processes and activities. Each log is then read on one thread,
//! step by step. The result is the size of the log's file by the processor's time.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue as Typed, FileTime, LogWriter, Payload};
use psr_forensics::decode::{Decoder, RecordFilter};
use psr_forensics::input::{InputReader, Piece, piece_count};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, RecordRef};
use psr_forensics::normalise::{Wire, holds_wire, wire};
use psr_forensics::psrp::{self, Conversation, Exchange};
use psr_forensics::{
    Input, NoProgress, Options, Output, Pack, RuleSet, RunInfo, analyze, discover, report,
};
use serde_json::Value;

/// The allocator of the program. The default allocator would change the measurement.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The largest amount of traffic in memory at once; the program has the same limit.
const MOST_HELD: usize = 128 << 20;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mib: usize = arguments.first().map_or(Ok(1024), |mib| mib.parse())?;
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/psrp");
    let fixtures = fixtures(Path::new(arguments.get(1).map_or(beside, String::as_str)));
    if fixtures.is_empty() {
        println!("skipped: no exchanges to make logs of");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    println!("{:<26} {:>8} {:>7} {:>8}", "", "MiB", "s", "MB/s");
    let half = mib << 19;
    for (name, rows) in [
        ("fragments", fragment_rows as fn(&Value) -> Vec<Row>),
        ("soap, plain", plain_rows),
        ("soap, xpress", packed_rows),
    ] {
        // Packed documents are a part of SOAP's share.
        let size = match name {
            "fragments" => half,
            "soap, plain" => half - half / 8,
            _ => half / 8,
        };
        let kinds: Vec<Vec<Row>> =
            fixtures.iter().map(rows).filter(|rows| !rows.is_empty()).collect();
        let path = folder.path().join(format!("{name}.evtx"));
        write(&path, &kinds, size)?;
        measure(name, &discover(&[path])?[0]);
    }
    let started = processor_seconds();
    let bytes = whole(folder.path())?;
    print_rate("analyze, all three", bytes, started);
    Ok(())
}

fn fixtures(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &std::path::PathBuf| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
    paths.iter().filter_map(read).collect()
}

/// A row of a log, before its ids are replaced.
#[derive(Clone)]
struct Row {
    event: EvtxEvent,
    /// Rows of one document: its text is cut over them, the same way each time.
    document: Option<u64>,
}

fn row(common: &Value, row: &Value, id: &Value, data: Vec<(String, Typed)>) -> Row {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |key: &str| row[key].as_u64().unwrap_or_default();
    let time: chrono::DateTime<chrono::Utc> = text(&row["TimeCreated"]).parse().unwrap_or_default();
    let event = EvtxEvent {
        provider: text(&common["Provider"]),
        event_id: id.as_u64().unwrap_or_default() as u16,
        version: 1,
        level: 5,
        time: FileTime::from_unix(time.timestamp() as u64, time.timestamp_subsec_nanos() / 100),
        activity_id: Some(guid(&text(&row["ActivityID"]))),
        process_id: number("ProcessID") as u32,
        thread_id: number("ThreadID") as u32,
        channel: text(&common["Channel"]),
        computer: text(&common["Computer"]),
        payload: Payload::EventData(data),
        ..EvtxEvent::default()
    };
    Row { event, document: row["document"].as_u64() }
}

fn guid(text: &str) -> EvtxGuid {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    EvtxGuid::from_u128(u128::from_str_radix(&digits, 16).unwrap_or_default())
}

fn fragment_rows(fixture: &Value) -> Vec<Row> {
    let rows = fixture["events"].as_array().into_iter().flatten().map(|event| {
        let data = event["EventData"].as_object().into_iter().flatten();
        let data = data.map(|(name, value)| {
            let value = match (name.as_str(), value) {
                ("ObjectId" | "FragmentId", Value::Number(n)) => {
                    Typed::Int64(n.as_i64().unwrap_or(0))
                }
                ("sFlag" | "eFlag", Value::Number(n)) => {
                    Typed::Int32(n.as_i64().unwrap_or(0) as i32)
                }
                (_, Value::Number(n)) => Typed::UInt32(n.as_u64().unwrap_or(0) as u32),
                (_, value) => Typed::String(value.as_str().unwrap_or_default().to_owned()),
            };
            (name.clone(), value)
        });
        row(&fixture["events_common"], event, &event["EventID"], data.collect())
    });
    rows.collect()
}

fn plain_rows(fixture: &Value) -> Vec<Row> {
    soap_rows(fixture, false)
}

fn packed_rows(fixture: &Value) -> Vec<Row> {
    soap_rows(fixture, true)
}

fn soap_rows(fixture: &Value, packed: bool) -> Vec<Row> {
    if fixture["scenario"].as_str().unwrap_or_default().contains("xpress") != packed {
        return Vec::new();
    }
    let rows = fixture["soap"].as_array().into_iter().flatten().map(|chunk| {
        let number = |key: &str| Typed::UInt32(chunk[key].as_u64().unwrap_or(0) as u32);
        let text = chunk["SoapDocument"].as_str().unwrap_or_default().to_owned();
        let data = vec![
            ("index".to_owned(), number("index")),
            ("totalChunks".to_owned(), number("totalChunks")),
            ("bytes".to_owned(), number("bytes")),
            ("SoapDocument".to_owned(), Typed::String(text)),
        ];
        row(&fixture["soap_common"], chunk, &chunk["eid"], data)
    });
    rows.collect()
}

/// Writes a log of the rows of each kind in turn, until it has the size.
fn write(path: &Path, kinds: &[Vec<Row>], size: usize) -> Result<(), Failed> {
    let mut writer = LogWriter::new();
    let (mut record, mut written) = (0, 0);
    for round in 1.. {
        for rows in kinds {
            for event in with_new_ids(rows, round) {
                record += 1;
                written += length(&event);
                writer.push(&EvtxEvent { record_id: record, ..event })?;
            }
        }
        // The rest of a record, of 64 KiB some 500 bytes, is not counted exactly.
        if written >= size {
            break;
        }
    }
    Ok(std::fs::write(path, writer.finish())?)
}

/// Returns about how many bytes an event takes in a log.
fn length(event: &EvtxEvent) -> usize {
    let Payload::EventData(data) = &event.payload else { return 0 };
    let texts = data.iter().map(|(_, value)| match value {
        Typed::String(text) => 2 * text.len(),
        _ => 4,
    });
    200 + texts.sum::<usize>()
}

/// Returns the rows with new ids for this round.
fn with_new_ids(rows: &[Row], round: u32) -> Vec<EvtxEvent> {
    let mut events: Vec<EvtxEvent> = rows.iter().map(|row| row.event.clone()).collect();
    let mut documents: BTreeSet<u64> = BTreeSet::new();
    for (at, row) in rows.iter().enumerate() {
        let event = &mut events[at];
        event.process_id += round * 10_000;
        event.time.0 += u64::from(round) * 36_000_000_000;
        match row.document {
            None => replace_payload_ids(event, round),
            Some(document) => {
                if documents.insert(document) {
                    replace_document_ids(rows, &mut events, document, round);
                }
            }
        }
    }
    events
}

fn replace_payload_ids(event: &mut EvtxEvent, round: u32) {
    let Payload::EventData(data) = &mut event.payload else { return };
    let is_first =
        data.iter().any(|(name, value)| name == "FragmentId" && *value == Typed::Int64(0));
    for (name, value) in data.iter_mut().filter(|_| is_first) {
        if let (Typed::String(hex), "FragmentPayload") = (value, &**name) {
            // RPID and PID: bytes 8 to 40 after `0x`. Their last four are turned, unless none.
            for at in [8usize, 24] {
                let (from, to) = (2 + 2 * at, 2 + 2 * (at + 16));
                if let Some(id) = hex.get(from..to).filter(|id| id.bytes().any(|byte| byte != b'0'))
                {
                    let turned = u32::from_str_radix(&id[24..], 16).unwrap_or(0) ^ round;
                    hex.replace_range(to - 8..to, &format!("{turned:08X}"));
                }
            }
        }
    }
}

/// Replaces the ids in a document's text and in the fragments that it carries.
fn replace_document_ids(rows: &[Row], events: &mut [EvtxEvent], document: u64, round: u32) {
    let of: Vec<usize> =
        (0..rows.len()).filter(|&at| rows[at].document == Some(document)).collect();
    let text = |event: &EvtxEvent| match &event.payload {
        Payload::EventData(data) => match &data[3].1 {
            Typed::String(text) => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let mut parts: Vec<(u64, usize, String)> = Vec::new();
    for &at in &of {
        let index = match &rows[at].event.payload {
            Payload::EventData(data) => match data[0].1 {
                Typed::UInt32(index) => u64::from(index),
                _ => 0,
            },
            _ => 0,
        };
        if !parts.iter().any(|part| part.0 == index) {
            parts.push((index, at, text(&events[at])));
        }
    }
    parts.sort();
    let whole: String = parts.iter().map(|part| &*part.2).collect();
    let turned = replace_text_ids(&whole, round);
    let mut rest = &turned[..];
    for (_, at, text) in parts {
        let (part, after) = rest.split_at(text.len());
        rest = after;
        if let Payload::EventData(data) = &mut events[at].payload {
            data[3].1 = Typed::String(part.to_owned());
        }
    }
}

fn replace_text_ids(text: &str, round: u32) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split_inclusive('>').enumerate() {
        let (content, tag) = part.split_at(part.find('<').unwrap_or(0));
        match (at, fragments(content, round)) {
            (1.., Some(turned)) => out.push_str(&turned),
            _ => out.push_str(&replace_guids(content, round)),
        }
        out.push_str(&replace_guids(tag, round));
    }
    out
}

/// Returns the Base64 of fragments with new ids of pools and pipelines.
fn fragments(text: &str, round: u32) -> Option<String> {
    let mut bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() > 61)?;
    let mut at = 0;
    while at < bytes.len() {
        let number = |from: usize| {
            bytes.get(from..from + 4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]]))
        };
        let (id, length) = (number(at + 12)?, number(at + 17)? as usize);
        if id == 0 && length >= 40 {
            for from in [at + 21 + 8, at + 21 + 24] {
                let id = bytes.get_mut(from..from + 16)?;
                if id.iter().any(|&byte| byte != 0) {
                    id[12..]
                        .iter_mut()
                        .zip(round.to_be_bytes())
                        .for_each(|(byte, turn)| *byte ^= turn);
                }
            }
        }
        at += 21 + length;
    }
    (at == bytes.len()).then(|| BASE64.encode(bytes))
}

/// Replaces the last digits of every GUID in a text, and keeps upper or lower case.
fn replace_guids(text: &str, round: u32) -> String {
    let mut out = text.to_owned();
    let is_id = |id: &str| {
        id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let mut at = 0;
    while at + 36 <= out.len() {
        if out.get(at..at + 36).is_some_and(is_id) {
            let digits = &out[at + 28..at + 36];
            let turned = u32::from_str_radix(digits, 16).unwrap_or(0) ^ round;
            let turned = match digits.bytes().any(|byte| byte.is_ascii_lowercase()) {
                true => format!("{turned:08x}"),
                false => format!("{turned:08X}"),
            };
            out.replace_range(at + 28..at + 36, &turned);
            at += 36;
        } else {
            at += 1;
        }
    }
    out
}

/// Keeps all records that hold traffic.
struct Traffic;

impl RecordFilter for Traffic {
    fn wants(&self, _: RecordRef, channel: Channel, _: &str, event_id: u32) -> bool {
        holds_wire(channel, event_id)
    }
}

/// Reads a log three times, each time with one more step.
fn measure(name: &str, log: &Input) {
    let started = processor_seconds();
    let mut held = 0;
    read(log, |wire| held += wire.length());
    print_rate(&format!("{name}: records"), log.size, started);
    let started = processor_seconds();
    let mut seen = (0, 0, 0);
    converse(log, |conversation| {
        seen.0 += conversation.messages.len();
        seen.1 += conversation.gaps.len() + conversation.faults.len();
    });
    print_rate(&format!("{name}: messages"), log.size, started);
    let started = processor_seconds();
    converse(log, |conversation| seen.2 += shown(conversation));
    print_rate(&format!("{name}: texts"), log.size, started);
    println!(
        "  {held} bytes of traffic, {} messages, {} not whole, {} bytes of text",
        seen.0, seen.1, seen.2
    );
}

/// Returns the processor time of this process so far, user and system, so that other load does not
/// count. Linux reports hundredths of a second; other systems give wall time.
fn processor_seconds() -> f64 {
    let of_process = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    let wall = || std::time::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64());
    of_process().unwrap_or_else(wall)
}

fn print_rate(what: &str, bytes: u64, started: f64) {
    let seconds = processor_seconds() - started;
    let rate = bytes as f64 / 1e6 / seconds;
    println!("{what:<26} {:>8} {seconds:>7.2} {rate:>8.0}", bytes >> 20);
}

fn read(log: &Input, mut take: impl FnMut(Wire)) {
    let (mut decoder, mut piece) = (Decoder::default(), Piece::default());
    let mut reader = InputReader::new(log);
    for _ in 0..piece_count(log) {
        reader.next(&mut piece).expect("it was just written");
        decoder.decode_piece(log, InputIdx::default(), &mut piece, &Traffic, |record| {
            wire(record).into_iter().for_each(&mut take)
        });
    }
}

fn converse(log: &Input, mut take: impl FnMut(&Conversation<u64>)) {
    let (mut exchange, mut held, mut tag) = (Exchange::new(), 0, 0);
    read(log, |wire| {
        held += wire.length();
        tag += 1;
        wire.add_to(&mut exchange, tag);
        if held > MOST_HELD {
            held = 0;
            take(&exchange.take_completed());
        }
    });
    take(&exchange.finish());
}

/// Returns the length of everything that a conversation shows.
fn shown(conversation: &Conversation<u64>) -> usize {
    let mut length = 0;
    for pipeline in conversation.pipelines() {
        length += pipeline.command_text().map_or(0, |text| text.len());
        length += pipeline.output.iter().map(|item| item.line().len()).sum::<usize>();
        length +=
            pipeline.errors.iter().map(|(error, _)| psrp::error_text(error).len()).sum::<usize>();
    }
    length
}

/// Runs the whole analysis of the logs in a folder.
fn whole(folder: &Path) -> Result<u64, Failed> {
    let inputs = discover(&[folder.to_owned()])?;
    let bytes = inputs.iter().map(|input| input.size).sum();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| -> Result<(), Failed> {
        let rules = RuleSet::load(vec![Pack::default_pack()])?;
        let analysis = analyze(inputs, &Options::default(), rules, &NoProgress)?;
        let out = tempfile::tempdir()?;
        let info = RunInfo { arguments: Vec::new(), started: chrono::Utc::now() };
        report::write(
            &analysis,
            &info,
            &report::Wanted::default(),
            Output::open(out.path(), true)?,
        )?;
        println!(
            "  {} sessions, {} commands",
            analysis.reconstruction.sessions.len(),
            analysis.reconstruction.commands.len()
        );
        Ok(())
    })?;
    Ok(bytes)
}
