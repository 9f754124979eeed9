//! Text for a CSV cell. Logs are written by attackers, too.

use std::borrow::Cow;

use crate::table::MOST_IN_CELL;

/// What makes a spreadsheet take a cell for a formula; some take the full-width signs of East Asia for
/// the others (OWASP, "CSV Injection").
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// Whether a character shows nothing, or has others shown elsewhere than they stand: controls past
/// ASCII, ends of lines, what reorders, and what Unicode has as ignorable by default
/// (DerivedCoreProperties.txt), in which texts can be hidden.
pub(super) fn hides(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A text as a cell: on one line, no control characters, no formula, of bounded length.
///
/// Line ends show as `␊`, other control characters as their pictures (U+2400 on), characters that
/// reorder text as `<U+202E>`. A cell that a spreadsheet would take for a formula gets a `'`.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    safe(text, true)
}

/// A text for a terminal: as a cell, and no `'` where no spreadsheet reads it.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    safe(text, false)
}

fn safe(text: &str, spreadsheet: bool) -> Cow<'_, str> {
    let formula = spreadsheet && text.starts_with(FORMULA);
    if text.len() <= MOST_IN_CELL && !formula && plain(text) == text.len() {
        return Cow::Borrowed(text);
    }
    let mut cell = String::with_capacity(text.len() + text.len() / 8 + 1);
    if formula {
        cell.push('\'');
    }
    let mut rest = text;
    let mut room = MOST_IN_CELL;
    while room > 0 {
        let (run, after) = rest.split_at(plain(rest).min(room));
        cell.push_str(run);
        room -= run.len();
        let mut chars = after.chars();
        let Some(c) = chars.next().filter(|_| room > 0) else {
            rest = after;
            break;
        };
        rest = chars.as_str();
        room -= 1;
        match c {
            '\r' if rest.starts_with('\n') => {}
            '\n' => cell.push('␊'),
            '\t' => cell.push(' '),
            '\u{7f}' => cell.push('␡'),
            c if c < ' ' => cell.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            c if hides(c) => {
                let shown = format!("<U+{:04X}>", c as u32);
                room = room.saturating_sub(shown.len() - 1);
                cell.push_str(&shown);
            }
            c => cell.push(c),
        }
    }
    if !rest.is_empty() {
        cell.push_str("… (cut: the record holds the rest)");
    }
    Cow::Owned(cell)
}

/// How many characters a text begins with that stand in a cell as they are.
fn plain(text: &str) -> usize {
    const AT_ONCE: usize = 16;
    let is_plain = |byte: &u8| (b' '..0x7f).contains(byte);
    let bytes = text.as_bytes();
    // Without an early end, so that the bytes of a block are looked at in one step.
    let all_plain = |block: &&[u8; AT_ONCE]| block.iter().fold(true, |all, b| all & is_plain(b));
    let start = AT_ONCE * bytes.as_chunks().0.iter().take_while(all_plain).count();
    start + bytes[start..].iter().take_while(|byte| is_plain(byte)).count()
}

/// Appends a text as a cell of a CSV line (RFC 4180): quoted where it has to be.
pub(crate) fn push(line: &mut String, text: &str) {
    line.push_str(&quoted(cell(text)));
}

/// A cell as it stands in a CSV line.
pub(super) fn quoted(cell: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr2(b',', b'"', cell.as_bytes()).is_none() {
        return cell;
    }
    let mut text = String::with_capacity(cell.len() + 2);
    text.push('"');
    let mut start = 0;
    for quote in memchr::memchr_iter(b'"', cell.as_bytes()) {
        text.push_str(&cell[start..=quote]);
        text.push('"');
        start = quote + 1;
    }
    text.push_str(&cell[start..]);
    text.push('"');
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_in_its_cell() {
        assert_eq!(cell("a\r\nb\nc\rd"), "a␊b␊c␍d");
        assert_eq!(cell("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(cell("\t=1"), "' =1");
        assert_eq!(cell("\u{1b}[2J\0"), "␛[2J␀");
        assert_eq!(cell("exe\u{202e}txt"), "exe<U+202E>txt");
        assert_eq!(cell("plain ünïcode"), "plain ünïcode");
        assert_eq!(cell("＝1+1"), "'＝1+1");
        // An Arabic letter mark, a soft hyphen, a word joiner, a tag: none of them is seen.
        assert_eq!(cell("a\u{61c}b\u{ad}c\u{2060}d"), "a<U+061C>b<U+00AD>c<U+2060>d");
        assert_eq!(cell("x\u{e0041}"), "x<U+E0041>");
    }

    #[test]
    fn cells_of_a_line_are_quoted_where_they_must_be() {
        let line = |text| {
            let mut line = String::new();
            push(&mut line, text);
            line
        };
        assert_eq!(line("plain; text"), "plain; text");
        assert_eq!(line("a,b"), "\"a,b\"");
        assert_eq!(line("say \"no\""), "\"say \"\"no\"\"\"");
        assert_eq!(line("a\nb"), "a␊b");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let text = "ä".repeat(MOST_IN_CELL + 1);
        let long = cell(&text);
        assert!(long.ends_with("the record holds the rest)"));
        assert!(long.chars().count() < 32_767);
        assert_eq!(cell(&"ä".repeat(MOST_IN_CELL)).chars().count(), MOST_IN_CELL);
        assert!(cell(&"\u{202e}".repeat(MOST_IN_CELL)).chars().count() < 32_767);
    }
}
