//! A private key that a key generation authority (KGA) made: EnvelopedData around SignedData around an
//! AsymmetricKeyPackage (RFC 9810 §5.2.2, RFC 9483 §4.1.6, RFC 5652, RFC 5958).
//!
//! Opening takes three steps, so that the recipient's private key may live where this crate cannot reach:
//! [`EncryptedPrivateKey::from_der`] reads and checks the outside, [`EncryptedPrivateKey::operation`] says what has to be
//! done with the recipient's key or secret, and [`EncryptedPrivateKey::open`] takes the result, decrypts, verifies the
//! KGA and gives the key out only if it belongs to the certificate. [`seal`] is the other direction.
//!
//! Sent is what RFC 9483 demands; taken is also what RFC 5652 allows beside it. The types are own ones: the `cms` crate
//! decodes into owned values and sorts SETs again, while here a signature is over the attributes as received and the
//! first of the certificates has a meaning.

mod algorithm;
#[cfg(feature = "aws-lc")]
mod aws_lc;
mod cipher;
mod cms;
mod error;
mod key_package;
mod open;
mod recipient_key;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;
mod seal;
mod signed;
#[cfg(all(test, feature = "rustcrypto", feature = "aws-lc"))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests;

use const_oid::ObjectIdentifier;

pub use algorithm::KeyTransport;
#[cfg(feature = "aws-lc")]
pub use aws_lc::RsaRecipientKey;
pub use error::{EnvelopeError, SealError, Structure};
pub use key_package::DeliveredKey;
pub use open::{EncryptedPrivateKey, RecipientOperation, RecipientSecret};
pub use recipient_key::RecipientKey;
pub use seal::{KeyGenerationAuthority, Recipient, SealCrypto, seal};
pub use signed::KgaTrust;

/// `id-kp-cmKGA`: the extended key usage of a key generation authority that is not the CA itself (RFC 9810 §4.5).
pub const ID_KP_CM_KGA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.32");

/// The longest EncryptedKey that is read: room for a post-quantum key and a chain of such certificates.
pub const MAX_ENCRYPTED_KEY_BYTES: usize = 64 * 1024;

/// The most certificates that are taken from the SignedData.
pub const MAX_CERTIFICATES: usize = crate::path::MAX_UNTRUSTED_CERTIFICATES;

/// `id-ct-KP-aKeyPackage` (RFC 5958 §2).
const ID_CT_KP_A_KEY_PACKAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.2.1.2.78.5");
