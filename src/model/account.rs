//! Accounts, which logs spell `DOMAIN\user`, `user@REALM`, `user` or `HOST$`, and the one rule for
//! the same account.

use std::fmt;

use super::host_key;

/// An account as logged, with what can be compared across spellings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName {
    /// The domain or realm as logged; empty when none was.
    pub domain: String,
    /// The account's name as logged.
    pub name: String,
}

impl AccountName {
    /// Splits any of the three spellings. An empty text or `-` is no account.
    pub fn parse(text: &str) -> Option<AccountName> {
        let text = text.trim();
        let (domain, name) = match (text.split_once('\\'), text.split_once('@')) {
            (Some((domain, name)), _) => (domain, name),
            (None, Some((name, realm))) => (realm, name),
            (None, None) => ("", text),
        };
        AccountName::new(domain, name)
    }

    /// An account of two fields. An empty name or `-` is no account.
    pub fn new(domain: &str, name: &str) -> Option<AccountName> {
        let clean = |text: &str| match text.trim() {
            "-" => String::new(),
            text => text.to_owned(),
        };
        let (domain, name) = (clean(domain), clean(name));
        (!name.is_empty()).then_some(AccountName { domain, name })
    }

    /// The account in one text, `DOMAIN\name`, as it is displayed.
    pub(super) fn text(&self) -> String {
        // Every row has one, and formatting takes longer.
        match self.domain.is_empty() {
            true => self.name.clone(),
            false => [&*self.domain, "\\", &*self.name].concat(),
        }
    }

    /// Who connected, where the account is one that WinRM made up for the session: an endpoint that
    /// runs as a virtual account calls it `WinRM Virtual Users\WinRM VA_<number>_<domain>_<name>`
    /// (Microsoft's page on JEA session configurations).
    pub fn virtual_caller(&self) -> Option<AccountName> {
        let rest = self.name.strip_prefix(VIRTUAL_ACCOUNT)?;
        let (domain, name) = rest.split_once('_')?.1.split_once('_')?;
        let is_virtual = self.domain.eq_ignore_ascii_case("WinRM Virtual Users");
        AccountName::new(domain, name).filter(|_| is_virtual)
    }

    /// Who connected: the account, or the one that a virtual account was made up for.
    pub fn caller(self) -> AccountName {
        self.virtual_caller().unwrap_or(self)
    }

    /// The machine whose own account it is (`HOST$`).
    pub fn machine(&self) -> Option<&str> {
        self.name.strip_suffix('$')
    }

    /// The key that accounts are looked up by: spellings that are the `same_as` each other have
    /// the same one, and accounts of one name in other domains, too.
    pub fn name_key(&self) -> String {
        self.name.to_lowercase()
    }

    /// The key of this spelling, domain and all, whatever its case.
    pub fn spelling_key(&self) -> String {
        self.text().to_lowercase()
    }

    /// Whether two spellings can mean one account: the names are equal, and so are the domains
    /// where both are given, a NetBIOS name being equal to the first label of its realm.
    pub fn same_as(&self, other: &AccountName) -> bool {
        self.name_key() == other.name_key()
            && (self.domain.is_empty()
                || other.domain.is_empty()
                || host_key(&self.domain) == host_key(&other.domain))
    }
}

/// An account as records name it: by its name, by its SID, by both or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    /// Its name.
    pub name: Option<&'a AccountName>,
    /// Its SID.
    pub sid: Option<&'a str>,
}

impl Identity<'_> {
    /// Whether two are one account; none where that is not known. SIDs decide where both have one,
    /// else the names do.
    pub fn same_as(self, other: Identity<'_>) -> Option<bool> {
        if let (Some(sid), Some(other)) = (self.sid, other.sid) {
            return Some(sid == other);
        }
        self.name.zip(other.name).map(|(name, other)| name.same_as(other))
    }
}

/// How WinRM names the virtual accounts that it makes up.
const VIRTUAL_ACCOUNT: &str = "WinRM VA_";

/// Whether an account's name, with or without its domain, is one that WinRM made up.
pub(crate) fn is_virtual_account(name: &str) -> bool {
    name.rsplit('\\').next().unwrap_or(name).starts_with(VIRTUAL_ACCOUNT)
}

/// Whether a SID is one that WinRM made up for a virtual account (S-1-5-94-…).
pub(crate) fn is_virtual_sid(sid: &str) -> bool {
    sid.starts_with("S-1-5-94-")
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_account_are_equal() {
        let spelled = |text| AccountName::parse(text).unwrap();
        let down_level = spelled(r"CORP\Adm.Lee");
        assert!(down_level.same_as(&spelled("adm.lee@CORP.EXAMPLE")));
        assert!(down_level.same_as(&spelled("adm.lee")));
        assert!(!down_level.same_as(&spelled(r"SRV02\adm.lee")));
        assert!(!down_level.same_as(&spelled(r"CORP\adm.le")));
        assert_eq!(AccountName::parse(" - "), None);
    }

    #[test]
    fn sids_decide_before_names() {
        let [lee, ray] = ["lee", "ray"].map(|name| AccountName::parse(name).unwrap());
        let known = |name, sid| Identity { name, sid };
        let lee_1 = known(Some(&lee), Some("S-1"));
        assert_eq!(lee_1.same_as(known(Some(&lee), Some("S-2"))), Some(false));
        assert_eq!(lee_1.same_as(known(Some(&ray), Some("S-1"))), Some(true));
        assert_eq!(lee_1.same_as(known(Some(&ray), None)), Some(false));
        assert_eq!(lee_1.same_as(known(Some(&lee), None)), Some(true));
        assert_eq!(known(Some(&lee), None).same_as(known(None, Some("S-1"))), None);
        assert_eq!(lee_1.same_as(Identity::default()), None);
    }

    #[test]
    fn a_virtual_account_names_its_caller() {
        let caller = |text| AccountName::parse(text).unwrap().caller().to_string();
        assert_eq!(caller(r"WinRM Virtual Users\WinRM VA_12_CORP_adm_lee"), r"CORP\adm_lee");
        assert_eq!(caller(r"CORP\WinRM VA_12_CORP_lee"), r"CORP\WinRM VA_12_CORP_lee");
        assert_eq!(caller(r"WinRM Virtual Users\WinRM VA_1"), r"WinRM Virtual Users\WinRM VA_1");
    }
}
