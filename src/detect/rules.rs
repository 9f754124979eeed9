//! The loaded rules, grouped by what they apply to.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use rsigma_eval::{CompiledRule, Engine, Event as SigmaEvent, compile_rule};
use rsigma_parser::{Level as SigmaLevel, SigmaCollection, SigmaRule, parse_sigma_yaml};

use super::logsource::{ChannelName, Scope, scope};
use super::pack::{Pack, Refused};
use super::view::RecordView;
use crate::decode::Wanted;
use crate::error::Error;
use crate::model::{Channel, Level, MatchedField, Record, RecordRef, RuleMeta, Subject};

/// Longest value of a matched field that a detection keeps, in characters.
const MAX_MATCHED: usize = 500;

/// A rule fired on a record.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Index of the rule.
    pub rule: usize,
    /// What matched.
    pub matched: Vec<MatchedField>,
}

/// Rules of one scope, with the engine that evaluates them.
struct Group {
    engine: Engine,
    process_creation: bool,
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
    groups: Vec<Group>,
    known: HashMap<Channel, Vec<Applies>>,
    named: Vec<(&'static str, Applies)>,
    derived: HashMap<Subject, usize>,
}

/// A rule on its way into its group.
struct Loaded {
    rule: CompiledRule,
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
            let files: Vec<_> = pack
                .files
                .par_iter()
                .map(|(name, text)| read_file(&pack.name, name, text))
                .collect();
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
            groups: Vec::new(),
            known: HashMap::new(),
            named: Vec::new(),
            derived: HashMap::new(),
        };
        set.group(loaded);
        Ok(set)
    }

    fn group(&mut self, loaded: Vec<Loaded>) {
        let mut index_of: HashMap<Scope, usize> = HashMap::new();
        let mut by_group: BTreeMap<usize, Vec<CompiledRule>> = BTreeMap::new();
        for Loaded { mut rule, meta, scope } in loaded {
            // The engine hands a rule's id back with each result: the index names it for sure.
            rule.id = Some(self.rules.len().to_string());
            self.rules.push(meta);
            let next = index_of.len();
            let group = *index_of.entry(scope.clone()).or_insert_with(|| {
                self.register(&scope, next);
                next
            });
            by_group.entry(group).or_default().push(rule);
        }
        for (group, rules) in by_group {
            self.groups[group].engine.extend_compiled_rules(rules);
        }
    }

    fn register(&mut self, scope: &Scope, group: usize) {
        let mut process = false;
        match scope {
            Scope::Derived(subject) => {
                self.derived.insert(*subject, group);
            }
            Scope::Records { selectors, process_creation } => {
                process = *process_creation;
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
                    }
                }
            }
        }
        self.groups.push(Group { engine: Engine::new(), process_creation: process });
    }

    fn groups_of(
        &self,
        channel: Channel,
        name: &str,
        event_id: u32,
    ) -> impl Iterator<Item = usize> {
        let known = self.known.get(&channel).into_iter().flatten();
        let named = self
            .named
            .iter()
            .filter(move |(known, _)| channel == Channel::Other && known.eq_ignore_ascii_case(name))
            .map(|(_, applies)| applies);
        known
            .chain(named)
            .filter(move |(ids, _)| ids.is_none_or(|ids| ids.contains(&event_id)))
            .map(|&(_, group)| group)
    }

    /// The rules that fire on a record, in the order of the rules.
    pub fn on_record(&self, record: &Record) -> Vec<Hit> {
        let mut hits = Vec::new();
        for group in self.groups_of(record.known_channel, &record.channel, record.event_id) {
            let Group { engine, process_creation } = &self.groups[group];
            evaluate(engine, &RecordView::new(record, *process_creation), &mut hits);
        }
        hits.sort_by_key(|hit| hit.rule);
        hits
    }

    /// Whether some rule is for derived events of this kind.
    pub(super) fn has(&self, subject: Subject) -> bool {
        self.derived.contains_key(&subject)
    }

    /// The rules that fire on a derived event.
    pub(super) fn on_derived(&self, subject: Subject, event: &impl SigmaEvent) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(&group) = self.derived.get(&subject) {
            evaluate(&self.groups[group].engine, event, &mut hits);
        }
        hits.sort_by_key(|hit| hit.rule);
        hits
    }
}

impl Wanted for RuleSet {
    fn wants(&self, _: RecordRef, channel: Channel, channel_name: &str, event_id: u32) -> bool {
        self.groups_of(channel, channel_name, event_id).next().is_some()
    }
}

fn evaluate(engine: &Engine, event: &impl SigmaEvent, hits: &mut Vec<Hit>) {
    for result in engine.evaluate(event) {
        let rule = result.header.rule_id.as_deref().and_then(|id| id.parse().ok());
        let (Some(rule), Some(body)) = (rule, result.as_detection()) else { continue };
        let matched = body.matched_fields.iter().map(|field| {
            let value = match &field.value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let value = value.chars().take(MAX_MATCHED).collect();
            MatchedField { field: field.field.clone(), value }
        });
        let mut matched: Vec<MatchedField> = matched.collect();
        matched.sort();
        matched.dedup();
        hits.push(Hit { rule, matched });
    }
}

/// Reads and compiles one file's rules.
fn read_file(pack: &str, file: &str, text: &str) -> (Vec<Loaded>, Vec<Refused>) {
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
        let compiled = scope(&rule.logsource).and_then(|scope| {
            let compiled = compile_rule(&rule).map_err(|error| error.to_string())?;
            Ok(Loaded { meta: meta(pack, file, &rule), scope, rule: compiled })
        });
        match compiled {
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
