//! CLIXML, the form of objects on the wire, to a typed tree (MS-PSRP 2.2.5).
//!
//! Objects lie in one list and are named by index, so a reference costs nothing and a circle of
//! them does no harm. Whoever walks the tree bounds the walk.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::xml;

/// Most elements in each other. PowerShell takes 50 objects in each other at most, each of them up
/// to four elements deep.
const MAX_DEPTH: usize = 256;
/// Most objects and values in a document.
const MOST_VALUES: usize = 1 << 20;

/// Why bytes are no CLIXML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not UTF-8.
    #[error("its data is not UTF-8")]
    Encoding,
    /// Not well-formed.
    #[error("its XML is damaged: {0}")]
    Xml(String),
    /// Too many elements in each other.
    #[error("its elements are more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Too many values.
    #[error("it has more than {MOST_VALUES} values")]
    TooLarge,
    /// The XML is none that means something here.
    #[error("its XML is no CLIXML: {0}")]
    Shape(String),
}

macro_rules! primitives {
    ($($name:ident $tag:literal $about:literal,)*) => {
        /// The types of simple values (MS-PSRP 2.2.5.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Primitive { $(#[doc = $about] $name,)* }

        impl Primitive {
            fn of(tag: &str) -> Option<Primitive> {
                match tag { $($tag => Some(Primitive::$name),)* _ => None }
            }

            /// Its element's name.
            pub fn tag(self) -> &'static str {
                match self { $(Primitive::$name => $tag,)* }
            }
        }
    };
}

primitives! {
    String "S" "Text.",
    Char "C" "A UTF-16 unit, as a number.",
    Bool "B" "`true` or `false`.",
    DateTime "DT" "A date and time, ISO 8601.",
    Duration "TS" "A duration, ISO 8601.",
    U8 "By" "An unsigned byte.",
    I8 "SB" "A signed byte.",
    U16 "U16" "16 bits, unsigned.",
    I16 "I16" "16 bits, signed.",
    U32 "U32" "32 bits, unsigned.",
    I32 "I32" "32 bits, signed.",
    U64 "U64" "64 bits, unsigned.",
    I64 "I64" "64 bits, signed.",
    Single "Sg" "A float.",
    Double "Db" "A double.",
    Decimal "D" "A decimal.",
    Bytes "BA" "Bytes, in Base64.",
    Guid "G" "A GUID.",
    Uri "URI" "A URI.",
    Version "Version" "A version.",
    Xml "XD" "An XML document, as text.",
    ScriptBlock "SBK" "A script block's text.",
    Secure "SS" "A SecureString, in Base64 of its ciphertext.",
}

impl Primitive {
    /// Whether its text is encoded with `_xHHHH_` (MS-PSRP 2.2.5.3.2).
    fn is_text(self) -> bool {
        use Primitive::{ScriptBlock, String, Uri, Xml};
        matches!(self, String | Uri | Xml | ScriptBlock)
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `Nil`, and where nothing is.
    Null,
    /// A simple value, its text decoded.
    Simple(Primitive, String),
    /// An object, by its index in the document.
    Object(usize),
    /// A reference to an object that is not there.
    Dangling(String),
}

/// What a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `LST`
    List,
    /// `IE`
    Enumerable,
    /// `STK`
    Stack,
    /// `QUE`
    Queue,
    /// `DCT`
    Dictionary,
}

impl Container {
    /// Its element's name.
    pub fn tag(self) -> &'static str {
        match self {
            Container::List => "LST",
            Container::Enumerable => "IE",
            Container::Stack => "STK",
            Container::Queue => "QUE",
            Container::Dictionary => "DCT",
        }
    }
}

/// An object (`Obj`), or a progress record (`PR`).
#[derive(Debug, Clone, Default)]
struct Object {
    types: Option<usize>,
    to_string: Option<String>,
    /// The simple value of an enum, or of a value with properties of its own.
    value: Option<Value>,
    container: Option<Container>,
    items: Vec<Value>,
    entries: Vec<(Value, Value)>,
    adapted: Vec<(String, Value)>,
    extended: Vec<(String, Value)>,
}

/// A message's data, read.
#[derive(Debug, Clone, Default)]
pub struct Document {
    objects: Vec<Object>,
    types: Vec<Vec<String>>,
    roots: Vec<Value>,
}

/// A place in a document: what [`Document`] is read through.
#[derive(Debug, Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document,
    value: &'d Value,
}

static NULL: Value = Value::Null;

impl Document {
    /// Reads a message's data: one value, or none at all. A byte order mark may come first.
    ///
    /// ```
    /// let document = psr_forensics::psrp::Document::parse(b"<S>a_x000A_b</S>").unwrap();
    /// assert_eq!(document.root().as_str(), Some("a\nb"));
    /// ```
    pub fn parse(data: &[u8]) -> Result<Document, Damage> {
        let text = std::str::from_utf8(data).map_err(|_| Damage::Encoding)?;
        Parser::default().run(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// The value it holds: the first one, null if none.
    pub fn root(&self) -> Node<'_> {
        Node { document: self, value: self.roots.first().unwrap_or(&NULL) }
    }

    /// All values it holds: one in a message, more in `Objs`, as on the streams of a console.
    pub fn roots(&self) -> impl Iterator<Item = Node<'_>> {
        self.roots.iter().map(|value| Node { document: self, value })
    }
}

impl<'d> Node<'d> {
    fn object(self) -> Option<&'d Object> {
        match self.value {
            Value::Object(index) => self.document.objects.get(*index),
            _ => None,
        }
    }

    fn at(self, value: &'d Value) -> Node<'d> {
        Node { document: self.document, value }
    }

    /// The value itself.
    pub fn value(self) -> &'d Value {
        self.value
    }

    /// Whether it is `Nil`, or nothing.
    pub fn is_null(self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The simple value, that of an enum or of a value with properties, too.
    pub fn simple(self) -> Option<(Primitive, &'d str)> {
        let value = match self.object() {
            Some(object) => object.value.as_ref()?,
            None => self.value,
        };
        match value {
            Value::Simple(primitive, text) => Some((*primitive, text)),
            _ => None,
        }
    }

    /// The text of a simple value; none for a SecureString, which has no text.
    pub fn as_str(self) -> Option<&'d str> {
        self.simple().filter(|simple| simple.0 != Primitive::Secure).map(|simple| simple.1)
    }

    /// A whole number.
    pub fn as_i64(self) -> Option<i64> {
        self.as_str()?.trim().parse().ok()
    }

    /// A truth value.
    pub fn as_bool(self) -> Option<bool> {
        self.simple().filter(|simple| simple.0 == Primitive::Bool).map(|simple| simple.1 == "true")
    }

    /// A property, extended ones (`MS`) before adapted ones (`Props`); the last of one name.
    pub fn get(self, name: &str) -> Option<Node<'d>> {
        let object = self.object()?;
        let members = object.adapted.iter().chain(&object.extended);
        members.rev().find(|member| member.0 == name).map(|member| self.at(&member.1))
    }

    /// The text of a property; none where it is missing or null.
    pub fn text_of(self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }

    /// The names of its types, most specific first.
    pub fn types(self) -> &'d [String] {
        let types = self.object().and_then(|object| object.types);
        types.and_then(|types| self.document.types.get(types)).map_or(&[], Vec::as_slice)
    }

    /// `ToString`.
    pub fn to_string_text(self) -> Option<&'d str> {
        self.object()?.to_string.as_deref()
    }

    /// What container it is.
    pub fn container(self) -> Option<Container> {
        self.object()?.container
    }

    /// The inner value of an enum, or of a value with properties.
    pub fn inner(self) -> Option<Node<'d>> {
        self.object()?.value.as_ref().map(|value| self.at(value))
    }

    /// The items of a list, stack, queue or enumeration.
    pub fn items(self) -> impl ExactSizeIterator<Item = Node<'d>> {
        let items = self.object().map_or(&[][..], |object| &object.items);
        items.iter().map(move |item| self.at(item))
    }

    /// The entries of a dictionary.
    pub fn entries(self) -> impl ExactSizeIterator<Item = (Node<'d>, Node<'d>)> {
        let entries = self.object().map_or(&[][..], |object| &object.entries);
        entries.iter().map(move |(key, value)| (self.at(key), self.at(value)))
    }

    /// Adapted properties (`Props`).
    pub fn adapted(self) -> impl ExactSizeIterator<Item = (&'d str, Node<'d>)> {
        let members = self.object().map_or(&[][..], |object| &object.adapted);
        members.iter().map(move |(name, value)| (name.as_str(), self.at(value)))
    }

    /// Extended properties (`MS`).
    pub fn extended(self) -> impl ExactSizeIterator<Item = (&'d str, Node<'d>)> {
        let members = self.object().map_or(&[][..], |object| &object.extended);
        members.iter().map(move |(name, value)| (name.as_str(), self.at(value)))
    }
}

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
struct Parser {
    document: Document,
    frames: Vec<Frame>,
    references: HashMap<String, usize>,
    type_references: HashMap<String, usize>,
    values: usize,
}

impl Parser {
    fn run(mut self, text: &str) -> Result<Document, Damage> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psrp::text::line;

    fn parse(text: &str) -> Result<Document, Damage> {
        Document::parse(text.as_bytes())
    }

    #[test]
    fn every_simple_type_keeps_its_type_and_text() {
        for (tag, text) in [
            ("S", "a b"),
            ("C", "97"),
            ("B", "true"),
            ("DT", "2008-04-11T10:42:32.2731993-07:00"),
            ("TS", "PT9.0269026S"),
            ("By", "254"),
            ("SB", "-127"),
            ("U16", "65535"),
            ("I16", "-32767"),
            ("U32", "4294967295"),
            ("I32", "-2147483648"),
            ("U64", "18446744073709551615"),
            ("I64", "-9223372036854775808"),
            ("Sg", "12.34"),
            ("Db", "12.34"),
            ("D", "12.34"),
            ("BA", "AQIDBA=="),
            ("G", "792e5b37-4505-47ef-b7d2-8711bb7affa8"),
            ("URI", "http://www.microsoft.com/"),
            ("Version", "6.2.1.3"),
            ("XD", "x"),
            ("SBK", "get-command -type cmdlet"),
            ("SS", "bnVsbA=="),
        ] {
            let document = parse(&format!("<{tag}>{text}</{tag}>")).unwrap();
            let (primitive, found) = document.root().simple().unwrap();
            assert_eq!((primitive.tag(), found), (tag, text));
        }
        assert!(parse("<Nil/>").unwrap().root().is_null());
        assert!(parse("").unwrap().root().is_null());
        assert_eq!(parse("\u{feff}<S></S>").unwrap().root().as_str(), Some(""));
    }

    #[test]
    fn escapes_are_utf16_units() {
        let text = |xml: &str| parse(xml).unwrap().root().as_str().unwrap().to_owned();
        assert_eq!(text("<S>a_x000D__x000a_b</S>"), "a\r\nb");
        assert_eq!(text("<S>_xD83D__xDE00_</S>"), "\u{1f600}");
        assert_eq!(text("<S>_x005F_x000A_</S>"), "_x000A_");
        assert_eq!(text("<S>_x00_ _xZZZZ_ __x0041_</S>"), "_x00_ _xZZZZ_ _A");
        assert_eq!(text("<S>_xD83D_ alone</S>"), "\u{fffd} alone");
        assert_eq!(text("<S>&lt;&amp;&#65;<![CDATA[<x>]]></S>"), "<&A<x>");
        // Other types are not encoded.
        assert_eq!(text("<Version>_x0041_</Version>"), "_x0041_");
    }

    #[test]
    fn objects_references_and_containers() {
        let document = parse(
            "<Obj RefId='0'><TN RefId='0'><T>A</T><T>B</T></TN><ToString>shown</ToString>\
             <Props><S N='p'>one</S></Props><MS><Obj N='list' RefId='1'><TNRef RefId='0'/><LST>\
             <I32>1</I32><Ref RefId='1'/></LST></Obj><S N='p'>two</S>\
             <MS N='set'><B N='in'>TRUE</B></MS><Ref N='lost' RefId='9'/></MS></Obj>",
        )
        .unwrap();
        let root = document.root();
        assert_eq!(
            (root.types(), root.to_string_text()),
            (&["A".into(), "B".into()][..], Some("shown"))
        );
        assert_eq!(root.get("p").unwrap().as_str(), Some("two"));
        assert_eq!(root.get("set").unwrap().get("in").unwrap().as_bool(), Some(true));
        assert_eq!(root.get("lost").unwrap().value(), &Value::Dangling("9".to_owned()));
        let list = root.get("list").unwrap();
        assert_eq!((list.types().len(), list.items().len()), (2, 2));
        assert_eq!(list.items().next().unwrap().as_i64(), Some(1));
        let table = parse(
            "<Obj RefId='0'><DCT><En><S N='Key'>k</S><I32 N='Value'>7</I32></En></DCT></Obj>",
        );
        let table = table.unwrap();
        let (key, value) = table.root().entries().next().unwrap();
        assert_eq!((key.as_str(), value.as_i64()), (Some("k"), Some(7)));
        // An enum, and a value with properties of its own.
        let colour = parse("<Obj RefId='0'><ToString>Red</ToString><I32>12</I32></Obj>").unwrap();
        assert_eq!(colour.root().as_i64(), Some(12));
    }

    #[test]
    fn progress_records_read_like_the_messages() {
        let document = parse(
            "<PR><AV>Copy</AV><AI>3</AI><Nil/><PI>-1</PI><PC>40</PC><T>Processing</T><SR>-1</SR>\
             <SD>busy</SD></PR>",
        );
        let document = document.unwrap();
        let root = document.root();
        assert_eq!(root.text_of("Activity").as_deref(), Some("Copy"));
        assert_eq!(root.get("PercentComplete").unwrap().as_i64(), Some(40));
    }

    #[test]
    fn damage_has_a_reason() {
        let nested = "<Obj><LST>".repeat(10_000);
        for text in [
            "<Obj RefId='0'><MS><S N='x'>",
            "<Obj RefId='0'><MS></Obj></MS>",
            "<S>a</S><S>b</S>",
            "<S>a</S>b",
            "<Script>x</Script>",
            &nested,
        ] {
            assert!(parse(text).is_err(), "{text:.40}");
        }
        assert_eq!(Document::parse(b"<S>\xff</S>").unwrap_err(), Damage::Encoding);
    }

    #[test]
    fn circles_and_bombs_are_walked_within_bounds() {
        let circle = parse("<Obj RefId='0'><LST><Ref RefId='0'/></LST></Obj>").unwrap();
        assert!(line(circle.root()).len() < 1000);
        // Each object holds the one before ten times: 10^40 values, were they written out.
        let mut bomb = "<Obj RefId='0'><LST><S>x</S></LST></Obj>".to_owned();
        for id in 1..40 {
            let inner = format!("<Ref RefId='{}'/>", id - 1).repeat(10);
            bomb += &format!("<Obj RefId='{id}'><LST>{inner}</LST></Obj>");
        }
        let bomb = parse(&format!("<Objs>{bomb}</Objs>")).unwrap();
        assert!(line(bomb.roots().last().unwrap()).len() < 2 << 20);
    }
}
