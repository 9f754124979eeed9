//! SQL over a run's Parquet tables. This is the only user of polars' SQL.
//!
//! Tables are read one row group at a time. Only the columns that the query names and the rows that
//! match its conditions are kept, so memory grows with the size of the answer. Only these tables
//! can be read: polars is built without its readers of files and addresses.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{
    AnonymousScan, AnonymousScanArgs, DataFrame, DataType, Expr, Field as PolarsField, IntoLazy,
    LazyFrame, Operator, PolarsResult, ScanArgsAnonymous, Schema, SchemaRef, TimeUnit, TimeZone,
};
use polars::sql::SQLContext;
use polars_io::SerReader;
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::Error;
use crate::parquet::{ColumnType, ParquetField};
use crate::report::schema::stem;
use crate::report::{PARQUET_EXTENSION, PARQUET_FOLDER, TABLES, parquet};

/// The Parquet tables of a run, ready for SQL queries.
pub struct ResultTables(SQLContext);

impl ResultTables {
    /// Opens the tables in a folder of results.
    ///
    /// # Errors
    /// [`Error::NoResults`] when there is no such folder or a table cannot be read,
    /// [`Error::NoTables`] when it holds no Parquet tables.
    pub fn open(folder: &Path) -> Result<ResultTables, Error> {
        let no_results = |reason: String| Error::NoResults { path: folder.to_owned(), reason };
        if !folder.is_dir() {
            return Err(no_results("no such folder".to_owned()));
        }
        let context = SQLContext::new();
        let mut found = false;
        for table in &TABLES {
            let name = stem(table);
            let files = table_files(folder, name);
            if files.is_empty() {
                continue;
            }
            found = true;
            let schema = SchemaRef::new(polars_schema(&parquet::fields(table.columns)));
            let args =
                ScanArgsAnonymous { schema: Some(schema), name: "table", ..Default::default() };
            let scan = LazyFrame::anonymous_scan(Arc::new(TableScan(files)), args);
            context.register(name, scan.map_err(|error| no_results(error.to_string()))?);
        }
        if !found {
            return Err(Error::NoTables(folder.to_owned()));
        }
        Ok(ResultTables(context))
    }

    /// Runs a query.
    ///
    /// # Errors
    /// [`Error::Sql`] when the query is invalid or names something that does not exist.
    pub fn query(&mut self, sql: &str) -> Result<DataFrame, Error> {
        let frame = self.0.execute(&quote_user_column(sql)?).and_then(LazyFrame::collect);
        frame.map_err(|error| {
            // The lines after the first are polars' plan.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Error::Sql(format!("{line}; the tables are {}", self.0.get_tables().join(", ")))
        })
    }
}

/// Converts the columns of a table to a polars schema.
fn polars_schema(fields: &[ParquetField]) -> Schema {
    let data_type = |column_type: ColumnType| match column_type {
        ColumnType::Time => DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC)),
        ColumnType::U64 => DataType::UInt64,
        ColumnType::U32 => DataType::UInt32,
        ColumnType::F64 => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Text => DataType::String,
        ColumnType::Texts => DataType::List(Box::new(DataType::String)),
    };
    let fields = fields.iter().map(|field| (field.name, data_type(field.column_type)));
    fields.map(|(name, data_type)| PolarsField::new(name.into(), data_type)).collect()
}

/// Statements that polars would apply only to its own view of the tables. They would look as if
/// they had changed a file.
const CHANGES: [Keyword; 4] = [Keyword::CREATE, Keyword::DELETE, Keyword::DROP, Keyword::TRUNCATE];

/// Quotes column names in a query that SQL also has as functions: `user`.
fn quote_user_column(sql: &str) -> Result<String, Error> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return Ok(sql.to_owned());
    };
    let word = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let first = tokens.iter().find(|token| !matches!(token, Token::Whitespace(_)));
    if let Some(first) = first.filter(|first| CHANGES.contains(&word(first))) {
        return Err(Error::Sql(format!("{first} would change a table, and tables are only asked")));
    }
    let plain = tokens.iter().map(|token| match word(token) {
        Keyword::USER => "\"user\"".to_owned(),
        _ => token.to_string(),
    });
    Ok(plain.collect())
}

/// Returns the part of a predicate that must be applied. For a sorted query with a limit polars
/// adds a condition on which rows can still come first. It is a hint that only polars' own readers
/// understand.
fn condition_to_apply(predicate: &Expr) -> Option<Expr> {
    match predicate {
        Expr::Display { .. } => None,
        Expr::BinaryExpr { left, op: Operator::And, right } => {
            match (condition_to_apply(left), condition_to_apply(right)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (one, other) => one.or(other),
            }
        }
        all => Some(all.clone()),
    }
}

/// Lists a table's files: one, or one per host.
fn table_files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let folder = folder.join(PARQUET_FOLDER);
    let one = folder.join(format!("{name}{PARQUET_EXTENSION}"));
    if one.is_file() {
        return vec![one];
    }
    let parts = fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
    let is_part = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(PARQUET_EXTENSION)
    };
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).filter(is_part).collect();
    parts.sort();
    parts
}

/// Reads a table's files for polars.
struct TableScan(Vec<PathBuf>);

impl TableScan {
    /// Reads a file group by group and adds the rows that match the predicate to `found`. It reads
    /// at most `room` rows.
    fn read_file(
        &self,
        path: &Path,
        wanted: &AnonymousScanArgs,
        predicate: Option<&Expr>,
        room: &mut usize,
        found: &mut Option<DataFrame>,
    ) -> PolarsResult<()> {
        let file = || {
            let name = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
            File::open(path).map_err(name)
        };
        let metadata = ParquetReader::new(file()?).get_metadata()?.clone();
        let columns = match wanted.with_columns.as_deref() {
            // A count needs no column, but reading rows needs one.
            Some([]) => wanted.schema.iter_names().take(1).map(ToString::to_string).collect(),
            Some(names) => names.iter().map(ToString::to_string).collect::<Vec<String>>(),
            None => wanted.schema.iter_names().map(ToString::to_string).collect(),
        };
        let mut start = 0;
        // A file without rows still has the types of its columns.
        let mut groups: Vec<usize> =
            metadata.row_groups.iter().map(|group| group.num_rows()).collect();
        if groups.is_empty() {
            groups.push(0);
        }
        for rows in groups {
            if *room == 0 && found.is_some() {
                return Ok(());
            }
            let mut reader = ParquetReader::new(file()?);
            reader.set_metadata(metadata.clone());
            let mut group = reader
                .read_parallel(ParallelStrategy::None)
                .with_slice(Some((start, rows.min(*room))))
                .with_columns(Some(columns.clone()))
                .finish()?
                .select(columns.iter().map(String::as_str))?;
            start += rows;
            *room -= group.height();
            if let Some(predicate) = predicate {
                group = group.lazy().filter(predicate.clone()).collect()?;
            }
            match found {
                Some(found) => {
                    found.vstack_mut(&group)?;
                }
                None => *found = Some(group),
            }
        }
        Ok(())
    }
}

impl AnonymousScan for TableScan {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, wanted: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        let mut room = wanted.n_rows.unwrap_or(usize::MAX);
        let predicate = wanted.predicate.as_ref().and_then(condition_to_apply);
        let mut found = None;
        for path in &self.0 {
            self.read_file(path, &wanted, predicate.as_ref(), &mut room, &mut found)?;
        }
        Ok(found.unwrap_or_default())
    }

    fn allows_predicate_pushdown(&self) -> bool {
        true
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}
