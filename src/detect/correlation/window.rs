//! The window of one group: hits that are close enough in time to count together.

use std::collections::VecDeque;

use rsigma_eval::correlation::{
    CompiledCorrelation, WindowDecision, WindowState, apply_window_open,
};
use rsigma_eval::{Event as SigmaEvent, EventValue};
use rsigma_parser::{CorrelationType, WindowMode};

use super::step::StepView;

/// Largest number of hits in a window, at eight bytes each.
pub(super) const MOST_HITS: usize = 1 << 20;
/// Largest number of values in a window: each hit looks at all of them.
pub(super) const MOST_VALUES: usize = 10_000;

/// The effect of a hit on its window.
#[derive(Debug, PartialEq)]
pub(super) enum WindowEffect {
    /// The hit does not count: its value is missing, or its time is over.
    Passed,
    /// The hit counts.
    Took {
        /// Whether the hits before it no longer count.
        afresh: bool,
        /// The count or value, if the condition holds.
        holds: Option<f64>,
        /// Whether old entries were dropped, so that the count is too low.
        full: bool,
    },
}

/// Adds a hit, made by the rule with this reference, to a window.
pub(super) fn add_hit(
    window: &mut WindowState,
    correlation: &CompiledCorrelation,
    reference: &str,
    time: i64,
    step: &StepView<'_>,
) -> WindowEffect {
    let CompiledCorrelation { window_mode, timespan_secs, gap_secs, condition, .. } = correlation;
    let fields = condition.field.as_deref().unwrap_or_default();
    let kind = correlation.correlation_type;
    let value = match kind {
        CorrelationType::ValueCount => joined_values(step, fields),
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
        return WindowEffect::Passed;
    }
    let decision = apply_window_open(window, time, *timespan_secs, *window_mode, *gap_secs);
    if decision == WindowDecision::Discard {
        return WindowEffect::Passed;
    }
    let afresh = decision == WindowDecision::Reset || window.is_empty();
    match (kind, value, number) {
        (CorrelationType::EventCount, ..) => window.push_event_count(time),
        (CorrelationType::Temporal | CorrelationType::TemporalOrdered, ..) => {
            window.push_temporal(time, reference);
        }
        (_, Some(value), _) => {
            // To count distinct values, one entry for each is enough: the latest.
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
    WindowEffect::Took { afresh, holds: value_if_condition_holds(window, correlation), full }
}

/// Returns the count or value of a window if the condition holds.
fn value_if_condition_holds(
    window: &WindowState,
    correlation: &CompiledCorrelation,
) -> Option<f64> {
    let CompiledCorrelation { condition, rule_refs, extended_expr, .. } = correlation;
    let check = |kind| window.check_condition(condition, kind, rule_refs, extended_expr.as_ref());
    match (correlation.correlation_type, window) {
        // All entries are distinct.
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
        // rsigma returns a percentile whatever the condition says.
        (kind, _) => check(kind).filter(|&value| extended_expr.is_some() || condition.check(value)),
    }
}

/// Returns whether each list has a time that is not earlier than the one chosen from the list
/// before it. Choosing the first suitable time is enough. rsigma tries all combinations, and a
/// hostile log can make these very many.
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

/// Joins the values of some fields into one text. Returns `None` if one of them is missing.
fn joined_values(step: &StepView<'_>, fields: &[String]) -> Option<String> {
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
