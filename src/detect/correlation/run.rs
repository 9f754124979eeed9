//! Runs all hits, in order of time, through all correlations.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use rsigma_eval::correlation::{CompiledCorrelation, GroupKey, WindowState};
use rsigma_parser::{CorrelationType, WindowMode};
use serde::Serialize;

use super::Correlation;
use super::step::{self, CorrelationStep, StepView};
use super::window::{self, MOST_HITS, MOST_VALUES, WindowEffect};
use crate::detect::RuleSet;
use crate::model::{Detection, MatchedField, Proof, RuleIdx, SessionIdx, Str, Subject, Value};

/// Largest number of groups, over all correlations, that are open at a time.
pub(super) const MOST_GROUPS: usize = 1 << 16;
/// Largest number of records listed as evidence of a finding.
const MOST_EVIDENCE: usize = 100;
/// How many of the latest hits in a window are kept with their records.
const MOST_REMEMBERED: usize = MOST_EVIDENCE;

/// The results of all correlations.
#[derive(Debug, Default)]
pub struct CorrelationResults {
    /// The detections that they made.
    pub detections: Vec<Detection>,
    /// Correlations that met a limit and may have missed something.
    pub limited: Vec<LimitedCorrelation>,
}

/// A correlation that met a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LimitedCorrelation {
    /// The rule's id.
    pub rule: String,
    /// Which limit it met, and what that costs.
    pub reason: String,
}

/// The limits that a correlation can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CorrelationLimit {
    Groups,
    Hits,
}

/// Receives hits in order of time and evaluates all correlations on them.
pub(crate) struct Correlator<'r> {
    rules: &'r RuleSet,
    groups: BTreeMap<(RuleIdx, Vec<Option<String>>), HitGroup>,
    detections: Vec<Detection>,
    limits: BTreeSet<(RuleIdx, CorrelationLimit)>,
    names: NameInterner,
}

/// The hits of a correlation that share the values of the fields it groups by.
struct HitGroup {
    window: WindowState,
    /// The times of the hits in the window, each with its number of records.
    hits: VecDeque<(i64, u64)>,
    /// The latest of these hits.
    recent: VecDeque<RecentHit>,
    /// The current finding, which later hits may extend.
    found: Option<CorrelationFinding>,
    /// The time of the latest hit.
    latest: i64,
}

/// A hit with its records.
#[derive(Clone)]
struct RecentHit {
    time: i64,
    logged: i64,
    host: Str,
    user: Str,
    session: Option<SessionIdx>,
    evidence: Vec<Proof>,
    records: u64,
}

/// Interns the names of hosts and accounts, which repeat from hit to hit.
#[derive(Default)]
struct NameInterner(HashSet<Str>);

impl NameInterner {
    fn get(&mut self, name: &str) -> Str {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        // Names from a hostile log must not fill the memory.
        if self.0.len() == MOST_GROUPS {
            self.0.clear();
        }
        let name: Str = name.into();
        self.0.insert(name.clone());
        name
    }
}

/// A finding of a correlation in a group. It starts with the hit that completes the correlation,
/// and continues as long as each further hit completes it again.
struct CorrelationFinding {
    completed: i64,
    /// The highest count or value.
    value: f64,
    steps: u64,
    until: i64,
    evidence: Vec<Proof>,
    records: u64,
    host: CommonValue<Str>,
    user: CommonValue<Str>,
    session: CommonValue<Option<SessionIdx>>,
}

/// A value that several hits share, or the fact that they differ.
#[derive(Clone)]
enum CommonValue<T> {
    Same(T),
    Differs,
}

impl<T: PartialEq + Clone + Default> CommonValue<T> {
    fn compare(&mut self, other: &T) {
        if matches!(self, CommonValue::Same(one) if one != other) {
            *self = CommonValue::Differs;
        }
    }

    fn get(&self) -> T {
        match self {
            CommonValue::Same(one) => one.clone(),
            CommonValue::Differs => T::default(),
        }
    }
}

impl CorrelationFinding {
    /// Makes the finding that the latest hit of a group completes.
    fn new(group: &HitGroup, last: &RecentHit, value: f64) -> CorrelationFinding {
        let mut found = CorrelationFinding {
            completed: last.logged,
            value,
            steps: 0,
            until: last.logged,
            evidence: Vec::new(),
            records: 0,
            host: CommonValue::Same(last.host.clone()),
            user: CommonValue::Same(last.user.clone()),
            session: CommonValue::Same(last.session),
        };
        found.add(last);
        group.recent.iter().rev().skip(1).rev().for_each(|step| found.add(step));
        found.steps = group.hits.len() as u64;
        found.records = group.hits.iter().map(|(_, records)| records).sum();
        found
    }

    fn add(&mut self, step: &RecentHit) {
        self.steps += 1;
        self.records += step.records;
        let room = MOST_EVIDENCE - self.evidence.len();
        self.evidence.extend(step.evidence.iter().take(room));
        self.host.compare(&step.host);
        self.user.compare(&step.user);
        self.session.compare(&step.session);
    }
}

impl<'r> Correlator<'r> {
    pub fn new(rules: &'r RuleSet) -> Self {
        Correlator {
            rules,
            groups: BTreeMap::new(),
            detections: Vec::new(),
            limits: BTreeSet::new(),
            names: NameInterner::default(),
        }
    }

    /// Adds a hit. `time` is in ticks, corrected to the clock of most hosts, and not earlier than
    /// that of the hits before.
    pub fn take(&mut self, time: i64, step: &CorrelationStep<'_>) {
        for &rule in self.rules.correlations_of(step.rule) {
            if let Some(completed) = self.correlate(rule, time, step) {
                // A finding of a correlation is itself a hit for the correlations that refer to
                // it.
                self.take(time, &completed);
            }
        }
    }

    /// Adds a hit to one correlation. Returns the finding that it completes, as a new hit.
    fn correlate(
        &mut self,
        rule: RuleIdx,
        time: i64,
        step: &CorrelationStep<'_>,
    ) -> Option<CorrelationStep<'static>> {
        let correlation = self.rules.correlation(rule)?;
        let Correlation { compiled, .. } = correlation;
        let called: Vec<&str> = correlation.names_of(step.rule).collect();
        let seen = StepView { fields: self.rules.fields(step.rule), step };
        let GroupKey(group) = GroupKey::extract(&seen, &compiled.group_by, &called);
        let key = (rule, group);
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= MOST_GROUPS {
                self.make_room(time);
            }
            self.groups.insert(key.clone(), HitGroup::new(compiled.correlation_type, time));
        }
        let group = self.groups.get_mut(&key)?;
        let pairs = || GroupKey(key.1.clone()).to_pairs(&compiled.group_by);
        let reference = called.first().copied().unwrap_or_default();
        let WindowEffect::Took { afresh, holds, full } =
            window::add_hit(&mut group.window, compiled, reference, time, &seen)
        else {
            return None;
        };
        if full {
            self.limits.insert((rule, CorrelationLimit::Hits));
        }
        let recent = RecentHit {
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
            self.detections
                .extend(found.map(|found| to_detection(rule, compiled, &pairs(), found)));
        }
        if let (Some(found), Some(value)) = (&mut group.found, holds) {
            found.add(&recent);
            found.until = found.until.max(step.logged);
            found.value = found.value.max(value);
            group.remember(recent, compiled, afresh);
            return None;
        }
        group.remember(recent.clone(), compiled, afresh);
        let found = CorrelationFinding::new(group, &recent, holds?);
        let pairs = pairs();
        let value = |field: &String| pairs.iter().find(|(name, _)| name == field);
        let values = self.rules.fields(rule).iter();
        let completed = CorrelationStep {
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

    /// Closes groups whose time is over. If these are too few, also closes those that have been
    /// quiet for longest.
    fn make_room(&mut self, now: i64) {
        let rules = self.rules;
        let over = |rule: RuleIdx, group: &HitGroup| {
            rules.correlation(rule).is_none_or(|c| now - group.latest > longest_wait(&c.compiled))
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
                self.limits.insert((key.0, CorrelationLimit::Groups));
                gone.push(key);
            }
        }
        for key in gone {
            if let Some(group) = self.groups.remove(&key) {
                self.close(key, group);
            }
        }
    }

    fn close(&mut self, (rule, key): (RuleIdx, Vec<Option<String>>), group: HitGroup) {
        if let (Some(found), Some(correlation)) = (group.found, self.rules.correlation(rule)) {
            let pairs = GroupKey(key).to_pairs(&correlation.compiled.group_by);
            self.detections.push(to_detection(rule, &correlation.compiled, &pairs, found));
        }
    }

    /// Closes all groups and returns the results.
    pub fn finish(mut self) -> CorrelationResults {
        for (key, group) in std::mem::take(&mut self.groups) {
            self.close(key, group);
        }
        let limited = self.limits.iter().map(|&(rule, limit)| {
            let reason = match limit {
                CorrelationLimit::Groups => format!(
                    "more than {MOST_GROUPS} groups were open at a time: \
                     those without a hit for longest were closed early"
                ),
                CorrelationLimit::Hits => format!(
                    "a group had more than {MOST_HITS} hits or {MOST_VALUES} values within the \
                     time: the oldest were not counted"
                ),
            };
            LimitedCorrelation { rule: self.rules.rules[rule].meta.id.clone(), reason }
        });
        CorrelationResults { limited: limited.collect(), detections: self.detections }
    }
}

impl HitGroup {
    fn new(kind: CorrelationType, time: i64) -> HitGroup {
        HitGroup {
            window: WindowState::new_for(kind),
            hits: VecDeque::new(),
            recent: VecDeque::new(),
            found: None,
            latest: time,
        }
    }

    /// Keeps a hit with its records as long as it counts.
    fn remember(&mut self, step: RecentHit, correlation: &CompiledCorrelation, afresh: bool) {
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

/// Returns how long after its latest hit a group can still count it, in ticks.
fn longest_wait(correlation: &CompiledCorrelation) -> i64 {
    correlation.gap_secs.unwrap_or(correlation.timespan_secs) as i64
}

fn to_detection(
    rule: RuleIdx,
    correlation: &CompiledCorrelation,
    pairs: &[(String, String)],
    found: CorrelationFinding,
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
        let until = crate::model::csv_time(step::from_ticks(found.until));
        matched.push(field("until", until));
    }
    if found.records > found.evidence.len() as u64 {
        matched.push(field("records", found.records.to_string()));
    }
    Detection {
        rule,
        subject: Subject::Correlation,
        time: step::from_ticks(found.completed),
        host: found.host.get().into(),
        user: found.user.get().to_string(),
        session: found.session.get(),
        matched,
        evidence: found.evidence,
        kept: None,
    }
}
