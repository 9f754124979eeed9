//! Correlation rules: they fire when other rules fire a number of times, together, or in order.
//!
//! rsigma parses and compiles these rules, and its windows do the counting. Its correlation
//! engine is not used, for these reasons: it knows only whole seconds; it silently drops groups
//! when there are many; it reports a percentile whatever the condition says; it accepts one rule
//! of a temporal correlation in place of all of them; and during a burst it reports repeated
//! findings without their records.

mod run;
mod step;
mod window;

#[cfg(test)]
mod tests;

pub use run::LimitedCorrelation;
pub(crate) use run::{CorrelationResults, Correlator};
pub(crate) use step::CorrelationStep;

use std::collections::BTreeMap;

use rsigma_eval::correlation::{CompiledCorrelation, compile_correlation};
use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
};

use super::rule_names::RuleNames;
use crate::model::{IdxVec, RuleIdx};

/// Ticks per second: the resolution of log times (100 ns).
const TICKS: u64 = 10_000_000;

/// A correlation rule that is ready to run.
pub(super) struct Correlation {
    /// The compiled rule; its times are in ticks.
    compiled: CompiledCorrelation,
    /// The rules it refers to, by index, each with its names in this correlation, the reference
    /// first.
    refers: BTreeMap<RuleIdx, Vec<String>>,
}

impl Correlation {
    /// Compiles a correlation whose own names are `names`. Rules in `known` can be referred to.
    ///
    /// # Errors
    ///
    /// The reason why it does not load.
    pub fn new(
        rule: &CorrelationRule,
        names: &RuleNames,
        known: &IdxVec<RuleIdx, &RuleNames>,
    ) -> Result<Self, String> {
        let mut rule = rule.clone();
        if let (CorrelationCondition::Extended(condition), true) =
            (&rule.condition, rule.rules.is_empty())
        {
            collect_names(condition, &mut rule.rules);
        }
        if rule.rules.is_empty() {
            return Err("the correlation refers to no rule".to_owned());
        }
        let mut refers: BTreeMap<RuleIdx, Vec<String>> = BTreeMap::new();
        for reference in &rule.rules {
            let found = names.find_rules(reference, known);
            if found.is_empty() {
                return Err(format!("it refers to '{reference}', and no such rule is loaded"));
            }
            for index in found {
                let called = refers.entry(index).or_default();
                called.push(reference.clone());
                called.extend(known[index].all().map(str::to_owned));
            }
        }
        resolve_condition(&mut rule, &refers)?;
        // Custom attributes are meant for rsigma's engine.
        rule.custom_attributes.clear();
        rule.timespan.seconds = seconds_to_ticks(rule.timespan.seconds);
        if let Some(gap) = &mut rule.gap {
            gap.seconds = seconds_to_ticks(gap.seconds);
        }
        let compiled = compile_correlation(&rule).map_err(|error| error.to_string())?;
        Ok(Correlation { compiled, refers })
    }

    /// Returns the rules that the correlation refers to.
    pub fn rules(&self) -> impl Iterator<Item = RuleIdx> {
        self.refers.keys().copied()
    }

    /// Returns whether hits of the rules it refers to are reported as well.
    pub fn generates(&self) -> bool {
        self.compiled.generate
    }

    /// Replaces the indices of the rules it refers to with new ones.
    pub fn renumber(&mut self, places: &IdxVec<RuleIdx, RuleIdx>) {
        let refers = std::mem::take(&mut self.refers).into_iter();
        self.refers = refers.map(|(rule, called)| (places[rule], called)).collect();
    }

    /// Returns the fields that the correlation needs from a hit of a rule.
    pub fn fields(&self, rule: RuleIdx) -> impl Iterator<Item = &str> {
        let called: Vec<&str> = self.names_of(rule).collect();
        let groups = self.compiled.group_by.iter().map(move |field| field.resolve(&called));
        groups.chain(self.compiled.condition.field.iter().flatten().map(String::as_str))
    }

    /// Returns whether the correlation can find anything if only certain rules fire.
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

    /// Returns the names of a rule in this correlation, the reference first.
    fn names_of(&self, rule: RuleIdx) -> impl Iterator<Item = &str> {
        self.refers.get(&rule).into_iter().flatten().map(String::as_str)
    }
}

/// Converts seconds to ticks; times longer than any log are cut.
fn seconds_to_ticks(seconds: u64) -> u64 {
    seconds.saturating_mul(TICKS).min(i64::MAX as u64 / 4)
}

/// Rewrites the condition so that rsigma evaluates it as the specification means it.
fn resolve_condition(
    rule: &mut CorrelationRule,
    refers: &BTreeMap<RuleIdx, Vec<String>>,
) -> Result<(), String> {
    use CorrelationType::*;
    let all = rule.rules.len() as u64;
    match &mut rule.condition {
        CorrelationCondition::Extended(condition) => use_references(condition, &rule.rules, refers),
        CorrelationCondition::Threshold { predicates, field, .. } => {
            // The parser writes this for a missing condition, which means all of the rules.
            if rule.correlation_type == Temporal && predicates[..] == [(ConditionOperator::Gte, 1)]
            {
                *predicates = vec![(ConditionOperator::Gte, all)];
            }
            let counts_values = matches!(
                rule.correlation_type,
                ValueCount | ValueSum | ValueAvg | ValuePercentile | ValueMedian
            );
            if counts_values && field.is_none() {
                return Err("its condition names no field to take values from".to_owned());
            }
            Ok(())
        }
    }
}

/// Collects the rule names in a condition.
fn collect_names(condition: &ConditionExpr, names: &mut Vec<String>) {
    match condition {
        ConditionExpr::Identifier(name) if names.contains(name) => {}
        ConditionExpr::Identifier(name) => names.push(name.clone()),
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| collect_names(part, names));
        }
        ConditionExpr::Not(part) => collect_names(part, names),
        ConditionExpr::Selector { .. } => {}
    }
}

/// Replaces other names of the rules in a condition with their references.
fn use_references(
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
                format!("its condition names '{name}', which is not one of the rules it refers to")
            })?;
            Ok(())
        }
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter_mut().try_for_each(|part| use_references(part, references, refers))
        }
        ConditionExpr::Not(part) => use_references(part, references, refers),
        ConditionExpr::Selector { .. } => {
            Err("its condition counts rules ('1 of ...'), which has no meaning in a correlation"
                .to_owned())
        }
    }
}
