//! The package's exception.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    psr_forensics,
    Error,
    PyException,
    "An error that ends a run: the problem and its place, on one line. Damage inside logs is not an \
     error: the ledger lists it."
);

/// Converts a library error to the package's exception, with its causes.
pub fn error(error: impl std::error::Error) -> PyErr {
    Error::new_err(psr_forensics::error::with_causes(&error))
}
