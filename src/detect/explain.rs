//! Explains why a rule fired or did not fire on a record: rsigma's trace as lines of text.

use ps_layers::Unwrapper;
use rsigma_eval::{
    ConditionTrace, DetectionTrace, Event as SigmaEvent, ItemTrace, MatchReason, MatcherKind,
};

use super::RuleSet;
use super::derived::script_fields;
use super::loaded::RuleKind;
use super::logsource::{DERIVED, RuleScope};
use super::pack::RejectedRule;
use super::view::RecordView;
use crate::error::Error;
use crate::model::{IdxVec, Record, RuleIdx, Subject};
use crate::normalise::Normaliser;
use crate::reconstruct::assemble_script_blocks;

/// Longest value that is shown, in characters.
const MAX_SHOWN: usize = 200;

impl RuleSet {
    /// Explains, in lines, why the rules that `reference` names fired or did not fire on a
    /// record.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRule`] when no rule has this id, title or file name,
    /// [`Error::RejectedRule`] when such a rule exists but does not load.
    pub fn explain(&self, reference: &str, record: &Record) -> Result<Vec<String>, Error> {
        let meant: Vec<RuleIdx> =
            self.rules.indices().filter(|&rule| self.has_name(rule, reference)).collect();
        if meant.is_empty() {
            let rejected = self.rejected().find(|rejected| {
                rejected.file.rsplit('/').next() == Some(reference)
                    || rejected.reason.starts_with(&format!("'{reference}': "))
            });
            return Err(match rejected.cloned() {
                Some(RejectedRule { file, reason }) => Error::RejectedRule { file, reason },
                None => Error::UnknownRule(reference.to_owned()),
            });
        }
        let mut lines = Vec::new();
        for rule in meant {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            self.explain_rule(rule, record, &mut lines);
        }
        Ok(lines)
    }

    fn has_name(&self, rule: RuleIdx, reference: &str) -> bool {
        let meta = &self.rules[rule].meta;
        let file = meta.file.rsplit('/').next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let names = [&*meta.id, &meta.title, &meta.file, file, stem];
        names.iter().any(|name| name.eq_ignore_ascii_case(reference))
    }

    fn explain_rule(&self, rule: RuleIdx, record: &Record, lines: &mut Vec<String>) {
        let meta = &self.rules[rule].meta;
        lines.push(format!("Rule        {} ({})", meta.title, meta.id));
        lines.push(format!("            {} in {}, level {}", meta.file, meta.pack, meta.level));
        match &self.rules[rule].kind {
            RuleKind::Correlation(correlation) => {
                lines.push(
                    "Result      it is a correlation: one record does not complete it".to_owned(),
                );
                for base in correlation.rules() {
                    lines.push(String::new());
                    self.explain_rule(base, record, lines);
                }
            }
            RuleKind::Event(_, RuleScope::Derived(Subject::ScriptBlock)) => {
                self.explain_script(rule, record, lines);
            }
            RuleKind::Event(_, RuleScope::Derived(subject)) => {
                let name = DERIVED.iter().find(|(_, known)| known == subject);
                let name = name.map_or("", |(name, _)| name);
                lines.push(format!(
                    "Log source  no: {name} is made of many records; see matched_fields in \
                     detections.csv"
                ));
                lines.push(
                    "Result      a record alone cannot show why it did or did not fire".to_owned(),
                );
            }
            RuleKind::Event(_, RuleScope::Records { mapping, .. }) => {
                self.explain_source(rule, record, lines);
                self.explain_event(rule, &RecordView::new(record, *mapping), lines);
                let fires = self.on_record(record).iter().any(|hit| hit.rule == rule);
                self.explain_result(rule, fires, lines);
            }
        }
    }

    /// Explains a rule on script blocks: a block of one part can be rebuilt from its record.
    fn explain_script(&self, rule: RuleIdx, record: &Record, lines: &mut Vec<String>) {
        let events = IdxVec::from(vec![Normaliser::default().event(record)]);
        let outside = IdxVec::from(vec![None]);
        let blocks = assemble_script_blocks(&events, &outside, &mut Unwrapper::default());
        let Some(block) = blocks.into_iter().next() else {
            lines
                .push("Log source  no: the record is not part of a script block (4104)".to_owned());
            self.explain_result(rule, false, lines);
            return;
        };
        lines.push(match block.complete() {
            true => "Log source  yes: script_block".to_owned(),
            false => "Log source  yes: script_block; the record is one of several parts, and the \
                      others may contain more"
                .to_owned(),
        });
        let fields = script_fields(&events, &IdxVec::new(), &block);
        self.explain_event(rule, &fields, lines);
        let fires =
            self.on_derived(Subject::ScriptBlock, &fields).iter().any(|hit| hit.rule == rule);
        self.explain_result(rule, fires, lines);
    }

    fn explain_source(&self, rule: RuleIdx, record: &Record, lines: &mut Vec<String>) {
        let source = &self.rules[rule].meta.source;
        lines.push(match self.applies_to_record(rule, record) {
            true => format!("Log source  yes: {source}"),
            false => format!(
                "Log source  no: the rule is for {source}, the record is {} in {}",
                record.event_id, record.channel
            ),
        });
    }

    fn explain_event(&self, rule: RuleIdx, event: &impl SigmaEvent, lines: &mut Vec<String>) {
        let conditions = self.rules[rule].on_events().map(|(rule, _)| rule.explain(event));
        for condition in conditions.into_iter().flatten() {
            lines.push(format!("Condition   {}", holds_word(condition.matched())));
            explain_condition(&condition, 1, lines);
        }
    }

    fn explain_result(&self, rule: RuleIdx, fires: bool, lines: &mut Vec<String>) {
        let suppressed = match self.is_suppressed(rule) {
            true => ", but only correlations use its hits",
            false => "",
        };
        let result = if fires { "fires" } else { "does not fire" };
        lines.push(format!("Result      the rule {result}{suppressed}"));
    }
}

fn holds_word(holds: bool) -> &'static str {
    if holds { "holds" } else { "does not hold" }
}

fn push_line(depth: usize, text: &str, lines: &mut Vec<String>) {
    lines.push(format!("{}{text}", "  ".repeat(depth)));
}

fn explain_condition(condition: &ConditionTrace, depth: usize, lines: &mut Vec<String>) {
    match condition {
        ConditionTrace::Selection { name, matched, detection } => {
            push_line(depth, &format!("{name} {}", holds_word(*matched)), lines);
            explain_detection(detection, depth + 1, lines);
        }
        ConditionTrace::And { matched, children } => {
            push_line(depth, &format!("all of these: {}", holds_word(*matched)), lines);
            children.iter().for_each(|child| explain_condition(child, depth + 1, lines));
        }
        ConditionTrace::Or { matched, children } => {
            push_line(depth, &format!("one of these: {}", holds_word(*matched)), lines);
            children.iter().for_each(|child| explain_condition(child, depth + 1, lines));
        }
        ConditionTrace::Not { matched, child } => {
            push_line(depth, &format!("not: {}", holds_word(*matched)), lines);
            explain_condition(child, depth + 1, lines);
        }
        ConditionTrace::Quantified { quantifier, matched, need, got, branches } => {
            let text = format!("{quantifier} of these, {got} of {need}: {}", holds_word(*matched));
            push_line(depth, &text, lines);
            for branch in branches {
                push_line(
                    depth + 1,
                    &format!("{} {}", branch.name, holds_word(branch.matched)),
                    lines,
                );
                explain_detection(&branch.detection, depth + 2, lines);
            }
        }
    }
}

fn explain_detection(detection: &DetectionTrace, depth: usize, lines: &mut Vec<String>) {
    match detection {
        DetectionTrace::AllOf { items, .. } => {
            items.iter().for_each(|item| explain_item(item, depth, lines));
        }
        DetectionTrace::AnyOf { branches, .. } => {
            for branch in branches {
                push_line(depth, &format!("either: {}", holds_word(branch.matched())), lines);
                explain_detection(branch, depth + 1, lines);
            }
        }
        DetectionTrace::And { branches, .. } => {
            branches.iter().for_each(|branch| explain_detection(branch, depth, lines));
        }
        DetectionTrace::Keywords { item, .. } => explain_item(item, depth, lines),
        DetectionTrace::ArrayMatch { field, quantifier, matched, members, .. } => {
            push_line(depth, &format!("{quantifier} of {field}: {}", holds_word(*matched)), lines);
            members.iter().for_each(|m| explain_detection(&m.detection, depth + 1, lines));
        }
        DetectionTrace::Conditional { condition, .. } => explain_condition(condition, depth, lines),
        DetectionTrace::Other { kind, matched } => {
            push_line(depth, &format!("{kind}: {}", holds_word(*matched)), lines);
        }
    }
}

fn explain_item(item: &ItemTrace, depth: usize, lines: &mut Vec<String>) {
    let matcher = match item.matcher {
        MatcherKind::Exact => "is",
        MatcherKind::Contains => "contains",
        MatcherKind::StartsWith => "starts with",
        MatcherKind::EndsWith => "ends with",
        MatcherKind::Regex => "matches",
        MatcherKind::OneOf => "matches one of",
        MatcherKind::Cidr => "is in",
        MatcherKind::Numeric => "as a number",
        MatcherKind::Exists => "exists",
        MatcherKind::FieldRef => "is the field",
        MatcherKind::Null => "is null",
        MatcherKind::Bool => "is",
        MatcherKind::Expand => "expands to",
        MatcherKind::Timestamp => "at",
        MatcherKind::Keyword => "holds",
    };
    let field = item.field.as_deref().unwrap_or("any value");
    let pattern = item.pattern.as_deref().map(quoted).unwrap_or_default();
    let verdict = match item.reason {
        MatchReason::Matched => "yes",
        MatchReason::FieldAbsent => "no, the field is missing",
        MatchReason::ValueMismatch => "no",
        MatchReason::CaseMismatch => "no, only upper and lower case differ",
        MatchReason::Existence => "no",
        MatchReason::NoKeywordMatch => "no, not in any value",
    };
    let value = match &item.actual {
        Some(serde_json::Value::String(text)) => format!("; it is {}", quoted(text)),
        Some(other) => format!("; it is {}", quoted(&other.to_string())),
        None => String::new(),
    };
    push_line(depth, &format!("{field} {matcher} {pattern}: {verdict}{value}"), lines);
}

/// Quotes a text on one line, and cuts it if it is long.
fn quoted(text: &str) -> String {
    let one_line = |c: char| match c {
        '\n' => '␊',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let cut: String = text.chars().take(MAX_SHOWN).map(one_line).collect();
    let more = if text.chars().nth(MAX_SHOWN).is_some() { "…" } else { "" };
    format!("'{cut}{more}'")
}
