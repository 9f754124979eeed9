//! A rule in rsigma's own form, with what Sigma means where rsigma reads it more narrowly.

use rsigma_eval::EvalError;
use rsigma_ir::{
    IrDetection, IrDetectionItem, IrMatcher, IrPattern, IrRule, IrStrOp, LowerOptions, lower_rule,
};
use rsigma_parser::SigmaRule;

/// A rule as rsigma reads it, but for `null` and for keywords all of which must be there.
///
/// # Errors
/// Why rsigma does not accept the rule.
pub(super) fn lower(rule: &SigmaRule) -> Result<IrRule, String> {
    let lowered = lower_rule(rule, &LowerOptions::default()).map_err(EvalError::from);
    let mut rule = lowered.map_err(|error| error.to_string())?;
    rule.detections =
        rule.detections.into_iter().map(|(name, part)| (name, detection(part))).collect();
    Ok(rule)
}

fn detection(part: IrDetection) -> IrDetection {
    let each = |parts: Vec<IrDetection>| parts.into_iter().map(detection).collect();
    match part {
        IrDetection::AllOf(items) => {
            let mut plain = Vec::new();
            let mut others = Vec::new();
            for item in items {
                if item.field.as_deref().unwrap_or_default().is_empty() && item.exists.is_none() {
                    others.extend(keywords(item.matcher));
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

/// Keywords under a modifier (`'|all'`), each a detection of its own: Sigma looks for them in the
/// whole event, as it does for those in a plain list. rsigma wants each to be all of a value, and
/// all of them in the same one.
fn keywords(matcher: IrMatcher) -> Vec<IrDetection> {
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

/// The values one of which a field must have.
fn choices(matcher: &IrMatcher) -> &[IrMatcher] {
    match matcher {
        IrMatcher::AnyOf(choices) => choices,
        one => std::slice::from_ref(one),
    }
}

/// An item that asks for `null`: the field has no value. It is not there, or it is empty, for
/// Windows writes an event's fields whether they have a value or not. In a list `null` is a choice
/// among others; rsigma lets an absent field match it only alone.
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
