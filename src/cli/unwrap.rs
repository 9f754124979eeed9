//! What a text hides, for a terminal: its layers, and the objects of CLIXML.

use std::borrow::Cow;
use std::io::{self, Write};

use ps_layers::{UnwrapLimits, Unwrapped, decode_text, find_base64_layers, find_layers};
use psrp::{ClixmlDocument, node_line};

use super::ending::Ending;
use crate::report::visible;

/// What PowerShell puts before CLIXML on a console's streams.
const MARK: &str = "#< CLIXML";

/// The text that bytes are: UTF-16LE or UTF-8, with or without a mark. What is no text of these is
/// taken for UTF-8 with damage.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match decode_text(bytes) {
        Some(text) => Cow::Owned(text),
        None => String::from_utf8_lossy(bytes),
    }
}

/// Tells what a text hides.
pub(super) fn tell(text: &str, out: &mut impl Write) -> io::Result<Ending> {
    let xml = text.trim_start();
    let xml = xml.strip_prefix(MARK).unwrap_or(xml).trim_start();
    if !xml.starts_with("<Objs") {
        list(&of(text), "the text", 0, out)?;
        return Ok(Ending::Whole);
    }
    let document = match ClixmlDocument::parse(xml.trim_end().as_bytes()) {
        Ok(document) => document,
        Err(damage) => {
            writeln!(out, "Not read: {}", visible(&damage.to_string()))?;
            list(&of(text), "the text", 0, out)?;
            return Ok(Ending::Partial);
        }
    };
    let objects = document.roots().map(node_line).collect::<Vec<_>>().join("\n");
    writeln!(out, "Layer 1: clixml, in the text")?;
    lines(&objects, out)?;
    writeln!(out)?;
    let found = of(&objects);
    match found.is_empty() {
        true => Ok(()),
        false => list(&found, "layer 1", 1, out),
    }?;
    Ok(Ending::Whole)
}

/// The layers of a text, which may be nothing but Base64, however short.
fn of(text: &str) -> Unwrapped {
    let limits = UnwrapLimits::default();
    let found = find_layers(text, &limits);
    if found.is_empty() { find_base64_layers(text, &limits) } else { found }
}

/// Lists layers; `whole` is what the text is called, and `before` how many layers came before.
fn list(found: &Unwrapped, whole: &str, before: usize, out: &mut impl Write) -> io::Result<()> {
    let of = |parent: Option<usize>| match parent {
        Some(parent) => format!("layer {}", parent + 1 + before),
        None => whole.to_owned(),
    };
    for (number, layer) in (before + 1..).zip(&found.layers) {
        writeln!(out, "Layer {number}: {}, in {}", layer.how.as_str(), of(layer.parent))?;
        lines(&layer.text, out)?;
        writeln!(out)?;
    }
    for binary in &found.binaries {
        writeln!(out, "{} of {} bytes, in {}", binary.kind, binary.size, of(binary.parent))?;
    }
    if let Some(stopped) = &found.stopped {
        let (limit, at) = (stopped.limit.as_str(), of(stopped.layer));
        writeln!(out, "Stopped in {at}: {limit}")?;
    }
    if found.layers.is_empty() && found.binaries.is_empty() {
        writeln!(out, "It hides nothing that this program knows to take off.")?;
    }
    Ok(())
}

fn lines(text: &str, out: &mut impl Write) -> io::Result<()> {
    text.lines().try_for_each(|line| writeln!(out, "{}", visible(line)))
}
