//! Headers and protection of what we send (RFC 9483 §3.1 to §3.3).

use alloc::vec::Vec;
use core::time::Duration;

use cmp_message::{
    CMP_2021, InfoTypeAndValue, PkiBody, PkiHeader, PkiMessage, Raw,
    crypto::CryptoError,
    mac::{MacAlgorithm, Secret},
};
use der::{
    Decode,
    asn1::{GeneralizedTime, OctetString, SetOfVec, Utf8StringRef},
    referenced::RefToOwned,
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    name::{Name, RdnSequence, RelativeDistinguishedName},
};

use crate::{Config, Failure, Protection, seed::Seed};

/// The identifiers of one message.
pub(crate) struct Ids<'a> {
    pub(crate) transaction_id: &'a [u8],
    pub(crate) sender_nonce: &'a [u8],
    pub(crate) recip_nonce: Option<&'a [u8]>,
    /// The transaction is about a key that is made centrally. An answer has the version of what it answers, and one with a
    /// private key is of version 3 (RFC 9810 §7).
    pub(crate) central: bool,
}

/// A message that still lacks its protection, or has it already.
pub(crate) enum Protected {
    /// To be signed.
    Unsigned(PkiMessage),
    /// Complete, by a MAC.
    Complete(Vec<u8>),
}

pub(crate) fn message(
    config: &Config,
    ids: &Ids<'_>,
    body: PkiBody,
    general_info: Vec<InfoTypeAndValue>,
    now_s: Option<u64>,
    seed: &mut Seed,
) -> Result<Protected, Failure> {
    let encoding = |_| Failure::Encoding;
    let octets = |bytes: &[u8]| OctetString::new(bytes).map_err(encoding);
    let mut header = PkiHeader::new(sender(config).map_err(encoding)?, config.recipient.clone());
    if ids.central || needs_version_3(&body) {
        header.pvno = CMP_2021;
    }
    header.message_time =
        now_s.and_then(|s| GeneralizedTime::from_unix_duration(Duration::from_secs(s)).ok());
    header.transaction_id = Some(octets(ids.transaction_id)?);
    header.sender_nonce = Some(octets(ids.sender_nonce)?);
    header.recip_nonce = ids.recip_nonce.map(octets).transpose()?;
    header.general_info = (!general_info.is_empty()).then_some(general_info);
    match &config.protection {
        Protection::Signature {
            algorithm,
            certificate,
            ..
        } => {
            header.protection_alg = Some(algorithm.algorithm_identifier().ref_to_owned());
            header.sender_kid = certificate.subject_key_identifier().map(octets).transpose()?;
            Ok(Protected::Unsigned(
                PkiMessage::new(header, body).map_err(encoding)?,
            ))
        }
        Protection::PasswordBasedMac { reference, secret } => {
            let algorithm = MacAlgorithm::password_based_mac(salt(config, seed)?);
            with_mac(config, header, body, reference, secret, &algorithm)
        }
        Protection::Pbmac1 { reference, secret } => {
            let algorithm = MacAlgorithm::pbmac1(salt(config, seed)?);
            with_mac(config, header, body, reference, secret, &algorithm)
        }
    }
}

/// Whether a message of ours was made under the protection of `config`.
pub(crate) fn is_ours(config: &Config, header: &PkiHeader) -> bool {
    let by_mac = header.protection_alg.as_ref().is_some_and(MacAlgorithm::is_mac);
    let kid = header.sender_kid.as_ref().map(OctetString::as_bytes);
    match &config.protection {
        Protection::Signature { certificate, .. } => {
            !by_mac
                && kid == certificate.subject_key_identifier()
                && sender(config).is_ok_and(|sender| header.sender_name() == Some(&sender))
        }
        Protection::PasswordBasedMac { reference, .. } | Protection::Pbmac1 { reference, .. } => {
            by_mac && kid == Some(reference)
        }
    }
}

/// certConf with hashAlg is of version 3 (RFC 9810 §7).
fn needs_version_3(body: &PkiBody) -> bool {
    matches!(body, PkiBody::CertConf(content) if content.iter().any(|status| status.hash_alg.is_some()))
}

fn sender(config: &Config) -> der::Result<Name> {
    match &config.protection {
        Protection::Signature { certificate, .. } => Name::from_der(certificate.subject()),
        Protection::PasswordBasedMac { reference, .. } | Protection::Pbmac1 { reference, .. } => {
            common_name(reference)
        }
    }
}

/// The message with its signature and the certificates to verify it.
pub(crate) fn with_signature(
    config: &Config,
    message: PkiMessage,
    signature: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mut extra_certs = Vec::new();
    if let Protection::Signature {
        certificate, chain, ..
    } = &config.protection
    {
        extra_certs.push(Raw::new(certificate.as_der()).map_err(|_| Failure::Encoding)?);
        extra_certs.extend(chain.iter().cloned());
    }
    let message = message
        .with_protection(signature, extra_certs)
        .map_err(|_| Failure::Encoding)?;
    message.to_bytes().map_err(|_| Failure::Encoding)
}

fn with_mac(
    config: &Config,
    mut header: PkiHeader,
    body: PkiBody,
    reference: &[u8],
    secret: &Secret,
    algorithm: &MacAlgorithm,
) -> Result<Protected, Failure> {
    let encoding = |_| Failure::Encoding;
    header.sender_kid = Some(OctetString::new(reference).map_err(encoding)?);
    header.protection_alg = Some(algorithm.algorithm_identifier().map_err(encoding)?);
    let message = PkiMessage::new(header, body).map_err(encoding)?;
    let input = message.protected_part().map_err(encoding)?;
    let value = algorithm
        .compute(config.crypto, secret, &input)
        .map_err(Failure::Key)?;
    let message = message
        .with_protection(value.as_bytes(), Vec::new())
        .map_err(encoding)?;
    Ok(Protected::Complete(message.to_bytes().map_err(encoding)?))
}

fn salt(config: &Config, seed: &mut Seed) -> Result<[u8; 16], Failure> {
    seed.next(config.crypto)
        .map_err(|error: CryptoError| Failure::Key(error))
}

/// The name of a sender that has no certificate: its reference as commonName (RFC 9483 §3.1). A reference that is not
/// text leaves the name empty.
fn common_name(reference: &[u8]) -> der::Result<Name> {
    let Ok(text) = core::str::from_utf8(reference) else {
        return Ok(Name::default());
    };
    let attribute = AttributeTypeAndValue {
        oid: const_oid::db::rfc4519::CN,
        value: der::Any::from(Utf8StringRef::new(text)?),
    };
    let rdn = RelativeDistinguishedName::from(SetOfVec::try_from(alloc::vec![attribute])?);
    Name::from_der(&der::Encode::to_der(&RdnSequence::from(alloc::vec![rdn]))?)
}
