//! A tolerant parser for the part of PowerShell that obfuscators use.
//!
//! It takes any text, reads it once from left to right without going back, and never fails: what it
//! does not know becomes [`Kind::Opaque`], what is not closed ends with the text. The grammar is that
//! of the Windows PowerShell Language Specification 3.0, chapter 8, and about_Parsing.

mod command;
mod expression;
mod text;

use std::rc::Rc;

use super::syntax::{Assigned, Kind, Node, Script, SuffixKind};

/// Brackets, casts and assignments inside each other that are followed: the parser, and what reads
/// its nodes, call themselves for each. Obfuscators nest some dozens.
const NESTING: usize = 80;

/// Reads a text.
pub(super) fn parse(text: &str) -> Script {
    let mut parser =
        Parser { text, at: 0, nesting: 0, lines_join: false, script: Script::default() };
    let statements = parser.statements(None);
    Script { statements, ..parser.script }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nesting: usize,
    /// Inside round brackets, where a new line ends nothing.
    lines_join: bool,
    script: Script,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The character after the next.
    fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn node(&self, start: usize, kind: Kind) -> Node {
        Node { span: start..self.at, kind }
    }

    fn opaque(&self, start: usize, parts: Vec<Node>) -> Node {
        let none = self.script.assigned.len();
        self.node(start, Kind::Opaque { parts, assigned: none..none })
    }

    /// Reads something nested; what nests too deep is left as it is, but for its first character.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Kind) -> Node {
        let start = self.at;
        if self.nesting == NESTING {
            self.script.too_deep.get_or_insert(start);
            self.advance();
            return self.opaque(start, Vec::new());
        }
        self.nesting += 1;
        let kind = read(self);
        self.nesting -= 1;
        self.node(start, kind)
    }

    /// Skips blanks, comments, joined lines, and new lines where asked.
    fn skip(&mut self, lines: bool) {
        while let Some(next) = self.peek() {
            match next {
                '\r' | '\n' if !lines => return,
                '`' if matches!(self.peek_second(), Some('\r' | '\n')) => {
                    self.advance();
                    while matches!(self.peek(), Some('\r' | '\n')) {
                        self.advance();
                    }
                }
                '#' => {
                    let end = memchr::memchr2(b'\r', b'\n', self.rest().as_bytes());
                    self.at = end.map_or(self.text.len(), |end| self.at + end);
                }
                '<' if self.peek_second() == Some('#') => {
                    let end = memchr::memmem::find(self.rest().as_bytes(), b"#>");
                    self.at = end.map_or(self.text.len(), |end| self.at + end + 2);
                }
                _ if next.is_whitespace() => {
                    self.advance();
                }
                _ => return,
            }
        }
    }

    fn skip_here(&mut self) {
        self.skip(self.lines_join);
    }

    /// Statements up to a bracket that closes, which stays; at the top, to the text's end.
    fn statements(&mut self, closer: Option<char>) -> Vec<Node> {
        let mut statements = Vec::new();
        loop {
            self.skip(true);
            match self.peek() {
                None => return statements,
                Some(')' | '}' | ']') if closer.is_some() => return statements,
                Some(')' | '}' | ']' | ';' | '|') => {
                    self.advance();
                }
                Some('&') if self.peek_second() == Some('&') => self.at += 2,
                Some(_) => {
                    let before = self.at;
                    statements.push(self.statement());
                    if self.at == before {
                        self.advance();
                    }
                }
            }
        }
    }

    /// Statements between brackets, from the one that opens to the one that closes.
    fn bracketed(&mut self, closer: char, lines_join: bool) -> Vec<Node> {
        self.advance();
        let outside = std::mem::replace(&mut self.lines_join, lines_join);
        let statements = self.statements(Some(closer));
        self.lines_join = outside;
        self.take(closer);
        statements
    }

    fn statement(&mut self) -> Node {
        let start = self.at;
        let word: String =
            self.rest().chars().take(13).take_while(char::is_ascii_alphabetic).collect();
        let whole = !self.text[start + word.len()..].starts_with(|next: char| {
            next.is_ascii_alphanumeric() || matches!(next, '-' | '_' | '.' | '\\' | ':' | '`' | '/')
        });
        if !whole {
            return self.pipeline();
        }
        let before = self.script.assigned.len();
        let keyword = word.to_ascii_lowercase();
        match keyword.as_str() {
            "if" => self.nested(|parser| {
                parser.at += word.len();
                let branches = parser.branches();
                Kind::If { branches, assigned: parser.assigned_since(before) }
            }),
            "for" | "while" => self.nested(|parser| {
                parser.at += word.len();
                let mut parts = parser.loop_head();
                let body = parser.body();
                let assigned = parser.assigned_since(before);
                if keyword == "for" || parts.len() != 1 || parts[0].len() != 1 {
                    return Kind::For { parts, body, assigned };
                }
                let condition = Box::new(parts.remove(0).remove(0));
                Kind::While { condition, body, assigned }
            }),
            "foreach" if self.text[start + word.len()..].trim_start().starts_with('(') => self
                .nested(|parser| {
                    parser.at += word.len();
                    parser.for_each(before)
                }),
            "function" | "filter" | "workflow" | "class" | "do" | "switch" | "try" | "catch"
            | "finally" | "begin" | "process" | "end" | "trap" | "param" | "until" => {
                self.nested(|parser| {
                    parser.at += word.len();
                    let parts = parser.parts();
                    Kind::Opaque { parts, assigned: parser.assigned_since(before) }
                })
            }
            "return" | "throw" | "exit" => {
                self.at += word.len();
                self.skip(false);
                self.pipeline()
            }
            _ => self.pipeline(),
        }
    }

    /// What has been assigned since there were `before` names.
    fn assigned_since(&self, before: usize) -> Assigned {
        before..self.script.assigned.len()
    }

    fn branches(&mut self) -> Vec<(Option<Node>, Vec<Node>)> {
        let mut branches = Vec::new();
        loop {
            self.skip(true);
            let condition = (self.peek() == Some('(')).then(|| self.primary());
            let last = condition.is_none();
            branches.push((condition, self.body()));
            let end = self.at;
            self.skip(true);
            let word: String =
                self.rest().chars().take(7).take_while(char::is_ascii_alphabetic).collect();
            match word.to_ascii_lowercase().as_str() {
                "elseif" | "else" if !last => self.at += word.len(),
                _ => {
                    self.at = end;
                    return branches;
                }
            }
        }
    }

    /// What stands between a loop's round brackets, by its semicolons.
    fn loop_head(&mut self) -> Vec<Vec<Node>> {
        self.skip(true);
        let mut parts = Vec::new();
        if !self.take('(') {
            return parts;
        }
        let outside = std::mem::replace(&mut self.lines_join, true);
        let mut part = Vec::new();
        loop {
            self.skip(true);
            match self.peek() {
                Some(';') => {
                    self.advance();
                    parts.push(std::mem::take(&mut part));
                }
                None | Some(')' | '}' | ']') => break,
                Some(_) => {
                    let before = self.at;
                    part.push(self.pipeline());
                    if self.at == before {
                        self.advance();
                    }
                }
            }
        }
        parts.push(part);
        self.lines_join = outside;
        self.take(')');
        parts
    }

    fn for_each(&mut self, before: usize) -> Kind {
        self.skip(true);
        self.take('(');
        let outside = std::mem::replace(&mut self.lines_join, true);
        self.skip(true);
        let variable = self.primary();
        self.skip(true);
        if self.rest().get(..2).is_some_and(|word| word.eq_ignore_ascii_case("in")) {
            self.at += 2;
        }
        self.skip(true);
        let list = Box::new(self.pipeline());
        self.skip(true);
        self.lines_join = outside;
        self.take(')');
        self.assign(&variable);
        let body = self.body();
        let assigned = self.assigned_since(before);
        match variable.kind {
            Kind::Variable { name, .. } => Kind::ForEach { name, list, body, assigned },
            _ => Kind::Opaque { parts: vec![variable, *list], assigned },
        }
    }

    fn body(&mut self) -> Vec<Node> {
        self.skip(true);
        match self.peek() {
            Some('{') => self.bracketed('}', false),
            _ => Vec::new(),
        }
    }

    /// Words, brackets and blocks of a statement that is not evaluated.
    fn parts(&mut self) -> Vec<Node> {
        let mut parts = Vec::new();
        loop {
            self.skip(false);
            let next = self.peek();
            match next {
                Some('{') => {
                    parts.push(self.primary());
                    return parts;
                }
                Some('(' | '[' | '$') => parts.push(self.primary()),
                None | Some(')' | '}' | ']' | ';' | '|') => return parts,
                Some('\r' | '\n') => {
                    // The block may stand on the next line.
                    self.skip(true);
                    if self.peek() != Some('{') {
                        return parts;
                    }
                }
                Some(_) => {
                    self.advance();
                }
            }
        }
    }

    /// Notes that a value's variables are assigned.
    fn assign(&mut self, target: &Node) {
        match &target.kind {
            Kind::Variable { name, .. } => self.script.assigned.push(Rc::clone(name)),
            Kind::Cast(_, value) => self.assign(value),
            Kind::List(values) => values.iter().for_each(|value| self.assign(value)),
            Kind::Postfix(base, suffixes)
                if suffixes.iter().all(|suffix| matches!(suffix.kind, SuffixKind::Index(_))) =>
            {
                self.assign(base);
            }
            _ => {}
        }
    }
}

/// The dashes that PowerShell takes for one (language specification, 2.2.5).
pub(super) fn is_dash(next: char) -> bool {
    matches!(next, '-' | '\u{2013}' | '\u{2014}' | '\u{2015}')
}

/// The marks that PowerShell takes for a single quote (language specification, 2.3.5.2).
pub(super) fn is_single_quote(next: char) -> bool {
    matches!(next, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}')
}

/// The marks that PowerShell takes for a double quote.
pub(super) fn is_double_quote(next: char) -> bool {
    matches!(next, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}')
}

#[cfg(test)]
mod tests;
