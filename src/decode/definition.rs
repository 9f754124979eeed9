//! Template definitions as a chunk holds them: one element, with places for the values of an
//! instance ([MS-EVEN6] 2.2.12).

use super::binxml::{Cursor, Unplannable, kind, name_entry, token, utf16};
use super::interner::Interner;
use crate::model::{Str, are_equal};

/// The greatest depth of nested elements.
const MAX_DEPTH: usize = 16;
/// The most nodes of a definition. The largest of Windows have some hundred.
const MAX_NODES: usize = 2048;

/// A template definition in a chunk.
#[derive(Clone, Copy)]
pub(super) struct TemplateDefinition<'c> {
    chunk: &'c [u8],
    /// The offset of its BinXML.
    start: usize,
    /// Its GUID and size. Definitions with the same text share them.
    pub key: [u8; 20],
    body: &'c [u8],
}

impl<'c> TemplateDefinition<'c> {
    /// Reads the definition at `offset`: the next one's offset, a GUID, the size, then its BinXML.
    pub fn read_at(chunk: &'c [u8], offset: usize) -> Result<Self, Unplannable> {
        let mut cursor = Cursor::new(chunk, offset, chunk.len());
        let _next = cursor.u32()?;
        let key: [u8; 20] = cursor.array()?;
        let size = u32::from_le_bytes([key[16], key[17], key[18], key[19]]);
        let start = cursor.at;
        Ok(TemplateDefinition { chunk, start, key, body: cursor.take(size as usize)? })
    }

    /// Returns the first bytes of its GUID. Instances name it by these, too.
    pub fn id(&self) -> u32 {
        let [a, b, c, d, ..] = self.key;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Returns the size of its BinXML in bytes.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Reads its element.
    pub fn parse(
        self,
        names: &mut Interner,
    ) -> Result<(TemplateElement, TemplateFingerprint), Unplannable> {
        let TemplateDefinition { chunk, start, body, .. } = self;
        let fingerprint =
            TemplateFingerprint { body: body.into(), names: vec![], nodes: 0, text: 0 };
        let cursor = Cursor::new(chunk, start, start + body.len());
        let mut reader = DefinitionReader { cursor, start, names, fingerprint };
        let root = reader.read_definition()?;
        Ok((root, reader.fingerprint))
    }
}

/// The place of a name in a definition. Chunks keep their names at different offsets. A definition
/// may contain the name itself, right after its offset.
#[derive(Debug)]
struct NameLocation {
    at: usize,
    is_inline: bool,
    name: Box<[u8]>,
}

/// Identifies a definition in other chunks, and states its cost.
#[derive(Debug)]
pub(super) struct TemplateFingerprint {
    body: Box<[u8]>,
    names: Vec<NameLocation>,
    /// Elements, attributes and texts: the cost of building an instance.
    pub nodes: usize,
    /// Bytes of names and fixed text: the cost of rendering an instance besides its values.
    pub text: usize,
}

impl TemplateFingerprint {
    /// Returns whether all names of an identical definition are intact: each has a hash (libevtx:
    /// every unit of UTF-16, after the hash before it times 65,599).
    pub fn has_intact_names(&self, definition: TemplateDefinition) -> bool {
        let TemplateDefinition { chunk, body, .. } = definition;
        self.names.iter().all(|NameLocation { at, .. }| {
            let offset = Cursor::new(body, *at, body.len()).u32().unwrap_or_default() as usize;
            let hash = Cursor::new(chunk, offset.saturating_add(4), chunk.len()).u16();
            let name = name_entry(chunk, offset);
            name.is_ok_and(|(_, name)| hash == Ok(name_hash(name)))
        })
    }

    /// Returns whether a definition is identical: all its bytes and names are the same, and only
    /// the offsets of names differ.
    pub fn matches(&self, definition: TemplateDefinition) -> bool {
        let TemplateDefinition { chunk, start, body, .. } = definition;
        let same = |from: usize, to: usize| {
            body.get(from..to)
                .zip(self.body.get(from..to))
                .is_some_and(|(bytes, known)| are_equal(bytes, known))
        };
        let mut from = 0;
        let names = self.names.iter().all(|NameLocation { at, is_inline, name }| {
            let offset = Cursor::new(body, *at, body.len()).u32().unwrap_or_default() as usize;
            let before = same(from, *at);
            // The name's own entry begins with the next one's offset.
            from = at + if *is_inline { 8 } else { 4 };
            before
                && (offset == start + at + 4) == *is_inline
                && (*is_inline
                    || name_entry(chunk, offset).is_ok_and(|(_, known)| are_equal(known, name)))
        });
        names && body.len() == self.body.len() && same(from, body.len())
    }
}

/// Returns the hash that a chunk's string table has beside a name.
fn name_hash(name: &[u8]) -> u16 {
    let units = name.as_chunks::<2>().0.iter().map(|&unit| u32::from(u16::from_le_bytes(unit)));
    units.fold(0_u32, |hash, unit| hash.wrapping_mul(65_599).wrapping_add(unit)) as u16
}

/// The source of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextSource {
    /// None: the text is empty.
    Nothing,
    /// The definition contains the text.
    Fixed(Str),
    /// The value with this index.
    Value(u16),
}

/// An element of a definition.
#[derive(Debug)]
pub(super) struct TemplateElement {
    pub name: Str,
    /// The value that the element depends on. Without it the element is left out.
    pub dependency: Option<u16>,
    pub attributes: Vec<(Str, TextSource)>,
    pub content: Vec<TemplateNode>,
}

/// A part of an element.
#[derive(Debug)]
pub(super) enum TemplateNode {
    Element(TemplateElement),
    Text(Str),
    /// A value, and whether the definition declares it as BinXML.
    Value(u16, bool),
}

/// Reads a definition's tokens.
struct DefinitionReader<'c, 'n> {
    cursor: Cursor<'c>,
    start: usize,
    names: &'n mut Interner,
    fingerprint: TemplateFingerprint,
}

impl DefinitionReader<'_, '_> {
    fn read_definition(&mut self) -> Result<TemplateElement, Unplannable> {
        let mut first = self.cursor.u8()?;
        if first == token::FRAGMENT_HEADER {
            self.cursor.take(3)?;
            first = self.cursor.u8()?;
        }
        let root = self.read_element(first, 0)?;
        match self.cursor.remaining() {
            [] | [token::END, ..] => Ok(root),
            _ => Err(Unplannable("a definition of several parts")),
        }
    }

    /// Reads the element that the token `open` begins.
    fn read_element(&mut self, open: u8, depth: usize) -> Result<TemplateElement, Unplannable> {
        if open & !token::MORE != token::OPEN_ELEMENT || depth > MAX_DEPTH {
            return Err(Unplannable("a definition of unusual tokens"));
        }
        let dependency = Some(self.cursor.u16()?).filter(|&value| value != u16::MAX);
        let _size = self.cursor.u32()?;
        let name = self.read_name()?;
        if open & token::MORE != 0 {
            let _size = self.cursor.u32()?;
        }
        let mut element = TemplateElement { name, dependency, attributes: vec![], content: vec![] };
        let mut next = self.cursor.u8()?;
        while next & !token::MORE == token::ATTRIBUTE {
            let name = self.read_name()?;
            let source = match self.read_node()? {
                TemplateNode::Text(text) => TextSource::Fixed(text),
                TemplateNode::Value(value, _) => TextSource::Value(value),
                TemplateNode::Element(_) => return Err(Unplannable("an element in an attribute")),
            };
            if element.attributes.iter().any(|(known, _)| *known == name) {
                return Err(Unplannable("an attribute twice"));
            }
            element.attributes.push((name, source));
            next = self.cursor.u8()?;
        }
        match next {
            token::CLOSE_EMPTY => return Ok(element),
            token::CLOSE_START => {}
            _ => return Err(Unplannable("a definition of unusual tokens")),
        }
        loop {
            let next = self.cursor.u8()?;
            if next == token::CLOSE_ELEMENT {
                return Ok(element);
            }
            let node = if next & !token::MORE == token::OPEN_ELEMENT {
                TemplateNode::Element(self.read_element(next, depth + 1)?)
            } else {
                self.cursor.at -= 1;
                self.read_node()?
            };
            element.content.push(node);
        }
    }

    /// Reads a text or a value.
    fn read_node(&mut self) -> Result<TemplateNode, Unplannable> {
        self.count_node(0)?;
        let next = self.cursor.u8()?;
        match next {
            token::SUBSTITUTION | token::OPTIONAL_SUBSTITUTION => {
                let value = self.cursor.u16()?;
                match self.cursor.u8()? {
                    kind @ (kind::NULL..=kind::HEX_INT64 | kind::BINXML | 0x81..=0x95) => {
                        Ok(TemplateNode::Value(value, kind == kind::BINXML))
                    }
                    _ => Err(Unplannable("a value of an unusual type")),
                }
            }
            _ if next & !token::MORE == token::VALUE => {
                if self.cursor.u8()? != kind::STRING {
                    return Err(Unplannable("a fixed value that is not a string"));
                }
                let units = self.cursor.u16()?;
                let text = utf16(self.cursor.take(usize::from(units) * 2)?);
                let text = text.ok_or(Unplannable("a surrogate stands alone"))?;
                self.count_node(text.len())?;
                Ok(TemplateNode::Text(self.names.get(&text)))
            }
            _ => Err(Unplannable("a definition of unusual tokens")),
        }
    }

    /// Reads a name. It must need no escapes in JSON and must not look like one of the evtx crate's
    /// own members.
    fn read_name(&mut self) -> Result<Str, Unplannable> {
        let at = self.cursor.at;
        let offset = self.cursor.name_offset()?;
        let (_, name) = name_entry(self.cursor.chunk, offset)?;
        let place =
            NameLocation { at: at - self.start, is_inline: offset == at + 4, name: name.into() };
        self.fingerprint.names.push(place);
        let name = utf16(name).ok_or(Unplannable("a name is not UTF-16"))?;
        self.count_node(name.len())?;
        let escaped = |c| matches!(c, '"' | '\\' | '\0'..='\x1f');
        if name.is_empty() || name.starts_with('#') || name.contains(escaped) {
            return Err(Unplannable("an unusual name"));
        }
        Ok(self.names.get(&name))
    }

    fn count_node(&mut self, text: usize) -> Result<(), Unplannable> {
        self.fingerprint.nodes += 1;
        self.fingerprint.text += text;
        if self.fingerprint.nodes > MAX_NODES {
            Err(Unplannable("a definition of too many parts"))
        } else {
            Ok(())
        }
    }
}
