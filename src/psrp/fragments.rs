//! Fragments to messages (MS-PSRP 2.2.4): a message is cut into blobs, numbered from 0.
//!
//! A sender counts the objects it sends, in each of its processes and in each direction. A log may
//! lack fragments, have them twice or in another order; a client that connects again counts from 1
//! again. What is joined here is joined without doubt; the rest is a [`Gap`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use super::Lane;

/// Longest message that is joined, in bytes.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Most bytes held for messages that are not whole; past it, messages are given up as they grow.
const MOST_HELD: usize = 128 << 20;
/// How many objects of one number are looked at for a repeat, from the latest.
const MOST_LOOKED_AT: usize = 4;
/// Most bytes kept of the start of a message that is not whole: its header.
const HEAD: usize = 40;

/// One fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// ObjectId: the number of its message.
    pub object_id: u64,
    /// FragmentId: its place in the message, from 0.
    pub fragment_id: u64,
    /// Whether it says that it is the first.
    pub start: bool,
    /// Whether it says that it is the last.
    pub end: bool,
    /// Its part of the message.
    pub blob: Vec<u8>,
}

impl Fragment {
    /// Length of a fragment's header: ObjectId, FragmentId, flags, length of the blob.
    pub const HEADER: usize = 21;

    /// The fragments in a stream, which follow each other, and what is wrong with the rest of it.
    ///
    /// ```
    /// use psr_forensics::psrp::Fragment;
    /// // ObjectId 1, FragmentId 0, start and end, one byte.
    /// let bytes = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0\x01x";
    /// let (fragments, rest) = Fragment::split(bytes);
    /// assert_eq!((fragments[0].object_id, &*fragments[0].blob, rest), (1, &b"x"[..], None));
    /// ```
    pub fn split(mut bytes: &[u8]) -> (Vec<Fragment>, Option<String>) {
        let mut fragments = Vec::new();
        while !bytes.is_empty() {
            let Some((header, rest)) = bytes.split_at_checked(Fragment::HEADER) else {
                let reason = format!("{} bytes are too few for a fragment's header", bytes.len());
                return (fragments, Some(reason));
            };
            let number = |at: usize| {
                header[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
            };
            let length = number(13) as u32 as usize;
            let Some((blob, rest)) = rest.split_at_checked(length) else {
                let reason = format!("a fragment of {length} bytes has {} of them", rest.len());
                return (fragments, Some(reason));
            };
            fragments.push(Fragment {
                object_id: number(0),
                fragment_id: number(8),
                start: header[16] & 1 != 0,
                end: header[16] & 2 != 0,
                blob: blob.to_vec(),
            });
            bytes = rest;
        }
        (fragments, None)
    }

    fn digest(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        hasher.update([u8::from(self.start), u8::from(self.end)]);
        hasher.update(&self.blob);
        let digest = hasher.finalize();
        std::array::from_fn(|at| digest[at])
    }
}

/// A message whose fragments are all there.
#[derive(Debug)]
pub struct Joined<T> {
    /// ObjectId.
    pub object_id: u64,
    /// How many objects of this number came before it in its lane.
    pub generation: usize,
    /// How many fragments it had.
    pub fragments: usize,
    /// Whether they are of several activities.
    pub is_mixed: bool,
    /// Header and data.
    pub bytes: Vec<u8>,
    /// The callers' tags of its fragments, in the order of arrival.
    pub tags: Vec<T>,
}

/// What is odd about one fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// The same fragment was there before: it adds nothing.
    Duplicate,
    /// It came after one that follows it.
    OutOfOrder,
    /// It was left out.
    Refused(String),
}

/// Why a message is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// Fragments are missing.
    Missing,
    /// Another object of the same number was open at the same time: whose the fragments are,
    /// cannot be told.
    Contested,
    /// It is longer than this program joins.
    TooLong,
}

/// A message that is not whole; its text is not shown.
#[derive(Debug, Clone)]
pub struct Gap<T> {
    /// Who sent it, in which direction.
    pub lane: Lane,
    /// ObjectId.
    pub object_id: u64,
    /// How many objects of this number came before it in its lane.
    pub generation: usize,
    /// Why it is not whole.
    pub reason: GapReason,
    /// FragmentIds that are there.
    pub have: Vec<RangeInclusive<u64>>,
    /// FragmentIds that are missing before the last one that is there.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Whether the last fragment is there.
    pub end_seen: bool,
    /// The message's first bytes, where fragment 0 is there.
    pub head: Option<Vec<u8>>,
    /// The callers' tags of the fragments that are there.
    pub tags: Vec<T>,
}

/// Objects of which a lane has no fragment, though it has later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Who sent them, in which direction.
    pub lane: Lane,
    /// Their numbers.
    pub object_ids: RangeInclusive<u64>,
}

/// Joins fragments as they come.
#[derive(Debug)]
pub struct Reassembler<T> {
    lanes: BTreeMap<Lane, Numbers<T>>,
    held: usize,
}

/// The objects of a lane.
#[derive(Debug)]
struct Numbers<T> {
    /// By ObjectId, those of one number in the order in which they began.
    objects: BTreeMap<u64, Vec<Object<T>>>,
    /// How often the sender has begun to count anew, as far as numbers came again.
    count: usize,
}

impl<T> Default for Reassembler<T> {
    fn default() -> Self {
        Reassembler { lanes: BTreeMap::new(), held: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No fragment goes to it any more: its sender has started anew.
    Closed,
    Whole,
}

#[derive(Debug)]
struct Object<T> {
    /// The lane's count when it began.
    count: usize,
    /// The activity of its first fragment.
    activity: Option<Box<str>>,
    /// Whether other fragments are of another activity.
    is_mixed: bool,
    parts: BTreeMap<u64, Part>,
    /// FragmentId of the last part, once it is there.
    end: Option<u64>,
    /// FragmentId of the latest arrival.
    latest: u64,
    bytes: usize,
    state: State,
    reason: GapReason,
    tags: Vec<T>,
}

#[derive(Debug)]
struct Part {
    digest: [u8; 16],
    blob: Vec<u8>,
}

impl<T> Object<T> {
    fn new(reason: GapReason, count: usize, activity: Option<&str>) -> Object<T> {
        Object {
            count,
            activity: activity.map(Into::into),
            is_mixed: false,
            parts: BTreeMap::new(),
            end: None,
            latest: 0,
            bytes: 0,
            state: State::Open,
            reason,
            tags: Vec::new(),
        }
    }

    /// Whether a fragment has a place in it.
    fn has_room_for(&self, fragment: &Fragment) -> bool {
        let id = fragment.fragment_id;
        let last = self.parts.last_key_value().map(|(&last, _)| last);
        self.state == State::Open
            && !self.parts.contains_key(&id)
            && self.end.is_none_or(|end| id < end)
            && !(fragment.end && last.is_some_and(|last| last > id))
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.parts.len() as u64 == end.saturating_add(1))
    }

    /// Whether its parts, all there, are one message without doubt.
    fn is_certain(&self) -> bool {
        match self.reason {
            GapReason::Missing => true,
            GapReason::Contested => {
                self.parts.len() == 1 || (self.activity.is_some() && !self.is_mixed)
            }
            GapReason::TooLong => false,
        }
    }
}

impl<T: Clone> Reassembler<T> {
    /// Takes a fragment; gives its message when that gets whole. The activity, if the log tells
    /// it, parts objects of one number that are open at the same time.
    pub fn push(
        &mut self,
        lane: &Lane,
        fragment: Fragment,
        activity: Option<&str>,
        tag: T,
    ) -> (Option<Joined<T>>, Option<Oddity>) {
        let id = fragment.fragment_id;
        if fragment.start != (id == 0) {
            let reason = match id {
                0 => "fragment 0 without the start flag".to_owned(),
                id => format!("a start flag on fragment {id}"),
            };
            return (None, Some(Oddity::Refused(reason)));
        }
        if !self.lanes.contains_key(lane) {
            self.lanes.insert(lane.clone(), Numbers { objects: BTreeMap::new(), count: 0 });
        }
        let Some(numbers) = self.lanes.get_mut(lane) else { return (None, None) };
        let objects = numbers.objects.entry(fragment.object_id).or_default();
        let digest = fragment.digest();
        let place = place(objects, &fragment, activity);
        let generation = place.unwrap_or(objects.len());
        if place.is_none() {
            let same = |object: &Object<T>| {
                object.parts.get(&id).is_some_and(|part| part.digest == digest)
            };
            if objects.iter().rev().take(MOST_LOOKED_AT).any(same) {
                return (None, Some(Oddity::Duplicate));
            }
            let mut reason = GapReason::Missing;
            for open in recent(objects).filter(|object| object.state == State::Open) {
                reason = GapReason::Contested;
                open.reason = open.reason.max(reason);
                // Two activities tell two senders apart; else nobody can.
                if activity.is_none()
                    || open.activity.as_deref().is_none_or(|of| Some(of) == activity)
                {
                    open.state = State::Closed;
                }
            }
            numbers.count = numbers.count.max(objects.len());
            objects.push(Object::new(reason, numbers.count, activity));
        }
        let object = &mut objects[generation];
        object.is_mixed |= object.activity.as_deref() != activity;
        let is_late = !object.parts.is_empty() && id < object.latest;
        let oddity = is_late.then_some(Oddity::OutOfOrder);
        object.latest = id;
        object.tags.push(tag);
        if fragment.end {
            object.end = Some(id);
        }
        let mut blob = fragment.blob;
        if object.reason == GapReason::TooLong {
            blob = head(id, blob);
        }
        object.bytes += blob.len();
        self.held += blob.len();
        object.parts.insert(id, Part { digest, blob });
        let is_too_long = object.bytes > LONGEST_MESSAGE || self.held > MOST_HELD;
        if is_too_long && object.reason != GapReason::TooLong {
            object.reason = GapReason::TooLong;
            self.held -= object.give_up();
        }
        if !object.is_complete() || !object.is_certain() {
            return (None, oddity);
        }
        object.state = State::Whole;
        self.held -= object.bytes;
        let mut bytes = Vec::with_capacity(object.bytes);
        for part in object.parts.values_mut() {
            bytes.append(&mut std::mem::take(&mut part.blob));
        }
        let joined = Joined {
            object_id: fragment.object_id,
            generation,
            fragments: object.parts.len(),
            is_mixed: object.is_mixed,
            bytes,
            tags: std::mem::take(&mut object.tags),
        };
        (Some(joined), oddity)
    }

    /// Closes the objects of a lane that are open, but one: its sender counts anew.
    pub fn close(&mut self, lane: &Lane, but: u64) {
        let objects = self.lanes.get_mut(lane).into_iter().flat_map(|lane| &mut lane.objects);
        for (_, objects) in objects.filter(|object| *object.0 != but) {
            for object in recent(objects).filter(|object| object.state == State::Open) {
                object.state = State::Closed;
            }
        }
    }

    /// What is not whole, and what is not there at all, in the order of lanes and objects.
    pub fn finish(self) -> (Vec<Gap<T>>, Vec<Absent>) {
        let (mut gaps, mut absent) = (Vec::new(), Vec::new());
        for (lane, Numbers { objects, .. }) in self.lanes {
            if lane.has_all_objects() {
                let seen = objects.iter().flat_map(|(&object_id, objects)| {
                    objects.iter().map(move |object| (object.count, object_id))
                });
                absent.extend(
                    between(seen).map(|object_ids| Absent { lane: lane.clone(), object_ids }),
                );
            }
            for (object_id, objects) in objects {
                for (generation, object) in objects.into_iter().enumerate() {
                    if object.state != State::Whole {
                        gaps.push(object.gap(lane.clone(), object_id, generation));
                    }
                }
            }
        }
        (gaps, absent)
    }
}

/// The objects of one number that are looked at, from the latest.
fn recent<T>(objects: &mut [Object<T>]) -> impl Iterator<Item = &mut Object<T>> {
    objects.iter_mut().rev().take(MOST_LOOKED_AT)
}

/// The object that a fragment goes to: one of its activity, else the latest if no other is open.
fn place<T>(
    objects: &mut [Object<T>],
    fragment: &Fragment,
    activity: Option<&str>,
) -> Option<usize> {
    let last = objects.len().checked_sub(1)?;
    let open = recent(objects).filter(|object| object.state == State::Open).count();
    let is_its = |object: &Object<T>| {
        activity.is_some()
            && object.activity.as_deref() == activity
            && object.has_room_for(fragment)
    };
    let mut places = (0..objects.len()).rev().take(MOST_LOOKED_AT);
    let latest = || (open == 1 && objects[last].has_room_for(fragment)).then_some(last);
    places.find(|&place| is_its(&objects[place])).or_else(latest)
}

/// The numbers missing between those that were seen: of the first count from 1, of later ones from
/// the first that was seen.
fn between(seen: impl Iterator<Item = (usize, u64)>) -> impl Iterator<Item = RangeInclusive<u64>> {
    let mut seen: Vec<(usize, u64)> = seen.collect();
    seen.sort_unstable();
    let mut before = (0, 0);
    seen.into_iter().filter_map(move |(count, object_id)| {
        let (last_count, last) = std::mem::replace(&mut before, (count, object_id));
        let is_next = count != last_count || object_id <= last.saturating_add(1);
        (!is_next).then(|| last + 1..=object_id - 1)
    })
}

/// What is kept of a fragment's blob when its message is not joined.
fn head(fragment_id: u64, mut blob: Vec<u8>) -> Vec<u8> {
    blob.truncate(if fragment_id == 0 { HEAD } else { 0 });
    blob.shrink_to_fit();
    blob
}

impl<T> Object<T> {
    /// Lets go of all bytes but the head, and says how many are no longer held.
    fn give_up(&mut self) -> usize {
        let mut kept = 0;
        for (&id, part) in &mut self.parts {
            part.blob = head(id, std::mem::take(&mut part.blob));
            kept += part.blob.len();
        }
        let freed = self.bytes - kept;
        self.bytes = kept;
        freed
    }

    fn gap(self, lane: Lane, object_id: u64, generation: usize) -> Gap<T> {
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
        Gap { lane, object_id, generation, reason, have, missing, end_seen, head, tags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane::Process { host: "srv".into(), process: 1, received: true }
    }

    fn fragment(object_id: u64, fragment_id: u64, end: bool, blob: &str) -> Fragment {
        let blob = blob.as_bytes().to_vec();
        Fragment { object_id, fragment_id, start: fragment_id == 0, end, blob }
    }

    /// The messages of fragments that come in this order, and their gaps.
    fn joined(fragments: &[Fragment]) -> (Vec<String>, Vec<Gap<usize>>) {
        let mut reassembler = Reassembler::default();
        let mut messages = Vec::new();
        for (tag, fragment) in fragments.iter().enumerate() {
            if let (Some(joined), _) = reassembler.push(&lane(), fragment.clone(), None, tag) {
                messages.push(String::from_utf8(joined.bytes).unwrap());
            }
        }
        (messages, reassembler.finish().0)
    }

    #[test]
    fn header_is_big_endian_and_fragments_follow_each_other() {
        // ObjectId 258, FragmentId 1, only the end flag and a bit that means nothing, two bytes.
        let bytes = b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x01\xf2\0\0\0\x02hi\0\0";
        let (fragments, rest) = Fragment::split(bytes);
        assert_eq!(fragments, [fragment(258, 1, true, "hi")]);
        assert!(rest.unwrap().contains("2 bytes"));
        let (none, rest) = Fragment::split(&bytes[..22]);
        assert_eq!((none.len(), rest.unwrap().contains("has 1")), (0, true));
    }

    #[test]
    fn any_order_and_repeats_make_the_message_once() {
        let parts =
            [fragment(7, 2, true, "c"), fragment(7, 0, false, "a"), fragment(7, 1, false, "b")];
        let (messages, gaps) = joined(&[&parts[..], &parts[..]].concat());
        assert_eq!((messages, gaps.len()), (vec!["abc".to_owned()], 0));
    }

    #[test]
    fn oddities_are_told_for_each_fragment() {
        let mut reassembler = Reassembler::default();
        let mut push = |id, end| reassembler.push(&lane(), fragment(5, id, end, "x"), None, ()).1;
        assert_eq!(push(0, false), None);
        assert_eq!(push(3, true), None);
        assert_eq!(push(1, false), Some(Oddity::OutOfOrder));
        assert_eq!(push(1, false), Some(Oddity::Duplicate));
        assert_eq!(push(2, false), None);
        assert_eq!(push(2, false), Some(Oddity::Duplicate));
        let mut wrong = fragment(6, 1, false, "x");
        wrong.start = true;
        assert!(matches!(reassembler.push(&lane(), wrong, None, ()).1, Some(Oddity::Refused(_))));
    }

    #[test]
    fn what_is_missing_is_told_and_not_joined() {
        let parts = [
            fragment(7, 0, false, "a"),
            fragment(7, 1, false, "b"),
            fragment(7, 4, false, "e"),
            fragment(7, 9, true, "j"),
        ];
        let (messages, gaps) = joined(&parts);
        assert_eq!((messages.len(), gaps.len()), (0, 1));
        assert_eq!(gaps[0].have, [0..=1, 4..=4, 9..=9]);
        assert_eq!(gaps[0].missing, [2..=3, 5..=8]);
        assert!(gaps[0].end_seen && gaps[0].head.as_deref() == Some(b"a"));
        let (_, gaps) = joined(&[fragment(u64::MAX, u64::MAX, true, "z")]);
        assert_eq!(gaps[0].missing, [0..=u64::MAX - 1]);
    }

    #[test]
    fn objects_never_seen_are_told() {
        let mut reassembler = Reassembler::default();
        for object_id in [2, 3, 7] {
            reassembler.push(&lane(), fragment(object_id, 0, true, "x"), None, ());
        }
        let (_, absent) = reassembler.finish();
        let ids: Vec<_> = absent.into_iter().map(|absent| absent.object_ids).collect();
        assert_eq!(ids, [1..=1, 4..=6]);
    }

    #[test]
    fn objects_never_seen_are_told_for_each_count() {
        let mut reassembler = Reassembler::default();
        for (object_id, text) in [(1, "a"), (3, "b"), (1, "c"), (2, "d"), (3, "e"), (5, "f")] {
            reassembler.push(&lane(), fragment(object_id, 0, true, text), None, ());
        }
        let (_, absent) = reassembler.finish();
        let ids: Vec<_> = absent.into_iter().map(|absent| absent.object_ids).collect();
        assert_eq!(ids, [2..=2, 4..=4]);
    }

    #[test]
    fn a_client_that_connects_again_starts_new_objects() {
        let parts = [
            fragment(3, 0, false, "old "),
            fragment(3, 1, true, "text"),
            fragment(3, 0, false, "new "),
            fragment(3, 1, true, "text"),
        ];
        let (messages, gaps) = joined(&parts);
        assert_eq!((messages, gaps.len()), (vec!["old text".into(), "new text".into()], 0));
    }

    #[test]
    fn two_senders_of_one_number_are_never_mixed() {
        // Two objects 3, A and B, whose fragments take turns: which end belongs to which start?
        let parts = [
            fragment(3, 0, false, "A0"),
            fragment(3, 0, false, "B0"),
            fragment(3, 1, true, "A1"),
            fragment(3, 1, true, "B1"),
        ];
        let (messages, gaps) = joined(&parts);
        assert_eq!(messages, [""; 0]);
        assert!(gaps.len() >= 2 && gaps[1].reason == GapReason::Contested);
        // An object of one fragment is its own proof.
        let (messages, _) = joined(&[fragment(3, 0, false, "A0"), fragment(3, 0, true, "B")]);
        assert_eq!(messages, ["B"]);
    }

    #[test]
    fn activities_part_what_numbers_do_not() {
        let rows = [("a", 0, "A0"), ("b", 0, "B0"), ("b", 1, "B1"), ("a", 1, "A1")];
        let mut reassembler = Reassembler::default();
        let mut messages = Vec::new();
        for (activity, id, text) in rows {
            let fragment = fragment(3, id, id == 1, text);
            let (joined, _) = reassembler.push(&lane(), fragment, Some(activity), ());
            messages.extend(joined.map(|joined| String::from_utf8(joined.bytes).unwrap()));
        }
        assert_eq!(
            (messages, reassembler.finish().0.len()),
            (vec!["B0B1".into(), "A0A1".into()], 0)
        );
        // With B's start lost, A's text may take in B's end: it says so.
        let mut reassembler = Reassembler::default();
        reassembler.push(&lane(), fragment(3, 0, false, "A0"), Some("a"), ());
        let (joined, _) = reassembler.push(&lane(), fragment(3, 1, true, "B1"), Some("b"), ());
        assert!(joined.unwrap().is_mixed);
    }

    #[test]
    fn a_new_count_takes_no_fragment_of_the_old() {
        let mut reassembler = Reassembler::default();
        // Object 3 lost its start; then the client connects again and sends another object 3.
        reassembler.push(&lane(), fragment(3, 1, true, "old"), None, ());
        reassembler.close(&lane(), 1);
        let (joined, _) = reassembler.push(&lane(), fragment(3, 0, false, "new "), None, ());
        assert!(joined.is_none());
        let (joined, _) = reassembler.push(&lane(), fragment(3, 1, true, "text"), None, ());
        assert_eq!(joined.unwrap().bytes, b"new text");
    }
}
