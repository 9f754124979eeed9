//! Joins fragments to messages.
//!
//! A sender numbers the objects it sends, in each of its processes and in each direction. A log
//! may lack fragments, repeat them, or have them in another order; a client that connects again
//! starts again at 1. Only fragments that certainly belong together are joined; everything else
//! is a [`MessageGap`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use super::fragments::Fragment;
use super::lane::Lane;
use super::message::MessageHeader;

/// Longest message that is joined, in bytes.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Largest number of bytes held for incomplete messages; beyond it, the oldest are given up.
const MOST_HELD: usize = 128 << 20;
/// How many of the latest objects with the same number are checked for a repeat.
const MOST_LOOKED_AT: usize = 4;
/// Number of bytes kept from the start of an incomplete message: its header.
const HEAD: usize = 40;

/// A message whose fragments were all found.
#[derive(Debug)]
pub struct JoinedMessage<T> {
    /// ObjectId.
    pub object_id: u64,
    /// The number of earlier objects with the same ObjectId in its lane.
    pub generation: usize,
    /// The number of its fragments.
    pub fragments: usize,
    /// Whether its fragments have several activities.
    pub is_mixed: bool,
    /// Header and data.
    pub bytes: Vec<u8>,
    /// The callers' tags of its fragments, in the order of arrival.
    pub tags: Vec<T>,
}

/// The way in which a fragment is unusual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnomalyKind {
    /// The same fragment was added before.
    Duplicate,
    /// It came after a fragment that follows it.
    OutOfOrder,
    /// It was rejected; the text says why.
    Rejected(String),
}

/// The reason why a message is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// Fragments are missing.
    Missing,
    /// Another object with the same number was open at the same time, so it is uncertain which
    /// object the fragments belong to.
    Contested,
    /// The message is longer than this program joins, or too many bytes were held in the
    /// meantime.
    GivenUp,
}

/// An incomplete message; its text is not shown.
#[derive(Debug, Clone)]
pub struct MessageGap<T> {
    /// The sender and direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// The number of earlier objects with the same ObjectId in its lane.
    pub generation: usize,
    /// The reason why it is incomplete.
    pub reason: GapReason,
    /// FragmentIds that were found.
    pub have: Vec<RangeInclusive<u64>>,
    /// FragmentIds that are missing before the last one that was found.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Whether the last fragment was found.
    pub end_seen: bool,
    /// The message's first bytes, if fragment 0 was found.
    pub head: Option<Vec<u8>>,
    /// The callers' tags of the fragments that were found.
    pub tags: Vec<T>,
}

impl<T> MessageGap<T> {
    /// Largest number of ranges of fragments that a sentence names.
    const MOST_NAMED: usize = 20;

    /// Describes in a sentence which fragments are missing.
    pub fn sentence(&self) -> String {
        let head = self.head.as_deref().and_then(|head| MessageHeader::parse(head).ok());
        let kind = head.map_or("message", |head| head.kind.name());
        let missing = self.missing.iter().map(|range| match range.end() - range.start() {
            0 => range.start().to_string(),
            _ => format!("{} to {}", range.start(), range.end()),
        });
        let mut missing: Vec<String> = missing.take(MessageGap::<T>::MOST_NAMED).collect();
        if !self.end_seen {
            missing.push("the last".to_owned());
        }
        match missing.is_empty() {
            true => format!(
                "a {kind} is not shown: its fragments cannot be told apart from those of another message"
            ),
            false => {
                let missing = missing.join(", ");
                format!("a {kind} is not shown because fragments are missing: {missing}")
            }
        }
    }
}

/// Objects of which a lane has no fragment although it has later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentObjects {
    /// The sender and direction.
    pub lane: Lane,
    /// Their numbers.
    pub object_ids: RangeInclusive<u64>,
}

/// Joins fragments in the order in which they arrive.
#[derive(Debug)]
pub struct Reassembler<T> {
    lanes: BTreeMap<Lane, LaneObjects<T>>,
    /// Bytes held for incomplete objects, and their limit.
    held: usize,
    most_held: usize,
    /// Objects that were not completed at once, in the order in which they began: lane, ObjectId,
    /// generation.
    begun: VecDeque<(Lane, u64, usize)>,
    /// Whether completed objects have been forgotten.
    is_in_parts: bool,
}

/// The objects of a lane.
#[derive(Debug)]
struct LaneObjects<T> {
    /// By ObjectId; objects with the same number in the order in which they began.
    objects: BTreeMap<u64, Vec<FragmentedObject<T>>>,
    /// How many times the sender has started to number again, judged by repeated numbers.
    count: usize,
}

impl<T> Default for Reassembler<T> {
    fn default() -> Self {
        Reassembler {
            lanes: BTreeMap::new(),
            held: 0,
            most_held: MOST_HELD,
            begun: VecDeque::new(),
            is_in_parts: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectState {
    Open,
    /// The object takes no more fragments: its sender has started anew.
    Closed,
    Complete,
}

#[derive(Debug)]
struct FragmentedObject<T> {
    /// The lane's count when the object began.
    count: usize,
    /// The activity of its first fragment.
    activity: Option<Box<str>>,
    /// Whether some fragments have a different activity.
    is_mixed: bool,
    /// Empty once the object is complete.
    parts: BTreeMap<u64, FragmentBlob>,
    /// The digests of a complete object's parts, to recognise repeated fragments.
    whole: Box<[[u8; 16]]>,
    /// FragmentId of the last part, once it was found.
    end: Option<u64>,
    /// FragmentId of the latest fragment to arrive.
    latest: u64,
    bytes: usize,
    state: ObjectState,
    reason: GapReason,
    tags: Vec<T>,
}

#[derive(Debug)]
struct FragmentBlob {
    digest: [u8; 16],
    blob: Vec<u8>,
}

impl<T> FragmentedObject<T> {
    fn new(reason: GapReason, count: usize, activity: Option<&str>) -> FragmentedObject<T> {
        FragmentedObject {
            count,
            activity: activity.map(Into::into),
            is_mixed: false,
            parts: BTreeMap::new(),
            whole: Box::default(),
            end: None,
            latest: 0,
            bytes: 0,
            state: ObjectState::Open,
            reason,
            tags: Vec::new(),
        }
    }

    /// Returns whether a fragment fits into the object.
    fn has_room_for(&self, fragment: &Fragment) -> bool {
        let id = fragment.fragment_id;
        let last = self.parts.last_key_value().map(|(&last, _)| last);
        self.state == ObjectState::Open
            && !self.parts.contains_key(&id)
            && self.end.is_none_or(|end| id < end)
            && !(fragment.end && last.is_some_and(|last| last > id))
    }

    /// Returns the digest of a part. It distinguishes a repeated part from a different one at the
    /// same position.
    fn digest_of(&self, fragment_id: u64) -> Option<[u8; 16]> {
        let whole = usize::try_from(fragment_id).ok().and_then(|at| self.whole.get(at).copied());
        whole.or_else(|| self.parts.get(&fragment_id).map(|part| part.digest))
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.parts.len() as u64 == end.saturating_add(1))
    }

    /// Returns whether its parts, once all are found, certainly are one message.
    fn is_certain(&self) -> bool {
        match self.reason {
            GapReason::Missing => true,
            GapReason::Contested => {
                self.parts.len() == 1 || (self.activity.is_some() && !self.is_mixed)
            }
            GapReason::GivenUp => false,
        }
    }
}

impl<T: Clone> Reassembler<T> {
    /// Adds a fragment. Returns its message when that is complete. The activity, if the log has
    /// it, separates objects with the same number that are open at the same time.
    pub fn push(
        &mut self,
        lane: &Lane,
        fragment: Fragment,
        activity: Option<&str>,
        tag: T,
    ) -> (Option<JoinedMessage<T>>, Option<AnomalyKind>) {
        let id = fragment.fragment_id;
        if fragment.start != (id == 0) {
            let reason = match id {
                0 => "fragment 0 without the start flag".to_owned(),
                id => format!("a start flag on fragment {id}"),
            };
            return (None, Some(AnomalyKind::Rejected(reason)));
        }
        if !self.lanes.contains_key(lane) {
            self.lanes.insert(lane.clone(), LaneObjects { objects: BTreeMap::new(), count: 0 });
        }
        let Some(numbers) = self.lanes.get_mut(lane) else { return (None, None) };
        let objects = numbers.objects.entry(fragment.object_id).or_default();
        let digest = fragment.digest();
        let place = index_of_object(objects, &fragment, activity);
        let generation = place.unwrap_or(objects.len());
        if place.is_none() {
            let same = |object: &FragmentedObject<T>| object.digest_of(id) == Some(digest);
            if objects.iter().rev().take(MOST_LOOKED_AT).any(same) {
                return (None, Some(AnomalyKind::Duplicate));
            }
            let mut reason = GapReason::Missing;
            for open in recent(objects).filter(|object| object.state == ObjectState::Open) {
                reason = GapReason::Contested;
                open.reason = open.reason.max(reason);
                // Two activities distinguish two senders; otherwise nothing does.
                if activity.is_none()
                    || open.activity.as_deref().is_none_or(|of| Some(of) == activity)
                {
                    self.held -= open.close();
                }
            }
            numbers.count = numbers.count.max(objects.len());
            objects.push(FragmentedObject::new(reason, numbers.count, activity));
        }
        let object = &mut objects[generation];
        object.is_mixed |= object.activity.as_deref() != activity;
        let is_late = !object.parts.is_empty() && id < object.latest;
        let oddity = is_late.then_some(AnomalyKind::OutOfOrder);
        object.latest = id;
        object.tags.push(tag);
        if fragment.end {
            object.end = Some(id);
        }
        let mut blob = fragment.blob;
        if object.reason == GapReason::GivenUp {
            blob = kept_start(id, blob);
        }
        object.bytes += blob.len();
        self.held += blob.len();
        object.parts.insert(id, FragmentBlob { digest, blob });
        if object.bytes > LONGEST_MESSAGE {
            self.held -= object.give_up();
        }
        if !object.is_complete() || !object.is_certain() {
            if place.is_none() {
                self.begun.push_back((lane.clone(), fragment.object_id, generation));
            }
            self.make_room();
            return (None, oddity);
        }
        object.state = ObjectState::Complete;
        self.held -= object.bytes;
        object.whole = object.parts.values().map(|part| part.digest).collect();
        let mut blobs = std::mem::take(&mut object.parts).into_values().map(|part| part.blob);
        // Most messages are one fragment, which need not be copied.
        let mut bytes = blobs.next().unwrap_or_default();
        bytes.reserve_exact(object.bytes - bytes.len());
        blobs.for_each(|blob| bytes.extend(blob));
        let joined = JoinedMessage {
            object_id: fragment.object_id,
            generation,
            fragments: object.whole.len(),
            is_mixed: object.is_mixed,
            bytes,
            tags: std::mem::take(&mut object.tags),
        };
        (Some(joined), oddity)
    }

    /// Closes all open objects of a lane except one, because its sender starts to number again.
    pub fn close(&mut self, lane: &Lane, but: u64) {
        let objects = self.lanes.get_mut(lane).into_iter().flat_map(|lane| &mut lane.objects);
        for (_, objects) in objects.filter(|object| *object.0 != but) {
            for object in recent(objects).filter(|object| object.state == ObjectState::Open) {
                self.held -= object.close();
            }
        }
    }

    /// Gives up the oldest incomplete objects until the bytes held are below the limit.
    fn make_room(&mut self) {
        while self.held > self.most_held {
            let Some((lane, object_id, generation)) = self.begun.pop_front() else { return };
            let objects =
                self.lanes.get_mut(&lane).and_then(|lane| lane.objects.get_mut(&object_id));
            let object = objects.and_then(|objects| objects.get_mut(generation));
            if let Some(object) = object.filter(|object| object.state == ObjectState::Open) {
                self.held -= object.give_up();
            }
        }
    }

    /// Forgets complete messages. Returns those that can no longer be completed; open ones stay.
    pub fn take_closed(&mut self) -> Vec<MessageGap<T>> {
        let mut gaps = Vec::new();
        // The new index of each open object, by lane, number and old generation.
        let mut places: BTreeMap<(Lane, u64, usize), usize> = BTreeMap::new();
        for (lane, numbers) in &mut self.lanes {
            for (&object_id, objects) in &mut numbers.objects {
                let mut open = Vec::new();
                for (generation, object) in std::mem::take(objects).into_iter().enumerate() {
                    match object.state {
                        ObjectState::Complete => {}
                        ObjectState::Closed => {
                            self.held -= object.bytes;
                            gaps.push(object.into_gap(lane.clone(), object_id, generation));
                        }
                        ObjectState::Open => {
                            places.insert((lane.clone(), object_id, generation), open.len());
                            open.push(object);
                        }
                    }
                }
                *objects = open;
            }
            numbers.objects.retain(|_, objects| !objects.is_empty());
        }
        self.lanes.retain(|_, numbers| !numbers.objects.is_empty());
        let begun = std::mem::take(&mut self.begun).into_iter();
        self.begun = begun
            .filter_map(|begun| {
                let place = *places.get(&begun)?;
                Some((begun.0, begun.1, place))
            })
            .collect();
        self.is_in_parts = true;
        gaps
    }

    /// Returns incomplete messages and absent objects, sorted by lane and object. Absent objects
    /// are not reported after `take_closed` was called.
    pub fn finish(self) -> (Vec<MessageGap<T>>, Vec<AbsentObjects>) {
        let (mut gaps, mut absent) = (Vec::new(), Vec::new());
        for (lane, LaneObjects { objects, .. }) in self.lanes {
            if lane.has_all_objects() && !self.is_in_parts {
                let seen = objects.iter().flat_map(|(&object_id, objects)| {
                    objects.iter().map(move |object| (object.count, object_id))
                });
                absent.extend(
                    missing_between(seen)
                        .map(|object_ids| AbsentObjects { lane: lane.clone(), object_ids }),
                );
            }
            for (object_id, objects) in objects {
                for (generation, object) in objects.into_iter().enumerate() {
                    if object.state != ObjectState::Complete {
                        gaps.push(object.into_gap(lane.clone(), object_id, generation));
                    }
                }
            }
        }
        (gaps, absent)
    }
}

/// Returns the latest objects of one number, which are checked.
fn recent<T>(
    objects: &mut [FragmentedObject<T>],
) -> impl Iterator<Item = &mut FragmentedObject<T>> {
    objects.iter_mut().rev().take(MOST_LOOKED_AT)
}

/// Returns the index of the object that a fragment belongs to: one of its activity, or else the
/// latest if no other is open.
fn index_of_object<T>(
    objects: &mut [FragmentedObject<T>],
    fragment: &Fragment,
    activity: Option<&str>,
) -> Option<usize> {
    let last = objects.len().checked_sub(1)?;
    let open = recent(objects).filter(|object| object.state == ObjectState::Open).count();
    let is_its = |object: &FragmentedObject<T>| {
        activity.is_some()
            && object.activity.as_deref() == activity
            && object.has_room_for(fragment)
    };
    let mut places = (0..objects.len()).rev().take(MOST_LOOKED_AT);
    let latest = || (open == 1 && objects[last].has_room_for(fragment)).then_some(last);
    places.find(|&place| is_its(&objects[place])).or_else(latest)
}

/// Returns the numbers missing between those that were seen. The first count starts at 1, later
/// ones at the first number seen.
fn missing_between(
    seen: impl Iterator<Item = (usize, u64)>,
) -> impl Iterator<Item = RangeInclusive<u64>> {
    let mut seen: Vec<(usize, u64)> = seen.collect();
    seen.sort_unstable();
    let mut before = (0, 0);
    seen.into_iter().filter_map(move |(count, object_id)| {
        let (last_count, last) = std::mem::replace(&mut before, (count, object_id));
        let is_next = count != last_count || object_id <= last.saturating_add(1);
        (!is_next).then(|| last + 1..=object_id - 1)
    })
}

/// Cuts a fragment's blob to the part that is kept when its message is not joined.
fn kept_start(fragment_id: u64, mut blob: Vec<u8>) -> Vec<u8> {
    blob.truncate(if fragment_id == 0 { HEAD } else { 0 });
    blob.shrink_to_fit();
    blob
}

impl<T> FragmentedObject<T> {
    /// Drops all bytes except the head. Returns how many bytes were freed.
    fn free_blobs(&mut self) -> usize {
        let mut kept = 0;
        for (&id, part) in &mut self.parts {
            part.blob = kept_start(id, std::mem::take(&mut part.blob));
            kept += part.blob.len();
        }
        let freed = self.bytes - kept;
        self.bytes = kept;
        freed
    }

    fn give_up(&mut self) -> usize {
        if self.reason == GapReason::GivenUp {
            return 0;
        }
        self.reason = GapReason::GivenUp;
        self.free_blobs()
    }

    fn close(&mut self) -> usize {
        self.state = ObjectState::Closed;
        self.free_blobs()
    }

    fn into_gap(self, lane: Lane, object_id: u64, generation: usize) -> MessageGap<T> {
        let (mut have, mut missing): (Vec<RangeInclusive<u64>>, Vec<_>) = (Vec::new(), Vec::new());
        let mut next = 0;
        for &id in self.parts.keys() {
            if id > next {
                missing.push(next..=id - 1);
            }
            match have.last_mut().filter(|_| id == next && id > 0) {
                Some(range) => *range = *range.start()..=id,
                None => have.push(id..=id),
            }
            next = id.saturating_add(1);
        }
        let head = self.parts.get(&0).map(|part| part.blob[..HEAD.min(part.blob.len())].to_vec());
        let end_seen = self.end.is_some();
        let (reason, tags) = (self.reason, self.tags);
        MessageGap { lane, object_id, generation, reason, have, missing, end_seen, head, tags }
    }
}

#[cfg(test)]
mod tests;
