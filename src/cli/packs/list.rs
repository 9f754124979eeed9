//! `psr-forensics packs list`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::{count, say};
use super::super::rules::{Packs, Select};
use crate::detect::{LoadedPack, RuleSet};
use crate::model::{Level, PackIdx};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    packs: Packs,
    #[command(flatten)]
    select: Select,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let rules = args.select.load(args.packs.read()?)?;
    for index in rules.packs.indices() {
        pack(&rules, index, out);
    }
    let excluded = rules.excluded;
    let left_out = excluded.exclude_rule + excluded.min_level + excluded.tag + excluded.status;
    if left_out > 0 {
        say(out, &format!("{} left out by the selection", count(left_out, "rule")));
    }
    Ok(Ending::Whole)
}

fn pack(rules: &RuleSet, index: PackIdx, out: &mut dyn Write) {
    let LoadedPack { pack, filters, rejected } = &rules.packs[index];
    let from = pack.path.as_ref().map(|path| path.display().to_string());
    let from = from.unwrap_or_else(|| "inside the program".to_owned());
    say(out, &format!("{} ({from})", pack.name));
    say(out, &format!("  sha256      {}", pack.sha256));
    let metas = || rules.rules_of_pack(index).map(|rule| &rules.rules[rule].meta);
    let filters = count(*filters, "filter");
    let parts = [count(metas().count(), "rule"), filters, format!("{} not loaded", rejected.len())];
    say(out, &format!("  holds       {}", parts.join(", ")));
    let unheard = rules.rules_of_pack(index).filter(|&rule| rules.is_suppressed(rule)).count();
    if unheard > 0 {
        say(out, &format!("  unheard     {unheard}, for correlations only"));
    }
    let mut levels: BTreeMap<Level, usize> = BTreeMap::new();
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in metas() {
        *levels.entry(rule.level).or_default() += 1;
        *sources.entry(&rule.source).or_default() += 1;
    }
    let levels = levels.into_iter().rev().map(|(level, n)| format!("{level} {n}"));
    say(out, &format!("  levels      {}", levels.collect::<Vec<_>>().join(", ")));
    let mut sources: Vec<(&str, usize)> = sources.into_iter().collect();
    sources.sort_by_key(|&(source, n)| (std::cmp::Reverse(n), source));
    let mut first = "log sources";
    for (source, n) in sources {
        say(out, &format!("  {first:<11} {n:>5}  {source}"));
        first = "";
    }
    for rejected in rejected {
        say(out, &format!("  not loaded  {}: {}", rejected.file, rejected.reason));
    }
}
