//! The conversations of pools and shells, from traffic.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use psrp::Shell;

use crate::model::{AccountName, Completeness, EventIdx, Heard, HostName, LoggedId, RecordRef};
use crate::reconstruct::index::ProcessIdx;

/// Most records that are kept as evidence of one command's traffic.
pub(super) const MOST_COMMAND_RECORDS: usize = 100;
/// Most sentences about missing parts of one command.
pub(super) const MOST_GAPS: usize = 20;

/// Identifies a record: time, place, event id.
pub(super) type RecordTag = (DateTime<Utc>, RecordRef, u32);

/// The conversation of one runspace pool or plain shell, as one host logged it.
#[derive(Debug)]
pub(in crate::reconstruct) struct PoolConversation {
    /// The id of the pool or shell, and the id of the pool's shell if it differs.
    pub ids: BTreeSet<LoggedId>,
    /// The logging host.
    pub host: HostName,
    /// The host process that served it, if this host is the target.
    pub served_by: Option<u32>,
    /// When its first and last records were logged.
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
    /// The client that asked for its shell, from SOAP documents.
    pub client: ShellClient,
    /// Its commands, in order.
    pub commands: Vec<SentCommand>,
}

/// Facts about the client, from the documents that made a shell.
#[derive(Debug, Default)]
pub(in crate::reconstruct) struct ShellClient {
    /// Owner, in the server's answer.
    pub account: Option<AccountName>,
    /// ClientIP, in the server's answer.
    pub ip: Option<String>,
    /// To, in the client's request: a URL.
    pub to: Option<String>,
    /// The records of these documents.
    pub records: Vec<RecordRef>,
}

impl ShellClient {
    pub fn from_shell(shell: &Shell<RecordTag>) -> ShellClient {
        ShellClient {
            account: shell.owner.as_deref().and_then(AccountName::parse),
            ip: shell.client_ip.clone().filter(|ip| !ip.is_empty()),
            to: shell.to.clone(),
            records: shell.source_tags.iter().map(|&(_, source, _)| source).collect(),
        }
    }

    /// Sets the facts that are not known yet.
    pub fn add(&mut self, other: ShellClient) {
        self.account = self.account.take().or(other.account);
        self.ip = self.ip.take().or(other.ip);
        self.to = self.to.take().or(other.to);
        self.records.extend(other.records);
        self.records.truncate(MOST_COMMAND_RECORDS);
    }
}

/// A command in a conversation.
#[derive(Debug)]
pub(in crate::reconstruct) struct SentCommand {
    /// When it was sent.
    pub time: DateTime<Utc>,
    /// The text as one could type it. Empty if it is lost.
    pub text: String,
    /// The text of each script in it, otherwise the name of each command.
    pub parts: Vec<String>,
    /// How much of the command is known.
    pub completeness: Completeness,
    /// It asks for the metadata of commands, and runs none.
    pub asks_metadata: bool,
    pub records: Vec<RecordRef>,
    pub output: Heard,
}

/// A command of a session, with the indexes of its events.
#[derive(Debug)]
pub(in crate::reconstruct) struct SessionCommand {
    pub sent: SentCommand,
    pub host: HostName,
    /// Index of the host process.
    pub process: Option<ProcessIdx>,
    /// The first one shows the command.
    pub events: Vec<EventIdx>,
}

impl PoolConversation {
    /// Returns the records of the conversation.
    pub fn records(&self) -> impl Iterator<Item = RecordRef> {
        let commands = self.commands.iter().flat_map(|sent| sent.records.iter().copied());
        commands.chain(self.client.records.iter().copied())
    }
}

impl SentCommand {
    /// Adds the continuation of the same command from a later part of the traffic.
    pub fn continue_with(&mut self, later: SentCommand) {
        if !self.completeness.is_whole() && later.completeness.is_whole() {
            (self.text, self.parts) = (later.text, later.parts);
            self.asks_metadata = later.asks_metadata;
            self.completeness = later.completeness;
        }
        self.time = self.time.min(later.time);
        self.records.extend(later.records);
        self.records.truncate(MOST_COMMAND_RECORDS);
        let Heard { lines, state, ended, gaps, .. } = later.output;
        self.output.lines.extend(lines);
        self.output.gaps.extend(gaps);
        self.output.gaps.truncate(MOST_GAPS + 1);
        if !state.is_empty() {
            (self.output.state, self.output.ended) = (state, ended);
        }
    }
}
