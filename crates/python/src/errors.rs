//! The package's exception.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    psr_forensics,
    Error,
    PyException,
    "What ends a run: what is wrong and where, on one line. Damage inside logs is no error: it is in \
     the ledger."
);

/// An error of the package's own, with its causes.
pub fn error(error: impl std::error::Error) -> PyErr {
    Error::new_err(psr_forensics::error::with_causes(&error))
}
