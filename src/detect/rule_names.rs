//! The names of a rule, and the search for the rules that a reference means.

use std::sync::Arc;

use super::pack::RejectedRule;
use crate::model::{Idx, IdxVec, PackIdx};

/// The names by which a rule can be referred to.
#[derive(Debug, Clone)]
pub(super) struct RuleNames {
    /// Index of its pack.
    pub pack: PackIdx,
    /// Its file, as the pack names it.
    pub file: Arc<str>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub title: String,
}

impl RuleNames {
    /// Returns all names: id, name, title, and those of its file.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let file = self.file.rsplit('/').next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let names = [self.id.as_deref(), self.name.as_deref(), Some(&*self.title)];
        names.into_iter().flatten().chain([&*self.file, file, stem])
    }

    /// Returns whether a reference means this rule.
    pub fn matches(&self, reference: &str) -> bool {
        self.all().any(|name| name.eq_ignore_ascii_case(reference))
    }

    /// Finds the rules among `among` that this rule means by a reference. The specification knows
    /// id and name; title and file name are for convenience. Rules of its own pack come first.
    pub fn find_rules<I: Idx>(&self, reference: &str, among: &IdxVec<I, &RuleNames>) -> Vec<I> {
        let is = |name: Option<&str>| name.is_some_and(|name| name.eq_ignore_ascii_case(reference));
        for own_pack in [true, false] {
            let found = |means: &dyn Fn(&RuleNames) -> bool| -> Vec<I> {
                let rules = among.iter_enumerated();
                let rules = rules.filter(|(_, names)| (names.pack == self.pack) == own_pack);
                rules.filter(|(_, names)| means(names)).map(|(index, _)| index).collect()
            };
            let ways: [&dyn Fn(&RuleNames) -> bool; 3] =
                [&|names| is(names.id.as_deref()), &|names| is(names.name.as_deref()), &|names| {
                    names.matches(reference)
                }];
            if let Some(found) = ways.iter().map(|means| found(means)).find(|f| !f.is_empty()) {
                return found;
            }
        }
        Vec::new()
    }

    /// Makes the entry for a rule that is not loaded, with its pack.
    pub fn reject(&self, reason: &str) -> (PackIdx, RejectedRule) {
        let reason = format!("'{}': {reason}", self.title);
        (self.pack, RejectedRule { file: self.file.to_string(), reason })
    }
}
