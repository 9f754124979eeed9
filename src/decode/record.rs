//! Turns a template instance's values into a [`Record`].
//!
//! System's provider, channel and event id are read first. The other values become text only if the
//! record is wanted.

use std::mem;
use std::str::FromStr;
use std::sync::Arc;

use super::binxml::{Odd, Value, kind};
use super::definition::Source;
use super::instance::{Instance, Instances, RecordHeader};
use super::interner::Interner;
use super::plan::{Empty, Step, SystemField};
use super::system::keywords;
use super::value::{Days, unsigned};
use super::wanted::{Seen, Wanted};
use crate::model::{
    Channel, FieldName, FieldsDraft, LoggedId, Record, RecordRef, Str, are_equal, parse_utc,
};

/// Reads records. Keeps the last record so that its buffers and texts can be used again.
#[derive(Default)]
pub(super) struct Latest {
    pub record: Record,
    provider: Recent,
    channel: Recent,
    computer: Recent,
    user_sid: Recent,
    activity_id: Recent<Option<LoggedId>>,
    days: Days,
}

impl Latest {
    /// Reads a record. Returns `false` if it is not wanted. Then only a part of it is read.
    pub fn read(
        &mut self,
        instances: Instances,
        header: RecordHeader,
        source: RecordRef,
        wanted: &dyn Wanted,
        names: &mut Interner,
    ) -> Result<bool, Odd> {
        let root = instances.root().ok_or(Odd("a record of nothing"))?;
        let system = instances.plan(root).system.as_ref().ok_or(Odd("a record of no Event"))?;
        let find = |field| instances.find(root, field);
        let Latest { record, provider, channel, computer, user_sid, activity_id, days } = self;
        let mut name = |text: String| names.get(&text);

        let event_id = find(&system.event_id).number()?.ok_or(Odd("no event id"))?;
        // Both texts come before either is shared: if one is unusual, the record stays unchanged.
        let provider = provider.value(find(&system.provider), &mut name)?;
        let channel = channel.value(find(&system.channel), &mut name)?;
        let other_provider = share(&mut record.provider, provider);
        let other_channel = share(&mut record.channel, channel);
        if other_provider || other_channel {
            record.known_channel = Channel::of(&record.channel, &record.provider);
        }
        record.source = source;
        record.event_id = event_id;
        share(&mut record.computer, computer.value(find(&system.computer), &mut name)?);
        let logged = match find(&system.time) {
            Found::Value(Value { kind: kind::FILETIME, bytes }) => {
                Some(days.filetime(unsigned(bytes)).ok_or(Odd("a time past the year 9999"))?)
            }
            found => parse_utc(&found.text()?).ok(),
        };
        let written = || days.filetime(header.ticks).ok_or(Odd("a record's time is none"));
        record.time = logged.map_or_else(written, Ok)?;
        record.logged = record.time;
        record.record_id = find(&system.record_id).number()?.unwrap_or(source.number);
        wanted.passes(Seen {
            source,
            channel: record.known_channel,
            channel_name: &record.channel,
            provider: &record.provider,
            computer: &record.computer,
            event_id,
            record_id: record.record_id,
            time: record.time,
        });
        if !wanted.wants(source, record.known_channel, &record.channel, event_id) {
            return Ok(false);
        }
        record.user_sid = match find(&system.user_sid) {
            Found::Nothing => None,
            found => Some(user_sid.value(found, &mut name)?.clone()),
        };
        record.activity_id = match find(&system.activity_id) {
            Found::Nothing => None,
            found => activity_id.value(found, |text| LoggedId::parse(&text))?.clone(),
        };
        record.level = find(&system.level).number()?.unwrap_or(0);
        record.keywords = match find(&system.keywords) {
            Found::Value(Value { kind: kind::HEX_INT64, bytes }) => unsigned(bytes),
            found => keywords(&found.text()?),
        };
        record.process_id = find(&system.process_id).number()?;
        record.thread_id = find(&system.thread_id).number()?;

        let mut data = FieldsDraft::in_place_of(mem::take(&mut record.data));
        instances.fields(root, &mut |name, found| data.push(name, |out| found.write(out)))?;
        record.data = data.finish().ok_or(Odd("a text that is no UTF-8"))?;
        Ok(true)
    }
}

/// Sets a text of a record. Returns whether it changed.
fn share(field: &mut Str, text: &Str) -> bool {
    let other = !Arc::ptr_eq(field, text);
    if other {
        *field = text.clone();
    }
    other
}

/// A value made from a text, cached because the next text is usually the same.
#[derive(Default)]
struct Recent<T = Str> {
    kind: u8,
    bytes: Vec<u8>,
    made: T,
}

impl<T> Recent<T> {
    /// Returns the cached value, or makes one from the text if it differs from the last.
    fn value(&mut self, found: Found, make: impl FnOnce(String) -> T) -> Result<&T, Odd> {
        /// Not the type of any value.
        const FIXED: u8 = 0xff;
        let (kind, bytes) = match found {
            Found::Nothing => (kind::NULL, &[][..]),
            Found::Fixed(text) => (FIXED, text.as_bytes()),
            Found::Value(value) => (value.kind, value.bytes),
        };
        if kind != self.kind || !are_equal(bytes, &self.bytes) {
            self.made = make(found.text()?);
            self.kind = kind;
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
        }
        Ok(&self.made)
    }
}

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'c, 'r> {
    /// No content.
    Nothing,
    Fixed(&'r Str),
    Value(Value<'c>),
}

impl Found<'_, '_> {
    fn write(self, out: &mut Vec<u8>) -> Result<(), Odd> {
        match self {
            Found::Nothing => Ok(()),
            Found::Fixed(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Found::Value(value) => value.write(out),
        }
    }

    fn text(self) -> Result<String, Odd> {
        match self {
            Found::Nothing => Ok(String::new()),
            Found::Fixed(text) => Ok(text.to_string()),
            Found::Value(value) => value.text(),
        }
    }

    /// Returns the number that the text states, if it fits the type.
    fn number<N: FromStr + TryFrom<u64>>(self) -> Result<Option<N>, Odd> {
        if let Found::Value(value) = self
            && let Some(number) = value.number()
        {
            return Ok(N::try_from(number).ok());
        }
        Ok(self.text()?.parse().ok())
    }
}

impl<'c, 'r> Instances<'c, 'r> {
    /// Returns whether a value is NULL. A value past the instance's last is not, so no element
    /// depends on it.
    fn is_null(&self, instance: &Instance, value: u16) -> bool {
        self.value(instance, value).is_some_and(Value::is_null)
    }

    /// Returns the content of a source.
    fn resolve(&self, instance: &Instance, source: &'r Source) -> Found<'c, 'r> {
        match source {
            Source::Fixed(text) if !text.is_empty() => Found::Fixed(text),
            Source::Value(value) => match self.value(instance, *value) {
                Some(value) if !value.is_empty() => Found::Value(value),
                _ => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    /// Returns the content of a System field.
    pub fn find(&self, root: &Instance, field: &'r SystemField) -> Found<'c, 'r> {
        match field.dependency {
            Some(value) if self.is_null(root, value) => Found::Nothing,
            _ => self.resolve(root, &field.source),
        }
    }

    /// Returns whether an element without text becomes a field.
    fn is_field(&self, instance: &Instance, empty: &Empty) -> bool {
        match empty {
            Empty::Field => true,
            Empty::Nothing => false,
            Empty::Unless(values) => {
                values.iter().all(|&value| self.value(instance, value).is_none_or(Value::is_empty))
            }
        }
    }

    /// Passes the instance's fields to `field`, including those of nested instances.
    pub fn fields(
        &self,
        instance: &Instance,
        field: &mut impl FnMut(&FieldName, Found<'c, 'r>) -> Result<(), Odd>,
    ) -> Result<(), Odd> {
        let mut steps = self.plan(instance).steps.iter();
        while let Some(step) = steps.next() {
            match step {
                Step::Depends { value, steps: skipped } => {
                    if self.is_null(instance, *value) && *skipped > 0 {
                        steps.nth(skipped - 1);
                    }
                }
                Step::Field { name, source, empty, numbered } => {
                    match self.resolve(instance, source) {
                        Found::Value(array) if array.kind == kind::STRING_ARRAY => {
                            for (index, bytes) in array.strings().enumerate() {
                                let found = match bytes {
                                    [] if !self.is_field(instance, empty) => continue,
                                    _ => Found::Value(Value { kind: kind::STRING, bytes }),
                                };
                                match index {
                                    1.. if *numbered => {
                                        let name = format!("{}_{index}", name.as_str());
                                        field(&FieldName::new(name.into()), found)?;
                                    }
                                    _ => field(name, found)?,
                                }
                            }
                        }
                        Found::Nothing if !self.is_field(instance, empty) => {}
                        found => field(name, found)?,
                    }
                }
                Step::Left { dependencies, name, empty } => {
                    let left = dependencies.iter().all(|&value| self.is_null(instance, value));
                    if left && self.is_field(instance, empty) {
                        field(name, Found::Nothing)?;
                    }
                }
                Step::Instance { value, barred } => {
                    let Some(nested) = self.nested(instance, *value) else { continue };
                    if barred.contains(&&*self.plan(nested).root) {
                        return Err(Odd("an instance whose element is not data"));
                    }
                    self.fields(nested, field)?;
                }
            }
        }
        Ok(())
    }
}
