//! `report.html`: what it holds, that it is closed to the network, that text of logs stays text.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use evtx::EvtxParser;
use flate2::read::ZlibDecoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{analyze, psr, root, rows};
use crate::inputs::samples;

/// What may not become markup, nor stay as it is: tags, ends of attributes and comments, control
/// characters, and characters that reorder text.
pub const HOSTILE: &str = "</script><script>window.pwned=1</script>\"'><img src=x \
                           onerror=\"window.pwned=1\">]]>--!>{{7*7}}${7*7}\u{202e}txt\u{1b}[2J\u{0}";

fn page(out: &Path) -> String {
    fs::read_to_string(out.join("report.html")).unwrap()
}

/// The text between two others, from each place on.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split_once(end).expect("it ends").0).collect()
}

/// The data in the page, by name.
fn data(page: &str) -> BTreeMap<String, Value> {
    let blocks =
        between(page, "<script type=\"application/octet-stream;base64\" id=\"data-", "</script>");
    let block = |block: &str| {
        let (name, text) = block.split_once("\">").unwrap();
        let deflated = BASE64.decode(text).unwrap();
        let mut json = String::new();
        ZlibDecoder::new(&deflated[..]).read_to_string(&mut json).unwrap();
        (name.to_owned(), serde_json::from_str(&json).unwrap())
    };
    blocks.into_iter().map(block).collect()
}

/// A table's rows by the names of its columns.
fn table(data: &BTreeMap<String, Value>, name: &str) -> Vec<BTreeMap<String, String>> {
    let table = &data[name];
    let names: Vec<&str> =
        table["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let row = |row: &Value| {
        let cells = row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap().to_owned());
        names.iter().map(|name| (*name).to_owned()).zip(cells).collect()
    };
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn it_has_the_sessions_findings_and_logs_of_the_other_files() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let page = page(out.path());
    let data = data(&page);
    let same = |name: &str, file: &str, columns: &[(&str, &str)]| {
        let (shown, written) = (table(&data, name), rows(out.path(), file));
        assert_eq!(shown.len(), written.len(), "{name}");
        assert!(!shown.is_empty(), "{name}");
        for (shown, written) in shown.iter().zip(&written) {
            for (column, of_file) in columns {
                assert_eq!(shown[*column], written[*of_file], "{name}: {column}");
            }
        }
    };
    let sessions = [
        ("Session", "session_id"),
        ("Level", "level"),
        ("Start (UTC)", "start_time"),
        ("Source", "source_host"),
        ("Target", "target_host"),
        ("Account", "user"),
        ("Commands", "command_count"),
        ("Confidence", "confidence"),
        ("Rules that fired", "detections"),
    ];
    same("sessions", "sessions.csv", &sessions);
    let attempts = [("Time (UTC)", "time"), ("Source", "source_host"), ("Error", "error_code")];
    same("attempts", "attempts.csv", &attempts);
    let findings = [
        ("Level", "level"),
        ("Rule", "rule_title"),
        ("Host", "host"),
        ("Session", "session_id"),
        ("Count", "count"),
        ("First (UTC)", "first_time"),
        ("Last (UTC)", "last_time"),
        ("Evidence", "evidence"),
    ];
    same("findings", "findings.csv", &findings);
    let coverage =
        [("Host", "host"), ("Channel", "channel"), ("From (UTC)", "from"), ("File", "input_file")];
    same("coverage", "coverage.csv", &coverage);
    let hosts = [("Host", "host"), ("Clock (s)", "clock_offset_seconds"), ("Pairs", "clock_pairs")];
    same("hosts", "hosts.csv", &hosts);
    let run = crate::common::run_json(out.path());
    let inputs = table(&data, "inputs");
    assert_eq!(inputs.len(), run["inputs"].as_array().unwrap().len());
    for (shown, known) in inputs.iter().zip(run["inputs"].as_array().unwrap()) {
        assert_eq!(shown["SHA-256"], known["sha256"].as_str().unwrap_or_default());
        assert_eq!(shown["Records"], known["records"].to_string());
    }
    // Without scripts, too: a row of each session and what to look at first.
    assert!(page.contains("<tr id=\"S0001\">") && page.contains("<tr id=\"S0002\">"));
    assert!(page.contains("1 of 2 sessions needs to be looked at now."));
}

#[test]
fn a_page_of_some_hosts_and_accounts_states_it_and_shows_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    assert_eq!(analyze("samples", out, &["--user", "j.doe"]), 0);
    let page = page(out);
    let part = "This page tells of a part of the run only: what concerns account j.doe. That is 1 of 2 \
                sessions and 1 of 1 failed attempt. Logs, clocks and the run are told whole.";
    assert!(page.contains(part));
    let html = page.split("<script type=").next().unwrap();
    // What is left out is nowhere: not in the sentences, not in the drawing, not in the data.
    for absent in ["S0001", "adm.lee", "2 sessions,"] {
        assert!(!html.contains(absent), "{absent}");
    }
    let data = data(&page);
    for (name, block) in &data {
        assert!(!block.to_string().contains("adm.lee"), "{name}");
    }
    let names = |name: &str, column: &str| -> Vec<String> {
        table(&data, name).into_iter().map(|row| row[column].clone()).collect()
    };
    assert_eq!(names("sessions", "Session"), ["S0002"]);
    assert_eq!(names("pairs", "Sessions"), ["1"]);
    assert_eq!(data["stories-0"].as_array().unwrap().len(), 1);
    assert_eq!(names("findings", "Host").len(), rows(out, "findings.csv").len());
    assert_eq!(names("attempts", "Source").len(), rows(out, "attempts.csv").len());
    let counted: usize =
        rows(out, "findings.csv").iter().map(|row| row["count"].parse::<usize>().unwrap()).sum();
    assert!(html.contains(&format!("<li>{counted} detections by ")), "{counted}");
    for (table, file) in [("hosts", "hosts.csv"), ("coverage", "coverage.csv")] {
        assert_eq!(names(table, "Host").len(), rows(out, file).len());
    }
    // Of nobody: the page says so, and does not say that there were none.
    assert_eq!(analyze("samples", out, &["--force", "--host", "<img src=x>"]), 0);
    let page = self::page(out);
    assert!(page.contains("what concerns host &#60;img src=x&#62;. That is 0 of 2 sessions"));
    assert!(page.contains("No session of these hosts and accounts was found."));
}

#[test]
fn the_page_describes_a_session_as_explain_does() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let output = psr(&["explain", "S0001", "-o", out.path().to_str().unwrap()]);
    let explained = String::from_utf8(output.stdout).unwrap();
    let data = data(&page(out.path()));
    let told = &data["stories-0"][0];
    assert!(explained.starts_with(&format!("S0001  {}\n", told["title"].as_str().unwrap())));
    let texts = |list: &str| -> Vec<String> {
        told[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    for fact in told["facts"].as_array().unwrap() {
        assert!(explained.contains(fact[1].as_str().unwrap()), "{fact}");
    }
    assert!(!texts("covered").is_empty());
    for text in [texts("against"), texts("covered"), texts("missing"), texts("files")].concat() {
        assert!(explained.contains(&text), "{text}");
    }
    let steps = told["steps"].as_array().unwrap();
    // In explain's order, each with its record.
    let mut rest = explained.as_str();
    for step in steps {
        let record = step["records"][0].as_str().unwrap();
        let at = rest.find(record).unwrap_or_else(|| panic!("{record} is not in its place"));
        rest = &rest[at..];
    }
    // The encoded cradle is decoded, and its text as logged is there, too.
    let decoded = steps
        .iter()
        .find(|step| step["command"]["original"].as_str().is_some_and(|o| !o.is_empty()));
    let decoded = decoded.expect("the story has an encoded command");
    assert!(decoded["text"].as_str().unwrap().contains("DownloadString"), "{decoded}");
    assert!(!decoded["command"]["original"].as_str().unwrap().contains("DownloadString"));
}

#[test]
fn its_policy_allows_its_own_script_and_style_and_nothing_else() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let page = page(out.path());
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
    let script = between(&page, "<script>", "</script>");
    let style = between(&page, "<style>", "</style>");
    assert_eq!((script.len(), style.len()), (1, 1));
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'\">",
        hash(script[0]),
        hash(style[0])
    );
    let at = page.find(&policy).expect("the policy names script and style");
    // Before anything that it is about.
    assert!(at < page.find("<style").unwrap() && at < page.find("<script").unwrap());
    assert!(!script[0].contains("<script") && !script[0].contains("<!--"));
    let rest = page.replace(script[0], "").replace(style[0], "");
    assert_eq!(rest.matches("<script").count(), 1 + data(&page).len());
    for loads in [
        " src=", " style=", " on", "<link", "<iframe", "<object", "<embed", "<base", "<form",
        "url(",
    ] {
        let tags = between(&rest, "<", ">").join("\n");
        assert!(!format!("<{}", tags.replace('\n', "\n<")).contains(loads), "{loads}");
    }
    assert!(between(&rest, "href=\"", "\"").iter().all(|href| href.starts_with('#')));
    assert!(
        !script[0].contains("innerHTML")
            && !script[0].contains("http:")
            && !script[0].contains("https:")
    );
}

/// The records of the samples as lines of JSON, changed, in a folder.
pub fn changed(folder: &Path, change: impl Fn(&str) -> String) -> PathBuf {
    fn walk(value: &mut Value, change: &impl Fn(&str) -> String) {
        match value {
            Value::String(text) => *text = change(text),
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, change)),
            Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, change)),
            _ => {}
        }
    }
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    for (index, (path, _)) in samples().into_iter().enumerate() {
        let mut lines = String::new();
        for record in EvtxParser::from_path(path).unwrap().records_json_value() {
            let mut record = record.unwrap().data;
            walk(&mut record, &change);
            lines.push_str(&format!("{record}\n"));
        }
        fs::write(logs.join(format!("{index}.jsonl")), lines).unwrap();
    }
    logs
}

/// The samples with hostile names, accounts and commands.
pub fn hostile(folder: &Path) -> PathBuf {
    let long = "A".repeat(1 << 20);
    changed(folder, |text| {
        let text = text.replace("SRV02", &format!("SRV02{HOSTILE}"));
        let text = text.replace("adm.lee", &format!("adm.lee{HOSTILE}"));
        let script = format!("Write-Output '{HOSTILE}'\r\n# {long}");
        text.replace("Get-LocalGroupMember -Group Administrators", &script)
    })
}

/// The record of the samples that says a shell was made, so many times over: other times, hosts,
/// accounts.
pub fn many(folder: &Path, sessions: usize) -> PathBuf {
    let log = root().join("samples/SRV02/Microsoft-Windows-WinRM%4Operational.evtx");
    let records = EvtxParser::from_path(log)
        .unwrap()
        .records_json_value()
        .map(|r| r.unwrap().data)
        .collect::<Vec<_>>();
    let shell = records.into_iter().find(|record| record["Event"]["System"]["EventID"] == 91);
    let mut shell = shell.expect("the samples have one");
    let path = folder.join("many.jsonl");
    let mut lines = String::new();
    for number in 0..sessions {
        let system = &mut shell["Event"]["System"];
        let (minute, day) = (number % 1440, 1 + number / 1440 % 28);
        let time = format!(
            "2026-02-{day:02}T{:02}:{:02}:{:02}.1234567Z",
            minute / 60,
            minute % 60,
            number % 60
        );
        system["TimeCreated"]["#attributes"]["SystemTime"] = json!(time);
        system["EventRecordID"] = json!(number + 1);
        system["Computer"] = json!(format!("SRV{:03}.corp.example", number % 250));
        system["Correlation"] = json!({"#attributes": {"ActivityID": format!("{number:08X}-0000-0000-0000-000000000000")}});
        lines.push_str(&format!("{shell}\n"));
    }
    fs::write(&path, lines).unwrap();
    path
}

#[test]
fn text_of_logs_is_text_and_nothing_in_it_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let logs = hostile(folder.path());
    let out = folder.path().join("out");
    assert_eq!(analyze(logs.to_str().unwrap(), &out, &[]), 0);
    let page = page(&out);
    let data = data(&page);
    // The target is found under its name.
    let sessions = table(&data, "sessions");
    let shown = "SRV02</script><script>window.pwned=1</script>\"'><img src=x onerror=\"window.pwned=1\">]]>--!>{{7*7}}${7*7}<U+202E>txt␛[2J␀";
    let targets: Vec<&String> = sessions.iter().map(|session| &session["Target"]).collect();
    assert!(targets.iter().any(|target| target.starts_with(shown)), "{targets:?}");
    // As text in the page.
    assert!(page.contains("&#60;img src=x onerror") || page.contains("&lt;img src=x onerror"));
    let own = between(&page, "<script>", "</script>")[0];
    let rest = page.replace(own, "");
    assert_eq!(rest.matches("<script").count(), 1 + data.len());
    for raw in ["<img", "window.pwned=1</script>", "onerror=\"", "\u{202e}", "\u{1b}", "\u{0}"] {
        assert!(!rest.contains(raw), "{raw:?}");
    }
    assert!(rest.chars().all(|c| c == '\n' || !c.is_control()));
    // Nor does its data hold a character that hides or reorders, but line ends in commands.
    for (name, block) in &data {
        let text = block.to_string();
        for escaped in ["\\u00", "\u{202e}", "\\r", "\\t", "\\b"] {
            // A backslash of the logs is two in JSON.
            let plain = text.replace("\\\\", "");
            assert!(!plain.contains(escaped), "{name}: {escaped:?}");
        }
    }
    // A field of 1 MiB is cut where it is shown, and says so.
    let story = data["stories-0"].to_string();
    assert!(
        story.contains("the record holds the rest") && story.len() < 1 << 20,
        "{}",
        story.len()
    );
}
