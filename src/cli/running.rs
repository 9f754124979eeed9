//! How a run runs: threads, limits, and what it says of itself while it does.

use std::io;

use anyhow::{Context, Result};
use tracing_subscriber::filter::LevelFilter;

use super::ending::Ending;
use super::{limits, paint};
use crate::limits::Limits;

#[derive(clap::Args)]
pub(super) struct Running {
    /// Set what hostile input may cost, e.g. record-bytes=16MiB; 'help' lists the limits
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limits::word)]
    limits: Vec<limits::Word>,
    /// Threads to use; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: rules not loaded, damage found; twice for what each stage does
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Running {
    /// Does some work on its threads, within its limits; `--limit help` lists these instead.
    pub fn run(&self, work: impl FnOnce(Limits) -> Result<Ending> + Send) -> Result<Ending> {
        let Some(limits) = limits::of(&self.limits) else { return Ok(limits::list()) };
        self.log_to_stderr();
        let threads = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
        let pool = threads.build().context("cannot start the worker threads")?;
        pool.install(|| work(limits))
    }

    /// Its limits; none where `help` was asked for.
    pub fn limits(&self) -> Option<Limits> {
        limits::of(&self.limits)
    }

    fn log_to_stderr(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) | (false, 0) => LevelFilter::ERROR,
            (false, 1) => LevelFilter::WARN,
            (false, _) => LevelFilter::DEBUG,
        };
        let format = tracing_subscriber::fmt().with_max_level(level).with_target(false);
        let format = format.with_ansi(paint::on_stderr());
        // A second call in one process, as tests make, keeps the first one's subscriber.
        let _ = format.with_writer(io::stderr).without_time().try_init();
    }
}
