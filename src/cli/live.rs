//! Which logs to read: paths, or the logs of the Windows that the program runs on.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::usage::Usage;
use crate::input::{self, Input};

/// Which logs to read.
#[derive(clap::Args)]
pub(super) struct Inputs {
    /// Logs: files, folders (searched to the bottom), zips or globs. What a file is, its content
    /// says
    #[arg(value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// Read the logs of this Windows: %SystemRoot%\System32\winevt\Logs; takes an administrator's
    /// rights
    #[arg(long)]
    live: bool,
}

impl Inputs {
    /// Finds the files.
    ///
    /// # Errors
    /// As [`input::discover`]; [`Usage`] when none are named, and for the logs of a Windows
    /// on another system.
    pub fn discover(&self) -> Result<Vec<Input>> {
        if self.inputs.is_empty() && !self.live {
            let what = "no logs are named: give files, folders or globs, or --live";
            return Err(Usage(what.to_owned()).into());
        }
        let mut paths = self.inputs.clone();
        if self.live {
            paths.push(live_folder()?);
        }
        Ok(input::discover(&paths)?)
    }
}

/// The folder that Windows keeps its logs in. The event log service shares its files for reading
/// and writing, and the standard library opens files just so: no copy is needed to read them. They
/// grow while they are read, so what is written down of them is the state of one moment.
fn live_folder() -> Result<PathBuf, Usage> {
    if !cfg!(windows) {
        return Err(Usage(
            "--live reads the logs of the Windows that the program runs on, and this is none: give \
             the folder of the collected logs instead, as copied from \
             %SystemRoot%\\System32\\winevt\\Logs or exported by 'wevtutil epl CHANNEL FILE.evtx'"
                .to_owned(),
        ));
    }
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    Ok(Path::new(&root).join(r"System32\winevt\Logs"))
}
