//! Writes valid EVTX 3.1 logs, byte for byte in the way Windows does.
//!
//! The layout of the file, its chunks and records follows libevtx's documentation of the
//! [EVTX format]; the binary XML inside records follows [MS-EVEN6] section 2.2.12. What neither
//! says (order of substitutions, bucket of a template) was read off logs that Windows wrote.
//!
//! ```
//! use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
//!
//! let mut log = LogWriter::new();
//! log.push(&EvtxEvent {
//!     provider: "Microsoft-Windows-WinRM".into(),
//!     event_id: 6,
//!     time: FileTime::from_unix(1_773_522_847, 0),
//!     record_id: 1,
//!     channel: "Microsoft-Windows-WinRM/Operational".into(),
//!     computer: "WS01.corp.example".into(),
//!     payload: Payload::EventData(vec![("connection".into(), "SRV02/wsman".into())]),
//!     ..EvtxEvent::default()
//! })?;
//! let bytes = log.finish();
//! assert_eq!(&bytes[..8], b"ElfFile\0");
//! # Ok::<(), evtx_writer::Error>(())
//! ```
//!
//! [EVTX format]: https://github.com/libyal/libevtx/blob/main/documentation/Windows%20XML%20Event%20Log%20(EVTX).asciidoc
//! [MS-EVEN6]: https://learn.microsoft.com/openspecs/windows_protocols/ms-even6/

mod binxml;
mod chunk;
mod error;
mod event;
mod header;
mod template;
mod value;
mod writer;

pub use error::{Error, Result};
pub use event::{EvtxEvent, Payload};
pub use header::seal;
pub use value::{EvtxGuid, EvtxValue, FileTime, Sid};
pub use writer::LogWriter;
