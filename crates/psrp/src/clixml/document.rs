//! The objects and values of a CLIXML document.

use crate::secret::SessionKey;

/// Deepest nesting of elements. PowerShell nests at most 50 objects, each up to four elements
/// deep.
pub(super) const MAX_DEPTH: usize = 256;
/// Largest number of an object's properties that are searched; the protocol's own objects have
/// about thirty.
const MOST_MEMBERS: usize = 1024;
/// Largest number of objects and values in a document.
pub(super) const MOST_VALUES: usize = 1 << 20;

/// An error that makes bytes unreadable as CLIXML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClixmlError {
    /// Not UTF-8.
    #[error("its data is not UTF-8")]
    Encoding,
    /// XML that is not well-formed.
    #[error("its XML is damaged: {0}")]
    Xml(String),
    /// Elements nested too deeply.
    #[error("its elements are more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Too many values.
    #[error("it has more than {MOST_VALUES} values")]
    TooLarge,
    /// XML that is not CLIXML.
    #[error("its XML is not CLIXML: {0}")]
    Shape(String),
}

macro_rules! primitives {
    ($($name:ident $tag:literal $about:literal,)*) => {
        /// The types of simple values (MS-PSRP 2.2.5.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Primitive { $(#[doc = $about] $name,)* }

        impl Primitive {
            pub(super) fn from_tag(tag: &str) -> Option<Primitive> {
                match tag { $($tag => Some(Primitive::$name),)* _ => None }
            }

            /// Returns the name of its element.
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
    /// Returns whether its text is encoded with `_xHHHH_` (MS-PSRP 2.2.5.3.2).
    pub(super) fn is_text(self) -> bool {
        use Primitive::{ScriptBlock, String, Uri, Xml};
        matches!(self, String | Uri | Xml | ScriptBlock)
    }
}

/// A value of a CLIXML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClixmlValue {
    /// `Nil`, or no value at all.
    Null,
    /// A simple value with its decoded text.
    Simple(Primitive, String),
    /// An object, by its index in the document.
    Object(usize),
    /// A reference to an object that does not exist.
    Dangling(String),
}

/// The kind of a container.
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
    /// Returns the name of its element.
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

/// An object (`Obj`) or a progress record (`PR`).
#[derive(Debug, Clone, Default)]
pub(super) struct ClixmlObject {
    pub(super) types: Option<usize>,
    pub(super) to_string: Option<String>,
    /// The simple value of an enum, or of a value with properties.
    pub(super) value: Option<ClixmlValue>,
    pub(super) container: Option<Container>,
    pub(super) items: Vec<ClixmlValue>,
    pub(super) entries: Vec<(ClixmlValue, ClixmlValue)>,
    pub(super) adapted: Vec<(String, ClixmlValue)>,
    pub(super) extended: Vec<(String, ClixmlValue)>,
}

/// The data of a message as a tree of values.
#[derive(Debug, Clone, Default)]
pub struct ClixmlDocument {
    pub(super) objects: Vec<ClixmlObject>,
    pub(super) types: Vec<Vec<String>>,
    pub(super) roots: Vec<ClixmlValue>,
}

/// A position in a document, through which its values are read.
#[derive(Debug, Clone, Copy)]
pub struct ClixmlNode<'d> {
    document: &'d ClixmlDocument,
    value: &'d ClixmlValue,
}

static NULL: ClixmlValue = ClixmlValue::Null;

impl ClixmlDocument {
    /// Replaces SecureStrings with their decrypted text, where the session key fits.
    pub fn decrypt_secure_strings(&mut self, key: &SessionKey) {
        let mut open = |value: &mut ClixmlValue| {
            if let ClixmlValue::Simple(Primitive::Secure, text) = value
                && let Some(plain) = key.decrypt(text)
            {
                *value = ClixmlValue::Simple(Primitive::String, plain);
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

    /// Returns the first value of the document, or null if there is none.
    pub fn root(&self) -> ClixmlNode<'_> {
        ClixmlNode { document: self, value: self.roots.first().unwrap_or(&NULL) }
    }

    /// Returns all values: one in a message, several in `Objs`, as on the streams of a console.
    pub fn roots(&self) -> impl Iterator<Item = ClixmlNode<'_>> {
        self.roots.iter().map(|value| ClixmlNode { document: self, value })
    }
}

impl<'d> ClixmlNode<'d> {
    fn object(self) -> Option<&'d ClixmlObject> {
        match self.value {
            ClixmlValue::Object(index) => self.document.objects.get(*index),
            _ => None,
        }
    }

    fn at(self, value: &'d ClixmlValue) -> ClixmlNode<'d> {
        ClixmlNode { document: self.document, value }
    }

    /// Returns the value itself.
    pub fn value(self) -> &'d ClixmlValue {
        self.value
    }

    /// Returns whether the value is `Nil` or missing.
    pub fn is_null(self) -> bool {
        matches!(self.value, ClixmlValue::Null)
    }

    /// Returns the simple value, also that of an enum or of a value with properties.
    pub fn simple(self) -> Option<(Primitive, &'d str)> {
        let value = match self.object() {
            Some(object) => object.value.as_ref()?,
            None => self.value,
        };
        match value {
            ClixmlValue::Simple(primitive, text) => Some((*primitive, text)),
            _ => None,
        }
    }

    /// Returns the text of a simple value. Returns `None` for a SecureString, whose text is
    /// encrypted.
    pub fn as_str(self) -> Option<&'d str> {
        self.simple().filter(|simple| simple.0 != Primitive::Secure).map(|simple| simple.1)
    }

    /// Returns the value as an integer.
    pub fn as_i64(self) -> Option<i64> {
        self.as_str()?.trim().parse().ok()
    }

    /// Returns the value as a boolean.
    pub fn as_bool(self) -> Option<bool> {
        self.simple().filter(|simple| simple.0 == Primitive::Bool).map(|simple| simple.1 == "true")
    }

    /// Returns a property. Extended properties (`MS`) come before adapted ones (`Props`); of
    /// several with the same name, the last one counts.
    pub fn get(self, name: &str) -> Option<ClixmlNode<'d>> {
        let object = self.object()?;
        let members = object.adapted.iter().chain(&object.extended);
        let mut members = members.rev().take(MOST_MEMBERS);
        members.find(|member| member.0 == name).map(|member| self.at(&member.1))
    }

    /// Returns the text of a property, or `None` if it is missing or null.
    pub fn property_text(self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }

    /// Returns the names of its types, most specific first.
    pub fn types(self) -> &'d [String] {
        let types = self.object().and_then(|object| object.types);
        types.and_then(|types| self.document.types.get(types)).map_or(&[], Vec::as_slice)
    }

    /// Returns the `ToString` text.
    pub fn to_string_text(self) -> Option<&'d str> {
        self.object()?.to_string.as_deref()
    }

    /// Returns the kind of container, if it is one.
    pub fn container(self) -> Option<Container> {
        self.object()?.container
    }

    /// Returns the inner value of an enum, or of a value with properties.
    pub fn inner(self) -> Option<ClixmlNode<'d>> {
        self.object()?.value.as_ref().map(|value| self.at(value))
    }

    /// Returns the items of a list, stack, queue or enumeration.
    pub fn items(self) -> impl ExactSizeIterator<Item = ClixmlNode<'d>> {
        let items = self.object().map_or(&[][..], |object| &object.items);
        items.iter().map(move |item| self.at(item))
    }

    /// Returns the entries of a dictionary.
    pub fn entries(self) -> impl ExactSizeIterator<Item = (ClixmlNode<'d>, ClixmlNode<'d>)> {
        let entries = self.object().map_or(&[][..], |object| &object.entries);
        entries.iter().map(move |(key, value)| (self.at(key), self.at(value)))
    }

    /// Returns the adapted properties (`Props`).
    pub fn adapted(self) -> impl ExactSizeIterator<Item = (&'d str, ClixmlNode<'d>)> {
        let members = self.object().map_or(&[][..], |object| &object.adapted);
        members.iter().map(move |(name, value)| (name.as_str(), self.at(value)))
    }

    /// Returns the extended properties (`MS`).
    pub fn extended(self) -> impl ExactSizeIterator<Item = (&'d str, ClixmlNode<'d>)> {
        let members = self.object().map_or(&[][..], |object| &object.extended);
        members.iter().map(move |(name, value)| (name.as_str(), self.at(value)))
    }
}
