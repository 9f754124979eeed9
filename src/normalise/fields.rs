//! Fields of records as numbers, texts and ids.

use crate::model::{EventKind, LoggedId, Record};

/// Reads one kind of event.
pub(super) type Reader = fn(&Record) -> EventKind;

/// A number as logs write it: decimal, or hex after `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A field that holds a number of 32 bits.
pub(super) fn number_of(record: &Record, name: &str) -> Option<u32> {
    number(record.data.get(name)?)?.try_into().ok()
}

/// A field's text, empty where it is missing.
pub(super) fn text(record: &Record, name: &str) -> String {
    record.data.get(name).unwrap_or_default().to_owned()
}

/// A field's text, none where it is missing, empty or `-`.
pub(super) fn known(record: &Record, name: &str) -> Option<String> {
    record.data.known(name).map(str::to_owned)
}

/// A field that holds an id.
pub(super) fn id_of(record: &Record, name: &str) -> Option<LoggedId> {
    LoggedId::parse(record.data.get(name)?)
}
