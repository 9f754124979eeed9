//! A hit as correlations see it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::TICKS;
use crate::detect::Hit;
use crate::model::{Detection, Event, Idx, Proof, RuleIdx, SessionIdx, Value, Values};

/// Most records that stand for a hit: a session's own row names them all.
const MOST_EVIDENCE: usize = 10;

/// A hit of a rule that a correlation refers to: a row that waits until all logs are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step<'s> {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// When it was as logged, in ticks since 1970.
    pub logged: i64,
    /// The host whose clock that is.
    #[serde(borrow)]
    pub logged_by: Cow<'s, str>,
    /// The host that the hit names, where it is another one.
    #[serde(borrow)]
    pub host: Option<Cow<'s, str>>,
    /// What else the hit says.
    #[serde(borrow)]
    pub user: Cow<'s, str>,
    pub session: Option<SessionIdx>,
    #[serde(borrow)]
    pub values: Values<'s>,
    /// Its records, or the first of many.
    pub evidence: Cow<'s, [Proof]>,
    /// How many there are.
    pub records: u64,
}

impl<'s> Step<'s> {
    /// The step that a rule's hit on a record is, which is `proof` and of a user, if a correlation
    /// refers to the rule. The hit loses its values.
    pub fn on_record(
        event: &'s Event,
        user: &'s str,
        proof: &'s Proof,
        hit: &mut Hit,
    ) -> Option<Step<'s>> {
        let values = hit.values.take()?;
        Some(Step {
            rule: hit.rule,
            logged: ticks(event.time),
            logged_by: Cow::Borrowed(&event.computer),
            host: None,
            user: Cow::Borrowed(user),
            session: None,
            values,
            evidence: Cow::Borrowed(std::slice::from_ref(proof)),
            records: 1,
        })
    }

    /// The step that a detection is, if a correlation refers to its rule.
    pub fn of(detection: &'s Detection) -> Option<Step<'s>> {
        let kept = detection.kept.as_ref()?;
        Some(Step {
            rule: detection.rule,
            logged: ticks(detection.time),
            logged_by: Cow::Borrowed(&kept.logged_by),
            host: (*detection.host != *kept.logged_by).then(|| Cow::Borrowed(&*detection.host)),
            user: Cow::Borrowed(&detection.user),
            session: detection.session,
            values: kept.values.clone(),
            evidence: detection.evidence.iter().take(MOST_EVIDENCE).copied().collect(),
            records: detection.evidence.len() as u64,
        })
    }

    /// The host that the hit names.
    pub fn host(&self) -> &str {
        self.host.as_ref().unwrap_or(&self.logged_by)
    }

    /// Appends to a sorter's key: the time by the clocks of most hosts, which its own is so many
    /// ticks ahead of, then what makes it the only one of that time.
    pub fn key(&self, ahead: i64, key: &mut Vec<u8>) {
        key.extend(((self.logged - ahead) as u64 ^ 1 << 63).to_be_bytes());
        for proof in self.evidence.iter().take(1) {
            key.extend(proof.source.input.to_be_bytes());
            key.extend(proof.source.offset.to_be_bytes());
        }
        key.extend(self.rule.to_be_bytes());
    }

    /// The same for what was rebuilt: of one record there may be several.
    pub fn key_of_rebuilt(&self, ahead: i64, key: &mut Vec<u8>) {
        self.key(ahead, key);
        key.extend(self.logged.to_be_bytes());
        for value in &self.values {
            if let Some(value) = value {
                key.extend_from_slice(value.text().as_bytes());
            }
            key.push(0);
        }
    }

    /// The rule that a step's serial form begins with.
    pub fn rule_of(content: &[u8]) -> Option<RuleIdx> {
        postcard::take_from_bytes(content).ok().map(|(rule, _)| rule)
    }

    /// The time that a key begins with, in ticks.
    pub fn time(key: &[u8]) -> Option<i64> {
        Some((u64::from_be_bytes(*key.first_chunk()?) ^ 1 << 63) as i64)
    }
}

/// A time in ticks since 1970.
pub(super) fn ticks(time: DateTime<Utc>) -> i64 {
    time.timestamp() * TICKS as i64 + i64::from(time.timestamp_subsec_nanos() / 100)
}

/// The time of ticks since 1970.
pub(super) fn time(ticks: i64) -> DateTime<Utc> {
    let per_second = TICKS as i64;
    let nanos = ticks.rem_euclid(per_second) as u32 * 100;
    DateTime::from_timestamp(ticks.div_euclid(per_second), nanos).unwrap_or_default()
}

impl Value<'_> {
    /// A value of an event; lists and what is missing cannot be grouped by.
    pub fn of(value: &EventValue<'_>) -> Option<Value<'static>> {
        Some(match value {
            EventValue::Str(text) => Value::Text(Cow::Owned(text.to_string())),
            EventValue::Int(number) => Value::Whole(*number),
            EventValue::Float(number) => Value::Real(*number),
            EventValue::Bool(truth) => Value::Truth(*truth),
            EventValue::Null | EventValue::Array(_) | EventValue::Map(_) => return None,
        })
    }

    fn event_value(&self) -> EventValue<'_> {
        match self {
            Value::Text(text) => EventValue::Str(Cow::Borrowed(text)),
            Value::Whole(number) => EventValue::Int(*number),
            Value::Real(number) => EventValue::Float(*number),
            Value::Truth(truth) => EventValue::Bool(*truth),
        }
    }

    /// The value as text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Text(text) => Cow::Borrowed(text),
            Value::Whole(number) => number.to_string().into(),
            Value::Real(number) => number.to_string().into(),
            Value::Truth(truth) => truth.to_string().into(),
        }
    }
}

/// A step as rsigma sees it: an event of the fields that were kept.
pub(super) struct Seen<'a> {
    /// The fields' names, in the order of the step's values.
    pub fields: &'a [String],
    pub step: &'a Step<'a>,
}

impl Seen<'_> {
    fn values(&self) -> impl Iterator<Item = (&String, &Value<'_>)> {
        let values = self.fields.iter().zip(&self.step.values);
        values.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

impl SigmaEvent for Seen<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let (_, value) = self.values().find(|(name, _)| *name == path)?;
        Some(value.event_value())
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.all_string_values().iter().any(|value| pred(value))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let texts = self.values().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(Cow::Borrowed(text.as_ref())),
            _ => None,
        });
        texts.collect()
    }

    fn to_json(&self) -> Json {
        let values = self.values().map(|(name, value)| (name.clone(), value.text().into()));
        Json::Object(values.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_what_logs_keep() {
        for text in ["2026-03-14T21:14:07.1234567Z", "1969-12-31T23:59:59.9999999Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(time(ticks(at)), at);
        }
        assert_eq!(ticks("1970-01-01T00:00:01.0000002Z".parse().unwrap()), 10_000_002);
    }
}
