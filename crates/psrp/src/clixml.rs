//! Reads CLIXML, the serialized form of objects on the wire, into a typed tree (MS-PSRP 2.2.5).
//!
//! Objects are stored in one list and referred to by index, so references are cheap and circular
//! references do no harm. Whoever walks the tree must limit the walk.

mod document;
mod parser;

pub use document::{ClixmlDocument, ClixmlError, ClixmlNode, ClixmlValue, Container, Primitive};
use parser::ClixmlParser;

impl ClixmlDocument {
    /// Reads the data of a message: one value, or none. It may begin with a byte order mark.
    ///
    /// ```
    /// let document = psrp::ClixmlDocument::parse(b"<S>a_x000A_b</S>").unwrap();
    /// assert_eq!(document.root().as_str(), Some("a\nb"));
    /// ```
    pub fn parse(data: &[u8]) -> Result<ClixmlDocument, ClixmlError> {
        let text = std::str::from_utf8(data).map_err(|_| ClixmlError::Encoding)?;
        ClixmlParser::default().run(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

#[cfg(test)]
mod tests;
