//! The hits of one group that are near enough in time to count together.

use std::collections::VecDeque;

use rsigma_eval::correlation::{
    CompiledCorrelation, WindowDecision, WindowState, apply_window_open,
};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_parser::{CorrelationType, WindowMode};

use super::step::Seen;

/// Most hits that a window holds: eight bytes each.
pub(super) const MOST_HITS: usize = 1 << 20;
/// Most values that a window holds: each hit has all of them looked at.
pub(super) const MOST_VALUES: usize = 10_000;

/// What a hit did to its window.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// It is none that counts: its value is missing, or its time is over.
    Passed,
    /// It counts.
    Took {
        /// The hits before it no longer count.
        afresh: bool,
        /// What was counted, if the condition holds.
        holds: Option<f64>,
        /// Something was left out, so what was counted is too little.
        full: bool,
    },
}

/// Takes a hit that is meant by a reference.
pub(super) fn take(
    window: &mut WindowState,
    correlation: &CompiledCorrelation,
    reference: &str,
    time: i64,
    step: &Seen<'_>,
) -> Effect {
    let CompiledCorrelation { window_mode, timespan_secs, gap_secs, condition, .. } = correlation;
    let fields = condition.field.as_deref().unwrap_or_default();
    let kind = correlation.correlation_type;
    let value = match kind {
        CorrelationType::ValueCount => values(step, fields),
        _ => None,
    };
    let number = fields.first().and_then(|field| step.get_field(field)?.as_f64());
    let number = number.filter(|number| number.is_finite());
    let counts = match kind {
        CorrelationType::EventCount
        | CorrelationType::Temporal
        | CorrelationType::TemporalOrdered => true,
        CorrelationType::ValueCount => value.is_some(),
        _ => number.is_some(),
    };
    if !counts {
        return Effect::Passed;
    }
    let decision = apply_window_open(window, time, *timespan_secs, *window_mode, *gap_secs);
    if decision == WindowDecision::Discard {
        return Effect::Passed;
    }
    let afresh = decision == WindowDecision::Reset || window.is_empty();
    match (kind, value, number) {
        (CorrelationType::EventCount, ..) => window.push_event_count(time),
        (CorrelationType::Temporal | CorrelationType::TemporalOrdered, ..) => {
            window.push_temporal(time, reference);
        }
        (_, Some(value), _) => {
            // One of each is enough to count them: the latest.
            if let WindowState::ValueCount { entries } = window {
                entries.retain(|(_, known)| *known != value);
            }
            window.push_value_count(time, value);
        }
        (_, _, Some(number)) => window.push_numeric(time, number),
        _ => {}
    }
    let most = match kind {
        CorrelationType::EventCount
        | CorrelationType::Temporal
        | CorrelationType::TemporalOrdered => MOST_HITS,
        _ => MOST_VALUES,
    };
    let full = window.entry_count() > most;
    if full {
        window.truncate_oldest(most, *window_mode == WindowMode::Session);
    }
    Effect::Took { afresh, holds: holds(window, correlation), full }
}

/// What was counted, if the condition holds.
fn holds(window: &WindowState, correlation: &CompiledCorrelation) -> Option<f64> {
    let CompiledCorrelation { condition, rule_refs, extended_expr, .. } = correlation;
    let check = |kind| window.check_condition(condition, kind, rule_refs, extended_expr.as_ref());
    match (correlation.correlation_type, window) {
        // They are all distinct.
        (CorrelationType::ValueCount, WindowState::ValueCount { entries }) => {
            Some(entries.len() as f64).filter(|&count| condition.check(count))
        }
        (CorrelationType::TemporalOrdered, WindowState::Temporal { rule_hits }) => {
            if extended_expr.is_some() {
                check(CorrelationType::Temporal)?;
            }
            let hits = |reference: &String| rule_hits.get(reference);
            let count = rule_refs.len() as f64;
            (in_order(rule_refs.iter().map(hits)) && condition.check(count)).then_some(count)
        }
        // rsigma gives a percentile whatever the condition says.
        (kind, _) => check(kind).filter(|&value| extended_expr.is_some() || condition.check(value)),
    }
}

/// Whether there is a time of each, none before that of the one before it. To take the first that
/// will do is enough; rsigma tries all, which a hostile log makes very many.
fn in_order<'w>(times: impl Iterator<Item = Option<&'w VecDeque<i64>>>) -> bool {
    let mut at = i64::MIN;
    for times in times {
        let Some(times) = times else { return false };
        match times.get(times.partition_point(|&time| time < at)) {
            Some(&next) => at = next,
            None => return false,
        }
    }
    true
}

/// The values of some fields as one, none if one of them is missing.
fn values(step: &Seen<'_>, fields: &[String]) -> Option<String> {
    let mut all = String::new();
    for field in fields {
        match step.get_field(field)? {
            EventValue::Str(text) => all.push_str(&text),
            EventValue::Int(number) => all.push_str(&number.to_string()),
            EventValue::Float(number) => all.push_str(&number.to_string()),
            EventValue::Bool(truth) => all.push_str(&truth.to_string()),
            _ => return None,
        }
        all.push('\u{1f}');
    }
    Some(all)
}
