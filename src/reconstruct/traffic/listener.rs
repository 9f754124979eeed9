//! Traffic to conversations, host by host and a part at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use psrp::{
    Conversation, Direction, Exchange, Lane, MessageHeader, Pipeline, RunspacePool, Shell,
    ShellCommand,
};

use super::logs::{Logs, Overheard};
use super::shown::shown;
use super::talk::{AskedBy, MOST_GAPS, MOST_PROOFS, Said, Tag, Talk};
use crate::model::{
    Completeness, Heard, HostIdx, HostName, IdxVec, Line, LoggedId, RecordRef, ShellKind, Stream,
    index_types,
};
use crate::reconstruct::gather::Gathered;
use crate::reconstruct::hosts::Hosts;

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

/// All conversations, by host, in order of time.
pub(in crate::reconstruct) fn listen(
    gathered: &[Gathered],
    hosts: &Hosts,
    logs: &impl Logs,
) -> Vec<Talk> {
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
            let part = self.exchange.take_completed();
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
            let head = gap.head.as_deref().and_then(|head| MessageHeader::parse(head).ok());
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

    fn pool(
        &mut self,
        conversation: &Conversation<Tag>,
        pool: &RunspacePool,
        shell: Option<&Shell<Tag>>,
    ) {
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
fn by_pool(conversation: &Conversation<Tag>) -> BTreeMap<psrp::WireGuid, usize> {
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

#[cfg(test)]
mod tests;
