use super::*;

const POWERSHELL: &str = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell";
const WINRS: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";

fn envelope(operation: &str, message: &str, relates_to: Option<&str>) -> Envelope<'static> {
    Envelope {
        action: format!("http://schemas.microsoft.com/wbem/wsman/1/windows/shell/{operation}"),
        message_id: Some(message.to_owned()),
        relates_to: relates_to.map(str::to_owned),
        ..Envelope::default()
    }
}

fn stream(name: &str, command: &str, text: &str) -> EnvelopeStream<'static> {
    let slot = StreamSlot::Stream(name.to_owned());
    EnvelopeStream {
        slot,
        command_id: Some(command.to_owned()),
        text: text.to_owned().into(),
        end: false,
    }
}

/// A fragment of object 1 without a message header, in Base64.
const FRAGMENT: &str = "AAAAAAAAAAEAAAAAAAAAAAMAAAABeA==";

#[test]
fn a_command_line_with_its_output() {
    let mut shells = Shells::default();
    // A Create that does not name its shell, as before Windows 8; its answer does.
    let create =
        Envelope { resource_uri: Some(WINRS.to_owned()), ..envelope("Create", "m1", None) };
    shells.push("srv", create, vec![1]);
    let created = Envelope {
        shell_id: Some("s1".to_owned()),
        owner: Some(r"CORP\alice".to_owned()),
        ..envelope("CreateResponse", "m2", Some("m1"))
    };
    shells.push("srv", created, vec![2]);
    let argument = EnvelopeStream { slot: StreamSlot::Arguments, ..stream("", "", "/all") };
    let command = Envelope {
        shell_id: Some("s1".to_owned()),
        command: Some("ipconfig".to_owned()),
        streams: vec![EnvelopeStream { command_id: None, ..argument }],
        ..envelope("Command", "m3", None)
    };
    shells.push("srv", command, vec![3]);
    let answer = Envelope {
        command_id: Some("c1".to_owned()),
        ..envelope("CommandResponse", "m4", Some("m3"))
    };
    shells.push("srv", answer, vec![4]);
    // "hi\n" and "ho", then "no" on the other stream, from a request that was not logged.
    let output = Envelope {
        command_id: Some("c1".to_owned()),
        command_state: Some("http://x/CommandState/Done".to_owned()),
        exit_code: Some("0".to_owned()),
        streams: vec![
            stream("stdout", "c1", "aGkK"),
            stream("stdout", "c1", "aG8="),
            stream("stderr", "c1", "bm8="),
        ],
        ..envelope("ReceiveResponse", "m5", Some("m9"))
    };
    assert!(shells.push("srv", output, vec![5]).is_empty());
    let (shells, found, others) = shells.take_reported();
    assert_eq!((shells.len(), found.len(), others), (1, 0, 0));
    let shell = &shells[0];
    assert_eq!((shell.id.as_deref(), shell.owner.as_deref()), (Some("s1"), Some(r"CORP\alice")));
    assert_eq!(shell.tags, [1, 2, 3, 4, 5]);
    let lines: Vec<_> = shell.commands.iter().map(|c| (&*c.line, c.arguments.join(" "))).collect();
    assert_eq!(lines, [("ipconfig", "/all".to_owned())]);
    let command = &shell.commands[0];
    assert_eq!(command.id.as_deref(), Some("c1"));
    assert_eq!(command.stream_text("stdout").as_deref(), Some("hi\nho"));
    assert_eq!(command.stream_text("stderr").as_deref(), Some("no"));
    assert_eq!((command.exit_code.as_deref(), &*command.tags), (Some("0"), &[3, 4, 5][..]));
}

#[test]
fn the_encoding_that_gives_valid_fragments_is_used() {
    // A stored block of Xpress around the fragment: lengths 22 - 1, twice.
    let mut block = vec![21, 0, 21, 0];
    block.extend(decode_base64(FRAGMENT).unwrap());
    let packed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, block);
    for (compression, text, reading) in [
        (None, FRAGMENT, StreamEncoding::Plain),
        (None, &*packed, StreamEncoding::Xpress),
        (Some("xpress"), FRAGMENT, StreamEncoding::Plain),
        (Some("xpress"), &*packed, StreamEncoding::Xpress),
    ] {
        let mut shells = Shells::default();
        let send = Envelope {
            shell_id: Some("s1".to_owned()),
            resource_uri: Some(POWERSHELL.to_owned()),
            compression: compression.map(str::to_owned),
            streams: vec![stream("stdin", "c1", text)],
            ..envelope("Send", "m1", None)
        };
        let found = shells.push("srv", send, vec![()]);
        assert_eq!((found.len(), found[0].fragments.len(), &found[0].damage), (1, 1, &None));
        assert!(found[0].to_server);
        assert_eq!(shells.take_reported().0[0].encodings, BTreeMap::from([(reading, 1)]));
    }
}

#[test]
fn invalid_bytes_are_reported() {
    let mut shells = Shells::default();
    for text in ["AAAA", "no Base64"] {
        let send = Envelope {
            shell_id: Some("s1".to_owned()),
            resource_uri: Some(POWERSHELL.to_owned()),
            streams: vec![stream("stdin", "c1", text)],
            ..envelope("Send", "m1", None)
        };
        let found = shells.push("srv", send, vec![()]);
        assert!(found[0].damage.is_some() && found[0].fragments.is_empty());
    }
    // Documents that concern no shell are counted.
    shells.push("srv", envelope("EnumerateResponse", "m3", Some("m8")), vec![()]);
    assert_eq!(shells.take_reported().2, 1);
}
