//! Finds the rules that an event may fire by the texts in it.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, Match};
use rsigma_eval::{Event as SigmaEvent, EventValue};

use super::prefilter::{Clause, TextPosition, fold};
use crate::model::{IdxVec, Str, index_types};

index_types! {
    /// Index of a rule in its bucket.
    pub(super) MemberIdx;
}

/// Finds clauses of rules by the texts that they require.
pub(super) struct ClauseIndex {
    fields: Vec<FieldTexts>,
    /// A bit for each clause of each rule.
    clauses: IdxVec<MemberIdx, u8>,
    /// The rules without a clause.
    always: Vec<MemberIdx>,
}

/// The texts that clauses require in a field, or in any value if no field is named.
struct FieldTexts {
    field: Option<Str>,
    texts: AhoCorasick,
    /// The clauses that each text satisfies.
    uses: Vec<Box<[TextUse]>>,
}

/// A clause that holds if a text stands at this position.
struct TextUse {
    place: TextPosition,
    rule: MemberIdx,
    clause: u8,
}

impl ClauseIndex {
    /// Builds an index over the clauses of each rule.
    pub fn new<'r>(rules: impl Iterator<Item = &'r [Clause]>) -> ClauseIndex {
        let mut clauses: IdxVec<MemberIdx, u8> = IdxVec::new();
        let mut by_field: BTreeMap<Option<&Str>, BTreeMap<&str, Vec<TextUse>>> = BTreeMap::new();
        for of_rule in rules {
            let rule = clauses.push(0);
            for (number, clause) in of_rule.iter().enumerate() {
                let bit = 1 << number;
                clauses[rule] |= bit;
                for atom in clause {
                    let texts = by_field.entry(atom.field.as_ref()).or_default();
                    let used = TextUse { place: atom.place, rule, clause: bit };
                    texts.entry(&atom.text).or_default().push(used);
                }
            }
        }
        let mut fields = Vec::new();
        for (field, texts) in by_field {
            let uses = texts.values().flatten();
            match AhoCorasick::new(texts.keys()) {
                Ok(automaton) => fields.push(FieldTexts {
                    field: field.cloned(),
                    texts: automaton,
                    uses: texts.into_values().map(Vec::into_boxed_slice).collect(),
                }),
                // Too many texts: their clauses cannot be searched for.
                Err(_) => uses.for_each(|used| clauses[used.rule] &= !used.clause),
            }
        }
        let always = clauses.indices().filter(|&rule| clauses[rule] == 0).collect();
        ClauseIndex { fields, clauses, always }
    }

    /// Returns the rules whose clauses all hold for an event, in order.
    pub fn candidates(&self, event: &impl SigmaEvent) -> Vec<MemberIdx> {
        let mut found = self.always.clone();
        if self.fields.is_empty() {
            return found;
        }
        let mut hold: IdxVec<MemberIdx, u8> = vec![0; self.clauses.len()].into();
        let mut folded = String::new();
        for FieldTexts { field, texts, uses } in &self.fields {
            let mut search = |text: &str| {
                fold(text, &mut folded);
                for text in texts.find_overlapping_iter(&folded) {
                    for used in &uses[text.pattern()] {
                        let (all, hold) = (self.clauses[used.rule], &mut hold[used.rule]);
                        if *hold != all && stands_at(&text, used.place, folded.len()) {
                            *hold |= used.clause & all;
                            if *hold == all {
                                found.push(used.rule);
                            }
                        }
                    }
                }
            };
            match field {
                Some(field) => {
                    if let Some(value) = event.get_field(field) {
                        each_text(&value, &mut search);
                    }
                }
                None => event.visit_string_values(&mut search),
            }
        }
        found.sort_unstable();
        found
    }
}

fn stands_at(text: &Match, place: TextPosition, length: usize) -> bool {
    match place {
        TextPosition::Anywhere => true,
        TextPosition::Start => text.start() == 0,
        TextPosition::End => text.end() == length,
        TextPosition::Whole => text.start() == 0 && text.end() == length,
    }
}

/// Calls `visit` with the texts by which rsigma compares a value.
fn each_text(value: &EventValue<'_>, visit: &mut impl FnMut(&str)) {
    match value {
        EventValue::Array(values) => values.iter().for_each(|value| each_text(value, visit)),
        value => {
            if let Some(text) = value.as_str() {
                visit(&text);
            }
        }
    }
}
