//! ML-DSA (FIPS 204): pure, with an empty context, as RFC 9881 wants it. Signatures are deterministic.

use alloc::boxed::Box;
use alloc::vec::Vec;

use der::Tag;
use ml_dsa::signature::{Keypair, Signer, Verifier};
use ml_dsa::{
    EncodedVerifyingKey, ExpandedSigningKey, ExpandedSigningKeyBytes, MlDsaParams, Signature, SigningKey,
    VerifyingKey,
};
use zeroize::Zeroizing;

use crate::crypto::private_key::Secret;
use crate::crypto::seeded::{ML_DSA_SEED, to_pkcs8};
use crate::crypto::{CryptoError, KeyAlgorithm};

/// Verifies under the raw public key.
pub(super) fn verify<P: MlDsaParams>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), CryptoError> {
    let key = EncodedVerifyingKey::<P>::try_from(key).map_err(|_| CryptoError::MalformedPublicKey)?;
    Signature::<P>::try_from(signature)
        .and_then(|signature| VerifyingKey::<P>::decode(&key).verify(message, &signature))
        .map_err(|_| CryptoError::BadSignature)
}

/// A private key; wiped when dropped.
#[derive(Clone)]
pub(super) enum MlDsaKey<P: MlDsaParams> {
    Seeded(Box<SigningKey<P>>),
    /// Of a key that came without its seed.
    Expanded(Box<ExpandedSigningKey<P>>),
}

impl<P: MlDsaParams> MlDsaKey<P> {
    /// A seed's expanded key must be the one that came along (RFC 9881 §8); one alone must be able to sign.
    pub(super) fn new(algorithm: KeyAlgorithm, secret: &Secret<'_>) -> Result<Self, CryptoError> {
        match *secret {
            Secret::Seed(seed) => Self::from_seed(seed),
            Secret::Both { seed, expanded } => {
                let key = Self::from_seed(seed)?;
                if key.expanded_bytes().as_slice() == expanded {
                    Ok(key)
                } else {
                    Err(CryptoError::MalformedPrivateKey)
                }
            }
            Secret::Expanded(expanded) => Self::from_expanded(algorithm, expanded),
        }
    }

    fn from_seed(seed: &[u8]) -> Result<Self, CryptoError> {
        let seed =
            Zeroizing::new(ml_dsa::Seed::try_from(seed).map_err(|_| CryptoError::MalformedPrivateKey)?);
        Ok(Self::Seeded(Box::new(SigningKey::from_seed(&seed))))
    }

    fn from_expanded(algorithm: KeyAlgorithm, expanded: &[u8]) -> Result<Self, CryptoError> {
        const MESSAGE: &[u8] = b"pairwise consistency";
        let malformed = CryptoError::MalformedPrivateKey;
        let bytes = ExpandedSigningKeyBytes::<P>::try_from(expanded).map_err(|_| malformed)?;
        let bytes = Zeroizing::new(bytes);
        if !coefficients_are_in_range(algorithm, expanded) {
            return Err(malformed);
        }
        #[expect(
            deprecated,
            reason = "there is no other way to read such a key, and what would panic is excluded"
        )]
        let key = Self::Expanded(Box::new(ExpandedSigningKey::from_expanded(&bytes)));
        let verified = key
            .sign(MESSAGE)
            .and_then(|signature| verify::<P>(&key.public_key(), MESSAGE, &signature));
        verified.map(|()| key).map_err(|_| malformed)
    }

    /// The raw public key.
    pub(super) fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Seeded(key) => key.verifying_key().encode().to_vec(),
            Self::Expanded(key) => key.verifying_key().encode().to_vec(),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match self {
            Self::Seeded(key) => key.try_sign(message),
            Self::Expanded(key) => key.try_sign(message),
        }
        .map(|signature| signature.encode().to_vec())
        .map_err(|_| CryptoError::SigningFailed)
    }

    /// The seed where there is one, else the expanded key.
    pub(super) fn to_pkcs8(&self, algorithm: KeyAlgorithm) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        match self {
            Self::Seeded(key) => to_pkcs8(algorithm, ML_DSA_SEED, key.as_seed()),
            Self::Expanded(_) => to_pkcs8(algorithm, Tag::OctetString, &self.expanded_bytes()),
        }
    }

    #[expect(deprecated, reason = "some keys come in the expanded form, RFC 9881 §6")]
    fn expanded_bytes(&self) -> Zeroizing<ExpandedSigningKeyBytes<P>> {
        Zeroizing::new(match self {
            Self::Seeded(key) => ExpandedSigningKey::<P>::from_seed(key.as_seed()).to_expanded(),
            Self::Expanded(key) => key.to_expanded(),
        })
    }
}

/// Whether the packed coefficients of s1 and s2 are those of short vectors (FIPS 204 §7.2, skDecode).
fn coefficients_are_in_range(algorithm: KeyAlgorithm, expanded: &[u8]) -> bool {
    /// rho, K and tr.
    const HEAD_BYTES: usize = 128;
    // The bits of a coefficient, its largest value, and the number of polynomials in s1 and s2.
    let (bits, largest, polynomials) = match algorithm {
        KeyAlgorithm::MlDsa44 => (3, 4, 8),
        KeyAlgorithm::MlDsa65 => (4, 8, 11),
        _ => (3, 4, 15),
    };
    let Some(packed) = expanded.get(HEAD_BYTES..HEAD_BYTES + polynomials * 32 * bits) else {
        return false;
    };
    // Eight coefficients at a time, least significant bits first.
    packed.chunks_exact(bits).all(|chunk| {
        let eight = chunk
            .iter()
            .rev()
            .fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        (0..8).all(|at| (eight >> (at * bits)) & ((1 << bits) - 1) <= largest)
    })
}
