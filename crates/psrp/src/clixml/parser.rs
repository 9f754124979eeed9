//! CLIXML's elements to a document's objects and values.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::document::{
    Container, Damage, Document, MAX_DEPTH, MOST_VALUES, Object, Primitive, Value,
};
use crate::xml;

/// An element that is open.
enum Frame {
    /// `Objs`
    Root,
    /// `Obj`, with its own name.
    Object(usize, Option<String>),
    /// `Props` or `MS` of an object.
    Members { object: usize, extended: bool },
    /// `MS` within `Props` or `MS`: an object of its own, with its own name.
    MemberSet(usize, Option<String>),
    /// A list and its like, of an object.
    List(usize),
    /// `DCT` of an object.
    Dictionary(usize),
    /// `En` of an object's dictionary.
    Entry { object: usize, key: Option<Value>, value: Option<Value> },
    /// `TN` of an object.
    Types(usize),
    /// `PR`, with its own name.
    Progress(usize, Option<String>),
    /// An element that has text: what it is for, and its own name.
    Leaf { leaf: Leaf, name: Option<String>, text: String },
    /// What means nothing here.
    Ignored,
}

enum Leaf {
    Simple(Primitive),
    Null,
    /// A value found elsewhere: a reference.
    Found(Value),
    Type(usize),
    ToString(usize),
    /// A field of a progress record.
    Field(usize, &'static str),
}

#[derive(Default)]
pub(super) struct Parser {
    document: Document,
    frames: Vec<Frame>,
    references: HashMap<String, usize>,
    type_references: HashMap<String, usize>,
    values: usize,
}

impl Parser {
    pub(super) fn run(mut self, text: &str) -> Result<Document, Damage> {
        let wrong = |error: quick_xml::Error| Damage::Xml(error.to_string());
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().allow_dangling_amp = true;
        loop {
            match reader.read_event().map_err(wrong)? {
                Event::Start(start) => {
                    if self.frames.len() == MAX_DEPTH {
                        return Err(Damage::TooDeep);
                    }
                    let frame = self.open(&start)?;
                    self.frames.push(frame);
                }
                Event::End(_) => self.close()?,
                Event::Eof if self.frames.is_empty() => return Ok(self.document),
                Event::Eof => return Err(Damage::Xml("it breaks off".to_owned())),
                event => {
                    let Some(content) = xml::text(&event) else { continue };
                    match self.frames.last_mut() {
                        Some(Frame::Leaf { text, .. }) => text.push_str(&content),
                        None if !content.trim().is_empty() => {
                            return Err(Damage::Shape("text outside all elements".to_owned()));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<Frame, Damage> {
        let local = start.local_name();
        let tag = local.into_inner();
        let attribute = |name| xml::attribute(start, name);
        let is_value = match (self.frames.last(), tag) {
            (None, "Objs") => return Ok(Frame::Root),
            (Some(Frame::Object(object, _)), _) => {
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
                        return Ok(Frame::Types(types));
                    }
                    "TNRef" => {
                        let id = attribute("RefId").unwrap_or_default();
                        let types = self.type_references.get(&id).copied();
                        self.document.objects[object].types = types;
                        return Ok(Frame::Ignored);
                    }
                    "ToString" => return Ok(leaf(Leaf::ToString(object), None)),
                    "Props" => return Ok(Frame::Members { object, extended: false }),
                    "MS" => return Ok(Frame::Members { object, extended: true }),
                    "LST" | "IE" | "STK" | "QUE" | "DCT" => return Ok(self.container(object, tag)),
                    _ => true,
                }
            }
            // A set of members in members is an object that has them.
            (Some(Frame::Members { .. } | Frame::MemberSet(..)), "MS") => {
                let name = attribute("N").map(|name| unescape(&name));
                return Ok(Frame::MemberSet(self.new_object()?, name));
            }
            (Some(Frame::Dictionary(object)), "En") => {
                return Ok(Frame::Entry { object: *object, key: None, value: None });
            }
            (Some(Frame::Types(types)), "T") => return Ok(leaf(Leaf::Type(*types), None)),
            (Some(Frame::Progress(object, _)), tag) => {
                return Ok(match progress_field(tag) {
                    Some(field) => leaf(Leaf::Field(*object, field), None),
                    None => Frame::Ignored,
                });
            }
            (
                Some(Frame::Leaf { .. } | Frame::Ignored | Frame::Types(_) | Frame::Dictionary(_)),
                _,
            ) => false,
            _ => true,
        };
        if !is_value {
            return Ok(Frame::Ignored);
        }
        let name = attribute("N").map(|name| unescape(&name));
        Ok(match tag {
            "Obj" => {
                let object = self.new_object()?;
                if let Some(id) = attribute("RefId") {
                    self.references.insert(id, object);
                }
                Frame::Object(object, name)
            }
            "PR" => Frame::Progress(self.new_object()?, name),
            "Ref" => {
                let id = attribute("RefId").unwrap_or_default();
                let found = self.references.get(&id).copied();
                leaf(Leaf::Found(found.map_or(Value::Dangling(id), Value::Object)), name)
            }
            "Nil" => leaf(Leaf::Null, name),
            tag => match Primitive::of(tag) {
                Some(primitive) => leaf(Leaf::Simple(primitive), name),
                None => return Err(Damage::Shape(format!("an element <{}>", short(tag)))),
            },
        })
    }

    fn container(&mut self, object: usize, tag: &str) -> Frame {
        let container = match tag {
            "LST" => Container::List,
            "IE" => Container::Enumerable,
            "STK" => Container::Stack,
            "QUE" => Container::Queue,
            _ => Container::Dictionary,
        };
        self.document.objects[object].container = Some(container);
        match container {
            Container::Dictionary => Frame::Dictionary(object),
            _ => Frame::List(object),
        }
    }

    fn new_object(&mut self) -> Result<usize, Damage> {
        self.count()?;
        self.document.objects.push(Object::default());
        Ok(self.document.objects.len() - 1)
    }

    fn count(&mut self) -> Result<(), Damage> {
        self.values += 1;
        if self.values > MOST_VALUES { Err(Damage::TooLarge) } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), Damage> {
        match self.frames.pop() {
            Some(
                Frame::Object(object, name)
                | Frame::Progress(object, name)
                | Frame::MemberSet(object, name),
            ) => self.place(Value::Object(object), name),
            Some(Frame::Entry { object, key, value }) => {
                let entry = (key.unwrap_or(Value::Null), value.unwrap_or(Value::Null));
                self.document.objects[object].entries.push(entry);
                Ok(())
            }
            Some(Frame::Leaf { leaf, name, text }) => match leaf {
                Leaf::Null => self.place(Value::Null, name),
                Leaf::Found(value) => self.place(value, name),
                Leaf::Simple(Primitive::Bool) => {
                    let text = if text.eq_ignore_ascii_case("true") { "true" } else { "false" };
                    self.place(Value::Simple(Primitive::Bool, text.to_owned()), name)
                }
                Leaf::Simple(primitive) => {
                    let text = if primitive.is_text() { unescape(&text) } else { text };
                    self.place(Value::Simple(primitive, text), name)
                }
                Leaf::Type(types) => {
                    self.count()?;
                    self.document.types[types].push(unescape(&text));
                    Ok(())
                }
                Leaf::ToString(object) => {
                    self.document.objects[object].to_string = Some(unescape(&text));
                    Ok(())
                }
                Leaf::Field(object, field) => {
                    self.count()?;
                    let value = Value::Simple(Primitive::String, unescape(&text));
                    self.document.objects[object].extended.push((field.to_owned(), value));
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// Puts a value where it belongs: into the element that is open around it.
    fn place(&mut self, value: Value, name: Option<String>) -> Result<(), Damage> {
        self.count()?;
        let objects = &mut self.document.objects;
        match self.frames.last_mut() {
            None if !self.document.roots.is_empty() => {
                return Err(Damage::Shape("more than one value".to_owned()));
            }
            None | Some(Frame::Root) => self.document.roots.push(value),
            Some(Frame::Object(object, _)) => objects[*object].value = Some(value),
            Some(Frame::Members { object, extended }) => {
                let object = &mut objects[*object];
                let members = if *extended { &mut object.extended } else { &mut object.adapted };
                members.push((name.unwrap_or_default(), value));
            }
            Some(Frame::MemberSet(object, _)) => {
                objects[*object].extended.push((name.unwrap_or_default(), value));
            }
            Some(Frame::List(object)) => objects[*object].items.push(value),
            Some(Frame::Entry { key, value: slot, .. }) => match name.as_deref() {
                Some("Key") => *key = Some(value),
                Some("Value") => *slot = Some(value),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

fn leaf(leaf: Leaf, name: Option<String>) -> Frame {
    Frame::Leaf { leaf, name, text: String::new() }
}

/// The names that PROGRESS_RECORD gives the fields of a `PR` (MS-PSRP 2.2.5.1.22, 2.2.2.25).
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

/// The start of a name that may be any length.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Undoes `_xHHHH_`, a UTF-16 unit each (MS-PSRP 2.2.5.3.2).
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

/// The unit of an escape at the start of a text.
fn escaped(text: &str) -> Option<u16> {
    let [b'_', b'x' | b'X', digits @ .., b'_'] = text.as_bytes().get(..7)? else { return None };
    digits
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}
