//! Tables as Arrow streams: a batch is read when somebody asks for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use polars_arrow::array::{Array, StructArray};
use polars_arrow::datatypes::{ArrowDataType, Field as ArrowField};
use polars_arrow::ffi::{export_field_to_c, export_iterator};
use polars_core::prelude::{
    CompatLevel, DataFrame, IntoColumn, NamedFrom, PolarsError, PolarsResult, Series,
};
use polars_io::SerReader;
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use psr_forensics::observe::{self, CaseFolder, TableEntry};

/// Rows that are read at a time: the tables' files have row groups of as many at most.
const ROWS: usize = 1 << 16;

/// The batches of a table, one after the other.
pub type Frames = Box<dyn Iterator<Item = PolarsResult<DataFrame>>>;

/// Where the rows of a table come from.
pub trait Source: Send + Sync {
    /// The table without its rows.
    fn empty(&self) -> PolarsResult<DataFrame>;
    /// Its rows.
    fn frames(&self) -> Frames;
    /// How many there are, if that is known before they are read.
    fn rows(&self) -> Option<u64>;
}

/// A table, which whoever knows Arrow's PyCapsule interface takes: pyarrow, polars, pandas, DuckDB.
#[pyclass(frozen, module = "psr_forensics")]
pub struct Table(Arc<dyn Source>);

impl Table {
    /// A table of this source.
    pub fn of(source: impl Source + 'static) -> Table {
        Table(Arc::new(source))
    }
}

#[pymethods]
impl Table {
    /// The table as an Arrow stream, which may be asked for as often as one likes. Types are as they
    /// are: a request for others is not met, as the interface allows.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let field = self.field()?;
        let data_type = field.dtype.clone();
        let batches = self.0.frames().map(move |frame| batch(frame?, &data_type));
        let stream = export_iterator(Box::new(batches), field);
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The types of its columns as an Arrow schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, export_field_to_c(&self.field()?), c"arrow_schema")
    }

    /// How many rows it has; `None` where that is not known before they are read.
    #[getter]
    fn num_rows(&self) -> Option<u64> {
        self.0.rows()
    }
}

impl Table {
    fn field(&self) -> PyResult<ArrowField> {
        let empty = self.0.empty().map_err(crate::errors::error)?;
        let fields = empty.columns().iter().map(|column| {
            let field = column.field();
            field.to_arrow(CompatLevel::oldest())
        });
        Ok(ArrowField::new("".into(), ArrowDataType::Struct(fields.collect()), false))
    }
}

/// A frame as one batch.
fn batch(frame: DataFrame, data_type: &ArrowDataType) -> PolarsResult<Box<dyn Array>> {
    let rows = frame.height();
    let columns = frame.rechunk_into_arrow(CompatLevel::oldest());
    Ok(StructArray::try_new(data_type.clone(), rows, columns, None)?.boxed())
}

/// A Parquet file of results.
struct Parquet {
    path: PathBuf,
    rows: usize,
}

impl Parquet {
    fn slice(&self, from: usize, length: usize) -> PolarsResult<DataFrame> {
        let reader = ParquetReader::new(File::open(&self.path)?);
        let reader = reader.read_parallel(ParallelStrategy::None);
        reader.with_slice(Some((from, length))).finish()
    }
}

impl Source for Arc<Parquet> {
    fn empty(&self) -> PolarsResult<DataFrame> {
        self.slice(0, 0)
    }

    fn frames(&self) -> Frames {
        let table = self.clone();
        Box::new((0..self.rows).step_by(ROWS).map(move |from| table.slice(from, ROWS)))
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows as u64)
    }
}

/// A Parquet file of a run's results.
#[pyfunction]
pub fn parquet(path: PathBuf) -> PyResult<Table> {
    let file = File::open(&path)
        .map_err(|error| crate::Error::new_err(format!("{}: {error}", path.display())))?;
    let rows = ParquetReader::new(file).num_rows().map_err(crate::errors::error)?;
    Ok(Table::of(Arc::new(Parquet { path, rows })))
}

/// The observations of case folders.
struct Observations(Arc<Vec<Part>>);

/// A file of them.
struct Part {
    root: PathBuf,
    table: TableEntry,
    input: String,
}

impl Part {
    fn read(&self) -> PolarsResult<DataFrame> {
        let frame = observe::read_frame(&self.root, &self.table).map_err(|error| {
            let path = self.root.join(&self.table.name);
            PolarsError::ComputeError(format!("{}: {error}", path.display()).into())
        })?;
        with_input(frame, &self.input)
    }
}

/// Adds the column that says which input records are of.
pub fn with_input(mut frame: DataFrame, input: &str) -> PolarsResult<DataFrame> {
    let column = Series::new("input_file".into(), vec![input; frame.height()]);
    frame.with_column(column.into_column())?;
    Ok(frame)
}

impl Source for Observations {
    fn empty(&self) -> PolarsResult<DataFrame> {
        with_input(observe::frame(&[])?, "")
    }

    fn frames(&self) -> Frames {
        let files = self.0.clone();
        Box::new((0..files.len()).map(move |index| files[index].read()))
    }

    fn rows(&self) -> Option<u64> {
        Some(self.0.iter().map(|file| file.table.rows).sum())
    }
}

/// The observations of case folders, in the order of inputs.
#[pyfunction]
pub fn observations(cases: Vec<PathBuf>) -> PyResult<Table> {
    let mut files = BTreeMap::new();
    for root in cases {
        for (path, (_, entry)) in CaseFolder::read(&root).map_err(crate::errors::error)?.files {
            // A file that is in several counts once, as in a correlation.
            files.insert(path, (root.clone(), entry));
        }
    }
    let inputs = files
        .into_values()
        .flat_map(|(root, entry)| entry.inputs.into_iter().map(move |input| (root.clone(), input)));
    let tables = inputs.flat_map(|(root, of)| {
        let input = PathBuf::from(&of.path).to_string_lossy().into_owned();
        let part = move |table| Part { root: root.clone(), table, input: input.clone() };
        of.tables.into_iter().map(part)
    });
    Ok(Table::of(Observations(Arc::new(tables.collect()))))
}
