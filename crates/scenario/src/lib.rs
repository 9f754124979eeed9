//! Made-up estates whose truth is known: what `psr-forensics` is measured with.
//!
//! A [`Fleet`] is a day in a company: PowerShell Remoting sessions and failed attempts of every kind
//! that [`Truth`] names, among everyday noise, on machines that log more or less, whose clocks are
//! wrong and some of whose logs are lost. What the events look like follows real logs; where those
//! leave a doubt, a comment says so and both variants are made.
//!
//! ```
//! use scenario::{Config, Fleet};
//!
//! let fleet = Fleet::generate(&Config { sessions: 3, noise_per_host: 10, ..Config::default() });
//! assert!(fleet.truth().sessions.len() >= 3);
//! ```

mod around;
mod attempt;
mod cases;
mod clock;
mod connect;
mod event_recorder;
pub mod events;
mod facts;
mod fleet;
mod json;
mod noise;
mod plan;
mod rng;
mod session;
mod ssh;
mod truth;
mod truth_builder;
mod work;
mod world;

pub use fleet::Fleet;
pub use json::JsonLineFormat;
pub use truth::{
    AttemptTruth, ExpectedResult, Fact, FactEvidence, HostTruth, Moment, RunTruth, SessionTruth,
    Truth,
};

/// The parameters of a fleet. Equal parameters give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The seed of the random numbers.
    pub seed: u64,
    /// Machines whose logs are collected; at least 8, so that each kind is there.
    pub hosts: usize,
    /// Sessions, or a few more where a case takes several.
    pub sessions: usize,
    /// Events of each machine that have to do with no session.
    pub noise_per_host: usize,
    /// How wrong a clock may be, in either direction, domain controllers' included.
    pub max_clock_error_seconds: u64,
    /// The logs that are lost.
    pub loss: Loss,
}

/// How many logs are lost, apart from events that machines never log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Logs that somebody clears.
    pub cleared: usize,
    /// Logs that roll over.
    pub rolled_over: usize,
    /// Further machines with sessions whose logs were never collected.
    pub uncollected: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            hosts: 12,
            sessions: 220,
            noise_per_host: 500,
            max_clock_error_seconds: 90,
            loss: Loss { cleared: 1, rolled_over: 2, uncollected: 3 },
        }
    }
}
