//! A chunk's records through the plans of their templates.
//!
//! A record is a template instance: the offset of its definition, then its values. System's
//! provider, channel and event id are looked up first; only for a record somebody wants are the
//! other values made text. The data is most often a value that is an instance again.

use std::collections::HashMap;
use std::ops::Range;

use super::binxml::{Cursor, Odd, Value, check_names, kind, token};
use super::definition::Definition;
use super::plan::{Plan, Role};
use super::record::{Repeated, Values};
use super::value::filetime;
use super::{Interner, Wanted};
use crate::model::{Record, RecordRef};

/// Where the first record stands.
const CHUNK_HEADER: usize = 512;
/// A record's own header: magic, size, number, time.
const RECORD_HEADER: usize = 24;
/// Instances in one another; Windows nests them twice.
const MAX_DEPTH: usize = 4;
/// Definitions of one chunk.
const MAX_PLANS: usize = 128;
/// Bytes of definitions whose plans are kept from chunk to chunk.
const MAX_KEPT: usize = 4 << 20;
/// Nodes and bytes of fixed text that a chunk's instances may take: far less than what the evtx
/// crate renders before it gives up, and far more than Windows' chunks have.
const MAX_NODES: usize = 100_000;
const MAX_TEXT: usize = 1 << 20;

/// The plans of one decoder, and what its records repeat.
#[derive(Default)]
pub(super) struct Planned {
    plans: Vec<Plan>,
    /// The plans by their definitions' GUID and size.
    known: HashMap<[u8; 20], Vec<usize>>,
    /// The current chunk's definitions: their offsets and plans.
    here: Vec<(usize, usize)>,
    /// Bytes of the plans' definitions.
    kept: usize,
    repeated: Repeated,
}

impl Planned {
    /// Reads the records of a chunk that starts at `at` of input `input`. Hands the wanted ones
    /// to `take` and yields how many there are in all.
    ///
    /// # Errors
    /// Something is unusual: the evtx crate is to read the whole chunk, and what `take` was
    /// given is void.
    pub fn chunk(
        &mut self,
        chunk: &[u8],
        (input, at): (u32, u64),
        wanted: &dyn Wanted,
        names: &mut Interner,
        mut take: impl FnMut(Record),
    ) -> Result<u64, Odd> {
        check_names(chunk)?;
        let mut header = Cursor::new(chunk, 32, CHUNK_HEADER);
        let last = header.u64()?;
        header.take(8)?;
        let free_space = header.u32()? as usize;
        self.here.clear();
        if self.kept > MAX_KEPT {
            self.plans.clear();
            self.known.clear();
            self.kept = 0;
        }
        let (mut offset, mut count) = (CHUNK_HEADER, 0);
        let mut reader = Reader {
            chunk,
            planned: self,
            names,
            instances: vec![],
            slots: vec![],
            nodes: 0,
            text: 0,
        };
        while offset < free_space.min(chunk.len()) {
            let mut cursor = Cursor::new(chunk, offset, chunk.len());
            let magic = cursor.take(4)?;
            let size = cursor.u32()? as usize;
            let number = cursor.u64()?;
            let ticks = cursor.u64()?;
            let time = filetime(ticks).ok_or(Odd("a record's time is none"))?;
            if magic != b"**\0\0" || size < RECORD_HEADER + 4 {
                return Err(Odd("no record where one should start"));
            }
            let end = offset + size - 4;
            if end > chunk.len() {
                return Err(Odd("a record ends outside its chunk"));
            }
            reader.instances.clear();
            reader.slots.clear();
            let root = reader.fragment(cursor.at, end, 0)?;
            let source = RecordRef { input, offset: at + offset as u64, number };
            let Reader { planned, names, instances, slots, .. } = &mut reader;
            let Planned { plans, repeated, .. } = &mut **planned;
            let values = Values { plans, instances, slots };
            let record =
                values.record(&instances[root], (source, time), wanted, names, repeated)?;
            record.into_iter().for_each(&mut take);
            count += 1;
            if number == last {
                break;
            }
            offset += size;
        }
        Ok(count)
    }
}

/// A template instance: its plan, and its values' places among the slots.
pub(super) struct Instance {
    pub plan: usize,
    pub slots: Range<usize>,
}

/// A value, and the instance that stands in it.
pub(super) struct Slot<'c> {
    pub value: Value<'c>,
    at: usize,
    pub instance: Option<usize>,
}

/// Reads the template instances of a chunk.
struct Reader<'c, 'd> {
    chunk: &'c [u8],
    planned: &'d mut Planned,
    names: &'d mut Interner,
    /// The current record's instances and all their values.
    instances: Vec<Instance>,
    slots: Vec<Slot<'c>>,
    nodes: usize,
    text: usize,
}

impl<'c> Reader<'c, '_> {
    /// The fragment from `at` to `end`, which must be one template instance: a record's, or a
    /// value's, which may do without a fragment header.
    fn fragment(&mut self, at: usize, end: usize, depth: usize) -> Result<usize, Odd> {
        let mut cursor = Cursor::new(self.chunk, at, end);
        match cursor.rest() {
            [token::FRAGMENT_HEADER, 1, 1, 0, token::TEMPLATE_INSTANCE, _, ..] => cursor.take(5)?,
            [token::TEMPLATE_INSTANCE, ..] => cursor.take(1)?,
            _ => return Err(Odd("a fragment that is no template instance")),
        };
        let instance = self.instance(&mut cursor, depth)?;
        match cursor.rest() {
            [] | [token::END, ..] => Ok(instance),
            _ => Err(Odd("a fragment of several parts")),
        }
    }

    /// The template instance at the cursor: its definition's offset, its values' types and
    /// sizes, its values.
    fn instance(&mut self, cursor: &mut Cursor<'c>, depth: usize) -> Result<usize, Odd> {
        let (_version, _id) = (cursor.u8()?, cursor.u32()?);
        let definition = cursor.u32()? as usize;
        if definition == cursor.at {
            // It is defined where it is first used.
            cursor.take(20)?;
            let size = cursor.u32()?;
            cursor.take(size as usize)?;
        }
        let count = cursor.u32()? as usize;
        let descriptors = cursor.take(count.saturating_mul(4))?;
        let index = self.plan(definition)?;
        let plan = &self.planned.plans[index];
        self.nodes += plan.imprint.nodes;
        self.text += plan.imprint.text;
        let first = self.slots.len();
        let mut nested = false;
        for (index, &[low, high, kind, _]) in descriptors.as_chunks().0.iter().enumerate() {
            let at = cursor.at;
            let size = u16::from_le_bytes([low, high]);
            let value = Value::checked(kind, cursor.take(usize::from(size))?)?;
            let role = plan.roles.get(index).copied().unwrap_or(Role::Unused);
            let usual = match kind {
                kind::STRING_ARRAY => {
                    // Each item may cost an element.
                    let items = value.strings().count();
                    self.nodes += items * plan.imprint.nodes;
                    self.text += items * plan.imprint.text;
                    role == Role::Items
                }
                kind::BINXML if !value.is_null() => {
                    nested = true;
                    role == Role::Instance
                }
                _ => role != Role::Instance || value.is_null(),
            };
            if !usual {
                return Err(Odd("a value of another type than the template's"));
            }
            self.slots.push(Slot { value, at, instance: None });
        }
        if self.nodes > MAX_NODES || self.text > MAX_TEXT || depth > MAX_DEPTH {
            return Err(Odd("too many template instances"));
        }
        let slots = first..self.slots.len();
        if nested {
            for slot in slots.clone() {
                let Slot { value, at, .. } = self.slots[slot];
                if value.kind == kind::BINXML && !value.is_null() {
                    let instance = self.fragment(at, at + value.bytes.len(), depth + 1)?;
                    self.slots[slot].instance = Some(instance);
                }
            }
        }
        self.instances.push(Instance { plan: index, slots });
        Ok(self.instances.len() - 1)
    }

    /// The plan of the definition at `offset`.
    fn plan(&mut self, offset: usize) -> Result<usize, Odd> {
        let Planned { plans, known, here, kept, .. } = &mut *self.planned;
        if let Some(&(_, index)) = here.iter().find(|(known, _)| *known == offset) {
            return Ok(index);
        }
        if here.len() == MAX_PLANS {
            return Err(Odd("too many templates"));
        }
        let definition = Definition::at(self.chunk, offset)?;
        let known = known.entry(definition.key).or_default();
        let same = known.iter().copied().find(|&index| plans[index].imprint.is_of(definition));
        let index = match same {
            Some(index) => index,
            None => {
                plans.push(Plan::new(definition, self.names)?);
                known.push(plans.len() - 1);
                *kept += definition.size();
                plans.len() - 1
            }
        };
        here.push((offset, index));
        Ok(index)
    }
}
