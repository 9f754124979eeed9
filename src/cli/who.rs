//! `--host` and `--user`: whom and what a verb is to tell of.

use std::net::IpAddr;

use crate::model::Account;

/// Whom to tell of; of everybody where nothing is named.
#[derive(clap::Args)]
pub(super) struct Who {
    /// Only sessions from or to this host: its name, with or without its domain, or its address
    /// (repeatable: any of them)
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Only sessions of this account: `adm.lee` or `CORP\adm.lee` (repeatable: any of them)
    #[arg(long = "user", value_name = "USER")]
    users: Vec<String>,
}

impl Who {
    /// Whether a session with these hosts and this account is wanted.
    pub fn takes<'t>(&self, hosts: impl IntoIterator<Item = &'t str>, user: Option<&str>) -> bool {
        let mut hosts = hosts.into_iter();
        let on_host = self.hosts.is_empty()
            || hosts.any(|host| self.hosts.iter().any(|wanted| same_host(wanted, host)));
        let account = user.and_then(Account::parse);
        let is_user = |wanted: &String| {
            let wanted = Account::parse(wanted);
            matches!((wanted, &account), (Some(wanted), Some(account)) if wanted.same_as(account))
        };
        on_host && (self.users.is_empty() || self.users.iter().any(is_user))
    }

    /// What is wanted, for a message; empty where all is.
    pub fn words(&self) -> String {
        let hosts = self.hosts.iter().map(|host| format!("--host {host}"));
        let users = self.users.iter().map(|user| format!("--user {user}"));
        hosts.chain(users).collect::<Vec<_>>().join(" ")
    }
}

/// Whether two names can mean one host: they are equal, or one is the other's first label.
fn same_host(wanted: &str, host: &str) -> bool {
    if wanted.eq_ignore_ascii_case(host) {
        return true;
    }
    if wanted.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return false;
    }
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let one_is_short = !wanted.contains('.') || !host.contains('.');
    one_is_short && label(wanted) == label(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_accounts_are_named_in_short_or_in_full() {
        let who = |hosts: &[&str], users: &[&str]| Who {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            users: users.iter().map(|&user| user.to_owned()).collect(),
        };
        let session = ["WS01.corp.example", "10.20.0.15", "SRV02.corp.example"];
        let takes = |hosts: &[&str], users: &[&str]| {
            who(hosts, users).takes(session, Some(r"CORP\adm.lee"))
        };
        assert!(takes(&[], &[]));
        assert!(takes(&["srv02"], &[]) && takes(&["ws01.CORP.example"], &["ADM.LEE"]));
        assert!(takes(&["10.20.0.15"], &["corp.example\\adm.lee"]));
        assert!(takes(&["nobody", "srv02"], &["nobody", "adm.lee"]));
        assert!(!takes(&["srv02.other.example"], &[]) && !takes(&["10"], &[]));
        assert!(!takes(&["srv02"], &["OTHER\\adm.lee"]) && !takes(&[], &["adm"]));
        assert!(!who(&[], &["adm.lee"]).takes(session, None));
    }
}
