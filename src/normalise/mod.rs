//! Records to typed events: a file per family of providers, each a pure function of one record.

mod context;
mod fields;
mod powershell;
mod security;
mod system;
mod winrm;
mod wire;

pub(crate) use context::pairs;
pub(crate) use powershell::{MOST_NAMES, context_text};
pub use wire::{FragmentRecord, Wire, holds_wire, wire};

use crate::model::{Channel, Event, HostName, Record, Str, is_same};
use fields::Reader;

/// The reader of an event, if any stage after this one has a use for it: the one list of what is
/// relevant, for the decoder and the timeline alike.
fn reader(channel: Channel, event_id: u32) -> Option<Reader> {
    match channel {
        Channel::WinRm | Channel::WinRmAnalytic => winrm::reader(event_id),
        Channel::PowerShell | Channel::PowerShellCore | Channel::PowerShellAnalytic => {
            powershell::reader(event_id)
        }
        Channel::PowerShellClassic => powershell::classic_reader(event_id),
        Channel::Security => security::reader(event_id),
        Channel::Sysmon => security::sysmon_reader(event_id),
        _ => system::reader(channel, event_id),
    }
}

/// Whether an event of this channel is relevant.
pub fn relevant(channel: Channel, event_id: u32) -> bool {
    reader(channel, event_id).is_some()
}

/// Makes the typed events of records, one after another.
#[derive(Default)]
pub struct Normaliser {
    /// The computer of the latest record, and its name in lower case: logs seldom change it.
    computer: Str,
    host: HostName,
}

impl Normaliser {
    /// The typed event of a record; one that is not relevant is an `Other` with its data in short.
    pub fn event(&mut self, record: &Record) -> Event {
        if !is_same(&self.computer, &record.computer) {
            self.computer = record.computer.clone();
            self.host = record.computer.to_lowercase().into();
        }
        let kind = match reader(record.known_channel, record.event_id) {
            Some(read) => read(record),
            None => system::other(record),
        };
        Event::new(record, self.host.clone(), kind)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Normaliser;
    use crate::model::{Channel, Event, Fields, Form, InputIdx, Record, RecordRef};
    use chrono::DateTime;

    /// The event of a record.
    pub(crate) fn event(record: &Record) -> Event {
        Normaliser::default().event(record)
    }

    /// A record of a channel with the given data.
    pub(crate) fn record(channel: &str, event_id: u32, data: &[(&str, &str)]) -> Record {
        let mut fields = Fields::default();
        for (name, value) in data {
            fields.push(name, value);
        }
        Record {
            source: RecordRef { input: InputIdx::default(), offset: 0, number: 1 },
            time: DateTime::UNIX_EPOCH,
            logged: DateTime::UNIX_EPOCH,
            form: Form::Binary,
            provider: "".into(),
            channel: channel.into(),
            known_channel: Channel::of(channel, ""),
            computer: "HOST".into(),
            event_id,
            level: 4,
            keywords: 0,
            record_id: 1,
            user_sid: None,
            activity_id: None,
            process_id: None,
            thread_id: None,
            data: fields,
        }
    }
}
