//! The progress bar: on stderr, and silent where that is no terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::analysis::Progress;

pub(super) struct Bar {
    bar: ProgressBar,
    records: AtomicU64,
}

impl Bar {
    pub fn new(quiet: bool) -> Bar {
        // The target of stderr hides itself off a terminal.
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Bar { bar: ProgressBar::with_draw_target(None, target), records: AtomicU64::new(0) }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, files: usize, bytes: u64) {
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:30}] {bytes}/{total_bytes}, {msg} records, {eta} left",
        );
        self.bar.set_style(style.expect("the template is fixed").progress_chars("=> "));
        self.bar.set_length(bytes);
        self.bar.set_prefix(format!("reading {files} logs"));
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn advance(&self, bytes: u64, records: u64) {
        let all = self.records.fetch_add(records, Ordering::Relaxed) + records;
        self.bar.inc(bytes);
        if !self.bar.is_hidden() {
            self.bar.set_message(HumanCount(all).to_string());
        }
    }

    fn stage(&self, name: &str) {
        let style = ProgressStyle::with_template("{spinner} {msg}");
        self.bar.set_style(style.expect("the template is fixed"));
        self.bar.set_message(name.to_owned());
    }
}
