//! Prefilters: cheap conditions that an event must meet before a rule can fire on it.
//!
//! Only rsigma decides whether a rule matches; a prefilter only decides where it need not be
//! asked. So a prefilter may pass too many events, but never too few: it passes whatever it does
//! not understand.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use regex_syntax::hir::{Class, Hir, HirKind};
use rsigma_eval::matcher::GroupMode;
use rsigma_eval::{CompiledDetection, CompiledMatcher, compile_to_compiled};
use rsigma_ir::{
    IrCondition, IrDetection, IrDetectionItem, IrEncoding, IrMatcher, IrNumber, IrPattern,
    IrPatternPart, IrRule, IrRuleMetadata, IrStrOp,
};
use rsigma_parser::{LogSource, Quantifier};

use crate::model::Str;

/// Largest number of clauses that a prefilter keeps; a [`ClauseIndex`](super::index::ClauseIndex)
/// has a bit for each.
pub(super) const MAX_CLAUSES: usize = 8;

/// Where in a value a text must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextPosition {
    Anywhere,
    Start,
    End,
    Whole,
}

/// A case-folded text that must stand in the value of a field, or in any value of the event if no
/// field is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequiredText {
    pub field: Option<Str>,
    pub place: TextPosition,
    pub text: String,
}

/// Alternatives: at least one of these texts must be present.
pub(super) type Clause = Vec<RequiredText>;

/// Conditions for an event: its id is one of these, and every clause holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prefilter {
    /// `None` means any event id.
    pub event_ids: Option<BTreeSet<u32>>,
    pub clauses: Vec<Clause>,
}

/// Folds the case of a text for comparison.
///
/// It folds character by character, so that a text inside another stays inside it. For that
/// reason both small sigmas become one. To a case-insensitive regex `ſ` is `s`.
pub(super) fn fold(text: &str, folded: &mut String) {
    folded.clear();
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().flat_map(char::to_lowercase).map(|c| match c {
            'ς' => 'σ',
            'ſ' => 's',
            c => c,
        }));
    }
}

impl Prefilter {
    /// Derives the prefilter of a rule.
    pub fn new(rule: &IrRule) -> Prefilter {
        let conditions = rule.conditions.iter().map(|c| Prefilter::condition(c, &rule.detections));
        let mut prefilter = Prefilter::any_of(conditions);
        prefilter.rank();
        prefilter.clauses.truncate(MAX_CLAUSES);
        prefilter
    }

    fn clause(clause: Clause) -> Prefilter {
        Prefilter { event_ids: None, clauses: vec![clause] }
    }

    fn text(field: Option<&str>, place: TextPosition, text: &str) -> Prefilter {
        let mut folded = String::new();
        fold(text, &mut folded);
        // A single letter occurs in almost every value.
        if folded.len() < 2 && (folded.is_empty() || place != TextPosition::Whole) {
            return Prefilter::default();
        }
        Prefilter::clause(vec![RequiredText { field: field.map(Str::from), place, text: folded }])
    }

    fn event_id(id: u32) -> Prefilter {
        Prefilter { event_ids: Some(BTreeSet::from([id])), clauses: Vec::new() }
    }

    /// Combines prefilters of which all must hold.
    fn all_of(parts: impl IntoIterator<Item = Prefilter>) -> Prefilter {
        let mut all = Prefilter::default();
        for part in parts {
            all.event_ids = match (all.event_ids, part.event_ids) {
                (Some(ids), Some(more)) => Some(&ids & &more),
                (ids, more) => ids.or(more),
            };
            all.clauses.extend(part.clauses);
        }
        all
    }

    /// Combines prefilters of which one must hold. The nth clause of one of them then holds, so
    /// the nth clauses are merged into one.
    fn any_of(parts: impl IntoIterator<Item = Prefilter>) -> Prefilter {
        let mut parts = parts.into_iter();
        let Some(mut any) = parts.next() else { return Prefilter::default() };
        any.rank();
        for mut part in parts {
            part.rank();
            any.event_ids = any.event_ids.zip(part.event_ids).map(|(mut ids, more)| {
                ids.extend(more);
                ids
            });
            any.clauses.truncate(part.clauses.len());
            for (clause, more) in any.clauses.iter_mut().zip(part.clauses) {
                clause.extend(more);
            }
        }
        any
    }

    /// Sorts the most selective clauses first: those whose shortest text is longest.
    fn rank(&mut self) {
        self.clauses.sort_by_cached_key(|clause| {
            Reverse(clause.iter().map(|atom| (atom.text.len(), atom.place)).min())
        });
    }

    fn condition(condition: &IrCondition, named: &HashMap<String, IrDetection>) -> Prefilter {
        match condition {
            IrCondition::Detection(name) => {
                named.get(name).map(Prefilter::detection).unwrap_or_default()
            }
            IrCondition::And(parts) => {
                Prefilter::all_of(parts.iter().map(|c| Prefilter::condition(c, named)))
            }
            IrCondition::Or(parts) => {
                Prefilter::any_of(parts.iter().map(|c| Prefilter::condition(c, named)))
            }
            IrCondition::Not(_) => Prefilter::default(),
            IrCondition::Selector { quantifier, pattern } => {
                let names = named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
                let prefilters = names.map(|(_, detection)| Prefilter::detection(detection));
                match quantifier {
                    Quantifier::All => Prefilter::all_of(prefilters),
                    Quantifier::Count(0) => Prefilter::default(),
                    Quantifier::Any | Quantifier::Count(_) => Prefilter::any_of(prefilters),
                }
            }
        }
    }

    fn detection(detection: &IrDetection) -> Prefilter {
        match detection {
            IrDetection::AllOf(items) => Prefilter::all_of(items.iter().map(Prefilter::item)),
            IrDetection::AnyOf(parts) => Prefilter::any_of(parts.iter().map(Prefilter::detection)),
            IrDetection::And(parts) => Prefilter::all_of(parts.iter().map(Prefilter::detection)),
            IrDetection::Keywords(matcher) => Prefilter::matcher(matcher, None),
            IrDetection::ArrayMatch { .. } | IrDetection::Conditional { .. } => {
                Prefilter::default()
            }
        }
    }

    fn item(item: &IrDetectionItem) -> Prefilter {
        match item.exists {
            Some(_) => Prefilter::default(),
            None => Prefilter::matcher(&item.matcher, item.field.as_deref()),
        }
    }

    fn matcher(matcher: &IrMatcher, field: Option<&str>) -> Prefilter {
        match matcher {
            IrMatcher::Str { op, pattern, .. } => Prefilter::pattern(*op, pattern, field),
            IrMatcher::Encoded { encodings, value, .. }
                if encodings[..] == [IrEncoding::Windash] =>
            {
                // Only the dashes vary.
                Prefilter::all_of(
                    value
                        .split('-')
                        .map(|part| Prefilter::text(field, TextPosition::Anywhere, part)),
                )
            }
            IrMatcher::Encoded { .. } => Prefilter::encoded(matcher, field),
            IrMatcher::Regex { pattern, case_insensitive, .. } => {
                Prefilter::regex(pattern, *case_insensitive, field)
            }
            IrMatcher::NumericEq(IrNumber::Literal(number)) if field == Some("EventID") => {
                let id = *number as u32;
                if f64::from(id) == *number {
                    Prefilter::event_id(id)
                } else {
                    Prefilter::default()
                }
            }
            IrMatcher::AnyOf(parts) => {
                Prefilter::any_of(parts.iter().map(|m| Prefilter::matcher(m, field)))
            }
            IrMatcher::AllOf(parts) => {
                Prefilter::all_of(parts.iter().map(|m| Prefilter::matcher(m, field)))
            }
            _ => Prefilter::default(),
        }
    }

    fn pattern(op: IrStrOp, pattern: &IrPattern, field: Option<&str>) -> Prefilter {
        let Some(plain) = pattern.as_plain() else {
            // rsigma makes a regex of it, and outside ASCII a regex ignores case differently.
            return Prefilter::all_of(pattern.parts.iter().map(|part| match part {
                IrPatternPart::Literal(part) if part.is_ascii() => {
                    Prefilter::text(field, TextPosition::Anywhere, part)
                }
                _ => Prefilter::default(),
            }));
        };
        let place = match op {
            IrStrOp::Exact => TextPosition::Whole,
            IrStrOp::Contains => TextPosition::Anywhere,
            IrStrOp::StartsWith => TextPosition::Start,
            IrStrOp::EndsWith => TextPosition::End,
        };
        match plain.parse() {
            Ok(id) if field == Some("EventID") && place == TextPosition::Whole => {
                Prefilter::event_id(id)
            }
            _ => Prefilter::text(field, place, &plain),
        }
    }

    /// Derives the prefilter of an encoded text; rsigma does the encoding.
    fn encoded(matcher: &IrMatcher, field: Option<&str>) -> Prefilter {
        let detection = IrDetection::Keywords(matcher.clone());
        let rule = IrRule {
            metadata: IrRuleMetadata::default(),
            logsource: LogSource::default(),
            sigma_version: None,
            detections: HashMap::from([(String::new(), detection)]),
            conditions: Vec::new(),
        };
        let compiled = compile_to_compiled(&rule).map(|rule| rule.detections);
        match compiled.iter().flat_map(HashMap::values).next() {
            Some(CompiledDetection::Keywords(matcher)) => Prefilter::compiled(matcher, field),
            _ => Prefilter::default(),
        }
    }

    fn compiled(matcher: &CompiledMatcher, field: Option<&str>) -> Prefilter {
        match matcher {
            CompiledMatcher::Exact { value, .. } => {
                Prefilter::text(field, TextPosition::Whole, value)
            }
            CompiledMatcher::Contains { value, .. } => {
                Prefilter::text(field, TextPosition::Anywhere, value)
            }
            CompiledMatcher::StartsWith { value, .. } => {
                Prefilter::text(field, TextPosition::Start, value)
            }
            CompiledMatcher::EndsWith { value, .. } => {
                Prefilter::text(field, TextPosition::End, value)
            }
            CompiledMatcher::AnyOf(parts)
            | CompiledMatcher::CaseInsensitiveGroup { children: parts, mode: GroupMode::Any } => {
                Prefilter::any_of(parts.iter().map(|part| Prefilter::compiled(part, field)))
            }
            _ => Prefilter::default(),
        }
    }

    /// Derives the texts without which a regex cannot match.
    fn regex(pattern: &str, case_insensitive: bool, field: Option<&str>) -> Prefilter {
        // ASCII texts have the same bytes, and byte classes are much smaller than Unicode
        // classes.
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.unicode(false).utf8(false).case_insensitive(case_insensitive);
        match parser.build().parse(pattern) {
            Ok(hir) => Prefilter::from_regex(&hir, field),
            Err(_) => Prefilter::default(),
        }
    }

    fn from_regex(hir: &Hir, field: Option<&str>) -> Prefilter {
        match hir.kind() {
            HirKind::Concat(parts) => {
                let mut prefilters = Vec::new();
                let mut run = String::new();
                for part in parts {
                    match ascii_letters(part) {
                        Some(ascii_letters) => run.push_str(&ascii_letters),
                        None => {
                            prefilters.push(Prefilter::text(field, TextPosition::Anywhere, &run));
                            prefilters.push(Prefilter::from_regex(part, field));
                            run.clear();
                        }
                    }
                }
                prefilters.push(Prefilter::text(field, TextPosition::Anywhere, &run));
                Prefilter::all_of(prefilters)
            }
            HirKind::Alternation(parts) => {
                Prefilter::any_of(parts.iter().map(|part| Prefilter::from_regex(part, field)))
            }
            HirKind::Capture(capture) => Prefilter::from_regex(&capture.sub, field),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                Prefilter::from_regex(&repetition.sub, field)
            }
            _ => match ascii_letters(hir) {
                Some(ascii_letters) => {
                    Prefilter::text(field, TextPosition::Anywhere, &ascii_letters)
                }
                None => Prefilter::default(),
            },
        }
    }
}

/// Returns the ASCII text, in lower case, that a part of a regex matches.
fn ascii_letters(hir: &Hir) -> Option<String> {
    let bytes = match hir.kind() {
        HirKind::Literal(literal) => literal.0.to_ascii_lowercase(),
        HirKind::Class(Class::Bytes(class)) => {
            let ascii_letters = class.iter().map(|range| {
                let byte = range.start().to_ascii_lowercase();
                (range.len() == 1).then_some(byte)
            });
            let mut ascii_letters: Vec<u8> = ascii_letters.collect::<Option<_>>()?;
            ascii_letters.dedup();
            ascii_letters
        }
        _ => return None,
    };
    let one = matches!(hir.kind(), HirKind::Literal(_)) || bytes.len() == 1;
    (one && bytes.is_ascii()).then(|| String::from_utf8(bytes).ok()).flatten()
}
