//! Removes obfuscation from PowerShell commands, layer by layer.
//!
//! Nothing is run. `-EncodedCommand`, Base64 and compressed streams are decoded. Command lines
//! are read as powershell.exe and cmd.exe read them. The expressions with which obfuscators
//! assemble texts are computed by an evaluator that knows values, operators and a fixed list of
//! pure functions. The crate accepts any text, knows no log format, and stops within
//! [`UnwrapLimits`].
//!
//! A text that appears word for word in the text above it is not a layer of its own, because it
//! can be read there.
//!
//! ```
//! use ps_layers::{UnwrapLimits, UnwrapMethod, find_layers};
//!
//! let script = "powershell -enc RwBlAHQALQBEAGEAdABlAA==";
//! let found = find_layers(script, &UnwrapLimits::default());
//! assert_eq!(found.layers[0].text, "Get-Date");
//! assert_eq!(found.layers[0].how, UnwrapMethod::EncodedCommand);
//! ```

mod blobs;
mod budget;
mod encoding;
mod eval;
mod launch;
mod memo;
mod methods;
mod operators;
mod parse;
mod precheck;
mod syntax;
mod unwrap;
mod unwrapped;
mod value;

pub use budget::{UnwrapLimit, UnwrapLimits};
pub use encoding::decode_text;
pub use memo::Unwrapper;
pub use unwrap::{find_base64_layers, find_layers};
pub use unwrapped::{Binary, Layer, Stopped, UnwrapMethod, Unwrapped};

#[cfg(test)]
mod tests;
