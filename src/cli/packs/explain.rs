//! `psr-forensics packs explain`.

use std::io::Write;

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::say;
use super::super::rules::Packs;
use crate::analysis::read_record;
use crate::detect::RuleSet;
use crate::model::csv_time;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The rule's id, title or file name
    rule: String,
    /// The record: FILE:EVENT_RECORD_ID@OFFSET, as the column `evidence` has it
    record: String,
    #[command(flatten)]
    packs: Packs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let rules = RuleSet::load(args.packs.read()?)?;
    let record = read_record(&args.record)?;
    let lines = rules.explain(&args.rule, &record)?;
    say(out, &format!("Record      {}", args.record));
    say(
        out,
        &format!(
            "            {} UTC, {}, {}, event {}",
            csv_time(record.time),
            record.computer,
            record.channel,
            record.event_id
        ),
    );
    lines.iter().for_each(|line| say(out, line));
    Ok(Ending::Whole)
}
