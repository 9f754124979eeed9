//! The vocabulary of the field: what every stage speaks, and nothing about how it is made.

mod account;
mod detection;
mod event;
mod finding;
mod integrity;
mod record;
mod session;
mod time;
mod wrapped;

pub use account::Account;
pub use detection::{Detection, Level, MatchedField, Proof, RuleMeta, Subject};
pub(crate) use detection::{Kept, Value, Values};
pub use event::*;
pub use finding::*;
pub use integrity::{LogSign, Mark, SignKind};
pub use record::{Channel, Fields, Form, Record, RecordRef};
pub(crate) use record::{FieldName, FieldsDraft, are_equal};
pub use session::*;
pub(crate) use time::{CsvTimes, parse_csv_time};
pub use time::{csv_time, parse_utc};
pub use wrapped::{Found, TextKind, Wrapped};

/// A shared string: names of hosts, channels and fields repeat millions of times.
pub type Str = std::sync::Arc<str>;

/// Whether two strings are equal, which most often are one.
pub(crate) fn is_same(a: &Str, b: &Str) -> bool {
    std::sync::Arc::ptr_eq(a, b) || a == b
}
