//! The report of an input.

use crate::error::{Error, Fault};
use crate::input::{Input, ReadExtent};
use crate::model::InputIdx;
use crate::rows::Overlap;

/// The outcome of reading an input.
#[derive(Debug, Clone)]
pub struct InputReport {
    /// The input.
    pub input: Input,
    /// SHA-256 of the whole file, or of an archive's member as unpacked. `None` if it was not read.
    pub sha256: Option<String>,
    /// How much of it was read.
    pub extent: ReadExtent,
    /// SHA-256 of the file when it was read a second time at the end of the run.
    pub sha256_after: Option<String>,
    /// Chunks in the file.
    pub chunks: u64,
    /// Records read, relevant or not.
    pub records: u64,
    /// The inputs, by index, that hold records of this one and are preferred to it. Those records
    /// count there.
    pub overlaps: Vec<(InputIdx, Overlap)>,
    /// Its faults, in the order of the file.
    pub faults: Vec<Fault>,
}

/// Fails unless at least one input is a log. Each input comes with its faults.
///
/// # Errors
/// [`Error::NothingToRead`], with the reason for the first input.
pub(super) fn ensure_any_log<'i>(
    inputs: impl Iterator<Item = (&'i Input, &'i [Fault])>,
) -> Result<(), Error> {
    let inputs: Vec<(&Input, &[Fault])> = inputs.collect();
    if inputs.iter().any(|(input, _)| input.kind.is_log()) {
        return Ok(());
    }
    let reason = |faults: &[Fault]| faults.last().map_or("", |fault| &fault.reason).to_owned();
    Err(Error::NothingToRead(match &inputs[..] {
        [] => "the paths given hold no file".to_owned(),
        [(one, faults)] => format!("{}: {}", one.path.display(), reason(faults)),
        [(first, faults), ..] => format!(
            "none of {} files is one, the first being {}: {}",
            inputs.len(),
            first.path.display(),
            reason(faults)
        ),
    }))
}
