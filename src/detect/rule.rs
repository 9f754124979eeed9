//! A single rule: read, checked, and compiled when an event first needs it.

use std::sync::OnceLock;

use rsigma_eval::compiler::eval_condition;
use rsigma_eval::{
    CompiledRule, ConditionTrace, Event as SigmaEvent, FieldMatch, ResultBody, compile_to_compiled,
    evaluate_rule, explain_rule,
};
use rsigma_ir::{IrDetection, IrMatcher, IrNumber, IrPattern, IrPatternPart, IrRule};
use rsigma_parser::SigmaRule;

use super::ascii_rule::AsciiRule;
use super::compile::compile;
use super::lower::lower;
use super::prefilter::Prefilter;
use super::simple::SimpleCondition;
use crate::model::MatchedField;

/// Longest value of a matched field that a detection keeps, in characters.
const MAX_MATCHED: usize = 500;

/// A rule that rsigma has accepted.
pub(super) struct Rule {
    /// The conditions that an event must meet before the rule is evaluated.
    pub prefilter: Prefilter,
    lowered: IrRule,
    /// The rule as comparisons of fields, if it is simple enough.
    simple: Option<SimpleCondition>,
    /// The compiled rule. It is compiled late: few rules of a pack ever meet an event that needs
    /// them, and regexes are expensive.
    compiled: OnceLock<Option<CompiledRule>>,
    /// The rule for ASCII events, if it has regexes. It is used only for rules that are not
    /// compiled while they are loaded.
    on_ascii: OnceLock<Option<(AsciiRule, CompiledRule)>>,
}

impl Rule {
    /// Checks a rule. A `proven` rule is known to compile.
    ///
    /// # Errors
    ///
    /// The reason why rsigma does not accept the rule.
    pub fn new(rule: &SigmaRule, proven: bool) -> Result<Rule, String> {
        let mut lowered = lower(rule)?;
        // Otherwise each result would carry copies of the metadata.
        lowered.metadata = Default::default();
        let (prefilter, simple) = (Prefilter::new(&lowered), SimpleCondition::from_rule(&lowered));
        let compiled = match proven || surely_compiles(&lowered) {
            true => OnceLock::new(),
            false => OnceLock::from(Some(compile(&lowered).map_err(|error| error.to_string())?)),
        };
        Ok(Rule { prefilter, lowered, simple, compiled, on_ascii: OnceLock::new() })
    }

    /// Returns the compiled rule that evaluates the event fastest.
    fn compiled(&self, event: &impl SigmaEvent) -> Option<&CompiledRule> {
        let for_ascii = || {
            let rule = AsciiRule::from_rule(&self.lowered)?;
            let compiled = compile(&rule.rule).ok()?;
            Some((rule, compiled))
        };
        // A rule that is compiled already costs nothing more.
        if self.compiled.get().is_none()
            && let Some((rule, compiled)) = self.on_ascii.get_or_init(for_ascii)
            && rule.applies_to(event)
        {
            return Some(compiled);
        }
        self.compiled.get_or_init(|| compile(&self.lowered).ok()).as_ref()
    }

    /// Explains why the rule fires or does not fire on the event: its conditions, one of which
    /// must hold.
    pub fn explain(&self, event: &impl SigmaEvent) -> Vec<ConditionTrace> {
        // Compiled as the rule is written, regex by regex.
        let compiled = compile_to_compiled(&self.lowered);
        compiled.map(|rule| explain_rule(&rule, event).conditions).unwrap_or_default()
    }

    /// Returns whether the rule fires on the event.
    pub fn fires(&self, event: &impl SigmaEvent) -> bool {
        if let Some(simple) = &self.simple {
            return simple.matches(event);
        }
        let Some(rule) = self.compiled(event) else { return false };
        let mut holds = rule
            .conditions
            .iter()
            .map(|c| eval_condition(c, &rule.detections, event, &mut Vec::new()));
        holds.any(|holds| holds)
    }

    /// Returns the matched fields if the rule fires on the event.
    pub fn evaluate(&self, event: &impl SigmaEvent) -> Option<Vec<MatchedField>> {
        let result = evaluate_rule(self.compiled(event)?, event)?;
        let ResultBody::Detection(body) = result.body else { return None };
        let matched = body.matched_fields.into_iter().map(|FieldMatch { field, value, .. }| {
            let value = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            MatchedField { field, value: cut_value(value) }
        });
        let mut matched: Vec<MatchedField> = matched.collect();
        matched.sort();
        matched.dedup();
        // The list has the capacity of rsigma's result, and is kept to the end of the run.
        matched.shrink_to_fit();
        Some(matched)
    }
}

/// Cuts a matched field's value to the length that a detection keeps.
pub(super) fn cut_value(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(MAX_MATCHED) {
        value.truncate(end);
        value.shrink_to_fit();
    }
    value
}

/// A wildcard pattern up to this length makes a regex far below rsigma's size limit.
const SHORT_PATTERN: usize = 1000;

fn pattern_length(pattern: &IrPattern) -> usize {
    let lengths = pattern.parts.iter().map(|part| match part {
        IrPatternPart::Literal(text) => text.len(),
        IrPatternPart::WildcardMulti | IrPatternPart::WildcardSingle => 1,
    });
    lengths.sum()
}

/// Returns whether no part of a rule can fail to compile. Regexes and encodings can.
fn surely_compiles(rule: &IrRule) -> bool {
    fn detection(part: &IrDetection) -> bool {
        match part {
            IrDetection::AllOf(items) => items.iter().all(|item| matcher(&item.matcher)),
            IrDetection::AnyOf(parts) | IrDetection::And(parts) => parts.iter().all(detection),
            IrDetection::Keywords(part) => matcher(part),
            IrDetection::ArrayMatch { .. } | IrDetection::Conditional { .. } => false,
        }
    }
    fn matcher(part: &IrMatcher) -> bool {
        match part {
            IrMatcher::Str { pattern, .. } => {
                pattern.is_plain() || pattern_length(pattern) <= SHORT_PATTERN
            }
            IrMatcher::NumericEq(number)
            | IrMatcher::NumericGt(number)
            | IrMatcher::NumericGte(number)
            | IrMatcher::NumericLt(number)
            | IrMatcher::NumericLte(number) => matches!(number, IrNumber::Literal(_)),
            IrMatcher::Exists(_) | IrMatcher::Null | IrMatcher::BoolEq(_) => true,
            IrMatcher::Not(part) => matcher(part),
            IrMatcher::AnyOf(parts) | IrMatcher::AllOf(parts) => parts.iter().all(matcher),
            _ => false,
        }
    }
    rule.detections.values().all(detection)
}
