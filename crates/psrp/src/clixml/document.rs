//! A document's objects and values.

use crate::secret::SessionKey;

/// Most elements in each other. PowerShell takes 50 objects in each other at most, each of them up
/// to four elements deep.
pub(super) const MAX_DEPTH: usize = 256;
/// Most properties of an object that are searched for one; the protocol's own have some thirty.
const MOST_MEMBERS: usize = 1024;
/// Most objects and values in a document.
pub(super) const MOST_VALUES: usize = 1 << 20;

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
            pub(super) fn of(tag: &str) -> Option<Primitive> {
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
    pub(super) fn is_text(self) -> bool {
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
pub(super) struct Object {
    pub(super) types: Option<usize>,
    pub(super) to_string: Option<String>,
    /// The simple value of an enum, or of a value with properties of its own.
    pub(super) value: Option<Value>,
    pub(super) container: Option<Container>,
    pub(super) items: Vec<Value>,
    pub(super) entries: Vec<(Value, Value)>,
    pub(super) adapted: Vec<(String, Value)>,
    pub(super) extended: Vec<(String, Value)>,
}

/// A message's data, read.
#[derive(Debug, Clone, Default)]
pub struct Document {
    pub(super) objects: Vec<Object>,
    pub(super) types: Vec<Vec<String>>,
    pub(super) roots: Vec<Value>,
}

/// A place in a document: what [`Document`] is read through.
#[derive(Debug, Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document,
    value: &'d Value,
}

static NULL: Value = Value::Null;

impl Document {
    /// Puts the texts of SecureStrings in their place, as far as a session key fits.
    pub fn open(&mut self, key: &SessionKey) {
        let mut open = |value: &mut Value| {
            if let Value::Simple(Primitive::Secure, text) = value
                && let Some(plain) = key.open(text)
            {
                *value = Value::Simple(Primitive::String, plain);
            }
        };
        self.roots.iter_mut().for_each(&mut open);
        for object in &mut self.objects {
            object.value.iter_mut().chain(&mut object.items).for_each(&mut open);
            let members = object.adapted.iter_mut().chain(&mut object.extended);
            members.for_each(|(_, value)| open(value));
            for (key, value) in &mut object.entries {
                open(key);
                open(value);
            }
        }
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
        let mut members = members.rev().take(MOST_MEMBERS);
        members.find(|member| member.0 == name).map(|member| self.at(&member.1))
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
