//! `psr-forensics packs check`.

use std::io::Write;

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::{count, say};
use super::super::rules::Packs;
use crate::detect::{RuleSet, lint};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    packs: Packs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let rules = RuleSet::load(args.packs.read()?)?;
    let diagnostics = lint(&rules);
    for diagnostic in &diagnostics {
        let line = diagnostic.line.map_or(String::new(), |line| format!(":{line}"));
        say(out, &format!("{}{line}: {}", diagnostic.file, diagnostic.message));
    }
    let files: usize = rules.packs.iter().map(|loaded| loaded.pack.rule_files()).sum();
    let found = match diagnostics.len() {
        0 => "nothing wrong".to_owned(),
        wrong => format!("{wrong} wrong"),
    };
    let (files, packs) = (count(files, "file"), count(rules.packs.len(), "pack"));
    say(out, &format!("{files} in {packs} checked: {found}"));
    Ok(if diagnostics.is_empty() { Ending::Whole } else { Ending::Unsound })
}
