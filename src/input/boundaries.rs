//! Finds where values begin and end in a text: JSON objects, XML events.
//!
//! The result does not depend on how the text is divided into pieces. Damage costs little: where a
//! value breaks off, the next one is found.

use memchr::{memchr, memchr3, memmem};

/// The kind of a boundary in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    /// A value begins.
    Begin,
    /// The value is whole.
    End,
    /// The value breaks off, and another one begins.
    Broken,
}

/// Finds the values of a text that arrives piece by piece.
#[derive(Debug, Clone)]
pub(super) enum ValueFinder {
    Json(JsonScanner),
    Xml(XmlScanner),
}

impl ValueFinder {
    /// Returns the next boundary at or after `at` and its offset. `at` moves past the bytes that
    /// need not be read again.
    pub fn next_boundary(&mut self, text: &[u8], at: &mut usize) -> Option<(Boundary, usize)> {
        match self {
            ValueFinder::Json(json) => json.next_boundary(text, at),
            ValueFinder::Xml(xml) => xml.next_boundary(text, at),
        }
    }
}

/// Scans JSON objects. Objects side by side, in lines and in arrays are treated alike.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonScanner {
    /// The number of open objects and arrays.
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// The last byte outside of strings that is not a blank.
    before: u8,
    /// Only blanks were found since the line began.
    line_began: bool,
    /// The object broke off. The next one begins with a line.
    lost: bool,
}

impl JsonScanner {
    fn next_boundary(&mut self, text: &[u8], at: &mut usize) -> Option<(Boundary, usize)> {
        while *at < text.len() {
            let here = *at;
            if self.depth == 0 {
                let Some(begin) = memchr(b'{', &text[here..]) else {
                    *at = text.len();
                    return None;
                };
                *self = JsonScanner { depth: 1, before: b'{', ..JsonScanner::default() };
                *at = here + begin + 1;
                return Some((Boundary::Begin, here + begin));
            }
            if self.in_string {
                self.skip_string(text, at);
                continue;
            }
            *at = here + 1;
            let byte = text[here];
            match byte {
                b'\n' => self.line_began = true,
                b' ' | b'\t' | b'\r' => {}
                // An object is a value: the byte before it shows whether a value may stand here.
                b'{' if self.lost || !matches!(self.before, b':' | b',' | b'[') => {
                    if self.line_began {
                        *self = JsonScanner::default();
                        *at = here;
                        return Some((Boundary::Broken, here));
                    }
                    self.lost = true;
                }
                _ if self.lost => self.line_began = false,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some((Boundary::End, here + 1));
                    }
                    self.note_significant(byte);
                }
                _ => {
                    self.depth += u64::from(matches!(byte, b'{' | b'['));
                    self.in_string = byte == b'"';
                    self.note_significant(byte);
                }
            }
        }
        None
    }

    fn note_significant(&mut self, byte: u8) {
        self.before = byte;
        self.line_began = false;
    }

    /// Moves to the end of a string, or of its line: no string spans lines.
    fn skip_string(&mut self, text: &[u8], at: &mut usize) {
        if std::mem::take(&mut self.escaped) && text[*at] != b'\n' {
            *at += 1;
        }
        let Some(end) = memchr3(b'"', b'\\', b'\n', &text[*at..]) else {
            *at = text.len();
            return;
        };
        match text[*at + end] {
            b'"' => self.in_string = false,
            b'\\' => self.escaped = true,
            _ => {
                *self =
                    JsonScanner { depth: 1, lost: true, line_began: true, ..JsonScanner::default() }
            }
        }
        *at += end + 1;
    }
}

/// Scans `<Event>` elements and ignores everything around them.
#[derive(Debug, Clone, Default)]
pub(super) struct XmlScanner {
    open: bool,
}

const BEGIN: &[u8] = b"<Event";
const END: &[u8] = b"</Event>";

impl XmlScanner {
    fn next_boundary(&mut self, text: &[u8], at: &mut usize) -> Option<(Boundary, usize)> {
        while let Some(tag) = text.get(*at..).and_then(|rest| memchr(b'<', rest)) {
            let here = *at + tag;
            let rest = &text[here..];
            // The longest text that is needed for a decision is a whole end tag.
            if rest.len() < END.len() && (END.starts_with(rest) || BEGIN.starts_with(rest))
                || rest == BEGIN
            {
                *at = here;
                return None;
            }
            let begins = rest
                .strip_prefix(BEGIN)
                .and_then(|rest| rest.first())
                .is_some_and(|&byte| matches!(byte, b'>' | b' ' | b'\t' | b'\r' | b'\n'));
            *at = here + 1;
            if self.open && rest.starts_with(END) {
                self.open = false;
                *at = here + END.len();
                return Some((Boundary::End, *at));
            }
            if begins && self.open {
                self.open = false;
                *at = here;
                return Some((Boundary::Broken, here));
            }
            if begins {
                self.open = true;
                return Some((Boundary::Begin, here));
            }
        }
        *at = text.len();
        None
    }
}

/// Returns whether text between values consists only of what exporters write there: brackets, the
/// tags around all events, the `Record 7` of evtx_dump.
pub(super) fn is_separator(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut rest = text;
    loop {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']');
        let start = rest.iter().take_while(|byte| blank(byte) || **byte == RECORD_SEPARATOR);
        rest = &rest[start.count()..];
        let length = match rest {
            [] => return true,
            _ if rest.starts_with(b"<!--") => memmem::find(rest, b"-->").map(|end| end + 3),
            _ if [&b"<?xml"[..], b"<Events", b"</Events"]
                .iter()
                .any(|tag| rest.starts_with(tag)) =>
            {
                memchr(b'>', rest).map(|end| end + 1)
            }
            _ if rest.starts_with(b"Record ") => {
                Some(7 + rest[7..].iter().take_while(|byte| byte.is_ascii_digit()).count())
            }
            _ => None,
        };
        match length {
            Some(length) => rest = &rest[length..],
            None => return false,
        }
    }
}

/// Stands before each value of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a text that is handed in by so many bytes, each whole or broken.
    fn cut(cutter: ValueFinder, text: &str, step: usize) -> Vec<(&str, bool)> {
        let mut cutter = cutter;
        let (mut at, mut begin, mut values) = (0, None, Vec::new());
        let mut seen = 0;
        while seen < text.len() {
            seen = text.len().min(seen + step);
            while let Some((boundary, place)) =
                cutter.next_boundary(&text.as_bytes()[..seen], &mut at)
            {
                match boundary {
                    Boundary::Begin => begin = Some(place),
                    _ => values
                        .push((&text[begin.take().unwrap()..place], boundary == Boundary::End)),
                }
            }
        }
        if let Some(begin) = begin {
            values.push((&text[begin..], false));
        }
        values
    }

    fn check(cutter: &ValueFinder, text: &str, expected: &[(&str, bool)]) {
        for step in [1, 2, 3, 7, text.len()] {
            assert_eq!(cut(cutter.clone(), text, step), expected, "by {step}");
        }
    }

    #[test]
    fn json_in_lines_in_arrays_and_side_by_side() {
        let json = ValueFinder::Json(JsonScanner::default());
        let nested = r#"{"a":[{"b":"}\"{\\"},1],"c":{}}"#;
        for text in [
            format!("{nested}\n{nested}"),
            format!("[{nested},\r\n{nested}]"),
            format!(" {nested}{nested}\n"),
            format!("Record 1\n{nested}\nRecord 2\n{nested}"),
        ] {
            check(&json, &text, &[(nested, true), (nested, true)]);
        }
        let pretty = "{\n  \"a\": {\n    \"b\":\n    [\n      {\n      }\n    ]\n  }\n}";
        check(&json, &format!("[\n{pretty},\n{pretty}\n]"), &[(pretty, true), (pretty, true)]);
    }

    #[test]
    fn json_that_breaks_off_costs_no_other_value() {
        let json = ValueFinder::Json(JsonScanner::default());
        check(&json, "{\"a\":\"x\n{\"b\":1}\n", &[("{\"a\":\"x\n", false), ("{\"b\":1}", true)]);
        check(&json, "{\"a\":\"x\\\n{\"b\":1}", &[("{\"a\":\"x\\\n", false), ("{\"b\":1}", true)]);
        check(
            &json,
            "{\"a\":{\"x\":1\n{\"b\":1}",
            &[("{\"a\":{\"x\":1\n", false), ("{\"b\":1}", true)],
        );
        check(&json, "{\"b\":1}\n{\"a\":[1,", &[("{\"b\":1}", true), ("{\"a\":[1,", false)]);
    }

    #[test]
    fn xml_events_whatever_stands_around_them() {
        let xml = ValueFinder::Xml(XmlScanner::default());
        let one = "<Event xmlns='x'><EventData><Data>&lt;/Event></Data></EventData></Event>";
        for text in [
            format!("<?xml version='1.0'?>\r\n<Events>{one}\r\n{one}</Events>"),
            format!("{one}{one}"),
        ] {
            check(&xml, &text, &[(one, true), (one, true)]);
        }
        check(&xml, &format!("<Event><System>{one}"), &[("<Event><System>", false), (one, true)]);
    }

    #[test]
    fn furniture_is_known() {
        for text in ["", " ,\r\n", "]\n[", "\n<?xml version=\"1.0\"?>\n<Events>\n", "Record 12\n"] {
            assert!(is_separator(text.as_bytes()), "{text}");
        }
        for text in ["1", "\"text\"", "null", "<Event", "<!-- ", "Records"] {
            assert!(!is_separator(text.as_bytes()), "{text}");
        }
    }
}
