//! The command line: arguments, progress, the closing summary, exit codes.

mod analyze;
mod config;
mod correlate;
mod decode;
mod diff;
mod ending;
mod explain;
mod extract;
mod info;
mod interrupt;
mod limits;
mod live;
mod manual;
mod merge;
mod packs;
mod paint;
mod print;
mod progress;
mod query;
mod remedy;
mod results;
mod rules;
mod running;
mod schema;
mod summary;
mod unwrap;
mod usage;
mod verify;
mod who;
mod zone;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::Error;
use crate::report::visible;
use analyze::Made;
use config::Stop;
use ending::Ending;
use print::plain;
use usage::Usage;

/// Rebuilds PowerShell Remoting sessions from Windows event logs: who, from where, to where, how
/// authenticated, what was run, and which records prove it.
#[derive(Parser)]
#[command(name = "psr-forensics", version, after_help = after_help())]
struct Program {
    #[command(subcommand)]
    command: Verb,
    /// Take options from a YAML file: long names and values, as 'output: results'; what is typed
    /// wins
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Read logs, rebuild sessions, match rules, write timelines.
    #[command(after_help = analyze::EXAMPLES)]
    Analyze(Box<analyze::Args>),
    /// Keep of logs what sessions and rules need, as Parquet in a case folder that is added to, and
    /// from which `rebuild` goes on: here, elsewhere, and together with others.
    #[command(after_help = extract::EXAMPLES)]
    Extract(extract::Args),
    /// Rebuild sessions and match rules on what was extracted to cases, as `analyze` does on logs.
    #[command(name = "rebuild", alias = "correlate", after_help = correlate::EXAMPLES)]
    Correlate(Box<correlate::Args>),
    /// Take cases into one.
    #[command(after_help = merge::EXAMPLES)]
    Merge(merge::Args),
    /// Say what a run's results have that another's have not: sessions by the records that they share.
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::Args),
    /// Tell sessions of a run's results in order, each statement with its record, the reasons,
    /// what speaks against it, and what is missing.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Args),
    /// Say what logs hold before a full run: hosts, channels, times, records, holes, clearings,
    /// damage.
    #[command(after_help = info::EXAMPLES)]
    Info(info::Args),
    /// List, check, test, explain and export packs of rules.
    #[command(after_help = packs::EXAMPLES)]
    Packs(packs::Args),
    /// Check a folder of results: its files and the evidence by their hashes, each row by its records,
    /// and all of it by making the run again.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Args),
    /// Take off what a text or command line hides, layer by layer, and run nothing of it; or read
    /// remoting's traffic.
    #[command(after_help = decode::EXAMPLES)]
    Decode(decode::Args),
    /// Ask a run's tables in SQL; needs `analyze --format parquet`.
    #[command(after_help = query::EXAMPLES)]
    Query(query::Args),
    /// Print what each file of each output format holds.
    #[command(after_help = schema::EXAMPLES)]
    Schema(schema::Args),
    /// Write a script that completes the command line in a shell.
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::Completions),
    /// Write the manual pages.
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man(manual::Man),
}

/// The exit codes and what they mean: the one table of them.
pub const EXIT_CODES: [(u8, &str); 8] = [
    (0, "done"),
    (1, "nothing could be read, or the output could not be written"),
    (
        2,
        "wrong usage: an unknown option, a path that does not exist, an output folder in use, a \
         selection that leaves no rule, an evidence pointer that leads nowhere, a file of options \
         that does not hold; for `explain`, a session or results that are not there",
    ),
    (
        3,
        "a pack that cannot be read or loads no rule; `packs check` and `packs test`: something is \
         wrong",
    ),
    (
        4,
        "done, but something could not be read in full or a rule was not loaded: see run.json; for \
         `verify`, nothing deviates, but something could not be checked",
    ),
    (
        5,
        "the same with `--strict`, which also counts any limit met; without `--strict` such a limit \
         leaves 0",
    ),
    (6, "for `verify`: something deviates"),
    (130, "interrupted by Ctrl-C, or asked to end: the results have what was read until then"),
];

fn after_help() -> String {
    let rows = EXIT_CODES.iter().map(|(code, text)| format!("\n  {code}  {text}"));
    format!(
        "Examples:\n  psr-forensics info CASE/logs\n  psr-forensics analyze CASE/logs -o results\n  \
         psr-forensics explain S0001 -o results\n\nExit codes:{}",
        rows.collect::<String>()
    )
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let read = config::read(&Program::command(), std::env::args_os().collect());
    let parsed = read.and_then(|(arguments, found)| {
        Ok((arguments, Program::from_arg_matches(&found).map_err(Stop::Typed)?))
    });
    let ending = match parsed {
        Ok((arguments, program)) => run(program.command, &arguments),
        Err(Stop::File(error)) => Err(error.into()),
        Err(Stop::Typed(error)) => {
            // Help and version come this way, too. A closed pipe is no error of ours.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // A shell may have made options of file names.
            for line in error.render().to_string().lines() {
                let _ = writeln!(io::stderr(), "{}", visible(line));
            }
            return ExitCode::from(2);
        }
    };
    match ending {
        Ok(Ending::Whole) => ExitCode::SUCCESS,
        Ok(Ending::Unsound) => ExitCode::from(3),
        Ok(Ending::Partial) => ExitCode::from(4),
        Ok(Ending::Strict) => ExitCode::from(5),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::CODE),
        Ok(Ending::Deviates) => ExitCode::from(6),
        Err(error) => {
            let _ = writeln!(io::stderr(), "psr-forensics: {}", plain(&remedy::line(&error)));
            ExitCode::from(code(&error))
        }
    }
}

fn run(verb: Verb, arguments: &[OsString]) -> anyhow::Result<Ending> {
    match verb {
        Verb::Analyze(args) => analyze::run(&args, arguments),
        Verb::Extract(args) => extract::run(&args),
        Verb::Correlate(args) => correlate::run(&args, arguments),
        Verb::Merge(args) => merge::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Info(args) => info::run(&args),
        Verb::Packs(args) => packs::run(args),
        Verb::Verify(args) => verify::run(&args, made),
        Verb::Decode(args) => decode::run(&args),
        Verb::Query(args) => query::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Completions(args) => Ok(manual::completions(&args, Program::command())),
        Verb::Man(args) => manual::man(&args, Program::command()),
    }
}

/// The run that was started with some arguments, to make it again.
///
/// # Errors
/// Why they are none of this version.
fn made(arguments: &[String]) -> Result<Made, String> {
    let program = "psr-forensics".to_owned();
    let parsed = Program::try_parse_from([program].iter().chain(arguments));
    match parsed.map(|program| program.command) {
        Ok(Verb::Analyze(args)) => Ok(Made::Analyze(args)),
        Ok(Verb::Correlate(args)) => Ok(Made::Correlate(args)),
        _ => Err("its arguments are none of analyze or rebuild in this version".to_owned()),
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return 2;
    }
    match error.downcast_ref::<Error>() {
        Some(
            Error::MissingInput(_)
            | Error::BadGlob { .. }
            | Error::OutputExists(_)
            | Error::NoResults { .. }
            | Error::Case { .. }
            | Error::UnknownRule(_)
            | Error::RejectedRule { .. }
            | Error::UnknownExclusion(_)
            | Error::NothingSelected { .. }
            | Error::NotBuilt { .. }
            | Error::NoTables(_)
            | Error::Pointer(_)
            | Error::Sql(_),
        ) => 2,
        Some(Error::Pack { .. }) => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples in the help of a verb and those below it.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  psr-forensics"));
        let own: Vec<String> = lines.map(|line| format!("psr-forensics{line}")).collect();
        let below = command.get_subcommands().flat_map(examples);
        own.into_iter().chain(below).collect()
    }

    #[test]
    fn every_verb_has_examples_and_they_are_right() {
        let command = Program::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            assert!(!examples(verb).is_empty(), "{} has none", verb.get_name());
        }
        for example in examples(&command) {
            let typed = example.split(['|', '<', '>']).next().unwrap_or_default();
            // Words as a shell cuts them: quotes hold blanks.
            let mut words = vec![String::new()];
            let mut quote = None;
            for c in typed.trim().chars() {
                match (quote, c) {
                    (None, '\'' | '"') => quote = Some(c),
                    (Some(open), c) if open == c => quote = None,
                    (None, ' ') => words.push(String::new()),
                    (_, c) => words.last_mut().unwrap().push(c),
                }
            }
            let found = command.clone().try_get_matches_from(&words);
            assert!(found.is_ok(), "{example}: {}", found.unwrap_err());
        }
    }
}
