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
use super::load::{Loaded, Rules, What, load};
use super::logsource::{ChannelName, Scope};
use super::pack::{Pack, Refused};
use super::rule::Rule;
use super::select::{Excluded, Selection};
use super::view::RecordView;
use crate::decode::Wanted;
use crate::error::Error;
use crate::hex::hex;
use crate::model::{
    Channel, IdxVec, MatchedField, PackIdx, Record, RecordRef, RuleIdx, RuleMeta, Subject, Value,
    Values, index_types,
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
    /// What outputs say of each rule, by index.
    pub rules: IdxVec<RuleIdx, RuleMeta>,
    /// The packs they came from.
    pub packs: IdxVec<PackIdx, Pack>,
    /// Index of each rule's pack.
    pub(super) homes: IdxVec<RuleIdx, PackIdx>,
    /// How many of each pack were refused.
    refusals: IdxVec<PackIdx, usize>,
    /// How many filters of each pack apply.
    pub filters: IdxVec<PackIdx, usize>,
    /// The rules that were not loaded.
    pub refused: Vec<Refused>,
    /// How many loaded rules the selection left out.
    pub excluded: Excluded,
    /// The rules on events; correlations have the indices after them.
    pub(super) checked: IdxVec<RuleIdx, Rule>,
    /// Of each of them, what it is about.
    pub(super) scopes: IdxVec<RuleIdx, Scope>,
    pub(super) correlations: Vec<Correlation>,
    /// What correlations have to do with each rule.
    roles: IdxVec<RuleIdx, Role>,
    groups: IdxVec<GroupIdx, Group>,
    known: HashMap<Channel, Vec<Applies>>,
    named: Vec<(&'static str, Applies)>,
    everywhere: Vec<Applies>,
    derived: HashMap<Subject, GroupIdx>,
}

/// What correlations have to do with a rule.
#[derive(Default)]
struct Role {
    /// The correlations that refer to it.
    correlated: Vec<RuleIdx>,
    /// The fields they need to know of its hits.
    fields: Vec<String>,
    /// Its hits are no detections.
    silent: bool,
}

impl RuleSet {
    /// Loads the rules of all packs. A rule that does not load is named in `refused`.
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
        let packs = IdxVec::from(packs);
        let Rules { rules, filters, refused, refusals, excluded } = load(&packs, selection)?;
        let mut set = RuleSet {
            rules: IdxVec::new(),
            packs,
            homes: IdxVec::new(),
            refusals,
            filters,
            refused,
            excluded,
            checked: IdxVec::new(),
            scopes: IdxVec::new(),
            correlations: Vec::new(),
            roles: IdxVec::new(),
            groups: IdxVec::new(),
            known: HashMap::new(),
            named: Vec::new(),
            everywhere: Vec::new(),
            derived: HashMap::new(),
        };
        for Loaded { pack, meta, what, silent } in rules {
            set.rules.push(meta);
            set.homes.push(pack);
            set.roles.push(Role { silent, ..Role::default() });
            match what {
                What::Single(rule, scope) => {
                    set.checked.push(*rule);
                    set.scopes.push(scope);
                }
                What::Correlation(correlation) => set.correlations.push(*correlation),
            }
        }
        set.relate();
        set.group();
        Ok(set)
    }

    /// Tells rules of the correlations that refer to them.
    fn relate(&mut self) {
        for (index, correlation) in self.correlations.iter().enumerate() {
            for rule in correlation.rules() {
                let role = &mut self.roles[rule];
                role.correlated.push(RuleIdx::new(self.checked.len() + index));
                role.fields.extend(correlation.fields(rule).map(str::to_owned));
                role.fields.sort();
                role.fields.dedup();
            }
        }
    }

    fn group(&mut self) {
        let mut group_of: HashMap<Scope, GroupIdx> = HashMap::new();
        let mut scopes: IdxVec<GroupIdx, (Scope, Vec<RuleIdx>)> = IdxVec::new();
        for (index, scope) in self.scopes.iter_enumerated() {
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
            let rules: Vec<_> =
                rules.into_iter().map(|rule| (rule, &self.checked[rule].gate)).collect();
            self.groups.push(Group::new(mapping, &rules));
        }
    }

    /// Of each rule, whether its hits can come to anything though nothing that was rebuilt fires.
    pub(crate) fn awaited_by_records(&self) -> IdxVec<RuleIdx, bool> {
        let of_records = |&rule: &RuleIdx| matches!(self.scopes[rule], Scope::Records { .. });
        self.awaited(&self.scopes.indices().filter(of_records).collect())
    }

    /// Of each rule, whether its hits can come to anything, when of the rules on events only these
    /// fired; of each correlation, whether it can. What no one is told of and none of these waits
    /// for cannot.
    pub(crate) fn awaited(&self, fired: &BTreeSet<RuleIdx>) -> IdxVec<RuleIdx, bool> {
        let singles = self.checked.len();
        let mut can: IdxVec<RuleIdx, bool> =
            self.checked.indices().map(|rule| fired.contains(&rule)).collect();
        // What a correlation refers to comes before it.
        for correlation in &self.correlations {
            can.push(correlation.can_complete(|rule| can[rule]));
        }
        let is_told = |rule: RuleIdx| rule.index() >= singles && !self.is_silent(rule);
        let mut awaited: IdxVec<RuleIdx, bool> = can.indices().map(is_told).collect();
        for (index, correlation) in self.correlations.iter().enumerate().rev() {
            let own = RuleIdx::new(singles + index);
            awaited[own] &= can[own];
            if awaited[own] {
                correlation.rules().for_each(|rule| awaited[rule] = true);
            }
        }
        awaited
    }

    /// Whether there is a correlation.
    pub(crate) fn correlates(&self) -> bool {
        !self.correlations.is_empty()
    }

    /// The correlations that refer to a rule.
    pub(super) fn correlated(&self, rule: RuleIdx) -> &[RuleIdx] {
        &self.roles[rule].correlated
    }

    /// A correlation, by its rule's index.
    pub(super) fn correlation(&self, rule: RuleIdx) -> Option<&Correlation> {
        self.correlations.get(rule.index().checked_sub(self.checked.len())?)
    }

    /// The fields kept of the hits of a rule.
    pub(super) fn fields(&self, rule: RuleIdx) -> &[String] {
        &self.roles[rule].fields
    }

    /// Whether the hits of a rule are no detections, but wanted by correlations only.
    pub(crate) fn is_silent(&self, rule: RuleIdx) -> bool {
        self.roles[rule].silent
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

    /// What [`Wanted::wants`] says of all records there could be.
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

    /// What of a pack, which is given by its index, was not loaded.
    pub fn refused_of(&self, pack: PackIdx) -> &[Refused] {
        let before: usize = self.refusals.enumerated_before(pack).map(|(_, refused)| refused).sum();
        &self.refused[before..before + self.refusals[pack]]
    }

    /// The SHA-256 of the file that a rule is in, lower-case hex.
    pub fn sha256_of(&self, rule: RuleIdx) -> Option<String> {
        let (pack, file) = (&self.packs[self.homes[rule]], &self.rules[rule].file);
        let (_, text) = pack.files.iter().find(|(name, _)| name == file)?;
        Some(hex(&Sha256::digest(text)))
    }

    /// The indices of a pack's rules.
    pub fn of_pack(&self, pack: PackIdx) -> impl Iterator<Item = RuleIdx> {
        self.rules.indices().filter(move |&index| self.homes[index] == pack)
    }

    /// The rules of a file of a pack, which is given by its index.
    pub(super) fn of_file<'s>(
        &'s self,
        pack: PackIdx,
        file: &'s str,
    ) -> impl Iterator<Item = RuleIdx> {
        let is_home =
            move |index: &RuleIdx| self.homes[*index] == pack && self.rules[*index].file == file;
        self.rules.indices().filter(is_home)
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
        self.checked.get(rule)?.evaluate(event)
    }

    fn evaluate(&self, bucket: &Bucket, event: &impl SigmaEvent, hits: &mut Vec<Hit>) {
        let clauses = || bucket.rules.iter().map(|&rule| &self.checked[rule].gate.clauses[..]);
        let index = bucket.index.get_or_init(|| Index::new(clauses()));
        for candidate in index.candidates(event) {
            let rule = bucket.rules[candidate];
            let role = &self.roles[rule];
            let matched = match role.silent {
                // Nobody is shown what matched.
                true => self.checked[rule].fires(event).then(Vec::new),
                false => self.checked[rule].evaluate(event),
            };
            if let Some(matched) = matched {
                let values = (!role.correlated.is_empty()).then(|| role.values(event));
                hits.push(Hit { rule, matched, values });
            }
        }
    }
}

impl Role {
    fn values(&self, event: &impl SigmaEvent) -> Values<'static> {
        let values = self.fields.iter().map(|field| Value::of(&event.get_field(field)?));
        values.collect()
    }
}

impl Wanted for RuleSet {
    fn wants(&self, _: RecordRef, channel: Channel, channel_name: &str, event_id: u32) -> bool {
        self.buckets(channel, channel_name, event_id).next().is_some()
    }
}
