//! What must hold of an event before a rule can fire on it.
//!
//! rsigma alone says what a rule means; a gate only says where it need not be asked. So a gate may
//! let through too much, never too little: whatever it does not understand, it lets through.

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

/// Most clauses a gate keeps; an [`Index`](super::index::Index) has a bit for each.
pub(super) const MAX_CLAUSES: usize = 8;

/// Where in a value a text must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
    Whole,
}

/// A folded text in the value of a field, or in any value of the event where no field is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Atom {
    pub field: Option<Str>,
    pub place: Place,
    pub text: String,
}

/// One of these must hold.
pub(super) type Clause = Vec<Atom>;

/// What must hold: the event id is one of these, and so is every clause.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// None: any.
    pub event_ids: Option<BTreeSet<u32>>,
    pub clauses: Vec<Clause>,
}

/// The form in which texts are compared.
///
/// Character by character, so that a text inside another stays inside it: hence one small sigma
/// for two. `ſ` is `s` to a regex that ignores case.
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

impl Gate {
    /// The gate of a rule.
    pub fn of(rule: &IrRule) -> Gate {
        let conditions = rule.conditions.iter().map(|c| Gate::condition(c, &rule.detections));
        let mut gate = Gate::or(conditions);
        gate.rank();
        gate.clauses.truncate(MAX_CLAUSES);
        gate
    }

    fn clause(clause: Clause) -> Gate {
        Gate { event_ids: None, clauses: vec![clause] }
    }

    fn text(field: Option<&str>, place: Place, text: &str) -> Gate {
        let mut folded = String::new();
        fold(text, &mut folded);
        // A single letter is in almost every value.
        if folded.len() < 2 && (folded.is_empty() || place != Place::Whole) {
            return Gate::default();
        }
        Gate::clause(vec![Atom { field: field.map(Str::from), place, text: folded }])
    }

    fn event_id(id: u32) -> Gate {
        Gate { event_ids: Some(BTreeSet::from([id])), clauses: Vec::new() }
    }

    /// All hold.
    fn and(parts: impl IntoIterator<Item = Gate>) -> Gate {
        let mut all = Gate::default();
        for part in parts {
            all.event_ids = match (all.event_ids, part.event_ids) {
                (Some(ids), Some(more)) => Some(&ids & &more),
                (ids, more) => ids.or(more),
            };
            all.clauses.extend(part.clauses);
        }
        all
    }

    /// One holds, so the nth clause of one does: they come to a clause together.
    fn or(parts: impl IntoIterator<Item = Gate>) -> Gate {
        let mut parts = parts.into_iter();
        let Some(mut any) = parts.next() else { return Gate::default() };
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

    /// The clauses that tell most come first: those whose shortest text is longest.
    fn rank(&mut self) {
        self.clauses.sort_by_cached_key(|clause| {
            Reverse(clause.iter().map(|atom| (atom.text.len(), atom.place)).min())
        });
    }

    fn condition(condition: &IrCondition, named: &HashMap<String, IrDetection>) -> Gate {
        match condition {
            IrCondition::Detection(name) => {
                named.get(name).map(Gate::detection).unwrap_or_default()
            }
            IrCondition::And(parts) => Gate::and(parts.iter().map(|c| Gate::condition(c, named))),
            IrCondition::Or(parts) => Gate::or(parts.iter().map(|c| Gate::condition(c, named))),
            IrCondition::Not(_) => Gate::default(),
            IrCondition::Selector { quantifier, pattern } => {
                let names = named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
                let gates = names.map(|(_, detection)| Gate::detection(detection));
                match quantifier {
                    Quantifier::All => Gate::and(gates),
                    Quantifier::Count(0) => Gate::default(),
                    Quantifier::Any | Quantifier::Count(_) => Gate::or(gates),
                }
            }
        }
    }

    fn detection(detection: &IrDetection) -> Gate {
        match detection {
            IrDetection::AllOf(items) => Gate::and(items.iter().map(Gate::item)),
            IrDetection::AnyOf(parts) => Gate::or(parts.iter().map(Gate::detection)),
            IrDetection::And(parts) => Gate::and(parts.iter().map(Gate::detection)),
            IrDetection::Keywords(matcher) => Gate::matcher(matcher, None),
            IrDetection::ArrayMatch { .. } | IrDetection::Conditional { .. } => Gate::default(),
        }
    }

    fn item(item: &IrDetectionItem) -> Gate {
        match item.exists {
            Some(_) => Gate::default(),
            None => Gate::matcher(&item.matcher, item.field.as_deref()),
        }
    }

    fn matcher(matcher: &IrMatcher, field: Option<&str>) -> Gate {
        match matcher {
            IrMatcher::Str { op, pattern, .. } => Gate::pattern(*op, pattern, field),
            IrMatcher::Encoded { encodings, value, .. }
                if encodings[..] == [IrEncoding::Windash] =>
            {
                // Only the dashes vary.
                Gate::and(value.split('-').map(|part| Gate::text(field, Place::Anywhere, part)))
            }
            IrMatcher::Encoded { .. } => Gate::encoded(matcher, field),
            IrMatcher::Regex { pattern, case_insensitive, .. } => {
                Gate::regex(pattern, *case_insensitive, field)
            }
            IrMatcher::NumericEq(IrNumber::Literal(number)) if field == Some("EventID") => {
                let id = *number as u32;
                if f64::from(id) == *number { Gate::event_id(id) } else { Gate::default() }
            }
            IrMatcher::AnyOf(parts) => Gate::or(parts.iter().map(|m| Gate::matcher(m, field))),
            IrMatcher::AllOf(parts) => Gate::and(parts.iter().map(|m| Gate::matcher(m, field))),
            _ => Gate::default(),
        }
    }

    fn pattern(op: IrStrOp, pattern: &IrPattern, field: Option<&str>) -> Gate {
        let Some(plain) = pattern.as_plain() else {
            // A regex to rsigma, which ignores case in ways of its own outside ASCII.
            return Gate::and(pattern.parts.iter().map(|part| match part {
                IrPatternPart::Literal(part) if part.is_ascii() => {
                    Gate::text(field, Place::Anywhere, part)
                }
                _ => Gate::default(),
            }));
        };
        let place = match op {
            IrStrOp::Exact => Place::Whole,
            IrStrOp::Contains => Place::Anywhere,
            IrStrOp::StartsWith => Place::Start,
            IrStrOp::EndsWith => Place::End,
        };
        match plain.parse() {
            Ok(id) if field == Some("EventID") && place == Place::Whole => Gate::event_id(id),
            _ => Gate::text(field, place, &plain),
        }
    }

    /// How a text is encoded, rsigma says.
    fn encoded(matcher: &IrMatcher, field: Option<&str>) -> Gate {
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
            Some(CompiledDetection::Keywords(matcher)) => Gate::compiled(matcher, field),
            _ => Gate::default(),
        }
    }

    fn compiled(matcher: &CompiledMatcher, field: Option<&str>) -> Gate {
        match matcher {
            CompiledMatcher::Exact { value, .. } => Gate::text(field, Place::Whole, value),
            CompiledMatcher::Contains { value, .. } => Gate::text(field, Place::Anywhere, value),
            CompiledMatcher::StartsWith { value, .. } => Gate::text(field, Place::Start, value),
            CompiledMatcher::EndsWith { value, .. } => Gate::text(field, Place::End, value),
            CompiledMatcher::AnyOf(parts)
            | CompiledMatcher::CaseInsensitiveGroup { children: parts, mode: GroupMode::Any } => {
                Gate::or(parts.iter().map(|part| Gate::compiled(part, field)))
            }
            _ => Gate::default(),
        }
    }

    /// The texts without which a regex does not match.
    fn regex(pattern: &str, case_insensitive: bool, field: Option<&str>) -> Gate {
        // Texts of ASCII are the same in bytes, and classes of bytes are much smaller.
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.unicode(false).utf8(false).case_insensitive(case_insensitive);
        match parser.build().parse(pattern) {
            Ok(hir) => Gate::hir(&hir, field),
            Err(_) => Gate::default(),
        }
    }

    fn hir(hir: &Hir, field: Option<&str>) -> Gate {
        match hir.kind() {
            HirKind::Concat(parts) => {
                let mut gates = Vec::new();
                let mut run = String::new();
                for part in parts {
                    match letters(part) {
                        Some(letters) => run.push_str(&letters),
                        None => {
                            gates.push(Gate::text(field, Place::Anywhere, &run));
                            gates.push(Gate::hir(part, field));
                            run.clear();
                        }
                    }
                }
                gates.push(Gate::text(field, Place::Anywhere, &run));
                Gate::and(gates)
            }
            HirKind::Alternation(parts) => {
                Gate::or(parts.iter().map(|part| Gate::hir(part, field)))
            }
            HirKind::Capture(capture) => Gate::hir(&capture.sub, field),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                Gate::hir(&repetition.sub, field)
            }
            _ => match letters(hir) {
                Some(letters) => Gate::text(field, Place::Anywhere, &letters),
                None => Gate::default(),
            },
        }
    }
}

/// The ASCII text that a piece of a regex stands for, but for case.
fn letters(hir: &Hir) -> Option<String> {
    let bytes = match hir.kind() {
        HirKind::Literal(literal) => literal.0.to_ascii_lowercase(),
        HirKind::Class(Class::Bytes(class)) => {
            let letters = class.iter().map(|range| {
                let byte = range.start().to_ascii_lowercase();
                (range.len() == 1).then_some(byte)
            });
            let mut letters: Vec<u8> = letters.collect::<Option<_>>()?;
            letters.dedup();
            letters
        }
        _ => return None,
    };
    let one = matches!(hir.kind(), HirKind::Literal(_)) || bytes.len() == 1;
    (one && bytes.is_ascii()).then(|| String::from_utf8(bytes).ok()).flatten()
}
