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
fn what_is_no_traffic_is_refused_in_words() {
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
