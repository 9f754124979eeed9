//! Which of the loaded rules a run is to use.

use rsigma_parser::Status;
use serde::Serialize;

use super::names::Names;
use crate::error::Error;
use crate::model::{IdxVec, Level, RuleIdx};

/// What a person asks for. An empty one asks for everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Rules of this level and above.
    pub min_level: Option<Level>,
    /// Rules with one of these tags, or with one below it: `attack.t1059` takes in
    /// `attack.t1059.001`.
    pub tags: Vec<String>,
    /// Rules with one of these statuses.
    pub statuses: Vec<String>,
    /// Not the rules and filters of this id, name, title or file name.
    pub exclude: Vec<String>,
}

/// How many rules each part of a selection left out; one that several would is the first one's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Named to be left out.
    pub exclude_rule: usize,
    /// Below the level.
    pub min_level: usize,
    /// Without a tag that was asked for.
    pub tag: usize,
    /// Without a status that was asked for.
    pub status: usize,
}

/// What a selection goes by.
pub(super) struct Labels<'r> {
    pub names: &'r Names,
    pub level: Level,
    pub tags: &'r [String],
    pub status: Option<Status>,
}

impl Selection {
    /// Whether each rule is selected.
    ///
    /// # Errors
    /// [`Error::UnknownExclusion`] when a rule to exclude is not there, [`Error::NothingSelected`]
    /// when nothing is left.
    pub(super) fn of<'r>(
        &self,
        rules: impl Iterator<Item = Labels<'r>>,
        filters: impl Iterator<Item = &'r Names>,
    ) -> Result<(IdxVec<RuleIdx, bool>, Excluded), Error> {
        let mut excluded = Excluded::default();
        let mut named = vec![false; self.exclude.len()];
        let mut names = |names: &Names| {
            let mut any = false;
            for (reference, named) in self.exclude.iter().zip(&mut named) {
                if names.has(reference) {
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

fn has_tag(rule: &Labels<'_>, asked: &str) -> bool {
    rule.tags.iter().any(|tag| {
        let tag = tag.to_lowercase();
        tag.strip_prefix(&*asked.to_lowercase())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
