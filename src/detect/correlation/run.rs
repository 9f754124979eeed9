//! All hits in order of time, through all correlations.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use rsigma_eval::correlation::{CompiledCorrelation, GroupKey, WindowState};
use rsigma_parser::{CorrelationType, WindowMode};
use serde::Serialize;

use super::Correlation;
use super::step::{self, Seen, Step};
use super::window::{self, Effect, MOST_HITS, MOST_VALUES};
use crate::detect::RuleSet;
use crate::model::{Detection, MatchedField, Proof, RuleIdx, SessionIdx, Str, Subject, Value};

/// Most groups, over all correlations, that are held at a time.
pub(super) const MOST_GROUPS: usize = 1 << 16;
/// Most records that stand for a finding.
const MOST_EVIDENCE: usize = 100;
/// Hits of a window that are remembered with their records: the latest.
const MOST_REMEMBERED: usize = MOST_EVIDENCE;

/// What correlations came to.
#[derive(Debug, Default)]
pub struct Correlated {
    /// What they found.
    pub detections: Vec<Detection>,
    /// Those that met a limit, and may have missed something.
    pub limited: Vec<Limited>,
}

/// A correlation that met a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Limited {
    /// The rule's id.
    pub rule: String,
    /// Which limit, and what it costs.
    pub reason: String,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    Groups,
    Hits,
}

/// Takes steps in order of time.
pub(crate) struct Correlator<'r> {
    rules: &'r RuleSet,
    groups: BTreeMap<(RuleIdx, Vec<Option<String>>), Group>,
    detections: Vec<Detection>,
    limits: BTreeSet<(RuleIdx, Limit)>,
    names: Names,
}

/// Hits of a correlation with the same values of the fields it groups by.
struct Group {
    window: WindowState,
    /// When the hits in the window were, and their records.
    hits: VecDeque<(i64, u64)>,
    /// The latest of them.
    recent: VecDeque<Recent>,
    /// What it has found and may go on.
    found: Option<Found>,
    /// When its latest hit was.
    latest: i64,
}

/// A hit with its records.
#[derive(Clone)]
struct Recent {
    time: i64,
    logged: i64,
    host: Str,
    user: Str,
    session: Option<SessionIdx>,
    evidence: Vec<Proof>,
    records: u64,
}

/// Hosts and accounts, which steps repeat.
#[derive(Default)]
struct Names(HashSet<Str>);

impl Names {
    fn get(&mut self, name: &str) -> Str {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        // What a hostile log holds of them need not stay.
        if self.0.len() == MOST_GROUPS {
            self.0.clear();
        }
        let name: Str = name.into();
        self.0.insert(name.clone());
        name
    }
}

/// What a correlation found in a group: from the hit that completed it, and as long as each
/// further one completes it, too, it is one finding.
struct Found {
    completed: i64,
    /// What was counted, at the most.
    value: f64,
    steps: u64,
    until: i64,
    evidence: Vec<Proof>,
    records: u64,
    host: Agreed<Str>,
    user: Agreed<Str>,
    session: Agreed<Option<SessionIdx>>,
}

/// What several have in common.
#[derive(Clone)]
enum Agreed<T> {
    All(T),
    Not,
}

impl<T: PartialEq + Clone + Default> Agreed<T> {
    fn with(&mut self, other: &T) {
        if matches!(self, Agreed::All(one) if one != other) {
            *self = Agreed::Not;
        }
    }

    fn get(&self) -> T {
        match self {
            Agreed::All(one) => one.clone(),
            Agreed::Not => T::default(),
        }
    }
}

impl Found {
    /// Completed by the latest step of a group.
    fn new(group: &Group, last: &Recent, value: f64) -> Found {
        let mut found = Found {
            completed: last.logged,
            value,
            steps: 0,
            until: last.logged,
            evidence: Vec::new(),
            records: 0,
            host: Agreed::All(last.host.clone()),
            user: Agreed::All(last.user.clone()),
            session: Agreed::All(last.session),
        };
        found.add(last);
        group.recent.iter().rev().skip(1).rev().for_each(|step| found.add(step));
        found.steps = group.hits.len() as u64;
        found.records = group.hits.iter().map(|(_, records)| records).sum();
        found
    }

    fn add(&mut self, step: &Recent) {
        self.steps += 1;
        self.records += step.records;
        let room = MOST_EVIDENCE - self.evidence.len();
        self.evidence.extend(step.evidence.iter().take(room));
        self.host.with(&step.host);
        self.user.with(&step.user);
        self.session.with(&step.session);
    }
}

impl<'r> Correlator<'r> {
    pub fn new(rules: &'r RuleSet) -> Self {
        Correlator {
            rules,
            groups: BTreeMap::new(),
            detections: Vec::new(),
            limits: BTreeSet::new(),
            names: Names::default(),
        }
    }

    /// Takes a step of a time by the clocks of most hosts, in ticks, no earlier than the ones
    /// before.
    pub fn take(&mut self, time: i64, step: &Step<'_>) {
        for &rule in self.rules.correlated(step.rule) {
            if let Some(completed) = self.correlate(rule, time, step) {
                // What a correlation finds is a step of those that refer to it.
                self.take(time, &completed);
            }
        }
    }

    /// Takes a step of one correlation, and gives what that completes.
    fn correlate(&mut self, rule: RuleIdx, time: i64, step: &Step<'_>) -> Option<Step<'static>> {
        let correlation = self.rules.correlation(rule)?;
        let Correlation { compiled, .. } = correlation;
        let called: Vec<&str> = correlation.called(step.rule).collect();
        let seen = Seen { fields: self.rules.fields(step.rule), step };
        let GroupKey(group) = GroupKey::extract(&seen, &compiled.group_by, &called);
        let key = (rule, group);
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= MOST_GROUPS {
                self.make_room(time);
            }
            self.groups.insert(key.clone(), Group::new(compiled.correlation_type, time));
        }
        let group = self.groups.get_mut(&key)?;
        let pairs = || GroupKey(key.1.clone()).to_pairs(&compiled.group_by);
        let reference = called.first().copied().unwrap_or_default();
        let Effect::Took { afresh, holds, full } =
            window::take(&mut group.window, compiled, reference, time, &seen)
        else {
            return None;
        };
        if full {
            self.limits.insert((rule, Limit::Hits));
        }
        let recent = Recent {
            time,
            logged: step.logged,
            host: self.names.get(step.host()),
            user: self.names.get(&step.user),
            session: step.session,
            evidence: step.evidence.to_vec(),
            records: step.records,
        };
        group.latest = time;
        if afresh || holds.is_none() {
            let found = group.found.take();
            self.detections.extend(found.map(|found| detection(rule, compiled, &pairs(), found)));
        }
        if let (Some(found), Some(value)) = (&mut group.found, holds) {
            found.add(&recent);
            found.until = found.until.max(step.logged);
            found.value = found.value.max(value);
            group.remember(recent, compiled, afresh);
            return None;
        }
        group.remember(recent.clone(), compiled, afresh);
        let found = Found::new(group, &recent, holds?);
        let pairs = pairs();
        let value = |field: &String| pairs.iter().find(|(name, _)| name == field);
        let values = self.rules.fields(rule).iter();
        let completed = Step {
            rule,
            logged: step.logged,
            logged_by: Cow::Owned(step.logged_by.clone().into_owned()),
            host: Some(Cow::Owned(found.host.get().to_string())),
            user: Cow::Owned(found.user.get().to_string()),
            session: found.session.get(),
            values: values
                .map(|field| Some(Value::Text(Cow::Owned(value(field)?.1.clone()))))
                .collect(),
            evidence: Cow::Owned(found.evidence.clone()),
            records: found.records,
        };
        group.found = Some(found);
        Some(completed)
    }

    /// Lets go of groups whose time is over, or else of those that were quiet for longest.
    fn make_room(&mut self, now: i64) {
        let rules = self.rules;
        let over = |rule: RuleIdx, group: &Group| {
            rules.correlation(rule).is_none_or(|c| now - group.latest > reach(&c.compiled))
        };
        let mut gone: Vec<(RuleIdx, Vec<Option<String>>)> = Vec::new();
        gone.extend(self.groups.iter().filter(|(k, g)| over(k.0, g)).map(|(key, _)| key.clone()));
        let most = MOST_GROUPS - MOST_GROUPS / 8;
        let still = self.groups.len() - gone.len();
        if still > most {
            let live = self.groups.iter().filter(|(key, group)| !over(key.0, group));
            let mut live: Vec<_> = live.map(|(key, group)| (group.latest, key.clone())).collect();
            live.sort();
            for (_, key) in live.into_iter().take(still - most) {
                self.limits.insert((key.0, Limit::Groups));
                gone.push(key);
            }
        }
        for key in gone {
            if let Some(group) = self.groups.remove(&key) {
                self.close(key, group);
            }
        }
    }

    fn close(&mut self, (rule, key): (RuleIdx, Vec<Option<String>>), group: Group) {
        if let (Some(found), Some(correlation)) = (group.found, self.rules.correlation(rule)) {
            let pairs = GroupKey(key).to_pairs(&correlation.compiled.group_by);
            self.detections.push(detection(rule, &correlation.compiled, &pairs, found));
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Correlated {
        for (key, group) in std::mem::take(&mut self.groups) {
            self.close(key, group);
        }
        let limited = self.limits.iter().map(|&(rule, limit)| {
            let reason = match limit {
                Limit::Groups => format!(
                    "more than {MOST_GROUPS} groups were open at a time: \
                     those without a hit for longest were closed early"
                ),
                Limit::Hits => format!(
                    "a group had more than {MOST_HITS} hits or {MOST_VALUES} values within the \
                     time: the oldest were not counted"
                ),
            };
            Limited { rule: self.rules.rules[rule].meta.id.clone(), reason }
        });
        Correlated { limited: limited.collect(), detections: self.detections }
    }
}

impl Group {
    fn new(kind: CorrelationType, time: i64) -> Group {
        Group {
            window: WindowState::new_for(kind),
            hits: VecDeque::new(),
            recent: VecDeque::new(),
            found: None,
            latest: time,
        }
    }

    /// Keeps a step with its records, as long as it counts.
    fn remember(&mut self, step: Recent, correlation: &CompiledCorrelation, afresh: bool) {
        if afresh {
            self.recent.clear();
            self.hits.clear();
        }
        if correlation.window_mode == WindowMode::Sliding {
            let cutoff = step.time - correlation.timespan_secs as i64;
            while self.recent.front().is_some_and(|step| step.time < cutoff) {
                self.recent.pop_front();
            }
            while self.hits.front().is_some_and(|&(time, _)| time < cutoff) {
                self.hits.pop_front();
            }
        }
        if self.recent.len() == MOST_REMEMBERED {
            self.recent.pop_front();
        }
        if self.hits.len() == MOST_HITS {
            self.hits.pop_front();
        }
        self.hits.push_back((step.time, step.records));
        self.recent.push_back(step);
    }
}

/// How long after its latest hit a group can still count it.
fn reach(correlation: &CompiledCorrelation) -> i64 {
    correlation.gap_secs.unwrap_or(correlation.timespan_secs) as i64
}

fn detection(
    rule: RuleIdx,
    correlation: &CompiledCorrelation,
    pairs: &[(String, String)],
    found: Found,
) -> Detection {
    use CorrelationType::*;
    let field = |field: &str, value: String| MatchedField { field: field.to_owned(), value };
    let mut matched: Vec<MatchedField> =
        pairs.iter().map(|(name, value)| field(name, value.clone())).collect();
    let counted = match correlation.correlation_type {
        EventCount | ValueCount | Temporal | TemporalOrdered => "count",
        ValueSum | ValueAvg | ValuePercentile | ValueMedian => "value",
    };
    matched.push(field(counted, found.value.to_string()));
    matched.push(field("hits", found.steps.to_string()));
    if found.until > found.completed {
        let until = crate::model::csv_time(step::time(found.until));
        matched.push(field("until", until));
    }
    if found.records > found.evidence.len() as u64 {
        matched.push(field("records", found.records.to_string()));
    }
    Detection {
        rule,
        subject: Subject::Correlation,
        time: step::time(found.completed),
        host: found.host.get().into(),
        user: found.user.get().to_string(),
        session: found.session.get(),
        matched,
        evidence: found.evidence,
        kept: None,
    }
}
