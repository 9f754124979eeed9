//! Services, tasks, WMI, log clearing and the other logs that only the timeline and rules use.

use std::sync::LazyLock;

use regex::Regex;

use super::fields::{Reader, known};
use crate::model::{AccountName, Channel, EventKind, LogCleared, OtherEvent, Record, SshAccepted};

/// Longest summary of an event without a reader, in characters.
const MAX_SUMMARY: usize = 1000;

pub(super) fn reader(channel: Channel, event_id: u32) -> Option<Reader> {
    Some(match (channel, event_id) {
        (Channel::System, 104) => |record| log_cleared(record, "System"),
        (Channel::System, 7036 | 7040 | 7045) => installed,
        (Channel::WmiActivity, 5857..=5861)
        | (Channel::TaskScheduler, 106 | 140 | 141 | 200)
        | (Channel::AppLocker, 8003..=8007)
        | (Channel::Defender, 1116 | 5001) => other,
        (Channel::OpenSsh, 4) => openssh,
        _ => return None,
    })
}

/// 1102 and 104. Their `Channel` field names the cleared log where it is not the record's own.
pub(super) fn log_cleared(record: &Record, log: &str) -> EventKind {
    let domain = record.data.get("SubjectDomainName").unwrap_or_default();
    let name = record.data.get("SubjectUserName").unwrap_or_default();
    EventKind::LogCleared(Box::new(LogCleared {
        log: known(record, "Channel").unwrap_or_else(|| log.to_owned()),
        account: AccountName::new(domain, name),
    }))
}

/// OpenSSH 4: all that sshd has to say is one text.
fn openssh(record: &Record) -> EventKind {
    static ACCEPTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:sshd: )?Accepted \S+ for (.+) from (\S+) port \d+")
            .expect("the pattern is fixed")
    });
    let text = record.data.get("payload").unwrap_or_default();
    match ACCEPTED.captures(text) {
        Some(parts) => EventKind::SshAccepted(Box::new(SshAccepted {
            account: AccountName::parse(&parts[1]),
            ip: parts[2].to_owned(),
            text: text.to_owned(),
        })),
        None => other(record),
    }
}

/// Services and tasks: installed, changed, started.
pub(super) fn installed(record: &Record) -> EventKind {
    named(
        record,
        match record.event_id {
            4697 | 7045 => "service installed",
            4698 => "task created",
            7036 => "service state",
            _ => "service start type",
        },
    )
}

/// Sysmon 11 and 13.
pub(super) fn sysmon_change(record: &Record) -> EventKind {
    named(record, if record.event_id == 11 { "file created" } else { "registry value set" })
}

/// Any event, by the family it belongs to.
pub(super) fn other(record: &Record) -> EventKind {
    named(
        record,
        match record.known_channel {
            Channel::WmiActivity => "wmi activity",
            Channel::TaskScheduler => "scheduled task",
            Channel::AppLocker => "applocker",
            Channel::Defender => "defender",
            Channel::OpenSsh => "openssh",
            _ => "event",
        },
    )
}

fn named(record: &Record, name: &'static str) -> EventKind {
    let mut summary = String::new();
    for (field, value) in record.data.iter() {
        let value = value.trim();
        if value.is_empty() || field == "Binary" {
            continue;
        }
        if !summary.is_empty() {
            summary.push_str(", ");
        }
        summary.push_str(field);
        summary.push('=');
        summary.push_str(value);
        if let Some((cut, _)) = summary.char_indices().nth(MAX_SUMMARY) {
            summary.truncate(cut);
            summary.push('…');
            break;
        }
    }
    EventKind::Other(OtherEvent { name, summary })
}
