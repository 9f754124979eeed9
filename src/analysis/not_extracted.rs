//! Replaces `extracted` in a build without Parquet, which has no case folders.

use std::iter::Empty;

use super::input_report::InputReport;
use crate::decode::EvtxHeaders;
use crate::error::Fault;
use crate::input::Input;
use crate::model::{Edge, InputIdx, Record, RecordRef};
use crate::reconstruct::LogExtent;

/// Extracted records. This build has none.
pub(super) enum Extracted {}

impl Extracted {
    pub fn table_count(&self) -> usize {
        match *self {}
    }

    pub fn table_size(&self, _: usize) -> (u64, u64) {
        match *self {}
    }

    pub fn too_long(&self) -> u64 {
        match *self {}
    }

    pub fn headers(&self) -> &EvtxHeaders {
        match *self {}
    }

    pub fn reach(&self) -> &[LogExtent] {
        match *self {}
    }

    pub fn report(&self, _: &Input) -> InputReport {
        match *self {}
    }

    pub fn read_table(&self, _: usize, _: InputIdx, _: impl FnMut(&Record)) -> Result<(), Fault> {
        match *self {}
    }

    pub fn tables_with(&self, _: &[RecordRef]) -> Empty<usize> {
        match *self {}
    }

    pub fn first_of_chunk(&self, _: u64) -> Option<Edge> {
        match *self {}
    }
}
