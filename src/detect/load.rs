//! Loads the rules of packs: parses, filters, checks, correlates and selects them.

use std::sync::Arc;

use rayon::prelude::*;
use rsigma_parser::{
    CorrelationRule, FilterRule, Level as SigmaLevel, LogSource, SigmaCollection, SigmaRule,
    Status, parse_sigma_yaml,
};

use super::correlation::Correlation;
use super::expansion_limit::check_expansion;
use super::filter;
use super::loaded::{LoadedPack, LoadedRule, RuleKind};
use super::logsource::rule_scope;
use super::pack::{Pack, RejectedRule};
use super::rule::Rule;
use super::rule_names::RuleNames;
use super::select::{ExclusionCounts, RuleLabels, RuleSelection};
use crate::error::Error;
use crate::model::{IdxVec, Level, PackIdx, RuleIdx, RuleMeta};

/// A rule, correlation or filter of a pack, with its names.
struct NamedRule<T> {
    names: RuleNames,
    rule: T,
}

/// The contents of pack files.
#[derive(Default)]
struct ParsedRules {
    rules: Vec<NamedRule<SigmaRule>>,
    correlations: Vec<NamedRule<CorrelationRule>>,
    filters: Vec<NamedRule<FilterRule>>,
    rejected: Vec<(PackIdx, RejectedRule)>,
}

/// A rule that loads and may be selected.
struct CandidateRule {
    names: RuleNames,
    meta: RuleMeta,
    status: Option<Status>,
    kind: RuleKind,
}

/// The loaded rules and their packs.
pub(super) struct LoadedRules {
    /// Rules on events come before correlations, which refer to others by their index here.
    pub rules: IdxVec<RuleIdx, LoadedRule>,
    pub packs: IdxVec<PackIdx, LoadedPack>,
    pub excluded: ExclusionCounts,
}

/// Loads the rules of packs. A rule that does not load is listed in its pack's `rejected`.
///
/// # Errors
///
/// [`Error::Pack`] for a pack that loads no rule; [`Error::UnknownExclusion`] and
/// [`Error::NothingSelected`] for a selection that names an unknown rule or leaves no rule.
pub(super) fn load(
    packs: IdxVec<PackIdx, Pack>,
    selection: &RuleSelection,
) -> Result<LoadedRules, Error> {
    let mut parsed = parse_packs(&packs);
    let filters = apply_filters(&mut parsed, &selection.exclude, packs.indices());
    let mut candidates = check_event_rules(&packs, &mut parsed);
    compile_correlations(&packs, &mut parsed, &mut candidates);
    parsed.rejected.sort();
    for (index, pack) in packs.iter_enumerated() {
        let holds =
            filters[index] > 0 || candidates.iter().any(|candidate| candidate.names.pack == index);
        if let (Some(path), false) = (&pack.path, holds) {
            let mut reason = "none of its rules loads".to_owned();
            if let Some((_, first)) = parsed.rejected.iter().find(|(pack, _)| *pack == index) {
                reason += &format!("; {}: {}", first.file, first.reason);
            }
            return Err(Error::Pack { path: path.clone(), reason });
        }
    }
    let labels = candidates.iter().map(|candidate| RuleLabels {
        names: &candidate.names,
        level: candidate.meta.level,
        tags: &candidate.meta.tags,
        status: candidate.status,
    });
    let filter_names = parsed.filters.iter().map(|filter| &filter.names);
    let (selected, excluded) = selection.apply(labels, filter_names)?;
    let packs = packs.into_iter().zip(filters);
    let packs = packs.map(|(pack, filters)| LoadedPack { pack, filters, rejected: Vec::new() });
    let mut packs: IdxVec<PackIdx, LoadedPack> = packs.collect();
    for (pack, rejected) in parsed.rejected {
        packs[pack].rejected.push(rejected);
    }
    Ok(LoadedRules { rules: keep_selected(candidates, &selected), packs, excluded })
}

fn parse_packs(packs: &IdxVec<PackIdx, Pack>) -> ParsedRules {
    let files = packs
        .iter_enumerated()
        .flat_map(|(index, pack)| pack.files.iter().map(move |(file, text)| (index, file, text)));
    let files: Vec<(PackIdx, &String, &String)> = files.collect();
    let parsed: Vec<ParsedRules> =
        files.into_par_iter().map(|(pack, file, text)| parse_file(pack, file, text)).collect();
    let unread = packs.iter_enumerated().flat_map(|(index, pack)| {
        pack.unread.iter().map(move |rejected| (index, rejected.clone()))
    });
    let mut all = ParsedRules { rejected: unread.collect(), ..ParsedRules::default() };
    for file in parsed {
        all.rules.extend(file.rules);
        all.correlations.extend(file.correlations);
        all.filters.extend(file.filters);
        all.rejected.extend(file.rejected);
    }
    all
}

fn parse_file(pack: PackIdx, file: &str, text: &str) -> ParsedRules {
    let reject = |reason: String| (pack, RejectedRule { file: file.to_owned(), reason });
    let collection = match parse_sigma_yaml(text) {
        Ok(collection) => collection,
        Err(error) => {
            return ParsedRules {
                rejected: vec![reject(error.to_string())],
                ..ParsedRules::default()
            };
        }
    };
    let SigmaCollection { rules, correlations, filters, errors } = collection;
    let file: Arc<str> = file.into();
    let names = |id: &Option<String>, name: &Option<String>, title: &String| RuleNames {
        pack,
        file: file.clone(),
        id: id.clone(),
        name: name.clone(),
        title: title.clone(),
    };
    ParsedRules {
        rejected: errors.into_iter().map(reject).collect(),
        rules: rules
            .into_iter()
            .map(|rule| NamedRule { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
        correlations: correlations
            .into_iter()
            .map(|rule| NamedRule { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
        filters: filters
            .into_iter()
            .map(|rule| NamedRule { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
    }
}

/// Merges filters into the rules they apply to. Returns how many filters of each pack apply.
fn apply_filters(
    parsed: &mut ParsedRules,
    exclude: &[String],
    packs: impl Iterator<Item = PackIdx>,
) -> IdxVec<PackIdx, usize> {
    let mut applied: IdxVec<PackIdx, usize> = packs.map(|_| 0).collect();
    for (number, filter) in parsed.filters.iter().enumerate() {
        if exclude.iter().any(|reference| filter.names.matches(reference)) {
            continue;
        }
        let rules = parsed.rules.iter_mut().map(|named| (&named.names, &mut named.rule));
        match filter::apply(&filter.rule, &filter.names, number, rules) {
            0 => {
                let reason = "the filter applies to no loaded rule";
                parsed.rejected.push(filter.names.reject(reason));
            }
            _ => applied[filter.names.pack] += 1,
        }
    }
    applied
}

/// Checks the rules on events. Keeps those that rsigma accepts and for which this program has
/// events.
fn check_event_rules(
    packs: &IdxVec<PackIdx, Pack>,
    parsed: &mut ParsedRules,
) -> IdxVec<RuleIdx, CandidateRule> {
    let rules = std::mem::take(&mut parsed.rules).into_par_iter();
    let checked = rules.map(|NamedRule { names, rule }| {
        // The rule tests prove that the program's own rules compile.
        let own = packs[names.pack].path.is_none();
        let proven = own && !rule.detection.named.keys().any(|name| filter::is_of_filter(name));
        let checked = rule_scope(&rule.logsource).and_then(|scope| {
            check_expansion(&rule)?;
            let checked = Rule::new(&rule, proven)?;
            Ok(RuleKind::Event(checked, scope))
        });
        match checked {
            Ok(kind) => {
                let source = source_name(&rule.logsource);
                let meta = rule_meta(packs, &names, rule.level, rule.tags, source);
                Ok(CandidateRule { names, meta, status: rule.status, kind })
            }
            Err(reason) => Err(names.reject(&reason)),
        }
    });
    let checked: Vec<Result<CandidateRule, (PackIdx, RejectedRule)>> = checked.collect();
    let mut candidates = IdxVec::new();
    for candidate in checked {
        match candidate {
            Ok(candidate) => _ = candidates.push(candidate),
            Err(rejected) => parsed.rejected.push(rejected),
        }
    }
    candidates
}

/// Adds each correlation as soon as all the rules that it refers to are loaded.
fn compile_correlations(
    packs: &IdxVec<PackIdx, Pack>,
    parsed: &mut ParsedRules,
    candidates: &mut IdxVec<RuleIdx, CandidateRule>,
) {
    let mut open = std::mem::take(&mut parsed.correlations);
    loop {
        let mut waiting = Vec::new();
        let before = open.len();
        for NamedRule { names, rule } in open {
            let known: IdxVec<RuleIdx, &RuleNames> =
                candidates.iter().map(|candidate| &candidate.names).collect();
            match Correlation::new(&rule, &names, &known) {
                Ok(correlation) => {
                    let meta =
                        rule_meta(packs, &names, rule.level, rule.tags, "correlation".to_owned());
                    let kind = RuleKind::Correlation(Box::new(correlation));
                    candidates.push(CandidateRule { names, meta, status: rule.status, kind });
                }
                Err(reason) => waiting.push((NamedRule { names, rule }, reason)),
            }
        }
        if waiting.len() == before {
            let rejected = waiting.iter().map(|(named, reason)| named.names.reject(reason));
            parsed.rejected.extend(rejected);
            return;
        }
        open = waiting.into_iter().map(|(named, _)| named).collect();
    }
}

/// Keeps the selected rules, and the rules that selected correlations refer to.
fn keep_selected(
    candidates: IdxVec<RuleIdx, CandidateRule>,
    selected: &IdxVec<RuleIdx, bool>,
) -> IdxVec<RuleIdx, LoadedRule> {
    let mut wanted = selected.clone();
    let none = || candidates.iter().map(|_| false).collect();
    let mut referred: IdxVec<RuleIdx, bool> = none();
    let mut generated: IdxVec<RuleIdx, bool> = none();
    // The rules that a correlation refers to come before it.
    for (index, candidate) in candidates.iter_enumerated().rev() {
        let RuleKind::Correlation(correlation) = &candidate.kind else { continue };
        if !wanted[index] {
            continue;
        }
        for rule in correlation.rules() {
            wanted[rule] = true;
            referred[rule] = true;
            generated[rule] |= correlation.generates();
        }
    }
    let mut next: usize = 0;
    let places = wanted.iter().map(|&wanted| {
        next += usize::from(wanted);
        RuleIdx::new(next.saturating_sub(1))
    });
    let places: IdxVec<RuleIdx, RuleIdx> = places.collect();
    let candidates = candidates.into_iter_enumerated().filter(|(index, _)| wanted[*index]);
    let loaded = candidates.map(|(index, CandidateRule { names, meta, mut kind, .. })| {
        if let RuleKind::Correlation(correlation) = &mut kind {
            correlation.renumber(&places);
        }
        let suppressed = !selected[index] || referred[index] && !generated[index];
        LoadedRule {
            meta,
            pack: names.pack,
            kind,
            suppressed,
            correlated: Vec::new(),
            fields: Vec::new(),
        }
    });
    loaded.collect()
}

fn source_name(source: &LogSource) -> String {
    let names = [&source.category, &source.service, &source.product];
    names.into_iter().flatten().next().cloned().unwrap_or_default()
}

fn rule_meta(
    packs: &IdxVec<PackIdx, Pack>,
    names: &RuleNames,
    level: Option<SigmaLevel>,
    tags: Vec<String>,
    source: String,
) -> RuleMeta {
    let level = match level {
        Some(SigmaLevel::Critical) => Level::Critical,
        Some(SigmaLevel::High) => Level::High,
        Some(SigmaLevel::Medium) => Level::Medium,
        Some(SigmaLevel::Low) => Level::Low,
        Some(SigmaLevel::Informational) | None => Level::Informational,
    };
    RuleMeta {
        id: names.id.clone().unwrap_or_else(|| names.file.to_string()),
        title: names.title.clone(),
        level,
        tags,
        pack: packs[names.pack].name.clone(),
        file: names.file.to_string(),
        source,
    }
}
