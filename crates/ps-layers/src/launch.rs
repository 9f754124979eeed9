//! Reads command lines as powershell.exe and cmd.exe do before anything runs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::budget::Budget;
use super::encoding::{decode_base64, decode_utf16};
use super::parse::is_dash;

/// Largest number of command lines of each kind that are read in a text.
const MAX_COMMAND_LINES: usize = 16;

/// Longest program path at the beginning of a command line, in bytes (Windows' MAX_PATH).
const LONGEST_PATH: usize = 260;

/// `-e`, `-ec`, `-en` ... `-encodedcommand` with any of the dashes that PowerShell accepts, then
/// Base64.
///
/// PowerShell accepts any unambiguous prefix of a parameter; `-ec` is an alias of its own
/// (Microsoft's about_PowerShell_exe).
static ENCODED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:^|[\s"'])[-/\u{2013}\u{2014}\u{2015}]+["']?(?:ec|e(?:n(?:c(?:o(?:d(?:e(?:d(?:c(?:o(?:m(?:m(?:a(?:n(?:d)?)?)?)?)?)?)?)?)?)?)?)?)?)["']?\s+["']*([A-Za-z0-9+/]{8,}={0,2})"#,
    )
    .expect("the pattern is fixed")
});

static POWERSHELL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?:^|[\s\\"'&|;(=,])(?:powershell|pwsh)(?:\.exe)?["']?[ \t]+"#)
        .expect("the pattern is fixed")
});

static CMD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?:\bcmd(?:\.exe)?["']?|%comspec%)(?:\s+/[a-z](?::\w+)?)*?\s*/[ckr]\s*"#)
        .expect("the pattern is fixed")
});

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"%([A-Za-z_][A-Za-z0-9_()]*)(?::~(-?\d+)(?:,(-?\d+))?|:([^=%]+)=([^%]*))?%")
        .expect("the pattern is fixed")
});

/// Returns the commands in `-EncodedCommand` arguments (Base64 of UTF-16LE), each with its
/// position.
pub(super) fn encoded_commands(text: &str) -> Vec<(usize, String)> {
    ENCODED
        .captures_iter(text)
        .filter_map(|found| {
            let argument = found.get(1)?;
            Some((argument.start(), decode_utf16(&decode_base64(argument.as_str())?)?))
        })
        .take(MAX_COMMAND_LINES)
        .collect()
}

/// Returns whether a text is a single command line for powershell.exe or cmd.exe.
pub(super) fn is_command_line(text: &str) -> bool {
    let text = text.trim();
    if text.contains('\n') {
        return false;
    }
    let program = match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => text.split_whitespace().next(),
    };
    let program = program.unwrap_or_default().to_lowercase();
    let name = program.rsplit(['\\', '/']).next().unwrap_or_default();
    let name = name.strip_suffix(".exe").unwrap_or(name);
    matches!(name, "powershell" | "pwsh" | "cmd" | "%comspec%")
}

/// Returns the commands that are passed to powershell.exe, without quotes, each with its
/// position. In a command line a command is all the rest, in a script the rest of the statement.
pub(super) fn powershell_commands(
    text: &str,
    is_line: bool,
    budget: &mut Budget,
) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    for found in POWERSHELL.find_iter(text).take(MAX_COMMAND_LINES) {
        let rest = &text[found.end()..];
        // Later in a text the name may occur in prose: there, a parameter must follow it.
        let parameter = rest.starts_with(|next| is_dash(next) || next == '/');
        if !parameter && found.start() > LONGEST_PATH {
            continue;
        }
        let rest = if is_line { rest } else { first_statement(rest) };
        if let Some(from) = command_start(rest) {
            if !budget.read(rest.len()) {
                break;
            }
            let command = join_arguments(&rest[from..]);
            if command.trim() != "-" {
                commands.push((found.end() + from, command));
            }
        }
    }
    commands
}

/// Returns a script's text up to the end of the first statement.
fn first_statement(text: &str) -> &str {
    let mut open = None;
    for (at, next) in text.char_indices() {
        match (next, open) {
            ('"' | '\'', None) => open = Some(next),
            (_, Some(quote)) if next == quote => open = None,
            (';' | '|' | '&' | '\r' | '\n', None) => return &text[..at],
            _ => {}
        }
    }
    text
}

/// Returns where the command begins in powershell.exe's arguments: after `-Command`, or at the
/// first argument that is not a parameter.
fn command_start(arguments: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += arguments[at..].len() - arguments[at..].trim_start().len();
        let rest = &arguments[at..];
        let first = rest.chars().next()?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        if !is_dash(first) && first != '/' {
            return Some(at);
        }
        let name = rest[..end].trim_start_matches(|next| is_dash(next) || next == '/');
        let name = name.trim_matches(['"', '\'']).to_lowercase();
        at += end;
        if !name.is_empty() && "command".starts_with(&name) {
            return Some(at + arguments[at..].len() - arguments[at..].trim_start().len());
        }
        // Switches have no value; all other parameters have one.
        let is = |full: &str, shortest: usize| name.len() >= shortest && full.starts_with(&name);
        let switch = is("noprofile", 3)
            || is("nologo", 3)
            || is("noninteractive", 4)
            || is("noexit", 3)
            || is("sta", 1)
            || is("mta", 1)
            || is("help", 1);
        if is("file", 1) || is("encodedcommand", 1) || name == "ec" {
            return None;
        }
        if !switch {
            at += arguments[at..].len() - arguments[at..].trim_start().len();
            let value = &arguments[at..];
            at += value.find(char::is_whitespace).unwrap_or(value.len());
        }
    }
}

/// Returns the arguments as a program receives them, joined with blanks as powershell.exe does
/// (Microsoft's "Parsing C++ command-line arguments").
fn join_arguments(arguments: &str) -> String {
    let mut text = String::with_capacity(arguments.len());
    let mut quoted = false;
    let mut slashes = 0_usize;
    for next in arguments.trim_end().chars() {
        match next {
            '\\' => {
                slashes += 1;
                continue;
            }
            '"' => {
                text.extend(std::iter::repeat_n('\\', slashes / 2));
                if slashes.is_multiple_of(2) {
                    quoted = !quoted;
                } else {
                    text.push('"');
                }
            }
            _ => {
                text.extend(std::iter::repeat_n('\\', slashes));
                text.push(next);
            }
        }
        slashes = 0;
    }
    text.extend(std::iter::repeat_n('\\', slashes));
    text
}

/// A command line as cmd.exe has resolved it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResolvedCmdLine {
    pub at: usize,
    pub text: String,
    /// The variables that it sets, by lower-case name.
    pub environment: BTreeMap<String, String>,
    /// The text that it pipes to the standard input of a powershell.exe.
    pub piped: Option<String>,
}

/// Returns the command lines for cmd.exe whose carets or variables change something, with these
/// resolved.
pub(super) fn cmd_lines(
    text: &str,
    outer: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Vec<ResolvedCmdLine> {
    // The value of a variable may be longer than its reference, and the line may contain further
    // variables: each of them costs.
    let mut metered = |at: usize, line: &str| {
        if !budget.read(line.len()) {
            return None;
        }
        let resolved = resolve_cmd_line(at, line, outer, budget)?;
        budget.make(resolved.text.len()).then_some(resolved)
    };
    let mut lines = Vec::new();
    for found in CMD.find_iter(text).take(MAX_COMMAND_LINES) {
        let end = text[found.end()..].find(['\r', '\n']);
        let rest = &text[found.end()..end.map_or(text.len(), |end| found.end() + end)];
        lines.extend(metered(found.end(), strip_quotes(rest)));
    }
    // A caret inside a word is an escape even if cmd.exe is not named.
    if lines.is_empty() && has_caret_in_word(text) {
        lines.extend(metered(0, text));
    }
    lines
}

fn has_caret_in_word(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic();
    text.as_bytes().windows(3).any(|three| letter(three[0]) && three[1] == b'^' && letter(three[2]))
}

/// Removes the first quote and the last, as cmd.exe does (`cmd /?`).
fn strip_quotes(rest: &str) -> &str {
    let Some(inner) = rest.strip_prefix('"') else { return rest };
    match inner.rfind('"') {
        Some(last) if inner[last + 1..].trim().is_empty() => &inner[..last],
        _ => inner,
    }
}

fn resolve_cmd_line(
    at: usize,
    line: &str,
    outer: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Option<ResolvedCmdLine> {
    let mut resolved = ResolvedCmdLine { at, ..ResolvedCmdLine::default() };
    let mut echoed: Option<String> = None;
    let mut segment = String::new();
    // A value may be long, and may be used many times.
    let mut room = 4 * line.len() + 65_536;
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    loop {
        let next = chars.next();
        let separator = match next {
            Some('^') if !quoted => {
                segment.extend(chars.next());
                continue;
            }
            Some(next @ ('&' | '|')) if !quoted => next,
            Some(next) => {
                quoted ^= next == '"';
                segment.push(next);
                continue;
            }
            None => '\0',
        };
        let expanded = expand_variables(&segment, &resolved.environment, outer, &mut room, budget);
        segment.clear();
        let words = expanded.trim_start();
        let after = |word: &str| {
            let head = words.get(..word.len())?;
            let tail = &words[word.len()..];
            (head.eq_ignore_ascii_case(word) && tail.starts_with([' ', '\t', '('])).then_some(tail)
        };
        if let Some((name, value)) = after("set").and_then(|set| set.trim().split_once('=')) {
            let name = name.trim_matches(['"', ' ']).to_lowercase();
            resolved.environment.insert(name, value.trim_end_matches('"').to_owned());
        }
        let reads_input = words.to_lowercase().contains("powershell")
            && words.trim_end().trim_end_matches('"').ends_with(" -");
        if reads_input {
            resolved.piped = resolved.piped.or(echoed.take());
        }
        echoed = after("echo").filter(|_| separator == '|').map(|echo| echo.trim().to_owned());
        resolved.text.push_str(&expanded);
        if separator == '\0' {
            break;
        }
        resolved.text.push(separator);
    }
    let changed = resolved.text != line;
    (changed || !resolved.environment.is_empty() || resolved.piped.is_some()).then_some(resolved)
}

/// Expands `%NAME%`, `%NAME:~from,count%` and `%NAME:old=new%` if the variable is known and room
/// and budget suffice. A value may be long, and even a use that takes one letter of it reads all
/// of it.
fn expand_variables(
    text: &str,
    environment: &BTreeMap<String, String>,
    outer: &BTreeMap<String, String>,
    room: &mut usize,
    budget: &mut Budget,
) -> String {
    let mut value = |found: &regex::Captures<'_>| -> Option<String> {
        let name = found[1].to_lowercase();
        let known = environment.get(&name).or_else(|| outer.get(&name)).map(String::as_str);
        let cut = found.get(2);
        // Letters may be taken from values that almost any Windows has; a whole value would be a
        // guess.
        let usual = || match name.as_str() {
            "comspec" if cut.is_some() => Some(r"C:\WINDOWS\system32\cmd.exe"),
            "public" if cut.is_some() => Some(r"C:\Users\Public"),
            "programdata" if cut.is_some() => Some(r"C:\ProgramData"),
            _ => None,
        };
        let value = known.or_else(usual)?;
        let text = |group: usize| found.get(group).map(|found| found.as_str());
        let value = match (text(2), text(4), text(5)) {
            (Some(from), ..) => {
                let value = budget.read(value.len()).then(|| substring(value, from, text(3)));
                value.flatten()?
            }
            (_, Some(old), Some(new)) if budget.read(value.len()) => {
                let places = value.matches(old).count();
                (value.len() + places * new.len() <= *room + places * old.len())
                    .then(|| value.replace(old, new))?
            }
            (_, Some(_), Some(_)) => return None,
            _ => (value.len() <= *room).then(|| value.to_owned())?,
        };
        *room = room.checked_sub(value.len())?;
        Some(value)
    };
    let replaced =
        |found: &regex::Captures<'_>| value(found).unwrap_or_else(|| found[0].to_owned());
    VARIABLE.replace_all(text, replaced).into_owned()
}

fn substring(value: &str, from: &str, count: Option<&str>) -> Option<String> {
    let chars: Vec<char> = value.chars().collect();
    let length = chars.len() as i64;
    let place = |number: i64| if number < 0 { length.saturating_add(number) } else { number };
    let from = place(from.parse().ok()?).clamp(0, length);
    let end = match count {
        None => length,
        Some(count) => match count.parse::<i64>().ok()? {
            count if count < 0 => length.saturating_add(count),
            count => from.saturating_add(count),
        },
    };
    let end = end.clamp(from, length);
    Some(chars[from as usize..end as usize].iter().collect())
}
