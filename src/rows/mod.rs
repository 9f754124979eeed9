//! Typed rows between the stages and the writers: what a stage finds of an event, a detection, a layer
//! or a script is put down as values, sorted on disk where rows are many, and read again by whoever
//! writes outputs.
//!
//! Nothing here escapes, cuts or joins texts for a file format. `Row` declares columns once, for
//! every writer.

pub(crate) mod copies;
pub(crate) mod describe;
pub(crate) mod detections;
pub(crate) mod findings;
mod fingerprint;
mod ids;
pub(crate) mod layers;
mod outside;
mod pointers;
pub(crate) mod records;
mod scope;
mod scripts;
mod texts;
pub(crate) mod timeline;
pub(crate) mod value;

pub(crate) use copies::Copies;
pub use copies::Overlap;
pub(crate) use detections::{DetectionRow, SessionRef};
pub use findings::Finding;
pub(crate) use fingerprint::{Fingerprints, class};
pub(crate) use ids::command_ids;
pub(crate) use layers::LayerRow;
pub use layers::Notes;
pub(crate) use outside::OutsideSessions;
pub(crate) use pointers::{MOST_NAMED, Pointers, pointer};
pub use scope::Scope;
pub(crate) use scripts::{
    KeepReason, ScriptArchive, ScriptCollector, ScriptHash, ScriptRow, TaskScripts,
};
pub(crate) use texts::{TextPool, Texts};
pub(crate) use value::{Row, Value, Values};
