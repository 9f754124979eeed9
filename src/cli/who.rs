//! `--host` and `--user`: of whom and of what a verb is to tell.

use crate::rows::Scope;

/// Whom to tell of; of everybody where nothing is named.
#[derive(clap::Args)]
pub(super) struct Who {
    /// Tell only what concerns this host: its name, with or without its domain, or its address
    /// (repeatable: any of them)
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Tell only what concerns this account: adm.lee or CORP\adm.lee (repeatable: any of them)
    #[arg(long = "user", value_name = "USER")]
    users: Vec<String>,
}

impl Who {
    pub fn scope(&self) -> Scope {
        Scope { hosts: self.hosts.clone(), users: self.users.clone() }
    }

    /// What is wanted, for a message; empty where all is.
    pub fn words(&self) -> String {
        let hosts = self.hosts.iter().map(|host| format!("--host {host}"));
        let users = self.users.iter().map(|user| format!("--user {user}"));
        hosts.chain(users).collect::<Vec<_>>().join(" ")
    }
}
