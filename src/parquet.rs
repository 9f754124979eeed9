//! Parquet files, column by column, each in the encoding that fits it: texts as those that differ
//! and which of them each row has, whole numbers by how much one is more than the one before. What is
//! short then may stay as it is.
//!
//! Polars' own writer first estimates how many values differ, and compresses each page anew: of
//! small files that is most of the work.

use std::borrow::Borrow;
use std::hash::Hash;
use std::io::Write;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use polars::prelude::{
    CompatLevel, DataFrame, IntoColumn, PolarsError, PolarsResult, Schema, SchemaExt, Series,
};
use polars_arrow::array::{
    Array, DictionaryArray, ListArray, MutableArray, MutablePrimitiveArray, PrimitiveArray,
    Utf8ViewArray,
};
use polars_arrow::offset::Offsets;
use polars_arrow::types::NativeType;
use polars_parquet::parquet::error::ParquetError;
use polars_parquet::write::{
    CompressionOptions, Compressor, DynIter, DynStreamingIterator, Encoding,
    FallibleStreamingIterator, FileWriter, StatisticsOptions, Version, WriteOptions, ZstdLevel,
    array_to_columns,
};

use crate::keyed::Keyed;

/// Rows of a row group at most. A column of them is one page, and its nulls are counted right: the
/// library gives each page of a dictionary those of all.
pub(crate) const MOST_ROWS: usize = 1 << 16;
/// Bytes of texts in a row group, from which on it is full.
pub(crate) const MOST_BYTES: usize = 32 << 20;

/// From so many on, bytes of texts are worth compressing in a file of few rows.
pub(crate) const LONG: usize = 4096;
/// Bytes of a text that statistics keep.
const MOST_TOLD: u64 = 64;

/// The values of a column in a row group.
pub(crate) enum Column {
    /// Nanoseconds since 1970, UTC.
    Times(MutablePrimitiveArray<i64>),
    /// Whole numbers of which one tells of the next.
    Integers(MutablePrimitiveArray<u64>),
    /// Those that repeat.
    Repeated(Repeated<u64>),
    /// The same of 32 bits.
    Small(Repeated<u32>),
    Numbers(MutablePrimitiveArray<f64>),
    Texts(Texts),
    Lists(Lists),
}

impl Column {
    /// The values as an array, how they are written, and the size of texts. What repeats is a
    /// dictionary.
    fn encoded(self) -> PolarsResult<(Box<dyn Array>, Encoding, usize)> {
        let (array, encoding) = match self {
            Column::Times(values) => (array(values), Encoding::DeltaBinaryPacked),
            Column::Integers(values) => (array(values), Encoding::DeltaBinaryPacked),
            Column::Numbers(values) => (array(values), Encoding::Plain),
            Column::Repeated(values) => (values.encoded()?, Encoding::RleDictionary),
            Column::Small(values) => (values.encoded()?, Encoding::RleDictionary),
            Column::Texts(texts) => {
                let size = texts.size();
                return Ok((texts.encoded()?.boxed(), Encoding::RleDictionary, size));
            }
            Column::Lists(lists) => {
                let size = lists.texts.size();
                return Ok((lists.encoded()?, Encoding::RleDictionary, size));
            }
        };
        Ok((array, encoding, 0))
    }

    /// The values as an array of their type.
    fn plain(self) -> Box<dyn Array> {
        match self {
            Column::Times(values) => array(values),
            Column::Integers(values) => array(values),
            Column::Numbers(values) => array(values),
            Column::Repeated(values) => values.plain(),
            Column::Small(values) => values.plain(),
            Column::Texts(texts) => texts.plain(),
            Column::Lists(lists) => lists.plain(),
        }
    }
}

fn array<T: NativeType>(values: MutablePrimitiveArray<T>) -> Box<dyn Array> {
    PrimitiveArray::from(values).boxed()
}

/// Values, each that differs once, by keys in the order in which they came.
#[derive(Default)]
struct Distinct<V> {
    values: Vec<V>,
    /// Hashes and keys.
    known: HashTable<(u64, u32)>,
    keyed: Keyed,
}

impl<V> Distinct<V> {
    /// The key of a value, which may be this one.
    fn key<Q>(&mut self, value: &Q, likely: u32, own: impl FnOnce(&Q) -> V) -> u32
    where
        Q: Hash + Eq + ?Sized,
        V: Borrow<Q>,
    {
        let Distinct { values, known, keyed } = self;
        let is = |key: u32, value: &Q| {
            values.get(key as usize).is_some_and(|known: &V| known.borrow() == value)
        };
        if is(likely, value) {
            return likely;
        }
        let hash = keyed.of(value);
        let is_same = |&(of, key): &(u64, u32)| of == hash && is(key, value);
        match known.entry(hash, is_same, |&(hash, _)| hash) {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(room) => {
                // The rows and bytes of a group bound them.
                let key = values.len() as u32;
                room.insert((hash, key));
                values.push(own(value));
                key
            }
        }
    }
}

/// Numbers that repeat.
#[derive(Default)]
pub(crate) struct Repeated<T: NativeType> {
    keys: MutablePrimitiveArray<u32>,
    of: Distinct<T>,
    latest: u32,
}

impl<T: NativeType + Hash + Eq> Repeated<T> {
    pub fn push(&mut self, value: Option<T>) {
        if let Some(value) = value {
            self.latest = self.of.key(&value, self.latest, |&value| value);
        }
        self.keys.push(value.map(|_| self.latest));
    }

    fn encoded(self) -> PolarsResult<Box<dyn Array>> {
        let values = PrimitiveArray::from_vec(self.of.values).boxed();
        Ok(DictionaryArray::try_from_keys(self.keys.into(), values, false)?.boxed())
    }

    fn plain(self) -> Box<dyn Array> {
        let values = &self.of.values;
        let value = |key: Option<&u32>| key.map(|&key| values[key as usize]);
        let keys: PrimitiveArray<u32> = self.keys.into();
        PrimitiveArray::from_trusted_len_iter(keys.iter().map(value)).boxed()
    }
}

/// Texts.
#[derive(Default)]
pub(crate) struct Texts {
    keys: MutablePrimitiveArray<u32>,
    of: Distinct<Box<str>>,
    latest: u32,
    /// Bytes of those that differ.
    bytes: usize,
}

impl Texts {
    pub fn push(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.latest = self.key(text, self.latest);
        }
        self.keys.push(text.map(|_| self.latest));
    }

    fn key(&mut self, text: &str, likely: u32) -> u32 {
        let before = self.of.values.len();
        let key = self.of.key(text, likely, |text| text.into());
        if self.of.values.len() > before {
            self.bytes += text.len();
        }
        key
    }

    fn size(&self) -> usize {
        self.bytes + self.keys.len()
    }

    fn encoded(self) -> PolarsResult<DictionaryArray<u32>> {
        let values = Utf8ViewArray::from_slice_values(&self.of.values).boxed();
        DictionaryArray::try_from_keys(self.keys.into(), values, false)
    }

    fn plain(self) -> Box<dyn Array> {
        let values = &self.of.values;
        let text = |key: Option<&u32>| key.map(|&key| &*values[key as usize]);
        let keys: PrimitiveArray<u32> = self.keys.into();
        let texts: Vec<Option<&str>> = keys.iter().map(text).collect();
        Utf8ViewArray::from_slice(texts).boxed()
    }
}

/// Lists of texts.
#[derive(Default)]
pub(crate) struct Lists {
    ends: Offsets<i64>,
    texts: Texts,
    /// Where the list before begins: lists of one kind have the same texts in the same places.
    before: usize,
}

impl Lists {
    pub fn push<'t>(&mut self, list: impl Iterator<Item = &'t str>) -> PolarsResult<()> {
        let Lists { ends, texts, before } = self;
        let start = texts.keys.len();
        for (index, text) in list.enumerate() {
            let likely = texts.keys.values().get(*before + index).copied().unwrap_or_default();
            let key = texts.key(text, likely);
            texts.keys.push_value(key);
        }
        *before = start;
        ends.try_push(texts.keys.len() - start)
    }

    fn encoded(self) -> PolarsResult<Box<dyn Array>> {
        Ok(list(self.ends, self.texts.encoded()?.boxed()))
    }

    fn plain(self) -> Box<dyn Array> {
        list(self.ends, self.texts.plain())
    }
}

fn list(ends: Offsets<i64>, texts: Box<dyn Array>) -> Box<dyn Array> {
    let data_type = ListArray::<i64>::default_datatype(texts.dtype().clone());
    ListArray::new(data_type, ends.into(), texts, None).boxed()
}

/// A table of these columns.
pub(crate) fn frame(schema: &Schema, rows: usize, columns: Vec<Column>) -> PolarsResult<DataFrame> {
    let series = schema.iter().zip(columns).map(|((name, data_type), column)| {
        let array = Series::from_arrow(name.clone(), column.plain())?;
        Ok(array.cast(data_type)?.into_column())
    });
    DataFrame::new(rows, series.collect::<PolarsResult<_>>()?)
}

/// A Parquet file in the making, which is read again as a table of its schema.
pub(crate) struct File<W: Write> {
    writer: FileWriter<W>,
    options: WriteOptions,
    least: usize,
}

impl<W: Write> File<W> {
    /// A file whose columns are compressed from so many bytes of texts on; from none, all are.
    pub fn new(to: W, schema: &Schema, least: usize) -> PolarsResult<File<W>> {
        let options = WriteOptions {
            statistics: StatisticsOptions {
                binary_statistics_truncate_length: Some(MOST_TOLD),
                ..StatisticsOptions::default()
            },
            version: Version::V1,
            compression: CompressionOptions::Uncompressed,
            data_page_size: None,
        };
        let schema = schema.to_arrow(CompatLevel::newest());
        Ok(File { writer: FileWriter::try_new(to, schema, options)?, options, least })
    }

    /// Writes a row group.
    pub fn group(&mut self, rows: usize, columns: Vec<Column>) -> PolarsResult<()> {
        let fields = self.writer.parquet_schema().fields();
        let mut written = Vec::new();
        for (column, field) in columns.into_iter().zip(fields) {
            let (array, encoding, size) = column.encoded()?;
            let compression = match size >= self.least {
                true => CompressionOptions::Zstd(Some(ZstdLevel::try_new(1)?)),
                false => CompressionOptions::Uncompressed,
            };
            let pages = array_to_columns(array, field.clone(), self.options, &[encoding])?;
            written.extend(pages.into_iter().map(|pages| {
                let raised = |error| ParquetError::FeatureNotSupported(format!("{error}"));
                let pages = pages.map(move |page| page.map_err(raised));
                let pages = Compressor::new(pages, compression, Vec::new());
                Ok(DynStreamingIterator::new(pages.map_err(PolarsError::from)))
            }));
        }
        self.writer.write(rows as u64, DynIter::new(written.into_iter()))
    }

    /// Writes the end, and gives back where to.
    pub fn finish(mut self) -> PolarsResult<W> {
        self.writer.end(None)?;
        Ok(self.writer.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars::prelude::{DataType, Field, TimeUnit, TimeZone};
    use polars_io::SerReader;
    use polars_io::parquet::read::ParquetReader;

    use super::*;

    fn schema() -> Schema {
        let time = DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC));
        let fields = [
            ("time", time),
            ("integer", DataType::UInt64),
            ("repeated", DataType::UInt64),
            ("small", DataType::UInt32),
            ("number", DataType::Float64),
            ("text", DataType::String),
            ("list", DataType::List(Box::new(DataType::String))),
        ];
        fields.into_iter().map(|(name, of)| Field::new(name.into(), of)).collect()
    }

    /// Columns of these texts, in lists of so many, and of the numbers that they begin with.
    fn columns(texts: &[Option<String>], in_list: usize) -> Vec<Column> {
        let numbers: Vec<Option<u64>> = { texts.iter().flatten() }
            .map(|text| text.split(' ').next().and_then(|number| number.parse().ok()))
            .chain(texts.iter().filter(|text| text.is_none()).map(|_| None))
            .collect();
        let mut times = MutablePrimitiveArray::new();
        let mut integers = MutablePrimitiveArray::new();
        let mut decimals = MutablePrimitiveArray::new();
        let (mut repeated, mut small) = (Repeated::default(), Repeated::default());
        for number in numbers {
            times.push(number.map(|number| number as i64));
            integers.push(number);
            decimals.push(number.map(|number| number as f64));
            repeated.push(number);
            small.push(number.map(|number| number as u32));
        }
        let (mut cells, mut lists) = (Texts::default(), Lists::default());
        for (row, text) in texts.iter().enumerate() {
            cells.push(text.as_deref());
            let list = texts[row..].iter().take(row % (in_list + 1)).flatten();
            lists.push(list.map(String::as_str)).unwrap();
        }
        vec![
            Column::Times(times),
            Column::Integers(integers),
            Column::Repeated(repeated),
            Column::Small(small),
            Column::Numbers(decimals),
            Column::Texts(cells),
            Column::Lists(lists),
        ]
    }

    /// What a file holds whose row groups have these rows, by Polars' reader, and what it is to hold.
    fn read_back(texts: &[Option<String>], groups: &[usize]) -> (DataFrame, DataFrame) {
        let schema = schema();
        let mut file = File::new(Vec::new(), &schema, LONG).unwrap();
        let mut expected: Option<DataFrame> = None;
        let mut start = 0;
        for &rows in groups {
            let texts = &texts[start..start + rows];
            start += rows;
            file.group(rows, columns(texts, 3)).unwrap();
            let group = frame(&schema, rows, columns(texts, 3)).unwrap();
            match &mut expected {
                None => expected = Some(group),
                Some(all) => drop(all.vstack_mut(&group).unwrap()),
            }
        }
        let bytes = file.finish().unwrap();
        (ParquetReader::new(Cursor::new(bytes)).finish().unwrap(), expected.unwrap())
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let extremes = [u64::MAX, 0, 1 << 63, (1 << 63) - 1, 1, u64::MAX - 1, 42, 42, 42];
        let texts: Vec<Option<String>> = { extremes.iter().map(|number| Some(number.to_string())) }
            .chain([None, Some(String::new()), Some("7 ä\u{0}\n".into()), None])
            .collect();
        let (read, expected) = read_back(&texts, &[9, 4]);
        assert!(read.equals_missing(&expected), "{read}\n{expected}");
        assert_eq!(read.schema().as_ref(), &schema());
        let cells = read.column("integer").unwrap().u64().unwrap();
        assert_eq!(cells.iter().take(9).collect::<Vec<_>>(), extremes.map(Some));
        let cells = read.column("text").unwrap().str().unwrap();
        let expected: Vec<Option<&str>> = texts.iter().map(|text| text.as_deref()).collect();
        assert_eq!(cells.iter().collect::<Vec<_>>(), expected);
        let lists = read.column("list").unwrap().list().unwrap();
        let third = lists.get_as_series(3).unwrap();
        let third: Vec<Option<&str>> = third.str().unwrap().iter().collect();
        let next = [extremes[3], extremes[4], extremes[5]].map(|number| number.to_string());
        assert_eq!(third, next.each_ref().map(|text| Some(text.as_str())));
    }

    #[test]
    fn columns_of_nothing_and_of_one_value_are_files_too() {
        for texts in [vec![None; 5], vec![Some("1".to_owned()); 300]] {
            let (read, expected) = read_back(&texts, &[texts.len()]);
            assert!(read.equals_missing(&expected), "{read}\n{expected}");
        }
    }

    #[test]
    fn long_columns_are_compressed_and_read_as_they_were_written() {
        // As many texts that differ as two bytes cannot number, in many pages.
        let texts: Vec<Option<String>> = { 0..70_000_u64 }
            .map(|row| (row % 7 != 0).then(|| format!("{} of {row} {}", row / 3, "x".repeat(40))))
            .collect();
        let (read, expected) = read_back(&texts, &[60_000, 10_000]);
        assert!(read.equals_missing(&expected));
        let mut file = File::new(Vec::new(), &schema(), 0).unwrap();
        file.group(70_000, columns(&texts, 3)).unwrap();
        let size = file.finish().unwrap().len();
        let plain: usize = texts.iter().flatten().map(String::len).sum();
        assert!(size < plain, "{size} of {plain}, and each text is there thrice");
    }
}
