//! What a run rests on: logs, and what was extracted of logs before.

use super::extracted::Extracted;
use super::options::Options;
use crate::error::Error;
use crate::input::{self, Input};
use crate::model::{IdxVec, InputIdx};

/// The inputs of a run, in order.
pub struct Evidence {
    pub(super) inputs: IdxVec<InputIdx, Input>,
    /// By input: what was extracted of it before, and is read in its place.
    pub(super) observed: IdxVec<InputIdx, Option<Extracted>>,
    /// Files that an earlier run had finished, and that this one did not read.
    pub before: usize,
}

impl Evidence {
    /// Logs that are read by the run itself. Archives among them are opened.
    ///
    /// # Errors
    /// [`Error::Write`] when the scratch folder takes no more.
    pub fn of_logs(inputs: Vec<Input>, options: &Options) -> Result<Evidence, Error> {
        let scratch = options.scratch();
        let inputs = input::unpack(inputs, &scratch, &options.limits)?;
        let inputs = if options.recover { input::with_recovered(inputs) } else { inputs };
        let observed = inputs.iter().map(|_| None).collect();
        Ok(Evidence { inputs: inputs.into(), observed, before: 0 })
    }
}
