//! Tokens of binary XML, written into a chunk ([MS-EVEN6] 2.2.12; libevtx, "Binary XML").
//!
//! Lengths are cut to 16 bits without a check: wherever that loses something, the record is
//! larger than a chunk, and the chunk refuses it.
//!
//! [MS-EVEN6]: https://learn.microsoft.com/openspecs/windows_protocols/ms-even6/

use std::collections::HashMap;

use crate::EvtxValue;
use crate::header::{CHUNK_HEADER_SIZE, CHUNK_SIZE, put};
use crate::value::write_utf16;

const END_OF_FRAGMENT: u8 = 0x00;
const OPEN_ELEMENT: u8 = 0x01;
const CLOSE_START: u8 = 0x02;
const CLOSE_EMPTY: u8 = 0x03;
const CLOSE_ELEMENT: u8 = 0x04;
const TEXT: u8 = 0x05;
const ATTRIBUTE: u8 = 0x06;
const TEMPLATE_INSTANCE: u8 = 0x0c;
const NORMAL_SUBSTITUTION: u8 = 0x0d;
const OPTIONAL_SUBSTITUTION: u8 = 0x0e;
/// On an element: it has attributes. On an attribute: another one follows.
const MORE: u8 = 0x40;
/// Fragment header: version 1.1, no flags.
const FRAGMENT_HEADER: [u8; 4] = [0x0f, 1, 1, 0];
/// The element does not go when some substitution is null.
pub(crate) const INDEPENDENT: u16 = 0xffff;

/// The content of an attribute or element.
#[derive(Clone, Copy)]
pub(crate) enum NodeContent<'a> {
    Text(&'a str),
    /// The substitution with this number and type.
    Field(u16, u8),
    /// Likewise, and when the value is null the attribute or element goes.
    Optional(u16, u8),
}

/// The position at which the next value of a template instance is written.
pub(crate) struct ValueList {
    descriptor: usize,
}

/// A chunk's bytes up to the end of its last token, and the names and templates that later tokens
/// can refer to.
pub(crate) struct BinXml {
    pub data: Vec<u8>,
    /// Newest entry of each bucket; an entry links to the one before it.
    pub tables: ChunkTables,
    names: HashMap<String, u32>,
    templates: HashMap<Vec<u8>, u32>,
}

#[derive(Clone)]
pub(crate) struct ChunkTables {
    pub strings: [u32; 64],
    pub templates: [u32; 32],
}

impl BinXml {
    pub fn new() -> Self {
        let mut data = Vec::with_capacity(CHUNK_SIZE);
        data.resize(CHUNK_HEADER_SIZE, 0);
        Self {
            data,
            tables: ChunkTables { strings: [0; 64], templates: [0; 32] },
            names: HashMap::new(),
            templates: HashMap::new(),
        }
    }

    /// Removes everything written from `start` on and restores `tables`, their state at that time.
    pub fn roll_back(&mut self, start: usize, tables: ChunkTables) {
        self.data.truncate(start);
        self.tables = tables;
        self.names.retain(|_, offset| (*offset as usize) < start);
        self.templates.retain(|_, offset| (*offset as usize) < start);
    }

    /// A fragment that holds one instance of the template `key`, which `define` writes if the
    /// chunk has none yet, with the values `fill` writes.
    pub fn fragment(
        &mut self,
        key: &[u8],
        define: impl FnOnce(&mut Self),
        fill: impl FnOnce(&mut Self),
    ) {
        self.data.extend(FRAGMENT_HEADER);
        self.data.extend([TEMPLATE_INSTANCE, 1]);
        let guid = template_guid(key);
        self.data.extend(&guid[..4]);
        match self.templates.get(key) {
            Some(offset) => self.data.extend(offset.to_le_bytes()),
            None => self.define_template(key, guid, define),
        }
        fill(self);
        self.data.push(END_OF_FRAGMENT);
    }

    fn define_template(&mut self, key: &[u8], guid: [u8; 16], define: impl FnOnce(&mut Self)) {
        let offset = self.data.len() as u32 + 4;
        self.data.extend(offset.to_le_bytes());
        self.templates.insert(key.to_vec(), offset);
        let words = guid.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word));
        let head = &mut self.tables.templates[(hash(words) % 32) as usize];
        self.data.extend(head.to_le_bytes());
        *head = offset;
        self.data.extend(guid);
        let size = self.reserve_size();
        self.data.extend(FRAGMENT_HEADER);
        define(self);
        self.data.push(END_OF_FRAGMENT);
        self.set_size(size);
    }

    /// Begins the values of a template instance, of which there are `count`.
    pub fn values(&mut self, count: usize) -> ValueList {
        self.data.extend((count as u32).to_le_bytes());
        let descriptor = self.data.len();
        self.data.resize(descriptor + 4 * count, 0);
        ValueList { descriptor }
    }

    pub fn value(&mut self, list: &mut ValueList, value: &EvtxValue) {
        self.value_with(list, value.kind(), |xml| value.write(&mut xml.data));
    }

    pub fn value_with(&mut self, list: &mut ValueList, kind: u8, write: impl FnOnce(&mut Self)) {
        let start = self.data.len();
        write(self);
        let size = ((self.data.len() - start) as u16).to_le_bytes();
        put(&mut self.data, list.descriptor, [size[0], size[1], kind, 0]);
        list.descriptor += 4;
    }

    /// `depends_on` is the substitution without which readers leave the element out.
    pub fn element(
        &mut self,
        name: &str,
        depends_on: u16,
        attributes: &[(&str, NodeContent)],
        children: impl FnOnce(&mut Self),
    ) {
        let size = self.open(name, depends_on, attributes);
        self.data.push(CLOSE_START);
        children(self);
        self.data.push(CLOSE_ELEMENT);
        self.set_size(size);
    }

    pub fn leaf(
        &mut self,
        name: &str,
        depends_on: u16,
        attributes: &[(&str, NodeContent)],
        content: NodeContent,
    ) {
        self.element(name, depends_on, attributes, |xml| xml.content(content));
    }

    pub fn empty(&mut self, name: &str, attributes: &[(&str, NodeContent)]) {
        let size = self.open(name, INDEPENDENT, attributes);
        self.data.push(CLOSE_EMPTY);
        self.set_size(size);
    }

    pub fn content(&mut self, content: NodeContent) {
        let (token, field, kind) = match content {
            NodeContent::Text(text) => {
                self.data.extend([TEXT, EvtxValue::from(text).kind()]);
                self.data.extend((text.encode_utf16().count() as u16).to_le_bytes());
                write_utf16(text, &mut self.data);
                return;
            }
            NodeContent::Field(field, kind) => (NORMAL_SUBSTITUTION, field, kind),
            NodeContent::Optional(field, kind) => (OPTIONAL_SUBSTITUTION, field, kind),
        };
        self.data.push(token);
        self.data.extend(field.to_le_bytes());
        self.data.push(kind);
    }

    fn open(&mut self, name: &str, depends_on: u16, attributes: &[(&str, NodeContent)]) -> usize {
        let more = if attributes.is_empty() { 0 } else { MORE };
        self.data.push(OPEN_ELEMENT | more);
        self.data.extend(depends_on.to_le_bytes());
        let size = self.reserve_size();
        self.name(name);
        if let Some(last) = attributes.len().checked_sub(1) {
            let list = self.reserve_size();
            for (i, (name, content)) in attributes.iter().enumerate() {
                self.data.push(ATTRIBUTE | if i == last { 0 } else { MORE });
                self.name(name);
                self.content(*content);
            }
            self.set_size(list);
        }
        size
    }

    /// Refers to a name, and at its first use in the chunk writes it right there.
    fn name(&mut self, name: &str) {
        if let Some(offset) = self.names.get(name) {
            self.data.extend(offset.to_le_bytes());
            return;
        }
        let offset = self.data.len() as u32 + 4;
        self.data.extend(offset.to_le_bytes());
        self.names.insert(name.to_owned(), offset);
        let hash = hash(name.encode_utf16());
        let head = &mut self.tables.strings[(hash % 64) as usize];
        self.data.extend(head.to_le_bytes());
        *head = offset;
        self.data.extend((hash as u16).to_le_bytes());
        self.data.extend((name.encode_utf16().count() as u16).to_le_bytes());
        write_utf16(name, &mut self.data);
        self.data.extend([0, 0]);
    }

    fn reserve_size(&mut self) -> usize {
        let at = self.data.len();
        self.data.extend([0; 4]);
        at
    }

    /// Sets the size reserved at `at` to what has been written since.
    fn set_size(&mut self, at: usize) {
        let size = (self.data.len() - at - 4) as u32;
        put(&mut self.data, at, size.to_le_bytes());
    }
}

/// Windows' hash of names, and of template GUIDs taken as eight words. Names keep its low half.
///
/// For names see libevtx; the use for templates was found to hold in logs of Windows.
fn hash(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0, |hash: u32, unit| hash.wrapping_mul(65599).wrapping_add(unit.into()))
}

/// A GUID for a template, the same in each chunk: FNV-1a of its key.
fn template_guid(key: &[u8]) -> [u8; 16] {
    const BASIS: u128 = 0x6c62272e07bb014262b821756295c58d;
    const PRIME: u128 = 0x0000000001000000000000000000013b;
    key.iter()
        .fold(BASIS, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_windows_writes_them() {
        for (name, expected) in
            [("Event", 0x0cba), ("xmlns", 0x0fbc), ("EventRecordID", 0x0346), ("Data", 0x6f8a)]
        {
            assert_eq!(hash(name.encode_utf16()) as u16, expected, "{name}");
        }
        // A template of the WinRM provider, which Windows put into bucket 3.
        let guid = [0x9ec0u16, 0x28d9, 0xb616, 0x89c2, 0xedac, 0xb51b, 0x0b40, 0xe74f];
        assert_eq!(hash(guid.into_iter()) % 32, 3);
    }

    #[test]
    fn a_name_is_written_once_and_linked() {
        let mut xml = BinXml::new();
        xml.name("Guid"); // bucket 41, as is Qualifiers
        xml.name("Qualifiers");
        xml.name("Guid");
        let bytes = &xml.data[512..];
        let first = [
            &[4, 2, 0, 0][..],               // offset 0x204: right here
            &[0, 0, 0, 0, 0x29, 0x15, 4, 0], // no earlier one, hash, length
            &[b'G', 0, b'u', 0, b'i', 0, b'd', 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..22], first);
        assert_eq!(bytes[22..34], [0x1a, 2, 0, 0, 4, 2, 0, 0, 0x29, 0xda, 10, 0]);
        assert_eq!(bytes[bytes.len() - 4..], [4, 2, 0, 0]);
        assert_eq!(xml.tables.strings[0x29], 0x21a);
    }

    #[test]
    fn element_bytes() {
        let mut xml = BinXml::new();
        xml.name("E");
        xml.name("A");
        xml.data.truncate(512);
        xml.leaf("E", 7, &[("A", NodeContent::Text("x"))], NodeContent::Optional(3, 6));
        assert_eq!(
            xml.data[512..],
            [
                0x41, 7, 0, // open, with attributes, depends on substitution 7
                25, 0, 0, 0, // bytes to the end of the element
                4, 2, 0, 0, // name
                11, 0, 0, 0, // size of the attributes
                6, 0x14, 2, 0, 0, // the last attribute, name
                5, 1, 1, 0, b'x', 0, // text
                2, // close start tag
                0x0e, 3, 0, 6, // optional substitution 3 of type UInt16
                4, // close element
            ]
        );
    }

    #[test]
    fn rolling_back_forgets() {
        let mut xml = BinXml::new();
        xml.name("kept");
        let (start, tables) = (xml.data.len(), xml.tables.clone());
        xml.fragment(b"key", |xml| xml.empty("gone", &[]), |_| ());
        xml.roll_back(start, tables);
        xml.name("gone");
        xml.name("kept");
        assert_eq!(xml.data[start..][..4], (start as u32 + 4).to_le_bytes());
        assert_eq!(xml.data[xml.data.len() - 4..], 516u32.to_le_bytes());
        assert_eq!(xml.tables.templates, [0; 32]);
    }
}
