//! `psr-forensics explain`: sessions told in order from a folder of results.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;

use super::ending::Ending;
use super::paint::{HEAD, Painted};
use super::results::DEFAULT_OUTPUT;
use super::usage::Usage;
use super::who::Who;
use super::zone::{Shown, Zone};
use crate::error::Error;
use crate::model::short_name;
use crate::report::story::{self, Answer, Command, Pointer, Statement, Story};
use crate::report::told::{self, Files, Step};
use crate::report::visible;
use crate::rows::Scope;

/// Most names that a message lists.
const MOST_NAMES: usize = 20;
/// Most lines of a command that are shown.
const MOST_LINES: usize = 12;
/// Most records of a command that are named besides its first.
const MOST_RECORDS: usize = 5;
/// Longest text of a statement that is shown, in characters.
const MAX_SHOWN: usize = 240;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics explain S0001 -o results
  psr-forensics explain all -o results --timezone Europe/Berlin
  psr-forensics explain --host SRV02 --user adm.lee -o results";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Sessions, as in sessions.csv: S0001; `all` for all of them
    #[arg(required_unless_present_any = ["hosts", "users"], value_name = "SESSION")]
    sessions: Vec<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    zone: Shown,
    /// Folder with the results of `analyze`
    #[arg(short, long, value_name = "DIR", default_value = DEFAULT_OUTPUT)]
    output: PathBuf,
}

/// What of a line says whether it is wanted.
#[derive(Deserialize)]
struct Name {
    format: u32,
    session_id: String,
    source_host: Option<String>,
    source_ip: Option<String>,
    target_host: String,
    user: Option<String>,
}

impl Name {
    fn is_of(&self, scope: &Scope) -> bool {
        let sources = self.source_host.iter().chain(&self.source_ip).map(String::as_str);
        scope.takes(sources.chain([self.target_host.as_str()]), self.user.as_deref())
    }
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    let path = args.output.join(story::FILE);
    let names = names(&args.output, &path)?;
    let everyone = [String::from("all")];
    let asked = if args.sessions.is_empty() { &everyone[..] } else { &args.sessions };
    let mut wanted = BTreeSet::new();
    for asked in asked {
        let same = |name: &&String| name.eq_ignore_ascii_case(asked);
        match names.iter().find(same) {
            Some(name) => {
                wanted.insert(name.as_str());
            }
            None if asked.eq_ignore_ascii_case("all") => {
                wanted.extend(names.iter().map(String::as_str));
            }
            None => {
                return Err(unknown(asked, &names).into());
            }
        }
    }
    let scope = args.who.scope();
    let mut out = anstream::stdout().lock();
    let zone = args.zone.timezone;
    let mut first = true;
    each_line(&path, |line| {
        let name: Name = serde_json::from_str(line)?;
        if wanted.contains(name.session_id.as_str()) && name.is_of(&scope) {
            let told: Story = serde_json::from_str(line)?;
            let mut text = Vec::new();
            if !first {
                text.extend_from_slice(b"\n");
            }
            first = false;
            tell(&told, zone, &mut text)?;
            // A reader that closed the pipe has seen enough.
            let _ = out.write_all(&text);
        }
        Ok(())
    })?;
    let _ = out.flush();
    if first && !args.who.words().is_empty() {
        return Err(unknown(&args.who.words(), &names).into());
    }
    Ok(Ending::Whole)
}

/// The sessions there are.
fn names(folder: &Path, path: &Path) -> Result<Vec<String>> {
    if !path.is_file() {
        let reason = match folder.join("sessions.csv").is_file() {
            true => "results of an older version: run analyze again".to_owned(),
            false => format!("no {} in it: name the folder of a run with --output", story::FILE),
        };
        return Err(Error::NoResults { path: folder.to_owned(), reason }.into());
    }
    let mut names = Vec::new();
    each_line(path, |line| {
        let Name { format, session_id, .. } = serde_json::from_str(line)?;
        anyhow::ensure!(format == story::FORMAT, "another version");
        names.push(session_id);
        Ok(())
    })?;
    Ok(names)
}

/// Gives each line of the file; what it cannot be read as is one error for all.
fn each_line(path: &Path, mut take: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let foreign = |reason: String| {
        let reason = format!("{reason}: run analyze again, with this version");
        anyhow::Error::from(Error::NoResults { path: path.to_owned(), reason })
    };
    let file = File::open(path).map_err(|error| foreign(format!("cannot be read ({error})")))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| foreign(format!("cannot be read ({error})")))?;
        let read = take(&line);
        read.map_err(|_| foreign(format!("line {} is not of this version", number + 1)))?;
    }
    Ok(())
}

/// That no session is what was asked for.
fn unknown(wanted: &str, names: &[String]) -> Usage {
    Usage(format!("no session '{}': {}", visible(wanted), known(names)))
}

/// The names there are, for a message.
fn known(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).map(|name| visible(name).into_owned());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "these results hold no session".to_owned(),
        n if n > MOST_NAMES => format!("there are {shown} and {} more", n - MOST_NAMES),
        _ => format!("there are {shown}"),
    }
}

/// Tells a session.
fn tell(story: &Story, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    let files = Files::of(story);
    head(story, &files, zone, out)?;
    happened(story, &files, zone, out)?;
    for_it(story, &files, out)?;
    against(story, &files, out)?;
    missing(story, zone, out)?;
    list(&files, out)
}

fn list(files: &Files<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{}", Painted(HEAD, "Files"))?;
    files.names().try_for_each(|(name, number)| writeln!(out, "  [{number}] {}", visible(name)))
}

/// Who, from where, to where, when, how.
fn head(story: &Story, files: &Files<'_>, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}  {}\n", visible(&story.session_id), visible(&told::title(story)))?;
    let facts = told::facts(story, files, &zone);
    facts.iter().try_for_each(|(name, text)| row(out, name, text))
}

fn row(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<11} {}", visible(text))
}

/// The beginning of a text, for one line.
fn short(text: &str) -> String {
    let shown = visible(text);
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

fn happened(story: &Story, files: &Files<'_>, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    let corrected = story.statements.iter().any(|statement| statement.corrected.is_some());
    let by = if corrected { ", and by corrected clocks in brackets and order" } else { "" };
    let name = zone.name();
    writeln!(out, "\n{} ({name}, as logged{by})", Painted(HEAD, "What happened"))?;
    if zone != Zone::Utc {
        writeln!(out, "  times that texts and reasons quote are UTC, as in the files")?;
    }
    let mut day = Day { zone, latest: None };
    for step in told::steps(story) {
        match step {
            Step::Statement(statement, more) if more.len() >= told::FEW => {
                self::statement(statement, files, &mut day, out)?;
                let last = more.last().map_or(statement.time, |last| last.time);
                let (count, last) = (more.len(), zone.local(last).format("%H:%M:%S%.3f"));
                writeln!(out, "      and {count} more like it until {last}, see timeline.csv")?;
            }
            Step::Statement(statement, more) => {
                for statement in [statement].into_iter().chain(more) {
                    self::statement(statement, files, &mut day, out)?;
                }
            }
            Step::Command(command, statement) => {
                self::command(command, statement, files, &mut day, out)?
            }
        }
    }
    Ok(())
}

/// The day told last, in the zone that times are told in.
struct Day {
    zone: Zone,
    latest: Option<NaiveDate>,
}

/// A line for a new day, then the time, and the corrected one where it is another.
fn clock(
    time: DateTime<Utc>,
    corrected: Option<DateTime<Utc>>,
    Day { zone, latest }: &mut Day,
    out: &mut impl Write,
) -> io::Result<()> {
    let day = zone.local(time).date();
    if latest.replace(day) != Some(day) {
        writeln!(out, "  {day}")?;
    }
    let clock = |time: DateTime<Utc>| zone.local(time).format("%H:%M:%S%.3f").to_string();
    write!(out, "  {}  ", clock(time))?;
    match corrected.map(clock).filter(|corrected| *corrected != clock(time)) {
        Some(corrected) => write!(out, "({corrected})  "),
        None => Ok(()),
    }
}

fn statement(
    statement: &Statement,
    files: &Files<'_>,
    day: &mut Day,
    out: &mut impl Write,
) -> io::Result<()> {
    let Statement { host, kind, text, .. } = statement;
    clock(statement.time, statement.corrected, day, out)?;
    let label = visible(short_name(host));
    writeln!(out, "{label}  {}: {}", visible(&kind.replace('_', " ")), short(text))?;
    proof(statement, files, "", out)
}

/// Why a record is the session's, and where it is.
fn proof(
    statement: &Statement,
    files: &Files<'_>,
    indent: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "      {indent}{}", visible(&told::tie(statement)))?;
    writeln!(out, "      {indent}{}", visible(&told::place(statement, files)))
}

fn command(
    command: &Command,
    statement: Option<&Statement>,
    files: &Files<'_>,
    day: &mut Day,
    out: &mut impl Write,
) -> io::Result<()> {
    let corrected = statement.and_then(|statement| statement.corrected);
    clock(command.time, corrected, day, out)?;
    let host = statement.map_or("", |statement| &statement.host);
    let indent = "  ".repeat(command.depth.min(16) as usize);
    let lines: Vec<&str> = command.text.lines().collect();
    let first = lines.first().copied().unwrap_or_default();
    let by = match command.role.as_str() {
        "called" => " (called by it)",
        "engine" => " (PowerShell itself)",
        _ => "",
    };
    writeln!(out, "{}  {indent}> {}{by}", visible(short_name(host)), short(first))?;
    for line in lines.iter().skip(1).take(MOST_LINES - 1) {
        writeln!(out, "      {indent}| {}", short(line))?;
    }
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        writeln!(out, "      {indent}| … {more} more lines, see commands.csv")?;
    }
    for invocation in command.invocations.iter().take(MOST_LINES) {
        writeln!(out, "      {indent}invoked: {}", short(invocation))?;
    }
    if command.invocations.len() > MOST_LINES {
        let more = command.invocations.len() - MOST_LINES;
        writeln!(out, "      {indent}invoked: … {more} more, see commands.csv")?;
    }
    if let Some(answer) = &command.answer {
        self::answer(answer, &indent, out)?;
    }
    if let Some(original) = &command.original {
        writeln!(out, "      {indent}decoded from: {}", short(original))?;
    }
    if let Some(statement) = statement {
        proof(statement, files, &indent, out)?;
    }
    let others = command.evidence.iter();
    let others = others.filter(|other| statement.is_none_or(|told| told.evidence != **other));
    let others: Vec<&Pointer> = others.collect();
    for pointer in others.iter().take(MOST_RECORDS) {
        writeln!(out, "      {indent}{}", visible(&files.record(pointer)))?;
    }
    match others.len().saturating_sub(MOST_RECORDS) {
        0 => Ok(()),
        more => writeln!(out, "      {indent}and {more} more records, see commands.csv"),
    }
}

/// What came back of a command, cut.
fn answer(answer: &Answer, indent: &str, out: &mut impl Write) -> io::Result<()> {
    for (mark, text) in [("<", &answer.output), ("!", &answer.errors)] {
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(MOST_LINES) {
            writeln!(out, "      {indent}{mark} {}", short(line))?;
        }
        if lines.len() > MOST_LINES {
            let more = lines.len() - MOST_LINES;
            writeln!(out, "      {indent}{mark} … {more} more lines, see commands.csv")?;
        }
    }
    for missing in &answer.missing {
        writeln!(out, "      {indent}missing: {}", short(missing))?;
    }
    match answer.state.as_str() {
        "" => Ok(()),
        state => writeln!(out, "      {indent}= {}", short(state)),
    }
}

fn for_it(story: &Story, files: &Files<'_>, out: &mut impl Write) -> io::Result<()> {
    let head = Painted(HEAD, "Why we say so");
    writeln!(out, "\n{head} (confidence {})", visible(&story.confidence.level))?;
    for reason in &story.confidence.reasons {
        writeln!(out, "  - {}", visible(reason))?;
    }
    if let Some(winner) = &story.source.winner {
        writeln!(out, "  - the source: {}", visible(&told::hint(winner, files)))?;
    }
    for agreeing in &story.source.agreeing {
        writeln!(out, "    agrees: {}", visible(&told::hint(agreeing, files)))?;
    }
    Ok(())
}

fn against(story: &Story, files: &Files<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{}", Painted(HEAD, "What speaks against it"))?;
    let against = told::against(story, files);
    for reason in &against {
        writeln!(out, "  - {}", visible(reason))?;
    }
    if against.is_empty() {
        writeln!(out, "  {}", told::NOTHING_AGAINST)?;
    }
    Ok(())
}

fn missing(story: &Story, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{}", Painted(HEAD, "What is missing, and what to collect next"))?;
    for covered in &story.log_coverage {
        writeln!(out, "  {}", visible(&told::covered(covered)))?;
    }
    for missing in &story.missing {
        writeln!(out, "  - {}", visible(&told::missing(missing)))?;
    }
    for collect in &story.collect {
        writeln!(out, "  collect {}", visible(&told::collect(collect, &zone)))?;
    }
    if story.missing.is_empty() {
        writeln!(out, "  {}", told::NOTHING_MISSING)?;
    }
    Ok(())
}
