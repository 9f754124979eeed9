//! The loaded rules, grouped by what they apply to.

use std::collections::HashMap;
use std::sync::OnceLock;

use rayon::prelude::*;
use rsigma_eval::Event as SigmaEvent;
use rsigma_parser::{Level as SigmaLevel, SigmaCollection, SigmaRule, parse_sigma_yaml};

use super::equivalent::Mapping;
use super::gate::Gate;
use super::index::Index;
use super::logsource::{ChannelName, Scope, scope};
use super::pack::{Pack, Refused};
use super::rule::Rule;
use super::view::RecordView;
use crate::decode::Wanted;
use crate::error::Error;
use crate::model::{Channel, Level, MatchedField, Record, RecordRef, RuleMeta, Subject};

/// A rule fired on a record.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Index of the rule.
    pub rule: usize,
    /// What matched.
    pub matched: Vec<MatchedField>,
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
    /// Their indices, in order.
    rules: Vec<usize>,
    /// Made when the first event comes.
    index: OnceLock<Index>,
}

impl Group {
    /// Sorts rules, each with its index, into buckets.
    fn new(mapping: Mapping, rules: &[(usize, &Gate)]) -> Group {
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
                    group.by_id.values_mut().for_each(|bucket| bucket.rules.push(*rule));
                    group.rest.rules.push(*rule);
                }
            }
        }
        group
    }

    /// The rules to ask about an event, if any; derived events have no id.
    fn bucket(&self, event_id: Option<u32>) -> Option<&Bucket> {
        let bucket = event_id.and_then(|id| self.by_id.get(&id)).unwrap_or(&self.rest);
        (!bucket.rules.is_empty()).then_some(bucket)
    }
}

/// A group and the event ids of the channel it applies to; none means all.
type Applies = (Option<&'static [u32]>, usize);

/// All rules of a run.
pub struct RuleSet {
    /// What outputs say of each rule, by index.
    pub rules: Vec<RuleMeta>,
    /// The packs they came from.
    pub packs: Vec<Pack>,
    /// The rules that were not loaded.
    pub refused: Vec<Refused>,
    checked: Vec<Rule>,
    groups: Vec<Group>,
    known: HashMap<Channel, Vec<Applies>>,
    named: Vec<(&'static str, Applies)>,
    everywhere: Vec<Applies>,
    derived: HashMap<Subject, usize>,
}

/// A rule on its way into its group.
struct Loaded {
    rule: Rule,
    meta: RuleMeta,
    scope: Scope,
}

impl RuleSet {
    /// Loads the rules of all packs. A rule that does not load is named in `refused`.
    ///
    /// # Errors
    /// [`Error::Pack`] for a pack that loads no rule at all.
    pub fn load(packs: Vec<Pack>) -> Result<RuleSet, Error> {
        let mut loaded = Vec::new();
        let mut refused = Vec::new();
        for pack in &packs {
            let files: Vec<_> =
                pack.files.par_iter().map(|(name, text)| read_file(pack, name, text)).collect();
            let before = loaded.len();
            let first_refused = refused.len();
            for (rules, refusals) in files {
                loaded.extend(rules);
                refused.extend(refusals);
            }
            if loaded.len() == before
                && let Some(path) = &pack.path
            {
                let first: &Refused = &refused[first_refused];
                let reason = format!("no rule of it loads; {}: {}", first.file, first.reason);
                return Err(Error::Pack { path: path.clone(), reason });
            }
        }
        let mut set = RuleSet {
            rules: Vec::new(),
            packs,
            refused,
            checked: Vec::new(),
            groups: Vec::new(),
            known: HashMap::new(),
            named: Vec::new(),
            everywhere: Vec::new(),
            derived: HashMap::new(),
        };
        set.group(loaded);
        Ok(set)
    }

    fn group(&mut self, loaded: Vec<Loaded>) {
        let mut group_of: HashMap<Scope, usize> = HashMap::new();
        let mut scopes: Vec<(Scope, Vec<usize>)> = Vec::new();
        for (index, Loaded { rule, meta, scope }) in loaded.into_iter().enumerate() {
            let group = *group_of.entry(scope.clone()).or_insert(scopes.len());
            if group == scopes.len() {
                scopes.push((scope, Vec::new()));
            }
            scopes[group].1.push(index);
            self.checked.push(rule);
            self.rules.push(meta);
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

    /// Notes what the next group applies to.
    fn register(&mut self, scope: &Scope) {
        let group = self.groups.len();
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

    /// The buckets for a record, each with what it sees the record as.
    fn buckets(
        &self,
        channel: Channel,
        name: &str,
        event_id: u32,
    ) -> impl Iterator<Item = (Mapping, &Bucket)> {
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
            .filter_map(move |group| Some((group.mapping, group.bucket(Some(event_id))?)))
    }

    /// The rules that fire on a record, in the order of the rules.
    pub fn on_record(&self, record: &Record) -> Vec<Hit> {
        let mut hits = Vec::new();
        let logged = RecordView::new(record, Mapping::None);
        let buckets = self.buckets(record.known_channel, &record.channel, record.event_id);
        for (mapping, bucket) in buckets.filter(|(mapping, _)| mapping.admits(record)) {
            match mapping {
                Mapping::None => self.evaluate(bucket, &logged, &mut hits),
                _ => self.evaluate(bucket, &RecordView::new(record, mapping), &mut hits),
            }
        }
        hits.sort_by_key(|hit| hit.rule);
        hits
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

    fn evaluate(&self, bucket: &Bucket, event: &impl SigmaEvent, hits: &mut Vec<Hit>) {
        let clauses = || bucket.rules.iter().map(|&rule| &self.checked[rule].gate.clauses[..]);
        let index = bucket.index.get_or_init(|| Index::new(clauses()));
        for candidate in index.candidates(event) {
            let rule = bucket.rules[candidate];
            if let Some(matched) = self.checked[rule].evaluate(event) {
                hits.push(Hit { rule, matched });
            }
        }
    }
}

impl Wanted for RuleSet {
    fn wants(&self, _: RecordRef, channel: Channel, channel_name: &str, event_id: u32) -> bool {
        self.buckets(channel, channel_name, event_id).next().is_some()
    }
}

/// Reads and checks one file's rules.
fn read_file(pack: &Pack, file: &str, text: &str) -> (Vec<Loaded>, Vec<Refused>) {
    let refuse = |reason: String| Refused { file: file.to_owned(), reason };
    let collection = match parse_sigma_yaml(text) {
        Ok(collection) => collection,
        Err(error) => return (Vec::new(), vec![refuse(error.to_string())]),
    };
    let SigmaCollection { rules, correlations, filters, errors } = collection;
    let mut refused: Vec<Refused> = errors.into_iter().map(refuse).collect();
    let others = [("correlation", correlations.len()), ("filter", filters.len())];
    for (kind, _) in others.into_iter().filter(|(_, count)| *count > 0) {
        refused.push(refuse(format!("{kind} rules are not evaluated")));
    }
    let mut loaded = Vec::new();
    for rule in rules {
        // That the program's own rules compile, the tests of their cases prove.
        let proven = pack.path.is_none();
        let checked = scope(&rule.logsource).and_then(|scope| {
            let checked = Rule::new(&rule, proven)?;
            Ok(Loaded { meta: meta(&pack.name, file, &rule), scope, rule: checked })
        });
        match checked {
            Ok(rule) => loaded.push(rule),
            Err(reason) => refused.push(refuse(format!("'{}': {reason}", rule.title))),
        }
    }
    (loaded, refused)
}

fn meta(pack: &str, file: &str, rule: &SigmaRule) -> RuleMeta {
    let level = match rule.level {
        Some(SigmaLevel::Critical) => Level::Critical,
        Some(SigmaLevel::High) => Level::High,
        Some(SigmaLevel::Medium) => Level::Medium,
        Some(SigmaLevel::Low) => Level::Low,
        Some(SigmaLevel::Informational) | None => Level::Informational,
    };
    RuleMeta {
        id: rule.id.clone().unwrap_or_else(|| file.to_owned()),
        title: rule.title.clone(),
        level,
        tags: rule.tags.clone(),
        pack: pack.to_owned(),
    }
}
