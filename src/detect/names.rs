//! What a rule is called, and which rule a reference means.

use std::sync::Arc;

use super::pack::Refused;
use crate::model::{Idx, IdxVec, PackIdx};

/// What a rule can be referred to by.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Index of its pack.
    pub pack: PackIdx,
    /// Its file, as the pack names it.
    pub file: Arc<str>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub title: String,
}

impl Names {
    /// All of them: id, name, title, and the file's.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let file = self.file.rsplit('/').next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let names = [self.id.as_deref(), self.name.as_deref(), Some(&*self.title)];
        names.into_iter().flatten().chain([&*self.file, file, stem])
    }

    /// Whether a reference means this rule.
    pub fn has(&self, reference: &str) -> bool {
        self.all().any(|name| name.eq_ignore_ascii_case(reference))
    }

    /// Which of some rules this one means by a reference: the specification knows id and name,
    /// title and file's name are for people. Those of its own pack come first.
    pub fn find<I: Idx>(&self, reference: &str, among: &IdxVec<I, &Names>) -> Vec<I> {
        let is = |name: Option<&str>| name.is_some_and(|name| name.eq_ignore_ascii_case(reference));
        for own_pack in [true, false] {
            let found = |means: &dyn Fn(&Names) -> bool| -> Vec<I> {
                let rules = among.iter_enumerated();
                let rules = rules.filter(|(_, names)| (names.pack == self.pack) == own_pack);
                rules.filter(|(_, names)| means(names)).map(|(index, _)| index).collect()
            };
            let ways: [&dyn Fn(&Names) -> bool; 3] =
                [&|names| is(names.id.as_deref()), &|names| is(names.name.as_deref()), &|names| {
                    names.has(reference)
                }];
            if let Some(found) = ways.iter().map(|means| found(means)).find(|f| !f.is_empty()) {
                return found;
            }
        }
        Vec::new()
    }

    /// The rule as one that is not loaded, with its pack.
    pub fn refuse(&self, reason: &str) -> (PackIdx, Refused) {
        let reason = format!("'{}': {reason}", self.title);
        (self.pack, Refused { file: self.file.to_string(), reason })
    }
}
