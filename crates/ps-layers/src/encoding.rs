//! Converts bytes to text: Base64, UTF-16LE, UTF-8 and compressed streams.

use std::io::Read;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::budget::{Budget, UnwrapLimit};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes Base64 as .NET does: white space is skipped. Unlike .NET, it accepts missing padding.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8>;
    let bytes = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        compact = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        &compact
    } else {
        text.as_bytes()
    };
    BASE64.decode(bytes).ok()
}

/// The encodings of `[Text.Encoding]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextEncoding {
    Ascii,
    Utf8,
    Utf16Le,
    Utf16Be,
    Utf32,
}

impl TextEncoding {
    /// Finds an encoding by its lower-case name: a property, class or label.
    pub fn from_name(name: &str) -> Option<TextEncoding> {
        Some(match name {
            "ascii" | "asciiencoding" | "us-ascii" | "default" | "latin1" | "iso-8859-1" => {
                TextEncoding::Ascii
            }
            "utf8" | "utf8encoding" | "utf-8" => TextEncoding::Utf8,
            "unicode" | "unicodeencoding" | "utf-16" | "utf-16le" => TextEncoding::Utf16Le,
            "bigendianunicode" | "utf-16be" => TextEncoding::Utf16Be,
            "utf32" | "utf32encoding" | "utf-32" => TextEncoding::Utf32,
            _ => return None,
        })
    }

    pub fn decode(self, bytes: &[u8]) -> String {
        let pairs = |order: fn([u8; 2]) -> u16| {
            let units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        };
        match self {
            TextEncoding::Ascii => bytes.iter().map(|&byte| char::from(byte)).collect(),
            TextEncoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            TextEncoding::Utf16Le => pairs(u16::from_le_bytes),
            TextEncoding::Utf16Be => pairs(u16::from_be_bytes),
            TextEncoding::Utf32 => bytes
                .chunks_exact(4)
                .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect(),
        }
    }

    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            TextEncoding::Ascii | TextEncoding::Utf8 => text.as_bytes().to_vec(),
            TextEncoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            TextEncoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            TextEncoding::Utf32 => {
                text.chars().flat_map(|next| u32::from(next).to_le_bytes()).collect()
            }
        }
    }
}

/// Number of bytes kept of a stream that inflates to more than is allowed.
const MAX_PARTIAL: usize = 64 << 10;

/// The compression of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zlib,
    Deflate,
}

impl Compression {
    /// Detects the compression by the first bytes (RFC 1952, RFC 1950). A deflate stream without
    /// header cannot be detected.
    pub fn detect(bytes: &[u8]) -> Option<Compression> {
        match *bytes {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            [0x78, flags, ..] if (0x7800 + u16::from(flags)).is_multiple_of(31) => {
                Some(Compression::Zlib)
            }
            _ => None,
        }
    }

    /// Inflates as many bytes as the budget allows. Bytes before damage are kept, as when a
    /// stream is read; returns `None` if there are none.
    pub fn inflate(self, bytes: &[u8], budget: &mut Budget) -> Option<Vec<u8>> {
        let most = budget.bytes_left();
        let mut out = Vec::new();
        let limit = most as u64 + 1;
        // Damage ends the stream; what was read before it is in `out`.
        let _ = match self {
            Compression::Gzip => {
                flate2::read::GzDecoder::new(bytes).take(limit).read_to_end(&mut out)
            }
            Compression::Zlib => {
                flate2::read::ZlibDecoder::new(bytes).take(limit).read_to_end(&mut out)
            }
            Compression::Deflate => {
                flate2::read::DeflateDecoder::new(bytes).take(limit).read_to_end(&mut out)
            }
        };
        if out.len() > most {
            budget.exceed(UnwrapLimit::Bytes);
            out.truncate(MAX_PARTIAL.min(most));
        }
        (budget.make(out.len()) && !out.is_empty()).then_some(out)
    }
}

/// Decodes bytes as text: UTF-16LE or UTF-8, with or without a byte order mark. Returns `None` if
/// they are not text.
pub fn decode_text(bytes: &[u8]) -> Option<String> {
    if let Some(marked) = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]) {
        return std::str::from_utf8(marked).ok().filter(|text| is_text(text)).map(str::to_owned);
    }
    let bytes = bytes.strip_prefix(&[0xff, 0xfe]).unwrap_or(bytes);
    decode_utf16(bytes)
        .or_else(|| std::str::from_utf8(bytes).ok().filter(|text| is_text(text)).map(str::to_owned))
}

/// Decodes bytes as UTF-16LE text.
pub(super) fn decode_utf16(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    is_text(&text).then_some(text)
}

/// Returns whether a text is plausible. Random bytes also decode to characters, but PowerShell's
/// own words are ASCII and random characters mostly are not, and a text has no control
/// characters.
pub(super) fn is_text(text: &str) -> bool {
    let mut all = 0_usize;
    let mut ascii = 0_usize;
    for next in text.chars() {
        if next.is_control() && !next.is_whitespace() {
            return false;
        }
        all += 1;
        ascii += usize::from(next.is_ascii());
    }
    2 * ascii >= all && !text.trim().is_empty()
}

/// Returns the kind of program that bytes are, if it is known.
pub(super) fn program_kind(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        // The DOS header's mark; the file is long enough to hold the offset of the PE header.
        [b'M', b'Z', ..] if bytes.len() > 0x40 => Some("MZ executable"),
        // `cld; call` and `cld; and rsp, -16`: the start of Metasploit's x86 and x64 stagers.
        [0xfc, 0xe8, ..] | [0xfc, 0x48, 0x83, 0xe4, ..] if bytes.len() > 0x40 => Some("shellcode"),
        _ => None,
    }
}
