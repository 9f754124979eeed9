//! Fingerprints of records: what their copies in other inputs have in common with them.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::detect::Hit;
use crate::input::{Input, InputKind};
use crate::keyed::KeyedHasher;
use crate::model::{Event, EventKind, Form, Guid, MatchedField, Record};

/// The fingerprint of a record, by which its copies are found. It is of one run: hashes are keyed anew
/// in each run, so that nobody can write a log that makes two records one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// Of host, channel and event id: with the EventRecordID, which a row has beside it, it names a
    /// record. Few have another identity, so that 64 bits tell them apart.
    #[serde(with = "postcard::fixint::le")]
    pub identity: u64,
    /// Of all that this program takes from it and that rules found in it.
    #[serde(with = "postcard::fixint::le")]
    pub content: u64,
    /// The form it came in.
    pub form: Form,
    /// When it was logged, in nanoseconds after the time that is shown of it.
    pub late: i64,
}

/// Makes the fingerprints of a run.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    keys: KeyedHasher,
    /// There is no other record to tell one from.
    alone: bool,
}

impl Fingerprints {
    /// Makes the fingerprints of the records of some inputs. A log by itself has no record twice; what was carved may.
    pub fn of_inputs(inputs: &[Input]) -> Fingerprints {
        let alone = matches!(inputs, [input] if input.kind != InputKind::Recovered);
        Fingerprints { keys: KeyedHasher::default(), alone }
    }

    /// The fingerprint of a record on which these rules fired, and a hash of which log it is of: its host
    /// and channel.
    pub fn of(&self, record: &Record, event: &Event, hits: &[Hit]) -> (u64, Fingerprint) {
        let name = if event.channel.is_empty() { &event.provider } else { &event.channel };
        let log = self.keys.hash((&event.host, name));
        let Record { event_id, record_id, time, logged, form, ref data, .. } = *record;
        let late = (logged - time).num_nanoseconds().unwrap_or_default();
        if self.alone {
            return (log, Fingerprint { identity: 0, content: 0, form, late });
        }
        let content = self.content(record, event, hits);
        let identity = match record_id {
            // Without a name, all of it must be the same.
            0 => self.keys.hash((log, event_id, logged, class(form), content, data)),
            _ => self.keys.hash((log, event_id)),
        };
        (log, Fingerprint { identity, content, form, late })
    }

    fn content(&self, record: &Record, event: &Event, hits: &[Hit]) -> u64 {
        let Event { provider, user_sid, activity_id, process_id, kind, .. } = event;
        let mut hash = self.keys.hasher();
        (provider, user_sid, activity_id, process_id).hash(&mut hash);
        match kind {
            // Its data as it stands, but for what the ways to write a record down differ in.
            EventKind::Other(_) => {
                let data = record.data.iter().filter(|(name, _)| *name != "Binary");
                for (name, value) in data.filter(|(_, value)| !value.trim().is_empty()) {
                    name.hash(&mut hash);
                    hash_value(value, &mut hash);
                }
            }
            kind => kind.hash(&mut hash),
        }
        for Hit { rule, matched, values } in hits {
            rule.hash(&mut hash);
            for MatchedField { field, value } in matched {
                field.hash(&mut hash);
                hash_value(value, &mut hash);
            }
            // Correlations tell records apart by these.
            for value in values.iter().flatten() {
                value.is_some().hash(&mut hash);
                value.iter().for_each(|value| hash_value(&value.text(), &mut hash));
            }
        }
        hash.finish()
    }
}

/// Windows writes a GUID in braces, in XML and in what it forwards; the evtx crate in upper case.
fn hash_value(value: &str, hash: &mut impl Hasher) {
    let value = value.trim();
    match Guid::parse(value) {
        Some(guid) => guid.hash(hash),
        None => value.hash(hash),
    }
}

/// Forms of one class say the same of the same record.
pub(crate) fn class(form: Form) -> Form {
    form.max(Form::Rendered)
}
