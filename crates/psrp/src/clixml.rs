//! CLIXML, the form of objects on the wire, to a typed tree (MS-PSRP 2.2.5).
//!
//! Objects lie in one list and are named by index, so a reference costs nothing and a circle of
//! them does no harm. Whoever walks the tree bounds the walk.

mod document;
mod parser;

pub use document::{Container, Damage, Document, Node, Primitive, Value};
use parser::Parser;

impl Document {
    /// Reads a message's data: one value, or none at all. A byte order mark may come first.
    ///
    /// ```
    /// let document = psrp::Document::parse(b"<S>a_x000A_b</S>").unwrap();
    /// assert_eq!(document.root().as_str(), Some("a\nb"));
    /// ```
    pub fn parse(data: &[u8]) -> Result<Document, Damage> {
        let text = std::str::from_utf8(data).map_err(|_| Damage::Encoding)?;
        Parser::default().run(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

#[cfg(test)]
mod tests;
