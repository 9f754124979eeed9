//! One rule: read, checked, and compiled when an event first needs it.

use std::sync::OnceLock;

use rsigma_eval::compiler::eval_condition;
use rsigma_eval::{
    CompiledRule, ConditionTrace, Event as SigmaEvent, FieldMatch, ResultBody, compile_to_compiled,
    evaluate_rule, explain_rule,
};
use rsigma_ir::{IrDetection, IrMatcher, IrNumber, IrPattern, IrPatternPart, IrRule};
use rsigma_parser::SigmaRule;

use super::ascii::OnAscii;
use super::compile::compile;
use super::gate::Gate;
use super::lower::lower;
use super::simple::Simple;
use crate::model::MatchedField;

/// Longest value of a matched field that a detection keeps, in characters.
const MAX_MATCHED: usize = 500;

/// A rule that rsigma has accepted.
pub(super) struct Rule {
    /// What must hold of an event before it need be evaluated.
    pub gate: Gate,
    lowered: IrRule,
    /// The rule, if it is a simple one.
    simple: Option<Simple>,
    /// Few rules of a pack meet an event that needs them, and regexes are dear.
    compiled: OnceLock<Option<CompiledRule>>,
    /// The rule for events of ASCII, if that makes a difference to its regexes: of rules that are
    /// not compiled when they are loaded, to be checked.
    on_ascii: OnceLock<Option<(OnAscii, CompiledRule)>>,
}

impl Rule {
    /// Checks a rule. Of a `proven` one it is known that it compiles.
    ///
    /// # Errors
    /// Why rsigma does not accept the rule.
    pub fn new(rule: &SigmaRule, proven: bool) -> Result<Rule, String> {
        let mut lowered = lower(rule)?;
        // Each result would carry copies of it.
        lowered.metadata = Default::default();
        let (gate, simple) = (Gate::of(&lowered), Simple::of(&lowered));
        let compiled = match proven || surely_compiles(&lowered) {
            true => OnceLock::new(),
            false => OnceLock::from(Some(compile(&lowered).map_err(|error| error.to_string())?)),
        };
        Ok(Rule { gate, lowered, simple, compiled, on_ascii: OnceLock::new() })
    }

    /// The rule as it is quickest evaluated on an event.
    fn compiled(&self, event: &impl SigmaEvent) -> Option<&CompiledRule> {
        let for_ascii = || {
            let rule = OnAscii::of(&self.lowered)?;
            let compiled = compile(&rule.rule).ok()?;
            Some((rule, compiled))
        };
        // What is compiled already is at no cost.
        if self.compiled.get().is_none()
            && let Some((rule, compiled)) = self.on_ascii.get_or_init(for_ascii)
            && rule.is_for(event)
        {
            return Some(compiled);
        }
        self.compiled.get_or_init(|| compile(&self.lowered).ok()).as_ref()
    }

    /// Why it does or does not fire on the event: its conditions, one of which must hold.
    pub fn explain(&self, event: &impl SigmaEvent) -> Vec<ConditionTrace> {
        // As the rule has it: regex by regex.
        let compiled = compile_to_compiled(&self.lowered);
        compiled.map(|rule| explain_rule(&rule, event).conditions).unwrap_or_default()
    }

    /// Whether the rule fires on the event.
    pub fn fires(&self, event: &impl SigmaEvent) -> bool {
        if let Some(simple) = &self.simple {
            return simple.holds(event);
        }
        let Some(rule) = self.compiled(event) else { return false };
        let mut holds = rule
            .conditions
            .iter()
            .map(|c| eval_condition(c, &rule.detections, event, &mut Vec::new()));
        holds.any(|holds| holds)
    }

    /// What matched, if the rule fires on the event.
    pub fn evaluate(&self, event: &impl SigmaEvent) -> Option<Vec<MatchedField>> {
        let result = evaluate_rule(self.compiled(event)?, event)?;
        let ResultBody::Detection(body) = result.body else { return None };
        let matched = body.matched_fields.into_iter().map(|FieldMatch { field, value, .. }| {
            let value = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            MatchedField { field, value: short(value) }
        });
        let mut matched: Vec<MatchedField> = matched.collect();
        matched.sort();
        matched.dedup();
        // It has the room of what rsigma found, and is kept to the end.
        matched.shrink_to_fit();
        Some(matched)
    }
}

/// A matched field's value as a detection keeps it.
pub(super) fn short(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(MAX_MATCHED) {
        value.truncate(end);
        value.shrink_to_fit();
    }
    value
}

/// A pattern with wildcards up to this long is a regex far below the size rsigma allows one.
const SHORT: usize = 1000;

fn length(pattern: &IrPattern) -> usize {
    let lengths = pattern.parts.iter().map(|part| match part {
        IrPatternPart::Literal(text) => text.len(),
        IrPatternPart::WildcardMulti | IrPatternPart::WildcardSingle => 1,
    });
    lengths.sum()
}

/// Whether nothing in a rule can fail to compile: regexes and encodings can.
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
            IrMatcher::Str { pattern, .. } => pattern.is_plain() || length(pattern) <= SHORT,
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
