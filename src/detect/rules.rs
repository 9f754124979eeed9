//! The loaded rules, grouped by what they apply to.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use foldhash::{HashMap, HashMapExt};
use itertools::Itertools;
use rsigma_eval::Event as SigmaEvent;
use sha2::{Digest, Sha256};

use super::asks::Asks;
use super::correlation::Correlation;
use super::equivalent::Mapping;
use super::gate::Gate;
use super::index::{Index, MemberIdx};
use super::load::{Rules, load};
use super::loaded::{LoadedPack, LoadedRule};
use super::logsource::{ChannelName, Scope};
use super::pack::{Pack, Refused};
use super::select::{Excluded, Selection};
use super::view::RecordView;
use crate::decode::RecordFilter;
use crate::error::Error;
use crate::hex::hex;
use crate::model::{
    Channel, IdxVec, MatchedField, PackIdx, Record, RecordRef, RuleIdx, RuleMeta, Subject, Values,
    index_types,
};

/// A rule fired on a record.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// What matched.
    pub matched: Vec<MatchedField>,
    /// What correlations need to know, where one refers to the rule.
    pub(crate) values: Option<Values<'static>>,
}

/// The rules of one scope.
struct Group {
    mapping: Mapping,
    /// Those to ask about an event of this id.
    by_id: HashMap<u32, Bucket>,
    /// Those to ask about any other event.
    rest: Bucket,
}

/// Rules that are asked about the same events.
#[derive(Default)]
struct Bucket {
    /// Their indices in the run, in order.
    rules: IdxVec<MemberIdx, RuleIdx>,
    /// Made when the first event comes.
    index: OnceLock<Index>,
}

impl Group {
    /// Sorts rules, each with its index, into buckets.
    fn new(mapping: Mapping, rules: &[(RuleIdx, &Gate)]) -> Group {
        let mut group = Group { mapping, by_id: HashMap::new(), rest: Bucket::default() };
        let ids = rules.iter().filter_map(|(_, gate)| gate.event_ids.as_ref()).flatten();
        group.by_id = ids.map(|&id| (id, Bucket::default())).collect();
        for (rule, gate) in rules {
            match &gate.event_ids {
                Some(ids) => {
                    for id in ids {
                        group.by_id.entry(*id).or_default().rules.push(*rule);
                    }
                }
                None => {
                    for bucket in group.by_id.values_mut().chain([&mut group.rest]) {
                        bucket.rules.push(*rule);
                    }
                }
            }
        }
        group
    }

    /// Whether a rule is one of them.
    fn has(&self, rule: RuleIdx) -> bool {
        let mut buckets = self.by_id.values().chain([&self.rest]);
        buckets.any(|bucket| bucket.rules.contains(&rule))
    }

    /// Of these event ids of a channel, those about which rules are asked; none means all.
    fn asks(&self, of: Option<&[u32]>) -> Option<BTreeSet<u32>> {
        match of {
            Some(ids) => {
                let asked = ids.iter().filter(|&&id| self.bucket(Some(id)).is_some());
                Some(asked.copied().collect())
            }
            None if self.rest.rules.is_empty() => {
                Some(self.by_id.keys().copied().sorted().collect())
            }
            None => None,
        }
    }

    /// The rules to ask about an event, if any; derived events have no id.
    fn bucket(&self, event_id: Option<u32>) -> Option<&Bucket> {
        let bucket = event_id.and_then(|id| self.by_id.get(&id)).unwrap_or(&self.rest);
        (!bucket.rules.is_empty()).then_some(bucket)
    }
}

/// A group and the event ids of the channel it applies to; none means all.
type Applies = (Option<&'static [u32]>, GroupIdx);

index_types! {
    /// Index of a group of rules.
    GroupIdx;
}

/// All rules of a run.
pub struct RuleSet {
    /// The rules, those on events before correlations.
    pub rules: IdxVec<RuleIdx, LoadedRule>,
    /// The packs they came from.
    pub packs: IdxVec<PackIdx, LoadedPack>,
    /// How many loaded rules the selection left out.
    pub excluded: Excluded,
    groups: IdxVec<GroupIdx, Group>,
    known: HashMap<Channel, Vec<Applies>>,
    named: Vec<(&'static str, Applies)>,
    everywhere: Vec<Applies>,
    derived: HashMap<Subject, GroupIdx>,
}

impl RuleSet {
    /// Loads the rules of all packs. A rule that does not load is named in its pack's `refused`.
    ///
    /// # Errors
    /// [`Error::Pack`] for a pack that loads no rule at all.
    pub fn load(packs: Vec<Pack>) -> Result<RuleSet, Error> {
        RuleSet::select(packs, &Selection::default())
    }

    /// Loads those rules of all packs that are selected, and those that selected correlations
    /// refer to.
    ///
    /// # Errors
    /// As [`RuleSet::load`], and [`Error::NothingSelected`] and [`Error::UnknownExclusion`] when
    /// the selection leaves nothing or names what is not there.
    pub fn select(packs: Vec<Pack>, selection: &Selection) -> Result<RuleSet, Error> {
        let Rules { rules, packs, excluded } = load(packs.into(), selection)?;
        let mut set = RuleSet {
            rules,
            packs,
            excluded,
            groups: IdxVec::new(),
            known: HashMap::new(),
            named: Vec::new(),
            everywhere: Vec::new(),
            derived: HashMap::new(),
        };
        set.relate();
        set.group();
        Ok(set)
    }

    /// Tells rules of the correlations that refer to them.
    fn relate(&mut self) {
        let mut references: Vec<(RuleIdx, RuleIdx, Vec<String>)> = Vec::new();
        for (index, rule) in self.rules.iter_enumerated() {
            let Some(correlation) = rule.correlation() else { continue };
            for referred in correlation.rules() {
                let fields = correlation.fields(referred).map(str::to_owned).collect();
                references.push((referred, index, fields));
            }
        }
        for (referred, correlation, fields) in references {
            let rule = &mut self.rules[referred];
            rule.correlated.push(correlation);
            rule.fields.extend(fields);
            rule.fields.sort();
            rule.fields.dedup();
        }
    }

    fn group(&mut self) {
        let mut group_of: HashMap<Scope, GroupIdx> = HashMap::new();
        let mut scopes: IdxVec<GroupIdx, (Scope, Vec<RuleIdx>)> = IdxVec::new();
        for (index, rule) in self.rules.iter_enumerated() {
            let Some((_, scope)) = rule.on_events() else { continue };
            let group = *group_of
                .entry(scope.clone())
                .or_insert_with(|| scopes.push((scope.clone(), Vec::new())));
            scopes[group].1.push(index);
        }
        for (scope, rules) in scopes {
            self.register(&scope);
            let mapping = match scope {
                Scope::Records { mapping, .. } => mapping,
                Scope::Derived(_) => Mapping::None,
            };
            let gated = |rule: RuleIdx| Some((rule, &self.rules[rule].on_events()?.0.gate));
            let rules: Vec<_> = rules.into_iter().filter_map(gated).collect();
            self.groups.push(Group::new(mapping, &rules));
        }
    }

    /// Of each rule, whether its hits can come to anything though nothing that was rebuilt fires.
    pub(crate) fn awaited_by_records(&self) -> IdxVec<RuleIdx, bool> {
        let of_records = |&rule: &RuleIdx| {
            matches!(self.rules[rule].on_events(), Some((_, Scope::Records { .. })))
        };
        self.awaited(&self.rules.indices().filter(of_records).collect())
    }

    /// Of each rule, whether its hits can come to anything, when of the rules on events only these
    /// fired; of each correlation, whether it can. What no one is told of and none of these waits
    /// for cannot.
    pub(crate) fn awaited(&self, fired: &BTreeSet<RuleIdx>) -> IdxVec<RuleIdx, bool> {
        let mut can: IdxVec<RuleIdx, bool> = IdxVec::new();
        // What a correlation refers to comes before it.
        for (index, rule) in self.rules.iter_enumerated() {
            can.push(match rule.correlation() {
                Some(correlation) => correlation.can_complete(|rule| can[rule]),
                None => fired.contains(&index),
            });
        }
        let is_told = |rule: &LoadedRule| rule.correlation().is_some() && !rule.silent;
        let mut awaited: IdxVec<RuleIdx, bool> = self.rules.iter().map(is_told).collect();
        for (index, rule) in self.rules.iter_enumerated().rev() {
            let Some(correlation) = rule.correlation() else { continue };
            awaited[index] &= can[index];
            if awaited[index] {
                correlation.rules().for_each(|rule| awaited[rule] = true);
            }
        }
        awaited
    }

    /// Whether there is a correlation.
    pub(crate) fn correlates(&self) -> bool {
        // Correlations come after the rules on events.
        self.rules.last().is_some_and(|rule| rule.correlation().is_some())
    }

    /// The correlations that refer to a rule.
    pub(super) fn correlated(&self, rule: RuleIdx) -> &[RuleIdx] {
        &self.rules[rule].correlated
    }

    /// A correlation, by its rule's index.
    pub(super) fn correlation(&self, rule: RuleIdx) -> Option<&Correlation> {
        self.rules.get(rule)?.correlation()
    }

    /// The fields kept of the hits of a rule.
    pub(super) fn fields(&self, rule: RuleIdx) -> &[String] {
        &self.rules[rule].fields
    }

    /// Whether the hits of a rule are no detections, but wanted by correlations only.
    pub(crate) fn is_silent(&self, rule: RuleIdx) -> bool {
        self.rules[rule].silent
    }

    /// Notes what the next group applies to.
    fn register(&mut self, scope: &Scope) {
        let group = GroupIdx::new(self.groups.len());
        match scope {
            Scope::Derived(subject) => {
                self.derived.insert(*subject, group);
            }
            Scope::Records { selectors, .. } => {
                for selector in selectors {
                    let applies = (selector.event_ids, group);
                    match selector.channel {
                        ChannelName::Known(channel) => {
                            let entry = self.known.entry(channel).or_default();
                            if !entry.contains(&applies) {
                                entry.push(applies);
                            }
                        }
                        ChannelName::Named(name) => self.named.push((name, applies)),
                        ChannelName::Every => self.everywhere.push(applies),
                    }
                }
            }
        }
    }

    /// What [`RecordFilter::wants`] says of all records there could be.
    pub fn asks(&self) -> Asks {
        let mut asks = Asks::default();
        let mut add = |channel: &str, (ids, group): Applies| {
            asks.add(channel, self.groups[group].asks(ids));
        };
        for (channel, applies) in self.known.iter().sorted() {
            applies.iter().for_each(|&applies| add(channel.name(), applies));
        }
        self.named.iter().for_each(|&(name, applies)| add(name, applies));
        self.everywhere.iter().for_each(|&applies| add(Asks::EVERY, applies));
        asks
    }

    /// The groups for a record.
    fn groups(&self, channel: Channel, name: &str, event_id: u32) -> impl Iterator<Item = &Group> {
        let known = self.known.get(&channel).into_iter().flatten();
        let named = self
            .named
            .iter()
            .filter(move |(known, _)| channel == Channel::Other && known.eq_ignore_ascii_case(name))
            .map(|(_, applies)| applies);
        known
            .chain(named)
            .chain(&self.everywhere)
            .filter(move |(ids, _)| ids.is_none_or(|ids| ids.contains(&event_id)))
            .map(|&(_, group)| &self.groups[group])
    }

    /// The buckets for a record, each with what it sees the record as.
    fn buckets(
        &self,
        channel: Channel,
        name: &str,
        event_id: u32,
    ) -> impl Iterator<Item = (Mapping, &Bucket)> {
        let groups = self.groups(channel, name, event_id);
        groups.filter_map(move |group| Some((group.mapping, group.bucket(Some(event_id))?)))
    }

    /// Whether a record is of a rule's log source, or of that of a rule it refers to.
    pub(super) fn sees(&self, rule: RuleIdx, record: &Record) -> bool {
        if let Some(correlation) = self.correlation(rule) {
            return correlation.rules().any(|rule| self.sees(rule, record));
        }
        let mut groups = self.groups(record.known_channel, &record.channel, record.event_id);
        groups.any(|group| group.mapping.admits(record) && group.has(rule))
    }

    /// What of all packs was not loaded.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.packs.iter().flat_map(|pack| &pack.refused)
    }

    /// The SHA-256 of the file that a rule is in, lower-case hex.
    pub fn sha256_of(&self, rule: RuleIdx) -> Option<String> {
        let LoadedRule { pack, meta: RuleMeta { file, .. }, .. } = &self.rules[rule];
        let (_, text) = self.packs[*pack].pack.files.iter().find(|(name, _)| name == file)?;
        Some(hex(&Sha256::digest(text)))
    }

    /// The indices of a pack's rules.
    pub fn of_pack(&self, pack: PackIdx) -> impl Iterator<Item = RuleIdx> {
        self.rules.indices().filter(move |&index| self.rules[index].pack == pack)
    }

    /// The rules of a file of a pack, which is given by its index.
    pub(super) fn of_file<'s>(
        &'s self,
        pack: PackIdx,
        file: &'s str,
    ) -> impl Iterator<Item = RuleIdx> {
        self.of_pack(pack).filter(move |&index| self.rules[index].meta.file == file)
    }

    /// The rules that fire on a record, in the order of the rules.
    pub fn on_record(&self, record: &Record) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.find(record, &mut hits);
        hits
    }

    /// Appends the hits of the rules that fire on a record, in the order of the rules.
    pub(crate) fn find(&self, record: &Record, hits: &mut Vec<Hit>) {
        let logged = RecordView::new(record, Mapping::None);
        let buckets = self.buckets(record.known_channel, &record.channel, record.event_id);
        for (mapping, bucket) in buckets.filter(|(mapping, _)| mapping.admits(record)) {
            match mapping {
                Mapping::None => self.evaluate(bucket, &logged, hits),
                _ => self.evaluate(bucket, &RecordView::new(record, mapping), hits),
            }
        }
        hits.sort_by_key(|hit| hit.rule);
    }

    /// Whether some rule is for derived events of this kind.
    pub(super) fn has(&self, subject: Subject) -> bool {
        self.derived.contains_key(&subject)
    }

    /// The rules that fire on a derived event, in the order of the rules.
    pub(super) fn on_derived(&self, subject: Subject, event: &impl SigmaEvent) -> Vec<Hit> {
        let mut hits = Vec::new();
        let group = self.derived.get(&subject).map(|&group| &self.groups[group]);
        if let Some(bucket) = group.and_then(|group| group.bucket(None)) {
            self.evaluate(bucket, event, &mut hits);
        }
        hits
    }

    /// What of a derived event matched, if the rule fires on it.
    pub(super) fn matched(
        &self,
        rule: RuleIdx,
        event: &impl SigmaEvent,
    ) -> Option<Vec<MatchedField>> {
        self.rules.get(rule)?.on_events()?.0.evaluate(event)
    }

    fn evaluate(&self, bucket: &Bucket, event: &impl SigmaEvent, hits: &mut Vec<Hit>) {
        let on_events = |&rule: &RuleIdx| self.rules[rule].on_events();
        let rules = || bucket.rules.iter().filter_map(on_events);
        let clauses = || rules().map(|(rule, _)| &rule.gate.clauses[..]);
        let index = bucket.index.get_or_init(|| Index::new(clauses()));
        for candidate in index.candidates(event) {
            let rule = bucket.rules[candidate];
            let loaded = &self.rules[rule];
            let Some((checked, _)) = loaded.on_events() else { continue };
            let matched = match loaded.silent {
                // Nobody is shown what matched.
                true => checked.fires(event).then(Vec::new),
                false => checked.evaluate(event),
            };
            if let Some(matched) = matched {
                let values = (!loaded.correlated.is_empty()).then(|| loaded.values(event));
                hits.push(Hit { rule, matched, values });
            }
        }
    }
}

impl RecordFilter for RuleSet {
    fn wants(&self, _: RecordRef, channel: Channel, channel_name: &str, event_id: u32) -> bool {
        self.buckets(channel, channel_name, event_id).next().is_some()
    }
}
