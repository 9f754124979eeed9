//! Reads a Parquet file of one row group that may come from an untrusted sender.
//!
//! The library trusts a file's own statements: the length of a decompressed page, the number of
//! values in a dictionary. So the footer is bounded, pages are decompressed here, and counts are
//! checked before they are used. Only the output of `write` is read: three encodings, two kinds of
//! pages, one form of each type.

use std::io::{self, Read};
use std::panic;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{
    Compression, ConvertedType, Encoding, LogicalType, TimeUnit, Type as Physical,
};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use super::values::DEFINED;
use super::{ColumnType, ColumnValues, ListValues, ParquetField, PrimitiveValues, TextValues};

/// The most bytes of a footer. With some dozen columns it has a few thousand.
const MOST_FOOTER: usize = 1 << 18;
/// Bytes at the end of a file: the length of its footer, and the mark of its format.
const END: usize = 8;
/// The rows that are read at a time.
const ROWS_AT_ONCE: usize = 1024;
/// The bytes of the shortest entry of a dictionary.
const SHORTEST_ENTRY: usize = 4;

/// The bounds on the size of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadBounds {
    /// The rows that it must have.
    pub rows: usize,
    /// The most texts in the lists of a column.
    pub texts: usize,
    /// The most bytes of the pages of a column, and of all texts of the file.
    pub bytes: usize,
}

/// Reads these columns of a file.
///
/// # Errors
/// When it is not a Parquet file, does not have one row group with these rows, lacks a column, has
/// a column of another type or length, or exceeds the bounds.
pub(crate) fn read(
    file: Vec<u8>,
    fields: &[ParquetField],
    bounds: ReadBounds,
) -> io::Result<Vec<ColumnValues>> {
    // The library panics on some files that no writer makes.
    let columns = panic::catch_unwind(|| read_columns(file.into(), fields, bounds));
    let columns = columns.map_err(|_| io::Error::other("it is not a Parquet file"))?;
    columns.map_err(io::Error::other)
}

fn reject<T>(reason: &str) -> Result<T> {
    Err(ParquetError::General(reason.to_owned()))
}

fn read_columns(
    file: Bytes,
    fields: &[ParquetField],
    bounds: ReadBounds,
) -> Result<Vec<ColumnValues>> {
    let footer =
        file.last_chunk::<END>().map(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]));
    if footer.is_none_or(|length| length as usize > MOST_FOOTER) {
        return reject("it is not a Parquet file");
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
    let [group] = metadata.row_groups() else {
        return reject("it has not one row group");
    };
    let file_rows = metadata.file_metadata().num_rows();
    if [file_rows, group.num_rows()].map(usize::try_from) != [Ok(bounds.rows); 2] {
        return reject("its rows are not as many as were written");
    }
    let mut reader = GroupReader { file: Arc::new(file), group, bounds, text_bytes: 0 };
    fields.iter().map(|field| reader.column(field)).collect()
}

struct GroupReader<'m> {
    file: Arc<Bytes>,
    group: &'m RowGroupMetaData,
    bounds: ReadBounds,
    /// The bytes of all texts that were read.
    text_bytes: usize,
}

impl GroupReader<'_> {
    fn column(&mut self, field: &ParquetField) -> Result<ColumnValues> {
        Ok(match field.column_type {
            ColumnType::Time => {
                ColumnValues::Time(self.primitives::<Int64Type, _>(field, |&value| value)?)
            }
            ColumnType::U64 => ColumnValues::U64(
                self.primitives::<Int64Type, _>(field, |value| value.cast_unsigned())?,
            ),
            ColumnType::U32 => ColumnValues::U32(
                self.primitives::<Int32Type, _>(field, |value| value.cast_unsigned())?,
            ),
            ColumnType::F64 => {
                ColumnValues::F64(self.primitives::<DoubleType, _>(field, |&value| value)?)
            }
            ColumnType::Bool => {
                ColumnValues::Bool(self.primitives::<BoolType, _>(field, |&value| value)?)
            }
            ColumnType::Text => ColumnValues::Text(self.texts(field)?),
            ColumnType::Texts => ColumnValues::Texts(self.lists(field)?),
        })
    }

    fn primitives<P: DataType, T: Copy + Default>(
        &self,
        field: &ParquetField,
        value: impl Fn(&P::T) -> T,
    ) -> Result<PrimitiveValues<T>> {
        let mut found = PrimitiveValues::default();
        self.batches::<P>(field, |batch| {
            let mut values = batch.values.iter();
            for &level in batch.definition {
                found.push((level == DEFINED).then(|| values.next().map(&value)).flatten());
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn texts(&mut self, field: &ParquetField) -> Result<TextValues> {
        let mut found = TextValues::default();
        let mut text_bytes = self.text_bytes;
        self.batches::<ByteArrayType>(field, |batch| {
            let texts = self.to_texts(batch.values, &mut text_bytes)?;
            let mut texts = texts.into_iter();
            for &level in batch.definition {
                found.push((level == DEFINED).then(|| texts.next()).flatten());
            }
            Ok(())
        })?;
        self.text_bytes = text_bytes;
        Ok(found)
    }

    fn lists(&mut self, field: &ParquetField) -> Result<ListValues> {
        let mut found = ListValues::default();
        let mut text_bytes = self.text_bytes;
        self.batches::<ByteArrayType>(field, |batch| {
            let texts = self.to_texts(batch.values, &mut text_bytes)?;
            if found.extend(batch.definition, batch.repetition, texts.into_iter()) {
                Ok(())
            } else {
                reject("a list of texts is invalid")
            }
        })?;
        self.text_bytes = text_bytes;
        Ok(found)
    }

    /// Converts byte arrays to texts, within the bounds.
    fn to_texts<'b>(
        &self,
        arrays: &'b [ByteArray],
        text_bytes: &mut usize,
    ) -> Result<Vec<&'b str>> {
        *text_bytes += arrays.iter().map(ByteArray::len).sum::<usize>();
        if *text_bytes > self.bounds.bytes {
            return reject("it has more text than may be read");
        }
        arrays.iter().map(ByteArray::as_utf8).collect()
    }

    /// Passes the values of a column to `each`, some rows at a time.
    fn batches<P: DataType>(
        &self,
        field: &ParquetField,
        mut each: impl FnMut(ValueBatch<'_, P::T>) -> Result<()>,
    ) -> Result<()> {
        let mut reader = self.open::<P>(field)?;
        let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = 0;
        loop {
            definition.clear();
            repetition.clear();
            values.clear();
            let (read, ..) = reader.read_records(
                ROWS_AT_ONCE,
                Some(&mut definition),
                Some(&mut repetition),
                &mut values,
            )?;
            rows += read;
            if read == 0 || rows > self.bounds.rows {
                break;
            }
            each(ValueBatch { definition: &definition, repetition: &repetition, values: &values })?;
        }
        if rows == self.bounds.rows { Ok(()) } else { reject("its columns are not equally long") }
    }

    /// Opens a column.
    fn open<P: DataType>(&self, field: &ParquetField) -> Result<ColumnReaderImpl<P>> {
        let mut leaves = { self.group.columns().iter() }.filter(|leaf| {
            leaf.column_path().parts().first().is_some_and(|name| name == field.name)
        });
        let (Some(leaf), None) = (leaves.next(), leaves.next()) else {
            return reject(&format!("it has not one column {}", field.name));
        };
        let descriptor = leaf.column_descr_ptr();
        if !is_of_type(&descriptor, field.column_type) {
            return reject(&format!("its column {} is of another type", field.name));
        }
        let is_compressed = match leaf.compression() {
            Compression::UNCOMPRESSED => false,
            Compression::ZSTD(_) => true,
            _ => return reject("it is compressed in another way"),
        };
        // The library must not decompress anything.
        let stored =
            leaf.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let pages = SerializedPageReader::new(self.file.clone(), &stored, self.bounds.rows, None)?;
        let in_lists = if descriptor.max_rep_level() > 0 { self.bounds.texts } else { 0 };
        let pages = BoundedPages {
            pages,
            is_compressed,
            values: self.bounds.rows + in_lists,
            bytes: self.bounds.bytes,
        };
        let reader = get_column_reader(descriptor, Box::new(pages));
        P::get_column_reader(reader).ok_or_else(|| ParquetError::General("another type".into()))
    }
}

/// The values of some rows.
struct ValueBatch<'b, T> {
    definition: &'b [i16],
    repetition: &'b [i16],
    values: &'b [T],
}

/// Returns whether a column of a file has this type, in the form that `write` writes.
fn is_of_type(column: &ColumnDescriptor, column_type: ColumnType) -> bool {
    let (logical, converted) = (column.logical_type_ref(), column.converted_type());
    let is_integer = |bits: i8, same: ConvertedType| {
        logical == Some(&LogicalType::integer(bits, false))
            || logical.is_none() && converted == same
    };
    let is_text = || {
        logical == Some(&LogicalType::String)
            || logical.is_none() && converted == ConvertedType::UTF8
    };
    let physical = column.physical_type();
    let is_type = match column_type {
        ColumnType::Time => {
            physical == Physical::INT64
                && logical == Some(&LogicalType::timestamp(true, TimeUnit::NANOS))
        }
        ColumnType::U64 => physical == Physical::INT64 && is_integer(64, ConvertedType::UINT_64),
        ColumnType::U32 => physical == Physical::INT32 && is_integer(32, ConvertedType::UINT_32),
        ColumnType::F64 => physical == Physical::DOUBLE && logical.is_none(),
        ColumnType::Bool => physical == Physical::BOOLEAN && logical.is_none(),
        ColumnType::Text | ColumnType::Texts => physical == Physical::BYTE_ARRAY && is_text(),
    };
    let levels = if column_type == ColumnType::Texts { (3, 1) } else { (1, 0) };
    is_type && (column.max_def_level(), column.max_rep_level()) == levels
}

/// The pages of a column, decompressed within the bounds.
struct BoundedPages {
    /// The pages as they are stored.
    pages: SerializedPageReader<Bytes>,
    is_compressed: bool,
    /// The number of values that may still be read.
    values: usize,
    /// The number of bytes that may still be read.
    bytes: usize,
}

impl BoundedPages {
    fn decompress(&mut self, stored: &Bytes) -> Result<Bytes> {
        let bytes = if self.is_compressed && !stored.is_empty() {
            let mut bytes = Vec::new();
            let decoder = zstd::Decoder::with_buffer(&stored[..])?;
            decoder.take(self.bytes as u64 + 1).read_to_end(&mut bytes)?;
            bytes.into()
        } else {
            stored.clone()
        };
        match self.bytes.checked_sub(bytes.len()) {
            Some(room) => self.bytes = room,
            None => return reject("its pages are longer than may be read"),
        }
        Ok(bytes)
    }

    fn open(&mut self, page: Page) -> Result<Page> {
        match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.decompress(&buf)?;
                let count = num_values as usize;
                if count > self.values || count > buf.len() / SHORTEST_ENTRY {
                    return reject("a dictionary is shorter than it says");
                }
                Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted })
            }
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics,
            } if is_known_encoding(encoding) => {
                match self.values.checked_sub(num_values as usize) {
                    Some(room) => self.values = room,
                    None => return reject("it has more values than may be read"),
                }
                Ok(Page::DataPage {
                    buf: self.decompress(&buf)?,
                    num_values,
                    encoding,
                    def_level_encoding: Encoding::RLE,
                    rep_level_encoding: Encoding::RLE,
                    statistics,
                })
            }
            _ => reject("a page is encoded in another way"),
        }
    }
}

/// Returns whether `write` uses this encoding.
fn is_known_encoding(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::PLAIN
            | Encoding::RLE_DICTIONARY
            | Encoding::PLAIN_DICTIONARY
            | Encoding::DELTA_BINARY_PACKED
    )
}

impl Iterator for BoundedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.open(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
