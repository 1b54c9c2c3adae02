//! The encodings of elliptic-curve keys, read once for both providers.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ID_EC_PUBLIC_KEY;
use der::asn1::{BitStringRef, OctetStringRef};
use der::{Decode, Reader, SliceReader, TagMode, TagNumber};
use spki::SubjectPublicKeyInfoRef;

use super::{CryptoError, EcCurve};

/// The curve and the uncompressed point of a DER SubjectPublicKeyInfo (RFC 5480 §2).
///
/// Whether the point lies on the curve is for the provider to check. RFC 5480 §2.2 lets us refuse compressed points.
pub(super) fn public_point(spki: &[u8]) -> Result<(EcCurve, &[u8]), CryptoError> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| CryptoError::MalformedPublicKey)?;
    if spki.algorithm.oid != ID_EC_PUBLIC_KEY {
        return Err(CryptoError::UnsupportedKey);
    }
    let curve = spki
        .algorithm
        .parameters_oid()
        .map_err(|_| CryptoError::MalformedPublicKey)?;
    let curve = EcCurve::from_oid(curve).ok_or(CryptoError::UnsupportedKey)?;
    let point = spki
        .subject_public_key
        .as_bytes()
        .ok_or(CryptoError::MalformedPublicKey)?;
    match point.first() {
        Some(0x04) if point.len() == 1 + 2 * curve.field_len() => Ok((curve, point)),
        Some(0x02 | 0x03) => Err(CryptoError::UnsupportedKey),
        _ => Err(CryptoError::MalformedPublicKey),
    }
}

/// An EC private key as it was found in one of its two encodings; borrows from them.
pub(super) struct EcPrivateKey<'a> {
    pub(super) curve: EcCurve,
    /// Big-endian, as long as the curve's field.
    #[cfg_attr(
        not(feature = "rustcrypto"),
        expect(dead_code, reason = "AWS-LC reads the encoding itself")
    )]
    pub(super) scalar: &'a [u8],
    /// The uncompressed point that came along, to be compared with the one derived.
    pub(super) public_point: Option<&'a [u8]>,
}

impl<'a> EcPrivateKey<'a> {
    /// Reads PKCS#8 (RFC 5958) or, failing that, SEC 1's ECPrivateKey (RFC 5915), both unencrypted DER.
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self, CryptoError> {
        match pkcs8::PrivateKeyInfoRef::from_der(der) {
            Ok(info) => {
                if info.algorithm.oid != ID_EC_PUBLIC_KEY {
                    return Err(CryptoError::UnsupportedKey);
                }
                let curve = info
                    .algorithm
                    .parameters_oid()
                    .map_err(|_| CryptoError::MalformedPrivateKey)?;
                let curve = EcCurve::from_oid(curve).ok_or(CryptoError::UnsupportedKey)?;
                Self::from_sec1(info.private_key.as_bytes(), Some(curve))
            }
            Err(_) => Self::from_sec1(der, None),
        }
    }

    /// `outer` is the curve that the PKCS#8 around it names.
    fn from_sec1(der: &'a [u8], outer: Option<EcCurve>) -> Result<Self, CryptoError> {
        let (scalar, named, public_point) = sec1_fields(der).map_err(|_| CryptoError::MalformedPrivateKey)?;
        let named = match named {
            Some(oid) => Some(EcCurve::from_oid(oid).ok_or(CryptoError::UnsupportedKey)?),
            None => None,
        };
        let curve = match (outer, named) {
            (Some(outer), Some(named)) if outer != named => return Err(CryptoError::MalformedPrivateKey),
            (Some(curve), _) | (None, Some(curve)) => curve,
            (None, None) => return Err(CryptoError::MalformedPrivateKey),
        };
        let fits = scalar.len() == curve.field_len();
        if !fits {
            return Err(CryptoError::MalformedPrivateKey);
        }
        Ok(Self {
            curve,
            scalar,
            public_point,
        })
    }
}

type Sec1Fields<'a> = (&'a [u8], Option<ObjectIdentifier>, Option<&'a [u8]>);

/// `ECPrivateKey ::= SEQUENCE { version INTEGER (1), privateKey OCTET STRING, parameters [0] ECParameters OPTIONAL,
/// publicKey [1] BIT STRING OPTIONAL }`
fn sec1_fields(der: &[u8]) -> der::Result<Sec1Fields<'_>> {
    let mut reader = SliceReader::new(der)?;
    let fields = reader.sequence(|seq| {
        if u8::decode(seq)? != 1 {
            return Err(seq.error(der::ErrorKind::Value {
                tag: der::Tag::Integer,
            }));
        }
        let scalar = <&OctetStringRef>::decode(seq)?.as_bytes();
        let curve = seq.context_specific::<ObjectIdentifier>(TagNumber(0), TagMode::Explicit)?;
        let point = seq.context_specific::<BitStringRef<'_>>(TagNumber(1), TagMode::Explicit)?;
        Ok::<_, der::Error>((scalar, curve, point.and_then(|bits| bits.as_bytes())))
    })?;
    reader.finish()?;
    Ok(fields)
}
