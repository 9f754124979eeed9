//! What the parser makes of a text: the part of PowerShell's grammar that obfuscators use.

use std::ops::Range;
use std::rc::Rc;

/// A piece of the text and what it is.
#[derive(Debug)]
pub(super) struct Node {
    /// Bytes of the text.
    pub span: Range<usize>,
    pub kind: Kind,
}

/// Names that the statements of a loop or branch assign: a range of [`Script::assigned`].
pub(super) type Assigned = Range<usize>;

#[derive(Debug)]
pub(super) enum Kind {
    /// A literal string. `ticked`: escapes stood in it that mean nothing.
    Text {
        value: Rc<String>,
        ticked: bool,
    },
    /// A bare word: a command's name, a member's, an argument.
    Word {
        value: Rc<String>,
        ticked: bool,
    },
    /// `-Name` among a command's arguments.
    Parameter(Rc<String>),
    Number(i64),
    /// A double-quoted string, or a word, with values in it.
    Expand(Vec<Node>),
    /// A variable's name, lower-case, with its drive but for `variable:` and scopes.
    Variable {
        name: Rc<str>,
        ticked: bool,
    },
    /// Operators of one precedence, from left to right.
    Chain(Box<Node>, Vec<(Operator, Node)>),
    Unary(Unary, Box<Node>),
    Cast(Rc<str>, Box<Node>),
    /// `[name]`, lower-case and without `system.`.
    Type(Rc<str>),
    /// A value, and what is asked of it.
    Postfix(Box<Node>, Vec<Suffix>),
    /// `(…)`.
    Paren(Vec<Node>),
    /// `$(…)`, or `@(…)` when `array`.
    Sub {
        body: Vec<Node>,
        array: bool,
    },
    /// `@{…}`.
    Hash(Vec<Node>),
    /// `{…}`.
    Block(Rc<Block>),
    /// `a, b`; or `, a`.
    List(Vec<Node>),
    Assign {
        target: Box<Node>,
        operator: Option<Operator>,
        value: Box<Node>,
    },
    Pipeline(Vec<Node>),
    Command {
        invoked: bool,
        name: Box<Node>,
        arguments: Vec<Node>,
    },
    /// Conditions and their branches; a last one without condition is `else`.
    If {
        branches: Vec<(Option<Node>, Vec<Node>)>,
        assigned: Assigned,
    },
    For {
        parts: Vec<Vec<Node>>,
        body: Vec<Node>,
        assigned: Assigned,
    },
    ForEach {
        name: Rc<str>,
        list: Box<Node>,
        body: Vec<Node>,
        assigned: Assigned,
    },
    While {
        condition: Box<Node>,
        body: Vec<Node>,
        assigned: Assigned,
    },
    /// Anything else: its parts are looked at, its value is not known.
    Opaque {
        parts: Vec<Node>,
        assigned: Assigned,
    },
}

/// The statements of a script block.
#[derive(Debug)]
pub(super) struct Block {
    pub body: Vec<Node>,
    pub assigned: Assigned,
}

#[derive(Debug)]
pub(super) struct Suffix {
    pub end: usize,
    pub kind: SuffixKind,
}

#[derive(Debug)]
pub(super) enum SuffixKind {
    Member(Node),
    Call(Node, Vec<Node>),
    Index(Node),
    /// `++` or `--`.
    Step(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    BitNot,
    Minus,
    Plus,
    Join,
    Split,
    /// `++` or `--` in front.
    Step(i64),
}

/// Binary operators, by about_Operator_Precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Xor,
    BitAnd,
    BitOr,
    BitXor,
    Equal {
        negated: bool,
        case: bool,
    },
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Replace {
        case: bool,
    },
    Split {
        case: bool,
    },
    Join,
    As,
    ShiftLeft,
    ShiftRight,
    /// `-like`, `-match`, `-is` and others, whose results nobody decodes with.
    Other,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Format,
    Range,
}

impl Operator {
    /// The loosest binds at 0.
    pub fn precedence(self) -> u8 {
        use Operator::*;
        match self {
            And | Or | Xor => 0,
            BitAnd | BitOr | BitXor => 1,
            Equal { .. }
            | Less
            | LessOrEqual
            | Greater
            | GreaterOrEqual
            | Replace { .. }
            | Split { .. }
            | Join
            | As
            | ShiftLeft
            | ShiftRight
            | Other => 2,
            Add | Subtract => 3,
            Multiply | Divide | Modulo => 4,
            Format => 5,
            Range => 6,
        }
    }

    /// The operator behind a dash.
    pub fn named(name: &str) -> Option<Operator> {
        let name = name.to_ascii_lowercase();
        let case = name.starts_with('c') && name.len() > 3;
        Some(match name.as_str() {
            "f" => Operator::Format,
            "and" => Operator::And,
            "or" => Operator::Or,
            "xor" => Operator::Xor,
            "band" => Operator::BitAnd,
            "bor" => Operator::BitOr,
            "bxor" => Operator::BitXor,
            "shl" => Operator::ShiftLeft,
            "shr" => Operator::ShiftRight,
            "eq" | "ieq" | "ceq" => Operator::Equal { negated: false, case: name == "ceq" },
            "ne" | "ine" | "cne" => Operator::Equal { negated: true, case: name == "cne" },
            "lt" | "ilt" | "clt" => Operator::Less,
            "le" | "ile" | "cle" => Operator::LessOrEqual,
            "gt" | "igt" | "cgt" => Operator::Greater,
            "ge" | "ige" | "cge" => Operator::GreaterOrEqual,
            "replace" | "ireplace" | "creplace" => Operator::Replace { case },
            "split" | "isplit" | "csplit" => Operator::Split { case },
            "join" => Operator::Join,
            "as" => Operator::As,
            "is" | "isnot" | "like" | "ilike" | "clike" | "notlike" | "inotlike" | "cnotlike"
            | "match" | "imatch" | "cmatch" | "notmatch" | "inotmatch" | "cnotmatch"
            | "contains" | "icontains" | "ccontains" | "notcontains" | "inotcontains"
            | "cnotcontains" | "in" | "notin" => Operator::Other,
            _ => return None,
        })
    }
}

/// A text, parsed.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub statements: Vec<Node>,
    /// Names in the order they are assigned in the text.
    pub assigned: Vec<Rc<str>>,
    /// Where brackets nest too deep, if they do.
    pub too_deep: Option<usize>,
}

/// A variable's name as it is looked up: lower-case and without scope.
pub(super) fn variable_name(name: &str) -> String {
    let name = name.to_lowercase();
    let scoped = ["variable:", "global:", "script:", "local:", "private:"];
    match scoped.iter().find_map(|scope| name.strip_prefix(scope)) {
        Some(bare) => bare.trim_start_matches(['/', '\\']).to_owned(),
        None => name,
    }
}
