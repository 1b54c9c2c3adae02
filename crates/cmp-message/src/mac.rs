//! MAC protection by a shared secret: PasswordBasedMac (RFC 9810 §5.1.3.1) and PBMAC1 (RFC 9481 §6.1.2, RFC 9579).

use alloc::vec::Vec;
use core::fmt;
use der::{
    Decode, Encode, Sequence,
    asn1::{AnyRef, ObjectIdentifier, OctetString},
    referenced::RefToOwned,
};
use spki::AlgorithmIdentifierOwned;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{Crypto, CryptoError, Digest, HashAlgorithm, constant_time_eq, pbm_base_key};

/// `id-PasswordBasedMac`.
pub const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
/// `id-PBMAC1`.
pub const PBMAC1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
/// `hMAC-SHA1` of RFC 2104 as PasswordBasedMac names it; PKCS #5 has another name for the same.
const HMAC_SHA1_IANA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");

/// Iterations that are carried out for a peer at most; more is refused before anything is computed.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Iterations below this are refused (RFC 9810 §5.1.3.1 for PasswordBasedMac).
pub const MIN_ITERATIONS: u32 = 100;
/// The longest salt that is taken, in bytes.
pub const MAX_SALT_BYTES: usize = 1024;

/// A shared secret. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of the secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How a MAC is made from a shared secret: the parameters that go into protectionAlg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MacAlgorithm {
    /// PasswordBasedMac: the key is `owf` applied `iterations` times to secret and salt.
    PasswordBasedMac {
        /// The one-way function.
        owf: HashAlgorithm,
        /// The hash of the HMAC.
        mac: HashAlgorithm,
        /// From [`MIN_ITERATIONS`] to [`MAX_ITERATIONS`].
        iterations: u32,
        /// At least 128 random bits.
        salt: Vec<u8>,
    },
    /// PBMAC1 with PBKDF2.
    Pbmac1 {
        /// The hash of PBKDF2's HMAC.
        prf: HashAlgorithm,
        /// The hash of the HMAC.
        mac: HashAlgorithm,
        /// From [`MIN_ITERATIONS`] to [`MAX_ITERATIONS`].
        iterations: u32,
        /// At least 128 random bits.
        salt: Vec<u8>,
    },
}

#[derive(Sequence)]
struct PbmParameter {
    salt: OctetString,
    owf: AlgorithmIdentifierOwned,
    iteration_count: u32,
    mac: AlgorithmIdentifierOwned,
}

#[derive(Sequence)]
struct Pbmac1Params {
    key_derivation_func: AlgorithmIdentifierOwned,
    message_auth_scheme: AlgorithmIdentifierOwned,
}

/// `PBKDF2-params` of RFC 8018 §A.2 with a salt in place. The prf is HMAC-SHA-1 where it is not named.
#[derive(Sequence)]
pub(crate) struct Pbkdf2Params {
    pub(crate) salt: OctetString,
    pub(crate) iteration_count: u32,
    pub(crate) key_length: Option<u32>,
    pub(crate) prf: Option<AlgorithmIdentifierOwned>,
}

/// Why the parameters of a MAC are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacError {
    /// The AlgorithmIdentifier is not a MAC that is known.
    UnknownAlgorithm,
    /// The parameters cannot be decoded.
    MalformedParameters,
    /// Fewer than [`MIN_ITERATIONS`] iterations.
    TooFewIterations,
    /// More than [`MAX_ITERATIONS`] iterations, or a salt above [`MAX_SALT_BYTES`].
    TooCostly,
}

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAlgorithm => f.write_str("the MAC algorithm is not supported"),
            Self::MalformedParameters => f.write_str("the parameters of the MAC are malformed"),
            Self::TooFewIterations => write!(f, "the MAC has fewer than {MIN_ITERATIONS} iterations"),
            Self::TooCostly => write!(
                f,
                "the MAC asks for more than {MAX_ITERATIONS} iterations or a huge salt"
            ),
        }
    }
}

impl core::error::Error for MacError {}

impl MacAlgorithm {
    /// PasswordBasedMac with SHA-256, HMAC-SHA-256 and 10,000 iterations: what every CMP server speaks.
    pub fn password_based_mac(salt: [u8; 16]) -> Self {
        let hash = HashAlgorithm::Sha256;
        Self::PasswordBasedMac {
            owf: hash,
            mac: hash,
            iterations: 10_000,
            salt: salt.to_vec(),
        }
    }

    /// PBMAC1 with PBKDF2-HMAC-SHA-256, HMAC-SHA-256 and 100,000 iterations (RFC 9481 §6.1.2).
    pub fn pbmac1(salt: [u8; 16]) -> Self {
        let hash = HashAlgorithm::Sha256;
        Self::Pbmac1 {
            prf: hash,
            mac: hash,
            iterations: 100_000,
            salt: salt.to_vec(),
        }
    }

    /// The same algorithm with a fresh salt, for the answer.
    #[must_use]
    pub fn with_salt(mut self, fresh: [u8; 16]) -> Self {
        let (Self::PasswordBasedMac { salt, .. } | Self::Pbmac1 { salt, .. }) = &mut self;
        *salt = fresh.to_vec();
        self
    }

    /// Whether this identifier names a MAC by a shared secret.
    pub fn is_mac(id: &AlgorithmIdentifierOwned) -> bool {
        id.oid == PASSWORD_BASED_MAC || id.oid == PBMAC1
    }

    /// Reads the parameters and checks that they are neither weak nor ruinous.
    ///
    /// # Errors
    /// One [`MacError`] for each check.
    pub fn from_algorithm_identifier(id: &AlgorithmIdentifierOwned) -> Result<Self, MacError> {
        let malformed = |_| MacError::MalformedParameters;
        let parameters = id.parameters.as_ref().ok_or(MacError::MalformedParameters);
        let (algorithm, iterations, salt_bytes) = match id.oid {
            PASSWORD_BASED_MAC => {
                let p: PbmParameter = parameters?.decode_as().map_err(malformed)?;
                let owf = HashAlgorithm::from_oid(p.owf.oid).ok_or(MacError::UnknownAlgorithm)?;
                let (iterations, salt) = (p.iteration_count, p.salt.into_bytes().into_vec());
                let salt_bytes = salt.len();
                let mac = hmac_of(&p.mac)?;
                (
                    Self::PasswordBasedMac {
                        owf,
                        mac,
                        iterations,
                        salt,
                    },
                    iterations,
                    salt_bytes,
                )
            }
            PBMAC1 => {
                let p: Pbmac1Params = parameters?.decode_as().map_err(malformed)?;
                let kdf = p.key_derivation_func;
                if kdf.oid != PBKDF2 {
                    return Err(MacError::UnknownAlgorithm);
                }
                let kdf: Pbkdf2Params = kdf
                    .parameters
                    .ok_or(MacError::MalformedParameters)?
                    .decode_as()
                    .map_err(malformed)?;
                let mac = hmac_of(&p.message_auth_scheme)?;
                if kdf.key_length.is_some_and(|n| n as usize != mac.output_len()) {
                    return Err(MacError::MalformedParameters);
                }
                let prf = kdf.prf.as_ref().map_or(Ok(HashAlgorithm::Sha1), hmac_of)?;
                let (iterations, salt) = (kdf.iteration_count, kdf.salt.into_bytes().into_vec());
                let salt_bytes = salt.len();
                (
                    Self::Pbmac1 {
                        prf,
                        mac,
                        iterations,
                        salt,
                    },
                    iterations,
                    salt_bytes,
                )
            }
            _ => return Err(MacError::UnknownAlgorithm),
        };
        check_cost(iterations, salt_bytes)?;
        Ok(algorithm)
    }

    /// The AlgorithmIdentifier for protectionAlg.
    ///
    /// # Errors
    /// Only if the parameters are too long to be encoded.
    pub fn algorithm_identifier(&self) -> der::Result<AlgorithmIdentifierOwned> {
        match self {
            Self::PasswordBasedMac {
                owf,
                mac,
                iterations,
                salt,
            } => identifier(
                PASSWORD_BASED_MAC,
                &PbmParameter {
                    salt: OctetString::new(salt.as_slice())?,
                    owf: owf.algorithm_identifier().ref_to_owned(),
                    iteration_count: *iterations,
                    mac: hmac_identifier(*mac),
                },
            ),
            Self::Pbmac1 {
                prf,
                mac,
                iterations,
                salt,
            } => identifier(
                PBMAC1,
                &Pbmac1Params {
                    key_derivation_func: identifier(
                        PBKDF2,
                        &Pbkdf2Params {
                            salt: OctetString::new(salt.as_slice())?,
                            iteration_count: *iterations,
                            key_length: u32::try_from(mac.output_len()).ok(),
                            prf: Some(hmac_identifier(*prf)),
                        },
                    )?,
                    message_auth_scheme: hmac_identifier(*mac),
                },
            ),
        }
    }

    /// The MAC of `data` under `secret`.
    ///
    /// # Errors
    /// What the provider says.
    pub fn compute(&self, crypto: &dyn Crypto, secret: &Secret, data: &[u8]) -> Result<Digest, CryptoError> {
        match self {
            Self::PasswordBasedMac {
                owf,
                mac,
                iterations,
                salt,
            } => {
                let key = pbm_base_key(crypto, *owf, secret.as_bytes(), salt, *iterations)?;
                crypto.hmac(*mac, &key, data)
            }
            Self::Pbmac1 {
                prf,
                mac,
                iterations,
                salt,
            } => {
                let mut key = Zeroizing::new(alloc::vec![0; mac.output_len()]);
                crypto.pbkdf2(*prf, secret.as_bytes(), salt, *iterations, &mut key)?;
                crypto.hmac(*mac, &key, data)
            }
        }
    }

    /// Whether `value` is the MAC of `data`, compared in constant time.
    ///
    /// # Errors
    /// What the provider says.
    pub fn verify(
        &self,
        crypto: &dyn Crypto,
        secret: &Secret,
        data: &[u8],
        value: &[u8],
    ) -> Result<bool, CryptoError> {
        Ok(constant_time_eq(
            self.compute(crypto, secret, data)?.as_bytes(),
            value,
        ))
    }
}

/// Whether a key derivation is neither weak nor ruinous.
pub(crate) fn check_cost(iterations: u32, salt_bytes: usize) -> Result<(), MacError> {
    if iterations < MIN_ITERATIONS {
        return Err(MacError::TooFewIterations);
    }
    if iterations > MAX_ITERATIONS || salt_bytes > MAX_SALT_BYTES {
        return Err(MacError::TooCostly);
    }
    Ok(())
}

pub(crate) fn hmac_of(id: &AlgorithmIdentifierOwned) -> Result<HashAlgorithm, MacError> {
    if id.oid == HMAC_SHA1_IANA {
        return Ok(HashAlgorithm::Sha1);
    }
    HashAlgorithm::from_hmac_oid(id.oid).ok_or(MacError::UnknownAlgorithm)
}

pub(crate) fn hmac_identifier(hash: HashAlgorithm) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: hash.hmac_oid(),
        parameters: Some(AnyRef::NULL.into()),
    }
}

pub(crate) fn identifier(
    oid: ObjectIdentifier,
    parameters: &impl Encode,
) -> der::Result<AlgorithmIdentifierOwned> {
    Ok(AlgorithmIdentifierOwned {
        oid,
        parameters: Some(der::Any::from_der(&parameters.to_der()?)?),
    })
}
