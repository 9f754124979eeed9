//! Account names by SID, read from logons.

use std::collections::BTreeMap;

use super::marks::{AccountSpellings, TaskMarks, add_spelling};
use crate::model::AccountName;

/// Returns the account name of each SID that logons name. Leaves out a SID with two different
/// names.
pub(super) fn accounts_by_sid(task_marks: &[TaskMarks]) -> BTreeMap<String, AccountName> {
    let mut spelled: BTreeMap<&str, AccountSpellings> = BTreeMap::new();
    for (sid, spellings) in task_marks.iter().flat_map(|task| &task.accounts) {
        let known = spelled.entry(sid).or_default();
        for (account, (time, source)) in spellings {
            add_spelling(known, *time, *source, account);
        }
    }
    let known = spelled.into_iter().filter_map(|(sid, spellings)| {
        let (first, _) = spellings.iter().min_by_key(|(_, earliest)| **earliest)?;
        let one = spellings.keys().all(|account| first.same_as(account));
        one.then(|| (sid.to_owned(), first.clone()))
    });
    known.collect()
}
