//! Types for the rules and packs of a run.

use rsigma_eval::Event as SigmaEvent;

use super::correlation::Correlation;
use super::logsource::RuleScope;
use super::pack::{Pack, RejectedRule};
use super::rule::Rule;
use crate::model::{PackIdx, RuleIdx, RuleMeta, Value, Values};

/// A rule of a run.
pub struct LoadedRule {
    /// The description of the rule in outputs.
    pub meta: RuleMeta,
    /// Index of its pack.
    pub(super) pack: PackIdx,
    pub(super) kind: RuleKind,
    /// Whether its hits are not reported: only correlations use them.
    pub(super) suppressed: bool,
    /// The correlations that refer to it.
    pub(super) correlated: Vec<RuleIdx>,
    /// The fields that these correlations need from its hits.
    pub(super) fields: Vec<String>,
}

/// The two kinds of rules, by the input that makes them fire.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rules on events, and each record is checked against them"
)]
pub(super) enum RuleKind {
    /// An event that the rule matches.
    Event(Rule, RuleScope),
    /// Hits of other rules.
    Correlation(Box<Correlation>),
}

impl LoadedRule {
    /// Returns the rule and its scope if it is a rule on events.
    pub(super) fn on_events(&self) -> Option<(&Rule, &RuleScope)> {
        match &self.kind {
            RuleKind::Event(rule, scope) => Some((rule, scope)),
            RuleKind::Correlation(_) => None,
        }
    }

    /// Returns the correlation if the rule is one.
    pub(super) fn correlation(&self) -> Option<&Correlation> {
        match &self.kind {
            RuleKind::Event(..) => None,
            RuleKind::Correlation(correlation) => Some(correlation),
        }
    }

    /// Returns the values of an event that correlations need.
    pub(super) fn values(&self, event: &impl SigmaEvent) -> Values<'static> {
        let values =
            self.fields.iter().map(|field| Value::from_event_value(&event.get_field(field)?));
        values.collect()
    }
}

/// A pack of a run.
pub struct LoadedPack {
    /// The pack.
    pub pack: Pack,
    /// The number of its filters that apply to a rule.
    pub filters: usize,
    /// Its rules that were not loaded.
    pub rejected: Vec<RejectedRule>,
}
