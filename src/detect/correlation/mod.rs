//! Correlation rules: other rules that fire so often, together, or one after another.
//!
//! rsigma reads and compiles them, and its windows count. Its engine is not used: it knows whole
//! seconds only, forgets groups without a word when there are many, reports a percentile whatever
//! its condition says, takes one of a temporal correlation's rules for all of them, and tells of
//! what fired again and again while a burst goes on, without its records.

mod run;
mod step;
mod window;

#[cfg(test)]
mod tests;

pub use run::Limited;
pub(crate) use run::{Correlated, Correlator};
pub(crate) use step::Step;

use std::collections::BTreeMap;

use rsigma_eval::correlation::{CompiledCorrelation, compile_correlation};
use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
};

use super::names::Names;
use crate::model::{IdxVec, RuleIdx};

/// Units of time in a second: all that a log keeps.
const TICKS: u64 = 10_000_000;

/// A correlation rule that can be run.
pub(super) struct Correlation {
    /// Compiled; its times are in ticks.
    compiled: CompiledCorrelation,
    /// The rules it refers to, by index, and what each is called in it: by the reference first.
    refers: BTreeMap<RuleIdx, Vec<String>>,
}

impl Correlation {
    /// Compiles a rule of these names, which refers to rules among those that are known.
    ///
    /// # Errors
    /// Why it does not load.
    pub fn new(
        rule: &CorrelationRule,
        names: &Names,
        known: &IdxVec<RuleIdx, &Names>,
    ) -> Result<Self, String> {
        let mut rule = rule.clone();
        if let (CorrelationCondition::Extended(condition), true) =
            (&rule.condition, rule.rules.is_empty())
        {
            identifiers(condition, &mut rule.rules);
        }
        if rule.rules.is_empty() {
            return Err("the correlation refers to no rule".to_owned());
        }
        let mut refers: BTreeMap<RuleIdx, Vec<String>> = BTreeMap::new();
        for reference in &rule.rules {
            let found = names.find(reference, known);
            if found.is_empty() {
                return Err(format!("it refers to '{reference}', and no such rule is loaded"));
            }
            for index in found {
                let called = refers.entry(index).or_default();
                called.push(reference.clone());
                called.extend(known[index].all().map(str::to_owned));
            }
        }
        conditions(&mut rule, &refers)?;
        // Its own attributes are for rsigma's engine.
        rule.custom_attributes.clear();
        rule.timespan.seconds = ticks(rule.timespan.seconds);
        if let Some(gap) = &mut rule.gap {
            gap.seconds = ticks(gap.seconds);
        }
        let compiled = compile_correlation(&rule).map_err(|error| error.to_string())?;
        Ok(Correlation { compiled, refers })
    }

    /// The rules it refers to.
    pub fn rules(&self) -> impl Iterator<Item = RuleIdx> {
        self.refers.keys().copied()
    }

    /// Whether the rules it refers to are to be reported by themselves, too.
    pub fn generates(&self) -> bool {
        self.compiled.generate
    }

    /// Gives the rules it refers to their new indices.
    pub fn renumber(&mut self, places: &IdxVec<RuleIdx, RuleIdx>) {
        let refers = std::mem::take(&mut self.refers).into_iter();
        self.refers = refers.map(|(rule, called)| (places[rule], called)).collect();
    }

    /// The fields it needs to know of a hit of a rule.
    pub fn fields(&self, rule: RuleIdx) -> impl Iterator<Item = &str> {
        let called: Vec<&str> = self.called(rule).collect();
        let groups = self.compiled.group_by.iter().map(move |field| field.resolve(&called));
        groups.chain(self.compiled.condition.field.iter().flatten().map(String::as_str))
    }

    /// Whether it can find anything where only some rules fire.
    pub fn can_complete(&self, fires: impl Fn(RuleIdx) -> bool) -> bool {
        let fires = |reference: &String| {
            self.refers.iter().any(|(&rule, called)| fires(rule) && called.contains(reference))
        };
        let mut references = self.compiled.rule_refs.iter();
        match self.compiled.correlation_type {
            CorrelationType::TemporalOrdered => references.all(fires),
            _ => references.any(fires),
        }
    }

    /// What a rule is called in it, by the reference first.
    fn called(&self, rule: RuleIdx) -> impl Iterator<Item = &str> {
        self.refers.get(&rule).into_iter().flatten().map(String::as_str)
    }
}

/// Seconds in ticks; what is longer than any log is cut.
fn ticks(seconds: u64) -> u64 {
    seconds.saturating_mul(TICKS).min(i64::MAX as u64 / 4)
}

/// Makes the condition say what it means.
fn conditions(
    rule: &mut CorrelationRule,
    refers: &BTreeMap<RuleIdx, Vec<String>>,
) -> Result<(), String> {
    use CorrelationType::*;
    let all = rule.rules.len() as u64;
    match &mut rule.condition {
        CorrelationCondition::Extended(condition) => refer(condition, &rule.rules, refers),
        CorrelationCondition::Threshold { predicates, field, .. } => {
            // This is what the parser makes of no condition, which asks for all of the rules.
            if rule.correlation_type == Temporal && predicates[..] == [(ConditionOperator::Gte, 1)]
            {
                *predicates = vec![(ConditionOperator::Gte, all)];
            }
            let counts_values = matches!(
                rule.correlation_type,
                ValueCount | ValueSum | ValueAvg | ValuePercentile | ValueMedian
            );
            if counts_values && field.is_none() {
                return Err("its condition names no field to take values of".to_owned());
            }
            Ok(())
        }
    }
}

/// The names in a condition.
fn identifiers(condition: &ConditionExpr, names: &mut Vec<String>) {
    match condition {
        ConditionExpr::Identifier(name) if names.contains(name) => {}
        ConditionExpr::Identifier(name) => names.push(name.clone()),
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| identifiers(part, names));
        }
        ConditionExpr::Not(part) => identifiers(part, names),
        ConditionExpr::Selector { .. } => {}
    }
}

/// Puts the references in the place of other names of the same rules.
fn refer(
    condition: &mut ConditionExpr,
    references: &[String],
    refers: &BTreeMap<RuleIdx, Vec<String>>,
) -> Result<(), String> {
    match condition {
        ConditionExpr::Identifier(name) if references.contains(name) => Ok(()),
        ConditionExpr::Identifier(name) => {
            let called = refers.values().find(|called| called.contains(name));
            let reference = called.and_then(|called| called.first());
            *name = reference.cloned().ok_or_else(|| {
                format!("its condition names '{name}', which is none of the rules it refers to")
            })?;
            Ok(())
        }
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter_mut().try_for_each(|part| refer(part, references, refers))
        }
        ConditionExpr::Not(part) => refer(part, references, refers),
        ConditionExpr::Selector { .. } => {
            Err("its condition counts rules ('1 of ...'), which has no meaning here".to_owned())
        }
    }
}
