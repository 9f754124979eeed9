//! What pools and shells said, as traffic has it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use psrp::Shell;

use crate::model::{AccountName, Completeness, EventIdx, Heard, HostName, LoggedId, RecordRef};
use crate::reconstruct::index::ProcessIdx;

/// Most records that are named as evidence of one command's traffic.
pub(super) const MOST_COMMAND_RECORDS: usize = 100;
/// Most sentences on what is missing of one command.
pub(super) const MOST_GAPS: usize = 20;

/// What tells a record: when, where, which.
pub(super) type RecordTag = (DateTime<Utc>, RecordRef, u32);

/// What one runspace pool or plain shell said, as one host's log has it.
#[derive(Debug)]
pub(in crate::reconstruct) struct PoolConversation {
    /// The pool's or shell's id, and the shell's where that is another one.
    pub ids: BTreeSet<LoggedId>,
    /// The logging host.
    pub host: HostName,
    /// The host process that served it, where this host is the target.
    pub served_by: Option<u32>,
    /// When its first and last records were logged.
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
    /// Who asked for its shell, where SOAP documents tell.
    pub client: ShellClient,
    /// Its commands, in order.
    pub commands: Vec<SentCommand>,
}

/// What the documents that made a shell tell of the client.
#[derive(Debug, Default)]
pub(in crate::reconstruct) struct ShellClient {
    /// Owner, in the server's answer.
    pub account: Option<AccountName>,
    /// ClientIP, in the server's answer.
    pub ip: Option<String>,
    /// To, in the client's request: a URL.
    pub to: Option<String>,
    /// The records that tell.
    pub records: Vec<RecordRef>,
}

impl ShellClient {
    pub fn from_shell(shell: &Shell<RecordTag>) -> ShellClient {
        ShellClient {
            account: shell.owner.as_deref().and_then(AccountName::parse),
            ip: shell.client_ip.clone().filter(|ip| !ip.is_empty()),
            to: shell.to.clone(),
            records: shell.told_by.iter().map(|&(_, source, _)| source).collect(),
        }
    }

    /// Takes what is not known yet.
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
    /// As one could type it; empty where that is lost.
    pub text: String,
    /// The text of each script in it, else the name of each command.
    pub parts: Vec<String>,
    /// What of the command is there.
    pub completeness: Completeness,
    /// It asks for the metadata of commands, and runs none.
    pub asks_metadata: bool,
    pub records: Vec<RecordRef>,
    pub output: Heard,
}

/// A session's command, and the indexes of its events.
#[derive(Debug)]
pub(in crate::reconstruct) struct SessionCommand {
    pub sent: SentCommand,
    pub host: HostName,
    /// Index of the host process.
    pub process: Option<ProcessIdx>,
    /// Its first one tells the command.
    pub events: Vec<EventIdx>,
}

impl PoolConversation {
    /// The records that prove it.
    pub fn records(&self) -> impl Iterator<Item = RecordRef> {
        let commands = self.commands.iter().flat_map(|sent| sent.records.iter().copied());
        commands.chain(self.client.records.iter().copied())
    }
}

impl SentCommand {
    /// Takes what a later part of the traffic has of the same command.
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
