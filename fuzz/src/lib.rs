//! What the fuzz targets share. `docs/soundness.md` says how to run them and what they found.

pub mod damage;
pub mod mutate;
pub mod targets;
