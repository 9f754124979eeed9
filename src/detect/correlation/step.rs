//! A hit as correlations see it.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::TICKS;
use crate::model::{Detection, FieldValue, Proof, Value};

/// Most records that stand for a hit: a session's own row names them all.
const MOST_EVIDENCE: usize = 10;

/// A hit of a rule that a correlation refers to: a row that waits until all logs are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Index of the rule.
    pub rule: usize,
    /// When it was, in ticks since 1970 by the clocks of most hosts as far as known.
    pub time: i64,
    /// The same as logged.
    pub logged: i64,
    /// The host whose clock that is.
    pub logged_by: String,
    /// What the hit says.
    pub host: String,
    pub user: String,
    pub session: Option<usize>,
    pub values: Vec<FieldValue>,
    /// Its records, or the first of many.
    pub evidence: Vec<Proof>,
    /// How many there are.
    pub records: u64,
}

impl Step {
    /// The step that a hit is, if a correlation refers to its rule.
    pub fn of(detection: &Detection) -> Option<Step> {
        let kept = detection.kept.as_ref()?;
        let logged = ticks(detection.time);
        Some(Step {
            rule: detection.rule,
            time: logged,
            logged,
            logged_by: kept.logged_by.to_string(),
            host: detection.host.to_string(),
            user: detection.user.clone(),
            session: detection.session,
            values: kept.values.clone(),
            evidence: detection.evidence.iter().take(MOST_EVIDENCE).copied().collect(),
            records: detection.evidence.len() as u64,
        })
    }

    /// Sets its time by the clocks of most hosts, which its own is ahead of.
    pub fn correct(&mut self, ahead: TimeDelta) {
        self.time = self.logged - ahead.num_nanoseconds().unwrap_or_default() / 100;
    }

    /// Appends to a sorter's key: time, then what makes it the only one of that time.
    pub fn key(&self, key: &mut Vec<u8>) {
        key.extend((self.time as u64 ^ 1 << 63).to_be_bytes());
        for proof in self.evidence.iter().take(1) {
            key.extend(proof.source.input.to_be_bytes());
            key.extend(proof.source.offset.to_be_bytes());
        }
        key.extend((self.rule as u64).to_be_bytes());
        // Of what was rebuilt of one record, there may be several.
        key.extend(self.logged.to_be_bytes());
        for (name, value) in &self.values {
            key.extend(name.bytes());
            key.push(0);
            key.extend(value.text().bytes());
            key.push(0);
        }
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

impl Value {
    /// A value of an event; lists and what is missing cannot be grouped by.
    pub fn of(value: &EventValue<'_>) -> Option<Value> {
        Some(match value {
            EventValue::Str(text) => Value::Text(text.to_string()),
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
    pub fn text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Truth(truth) => truth.to_string(),
        }
    }
}

/// To rsigma a step is an event of the fields that were kept.
impl SigmaEvent for Step {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let (_, value) = self.values.iter().find(|(name, _)| name == path)?;
        Some(value.event_value())
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.all_string_values().iter().any(|value| pred(value))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let texts = self.values.iter().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(Cow::Borrowed(text.as_str())),
            _ => None,
        });
        texts.collect()
    }

    fn to_json(&self) -> Json {
        let values = self.values.iter();
        Json::Object(
            values.map(|(name, value)| (name.clone(), value.text().into())).collect::<Map<_, _>>(),
        )
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
