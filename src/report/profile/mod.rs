//! Results in the forms of other tools: every event with its record's data and, where people's
//! habits have a place for them, sessions and detections as rows of their own.
//!
//! There is one model of rows, in `rows.rs`; a form is what it makes a line of each. Lines are made
//! side by side and written in order.

mod doc;
mod ecs;
mod ecs_fields;
mod evtxecmd;
mod rows;
mod shape;
mod splunk;
mod timesketch;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use rayon::prelude::*;

use self::rows::Rows;
use self::shape::Shape;
use super::{Format, Output, Wanted};
use crate::analysis::Analysis;
use crate::error::Error;
use crate::report::output::Summed;

/// The files of a form that shows records whole.
pub(super) fn shapes(format: Format) -> &'static [Shape] {
    match format {
        Format::EvtxECmd => evtxecmd::SHAPES,
        Format::Timesketch => timesketch::SHAPES,
        Format::Ecs => ecs::SHAPES,
        Format::Splunk => splunk::SHAPES,
        Format::Csv | Format::Html | Format::Parquet => &[],
    }
}

/// Bytes of records of which lines are made side by side.
const AT_ONCE: usize = 4 << 20;

/// A file in the making.
type Open = (&'static Shape, PathBuf, BufWriter<Summed>);

/// Writes the files of all forms that show records whole, in one pass over the events.
pub(super) fn write(
    analysis: &Analysis,
    wanted: &Wanted,
    output: &mut Output,
) -> Result<(), Error> {
    let mut open: Vec<Open> = Vec::new();
    for shape in wanted.formats.iter().flat_map(|&format| shapes(format)) {
        let path = output.path(shape.file);
        let mut file = output.create(shape.file)?;
        if shape.has_head {
            let names: Vec<&str> = shape.columns.iter().map(|column| column.name).collect();
            writeln!(file, "{}", names.join(",")).map_err(Error::write(&path))?;
        }
        open.push((shape, path, file));
    }
    let Some((_, first, _)) = open.first() else { return Ok(()) };
    let first = first.clone();
    rows(analysis, &mut open).map_err(Error::write(&first))
}

fn rows(analysis: &Analysis, open: &mut [Open]) -> io::Result<()> {
    let rows = Rows::new(analysis);
    let shapes: Vec<&Shape> = open.iter().map(|(shape, ..)| *shape).collect();
    let mut put = |lines: Vec<io::Result<Vec<String>>>| -> io::Result<()> {
        for lines in lines {
            for ((.., file), line) in open.iter_mut().zip(lines?) {
                file.write_all(line.as_bytes())?;
            }
        }
        Ok(())
    };
    let lines = |line: &dyn Fn(&Shape, &mut String)| -> Vec<String> {
        let of = |shape: &&Shape| {
            let mut to = String::new();
            line(shape, &mut to);
            to
        };
        shapes.iter().map(of).collect()
    };
    rows.frames(AT_ONCE, |frames| {
        let made = frames.par_iter().map(|(frame, copies)| {
            let Some(told) = rows.event(frame)? else { return Ok(Vec::new()) };
            let row = rows.row(&told, copies);
            Ok(lines(&|shape, to| (shape.event)(&row, to)))
        });
        put(made.collect())
    })?;
    for session in rows.sessions() {
        put(vec![Ok(lines(&|shape, to| (shape.session)(&session, to)))])?;
    }
    rows.detections(|detection| {
        put(vec![Ok(lines(&|shape, to| (shape.detection)(detection, to)))])
    })?;
    open.iter_mut().try_for_each(|(.., file)| file.flush())
}
