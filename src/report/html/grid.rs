//! A table of the page: its first rows are in the page itself, all of them in its data.

use serde::Serialize;

/// Rows in the page itself, which need no script and are printed.
const IN_PAGE: usize = 100;

/// What a column holds, and so how it is shown and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Text,
    /// A host's name: its first label in a list, where that is one host's only.
    Host,
    /// A channel's name: in a list without the words that all have.
    Channel,
    /// From when to when, and times between: drawn by scripts, and not in the page itself.
    Span,
    /// A text that is given more room.
    Long,
    Number,
    /// A time as outputs write it: to the second in a list.
    Time,
    Level,
    Confidence,
    /// The name of a session.
    Session,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// Whether it is shown where there is little room.
    pub narrow: bool,
}

impl Column {
    /// Its class in the page.
    pub(super) fn class(&self) -> &'static str {
        match self.kind {
            Kind::Text => "text",
            Kind::Host => "host",
            Kind::Channel => "channel",
            Kind::Span => "span",
            Kind::Long => "long",
            Kind::Number => "number",
            Kind::Time => "time",
            Kind::Level => "of-level",
            Kind::Confidence => "confidence",
            Kind::Session => "session",
        }
    }

    /// A time to the second.
    pub(super) fn short<'t>(&self, time: &'t str) -> &'t str {
        time.split('.').next().unwrap_or(time)
    }
}

/// A table. Its texts are safe to show.
#[derive(Debug, Serialize)]
pub(super) struct Grid {
    #[serde(skip)]
    pub id: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// How many rows there would be without a limit.
    #[serde(skip)]
    total: usize,
    /// The file that holds them all, and more of each.
    #[serde(skip)]
    file: &'static str,
    /// What is said where there are none.
    #[serde(skip)]
    pub none: &'static str,
}

impl Grid {
    /// A table without rows. `columns` are names with kinds; `file` has all of it.
    pub(super) fn new(
        id: &'static str,
        title: &'static str,
        columns: &[(&'static str, Kind, bool)],
        file: &'static str,
        none: &'static str,
    ) -> Grid {
        let column = |&(name, kind, narrow)| Column { name, kind, narrow };
        let columns = columns.iter().map(column).collect();
        Grid { id, title, columns, rows: Vec::new(), total: 0, file, none }
    }

    /// Adds a row.
    pub(super) fn push<const N: usize>(&mut self, row: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.total += 1;
        self.rows.push(row.into());
    }

    /// Counts a row that is left out.
    pub(super) fn leave_out(&mut self) {
        self.total += 1;
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns in the page itself.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind != Kind::Span)
    }

    /// The rows in the page itself: of columns' cells, each with its column.
    pub(super) fn in_page(&self) -> Vec<Vec<(&Column, &str)>> {
        // The order of the rows, but for sessions: those are by start, and the page has the most
        // severe.
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        if let Some(level) = self.columns.iter().position(|column| column.kind == Kind::Level) {
            order.sort_by_key(|&row| rank(&self.rows[row][level]));
        }
        let cells = |row: usize| self.rows[row].iter().map(String::as_str);
        let of = |row| self.columns.iter().zip(cells(row));
        let of = |row| of(row).filter(|(column, _)| column.kind != Kind::Span).collect();
        order.into_iter().take(IN_PAGE).map(of).collect()
    }

    /// What the page says of rows that are not in it.
    pub(super) fn more(&self) -> String {
        let shown = self.rows.len().min(IN_PAGE);
        if self.total <= shown {
            return String::new();
        }
        let more = super::text::number(self.total - shown);
        match self.file {
            "" => format!("{more} more are shown with JavaScript only."),
            file => format!("{more} more: with JavaScript, or in {file}."),
        }
    }

    /// What is said of rows that are not even in the data.
    pub(super) fn left_out(&self) -> String {
        match self.total - self.rows.len() {
            0 => String::new(),
            more => format!("{} more are in {}.", super::text::number(more), self.file),
        }
    }
}

/// The place of a level's word, most severe first; the last for none.
pub(super) fn rank(level: &str) -> usize {
    let levels = crate::model::Level::DESCENDING;
    levels.iter().position(|known| known.as_str() == level).unwrap_or(levels.len())
}
