//! Turns fragments and SOAP documents into a conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chunks::{ChunkJoiner, ChunkOutcome, LostDocument, SoapChunk};
use super::conversation::{Anomaly, Conversation, ConversationIndex, Message, MessageFault};
use super::fragments::Fragment;
use super::lane::Lane;
use super::message::{Direction, MessageHeader, MessageType, WireGuid};
use super::reassembler::{AbsentObjects, AnomalyKind, JoinedMessage, MessageGap, Reassembler};
use super::shells::{FoundFragments, Shell, Shells};
use super::soap::Envelope;

/// Receives fragments and documents in the order of a log. `T` is the caller's tag: whatever the
/// caller needs to know about a record, such as its position and time.
///
/// ```
/// use psrp::{Exchange, Fragment};
/// let mut exchange = Exchange::new();
/// let (fragments, _) = Fragment::split(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0\x01x");
/// for fragment in fragments {
///     exchange.add_fragment("srv01", 4242, true, fragment, "record 17");
/// }
/// let conversation = exchange.finish();
/// // One byte is too short for a message.
/// assert_eq!(conversation.faults[0].tags, ["record 17"]);
/// ```
#[derive(Debug)]
pub struct Exchange<T> {
    reassembler: Reassembler<T>,
    chunks: ChunkJoiner<T>,
    shells: Shells<T>,
    messages: Vec<Message<T>>,
    faults: Vec<MessageFault<T>>,
    anomalies: Vec<Anomaly<T>>,
    /// The direction of each lane's messages, from their headers.
    directions: BTreeMap<Lane, Direction>,
    /// Lanes in which a client or server has sent its SESSION_CAPABILITY, with its ObjectId.
    introduced: BTreeMap<Lane, u64>,
    /// The host whose process had the latest fragment.
    host: Arc<str>,
}

impl<T: Clone> Default for Exchange<T> {
    fn default() -> Self {
        Exchange::new()
    }
}

impl<T: Clone> Exchange<T> {
    /// Makes an empty exchange.
    pub fn new() -> Exchange<T> {
        Exchange {
            reassembler: Reassembler::default(),
            chunks: ChunkJoiner::default(),
            shells: Shells::default(),
            messages: Vec::new(),
            faults: Vec::new(),
            anomalies: Vec::new(),
            directions: BTreeMap::new(),
            introduced: BTreeMap::new(),
            host: "".into(),
        }
    }

    /// Adds a fragment that a process on a host received or sent.
    pub fn add_fragment(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        fragment: Fragment,
        tag: T,
    ) {
        self.add_fragment_of_activity(host, process, received, None, fragment, tag);
    }

    /// Adds a fragment whose record has an ActivityID. It separates the answers of several
    /// servers to one client process, which use the same object numbers.
    pub fn add_fragment_of_activity(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        activity: Option<&str>,
        fragment: Fragment,
        tag: T,
    ) {
        let lane = self.lane(host, process, received);
        self.add_to_lane(&lane, fragment, activity, tag);
    }

    /// Records that a fragment was logged but cannot be used, because its payload is damaged.
    pub fn add_damaged_fragment(
        &mut self,
        host: &str,
        process: u32,
        received: bool,
        ids: (u64, u64),
        reason: String,
        tag: T,
    ) {
        let lane = self.lane(host, process, received);
        self.anomalies.push(Anomaly {
            kind: AnomalyKind::Rejected(reason),
            fragment: Some((lane, ids.0, ids.1)),
            tags: vec![tag],
        });
    }

    fn lane(&mut self, host: &str, process: u32, received: bool) -> Lane {
        if *self.host != *host {
            self.host = host.into();
        }
        Lane::Process { host: self.host.clone(), process, received }
    }

    /// Adds a chunk of a SOAP document.
    pub fn add_chunk(&mut self, chunk: SoapChunk, tag: T) {
        let host = chunk.key.host.clone();
        let oddity = match self.chunks.push(chunk, tag.clone()) {
            ChunkOutcome::Kept => return,
            ChunkOutcome::Complete(text, tags) => return self.add_document(&host, &text, tags),
            ChunkOutcome::Duplicate => AnomalyKind::Duplicate,
            ChunkOutcome::Rejected(reason) => AnomalyKind::Rejected(reason),
        };
        self.anomalies.push(Anomaly { kind: oddity, fragment: None, tags: vec![tag] });
    }

    /// Adds a complete SOAP document.
    pub fn add_document(&mut self, host: &str, text: &str, tags: Vec<T>) {
        match Envelope::parse(text) {
            Ok(envelope) => {
                let found = self.shells.push(host, envelope, tags);
                self.add_found_fragments(found);
            }
            Err(reason) => {
                let oddity = AnomalyKind::Rejected(reason);
                self.anomalies.push(Anomaly { kind: oddity, fragment: None, tags });
            }
        }
    }

    fn add_found_fragments(&mut self, found: Vec<FoundFragments<T>>) {
        for FoundFragments { shell, to_server, fragments, damage, tag } in found {
            let lane = Lane::Shell { shell, to_server };
            for fragment in fragments {
                if let Some(tag) = &tag {
                    self.add_to_lane(&lane, fragment, None, tag.clone());
                }
            }
            if let Some(reason) = damage {
                let (oddity, tags) = (AnomalyKind::Rejected(reason), tag.into_iter().collect());
                self.anomalies.push(Anomaly { kind: oddity, fragment: None, tags });
            }
        }
    }

    fn add_to_lane(&mut self, lane: &Lane, fragment: Fragment, activity: Option<&str>, tag: T) {
        let (object_id, fragment_id) = (fragment.object_id, fragment.fragment_id);
        let header = MessageHeader::parse(&fragment.blob);
        if fragment_id == 0 && header.is_ok_and(|h| h.kind == MessageType::SessionCapability) {
            // A second SESSION_CAPABILITY starts a new connection: open objects belong to the old
            // one.
            if self.introduced.insert(lane.clone(), object_id).is_some() {
                self.reassembler.close(lane, object_id);
            }
        }
        let (joined, oddity) = self.reassembler.push(lane, fragment, activity, tag.clone());
        if let Some(oddity) = oddity {
            let fragment = Some((lane.clone(), object_id, fragment_id));
            self.anomalies.push(Anomaly { kind: oddity, fragment, tags: vec![tag] });
        }
        if let Some(joined) = joined {
            self.add_message(lane, joined);
        }
    }

    fn add_message(&mut self, lane: &Lane, joined: JoinedMessage<T>) {
        let JoinedMessage { object_id, generation, fragments, is_mixed, bytes, tags } = joined;
        let header = MessageHeader::parse(&bytes);
        let damage = match &header {
            Err(reason) => Some(reason.clone()),
            Ok(MessageHeader { kind: MessageType::Unknown(value), .. }) => {
                Some(format!("a message of type 0x{value:08x} is not part of the protocol"))
            }
            Ok(_) => None,
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

    /// Returns what was completed since the last call. Incomplete messages stay and may still be
    /// completed. Complete messages are forgotten, and with them the means to recognise repeats.
    /// So a long trace needs only as much memory as its largest part.
    pub fn take_completed(&mut self) -> Conversation<T> {
        let (shells, found, other_documents) = self.shells.take_reported();
        self.add_found_fragments(found);
        self.withdraw_mixed();
        let gaps = self.reassembler.take_closed();
        let lost_documents = self.chunks.take_lost();
        self.conversation(shells, other_documents, gaps, Vec::new(), lost_documents)
    }

    /// Withdraws messages that may mix the text of two senders: their fragments have several
    /// activities, and their lane has several pools.
    fn withdraw_mixed(&mut self) {
        let mut pools: BTreeMap<&Lane, BTreeSet<WireGuid>> = BTreeMap::new();
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
            reason: "its fragments may come from several senders".to_owned(),
            tags: message.tags,
        }));
    }

    /// Returns the conversation, or what was added since the last call of `take_completed`.
    pub fn finish(mut self) -> Conversation<T> {
        let (shells, found, other_documents) = self.shells.take_reported();
        self.add_found_fragments(found);
        self.withdraw_mixed();
        let (gaps, absent) = std::mem::take(&mut self.reassembler).finish();
        let lost_documents = std::mem::take(&mut self.chunks).finish();
        self.conversation(shells, other_documents, gaps, absent, lost_documents)
    }

    fn conversation(
        &mut self,
        shells: Vec<Shell<T>>,
        other_documents: usize,
        gaps: Vec<MessageGap<T>>,
        absent: Vec<AbsentObjects>,
        lost_documents: Vec<LostDocument<T>>,
    ) -> Conversation<T> {
        let mut conversation = Conversation {
            messages: std::mem::take(&mut self.messages),
            gaps,
            absent,
            faults: std::mem::take(&mut self.faults),
            anomalies: std::mem::take(&mut self.anomalies),
            shells,
            lost_documents,
            other_documents,
            session_key: None,
            index: ConversationIndex::new(self.directions.clone()),
        };
        conversation.mark_twins();
        conversation.index_messages();
        conversation
    }
}

#[cfg(test)]
mod tests;
