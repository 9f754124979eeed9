//! `--limit`: what hostile input may cost.

use std::io::{self, Write};

use super::ending::Ending;
use crate::limits::{FIXED_LIMITS, Limit, LimitSetting, Limits};

/// What `--limit` takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Help,
    Set(LimitSetting),
}

/// Reads one.
pub(super) fn word(text: &str) -> Result<Word, String> {
    match text {
        "help" => Ok(Word::Help),
        _ if !text.contains('=') => Err("a limit reads NAME=VALUE, or 'help'".to_owned()),
        _ => text.parse().map(Word::Set),
    }
}

/// The limits that hold; none when they are to be listed.
pub(super) fn of(words: &[Word]) -> Option<Limits> {
    let mut limits = Limits::default();
    for word in words {
        match word {
            Word::Help => return None,
            Word::Set(set) => limits.set(set.limit, set.value),
        }
    }
    Some(limits)
}

/// Lists all limits with their defaults.
pub(super) fn list() -> Ending {
    let layers = ps_layers::UnwrapLimits::default();
    let of_layers = [
        ("layer-depth", layers.depth as u64, "layers below each other that are taken off a text"),
        ("layers", layers.layers as u64, "layers of a text in all"),
        ("layer-bytes", layers.bytes as u64, "bytes of all layers of a text"),
        ("layer-steps", layers.steps, "steps of evaluation for all layers of a text"),
    ];
    let set = Limit::ALL.iter();
    let set = set.map(|limit| (limit.name(), limit.default_value(), limit.description()));
    let fixed = FIXED_LIMITS.iter().map(|fixed| (fixed.name, fixed.value, fixed.description));
    let mut text = "Limits that --limit NAME=VALUE sets:\n".to_owned();
    set.for_each(|limit| push(&mut text, limit));
    text.push_str("Limits that are fixed:\n");
    of_layers.into_iter().chain(fixed).for_each(|limit| push(&mut text, limit));
    // A reader that closed the pipe has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ending::Whole
}

fn push(text: &mut String, (name, value, description): (&str, u64, &str)) {
    text.push_str(&format!("  {name:<20} {value:>10}  {description}\n"));
}
