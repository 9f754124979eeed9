//! Data in the page: JSON, deflated, as Base64 in an element that no browser runs.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

/// The element that holds this data. `id` is one of this program's own names.
pub(super) fn block(id: &str, data: &impl Serialize) -> io::Result<String> {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::default());
    // The encoder is given large pieces: a call for each comma takes most of the time.
    deflated.write_all(&serde_json::to_vec(data)?)?;
    let text = BASE64.encode(deflated.finish()?);
    Ok(format!(
        "<script type=\"application/octet-stream;base64\" id=\"data-{id}\">{text}</script>\n"
    ))
}
