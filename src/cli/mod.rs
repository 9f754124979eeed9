//! The command line: arguments, progress, the closing summary, exit codes.

mod analyze;
mod decode;
mod explain;
mod packs;
mod progress;
mod query;
mod rules;
mod schema;
mod summary;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;

/// Rebuilds PowerShell Remoting sessions from Windows event logs: who, from where, to where, how
/// authenticated, what was run, and which records prove it.
#[derive(Parser)]
#[command(name = "psr-forensics", version, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Read logs, rebuild sessions, match rules, write timelines.
    Analyze(analyze::Args),
    /// Tell sessions of a run's results in order, each statement with its record, the reasons,
    /// what speaks against it, and what is missing.
    Explain(explain::Args),
    /// List, check, test, explain and export packs of rules.
    Packs(packs::Args),
    /// Take off what a text or command line hides, layer by layer, and run nothing of it; or read
    /// remoting's traffic.
    Decode(decode::Args),
    /// Ask a run's tables in SQL; needs `analyze --format parquet`.
    Query(query::Args),
    /// Print what each file of each output format holds.
    Schema(schema::Args),
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  nothing could be read, or the output could not be written
  2  wrong usage: an unknown option, a path that does not exist, an output folder in use,
     no such session, a selection that leaves no rule, an evidence pointer that leads nowhere
  3  a pack that cannot be read or loads no rule; packs check and test: something is wrong
  4  done, but something could not be read in full or a rule was not loaded: see run.json";

/// How a run ended, for the exit code.
enum Ending {
    Whole,
    Partial,
    /// Rules are not as they should be.
    Unsound,
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way, too. A closed pipe is no error of ours.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let ending = match args.command {
        Verb::Analyze(args) => analyze::run(args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Packs(args) => packs::run(args),
        Verb::Decode(args) => decode::run(&args),
        Verb::Query(args) => query::run(&args),
        Verb::Schema(args) => schema::run(&args),
    };
    match ending {
        Ok(Ending::Whole) => ExitCode::SUCCESS,
        Ok(Ending::Unsound) => ExitCode::from(3),
        Ok(Ending::Partial) => ExitCode::from(4),
        Err(error) => {
            let _ = writeln!(io::stderr(), "psr-forensics: {error:#}");
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(
            Error::MissingInput(_)
            | Error::BadGlob { .. }
            | Error::OutputExists(_)
            | Error::UnknownSession { .. }
            | Error::NoResults { .. }
            | Error::Selection(_)
            | Error::Pointer(_)
            | Error::Sql(_),
        ) => 2,
        Some(Error::Pack { .. }) => 3,
        _ => 1,
    }
}

/// Log text for a terminal: no escape sequence gets through.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
