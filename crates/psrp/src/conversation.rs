//! What an exchange amounts to: messages, what is missing, runspace pools and pipelines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::chunks::LostDocument;
use super::clixml::{Damage, Document, Node};
use super::lane::Lane;
use super::message::{Direction, Guid, Header, MessageType, pool_state};
use super::pipeline::Pipeline;
use super::reassembler::{Absent, Gap, Oddity};
use super::records::{ErrorRecord, HostCalls};
use super::secret::SessionKey;
use super::shells::Shell;

/// A message whose fragments were all there.
#[derive(Debug, Clone)]
pub struct Message<T> {
    /// Who sent it, in which direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// How many objects of this number came before it in its lane.
    pub generation: usize,
    /// How many fragments it had.
    pub fragments: usize,
    /// Its header.
    pub header: Header,
    /// The callers' tags of its fragments, in the order of arrival.
    pub tags: Vec<T>,
    /// The message before it in the conversation that says the same and came another way: the same
    /// traffic seen in two traces.
    pub twin_of: Option<usize>,
    pub(super) is_mixed: bool,
    pub(super) bytes: Vec<u8>,
}

impl<T> Message<T> {
    /// Its length in bytes, header included.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Its data, CLIXML.
    pub fn data(&self) -> &[u8] {
        &self.bytes[Header::LENGTH..]
    }

    /// Whether its data starts with a byte order mark, as PowerShell's own does.
    pub fn has_bom(&self) -> bool {
        self.data().starts_with("\u{feff}".as_bytes())
    }

    /// Its object.
    pub fn document(&self) -> Result<Document, Damage> {
        Document::parse(self.data())
    }
}

/// Something odd about one fragment, or one chunk of a document.
#[derive(Debug, Clone)]
pub struct Anomaly<T> {
    /// What is odd.
    pub oddity: Oddity,
    /// Its lane, ObjectId and FragmentId; none for a chunk or a document.
    pub fragment: Option<(Lane, u64, u64)>,
    /// The caller's tags.
    pub tags: Vec<T>,
}

/// A message whose header cannot be read, or that may be several senders'.
#[derive(Debug, Clone)]
pub struct MessageFault<T> {
    /// Who sent it, in which direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// Its header, where it has one.
    pub header: Option<Header>,
    /// Why.
    pub reason: String,
    /// The callers' tags of its fragments.
    pub tags: Vec<T>,
}

/// What was said, as far as it is there.
#[derive(Debug)]
pub struct Conversation<T> {
    /// Messages in the order in which they got whole. Their data is read when it is asked for.
    pub messages: Vec<Message<T>>,
    /// Messages that are not whole.
    pub gaps: Vec<Gap<T>>,
    /// Objects of which nothing is there.
    pub absent: Vec<Absent>,
    /// Messages that are none of the protocol, or nobody's for sure.
    pub faults: Vec<MessageFault<T>>,
    /// Fragments, chunks and documents that are odd, in the order of the log.
    pub anomalies: Vec<Anomaly<T>>,
    /// Shells that SOAP documents tell of.
    pub shells: Vec<Shell<T>>,
    /// Documents that are not whole.
    pub lost_documents: Vec<LostDocument<T>>,
    /// How many documents have to do with no shell.
    pub other_documents: usize,
    /// Opens SecureStrings of pools and pipelines, if given.
    pub session_key: Option<SessionKey>,
    pub(super) index: Index,
}

/// Indices of what belongs to a pool, or to one of its pipelines.
type Parts = BTreeMap<(Guid, Option<Guid>), Vec<usize>>;

/// Where in a conversation what is.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Which way a lane's messages go, as their headers say.
    directions: BTreeMap<Lane, Direction>,
    /// Messages, in the order in which they were sent.
    messages: Parts,
    gaps: Parts,
    faults: Parts,
    /// By lane, the first message that names no pool yet.
    introductions: BTreeMap<Lane, usize>,
}

impl Index {
    pub(super) fn new(directions: BTreeMap<Lane, Direction>) -> Index {
        Index { directions, ..Index::default() }
    }
}

/// A runspace pool.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// Its id.
    pub id: Guid,
    /// `protocolversion`, as the client introduced itself; as the server did, where that is lost.
    pub protocol_version: Option<String>,
    /// Its states and the messages that tell them.
    pub states: Vec<(String, usize)>,
    /// The error of a broken pool.
    pub failure: Option<ErrorRecord>,
    /// Calls of the client's host by the pool itself.
    pub host_calls: HostCalls,
    /// Whether a session key was exchanged; it travels encrypted.
    pub key_exchange: bool,
    /// Its own messages: indices.
    pub messages: Vec<usize>,
    /// Its pipelines, in the order in which they are first seen.
    pub pipelines: Vec<Guid>,
}

impl<T: Clone> Conversation<T> {
    /// Which way a lane's messages go, where one of them told; for a shell's lanes always.
    pub fn direction(&self, lane: &Lane) -> Option<Direction> {
        let of_shell = match lane {
            Lane::Shell { to_server: true, .. } => Some(Direction::ToServer),
            Lane::Shell { to_server: false, .. } => Some(Direction::ToClient),
            // A process that received what goes to the server, sent what goes to the client.
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

    /// The pools, in the order in which they are first seen.
    pub fn pools(&self) -> Vec<Pool> {
        let mut first: Vec<(usize, Guid)> = Vec::new();
        let named = self.index.messages.iter().filter(|part| !part.0.0.is_zero());
        for (&(id, _), messages) in named.filter(|part| self.has_words(part.1)) {
            let seen = messages.iter().min().copied().unwrap_or_default();
            match first.last_mut().filter(|last| last.1 == id) {
                Some(last) => last.0 = last.0.min(seen),
                None => first.push((seen, id)),
            }
        }
        first.sort_unstable();
        first.into_iter().map(|(_, id)| self.pool(id)).collect()
    }

    /// Messages whose data is damaged, and how: every one is read.
    pub fn damaged(&self) -> impl Iterator<Item = (&Message<T>, Damage)> {
        self.messages.iter().filter_map(|message| Some((message, message.document().err()?)))
    }

    /// A message's object, its SecureStrings opened where that can be done.
    fn document(&self, message: &Message<T>) -> Result<Document, Damage> {
        let mut document = message.document()?;
        if let Some(key) = &self.session_key {
            document.open(key);
        }
        Ok(document)
    }

    /// Whether one of some messages can be read: as a rule the first.
    fn has_words(&self, messages: &[usize]) -> bool {
        messages.iter().any(|&at| self.messages[at].document().is_ok())
    }

    fn pool(&self, id: Guid) -> Pool {
        let mut pool = Pool { id, ..Pool::default() };
        let parts = self.index.messages.range((id, None)..).take_while(|part| part.0.0 == id);
        let mut pipelines: Vec<(usize, Guid)> = Vec::new();
        let mut lanes = Vec::new();
        for ((_, pipeline), messages) in parts {
            match pipeline {
                Some(pipeline) if self.has_words(messages) => {
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
            self.tell(at, &mut pool);
        }
        if pool.protocol_version.is_none() {
            // What a server says of itself before it knows the pool's id.
            lanes.sort_unstable();
            lanes.dedup();
            let mut said = lanes.into_iter().filter_map(|lane| self.index.introductions.get(lane));
            let document = said.next().and_then(|&at| self.messages[at].document().ok());
            pool.protocol_version =
                document.and_then(|document| document.root().text_of("protocolversion"));
        }
        pool
    }

    fn tell(&self, at: usize, pool: &mut Pool) {
        let message = &self.messages[at];
        let Ok(document) = self.document(message) else { return };
        let root = document.root();
        match message.header.kind {
            // The client's comes after the server's, and counts.
            MessageType::SessionCapability => {
                pool.protocol_version = root.text_of("protocolversion");
            }
            MessageType::RunspacePoolState => {
                let value = root.get("RunspaceState").and_then(Node::as_i64);
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

    /// A pipeline of a pool, with all that is there of it.
    pub fn pipeline(&self, pool: Guid, id: Guid) -> Pipeline {
        let messages = self.index.messages.get(&(pool, Some(id))).map_or(&[][..], Vec::as_slice);
        let of = |parts: &Parts| parts.get(&(pool, Some(id))).cloned().unwrap_or_default();
        let mut pipeline = Pipeline::new(id, pool, of(&self.index.gaps), of(&self.index.faults));
        for &at in messages {
            let message = &self.messages[at];
            match self.document(message) {
                Ok(document) => pipeline.tell(message.header.kind, document, at),
                Err(damage) => pipeline.damaged.push((damage, at)),
            }
        }
        pipeline
    }

    /// All pipelines of all pools, one after the other.
    pub fn pipelines(&self) -> impl Iterator<Item = Pipeline> {
        let pools = self.pools().into_iter();
        pools.flat_map(move |pool| {
            pool.pipelines.into_iter().map(move |id| self.pipeline(pool.id, id))
        })
    }

    /// Tells which messages came twice: in a trace of fragments and in one of documents, or on
    /// both ends.
    pub(super) fn pair(&mut self) {
        // A server's first message names no pool: any server may say the same.
        let named = |message: &&Message<T>| !message.header.pool.is_zero();
        let way = |message: &Message<T>| (message.header.pool, message.header.direction);
        let mut lanes: BTreeMap<(Guid, Direction), BTreeSet<&Lane>> = BTreeMap::new();
        for message in self.messages.iter().filter(named) {
            lanes.entry(way(message)).or_default().insert(&message.lane);
        }
        lanes.retain(|_, lanes| lanes.len() > 1);
        let several: BTreeSet<(Guid, Direction)> = lanes.into_keys().collect();
        let mut first: BTreeMap<(u64, [u8; 32]), Vec<usize>> = BTreeMap::new();
        for at in 0..self.messages.len() {
            let message = &self.messages[at];
            if !several.contains(&way(message)) {
                continue;
            }
            let key = (message.object_id, Sha256::digest(&message.bytes).into());
            let same = first.entry(key).or_default();
            let lane_of = |at: &usize| &self.messages[*at].lane;
            // In one lane, two messages that say the same are two messages.
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

    /// Sorts messages into pools and pipelines, the server's before the client's, each in the order
    /// in which its sender counted: a log's order may be another one. A number that comes again
    /// starts a new count.
    pub(super) fn sort(&mut self) {
        let mut counts = BTreeMap::new();
        let mut order = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            let Header { direction, pool, pipeline, .. } = message.header;
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
            let head = gap.head.as_deref().and_then(|head| Header::parse(head).ok());
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

/// Most messages that say the same under one number, of which twins are looked for.
const MOST_TWINS: usize = 16;
