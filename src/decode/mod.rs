//! Bytes to [`Record`](crate::model::Record)s. A chunk is this stage's whole world, and only it
//! knows the evtx crate.
//!
//! There are two ways to the same records. The evtx crate reads anything (`json` takes what it
//! renders) and has the last word. Chunks of usual records take a shorter one: `definition`
//! reads each template once, `plan` notes which value becomes which field, `instance` walks
//! the chunk's records and `record` fills them in.

mod binxml;
mod definition;
mod evtx;
mod instance;
mod json;
mod plan;
mod record;
mod value;

pub use evtx::{CHUNK_SIZE, ChunkTally, Decoder, chunk_count};

use std::collections::HashSet;

use crate::model::{Channel, RecordRef, Str};

/// Says which records some later stage has a use for; the others are only counted.
pub trait Wanted: Sync {
    /// Whether the record of this place, channel and event id is wanted.
    fn wants(&self, source: RecordRef, channel: Channel, channel_name: &str, event_id: u32)
    -> bool;
}

/// Keeps one copy of each name that records repeat.
#[derive(Default)]
struct Interner(HashSet<Str>);

impl Interner {
    fn get(&mut self, text: &str) -> Str {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Str = text.into();
        // Activities come and go, and hostile logs have ever new names: those in use are soon back.
        if self.0.len() == 4096 {
            self.0.clear();
        }
        self.0.insert(new.clone());
        new
    }
}
