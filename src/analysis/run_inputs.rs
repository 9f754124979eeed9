//! The inputs of a run: logs, and records that were extracted from logs before.

use super::extracted::Extracted;
use super::options::Options;
use crate::error::Error;
use crate::input::{self, Input};
use crate::model::{IdxVec, InputIdx};

/// The inputs of a run, in order: logs, and records that were extracted from logs before.
pub struct RunInputs {
    pub(super) inputs: IdxVec<InputIdx, Input>,
    /// By input: the extracted records that are read instead of it.
    pub(super) observed: IdxVec<InputIdx, Option<Extracted>>,
    /// Files that an earlier run had finished and this one did not read.
    pub before: usize,
}

impl RunInputs {
    /// Creates the inputs of a run that reads these logs. Archives are opened.
    ///
    /// # Errors
    /// [`Error::Write`] when the scratch folder cannot be written.
    pub fn from_logs(inputs: Vec<Input>, options: &Options) -> Result<RunInputs, Error> {
        let scratch = options.scratch();
        let inputs = input::unpack(inputs, &scratch, &options.limits)?;
        let inputs = if options.recover { input::with_recovered(inputs) } else { inputs };
        let observed = inputs.iter().map(|_| None).collect();
        Ok(RunInputs { inputs: inputs.into(), observed, before: 0 })
    }
}
