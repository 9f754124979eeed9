//! Recovers the strings of a classic PowerShell record from its rendered message.
//!
//! Collectors forward only the message of a provider without a manifest. Windows puts the record's
//! strings into it (PowerShell's resources, `EventLog` section):
//!
//! - 400, 403: `Engine state is changed from %2 to %1.`, `Details:`, `%3`; 600 alike with provider
//!   and state;
//! - 800: `Pipeline execution details for command line: %1.`, `Context Information:`, `%2`,
//!   `Details:`, `%3`.
//!
//! The sentences are translated, the keys in `%3` and 800's `%2` are not, and their lines begin
//! with a tab.

/// Returns the strings in the order of the record, or the message alone if it has another form.
pub(super) fn message_strings(event_id: u32, message: &str) -> Vec<String> {
    let strings = match event_id {
        400 | 403 => state_strings(message, ["NewEngineState", "PreviousEngineState"]),
        600 => state_strings(message, ["ProviderName", "NewProviderState"]),
        800 => pipeline_strings(message),
        _ => None,
    };
    strings.unwrap_or_else(|| vec![message.to_owned()])
}

/// Returns the two values at the beginning of the context, and the context.
fn state_strings(message: &str, keys: [&str; 2]) -> Option<Vec<String>> {
    let context = &message[message.find(&format!("\t{}=", keys[0]))?..];
    let value = |key: &str| {
        let line = context.lines().find_map(|line| line.strip_prefix('\t')?.strip_prefix(key));
        line.and_then(|rest| rest.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    Some(vec![value(keys[0]), value(keys[1]), context.to_owned()])
}

/// Returns the command line, its context and its details.
fn pipeline_strings(message: &str) -> Option<Vec<String>> {
    let begin = message.find("\n\tDetailSequence=")? + 1;
    let (intro, rest) = message.split_at(begin);
    let sentence = intro.split_once(": ").map_or("", |(_, sentence)| sentence);
    // The line before the context is its heading.
    let heading = sentence.trim_end().rfind('\n').unwrap_or(0);
    let line = sentence.get(..heading)?.trim_end();
    let line = line.strip_suffix('.').unwrap_or(line);
    let (context, details) = match rest.find("\n\r\nDetails:").or_else(|| rest.find("\n\nDetails:"))
    {
        Some(end) => {
            let (context, details) = rest.split_at(end);
            let heading = details.find("Details:")?;
            let details = details.get(heading..)?;
            let details = details.split_once('\n').map_or("", |(_, details)| details);
            (context.trim_end(), details)
        }
        None => (rest, ""),
    };
    Some(vec![line.to_owned(), context.to_owned(), details.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_and_provider() {
        let context =
            "\tNewEngineState=Available\r\n\tPreviousEngineState=None\r\n\r\n\tHostName=x";
        let message = format!(
            "Engine state is changed from None to Available. \r\n\r\nDetails: \r\n{context}"
        );
        assert_eq!(message_strings(400, &message), ["Available", "None", context]);
        let context = "\tProviderName=WSMan\n\tNewProviderState=Started\n\n\tHostName=x";
        let message = format!("Der Anbieter \"WSMan\" ist Started.\n\nDetails:\n{context}");
        assert_eq!(message_strings(600, &message), ["WSMan", "Started", context]);
    }

    #[test]
    fn pipeline_details() {
        let context =
            "\tDetailSequence=1\r\n\tDetailTotal=1\r\n\r\n\tUserId=D\\u\r\n\tCommandLine=a; b";
        let details = "CommandInvocation(a): \"a\"\r\nCommandInvocation(b): \"b\"\r\n";
        let message = format!(
            "Pipeline execution details for command line: a: b\r\n. \r\n\r\n\
             Context Information: \r\n{context} \r\n\r\nDetails: \r\n{details}"
        );
        assert_eq!(message_strings(800, &message), ["a: b\r\n", context, details]);
        let cut = message.split("\r\n\r\nDetails").next().unwrap();
        assert_eq!(message_strings(800, cut)[2], "");
    }

    #[test]
    fn other_messages_stay_whole() {
        for message in ["", "\u{e4}: \n", "no such text", "\n\tDetailSequence="] {
            assert_eq!(message_strings(400, message), [message]);
            assert!(!message_strings(800, message).is_empty());
        }
    }
}
