//! Regexes that are compiled for ASCII texts only, which nearly all texts are.
//!
//! If a text is known to be ASCII, its regex only has to distinguish bytes. It does not need the
//! thousands of characters that `\w`, `[^x]` or a case-insensitive letter stand for. Such a regex
//! compiles in a fraction of the time, and `\b` does not keep it from the fastest way to match.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
    Repetition,
};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_ir::{IrDetection, IrMatcher, IrRule};

/// A variant of a rule that gives the same result on events where certain fields are ASCII.
#[derive(Debug)]
pub(super) struct AsciiRule {
    pub rule: IrRule,
    /// The fields that the rule matches with regexes.
    fields: Vec<String>,
}

impl AsciiRule {
    /// Makes the ASCII variant of a rule. Returns `None` if the rule has no regex on a field.
    pub fn from_rule(rule: &IrRule) -> Option<AsciiRule> {
        let mut on_ascii = AsciiRule { rule: rule.clone(), fields: Vec::new() };
        let AsciiRule { rule, fields } = &mut on_ascii;
        rule.detections.values_mut().for_each(|part| narrow_detection(part, fields));
        fields.sort();
        fields.dedup();
        (!on_ascii.fields.is_empty()).then_some(on_ascii)
    }

    /// Returns whether this variant may be used: its fields are all ASCII in the event.
    pub fn applies_to(&self, event: &impl SigmaEvent) -> bool {
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

fn narrow_detection(part: &mut IrDetection, fields: &mut Vec<String>) {
    match part {
        IrDetection::AllOf(items) => {
            for item in items {
                if let Some(field) = &item.field
                    && narrow_matcher(&mut item.matcher)
                {
                    fields.push(field.clone());
                }
            }
        }
        IrDetection::AnyOf(parts) | IrDetection::And(parts) => {
            parts.iter_mut().for_each(|part| narrow_detection(part, fields));
        }
        IrDetection::Keywords(_)
        | IrDetection::ArrayMatch { .. }
        | IrDetection::Conditional { .. } => {}
    }
}

/// Rewrites the regexes of a matcher for ASCII. Returns whether it has any.
fn narrow_matcher(part: &mut IrMatcher) -> bool {
    match part {
        IrMatcher::Regex { pattern, case_insensitive, multiline, dotall, .. } => {
            let Some(bytes) = ascii_pattern(pattern, *case_insensitive, *multiline, *dotall) else {
                return false;
            };
            *pattern = bytes;
            [*case_insensitive, *multiline, *dotall] = [false; 3];
            true
        }
        IrMatcher::AnyOf(parts) | IrMatcher::AllOf(parts) => {
            // `fold` visits all parts; `any` would stop at the first.
            parts.iter_mut().map(narrow_matcher).fold(false, |any, has| any | has)
        }
        IrMatcher::Not(part) => narrow_matcher(part),
        _ => false,
    }
}

/// Returns a regex that needs no flags and matches the same ASCII texts.
fn ascii_pattern(pattern: &str, any_case: bool, multi_line: bool, any_dot: bool) -> Option<String> {
    let mut parser = ParserBuilder::new();
    parser.unicode(false).utf8(false);
    let mut flagged = parser.clone();
    flagged.case_insensitive(any_case).multi_line(multi_line).dot_matches_new_line(any_dot);
    let narrow = narrow(flagged.build().parse(pattern).ok()?)?;
    // The printed form of a repetition inside a repetition does not parse to the same regex.
    let written = narrow.to_string();
    (parser.build().parse(&written) == Ok(narrow)).then_some(written)
}

/// Removes non-ASCII characters from a regex. Returns `None` if a literal is not ASCII: such a
/// letter may match an ASCII letter in the other case.
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
        HirKind::Concat(parts) => Hir::concat(narrow_all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(narrow_all(parts)?),
    })
}

fn narrow_all(parts: Vec<Hir>) -> Option<Vec<Hir>> {
    parts.into_iter().map(narrow).collect()
}

#[cfg(test)]
mod tests {
    use regex::RegexBuilder;

    use super::*;

    /// Returns whether the original regex matches a text, and whether its ASCII variant does.
    fn both(pattern: &str, flags: [bool; 3], text: &str) -> (bool, bool) {
        let [any_case, multi_line, any_dot] = flags;
        let mut whole = RegexBuilder::new(pattern);
        whole.case_insensitive(any_case).multi_line(multi_line).dot_matches_new_line(any_dot);
        let narrow = ascii_pattern(pattern, any_case, multi_line, any_dot).expect(pattern);
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
    fn patterns_with_other_characters_are_not_rewritten() {
        // The long s is another case of `s`, and the Kelvin sign another case of `k`.
        for pattern in ["ſ", r"\x{17F}", r"\u{212A}", r"[\u{212A}]", r"\p{Greek}"] {
            assert_eq!(ascii_pattern(pattern, true, false, false), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_do_not_print_as_parsed_are_not_rewritten() {
        for pattern in [r"x(?:\s+)?y", "x(?:a{2})?y", "x(?:(?:ab)+)?y"] {
            assert_eq!(ascii_pattern(pattern, false, false, false), None, "{pattern}");
        }
    }
}
