//! `--config FILE`: options that stand in a file. What is typed wins.
//!
//! The file is YAML, as rules are: a mapping of long options to their values. It is turned into
//! options behind those that were typed, so that clap alone says what an option takes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use yaml_serde::{Mapping, Value};

use super::usage::Usage;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// Options that no file may hold.
const TYPED_ONLY: [&str; 3] = ["config", "help", "version"];

/// Why there are no arguments to go by.
pub(super) enum Stop {
    /// What was typed does not hold, or asks for help.
    Typed(clap::Error),
    /// What the file says does not hold.
    File(Usage),
}

/// The arguments typed, and behind them those that the file named among them adds; and what both
/// say.
pub(super) fn read(
    command: &Command,
    typed: Vec<OsString>,
) -> Result<(Vec<OsString>, ArgMatches), Stop> {
    let lenient = command.clone().ignore_errors(true).try_get_matches_from(&typed);
    let path = lenient.as_ref().ok().and_then(|found| found.get_one::<PathBuf>("config"));
    let (Ok(found), Some(path)) = (&lenient, path) else {
        let found = command.clone().try_get_matches_from(&typed).map_err(Stop::Typed)?;
        return Ok((typed, found));
    };
    let file = File::read(path).map_err(Stop::File)?;
    let added = file.options(command, found).map_err(Stop::File)?;
    let mut all = typed;
    let end = all.iter().position(|typed| typed == "--").unwrap_or(all.len());
    all.splice(end..end, added.iter().map(|(_, option)| option.into()));
    match command.clone().try_get_matches_from(&all) {
        Ok(found) => Ok((all, found)),
        Err(error) => Err(match added.iter().find(|(key, _)| is_about(&error, key)) {
            Some((key, _)) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                Stop::File(file.error(key, first.trim_start_matches("error: ")))
            }
            None => Stop::Typed(error),
        }),
    }
}

/// Whether an error is about an option.
fn is_about(error: &clap::Error, key: &str) -> bool {
    let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let name = about.split([' ', '=', '.']).next().unwrap_or_default();
    name.strip_prefix("--") == Some(key)
}

struct File<'p> {
    path: &'p Path,
    text: String,
    keys: Mapping,
}

impl<'p> File<'p> {
    fn read(path: &'p Path) -> Result<File<'p>, Usage> {
        let usage = |reason: String| Usage(format!("--config {}: {reason}", path.display()));
        let size = fs::metadata(path).map_err(|error| usage(error.to_string()))?.len();
        if size > LARGEST {
            return Err(usage(format!("larger than {LARGEST} bytes: this is no file of options")));
        }
        let text = fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
        let keys = match yaml_serde::from_str(&text) {
            Ok(Value::Mapping(keys)) => keys,
            Ok(Value::Null) => Mapping::new(),
            Ok(_) => return Err(usage("write one option a line, as 'output: results'".to_owned())),
            Err(error) => return Err(usage(error.to_string())),
        };
        Ok(File { path, text, keys })
    }

    /// An error at a key, with its line.
    fn error(&self, key: &str, reason: &str) -> Usage {
        let is_key = |line: &str| {
            let rest = line.trim_start().trim_start_matches(['"', '\'', '{', ' ']);
            let rest = rest.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'']));
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        };
        let line = self.text.lines().position(is_key).map_or(1, |line| line + 1);
        Usage(format!("{}:{line}: {reason}", self.path.display()))
    }

    /// The options that the file adds to what was typed, each with its key.
    fn options(
        &self,
        command: &Command,
        typed: &ArgMatches,
    ) -> Result<Vec<(String, String)>, Usage> {
        let (verb, typed) = innermost(command, typed);
        let mut added = Vec::new();
        for (key, value) in &self.keys {
            let Value::String(key) = key else {
                let key = scalar(key).unwrap_or_default();
                return Err(self.error(&key, "an option's name is a word"));
            };
            let is_known = !TYPED_ONLY.contains(&key.as_str()) && knows(command, key);
            if !is_known {
                return Err(self.error(key, &format!("no option is called '{key}'")));
            }
            // An option of another verb does not concern this one.
            let Some(option) = option(verb, key) else { continue };
            let is_typed = |option: &Arg| {
                typed.try_contains_id(option.get_id().as_str()).unwrap_or(false)
                    && typed.value_source(option.get_id().as_str())
                        == Some(ValueSource::CommandLine)
            };
            let rivals = verb.get_arg_conflicts_with(option);
            if is_typed(option) || rivals.into_iter().any(is_typed) {
                continue;
            }
            for text in self.values(key, option, value)? {
                added.push((key.clone(), text));
            }
        }
        Ok(added)
    }

    /// A key and its value as typed options.
    fn values(&self, key: &str, option: &Arg, value: &Value) -> Result<Vec<String>, Usage> {
        let flag = format!("--{key}");
        match (option.get_action(), value) {
            (ArgAction::SetTrue, Value::Bool(wanted)) => {
                Ok(wanted.then_some(flag).into_iter().collect())
            }
            (ArgAction::SetTrue, _) => Err(self.error(key, "write true or false")),
            (ArgAction::Count, value) => match value.as_u64().filter(|times| *times <= 9) {
                Some(times) => Ok(vec![flag; times as usize]),
                None => Err(self.error(key, "write how many times, as 1")),
            },
            (ArgAction::Append, Value::Sequence(values)) => {
                let texts =
                    values.iter().map(|value| scalar(value).map(|text| format!("{flag}={text}")));
                let texts: Option<Vec<String>> = texts.collect();
                texts.ok_or_else(|| self.error(key, "each value is a text or a number"))
            }
            (_, value) => match scalar(value) {
                Some(text) => Ok(vec![format!("{flag}={text}")]),
                None => Err(self.error(key, &format!("'{key}' takes one text or number"))),
            },
        }
    }
}

/// The verb that was typed, with what was typed for it.
fn innermost<'c>(command: &'c Command, typed: &'c ArgMatches) -> (&'c Command, &'c ArgMatches) {
    let next = typed.subcommand();
    match next.and_then(|(name, typed)| Some((command.find_subcommand(name)?, typed))) {
        Some((verb, typed)) => innermost(verb, typed),
        None => (command, typed),
    }
}

fn option<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|option| option.get_long() == Some(key))
}

/// Whether some verb has an option.
fn knows(command: &Command, key: &str) -> bool {
    option(command, key).is_some() || command.get_subcommands().any(|verb| knows(verb, key))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
