//! `psr-forensics info`: what logs hold, before a full run.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::ending::Ending;
use super::live::Inputs;
use super::progress::Bar;
use crate::analysis::{ClearedLog, EventCount, HostChannel, Survey, survey};
use crate::error::{Fault, FaultKind};
use crate::input::{EvtxFileHeader, InputKind};
use crate::model::csv_time;
use crate::report::visible;

/// Most hosts' channels, kinds of events, holes, clearings and faults that the text names of a log.
const MOST: usize = 10;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics info CASE/logs
  psr-forensics info triage.zip SRV02/Security.evtx
  psr-forensics info CASE/logs --json";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Write one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Threads to use; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    let inputs = args.inputs.discover()?;
    // What is unpacked of a zip is nameless, and goes with the program.
    let scratch = std::env::temp_dir();
    let bar = Bar::new(false);
    let surveys = pool.install(|| survey(inputs, &scratch, &bar));
    bar.finish();
    let surveys = surveys?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    // A reader that closed the pipe has seen enough.
    let _ = match args.json {
        true => json(&surveys, &mut out),
        false => tell(&surveys, &mut out),
    };
    let _ = out.flush();
    let is_damaged = surveys.iter().any(Survey::is_damaged);
    Ok(if is_damaged { Ending::Partial } else { Ending::Whole })
}

/// A number and a noun.
fn number(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn is_log(survey: &&Survey) -> bool {
    survey.input.kind.is_log()
}

fn kind(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Evtx => "EVTX",
        InputKind::EvtxWithoutHeader => "EVTX with a damaged header",
        InputKind::Json => "JSON",
        InputKind::Xml => "XML",
        InputKind::Zip => "zip",
        InputKind::Recovered => "recovered records",
        InputKind::Unknown => "unknown",
    }
}

fn row(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<11} {}", visible(text))
}

/// Rows of one name, of which the first are shown.
fn rows(out: &mut impl Write, name: &str, texts: &[String], what: &str) -> io::Result<()> {
    let mut name = name;
    for text in texts.iter().take(MOST) {
        row(out, name, text)?;
        name = "";
    }
    match texts.len().saturating_sub(MOST) {
        0 => Ok(()),
        more => row(out, name, &format!("and {more} more {what}, see --json")),
    }
}

fn tell(surveys: &[Survey], out: &mut impl Write) -> io::Result<()> {
    for survey in surveys.iter().filter(is_log) {
        tell_log(survey, out)?;
        writeln!(out)?;
    }
    let others = surveys.iter().filter(|survey| !survey.input.kind.is_log());
    for survey in others.filter(|survey| survey.is_damaged()) {
        writeln!(out, "{}", visible(&survey.input.path.display().to_string()))?;
        faults(survey, out)?;
        writeln!(out)?;
    }
    all(surveys, out)
}

fn tell_log(survey: &Survey, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", visible(&survey.input.path.display().to_string()))?;
    let mut format = vec![kind(survey.input.kind).to_owned()];
    if survey.input.kind.is_evtx() {
        format.push(number(survey.chunks, "chunk"));
    }
    format.push(number(survey.input.size, "byte"));
    if let Some(header) = &survey.header {
        format.extend(state(header));
    }
    row(out, "Format", &format.join(", "))?;
    row(out, "SHA-256", survey.sha256.as_deref().unwrap_or("unknown: it was not read in full"))?;
    let relevant = match survey.relevant {
        0 => "none of a kind that bears on remoting".to_owned(),
        n => format!("{n} of kinds that bear on remoting"),
    };
    row(out, "Records", &format!("{}, {relevant}", survey.records))?;
    let held: Vec<String> = survey.held.iter().map(|held| describe(survey, held)).collect();
    rows(out, "Holds", &held, "channels of hosts")?;
    if survey.wrapped {
        row(out, "Wrapped", "yes: it was full, and older records were overwritten")?;
    }
    let events: Vec<String> = survey.events.iter().map(count).collect();
    rows(out, "Events", &events, "kinds of events")?;
    if survey.not_listed > 0 {
        row(
            out,
            "",
            &format!("{} records are of more hosts or kinds than are told", survey.not_listed),
        )?;
    }
    let cleared: Vec<String> = survey.cleared.iter().map(clearing).collect();
    rows(out, "CLEARED", &cleared, "times")?;
    faults(survey, out)
}

/// What the header says that is worth knowing.
fn state(header: &EvtxFileHeader) -> Vec<String> {
    let notes = [
        (header.dirty, "dirty (copied while in use, or not closed)"),
        (header.full, "marked full"),
        (!header.checksum_ok, "header checksum WRONG"),
    ];
    let notes: Vec<String> =
        notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note.to_owned()).collect();
    if notes.is_empty() { vec!["closed cleanly".to_owned()] } else { notes }
}

fn describe(survey: &Survey, held: &HostChannel) -> String {
    let channel = if held.channel.is_empty() { "no channel named" } else { &*held.channel };
    let HostChannel { host, records, record_ids: (low, high), .. } = held;
    let (first, last) = (csv_time(held.first), csv_time(held.last));
    let anew = match survey.numbers {
        Some((from, to)) if survey.held.len() == 1 && (from, to) != (*low, *high) => {
            format!(" (numbered {from} to {to} in this file: an export)")
        }
        _ => String::new(),
    };
    let gaps = match &held.gaps {
        None => ", more than 32 holes: a selection of records".to_owned(),
        Some(gaps) if gaps.is_empty() => ", no hole".to_owned(),
        Some(gaps) => {
            let places = gaps.iter().take(MOST).map(|gap| {
                format!("{}-{}", gap.before.record_id + 1, gap.after.record_id.saturating_sub(1))
            });
            let places = places.collect::<Vec<_>>().join(", ");
            let more = gaps.len().saturating_sub(MOST);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let missing: u64 = gaps.iter().map(|gap| gap.missing()).sum();
            format!(", HOLES: {missing} ids missing ({places}{more})")
        }
    };
    let records = number(*records, "record");
    format!("{host}, {channel}: {records}, {first} to {last} UTC; ids {low} to {high}{anew}{gaps}")
}

fn count(events: &EventCount) -> String {
    let EventCount { event_id, provider, records, relevant } = events;
    let mark = if *relevant > 0 { "  relevant" } else { "" };
    format!("{records:>8}  {event_id:>5}  {provider}{mark}")
}

fn clearing(cleared: &ClearedLog) -> String {
    let ClearedLog { time, host, log, account, record_id } = cleared;
    let log = if log.is_empty() { "the log" } else { log };
    let by = account.as_ref().map(|account| format!(" by {account}")).unwrap_or_default();
    format!("{log} of {host} at {} UTC{by} (record {record_id})", csv_time(*time))
}

fn faults(survey: &Survey, out: &mut impl Write) -> io::Result<()> {
    for (of, name) in [(FaultKind::Lost, "LOST"), (FaultKind::Suspect, "Suspect")] {
        let faults = survey.faults.iter().filter(|fault| fault.kind == of);
        let faults: Vec<String> = faults
            .map(|fault| match fault.offset {
                Some(offset) => format!("at byte {offset}: {}", fault.reason),
                None => fault.reason.clone(),
            })
            .collect();
        rows(out, name, &faults, "faults")?;
    }
    Ok(())
}

/// What all logs come to.
fn all(surveys: &[Survey], out: &mut impl Write) -> io::Result<()> {
    let logs = || surveys.iter().filter(is_log);
    let held = || logs().flat_map(|survey| &survey.held);
    let hosts: BTreeSet<String> = held().map(|held| held.host.to_lowercase()).collect();
    let records: u64 = logs().map(|survey| survey.records).sum();
    let relevant: u64 = logs().map(|survey| survey.relevant).sum();
    let bytes: u64 = logs().map(|survey| survey.input.size).sum();
    let others = surveys.iter().filter(|survey| survey.input.kind == InputKind::Unknown).count();
    writeln!(
        out,
        "{} of {} ({}), {} skipped; {}, {relevant} of kinds that bear on remoting",
        number(logs().count() as u64, "log"),
        number(hosts.len() as u64, "host"),
        indicatif::HumanBytes(bytes),
        number(others as u64, "file"),
        number(records, "record"),
    )?;
    let (first, last) = (held().map(|held| held.first).min(), held().map(|held| held.last).max());
    match (first, last) {
        (Some(first), Some(last)) => {
            writeln!(out, "{} to {} UTC", csv_time(first), csv_time(last))
        }
        _ => Ok(()),
    }
}

/// The version of the JSON document's form.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'s> {
    format: u32,
    logs: Vec<Log<'s>>,
    /// Files that are no logs, and archives.
    others: Vec<Other<'s>>,
}

#[derive(Serialize)]
struct Other<'s> {
    path: String,
    size: u64,
    kind: InputKind,
    faults: &'s [Fault],
}

#[derive(Serialize)]
struct Log<'s> {
    path: String,
    size: u64,
    sha256: Option<&'s str>,
    kind: InputKind,
    header: Option<EvtxFileHeader>,
    chunks: u64,
    records: u64,
    relevant: u64,
    record_numbers: Option<(u64, u64)>,
    wrapped: bool,
    holds: Vec<Channel<'s>>,
    events: Vec<Kind<'s>>,
    untold: u64,
    cleared: Vec<Clearing<'s>>,
    faults: &'s [Fault],
}

#[derive(Serialize)]
struct Channel<'s> {
    host: &'s str,
    channel: &'s str,
    records: u64,
    first: String,
    last: String,
    record_ids: (u64, u64),
    /// Null where there are more than 32.
    gaps: Option<Vec<Hole>>,
}

#[derive(Serialize)]
struct Hole {
    before: u64,
    after: u64,
    missing: u64,
    from: String,
    to: String,
}

#[derive(Serialize)]
struct Kind<'s> {
    provider: &'s str,
    event_id: u32,
    records: u64,
    relevant: u64,
}

#[derive(Serialize)]
struct Clearing<'s> {
    time: String,
    host: &'s str,
    log: &'s str,
    account: Option<String>,
    record_id: u64,
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn json(surveys: &[Survey], out: &mut impl Write) -> io::Result<()> {
    let path = |survey: &Survey| survey.input.path.display().to_string();
    let others = surveys.iter().filter(|survey| !survey.input.kind.is_log());
    let others = others.map(|survey| Other {
        path: path(survey),
        size: survey.input.size,
        kind: survey.input.kind,
        faults: &survey.faults,
    });
    let logs = surveys.iter().filter(is_log).map(|survey| Log {
        path: path(survey),
        size: survey.input.size,
        sha256: survey.sha256.as_deref(),
        kind: survey.input.kind,
        header: survey.header,
        chunks: survey.chunks,
        records: survey.records,
        relevant: survey.relevant,
        record_numbers: survey.numbers,
        wrapped: survey.wrapped,
        holds: survey.held.iter().map(channel).collect(),
        events: survey
            .events
            .iter()
            .map(|EventCount { event_id, provider, records, relevant }| Kind {
                provider,
                event_id: *event_id,
                records: *records,
                relevant: *relevant,
            })
            .collect(),
        untold: survey.not_listed,
        cleared: survey
            .cleared
            .iter()
            .map(|cleared| Clearing {
                time: time(cleared.time),
                host: &cleared.host,
                log: &cleared.log,
                account: cleared.account.as_ref().map(ToString::to_string),
                record_id: cleared.record_id,
            })
            .collect(),
        faults: &survey.faults,
    });
    let document = Document { format: FORMAT, logs: logs.collect(), others: others.collect() };
    let text = serde_json::to_string_pretty(&document)?;
    // A terminal may be what reads it: what reorders text is escaped, which JSON takes for the same.
    for line in text.lines() {
        match visible(line) {
            Cow::Borrowed(line) => writeln!(out, "{line}")?,
            Cow::Owned(_) => writeln!(out, "{}", ascii(line))?,
        }
    }
    Ok(())
}

/// A line of JSON with everything but ASCII escaped.
fn ascii(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            ' '..='~' => text.push(c),
            c => {
                let mut room = [0; 2];
                let units = c.encode_utf16(&mut room).iter().map(|unit| format!("\\u{unit:04x}"));
                text.extend(units.collect::<Vec<_>>());
            }
        }
    }
    text
}

fn channel(held: &HostChannel) -> Channel<'_> {
    let holes = held.gaps.as_ref().map(|gaps| {
        let hole = |gap: &crate::model::Gap| Hole {
            before: gap.before.record_id,
            after: gap.after.record_id,
            missing: gap.missing(),
            from: time(gap.before.time),
            to: time(gap.after.time),
        };
        gaps.iter().map(hole).collect()
    });
    Channel {
        host: &held.host,
        channel: &held.channel,
        records: held.records,
        first: time(held.first),
        last: time(held.last),
        record_ids: held.record_ids,
        gaps: holes,
    }
}
