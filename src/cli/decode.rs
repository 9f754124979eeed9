//! `psr-forensics decode`: a text's layers, or loose remoting traffic as text.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use psrp::{
    AnomalyKind, Conversation, Direction, Exchange, Fragment, MessageHeader, Pipeline, SessionKey,
};

use super::ending::Ending;
use super::unwrap;
use crate::reconstruct::pipeline_output;
use crate::report::visible;

/// Longest input that is read, in bytes.
const LONGEST: u64 = 64 << 20;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics decode 'powershell -enc RwBlAHQALQBEAGEAdABlAA=='
  psr-forensics decode --file script.ps1
  psr-forensics decode - < script.txt
  psr-forensics decode --psrp fragments.txt";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The text: a command line, a script, Base64, CLIXML; from standard input if it is `-`
    #[arg(value_name = "TEXT", required_unless_present_any = ["psrp", "file"], conflicts_with_all = ["psrp", "file"])]
    text: Option<String>,
    /// Read the text from this file: UTF-8, or UTF-16 as PowerShell writes it
    #[arg(long, value_name = "FILE", conflicts_with = "psrp")]
    file: Option<PathBuf>,
    /// Read PowerShell Remoting traffic from this file, or from standard input if it is `-`:
    /// fragments as bytes, hex or Base64, one piece a line or all in one; or SOAP documents
    #[arg(long, value_name = "FILE")]
    psrp: Option<PathBuf>,
    /// Show the text of SecureStrings: the session key, 64 hex digits. The traffic has it in encrypted
    /// form only; it has to come from elsewhere, such as the client's memory
    #[arg(long, value_name = "HEX", requires = "psrp", value_parser = session_key)]
    session_key: Option<SessionKey>,
}

fn session_key(text: &str) -> Result<SessionKey, &'static str> {
    SessionKey::parse(text).ok_or("a session key is 64 hex digits")
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    let mut out = io::stdout().lock();
    if let Some(path) = &args.psrp {
        return traffic(&read(path)?, args.session_key.as_ref(), &mut out);
    }
    let told = match (&args.file, &args.text) {
        (Some(path), _) => unwrap::tell(&unwrap::text(&read(path)?), &mut out),
        (None, Some(text)) if text == "-" => {
            unwrap::tell(&unwrap::text(&read(Path::new("-"))?), &mut out)
        }
        (None, text) => unwrap::tell(text.as_deref().unwrap_or_default(), &mut out),
    };
    told.or_else(closed)
}

/// A reader that closed the pipe has seen enough.
fn closed(error: io::Error) -> Result<Ending> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Ending::Whole),
        _ => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let name = || format!("cannot read {}", path.display());
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).with_context(name)?),
    };
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes).with_context(name)?;
    anyhow::ensure!(
        bytes.len() as u64 <= LONGEST,
        "{} is longer than {} MiB: give it in parts",
        path.display(),
        LONGEST >> 20
    );
    Ok(bytes)
}

fn lines(text: &str, out: &mut impl Write) -> io::Result<()> {
    text.lines().try_for_each(|line| writeln!(out, "{}", visible(line)))
}

/// Where each piece began: its number in the input, from 1.
type Place = usize;

/// What was taken of an input.
#[derive(Default)]
struct Heard {
    exchange: Exchange<Place>,
    /// What is no traffic, a sentence each.
    unread: Vec<String>,
    /// By ObjectId, whether the latest message of it goes to the server.
    directions: BTreeMap<u64, bool>,
}

fn traffic(bytes: &[u8], key: Option<&SessionKey>, out: &mut impl Write) -> Result<Ending> {
    let mut heard = Heard::default();
    pieces(bytes, &mut heard);
    let Heard { exchange, unread, .. } = heard;
    let mut conversation = exchange.finish();
    conversation.session_key = key.cloned();
    let is_whole = unread.is_empty()
        && conversation.gaps.is_empty()
        && conversation.absent.is_empty()
        && conversation.faults.is_empty()
        && conversation.damaged().next().is_none()
        && conversation.lost_documents.is_empty();
    let found = !conversation.messages.is_empty() || !conversation.shells.is_empty();
    tell(&conversation, &unread, out).map_or_else(closed, |()| {
        anyhow::ensure!(
            found || !conversation.gaps.is_empty(),
            "no remoting traffic in it: fragments as bytes, hex or Base64, or SOAP documents are"
        );
        Ok(if is_whole { Ending::Whole } else { Ending::Partial })
    })
}

/// Gives an input's pieces to an exchange, and notes what is none.
fn pieces(bytes: &[u8], heard: &mut Heard) {
    let text = text(bytes);
    let Some(text) = text.as_deref() else {
        return take(bytes, 1, heard);
    };
    const END: &str = "Envelope>";
    if text.contains("Envelope") {
        // Documents one after the other; what stands between them is none.
        let mut rest = text;
        let mut number = 0;
        while let Some(start) = opening(rest) {
            let document = &rest[start..];
            let mut ends = document.match_indices(END);
            let end = ends.find(|(at, _)| closes(&document[..*at]));
            let end = end.map(|(at, _)| at + END.len());
            number += 1;
            let end = end.unwrap_or(document.len());
            heard.exchange.add_document("", &document[..end], vec![number]);
            rest = &document[end..];
        }
        return;
    }
    // One piece over many lines, or a piece a line.
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(bytes) = plain(&joined)
        && Fragment::split(&bytes).1.is_none()
    {
        return take(&bytes, 1, heard);
    }
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match plain(line.trim()) {
            Some(bytes) => take(&bytes, number + 1, heard),
            None => heard.unread.push(format!("line {} is no hex and no Base64", number + 1)),
        }
    }
}

/// The input as text, if it is one: UTF-8, or UTF-16 with its mark.
fn text(bytes: &[u8]) -> Option<String> {
    if let Some(units) = bytes.strip_prefix(&[0xff, 0xfe]) {
        let (units, _) = units.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
        return Some(String::from_utf16_lossy(&units));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| text.trim_start_matches('\u{feff}').to_owned())
}

/// Longest prefix of a tag's name that is looked for, in bytes.
const LONGEST_PREFIX: usize = 64;

/// Where the tag begins in whose name a text ends, if it does.
fn tag(text: &str) -> Option<usize> {
    let from = text.floor_char_boundary(text.len().saturating_sub(LONGEST_PREFIX));
    let start = from + text[from..].rfind('<')?;
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '/' | ':' | '-' | '_' | '.');
    text[start + 1..].chars().all(is_name).then_some(start)
}

/// Where a document begins: `<Envelope`, with or without a prefix.
fn opening(text: &str) -> Option<usize> {
    text.match_indices("Envelope").find_map(|(at, _)| tag(&text[..at]))
}

/// Whether a text ends within a closing tag.
fn closes(before: &str) -> bool {
    tag(before).is_some_and(|start| before[start..].starts_with("</"))
}

fn plain(text: &str) -> Option<Vec<u8>> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    psrp::decode_hex(hex).or_else(|| psrp::decode_base64(text))
}

/// Takes the fragments of some bytes: a message's header says which way it goes, and its other
/// fragments go the same way.
fn take(bytes: &[u8], number: Place, heard: &mut Heard) {
    let (fragments, rest) = Fragment::split(bytes);
    for fragment in fragments {
        let id = fragment.object_id;
        let header =
            MessageHeader::parse(&fragment.blob).ok().filter(|_| fragment.fragment_id == 0);
        let known = heard.directions.get(&id).copied().unwrap_or(true);
        let to_server = header.map_or(known, |header| header.direction == Direction::ToServer);
        heard.directions.insert(id, to_server);
        heard.exchange.add_fragment("", 0, to_server, fragment, number);
    }
    if let Some(reason) = rest {
        heard.unread.push(format!("piece {number}: {reason}"));
    }
}

fn tell(
    conversation: &Conversation<Place>,
    unread: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    for pool in conversation.pools() {
        let states: Vec<&str> = pool.states.iter().map(|(state, _)| state.as_str()).collect();
        writeln!(out, "Runspace pool {}: {}", pool.id, visible(&states.join(", ")))?;
        for call in pool.host_calls.iter().filter_map(|(call, _)| psrp::host_call_text(call)) {
            lines(&call, out)?;
        }
        if let Some(failure) = &pool.failure {
            lines(&psrp::error_text(failure), out)?;
        }
        for &id in &pool.pipelines {
            tell_pipeline(&conversation.pipeline(pool.id, id), conversation, out)?;
        }
    }
    for shell in &conversation.shells {
        for command in shell.commands.iter().filter(|command| !command.streams.is_empty()) {
            writeln!(
                out,
                "\n> {} {}",
                visible(&command.line),
                visible(&command.arguments.join(" "))
            )?;
            for name in command.streams.keys() {
                writeln!(out, "[{}]", visible(name))?;
                lines(&command.stream_text(name).unwrap_or_default(), out)?;
            }
        }
    }
    writeln!(out)?;
    for gap in &conversation.gaps {
        writeln!(out, "Missing: {}", visible(&gap.sentence()))?;
    }
    for absent in &conversation.absent {
        let (from, to) = (absent.object_ids.start(), absent.object_ids.end());
        writeln!(out, "Missing: objects {from} to {to}, of which nothing is there")?;
    }
    for fault in &conversation.faults {
        let kind = fault.header.map_or("message", |header| header.kind.name());
        writeln!(out, "Not read: a {kind}: {}", visible(&fault.reason))?;
    }
    for (message, damage) in conversation.damaged() {
        let (kind, reason) = (message.header.kind.name(), damage.to_string());
        writeln!(out, "Not read: a {kind}: {}", visible(&reason))?;
    }
    for anomaly in &conversation.anomalies {
        if let AnomalyKind::Rejected(reason) = &anomaly.kind {
            writeln!(out, "Not read: piece {:?}: {}", anomaly.tags, visible(reason))?;
        }
    }
    unread.iter().try_for_each(|reason| writeln!(out, "Not read: {}", visible(reason)))
}

fn tell_pipeline(
    pipeline: &Pipeline,
    conversation: &Conversation<Place>,
    out: &mut impl Write,
) -> io::Result<()> {
    let text = pipeline.command_text();
    writeln!(out)?;
    lines(&format!("> {}", text.as_deref().unwrap_or("(a command whose text is lost)")), out)?;
    for (stream, _, text) in pipeline_output(pipeline) {
        lines(&format!("{}{text}", stream.label()), out)?;
    }
    for &gap in &pipeline.gaps {
        writeln!(out, "[missing: {}]", visible(&conversation.gaps[gap].sentence()))?;
    }
    let state = pipeline.state().unwrap_or("how it ended was not seen");
    writeln!(out, "[{}]", visible(state))
}
