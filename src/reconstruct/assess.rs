//! What is missing from a case, and what the logs themselves show of their own state.

use super::integrity::FileFacts;
use super::reconstruction::Reconstruction;
use super::windows::TimeWindow;
use super::{coverage, gaps, integrity};
use crate::model::{Edge, IdxVec, InputIdx};

impl Reconstruction {
    /// Judges which records of its sessions are missing and how much of them logs cover, in a run that
    /// looks at a part of the time. The holes that count are to be known.
    pub(crate) fn look_for_missing(&mut self, window: TimeWindow) {
        self.window = window;
        let judged = coverage::assess_records(self, window);
        for (session, (missing, covered)) in self.sessions.iter_mut().zip(judged) {
            (session.missing, session.covered) = (missing, covered);
        }
    }

    /// Says which holes in logs count, in a run that looks at a part of the time. `sound` says of
    /// an input whether it is EVTX of which nothing was lost.
    pub(crate) fn look_for_gaps(&mut self, window: TimeWindow, sound: impl Fn(InputIdx) -> bool) {
        self.gaps = gaps::log_gaps(&self.coverage, &self.sessions, window, sound);
    }

    /// Looks for signs that logs are not as they were written, in a run that looks at a part of the
    /// time. `files` are the inputs', `first` finds the first record that can be read of an input's
    /// chunk.
    pub(crate) fn look_for_signs(
        &mut self,
        window: TimeWindow,
        files: &IdxVec<InputIdx, FileFacts<'_>>,
        first: impl Fn(InputIdx, u64) -> Option<Edge>,
    ) {
        self.signs = integrity::signs(self, window, files, first);
    }
}
