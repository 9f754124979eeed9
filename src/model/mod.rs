//! The vocabulary of the field: what every stage speaks, and nothing about how it is made.

mod account;
mod auth;
mod completeness;
mod consequences;
mod detection;
mod event;
mod finding;
mod host;
mod id;
pub mod index;
mod integrity;
mod reason;
mod record;
mod session;
mod time;
mod wrapped;

pub use account::{AccountName, Identity};
pub(crate) use account::{is_virtual_account, is_virtual_sid};
pub use auth::{Auth, Transport};
pub use completeness::Completeness;
pub use consequences::{Consequences, Encryption, SecondHop, YesNo};
pub use detection::{Detection, Level, MatchedField, Proof, RuleMeta, Subject};
pub(crate) use detection::{Kept, Value, Values};
pub use event::*;
pub(crate) use event::{REMOTE_HOST, creates_shell};
pub use finding::*;
pub use host::HostName;
pub(crate) use host::{host_key, host_of_service, is_address, same_host, short_name, split_port};
pub use id::{Guid, LoggedId};
pub(crate) use index::{
    AttemptIdx, CommandIdx, EventIdx, HostIdx, Idx, IdxVec, InputIdx, PackIdx, RuleIdx, ScriptIdx,
    SessionIdx, index_types,
};
pub use integrity::{LogSign, SignKind};
pub use reason::ConfidenceReason;
pub use record::{Channel, Fields, Form, Record, RecordRef};
pub(crate) use record::{FieldName, FieldsDraft, are_equal};
pub(crate) use session::session_id;
pub use session::*;
pub(crate) use time::CsvTimes;
pub use time::{csv_time, parse_utc};
pub use wrapped::{Found, TextKind, Wrapped};

/// A shared string: names of hosts, channels and fields repeat millions of times.
pub type Str = std::sync::Arc<str>;

/// Whether two strings are equal, which most often are one.
pub(crate) fn is_same(a: &Str, b: &Str) -> bool {
    std::sync::Arc::ptr_eq(a, b) || a == b
}
