//! From packs to rules: parsed, filtered, checked, correlated, selected.

use std::sync::Arc;

use rayon::prelude::*;
use rsigma_parser::{
    CorrelationRule, FilterRule, Level as SigmaLevel, LogSource, SigmaCollection, SigmaRule,
    Status, parse_sigma_yaml,
};

use super::correlation::Correlation;
use super::filter;
use super::forms::bounded;
use super::loaded::{LoadedPack, LoadedRule, RuleKind};
use super::logsource::scope;
use super::names::Names;
use super::pack::{Pack, Refused};
use super::rule::Rule;
use super::select::{Excluded, Labels, Selection};
use crate::error::Error;
use crate::model::{IdxVec, Level, PackIdx, RuleIdx, RuleMeta};

/// A document of a pack with its names.
struct Named<T> {
    names: Names,
    rule: T,
}

/// What a pack's file holds.
#[derive(Default)]
struct Parsed {
    rules: Vec<Named<SigmaRule>>,
    correlations: Vec<Named<CorrelationRule>>,
    filters: Vec<Named<FilterRule>>,
    refused: Vec<(PackIdx, Refused)>,
}

/// A rule that loads.
struct Item {
    names: Names,
    meta: RuleMeta,
    status: Option<Status>,
    kind: RuleKind,
}

/// The rules of some packs.
pub(super) struct Rules {
    /// Rules on events come before correlations, which refer to others by their index here.
    pub rules: IdxVec<RuleIdx, LoadedRule>,
    pub packs: IdxVec<PackIdx, LoadedPack>,
    pub excluded: Excluded,
}

/// Loads the rules of packs. One that does not load is named in its pack's `refused`.
///
/// # Errors
/// [`Error::Pack`] for a pack that loads no rule, [`Error::UnknownExclusion`] and
/// [`Error::NothingSelected`] for a selection that names what is not there or leaves nothing.
pub(super) fn load(packs: IdxVec<PackIdx, Pack>, selection: &Selection) -> Result<Rules, Error> {
    let mut parsed = parse(&packs);
    let filters = apply_filters(&mut parsed, &selection.exclude, packs.indices());
    let mut items = singles(&packs, &mut parsed);
    correlations(&packs, &mut parsed, &mut items);
    parsed.refused.sort();
    for (index, pack) in packs.iter_enumerated() {
        let holds = filters[index] > 0 || items.iter().any(|item| item.names.pack == index);
        if let (Some(path), false) = (&pack.path, holds) {
            let mut reason = "no rule of it loads".to_owned();
            if let Some((_, first)) = parsed.refused.iter().find(|(pack, _)| *pack == index) {
                reason += &format!("; {}: {}", first.file, first.reason);
            }
            return Err(Error::Pack { path: path.clone(), reason });
        }
    }
    let labels = items.iter().map(|item| Labels {
        names: &item.names,
        level: item.meta.level,
        tags: &item.meta.tags,
        status: item.status,
    });
    let filter_names = parsed.filters.iter().map(|filter| &filter.names);
    let (selected, excluded) = selection.of(labels, filter_names)?;
    let packs = packs.into_iter().zip(filters);
    let packs = packs.map(|(pack, filters)| LoadedPack { pack, filters, refused: Vec::new() });
    let mut packs: IdxVec<PackIdx, LoadedPack> = packs.collect();
    for (pack, refused) in parsed.refused {
        packs[pack].refused.push(refused);
    }
    Ok(Rules { rules: chosen(items, &selected), packs, excluded })
}

fn parse(packs: &IdxVec<PackIdx, Pack>) -> Parsed {
    let files = packs
        .iter_enumerated()
        .flat_map(|(index, pack)| pack.files.iter().map(move |(file, text)| (index, file, text)));
    let files: Vec<(PackIdx, &String, &String)> = files.collect();
    let parsed: Vec<Parsed> =
        files.into_par_iter().map(|(pack, file, text)| parse_file(pack, file, text)).collect();
    let unread = packs
        .iter_enumerated()
        .flat_map(|(index, pack)| pack.unread.iter().map(move |refused| (index, refused.clone())));
    let mut all = Parsed { refused: unread.collect(), ..Parsed::default() };
    for file in parsed {
        all.rules.extend(file.rules);
        all.correlations.extend(file.correlations);
        all.filters.extend(file.filters);
        all.refused.extend(file.refused);
    }
    all
}

fn parse_file(pack: PackIdx, file: &str, text: &str) -> Parsed {
    let refuse = |reason: String| (pack, Refused { file: file.to_owned(), reason });
    let collection = match parse_sigma_yaml(text) {
        Ok(collection) => collection,
        Err(error) => {
            return Parsed { refused: vec![refuse(error.to_string())], ..Parsed::default() };
        }
    };
    let SigmaCollection { rules, correlations, filters, errors } = collection;
    let file: Arc<str> = file.into();
    let names = |id: &Option<String>, name: &Option<String>, title: &String| Names {
        pack,
        file: file.clone(),
        id: id.clone(),
        name: name.clone(),
        title: title.clone(),
    };
    Parsed {
        refused: errors.into_iter().map(refuse).collect(),
        rules: rules
            .into_iter()
            .map(|rule| Named { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
        correlations: correlations
            .into_iter()
            .map(|rule| Named { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
        filters: filters
            .into_iter()
            .map(|rule| Named { names: names(&rule.id, &rule.name, &rule.title), rule })
            .collect(),
    }
}

/// Makes filters a part of the rules they are for; says how many of each pack there are.
fn apply_filters(
    parsed: &mut Parsed,
    exclude: &[String],
    packs: impl Iterator<Item = PackIdx>,
) -> IdxVec<PackIdx, usize> {
    let mut applied: IdxVec<PackIdx, usize> = packs.map(|_| 0).collect();
    for (number, filter) in parsed.filters.iter().enumerate() {
        if exclude.iter().any(|reference| filter.names.has(reference)) {
            continue;
        }
        let rules = parsed.rules.iter_mut().map(|named| (&named.names, &mut named.rule));
        match filter::apply(&filter.rule, &filter.names, number, rules) {
            0 => {
                let reason = "the filter is for no rule that is loaded";
                parsed.refused.push(filter.names.refuse(reason));
            }
            _ => applied[filter.names.pack] += 1,
        }
    }
    applied
}

/// The rules on events that rsigma accepts and this program has events for.
fn singles(packs: &IdxVec<PackIdx, Pack>, parsed: &mut Parsed) -> IdxVec<RuleIdx, Item> {
    let rules = std::mem::take(&mut parsed.rules).into_par_iter();
    let checked = rules.map(|Named { names, rule }| {
        // That the program's own rules compile, the tests of their cases prove.
        let own = packs[names.pack].path.is_none();
        let proven = own && !rule.detection.named.keys().any(|name| filter::is_of_filter(name));
        let checked = scope(&rule.logsource).and_then(|scope| {
            bounded(&rule)?;
            let checked = Rule::new(&rule, proven)?;
            Ok(RuleKind::Event(checked, scope))
        });
        match checked {
            Ok(kind) => {
                let source = source(&rule.logsource);
                let meta = meta(packs, &names, rule.level, rule.tags, source);
                Ok(Item { names, meta, status: rule.status, kind })
            }
            Err(reason) => Err(names.refuse(&reason)),
        }
    });
    let checked: Vec<Result<Item, (PackIdx, Refused)>> = checked.collect();
    let mut items = IdxVec::new();
    for item in checked {
        match item {
            Ok(item) => _ = items.push(item),
            Err(refused) => parsed.refused.push(refused),
        }
    }
    items
}

/// Adds correlations, each as soon as all that it refers to is there.
fn correlations(
    packs: &IdxVec<PackIdx, Pack>,
    parsed: &mut Parsed,
    items: &mut IdxVec<RuleIdx, Item>,
) {
    let mut open = std::mem::take(&mut parsed.correlations);
    loop {
        let mut waiting = Vec::new();
        let before = open.len();
        for Named { names, rule } in open {
            let known: IdxVec<RuleIdx, &Names> = items.iter().map(|item| &item.names).collect();
            match Correlation::new(&rule, &names, &known) {
                Ok(correlation) => {
                    let meta = meta(packs, &names, rule.level, rule.tags, "correlation".to_owned());
                    let kind = RuleKind::Correlation(Box::new(correlation));
                    items.push(Item { names, meta, status: rule.status, kind });
                }
                Err(reason) => waiting.push((Named { names, rule }, reason)),
            }
        }
        if waiting.len() == before {
            let refused = waiting.iter().map(|(named, reason)| named.names.refuse(reason));
            parsed.refused.extend(refused);
            return;
        }
        open = waiting.into_iter().map(|(named, _)| named).collect();
    }
}

/// The selected rules, and those that they cannot do without.
fn chosen(
    items: IdxVec<RuleIdx, Item>,
    selected: &IdxVec<RuleIdx, bool>,
) -> IdxVec<RuleIdx, LoadedRule> {
    let mut wanted = selected.clone();
    let none = || items.iter().map(|_| false).collect();
    let mut referred: IdxVec<RuleIdx, bool> = none();
    let mut generated: IdxVec<RuleIdx, bool> = none();
    // What a correlation refers to comes before it.
    for (index, item) in items.iter_enumerated().rev() {
        let RuleKind::Correlation(correlation) = &item.kind else { continue };
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
    let items = items.into_iter_enumerated().filter(|(index, _)| wanted[*index]);
    let loaded = items.map(|(index, Item { names, meta, mut kind, .. })| {
        if let RuleKind::Correlation(correlation) = &mut kind {
            correlation.renumber(&places);
        }
        let silent = !selected[index] || referred[index] && !generated[index];
        LoadedRule {
            meta,
            pack: names.pack,
            kind,
            silent,
            correlated: Vec::new(),
            fields: Vec::new(),
        }
    });
    loaded.collect()
}

fn source(source: &LogSource) -> String {
    let names = [&source.category, &source.service, &source.product];
    names.into_iter().flatten().next().cloned().unwrap_or_default()
}

fn meta(
    packs: &IdxVec<PackIdx, Pack>,
    names: &Names,
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
