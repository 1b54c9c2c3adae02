//! Certificate requests (RFC 4211, with the changes of RFC 9810 §5.2 and §5.3).

use alloc::vec::Vec;
use der::{
    Choice, Decode, Encode, Sequence,
    asn1::{BitString, Int, Null, ObjectIdentifier},
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{
    ext::{Extension, pkix::name::GeneralName},
    name::Name,
    time::Time,
};

use crate::{Exact, Raw};

/// `CertReqMessages ::= SEQUENCE SIZE (1..MAX) OF CertReqMsg`; the profile wants exactly one.
pub type CertReqMessages = Vec<CertReqMsg>;

/// `id-regCtrl-oldCertID`: the certificate that a kur updates; its value is a [`CertId`].
pub const REG_CTRL_OLD_CERT_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.5");

/// A request for one certificate.
///
/// ```text
/// CertReqMsg ::= SEQUENCE {
///     certReq  CertRequest,
///     popo     ProofOfPossession OPTIONAL,
///     regInfo  SEQUENCE SIZE (1..MAX) OF AttributeTypeAndValue OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertReqMsg {
    /// What is asked for; the proof of possession is a signature over exactly these bytes.
    pub cert_req: Exact<CertRequest>,
    /// The proof that the requester has the private key.
    pub popo: Option<ProofOfPossession>,
    /// Further information, unparsed.
    pub reg_info: Option<Vec<AttributeTypeAndValue>>,
}

/// ```text
/// CertRequest ::= SEQUENCE {
///     certReqId     INTEGER,
///     certTemplate  CertTemplate,
///     controls      SEQUENCE SIZE (1..MAX) OF AttributeTypeAndValue OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertRequest {
    /// 0 in the profile.
    pub cert_req_id: i64,
    /// The fields of the certificate that the requester wants.
    pub cert_template: CertTemplate,
    /// oldCertID in a kur.
    pub controls: Option<Vec<AttributeTypeAndValue>>,
}

impl CertRequest {
    /// The oldCertID control, if there is one and it can be read.
    pub fn old_cert_id(&self) -> Option<der::Result<CertId>> {
        let control = self
            .controls
            .iter()
            .flatten()
            .find(|c| c.attr_type == REG_CTRL_OLD_CERT_ID)?;
        Some(CertId::from_der(control.value.as_bytes()))
    }
}

/// A control or a piece of registration information, value unparsed.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct AttributeTypeAndValue {
    /// What it is.
    pub attr_type: ObjectIdentifier,
    /// Its value.
    pub value: Raw,
}

impl AttributeTypeAndValue {
    /// The oldCertID control of a kur.
    pub fn old_cert_id(id: &CertId) -> der::Result<Self> {
        Ok(Self {
            attr_type: REG_CTRL_OLD_CERT_ID,
            value: Raw::encode(id)?,
        })
    }
}

/// The fields of a certificate that somebody wants, or that name one to be revoked. All are optional.
///
/// ```text
/// CertTemplate ::= SEQUENCE {
///     version       [0] Version               OPTIONAL,
///     serialNumber  [1] INTEGER               OPTIONAL,
///     signingAlg    [2] AlgorithmIdentifier   OPTIONAL,
///     issuer        [3] Name                  OPTIONAL,
///     validity      [4] OptionalValidity      OPTIONAL,
///     subject       [5] Name                  OPTIONAL,
///     publicKey     [6] SubjectPublicKeyInfo  OPTIONAL,
///     issuerUID     [7] UniqueIdentifier      OPTIONAL,
///     subjectUID    [8] UniqueIdentifier      OPTIONAL,
///     extensions    [9] Extensions            OPTIONAL }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Sequence)]
pub struct CertTemplate {
    /// 2 for version 3.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub version: Option<u8>,
    /// The serial number, in a revocation.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub serial_number: Option<Int>,
    /// Not used in requests.
    #[asn1(
        context_specific = "2",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub signing_alg: Option<AlgorithmIdentifierOwned>,
    /// The issuer, in a revocation.
    #[asn1(
        context_specific = "3",
        tag_mode = "EXPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub issuer: Option<Name>,
    /// The validity that is wanted.
    #[asn1(
        context_specific = "4",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub validity: Option<OptionalValidity>,
    /// The subject that is wanted.
    #[asn1(
        context_specific = "5",
        tag_mode = "EXPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub subject: Option<Name>,
    /// The public key; empty where the server is to make the key.
    #[asn1(
        context_specific = "6",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub public_key: Option<SubjectPublicKeyInfoOwned>,
    /// Not used.
    #[asn1(context_specific = "7", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_uid: Option<BitString>,
    /// Not used.
    #[asn1(context_specific = "8", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_uid: Option<BitString>,
    /// The extensions that are wanted.
    #[asn1(
        context_specific = "9",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub extensions: Option<Vec<Extension>>,
}

/// ```text
/// OptionalValidity ::= SEQUENCE {
///     notBefore  [0] Time OPTIONAL,
///     notAfter   [1] Time OPTIONAL }   -- at least one
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct OptionalValidity {
    /// From when.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub not_before: Option<Time>,
    /// Until when.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub not_after: Option<Time>,
}

/// ```text
/// ProofOfPossession ::= CHOICE {
///     raVerified       [0] NULL,
///     signature        [1] POPOSigningKey,
///     keyEncipherment  [2] POPOPrivKey,
///     keyAgreement     [3] POPOPrivKey }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum ProofOfPossession {
    /// An RA says that it has verified it.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    RaVerified(Null),
    /// A signature with the new key.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Signature(PopoSigningKey),
    /// For encryption keys; unparsed.
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", constructed = "true")]
    KeyEncipherment(Raw),
    /// For key agreement keys; unparsed.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", constructed = "true")]
    KeyAgreement(Raw),
}

/// ```text
/// POPOSigningKey ::= SEQUENCE {
///     poposkInput          [0] POPOSigningKeyInput OPTIONAL,
///     algorithmIdentifier  AlgorithmIdentifier,
///     signature            BIT STRING }
/// ```
/// The signature is over the DER of the CertRequest; poposkInput is absent in the profile.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PopoSigningKey {
    /// What was signed where it was not the CertRequest; the fields inside are not parsed.
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub poposk_input: Option<Vec<Raw>>,
    /// How it was signed.
    pub algorithm_identifier: AlgorithmIdentifierOwned,
    /// The signature.
    pub signature: BitString,
}

/// Names a certificate.
///
/// ```text
/// CertId ::= SEQUENCE { issuer GeneralName, serialNumber INTEGER }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertId {
    /// The issuer's directory name.
    pub issuer: GeneralName,
    /// The serial number.
    pub serial_number: Int,
}

impl CertId {
    /// A certificate's identifier from the DER of its issuer name and of its serial number.
    pub fn new(issuer: &[u8], serial_number: &[u8]) -> der::Result<Self> {
        Ok(Self {
            issuer: GeneralName::DirectoryName(Name::from_der(issuer)?),
            serial_number: Int::from_der(serial_number)?,
        })
    }
}

impl CertReqMsg {
    /// The bytes that a signature proof of possession covers.
    pub fn popo_input(&self) -> &[u8] {
        self.cert_req.as_der()
    }

    /// Whether the key is to be made centrally: the template has no public key, or only its algorithm
    /// (RFC 9483 §4.1.6).
    pub fn asks_for_key(&self) -> bool {
        let public_key = self.cert_req.cert_template.public_key.as_ref();
        public_key.is_none_or(|key| key.subject_public_key.raw_bytes().is_empty())
    }

    /// DER of the public key in the template, if there is one.
    pub fn public_key_der(&self) -> Option<der::Result<Vec<u8>>> {
        self.cert_req
            .cert_template
            .public_key
            .as_ref()
            .map(Encode::to_der)
    }
}
