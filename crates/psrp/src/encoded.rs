//! Decodes bytes from hexadecimal text and Base64.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes Base64 that may be broken into lines. Returns `None` if it is not Base64.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    // Most of it is on one line; text with line breaks fails here and is decoded below.
    if let Ok(bytes) = BASE64.decode(text) {
        return Some(bytes);
    }
    let mut text = text.to_owned();
    text.retain(|c| !c.is_ascii_whitespace());
    BASE64.decode(text).ok()
}

/// Decodes hexadecimal text in upper or lower case. Returns `None` if it is not hexadecimal.
///
/// ```
/// assert_eq!(psrp::decode_hex("68C3"), Some(b"h\xc3".to_vec()));
/// assert_eq!(psrp::decode_hex("68C"), None);
/// ```
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    // Checking for invalid digits once at the end keeps branches out of the loop.
    let mut all = 0;
    let byte = |&[high, low]: &[u8; 2]| {
        let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
        all |= high | low;
        high << 4 | low & 15
    };
    let bytes: Vec<u8> = pairs.iter().map(byte).collect();
    (all & NONE == 0).then_some(bytes)
}

/// Marks bytes that are not hexadecimal digits.
const NONE: u8 = 0x80;

/// The value of each byte as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let (mut digits, mut value) = ([NONE; 256], 0);
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_nothing_else() {
        let all: Vec<u8> = (0..=255).collect();
        let lower: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(decode_hex(&lower), Some(all.clone()));
        assert_eq!(decode_hex(&lower.to_uppercase()), Some(all));
        for text in ["0g", "g0", "/0", "0:", "@0", "0`", " 0", "\u{c3}"] {
            assert_eq!(decode_hex(text), None, "{text}");
        }
        assert_eq!(decode_hex(""), Some(Vec::new()));
    }

    #[test]
    fn base64_in_lines_and_without_padding() {
        for text in ["aGk=", "aGk", "aG\r\nk=", " a G k = "] {
            assert_eq!(decode_base64(text), Some(b"hi".to_vec()), "{text:?}");
        }
        assert_eq!(decode_base64("a!"), None);
    }
}
