//! The sessions' stories as data, some in a block, so that a page opens without reading them all.

use std::io;
use std::mem::size_of;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::data;
use super::text::{line, lines};
use crate::model::{Command as Ran, csv_time, short_name};
use crate::report::story::{self, Statement, Story};
use crate::report::told::{self, Clock, FEW, Files};

/// Bytes of text of a session's steps, after which the others are left out: `explain` and the CSV
/// files have them.
const MOST_TEXT: usize = 1 << 20;
/// Layers of a command, and invocations, that are shown.
const MOST_LISTED: usize = 64;

/// Times as files have them.
struct InUtc;

impl Clock for InUtc {
    fn exact(&self, time: DateTime<Utc>) -> String {
        csv_time(time)
    }

    fn seconds(&self, time: DateTime<Utc>) -> String {
        time.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn mark(&self, _: DateTime<Utc>) -> String {
        "UTC".to_owned()
    }
}

/// A session as it is told.
#[derive(Serialize)]
pub(in crate::report) struct Tale {
    title: String,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    /// Steps that are left out.
    left_out: usize,
    why: Vec<String>,
    against: Vec<String>,
    /// How much of its time each log covers.
    covered: Vec<String>,
    missing: Vec<String>,
    collect: Vec<String>,
    files: Vec<String>,
}

/// A record, or a command.
#[derive(Serialize)]
struct Step {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<String>,
    host: String,
    /// What it is, in this program's words; empty for a command.
    kind: String,
    text: String,
    /// What ties it to the session.
    #[serde(skip_serializing_if = "String::is_empty")]
    tie: String,
    records: Vec<String>,
    /// Records like it that follow, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<(usize, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
}

/// What a command has besides a record.
#[derive(Serialize)]
struct Command {
    id: String,
    role: String,
    /// The command that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    depth: u32,
    completeness: String,
    invoked: Vec<String>,
    output: String,
    errors: String,
    state: String,
    missing: Vec<String>,
    /// The text as logged, where the step's is decoded.
    original: String,
    /// How each layer was hidden and its text, outer ones first, with how deep it lies.
    layers: Vec<(usize, String, String)>,
}

/// A block of the page, the first of which is 0.
pub(super) fn block(number: usize, tales: &[Tale]) -> io::Result<String> {
    data::block(&format!("stories-{number}"), &tales)
}

/// Tells a session; `ran` are its commands in the story's order.
pub(super) fn tale(story: &Story, ran: &[&Ran]) -> Tale {
    let files = Files::of(story);
    let all = |texts: Vec<String>| texts.iter().map(|text| line(text)).collect::<Vec<_>>();
    let facts = told::facts(story, &files, &InUtc).into_iter();
    let (steps, left_out) = steps(story, &files, ran);
    let source = &story.source;
    let winner = source.winner.iter().map(|hint| told::hint(hint, &files));
    let winner = winner.map(|hint| format!("the source: {hint}"));
    let agreeing = source.agreeing.iter().map(|hint| told::hint(hint, &files));
    let agreeing = agreeing.map(|hint| format!("agrees on the source: {hint}"));
    let why = story.confidence.reasons.iter().cloned().chain(winner).chain(agreeing);
    let mut against = all(told::against(story, &files));
    if against.is_empty() {
        against.push(told::NOTHING_AGAINST.to_owned());
    }
    let mut missing: Vec<String> = all(story.missing.iter().map(told::missing).collect());
    if missing.is_empty() {
        missing.push(told::NOTHING_MISSING.to_owned());
    }
    Tale {
        title: line(&told::title(story)),
        facts: facts.map(|(name, text)| (name, line(&text))).collect(),
        steps,
        left_out,
        why: all(why.collect()),
        against,
        covered: all(story.log_coverage.iter().map(told::covered).collect()),
        missing,
        collect: all(story.collect.iter().map(|one| told::collect(one, &InUtc)).collect()),
        files: files.names().map(|(name, number)| format!("[{number}] {}", line(name))).collect(),
    }
}

/// The steps as far as they are shown, and how many are not.
fn steps(story: &Story, files: &Files<'_>, ran: &[&Ran]) -> (Vec<Step>, usize) {
    let mut steps = Vec::new();
    let mut room = MOST_TEXT;
    let mut left_out = 0;
    let by_id: std::collections::BTreeMap<&str, &Ran> =
        story.commands.iter().map(|c| c.command_id.as_str()).zip(ran.iter().copied()).collect();
    let mut push = |step: &mut dyn FnMut() -> Step| {
        if room == 0 {
            left_out += 1;
            return;
        }
        let step = step();
        room = room.saturating_sub(step.size());
        steps.push(step);
    };
    for step in told::steps(story) {
        match step {
            told::Step::Statement(first, more) if more.len() >= FEW => push(&mut || {
                let last = more.last().map_or(first.time, |last| last.time);
                Step { more: Some((more.len(), csv_time(last))), ..statement(first, files) }
            }),
            told::Step::Statement(first, more) => {
                for one in std::iter::once(first).chain(more) {
                    push(&mut || statement(one, files));
                }
            }
            told::Step::Command(command, first) => push(&mut || {
                self::command(
                    command,
                    first,
                    files,
                    by_id.get(command.command_id.as_str()).copied(),
                )
            }),
        }
    }
    (steps, left_out)
}

impl Step {
    /// Its bytes, more or less.
    fn size(&self) -> usize {
        let command = self.command.as_ref().map_or(0, |command| {
            let Command { invoked, output, errors, missing, original, layers, .. } = command;
            let lists = invoked.iter().chain(missing).map(String::len).sum::<usize>();
            let layers = layers.iter().map(|(.., text)| text.len()).sum::<usize>();
            output.len() + errors.len() + original.len() + lists + layers
        });
        let records = self.records.iter().map(String::len).sum::<usize>();
        size_of::<Step>() + self.text.len() + self.tie.len() + records + command
    }
}

fn statement(statement: &Statement, files: &Files<'_>) -> Step {
    let Statement { time, corrected, host, kind, text, .. } = statement;
    Step {
        time: csv_time(*time),
        corrected: self::corrected(*time, *corrected),
        host: line(short_name(host)),
        kind: kind.replace('_', " "),
        text: line(text),
        tie: line(&told::tie(statement)),
        records: vec![line(&told::place(statement, files))],
        more: None,
        command: None,
    }
}

/// A corrected time where it is another one: to the millisecond, as no clock is known better.
fn corrected(time: DateTime<Utc>, corrected: Option<DateTime<Utc>>) -> Option<String> {
    let corrected = corrected.filter(|corrected| *corrected != time)?;
    let form = if corrected.date_naive() == time.date_naive() { "" } else { "%Y-%m-%d " };
    Some(corrected.format(&format!("{form}%H:%M:%S%.3f")).to_string())
}

fn command(
    command: &story::Command,
    first: Option<&Statement>,
    files: &Files<'_>,
    ran: Option<&Ran>,
) -> Step {
    let story::Command { time, text, answer, .. } = command;
    let others = command.evidence.iter();
    let others = others.filter(|pointer| first.is_none_or(|first| first.evidence != **pointer));
    let first_place = first.map(|first| told::place(first, files));
    let records = first_place.into_iter().chain(others.map(|pointer| files.record(pointer)));
    let (output, errors, state, missing) = match answer {
        Some(answer) => {
            let missing = answer.missing.iter().map(|text| line(text)).collect();
            (lines(&answer.output), lines(&answer.errors), line(&answer.state), missing)
        }
        None => Default::default(),
    };
    Step {
        time: csv_time(*time),
        corrected: first.and_then(|first| self::corrected(*time, first.corrected)),
        host: line(first.map_or("", |first| short_name(&first.host))),
        kind: String::new(),
        text: lines(text),
        tie: first.map(|first| line(&told::tie(first))).unwrap_or_default(),
        records: records.map(|text| line(&text)).take(MOST_LISTED).collect(),
        more: None,
        command: Some(Command {
            id: command.command_id.clone(),
            role: command.role.clone(),
            parent: command.parent.clone(),
            depth: command.depth,
            completeness: line(&command.completeness),
            invoked: command.invocations.iter().take(MOST_LISTED).map(|text| line(text)).collect(),
            output,
            errors,
            state,
            missing,
            original: command.original.as_deref().map(lines).unwrap_or_default(),
            layers: ran.map(layers).unwrap_or_default(),
        }),
    }
}

/// The layers of a command but the last, which is its text, and the programs in it.
fn layers(ran: &Ran) -> Vec<(usize, String, String)> {
    let hidden = &ran.hidden;
    let last = hidden.layers.len().saturating_sub(1);
    let layers = hidden.layers[..last].iter().map(|layer| {
        let how = layer.how.as_str().replace('_', " ");
        (hidden.depth(layer.parent) + 1, how, lines(&layer.text))
    });
    let programs = hidden.binaries.iter().map(|binary| {
        let text = format!("{}, {} bytes", binary.kind, binary.size);
        (hidden.depth(binary.parent) + 1, "program".to_owned(), text)
    });
    layers.chain(programs).take(MOST_LISTED).collect()
}
