//! Reads a chunk's records as instances of their templates.
//!
//! A record is a template instance: the offset of its definition, then its values. All values are
//! checked, even if the record is not wanted, because the result must be that of the evtx crate.
//! The data is usually a value that is itself an instance.

use std::collections::HashMap;
use std::ops::Range;

use super::binxml::{
    BinXmlValue, Cursor, Unplannable, check_string_table, has_usual_size, kind, token,
};
use super::definition::TemplateDefinition;
use super::interner::Interner;
use super::plan::{TemplatePlan, ValueUse};
use super::value::is_time;

/// The size of a chunk's header, which is where the first record begins.
const CHUNK_HEADER: usize = 512;
/// The size of a record's own header: magic, size, number, time.
const RECORD_HEADER: usize = 24;
/// The greatest depth of nested instances. Windows nests them twice.
const MAX_DEPTH: usize = 4;
/// The most definitions of one chunk.
const MAX_PLANS: usize = 128;
/// The most bytes of definitions whose plans are kept from chunk to chunk.
const MAX_KEPT: usize = 4 << 20;
/// The most nodes and bytes of fixed text of a chunk's instances: far less than the evtx crate
/// renders before it gives up, and far more than chunks of Windows have.
const MAX_NODES: usize = 100_000;
const MAX_TEXT: usize = 1 << 20;

/// The plans of one decoder, and buffers for a record's instances.
#[derive(Default)]
pub(super) struct PlanCache {
    plans: Vec<TemplatePlan>,
    /// The plans by their definitions' GUID and size.
    known: HashMap<[u8; 20], Vec<usize>>,
    /// The current chunk's definitions: their offsets and plans.
    chunk_plans: Vec<(usize, usize)>,
    /// The size of the kept plans' definitions in bytes.
    kept_bytes: usize,
    /// The current record's instances and all their values.
    instances: Vec<TemplateInstance>,
    slots: Vec<ValueSlot>,
}

impl PlanCache {
    /// Begins to read a chunk's records.
    pub fn chunk_records<'d, 'c>(
        &'d mut self,
        chunk: &'c [u8],
        names: &'d mut Interner,
    ) -> Result<ChunkRecords<'c, 'd>, Unplannable> {
        check_string_table(chunk)?;
        let mut header = Cursor::new(chunk, 32, CHUNK_HEADER);
        let last = header.u64()?;
        header.take(8)?;
        let free_space = header.u32()? as usize;
        let end = free_space.min(chunk.len());
        Ok(ChunkRecords {
            end,
            last,
            may_be_overwritten: false,
            ..self.leftover_records(chunk, names)
        })
    }

    /// Begins to read single records of a chunk that may be partly overwritten. Everything that
    /// they refer to is checked.
    pub fn leftover_records<'d, 'c>(
        &'d mut self,
        chunk: &'c [u8],
        names: &'d mut Interner,
    ) -> ChunkRecords<'c, 'd> {
        self.chunk_plans.clear();
        if self.kept_bytes > MAX_KEPT {
            self.plans.clear();
            self.known.clear();
            self.kept_bytes = 0;
        }
        ChunkRecords {
            chunk,
            planned: self,
            names,
            at: CHUNK_HEADER,
            end: CHUNK_HEADER,
            last: 0,
            may_be_overwritten: true,
            count: 0,
            nodes: 0,
            text: 0,
        }
    }
}

/// A template instance: its plan, its values' slots, and the slot of the value that contains it.
pub(super) struct TemplateInstance {
    plan: usize,
    slots: Range<usize>,
    parent_slot: Option<usize>,
}

/// A value's type and its place in the chunk.
#[derive(Clone, Copy)]
struct ValueSlot {
    at: u32,
    size: u16,
    kind: u8,
}

impl ValueSlot {
    fn value(self, chunk: &[u8]) -> Option<BinXmlValue<'_>> {
        let at = self.at as usize;
        Some(BinXmlValue { kind: self.kind, bytes: chunk.get(at..at + usize::from(self.size))? })
    }
}

/// The fields of a record's own header.
#[derive(Debug, Clone, Copy)]
pub(super) struct EvtxRecordHeader {
    /// The offset in the chunk where the record starts.
    pub offset: usize,
    pub number: u64,
    /// The time when it was written: a FILETIME that the evtx crate accepts.
    pub ticks: u64,
}

/// A record's instances and their values.
#[derive(Clone, Copy)]
pub(super) struct RecordInstances<'c, 'r> {
    chunk: &'c [u8],
    plans: &'r [TemplatePlan],
    instances: &'r [TemplateInstance],
    slots: &'r [ValueSlot],
}

impl<'c, 'r> RecordInstances<'c, 'r> {
    /// Returns the record's own instance.
    pub fn root(&self) -> Option<&'r TemplateInstance> {
        self.instances.first()
    }

    pub fn plan(&self, instance: &TemplateInstance) -> &'r TemplatePlan {
        &self.plans[instance.plan]
    }

    /// Returns a value of an instance, or `None` past its last.
    pub fn value(&self, instance: &TemplateInstance, value: u16) -> Option<BinXmlValue<'c>> {
        let slots = &self.slots[instance.slots.clone()];
        slots.get(usize::from(value))?.value(self.chunk)
    }

    /// Returns the instance that a value contains.
    pub fn nested(&self, instance: &TemplateInstance, value: u16) -> Option<&'r TemplateInstance> {
        let slot = Some(instance.slots.start + usize::from(value));
        self.instances.iter().find(|nested| nested.parent_slot == slot)
    }
}

/// Reads the records of a chunk.
///
/// An error means that something is unusual, and that the evtx crate must read the chunk from there
/// on.
pub(super) struct ChunkRecords<'c, 'd> {
    chunk: &'c [u8],
    planned: &'d mut PlanCache,
    names: &'d mut Interner,
    /// The offset where the next record starts, if it is before the end.
    at: usize,
    end: usize,
    /// The number of the last record.
    last: u64,
    /// Whether parts of the chunk may be overwritten.
    may_be_overwritten: bool,
    /// Records read.
    pub count: u64,
    /// The cost of the chunk's instances so far.
    nodes: usize,
    text: usize,
}

impl<'c> ChunkRecords<'c, '_> {
    /// Reads the next record, if there is one.
    pub fn next(&mut self) -> Result<Option<EvtxRecordHeader>, Unplannable> {
        let offset = self.at;
        if offset >= self.end {
            return Ok(None);
        }
        let mut cursor = Cursor::new(self.chunk, offset, self.chunk.len());
        let magic = cursor.take(4)?;
        let size = cursor.u32()? as usize;
        let number = cursor.u64()?;
        let ticks = cursor.u64()?;
        if !is_time(ticks) {
            return Err(Unplannable("a record's time is invalid"));
        }
        if magic != b"**\0\0" || size < RECORD_HEADER + 4 {
            return Err(Unplannable("no record where one should start"));
        }
        let end = offset + size - 4;
        if end > self.chunk.len() {
            return Err(Unplannable("a record ends outside its chunk"));
        }
        self.planned.instances.clear();
        self.planned.slots.clear();
        self.read_fragment(cursor.at, end, None, 0)?;
        self.count += 1;
        self.at = if number == self.last { self.end } else { offset + size };
        Ok(Some(EvtxRecordHeader { offset, number, ticks }))
    }

    /// Reads the record at an offset.
    pub fn read_at(&mut self, offset: usize) -> Result<EvtxRecordHeader, Unplannable> {
        (self.at, self.end) = (offset, offset + 1);
        self.next()?.ok_or(Unplannable("no record where one should start"))
    }

    /// Returns the instances of the record that was read last, and the interner for its names.
    pub fn current(&mut self) -> (RecordInstances<'c, '_>, &mut Interner) {
        let PlanCache { plans, instances, slots, .. } = &*self.planned;
        (RecordInstances { chunk: self.chunk, plans, instances, slots }, self.names)
    }

    /// Reads the fragment from `at` to `end`. It must be one template instance: a record's, or a
    /// value's, which may lack a fragment header.
    fn read_fragment(
        &mut self,
        at: usize,
        end: usize,
        parent_slot: Option<usize>,
        depth: usize,
    ) -> Result<(), Unplannable> {
        let mut cursor = Cursor::new(self.chunk, at, end);
        match cursor.remaining() {
            [token::FRAGMENT_HEADER, 1, 1, 0, token::TEMPLATE_INSTANCE, _, ..] => cursor.take(5)?,
            [token::TEMPLATE_INSTANCE, ..] => cursor.take(1)?,
            _ => return Err(Unplannable("a fragment that is not a template instance")),
        };
        self.read_instance(&mut cursor, parent_slot, depth)?;
        match cursor.remaining() {
            [] | [token::END, ..] => Ok(()),
            _ => Err(Unplannable("a fragment of several parts")),
        }
    }

    /// Reads the template instance at the cursor: its definition's offset, its values' types and
    /// sizes, its values.
    fn read_instance(
        &mut self,
        cursor: &mut Cursor<'c>,
        parent_slot: Option<usize>,
        depth: usize,
    ) -> Result<(), Unplannable> {
        let (_version, id) = (cursor.u8()?, cursor.u32()?);
        let definition = cursor.u32()? as usize;
        if self.may_be_overwritten
            && TemplateDefinition::read_at(self.chunk, definition)?.id() != id
        {
            return Err(Unplannable("its template is overwritten"));
        }
        if definition == cursor.at {
            // It is defined where it is first used.
            cursor.take(20)?;
            let size = cursor.u32()?;
            cursor.take(size as usize)?;
        }
        let count = cursor.u32()? as usize;
        let descriptors = cursor.take(count.saturating_mul(4))?.as_chunks().0;
        let plan = self.find_plan(definition)?;

        let PlanCache { plans, slots, instances, .. } = &mut *self.planned;
        let first = slots.len();
        let mut at = cursor.at as u32;
        slots.extend(descriptors.iter().map(|&[low, high, kind, _]| {
            let slot = ValueSlot { at, size: u16::from_le_bytes([low, high]), kind };
            at += u32::from(slot.size);
            slot
        }));
        cursor.take(at as usize - cursor.at)?;
        instances.push(TemplateInstance { plan, slots: first..slots.len(), parent_slot });

        let TemplatePlan { fingerprint, value_uses, .. } = &plans[plan];
        let (mut items, mut nested) = (1, None);
        for (index, slot) in slots[first..].iter().enumerate() {
            let value_use = value_uses.get(index).copied().unwrap_or(ValueUse::Unused);
            if has_usual_size(slot.kind, slot.size) && value_use != ValueUse::Instance {
                continue;
            }
            let value = slot.value(self.chunk).ok_or(Unplannable("it ends early"))?;
            value.check()?;
            let usual = match value.kind {
                kind::STRING_ARRAY => {
                    // Each item may cost an element.
                    items += value.string_count();
                    value_use == ValueUse::RepeatedText
                }
                kind::BINXML if !value.is_null() => {
                    nested.get_or_insert(first + index);
                    value_use == ValueUse::Instance
                }
                _ => value_use != ValueUse::Instance || value.is_null(),
            };
            if !usual {
                return Err(Unplannable("a value of another type than the template's"));
            }
        }
        self.nodes += items * fingerprint.nodes;
        self.text += items * fingerprint.text;
        if self.nodes > MAX_NODES || self.text > MAX_TEXT || depth > MAX_DEPTH {
            return Err(Unplannable("too many template instances"));
        }
        let after = slots.len();
        for index in nested.unwrap_or(after)..after {
            let ValueSlot { at, size, kind } = self.planned.slots[index];
            if kind == kind::BINXML && size > 0 {
                let at = at as usize;
                self.read_fragment(at, at + usize::from(size), Some(index), depth + 1)?;
            }
        }
        Ok(())
    }

    /// Returns the index of the plan of the definition at `offset`.
    fn find_plan(&mut self, offset: usize) -> Result<usize, Unplannable> {
        let PlanCache { plans, known, chunk_plans, kept_bytes, .. } = &mut *self.planned;
        if let Some(&(_, index)) = chunk_plans.iter().find(|(known, _)| *known == offset) {
            return Ok(index);
        }
        if chunk_plans.len() == MAX_PLANS {
            return Err(Unplannable("too many templates"));
        }
        let definition = TemplateDefinition::read_at(self.chunk, offset)?;
        let known = known.entry(definition.key).or_default();
        let same =
            known.iter().copied().find(|&index| plans[index].fingerprint.matches(definition));
        let index = match same {
            Some(index) => index,
            None => {
                plans.push(TemplatePlan::new(definition, self.names)?);
                known.push(plans.len() - 1);
                *kept_bytes += definition.size();
                plans.len() - 1
            }
        };
        if self.may_be_overwritten && !plans[index].fingerprint.has_intact_names(definition) {
            return Err(Unplannable("names of its template are overwritten"));
        }
        chunk_plans.push((offset, index));
        Ok(index)
    }
}
