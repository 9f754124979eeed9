//! The loaded rules, grouped by the events they apply to.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use foldhash::{HashMap, HashMapExt};
use itertools::Itertools;
use rsigma_eval::Event as SigmaEvent;
use sha2::{Digest, Sha256};

use super::correlation::Correlation;
use super::equivalent::SysmonMapping;
use super::event_filter::EventFilter;
use super::index::{ClauseIndex, MemberIdx};
use super::load::{LoadedRules, load};
use super::loaded::{LoadedPack, LoadedRule};
use super::logsource::{ChannelName, RuleScope};
use super::pack::{Pack, RejectedRule};
use super::prefilter::Prefilter;
use super::select::{ExclusionCounts, RuleSelection};
use super::view::RecordView;
use crate::decode::RecordFilter;
use crate::error::Error;
use crate::hex::hex;
use crate::model::{
    Channel, IdxVec, MatchedField, PackIdx, Record, RecordRef, RuleIdx, RuleMeta, Subject, Values,
    index_types,
};

/// A rule that fired on a record or derived event.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// The fields that matched.
    pub matched: Vec<MatchedField>,
    /// The values that correlations need, if one refers to the rule.
    pub(crate) values: Option<Values<'static>>,
}

/// The rules of one scope.
struct RuleGroup {
    mapping: SysmonMapping,
    /// The rules to evaluate on an event with this id.
    by_id: HashMap<u32, RuleBucket>,
    /// The rules to evaluate on any other event.
    rest: RuleBucket,
}

/// Rules that are evaluated on the same events.
#[derive(Default)]
struct RuleBucket {
    /// Their indices in the run, in order.
    rules: IdxVec<MemberIdx, RuleIdx>,
    /// Built when the first event arrives.
    index: OnceLock<ClauseIndex>,
}

impl RuleGroup {
    /// Sorts rules, each with its index, into buckets.
    fn new(mapping: SysmonMapping, rules: &[(RuleIdx, &Prefilter)]) -> RuleGroup {
        let mut group = RuleGroup { mapping, by_id: HashMap::new(), rest: RuleBucket::default() };
        let ids = rules.iter().filter_map(|(_, prefilter)| prefilter.event_ids.as_ref()).flatten();
        group.by_id = ids.map(|&id| (id, RuleBucket::default())).collect();
        for (rule, prefilter) in rules {
            match &prefilter.event_ids {
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

    /// Returns whether a rule is in the group.
    fn has(&self, rule: RuleIdx) -> bool {
        let mut buckets = self.by_id.values().chain([&self.rest]);
        buckets.any(|bucket| bucket.rules.contains(&rule))
    }

    /// Returns the event ids, out of `of`, on which rules are evaluated; `None` means all.
    fn event_filter(&self, of: Option<&[u32]>) -> Option<BTreeSet<u32>> {
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

    /// Returns the rules to evaluate on an event, if any. Derived events have no id.
    fn bucket(&self, event_id: Option<u32>) -> Option<&RuleBucket> {
        let bucket = event_id.and_then(|id| self.by_id.get(&id)).unwrap_or(&self.rest);
        (!bucket.rules.is_empty()).then_some(bucket)
    }
}

/// The event ids of a channel to which a group applies (`None` means all), and the group.
type GroupScope = (Option<&'static [u32]>, GroupIdx);

index_types! {
    /// Index of a group of rules.
    GroupIdx;
}

/// All rules of a run.
pub struct RuleSet {
    /// The rules: those on events come before correlations.
    pub rules: IdxVec<RuleIdx, LoadedRule>,
    /// The packs they came from.
    pub packs: IdxVec<PackIdx, LoadedPack>,
    /// How many loaded rules the selection left out.
    pub excluded: ExclusionCounts,
    groups: IdxVec<GroupIdx, RuleGroup>,
    known: HashMap<Channel, Vec<GroupScope>>,
    named: Vec<(&'static str, GroupScope)>,
    everywhere: Vec<GroupScope>,
    derived: HashMap<Subject, GroupIdx>,
}

impl RuleSet {
    /// Loads the rules of all packs. A rule that does not load is listed in its pack's
    /// `rejected`.
    ///
    /// # Errors
    ///
    /// [`Error::Pack`] for a pack that loads no rule at all.
    pub fn load(packs: Vec<Pack>) -> Result<RuleSet, Error> {
        RuleSet::select(packs, &RuleSelection::default())
    }

    /// Loads the selected rules of all packs, and the rules that selected correlations refer to.
    ///
    /// # Errors
    ///
    /// As [`RuleSet::load`], and [`Error::NothingSelected`] and [`Error::UnknownExclusion`] when
    /// the selection leaves no rule or names an unknown one.
    pub fn select(packs: Vec<Pack>, selection: &RuleSelection) -> Result<RuleSet, Error> {
        let LoadedRules { rules, packs, excluded } = load(packs.into(), selection)?;
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
        set.link_correlations();
        set.group_by_scope();
        Ok(set)
    }

    /// Stores in each rule the correlations that refer to it.
    fn link_correlations(&mut self) {
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

    fn group_by_scope(&mut self) {
        let mut group_of: HashMap<RuleScope, GroupIdx> = HashMap::new();
        let mut scopes: IdxVec<GroupIdx, (RuleScope, Vec<RuleIdx>)> = IdxVec::new();
        for (index, rule) in self.rules.iter_enumerated() {
            let Some((_, scope)) = rule.on_events() else { continue };
            let group = *group_of
                .entry(scope.clone())
                .or_insert_with(|| scopes.push((scope.clone(), Vec::new())));
            scopes[group].1.push(index);
        }
        for (scope, rules) in scopes {
            self.register_scope(&scope);
            let mapping = match scope {
                RuleScope::Records { mapping, .. } => mapping,
                RuleScope::Derived(_) => SysmonMapping::None,
            };
            let with_prefilter =
                |rule: RuleIdx| Some((rule, &self.rules[rule].on_events()?.0.prefilter));
            let rules: Vec<_> = rules.into_iter().filter_map(with_prefilter).collect();
            self.groups.push(RuleGroup::new(mapping, &rules));
        }
    }

    /// Returns for each rule whether its hits can complete a reported correlation when only rules
    /// on records fire.
    pub(crate) fn contributing_with_records_only(&self) -> IdxVec<RuleIdx, bool> {
        let of_records = |&rule: &RuleIdx| {
            matches!(self.rules[rule].on_events(), Some((_, RuleScope::Records { .. })))
        };
        self.contributing(&self.rules.indices().filter(of_records).collect())
    }

    /// Returns for each rule whether its hits can still contribute to a reported correlation when
    /// only the rules on events in `fired` have fired; for a correlation, whether it can be
    /// completed and is reported or needed.
    pub(crate) fn contributing(&self, fired: &BTreeSet<RuleIdx>) -> IdxVec<RuleIdx, bool> {
        let mut can: IdxVec<RuleIdx, bool> = IdxVec::new();
        // The rules that a correlation refers to come before it.
        for (index, rule) in self.rules.iter_enumerated() {
            can.push(match rule.correlation() {
                Some(correlation) => correlation.can_complete(|rule| can[rule]),
                None => fired.contains(&index),
            });
        }
        let is_reported = |rule: &LoadedRule| rule.correlation().is_some() && !rule.suppressed;
        let mut awaited: IdxVec<RuleIdx, bool> = self.rules.iter().map(is_reported).collect();
        for (index, rule) in self.rules.iter_enumerated().rev() {
            let Some(correlation) = rule.correlation() else { continue };
            awaited[index] &= can[index];
            if awaited[index] {
                correlation.rules().for_each(|rule| awaited[rule] = true);
            }
        }
        awaited
    }

    /// Returns whether there is a correlation.
    pub(crate) fn has_correlations(&self) -> bool {
        // Correlations come after the rules on events.
        self.rules.last().is_some_and(|rule| rule.correlation().is_some())
    }

    /// Returns the correlations that refer to a rule.
    pub(super) fn correlations_of(&self, rule: RuleIdx) -> &[RuleIdx] {
        &self.rules[rule].correlated
    }

    /// Returns a correlation by its rule's index.
    pub(super) fn correlation(&self, rule: RuleIdx) -> Option<&Correlation> {
        self.rules.get(rule)?.correlation()
    }

    /// Returns the fields that are kept from the hits of a rule.
    pub(super) fn fields(&self, rule: RuleIdx) -> &[String] {
        &self.rules[rule].fields
    }

    /// Returns whether the hits of a rule are not reported and serve only correlations.
    pub(crate) fn is_suppressed(&self, rule: RuleIdx) -> bool {
        self.rules[rule].suppressed
    }

    /// Registers the channels and event ids to which the next group applies.
    fn register_scope(&mut self, scope: &RuleScope) {
        let group = GroupIdx::new(self.groups.len());
        match scope {
            RuleScope::Derived(subject) => {
                self.derived.insert(*subject, group);
            }
            RuleScope::Records { selectors, .. } => {
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

    /// Returns which events the rules need: the same answer as [`RecordFilter::wants`], for all
    /// records.
    pub fn event_filter(&self) -> EventFilter {
        let mut asks = EventFilter::default();
        let mut add = |channel: &str, (ids, group): GroupScope| {
            asks.add(channel, self.groups[group].event_filter(ids));
        };
        for (channel, applies) in self.known.iter().sorted() {
            applies.iter().for_each(|&applies| add(channel.name(), applies));
        }
        self.named.iter().for_each(|&(name, applies)| add(name, applies));
        self.everywhere.iter().for_each(|&applies| add(EventFilter::EVERY, applies));
        asks
    }

    /// Returns the groups that apply to a record.
    fn groups(
        &self,
        channel: Channel,
        name: &str,
        event_id: u32,
    ) -> impl Iterator<Item = &RuleGroup> {
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

    /// Returns the buckets that apply to a record, each with its mapping.
    fn buckets(
        &self,
        channel: Channel,
        name: &str,
        event_id: u32,
    ) -> impl Iterator<Item = (SysmonMapping, &RuleBucket)> {
        let groups = self.groups(channel, name, event_id);
        groups.filter_map(move |group| Some((group.mapping, group.bucket(Some(event_id))?)))
    }

    /// Returns whether a record belongs to the log source of a rule, or of a rule that it refers
    /// to.
    pub(super) fn applies_to_record(&self, rule: RuleIdx, record: &Record) -> bool {
        if let Some(correlation) = self.correlation(rule) {
            return correlation.rules().any(|rule| self.applies_to_record(rule, record));
        }
        let mut groups = self.groups(record.known_channel, &record.channel, record.event_id);
        groups.any(|group| group.mapping.admits(record) && group.has(rule))
    }

    /// Returns the rules of all packs that were not loaded.
    pub fn rejected(&self) -> impl Iterator<Item = &RejectedRule> {
        self.packs.iter().flat_map(|pack| &pack.rejected)
    }

    /// Returns the SHA-256 of the file that contains a rule, in lower-case hexadecimal.
    pub fn sha256_of(&self, rule: RuleIdx) -> Option<String> {
        let LoadedRule { pack, meta: RuleMeta { file, .. }, .. } = &self.rules[rule];
        let (_, text) = self.packs[*pack].pack.files.iter().find(|(name, _)| name == file)?;
        Some(hex(&Sha256::digest(text)))
    }

    /// Returns the indices of a pack's rules.
    pub fn rules_of_pack(&self, pack: PackIdx) -> impl Iterator<Item = RuleIdx> {
        self.rules.indices().filter(move |&index| self.rules[index].pack == pack)
    }

    /// Returns the rules of a pack's file.
    pub(super) fn rules_of_file<'s>(
        &'s self,
        pack: PackIdx,
        file: &'s str,
    ) -> impl Iterator<Item = RuleIdx> {
        self.rules_of_pack(pack).filter(move |&index| self.rules[index].meta.file == file)
    }

    /// Returns the rules that fire on a record, in the order of the rules.
    pub fn on_record(&self, record: &Record) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.find_hits(record, &mut hits);
        hits
    }

    /// Appends the hits of the rules that fire on a record, in the order of the rules.
    pub(crate) fn find_hits(&self, record: &Record, hits: &mut Vec<Hit>) {
        let logged = RecordView::new(record, SysmonMapping::None);
        let buckets = self.buckets(record.known_channel, &record.channel, record.event_id);
        for (mapping, bucket) in buckets.filter(|(mapping, _)| mapping.admits(record)) {
            match mapping {
                SysmonMapping::None => self.evaluate(bucket, &logged, hits),
                _ => self.evaluate(bucket, &RecordView::new(record, mapping), hits),
            }
        }
        hits.sort_by_key(|hit| hit.rule);
    }

    /// Returns whether a rule applies to derived events of this kind.
    pub(super) fn has_rules_for(&self, subject: Subject) -> bool {
        self.derived.contains_key(&subject)
    }

    /// Returns the rules that fire on a derived event, in the order of the rules.
    pub(super) fn on_derived(&self, subject: Subject, event: &impl SigmaEvent) -> Vec<Hit> {
        let mut hits = Vec::new();
        let group = self.derived.get(&subject).map(|&group| &self.groups[group]);
        if let Some(bucket) = group.and_then(|group| group.bucket(None)) {
            self.evaluate(bucket, event, &mut hits);
        }
        hits
    }

    /// Returns the matched fields of a derived event if the rule fires on it.
    pub(super) fn matched(
        &self,
        rule: RuleIdx,
        event: &impl SigmaEvent,
    ) -> Option<Vec<MatchedField>> {
        self.rules.get(rule)?.on_events()?.0.evaluate(event)
    }

    fn evaluate(&self, bucket: &RuleBucket, event: &impl SigmaEvent, hits: &mut Vec<Hit>) {
        let on_events = |&rule: &RuleIdx| self.rules[rule].on_events();
        let rules = || bucket.rules.iter().filter_map(on_events);
        let clauses = || rules().map(|(rule, _)| &rule.prefilter.clauses[..]);
        let index = bucket.index.get_or_init(|| ClauseIndex::new(clauses()));
        for candidate in index.candidates(event) {
            let rule = bucket.rules[candidate];
            let loaded = &self.rules[rule];
            let Some((checked, _)) = loaded.on_events() else { continue };
            let matched = match loaded.suppressed {
                // The matched fields of suppressed rules are never shown.
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
