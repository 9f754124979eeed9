//! What texts hide, from logs to outputs: rules on layers, `layers.csv`, the ledger.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compress, Compression, FlushCompress};

use crate::common::{Row, analyze, rows, run_json};

const POWERSHELL: &str = "Microsoft-Windows-PowerShell/Operational";

/// A record of a channel.
fn event(channel: &str, event_id: u16, record_id: u64, data: &[(&str, String)]) -> EvtxEvent {
    EvtxEvent {
        provider: channel.split('/').next().unwrap_or(channel).to_owned(),
        event_id,
        record_id,
        time: FileTime::from_unix(1_773_522_847 + record_id, 0),
        channel: channel.into(),
        computer: "SRV01".into(),
        payload: Payload::EventData(
            data.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect(),
        ),
        ..EvtxEvent::default()
    }
}

/// The parts of a script block, a record each.
fn script(log: &mut LogWriter, id: &str, first: u64, text: &str) {
    let parts: Vec<&[u8]> = text.as_bytes().chunks(20_000).collect();
    for (number, part) in (1_u64..).zip(&parts) {
        let data = [
            ("MessageNumber", number.to_string()),
            ("MessageTotal", parts.len().to_string()),
            ("ScriptBlockText", String::from_utf8(part.to_vec()).unwrap()),
            ("ScriptBlockId", id.to_owned()),
            ("Path", String::new()),
        ];
        log.push(&event(POWERSHELL, 4104, first + number - 1, &data)).unwrap();
    }
}

fn encoded(text: &str) -> String {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    BASE64_STANDARD.encode(bytes)
}

fn write(folder: &Path, log: LogWriter) -> String {
    let path = folder.join("log.evtx");
    fs::write(&path, log.finish()).unwrap();
    path.to_str().unwrap().to_owned()
}

const RULES: &str = "\
title: Layer
level: high
logsource: {product: windows, category: decoded_layer}
detection: {s: {Text|contains: secret-word}, condition: s}
---
title: Program
level: high
logsource: {product: windows, category: decoded_layer}
detection: {s: {How: program, Text|startswith: MZ}, condition: s}
---
title: Block
level: high
logsource: {product: windows, category: script_block}
detection: {s: {DecodedText|contains: secret-word}, condition: s}
";

fn told<'r>(rows: &'r [Row], columns: &[&str]) -> Vec<Vec<&'r str>> {
    let cells = |row: &'r Row| columns.iter().map(|column| &*row[*column]).collect();
    rows.iter().map(cells).collect()
}

#[test]
fn layers_of_scripts_processes_engines_and_services_are_rows_and_events() {
    let folder = tempfile::tempdir().unwrap();
    // Two layers, the word in the inner one alone.
    let inner = format!("powershell -enc {}", encoded("Write-Host secret-word"));
    let outer = format!("powershell.exe -EncodedCommand {}", encoded(&inner));
    let mut log = LogWriter::new();
    script(&mut log, "11111111-1111-4111-8111-111111111111", 1, &outer);
    let process =
        [("NewProcessName", r"C:\Windows\x.exe".to_owned()), ("CommandLine", outer.clone())];
    log.push(&event("Security", 4688, 2, &process)).unwrap();
    let host = format!("\tHostName=ConsoleHost\n\tHostApplication={outer}\n");
    let classic = EvtxEvent {
        payload: Payload::Strings(vec!["Available".into(), "None".into(), host]),
        ..event("Windows PowerShell", 400, 3, &[])
    };
    log.push(&EvtxEvent { provider: "PowerShell".into(), ..classic }).unwrap();
    let service = [("ServiceName", "a".to_owned()), ("ImagePath", outer.clone())];
    log.push(&event("System", 7045, 4, &service)).unwrap();
    let program = [b"MZ\x90\0".as_slice(), &[0; 60], &[0xcc; 4000]].concat();
    let carrier =
        format!("$b = [Convert]::FromBase64String('{}')", BASE64_STANDARD.encode(program));
    script(&mut log, "22222222-2222-4222-8222-222222222222", 5, &carrier);
    script(&mut log, "33333333-3333-4333-8333-333333333333", 6, "Get-ChildItem C:\\");
    let path = write(folder.path(), log);
    let pack = folder.path().join("rules.yml");
    fs::write(&pack, RULES).unwrap();
    let out = folder.path().join("out");
    let pack = ["--no-default-pack", "--pack", pack.to_str().unwrap()];
    assert_eq!(analyze(&path, &out, &pack), 0);

    let layers = rows(&out, "layers.csv");
    let columns = ["source", "depth", "how", "parent", "text"];
    let mut expected: Vec<Vec<&str>> = Vec::new();
    for source in ["script_block", "process", "engine", "service"] {
        let (how, text) = ("encoded_command", "text");
        expected.push(vec![source, "1", how, text, &inner]);
        expected.push(vec![source, "2", how, how, "Write-Host secret-word"]);
    }
    expected.push(vec!["script_block", "1", "program", "text", "MZ executable, 4064 bytes"]);
    assert_eq!(told(&layers, &columns), expected);
    assert_eq!(layers[2]["image"], r"C:\Windows\x.exe");
    assert!(layers[2]["evidence"].contains(":2@"), "{}", layers[2]["evidence"]);
    assert!(layers.iter().all(|row| row["host"] == "SRV01"));

    let found = rows(&out, "detections.csv");
    let of = |title: &str| -> Vec<&Row> {
        found.iter().filter(|row| row["rule_title"] == title).collect()
    };
    let on_layers = of("Layer");
    assert_eq!(on_layers.len(), 4);
    for (row, record) in on_layers.iter().zip(1..) {
        assert_eq!(row["fired_on"], "decoded_layer");
        let matched = "Depth=2; How=encoded_command; Text=Write-Host secret-word";
        assert_eq!(row["matched_fields"], matched);
        assert!(row["evidence"].contains(&format!(":{record}@")), "{row:?}");
    }
    assert_eq!(of("Program").len(), 1);
    assert!(of("Program")[0]["evidence"].contains(":5@"));
    // A rule on the block says which layer it was.
    assert_eq!(of("Block").len(), 1);
    assert_eq!(of("Block")[0]["fired_on"], "script_block");
    assert_eq!(of("Block")[0]["matched_fields"], "DecodedText=Write-Host secret-word");

    let texts = &run_json(&out)["hidden_texts"];
    assert_eq!(texts["left_wrapped"], 0);
    assert_eq!(texts["programs"], 1);
    assert_eq!(texts["programs_first"][0]["what"], "MZ executable, 4064 bytes");
}

/// What a text is when it is packed so often, each time as PowerShell unpacks and runs it.
fn nest(times: usize) -> String {
    (0..times).fold("Write-Host inside".to_owned(), |text, _| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text.as_bytes()).unwrap();
        let packed = BASE64_STANDARD.encode(gzip.finish().unwrap());
        format!(
            "iex (New-Object IO.StreamReader((New-Object IO.Compression.GzipStream(\
             (New-Object IO.MemoryStream(,[Convert]::FromBase64String('{packed}'))),\
             [IO.Compression.CompressionMode]::Decompress)))).ReadToEnd()"
        )
    })
}

/// A deflated GiB of zeros: the same MiB again and again.
fn bomb() -> Vec<u8> {
    const MIB: usize = 1 << 20;
    let mut part = Vec::with_capacity(1 << 16);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; MIB], &mut part, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), MIB as u64);
    let mut whole = part.repeat(1024);
    whole.extend(DeflateEncoder::new(Vec::new(), Compression::best()).finish().unwrap());
    // It is a stream, and as long as that.
    let mut reader = flate2::read::DeflateDecoder::new(&*whole);
    let (mut buffer, mut size) = (vec![1; MIB], 0);
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            read => size += read,
        }
    }
    assert_eq!(size, 1 << 30);
    whole
}

#[test]
fn a_hostile_nest_and_a_bomb_end_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::new();
    script(&mut log, "11111111-1111-4111-8111-111111111111", 1, &nest(100));
    let first = 1000;
    let packed = BASE64_STANDARD.encode(bomb());
    let text = format!(
        "iex (New-Object IO.StreamReader((New-Object IO.Compression.DeflateStream(\
         (New-Object IO.MemoryStream(,[Convert]::FromBase64String('{packed}'))),\
         [IO.Compression.CompressionMode]::Decompress)))).ReadToEnd()"
    );
    script(&mut log, "22222222-2222-4222-8222-222222222222", first, &text);
    assert!(text.len() > 20_000, "it takes several records");
    let path = write(folder.path(), log);
    let out = folder.path().join("out");
    // A note, and no fault: the exit code is that of a whole run.
    assert_eq!(analyze(&path, &out, &[]), 0);
    let run = run_json(&out);
    assert_eq!(run["partial"], false);
    let texts = &run["hidden_texts"];
    assert_eq!(texts["left_wrapped"], 2);
    let left = texts["left_wrapped_first"].as_array().unwrap();
    assert_eq!(left[0]["limit"], "depth");
    assert!(left[0]["evidence"].as_str().unwrap().contains("log.evtx:1@"), "{left:?}");
    assert_eq!(left[1]["limit"], "bytes");
    assert!(left[1]["evidence"].as_str().unwrap().contains("log.evtx:1000@"), "{left:?}");

    let layers = rows(&out, "layers.csv");
    let (nested, bomb): (Vec<&Row>, Vec<&Row>) =
        layers.iter().partition(|row| !row["evidence"].contains(":1000@"));
    let depth = |row: &&Row| row["depth"].parse::<u32>().unwrap();
    assert_eq!(nested.iter().map(depth).max(), Some(21));
    // Its beginning is shown, cut as cells are, then why there is no more.
    let how: Vec<&str> = bomb.iter().map(|row| &*row["how"]).collect();
    assert_eq!(how, ["invoked", "limit"]);
    assert!(bomb[0]["text"].chars().count() < 32_767);
    assert_eq!(bomb[1]["text"], "too many bytes");
}
