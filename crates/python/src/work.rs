//! Work beside the interpreter.

use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use rayon::ThreadPoolBuilder;

use psr_forensics::CancelToken;

use crate::errors::error;

/// The interval between checks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(20);

/// Does some work on so many threads, 0 for one a core, without the interpreter's lock. On Ctrl-C
/// the work is asked to stop, and when it has ended, `KeyboardInterrupt` is raised.
pub fn run<T: Send + 'static>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(&CancelToken) -> Result<T, psr_forensics::Error> + Send + 'static,
) -> PyResult<T> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(error)?;
    let stop = CancelToken::default();
    let asked = stop.clone();
    let worker = thread::spawn(move || pool.install(|| work(&asked)));
    let mut interrupted = Ok(());
    while !worker.is_finished() {
        py.detach(|| thread::sleep(LOOK));
        if let Err(signal) = py.check_signals() {
            stop.cancel();
            interrupted = Err(signal);
        }
    }
    let done = match worker.join() {
        Ok(done) => done.map_err(error),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    interrupted.and(done)
}
