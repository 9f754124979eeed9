//! Whether the evidence is after a run what it was before.

use rayon::prelude::*;

use super::input_report::InputReport;
use crate::error::{Fault, FaultKind};
use crate::input::InputKind;

/// Looks at each file that was read once more: a changed one is a fault. With `rehash` it is read
/// once more, too, and has the same hash or a fault.
pub(super) fn look_again(reports: &mut [InputReport], rehash: bool) {
    let read = reports.par_iter_mut().filter(|report| report.input.kind != InputKind::Unknown);
    read.for_each(|report| {
        let changed = |reason: String| {
            Fault::file(FaultKind::Suspect, format!("{}: {reason}", Fault::CHANGED))
        };
        report.faults.extend(report.input.changed().map(changed));
        let again = if rehash { report.input.hash_again() } else { None };
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
