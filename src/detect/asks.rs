//! Which records rules ask for: what was extracted for some rules serves others that ask for no more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Channels by their lower-case names, and the event ids of each; none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks(BTreeMap<String, Option<BTreeSet<u32>>>);

impl Asks {
    /// Stands for every channel.
    pub(super) const EVERY: &str = "*";

    /// Adds event ids of a channel.
    pub(super) fn add(&mut self, channel: &str, ids: Option<BTreeSet<u32>>) {
        let known = self.0.entry(channel.to_lowercase()).or_insert_with(|| Some(BTreeSet::new()));
        match (known, ids) {
            (Some(known), Some(ids)) => known.extend(ids),
            (known, None) => *known = None,
            (None, Some(_)) => {}
        }
    }

    /// Whether these are asked for all that others ask for.
    pub fn includes(&self, others: &Asks) -> bool {
        let of = |channel: &str| self.0.get(channel);
        others.0.iter().all(|(channel, ids)| {
            let known = [of(channel), of(Asks::EVERY)];
            match ids {
                None => known.iter().flatten().any(|known| known.is_none()),
                Some(ids) => ids.iter().all(|id| {
                    let mut known = known.iter().flatten();
                    known.any(|known| known.as_ref().is_none_or(|known| known.contains(id)))
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(of: &[(&str, Option<&[u32]>)]) -> Asks {
        let mut asks = Asks::default();
        for (channel, ids) in of {
            asks.add(channel, ids.map(|ids| ids.iter().copied().collect()));
        }
        asks
    }

    #[test]
    fn more_includes_less() {
        let some = asks(&[("Security", Some(&[4624, 4625])), ("System", None)]);
        for less in [("security", Some(&[4625][..])), ("SYSTEM", None), ("System", Some(&[1]))] {
            assert!(some.includes(&asks(&[less])), "{less:?}");
        }
        assert!(some.includes(&Asks::default()));
        for more in
            [("Security", None), ("Security", Some(&[1][..])), ("Other", Some(&[1])), ("*", None)]
        {
            assert!(!some.includes(&asks(&[more])), "{more:?}");
        }
        let every = asks(&[("*", None)]);
        assert!(every.includes(&some) && !some.includes(&every));
        let together = asks(&[("*", Some(&[1])), ("System", Some(&[2]))]);
        assert!(together.includes(&asks(&[("System", Some(&[1, 2]))])));
    }
}
