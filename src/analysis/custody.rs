//! Checks that the evidence did not change during a run.

use rayon::prelude::*;

use super::input_report::InputReport;
use crate::error::{Fault, FaultKind};
use crate::input::InputKind;

/// Checks each file that was read for changes and reports a changed file as a fault. With `rehash`
/// it also reads the file again and compares the hash.
pub(super) fn check_unchanged(reports: &mut [InputReport], rehash: bool) {
    let read = reports.par_iter_mut().filter(|report| report.input.kind != InputKind::Unknown);
    read.for_each(|report| {
        let changed = |reason: String| {
            Fault::file(FaultKind::Suspect, format!("{}: {reason}", Fault::CHANGED))
        };
        report.faults.extend(report.input.describe_change().map(changed));
        let again = if rehash { report.input.rehash() } else { None };
        match again {
            Some(Ok(sha256)) => {
                if report.sha256.as_ref().is_some_and(|before| *before != sha256) {
                    let reason = format!("its SHA-256 is {sha256} now");
                    report.faults.push(changed(reason));
                }
                report.sha256_after = Some(sha256);
            }
            Some(Err(error)) => {
                let reason = format!("not hashed a second time: {error}");
                report.faults.push(Fault::file(FaultKind::Lost, reason));
            }
            None => {}
        }
    });
}
