//! `sessions/S0001.txt`: what was typed in a session and what came back, as the traffic has it.

use std::io::{self, Write};

use super::cell::visible;
use crate::analysis::Analysis;
use crate::model::{
    AccountName, Command, Heard, IdxVec, Role, SessionIdx, Stream, csv_time, session_id,
};

/// Longest line, in characters; a longer one is cut and says so.
const MAX_LINE: usize = 30_000;

/// The sessions of which a transcript can be made, each with its file's name and its commands.
pub(super) fn all(analysis: &Analysis) -> Vec<(SessionIdx, String, Vec<&Command>)> {
    let mut commands: IdxVec<SessionIdx, Vec<&Command>> =
        analysis.reconstruction.sessions.iter().map(|_| Vec::new()).collect();
    for command in &analysis.reconstruction.commands {
        if command.role != Role::Process && command.depth == 0 && command.parent.is_none() {
            commands[command.session].push(command);
        }
    }
    let heard = |commands: &[&Command]| commands.iter().any(|command| command.heard.is_some());
    let told = |at: SessionIdx| analysis.scope.session(&analysis.reconstruction.sessions[at]);
    let sessions = commands.into_iter_enumerated();
    let sessions = sessions.filter(|(at, commands)| heard(commands) && told(*at));
    sessions.map(|(at, own)| (at, format!("sessions/{}.txt", session_id(at)), own)).collect()
}

/// Writes a session's transcript.
pub(super) fn write(
    analysis: &Analysis,
    session: SessionIdx,
    commands: &[&Command],
    to: &mut impl Write,
) -> io::Result<()> {
    let told = &analysis.reconstruction.sessions[session];
    let user = told.user.as_ref().map(AccountName::to_string).unwrap_or_default();
    writeln!(
        to,
        "{} on {} as {}, {} to {} UTC",
        session_id(session),
        visible(&told.target_host),
        visible(&user),
        csv_time(told.start),
        csv_time(told.end),
    )?;
    writeln!(to, "Commands: {}", visible(&told.command_completeness))?;
    let mut prompt = String::new();
    for command in commands {
        // What asks for the prompt stands before what is typed at it.
        if let Some(shown) = prompt_of(command) {
            prompt = shown;
            continue;
        }
        writeln!(to)?;
        let by = if command.role == Role::Engine { " (PowerShell itself)" } else { "" };
        writeln!(to, "[{}]{by}", csv_time(command.time))?;
        let before = if prompt.is_empty() { "PS> " } else { prompt.as_str() };
        lines(to, before, &command.text)?;
        prompt.clear();
        if !command.completeness.is_whole() {
            writeln!(to, "[{}]", visible(&command.completeness.to_string()))?;
        }
        match &command.heard {
            Some(heard) => answer(to, heard)?,
            None => writeln!(to, "[what came back is not in the traffic]")?,
        }
    }
    to.flush()
}

fn answer(to: &mut impl Write, heard: &Heard) -> io::Result<()> {
    for line in &heard.lines {
        lines(to, line.stream.label(), &line.text)?;
    }
    for gap in &heard.gaps {
        writeln!(to, "[missing: {}]", visible(gap))?;
    }
    let state = match heard.state.as_str() {
        "" => "how it ended was not seen",
        state => state,
    };
    match heard.ended {
        Some(ended) => writeln!(to, "[{} {}]", csv_time(ended), visible(state)),
        None => writeln!(to, "[{}]", visible(state)),
    }
}

/// Lines of a text, the first after a label, each made safe for a terminal.
fn lines(to: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    let mut label = label;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (shown, cut) = match line.char_indices().nth(MAX_LINE) {
            Some((end, _)) => (&line[..end], "… (cut)"),
            None => (line, ""),
        };
        writeln!(to, "{}{}{cut}", visible(label), visible(shown))?;
        label = "";
    }
    Ok(())
}

/// The prompt that a call of `prompt` gave.
fn prompt_of(command: &Command) -> Option<String> {
    let is_prompt = command.role == Role::Engine && command.text.trim() == "prompt";
    let heard = command.heard.as_deref().filter(|_| is_prompt)?;
    match &heard.lines[..] {
        [line] if line.stream == Stream::Output && !line.text.contains('\n') => {
            Some(line.text.clone())
        }
        _ => None,
    }
}
