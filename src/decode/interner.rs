//! Keeps one copy of each name that records repeat.

use std::collections::HashSet;

use crate::model::Str;

/// Keeps one copy of each name that records repeat.
#[derive(Default)]
pub(super) struct Interner(HashSet<Str>);

impl Interner {
    /// Returns the kept copy of a name.
    pub fn get(&mut self, text: &str) -> Str {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Str = text.into();
        // Activities change, and hostile logs always bring new names. Names in use are soon kept
        // again.
        if self.0.len() == 4096 {
            self.0.clear();
        }
        self.0.insert(new.clone());
        new
    }
}
