//! A template instance's values to a [`Record`].

use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::binxml::{Odd, Value, kind, utf16};
use super::definition::Source;
use super::instance::{Instance, Slot};
use super::plan::{Empty, Plan, Step, SystemField};
use super::value::{filetime, unsigned};
use super::{Interner, Wanted};
use crate::model::{Channel, Fields, Record, RecordRef, Str, parse_utc};

/// Names of System that records repeat.
#[derive(Default)]
pub(super) struct Repeated {
    provider: Recent,
    channel: Recent,
    computer: Recent,
    user_sid: Recent,
}

/// The last value of its kind: its type, bytes and text.
#[derive(Default)]
struct Recent(Option<(u8, Vec<u8>, Str)>);

/// A record's instances and their values.
pub(super) struct Values<'c, 'r> {
    pub plans: &'r [Plan],
    pub instances: &'r [Instance],
    pub slots: &'r [Slot<'c>],
}

impl<'c, 'r> Values<'c, 'r> {
    /// The record whose root is this instance; `None` when nobody wants it.
    pub fn record(
        &self,
        root: &Instance,
        (source, time): (RecordRef, DateTime<Utc>),
        wanted: &dyn Wanted,
        names: &mut Interner,
        repeated: &mut Repeated,
    ) -> Result<Option<Record>, Odd> {
        let system = self.plans[root.plan].system.as_ref().ok_or(Odd("a record of no Event"))?;
        let find = |field| self.find(root, field);
        let Repeated { provider, channel, computer, user_sid } = repeated;

        let event_id = find(&system.event_id).number()?.ok_or(Odd("no event id"))?;
        let provider = provider.text(find(&system.provider), names)?;
        let channel = channel.text(find(&system.channel), names)?;
        let known_channel = Channel::of(&channel, &provider);
        if !wanted.wants(known_channel, &channel, event_id) {
            return Ok(None);
        }
        let user_sid = match find(&system.user_sid) {
            Found::Nothing => None,
            found => Some(user_sid.text(found, names)?),
        };
        let activity_id = match find(&system.activity_id) {
            Found::Nothing => None,
            found => Some(names.get(&found.text()?.trim_matches(['{', '}']).to_lowercase())),
        };
        let logged = match find(&system.time) {
            Found::Value(Value { kind: kind::FILETIME, bytes }) => {
                Some(filetime(unsigned(bytes)).ok_or(Odd("a time past the year 9999"))?)
            }
            found => parse_utc(&found.text()?).ok(),
        };
        let mut data = Fields::default();
        self.data(root, &mut data)?;
        Ok(Some(Record {
            source,
            time: logged.unwrap_or(time),
            provider,
            channel,
            known_channel,
            computer: computer.text(find(&system.computer), names)?,
            event_id,
            level: find(&system.level).number()?.unwrap_or(0),
            record_id: find(&system.record_id).number()?.unwrap_or(source.number),
            user_sid,
            activity_id,
            process_id: find(&system.process_id).number()?,
            thread_id: find(&system.thread_id).number()?,
            data,
        }))
    }

    fn slot(&self, instance: &Instance, value: u16) -> Option<&'r Slot<'c>> {
        self.slots.get(instance.slots.clone())?.get(usize::from(value))
    }

    /// A value past the instance's last is none, and leaves no element out.
    fn is_null(&self, instance: &Instance, value: u16) -> bool {
        self.slot(instance, value).is_some_and(|slot| slot.value.is_null())
    }

    /// What a source yields that has content.
    fn resolve(&self, instance: &Instance, source: &'r Source) -> Found<'c, 'r> {
        match source {
            Source::Fixed(text) if !text.is_empty() => Found::Fixed(text),
            Source::Value(value) => match self.slot(instance, *value) {
                Some(slot) if !slot.value.is_empty() => Found::Value(slot.value),
                _ => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    fn find(&self, root: &Instance, field: &'r SystemField) -> Found<'c, 'r> {
        match field.dependency {
            Some(value) if self.is_null(root, value) => Found::Nothing,
            _ => self.resolve(root, &field.source),
        }
    }

    /// Whether an element without text is a field.
    fn is_field(&self, instance: &Instance, empty: &Empty) -> bool {
        match empty {
            Empty::Field => true,
            Empty::Nothing => false,
            Empty::Unless(values) => values
                .iter()
                .all(|&value| self.slot(instance, value).is_none_or(|slot| slot.value.is_empty())),
        }
    }

    /// Appends the instance's fields.
    fn data(&self, instance: &Instance, fields: &mut Fields) -> Result<(), Odd> {
        let mut steps = self.plans[instance.plan].steps.iter();
        while let Some(step) = steps.next() {
            match step {
                Step::Depends { value, steps: skipped } => {
                    if self.is_null(instance, *value) && *skipped > 0 {
                        steps.nth(skipped - 1);
                    }
                }
                Step::Field { name, source, empty, numbered } => {
                    let mut push = |name: Str, text: String| {
                        if !text.is_empty() || self.is_field(instance, empty) {
                            fields.push(name, text);
                        }
                    };
                    match self.resolve(instance, source) {
                        Found::Value(value) if value.kind == kind::STRING_ARRAY => {
                            for (index, string) in value.strings().enumerate() {
                                let name = match index {
                                    1.. if *numbered => format!("{name}_{index}").into(),
                                    _ => name.clone(),
                                };
                                push(name, utf16(string).ok_or(Odd("a surrogate stands alone"))?);
                            }
                        }
                        found => push(name.clone(), found.text()?),
                    }
                }
                Step::Left { dependencies, name, empty } => {
                    let left = dependencies.iter().all(|&value| self.is_null(instance, value));
                    if left && self.is_field(instance, empty) {
                        fields.push(name.clone(), String::new());
                    }
                }
                Step::Instance { value, barred } => {
                    let nested = self.slot(instance, *value).and_then(|slot| slot.instance);
                    let Some(nested) = nested.map(|nested| &self.instances[nested]) else {
                        continue;
                    };
                    if barred.contains(&&*self.plans[nested.plan].root) {
                        return Err(Odd("an instance whose element is not data"));
                    }
                    self.data(nested, fields)?;
                }
            }
        }
        Ok(())
    }
}

/// A System field's value.
enum Found<'c, 'p> {
    Nothing,
    Fixed(&'p Str),
    Value(Value<'c>),
}

impl Found<'_, '_> {
    fn text(&self) -> Result<String, Odd> {
        match self {
            Found::Nothing => Ok(String::new()),
            Found::Fixed(text) => Ok(text.to_string()),
            Found::Value(value) => value.text(),
        }
    }

    /// The number its text says, if it is one of that type.
    fn number<N: FromStr + TryFrom<u64>>(&self) -> Result<Option<N>, Odd> {
        if let Found::Value(value) = self
            && let Some(number) = value.number()
        {
            return Ok(N::try_from(number).ok());
        }
        Ok(self.text()?.parse().ok())
    }
}

impl Recent {
    /// A name that is most often the last one.
    fn text(&mut self, found: Found<'_, '_>, names: &mut Interner) -> Result<Str, Odd> {
        let Found::Value(value) = found else {
            return Ok(match found {
                Found::Fixed(text) => text.clone(),
                _ => names.get(""),
            });
        };
        if let Some((kind, bytes, text)) = &self.0
            && *kind == value.kind
            && **bytes == *value.bytes
        {
            return Ok(text.clone());
        }
        let text = names.get(&value.text()?);
        self.0 = Some((value.kind, value.bytes.to_vec(), text.clone()));
        Ok(text)
    }
}
