//! Writes the sample logs: `make-samples FOLDER`. The story they tell is in `samples/README.md`.
//!
//! Everything is fixed, down to the GUIDs, so each run writes the same bytes.

mod attack;
mod denied;
mod logs;
mod noise;
mod winrs;
mod world;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: make-samples FOLDER")?.into();
    let mut logs = logs::SampleLogs::default();
    noise::add(&mut logs);
    attack::add(&mut logs);
    winrs::add(&mut logs);
    denied::add(&mut logs);
    logs.write(&folder)
}
