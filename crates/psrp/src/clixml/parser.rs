//! Parses CLIXML elements into the objects and values of a document.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::document::{
    ClixmlDocument, ClixmlError, ClixmlObject, ClixmlValue, Container, MAX_DEPTH, MOST_VALUES,
    Primitive,
};
use crate::xml;

/// An element that is open.
enum ParserFrame {
    /// `Objs`
    Root,
    /// `Obj`, with the name it has in its parent.
    Object(usize, Option<String>),
    /// `Props` or `MS` of an object.
    Members { object: usize, extended: bool },
    /// `MS` within `Props` or `MS`: an object of its own, with its name.
    MemberSet(usize, Option<String>),
    /// `LST` and similar containers of an object.
    List(usize),
    /// `DCT` of an object.
    Dictionary(usize),
    /// `En` of an object's dictionary.
    Entry { object: usize, key: Option<ClixmlValue>, value: Option<ClixmlValue> },
    /// `TN` of an object.
    Types(usize),
    /// `PR`, with the name it has in its parent.
    Progress(usize, Option<String>),
    /// An element with text: its purpose and its name.
    Leaf { leaf: LeafKind, name: Option<String>, text: String },
    /// An element without meaning here.
    Ignored,
}

enum LeafKind {
    Simple(Primitive),
    Null,
    /// A reference that was resolved.
    Resolved(ClixmlValue),
    Type(usize),
    ToString(usize),
    /// A field of a progress record.
    Field(usize, &'static str),
}

#[derive(Default)]
pub(super) struct ClixmlParser {
    document: ClixmlDocument,
    frames: Vec<ParserFrame>,
    references: HashMap<String, usize>,
    type_references: HashMap<String, usize>,
    values: usize,
}

impl ClixmlParser {
    pub(super) fn run(mut self, text: &str) -> Result<ClixmlDocument, ClixmlError> {
        let wrong = |error: quick_xml::Error| ClixmlError::Xml(error.to_string());
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().allow_dangling_amp = true;
        loop {
            match reader.read_event().map_err(wrong)? {
                Event::Start(start) => {
                    if self.frames.len() == MAX_DEPTH {
                        return Err(ClixmlError::TooDeep);
                    }
                    let frame = self.open(&start)?;
                    self.frames.push(frame);
                }
                Event::End(_) => self.close()?,
                Event::Eof if self.frames.is_empty() => return Ok(self.document),
                Event::Eof => return Err(ClixmlError::Xml("it breaks off".to_owned())),
                event => {
                    let Some(content) = xml::text(&event) else { continue };
                    match self.frames.last_mut() {
                        Some(ParserFrame::Leaf { text, .. }) => text.push_str(&content),
                        None if !content.trim().is_empty() => {
                            return Err(ClixmlError::Shape("text outside all elements".to_owned()));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<ParserFrame, ClixmlError> {
        let local = start.local_name();
        let tag = local.into_inner();
        let attribute = |name| xml::attribute(start, name);
        let is_value = match (self.frames.last(), tag) {
            (None, "Objs") => return Ok(ParserFrame::Root),
            (Some(ParserFrame::Object(object, _)), _) => {
                let object = *object;
                match tag {
                    "TN" => {
                        self.count()?;
                        let types = self.document.types.len();
                        self.document.types.push(Vec::new());
                        self.document.objects[object].types = Some(types);
                        if let Some(id) = attribute("RefId") {
                            self.type_references.insert(id, types);
                        }
                        return Ok(ParserFrame::Types(types));
                    }
                    "TNRef" => {
                        let id = attribute("RefId").unwrap_or_default();
                        let types = self.type_references.get(&id).copied();
                        self.document.objects[object].types = types;
                        return Ok(ParserFrame::Ignored);
                    }
                    "ToString" => return Ok(leaf(LeafKind::ToString(object), None)),
                    "Props" => return Ok(ParserFrame::Members { object, extended: false }),
                    "MS" => return Ok(ParserFrame::Members { object, extended: true }),
                    "LST" | "IE" | "STK" | "QUE" | "DCT" => return Ok(self.container(object, tag)),
                    _ => true,
                }
            }
            // A member set inside members is an object with these members.
            (Some(ParserFrame::Members { .. } | ParserFrame::MemberSet(..)), "MS") => {
                let name = attribute("N").map(|name| unescape(&name));
                return Ok(ParserFrame::MemberSet(self.new_object()?, name));
            }
            (Some(ParserFrame::Dictionary(object)), "En") => {
                return Ok(ParserFrame::Entry { object: *object, key: None, value: None });
            }
            (Some(ParserFrame::Types(types)), "T") => {
                return Ok(leaf(LeafKind::Type(*types), None));
            }
            (Some(ParserFrame::Progress(object, _)), tag) => {
                return Ok(match progress_field(tag) {
                    Some(field) => leaf(LeafKind::Field(*object, field), None),
                    None => ParserFrame::Ignored,
                });
            }
            (
                Some(
                    ParserFrame::Leaf { .. }
                    | ParserFrame::Ignored
                    | ParserFrame::Types(_)
                    | ParserFrame::Dictionary(_),
                ),
                _,
            ) => false,
            _ => true,
        };
        if !is_value {
            return Ok(ParserFrame::Ignored);
        }
        let name = attribute("N").map(|name| unescape(&name));
        Ok(match tag {
            "Obj" => {
                let object = self.new_object()?;
                if let Some(id) = attribute("RefId") {
                    self.references.insert(id, object);
                }
                ParserFrame::Object(object, name)
            }
            "PR" => ParserFrame::Progress(self.new_object()?, name),
            "Ref" => {
                let id = attribute("RefId").unwrap_or_default();
                let found = self.references.get(&id).copied();
                leaf(
                    LeafKind::Resolved(
                        found.map_or(ClixmlValue::Dangling(id), ClixmlValue::Object),
                    ),
                    name,
                )
            }
            "Nil" => leaf(LeafKind::Null, name),
            tag => match Primitive::from_tag(tag) {
                Some(primitive) => leaf(LeafKind::Simple(primitive), name),
                None => return Err(ClixmlError::Shape(format!("an element <{}>", short(tag)))),
            },
        })
    }

    fn container(&mut self, object: usize, tag: &str) -> ParserFrame {
        let container = match tag {
            "LST" => Container::List,
            "IE" => Container::Enumerable,
            "STK" => Container::Stack,
            "QUE" => Container::Queue,
            _ => Container::Dictionary,
        };
        self.document.objects[object].container = Some(container);
        match container {
            Container::Dictionary => ParserFrame::Dictionary(object),
            _ => ParserFrame::List(object),
        }
    }

    fn new_object(&mut self) -> Result<usize, ClixmlError> {
        self.count()?;
        self.document.objects.push(ClixmlObject::default());
        Ok(self.document.objects.len() - 1)
    }

    fn count(&mut self) -> Result<(), ClixmlError> {
        self.values += 1;
        if self.values > MOST_VALUES { Err(ClixmlError::TooLarge) } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), ClixmlError> {
        match self.frames.pop() {
            Some(
                ParserFrame::Object(object, name)
                | ParserFrame::Progress(object, name)
                | ParserFrame::MemberSet(object, name),
            ) => self.store_value(ClixmlValue::Object(object), name),
            Some(ParserFrame::Entry { object, key, value }) => {
                let entry = (key.unwrap_or(ClixmlValue::Null), value.unwrap_or(ClixmlValue::Null));
                self.document.objects[object].entries.push(entry);
                Ok(())
            }
            Some(ParserFrame::Leaf { leaf, name, text }) => match leaf {
                LeafKind::Null => self.store_value(ClixmlValue::Null, name),
                LeafKind::Resolved(value) => self.store_value(value, name),
                LeafKind::Simple(Primitive::Bool) => {
                    let text = if text.eq_ignore_ascii_case("true") { "true" } else { "false" };
                    self.store_value(ClixmlValue::Simple(Primitive::Bool, text.to_owned()), name)
                }
                LeafKind::Simple(primitive) => {
                    let text = if primitive.is_text() { unescape(&text) } else { text };
                    self.store_value(ClixmlValue::Simple(primitive, text), name)
                }
                LeafKind::Type(types) => {
                    self.count()?;
                    self.document.types[types].push(unescape(&text));
                    Ok(())
                }
                LeafKind::ToString(object) => {
                    self.document.objects[object].to_string = Some(unescape(&text));
                    Ok(())
                }
                LeafKind::Field(object, field) => {
                    self.count()?;
                    let value = ClixmlValue::Simple(Primitive::String, unescape(&text));
                    self.document.objects[object].extended.push((field.to_owned(), value));
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// Stores a value in the element that is open around it.
    fn store_value(&mut self, value: ClixmlValue, name: Option<String>) -> Result<(), ClixmlError> {
        self.count()?;
        let objects = &mut self.document.objects;
        match self.frames.last_mut() {
            None if !self.document.roots.is_empty() => {
                return Err(ClixmlError::Shape("more than one value".to_owned()));
            }
            None | Some(ParserFrame::Root) => self.document.roots.push(value),
            Some(ParserFrame::Object(object, _)) => objects[*object].value = Some(value),
            Some(ParserFrame::Members { object, extended }) => {
                let object = &mut objects[*object];
                let members = if *extended { &mut object.extended } else { &mut object.adapted };
                members.push((name.unwrap_or_default(), value));
            }
            Some(ParserFrame::MemberSet(object, _)) => {
                objects[*object].extended.push((name.unwrap_or_default(), value));
            }
            Some(ParserFrame::List(object)) => objects[*object].items.push(value),
            Some(ParserFrame::Entry { key, value: slot, .. }) => match name.as_deref() {
                Some("Key") => *key = Some(value),
                Some("Value") => *slot = Some(value),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

fn leaf(leaf: LeafKind, name: Option<String>) -> ParserFrame {
    ParserFrame::Leaf { leaf, name, text: String::new() }
}

/// Returns the name that PROGRESS_RECORD gives a field of a `PR` (MS-PSRP 2.2.5.1.22, 2.2.2.25).
fn progress_field(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "AV" => "Activity",
        "AI" => "ActivityId",
        "S" => "CurrentOperation",
        "PI" => "ParentActivityId",
        "PC" => "PercentComplete",
        "T" => "Type",
        "SR" => "SecondsRemaining",
        "SD" => "StatusDescription",
        _ => return None,
    })
}

/// Cuts a name of any length to its start.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Decodes `_xHHHH_` escapes, each a UTF-16 unit (MS-PSRP 2.2.5.3.2).
fn unescape(text: &str) -> String {
    if !text.contains("_x") && !text.contains("_X") {
        return text.to_owned();
    }
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('_') {
        units.extend(rest[..at].encode_utf16());
        rest = &rest[at..];
        match escaped(rest) {
            Some(unit) => {
                units.push(unit);
                rest = &rest[7..];
            }
            None => {
                units.push(u16::from(b'_'));
                rest = &rest[1..];
            }
        }
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units)
}

/// Returns the UTF-16 unit of an escape at the start of a text.
fn escaped(text: &str) -> Option<u16> {
    let [b'_', b'x' | b'X', digits @ .., b'_'] = text.as_bytes().get(..7)? else { return None };
    digits
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}
