//! Writes commands, errors, prompts and progress as text for people.

use std::fmt::Write;

use super::node_text::{LONGEST, cut};
use super::records::{ErrorRecord, HostCall, PipelineCommand, ProgressRecord};

/// Writes commands as they could be typed: parts of a pipeline joined by `|`, statements by `;`.
pub fn commands_text(commands: &[PipelineCommand]) -> String {
    let mut out = String::new();
    for (at, command) in commands.iter().enumerate() {
        if out.len() > LONGEST {
            return cut(out);
        }
        match at.checked_sub(1).map(|before| commands[before].end_of_statement) {
            None => {}
            Some(true) => out.push_str("; "),
            Some(false) => out.push_str(" | "),
        }
        if command.is_script && !command.parameters.is_empty() {
            let _ = write!(out, "& {{{}}}", command.text);
        } else {
            out.push_str(&command.text);
        }
        for parameter in &command.parameters {
            match parameter.name.as_deref().map(|name| name.trim_matches(['-', ':'])) {
                Some(name) if parameter.literal == "$true" || parameter.literal == "$false" => {
                    let _ = write!(out, " -{name}:{}", parameter.literal);
                }
                Some(name) => {
                    let _ = write!(out, " -{name} {}", parameter.literal);
                }
                None => {
                    let _ = write!(out, " {}", parameter.literal);
                }
            }
        }
    }
    cut(out)
}

/// Writes an error as the console shows it: message, position, category, id.
pub fn error_text(error: &ErrorRecord) -> String {
    let mut out = match error.activity.as_deref().filter(|activity| !activity.is_empty()) {
        Some(activity) => format!("{activity} : {}", error.shown_message()),
        None => error.shown_message().to_owned(),
    };
    let position = error.position_message.as_deref().filter(|position| !position.is_empty());
    if let Some(position) = position {
        out.push('\n');
        out.push_str(position);
    }
    let category = error.category_message.as_deref().or(error.category_name);
    for (what, text) in [
        ("CategoryInfo          ", category),
        ("FullyQualifiedErrorId ", error.fully_qualified_error_id.as_deref()),
    ] {
        if let Some(text) = text {
            let _ = write!(out, "\n    + {what}: {text}");
        }
    }
    cut(out)
}

/// Writes what a host call showed and what was answered: `Confirm > 1`. Returns `None` for a call
/// that shows nothing.
pub fn host_call_text(call: &HostCall) -> Option<String> {
    let parameter = |at: usize| call.parameters.get(at).map_or("", String::as_str);
    let shown = match call.method_id {
        // ReadLine, ReadLineAsSecureString
        11 | 12 => String::new(),
        13 | 16 | 18..=19 | 21..=22 => parameter(0).to_owned(),
        // Write2, WriteLine3: the colours come first.
        14 | 17 => parameter(2).to_owned(),
        15 => String::new(),
        // Prompt, PromptForCredential, PromptForChoice: caption, message, possible answers.
        23..=26 | 56 => {
            let shown: Vec<&str> = call
                .parameters
                .iter()
                .take(3)
                .map(String::as_str)
                .filter(|t| !t.is_empty())
                .collect();
            shown.join("\n")
        }
        _ => return None,
    };
    let level = match call.method_id {
        18 => "ERROR: ",
        19 => "DEBUG: ",
        21 => "VERBOSE: ",
        22 => "WARNING: ",
        _ => "",
    };
    let answer = match (&call.response, &call.error) {
        (Some(answer), _) => format!("> {answer}"),
        (None, Some(error)) => format!("> (failed: {})", error.shown_message()),
        (None, None) => String::new(),
    };
    let separator = if shown.is_empty() || answer.is_empty() { "" } else { " " };
    Some(cut(format!("{level}{shown}{separator}{answer}")))
}

/// Folds progress records to the last line of each activity, in the order in which they began.
pub fn progress_lines<'p>(records: impl IntoIterator<Item = &'p ProgressRecord>) -> Vec<String> {
    let mut lines: Vec<(i64, &str, String)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for record in records {
        let key = (record.activity_id, record.activity.as_str());
        let percent = record.percent.filter(|percent| *percent >= 0);
        let percent = percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
        let text = format!("{}: {}{percent}", record.activity, record.status);
        let place = *places.entry(key).or_insert(lines.len());
        match lines.get_mut(place) {
            Some(line) => line.2 = text,
            None => lines.push((key.0, key.1, text)),
        }
    }
    lines.into_iter().map(|(_, _, text)| cut(text)).collect()
}
