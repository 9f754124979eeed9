//! Which rules to load: packs, and what to select of them.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::detect::{Pack, RuleSelection, RuleSet};
use crate::error::Error;
use crate::model::Level;

/// Where rules come from.
#[derive(clap::Args)]
pub(super) struct Packs {
    /// Load the Sigma rules of this folder, zip or file, too (repeatable)
    #[arg(short, long = "pack", value_name = "PACK")]
    packs: Vec<PathBuf>,
    /// Leave the built-in rules away
    #[arg(long)]
    no_default_pack: bool,
}

/// What to select of them.
#[derive(clap::Args)]
pub(super) struct Select {
    /// Only rules of this level and above: informational, low, medium, high, critical
    #[arg(long, value_name = "LEVEL")]
    min_level: Option<Level>,
    /// Only rules with this tag or one below it, as attack.t1059 (repeatable: any of them)
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only rules with this status (repeatable: any of them)
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',',
          value_parser = ["stable", "test", "experimental", "deprecated", "unsupported"])]
    statuses: Vec<String>,
    /// Not the rules or filters with this id, title or file name (repeatable)
    #[arg(long = "exclude-rule", value_name = "RULE")]
    exclude: Vec<String>,
}

impl Packs {
    /// Has relative paths begin in this folder, where they lead somewhere.
    pub fn look_in(&mut self, folder: Option<&Path>) {
        for path in &mut self.packs {
            let from_there = folder.map(|folder| folder.join(&*path));
            if let Some(there) = from_there.filter(|there| there.exists()) {
                *path = there;
            }
        }
    }

    /// Reads the packs, the built-in one first.
    pub fn read(&self) -> Result<Vec<Pack>, Error> {
        let built_in = (!self.no_default_pack).then(|| Ok(Pack::default_pack()));
        built_in.into_iter().chain(self.packs.iter().map(|path| Pack::read(path))).collect()
    }
}

impl Select {
    /// Loads what is selected of some packs.
    pub fn load(&self, packs: Vec<Pack>) -> Result<RuleSet, Error> {
        let rules = RuleSet::select(
            packs,
            &RuleSelection {
                min_level: self.min_level,
                tags: self.tags.clone(),
                statuses: self.statuses.clone(),
                exclude: self.exclude.clone(),
            },
        )?;
        for refused in rules.rejected() {
            warn!(file = refused.file, "rule not loaded: {}", refused.reason);
        }
        Ok(rules)
    }
}
