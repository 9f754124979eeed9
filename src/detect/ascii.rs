//! Regexes for texts of ASCII, which nearly all are.
//!
//! Where a text is known to be ASCII, a regex need tell bytes from each other only, and not the
//! thousands of characters that `\w`, `[^x]` or a letter in any case stand for. It is compiled in a
//! fraction of the time then, and `\b` leaves it its quickest way to match.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
    Repetition,
};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_ir::{IrDetection, IrMatcher, IrRule};

/// A rule that fires on the same events as another if some of their fields are ASCII.
#[derive(Debug)]
pub(super) struct OnAscii {
    pub rule: IrRule,
    /// The fields that it has regexes for.
    fields: Vec<String>,
}

impl OnAscii {
    /// Such a rule, if there are regexes for fields in this one.
    pub fn of(rule: &IrRule) -> Option<OnAscii> {
        let mut on_ascii = OnAscii { rule: rule.clone(), fields: Vec::new() };
        let OnAscii { rule, fields } = &mut on_ascii;
        rule.detections.values_mut().for_each(|part| detection(part, fields));
        fields.sort();
        fields.dedup();
        (!on_ascii.fields.is_empty()).then_some(on_ascii)
    }

    /// Whether these fields of an event are ASCII.
    pub fn is_for(&self, event: &impl SigmaEvent) -> bool {
        self.fields.iter().all(|field| event.get_field(field).is_none_or(|value| is_ascii(&value)))
    }
}

fn is_ascii(value: &EventValue<'_>) -> bool {
    match value {
        EventValue::Str(text) => text.is_ascii(),
        EventValue::Array(values) => values.iter().all(is_ascii),
        EventValue::Map(_) => false,
        EventValue::Int(_) | EventValue::Float(_) | EventValue::Bool(_) | EventValue::Null => true,
    }
}

fn detection(part: &mut IrDetection, fields: &mut Vec<String>) {
    match part {
        IrDetection::AllOf(items) => {
            for item in items {
                if let Some(field) = &item.field
                    && matcher(&mut item.matcher)
                {
                    fields.push(field.clone());
                }
            }
        }
        IrDetection::AnyOf(parts) | IrDetection::And(parts) => {
            parts.iter_mut().for_each(|part| detection(part, fields));
        }
        IrDetection::Keywords(_)
        | IrDetection::ArrayMatch { .. }
        | IrDetection::Conditional { .. } => {}
    }
}

/// Has a matcher's regexes be such for ASCII; whether it has any.
fn matcher(part: &mut IrMatcher) -> bool {
    match part {
        IrMatcher::Regex { pattern, case_insensitive, multiline, dotall, .. } => {
            let Some(bytes) = on_ascii(pattern, *case_insensitive, *multiline, *dotall) else {
                return false;
            };
            *pattern = bytes;
            [*case_insensitive, *multiline, *dotall] = [false; 3];
            true
        }
        IrMatcher::AnyOf(parts) | IrMatcher::AllOf(parts) => {
            // All of them.
            parts.iter_mut().map(matcher).fold(false, |any, has| any | has)
        }
        IrMatcher::Not(part) => matcher(part),
        _ => false,
    }
}

/// A regex that needs no flags and matches the same texts of ASCII.
fn on_ascii(pattern: &str, any_case: bool, multi_line: bool, any_dot: bool) -> Option<String> {
    let mut parser = ParserBuilder::new();
    parser.unicode(false).utf8(false);
    let mut flagged = parser.clone();
    flagged.case_insensitive(any_case).multi_line(multi_line).dot_matches_new_line(any_dot);
    let narrow = narrow(flagged.build().parse(pattern).ok()?)?;
    // A repetition of a repetition is not written as it is read.
    let written = narrow.to_string();
    (parser.build().parse(&written) == Ok(narrow)).then_some(written)
}

/// Leaves out of a regex what is not ASCII; none where that is a letter, which may be one of ASCII
/// in another case.
fn narrow(hir: Hir) -> Option<Hir> {
    Some(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Literal(literal) if literal.0.is_ascii() => Hir::literal(literal.0),
        HirKind::Literal(_) => return None,
        HirKind::Class(Class::Bytes(mut class)) => {
            class.intersect(&ClassBytes::new([ClassBytesRange::new(0, 0x7f)]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Class(Class::Unicode(mut class)) => {
            class.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(narrow(*sub)?) })
        }
        HirKind::Capture(Capture { index, name, sub }) => {
            Hir::capture(Capture { index, name, sub: Box::new(narrow(*sub)?) })
        }
        HirKind::Concat(parts) => Hir::concat(all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)?),
    })
}

fn all(parts: Vec<Hir>) -> Option<Vec<Hir>> {
    parts.into_iter().map(narrow).collect()
}

#[cfg(test)]
mod tests {
    use regex::RegexBuilder;

    use super::*;

    /// What a regex does with a text, by itself and as it is for ASCII.
    fn both(pattern: &str, flags: [bool; 3], text: &str) -> (bool, bool) {
        let [any_case, multi_line, any_dot] = flags;
        let mut whole = RegexBuilder::new(pattern);
        whole.case_insensitive(any_case).multi_line(multi_line).dot_matches_new_line(any_dot);
        let narrow = on_ascii(pattern, any_case, multi_line, any_dot).expect(pattern);
        let narrow = regex::Regex::new(&narrow).unwrap();
        (whole.build().unwrap().is_match(text), narrow.is_match(text))
    }

    #[test]
    fn a_regex_for_ascii_matches_the_same_texts() {
        let patterns = [
            r"\breg(\.exe)?\s+(save|export)\s+hklm\b",
            r"[^\r\n]{0,5}k.{0,3}s$",
            r"^\W*\d+\D(?:a|[^b]){2,}?c\b",
            r"(?P<name>\S+)\.\B(ps1)?\z",
            r"[[:^alpha:]&&[^-]]x|[k-s]{3}",
            r"(?i:K)(?-i:S)\x41\u{42}?",
            r"^$|\A-?\n",
            r"(?:reg){1,2}\s|(?:ab)*?b{2}c",
        ];
        let texts = [
            "",
            "\n",
            "-\n",
            "reg save hklm",
            "REG.EXE\texport  HKLM\\sam",
            "cregs save hklm",
            "ab\rk12s",
            "abk\nz s\nend",
            " 77xaac b",
            "77xbb c",
            "run.ps1",
            "_k5x KLM kSAB KSA\u{b}",
            "\x1c\x7fk\x0bs",
        ];
        let mut matched = 0;
        for pattern in patterns {
            for flags in (0..8).map(|bits| [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0]) {
                for text in texts {
                    let (whole, narrow) = both(pattern, flags, text);
                    assert_eq!(whole, narrow, "{pattern} {flags:?} {text:?}");
                    matched += usize::from(whole);
                }
            }
        }
        assert!(matched > 100, "{matched}");
    }

    #[test]
    fn what_tells_other_characters_apart_stays_as_it_is() {
        // The long s is an s in another case, and the sign for Kelvin a k.
        for pattern in ["ſ", r"\x{17F}", r"\u{212A}", r"[\u{212A}]", r"\p{Greek}"] {
            assert_eq!(on_ascii(pattern, true, false, false), None, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_written_as_it_is_read_stays_as_it_is() {
        for pattern in [r"x(?:\s+)?y", "x(?:a{2})?y", "x(?:(?:ab)+)?y"] {
            assert_eq!(on_ascii(pattern, false, false, false), None, "{pattern}");
        }
    }
}
