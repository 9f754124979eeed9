//! `psr-forensics packs test`.

use std::io::Write;

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::{count, say};
use super::super::rules::Packs;
use crate::detect::{LoadedPack, Refused, RuleSet, Tested, test};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    packs: Packs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let rules = RuleSet::load(args.packs.read()?)?;
    let mut sound = true;
    for (index, LoadedPack { pack, refused, .. }) in rules.packs.iter_enumerated() {
        let Tested { files, cases, wrong, without } = test(&rules, index);
        for (file, what) in &wrong {
            say(out, &format!("{}: {what}", pack.shown(file)));
        }
        for Refused { file, reason } in refused {
            say(out, &format!("{}: not loaded: {reason}", pack.shown(file)));
        }
        let wrong = wrong.len() + refused.len();
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
