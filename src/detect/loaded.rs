//! What is kept of each rule and each pack of a run.

use rsigma_eval::Event as SigmaEvent;

use super::correlation::Correlation;
use super::logsource::Scope;
use super::pack::{Pack, Refused};
use super::rule::Rule;
use crate::model::{PackIdx, RuleIdx, RuleMeta, Value, Values};

/// A rule of a run.
pub struct LoadedRule {
    /// What outputs say of it.
    pub meta: RuleMeta,
    /// Index of its pack.
    pub(super) pack: PackIdx,
    pub(super) kind: RuleKind,
    /// Its hits are no detections: only correlations want them.
    pub(super) silent: bool,
    /// The correlations that refer to it.
    pub(super) correlated: Vec<RuleIdx>,
    /// The fields that those need to know of its hits.
    pub(super) fields: Vec<String>,
}

/// What makes a rule fire.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rules on events, asked for each record"
)]
pub(super) enum RuleKind {
    /// An event that it matches.
    Event(Rule, Scope),
    /// Hits of other rules.
    Correlation(Box<Correlation>),
}

impl LoadedRule {
    /// The rule and what it is about, if it is one on events.
    pub(super) fn on_events(&self) -> Option<(&Rule, &Scope)> {
        match &self.kind {
            RuleKind::Event(rule, scope) => Some((rule, scope)),
            RuleKind::Correlation(_) => None,
        }
    }

    /// The correlation, if it is one.
    pub(super) fn correlation(&self) -> Option<&Correlation> {
        match &self.kind {
            RuleKind::Event(..) => None,
            RuleKind::Correlation(correlation) => Some(correlation),
        }
    }

    /// What correlations need to know of a hit on an event.
    pub(super) fn values(&self, event: &impl SigmaEvent) -> Values<'static> {
        let values = self.fields.iter().map(|field| Value::of(&event.get_field(field)?));
        values.collect()
    }
}

/// A pack of a run.
pub struct LoadedPack {
    /// The pack.
    pub pack: Pack,
    /// How many of its filters are part of a rule.
    pub filters: usize,
    /// What of it was not loaded.
    pub refused: Vec<Refused>,
}
