//! Remoting's own traffic, where Analytic logs hold it: read a second time, host by host, and tied to
//! sessions by ids.
//!
//! A conversation is one runspace pool's, or one plain shell's. It belongs to the session whose
//! host process served it, whose WinRM 91 names its shell, or whose client's pool has its id
//! (8193 to 8197 have it as ActivityID). One that none of these ties belongs to none: its records
//! are in the timeline.

mod tie;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use psrp::{Conversation, Direction, Exchange, Header, Lane, Pipeline, Pool, Shell, ShellCommand};

use super::{Gathered, Hosts, ProcessIdx};
use crate::model::{
    Account, Completeness, Event, EventIdx, Heard, HostIdx, HostName, IdxVec, Line, LoggedId,
    RecordRef, ShellKind, Stream, index_types,
};
use crate::normalise::Wire;

pub(super) use tie::{Caller, introduce, tie};

/// Most bytes of traffic that are held at once. Of a host with more, it is taken down in parts.
/// Parts are cut where nothing was logged for a while, so that what came in two traces, or twice,
/// is told once; a host that never rests is cut at half as much again.
const MOST_HELD: usize = 128 << 20;
/// What a piece of traffic takes besides its bytes.
const PIECE: usize = 1 << 10;
/// How long nothing is logged where a part may be cut.
const QUIET: TimeDelta = TimeDelta::seconds(1);
/// Records read at once.
const AT_ONCE: usize = 4096;
/// Most bytes kept of what one command showed.
const LONGEST_SHOWN: usize = 1 << 20;
/// Most bytes kept of what all commands showed.
const MOST_SHOWN: usize = 256 << 20;
/// Most records that are named as evidence of one command's traffic.
const MOST_PROOFS: usize = 100;
/// Most sentences on what is missing of one command.
const MOST_GAPS: usize = 20;

/// Reads records again by their places.
pub trait Logs {
    /// The events of some records.
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event>;
    /// What some records hold of remoting's traffic.
    fn traffic(&self, records: Vec<RecordRef>) -> Vec<Overheard>;
}

/// A few events at hand, for small cases: they hold no traffic.
impl Logs for &[Event] {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        self.iter().filter(|event| records.contains(&event.source)).cloned().collect()
    }

    fn traffic(&self, _: Vec<RecordRef>) -> Vec<Overheard> {
        Vec::new()
    }
}

/// A piece of traffic, and the record that holds it.
#[derive(Debug, Clone)]
pub struct Overheard {
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// Where its record lies.
    pub source: RecordRef,
    /// The record's event id.
    pub event_id: u32,
    /// What it holds.
    pub wire: Wire,
}

/// What tells a record: when, where, which.
type Tag = (DateTime<Utc>, RecordRef, u32);

/// What one runspace pool or plain shell said, as one host's log has it.
#[derive(Debug)]
pub(super) struct Talk {
    /// The pool's or shell's id, and the shell's where that is another one.
    ids: BTreeSet<LoggedId>,
    /// The logging host.
    pub host: HostName,
    /// The host process that served it, where this host is the target.
    pub served_by: Option<u32>,
    /// When its first and last records were logged.
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
    /// Who asked for its shell, where SOAP documents tell.
    asked_by: AskedBy,
    /// Its commands, in order.
    said: Vec<Said>,
}

/// What the documents that made a shell tell of the client.
#[derive(Debug, Default)]
struct AskedBy {
    /// Owner, in the server's answer.
    account: Option<Account>,
    /// ClientIP, in the server's answer.
    ip: Option<String>,
    /// To, in the client's request: a URL.
    to: Option<String>,
    /// The records that tell.
    records: Vec<RecordRef>,
}

impl AskedBy {
    fn of(shell: &Shell<Tag>) -> AskedBy {
        AskedBy {
            account: shell.owner.as_deref().and_then(Account::parse),
            ip: shell.client_ip.clone().filter(|ip| !ip.is_empty()),
            to: shell.to.clone(),
            records: shell.told_by.iter().map(|&(_, source, _)| source).collect(),
        }
    }

    /// Takes what is not known yet.
    fn add(&mut self, other: AskedBy) {
        self.account = self.account.take().or(other.account);
        self.ip = self.ip.take().or(other.ip);
        self.to = self.to.take().or(other.to);
        self.records.extend(other.records);
        self.records.truncate(MOST_PROOFS);
    }
}

/// A command in a conversation.
#[derive(Debug)]
pub(super) struct Said {
    /// When it was sent.
    pub time: DateTime<Utc>,
    /// As one could type it; empty where that is lost.
    pub text: String,
    /// The text of each script in it, else the name of each command.
    pub parts: Vec<String>,
    /// What of the command is there.
    pub completeness: Completeness,
    /// It asks for the metadata of commands, and runs none.
    pub asks_metadata: bool,
    records: Vec<RecordRef>,
    pub heard: Heard,
}

/// A session's command, and the indexes of its events.
#[derive(Debug)]
pub(super) struct Spoken {
    pub said: Said,
    pub host: HostName,
    /// Index of the host process.
    pub process: Option<ProcessIdx>,
    /// Its first one tells the command.
    pub events: Vec<EventIdx>,
}

impl Talk {
    /// The records that prove it.
    pub fn records(&self) -> impl Iterator<Item = RecordRef> {
        let said = self.said.iter().flat_map(|said| said.records.iter().copied());
        said.chain(self.asked_by.records.iter().copied())
    }
}

impl Said {
    /// Takes what a later part of the traffic has of the same command.
    fn goes_on(&mut self, later: Said) {
        if !self.completeness.is_whole() && later.completeness.is_whole() {
            (self.text, self.parts) = (later.text, later.parts);
            self.asks_metadata = later.asks_metadata;
            self.completeness = later.completeness;
        }
        self.time = self.time.min(later.time);
        self.records.extend(later.records);
        self.records.truncate(MOST_PROOFS);
        let Heard { lines, state, ended, gaps, .. } = later.heard;
        self.heard.lines.extend(lines);
        self.heard.gaps.extend(gaps);
        self.heard.gaps.truncate(MOST_GAPS + 1);
        if !state.is_empty() {
            (self.heard.state, self.heard.ended) = (state, ended);
        }
    }
}

/// All conversations, by host, in order of time.
pub(super) fn listen(gathered: &[Gathered], hosts: &Hosts, logs: &impl Logs) -> Vec<Talk> {
    let mut by_host: BTreeMap<HostIdx, Vec<(DateTime<Utc>, RecordRef)>> = BTreeMap::new();
    for (host, one) in hosts.each(gathered, |task| &task.traffic) {
        by_host.entry(host).or_default().push((one.mark.time, one.mark.source));
    }
    let (mut talks, mut room) = (Vec::new(), MOST_SHOWN);
    for (host, mut marks) in by_host {
        marks.sort_unstable();
        let mut listener = Listener::new(hosts.full_name(host).clone(), room);
        for records in marks.chunks(AT_ONCE) {
            let mut overheard = logs.traffic(records.iter().map(|&(_, source)| source).collect());
            overheard.sort_unstable_by_key(|one| (one.time, one.source));
            overheard.into_iter().for_each(|one| listener.hear(one));
        }
        listener.finish();
        room = listener.room;
        talks.extend(listener.talks);
    }
    talks
}

index_types! {
    /// Index of a conversation among those of a host.
    TalkIdx;
}

/// Hears one host.
struct Listener {
    host: HostName,
    exchange: Exchange<Tag>,
    held: usize,
    most_held: usize,
    /// When the latest record was logged.
    latest: DateTime<Utc>,
    /// Bytes that may still be kept of what commands showed.
    room: usize,
    talks: IdxVec<TalkIdx, Talk>,
    by_id: BTreeMap<LoggedId, TalkIdx>,
    /// By talk and pipeline or command, where in what the talk said it is.
    places: BTreeMap<(TalkIdx, String), usize>,
}

impl Listener {
    fn new(host: HostName, room: usize) -> Listener {
        Listener {
            host,
            exchange: Exchange::new(),
            held: 0,
            most_held: MOST_HELD,
            latest: DateTime::UNIX_EPOCH,
            room,
            talks: IdxVec::new(),
            by_id: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    fn hear(&mut self, one: Overheard) {
        let Overheard { time, source, event_id, wire } = one;
        let is_quiet = time - self.latest > QUIET;
        if self.held > self.most_held && (is_quiet || self.held > self.most_held / 2 * 3) {
            let part = self.exchange.part();
            self.take_down(&part);
            self.held = 0;
        }
        self.latest = time;
        self.held += wire.length() + PIECE;
        wire.add_to(&mut self.exchange, (time, source, event_id));
    }

    fn finish(&mut self) {
        let rest = std::mem::take(&mut self.exchange).finish();
        self.take_down(&rest);
    }

    /// Takes down what a part of the traffic says.
    fn take_down(&mut self, conversation: &Conversation<Tag>) {
        let shells = by_pool(conversation);
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        for pool in conversation.pools() {
            let shell = shells.get(&pool.id).map(|&at| &conversation.shells[at]);
            taken.extend(shells.get(&pool.id));
            self.pool(conversation, &pool, shell);
        }
        for (at, shell) in conversation.shells.iter().enumerate() {
            if !taken.contains(&at) {
                self.shell(shell);
            }
        }
        // Of a pipeline that a part before this one told, only what is missing may be left to say.
        for gap in &conversation.gaps {
            let head = gap.head.as_deref().and_then(|head| Header::parse(head).ok());
            let ids =
                head.and_then(|head| Some((head.pool.to_string(), head.pipeline?.to_string())));
            let said = ids.and_then(|(pool, id)| {
                let talk = *self.by_id.get(&LoggedId::parse(&pool)?)?;
                let place = *self.places.get(&(talk, id))?;
                self.talks[talk].said.get_mut(place)
            });
            let sentence = gap.sentence();
            if let Some(said) = said
                && said.heard.gaps.len() < MOST_GAPS
                && !said.heard.gaps.contains(&sentence)
            {
                said.heard.gaps.push(sentence);
            }
        }
    }

    fn pool(&mut self, conversation: &Conversation<Tag>, pool: &Pool, shell: Option<&Shell<Tag>>) {
        let mut said = Vec::new();
        let (mut served_by, mut span) = (None, None);
        let mut all = pool.messages.clone();
        for &id in &pool.pipelines {
            let pipeline = conversation.pipeline(pool.id, id);
            let line = shell.and_then(|shell| line_of(shell, &id.to_string()));
            all.extend(&pipeline.messages);
            said.push(self.said(conversation, &pipeline, line));
        }
        for message in all.iter().map(|&at| &conversation.messages[at]) {
            message.tags.iter().for_each(|&(time, ..)| widen(&mut span, time));
            // Who received what goes to the server, or sent what comes from it, is the server.
            if let Lane::Process { process, received, .. } = message.lane
                && received == (message.header.direction == Direction::ToServer)
            {
                served_by.get_or_insert(process);
            }
        }
        let (pool_id, shell_id) =
            (pool.id.to_string(), shell.and_then(|shell| shell.id.as_deref()));
        let ids = [Some(&*pool_id), shell_id].into_iter().flatten();
        let ids: BTreeSet<LoggedId> = ids.filter_map(LoggedId::parse).collect();
        let asked_by = shell.map(AskedBy::of).unwrap_or_default();
        self.add(ids, served_by.or(shell.and_then(served)), span, asked_by, said);
    }

    /// A shell of `winrs`, or one whose streams are no fragments.
    fn shell(&mut self, shell: &Shell<Tag>) {
        let uri = shell.resource_uri.as_deref().unwrap_or_default();
        if ShellKind::of(uri).0 == ShellKind::PowerShell {
            return;
        }
        let Some(id) = shell.id.as_deref().and_then(LoggedId::parse) else { return };
        let mut span = None;
        shell.tags.iter().for_each(|&(time, ..)| widen(&mut span, time));
        let said = shell.commands.iter().filter_map(|command| self.plain(command)).collect();
        self.add(BTreeSet::from([id]), served(shell), span, AskedBy::of(shell), said);
    }

    fn add(
        &mut self,
        ids: BTreeSet<LoggedId>,
        served_by: Option<u32>,
        span: Option<(DateTime<Utc>, DateTime<Utc>)>,
        asked_by: AskedBy,
        said: Vec<Said>,
    ) {
        let Some((first, last)) = span else { return };
        let known = ids.iter().find_map(|id| self.by_id.get(id).copied());
        let at = known.unwrap_or_else(|| {
            self.talks.push(Talk {
                ids: BTreeSet::new(),
                host: self.host.clone(),
                served_by,
                first,
                last,
                asked_by: AskedBy::default(),
                said: Vec::new(),
            })
        });
        let talk = &mut self.talks[at];
        talk.served_by = talk.served_by.or(served_by);
        (talk.first, talk.last) = (talk.first.min(first), talk.last.max(last));
        talk.asked_by.add(asked_by);
        for said in said {
            let id = (at, said.heard.id.clone());
            match self.places.get(&id).filter(|_| !id.1.is_empty()) {
                Some(&place) => talk.said[place].goes_on(said),
                None => {
                    self.places.insert(id, talk.said.len());
                    talk.said.push(said);
                }
            }
        }
        for id in ids {
            self.by_id.entry(id.clone()).or_insert(at);
            talk.ids.insert(id);
        }
    }

    fn said(
        &mut self,
        conversation: &Conversation<Tag>,
        pipeline: &Pipeline,
        line: Option<&str>,
    ) -> Said {
        let tags = |at: usize| conversation.messages[at].tags.iter();
        let time_of = |at: usize| tags(at).map(|&(time, ..)| time).max().unwrap_or_default();
        let creation = pipeline.creation.as_ref().map(|&(_, at)| at);
        let asked = pipeline.metadata_request.as_ref().map(|&(_, at)| at);
        let begin = creation.or(asked);
        let first = begin.or(pipeline.messages.first().copied());
        let command = pipeline.command_text();
        let asks_metadata = command.is_none() && asked.is_some();
        let (text, completeness) = match (command, &pipeline.metadata_request) {
            (Some(text), _) => (text, Completeness::Whole),
            (None, Some((names, _))) => {
                (format!("(command metadata of {})", names.join(", ")), Completeness::Whole)
            }
            (None, None) => match line.filter(|line| !line.is_empty()) {
                Some(line) => (line.to_owned(), Completeness::StartLostLineKnown),
                None => (String::new(), Completeness::StartLost),
            },
        };
        let commands = pipeline.creation.iter().flat_map(|(creation, _)| &creation.commands);
        let parts = commands.map(|command| command.text.clone()).collect();
        let mut heard = Heard { id: pipeline.id.to_string(), ..Heard::default() };
        let (text, parts) = self.afford(text, parts, &mut heard);
        if let Some((state, at)) = pipeline.states.last() {
            heard.state.clone_from(state);
            heard.ended = Some(time_of(*at));
        }
        let mut room = LONGEST_SHOWN.min(self.room);
        for (stream, at, text) in shown(pipeline) {
            let text = match room.checked_sub(text.len()) {
                Some(left) => {
                    room = left;
                    text
                }
                None => {
                    heard.gaps.push("more came back than is shown".to_owned());
                    break;
                }
            };
            self.room -= text.len();
            heard.lines.push(Line { time: time_of(at), stream, text });
        }
        let gaps = pipeline.gaps.iter().map(|&at| conversation.gaps[at].sentence());
        let faults = pipeline.faults.iter().map(|&at| {
            let fault = &conversation.faults[at];
            let kind = fault.header.map_or("message", |header| header.kind.name());
            format!("a {kind} cannot be read: {}", fault.reason)
        });
        let damaged = pipeline.damaged.iter().map(|(damage, at)| {
            format!("a {} cannot be read: {damage}", conversation.messages[*at].header.kind.name())
        });
        let all = pipeline.gaps.len() + pipeline.faults.len() + pipeline.damaged.len();
        heard.gaps.extend(gaps.chain(faults).chain(damaged).take(MOST_GAPS));
        let untold = all.saturating_sub(MOST_GAPS);
        if untold > 0 {
            heard.gaps.push(format!("{untold} more messages are missing"));
        }
        let state = pipeline.states.last().map(|&(_, at)| at);
        let order = begin.into_iter().chain(state).chain(pipeline.messages.iter().copied());
        Said {
            time: first.map(time_of).unwrap_or_default(),
            text,
            parts,
            completeness,
            asks_metadata,
            records: proofs(order.flat_map(tags)),
            heard,
        }
    }

    /// A command's text and parts, cut where there is no room for them.
    fn afford(
        &mut self,
        mut text: String,
        mut parts: Vec<String>,
        heard: &mut Heard,
    ) -> (String, Vec<String>) {
        let end = text.floor_char_boundary(LONGEST_SHOWN.min(self.room));
        if end < text.len() {
            text.truncate(end);
            heard.gaps.push("its text is longer than is kept".to_owned());
        }
        self.room -= text.len();
        let length = parts.iter().map(String::len).sum();
        match self.room.checked_sub(length) {
            Some(room) => self.room = room,
            None => parts.clear(),
        }
        (text, parts)
    }

    /// A command line of a plain shell, with what its streams hold.
    fn plain(&mut self, command: &ShellCommand<Tag>) -> Option<Said> {
        let &(time, ..) = command.tags.first()?;
        let last = command.tags.iter().map(|&(time, ..)| time).max();
        let line = std::iter::once(&command.line).chain(&command.arguments);
        let text = line.map(String::as_str).collect::<Vec<_>>().join(" ");
        let mut heard = Heard { id: command.id.clone().unwrap_or_default(), ..Heard::default() };
        let (text, parts) = self.afford(text, vec![command.line.clone()], &mut heard);
        if let Some(code) = &command.exit_code {
            (heard.state, heard.ended) = (format!("exit code {code}"), last);
        }
        for name in command.streams.keys() {
            let stream = match name.as_str() {
                "stdin" => Stream::Input,
                "stderr" => Stream::Error,
                _ => Stream::Output,
            };
            let mut text = command.stream_text(name).unwrap_or_default();
            let end = text.floor_char_boundary(LONGEST_SHOWN.min(self.room));
            if end < text.len() || command.is_cut {
                text.truncate(end);
                heard.gaps.push(format!("more of {name} came than is shown"));
            }
            self.room -= text.len();
            heard.lines.push(Line { time, stream, text });
        }
        Some(Said {
            time,
            text,
            parts,
            completeness: Completeness::Whole,
            asks_metadata: false,
            records: proofs(command.tags.iter()),
            heard,
        })
    }
}

fn widen(span: &mut Option<(DateTime<Utc>, DateTime<Utc>)>, time: DateTime<Utc>) {
    let (first, last) = span.get_or_insert((time, time));
    (*first, *last) = ((*first).min(time), (*last).max(time));
}

fn proofs<'t>(tags: impl Iterator<Item = &'t Tag>) -> Vec<RecordRef> {
    let mut seen = BTreeSet::new();
    let records = tags.map(|&(_, source, _)| source).filter(|&source| seen.insert(source));
    records.take(MOST_PROOFS).collect()
}

/// The shells that carried each pool's messages, where one did.
fn by_pool(conversation: &Conversation<Tag>) -> BTreeMap<psrp::Guid, usize> {
    let mut shells = BTreeMap::new();
    for message in &conversation.messages {
        if let Lane::Shell { shell, .. } = message.lane {
            shells.entry(message.header.pool).or_insert(shell);
        }
    }
    shells
}

/// The host process of a shell, where the target's own log tells it.
fn served(shell: &Shell<Tag>) -> Option<u32> {
    let by_listener = shell.tags.iter().any(|&(_, _, id)| matches!(id, 772 | 1027 | 1044));
    shell.process_id.filter(|_| by_listener)
}

fn line_of<'s>(shell: &'s Shell<Tag>, id: &str) -> Option<&'s str> {
    let mut commands = shell.commands.iter();
    commands.find(|command| command.id.as_deref() == Some(id)).map(|command| &*command.line)
}

/// What a pipeline showed, in the order in which it was sent: what it is, the message that has it,
/// the text.
pub(crate) fn shown(pipeline: &Pipeline) -> Vec<(Stream, usize, String)> {
    let mut shown: Vec<(Stream, usize, String)> = Vec::new();
    let items = |items: &[psrp::Item], stream| {
        let lines = items.iter().map(|item| (stream, item.message, item.line()));
        lines.collect::<Vec<_>>()
    };
    shown.extend(items(&pipeline.input, Stream::Input));
    shown.extend(items(&pipeline.output, Stream::Output));
    for (stream, texts) in [
        (Stream::Warning, &pipeline.warnings),
        (Stream::Verbose, &pipeline.verbose),
        (Stream::Debug, &pipeline.debug),
    ] {
        shown.extend(texts.iter().map(|(text, at)| (stream, *at, text.clone())));
    }
    // What ends a pipeline comes as an error record of its last state.
    let errors = pipeline.errors.iter().chain(&pipeline.failure);
    shown.extend(errors.map(|(error, at)| (Stream::Error, *at, psrp::error(error))));
    let information = pipeline.information.iter();
    shown.extend(information.map(|(one, at)| (Stream::Information, *at, one.data.clone())));
    let calls = pipeline.host_calls.iter();
    let calls = calls.filter_map(|(call, at)| Some((Stream::Host, *at, psrp::host_call(call)?)));
    shown.extend(calls);
    if let Some(&(_, at)) = pipeline.progress.last() {
        let progress = psrp::progress(pipeline.progress.iter().map(|(one, _)| one));
        shown.extend(progress.into_iter().map(|text| (Stream::Progress, at, text)));
    }
    let places: BTreeMap<usize, usize> =
        pipeline.messages.iter().enumerate().map(|(place, &at)| (at, place)).collect();
    shown.sort_by_key(|(_, at, _)| places.get(at).copied());
    shown
}

#[cfg(test)]
mod tests;
