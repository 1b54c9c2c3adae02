use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::KeyTransport;
use crate::crypto::CryptoError;

/// The private key of the certificate that protected the request, as far as a delivered key needs it.
///
/// A key in a secure element needs none of this: [`RecipientOperation`](super::RecipientOperation) says what to do.
pub trait RecipientKey {
    /// ECDH: the x-coordinate of the shared point with `public_key`, a DER SubjectPublicKeyInfo on the same curve; as
    /// long as the curve's field (RFC 5753 §3).
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKey`] if it is not a key on that curve; [`CryptoError::MalformedPublicKey`].
    fn agree(&self, public_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// RSA: the content-encryption key in `encrypted_key`.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKey`] if it is not an RSA key, [`CryptoError::UnsupportedAlgorithm`], and
    /// [`CryptoError::DecryptionFailed`] for every other reason.
    fn decrypt(
        &self,
        algorithm: KeyTransport,
        encrypted_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError>;
}
