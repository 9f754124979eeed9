use crate::{EvtxGuid, EvtxValue, FileTime, Sid};

/// One event: the System element, field by field, and what follows it.
///
/// Fields that are `None` are left out of the XML, as Windows leaves them out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvtxEvent {
    /// Provider Name.
    pub provider: String,
    /// Provider Guid; classic providers have none.
    pub provider_guid: Option<EvtxGuid>,
    /// Provider EventSourceName, for providers that were classic once.
    pub event_source: Option<String>,
    /// EventID.
    pub event_id: u16,
    /// EventID Qualifiers, for classic events.
    pub qualifiers: Option<u16>,
    /// Version.
    pub version: u8,
    /// Level: 2 error, 3 warning, 4 information, 5 verbose.
    pub level: u8,
    /// Task.
    pub task: u16,
    /// Opcode.
    pub opcode: u8,
    /// Keywords.
    pub keywords: u64,
    /// TimeCreated SystemTime.
    pub time: FileTime,
    /// EventRecordID.
    pub record_id: u64,
    /// Correlation ActivityID.
    pub activity_id: Option<EvtxGuid>,
    /// Execution ProcessID.
    pub process_id: u32,
    /// Execution ThreadID.
    pub thread_id: u32,
    /// Channel.
    pub channel: String,
    /// Computer.
    pub computer: String,
    /// Security UserID.
    pub user_sid: Option<Sid>,
    /// The part of the event that follows System.
    pub payload: Payload,
}

/// The part of an event that its provider fills in.
///
/// Names become XML names as they are; that they are valid ones is the caller's part.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// `<EventData>` with a named `<Data>` per field.
    EventData(Vec<(String, EvtxValue)>),
    /// `<EventData>` with unnamed strings, as classic providers log them: one `<Data>` whose value
    /// is an array, which readers show as a `<Data>` for each string. In an array a NUL ends a
    /// string.
    Strings(Vec<String>),
    /// `<UserData>` with one element of the provider's own.
    UserData {
        /// Name of that element.
        element: String,
        /// Its `xmlns`.
        namespace: String,
        /// Its children.
        fields: Vec<(String, EvtxValue)>,
    },
    /// `<ProcessingErrorData>`: what Windows logs when a field did not match the manifest.
    ProcessingError {
        /// ErrorCode, a Win32 error.
        code: u32,
        /// DataItemName, the field that failed.
        item: String,
        /// EventPayload, the event's data in the raw.
        data: Vec<u8>,
    },
}

impl Default for Payload {
    fn default() -> Self {
        Self::EventData(Vec::new())
    }
}
