//! Decrypts SecureStrings when the session key is known (MS-PSRP 2.2.5.1.24).
//!
//! The key cannot be read from the traffic: the server sends it in ENCRYPTED_SESSION_KEY
//! (2.2.2.4), encrypted with the RSA key whose public half the client sent in PUBLIC_KEY
//! (2.2.2.3). The private half never leaves the client's process, so a memory image of that
//! process may contain the key.

use std::fmt;

use aes::Aes256;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};

use super::encoded::{decode_base64, decode_hex};

/// A session key: AES, 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 32]);

/// Prints no key: it is a secret and must not reach logs.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

impl SessionKey {
    /// Parses a key from 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<SessionKey> {
        Some(SessionKey(decode_hex(text.trim())?.try_into().ok()?))
    }

    /// Decrypts the text of a SecureString's `SS` element: Base64 of AES-256 in CBC mode with an
    /// initialisation vector of zeros and PKCS#7 padding, of UTF-16LE. Returns `None` if the key
    /// does not fit. About one in 256 wrong keys seems to fit a string.
    pub fn decrypt(&self, secure: &str) -> Option<String> {
        let mut bytes = decode_base64(secure)?;
        let decryptor = Decryptor::<Aes256>::new(&self.0.into(), &[0; 16].into());
        let plain = decryptor.decrypt_padded::<Pkcs7>(&mut bytes).ok()?;
        let (units, []) = plain.as_chunks::<2>() else { return None };
        let units: Vec<u16> = units.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
        String::from_utf16(&units).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL: `printf 'h\0i\0' | openssl enc -aes-256-cbc -K 0001..1f -iv 0 -base64`.
    #[test]
    fn text_that_another_program_encrypted_is_decrypted() {
        let key: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let key = SessionKey::parse(&key).unwrap();
        assert_eq!(key.decrypt("3VLRPfMpGo+ALVX29Pp+Sw==").as_deref(), Some("hi"));
        assert_eq!(key.decrypt("AAAA"), None);
        assert_eq!(key.decrypt(""), None);
        assert_eq!(format!("{key:?}"), "SessionKey");
        assert_eq!(SessionKey::parse("00"), None);
    }
}
