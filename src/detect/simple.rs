//! Evaluates rules that only compare texts and numbers in fields, without rsigma.
//!
//! A log holds millions of the events that correlations count, and such a rule is evaluated on
//! each of them. rsigma looks up detections by name and folds the case of each value anew; this
//! code only compares. All other rules are left to rsigma, and so are all rules whose matches are
//! shown.

use std::collections::HashMap;

use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_ir::{IrCondition, IrDetection, IrDetectionItem, IrMatcher, IrNumber, IrRule, IrStrOp};

/// A condition on an event's fields.
pub(super) enum SimpleCondition {
    All(Vec<SimpleCondition>),
    Any(Vec<SimpleCondition>),
    Not(Box<SimpleCondition>),
    /// The field has one of these values.
    Field(String, Vec<ExpectedValue>),
}

/// A value that a field is compared with.
pub(super) enum ExpectedValue {
    Number(f64),
    /// ASCII text in lower case, and how to compare it.
    Text(IrStrOp, String),
}

impl SimpleCondition {
    /// Converts a rule. Returns `None` if it is not simple.
    pub fn from_rule(rule: &IrRule) -> Option<SimpleCondition> {
        convert_all(&rule.conditions, |part| convert_condition(part, &rule.detections))
            .map(SimpleCondition::Any)
    }

    /// Returns whether the condition holds for an event.
    pub fn matches(&self, event: &impl SigmaEvent) -> bool {
        match self {
            SimpleCondition::All(parts) => parts.iter().all(|part| part.matches(event)),
            SimpleCondition::Any(parts) => parts.iter().any(|part| part.matches(event)),
            SimpleCondition::Not(part) => !part.matches(event),
            SimpleCondition::Field(name, asked) => {
                event.get_field(name).is_some_and(|value| matches_any(&value, asked))
            }
        }
    }
}

/// Converts all parts. Returns `None` if there are none or one of them cannot be converted.
fn convert_all<P, T>(parts: &[P], make: impl Fn(&P) -> Option<T>) -> Option<Vec<T>> {
    (!parts.is_empty()).then(|| parts.iter().map(make).collect())?
}

fn convert_condition(
    part: &IrCondition,
    named: &HashMap<String, IrDetection>,
) -> Option<SimpleCondition> {
    let each = |parts: &[IrCondition]| convert_all(parts, |part| convert_condition(part, named));
    match part {
        IrCondition::Detection(name) => convert_detection(named.get(name)?),
        IrCondition::And(parts) => each(parts).map(SimpleCondition::All),
        IrCondition::Or(parts) => each(parts).map(SimpleCondition::Any),
        IrCondition::Not(part) => {
            convert_condition(part, named).map(Box::new).map(SimpleCondition::Not)
        }
        IrCondition::Selector { .. } => None,
    }
}

fn convert_detection(part: &IrDetection) -> Option<SimpleCondition> {
    match part {
        IrDetection::AllOf(items) => convert_all(items, convert_item).map(SimpleCondition::All),
        IrDetection::And(parts) => convert_all(parts, convert_detection).map(SimpleCondition::All),
        IrDetection::AnyOf(parts) => {
            convert_all(parts, convert_detection).map(SimpleCondition::Any)
        }
        _ => None,
    }
}

fn convert_item(convert_item: &IrDetectionItem) -> Option<SimpleCondition> {
    let IrDetectionItem { field: Some(field), matcher, exists: None, .. } = convert_item else {
        return None;
    };
    let asked = match matcher {
        IrMatcher::AnyOf(choices) => convert_all(choices, asked)?,
        one => vec![asked(one)?],
    };
    Some(SimpleCondition::Field(field.clone(), asked))
}

fn asked(matcher: &IrMatcher) -> Option<ExpectedValue> {
    match matcher {
        IrMatcher::NumericEq(IrNumber::Literal(number)) => Some(ExpectedValue::Number(*number)),
        // rsigma is better at searching for a text anywhere in a value.
        IrMatcher::Str { op: IrStrOp::Contains, .. } => None,
        IrMatcher::Str { op, pattern, case_insensitive: true } => {
            let text = pattern.as_plain().filter(|text| text.is_ascii())?;
            Some(ExpectedValue::Text(*op, text.to_ascii_lowercase()))
        }
        _ => None,
    }
}

/// Returns whether a value, or one value of a list, is one of the expected values.
fn matches_any(value: &EventValue<'_>, asked: &[ExpectedValue]) -> bool {
    if let EventValue::Array(values) = value {
        return values.iter().any(|value| matches_any(value, asked));
    }
    asked.iter().any(|asked| match asked {
        ExpectedValue::Number(number) => {
            value.as_f64().is_some_and(|value| (value - number).abs() < f64::EPSILON)
        }
        ExpectedValue::Text(op, text) => {
            value.as_str().is_some_and(|value| match value.is_ascii() {
                true => matches_text(&value, *op, text),
                // Some letters outside ASCII have an ASCII lower case.
                false => matches_text(&value.to_lowercase(), *op, text),
            })
        }
    })
}

fn matches_text(value: &str, op: IrStrOp, text: &str) -> bool {
    let (value, text) = (value.as_bytes(), text.as_bytes());
    let part = match op {
        IrStrOp::Exact => Some(value),
        IrStrOp::StartsWith => value.get(..text.len()),
        IrStrOp::EndsWith => value.len().checked_sub(text.len()).map(|start| &value[start..]),
        IrStrOp::Contains => None,
    };
    part.is_some_and(|part| part.eq_ignore_ascii_case(text))
}
