//! The rows of a table.

use std::io;

use crate::analysis::Analysis;
use crate::rows::Row;

/// A table's rows, each made when it is asked for.
pub(super) trait TableRows: 'static {
    /// A row.
    type Row<'r>: Row;

    /// Calls `each` with every row that the run's [`Scope`](crate::rows::Scope) takes in, in order.
    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&Self::Row<'_>) -> io::Result<()>,
    ) -> io::Result<()>;
}
