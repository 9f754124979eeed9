//! Findings: detections folded for people. A rule on a host in a session is one row, however often it
//! fired.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::copies::Copies;
use super::detections::{self, DetectionRow};
use crate::detect::RuleSet;
use crate::model::{Proof, RecordRef, RuleIdx, SessionIdx};
use crate::sorted::{SortBuffer, SortedRows, Sorter, push_time};

/// Users that a finding names.
const MOST_USERS: usize = 10;
/// Detections whose first record a finding names.
const MOST_POINTERS: usize = 3;
/// Findings that are folded in memory: a log may be written to have ever new hosts.
const MOST_FINDINGS: usize = 1 << 16;

/// Detections of one rule, on one host, in one session or in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// The host.
    pub host: String,
    /// Index of the session.
    pub session: Option<SessionIdx>,
    /// The accounts, the first of many.
    pub users: BTreeSet<String>,
    /// How many detections.
    pub count: u64,
    /// The time of the earliest, UTC.
    pub first: DateTime<Utc>,
    /// The time of the latest, UTC.
    pub last: DateTime<Utc>,
    /// The first record of each of the earliest.
    pub evidence: Vec<Proof>,
}

impl Finding {
    /// Takes in a detection that is no earlier.
    fn add(&mut self, row: &DetectionRow<'_>) {
        self.count += 1;
        self.last = row.time;
        if self.evidence.len() < MOST_POINTERS {
            self.evidence.extend(row.evidence.first());
        }
        let user = &*row.user;
        if self.users.len() < MOST_USERS && !user.is_empty() && !self.users.contains(user) {
            self.users.insert(user.to_owned());
        }
    }

    /// Takes in a later part of the same.
    fn join(&mut self, other: Finding) {
        self.count += other.count;
        self.last = other.last;
        let room = MOST_POINTERS.saturating_sub(self.evidence.len());
        self.evidence.extend(other.evidence.into_iter().take(room));
        for user in other.users {
            if self.users.len() < MOST_USERS {
                self.users.insert(user);
            }
        }
    }

    fn is_of(&self, other: &Finding) -> bool {
        (self.rule, &self.host, self.session) == (other.rule, &other.host, other.session)
    }

    /// The order of findings: level, most severe first; rule, host, session; time of parts.
    fn order(&self, rules: &RuleSet, key: &mut Vec<u8>) {
        key.push(u8::MAX - rules.rules[self.rule].meta.level as u8);
        key.extend((self.rule.index() as u64).to_be_bytes());
        key.extend(self.host.bytes());
        key.push(0);
        key.extend(self.session.map_or(u64::MAX, |session| session.index() as u64).to_be_bytes());
        push_time(key, self.first);
    }
}

/// Folds detections, which come in order of time.
///
/// # Errors
/// When the folder takes no more.
pub(crate) fn fold(
    found: &SortedRows,
    copies: &Copies,
    sessions: &BTreeMap<RecordRef, SessionIdx>,
    is_told: impl Fn(&DetectionRow<'_>, Option<SessionIdx>) -> bool,
    rules: &RuleSet,
    folder: PathBuf,
) -> io::Result<SortedRows> {
    let sorter = Sorter::new(folder);
    let mut open: BTreeMap<(RuleIdx, Option<SessionIdx>), BTreeMap<String, Finding>> =
        BTreeMap::new();
    let mut count = 0;
    let spill = |open: &mut BTreeMap<_, BTreeMap<String, Finding>>| {
        let mut rows = SortBuffer::default();
        for finding in std::mem::take(open).into_values().flat_map(BTreeMap::into_values) {
            rows.push(|key| finding.order(rules, key), &finding)?;
        }
        sorter.add(&mut rows)
    };
    detections::each(found, copies, sessions, |row, session| {
        if !is_told(row, session) {
            return Ok(());
        }
        let known = open.get_mut(&(row.rule, session)).and_then(|hosts| hosts.get_mut(&*row.host));
        if let Some(finding) = known {
            finding.add(row);
            return Ok(());
        }
        if count == MOST_FINDINGS {
            spill(&mut open)?;
            count = 0;
        }
        count += 1;
        let mut finding = Finding {
            rule: row.rule,
            host: row.host.to_string(),
            session,
            users: BTreeSet::new(),
            count: 0,
            first: row.time,
            last: row.time,
            evidence: Vec::new(),
        };
        finding.add(row);
        open.entry((row.rule, session)).or_default().insert(row.host.to_string(), finding);
        Ok(())
    })?;
    spill(&mut open)?;
    Ok(sorter.finish())
}

/// Calls `each` with every finding, most severe first.
///
/// # Errors
/// When the findings cannot be read back, and what `each` returns.
pub(crate) fn each(
    findings: &SortedRows,
    mut each: impl FnMut(Finding) -> io::Result<()>,
) -> io::Result<()> {
    let mut open: Option<Finding> = None;
    for row in findings.rows()? {
        let part: Finding = postcard::from_bytes(row?.content()).map_err(io::Error::other)?;
        match &mut open {
            Some(finding) if finding.is_of(&part) => finding.join(part),
            _ => {
                if let Some(whole) = open.replace(part) {
                    each(whole)?;
                }
            }
        }
    }
    open.map_or(Ok(()), each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Pack;
    use crate::model::InputIdx;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn part(host: &str, first: i64, last: i64, count: u64) -> Finding {
        let source = RecordRef { input: InputIdx::default(), offset: first as u64, number: 0 };
        Finding {
            rule: RuleIdx::new(0),
            host: host.to_owned(),
            session: None,
            users: BTreeSet::from([first.to_string()]),
            count,
            first: at(first),
            last: at(last),
            evidence: vec![Proof { source, record_id: first as u64 }; 2],
        }
    }

    #[test]
    fn findings_that_were_put_down_in_parts_are_one_again() {
        let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
        let sorter = Sorter::new(std::env::temp_dir());
        let parts = [part("b", 3, 4, 2), part("a", 2, 2, 1), part("b", 1, 2, 3)];
        for part in &parts {
            let mut rows = SortBuffer::default();
            rows.push(|key| part.order(&rules, key), part).unwrap();
            sorter.add(&mut rows).unwrap();
        }
        let mut found = Vec::new();
        let take = |finding| {
            found.push(finding);
            Ok(())
        };
        each(&sorter.finish(), take).unwrap();
        let [later, _, earlier] = &parts;
        let whole = Finding {
            users: BTreeSet::from(["1".to_owned(), "3".to_owned()]),
            evidence: vec![earlier.evidence[0], earlier.evidence[1], later.evidence[0]],
            ..part("b", 1, 4, 5)
        };
        assert_eq!(found, [part("a", 2, 2, 1), whole]);
    }
}
