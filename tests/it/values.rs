//! Results hold the values of the logs: whole, of their types, and equal to the bytes that were logged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};

use crate::common::{analyze, root, rows, say};

/// A script of 1 MiB that begins like a formula and holds what cells show otherwise.
fn script() -> String {
    let line = "=\u{202e}cmd\twhoami\r\n\u{1f600} ä \"quoted\", and more\r\n";
    let mut script = line.repeat((1 << 20) / line.len() + 1);
    // The last character of a log's text may not be cut in two.
    script.push_str("the end");
    assert!(script.len() >= 1 << 20);
    script
}

fn event(channel: &str, event_id: u16, record_id: u64, data: &[(&str, String)]) -> EvtxEvent {
    EvtxEvent {
        provider: channel.split('/').next().unwrap_or(channel).to_owned(),
        event_id,
        record_id,
        time: FileTime::from_unix(1_773_522_847 + record_id, 1_234_567),
        channel: channel.into(),
        computer: "SRV01".into(),
        process_id: 4242,
        payload: Payload::EventData(
            data.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect(),
        ),
        ..EvtxEvent::default()
    }
}

/// The logs of a session that runs a script: its host process, and the script's records.
fn logs(folder: &Path, script: &str) -> PathBuf {
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    let mut security = LogWriter::default();
    let data = [
        ("SubjectUserName", "SRV01$"),
        ("SubjectDomainName", "CORP"),
        ("TargetUserName", "ann"),
        ("TargetDomainName", "CORP"),
        ("TargetLogonId", "0x51abc"),
        ("NewProcessId", "0x1092"),
        ("NewProcessName", "C:\\Windows\\System32\\wsmprovhost.exe"),
        ("ProcessId", "0x300"),
        ("ParentProcessName", "C:\\Windows\\System32\\svchost.exe"),
        ("CommandLine", "C:\\Windows\\system32\\wsmprovhost.exe -Embedding"),
    ];
    let data = data.map(|(name, value)| (name, value.to_owned()));
    let start = EvtxEvent {
        provider: "Microsoft-Windows-Security-Auditing".to_owned(),
        ..event("Security", 4688, 1, &data)
    };
    security.push(&start).unwrap();
    fs::write(logs.join("Security.evtx"), security.finish()).unwrap();
    let mut powershell = LogWriter::default();
    let characters: Vec<char> = script.chars().collect();
    let parts: Vec<String> =
        characters.chunks(10_000).map(|part| part.iter().collect::<String>()).collect();
    for (number, part) in (1_u64..).zip(&parts) {
        let data = [
            ("MessageNumber", number.to_string()),
            ("MessageTotal", parts.len().to_string()),
            ("ScriptBlockText", part.clone()),
            ("ScriptBlockId", "11111111-2222-3333-4444-555555555555".to_owned()),
            ("Path", String::new()),
        ];
        let channel = "Microsoft-Windows-PowerShell/Operational";
        powershell.push(&event(channel, 4104, number + 1, &data)).unwrap();
    }
    fs::write(logs.join("PowerShell.evtx"), powershell.finish()).unwrap();
    logs
}

#[test]
fn parquet_holds_a_long_script_as_it_was_logged() {
    let folder = tempfile::tempdir().unwrap();
    let script = script();
    let logs = logs(folder.path(), &script);
    let out = folder.path().join("out");
    let formats = ["--format", "parquet", "--format", "csv", "--format", "html"];
    assert_eq!(analyze(logs.to_str().unwrap(), &out, &formats), 0);
    // A cell shows its head, on one line, and is no formula.
    let commands = rows(&out, "commands.csv");
    let [command] = &commands[..] else { panic!("{} commands", commands.len()) };
    let head = "'=<U+202E>cmd whoami␊\u{1f600} ä \"quoted\", and more␊=<U+202E>cmd";
    assert!(command["text"].starts_with(head), "{}", &command["text"][..100]);
    assert!(command["text"].ends_with("… (cut: the record holds the rest)"));
    assert!(command["text"].chars().count() < 32_767);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!page.contains('\u{202e}'), "nothing turns the page's text around");
    let expected = folder.path().join("script.txt");
    fs::write(&expected, &script).unwrap();
    let Some(python) = std::env::var_os("PSR_PYTHON") else {
        return say("skipped: PSR_PYTHON names no Python with DuckDB, pandas and polars");
    };
    let check = root().join("tests/outputs/values.py");
    let run = Command::new(python).arg(check).arg(&out).arg(&expected).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    if run.status.code() == Some(77) {
        return say(&said);
    }
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}{errors}");
}
