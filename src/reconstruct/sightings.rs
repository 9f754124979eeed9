//! When a fact about a host was seen. Facts may change, as addresses do.

use chrono::{DateTime, TimeDelta, Utc};

/// Two sightings closer than this are one span. Shorter than usual address leases.
const GAP: TimeDelta = TimeDelta::minutes(30);

/// Most spans that are kept. A fact with more spans counts as seen all the time.
const MOST_SPANS: usize = 256;

/// How often a fact was seen, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Sightings {
    pub count: u64,
    /// First and last sighting of each span. In order and disjoint after `sort_and_join`.
    spans: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Sightings {
    /// Adds a sighting.
    pub fn add(&mut self, time: DateTime<Utc>) {
        self.count += 1;
        match self.spans.last_mut() {
            Some((first, last)) if time >= *first - GAP && time <= *last + GAP => {
                (*first, *last) = (time.min(*first), time.max(*last));
            }
            _ => self.spans.push((time, time)),
        }
        if self.spans.len() > MOST_SPANS {
            self.sort_and_join();
        }
    }

    /// Adds all sightings of another fact.
    pub fn add_all(&mut self, other: &Sightings) {
        self.count += other.count;
        self.spans.extend(&other.spans);
    }

    /// Sorts the spans and joins those that touch.
    pub fn sort_and_join(&mut self) {
        self.spans.sort_unstable();
        let mut joined: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
        for &(first, last) in &self.spans {
            match joined.last_mut() {
                Some((_, known)) if first <= *known + GAP || self.spans.len() > MOST_SPANS => {
                    *known = last.max(*known);
                }
                _ => joined.push((first, last)),
            }
        }
        self.spans = joined;
    }

    /// Returns the first and the last sighting.
    pub fn bounds(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        Some((self.spans.first()?.0, self.spans.last()?.1))
    }

    /// Returns true if all sightings lie between the first and last of another.
    pub fn lies_within(&self, other: &Sightings) -> bool {
        let bounds = self.bounds().zip(other.bounds());
        bounds.is_some_and(|((first, last), (from, to))| from - GAP <= first && last <= to + GAP)
    }

    /// Returns how far a time is from the nearest sighting.
    pub fn distance(&self, time: DateTime<Utc>) -> TimeDelta {
        let next = self.spans.partition_point(|&(_, last)| last < time);
        let after = self.spans.get(next).map(|(first, _)| (*first - time).max(TimeDelta::zero()));
        let before = next.checked_sub(1).map(|at| time - self.spans[at].1);
        after.into_iter().chain(before).min().unwrap_or(TimeDelta::MAX)
    }

    /// Returns true if `next` replaced this fact at a time: all sightings of the two lie on
    /// different sides of a moment, and `time` is nearer to those of `next`.
    pub fn was_replaced_by(&self, next: &Sightings, time: DateTime<Utc>) -> bool {
        let (Some((first, last)), Some((next_first, next_last))) = (self.bounds(), next.bounds())
        else {
            return false;
        };
        let apart = last < next_first || next_last < first;
        apart && next.distance(time) < self.distance(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn seen(minutes: &[i64]) -> Sightings {
        let mut seen = Sightings::default();
        minutes.iter().for_each(|&minute| seen.add(at(minute)));
        seen.sort_and_join();
        seen
    }

    #[test]
    fn an_address_that_was_changed_gave_way() {
        let (old, new) = (seen(&[0, 20, 300]), seen(&[400, 410]));
        assert!(old.was_replaced_by(&new, at(405)) && old.was_replaced_by(&new, at(390)));
        assert!(!old.was_replaced_by(&new, at(310)) && new.was_replaced_by(&old, at(310)));
        // Two facts at the same time are both true.
        let other = seen(&[100, 500]);
        assert!(!old.was_replaced_by(&other, at(500)) && !other.was_replaced_by(&old, at(0)));
    }

    #[test]
    fn more_spans_than_are_kept_are_one() {
        let most = MOST_SPANS as i64;
        let few: Vec<i64> = (0..most).map(|n| 60 * n).rev().collect();
        assert_eq!(seen(&few).distance(at(90)), TimeDelta::minutes(30));
        let many: Vec<i64> = (0..=most).map(|n| 60 * n).rev().collect();
        assert_eq!(seen(&many).distance(at(90)), TimeDelta::zero());
        assert_eq!(seen(&many).bounds(), Some((at(0), at(60 * most))));
    }
}
