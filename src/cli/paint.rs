//! Colours, on a terminal only: `anstream` takes them off a pipe, and where `NO_COLOR` is set.

use std::fmt;

use anstyle::{AnsiColor, Style};

use crate::model::Level;

/// A heading.
pub(super) const HEAD: Style = Style::new().bold();
/// What must not be missed.
pub(super) const ALARM: Style = AnsiColor::Red.on_default().bold();

/// A text in a style. The text is safe already.
pub(super) struct Painted<T>(pub Style, pub T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Painted(style, text) = self;
        write!(to, "{style}")?;
        text.fmt(to)?;
        write!(to, "{style:#}")
    }
}

/// The style of a level.
pub(super) fn level(level: Level) -> Style {
    match level {
        Level::Critical | Level::High => ALARM,
        Level::Medium => AnsiColor::Yellow.on_default(),
        Level::Low | Level::Informational => Style::new(),
    }
}

/// Whether standard error may be coloured.
pub(super) fn on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
