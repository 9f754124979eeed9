//! Collects traffic into conversations, host by host and one part at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use psrp::{
    Conversation, Direction, Exchange, Lane, MessageHeader, Pipeline, RunspacePool, Shell,
    ShellCommand,
};

use super::conversation::{
    MOST_COMMAND_RECORDS, MOST_GAPS, PoolConversation, RecordTag, SentCommand, ShellClient,
};
use super::output::pipeline_output;
use super::reader::{RecordReader, TrafficRecord};
use crate::model::{
    Completeness, Heard, HostIdx, HostName, IdxVec, Line, LoggedId, RecordRef, ShellKind, Stream,
    index_types,
};
use crate::reconstruct::hosts::LoggingHosts;
use crate::reconstruct::marks::TaskMarks;

/// Most bytes of traffic that are held at once. The traffic of a host with more is collected in
/// parts. A part ends where nothing was logged for a while, so that records of two traces, or
/// copies, count once. A host that is never quiet is cut at one and a half times this size.
const MOST_HELD: usize = 128 << 20;
/// Bytes that a piece of traffic takes besides its content.
const PIECE_OVERHEAD: usize = 1 << 10;
/// How long a host must be quiet where a part may end.
const QUIET: TimeDelta = TimeDelta::seconds(1);
/// Most records that are read at once.
const READ_AT_ONCE: usize = 4096;
/// Most bytes that are kept of one command's output.
const LONGEST_SHOWN: usize = 1 << 20;
/// Most bytes that are kept of the output of all commands.
const MOST_SHOWN: usize = 256 << 20;

/// Returns all conversations, by host, in order of time.
pub(in crate::reconstruct) fn collect_traffic(
    task_marks: &[TaskMarks],
    hosts: &LoggingHosts,
    logs: &impl RecordReader,
) -> Vec<PoolConversation> {
    let mut by_host: BTreeMap<HostIdx, Vec<(DateTime<Utc>, RecordRef)>> = BTreeMap::new();
    for (host, one) in hosts.marks_with_host(task_marks, |task| &task.traffic) {
        by_host.entry(host).or_default().push((one.mark.time, one.mark.source));
    }
    let (mut conversations, mut room) = (Vec::new(), MOST_SHOWN);
    for (host, mut marks) in by_host {
        marks.sort_unstable();
        let mut collector = TrafficCollector::new(hosts.name_at(host).clone(), room);
        for records in marks.chunks(READ_AT_ONCE) {
            let mut records_read =
                logs.traffic(records.iter().map(|&(_, source)| source).collect());
            records_read.sort_unstable_by_key(|one| (one.time, one.source));
            records_read.into_iter().for_each(|one| collector.push(one));
        }
        collector.finish();
        room = collector.room;
        conversations.extend(collector.conversations);
    }
    conversations
}

index_types! {
    /// Index of a conversation among those of a host.
    ConversationIdx;
}

/// Collects the traffic of one host.
struct TrafficCollector {
    host: HostName,
    exchange: Exchange<RecordTag>,
    held: usize,
    most_held: usize,
    /// When the latest record was logged.
    latest: DateTime<Utc>,
    /// Bytes of output that may still be kept.
    room: usize,
    conversations: IdxVec<ConversationIdx, PoolConversation>,
    by_id: BTreeMap<LoggedId, ConversationIdx>,
    /// The position of each pipeline or command among the commands of its conversation.
    positions: BTreeMap<(ConversationIdx, String), usize>,
}

impl TrafficCollector {
    fn new(host: HostName, room: usize) -> TrafficCollector {
        TrafficCollector {
            host,
            exchange: Exchange::new(),
            held: 0,
            most_held: MOST_HELD,
            latest: DateTime::UNIX_EPOCH,
            room,
            conversations: IdxVec::new(),
            by_id: BTreeMap::new(),
            positions: BTreeMap::new(),
        }
    }

    fn push(&mut self, one: TrafficRecord) {
        let TrafficRecord { time, source, event_id, wire } = one;
        let is_quiet = time - self.latest > QUIET;
        if self.held > self.most_held && (is_quiet || self.held > self.most_held / 2 * 3) {
            let part = self.exchange.take_completed();
            self.collect(&part);
            self.held = 0;
        }
        self.latest = time;
        self.held += wire.length() + PIECE_OVERHEAD;
        wire.add_to(&mut self.exchange, (time, source, event_id));
    }

    fn finish(&mut self) {
        let rest = std::mem::take(&mut self.exchange).finish();
        self.collect(&rest);
    }

    /// Adds a part of the traffic to the conversations.
    fn collect(&mut self, traffic: &Conversation<RecordTag>) {
        let shells = by_pool(traffic);
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        for pool in traffic.pools() {
            let shell = shells.get(&pool.id).map(|&at| &traffic.shells[at]);
            taken.extend(shells.get(&pool.id));
            self.add_pool(traffic, &pool, shell);
        }
        for (at, shell) in traffic.shells.iter().enumerate() {
            if !taken.contains(&at) {
                self.add_plain_shell(shell);
            }
        }
        // For a pipeline in an earlier part, this part may hold only a gap.
        for gap in &traffic.gaps {
            let head = gap.head.as_deref().and_then(|head| MessageHeader::parse(head).ok());
            let ids =
                head.and_then(|head| Some((head.pool.to_string(), head.pipeline?.to_string())));
            let sent = ids.and_then(|(pool, id)| {
                let conversation = *self.by_id.get(&LoggedId::parse(&pool)?)?;
                let position = *self.positions.get(&(conversation, id))?;
                self.conversations[conversation].commands.get_mut(position)
            });
            let sentence = gap.sentence();
            if let Some(sent) = sent
                && sent.output.gaps.len() < MOST_GAPS
                && !sent.output.gaps.contains(&sentence)
            {
                sent.output.gaps.push(sentence);
            }
        }
    }

    fn add_pool(
        &mut self,
        traffic: &Conversation<RecordTag>,
        pool: &RunspacePool,
        shell: Option<&Shell<RecordTag>>,
    ) {
        let mut sent = Vec::new();
        let (mut served_by, mut span) = (None, None);
        let mut all = pool.messages.clone();
        for &id in &pool.pipelines {
            let pipeline = traffic.pipeline(pool.id, id);
            let line = shell.and_then(|shell| command_line_of(shell, &id.to_string()));
            all.extend(&pipeline.messages);
            sent.push(self.pipeline_command(traffic, &pipeline, line));
        }
        for message in all.iter().map(|&at| &traffic.messages[at]) {
            message.tags.iter().for_each(|&(time, ..)| extend_span(&mut span, time));
            // The process that received a message to the server, or sent one from it, is the
            // server.
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
        let client = shell.map(ShellClient::from_shell).unwrap_or_default();
        self.add_conversation(
            ids,
            served_by.or(shell.and_then(serving_process)),
            span,
            client,
            sent,
        );
    }

    /// Adds a shell of `winrs`, or one whose streams are not fragments.
    fn add_plain_shell(&mut self, shell: &Shell<RecordTag>) {
        let uri = shell.resource_uri.as_deref().unwrap_or_default();
        if ShellKind::of(uri).0 == ShellKind::PowerShell {
            return;
        }
        let Some(id) = shell.id.as_deref().and_then(LoggedId::parse) else { return };
        let mut span = None;
        shell.tags.iter().for_each(|&(time, ..)| extend_span(&mut span, time));
        let sent =
            shell.commands.iter().filter_map(|command| self.plain_shell_command(command)).collect();
        self.add_conversation(
            BTreeSet::from([id]),
            serving_process(shell),
            span,
            ShellClient::from_shell(shell),
            sent,
        );
    }

    fn add_conversation(
        &mut self,
        ids: BTreeSet<LoggedId>,
        served_by: Option<u32>,
        span: Option<(DateTime<Utc>, DateTime<Utc>)>,
        client: ShellClient,
        sent: Vec<SentCommand>,
    ) {
        let Some((first, last)) = span else { return };
        let known = ids.iter().find_map(|id| self.by_id.get(id).copied());
        let at = known.unwrap_or_else(|| {
            self.conversations.push(PoolConversation {
                ids: BTreeSet::new(),
                host: self.host.clone(),
                served_by,
                first,
                last,
                client: ShellClient::default(),
                commands: Vec::new(),
            })
        });
        let conversation = &mut self.conversations[at];
        conversation.served_by = conversation.served_by.or(served_by);
        (conversation.first, conversation.last) =
            (conversation.first.min(first), conversation.last.max(last));
        conversation.client.add(client);
        for sent in sent {
            let id = (at, sent.output.id.clone());
            match self.positions.get(&id).filter(|_| !id.1.is_empty()) {
                Some(&position) => conversation.commands[position].continue_with(sent),
                None => {
                    self.positions.insert(id, conversation.commands.len());
                    conversation.commands.push(sent);
                }
            }
        }
        for id in ids {
            self.by_id.entry(id.clone()).or_insert(at);
            conversation.ids.insert(id);
        }
    }

    fn pipeline_command(
        &mut self,
        traffic: &Conversation<RecordTag>,
        pipeline: &Pipeline,
        line: Option<&str>,
    ) -> SentCommand {
        let tags = |at: usize| traffic.messages[at].tags.iter();
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
        let mut output = Heard { id: pipeline.id.to_string(), ..Heard::default() };
        let (text, parts) = self.cut_to_room(text, parts, &mut output);
        if let Some((state, at)) = pipeline.states.last() {
            output.state.clone_from(state);
            output.ended = Some(time_of(*at));
        }
        let mut room = LONGEST_SHOWN.min(self.room);
        for (stream, at, text) in pipeline_output(pipeline) {
            let text = match room.checked_sub(text.len()) {
                Some(left) => {
                    room = left;
                    text
                }
                None => {
                    output.gaps.push("more came back than is shown".to_owned());
                    break;
                }
            };
            self.room -= text.len();
            output.lines.push(Line { time: time_of(at), stream, text });
        }
        let gaps = pipeline.gaps.iter().map(|&at| traffic.gaps[at].sentence());
        let faults = pipeline.faults.iter().map(|&at| {
            let fault = &traffic.faults[at];
            let kind = fault.header.map_or("message", |header| header.kind.name());
            format!("a {kind} cannot be read: {}", fault.reason)
        });
        let damaged = pipeline.damaged.iter().map(|(damage, at)| {
            format!("a {} cannot be read: {damage}", traffic.messages[*at].header.kind.name())
        });
        let all = pipeline.gaps.len() + pipeline.faults.len() + pipeline.damaged.len();
        output.gaps.extend(gaps.chain(faults).chain(damaged).take(MOST_GAPS));
        let not_listed = all.saturating_sub(MOST_GAPS);
        if not_listed > 0 {
            output.gaps.push(format!("{not_listed} more messages are missing"));
        }
        let state = pipeline.states.last().map(|&(_, at)| at);
        let order = begin.into_iter().chain(state).chain(pipeline.messages.iter().copied());
        SentCommand {
            time: first.map(time_of).unwrap_or_default(),
            text,
            parts,
            completeness,
            asks_metadata,
            records: distinct_records(order.flat_map(tags)),
            output,
        }
    }

    /// Returns a command's text and parts, cut if there is no room for them.
    fn cut_to_room(
        &mut self,
        mut text: String,
        mut parts: Vec<String>,
        output: &mut Heard,
    ) -> (String, Vec<String>) {
        let end = text.floor_char_boundary(LONGEST_SHOWN.min(self.room));
        if end < text.len() {
            text.truncate(end);
            output.gaps.push("its text is longer than is kept".to_owned());
        }
        self.room -= text.len();
        let length = parts.iter().map(String::len).sum();
        match self.room.checked_sub(length) {
            Some(room) => self.room = room,
            None => parts.clear(),
        }
        (text, parts)
    }

    /// Returns a command line of a plain shell, with the content of its streams.
    fn plain_shell_command(&mut self, command: &ShellCommand<RecordTag>) -> Option<SentCommand> {
        let &(time, ..) = command.tags.first()?;
        let last = command.tags.iter().map(|&(time, ..)| time).max();
        let line = std::iter::once(&command.line).chain(&command.arguments);
        let text = line.map(String::as_str).collect::<Vec<_>>().join(" ");
        let mut output = Heard { id: command.id.clone().unwrap_or_default(), ..Heard::default() };
        let (text, parts) = self.cut_to_room(text, vec![command.line.clone()], &mut output);
        if let Some(code) = &command.exit_code {
            (output.state, output.ended) = (format!("exit code {code}"), last);
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
                output.gaps.push(format!("more of {name} came than is shown"));
            }
            self.room -= text.len();
            output.lines.push(Line { time, stream, text });
        }
        Some(SentCommand {
            time,
            text,
            parts,
            completeness: Completeness::Whole,
            asks_metadata: false,
            records: distinct_records(command.tags.iter()),
            output,
        })
    }
}

fn extend_span(span: &mut Option<(DateTime<Utc>, DateTime<Utc>)>, time: DateTime<Utc>) {
    let (first, last) = span.get_or_insert((time, time));
    (*first, *last) = ((*first).min(time), (*last).max(time));
}

fn distinct_records<'t>(tags: impl Iterator<Item = &'t RecordTag>) -> Vec<RecordRef> {
    let mut seen = BTreeSet::new();
    let records = tags.map(|&(_, source, _)| source).filter(|&source| seen.insert(source));
    records.take(MOST_COMMAND_RECORDS).collect()
}

/// Returns the shell that carried the messages of each pool.
fn by_pool(traffic: &Conversation<RecordTag>) -> BTreeMap<psrp::WireGuid, usize> {
    let mut shells = BTreeMap::new();
    for message in &traffic.messages {
        if let Lane::Shell { shell, .. } = message.lane {
            shells.entry(message.header.pool).or_insert(shell);
        }
    }
    shells
}

/// Returns the host process of a shell, if the target's own log shows it.
fn serving_process(shell: &Shell<RecordTag>) -> Option<u32> {
    let by_listener = shell.tags.iter().any(|&(_, _, id)| matches!(id, 772 | 1027 | 1044));
    shell.process_id.filter(|_| by_listener)
}

fn command_line_of<'s>(shell: &'s Shell<RecordTag>, id: &str) -> Option<&'s str> {
    let mut commands = shell.commands.iter();
    commands.find(|command| command.id.as_deref() == Some(id)).map(|command| &*command.line)
}

#[cfg(test)]
mod tests;
