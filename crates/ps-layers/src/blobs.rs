//! Base64 that stands in a text.

use super::budget::Budget;
use super::encoding::{Compression, base64, binary, text_of};
use super::gate::SHORTEST_RUN;

/// A line of Base64 that goes on in the next is at least so long (MIME, PEM: 76, 64).
const LINE: usize = 60;
/// What is decoded to see whether the rest is worth it: a multiple of 4 characters.
const FIRST: usize = 64;

/// What it costs to look for a bare deflate stream, as bytes of a value.
const DEFLATE_COST: usize = 4096;

/// What a run of Base64 holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Blob {
    Text(String),
    /// A text, compressed.
    Inflated(String),
    /// A program: what it is, and its size in bytes.
    Binary(&'static str, usize),
}

/// The runs of Base64 in a text that hold something, and where they begin.
pub(super) fn blobs(text: &str, budget: &mut Budget) -> Vec<(usize, Blob)> {
    runs(text).filter_map(|(at, run)| Some((at, blob(run, budget)?))).collect()
}

fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let mut line = start;
            loop {
                at += bytes[at..].iter().take_while(|byte| is_base64(**byte)).count();
                // Long lines go on after a line break.
                let broken = at - line >= LINE;
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

/// What a run of Base64 holds.
pub(super) fn blob(run: &str, budget: &mut Budget) -> Option<Blob> {
    let first = run.get(..FIRST.min(run.len()))?;
    let first = base64(first)?;
    let marked = Compression::marked(&first);
    let promising = marked.is_some()
        || binary(&first).is_some()
        || first.starts_with(b"MZ")
        || reads(&first)
        || budget.make(DEFLATE_COST) && begins_deflated(&first);
    if !promising || !budget.make(run.len()) {
        return None;
    }
    let bytes = base64(run)?;
    if let Some(what) = binary(&bytes) {
        return Some(Blob::Binary(what, bytes.len()));
    }
    if reads(&first)
        && let Some(text) = text_of(&bytes)
    {
        return Some(Blob::Text(text));
    }
    let inflated = marked.unwrap_or(Compression::Deflate).inflate(&bytes, budget)?;
    if let Some(what) = binary(&inflated) {
        return Some(Blob::Binary(what, inflated.len()));
    }
    text_of(&inflated).map(Blob::Inflated)
}

/// Whether the first bytes may be those of a text, in UTF-16LE or UTF-8.
fn reads(first: &[u8]) -> bool {
    let pairs = first.chunks_exact(2);
    let wide = pairs.len() > 0 && 2 * pairs.filter(|pair| pair[1] == 0).count() >= first.len() / 2;
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    wide || !first.iter().any(control)
}

/// Whether a bare deflate stream may begin here: it has no mark, but most of what is not one ends
/// at once when read as one.
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
    filled >= 8 && reads(&out[..filled])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn found(text: &str) -> Vec<(usize, Blob)> {
        blobs(text, &mut Budget::new(&Limits::default(), text.len()))
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
    fn words_paths_and_certificates_are_no_base64() {
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
