//! Recipient keys in pure Rust.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{KeyTransport, RecipientKey};
use crate::crypto::rustcrypto::SoftKey;
use crate::crypto::{CryptoError, KeyAlgorithm, PrivateKey, PublicKey};

/// No RSA: the private operations of the pure-Rust crate do not take constant time (RUSTSEC-2023-0071).
impl RecipientKey for SoftKey {
    fn agree(&self, public_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let pkcs8 = self.to_pkcs8()?;
        let own = PrivateKey::from_der(&pkcs8)?;
        let other = PublicKey::from_spki(public_key)?;
        let scalar = own.secret.seed().ok_or(CryptoError::UnsupportedKey)?;
        if other.algorithm != own.algorithm {
            return Err(CryptoError::UnsupportedKey);
        }
        macro_rules! shared_x {
            ($curve:ident) => {{
                let own =
                    $curve::SecretKey::from_slice(scalar).map_err(|_| CryptoError::MalformedPrivateKey)?;
                let other = $curve::PublicKey::from_sec1_bytes(other.bytes)
                    .map_err(|_| CryptoError::MalformedPublicKey)?;
                let shared = Zeroizing::new(other.to_projective() * &*own.to_nonzero_scalar());
                let shared = Zeroizing::new(shared.to_affine());
                let x = $curve::elliptic_curve::point::AffineCoordinates::x(&*shared);
                Ok(Zeroizing::new(Zeroizing::new(x).to_vec()))
            }};
        }
        match own.algorithm {
            KeyAlgorithm::P256 => shared_x!(p256),
            KeyAlgorithm::P384 => shared_x!(p384),
            #[cfg(feature = "p521")]
            KeyAlgorithm::P521 => shared_x!(p521),
            _ => Err(CryptoError::UnsupportedKey),
        }
    }

    fn decrypt(&self, _: KeyTransport, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        Err(CryptoError::UnsupportedKey)
    }
}
