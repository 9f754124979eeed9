//! Compiles a rule with rsigma, but compiles each of its regexes only once.
//!
//! rsigma compiles a regex on its own, then once more together with the other regexes that a
//! field may match, and repeats all of this for each field with the same list. Each compilation
//! takes milliseconds, and a run needs dozens.

use rsigma_eval::{
    CompiledDetection, CompiledMatcher, CompiledRule, EvalError, compile_to_compiled,
};
use rsigma_ir::{IrDetection, IrMatcher, IrRule};

/// From this many alternative regexes on, rsigma joins the regexes of a field into one.
const JOIN_FROM: usize = 3;

/// Compiles a rule.
///
/// # Errors
///
/// The reason why rsigma does not compile it.
pub(super) fn compile(rule: &IrRule) -> Result<CompiledRule, EvalError> {
    // Regexes that compile one by one may be too large when joined.
    compile_distinct(rule.clone()).or_else(|_| compile_to_compiled(rule))
}

fn compile_distinct(mut rule: IrRule) -> Result<CompiledRule, EvalError> {
    let mut distinct: Vec<(usize, IrMatcher)> = Vec::new();
    let mut copies: Vec<(usize, usize)> = Vec::new();
    let mut matchers = Vec::new();
    for_each_by_name(rule.detections.iter_mut(), |part| each_matcher(part, &mut matchers));
    for (place, matcher) in matchers.into_iter().enumerate() {
        if !has_regex(matcher) {
            continue;
        }
        if let Some(one) = join_regexes(matcher) {
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
    for_each_by_name(compiled.detections.iter_mut(), |part| each_compiled(part, &mut matchers));
    for (place, first) in copies {
        *matchers[place] = matchers[first].clone();
    }
    Ok(compiled)
}

/// Calls `each` with a rule's detections in the order of their names.
fn for_each_by_name<D>(named: impl Iterator<Item = (impl Ord, D)>, each: impl FnMut(D)) {
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

/// Collects the compiled matchers in the same order as `each_matcher`.
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

/// Joins alternative regexes into one regex that matches the same texts.
fn join_regexes(matcher: &IrMatcher) -> Option<IrMatcher> {
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
        // A pattern that is not a regex on its own could become one inside brackets.
        regex_syntax::parse(pattern).ok()?;
        patterns.push(format!("(?:{pattern})"));
    }
    let first = parts.first().filter(|_| parts.len() >= JOIN_FROM)?;
    let joined = patterns.join("|");
    let alike = parts.iter().all(|part| with(String::new(), part) == with(String::new(), first));
    with(joined, first).filter(|_| alike)
}
