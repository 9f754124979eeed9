//! Selects which of the loaded rules a run uses.

use rsigma_parser::Status;
use serde::Serialize;

use super::rule_names::RuleNames;
use crate::error::Error;
use crate::model::{IdxVec, Level, RuleIdx};

/// The user's selection of rules. An empty selection keeps all rules.
#[derive(Debug, Clone, Default)]
pub struct RuleSelection {
    /// Keep rules of this level and above.
    pub min_level: Option<Level>,
    /// Keep rules with one of these tags, or with a sub-tag: `attack.t1059` includes
    /// `attack.t1059.001`.
    pub tags: Vec<String>,
    /// Keep rules with one of these statuses.
    pub statuses: Vec<String>,
    /// Leave out rules and filters with this id, name, title or file name.
    pub exclude: Vec<String>,
}

/// How many rules each part of a selection left out. A rule that several parts leave out is
/// counted for the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExclusionCounts {
    /// Excluded by name.
    pub exclude_rule: usize,
    /// Below the level.
    pub min_level: usize,
    /// Without a requested tag.
    pub tag: usize,
    /// Without a requested status.
    pub status: usize,
}

/// The properties of a rule by which it is selected.
pub(super) struct RuleLabels<'r> {
    pub names: &'r RuleNames,
    pub level: Level,
    pub tags: &'r [String],
    pub status: Option<Status>,
}

impl RuleSelection {
    /// Decides for each rule whether it is selected.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownExclusion`] when a rule to exclude does not exist,
    /// [`Error::NothingSelected`] when no rule is left.
    pub(super) fn apply<'r>(
        &self,
        rules: impl Iterator<Item = RuleLabels<'r>>,
        filters: impl Iterator<Item = &'r RuleNames>,
    ) -> Result<(IdxVec<RuleIdx, bool>, ExclusionCounts), Error> {
        let mut excluded = ExclusionCounts::default();
        let mut named = vec![false; self.exclude.len()];
        let mut names = |names: &RuleNames| {
            let mut any = false;
            for (reference, named) in self.exclude.iter().zip(&mut named) {
                if names.matches(reference) {
                    *named = true;
                    any = true;
                }
            }
            any
        };
        for filter in filters {
            names(filter);
        }
        let mut selected = IdxVec::new();
        for rule in rules {
            let reason = if names(rule.names) {
                Some(&mut excluded.exclude_rule)
            } else if self.min_level.is_some_and(|level| rule.level < level) {
                Some(&mut excluded.min_level)
            } else if !self.tags.is_empty() && !self.tags.iter().any(|tag| has_tag(&rule, tag)) {
                Some(&mut excluded.tag)
            } else if !self.statuses.is_empty() && !self.has_status(rule.status) {
                Some(&mut excluded.status)
            } else {
                None
            };
            selected.push(reason.is_none());
            if let Some(count) = reason {
                *count += 1;
            }
        }
        let unknown = self.exclude.iter().zip(&named).find(|(_, named)| !**named);
        if let Some((reference, _)) = unknown {
            return Err(Error::UnknownExclusion(reference.clone()));
        }
        if !selected.is_empty() && !selected.contains(&true) {
            return Err(Error::NothingSelected {
                rules: selected.len(),
                excluded: excluded.exclude_rule,
                below_level: excluded.min_level,
                without_tag: excluded.tag,
                without_status: excluded.status,
            });
        }
        Ok((selected, excluded))
    }

    fn has_status(&self, status: Option<Status>) -> bool {
        let asked = self.statuses.iter().filter_map(|status| status.to_lowercase().parse().ok());
        status.is_some_and(|status| asked.into_iter().any(|asked: Status| asked == status))
    }
}

fn has_tag(rule: &RuleLabels<'_>, asked: &str) -> bool {
    rule.tags.iter().any(|tag| {
        let tag = tag.to_lowercase();
        tag.strip_prefix(&*asked.to_lowercase())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
