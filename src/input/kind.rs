//! The kinds of files, and the fixed sizes of EVTX.

use serde::{Deserialize, Serialize};

/// An EVTX file's header block, before its first chunk.
pub const FILE_HEADER: u64 = 4096;
/// A chunk's size in bytes ([MS-EVEN6] and libevtx: fixed).
pub const CHUNK_SIZE: u64 = 65536;

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// An EVTX log.
    Evtx,
    /// Chunks of an EVTX log behind a file header that is not one.
    EvtxWithoutHeader,
    /// Records as JSON: in lines, in an array, or side by side.
    Json,
    /// Records as the XML of Windows' own exports.
    Xml,
    /// A zip. Its members are inputs of their own.
    Zip,
    /// What is left of records in a file, outside of a log's own.
    Recovered,
    /// Not a log, or not readable.
    Unknown,
}

impl InputKind {
    /// Whether records are read of it.
    pub fn is_log(self) -> bool {
        self.is_evtx() || self.is_text() || self == InputKind::Recovered
    }

    /// Whether it is EVTX, with or without its header.
    pub fn is_evtx(self) -> bool {
        matches!(self, InputKind::Evtx | InputKind::EvtxWithoutHeader)
    }

    /// Whether its records are text.
    pub fn is_text(self) -> bool {
        matches!(self, InputKind::Json | InputKind::Xml)
    }

    /// Bytes before its first chunk or text.
    pub(super) fn header_size(self) -> u64 {
        if self.is_evtx() { FILE_HEADER } else { 0 }
    }
}
