//! Decodes a range of chunks of an EVTX log. Each task of a parallel job reads one range.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{ArrowError, SchemaRef};
use pyo3::prelude::*;
use serde_json::Value;

use psr_forensics::decode::{Decoder, RecordFilter, chunk_offset};
use psr_forensics::error::FaultKind;
use psr_forensics::input::{Piece, PlaceReader};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, RecordRef};
use psr_forensics::observe;
use psr_forensics::{Fault, Input, Record};

use crate::stream::{ArrowTable, Batches, TableSource, observation_batch, observation_schema};

/// Chunks that make a batch: 2 MiB.
const CHUNKS: u64 = 32;

/// Wants every record.
struct AllRecords;

impl RecordFilter for AllRecords {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// Some chunks of a log.
struct ChunkSelection {
    input: Input,
    name: String,
    from: u64,
    to: u64,
}

/// Reads chunks, one after another.
#[derive(Default)]
struct ChunkReader {
    again: PlaceReader,
    piece: Piece,
    decoder: Decoder,
}

impl ChunkReader {
    /// Passes the records of a chunk to `take`. Returns the faults of the chunk.
    fn read(&mut self, input: &Input, chunk: u64, take: impl FnMut(&Record)) -> Vec<Fault> {
        let ChunkReader { again, piece, decoder } = self;
        let place = chunk_offset(chunk);
        let lost = |reason: String| Fault {
            chunk: Some(chunk),
            offset: Some(place),
            ..Fault::file(FaultKind::Lost, reason)
        };
        match again.read(InputIdx::default(), input, place, piece) {
            Err(error) => vec![lost(format!("not read: {error}"))],
            Ok(()) if piece.chunks.first().is_none_or(Vec::is_empty) => {
                vec![lost("the file became shorter while it was read".to_owned())]
            }
            Ok(()) => {
                decoder.decode_piece(input, InputIdx::default(), piece, &AllRecords, take).faults
            }
        }
    }
}

impl TableSource for Arc<ChunkSelection> {
    fn schema(&self) -> Result<SchemaRef, ArrowError> {
        Ok(observation_schema())
    }

    fn batches(&self) -> Result<Batches, ArrowError> {
        let of = self.clone();
        let mut reader = ChunkReader::default();
        Ok(Box::new((of.from..of.to).step_by(CHUNKS as usize).map(move |from| {
            let mut records = Vec::new();
            for chunk in from..of.to.min(from + CHUNKS) {
                // `chunk_faults` reports the faults.
                reader.read(&of.input, chunk, |record| records.push(record.clone()));
            }
            observation_batch(observe::columns(&records), &of.name)
        })))
    }

    fn rows(&self) -> Option<u64> {
        None
    }
}

fn open(path: PathBuf, from: u64, to: u64) -> PyResult<ChunkSelection> {
    let name = path.to_string_lossy().into_owned();
    let mut inputs = psr_forensics::discover(&[path]).map_err(crate::errors::error)?;
    match inputs.pop() {
        Some(input) if inputs.is_empty() => Ok(ChunkSelection { input, name, from, to }),
        _ => Err(crate::Error::new_err(format!("{name}: no file"))),
    }
}

/// Returns all records of a log's chunks from number `from` up to, but not including, `to`.
#[pyfunction]
pub fn chunks(path: PathBuf, from: u64, to: u64) -> PyResult<ArrowTable> {
    Ok(ArrowTable::new(Arc::new(open(path, from, to)?)))
}

/// Returns the faults of these chunks as JSON. If chunk 0 is included, the faults of the file are
/// included, too.
#[pyfunction]
pub fn chunk_faults(py: Python<'_>, path: PathBuf, from: u64, to: u64) -> PyResult<String> {
    let of = open(path, from, to)?;
    let faults = py.detach(|| {
        let mut reader = ChunkReader::default();
        let file = if of.from == 0 { of.input.faults.clone() } else { Vec::new() };
        let chunks = (of.from..of.to).flat_map(|chunk| reader.read(&of.input, chunk, |_| {}));
        file.into_iter().chain(chunks).collect::<Vec<Fault>>()
    });
    Ok(serde_json::to_value(faults).unwrap_or(Value::Null).to_string())
}
