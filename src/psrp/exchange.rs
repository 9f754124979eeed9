//! Whole conversations: fragments and documents in, runspace pools and pipelines out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::Lane;
use super::chunks::{Chunk, Chunks, LostDocument, Outcome};
use super::clixml::{Damage, Document, Node};
use super::fragments::{Absent, Fragment, Gap, Joined, Oddity, Reassembler};
use super::message::{Direction, Guid, Header, MessageType, pool_state};
use super::pipeline::Pipeline;
use super::records::{ErrorRecord, HostCalls};
use super::shells::{Found, Shell, Shells};
use super::soap::Envelope;

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
    is_mixed: bool,
    bytes: Vec<u8>,
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

/// A message that cannot be read.
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

/// Takes fragments and documents as a log has them. `T` is the caller's tag: what it needs to know
/// of a record, such as its place and time.
///
/// ```
/// use psr_forensics::psrp::{Exchange, Fragment};
/// let mut exchange = Exchange::new();
/// let (fragments, _) = Fragment::split(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0\x01x");
/// for fragment in fragments {
///     exchange.fragment("srv01", 4242, true, fragment, "record 17");
/// }
/// let conversation = exchange.finish();
/// // One byte is no message.
/// assert_eq!(conversation.faults[0].tags, ["record 17"]);
/// ```
#[derive(Debug)]
pub struct Exchange<T> {
    reassembler: Reassembler<T>,
    chunks: Chunks<T>,
    shells: Shells<T>,
    messages: Vec<Message<T>>,
    faults: Vec<MessageFault<T>>,
    anomalies: Vec<Anomaly<T>>,
    /// Which way a lane's messages go, as their headers say.
    directions: BTreeMap<Lane, Direction>,
    /// Lanes in which a client or server has introduced itself.
    introduced: BTreeMap<Lane, u64>,
}

impl<T: Clone> Default for Exchange<T> {
    fn default() -> Self {
        Exchange::new()
    }
}

impl<T: Clone> Exchange<T> {
    /// One that has taken nothing yet.
    pub fn new() -> Exchange<T> {
        Exchange {
            reassembler: Reassembler::default(),
            chunks: Chunks::default(),
            shells: Shells::default(),
            messages: Vec::new(),
            faults: Vec::new(),
            anomalies: Vec::new(),
            directions: BTreeMap::new(),
            introduced: BTreeMap::new(),
        }
    }

    /// Takes a fragment that a process of a host received, or sent.
    pub fn fragment(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        fragment: Fragment,
        tag: T,
    ) {
        self.fragment_of(host, process, received, None, fragment, tag);
    }

    /// Takes a fragment whose record names an activity (ActivityID): what parts the answers of
    /// several servers to one client process, which come under the same numbers.
    pub fn fragment_of(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        activity: Option<&str>,
        fragment: Fragment,
        tag: T,
    ) {
        let lane = Lane::Process { host: host.into(), process, received };
        self.take(&lane, fragment, activity, tag);
    }

    /// Notes that a fragment was logged and cannot be used: its payload is damaged.
    pub fn damaged_fragment(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        ids: (u64, u64),
        reason: String,
        tag: T,
    ) {
        let lane = Lane::Process { host: host.into(), process, received };
        self.anomalies.push(Anomaly {
            oddity: Oddity::Refused(reason),
            fragment: Some((lane, ids.0, ids.1)),
            tags: vec![tag],
        });
    }

    /// Takes a chunk of a SOAP document.
    pub fn chunk(&mut self, chunk: Chunk, tag: T) {
        let host = chunk.key.host.clone();
        let oddity = match self.chunks.push(chunk, tag.clone()) {
            Outcome::Kept => return,
            Outcome::Whole(text, tags) => return self.document(&host, &text, tags),
            Outcome::Duplicate => Oddity::Duplicate,
            Outcome::Refused(reason) => Oddity::Refused(reason),
        };
        self.anomalies.push(Anomaly { oddity, fragment: None, tags: vec![tag] });
    }

    /// Takes a whole SOAP document.
    pub fn document(&mut self, host: &str, text: &str, tags: Vec<T>) {
        match Envelope::parse(text) {
            Ok(envelope) => {
                let found = self.shells.push(host, envelope, tags);
                self.take_all(found);
            }
            Err(reason) => {
                let oddity = Oddity::Refused(reason);
                self.anomalies.push(Anomaly { oddity, fragment: None, tags });
            }
        }
    }

    fn take_all(&mut self, found: Vec<Found<T>>) {
        for Found { shell, to_server, fragments, damage, tag } in found {
            let lane = Lane::Shell { shell, to_server };
            for fragment in fragments {
                if let Some(tag) = &tag {
                    self.take(&lane, fragment, None, tag.clone());
                }
            }
            if let Some(reason) = damage {
                let (oddity, tags) = (Oddity::Refused(reason), tag.into_iter().collect());
                self.anomalies.push(Anomaly { oddity, fragment: None, tags });
            }
        }
    }

    fn take(&mut self, lane: &Lane, fragment: Fragment, activity: Option<&str>, tag: T) {
        let (object_id, fragment_id) = (fragment.object_id, fragment.fragment_id);
        let header = Header::parse(&fragment.blob);
        if fragment_id == 0 && header.is_ok_and(|h| h.kind == MessageType::SessionCapability) {
            // Who introduces itself a second time, starts anew: what is open belongs to the old.
            if self.introduced.insert(lane.clone(), object_id).is_some() {
                self.reassembler.close(lane, object_id);
            }
        }
        let (joined, oddity) = self.reassembler.push(lane, fragment, activity, tag.clone());
        if let Some(oddity) = oddity {
            let fragment = Some((lane.clone(), object_id, fragment_id));
            self.anomalies.push(Anomaly { oddity, fragment, tags: vec![tag] });
        }
        if let Some(joined) = joined {
            self.message(lane, joined);
        }
    }

    fn message(&mut self, lane: &Lane, joined: Joined<T>) {
        let Joined { object_id, generation, fragments, is_mixed, bytes, tags } = joined;
        let header = Header::parse(&bytes);
        let damage = match &header {
            Err(reason) => Some(reason.clone()),
            Ok(Header { kind: MessageType::Unknown(value), .. }) => {
                Some(format!("a message of type 0x{value:08x} is none of the protocol"))
            }
            Ok(_) => {
                Document::parse(&bytes[Header::LENGTH..]).err().map(|damage| damage.to_string())
            }
        };
        let header = header.ok();
        if let Some(header) = header {
            self.directions.entry(lane.clone()).or_insert(header.direction);
        }
        match (header, damage) {
            (Some(header), None) => self.messages.push(Message {
                lane: lane.clone(),
                object_id,
                generation,
                fragments,
                header,
                tags,
                twin_of: None,
                is_mixed,
                bytes,
            }),
            (header, damage) => self.faults.push(MessageFault {
                lane: lane.clone(),
                object_id,
                header,
                reason: damage.unwrap_or_default(),
                tags,
            }),
        }
    }

    /// Takes back what may be two senders' text in one message: fragments of several activities, in
    /// a lane of several pools.
    fn part(&mut self) {
        let mut pools: BTreeMap<&Lane, BTreeSet<Guid>> = BTreeMap::new();
        for message in self.messages.iter().filter(|message| !message.header.pool.is_zero()) {
            pools.entry(&message.lane).or_default().insert(message.header.pool);
        }
        let several = pools.into_iter().filter(|(_, pools)| pools.len() > 1);
        let several: BTreeSet<Lane> = several.map(|(lane, _)| lane.clone()).collect();
        let is_doubtful =
            |message: &mut Message<T>| message.is_mixed && several.contains(&message.lane);
        let doubtful = self.messages.extract_if(.., is_doubtful);
        self.faults.extend(doubtful.map(|message| MessageFault {
            lane: message.lane,
            object_id: message.object_id,
            header: Some(message.header),
            reason: "its fragments may be several senders'".to_owned(),
            tags: message.tags,
        }));
    }

    /// What the fragments and documents amount to.
    pub fn finish(mut self) -> Conversation<T> {
        let (shells, found, other_documents) = std::mem::take(&mut self.shells).finish();
        self.take_all(found);
        self.part();
        let (gaps, absent) = self.reassembler.finish();
        let mut conversation = Conversation {
            messages: self.messages,
            gaps,
            absent,
            faults: self.faults,
            anomalies: self.anomalies,
            shells,
            lost_documents: self.chunks.finish(),
            other_documents,
            directions: self.directions,
            parts: BTreeMap::new(),
            gaps_of: BTreeMap::new(),
            introductions: BTreeMap::new(),
        };
        conversation.pair();
        conversation.sort();
        conversation
    }
}

/// Messages of a pool, or of one of its pipelines, in the order in which they were sent.
type Parts = BTreeMap<(Guid, Option<Guid>), Vec<usize>>;

/// What was said, as far as it is there.
#[derive(Debug)]
pub struct Conversation<T> {
    /// Messages in the order in which they got whole.
    pub messages: Vec<Message<T>>,
    /// Messages that are not whole.
    pub gaps: Vec<Gap<T>>,
    /// Objects of which nothing is there.
    pub absent: Vec<Absent>,
    /// Messages that cannot be read.
    pub faults: Vec<MessageFault<T>>,
    /// Fragments, chunks and documents that are odd, in the order of the log.
    pub anomalies: Vec<Anomaly<T>>,
    /// Shells that SOAP documents tell of.
    pub shells: Vec<Shell<T>>,
    /// Documents that are not whole.
    pub lost_documents: Vec<LostDocument<T>>,
    /// How many documents have to do with no shell.
    pub other_documents: usize,
    directions: BTreeMap<Lane, Direction>,
    parts: Parts,
    gaps_of: Parts,
    /// By lane, the first message that names no pool yet.
    introductions: BTreeMap<Lane, usize>,
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
                self.directions.get(&other).map(|direction| match direction {
                    Direction::ToServer => Direction::ToClient,
                    Direction::ToClient => Direction::ToServer,
                })
            }
        };
        self.directions.get(lane).copied().or(of_shell)
    }

    /// The pools, in the order in which they are first seen.
    pub fn pools(&self) -> Vec<Pool> {
        let mut first: Vec<(usize, Guid)> = Vec::new();
        for (&(id, _), messages) in self.parts.iter().filter(|part| !part.0.0.is_zero()) {
            let seen = messages.iter().min().copied().unwrap_or_default();
            match first.last_mut().filter(|last| last.1 == id) {
                Some(last) => last.0 = last.0.min(seen),
                None => first.push((seen, id)),
            }
        }
        first.sort_unstable();
        first.into_iter().map(|(_, id)| self.pool(id)).collect()
    }

    fn pool(&self, id: Guid) -> Pool {
        let mut pool = Pool { id, ..Pool::default() };
        let parts = self.parts.range((id, None)..).take_while(|part| part.0.0 == id);
        let mut pipelines: Vec<(usize, Guid)> = Vec::new();
        let mut lanes = Vec::new();
        for ((_, pipeline), messages) in parts {
            match pipeline {
                Some(pipeline) => {
                    pipelines.push((messages.iter().min().copied().unwrap_or_default(), *pipeline));
                }
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
            let mut said = lanes.into_iter().filter_map(|lane| self.introductions.get(lane));
            let document = said.next().and_then(|&at| self.messages[at].document().ok());
            pool.protocol_version =
                document.and_then(|document| document.root().text_of("protocolversion"));
        }
        pool
    }

    fn tell(&self, at: usize, pool: &mut Pool) {
        let message = &self.messages[at];
        let Ok(document) = message.document() else { return };
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
        let messages = self.parts.get(&(pool, Some(id))).map_or(&[][..], Vec::as_slice);
        let gaps = self.gaps_of.get(&(pool, Some(id))).cloned().unwrap_or_default();
        let mut pipeline = Pipeline::new(id, pool, gaps);
        for &at in messages {
            let message = &self.messages[at];
            if let Ok(document) = message.document() {
                pipeline.tell(message.header.kind, document, at);
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
    fn pair(&mut self) {
        let mut first: BTreeMap<(u64, [u8; 32]), Vec<usize>> = BTreeMap::new();
        for at in 0..self.messages.len() {
            let message = &self.messages[at];
            // A server's first message names no pool: any server may say the same.
            if message.header.pool.is_zero() {
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
    fn sort(&mut self) {
        let mut counts = BTreeMap::new();
        let mut order = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            let Header { direction, pool, pipeline, .. } = message.header;
            if pool.is_zero() && !self.introductions.contains_key(&message.lane) {
                self.introductions.insert(message.lane.clone(), at);
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
            self.parts.entry(part).or_default().push(at);
        }
        for (at, gap) in self.gaps.iter().enumerate() {
            let head = gap.head.as_deref().and_then(|head| Header::parse(head).ok());
            if let Some(head) = head {
                self.gaps_of.entry((head.pool, head.pipeline)).or_default().push(at);
            }
        }
    }
}

/// Most messages that say the same under one number, of which twins are looked for.
const MOST_TWINS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A message: destination, type, pool and pipeline by one byte each, data.
    fn message(to: Direction, kind: MessageType, pool: u8, pipeline: u8, xml: &str) -> Vec<u8> {
        let destination = match to {
            Direction::ToClient => 1u32,
            Direction::ToServer => 2,
        };
        let mut bytes = destination.to_le_bytes().to_vec();
        bytes.extend(kind.value().to_le_bytes());
        bytes.extend([pool; 16]);
        bytes.extend([pipeline; 16]);
        bytes.extend(xml.as_bytes());
        bytes
    }

    fn whole(object_id: u64, blob: Vec<u8>) -> Fragment {
        Fragment { object_id, fragment_id: 0, start: true, end: true, blob }
    }

    fn output(object_id: u64, pool: u8, text: &str) -> Fragment {
        let xml = format!("<S>{text}</S>");
        whole(object_id, message(Direction::ToClient, MessageType::PipelineOutput, pool, 9, &xml))
    }

    fn outputs(conversation: &Conversation<u32>) -> Vec<Vec<String>> {
        let lines = |found: Pipeline| found.output.iter().map(|item| item.line()).collect();
        conversation.pipelines().map(lines).collect()
    }

    #[test]
    fn output_stands_in_the_order_in_which_it_was_sent() {
        let mut exchange = Exchange::new();
        for (tag, object_id) in [(0, 3), (1, 1), (2, 2)] {
            exchange.fragment("srv", 1, false, output(object_id, 1, &object_id.to_string()), tag);
        }
        let conversation = exchange.finish();
        assert_eq!(outputs(&conversation), [["1", "2", "3"]]);
        let pipeline = conversation.pipelines().next().unwrap();
        let tags: Vec<u32> = pipeline
            .output
            .iter()
            .map(|item| conversation.messages[item.message].tags[0])
            .collect();
        assert_eq!(tags, [1, 2, 0]);
    }

    #[test]
    fn one_message_seen_on_both_ends_is_shown_once() {
        let mut exchange = Exchange::new();
        exchange.fragment("srv", 1, false, output(5, 1, "x"), 0);
        exchange.fragment("srv", 1, false, output(6, 1, "x"), 1);
        exchange.fragment("client", 7, true, output(5, 1, "x"), 2);
        // The same words in another pool are another message.
        exchange.fragment("srv", 2, false, output(5, 2, "x"), 3);
        let conversation = exchange.finish();
        assert_eq!(outputs(&conversation), [vec!["x", "x"], vec!["x"]]);
        let twins: Vec<_> = conversation.messages.iter().map(|message| message.twin_of).collect();
        assert_eq!(twins, [None, None, Some(0), None]);
    }

    #[test]
    fn one_client_process_hears_of_many_servers_under_the_same_numbers() {
        let mut exchange = Exchange::new();
        for (tag, (object_id, pool)) in [(1, 1), (1, 2), (2, 2), (2, 1)].into_iter().enumerate() {
            let text = format!("{pool}:{object_id}");
            exchange.fragment("client", 7, true, output(object_id, pool, &text), tag as u32);
        }
        assert_eq!(outputs(&exchange.finish()), [["1:1", "1:2"], ["2:1", "2:2"]]);
    }

    #[test]
    fn text_that_may_be_two_servers_is_not_shown() {
        let half = |pool, id: u64, xml: &str| {
            let blob = message(Direction::ToClient, MessageType::PipelineOutput, pool, 9, xml);
            let blob = if id == 0 { blob } else { xml.as_bytes().to_vec() };
            Fragment { object_id: 1, fragment_id: id, start: id == 0, end: id == 1, blob }
        };
        // The start of the second server's output is lost; it has one more message, or not.
        for (is_told, texts) in [(true, vec![vec!["x"]]), (false, vec![vec!["ab"]])] {
            let mut exchange = Exchange::new();
            exchange.fragment_of("client", 7, true, Some("p"), half(1, 0, "<S>a"), 0);
            exchange.fragment_of("client", 7, true, Some("q"), half(2, 1, "b</S>"), 1);
            if is_told {
                exchange.fragment_of("client", 7, true, Some("q"), output(2, 2, "x"), 2);
                exchange.fragment_of("client", 7, true, Some("p"), output(3, 1, ""), 3);
            }
            let conversation = exchange.finish();
            assert_eq!(conversation.faults.len(), usize::from(is_told));
            let shown: Vec<Vec<String>> = outputs(&conversation);
            let shown: Vec<_> = shown.into_iter().filter(|lines| lines != &[""]).collect();
            assert_eq!(shown, texts);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_and_makes_no_pipeline() {
        let mut exchange = Exchange::new();
        let unknown = message(Direction::ToClient, MessageType::Unknown(0x99), 1, 1, "<S>x</S>");
        let torn = message(Direction::ToClient, MessageType::PipelineOutput, 1, 1, "<S>x");
        for (at, blob) in [unknown, torn, vec![1, 2, 3]].into_iter().enumerate() {
            exchange.fragment("srv", 1, false, whole(at as u64 + 1, blob), 0);
        }
        let conversation = exchange.finish();
        assert_eq!((conversation.faults.len(), conversation.pipelines().count()), (3, 0));
    }

    #[test]
    fn a_server_says_its_version_before_it_knows_the_pool() {
        let version = |pool, text: &str| {
            let xml = format!(
                "<Obj RefId='0'><MS><Version N='protocolversion'>{text}</Version></MS></Obj>"
            );
            message(Direction::ToClient, MessageType::SessionCapability, pool, 0, &xml)
        };
        let mut exchange = Exchange::new();
        exchange.fragment("srv", 1, false, whole(1, version(0, "2.3")), 0);
        exchange.fragment("srv", 1, false, output(2, 1, "x"), 0);
        exchange.fragment("srv", 2, false, output(2, 2, "x"), 0);
        let versions = exchange.finish().pools().into_iter().map(|pool| pool.protocol_version);
        assert_eq!(versions.collect::<Vec<_>>(), [Some("2.3".to_owned()), None]);
    }
}
