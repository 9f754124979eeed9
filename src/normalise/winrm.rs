//! Microsoft-Windows-WinRM, Operational and Analytic (ids and names: the provider's manifest).

use std::sync::LazyLock;

use regex::Regex;

use super::fields::{Reader, known, number, text};
use super::wire;
use crate::model::{
    AccountName, Authenticated, ClientFailure, ClientSession, ClientStep, EventKind, LoggedId,
    Record, ServerOperation, ShellCreated, ShellKind, creates_shell, split_port,
};

pub(super) fn reader(event_id: u32) -> Option<Reader> {
    Some(match event_id {
        6 => client_session,
        8 | 10 | 11 | 13 | 15 | 16 | 31 | 33 | 132 | 145 => client_step,
        142 | 161 | 162 | 164 => client_failure,
        91 => shell_created,
        81 | 82 | 134 | 788 | 789 | 1050 => server_operation,
        169 | 1295 => authenticated,
        192 => authorization_failed,
        771 | 772 | 779 | 1026 | 1027 | 1044 => {
            |record| EventKind::Traffic(wire::chunk_in_short(record))
        }
        193 | 208..=212 | 224 | 785..=787 | 1293 | 1843 => service,
        _ => return None,
    })
}

fn client_session(record: &Record) -> EventKind {
    let connection = text(record, "connection");
    let lower = connection.to_lowercase();
    let bare = lower.split_once("://").map_or(lower.as_str(), |(_, rest)| rest);
    let authority = bare.split(['/', '?']).next().unwrap_or("");
    let (target, port) = split_port(authority);
    let https = match (lower.split_once("://").map(|(scheme, _)| scheme), port) {
        (Some("https"), _) | (None, Some("5986")) => Some(true),
        (Some("http"), _) | (None, Some("5985")) => Some(false),
        _ => None,
    };
    EventKind::ClientSession(ClientSession { target: target.to_owned(), https, connection })
}

fn client_step(record: &Record) -> EventKind {
    let step = match record.event_id {
        8 => "closing session",
        10 => "session option set",
        11 => "shell created",
        13 => "command run",
        15 => "closing command",
        16 => "closing shell",
        31 => "session created",
        33 => "session closed",
        132 => "operation done",
        _ => "operation started",
    };
    let resource_uri = known(record, "resourceUri").or_else(|| known(record, "resourceURI"));
    let operation = record.data.get("operationName").unwrap_or_default();
    let asks_shell = record.event_id == 11 || (record.event_id == 145 && creates_shell(operation));
    EventKind::ClientStep(ClientStep { text: with_data(step, record), resource_uri, asks_shell })
}

fn client_failure(record: &Record) -> EventKind {
    let code = record.data.get("errorCode").and_then(number);
    let details = record.data.iter().filter(|(name, _)| *name != "errorCode");
    EventKind::ClientFailure(ClientFailure {
        operation: known(record, "operationName"),
        error_code: code.and_then(|code| u32::try_from(code).ok()),
        text: join(details),
    })
}

/// The caller that newer builds append to the resource URI.
static CALLER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?s)(.*?)\s*\((.+?)\s+clientIP:\s*([^)\s]+)\s*\)\s*$")
        .expect("the pattern is fixed")
});

fn shell_created(record: &Record) -> EventKind {
    let payload = || record.data.get("EventPayload").map(payload_text);
    let logged = known(record, "resourceUri").or_else(payload).unwrap_or_default();
    let (resource_uri, account, client_ip) = match CALLER.captures(&logged) {
        Some(parts) => {
            (parts[1].to_owned(), AccountName::parse(&parts[2]), Some(parts[3].to_owned()))
        }
        None => (logged.trim().to_owned(), None, None),
    };
    let (kind, configuration) = ShellKind::of(&resource_uri);
    let configuration = configuration.to_owned();
    let shell_id = record.data.known("shellId").and_then(LoggedId::parse);
    EventKind::ShellCreated(Box::new(ShellCreated {
        resource_uri,
        kind,
        configuration,
        account,
        client_ip,
        shell_id,
    }))
}

/// ProcessingErrorData's EventPayload: hex of UTF-16LE strings, each ended by a zero. Events log
/// it when their fields do not fit their template; the strings are the fields (seen on 91).
fn payload_text(hex: &str) -> String {
    let digits: Vec<u8> =
        hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let units: Vec<u16> =
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let strings = units.split(|&unit| unit == 0).map(String::from_utf16_lossy);
    let mut strings: Vec<String> = strings.filter(|text| !text.is_empty()).collect();
    // The URI may not be the first string: builds that log the shell's id put either first.
    match strings.iter().position(|text| text.contains("://")) {
        Some(at) => strings.swap_remove(at),
        None => strings.join(" "),
    }
}

fn server_operation(record: &Record) -> EventKind {
    let operation = known(record, "operationName").or_else(|| known(record, "operation"));
    EventKind::ServerOperation(ServerOperation {
        operation: operation.unwrap_or_default(),
        resource_uri: known(record, "resourceURI").or_else(|| known(record, "resourceUri")),
    })
}

fn authenticated(record: &Record) -> EventKind {
    EventKind::Authenticated(Box::new(Authenticated {
        account: record.data.known("username").and_then(AccountName::parse),
        mechanism: text(record, "authenticationMechanism"),
    }))
}

fn authorization_failed(record: &Record) -> EventKind {
    let code = record.data.get("errorCode").and_then(number);
    EventKind::AuthorizationFailed(code.and_then(|code| u32::try_from(code).ok()))
}

fn service(record: &Record) -> EventKind {
    let what = match record.event_id {
        193 => "authorising",
        208 => "service starting",
        209 => "service started",
        210 => "service stopping",
        211 | 212 => "service stopped",
        224 => "configuration changed",
        785 => "host process started",
        786 => "host process ended",
        787 => "operation",
        1293 => "authenticating",
        _ => "unauthenticated connection dropped",
    };
    EventKind::WinRmService(with_data(what, record))
}

fn with_data(what: &str, record: &Record) -> String {
    match join(record.data.iter()) {
        data if data.is_empty() => what.to_owned(),
        data => format!("{what}: {data}"),
    }
}

fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    const CHANNEL: &str = "Microsoft-Windows-WinRM/Operational";

    fn shell(data: &[(&str, &str)]) -> ShellCreated {
        match shell_created(&record(CHANNEL, 91, data)) {
            EventKind::ShellCreated(shell) => *shell,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn caller_is_split_from_the_resource_uri() {
        let uri = r"http://schemas.microsoft.com/powershell/Microsoft.PowerShell (CORP\a b clientIP: 10.1.2.3)";
        let shell = shell(&[("resourceUri", uri)]);
        assert_eq!(
            shell.resource_uri,
            "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
        );
        assert_eq!(
            (shell.kind, shell.configuration.as_str()),
            (ShellKind::PowerShell, "Microsoft.PowerShell")
        );
        assert_eq!(shell.account.unwrap().to_string(), r"CORP\a b");
        assert_eq!(shell.client_ip.as_deref(), Some("10.1.2.3"));
    }

    #[test]
    fn processing_error_data_holds_the_uri() {
        // "http://x/windows/shell/cmd" and two zero units, UTF-16LE in hex.
        let mut hex: String =
            "http://x/windows/shell/cmd".bytes().map(|byte| format!("{byte:02X}00")).collect();
        hex.push_str("00000000");
        let shell =
            shell(&[("ErrorCode", "15005"), ("DataItemName", "shellId"), ("EventPayload", &hex)]);
        assert_eq!(shell.resource_uri, "http://x/windows/shell/cmd");
        assert_eq!(shell.kind, ShellKind::Winrs);
    }

    #[test]
    fn odd_payloads_do_no_harm() {
        for hex in ["", "0", "zz", "41", "D800", "00D8"] {
            assert_eq!(shell(&[("EventPayload", hex)]).kind, ShellKind::Other);
        }
    }

    #[test]
    fn targets_of_connections() {
        let cases = [
            ("SRV02.corp.example/wsman?PSVersion=5.1", "srv02.corp.example", None),
            ("https://10.0.0.1:5986/wsman", "10.0.0.1", Some(true)),
            ("[fe80::1]:5985/wsman", "fe80::1", Some(false)),
            ("http://srv:5985", "srv", Some(false)),
            ("", "", None),
        ];
        for (connection, target, https) in cases {
            let record = record(CHANNEL, 6, &[("connection", connection)]);
            match client_session(&record) {
                EventKind::ClientSession(session) => {
                    assert_eq!((session.target.as_str(), session.https), (target, https));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
