//! `psr-forensics diff`: what two runs' results say otherwise.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::ending::Ending;
use crate::report::changes::{Alone, Changed, Changes};
use crate::report::visible;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics diff before after
  psr-forensics diff before after --json";

/// Detections of a kind that are told one by one.
const MOST_TOLD: usize = 50;
/// Characters of a value that are told.
const MOST_TEXT: usize = 200;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The results of the earlier run
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The results of the later run
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    let changes = Changes::between(&args.before, &args.after)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match args.json {
        true => serde_json::to_writer_pretty(&mut out, &changes)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
        false => print(&changes, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Ending::Whole),
    }
}

fn print(changes: &Changes, out: &mut impl Write) -> io::Result<()> {
    let Changes { same, changed, new, gone, new_detections, gone_detections } = changes;
    writeln!(
        out,
        "Sessions: {same} as before, {} told otherwise, {} new, {} gone",
        changed.len(),
        new.len(),
        gone.len()
    )?;
    for session in changed {
        let Changed { session_id, was, what, fields } = session;
        let was = if was == session_id { String::new() } else { format!(" (was {was})") };
        writeln!(out, "\n~ {}{}  {}", visible(session_id), visible(&was), visible(what))?;
        for field in fields {
            let (before, after) = (value(&field.before), value(&field.after));
            writeln!(out, "    {}: {before} -> {after}", field.name)?;
        }
    }
    for (sign, sessions) in [('+', new), ('-', gone)] {
        for Alone { session_id, what, shares_with } in sessions {
            let shares = shares_with.as_ref().map(|other| format!("; shares records with {other}"));
            let shares = shares.unwrap_or_default();
            writeln!(
                out,
                "\n{sign} {}  {}{}",
                visible(session_id),
                visible(what),
                visible(&shares)
            )?;
        }
    }
    writeln!(out, "\nDetections: {} new, {} gone", new_detections.len(), gone_detections.len())?;
    for (sign, rows) in [('+', new_detections), ('-', gone_detections)] {
        for row in rows.iter().take(MOST_TOLD) {
            let cell = |name: &str| visible(row.get(name).map_or("", String::as_str)).into_owned();
            let [time, level, title, host] = ["time", "level", "rule_title", "host"].map(cell);
            writeln!(out, "{sign} {time}  {level}  {title}  {host}")?;
        }
        if let more @ 1.. = rows.len().saturating_sub(MOST_TOLD) {
            writeln!(out, "{sign} and {more} more: see --json")?;
        }
    }
    Ok(())
}

/// A value on one line; of a list, how long it is.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            format!("{} entries", list.len())
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown = visible(&text);
    match shown.char_indices().nth(MOST_TEXT) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}
