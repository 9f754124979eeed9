//! Rules that ask for nothing but texts and numbers in fields, decided without rsigma.
//!
//! A log holds millions of the events that correlations count, and each is asked for by such a
//! rule. rsigma looks up detections by their names and folds each value anew; this compares. A rule
//! that asks for more is left to rsigma, and so are all whose matches are shown.

use std::collections::HashMap;

use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_ir::{IrCondition, IrDetection, IrDetectionItem, IrMatcher, IrNumber, IrRule, IrStrOp};

/// What must hold of an event: all of it.
pub(super) enum Simple {
    All(Vec<Simple>),
    Any(Vec<Simple>),
    Not(Box<Simple>),
    /// The field has one of these values.
    Field(String, Vec<Asked>),
}

/// A value that is asked for.
pub(super) enum Asked {
    Number(f64),
    /// ASCII in lower case.
    Text(IrStrOp, String),
}

impl Simple {
    /// A rule, if it is a simple one.
    pub fn of(rule: &IrRule) -> Option<Simple> {
        all(&rule.conditions, |part| condition(part, &rule.detections)).map(Simple::Any)
    }

    /// Whether it holds of an event.
    pub fn holds(&self, event: &impl SigmaEvent) -> bool {
        match self {
            Simple::All(parts) => parts.iter().all(|part| part.holds(event)),
            Simple::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Simple::Not(part) => !part.holds(event),
            Simple::Field(name, asked) => {
                event.get_field(name).is_some_and(|value| is_one(&value, asked))
            }
        }
    }
}

/// All parts made something, if there is one and it works for each.
fn all<P, T>(parts: &[P], make: impl Fn(&P) -> Option<T>) -> Option<Vec<T>> {
    (!parts.is_empty()).then(|| parts.iter().map(make).collect())?
}

fn condition(part: &IrCondition, named: &HashMap<String, IrDetection>) -> Option<Simple> {
    let each = |parts: &[IrCondition]| all(parts, |part| condition(part, named));
    match part {
        IrCondition::Detection(name) => detection(named.get(name)?),
        IrCondition::And(parts) => each(parts).map(Simple::All),
        IrCondition::Or(parts) => each(parts).map(Simple::Any),
        IrCondition::Not(part) => condition(part, named).map(Box::new).map(Simple::Not),
        IrCondition::Selector { .. } => None,
    }
}

fn detection(part: &IrDetection) -> Option<Simple> {
    match part {
        IrDetection::AllOf(items) => all(items, item).map(Simple::All),
        IrDetection::And(parts) => all(parts, detection).map(Simple::All),
        IrDetection::AnyOf(parts) => all(parts, detection).map(Simple::Any),
        _ => None,
    }
}

fn item(item: &IrDetectionItem) -> Option<Simple> {
    let IrDetectionItem { field: Some(field), matcher, exists: None, .. } = item else {
        return None;
    };
    let asked = match matcher {
        IrMatcher::AnyOf(choices) => all(choices, asked)?,
        one => vec![asked(one)?],
    };
    Some(Simple::Field(field.clone(), asked))
}

fn asked(matcher: &IrMatcher) -> Option<Asked> {
    match matcher {
        IrMatcher::NumericEq(IrNumber::Literal(number)) => Some(Asked::Number(*number)),
        // To look for a text anywhere in another is better done by who is made for it.
        IrMatcher::Str { op: IrStrOp::Contains, .. } => None,
        IrMatcher::Str { op, pattern, case_insensitive: true } => {
            let text = pattern.as_plain().filter(|text| text.is_ascii())?;
            Some(Asked::Text(*op, text.to_ascii_lowercase()))
        }
        _ => None,
    }
}

/// Whether a value, or one of a list of values, is one that is asked for.
fn is_one(value: &EventValue<'_>, asked: &[Asked]) -> bool {
    if let EventValue::Array(values) = value {
        return values.iter().any(|value| is_one(value, asked));
    }
    asked.iter().any(|asked| match asked {
        Asked::Number(number) => {
            value.as_f64().is_some_and(|value| (value - number).abs() < f64::EPSILON)
        }
        Asked::Text(op, text) => value.as_str().is_some_and(|value| match value.is_ascii() {
            true => stands(&value, *op, text),
            // There are letters outside ASCII whose small ones are in it.
            false => stands(&value.to_lowercase(), *op, text),
        }),
    })
}

fn stands(value: &str, op: IrStrOp, text: &str) -> bool {
    let (value, text) = (value.as_bytes(), text.as_bytes());
    let part = match op {
        IrStrOp::Exact => Some(value),
        IrStrOp::StartsWith => value.get(..text.len()),
        IrStrOp::EndsWith => value.len().checked_sub(text.len()).map(|start| &value[start..]),
        IrStrOp::Contains => None,
    };
    part.is_some_and(|part| part.eq_ignore_ascii_case(text))
}
