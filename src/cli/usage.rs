//! Wrong usage of the command line.

/// Options that do not go together, name what is not there, or do not hold: what is wrong, with the
/// remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub String);
