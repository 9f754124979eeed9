//! `psr-forensics completions` and `psr-forensics man`: what a package puts beside the program.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

use super::ending::Ending;

pub(super) const COMPLETIONS_EXAMPLES: &str = "Examples:
  psr-forensics completions bash > /etc/bash_completion.d/psr-forensics
  psr-forensics completions zsh > ~/.zfunc/_psr-forensics
  psr-forensics completions powershell >> $PROFILE";

pub(super) const MAN_EXAMPLES: &str = "Examples:
  psr-forensics man | man -l -
  psr-forensics man /usr/local/share/man/man1";

#[derive(clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(clap::Args)]
pub(super) struct Man {
    /// Folder for a page of each verb; without it, the program's page goes to standard output
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &Completions, mut program: Command) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "psr-forensics", &mut script);
    // A reader that closed the pipe has seen enough.
    let _ = io::stdout().write_all(&script);
    Ending::Whole
}

pub(super) fn man(args: &Man, program: Command) -> Result<Ending> {
    match &args.folder {
        Some(folder) => {
            let name = || format!("cannot write {}", folder.display());
            fs::create_dir_all(folder).with_context(name)?;
            clap_mangen::generate_to(program, folder).with_context(name)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            let _ = io::stdout().write_all(&page);
        }
    }
    Ok(Ending::Whole)
}
