//! Decodes the values of text logs to records.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::collector_format::CollectorFormat;
use super::interner::Interner;
use super::node::JsonNode;
use super::outcome::DecodeOutcome;
use super::record_filter::RecordFilter;
use super::system::RecordOrigin;
use super::{json, xml};
use crate::error::{Fault, FaultKind};
use crate::input::{InputKind, Piece, TextPartKind};
use crate::model::{InputIdx, Record};

/// The most faults of a piece that are listed. The others are counted.
const MAX_FAULTS: usize = 100;

/// Decodes pieces of text, one after another, for one thread.
#[derive(Default)]
pub(super) struct TextDecoder {
    names: Interner,
}

/// The reason why a value gives no record.
enum NoRecord {
    /// It is sound, but not a record.
    Foreign,
    Damaged(String),
}

impl TextDecoder {
    /// Decodes the values of a piece and passes each wanted record to `take`.
    pub fn decode_piece(
        &mut self,
        kind: InputKind,
        input: InputIdx,
        piece: &Piece,
        filter: &dyn RecordFilter,
        mut take: impl FnMut(&Record),
    ) -> DecodeOutcome {
        let mut outcome = DecodeOutcome::default();
        let (mut faults, mut foreign) = (FaultList::default(), FaultList::default());
        for part in &piece.text.parts {
            let at = part.offset;
            match part.kind {
                TextPartKind::Stray => foreign.lost(at, "text that is not a record"),
                TextPartKind::Broken => faults.lost(at, "a record that breaks off"),
                TextPartKind::TooLong => {
                    faults.lost(at, "a record's text is longer than the limit record-bytes");
                    outcome.too_long += 1;
                }
                TextPartKind::Value => {
                    let bytes = piece.text.part_bytes(part);
                    let text = str::from_utf8(bytes).map(Cow::Borrowed);
                    let text = text.unwrap_or_else(|_| String::from_utf8_lossy(bytes));
                    let header = RecordOrigin::from_text(input, at);
                    let read = match kind {
                        InputKind::Xml => xml::read_record(&text, header, filter, &mut self.names)
                            .map_err(NoRecord::Damaged),
                        _ => self.decode_json(&text, header, filter),
                    };
                    match read {
                        Ok(record) => {
                            outcome.records += 1;
                            record.iter().for_each(&mut take);
                            if matches!(text, Cow::Owned(_)) {
                                let reason = "bytes that are not UTF-8 are read as U+FFFD";
                                faults.add(FaultKind::Suspect, at, reason);
                            }
                        }
                        Err(NoRecord::Foreign) => foreign.lost(at, "a value that is not a record"),
                        Err(NoRecord::Damaged(reason)) => faults.lost(at, &reason),
                    }
                }
            }
        }
        outcome.faults = faults.into_list();
        outcome.foreign = foreign.into_list();
        outcome
    }

    fn decode_json(
        &mut self,
        text: &str,
        header: RecordOrigin,
        filter: &dyn RecordFilter,
    ) -> Result<Option<Record>, NoRecord> {
        let names = &mut self.names;
        // The output of evtx_dump is read without building a tree.
        if is_event(text) {
            return json::read_record(text.as_bytes(), header, filter, names).map_err(|reason| {
                match serde_json::from_str::<IgnoredAny>(text) {
                    Ok(_) => NoRecord::Foreign,
                    Err(_) => NoRecord::Damaged(reason),
                }
            });
        }
        let node: JsonNode<'_> =
            serde_json::from_str(text).map_err(|error| NoRecord::Damaged(error.to_string()))?;
        // Elasticsearch wraps documents in `_source`.
        let node = node.get("_source").filter(|node| !node.members().is_empty()).unwrap_or(&node);
        if node.get("Event").is_some_and(|event| event.get("System").is_some()) {
            return json::read_record(text.as_bytes(), header, filter, names)
                .map_err(NoRecord::Damaged);
        }
        let format = CollectorFormat::detect(node).ok_or(NoRecord::Foreign)?;
        let system = format.system_fields(node);
        let record =
            system.build_record(header, filter, names, || format.data_fields(node, &system));
        record.map_err(NoRecord::Damaged)
    }
}

/// Returns whether a value begins like the output of evtx_dump.
fn is_event(text: &str) -> bool {
    let mut rest = text;
    let begins = ["{", "\"Event\"", ":"].iter().all(|token| {
        let after = rest.trim_start().strip_prefix(token);
        rest = after.unwrap_or_default();
        after.is_some()
    });
    begins && rest.trim_start().starts_with('{')
}

/// The faults of a piece.
#[derive(Default)]
struct FaultList {
    listed: Vec<Fault>,
    more: u64,
}

impl FaultList {
    fn lost(&mut self, offset: u64, reason: &str) {
        self.add(FaultKind::Lost, offset, reason);
    }

    fn add(&mut self, kind: FaultKind, offset: u64, reason: &str) {
        if self.listed.len() < MAX_FAULTS {
            let fault = Fault { offset: Some(offset), ..Fault::file(kind, reason) };
            self.listed.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Returns the faults. The last one states how many more there are.
    fn into_list(mut self) -> Vec<Fault> {
        if self.more > 0
            && let Some(last) = self.listed.last_mut()
        {
            last.reason =
                format!("{}; and {} more like these from here on", last.reason, self.more);
        }
        self.listed
    }
}

#[cfg(test)]
mod tests;
