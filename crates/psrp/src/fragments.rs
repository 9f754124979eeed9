//! Fragments: the pieces of messages on the wire (MS-PSRP 2.2.4).

use sha2::{Digest, Sha256};

/// A fragment of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// ObjectId: the number of its message.
    pub object_id: u64,
    /// FragmentId: its position in the message, from 0.
    pub fragment_id: u64,
    /// Whether it is marked as the first fragment.
    pub start: bool,
    /// Whether it is marked as the last fragment.
    pub end: bool,
    /// Its part of the message.
    pub blob: Vec<u8>,
}

impl Fragment {
    /// Length of a fragment's header: ObjectId, FragmentId, flags, length of the blob.
    pub const HEADER: usize = 21;

    /// Splits a stream into fragments. Also returns what is wrong with the rest of the bytes, if
    /// anything is.
    ///
    /// ```
    /// use psrp::Fragment;
    /// // ObjectId 1, FragmentId 0, start and end, one byte.
    /// let bytes = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0\x01x";
    /// let (fragments, rest) = Fragment::split(bytes);
    /// assert_eq!((fragments[0].object_id, &*fragments[0].blob, rest), (1, &b"x"[..], None));
    /// ```
    pub fn split(mut bytes: &[u8]) -> (Vec<Fragment>, Option<String>) {
        let mut fragments = Vec::new();
        while !bytes.is_empty() {
            let Some((header, rest)) = bytes.split_at_checked(Fragment::HEADER) else {
                let reason = format!("{} bytes are too few for a fragment's header", bytes.len());
                return (fragments, Some(reason));
            };
            let number = |at: usize| {
                header[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
            };
            let length = number(13) as u32 as usize;
            let Some((blob, rest)) = rest.split_at_checked(length) else {
                let reason =
                    format!("a fragment of {length} bytes has only {} of them", rest.len());
                return (fragments, Some(reason));
            };
            fragments.push(Fragment {
                object_id: number(0),
                fragment_id: number(8),
                start: header[16] & 1 != 0,
                end: header[16] & 2 != 0,
                blob: blob.to_vec(),
            });
            bytes = rest;
        }
        (fragments, None)
    }

    /// Returns a digest that distinguishes a repeated fragment from a different one with the same
    /// number.
    pub(super) fn digest(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        hasher.update([u8::from(self.start), u8::from(self.end)]);
        hasher.update(&self.blob);
        let digest = hasher.finalize();
        std::array::from_fn(|at| digest[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_big_endian_and_fragments_follow_each_other() {
        // ObjectId 258, FragmentId 1, only the end flag and a meaningless bit, two bytes.
        let bytes = b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x01\xf2\0\0\0\x02hi\0\0";
        let (fragments, rest) = Fragment::split(bytes);
        assert_eq!(
            fragments,
            [Fragment {
                object_id: 258,
                fragment_id: 1,
                start: false,
                end: true,
                blob: b"hi".to_vec()
            }]
        );
        assert!(rest.unwrap().contains("2 bytes"));
        let (none, rest) = Fragment::split(&bytes[..22]);
        assert_eq!((none.len(), rest.unwrap().contains("has only 1")), (0, true));
    }
}
