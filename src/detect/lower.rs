//! Converts a rule to rsigma's internal form, and corrects it where rsigma reads a rule more
//! narrowly than Sigma means it.

use rsigma_eval::EvalError;
use rsigma_ir::{
    IrDetection, IrDetectionItem, IrMatcher, IrPattern, IrRule, IrStrOp, LowerOptions, lower_rule,
};
use rsigma_parser::SigmaRule;

/// Converts a rule to rsigma's form, with corrections for `null` and for keyword lists of which
/// all must be present.
///
/// # Errors
///
/// The reason why rsigma does not accept the rule.
pub(super) fn lower(rule: &SigmaRule) -> Result<IrRule, String> {
    let lowered = lower_rule(rule, &LowerOptions::default()).map_err(EvalError::from);
    let mut rule = lowered.map_err(|error| error.to_string())?;
    rule.detections =
        rule.detections.into_iter().map(|(name, part)| (name, correct_detection(part))).collect();
    Ok(rule)
}

fn correct_detection(part: IrDetection) -> IrDetection {
    let each = |parts: Vec<IrDetection>| parts.into_iter().map(correct_detection).collect();
    match part {
        IrDetection::AllOf(items) => {
            let mut plain = Vec::new();
            let mut others = Vec::new();
            for item in items {
                if item.field.as_deref().unwrap_or_default().is_empty() && item.exists.is_none() {
                    others.extend(keywords_anywhere(item.matcher));
                } else if choices(&item.matcher).contains(&IrMatcher::Null) {
                    others.push(absent_or_equal(&item));
                } else {
                    plain.push(item);
                }
            }
            match (plain.is_empty(), others.is_empty()) {
                (_, true) => IrDetection::AllOf(plain),
                (true, false) => IrDetection::And(others),
                (false, false) => {
                    others.insert(0, IrDetection::AllOf(plain));
                    IrDetection::And(others)
                }
            }
        }
        IrDetection::AnyOf(parts) => IrDetection::AnyOf(each(parts)),
        IrDetection::And(parts) => IrDetection::And(each(parts)),
        other => other,
    }
}

/// Turns keywords under a modifier (`'|all'`) into one detection each. Sigma looks for them in
/// the whole event, as it does for a plain list. rsigma requires each to be a whole value, and
/// all of them to be in the same value.
fn keywords_anywhere(matcher: IrMatcher) -> Vec<IrDetection> {
    fn anywhere(matcher: IrMatcher) -> IrMatcher {
        match matcher {
            IrMatcher::Str { op: IrStrOp::Exact, pattern, case_insensitive } => {
                IrMatcher::Str { op: IrStrOp::Contains, pattern, case_insensitive }
            }
            IrMatcher::AnyOf(parts) => IrMatcher::AnyOf(parts.into_iter().map(anywhere).collect()),
            other => other,
        }
    }
    let parts = match matcher {
        IrMatcher::AllOf(parts) => parts,
        one => vec![one],
    };
    parts.into_iter().map(anywhere).map(IrDetection::Keywords).collect()
}

/// Returns the values of which a field must have one.
fn choices(matcher: &IrMatcher) -> &[IrMatcher] {
    match matcher {
        IrMatcher::AnyOf(choices) => choices,
        one => std::slice::from_ref(one),
    }
}

/// Makes a detection of an item that contains `null`. `null` means that the field has no value:
/// it is missing or empty, because Windows writes an event's fields whether or not they have
/// values. In a list, `null` is one choice among others; rsigma lets a missing field match it
/// only when it stands alone.
fn absent_or_equal(item: &IrDetectionItem) -> IrDetection {
    let empty = IrMatcher::Str {
        op: IrStrOp::Exact,
        pattern: IrPattern { parts: Vec::new() },
        case_insensitive: true,
    };
    let values = choices(&item.matcher).iter().filter(|value| **value != IrMatcher::Null).cloned();
    let values = IrMatcher::AnyOf(values.chain([empty]).collect());
    let alone = |matcher| IrDetection::AllOf(vec![IrDetectionItem { matcher, ..item.clone() }]);
    IrDetection::AnyOf(vec![alone(IrMatcher::Null), alone(values)])
}
