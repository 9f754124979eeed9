//! Fragments and SOAP documents in, a conversation out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chunks::{Chunk, Chunks, LostDocument, Outcome};
use super::conversation::{Anomaly, Conversation, Index, Message, MessageFault};
use super::fragments::Fragment;
use super::lane::Lane;
use super::message::{Direction, Guid, Header, MessageType};
use super::reassembler::{Absent, Gap, Joined, Oddity, Reassembler};
use super::shells::{Found, Shell, Shells};
use super::soap::Envelope;

/// Takes fragments and documents as a log has them. `T` is the caller's tag: what it needs to know
/// of a record, such as its place and time.
///
/// ```
/// use psrp::{Exchange, Fragment};
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
    /// The host whose process had the latest fragment.
    host: Arc<str>,
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
            host: "".into(),
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
        let lane = self.lane(host, process, received);
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
        let lane = self.lane(host, process, received);
        self.anomalies.push(Anomaly {
            oddity: Oddity::Refused(reason),
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

    /// What got whole since the last part. What is open stays, and can still get whole; what is
    /// whole is forgotten, its repeats with it. So a long trace needs no more memory than its longest
    /// part.
    pub fn part(&mut self) -> Conversation<T> {
        let (shells, found, other_documents) = self.shells.part();
        self.take_all(found);
        self.take_back();
        let gaps = self.reassembler.part();
        let lost_documents = self.chunks.part();
        self.conversation(shells, other_documents, gaps, Vec::new(), lost_documents)
    }

    /// Takes back what may be two senders' text in one message: fragments of several activities, in
    /// a lane of several pools.
    fn take_back(&mut self) {
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

    /// What the fragments and documents amount to, since the last part if there was one.
    pub fn finish(mut self) -> Conversation<T> {
        let (shells, found, other_documents) = self.shells.part();
        self.take_all(found);
        self.take_back();
        let (gaps, absent) = std::mem::take(&mut self.reassembler).finish();
        let lost_documents = std::mem::take(&mut self.chunks).finish();
        self.conversation(shells, other_documents, gaps, absent, lost_documents)
    }

    fn conversation(
        &mut self,
        shells: Vec<Shell<T>>,
        other_documents: usize,
        gaps: Vec<Gap<T>>,
        absent: Vec<Absent>,
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
            index: Index::new(self.directions.clone()),
        };
        conversation.pair();
        conversation.sort();
        conversation
    }
}

#[cfg(test)]
mod tests;
