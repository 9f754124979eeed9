//! One log record as decoded: its place in the evidence, its System fields, its data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{InputIdx, LoggedId, Str};

/// Where a record lies in the evidence: enough to find its bytes again.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RecordRef {
    /// Index of the input in the run's list.
    pub input: InputIdx,
    /// Offset of the record's header from the start of the file, in bytes.
    pub offset: u64,
    /// The number in the record's own header. Exported logs renumber it from 1, while
    /// System/EventRecordID keeps the number people quote.
    pub number: u64,
}

/// The channels this program knows by name, whatever way a log spells or omits them.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Channel {
    /// Microsoft-Windows-WinRM/Operational
    WinRm,
    /// Microsoft-Windows-WinRM/Analytic
    WinRmAnalytic,
    /// Microsoft-Windows-PowerShell/Operational
    PowerShell,
    /// Microsoft-Windows-PowerShell/Analytic
    PowerShellAnalytic,
    /// PowerShellCore/Operational (PowerShell 7)
    PowerShellCore,
    /// Windows PowerShell, the classic log
    PowerShellClassic,
    /// Security
    Security,
    /// System
    System,
    /// Microsoft-Windows-Sysmon/Operational
    Sysmon,
    /// Microsoft-Windows-WMI-Activity/Operational
    WmiActivity,
    /// Microsoft-Windows-TaskScheduler/Operational
    TaskScheduler,
    /// Microsoft-Windows-AppLocker/*
    AppLocker,
    /// Microsoft-Windows-Windows Defender/Operational
    Defender,
    /// OpenSSH/Operational
    OpenSsh,
    /// Any other channel.
    #[default]
    Other,
}

/// The channels by their names.
const NAMES: [(&str, Channel); 14] = [
    ("Microsoft-Windows-WinRM/Operational", Channel::WinRm),
    ("Microsoft-Windows-WinRM/Analytic", Channel::WinRmAnalytic),
    ("Microsoft-Windows-PowerShell/Operational", Channel::PowerShell),
    ("Microsoft-Windows-PowerShell/Analytic", Channel::PowerShellAnalytic),
    ("PowerShellCore/Operational", Channel::PowerShellCore),
    ("PowerShellCore/Analytic", Channel::PowerShellAnalytic),
    ("Windows PowerShell", Channel::PowerShellClassic),
    ("Security", Channel::Security),
    ("System", Channel::System),
    ("Microsoft-Windows-Sysmon/Operational", Channel::Sysmon),
    ("Microsoft-Windows-WMI-Activity/Operational", Channel::WmiActivity),
    ("Microsoft-Windows-TaskScheduler/Operational", Channel::TaskScheduler),
    ("Microsoft-Windows-Windows Defender/Operational", Channel::Defender),
    ("OpenSSH/Operational", Channel::OpenSsh),
];

impl Channel {
    /// The channel's name, as Windows spells it; empty for one that this program does not know.
    pub fn name(self) -> &'static str {
        match self {
            Channel::AppLocker => "Microsoft-Windows-AppLocker",
            _ => NAMES.iter().find(|(_, channel)| *channel == self).map_or("", |(name, _)| name),
        }
    }

    /// Tells a channel from a record's Channel and, where that is missing, its Provider.
    pub fn of(channel: &str, provider: &str) -> Channel {
        const PROVIDERS: [(&str, Channel); 9] = [
            ("Microsoft-Windows-WinRM", Channel::WinRm),
            ("Microsoft-Windows-PowerShell", Channel::PowerShell),
            ("PowerShellCore", Channel::PowerShellCore),
            ("PowerShell", Channel::PowerShellClassic),
            ("Microsoft-Windows-Security-Auditing", Channel::Security),
            ("Service Control Manager", Channel::System),
            ("Microsoft-Windows-Sysmon", Channel::Sysmon),
            ("Microsoft-Windows-WMI-Activity", Channel::WmiActivity),
            ("Microsoft-Windows-TaskScheduler", Channel::TaskScheduler),
        ];
        let find = |table: &[(&str, Channel)], name: &str| {
            let known = table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|&(_, channel)| channel)
        };
        if channel.starts_with("Microsoft-Windows-AppLocker/") {
            Channel::AppLocker
        } else if channel.is_empty() {
            find(&PROVIDERS, provider).unwrap_or(Channel::Other)
        } else {
            find(&NAMES, channel).unwrap_or(Channel::Other)
        }
    }
}

/// The data of a record (EventData, UserData or ProcessingErrorData) as text, in log order.
///
/// Names repeat where the log repeats them: the classic log's unnamed strings are all `Data`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Fields {
    /// Each field's name, and its value right behind it.
    text: String,
    /// Where each field's name ends, and its value.
    ends: Vec<(usize, usize)>,
    /// Of each field's name, what tells it from most others.
    tags: Vec<u8>,
}

/// A byte that few names of a record have in common: they are looked up by it.
fn tag(name: &[u8]) -> u8 {
    let middle = name.get(name.len() / 2).copied().unwrap_or_default();
    (name.len() as u8).wrapping_mul(7) ^ middle
}

/// Whether two names are equal. Most have 8 to 32 bytes, which takes less than to call what
/// compares more.
pub(crate) fn are_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && match a.len() {
            8..=16 => ends_equal::<8>(a, b),
            17..=32 => ends_equal::<16>(a, b),
            _ => a == b,
        }
}

/// Whether the first so many bytes are equal, and the last.
fn ends_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
}

impl Fields {
    /// Appends a field.
    pub fn push(&mut self, name: &str, value: &str) {
        self.tags.push(tag(name.as_bytes()));
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// Takes all fields out, and keeps their room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.tags.clear();
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of that name, unless it is empty or the `-` Windows writes for "none".
    pub fn known(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty() && *value != "-")
    }

    /// All fields in log order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let field = (&self.text[start..name_end], &self.text[name_end..end]);
            start = end;
            field
        })
    }

    /// The values of all fields of that name.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        memchr::memchr_iter(tag(name.as_bytes()), &self.tags).filter_map(move |field| {
            let start = field.checked_sub(1).map_or(0, |before| self.ends[before].1);
            let (name_end, end) = self.ends[field];
            let known = &self.text.as_bytes()[start..name_end];
            are_equal(known, name.as_bytes()).then(|| &self.text[name_end..end])
        })
    }
}

/// A field's name as a decoder has it for many records.
#[derive(Debug, Clone)]
pub(crate) struct FieldName {
    name: Str,
    tag: u8,
    /// Its bytes and zeroes after them: so many are copied without a call.
    padded: [u8; PADDED],
}

/// Names up to this long are padded; few are longer.
const PADDED: usize = 32;

impl FieldName {
    /// Such a name.
    pub fn new(name: Str) -> FieldName {
        let mut padded = [0; PADDED];
        padded.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        FieldName { tag: tag(name.as_bytes()), name, padded }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// Fields as a decoder writes them: bytes, which are checked to be text once for all.
#[derive(Debug)]
pub(crate) struct FieldsDraft {
    text: Vec<u8>,
    ends: Vec<(usize, usize)>,
    tags: Vec<u8>,
}

impl FieldsDraft {
    /// Begins anew, in the room of fields no longer needed.
    pub fn in_place_of(fields: Fields) -> Self {
        let Fields { text, mut ends, mut tags } = fields;
        let mut text = text.into_bytes();
        text.clear();
        ends.clear();
        tags.clear();
        FieldsDraft { text, ends, tags }
    }

    /// Appends a field, whose value `write` appends to the bytes.
    pub fn push<E>(
        &mut self,
        name: &FieldName,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let name_end = self.text.len() + name.name.len();
        match name.name.len() <= PADDED {
            true => {
                self.text.extend_from_slice(&name.padded);
                self.text.truncate(name_end);
            }
            false => self.text.extend_from_slice(name.name.as_bytes()),
        }
        write(&mut self.text)?;
        self.tags.push(name.tag);
        self.ends.push((name_end, self.text.len()));
        Ok(())
    }

    /// The fields, if what was written is UTF-8.
    pub fn finish(self) -> Option<Fields> {
        let FieldsDraft { text, ends, tags } = self;
        Some(Fields { text: String::from_utf8(text).ok()?, ends, tags })
    }
}

/// The form a record came in, the richest first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Form {
    /// Binary XML, as Windows logs it.
    #[default]
    Binary,
    /// All of it made text: XML, or evtx_dump's JSON.
    Rendered,
    /// Winlogbeat's JSON.
    Winlogbeat,
    /// Hayabusa's timeline.
    Hayabusa,
    /// NXLog's fields.
    NxLog,
}

/// A decoded log record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Where it lies in the evidence.
    pub source: RecordRef,
    /// System/TimeCreated, or the record header's time where that is missing; UTC, 100 ns.
    pub time: DateTime<Utc>,
    /// TimeCreated as exact as its form has it. It is `time`, but for Sysmon's records from NXLog,
    /// whose `time` is Sysmon's own and finer one.
    pub logged: DateTime<Utc>,
    /// The form it came in.
    pub form: Form,
    /// System/Provider Name.
    pub provider: Str,
    /// System/Channel as logged; empty when the record has none.
    pub channel: Str,
    /// The channel as this program knows it.
    pub known_channel: Channel,
    /// System/Computer as logged.
    pub computer: Str,
    /// System/EventID.
    pub event_id: u32,
    /// System/Level (1 critical to 5 verbose, 0 always).
    pub level: u8,
    /// System/Keywords; 0 where it has none. A success that was audited has
    /// 0x8020000000000000, a failure 0x8010000000000000.
    pub keywords: u64,
    /// System/EventRecordID, which Event Viewer shows; the header's number where it is missing.
    pub record_id: u64,
    /// System/Security UserID, a SID.
    pub user_sid: Option<Str>,
    /// System/Correlation ActivityID.
    pub activity_id: Option<LoggedId>,
    /// System/Execution ProcessID.
    pub process_id: Option<u32>,
    /// System/Execution ThreadID.
    pub thread_id: Option<u32>,
    /// The record's data.
    pub data: Fields,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn channels_are_told_by_name_then_provider() {
        assert_eq!(Channel::of("security", ""), Channel::Security);
        assert_eq!(Channel::of("", "Microsoft-Windows-WinRM"), Channel::WinRm);
        assert_eq!(
            Channel::of("Microsoft-Windows-AppLocker/MSI and Script", ""),
            Channel::AppLocker
        );
        assert_eq!(Channel::of("Application", "PowerShell"), Channel::Other);
    }

    #[test]
    fn fields_keep_their_order_and_repeat() {
        let mut fields = Fields::default();
        for (name, value) in [("Data", "a"), ("", ""), ("Data", ""), ("Name", "\u{e4}")] {
            fields.push(name, value);
        }
        let expected = [("Data", "a"), ("", ""), ("Data", ""), ("Name", "\u{e4}")];
        assert_eq!(fields.iter().collect::<Vec<_>>(), expected);
        assert_eq!(fields.all("Data").collect::<Vec<_>>(), ["a", ""]);
        assert_eq!((fields.get("Name"), fields.get("name")), (Some("\u{e4}"), None));
    }

    #[test]
    fn names_are_the_same_letter_by_letter() {
        let letters = b"LogonProcessNameOfSomeLogonOfLongAgo";
        for length in 0..letters.len() {
            let name = &letters[..length];
            let again = name.to_vec();
            assert!(are_equal(name, &again));
            assert!(!are_equal(name, &letters[..length + 1]));
            assert!(!are_equal(&letters[..length + 1], name));
            for at in 0..length {
                let mut other = name.to_vec();
                other[at] ^= 1;
                assert!(!are_equal(name, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_draft_becomes_fields_if_it_is_text() {
        let write = |bytes: &'static [u8]| {
            let mut old = Fields::default();
            old.push("Old", "value");
            let mut draft = FieldsDraft::in_place_of(old);
            for name in ["Name", "", "NameOfMoreThanTheThirtyTwoLettersThatArePadded"] {
                let name = FieldName::new(name.into());
                draft.push(&name, |out| out.write_all(bytes)).unwrap();
            }
            draft.finish()
        };
        let mut fields = Fields::default();
        for name in ["Name", "", "NameOfMoreThanTheThirtyTwoLettersThatArePadded"] {
            fields.push(name, "\u{e4}");
        }
        assert_eq!(write(b"\xc3\xa4"), Some(fields));
        assert_eq!(write(b"\xc3"), None);
    }

    #[test]
    fn a_dash_is_no_value() {
        let mut fields = Fields::default();
        fields.push("IpAddress", "-");
        assert_eq!(fields.get("IpAddress"), Some("-"));
        assert_eq!(fields.known("IpAddress"), None);
    }
}
