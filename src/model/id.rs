//! GUIDs, and ids that are GUIDs as a rule.

use std::fmt;

use super::Str;

/// A GUID. Its order is that of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// Where the dashes of a GUID's text stand.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl Guid {
    /// Reads a GUID's text, with or without braces, in either case.
    pub fn parse(text: &str) -> Option<Guid> {
        let braced = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let text: &[u8; 36] = braced.unwrap_or(text).as_bytes().try_into().ok()?;
        let mut bytes = [0; 16];
        let mut filled = 0;
        let mut at = 0;
        while filled < bytes.len() {
            if DASHES.contains(&at) {
                if text[at] != b'-' {
                    return None;
                }
                at += 1;
            }
            bytes[filled] = digit(text[at])? << 4 | digit(text[at + 1])?;
            filled += 1;
            at += 2;
        }
        Some(Guid(bytes))
    }
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Lower case, without braces: the spelling of all outputs.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for byte in self.0 {
            at += usize::from(DASHES.contains(&at));
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An id of a runspace, engine, shell, script block or activity.
///
/// Windows and PowerShell make it a GUID. A log that was edited, or written by somebody else, may
/// have anything in its place: that is kept, and is equal to itself only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoggedId {
    /// A GUID.
    Guid(Guid),
    /// Another text, lower case, without braces around it.
    Other(Str),
}

impl LoggedId {
    /// Reads an id in any spelling; an empty text is none.
    pub fn parse(text: &str) -> Option<LoggedId> {
        let text = text.trim();
        if let Some(guid) = Guid::parse(text) {
            return Some(LoggedId::Guid(guid));
        }
        let bare = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '{' | '}'));
        match Guid::parse(bare) {
            Some(guid) => Some(LoggedId::Guid(guid)),
            None => (!bare.is_empty()).then(|| LoggedId::Other(bare.to_lowercase().into())),
        }
    }

    /// The text of an id that may not be known; empty where it is not.
    pub fn text(id: Option<&LoggedId>) -> String {
        id.map(LoggedId::to_string).unwrap_or_default()
    }
}

/// Lower case, without braces: the spelling of all outputs.
impl fmt::Display for LoggedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoggedId::Guid(guid) => fmt::Display::fmt(guid, f),
            LoggedId::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for LoggedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "3a01e863-e5f7-4fe6-a55d-36e4078d77f9";

    #[test]
    fn a_guid_is_one_in_any_spelling() {
        let guid = Guid::parse(TEXT).unwrap();
        assert_eq!(guid.to_string(), TEXT);
        assert_eq!(Guid::parse(&format!("{{{}}}", TEXT.to_uppercase())), Some(guid));
        assert_eq!(LoggedId::parse(&format!(" {{{TEXT}}} ")), Some(LoggedId::Guid(guid)));
    }

    #[test]
    fn what_is_not_a_guid_is_none() {
        let nearly = [
            "",
            "{}",
            &TEXT[1..],
            &format!("{{{TEXT}"),
            &TEXT.replace('-', "a"),
            &TEXT.replace("3a01e863-", "3a01e86-3"),
            &TEXT.replace('f', "g"),
            "------------------------------------",
            "\u{e4}01e863-e5f7-4fe6-a55d-36e4078d77f9",
        ];
        for text in nearly {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn guids_are_in_the_order_of_their_texts() {
        let texts = [
            "00000000-0000-0000-0000-000000000000",
            "0000000a-0000-0000-0000-000000000000",
            "3a01e863-e5f7-4fe6-a55d-36e4078d77f9",
            "fffffffe-0000-0000-0000-000000000000",
        ];
        let guids: Vec<Guid> = texts.iter().filter_map(|text| Guid::parse(text)).collect();
        assert_eq!(guids.len(), texts.len());
        assert!(guids.is_sorted());
    }

    #[test]
    fn another_text_is_kept() {
        let id = LoggedId::parse(" {AB-1} ").unwrap();
        assert_eq!(id, LoggedId::Other("ab-1".into()));
        assert_eq!(LoggedId::parse(&id.to_string()), Some(id));
        assert_eq!((LoggedId::parse(" "), LoggedId::parse("{}")), (None, None));
        assert_eq!(LoggedId::text(None), "");
    }
}
