//! Ctrl-C: the first ends the reading, and what was read is finished; a second leaves at once.

use std::io::{self, Write};

use anyhow::{Context, Result};

use crate::analysis::CancelToken;
use crate::report::TakeBack;

/// The exit code of an interrupted run: 128 and the number of SIGINT, as shells have it.
pub(super) const CODE: u8 = 130;

/// Listens for Ctrl-C, and for what else asks a program to end, until the process does.
/// `output` is what a process must take back that leaves at once.
pub(super) fn listen(output: Option<TakeBack>, quiet: bool) -> Result<CancelToken> {
    let stop = CancelToken::default();
    let asked = stop.clone();
    let hear = move || {
        if asked.cancel() {
            let leave = || std::process::exit(CODE.into());
            match &output {
                Some(output) => output.and_leave(leave),
                None => leave(),
            }
        } else if !quiet {
            let line = "psr-forensics: interrupted: writing what was read; again to leave at once";
            let _ = writeln!(io::stderr(), "{line}");
        }
    };
    ctrlc::set_handler(hear).context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
