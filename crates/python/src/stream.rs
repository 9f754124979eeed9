//! Tables as Arrow streams: a batch is read when somebody asks for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, RecordBatchIterator, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use psr_forensics::observe::{self, CaseFolder, ColumnType, ColumnValues, ListValues, TableEntry};

use crate::errors::{Error, error};

/// The number of rows read at a time. No row group of the tables' files is larger.
const ROWS: usize = 1 << 16;

/// The batches of a table, in order.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A source of the rows of a table.
pub trait TableSource: Send + Sync {
    /// The types of the table's columns.
    fn schema(&self) -> Result<SchemaRef, ArrowError>;
    /// The rows, in batches.
    fn batches(&self) -> Result<Batches, ArrowError>;
    /// The number of rows, if it is known before they are read.
    fn rows(&self) -> Option<u64>;
}

/// A table for every library that supports Arrow's PyCapsule interface: pyarrow, polars, pandas,
/// DuckDB.
#[pyclass(frozen, name = "Table", module = "psr_forensics")]
pub struct ArrowTable(Arc<dyn TableSource>);

impl ArrowTable {
    /// A table of this source.
    pub fn new(source: impl TableSource + 'static) -> ArrowTable {
        ArrowTable(Arc::new(source))
    }
}

#[pymethods]
impl ArrowTable {
    /// The table as an Arrow stream, which may be asked for as often as one likes. Types are as they
    /// are: a request for others is not met, as the interface allows.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let schema = self.0.schema().map_err(error)?;
        let batches = self.0.batches().map_err(error)?;
        let reader = RecordBatchIterator::new(batches, schema);
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The types of its columns as an Arrow schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = self.0.schema().map_err(error)?;
        let schema = FFI_ArrowSchema::try_from(&*schema).map_err(error)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// How many rows it has; `None` where that is not known before they are read.
    #[getter]
    fn num_rows(&self) -> Option<u64> {
        self.0.rows()
    }
}

/// A Parquet file of results.
struct ParquetTable {
    path: PathBuf,
    rows: u64,
}

impl ParquetTable {
    fn reader(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, ArrowError> {
        let file = File::open(&self.path)
            .map_err(|error| ArrowError::IoError(error.to_string(), error))?;
        Ok(ParquetRecordBatchReaderBuilder::try_new(file)?)
    }
}

impl TableSource for ParquetTable {
    fn schema(&self) -> Result<SchemaRef, ArrowError> {
        Ok(self.reader()?.schema().clone())
    }

    fn batches(&self) -> Result<Batches, ArrowError> {
        Ok(Box::new(self.reader()?.with_batch_size(ROWS).build()?))
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }
}

/// A Parquet file of a run's results.
#[pyfunction]
pub fn parquet(path: PathBuf) -> PyResult<ArrowTable> {
    let mut table = ParquetTable { path, rows: 0 };
    let reader = table
        .reader()
        .map_err(|source| Error::new_err(format!("{}: {source}", table.path.display())))?;
    table.rows = reader.metadata().file_metadata().num_rows().try_into().unwrap_or_default();
    Ok(ArrowTable::new(table))
}

/// The column that names the input of a record.
const INPUT: &str = "input_file";

/// The columns of observations, and the column of their input.
pub fn observation_schema() -> SchemaRef {
    let fields = observe::fields().iter().map(|field| {
        let data_type = match field.column_type {
            ColumnType::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            ColumnType::U64 => DataType::UInt64,
            ColumnType::U32 => DataType::UInt32,
            ColumnType::F64 => DataType::Float64,
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Text => DataType::Utf8,
            ColumnType::Texts => DataType::new_list(DataType::Utf8, true),
        };
        Field::new(field.name, data_type, true)
    });
    let input = Field::new(INPUT, DataType::Utf8, true);
    Arc::new(Schema::new(fields.chain([input]).collect::<Vec<_>>()))
}

/// Builds a batch from columns of observations of one input.
pub fn observation_batch(
    columns: Vec<ColumnValues>,
    input: &str,
) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<ArrayRef> = columns.iter().map(array).collect();
    let rows = arrays.first().map_or(0, |first| first.len());
    arrays.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(input, rows))));
    RecordBatch::try_new(observation_schema(), arrays)
}

fn array(column: &ColumnValues) -> ArrayRef {
    match column {
        ColumnValues::Time(times) => {
            let times: TimestampNanosecondArray = times.iter().collect();
            Arc::new(times.with_timezone("UTC"))
        }
        ColumnValues::U64(numbers) => Arc::new(numbers.iter().collect::<UInt64Array>()),
        ColumnValues::U32(numbers) => Arc::new(numbers.iter().collect::<UInt32Array>()),
        ColumnValues::F64(numbers) => Arc::new(numbers.iter().collect::<Float64Array>()),
        ColumnValues::Bool(values) => Arc::new(values.iter().collect::<BooleanArray>()),
        ColumnValues::Text(texts) => Arc::new(texts.iter().collect::<StringArray>()),
        ColumnValues::Texts(lists) => list_array(lists),
    }
}

fn list_array(lists: &ListValues) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in lists.iter() {
        let is_some = list.is_some();
        list.into_iter().flatten().for_each(|text| builder.values().append_value(text));
        builder.append(is_some);
    }
    Arc::new(builder.finish())
}

/// The observations of case folders.
struct ObservationTables(Arc<Vec<ObservationFile>>);

/// A file of observations.
struct ObservationFile {
    root: PathBuf,
    table: TableEntry,
    input: String,
}

impl ObservationFile {
    fn read(&self) -> Result<RecordBatch, ArrowError> {
        let columns = observe::read_columns(&self.root, &self.table).map_err(|error| {
            let path = self.root.join(&self.table.name);
            // The error's text is all that its reader sees.
            ArrowError::IoError(format!("{}: {error}", path.display()), error)
        })?;
        observation_batch(columns, &self.input)
    }
}

impl TableSource for ObservationTables {
    fn schema(&self) -> Result<SchemaRef, ArrowError> {
        Ok(observation_schema())
    }

    fn batches(&self) -> Result<Batches, ArrowError> {
        let files = self.0.clone();
        Ok(Box::new((0..files.len()).map(move |index| files[index].read())))
    }

    fn rows(&self) -> Option<u64> {
        Some(self.0.iter().map(|file| file.table.rows).sum())
    }
}

/// The observations of case folders, in the order of inputs.
#[pyfunction]
pub fn observations(cases: Vec<PathBuf>) -> PyResult<ArrowTable> {
    let mut files = BTreeMap::new();
    for root in cases {
        for (path, (_, entry)) in CaseFolder::read(&root).map_err(error)?.files {
            // A file that is in several counts once, as in a correlation.
            files.insert(path, (root.clone(), entry));
        }
    }
    let inputs = files
        .into_values()
        .flat_map(|(root, entry)| entry.inputs.into_iter().map(move |input| (root.clone(), input)));
    let tables = inputs.flat_map(|(root, of)| {
        let input = PathBuf::from(&of.path).to_string_lossy().into_owned();
        let part = move |table| ObservationFile { root: root.clone(), table, input: input.clone() };
        of.tables.into_iter().map(part)
    });
    Ok(ArrowTable::new(ObservationTables(Arc::new(tables.collect()))))
}
