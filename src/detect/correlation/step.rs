//! A hit as correlations receive it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::TICKS;
use crate::detect::Hit;
use crate::model::{Detection, Event, Idx, Proof, RuleIdx, SessionIdx, Value, Values};

/// Largest number of records kept as evidence of a hit; a session's own row lists all of them.
const MOST_EVIDENCE: usize = 10;

/// A hit of a rule that a correlation refers to. It is stored until all logs are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CorrelationStep<'s> {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// The time as logged, in ticks since 1970.
    pub logged: i64,
    /// The host whose clock gave the time.
    #[serde(borrow)]
    pub logged_by: Cow<'s, str>,
    /// The host that the hit names, if it is a different one.
    #[serde(borrow)]
    pub host: Option<Cow<'s, str>>,
    /// The account that the hit names.
    #[serde(borrow)]
    pub user: Cow<'s, str>,
    pub session: Option<SessionIdx>,
    #[serde(borrow)]
    pub values: Values<'s>,
    /// Its records, or the first of many.
    pub evidence: Cow<'s, [Proof]>,
    /// The number of its records.
    pub records: u64,
}

impl<'s> CorrelationStep<'s> {
    /// Makes a step from a rule's hit on a record. Returns `None` if no correlation refers to the
    /// rule. Takes the values out of the hit.
    pub fn on_record(
        event: &'s Event,
        user: &'s str,
        proof: &'s Proof,
        hit: &mut Hit,
    ) -> Option<CorrelationStep<'s>> {
        let values = hit.values.take()?;
        Some(CorrelationStep {
            rule: hit.rule,
            logged: to_ticks(event.time),
            logged_by: Cow::Borrowed(&event.computer),
            host: None,
            user: Cow::Borrowed(user),
            session: None,
            values,
            evidence: Cow::Borrowed(std::slice::from_ref(proof)),
            records: 1,
        })
    }

    /// Makes a step from a detection. Returns `None` if no correlation refers to its rule.
    pub fn from_detection(detection: &'s Detection) -> Option<CorrelationStep<'s>> {
        let kept = detection.kept.as_ref()?;
        Some(CorrelationStep {
            rule: detection.rule,
            logged: to_ticks(detection.time),
            logged_by: Cow::Borrowed(&kept.logged_by),
            host: (*detection.host != *kept.logged_by).then(|| Cow::Borrowed(&*detection.host)),
            user: Cow::Borrowed(&detection.user),
            session: detection.session,
            values: kept.values.clone(),
            evidence: detection.evidence.iter().take(MOST_EVIDENCE).copied().collect(),
            records: detection.evidence.len() as u64,
        })
    }

    /// Returns the host that the hit names.
    pub fn host(&self) -> &str {
        self.host.as_ref().unwrap_or(&self.logged_by)
    }

    /// Appends the sort key: the time corrected to the clock of most hosts (this host's clock is
    /// `ahead` ticks ahead of it), then what makes the key unique at that time.
    pub fn sort_key(&self, ahead: i64, key: &mut Vec<u8>) {
        key.extend(((self.logged - ahead) as u64 ^ 1 << 63).to_be_bytes());
        for proof in self.evidence.iter().take(1) {
            key.extend(proof.source.input.to_be_bytes());
            key.extend(proof.source.offset.to_be_bytes());
        }
        key.extend(self.rule.to_be_bytes());
    }

    /// Appends the sort key of a hit on rebuilt data: one record may have several such hits.
    pub fn sort_key_of_rebuilt(&self, ahead: i64, key: &mut Vec<u8>) {
        self.sort_key(ahead, key);
        key.extend(self.logged.to_be_bytes());
        for value in &self.values {
            if let Some(value) = value {
                key.extend_from_slice(value.text().as_bytes());
            }
            key.push(0);
        }
    }

    /// Reads the rule's index from the start of a serialized step.
    pub fn rule_of(content: &[u8]) -> Option<RuleIdx> {
        postcard::take_from_bytes(content).ok().map(|(rule, _)| rule)
    }

    /// Reads the time, in ticks, from the start of a key.
    pub fn time_of_key(key: &[u8]) -> Option<i64> {
        Some((u64::from_be_bytes(*key.first_chunk()?) ^ 1 << 63) as i64)
    }
}

/// Converts a time to ticks since 1970.
pub(super) fn to_ticks(time: DateTime<Utc>) -> i64 {
    time.timestamp() * TICKS as i64 + i64::from(time.timestamp_subsec_nanos() / 100)
}

/// Converts ticks since 1970 to a time.
pub(super) fn from_ticks(ticks: i64) -> DateTime<Utc> {
    let per_second = TICKS as i64;
    let nanos = ticks.rem_euclid(per_second) as u32 * 100;
    DateTime::from_timestamp(ticks.div_euclid(per_second), nanos).unwrap_or_default()
}

impl Value<'_> {
    /// Converts a value of an event. Returns `None` for lists and missing values, which cannot be
    /// grouped by.
    pub fn from_event_value(value: &EventValue<'_>) -> Option<Value<'static>> {
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

    /// Returns the value as text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Text(text) => Cow::Borrowed(text),
            Value::Whole(number) => number.to_string().into(),
            Value::Real(number) => number.to_string().into(),
            Value::Truth(truth) => truth.to_string().into(),
        }
    }
}

/// Presents a step to rsigma as an event with the fields that were kept.
pub(super) struct StepView<'a> {
    /// The names of the fields, in the order of the step's values.
    pub fields: &'a [String],
    pub step: &'a CorrelationStep<'a>,
}

impl StepView<'_> {
    fn values(&self) -> impl Iterator<Item = (&String, &Value<'_>)> {
        let values = self.fields.iter().zip(&self.step.values);
        values.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

impl SigmaEvent for StepView<'_> {
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
            assert_eq!(from_ticks(to_ticks(at)), at);
        }
        assert_eq!(to_ticks("1970-01-01T00:00:01.0000002Z".parse().unwrap()), 10_000_002);
    }
}
