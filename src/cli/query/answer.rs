//! The answer to a query, as a table, CSV or JSON lines.

use std::io::{self, BufWriter, IsTerminal, Write};

use chrono::DateTime;
use polars::prelude::{AnyValue, DataFrame, TimeUnit};
use serde_json::{Map, Value};

use crate::model::csv_time;
use crate::report::{push_cell, visible};

/// Widest column of a table on a terminal, in characters.
const WIDEST: usize = 60;

/// Prints an answer: as JSON lines where these are wanted, as a table on a terminal, as CSV elsewhere.
///
/// # Errors
/// When it cannot be written. A reader that closed the pipe has seen enough.
pub(super) fn print(answer: &DataFrame, as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if as_json {
        json(answer, &mut out)
    } else if io::stdout().is_terminal() {
        table(answer, &mut out)
    } else {
        csv(answer, &mut out)
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The values of an answer, row by row.
fn rows(answer: &DataFrame) -> impl Iterator<Item = Vec<Value>> {
    (0..answer.height()).map(|row| {
        let of = |column: &polars::prelude::Column| {
            column.get(row).map_or(Value::Null, |cell| value(&cell))
        };
        answer.columns().iter().map(of).collect()
    })
}

fn value(cell: &AnyValue<'_>) -> Value {
    match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(yes) => Value::Bool(*yes),
        AnyValue::String(text) => Value::from(*text),
        AnyValue::StringOwned(text) => Value::from(text.as_str()),
        AnyValue::Datetime(at, unit, _) => time(*at, *unit),
        AnyValue::DatetimeOwned(at, unit, _) => time(*at, *unit),
        AnyValue::Float32(number) => Value::from(*number),
        AnyValue::Float64(number) => Value::from(*number),
        AnyValue::List(values) => values.iter().map(|cell| value(&cell)).collect(),
        cell if cell.dtype().is_unsigned_integer() => Value::from(cell.extract::<u64>()),
        cell if cell.dtype().is_integer() => Value::from(cell.extract::<i64>()),
        // Dates, durations and what else polars can make of a table.
        cell => Value::from(cell.to_string()),
    }
}

fn time(at: i64, unit: TimeUnit) -> Value {
    let at = match unit {
        TimeUnit::Nanoseconds => Some(DateTime::from_timestamp_nanos(at)),
        TimeUnit::Microseconds => DateTime::from_timestamp_micros(at),
        TimeUnit::Milliseconds => DateTime::from_timestamp_millis(at),
    };
    at.map_or(Value::Null, |at| csv_time(at).into())
}

fn json(answer: &DataFrame, out: &mut impl Write) -> io::Result<()> {
    for row in rows(answer) {
        let names = answer.get_column_names().into_iter().map(ToString::to_string);
        let line: Map<String, Value> = names.zip(row).collect();
        writeln!(out, "{}", Value::Object(line))?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn csv(answer: &DataFrame, out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    let head = answer.get_column_names().into_iter().map(|name| Value::from(name.as_str()));
    for row in std::iter::once(head.collect()).chain(rows(answer)) {
        line.clear();
        for (index, value) in row.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            match value {
                // A number is no formula, whatever its sign.
                Value::Number(number) => line.push_str(&number.to_string()),
                value => push_cell(&mut line, &text(value)),
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn table(answer: &DataFrame, out: &mut impl Write) -> io::Result<()> {
    let shown = |text: &str| {
        let text = visible(text);
        match text.char_indices().nth(WIDEST) {
            Some(_) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
            None => text.into_owned(),
        }
    };
    let head = answer.get_column_names().into_iter().map(|name| shown(name)).collect();
    let cells = |row: Vec<Value>| row.iter().map(|value| shown(&text(value))).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows(answer).map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..answer.width()).filter_map(width).collect();
    for (index, line) in lines.iter().enumerate() {
        let padded = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<String>>().join("  ").trim_end())?;
        if index == 0 {
            let rules = widths.iter().map(|&width| "─".repeat(width));
            writeln!(out, "{}", rules.collect::<Vec<String>>().join("  "))?;
        }
    }
    writeln!(out, "{} rows", answer.height())
}
