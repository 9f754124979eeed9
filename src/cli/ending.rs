//! The ways a run can end.

/// How a run ended, for the exit code.
pub(super) enum Ending {
    Whole,
    Partial,
    /// Partial, or a limit met, and that was to be an error.
    Strict,
    /// Rules are not as they should be.
    Unsound,
    Interrupted,
    /// Results or evidence are not as they were.
    Deviates,
}
