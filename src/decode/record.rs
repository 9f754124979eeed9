//! Turns a template instance's values into a [`Record`].
//!
//! System's provider, channel and event id are read first. The other values become text only if the
//! record is wanted.

use std::mem;
use std::str::FromStr;
use std::sync::Arc;

use super::binxml::{BinXmlValue, Unplannable, kind};
use super::definition::TextSource;
use super::instance::{EvtxRecordHeader, RecordInstances, TemplateInstance};
use super::interner::Interner;
use super::plan::{DataStep, EmptyElement, SystemSource};
use super::record_filter::{RecordFilter, RecordHeader};
use super::system::keywords;
use super::value::{DayCache, unsigned_le};
use crate::model::{
    Channel, FieldName, FieldsDraft, LoggedId, Record, RecordRef, Str, are_equal, parse_utc,
};

/// Reads records. Keeps the last record so that its buffers and texts can be used again.
#[derive(Default)]
pub(super) struct RecordReader {
    pub record: Record,
    provider: CachedText,
    channel: CachedText,
    computer: CachedText,
    user_sid: CachedText,
    activity_id: CachedText<Option<LoggedId>>,
    days: DayCache,
}

impl RecordReader {
    /// Reads a record. Returns `false` if it is not wanted. Then only a part of it is read.
    pub fn read(
        &mut self,
        instances: RecordInstances,
        header: EvtxRecordHeader,
        source: RecordRef,
        filter: &dyn RecordFilter,
        names: &mut Interner,
    ) -> Result<bool, Unplannable> {
        let root = instances.root().ok_or(Unplannable("a record of nothing"))?;
        let system =
            instances.plan(root).system.as_ref().ok_or(Unplannable("a record of no Event"))?;
        let find = |field| instances.system_content(root, field);
        let RecordReader { record, provider, channel, computer, user_sid, activity_id, days } =
            self;
        let mut name = |text: String| names.get(&text);

        let event_id = find(&system.event_id).number()?.ok_or(Unplannable("no event id"))?;
        // Both texts come before either is shared: if one is unusual, the record stays unchanged.
        let provider = provider.get_or_make(find(&system.provider), &mut name)?;
        let channel = channel.get_or_make(find(&system.channel), &mut name)?;
        let other_provider = replace_shared(&mut record.provider, provider);
        let other_channel = replace_shared(&mut record.channel, channel);
        if other_provider || other_channel {
            record.known_channel = Channel::of(&record.channel, &record.provider);
        }
        record.source = source;
        record.event_id = event_id;
        replace_shared(
            &mut record.computer,
            computer.get_or_make(find(&system.computer), &mut name)?,
        );
        let logged = match find(&system.time) {
            FieldContent::Value(BinXmlValue { kind: kind::FILETIME, bytes }) => Some(
                days.filetime(unsigned_le(bytes))
                    .ok_or(Unplannable("a time past the year 9999"))?,
            ),
            found => parse_utc(&found.text()?).ok(),
        };
        let written =
            || days.filetime(header.ticks).ok_or(Unplannable("a record's time is invalid"));
        record.time = logged.map_or_else(written, Ok)?;
        record.logged = record.time;
        record.record_id = find(&system.record_id).number()?.unwrap_or(source.number);
        filter.observe(RecordHeader {
            source,
            channel: record.known_channel,
            channel_name: &record.channel,
            provider: &record.provider,
            computer: &record.computer,
            event_id,
            record_id: record.record_id,
            time: record.time,
        });
        if !filter.wants(source, record.known_channel, &record.channel, event_id) {
            return Ok(false);
        }
        record.user_sid = match find(&system.user_sid) {
            FieldContent::Nothing => None,
            found => Some(user_sid.get_or_make(found, &mut name)?.clone()),
        };
        record.activity_id = match find(&system.activity_id) {
            FieldContent::Nothing => None,
            found => activity_id.get_or_make(found, |text| LoggedId::parse(&text))?.clone(),
        };
        record.level = find(&system.level).number()?.unwrap_or(0);
        record.keywords = match find(&system.keywords) {
            FieldContent::Value(BinXmlValue { kind: kind::HEX_INT64, bytes }) => unsigned_le(bytes),
            found => keywords(&found.text()?),
        };
        record.process_id = find(&system.process_id).number()?;
        record.thread_id = find(&system.thread_id).number()?;

        let mut data = FieldsDraft::in_place_of(mem::take(&mut record.data));
        instances
            .for_each_field(root, &mut |name, found| data.push(name, |out| found.write(out)))?;
        record.data = data.finish().ok_or(Unplannable("a text that is not UTF-8"))?;
        Ok(true)
    }
}

/// Sets a text of a record. Returns whether it changed.
fn replace_shared(field: &mut Str, text: &Str) -> bool {
    let other = !Arc::ptr_eq(field, text);
    if other {
        *field = text.clone();
    }
    other
}

/// A value made from a text, cached because the next text is usually the same.
#[derive(Default)]
struct CachedText<T = Str> {
    kind: u8,
    bytes: Vec<u8>,
    cached: T,
}

impl<T> CachedText<T> {
    /// Returns the cached value, or makes one from the text if it differs from the last.
    fn get_or_make(
        &mut self,
        found: FieldContent,
        make: impl FnOnce(String) -> T,
    ) -> Result<&T, Unplannable> {
        /// Not the type of any value.
        const FIXED: u8 = 0xff;
        let (kind, bytes) = match found {
            FieldContent::Nothing => (kind::NULL, &[][..]),
            FieldContent::Fixed(text) => (FIXED, text.as_bytes()),
            FieldContent::Value(value) => (value.kind, value.bytes),
        };
        if kind != self.kind || !are_equal(bytes, &self.bytes) {
            self.cached = make(found.text()?);
            self.kind = kind;
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
        }
        Ok(&self.cached)
    }
}

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum FieldContent<'c, 'r> {
    /// No content.
    Nothing,
    Fixed(&'r Str),
    Value(BinXmlValue<'c>),
}

impl FieldContent<'_, '_> {
    fn write(self, out: &mut Vec<u8>) -> Result<(), Unplannable> {
        match self {
            FieldContent::Nothing => Ok(()),
            FieldContent::Fixed(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            FieldContent::Value(value) => value.write(out),
        }
    }

    fn text(self) -> Result<String, Unplannable> {
        match self {
            FieldContent::Nothing => Ok(String::new()),
            FieldContent::Fixed(text) => Ok(text.to_string()),
            FieldContent::Value(value) => value.text(),
        }
    }

    /// Returns the number that the text states, if it fits the type.
    fn number<N: FromStr + TryFrom<u64>>(self) -> Result<Option<N>, Unplannable> {
        if let FieldContent::Value(value) = self
            && let Some(number) = value.number()
        {
            return Ok(N::try_from(number).ok());
        }
        Ok(self.text()?.parse().ok())
    }
}

impl<'c, 'r> RecordInstances<'c, 'r> {
    /// Returns whether a value is NULL. A value past the instance's last is not, so no element
    /// depends on it.
    fn is_null(&self, instance: &TemplateInstance, value: u16) -> bool {
        self.value(instance, value).is_some_and(BinXmlValue::is_null)
    }

    /// Returns the content of a source.
    fn content_of(
        &self,
        instance: &TemplateInstance,
        source: &'r TextSource,
    ) -> FieldContent<'c, 'r> {
        match source {
            TextSource::Fixed(text) if !text.is_empty() => FieldContent::Fixed(text),
            TextSource::Value(value) => match self.value(instance, *value) {
                Some(value) if !value.is_empty() => FieldContent::Value(value),
                _ => FieldContent::Nothing,
            },
            _ => FieldContent::Nothing,
        }
    }

    /// Returns the content of a System field.
    pub fn system_content(
        &self,
        root: &TemplateInstance,
        field: &'r SystemSource,
    ) -> FieldContent<'c, 'r> {
        match field.dependency {
            Some(value) if self.is_null(root, value) => FieldContent::Nothing,
            _ => self.content_of(root, &field.source),
        }
    }

    /// Returns whether an element without text becomes a field.
    fn becomes_field(&self, instance: &TemplateInstance, empty: &EmptyElement) -> bool {
        match empty {
            EmptyElement::Field => true,
            EmptyElement::Nothing => false,
            EmptyElement::Unless(values) => values
                .iter()
                .all(|&value| self.value(instance, value).is_none_or(BinXmlValue::is_empty)),
        }
    }

    /// Passes the instance's fields to `field`, including those of nested instances.
    pub fn for_each_field(
        &self,
        instance: &TemplateInstance,
        field: &mut impl FnMut(&FieldName, FieldContent<'c, 'r>) -> Result<(), Unplannable>,
    ) -> Result<(), Unplannable> {
        let mut steps = self.plan(instance).steps.iter();
        while let Some(step) = steps.next() {
            match step {
                DataStep::SkipIfNull { value, steps: skipped } => {
                    if self.is_null(instance, *value) && *skipped > 0 {
                        steps.nth(skipped - 1);
                    }
                }
                DataStep::Field { name, source, empty, numbered } => {
                    match self.content_of(instance, source) {
                        FieldContent::Value(array) if array.kind == kind::STRING_ARRAY => {
                            for (index, bytes) in array.strings().enumerate() {
                                let found = match bytes {
                                    [] if !self.becomes_field(instance, empty) => continue,
                                    _ => FieldContent::Value(BinXmlValue {
                                        kind: kind::STRING,
                                        bytes,
                                    }),
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
                        FieldContent::Nothing if !self.becomes_field(instance, empty) => {}
                        found => field(name, found)?,
                    }
                }
                DataStep::OmittedChildren { dependencies, name, empty } => {
                    let left = dependencies.iter().all(|&value| self.is_null(instance, value));
                    if left && self.becomes_field(instance, empty) {
                        field(name, FieldContent::Nothing)?;
                    }
                }
                DataStep::Instance { value, forbidden_names } => {
                    let Some(nested) = self.nested(instance, *value) else { continue };
                    if forbidden_names.contains(&&*self.plan(nested).root) {
                        return Err(Unplannable("an instance whose element is not data"));
                    }
                    self.for_each_field(nested, field)?;
                }
            }
        }
        Ok(())
    }
}
