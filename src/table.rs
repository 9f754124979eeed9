//! What tables are made of: columns with their types and meanings, and files named after hosts.

use serde::Serialize;

/// A column of a table, or a field of a line of JSON.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// What it holds, with its unit.
    pub description: &'static str,
}

/// The type of a column's or field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text.
    Text,
    /// A time, UTC.
    Time,
    /// A whole number; in tables no less than 0.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list of texts.
    Texts,
    /// An object, whose members the log names.
    Object,
    /// An IP address.
    Address,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Time => "time",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Texts => "texts",
            Kind::Object => "object",
            Kind::Address => "address",
        }
    }
}

/// Most characters of a text that a cell of a CSV file shows: a spreadsheet's limit of 32,767 less room
/// for the note that there is more.
pub(crate) const MOST_IN_CELL: usize = 32_000;

/// Declares a table's columns: `NAME: "name" => "description"` for texts, `"name": Kind` for others.
macro_rules! columns {
    ($visibility:vis $constant:ident:
        $($name:literal $(: $kind:ident)? => $description:literal),+ $(,)?) => {
        $visibility const $constant: &[$crate::table::Column] = &[
            $($crate::table::Column {
                name: $name,
                kind: $crate::table::columns!(@kind $($kind)?),
                description: $description,
            }),+
        ];
    };
    (@kind) => { $crate::table::Kind::Text };
    (@kind $kind:ident) => { $crate::table::Kind::$kind };
}
pub(crate) use columns;

/// A host as a file's name on any file system: a name that is not plain gets a part of its hash.
#[cfg(any(feature = "parquet", test))]
pub fn file_name(host: &str) -> std::borrow::Cow<'_, str> {
    use std::borrow::Cow;

    use sha2::{Digest, Sha256};

    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let plain = |byte: u8| if is_plain(byte) || byte == b'.' { byte as char } else { '_' };
    let first = |byte: Option<&u8>| byte.is_some_and(|&byte| is_plain(byte));
    // Windows takes `con.txt` and `con.` for a device and for `con`.
    let device = host.split('.').next().unwrap_or_default();
    let is_device = matches!(device, "con" | "prn" | "aux" | "nul")
        || device.len() == 4 && (device.starts_with("com") || device.starts_with("lpt"));
    let bytes = host.as_bytes();
    let is_safe = bytes.len() <= 100
        && first(bytes.first())
        && first(bytes.last())
        && bytes.iter().all(|&byte| is_plain(byte) || byte == b'.')
        && !is_device;
    if is_safe {
        return Cow::Borrowed(host);
    }
    let name: String = host.bytes().take(60).map(plain).collect();
    let hash = Sha256::digest(host.as_bytes());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("_{name}_{hash}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hosts_become_names_of_files() {
        for plain in ["srv01", "srv01.lab.local", "10.0.0.1"] {
            assert_eq!(file_name(plain), plain);
        }
        let hostile =
            ["", "..", "../up", "a/b", "a\\b", "con", "com1.x", "a.", "nul\0", "ä", "c:x", "-_"];
        let names: BTreeSet<String> =
            hostile.iter().map(|host| file_name(host).into_owned()).collect();
        assert_eq!(names.len(), hostile.len(), "no two share a name");
        for name in &names {
            assert!(name.starts_with('_') && !name.contains(['/', '\\', ':', '\0']), "{name}");
        }
        assert!(file_name(&"x".repeat(1 << 20)).len() < 100);
    }
}
