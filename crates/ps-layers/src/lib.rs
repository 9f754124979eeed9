//! What a command hides: the layers that obfuscators wrap around it, taken off one by one.
//!
//! Nothing is run. `-EncodedCommand`, Base64 and compressed streams are decoded, command lines are
//! read as powershell.exe and cmd.exe read them, and the expressions that obfuscators build texts
//! with are worked out by an evaluator that knows values, operators and a fixed list of pure
//! functions. It takes any text, knows no log, and ends within [`Limits`].
//!
//! What stands word for word in the text above is no layer of its own: it can be read there.
//!
//! ```
//! use ps_layers::{How, Limits, layers};
//!
//! let script = "powershell -enc RwBlAHQALQBEAGEAdABlAA==";
//! let found = layers(script, &Limits::default());
//! assert_eq!(found.layers[0].text, "Get-Date");
//! assert_eq!(found.layers[0].how, How::EncodedCommand);
//! ```

mod blobs;
mod budget;
mod encoding;
mod eval;
mod gate;
mod launch;
mod memo;
mod methods;
mod operators;
mod parse;
mod syntax;
mod unwrap;
mod unwrapped;
mod value;

pub use budget::{Limit, Limits};
pub use encoding::text_of;
pub use memo::Unwrapper;
pub use unwrap::{base64_layers, layers};
pub use unwrapped::{Binary, How, Layer, Stopped, Unwrapped};

#[cfg(test)]
mod tests;
