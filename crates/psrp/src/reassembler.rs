//! Fragments to messages.
//!
//! A sender counts the objects it sends, in each of its processes and in each direction. A log may
//! lack fragments, have them twice or in another order; a client that connects again counts from 1
//! again. What is joined here is joined without doubt; the rest is a [`Gap`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use super::fragments::Fragment;
use super::lane::Lane;
use super::message::Header;

/// Longest message that is joined, in bytes.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Most bytes held for messages that are not whole; past it, the oldest are given up.
const MOST_HELD: usize = 128 << 20;
/// How many objects of one number are looked at for a repeat, from the latest.
const MOST_LOOKED_AT: usize = 4;
/// Most bytes kept of the start of a message that is not whole: its header.
const HEAD: usize = 40;

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
    /// It is longer than this program joins, or more came in between than it holds.
    GivenUp,
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

impl<T> Gap<T> {
    /// Most ranges of fragments that a sentence names.
    const MOST_NAMED: usize = 20;

    /// What is missing, in a sentence.
    pub fn sentence(&self) -> String {
        let head = self.head.as_deref().and_then(|head| Header::parse(head).ok());
        let kind = head.map_or("message", |head| head.kind.name());
        let missing = self.missing.iter().map(|range| match range.end() - range.start() {
            0 => range.start().to_string(),
            _ => format!("{} to {}", range.start(), range.end()),
        });
        let mut missing: Vec<String> = missing.take(Gap::<T>::MOST_NAMED).collect();
        if !self.end_seen {
            missing.push("the last".to_owned());
        }
        match missing.is_empty() {
            true => format!("a {kind} is not shown: its fragments cannot be told from another's"),
            false => {
                let missing = missing.join(", ");
                format!("a {kind} is not shown, its fragments are missing: {missing}")
            }
        }
    }
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
    /// Bytes of objects that are not whole, and the most there may be.
    held: usize,
    most_held: usize,
    /// Objects in the order in which they began, of those that did not get whole at once: lane,
    /// ObjectId, generation.
    begun: VecDeque<(Lane, u64, usize)>,
    /// Whether objects were forgotten.
    is_in_parts: bool,
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
    /// Gone once it is whole.
    parts: BTreeMap<u64, Part>,
    /// What is left of a whole one: its parts' digests, which know their repeats.
    whole: Box<[[u8; 16]]>,
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
            whole: Box::default(),
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

    /// What tells a part that is or was there from another of its place.
    fn digest_of(&self, fragment_id: u64) -> Option<[u8; 16]> {
        let whole = usize::try_from(fragment_id).ok().and_then(|at| self.whole.get(at).copied());
        whole.or_else(|| self.parts.get(&fragment_id).map(|part| part.digest))
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
            GapReason::GivenUp => false,
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
            let same = |object: &Object<T>| object.digest_of(id) == Some(digest);
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
                    self.held -= open.close();
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
        if object.reason == GapReason::GivenUp {
            blob = head(id, blob);
        }
        object.bytes += blob.len();
        self.held += blob.len();
        object.parts.insert(id, Part { digest, blob });
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
        object.state = State::Whole;
        self.held -= object.bytes;
        object.whole = object.parts.values().map(|part| part.digest).collect();
        let mut blobs = std::mem::take(&mut object.parts).into_values().map(|part| part.blob);
        // Most messages are one fragment, which need not be copied.
        let mut bytes = blobs.next().unwrap_or_default();
        bytes.reserve_exact(object.bytes - bytes.len());
        blobs.for_each(|blob| bytes.extend(blob));
        let joined = Joined {
            object_id: fragment.object_id,
            generation,
            fragments: object.whole.len(),
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
                self.held -= object.close();
            }
        }
    }

    /// Gives up the oldest objects that are not whole, until what is held is little enough.
    fn make_room(&mut self) {
        while self.held > self.most_held {
            let Some((lane, object_id, generation)) = self.begun.pop_front() else { return };
            let objects =
                self.lanes.get_mut(&lane).and_then(|lane| lane.objects.get_mut(&object_id));
            let object = objects.and_then(|objects| objects.get_mut(generation));
            if let Some(object) = object.filter(|object| object.state == State::Open) {
                self.held -= object.give_up();
            }
        }
    }

    /// Forgets what is whole, and gives what can no longer become so; what is open stays.
    pub fn part(&mut self) -> Vec<Gap<T>> {
        let mut gaps = Vec::new();
        // Where an open object of this lane, number and generation is now.
        let mut places: BTreeMap<(Lane, u64, usize), usize> = BTreeMap::new();
        for (lane, numbers) in &mut self.lanes {
            for (&object_id, objects) in &mut numbers.objects {
                let mut open = Vec::new();
                for (generation, object) in std::mem::take(objects).into_iter().enumerate() {
                    match object.state {
                        State::Whole => {}
                        State::Closed => {
                            self.held -= object.bytes;
                            gaps.push(object.gap(lane.clone(), object_id, generation));
                        }
                        State::Open => {
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

    /// What is not whole, and what is not there at all, in the order of lanes and objects. The
    /// second is not told once a part was taken.
    pub fn finish(self) -> (Vec<Gap<T>>, Vec<Absent>) {
        let (mut gaps, mut absent) = (Vec::new(), Vec::new());
        for (lane, Numbers { objects, .. }) in self.lanes {
            if lane.has_all_objects() && !self.is_in_parts {
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
    fn let_go(&mut self) -> usize {
        let mut kept = 0;
        for (&id, part) in &mut self.parts {
            part.blob = head(id, std::mem::take(&mut part.blob));
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
        self.let_go()
    }

    fn close(&mut self) -> usize {
        self.state = State::Closed;
        self.let_go()
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
mod tests;
