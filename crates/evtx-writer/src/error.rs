use thiserror::Error;

/// Why [`LogWriter::push`](crate::LogWriter::push) refused an event; the log stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The record does not fit even into an empty chunk: the format has no larger unit.
    #[error("record {record_id} does not fit into a 64 KiB chunk")]
    RecordTooLarge {
        /// The event's EventRecordID.
        record_id: u64,
    },
    /// The file header counts chunks in 16 bits.
    #[error("a log holds no more than 65535 chunks")]
    TooManyChunks,
}

/// A result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;
