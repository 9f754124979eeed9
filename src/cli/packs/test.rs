//! `psr-forensics packs run_rule_tests`.

use std::io::Write;

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::{count, say};
use super::super::rules::Packs;
use crate::detect::{LoadedPack, RejectedRule, RuleSet, RuleTestReport, run_rule_tests};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    packs: Packs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let rules = RuleSet::load(args.packs.read()?)?;
    let mut sound = true;
    for (index, LoadedPack { pack, rejected, .. }) in rules.packs.iter_enumerated() {
        let RuleTestReport { files, tests: cases, failures: wrong, without_tests: without } =
            run_rule_tests(&rules, index);
        for (file, what) in &wrong {
            say(out, &format!("{}: {what}", pack.shown(file)));
        }
        for RejectedRule { file, reason } in rejected {
            say(out, &format!("{}: not loaded: {reason}", pack.shown(file)));
        }
        let wrong = wrong.len() + rejected.len();
        let result = match (wrong, cases) {
            (0, 0) => "no case was run".to_owned(),
            (0, _) => "all hold".to_owned(),
            (wrong, _) => format!("{wrong} wrong"),
        };
        let (cases_run, files) = (count(cases, "case"), count(files, "file"));
        let without = match without.len() {
            0 => String::new(),
            n => format!("; {} without cases", count(n, "file")),
        };
        say(out, &format!("{}: {cases_run} of {files}: {result}{without}", pack.name));
        sound &= wrong == 0 && cases > 0;
    }
    Ok(if sound { Ending::Whole } else { Ending::Unsound })
}
