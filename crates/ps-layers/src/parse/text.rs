//! Parses strings, words and variables.

use std::rc::Rc;

use super::super::syntax::{NodeKind, SyntaxNode, variable_name};
use super::{ScriptParser, is_double_quote, is_single_quote};

/// The end of an expandable string.
#[derive(Clone, Copy)]
enum StringEnd {
    Quote,
    /// The position at which a here-string's last line begins.
    At(usize),
}

impl ScriptParser<'_> {
    /// Parses a string, starting at its quote.
    pub(super) fn quoted(&mut self) -> SyntaxNode {
        match self.peek() {
            Some(quote) if is_single_quote(quote) => self.verbatim(),
            _ => self.nested(|parser| {
                parser.advance();
                parser.expandable(StringEnd::Quote)
            }),
        }
    }

    /// Parses `'…'`; a quote inside it is doubled.
    fn verbatim(&mut self) -> SyntaxNode {
        let start = self.at;
        self.advance();
        let mut value = String::new();
        while let Some(next) = self.advance() {
            if is_single_quote(next) {
                if !self.peek().is_some_and(is_single_quote) {
                    break;
                }
                self.advance();
            }
            value.push(next);
        }
        self.node(start, NodeKind::Text { value: Rc::new(value), ticked: false })
    }

    /// Parses `@'…'@` or `@"…"@`, starting at the `@`.
    pub(super) fn here_string(&mut self) -> SyntaxNode {
        let start = self.at;
        self.advance();
        let quote = self.advance().unwrap_or('"');
        // The text begins on the next line.
        let line = memchr::memchr(b'\n', self.rest().as_bytes());
        self.at = line.map_or(self.text.len(), |line| self.at + line + 1);
        let closing = if is_single_quote(quote) { "\n'@" } else { "\n\"@" };
        let from = self.at.saturating_sub(1);
        let end = memchr::memmem::find(&self.text.as_bytes()[from..], closing.as_bytes());
        let (end, after) = match end {
            Some(end) => (from + end, from + end + closing.len()),
            None => (self.text.len(), self.text.len()),
        };
        let end = end.max(self.at);
        let kind = if is_single_quote(quote) {
            let value = self.text[self.at..end].trim_end_matches('\r').to_owned();
            NodeKind::Text { value: Rc::new(value), ticked: false }
        } else {
            self.expandable(StringEnd::At(end))
        };
        self.at = after.max(self.at);
        self.node(start, kind)
    }

    /// Parses the inside of an expandable string and its closing quote.
    fn expandable(&mut self, end: StringEnd) -> NodeKind {
        let mut parts = Vec::new();
        let mut value = String::new();
        let mut ticked = false;
        let mut begin = self.at;
        while let Some(next) = self.peek() {
            match (next, end) {
                (_, StringEnd::At(end)) if self.at >= end => break,
                ('`', _) => {
                    self.advance();
                    let Some(escaped) = self.advance() else { break };
                    let (meant, needless) = backtick_meaning(escaped);
                    value.push(meant);
                    ticked |= needless;
                }
                ('$', _) if self.is_value() => {
                    if !value.is_empty() {
                        let text = Rc::new(std::mem::take(&mut value));
                        let kind = NodeKind::Text { value: text, ticked: false };
                        parts.push(SyntaxNode { span: begin..self.at, kind });
                    }
                    parts.push(self.primary());
                    begin = self.at;
                }
                (quote, StringEnd::Quote) if is_double_quote(quote) => {
                    self.advance();
                    if !self.peek().is_some_and(is_double_quote) {
                        break;
                    }
                    self.advance();
                    value.push(quote);
                }
                _ => {
                    self.advance();
                    value.push(next);
                }
            }
        }
        if parts.is_empty() {
            return NodeKind::Text { value: Rc::new(value), ticked };
        }
        if !value.is_empty() {
            let kind = NodeKind::Text { value: Rc::new(value), ticked: false };
            parts.push(SyntaxNode { span: begin..self.at, kind });
        }
        NodeKind::Expand(parts)
    }

    /// Returns whether a `$` begins a variable or `$(…)`.
    fn is_value(&self) -> bool {
        self.peek_second().is_some_and(|next| {
            next.is_alphanumeric() || matches!(next, '_' | '{' | '(' | '?' | '$' | '^' | ':')
        })
    }

    /// Parses a variable or `$(…)`, starting at the `$`.
    pub(super) fn dollar(&mut self) -> SyntaxNode {
        let start = self.at;
        if self.peek_second() == Some('(') {
            return self.nested(|parser| {
                parser.advance();
                NodeKind::Sub { body: parser.bracketed(')', true), array: false }
            });
        }
        self.advance();
        let mut name = String::new();
        let mut ticked = false;
        if self.take('{') {
            while let Some(next) = self.advance() {
                match next {
                    '}' => break,
                    '`' => {
                        let escaped = self.advance();
                        ticked |= escaped.is_some_and(|next| next.is_alphanumeric());
                        name.extend(escaped);
                    }
                    _ => name.push(next),
                }
            }
        } else if let Some(special @ ('?' | '$' | '^')) = self.peek() {
            self.advance();
            name.push(special);
        } else {
            while let Some(next) = self.peek() {
                let drive = next == ':'
                    && !name.contains(':')
                    && self.peek_second().is_some_and(|next| next.is_alphanumeric() || next == '_');
                if !(next.is_alphanumeric() || next == '_' || drive) {
                    break;
                }
                name.push(next);
                self.advance();
            }
        }
        if name.is_empty() {
            return self.opaque(start, Vec::new());
        }
        self.node(start, NodeKind::Variable { name: variable_name(&name).into(), ticked })
    }

    /// Parses a bare word, up to a blank or a special character.
    pub(super) fn word(&mut self) -> SyntaxNode {
        let start = self.at;
        let mut value = String::new();
        let mut ticked = false;
        while let Some(next) = self.peek() {
            match next {
                ';' | '|' | '(' | ')' | '{' | '}' | ',' => break,
                '&' if !value.ends_with('>') => break,
                '$' if self.is_value() => break,
                _ if next.is_whitespace() || is_single_quote(next) || is_double_quote(next) => {
                    break;
                }
                '`' => {
                    if self.peek_second().is_none_or(char::is_whitespace) {
                        break;
                    }
                    self.advance();
                    let escaped = self.advance();
                    ticked |= escaped.is_some_and(char::is_alphanumeric);
                    value.extend(escaped);
                }
                _ => {
                    self.advance();
                    value.push(next);
                }
            }
        }
        self.node(start, NodeKind::Word { value: Rc::new(value), ticked })
    }

    /// Parses the name of a member.
    pub(super) fn member_name(&mut self) -> SyntaxNode {
        let start = self.at;
        let mut value = String::new();
        let mut ticked = false;
        while let Some(next) = self.peek() {
            match next {
                '`' if self.peek_second().is_some_and(char::is_alphanumeric) => {
                    self.advance();
                    value.extend(self.advance());
                    ticked = true;
                }
                _ if next.is_alphanumeric() || next == '_' => {
                    self.advance();
                    value.push(next);
                }
                _ => break,
            }
        }
        self.node(start, NodeKind::Word { value: Rc::new(value), ticked })
    }

    /// Parses a number; anything else is read as a word.
    pub(super) fn number(&mut self) -> SyntaxNode {
        let start = self.at;
        let digits = |text: &str, is: fn(&char) -> bool| text.chars().take_while(is).count();
        let rest = self.rest();
        let hex = rest.get(..2).is_some_and(|sign| sign.eq_ignore_ascii_case("0x"));
        let (number, length) = if hex {
            let count = digits(&rest[2..], char::is_ascii_hexdigit);
            (i64::from_str_radix(&rest[2..2 + count], 16).ok(), 2 + count)
        } else {
            let count = digits(rest, char::is_ascii_digit);
            (rest[..count].parse().ok(), count)
        };
        let after = rest[length..].chars().next();
        let fraction = after == Some('.')
            && rest[length + 1..].starts_with(|next: char| next.is_ascii_digit());
        let ends = !after.is_some_and(|next| next.is_alphanumeric() || next == '_' || next == '\\');
        match number {
            Some(number) if ends && !fraction => {
                self.at += length;
                self.node(start, NodeKind::Number(number))
            }
            _ => {
                let mut end = length.max(1);
                let bytes = rest.as_bytes();
                while end < bytes.len()
                    && (bytes[end].is_ascii_alphanumeric() || bytes[end] == b'.')
                    && !(bytes[end] == b'.' && bytes.get(end + 1) == Some(&b'.'))
                {
                    end += 1;
                }
                self.at += end;
                self.opaque(start, Vec::new())
            }
        }
    }
}

/// Returns the meaning of a character after a backtick in Windows PowerShell
/// (about_Special_Characters: `` `e `` and `` `u `` came with PowerShell 6), and whether the
/// backtick was needless.
fn backtick_meaning(escaped: char) -> (char, bool) {
    match escaped {
        '0' => ('\0', false),
        'a' => ('\u{7}', false),
        'b' => ('\u{8}', false),
        'f' => ('\u{c}', false),
        'n' => ('\n', false),
        'r' => ('\r', false),
        't' => ('\t', false),
        'v' => ('\u{b}', false),
        _ => (escaped, escaped.is_alphanumeric()),
    }
}
