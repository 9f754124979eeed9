//! `psr-forensics decode`: loose traffic in the forms in which it is found, and hidden texts.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::fixtures::{Fixture, bytes, fixtures, text};
use crate::common::psr;

fn decode(content: &[u8]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic");
    std::fs::write(&path, content).unwrap();
    said(psr(&["decode", "--psrp", Path::to_str(&path).unwrap()]))
}

fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

fn script() -> Option<Fixture> {
    fixtures().into_iter().find(|(name, _)| name == "simple_script")
}

fn raw(fixture: &Value) -> Vec<String> {
    let rows = fixture["fragments"].as_array().unwrap().iter();
    rows.map(|row| text(row, "raw_fragment_hex").to_owned()).collect()
}

#[test]
fn fragments_as_bytes_hex_and_lines_and_documents_say_the_same() {
    let Some((_, fixture)) = script() else { return };
    let lines = raw(&fixture);
    let all = lines.concat();
    let documents: Vec<&str> =
        fixture["soap"].as_array().unwrap().iter().map(|row| text(row, "SoapDocument")).collect();
    let documents = format!("<!-- a dump -->{}", documents.concat());
    let from_documents = decode(documents.as_bytes());
    for (code, said) in [
        decode(&bytes(&all)),
        decode(all.as_bytes()),
        decode(lines.join("\n").as_bytes()),
        decode(format!("0x{}", lines.join("\r\n0x")).as_bytes()),
        from_documents,
    ] {
        assert_eq!(code, 0, "{said}");
        let shown = "\n> Get-ChildItem C:\\\nPerfLogs\nProgram Files\nProgram Files (x86)\n\
                     Users\nWindows\n[Completed]\n";
        assert!(said.contains(shown), "{said}");
    }
}

#[test]
fn a_lost_fragment_is_stated_and_the_rest_is_shown() {
    let Some((_, fixture)) = script() else { return };
    let rows = fixture["fragments"].as_array().unwrap();
    let output = rows.iter().position(|row| text(row, "payload_hex").contains("04100400"));
    let output = output.expect("it has an output");
    let mut lines = raw(&fixture);
    lines.remove(output);
    let (code, said) = decode(lines.join("\n").as_bytes());
    assert_eq!(code, 4, "{said}");
    let id = &rows[output]["object_id"];
    assert!(said.contains(&format!("Missing: objects {id} to {id}, of which nothing")), "{said}");
    assert!(said.contains("> Get-ChildItem") && !said.contains("PerfLogs\n"), "{said}");
}

#[test]
fn input_without_traffic_is_refused_with_a_reason() {
    for content in ["", "hello world, this is no traffic!", "<a:Envelope>"] {
        let (code, said) = decode(content.as_bytes());
        assert_eq!(code, 1, "{content}: {said}");
        assert!(said.contains("no remoting traffic in it"), "{said}");
    }
}

#[test]
fn a_text_is_shown_without_its_layers() {
    // `whoami` in UTF-16, encoded by hand.
    let (code, text) = said(psr(&["decode", "powershell -enc dwBoAG8AYQBtAGkA"]));
    assert_eq!((code, text.lines().last()), (0, Some("")), "{text}");
    assert!(text.contains("encoded_command, in the text\nwhoami\n"), "{text}");
    let (code, text) = said(psr(&["decode", "Get-Date"]));
    assert_eq!(code, 0);
    assert!(text.contains("hides nothing"), "{text}");
}

/// The key and the texts are the fixture's own word.
#[test]
fn secure_strings_are_shown_to_who_has_the_session_key() {
    let found = fixtures().into_iter().find(|(name, _)| name == "session_key_securestring");
    let Some((_, fixture)) = found else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic");
    std::fs::write(&path, raw(&fixture).join("\n")).unwrap();
    let path = path.to_str().unwrap();
    let secrets = fixture["secrets"]["plaintexts_in_order"].as_array().unwrap();
    let key = text(&fixture["secrets"], "session_key_hex");
    let (code, closed) = said(psr(&["decode", "--psrp", path]));
    assert_eq!(code, 0, "{closed}");
    let (code, open) = said(psr(&["decode", "--psrp", path, "--session-key", key]));
    assert_eq!(code, 0, "{open}");
    for secret in secrets.iter().map(|secret| secret.as_str().unwrap()) {
        assert!(!closed.contains(secret) && open.contains(secret), "{secret}: {open}");
    }
    assert!(closed.contains("<encrypted SecureString>") && !open.contains("<encrypted"), "{open}");
    let (code, wrong) = said(psr(&["decode", "--psrp", path, "--session-key", "abc"]));
    assert!(code == 2 && wrong.contains("64 hex digits"), "{wrong}");
}
