//! SHA-256, and bytes as hexadecimal digits.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    // SHA-256 has always as many bytes. A constant in its place would be one that every token has.
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Written as lower-case digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nothing_is_that_of_the_standard() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Hex(&sha256(b"")).to_string(), hash);
    }
}
