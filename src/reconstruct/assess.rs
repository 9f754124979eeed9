//! Adds to a reconstruction what is missing from it, and what the logs show of their own state.

use super::integrity::FileFacts;
use super::reconstruction::Reconstruction;
use super::windows::TimeWindow;
use super::{coverage, gaps, integrity};
use crate::model::{Edge, IdxVec, InputIdx};

impl Reconstruction {
    /// Sets which records of each session are missing and how much of it logs cover. `window` is
    /// the time that the run looks at. Call [`Reconstruction::look_for_gaps`] first.
    pub(crate) fn look_for_missing(&mut self, window: TimeWindow) {
        self.window = window;
        let judged = coverage::assess_records(self, window);
        for (session, (missing, covered)) in self.sessions.iter_mut().zip(judged) {
            (session.missing, session.covered) = (missing, covered);
        }
    }

    /// Sets which holes in logs are suspicious. `window` is the time that the run looks at. `sound`
    /// returns true if an input is EVTX and was read without loss.
    pub(crate) fn look_for_gaps(&mut self, window: TimeWindow, sound: impl Fn(InputIdx) -> bool) {
        self.gaps = gaps::log_gaps(&self.coverage, &self.sessions, window, sound);
    }

    /// Sets the signs that logs are not as they were written. `window` is the time that the run
    /// looks at. `files` are the facts of the inputs. `first` returns the first readable record of
    /// an input's chunk.
    pub(crate) fn look_for_signs(
        &mut self,
        window: TimeWindow,
        files: &IdxVec<InputIdx, FileFacts<'_>>,
        first: impl Fn(InputIdx, u64) -> Option<Edge>,
    ) {
        self.signs = integrity::signs(self, window, files, first);
    }
}
