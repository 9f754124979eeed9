//! Writes Parquet files, a row group at a time.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::values::{DEFINED, ListParts, TEXT_OF_LIST};
use super::{ColumnType, ColumnValues, MOST_BYTES, ParquetField, PrimitiveValues};

/// The bytes of a text that statistics keep.
const STATISTICS_BYTES: usize = 64;
/// The bytes of texts above which a column of a small file is compressed.
const WORTH_COMPRESSING: usize = 4096;
/// The texts that are passed to the library at a time.
const TEXTS_AT_ONCE: usize = 4096;
/// The name of the writer, for readers. It stays the same from build to build.
const CREATED_BY: &str = concat!("psr-forensics version ", env!("CARGO_PKG_VERSION"));

/// A Parquet file that is being written.
pub(crate) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file with these columns, all of which are compressed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(to: W, fields: &[ParquetField]) -> io::Result<ParquetFile<W>> {
        ParquetFile::begin(to, fields, |_| true).map_err(io::Error::other)
    }

    fn begin(
        to: W,
        fields: &[ParquetField],
        is_compressed: impl Fn(usize) -> bool,
    ) -> Result<ParquetFile<W>> {
        let schema = file_schema(fields)?;
        let properties = properties(&schema, fields, is_compressed);
        let writer = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
        Ok(ParquetFile { writer })
    }

    /// Writes a row group: the values of each column, in the order of the fields.
    ///
    /// # Errors
    /// When it cannot be written, or when the columns are not those of the file or have different
    /// lengths.
    pub fn write_row_group(&mut self, columns: Vec<ColumnValues>) -> io::Result<()> {
        self.write(columns).map_err(io::Error::other)
    }

    fn write(&mut self, columns: Vec<ColumnValues>) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for column in columns {
            let writer = group.next_column()?;
            let mut writer =
                writer.ok_or_else(|| ParquetError::General("a column too many".into()))?;
            write_column(&mut writer, column)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes the end of the file and returns the underlying writer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.writer.into_inner().map_err(io::Error::other)
    }
}

/// Writes a file of one row group. Short columns are not compressed: with many small files that
/// would be most of the work.
///
/// # Errors
/// When it cannot be written, or when the columns have different lengths.
pub(crate) fn write_single_group<W: Write + Send>(
    to: W,
    fields: &[ParquetField],
    columns: Vec<ColumnValues>,
) -> io::Result<W> {
    let is_long: Vec<bool> =
        columns.iter().map(|column| column.text_bytes() >= WORTH_COMPRESSING).collect();
    let file = ParquetFile::begin(to, fields, |index| is_long.get(index) == Some(&true));
    let mut file = file.map_err(io::Error::other)?;
    file.write_row_group(columns)?;
    file.finish()
}

/// Returns the columns as the schema of a file.
fn file_schema(fields: &[ParquetField]) -> Result<TypePtr> {
    let columns: Vec<TypePtr> = fields.iter().map(column).collect::<Result<_>>()?;
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(columns).build()?))
}

fn column(field: &ParquetField) -> Result<TypePtr> {
    let primitive = |name: &str, physical: Physical, logical: Option<LogicalType>| {
        let builder = Type::primitive_type_builder(name, physical);
        let builder = builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical);
        builder.build().map(Arc::new)
    };
    let name = field.name;
    match field.column_type {
        ColumnType::Time => {
            let logical = LogicalType::timestamp(true, TimeUnit::NANOS);
            primitive(name, Physical::INT64, Some(logical))
        }
        ColumnType::U64 => primitive(name, Physical::INT64, Some(LogicalType::integer(64, false))),
        ColumnType::U32 => primitive(name, Physical::INT32, Some(LogicalType::integer(32, false))),
        ColumnType::F64 => primitive(name, Physical::DOUBLE, None),
        ColumnType::Bool => primitive(name, Physical::BOOLEAN, None),
        ColumnType::Text => primitive(name, Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Texts => {
            let element = primitive("element", Physical::BYTE_ARRAY, Some(LogicalType::String))?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![element])
                .build()?;
            let column = Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(list)])
                .build()?;
            Ok(Arc::new(column))
        }
    }
}

fn properties(
    schema: &TypePtr,
    fields: &[ParquetField],
    is_compressed: impl Fn(usize) -> bool,
) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        // A dictionary of all texts of a row group fits.
        .set_dictionary_page_size_limit(2 * MOST_BYTES);
    // Each column has one leaf.
    let leaves = SchemaDescriptor::new(schema.clone());
    for (index, (field, leaf)) in fields.iter().zip(leaves.columns()).enumerate() {
        let path = leaf.path().clone();
        if is_compressed(index) {
            let compression = Compression::ZSTD(ZstdLevel::default());
            properties = properties.set_column_compression(path.clone(), compression);
        }
        properties = match field.column_type {
            ColumnType::Text | ColumnType::Texts => {
                properties.set_column_dictionary_enabled(path, true)
            }
            ColumnType::U64 | ColumnType::U32 if field.repeats => {
                properties.set_column_dictionary_enabled(path, true)
            }
            ColumnType::Time | ColumnType::U64 | ColumnType::U32 => {
                properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
            }
            ColumnType::F64 | ColumnType::Bool => {
                properties.set_column_encoding(path, Encoding::PLAIN)
            }
        };
    }
    properties.build()
}

fn write_column(writer: &mut SerializedColumnWriter<'_>, column: ColumnValues) -> Result<()> {
    match column {
        ColumnValues::Time(values) => {
            write_primitives::<Int64Type, _>(writer, &values, |value| value)
        }
        // The bits stay the same: the logical type declares them as unsigned.
        ColumnValues::U64(values) => {
            write_primitives::<Int64Type, _>(writer, &values, u64::cast_signed)
        }
        ColumnValues::U32(values) => {
            write_primitives::<Int32Type, _>(writer, &values, u32::cast_signed)
        }
        ColumnValues::F64(values) => {
            write_primitives::<DoubleType, _>(writer, &values, |value| value)
        }
        ColumnValues::Bool(values) => {
            write_primitives::<BoolType, _>(writer, &values, |value| value)
        }
        ColumnValues::Text(texts) => {
            let (levels, bytes, ends) = texts.into_parts();
            let mut texts = ByteArrays::new(bytes, &ends);
            let writer = typed_writer::<ByteArrayType>(writer)?;
            for levels in levels.chunks(TEXTS_AT_ONCE) {
                let count = levels.iter().filter(|&&level| level == DEFINED).count();
                writer.write_batch(&texts.next(count), Some(levels), None)?;
            }
            Ok(())
        }
        ColumnValues::Texts(lists) => {
            let ListParts { definition, repetition, bytes, ends } = lists.into_parts();
            let mut texts = ByteArrays::new(bytes, &ends);
            let writer = typed_writer::<ByteArrayType>(writer)?;
            let mut start = 0;
            while start < definition.len() {
                // Each batch ends at the end of a list.
                let mut end = definition.len().min(start + TEXTS_AT_ONCE);
                while repetition.get(end).is_some_and(|&level| level != 0) {
                    end += 1;
                }
                let levels = &definition[start..end];
                let count = levels.iter().filter(|&&level| level == TEXT_OF_LIST).count();
                writer.write_batch(
                    &texts.next(count),
                    Some(levels),
                    Some(&repetition[start..end]),
                )?;
                start = end;
            }
            Ok(())
        }
    }
}

fn write_primitives<P: DataType, T: Copy + Default>(
    writer: &mut SerializedColumnWriter<'_>,
    values: &PrimitiveValues<T>,
    physical: impl Fn(T) -> P::T,
) -> Result<()> {
    let defined = values.defined(physical);
    typed_writer::<P>(writer)?.write_batch(&defined, Some(values.levels()), None)?;
    Ok(())
}

/// Returns the writer of a column, if it has this type.
fn typed_writer<'w, 'a, P: DataType>(
    writer: &'w mut SerializedColumnWriter<'a>,
) -> Result<&'w mut ColumnWriterImpl<'a, P>> {
    let writer = P::get_column_writer_mut(writer.untyped());
    writer.ok_or_else(|| ParquetError::General("a column of another type".into()))
}

/// Texts in the library's type, each a part of the same bytes.
struct ByteArrays<'e> {
    bytes: ByteArray,
    start: usize,
    ends: &'e [usize],
}

impl ByteArrays<'_> {
    fn new(bytes: Vec<u8>, ends: &[usize]) -> ByteArrays<'_> {
        ByteArrays { bytes: bytes.into(), start: 0, ends }
    }

    /// Returns the next `count` texts.
    fn next(&mut self, count: usize) -> Vec<ByteArray> {
        let (ends, rest) = self.ends.split_at(count);
        self.ends = rest;
        let text = |&end: &usize| {
            let text = self.bytes.slice(self.start, end - self.start);
            self.start = end;
            text
        };
        ends.iter().map(text).collect()
    }
}
