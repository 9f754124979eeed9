//! The accounts that logons give SIDs.

use std::collections::BTreeMap;

use super::gather::{Gathered, Spellings, spell};
use crate::model::AccountName;

/// The accounts that logons give a SID; a SID with two names is told by none.
pub(super) fn accounts(gathered: &[Gathered]) -> BTreeMap<String, AccountName> {
    let mut spelled: BTreeMap<&str, Spellings> = BTreeMap::new();
    for (sid, spellings) in gathered.iter().flat_map(|task| &task.accounts) {
        let known = spelled.entry(sid).or_default();
        for (account, (time, source)) in spellings {
            spell(known, *time, *source, account);
        }
    }
    let told = spelled.into_iter().filter_map(|(sid, spellings)| {
        let (first, _) = spellings.iter().min_by_key(|(_, earliest)| **earliest)?;
        let one = spellings.keys().all(|account| first.same_as(account));
        one.then(|| (sid.to_owned(), first.clone()))
    });
    told.collect()
}
