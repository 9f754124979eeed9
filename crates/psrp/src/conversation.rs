//! The result of an exchange: messages, gaps, runspace pools and pipelines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::chunks::LostDocument;
use super::clixml::{ClixmlDocument, ClixmlError, ClixmlNode};
use super::lane::Lane;
use super::message::{Direction, MessageHeader, MessageType, WireGuid, pool_state};
use super::pipeline::Pipeline;
use super::reassembler::{AbsentObjects, AnomalyKind, MessageGap};
use super::records::{ErrorRecord, HostCalls};
use super::secret::SessionKey;
use super::shells::Shell;

/// A message whose fragments were all found.
#[derive(Debug, Clone)]
pub struct Message<T> {
    /// The sender and direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// The number of earlier objects with the same ObjectId in its lane.
    pub generation: usize,
    /// The number of its fragments.
    pub fragments: usize,
    /// Its header.
    pub header: MessageHeader,
    /// The callers' tags of its fragments, in the order of arrival.
    pub tags: Vec<T>,
    /// An earlier message with the same content that was traced in another way: the same traffic
    /// seen in two traces.
    pub twin_of: Option<usize>,
    pub(super) is_mixed: bool,
    pub(super) bytes: Vec<u8>,
}

impl<T> Message<T> {
    /// Returns the length in bytes, header included.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the message's data, which is CLIXML.
    pub fn data(&self) -> &[u8] {
        &self.bytes[MessageHeader::LENGTH..]
    }

    /// Returns whether the data starts with a byte order mark, as PowerShell's own data does.
    pub fn has_bom(&self) -> bool {
        self.data().starts_with("\u{feff}".as_bytes())
    }

    /// Reads the message's object.
    pub fn document(&self) -> Result<ClixmlDocument, ClixmlError> {
        ClixmlDocument::parse(self.data())
    }
}

/// Something unusual about a fragment or about a chunk of a document.
#[derive(Debug, Clone)]
pub struct Anomaly<T> {
    /// The kind of anomaly.
    pub kind: AnomalyKind,
    /// Its lane, ObjectId and FragmentId; `None` for a chunk or a document.
    pub fragment: Option<(Lane, u64, u64)>,
    /// The caller's tags.
    pub tags: Vec<T>,
}

/// A message whose header cannot be read, or whose fragments may come from several senders.
#[derive(Debug, Clone)]
pub struct MessageFault<T> {
    /// The sender and direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// Its header, if it could be read.
    pub header: Option<MessageHeader>,
    /// The reason.
    pub reason: String,
    /// The callers' tags of its fragments.
    pub tags: Vec<T>,
}

/// The messages of an exchange, as far as they could be recovered.
#[derive(Debug)]
pub struct Conversation<T> {
    /// Messages in the order in which they were completed. Their data is read on demand.
    pub messages: Vec<Message<T>>,
    /// Incomplete messages.
    pub gaps: Vec<MessageGap<T>>,
    /// Objects of which no fragment was found.
    pub absent: Vec<AbsentObjects>,
    /// Messages that are not part of the protocol, or whose sender is uncertain.
    pub faults: Vec<MessageFault<T>>,
    /// Unusual fragments, chunks and documents, in the order of the log.
    pub anomalies: Vec<Anomaly<T>>,
    /// Shells found in SOAP documents.
    pub shells: Vec<Shell<T>>,
    /// Incomplete documents.
    pub lost_documents: Vec<LostDocument<T>>,
    /// The number of documents that concern no shell.
    pub other_documents: usize,
    /// The key that decrypts SecureStrings of pools and pipelines, if it is known.
    pub session_key: Option<SessionKey>,
    pub(super) index: ConversationIndex,
}

/// Indices of the messages, gaps or faults of a pool, or of one of its pipelines.
type PipelineIndex = BTreeMap<(WireGuid, Option<WireGuid>), Vec<usize>>;

/// Finds the messages, gaps and faults of each pool and pipeline.
#[derive(Debug, Default)]
pub(super) struct ConversationIndex {
    /// The direction of each lane's messages, from their headers.
    directions: BTreeMap<Lane, Direction>,
    /// Messages, in the order in which they were sent.
    messages: PipelineIndex,
    gaps: PipelineIndex,
    faults: PipelineIndex,
    /// For each lane, the first message that does not name its pool yet.
    introductions: BTreeMap<Lane, usize>,
}

impl ConversationIndex {
    pub(super) fn new(directions: BTreeMap<Lane, Direction>) -> ConversationIndex {
        ConversationIndex { directions, ..ConversationIndex::default() }
    }
}

/// A runspace pool.
#[derive(Debug, Clone, Default)]
pub struct RunspacePool {
    /// Its id.
    pub id: WireGuid,
    /// `protocolversion`, as the client sent it, or as the server did if the client's message is
    /// lost.
    pub protocol_version: Option<String>,
    /// Its states, each with the message that reports it.
    pub states: Vec<(String, usize)>,
    /// The error of a broken pool.
    pub failure: Option<ErrorRecord>,
    /// Calls of the client's host that the pool itself made.
    pub host_calls: HostCalls,
    /// Whether a session key was exchanged; the key is encrypted in the traffic.
    pub key_exchange: bool,
    /// Indices of its own messages.
    pub messages: Vec<usize>,
    /// Its pipelines, in the order in which they first appear.
    pub pipelines: Vec<WireGuid>,
}

impl<T: Clone> Conversation<T> {
    /// Returns the direction of a lane's messages, if one of them shows it; it is always known
    /// for a shell's lanes.
    pub fn direction(&self, lane: &Lane) -> Option<Direction> {
        let of_shell = match lane {
            Lane::Shell { to_server: true, .. } => Some(Direction::ToServer),
            Lane::Shell { to_server: false, .. } => Some(Direction::ToClient),
            // If a process received what goes to the server, it sent what goes to the client.
            Lane::Process { host, process, received } => {
                let other =
                    Lane::Process { host: host.clone(), process: *process, received: !received };
                self.index.directions.get(&other).map(|direction| match direction {
                    Direction::ToServer => Direction::ToClient,
                    Direction::ToClient => Direction::ToServer,
                })
            }
        };
        self.index.directions.get(lane).copied().or(of_shell)
    }

    /// Returns the pools, in the order in which they first appear.
    pub fn pools(&self) -> Vec<RunspacePool> {
        let mut first: Vec<(usize, WireGuid)> = Vec::new();
        let named = self.index.messages.iter().filter(|part| !part.0.0.is_zero());
        for (&(id, _), messages) in named.filter(|part| self.any_readable(part.1)) {
            let seen = messages.iter().min().copied().unwrap_or_default();
            match first.last_mut().filter(|last| last.1 == id) {
                Some(last) => last.0 = last.0.min(seen),
                None => first.push((seen, id)),
            }
        }
        first.sort_unstable();
        first.into_iter().map(|(_, id)| self.pool(id)).collect()
    }

    /// Reads every message and returns those with damaged data, with the error.
    pub fn damaged(&self) -> impl Iterator<Item = (&Message<T>, ClixmlError)> {
        self.messages.iter().filter_map(|message| Some((message, message.document().err()?)))
    }

    /// Reads a message's object and decrypts its SecureStrings where possible.
    fn document(&self, message: &Message<T>) -> Result<ClixmlDocument, ClixmlError> {
        let mut document = message.document()?;
        if let Some(key) = &self.session_key {
            document.decrypt_secure_strings(key);
        }
        Ok(document)
    }

    /// Returns whether at least one of the messages can be read; usually the first can.
    fn any_readable(&self, messages: &[usize]) -> bool {
        messages.iter().any(|&at| self.messages[at].document().is_ok())
    }

    fn pool(&self, id: WireGuid) -> RunspacePool {
        let mut pool = RunspacePool { id, ..RunspacePool::default() };
        let parts = self.index.messages.range((id, None)..).take_while(|part| part.0.0 == id);
        let mut pipelines: Vec<(usize, WireGuid)> = Vec::new();
        let mut lanes = Vec::new();
        for ((_, pipeline), messages) in parts {
            match pipeline {
                Some(pipeline) if self.any_readable(messages) => {
                    pipelines.push((messages.iter().min().copied().unwrap_or_default(), *pipeline));
                }
                Some(_) => {}
                None => pool.messages.clone_from(messages),
            }
            lanes.extend(messages.iter().map(|&at| &self.messages[at].lane));
        }
        pipelines.sort_unstable();
        pool.pipelines = pipelines.into_iter().map(|(_, id)| id).collect();
        for at in pool.messages.clone() {
            self.apply(at, &mut pool);
        }
        if pool.protocol_version.is_none() {
            // The message that a server sends before it knows the pool's id.
            lanes.sort_unstable();
            lanes.dedup();
            let mut said = lanes.into_iter().filter_map(|lane| self.index.introductions.get(lane));
            let document = said.next().and_then(|&at| self.messages[at].document().ok());
            pool.protocol_version =
                document.and_then(|document| document.root().property_text("protocolversion"));
        }
        pool
    }

    fn apply(&self, at: usize, pool: &mut RunspacePool) {
        let message = &self.messages[at];
        let Ok(document) = self.document(message) else { return };
        let root = document.root();
        match message.header.kind {
            // The client's message comes after the server's, and takes precedence.
            MessageType::SessionCapability => {
                pool.protocol_version = root.property_text("protocolversion");
            }
            MessageType::RunspacePoolState => {
                let value = root.get("RunspaceState").and_then(ClixmlNode::as_i64);
                let name = value.and_then(pool_state).map(str::to_owned);
                let unknown = || value.map_or_else(String::new, |value| value.to_string());
                pool.states.push((name.unwrap_or_else(unknown), at));
                let failure = root.get("ExceptionAsErrorRecord").filter(|error| !error.is_null());
                pool.failure = failure.map(ErrorRecord::read).or(pool.failure.take());
            }
            MessageType::RunspacePoolHostCall => pool.host_calls.call(root, at),
            MessageType::RunspacePoolHostResponse => pool.host_calls.answer(root),
            MessageType::PublicKey | MessageType::EncryptedSessionKey => pool.key_exchange = true,
            _ => {}
        }
    }

    /// Returns a pipeline of a pool with everything that was found of it.
    pub fn pipeline(&self, pool: WireGuid, id: WireGuid) -> Pipeline {
        let messages = self.index.messages.get(&(pool, Some(id))).map_or(&[][..], Vec::as_slice);
        let of = |parts: &PipelineIndex| parts.get(&(pool, Some(id))).cloned().unwrap_or_default();
        let mut pipeline = Pipeline::new(id, pool, of(&self.index.gaps), of(&self.index.faults));
        for &at in messages {
            let message = &self.messages[at];
            match self.document(message) {
                Ok(document) => pipeline.apply(message.header.kind, document, at),
                Err(damage) => pipeline.damaged.push((damage, at)),
            }
        }
        pipeline
    }

    /// Returns all pipelines of all pools, pool by pool.
    pub fn pipelines(&self) -> impl Iterator<Item = Pipeline> {
        let pools = self.pools().into_iter();
        pools.flat_map(move |pool| {
            pool.pipelines.into_iter().map(move |id| self.pipeline(pool.id, id))
        })
    }

    /// Marks messages that occur twice: in a trace of fragments and a trace of documents, or in
    /// the logs of both ends.
    pub(super) fn mark_twins(&mut self) {
        // A server's first message names no pool, and every server may send the same one.
        let named = |message: &&Message<T>| !message.header.pool.is_zero();
        let way = |message: &Message<T>| (message.header.pool, message.header.direction);
        let mut lanes: BTreeMap<(WireGuid, Direction), BTreeSet<&Lane>> = BTreeMap::new();
        for message in self.messages.iter().filter(named) {
            lanes.entry(way(message)).or_default().insert(&message.lane);
        }
        lanes.retain(|_, lanes| lanes.len() > 1);
        let several: BTreeSet<(WireGuid, Direction)> = lanes.into_keys().collect();
        let mut first: BTreeMap<(u64, [u8; 32]), Vec<usize>> = BTreeMap::new();
        for at in 0..self.messages.len() {
            let message = &self.messages[at];
            if !several.contains(&way(message)) {
                continue;
            }
            let key = (message.object_id, Sha256::digest(&message.bytes).into());
            let same = first.entry(key).or_default();
            let lane_of = |at: &usize| &self.messages[*at].lane;
            // Within one lane, two identical messages are two messages.
            let nth = same.iter().filter(|other| lane_of(other) == &message.lane).count();
            let originals = same.iter().filter(|other| self.messages[**other].twin_of.is_none());
            let mut originals = originals.filter(|other| lane_of(other) != &message.lane);
            let twin_of = originals.nth(nth).copied();
            if same.len() < MOST_TWINS {
                same.push(at);
            }
            self.messages[at].twin_of = twin_of;
        }
    }

    /// Sorts messages into pools and pipelines: the server's before the client's, each in the
    /// order in which the sender numbered them, because the order of a log may differ. A repeated
    /// number starts a new count.
    pub(super) fn index_messages(&mut self) {
        let mut counts = BTreeMap::new();
        let mut order = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            let MessageHeader { direction, pool, pipeline, .. } = message.header;
            if pool.is_zero() && !self.index.introductions.contains_key(&message.lane) {
                self.index.introductions.insert(message.lane.clone(), at);
            }
            if message.twin_of.is_none() {
                let count = counts.entry((pool, &message.lane)).or_insert(0);
                *count = message.generation.max(*count);
                let sent = (Reverse(direction), *count, message.object_id);
                order.push(((pool, pipeline), sent, at));
            }
        }
        order.sort_unstable();
        for (part, _, at) in order {
            self.index.messages.entry(part).or_default().push(at);
        }
        for (at, gap) in self.gaps.iter().enumerate() {
            let head = gap.head.as_deref().and_then(|head| MessageHeader::parse(head).ok());
            if let Some(head) = head {
                self.index.gaps.entry((head.pool, head.pipeline)).or_default().push(at);
            }
        }
        for (at, fault) in self.faults.iter().enumerate() {
            if let Some(header) = fault.header {
                self.index.faults.entry((header.pool, header.pipeline)).or_default().push(at);
            }
        }
    }
}

/// Largest number of identical messages with one number among which twins are searched.
const MOST_TWINS: usize = 16;
