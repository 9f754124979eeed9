//! How far the logs at hand reach: of each host's channel in each input, the first and the last
//! record and the event ids that are there. What is missing from a session is judged by it.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::Hosts;
use crate::decode::Seen;
use crate::model::{Channel, Coverage, Str};

/// One host's records of one channel, as far as they were seen.
#[derive(Debug)]
struct Span {
    /// The host as logged.
    computer: Str,
    channel: Channel,
    /// Time and EventRecordID.
    first: (DateTime<Utc>, u64),
    last: (DateTime<Utc>, u64),
    ids: BTreeSet<u32>,
}

/// What a task saw of all records, wanted or not. To see one twice changes nothing.
#[derive(Debug, Default)]
pub struct Reach {
    /// Index of the input.
    input: u32,
    spans: Vec<Span>,
    by_name: HashMap<(Str, Channel), usize>,
    /// The latest record's span: logs seldom change it.
    latest: usize,
}

impl Reach {
    /// Begins with the records of an input.
    pub fn of(input: u32) -> Reach {
        Reach { input, ..Reach::default() }
    }

    /// Takes note of a record. Only channels that this program knows are of use.
    pub fn see(&mut self, seen: Seen<'_>) {
        let Seen { channel, computer, event_id, record_id, time } = seen;
        if channel == Channel::Other {
            return;
        }
        let is_latest = |span: &Span| span.channel == channel && *span.computer == *computer;
        if !self.spans.get(self.latest).is_some_and(is_latest) {
            let key = (Str::from(computer), channel);
            self.latest = match self.by_name.get(&key) {
                Some(&known) => known,
                None => {
                    self.spans.push(Span {
                        computer: key.0.clone(),
                        channel,
                        first: (time, record_id),
                        last: (time, record_id),
                        ids: BTreeSet::new(),
                    });
                    self.by_name.insert(key, self.spans.len() - 1);
                    self.spans.len() - 1
                }
            };
        }
        let span = &mut self.spans[self.latest];
        span.first = span.first.min((time, record_id));
        span.last = span.last.max((time, record_id));
        span.ids.insert(event_id);
    }

    /// Gives back the room that was made for more.
    pub fn shrink(&mut self) {
        self.by_name = HashMap::new();
        self.spans.shrink_to_fit();
    }
}

/// How far all logs reach, by host, channel and input.
pub(super) fn coverage<'r>(all: impl Iterator<Item = &'r Reach>, hosts: &Hosts) -> Vec<Coverage> {
    let mut found: Vec<Coverage> = Vec::new();
    let mut by_place: HashMap<(Str, Channel, u32), usize> = HashMap::new();
    for reach in all {
        for span in &reach.spans {
            let host = hosts.as_logged(&span.computer.to_lowercase().into());
            let place = (host.clone(), span.channel, reach.input);
            let slot = *by_place.entry(place).or_insert_with(|| {
                found.push(Coverage {
                    host,
                    channel: span.channel,
                    input: reach.input,
                    first: span.first,
                    last: span.last,
                    ids: BTreeSet::new(),
                });
                found.len() - 1
            });
            let known = &mut found[slot];
            known.first = known.first.min(span.first);
            known.last = known.last.max(span.last);
            known.ids.extend(&span.ids);
        }
    }
    found.sort_by(|a, b| (&a.host, a.channel, a.input).cmp(&(&b.host, b.channel, b.input)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn seen(computer: &str, channel: Channel, event_id: u32, second: i64) -> Seen<'_> {
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        Seen { channel, computer, event_id, record_id: second as u64 + 100, time }
    }

    #[test]
    fn logs_reach_from_their_earliest_to_their_latest_record_in_any_order() {
        let mut reach = Reach::of(3);
        for (id, second) in [(4624, 20), (4688, 10), (4624, 20), (4624, 30)] {
            reach.see(seen("Srv", Channel::Security, id, second));
        }
        reach.see(seen("Other", Channel::Security, 4624, 5));
        reach.see(seen("Srv", Channel::Other, 1, 1));
        let mut later = Reach::of(3);
        later.see(seen("srv", Channel::Security, 1102, 40));
        let hosts = Hosts::of(&[]);
        let found = coverage([reach, later].iter(), &hosts);
        let told: Vec<_> = found.iter().map(|c| (&*c.host, c.input, c.first.1, c.last.1)).collect();
        assert_eq!(told, [("other", 3, 105, 105), ("srv", 3, 110, 140)]);
        assert_eq!(found[1].ids, BTreeSet::from([1102, 4624, 4688]));
    }
}
