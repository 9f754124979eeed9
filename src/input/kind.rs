//! The kinds of files, and the fixed sizes of EVTX.

use serde::{Deserialize, Serialize};

/// The size of an EVTX file's header block, before its first chunk.
pub const FILE_HEADER: u64 = 4096;
/// The size of a chunk in bytes ([MS-EVEN6] and libevtx: fixed).
pub const CHUNK_SIZE: u64 = 65536;

/// The kind of a file, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// An EVTX log.
    Evtx,
    /// Chunks of an EVTX log after a damaged file header.
    EvtxWithoutHeader,
    /// Records as JSON: in lines, in an array, or side by side.
    Json,
    /// Records as the XML of Windows' own exports.
    Xml,
    /// A zip. Its members are inputs of their own.
    Zip,
    /// Remains of records in a file, outside of the log's own records.
    Recovered,
    /// Not a log, or not readable.
    Unknown,
}

impl InputKind {
    /// Returns whether records are read from it.
    pub fn is_log(self) -> bool {
        self.is_evtx() || self.is_text() || self == InputKind::Recovered
    }

    /// Returns whether it is EVTX, with or without its header.
    pub fn is_evtx(self) -> bool {
        matches!(self, InputKind::Evtx | InputKind::EvtxWithoutHeader)
    }

    /// Returns whether its records are text.
    pub fn is_text(self) -> bool {
        matches!(self, InputKind::Json | InputKind::Xml)
    }

    /// Returns the bytes before its first chunk or text.
    pub(super) fn header_size(self) -> u64 {
        if self.is_evtx() { FILE_HEADER } else { 0 }
    }
}
