//! `findings.csv`: detections folded for people: a rule on a host in a session is one row, however
//! often it fired.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cell::{list, push};
use super::columns;
use super::detections::{self, Row};
use crate::analysis::{Analysis, Copies};
use crate::detect::{RuleSet, session_id};
use crate::model::{RecordRef, RuleIdx, SessionIdx};
use crate::sorted::{Rows, Sorted, Sorter};

columns! { pub(super) COLUMNS:
    "level" => "the rule's level: critical, high, medium, low, informational",
    "rule_id" => "the rule's id",
    "rule_title" => "the rule's title",
    "host" => "the host it concerns; empty where several hosts are",
    "session_id" => "the session (sessions.csv); empty for what is in none",
    "users" => "the accounts it concerns, as logged; the first ten",
    "count": Integer => "how many rows of detections.csv this is",
    "first_time": Time => "the earliest of them: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "last_time": Time => "the latest of them",
    "evidence" => "the first record of each of the first three: FILE:EVENT_RECORD_ID@OFFSET",
}

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
    /// The time of the earliest, as outputs write it.
    pub first: String,
    /// The time of the latest.
    pub last: String,
    /// Evidence pointers of the earliest.
    pub evidence: Vec<String>,
}

impl Finding {
    /// Takes in a detection that is no earlier.
    fn add(&mut self, row: &Row<'_>) {
        self.count += 1;
        self.last.clear();
        self.last.push_str(row.time);
        if self.evidence.len() < MOST_POINTERS {
            self.evidence.push(row.pointer.to_owned());
        }
        if self.users.len() < MOST_USERS && !row.user.is_empty() && !self.users.contains(row.user) {
            self.users.insert(row.user.to_owned());
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
        key.push(u8::MAX - rules.rules[self.rule].level as u8);
        key.extend((self.rule.index() as u64).to_be_bytes());
        key.extend(self.host.bytes());
        key.push(0);
        key.extend(self.session.map_or(u64::MAX, |session| session.index() as u64).to_be_bytes());
        key.extend(self.first.bytes());
    }
}

/// Folds detections, which come in order of time.
///
/// # Errors
/// When the folder takes no more.
pub(crate) fn fold(
    found: &Sorted,
    copies: &Copies,
    sessions: &BTreeMap<RecordRef, SessionIdx>,
    is_told: impl Fn(&Row<'_>, Option<SessionIdx>) -> bool,
    rules: &RuleSet,
    folder: PathBuf,
) -> io::Result<Sorted> {
    let sorter = Sorter::new(folder);
    let mut open: BTreeMap<(RuleIdx, Option<SessionIdx>), BTreeMap<String, Finding>> =
        BTreeMap::new();
    let mut count = 0;
    let spill = |open: &mut BTreeMap<_, BTreeMap<String, Finding>>| {
        let mut rows = Rows::default();
        for finding in std::mem::take(open).into_values().flat_map(BTreeMap::into_values) {
            rows.push(|key| finding.order(rules, key), &finding)?;
        }
        sorter.add(&mut rows)
    };
    detections::each(found, copies, sessions, |row, session| {
        if !is_told(row, session) {
            return Ok(());
        }
        let known = open.get_mut(&(row.rule, session)).and_then(|hosts| hosts.get_mut(row.host));
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
            host: row.host.to_owned(),
            session,
            users: BTreeSet::new(),
            count: 0,
            first: row.time.to_owned(),
            last: String::new(),
            evidence: Vec::new(),
        };
        finding.add(row);
        open.entry((row.rule, session)).or_default().insert(row.host.to_owned(), finding);
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
    findings: &Sorted,
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

pub(super) fn write(analysis: &Analysis, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut line = String::new();
    each(&analysis.findings, |finding| {
        let rule = &analysis.rules.rules[finding.rule];
        let session = finding.session.map(session_id).unwrap_or_default();
        let count = finding.count.to_string();
        let (users, evidence) = (list(&finding.users), list(&finding.evidence));
        let cells = [
            rule.level.as_str(),
            &rule.id,
            &rule.title,
            &finding.host,
            &session,
            &users,
            &count,
            &finding.first,
            &finding.last,
            &evidence,
        ];
        line.clear();
        for (index, cell) in cells.into_iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            push(&mut line, cell);
        }
        line.push('\n');
        to.write_all(line.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Pack;

    fn part(host: &str, first: &str, last: &str, count: u64) -> Finding {
        Finding {
            rule: RuleIdx::new(0),
            host: host.to_owned(),
            session: None,
            users: BTreeSet::from([first.to_owned()]),
            count,
            first: first.to_owned(),
            last: last.to_owned(),
            evidence: vec![first.to_owned(); 2],
        }
    }

    #[test]
    fn what_was_put_down_in_parts_is_one_again() {
        let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
        let sorter = Sorter::new(std::env::temp_dir());
        let parts = [part("b", "3", "4", 2), part("a", "2", "2", 1), part("b", "1", "2", 3)];
        for part in &parts {
            let mut rows = Rows::default();
            rows.push(|key| part.order(&rules, key), part).unwrap();
            sorter.add(&mut rows).unwrap();
        }
        let mut found = Vec::new();
        let take = |finding| {
            found.push(finding);
            Ok(())
        };
        each(&sorter.finish(), take).unwrap();
        let whole = Finding {
            users: BTreeSet::from(["1".to_owned(), "3".to_owned()]),
            evidence: ["1", "1", "3"].map(str::to_owned).to_vec(),
            ..part("b", "1", "4", 5)
        };
        assert_eq!(found, [part("a", "2", "2", 1), whole]);
    }
}
