use alloc::vec::Vec;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use der::asn1::{AnyRef, ContextSpecificRef, OctetString, OctetStringRef};
use der::referenced::OwnedToRef;
use der::{Decode, Encode, Sequence, Tag, TagMode, TagNumber};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::algorithm::{AesCbc, KeyTransport, KeyWrap, Pbkdf2, key_agreement_scheme};
use super::cms::{
    Attribute, CertificateIdentifier, EncapsulatedContentInfo, EncryptedContentInfo, EnvelopedData,
    IssuerAndSerialNumber, KeyAgreeRecipientIdentifier, KeyAgreeRecipientInfo, KeyTransRecipientInfo,
    Originator, OriginatorPublicKey, PasswordRecipientInfo, RecipientEncryptedKey, RecipientInfo,
    RecipientKeyIdentifier, SequenceOf, SetOf, SignedData, SignerInfo,
};
use super::{ID_CT_KP_A_KEY_PACKAGE, SealError, cipher, key_package};
use crate::Raw;
use crate::certificate::Certificate;
use crate::crypto::{Crypto, CryptoError, HashAlgorithm, KeyAlgorithm, SigningKey};
use crate::mac::{self, Secret};

/// AES-256 all the way: for content, and for its key.
const KEY_BYTES: usize = 32;
const WRAP: KeyWrap = KeyWrap::Aes256;
const PBKDF2_ITERATIONS: u32 = 100_000;

/// What delivering a key needs of a provider, beyond [`Crypto`].
pub trait SealCrypto: Crypto {
    /// Fills `out` with random bytes that are fit for keys.
    ///
    /// # Errors
    /// [`CryptoError::RandomFailed`].
    fn random(&self, out: &mut [u8]) -> Result<(), CryptoError>;

    /// ECDH between `public_key`, a DER SubjectPublicKeyInfo, and a new key that is forgotten afterwards: gives that
    /// key's uncompressed point and the x-coordinate of the shared one.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKey`], [`CryptoError::MalformedPublicKey`] or [`CryptoError::RandomFailed`].
    fn agree_ephemeral(&self, public_key: &[u8]) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CryptoError>;

    /// Encrypts `key` for an RSA key, a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKey`], [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedPublicKey`].
    fn encrypt(&self, algorithm: KeyTransport, public_key: &[u8], key: &[u8])
    -> Result<Vec<u8>, CryptoError>;
}

/// Who vouches for a delivered key: a CA, or a holder of [`ID_KP_CM_KGA`](super::ID_KP_CM_KGA).
#[derive(Clone, Copy)]
pub struct KeyGenerationAuthority<'a> {
    /// Signs.
    pub key: &'a dyn SigningKey,
    /// The certificate of that key; it has a subjectKeyIdentifier.
    pub certificate: &'a Certificate,
    /// The certificates between it and the anchor, without the anchor.
    pub chain: &'a [Certificate],
}

/// For whom a key is encrypted: whoever protected the request.
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// The protection certificate, with a key for ECDH or RSA.
    Certificate(&'a Certificate),
    /// The shared secret of the MAC.
    Password(&'a Secret),
}

impl Recipient<'_> {
    /// Whether something can be encrypted for this recipient, before there is anything to encrypt.
    ///
    /// # Errors
    /// [`SealError::RecipientKey`], [`SealError::KeyUsage`], or [`SealError::Crypto`] for a key that is none.
    pub fn check(&self) -> Result<(), SealError> {
        match self {
            Self::Certificate(certificate) => means(certificate).map(|_| ()),
            Self::Password(_) => Ok(()),
        }
    }
}

/// Delivers `private_key`, unencrypted PKCS#8 DER, whose public key is the DER SubjectPublicKeyInfo `public_key`: gives
/// the EncryptedKey for the privateKey of a CertifiedKeyPair, in a message of pvno 3 (RFC 9810 §7).
///
/// A recipient with an EC key gets a key agreement with an ephemeral key, one with an RSA key RSAES-OAEP with SHA-256,
/// one with a password PBKDF2 with HMAC-SHA-256; the content is encrypted with AES-256-CBC.
///
/// # Errors
/// [`SealError::RecipientKey`] or [`SealError::KeyUsage`] if the recipient cannot be one, and what else failed.
pub fn seal(
    crypto: &dyn SealCrypto,
    private_key: &[u8],
    public_key: &[u8],
    kga: &KeyGenerationAuthority<'_>,
    recipient: Recipient<'_>,
) -> Result<Raw, SealError> {
    let package = key_package::package(private_key, public_key)?;
    let signed_data = sign(crypto, &package, kga)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    crypto.random(&mut *key)?;
    let mut iv = [0; 16];
    crypto.random(&mut iv)?;
    let (version, recipient_info) = match recipient {
        Recipient::Password(password) => (
            0,
            encrypt_by_password(crypto, password, PBKDF2_ITERATIONS, &*key)?,
        ),
        Recipient::Certificate(certificate) => encrypt_by_key(crypto, certificate, &*key)?,
    };
    let content = cipher::cbc_encrypt(&key, &iv, &signed_data);
    let enveloped = EnvelopedData {
        version,
        recipient_infos: SetOf(&recipient_info),
        encrypted_content_info: EncryptedContentInfo {
            content_type: ID_SIGNED_DATA,
            content_encryption_algorithm: AesCbc::identifier_256(OctetStringRef::new(&iv)?),
            encrypted_content: Some(OctetStringRef::new(&content)?),
        },
    };
    let encrypted_key = ContextSpecificRef {
        tag_number: TagNumber(0),
        tag_mode: TagMode::Implicit,
        value: &enveloped,
    };
    Ok(Raw::encode(&encrypted_key)?)
}

/// The DER of the SignedData around `package`, with the KGA's certificate as the first (RFC 9483 §4.1.6): the order is
/// that of the profile, not that of a DER SET OF.
pub(super) fn sign(
    crypto: &dyn SealCrypto,
    package: &[u8],
    kga: &KeyGenerationAuthority<'_>,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let identifier = kga
        .certificate
        .subject_key_identifier()
        .ok_or(SealError::NoKeyIdentifier)?;
    let algorithm = kga.key.algorithm();
    // ML-DSA has no hash of its own; SHA-512 is as strong as any of its keys (RFC 9882 §3.3).
    let hash = algorithm.hash_algorithm().unwrap_or(HashAlgorithm::Sha512);
    let digest_algorithm = hash.algorithm_identifier();
    let attributes = signed_attributes(crypto.digest(hash, package)?.as_bytes())?;
    let signature = kga.key.sign(&SetOf(&attributes).to_der()?)?;
    let signer = SignerInfo {
        version: 3,
        sid: CertificateIdentifier::SubjectKeyIdentifier(OctetStringRef::new(identifier)?),
        digest_algorithm,
        signed_attrs: Some(SetOf(&attributes)),
        signature_algorithm: algorithm.algorithm_identifier(),
        signature: OctetStringRef::new(&signature)?,
        unsigned_attrs: None,
    };
    let chain = core::iter::once(kga.certificate).chain(kga.chain);
    let certificates: Vec<u8> = chain.flat_map(Certificate::as_der).copied().collect();
    let signed_data = SignedData {
        version: 3,
        digest_algorithms: SetOf(&digest_algorithm.to_der()?),
        encap_content_info: EncapsulatedContentInfo {
            content_type: ID_CT_KP_A_KEY_PACKAGE,
            content: Some(OctetStringRef::new(package)?),
        },
        certificates: Some(SetOf(&certificates)),
        crls: None,
        signer_infos: SetOf(&signer.to_der()?),
    };
    Ok(Zeroizing::new(signed_data.to_der()?))
}

/// The contents of the SET OF the two attributes that RFC 5652 §5.3 demands, in the order of DER.
pub(super) fn signed_attributes(message_digest: &[u8]) -> der::Result<Vec<u8>> {
    let mut attributes = [
        attribute(ID_CONTENT_TYPE, &ID_CT_KP_A_KEY_PACKAGE.to_der()?)?,
        attribute(ID_MESSAGE_DIGEST, &OctetStringRef::new(message_digest)?.to_der()?)?,
    ];
    attributes.sort();
    Ok(attributes.concat())
}

pub(super) fn attribute(attr_type: ObjectIdentifier, value: &[u8]) -> der::Result<Vec<u8>> {
    let attr_values = SetOf(value);
    Attribute {
        attr_type,
        attr_values,
    }
    .to_der()
}

/// How something is encrypted for a key.
enum Means {
    Agreement(HashAlgorithm, ObjectIdentifier),
    Transport,
}

fn means(certificate: &Certificate) -> Result<Means, SealError> {
    let algorithm = KeyAlgorithm::of_public_key(certificate.public_key()).map_err(CryptoError::from)?;
    let usage = certificate.key_usage();
    match (key_agreement_scheme(algorithm), algorithm) {
        (Some(_), _) if usage.is_some_and(|usage| !usage.key_agreement()) => Err(SealError::KeyUsage),
        (Some((hash, scheme)), _) => Ok(Means::Agreement(hash, scheme)),
        (None, KeyAlgorithm::Rsa) if usage.is_some_and(|usage| !usage.key_encipherment()) => {
            Err(SealError::KeyUsage)
        }
        (None, KeyAlgorithm::Rsa) => Ok(Means::Transport),
        (None, other) => Err(SealError::RecipientKey(other)),
    }
}

/// The version of the EnvelopedData and the DER of a ktri or kari.
fn encrypt_by_key(
    crypto: &dyn SealCrypto,
    certificate: &Certificate,
    key: &[u8],
) -> Result<(u8, Vec<u8>), SealError> {
    match means(certificate)? {
        Means::Agreement(hash, scheme) => Ok((2, key_agree(crypto, certificate, (hash, scheme), key)?)),
        Means::Transport => key_trans(crypto, certificate, key),
    }
}

fn key_agree(
    crypto: &dyn SealCrypto,
    certificate: &Certificate,
    (hash, scheme): (HashAlgorithm, ObjectIdentifier),
    key: &[u8],
) -> Result<Vec<u8>, SealError> {
    let own = SubjectPublicKeyInfoRef::from_der(certificate.public_key())?;
    let (point, shared) = crypto.agree_ephemeral(certificate.public_key())?;
    let mut ukm = [0; KEY_BYTES];
    crypto.random(&mut ukm)?;
    let ukm = OctetStringRef::new(&ukm)?;
    let info = shared_info(&WRAP.identifier(), Some(ukm), WRAP.key_len())?;
    let kek = cipher::x963(crypto, hash, &shared, &info)?;
    let kek = kek.as_bytes().get(..WRAP.key_len()).unwrap_or_default();
    let encrypted_key = cipher::wrap_key(WRAP, kek, key)?;
    let rid = match certificate.subject_key_identifier() {
        Some(identifier) => KeyAgreeRecipientIdentifier::KeyId(RecipientKeyIdentifier {
            subject_key_identifier: OctetStringRef::new(identifier)?,
        }),
        None => KeyAgreeRecipientIdentifier::IssuerAndSerialNumber(issuer_and_serial_number(certificate)?),
    };
    let for_recipient = RecipientEncryptedKey {
        rid,
        encrypted_key: OctetStringRef::new(&encrypted_key)?,
    };
    let algorithm = mac::identifier(scheme, &WRAP.identifier())?;
    let info = KeyAgreeRecipientInfo {
        version: 3,
        originator: Originator::Key(OriginatorPublicKey {
            algorithm: own.algorithm,
            public_key: der::asn1::BitStringRef::from_bytes(&point)?,
        }),
        ukm: Some(ukm),
        key_encryption_algorithm: algorithm.owned_to_ref(),
        recipient_encrypted_keys: SequenceOf(&for_recipient.to_der()?),
    };
    Ok(RecipientInfo::KeyAgree(info).to_der()?)
}

/// The versions follow the identifier (RFC 5652 §6.1, §6.2.1); the profile's is 2.
fn key_trans(
    crypto: &dyn SealCrypto,
    certificate: &Certificate,
    key: &[u8],
) -> Result<(u8, Vec<u8>), SealError> {
    let algorithm = KeyTransport::RsaesOaep(HashAlgorithm::Sha256);
    let encrypted_key = crypto.encrypt(algorithm, certificate.public_key(), key)?;
    let (version, rid) = match certificate.subject_key_identifier() {
        Some(identifier) => (
            2,
            CertificateIdentifier::SubjectKeyIdentifier(OctetStringRef::new(identifier)?),
        ),
        None => (
            0,
            CertificateIdentifier::IssuerAndSerialNumber(issuer_and_serial_number(certificate)?),
        ),
    };
    let algorithm = algorithm.identifier()?;
    let info = KeyTransRecipientInfo {
        version,
        rid,
        key_encryption_algorithm: algorithm.owned_to_ref(),
        encrypted_key: OctetStringRef::new(&encrypted_key)?,
    };
    Ok((version, RecipientInfo::KeyTrans(info).to_der()?))
}

/// The DER of a pwri.
pub(super) fn encrypt_by_password(
    crypto: &dyn SealCrypto,
    password: &Secret,
    iterations: u32,
    key: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut salt = [0; 16];
    crypto.random(&mut salt)?;
    let kdf = Pbkdf2 {
        prf: HashAlgorithm::Sha256,
        salt: OctetString::new(salt)?,
        iterations,
    };
    let kek = kdf.derive(crypto, password, WRAP.key_len())?;
    let encrypted_key = cipher::wrap_key(WRAP, &kek, key)?;
    let derivation = kdf.identifier(WRAP.key_len())?;
    let info = PasswordRecipientInfo {
        version: 0,
        key_derivation_algorithm: Some(derivation.owned_to_ref()),
        key_encryption_algorithm: WRAP.identifier(),
        encrypted_key: OctetStringRef::new(&encrypted_key)?,
    };
    Ok(RecipientInfo::Password(info).to_der()?)
}

fn issuer_and_serial_number(certificate: &Certificate) -> der::Result<IssuerAndSerialNumber<'_>> {
    Ok(IssuerAndSerialNumber {
        issuer: AnyRef::from_der(certificate.issuer())?,
        serial_number: AnyRef::new(Tag::Integer, certificate.serial_number())?,
    })
}

/// ```text
/// ECC-CMS-SharedInfo ::= SEQUENCE {
///     keyInfo          AlgorithmIdentifier,
///     entityUInfo  [0] EXPLICIT OCTET STRING OPTIONAL,
///     suppPubInfo  [2] EXPLICIT OCTET STRING }
/// ```
#[derive(Sequence)]
struct EccCmsSharedInfo<'a> {
    key_info: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    entity_u_info: Option<&'a OctetStringRef>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    supp_pub_info: &'a OctetStringRef,
}

/// What goes into the key derivation beside the shared secret: the key wrap, the ukm and the length of the key in bits
/// (RFC 5753 §7.2).
pub(super) fn shared_info(
    wrap: &AlgorithmIdentifierRef<'_>,
    ukm: Option<&OctetStringRef>,
    key_len: usize,
) -> der::Result<Vec<u8>> {
    let bits = u32::try_from(key_len * 8).unwrap_or_default().to_be_bytes();
    EccCmsSharedInfo {
        key_info: *wrap,
        entity_u_info: ukm,
        supp_pub_info: OctetStringRef::new(&bits)?,
    }
    .to_der()
}
