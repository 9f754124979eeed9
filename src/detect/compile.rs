//! A rule as rsigma compiles it, but each of its regexes once.
//!
//! rsigma compiles a regex by itself, once more with the others that a field may match, and all
//! that again for each field that is asked for the same. Each time takes milliseconds, and a run
//! needs dozens.

use rsigma_eval::{
    CompiledDetection, CompiledMatcher, CompiledRule, EvalError, compile_to_compiled,
};
use rsigma_ir::{IrDetection, IrMatcher, IrRule};

/// So many regexes that a field may match, rsigma puts together.
const MANY: usize = 3;

/// Compiles a rule.
///
/// # Errors
/// Why rsigma does not compile it.
pub(super) fn compile(rule: &IrRule) -> Result<CompiledRule, EvalError> {
    // Regexes that compile one by one may be too large as one.
    once_each(rule.clone()).or_else(|_| compile_to_compiled(rule))
}

fn once_each(mut rule: IrRule) -> Result<CompiledRule, EvalError> {
    let mut distinct: Vec<(usize, IrMatcher)> = Vec::new();
    let mut copies: Vec<(usize, usize)> = Vec::new();
    let mut matchers = Vec::new();
    in_order(rule.detections.iter_mut(), |part| each_matcher(part, &mut matchers));
    for (place, matcher) in matchers.into_iter().enumerate() {
        if !has_regex(matcher) {
            continue;
        }
        if let Some(one) = as_one(matcher) {
            *matcher = one;
        }
        match distinct.iter().find(|(_, known)| known == matcher) {
            Some(&(first, _)) => {
                copies.push((place, first));
                *matcher = IrMatcher::Null;
            }
            None => distinct.push((place, matcher.clone())),
        }
    }
    let mut compiled = compile_to_compiled(&rule)?;
    let mut matchers = Vec::new();
    in_order(compiled.detections.iter_mut(), |part| each_compiled(part, &mut matchers));
    for (place, first) in copies {
        *matchers[place] = matchers[first].clone();
    }
    Ok(compiled)
}

/// Hands on a rule's detections in the order of their names.
fn in_order<D>(named: impl Iterator<Item = (impl Ord, D)>, each: impl FnMut(D)) {
    let mut named: Vec<_> = named.collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named.into_iter().map(|(_, part)| part).for_each(each);
}

fn each_matcher<'d>(part: &'d mut IrDetection, found: &mut Vec<&'d mut IrMatcher>) {
    match part {
        IrDetection::AllOf(items) => found.extend(items.iter_mut().map(|item| &mut item.matcher)),
        IrDetection::AnyOf(parts) | IrDetection::And(parts) => {
            parts.iter_mut().for_each(|part| each_matcher(part, found));
        }
        _ => {}
    }
}

/// The same matchers, compiled.
fn each_compiled<'d>(part: &'d mut CompiledDetection, found: &mut Vec<&'d mut CompiledMatcher>) {
    match part {
        CompiledDetection::AllOf(items) => {
            found.extend(items.iter_mut().map(|item| &mut item.matcher));
        }
        CompiledDetection::AnyOf(parts) | CompiledDetection::And(parts) => {
            parts.iter_mut().for_each(|part| each_compiled(part, found));
        }
        _ => {}
    }
}

fn has_regex(matcher: &IrMatcher) -> bool {
    match matcher {
        IrMatcher::Regex { .. } => true,
        IrMatcher::AnyOf(parts) | IrMatcher::AllOf(parts) => parts.iter().any(has_regex),
        _ => false,
    }
}

/// The one regex that matches what one of many does.
fn as_one(matcher: &IrMatcher) -> Option<IrMatcher> {
    let IrMatcher::AnyOf(parts) = matcher else { return None };
    let with = |joined: String, part: &IrMatcher| match part.clone() {
        IrMatcher::Regex { case_insensitive, multiline, dotall, cased, .. } => {
            Some(IrMatcher::Regex { pattern: joined, case_insensitive, multiline, dotall, cased })
        }
        _ => None,
    };
    let mut patterns = Vec::new();
    for part in parts {
        let IrMatcher::Regex { pattern, .. } = part else { return None };
        // What is no regex by itself may be one in brackets.
        regex_syntax::parse(pattern).ok()?;
        patterns.push(format!("(?:{pattern})"));
    }
    let first = parts.first().filter(|_| parts.len() >= MANY)?;
    let joined = patterns.join("|");
    let alike = parts.iter().all(|part| with(String::new(), part) == with(String::new(), first));
    with(joined, first).filter(|_| alike)
}
