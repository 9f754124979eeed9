//! Of which hosts and accounts results tell. All records are read and all is rebuilt, whatever is
//! named: a session's other end is as a rule on another host.

use crate::model::{AccountName, Attempt, Session, same_host};

/// The hosts and accounts that results tell of; of all where none is named.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Hosts by name, with or without domain, or by address: any of them.
    pub hosts: Vec<String>,
    /// Accounts, with or without domain: any of them.
    pub users: Vec<String>,
}

impl Scope {
    /// Whether nothing is left out.
    pub fn is_whole(&self) -> bool {
        self.hosts.is_empty() && self.users.is_empty()
    }

    /// Whether what concerns these hosts and this account is told of.
    ///
    /// ```
    /// use psr_forensics::rows::Scope;
    ///
    /// let scope = Scope { hosts: vec!["srv02".into()], users: vec!["adm.lee".into()] };
    /// assert!(scope.takes(["WS01.corp.example", "SRV02.corp.example"], Some(r"CORP\adm.lee")));
    /// assert!(!scope.takes(["SRV02.corp.example"], None));
    /// ```
    pub fn takes<'t>(&self, hosts: impl IntoIterator<Item = &'t str>, user: Option<&str>) -> bool {
        let mut hosts = hosts.into_iter();
        let on_host = self.hosts.is_empty()
            || hosts.any(|host| self.hosts.iter().any(|wanted| same_host(wanted, host)));
        let account = user.and_then(AccountName::parse);
        let is_user = |wanted: &String| {
            let wanted = AccountName::parse(wanted);
            matches!((wanted, &account), (Some(wanted), Some(account)) if wanted.same_as(account))
        };
        on_host && (self.users.is_empty() || self.users.iter().any(is_user))
    }

    /// Whether a session is told of: by its source, its target, its account.
    pub(crate) fn session(&self, session: &Session) -> bool {
        let sources =
            session.source_host.as_deref().into_iter().chain(session.source_ip.as_deref());
        let user = || session.user.as_ref().map(AccountName::to_string);
        self.is_whole() || self.takes(sources.chain([&*session.target_host]), user().as_deref())
    }

    /// Whether an attempt is told of.
    pub(crate) fn attempt(&self, attempt: &Attempt) -> bool {
        let hosts = [&*attempt.source_host, &*attempt.target_host];
        let user = || attempt.user.as_ref().map(AccountName::to_string);
        self.is_whole()
            || self.takes(hosts.into_iter().chain(attempt.source_ip.as_deref()), user().as_deref())
    }

    /// Whether a row is shown: by its session, or where it has none, by its own host and account.
    pub(crate) fn row(&self, session: Option<&Session>, host: &str, user: &str) -> bool {
        self.is_whole()
            || match session {
                Some(session) => self.session(session),
                None => self.takes([host], Some(user)),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_accounts_are_named_in_short_or_in_full() {
        let session = ["WS01.corp.example", "10.20.0.15", "SRV02.corp.example"];
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let scope =
            |hosts: &[&str], users: &[&str]| Scope { hosts: owned(hosts), users: owned(users) };
        let takes = |hosts: &[&str], users: &[&str]| {
            scope(hosts, users).takes(session, Some(r"CORP\adm.lee"))
        };
        assert!(takes(&[], &[]));
        assert!(takes(&["srv02"], &[]) && takes(&["ws01.CORP.example"], &["ADM.LEE"]));
        assert!(takes(&["10.20.0.15"], &["corp.example\\adm.lee"]));
        assert!(takes(&["nobody", "srv02"], &["nobody", "adm.lee"]));
        assert!(!takes(&["srv02.other.example"], &[]) && !takes(&["10"], &[]));
        assert!(!takes(&["srv02"], &["OTHER\\adm.lee"]) && !takes(&[], &["adm"]));
        assert!(!scope(&[], &["adm.lee"]).takes(session, None));
    }
}
