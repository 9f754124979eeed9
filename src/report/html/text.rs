//! Words for people.

use crate::report::cell::visible;
use crate::table::MOST_IN_CELL;

/// Longest text in a table, in characters: the CSV files have it all.
const MAX_SHORT: usize = 300;

/// A number with commas.
pub(super) fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something.
pub(super) fn count(n: usize, one: &str) -> String {
    match (n, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) if !one.ends_with("ey") => format!("{} {stem}ies", number(n)),
        _ => format!("{} {one}s", number(n)),
    }
}

/// A text of the logs on one line of a table.
pub(super) fn short(text: &str) -> String {
    let (start, is_cut) = start(text, MAX_SHORT);
    visible(start).into_owned() + if is_cut { "…" } else { "" }
}

/// A text of the logs on one line.
pub(super) fn line(text: &str) -> String {
    visible(text).into_owned()
}

/// A text of the logs with its own lines.
pub(super) fn lines(text: &str) -> String {
    let (start, is_cut) = start(text, MOST_IN_CELL);
    let lines = start.lines().map(|line| visible(&line.replace('\t', "    ")).into_owned());
    let lines = lines.collect::<Vec<_>>().join("\n");
    lines + if is_cut { "\n… (cut: the record holds the rest)" } else { "" }
}

fn start(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_nouns_their_number() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(12_345_678), "12,345,678");
        assert_eq!(count(1, "session"), "1 session");
        assert_eq!(count(10_000, "session"), "10,000 sessions");
        assert_eq!(count(2, "query"), "2 queries");
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_does() {
        assert_eq!(lines("if (1) {\r\n\tcalc\r\n}"), "if (1) {\n    calc\n}");
        assert_eq!(lines("a\u{1b}[2J\nb\u{202e}"), "a␛[2J\nb<U+202E>");
        assert!(lines(&"x\n".repeat(MOST_IN_CELL)).ends_with("the record holds the rest)"));
        assert_eq!(short(&"ä".repeat(301)).chars().count(), 301);
    }
}
