//! Finds and decodes Base64 inside a text.

use super::budget::Budget;
use super::encoding::{Compression, decode_base64, decode_text, program_kind};
use super::precheck::SHORTEST_RUN;

/// Shortest line of Base64 that may continue on the next line (MIME has 76 characters, PEM 64).
const LONG_LINE: usize = 60;
/// Number of characters decoded first, to see whether the rest is worth decoding: a multiple of
/// 4.
const PROBE_LENGTH: usize = 64;

/// Cost of checking for a deflate stream without header, as bytes of a value.
const DEFLATE_COST: usize = 4096;

/// The decoded content of a run of Base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Blob {
    Text(String),
    /// A text that was compressed.
    Inflated(String),
    /// A program: its kind, and its size in bytes.
    Binary(&'static str, usize),
}

/// Finds the runs of Base64 in a text that have usable content. Returns each with its position.
pub(super) fn find_blobs(text: &str, budget: &mut Budget) -> Vec<(usize, Blob)> {
    base64_runs(text).filter_map(|(at, run)| Some((at, decode_blob(run, budget)?))).collect()
}

fn base64_runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let mut line = start;
            loop {
                at += bytes[at..].iter().take_while(|byte| is_base64(**byte)).count();
                // A long line continues after a line break.
                let broken = at - line >= LONG_LINE;
                let breaks =
                    bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                let next = at + breaks;
                if !broken || breaks == 0 || next >= bytes.len() || !is_base64(bytes[next]) {
                    break;
                }
                line = next;
                at = next;
            }
            let end = at;
            at = (at + 1).min(bytes.len()).max(end);
            while at < bytes.len() && !is_base64(bytes[at]) {
                at += 1;
            }
            if end - start >= SHORTEST_RUN {
                return Some((start, &text[start..end]));
            }
        }
        None
    })
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Decodes a run of Base64. Returns `None` if it is neither a text nor a program.
pub(super) fn decode_blob(run: &str, budget: &mut Budget) -> Option<Blob> {
    let first = run.get(..PROBE_LENGTH.min(run.len()))?;
    let first = decode_base64(first)?;
    let marked = Compression::detect(&first);
    let promising = marked.is_some()
        || program_kind(&first).is_some()
        || first.starts_with(b"MZ")
        || looks_like_text(&first)
        || budget.make(DEFLATE_COST) && begins_deflated(&first);
    if !promising || !budget.make(run.len()) {
        return None;
    }
    let bytes = decode_base64(run)?;
    if let Some(kind) = program_kind(&bytes) {
        return Some(Blob::Binary(kind, bytes.len()));
    }
    if looks_like_text(&first)
        && let Some(text) = decode_text(&bytes)
    {
        return Some(Blob::Text(text));
    }
    let inflated = marked.unwrap_or(Compression::Deflate).inflate(&bytes, budget)?;
    if let Some(kind) = program_kind(&inflated) {
        return Some(Blob::Binary(kind, inflated.len()));
    }
    decode_text(&inflated).map(Blob::Inflated)
}

/// Returns whether the first bytes may belong to a text in UTF-16LE or UTF-8.
fn looks_like_text(first: &[u8]) -> bool {
    let pairs = first.chunks_exact(2);
    let wide = pairs.len() > 0 && 2 * pairs.filter(|pair| pair[1] == 0).count() >= first.len() / 2;
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    wide || !first.iter().any(control)
}

/// Returns whether a deflate stream without header may begin here. Most other data fails at once
/// when it is read as one.
fn begins_deflated(first: &[u8]) -> bool {
    let mut out = [0; 16];
    let mut reader = flate2::read::DeflateDecoder::new(first);
    let mut filled = 0;
    while let Ok(count @ 1..) = std::io::Read::read(&mut reader, &mut out[filled..]) {
        filled += count;
        if filled == out.len() {
            break;
        }
    }
    filled >= 8 && looks_like_text(&out[..filled])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnwrapLimits;

    fn found(text: &str) -> Vec<(usize, Blob)> {
        find_blobs(text, &mut Budget::new(&UnwrapLimits::default(), text.len()))
    }

    // Python: base64.b64encode('Write-Output "a plain text"'.encode('utf-16le'))
    const WIDE: &str = "VwByAGkAdABlAC0ATwB1AHQAcAB1AHQAIAAiAGEAIABwAGwAYQBpAG4AIAB0AGUAeAB0ACIA";

    #[test]
    fn texts_are_read_in_both_encodings() {
        let text = r#"Write-Output "a plain text""#.to_owned();
        assert_eq!(found(&format!("x = '{WIDE}'")), [(5, Blob::Text(text.clone()))]);
        // Python: base64.b64encode(b'Write-Output "a plain text"')
        let narrow = "V3JpdGUtT3V0cHV0ICJhIHBsYWluIHRleHQi";
        assert_eq!(found(narrow), [(0, Blob::Text(text))]);
    }

    #[test]
    fn lines_of_base64_are_one_run() {
        let (first, second) = WIDE.split_at(64);
        let lines = format!("@'\r\n{first}\r\n{second}\r\n'@");
        assert_eq!(found(&lines), [(4, Blob::Text(r#"Write-Output "a plain text""#.into()))]);
    }

    #[test]
    fn words_paths_and_certificates_are_not_base64() {
        assert_eq!(found("ThisIsTheNameOfAnIdentifierThatIsVeryLongIndeed"), []);
        assert_eq!(found("/Microsoft/Windows/PowerShell/ScheduledJobs/Definitions"), []);
        // The beginning of a DER certificate.
        assert_eq!(found("MIIFYAYJKoZIhvcNAQcCoIIFUTCCBU0CAQExCzAJBgUrDgMCGgUAMGkGCisGAQQB"), []);
        assert_eq!(found(&"A".repeat(5000)), []);
    }

    #[test]
    fn programs_are_named_not_shown() {
        // Python: base64.b64encode(b'MZ' + bytes(126))
        let program = format!("TVo{}", "A".repeat(168));
        assert_eq!(found(&program), [(0, Blob::Binary("MZ executable", 128))]);
    }
}
