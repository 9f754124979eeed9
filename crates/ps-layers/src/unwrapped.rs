//! What is found in a text.

use super::budget::Limit;

/// How a layer came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The text of an `-EncodedCommand`.
    EncodedCommand,
    /// Base64 in the text above.
    Base64,
    /// A compressed stream, as Base64 in the text above.
    Inflated,
    /// A command line's argument, or a command line with cmd.exe's escapes and variables resolved.
    CommandLine,
    /// A text that was put together and handed to an interpreter.
    Invoked,
    /// The text above with what could be worked out in its place.
    Evaluated,
}

impl How {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            How::EncodedCommand => "encoded_command",
            How::Base64 => "base64",
            How::Inflated => "inflated",
            How::CommandLine => "command_line",
            How::Invoked => "invoked",
            How::Evaluated => "evaluated",
        }
    }
}

/// A text that was hidden in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The text.
    pub text: String,
    /// How it was hidden.
    pub how: How,
    /// Index of the layer it was in; `None` for the text itself.
    pub parent: Option<usize>,
    /// Where in that text it begins: a byte offset.
    pub offset: usize,
}

/// A program found in a layer. It is not text, and is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// What its first bytes say it is: `MZ executable` or `shellcode`.
    pub what: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Index of the layer it was in; `None` for the text itself.
    pub parent: Option<usize>,
    /// Where in that text it begins: a byte offset.
    pub offset: usize,
}

/// Where unwrapping ended before everything was unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The limit that was met.
    pub limit: Limit,
    /// Index of the layer in which; `None` for the text itself.
    pub layer: Option<usize>,
}

/// What was found in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwrapped {
    /// The layers, outer ones first.
    pub layers: Vec<Layer>,
    /// Programs among what was decoded.
    pub binaries: Vec<Binary>,
    /// Whether a limit left something wrapped.
    pub stopped: Option<Stopped>,
}

impl Unwrapped {
    /// Whether nothing was found, and nothing was left.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.binaries.is_empty() && self.stopped.is_none()
    }

    /// How many layers deep a layer lies, by its index: 1 in the text itself, which is at 0.
    pub fn depth(&self, layer: Option<usize>) -> usize {
        std::iter::successors(layer, |&layer| self.layers[layer].parent).count()
    }
}
