//! Writes a fleet's logs and its truth: `make-scenario OUT --hosts 12 --sessions 220`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use scenario::{Config, Fleet, JsonLineFormat, Loss};

/// Writes the logs of a made-up fleet, a folder a host, and truth.json beside them.
#[derive(Parser)]
struct Arguments {
    /// Folder for the logs
    out: PathBuf,
    /// Hosts whose logs are collected
    #[arg(long, default_value_t = 12)]
    hosts: usize,
    /// Sessions
    #[arg(long, default_value_t = 220)]
    sessions: usize,
    /// Events of each host that have to do with no session
    #[arg(long, default_value_t = 500)]
    noise: usize,
    /// Largest clock error, in seconds
    #[arg(long, default_value_t = 90)]
    clock: u64,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Logs that are cleared, roll over, and hosts that are not collected
    #[arg(long, num_args = 3, default_values_t = [1, 2, 3])]
    loss: Vec<usize>,
    /// The logs as lines of JSON, too: below json/ as evtx_dump and as NXLog spell them
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let &[cleared, rolled_over, uncollected] = arguments.loss.as_slice() else {
        return Err("--loss takes three numbers".into());
    };
    let fleet = Fleet::generate(&Config {
        seed: arguments.seed,
        hosts: arguments.hosts,
        sessions: arguments.sessions,
        noise_per_host: arguments.noise,
        max_clock_error_seconds: arguments.clock,
        loss: Loss { cleared, rolled_over, uncollected },
    });
    fleet.write_evtx(&arguments.out)?;
    if arguments.json {
        let folder = arguments.out.join("json");
        fleet.write_json_lines(&folder.join("evtx_dump"), JsonLineFormat::EvtxDump)?;
        fleet.write_json_lines(&folder.join("nxlog"), JsonLineFormat::NxLog)?;
    }
    let truth = serde_json::to_vec_pretty(fleet.truth())?;
    Ok(fs::write(arguments.out.join("truth.json"), truth)?)
}
