//! A file in the form of another tool.

use super::rows::{DetectionRow, EventRow, SessionRow};
use crate::table::Column;

/// A file of a form: what it makes of each row, a line or nothing.
pub(in crate::report) struct Shape {
    /// The file's name.
    pub file: &'static str,
    /// Its columns, or the fields of its lines.
    pub columns: &'static [Column],
    /// Whether it begins with a line of the columns' names.
    pub has_head: bool,
    pub(super) event: fn(&EventRow<'_>, &mut String),
    pub(super) session: fn(&SessionRow<'_>, &mut String),
    pub(super) detection: fn(&DetectionRow<'_>, &mut String),
}
