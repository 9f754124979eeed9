//! The values of columns in a row group.

use std::iter;

use chrono::{DateTime, Utc};

use super::ColumnType;

/// The definition level of a value that is not null, in a column that is not a list.
pub(super) const DEFINED: i16 = 1;

/// The values of a column in a row group, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// Times, in nanoseconds since 1970, UTC.
    Time(PrimitiveValues<i64>),
    /// Whole numbers of 64 bits.
    U64(PrimitiveValues<u64>),
    /// Whole numbers of 32 bits.
    U32(PrimitiveValues<u32>),
    /// Floating-point numbers of 64 bits.
    F64(PrimitiveValues<f64>),
    /// Truth values.
    Bool(PrimitiveValues<bool>),
    /// Texts.
    Text(TextValues),
    /// Lists of texts.
    Texts(ListValues),
}

impl ColumnValues {
    /// Creates an empty column of this type.
    pub fn new(column_type: ColumnType) -> ColumnValues {
        match column_type {
            ColumnType::Time => ColumnValues::Time(PrimitiveValues::default()),
            ColumnType::U64 => ColumnValues::U64(PrimitiveValues::default()),
            ColumnType::U32 => ColumnValues::U32(PrimitiveValues::default()),
            ColumnType::F64 => ColumnValues::F64(PrimitiveValues::default()),
            ColumnType::Bool => ColumnValues::Bool(PrimitiveValues::default()),
            ColumnType::Text => ColumnValues::Text(TextValues::default()),
            ColumnType::Texts => ColumnValues::Texts(ListValues::default()),
        }
    }

    /// Returns the bytes of its texts, 0 for numbers.
    pub fn text_bytes(&self) -> usize {
        match self {
            ColumnValues::Text(texts) => texts.strings.bytes.len(),
            ColumnValues::Texts(lists) => lists.strings.bytes.len(),
            ColumnValues::Time(_)
            | ColumnValues::U64(_)
            | ColumnValues::U32(_)
            | ColumnValues::F64(_)
            | ColumnValues::Bool(_) => 0,
        }
    }
}

/// Numbers, times or truth values, some of which may be null.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrimitiveValues<T> {
    /// A value for each row; the default one for null.
    values: Vec<T>,
    /// Definition levels.
    levels: Vec<i16>,
}

impl<T: Copy + Default> PrimitiveValues<T> {
    /// Adds the value of the next row.
    pub fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.push(value.unwrap_or_default());
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the value of a row, or `None` for null.
    pub fn get(&self, row: usize) -> Option<T> {
        let is_defined = self.levels.get(row) == Some(&DEFINED);
        is_defined.then(|| self.values.get(row).copied()).flatten()
    }

    /// Returns the value of each row, or `None` for null.
    pub fn iter(&self) -> impl Iterator<Item = Option<T>> {
        iter::zip(&self.values, &self.levels)
            .map(|(&value, &level)| (level == DEFINED).then_some(value))
    }

    /// Returns whether a row is null.
    pub fn has_nulls(&self) -> bool {
        self.levels.iter().any(|&level| level != DEFINED)
    }

    /// Returns the definition levels.
    pub(super) fn levels(&self) -> &[i16] {
        &self.levels
    }

    /// Returns the values that are not null, in the physical type of a file.
    pub(super) fn defined<P>(&self, physical: impl Fn(T) -> P) -> Vec<P> {
        self.iter().flatten().map(physical).collect()
    }
}

impl PrimitiveValues<i64> {
    /// Adds the time of the next row. A time that 64 bits of nanoseconds cannot hold, before 1677
    /// or after 2262, becomes null.
    pub fn push_time(&mut self, time: Option<DateTime<Utc>>) {
        self.push(time.and_then(|time| time.timestamp_nanos_opt()));
    }

    /// Returns the time of a row, or `None` for null.
    pub fn time(&self, row: usize) -> Option<DateTime<Utc>> {
        self.get(row).map(DateTime::from_timestamp_nanos)
    }
}

/// Strings stored one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
struct PackedStrings {
    bytes: String,
    /// The end of each string.
    ends: Vec<usize>,
}

impl PackedStrings {
    fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default()
    }

    fn get(&self, index: usize) -> Option<&str> {
        self.bytes.get(self.start(index)..*self.ends.get(index)?)
    }
}

/// Texts, some of which may be null.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextValues {
    /// A text for each row; an empty one for null.
    strings: PackedStrings,
    /// Definition levels.
    levels: Vec<i16>,
}

impl TextValues {
    /// Adds the text of the next row.
    pub fn push(&mut self, text: Option<&str>) {
        self.levels.push(i16::from(text.is_some()));
        self.strings.push(text.unwrap_or_default());
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Returns whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Returns the text of a row, or `None` for null.
    pub fn get(&self, row: usize) -> Option<&str> {
        let is_defined = self.levels.get(row) == Some(&DEFINED);
        is_defined.then(|| self.strings.get(row)).flatten()
    }

    /// Returns the text of each row, or `None` for null.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Returns whether a row is null.
    pub fn has_nulls(&self) -> bool {
        self.levels.iter().any(|&level| level != DEFINED)
    }

    /// Returns the definition levels, the bytes of all texts, and the end of each text that is not
    /// null.
    pub(super) fn into_parts(self) -> (Vec<i16>, Vec<u8>, Vec<usize>) {
        // Null texts are empty, so the other texts follow one another without gaps.
        let ends = iter::zip(&self.levels, &self.strings.ends);
        let ends = ends.filter(|&(&level, _)| level == DEFINED).map(|(_, &end)| end).collect();
        (self.levels, self.strings.bytes.into_bytes(), ends)
    }
}

/// Lists of texts. A list may be null; its texts are not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListValues {
    /// The texts of all lists.
    strings: PackedStrings,
    /// For each row, the number of texts up to the end of its list.
    ends: Vec<usize>,
    /// For each row, whether its list is null.
    nulls: Vec<bool>,
}

/// Lists of texts in the layout of a file.
pub(super) struct ListParts {
    /// The definition levels.
    pub definition: Vec<i16>,
    /// The repetition levels.
    pub repetition: Vec<i16>,
    /// The bytes of all texts.
    pub bytes: Vec<u8>,
    /// The end of each text in these bytes.
    pub ends: Vec<usize>,
}

/// The definition levels of a list: null, empty, and of a text in a list.
const NULL_LIST: i16 = 0;
const EMPTY_LIST: i16 = 1;
pub(super) const TEXT_OF_LIST: i16 = 3;

impl ListValues {
    /// Adds the list of the next row.
    pub fn push<'t>(&mut self, list: Option<impl IntoIterator<Item = &'t str>>) {
        self.nulls.push(list.is_none());
        list.into_iter().flatten().for_each(|text| self.strings.push(text));
        self.ends.push(self.strings.ends.len());
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the list of a row, or `None` for null.
    pub fn get(&self, row: usize) -> Option<impl ExactSizeIterator<Item = &str>> {
        let end = *self.ends.get(row)?;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let texts = (start..end).map(|text| self.strings.get(text).unwrap_or_default());
        (!self.nulls[row]).then_some(texts)
    }

    /// Returns the list of each row, or `None` for null.
    pub fn iter(&self) -> impl Iterator<Item = Option<impl ExactSizeIterator<Item = &str>>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Returns whether a row is null.
    pub fn has_nulls(&self) -> bool {
        self.nulls.contains(&true)
    }

    /// Returns whether each row has as many texts as the same row of another column.
    pub fn is_as_long_as(&self, other: &ListValues) -> bool {
        self.ends == other.ends
    }

    /// Converts the lists to the layout of a file.
    pub(super) fn into_parts(self) -> ListParts {
        let room = self.strings.ends.len() + self.ends.len();
        let mut definition = Vec::with_capacity(room);
        let mut repetition = Vec::with_capacity(room);
        let mut start = 0;
        for (&end, &is_null) in iter::zip(&self.ends, &self.nulls) {
            repetition.push(0);
            if is_null {
                definition.push(NULL_LIST);
            } else if start == end {
                definition.push(EMPTY_LIST);
            } else {
                definition.push(TEXT_OF_LIST);
                definition.extend(iter::repeat_n(TEXT_OF_LIST, end - start - 1));
                repetition.extend(iter::repeat_n(1, end - start - 1));
            }
            start = end;
        }
        let PackedStrings { bytes, ends } = self.strings;
        ListParts { definition, repetition, bytes: bytes.into_bytes(), ends }
    }

    /// Adds rows from a file: their levels and their texts. Returns `false` if they are not lists
    /// of texts.
    pub(super) fn extend<'t>(
        &mut self,
        definition: &[i16],
        repetition: &[i16],
        mut texts: impl Iterator<Item = &'t str>,
    ) -> bool {
        for (&definition, &repetition) in iter::zip(definition, repetition) {
            if repetition == 0 {
                self.nulls.push(definition == NULL_LIST);
                self.ends.push(self.strings.ends.len());
            }
            match (definition, self.ends.last_mut()) {
                (NULL_LIST | EMPTY_LIST, _) if repetition == 0 => {}
                (TEXT_OF_LIST, Some(end)) => {
                    let Some(text) = texts.next() else { return false };
                    self.strings.push(text);
                    *end = self.strings.ends.len();
                }
                _ => return false,
            }
        }
        texts.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_pushed() {
        let mut numbers = PrimitiveValues::default();
        let mut texts = TextValues::default();
        let mut lists = ListValues::default();
        for (number, text, list) in [
            (Some(1_u64), Some("ä"), Some(vec!["a", ""])),
            (None, None, None),
            (Some(u64::MAX), Some(""), Some(vec![])),
        ] {
            numbers.push(number);
            texts.push(text);
            lists.push(list);
        }
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(1), None, Some(u64::MAX)]);
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("ä"), None, Some("")]);
        let found: Vec<Option<Vec<&str>>> =
            lists.iter().map(|list| list.map(Iterator::collect)).collect();
        assert_eq!(found, [Some(vec!["a", ""]), None, Some(vec![])]);
        assert!(numbers.has_nulls() && texts.has_nulls() && lists.has_nulls());
        assert_eq!((numbers.get(3), texts.get(3)), (None, None));
        assert!(lists.get(3).is_none());
        let parts = lists.into_parts();
        assert_eq!(parts.definition, [3, 3, 0, 1]);
        assert_eq!(parts.repetition, [0, 1, 0, 0]);
        assert_eq!((&parts.bytes[..], &parts.ends[..]), (&b"a"[..], &[1, 1][..]));
    }

    #[test]
    fn a_time_that_nanoseconds_cannot_hold_is_null() {
        let mut times = PrimitiveValues::default();
        let time = DateTime::from_timestamp(1, 2);
        times.push_time(time);
        times.push_time(Some(DateTime::<Utc>::MAX_UTC));
        assert_eq!((times.time(0), times.time(1)), (time, None));
    }

    #[test]
    fn levels_that_are_no_lists_of_texts_are_refused() {
        let extend = |definition: &[i16], repetition: &[i16], texts: &[&str]| {
            ListValues::default().extend(definition, repetition, texts.iter().copied())
        };
        assert!(extend(&[3, 3, 0, 1], &[0, 1, 0, 0], &["a", "b"]));
        assert!(!extend(&[2], &[0], &[]), "a text that is null");
        assert!(!extend(&[3], &[1], &["a"]), "a text before the first list");
        assert!(!extend(&[3, 1], &[0, 1], &["a"]), "a list within a list");
        assert!(!extend(&[3, 3], &[0, 1], &["a"]), "too few texts");
        assert!(!extend(&[3], &[0], &["a", "b"]), "too many texts");
    }
}
