//! The results of unwrapping a text.

use super::budget::UnwrapLimit;

/// How a layer was unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnwrapMethod {
    /// The text of an `-EncodedCommand`.
    EncodedCommand,
    /// Base64 in the text above.
    Base64,
    /// A compressed stream, as Base64 in the text above.
    Inflated,
    /// A command line's argument, or a command line with cmd.exe's escapes and variables
    /// resolved.
    CommandLine,
    /// A text that was assembled and passed to an interpreter.
    Invoked,
    /// The text above with computed values in place of expressions.
    Evaluated,
}

impl UnwrapMethod {
    /// Returns the word for outputs.
    pub fn as_str(self) -> &'static str {
        match self {
            UnwrapMethod::EncodedCommand => "encoded_command",
            UnwrapMethod::Base64 => "base64",
            UnwrapMethod::Inflated => "inflated",
            UnwrapMethod::CommandLine => "command_line",
            UnwrapMethod::Invoked => "invoked",
            UnwrapMethod::Evaluated => "evaluated",
        }
    }
}

/// A text that was hidden in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The text.
    pub text: String,
    /// How it was hidden.
    pub how: UnwrapMethod,
    /// Index of the layer that contained it; `None` for the text itself.
    pub parent: Option<usize>,
    /// Its position in that text, as a byte offset.
    pub offset: usize,
}

/// A program found in a layer. It is not text, and is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Its kind according to its first bytes: `MZ executable` or `shellcode`.
    pub kind: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Index of the layer that contained it; `None` for the text itself.
    pub parent: Option<usize>,
    /// Its position in that text, as a byte offset.
    pub offset: usize,
}

/// Where unwrapping stopped because of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The limit that was exceeded.
    pub limit: UnwrapLimit,
    /// Index of the layer in which it stopped; `None` for the text itself.
    pub layer: Option<usize>,
}

/// The layers and programs found in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwrapped {
    /// The layers, outer ones first.
    pub layers: Vec<Layer>,
    /// Programs among the decoded data.
    pub binaries: Vec<Binary>,
    /// The limit that left something wrapped, if one did.
    pub stopped: Option<Stopped>,
}

impl Unwrapped {
    /// Returns whether nothing was found and nothing was left wrapped.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.binaries.is_empty() && self.stopped.is_none()
    }

    /// Returns the depth of a layer by its index: the text itself has 0, a layer in it 1.
    pub fn depth(&self, layer: Option<usize>) -> usize {
        std::iter::successors(layer, |&layer| self.layers[layer].parent).count()
    }
}
