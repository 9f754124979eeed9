//! `psr-forensics decode` on what a ticket or a file may hold.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{psr, root};

/// What is said of a text on standard input.
fn of_input(bytes: &[u8]) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    program.args(["decode", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = program.current_dir(root()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(bytes).unwrap();
    let done = running.wait_with_output().unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

fn of(text: &str) -> String {
    let done = psr(&["decode", text]);
    assert_eq!(done.status.code(), Some(0));
    String::from_utf8(done.stdout).unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn base64_by_itself_is_decoded_however_short() {
    // `whoami` and `whoami /all` in UTF-16LE, `Get-Date` in UTF-8, as other programs encode them.
    for (text, plain) in [
        ("dwBoAG8AYQBtAGkA", "whoami"),
        ("dwBoAG8AYQBtAGkA\r\nIAAvAGEAbABsAA==\r\n", "whoami /all"),
        ("R2V0LURhdGU=", "Get-Date"),
    ] {
        assert_eq!(of(text), format!("Layer 1: base64, in the text\n{plain}\n\n"), "{text}");
    }
    // Words are Base64 of something, which is no text.
    for word in ["hostname", "powershellexe", "Administrators", "GetChildItems0"] {
        assert_eq!(of(word), "It hides nothing that this program knows to take off.\n");
    }
}

#[test]
fn clixml_is_decoded_with_the_layers_of_its_texts() {
    let xml = "#< CLIXML\r\n<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\">\
               <S S=\"Error\">it failed:_x000D__x000A_</S><S>powershell -enc dwBoAG8AYQBtAGkA</S>\
               <S>\u{202e}txt</S></Objs>";
    let told = of(xml);
    let expected = "Layer 1: clixml, in the text\nit failed:\n\npowershell -enc dwBoAG8AYQBtAGkA\n<U+202E>txt\n\n\
                    Layer 2: encoded_command, in layer 1\nwhoami\n\n";
    assert_eq!(told, expected);
    let (code, told) = of_input(b"<Objs><S>cut");
    assert!(code == Some(4) && told.starts_with("Not read: its XML is damaged"), "{told}");
}

#[test]
fn files_are_read_as_powershell_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script.ps1");
    let script = "powershell -enc dwBoAG8AYQBtAGkA\r\n";
    let marked = [&[0xff, 0xfe][..], &utf16(script)].concat();
    for bytes in [script.as_bytes().to_vec(), marked, utf16(script)] {
        fs::write(&file, &bytes).unwrap();
        let done = psr(&["decode", "--file", file.to_str().unwrap()]);
        let told = String::from_utf8(done.stdout).unwrap();
        assert_eq!(told, "Layer 1: encoded_command, in the text\nwhoami\n\n");
        assert_eq!(of_input(&bytes), (Some(0), told));
    }
    let none = psr(&["decode", "--file", "no-such-file"]);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(psr(&["decode", "--file", "a", "b"]).status.code(), Some(2));
}
