//! `psr-forensics packs export`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::ending::Ending;
use super::super::print::{count, say};
use crate::detect::Pack;
use crate::error::Error;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder to write to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Replace files of the pack in a folder that holds something
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Ending> {
    let Args { folder, force } = args;
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !force && (folder.is_file() || occupied) {
        return Err(Error::OutputExists(folder.clone()).into());
    }
    let files = Pack::default_files();
    for (name, text) in &files {
        write(&folder.join(name), text)?;
    }
    say(out, &format!("{} written to {}", count(files.len(), "file"), folder.display()));
    Ok(Ending::Whole)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    write().map_err(Error::write(path))
}
