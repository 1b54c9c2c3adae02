//! Makes X.509 certificates (RFC 5280), straight into DER.

use aws_lc_rs::rand;
use cmp_message::{
    Raw,
    crypto::{AwsLc, Crypto, HashAlgorithm, KeyAlgorithm, SigningKey},
};
use const_oid::{
    ObjectIdentifier,
    db::{rfc4519, rfc5280},
};
use der::{
    DateTime, Decode, Encode, Header, Length, Tag,
    asn1::{GeneralizedTime, OctetStringRef, PrintableStringRef, UtcTime, Utf8StringRef},
};
use spki::SubjectPublicKeyInfoRef;
use std::time::Duration;
use x509_cert::name::{Name, RelativeDistinguishedName};

use crate::{PkiError, RevocationReason};

/// Bits of KeyUsage, first byte (RFC 5280 §4.2.1.3).
pub(crate) const KEY_USAGE_DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_USAGE_KEY_ENCIPHERMENT: u8 = 0x20;
const KEY_USAGE_KEY_AGREEMENT: u8 = 0x08;
pub(crate) const KEY_USAGE_KEY_CERT_SIGN: u8 = 0x04;
pub(crate) const KEY_USAGE_CRL_SIGN: u8 = 0x02;

/// What a certificate says, without its signature.
pub(crate) struct Content<'a> {
    pub(crate) serial: [u8; 16],
    /// DER of the issuer's Name.
    pub(crate) issuer: &'a [u8],
    pub(crate) not_before_s: u64,
    pub(crate) not_after_s: u64,
    /// DER of the subject's Name.
    pub(crate) subject: &'a [u8],
    /// DER of the SubjectPublicKeyInfo.
    pub(crate) public_key: &'a [u8],
    /// DER of each Extension.
    pub(crate) extensions: &'a [Vec<u8>],
}

impl Content<'_> {
    /// The certificate, signed by `key`.
    pub(crate) fn sign(&self, key: &dyn SigningKey) -> Result<Vec<u8>, PkiError> {
        let algorithm = key.algorithm().algorithm_identifier().to_der()?;
        let tbs = self.tbs_certificate(&algorithm)?;
        let signature = key.sign(&tbs)?;
        let signature = tlv(Tag::BitString, &[&[0], &signature])?;
        Ok(sequence(&[&tbs, &algorithm, &signature])?)
    }

    fn tbs_certificate(&self, algorithm: &[u8]) -> der::Result<Vec<u8>> {
        const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
        let validity = sequence(&[&time(self.not_before_s)?, &time(self.not_after_s)?])?;
        let extensions = self.extensions.iter().map(Vec::as_slice).collect::<Vec<_>>();
        sequence(&[
            VERSION_3,
            &tlv(Tag::Integer, &[&self.serial])?,
            algorithm,
            self.issuer,
            &validity,
            self.subject,
            self.public_key,
            &tlv(context(3, true), &[&sequence(&extensions)?])?,
        ])
    }
}

/// What a CRL says, without its signature (RFC 5280 §5.1).
pub(crate) struct CrlContent<'a> {
    /// DER of the issuer's Name.
    pub(crate) issuer: &'a [u8],
    pub(crate) authority_key_identifier: &'a [u8],
    pub(crate) number: u64,
    pub(crate) this_update_s: u64,
    pub(crate) next_update_s: u64,
    pub(crate) entries: &'a [CrlEntry],
}

/// A revoked certificate on a CRL.
#[derive(Clone, Debug)]
pub(crate) struct CrlEntry {
    /// Content of the INTEGER.
    pub(crate) serial: Vec<u8>,
    pub(crate) revoked_s: u64,
    pub(crate) reason: Option<RevocationReason>,
}

impl CrlContent<'_> {
    /// The CRL, version 2, signed by `key`.
    pub(crate) fn sign(&self, key: &dyn SigningKey) -> Result<Vec<u8>, PkiError> {
        let algorithm = key.algorithm().algorithm_identifier().to_der()?;
        let tbs = self.tbs_cert_list(&algorithm)?;
        let signature = key.sign(&tbs)?;
        let signature = tlv(Tag::BitString, &[&[0], &signature])?;
        Ok(sequence(&[&tbs, &algorithm, &signature])?)
    }

    fn tbs_cert_list(&self, algorithm: &[u8]) -> der::Result<Vec<u8>> {
        const VERSION_2: &[u8] = &[2, 1, 1];
        let entries = self.entries.iter().map(CrlEntry::to_der);
        let entries = entries.collect::<der::Result<Vec<_>>>()?;
        let entries = match entries.as_slice() {
            [] => Vec::new(),
            entries => sequence(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>())?,
        };
        let extensions = sequence(&[
            &authority_key_identifier(self.authority_key_identifier)?,
            &extension(rfc5280::ID_CE_CRL_NUMBER, false, &self.number.to_der()?)?,
        ])?;
        sequence(&[
            VERSION_2,
            algorithm,
            self.issuer,
            &time(self.this_update_s)?,
            &time(self.next_update_s)?,
            &entries,
            &tlv(context(0, true), &[&extensions])?,
        ])
    }
}

impl CrlEntry {
    fn to_der(&self) -> der::Result<Vec<u8>> {
        // RFC 5280 §5.3.1: unspecified is left out.
        let reason = self
            .reason
            .filter(|reason| *reason != RevocationReason::Unspecified);
        let extensions = match reason {
            None => Vec::new(),
            Some(reason) => {
                let code = tlv(Tag::Enumerated, &[&[reason.code()]])?;
                sequence(&[&extension(rfc5280::ID_CE_CRL_REASONS, false, &code)?])?
            }
        };
        sequence(&[
            &tlv(Tag::Integer, &[&self.serial])?,
            &time(self.revoked_s)?,
            &extensions,
        ])
    }
}

/// A random serial number of 16 bytes, positive, never with a leading zero (RFC 5280 §4.1.2.2).
pub(crate) fn random_serial() -> Result<[u8; 16], PkiError> {
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|_| PkiError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// The key identifier of a public key: 160 bits of its SHA-256 (RFC 7093 §2, method 1).
pub(crate) fn key_identifier(public_key: &[u8]) -> Result<[u8; 20], PkiError> {
    let spki = SubjectPublicKeyInfoRef::from_der(public_key)?;
    let digest = AwsLc.digest(HashAlgorithm::Sha256, spki.subject_public_key.raw_bytes())?;
    let mut identifier = [0; 20];
    identifier
        .iter_mut()
        .zip(digest.as_bytes())
        .for_each(|(to, from)| *to = *from);
    Ok(identifier)
}

/// DER of a Name with these attributes, each in its own RDN.
pub(crate) fn name(attributes: &[(ObjectIdentifier, &str)]) -> der::Result<Vec<u8>> {
    let mut rdns = Vec::with_capacity(attributes.len());
    for (oid, value) in attributes {
        rdns.push(rdn(*oid, value)?);
    }
    sequence(&rdns.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn rdn(oid: ObjectIdentifier, value: &str) -> der::Result<Vec<u8>> {
    let value = match oid {
        rfc4519::SERIAL_NUMBER | rfc4519::C => PrintableStringRef::new(value)?.to_der()?,
        _ => Utf8StringRef::new(value)?.to_der()?,
    };
    tlv(Tag::Set, &[&sequence(&[&oid.to_der()?, &value])?])
}

/// The same name with this organization (O) and no other.
pub(crate) fn with_organization(name: &Name, organization: &str) -> der::Result<Name> {
    let mut rdns = vec![rdn(rfc4519::O, organization)?];
    for rdn in Vec::<Raw>::from_der(&name.to_der()?)? {
        let parsed = RelativeDistinguishedName::from_der(rdn.as_bytes())?;
        if parsed.iter().all(|attribute| attribute.oid != rfc4519::O) {
            rdns.push(rdn.as_bytes().to_vec());
            continue;
        }
        for other in parsed.iter().filter(|attribute| attribute.oid != rfc4519::O) {
            rdns.push(tlv(Tag::Set, &[&other.to_der()?])?);
        }
    }
    Name::from_der(&sequence(&rdns.iter().map(Vec::as_slice).collect::<Vec<_>>())?)
}

/// DER of an Extension around the DER of its value.
pub(crate) fn extension(oid: ObjectIdentifier, critical: bool, value: &[u8]) -> der::Result<Vec<u8>> {
    const TRUE: &[u8] = &[1, 1, 0xff];
    let value = OctetStringRef::new(value)?.to_der()?;
    sequence(&[&oid.to_der()?, if critical { TRUE } else { &[] }, &value])
}

/// basicConstraints, critical: of an end entity, or of a CA with its path length.
pub(crate) fn basic_constraints(path_len: Option<u8>) -> der::Result<Vec<u8>> {
    const CA: &[u8] = &[1, 1, 0xff];
    let value = match path_len {
        None => sequence(&[])?,
        Some(n) => sequence(&[CA, &n.to_der()?])?,
    };
    extension(rfc5280::ID_CE_BASIC_CONSTRAINTS, true, &value)
}

/// keyUsage, critical, from its first byte.
pub(crate) fn key_usage(bits: u8) -> der::Result<Vec<u8>> {
    let unused = bits.trailing_zeros().min(7) as u8;
    extension(
        rfc5280::ID_CE_KEY_USAGE,
        true,
        &tlv(Tag::BitString, &[&[unused, bits]])?,
    )
}

/// The bits for a key that signs, and that something can be encrypted for if its type allows it.
pub(crate) fn usage_for_recipient(algorithm: KeyAlgorithm) -> u8 {
    KEY_USAGE_DIGITAL_SIGNATURE
        | match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => KEY_USAGE_KEY_AGREEMENT,
            KeyAlgorithm::Rsa => KEY_USAGE_KEY_ENCIPHERMENT,
            _ => 0,
        }
}

/// extKeyUsage.
pub(crate) fn ext_key_usage(usages: &[ObjectIdentifier]) -> der::Result<Vec<u8>> {
    let usages = usages
        .iter()
        .map(Encode::to_der)
        .collect::<der::Result<Vec<_>>>()?;
    let value = sequence(&usages.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, &value)
}

/// subjectKeyIdentifier.
pub(crate) fn subject_key_identifier(identifier: &[u8]) -> der::Result<Vec<u8>> {
    extension(
        rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
        false,
        &tlv(Tag::OctetString, &[identifier])?,
    )
}

/// authorityKeyIdentifier with a keyIdentifier alone.
pub(crate) fn authority_key_identifier(identifier: &[u8]) -> der::Result<Vec<u8>> {
    let value = sequence(&[&tlv(context(0, false), &[identifier])?])?;
    extension(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &value)
}

/// cRLDistributionPoints with one URL.
pub(crate) fn crl_distribution_point(url: &str) -> der::Result<Vec<u8>> {
    let full_name = tlv(context(6, false), &[url.as_bytes()])?;
    let name = tlv(context(0, true), &[&tlv(context(0, true), &[&full_name])?])?;
    let value = sequence(&[&sequence(&[&name])?])?;
    extension(rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS, false, &value)
}

/// A SEQUENCE of these parts.
pub(crate) fn sequence(parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    tlv(Tag::Sequence, parts)
}

fn tlv(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut der = Vec::with_capacity(length + 6);
    Header::new(tag, Length::try_from(length)?).encode_to_vec(&mut der)?;
    parts.iter().for_each(|part| der.extend_from_slice(part));
    Ok(der)
}

fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: der::TagNumber(number),
    }
}

/// UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5).
fn time(unix_s: u64) -> der::Result<Vec<u8>> {
    let unix = Duration::from_secs(unix_s);
    if DateTime::from_unix_duration(unix)?.year() < 2050 {
        UtcTime::from_unix_duration(unix)?.to_der()
    } else {
        GeneralizedTime::from_unix_duration(unix)?.to_der()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_their_type_at_2050() {
        const LAST_OF_2049: u64 = 2_524_607_999;
        assert_eq!(time(LAST_OF_2049).unwrap(), b"\x17\x0d491231235959Z");
        assert_eq!(time(LAST_OF_2049 + 1).unwrap(), b"\x18\x0f20500101000000Z");
    }

    #[test]
    fn serials_are_positive_and_of_sixteen_bytes() {
        for _ in 0..200 {
            let first = random_serial().unwrap()[0];
            assert!((0x40..0x80).contains(&first));
        }
    }

    #[test]
    fn key_usage_leaves_out_trailing_zero_bits() {
        let ca = key_usage(KEY_USAGE_KEY_CERT_SIGN | KEY_USAGE_CRL_SIGN).unwrap();
        assert!(ca.ends_with(&[0x03, 0x02, 0x01, 0x06]));
        let ee = key_usage(KEY_USAGE_DIGITAL_SIGNATURE).unwrap();
        assert!(ee.ends_with(&[0x03, 0x02, 0x07, 0x80]));
    }
}
