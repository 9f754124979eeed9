//! Splits a text log into its values, piece by piece.

use std::ops::Range;

use super::boundaries::{Boundary, JsonScanner, ValueFinder, XmlScanner, is_separator};
use super::kind::InputKind;

/// The character encoding of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum TextEncoding {
    #[default]
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl TextEncoding {
    /// Detects the encoding by the byte order mark. Without one the text is UTF-8.
    pub fn detect(head: &[u8]) -> TextEncoding {
        match head {
            [0xff, 0xfe, ..] => TextEncoding::Utf16Le,
            [0xfe, 0xff, ..] => TextEncoding::Utf16Be,
            _ => TextEncoding::Utf8,
        }
    }

    /// Returns how many bytes of the file a decoded text came from.
    fn raw_length(self, text: &[u8]) -> u64 {
        match self {
            TextEncoding::Utf8 => text.len() as u64,
            // Every byte that does not continue a character begins one. A character of four bytes
            // has two units in UTF-16.
            _ => text
                .iter()
                .map(|&byte| match byte {
                    0x80..0xc0 => 0,
                    0xf0.. => 4,
                    _ => 2,
                })
                .sum(),
        }
    }
}

/// Converts a text that arrives in pieces to UTF-8.
#[derive(Debug, Default)]
pub(super) struct Utf8Converter {
    encoding: TextEncoding,
    /// The first byte of an incomplete unit, and the first unit of an incomplete pair.
    byte: Option<u8>,
    unit: Option<u16>,
}

impl Utf8Converter {
    pub fn new(encoding: TextEncoding) -> Utf8Converter {
        Utf8Converter { encoding, ..Utf8Converter::default() }
    }

    /// Appends the decoded bytes, without an incomplete character unless these are the last bytes.
    /// Invalid UTF-16 becomes U+FFFD. UTF-8 stays as it is.
    pub fn append_decoded(&mut self, raw: &[u8], last: bool, text: &mut Vec<u8>) {
        let order = match self.encoding {
            TextEncoding::Utf8 => {
                text.extend_from_slice(raw);
                return;
            }
            TextEncoding::Utf16Le => u16::from_le_bytes,
            TextEncoding::Utf16Be => u16::from_be_bytes,
        };
        let bytes: Vec<u8> = self.byte.take().into_iter().chain(raw.iter().copied()).collect();
        let (pairs, rest) = bytes.as_chunks::<2>();
        self.byte = rest.first().copied();
        let units = self.unit.take().into_iter().chain(pairs.iter().map(|&pair| order(pair)));
        let mut units: Vec<u16> = units.collect();
        if !last {
            self.unit = units.pop_if(|unit| (0xd800..0xdc00).contains(unit));
        } else if self.byte.take().is_some() {
            units.push(0xfffd);
        }
        let mut room = [0; 4];
        for unit in char::decode_utf16(units) {
            let character = unit.unwrap_or(char::REPLACEMENT_CHARACTER);
            text.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
        }
    }
}

/// The kind of a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPartKind {
    /// A whole value.
    Value,
    /// A value that breaks off.
    Broken,
    /// Text between values that does not belong there.
    Stray,
    /// A value longer than the limit, which was left out.
    TooLong,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPart {
    /// The kind of part.
    pub kind: TextPartKind,
    /// The offset in the file where it begins.
    pub offset: u64,
    /// Its range in the piece's text.
    pub range: Range<usize>,
}

/// A text and the parts it consists of.
#[derive(Debug, Default)]
pub struct PieceText {
    /// The text as UTF-8, or as bytes that claim to be UTF-8.
    pub bytes: Vec<u8>,
    /// Its parts in order, without the separators between them.
    pub parts: Vec<TextPart>,
}

impl PieceText {
    /// Returns the bytes of a part.
    pub fn part_bytes(&self, part: &TextPart) -> &[u8] {
        self.bytes.get(part.range.clone()).unwrap_or_default()
    }
}

/// Splits a text into its values.
#[derive(Debug)]
pub(super) struct TextSplitter {
    utf8: Utf8Converter,
    cutter: ValueFinder,
    /// Bytes that are not yet a whole value, their offset in the file, and how many of them were
    /// scanned.
    open: Vec<u8>,
    offset: u64,
    seen: usize,
    in_value: bool,
    /// The longest value that is kept, in bytes of UTF-8.
    longest: usize,
    /// The current value is too long and is being left out.
    dropped: bool,
}

impl TextSplitter {
    /// Creates a splitter that starts at an offset of a file, outside of any value. It leaves out
    /// values longer than `longest`.
    pub fn new(kind: InputKind, encoding: TextEncoding, offset: u64, longest: u64) -> TextSplitter {
        let cutter = match kind {
            InputKind::Xml => ValueFinder::Xml(XmlScanner::default()),
            _ => ValueFinder::Json(JsonScanner::default()),
        };
        TextSplitter {
            utf8: Utf8Converter::new(encoding),
            cutter,
            open: Vec::new(),
            offset,
            seen: 0,
            in_value: false,
            longest: usize::try_from(longest).unwrap_or(usize::MAX),
            dropped: false,
        }
    }

    /// Adds the next bytes of the file and collects the parts that are now complete. With `last`,
    /// all remaining bytes are collected.
    pub fn push(&mut self, raw: &[u8], last: bool, text: &mut PieceText) {
        text.bytes.clear();
        text.parts.clear();
        std::mem::swap(&mut self.open, &mut text.bytes);
        self.utf8.append_decoded(raw, last, &mut text.bytes);
        let mut start = 0;
        while let Some((boundary, place)) = self.cutter.next_boundary(&text.bytes, &mut self.seen) {
            self.finish_part(boundary == Boundary::End, start..place, text);
            self.in_value = boundary == Boundary::Begin;
            start = place;
        }
        let left = start..text.bytes.len();
        if last {
            return self.finish_part(false, left, text);
        }
        if left.len() > self.longest && !self.dropped {
            self.dropped = true;
            let kind = match self.in_value {
                true => Some(TextPartKind::TooLong),
                false => (!is_separator(&text.bytes[left])).then_some(TextPartKind::Stray),
            };
            let offset = self.offset;
            text.parts.extend(kind.map(|kind| TextPart { kind, offset, range: 0..0 }));
        }
        let keep = if self.dropped { self.seen } else { start };
        self.offset += self.utf8.encoding.raw_length(&text.bytes[start..keep]);
        self.open.extend_from_slice(&text.bytes[keep..]);
        self.seen -= keep;
        text.bytes.truncate(keep);
    }

    /// Adds the part that ends here and continues after it.
    fn finish_part(&mut self, whole: bool, range: Range<usize>, text: &mut PieceText) {
        let bytes = &text.bytes[range.clone()];
        let offset = self.offset;
        self.offset += self.utf8.encoding.raw_length(bytes);
        let kind = match (self.in_value, whole) {
            _ if self.dropped => None,
            (false, _) => (!is_separator(bytes)).then_some(TextPartKind::Stray),
            _ if bytes.len() > self.longest => Some(TextPartKind::TooLong),
            (true, true) => Some(TextPartKind::Value),
            (true, false) => Some(TextPartKind::Broken),
        };
        self.dropped = false;
        text.parts.extend(kind.map(|kind| TextPart { kind, offset, range }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a text that is read by so many bytes.
    fn parts(kind: InputKind, raw: &[u8], step: usize) -> Vec<(TextPartKind, u64, String)> {
        let mut cutter = TextSplitter::new(kind, TextEncoding::detect(raw), 0, 8 << 20);
        let mut text = PieceText::default();
        let mut found = Vec::new();
        let pieces = raw.len().div_ceil(step);
        for (index, piece) in raw.chunks(step).enumerate() {
            cutter.push(piece, index + 1 == pieces, &mut text);
            let content = |part| String::from_utf8_lossy(text.part_bytes(part)).into_owned();
            found.extend(text.parts.iter().map(|part| (part.kind, part.offset, content(part))));
        }
        found
    }

    #[test]
    fn offsets_are_those_of_the_file_in_any_encoding() {
        // U+1F512 is four bytes, and two units of UTF-16.
        let text = "\u{feff}{\"a\":\"\u{e4}\u{1f512}\"}\r\nnull\r\n{\"b\":1}\r\n{\"c\"";
        let utf8 = text.as_bytes().to_vec();
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        // Counted by hand: characters before each part, by their bytes.
        let places = [(utf8, [3, 17, 25, 34]), (little, [2, 24, 40, 58]), (big, [2, 24, 40, 58])];
        for (raw, [first, stray, second, third]) in places {
            for step in [1, 2, 3, 5, 1000] {
                let expected = [
                    (TextPartKind::Value, first, "{\"a\":\"\u{e4}\u{1f512}\"}".to_owned()),
                    (TextPartKind::Stray, stray, "\r\nnull\r\n".to_owned()),
                    (TextPartKind::Value, second, "{\"b\":1}".to_owned()),
                    (TextPartKind::Broken, third, "{\"c\"".to_owned()),
                ];
                assert_eq!(parts(InputKind::Json, &raw, step), expected, "by {step}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_and_located() {
        let long = "x".repeat(100 << 20);
        let json = format!("{{\"a\":1}}\n{{\"b\":\"{long}\"}}\n{{\"c\":1}}\n");
        let found = parts(InputKind::Json, json.as_bytes(), 2 << 20);
        let places: Vec<_> = found.iter().map(|(kind, offset, _)| (*kind, *offset)).collect();
        let third = json.len() as u64 - 8;
        let expected =
            [(TextPartKind::Value, 0), (TextPartKind::TooLong, 8), (TextPartKind::Value, third)];
        assert_eq!(places, expected);
        let xml = format!("<Event><a>{long}</a></Event>\n<Event></Event>");
        let found = parts(InputKind::Xml, xml.as_bytes(), (2 << 20) + 5);
        let places: Vec<_> = found.iter().map(|(kind, offset, _)| (*kind, *offset)).collect();
        assert_eq!(
            places,
            [(TextPartKind::TooLong, 0), (TextPartKind::Value, xml.len() as u64 - 15)]
        );
    }
}
