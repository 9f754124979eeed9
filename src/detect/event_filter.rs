//! Which events the loaded rules need. A case folder that was extracted for some rules can serve
//! other rules if they need no further events.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Channels by lower-case name, each with its event ids; `None` means all event ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter(BTreeMap<String, Option<BTreeSet<u32>>>);

impl EventFilter {
    /// The channel name that stands for every channel.
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

    /// Returns whether this filter keeps every event that the other one keeps.
    pub fn includes(&self, others: &EventFilter) -> bool {
        let of = |channel: &str| self.0.get(channel);
        others.0.iter().all(|(channel, ids)| {
            let known = [of(channel), of(EventFilter::EVERY)];
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

    fn event_filter(channels: &[(&str, Option<&[u32]>)]) -> EventFilter {
        let mut filter = EventFilter::default();
        for (channel, ids) in channels {
            filter.add(channel, ids.map(|ids| ids.iter().copied().collect()));
        }
        filter
    }

    #[test]
    fn more_includes_less() {
        let some = event_filter(&[("Security", Some(&[4624, 4625])), ("System", None)]);
        for less in [("security", Some(&[4625][..])), ("SYSTEM", None), ("System", Some(&[1]))] {
            assert!(some.includes(&event_filter(&[less])), "{less:?}");
        }
        assert!(some.includes(&EventFilter::default()));
        for more in
            [("Security", None), ("Security", Some(&[1][..])), ("Other", Some(&[1])), ("*", None)]
        {
            assert!(!some.includes(&event_filter(&[more])), "{more:?}");
        }
        let every = event_filter(&[("*", None)]);
        assert!(every.includes(&some) && !some.includes(&every));
        let together = event_filter(&[("*", Some(&[1])), ("System", Some(&[2]))]);
        assert!(together.includes(&event_filter(&[("System", Some(&[1, 2]))])));
    }
}
