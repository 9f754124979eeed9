//! Lines and texts for a terminal.

use std::io::Write;

use crate::report::visible;

/// A text of the logs, or a file's name, for a terminal: no escape sequence gets through, and no
/// mark that reorders text.
pub(super) fn plain(text: &str) -> String {
    visible(text).into_owned()
}

/// Writes a line. A reader that closed the pipe has seen enough.
pub(super) fn say(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{}", plain(line));
}

/// A number and a noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
