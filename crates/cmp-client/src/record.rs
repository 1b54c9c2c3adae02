//! A transaction as it is kept over a loss of power. No secret is in it.

use alloc::{string::String, vec::Vec};

use cmp_message::{BodyType, PkiBody, PkiStatusInfo, Raw};
use const_oid::ObjectIdentifier;
use der::{Decode, Encode, Sequence, SliceReader, asn1::OctetString};

use crate::StateError;

/// The format of [`Record`].
const VERSION: u8 = 4;

/// ```text
/// Record ::= SEQUENCE {
///     version            INTEGER (4),
///     request            PKIBody,       -- ir, cr, p10cr, kur, rr or genm
///     sent               INTEGER,       -- what `message` is: the body's number
///     awaited            INTEGER,       -- what the answer is awaited for: the request, or 24 certConf
///     attempt            INTEGER,
///     pollId             INTEGER,       -- certReqId of pollReq
///     transactionID      OCTET STRING,
///     senderNonce        OCTET STRING,
///     awaitedNonce       OCTET STRING,  -- senderNonce of the message whose answer is awaited: not of a pollReq
///     message            OCTET STRING,  -- as it was, or is about to be, sent
///     implicit           BOOLEAN,       -- implicitConfirm was asked for
///     spent              INTEGER,       -- seconds since the transaction began, without those between two lives
///     peerNonce          OCTET STRING,  -- of the answer before; may be empty
///     issued         [0] Issued OPTIONAL,
///     checkAfter     [1] INTEGER OPTIONAL,  -- seconds; the message has been answered, and polling goes on then
///     signer         [2] Certificate OPTIONAL,  -- of the answer before
///     peerAlgorithm  [3] OBJECT IDENTIFIER OPTIONAL,  -- protectionAlg of the answer before
///     key            [4] INTEGER OPTIONAL,      -- of the certificate that is asked for
///     certProfile    [5] UTF8String OPTIONAL,
///     crlIssuer      [6] Certificate OPTIONAL } -- of the CRL that is asked for
/// ```
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Record {
    pub(crate) version: u8,
    pub(crate) request: PkiBody,
    pub(crate) sent: u8,
    pub(crate) awaited: u8,
    pub(crate) attempt: u8,
    pub(crate) poll_id: i64,
    pub(crate) transaction_id: OctetString,
    pub(crate) sender_nonce: OctetString,
    pub(crate) awaited_nonce: OctetString,
    pub(crate) message: OctetString,
    pub(crate) implicit: bool,
    pub(crate) spent_s: u64,
    pub(crate) peer_nonce: OctetString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) issued: Option<IssuedRecord>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) check_after_s: Option<u64>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) signer: Option<Raw>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) peer_algorithm: Option<ObjectIdentifier>,
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) key: Option<u32>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) cert_profile: Option<String>,
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) crl_issuer: Option<Raw>,
}

/// The certificate that a certConf is about.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct IssuedRecord {
    pub(crate) certificate: Raw,
    pub(crate) chain: Vec<Raw>,
    pub(crate) new_anchors: Vec<Raw>,
    /// Present where it is refused.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) refused: Option<PkiStatusInfo>,
    /// EncryptedKey, where the key came with it: still encrypted, so that no secret is here.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) private_key: Option<Raw>,
}

impl Record {
    pub(crate) const VERSION: u8 = VERSION;

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        // Another version may have other fields: it is named before they are read.
        match version_of(bytes).map_err(|_| StateError::Malformed)? {
            VERSION => {}
            version => return Err(StateError::Version(version)),
        }
        let record = Self::from_der(bytes).map_err(|_| StateError::Malformed)?;
        if record.is_consistent() {
            Ok(record)
        } else {
            Err(StateError::Malformed)
        }
    }

    /// Only what the state machine can be in is taken up.
    fn is_consistent(&self) -> bool {
        let request_type = self.request.body_type();
        let request = code(request_type);
        let for_certificate = asks_for_certificate(request_type);
        let cert_conf = code(BodyType::CertConf);
        let awaits_request = self.awaited == request && self.issued.is_none();
        let awaits_cert_conf = for_certificate && self.awaited == cert_conf && self.issued.is_some();
        let polls = self.sent == code(BodyType::PollReq);
        (for_certificate || matches!(request_type, BodyType::Rr | BodyType::Genm))
            && self.key.is_some() == for_certificate
            && (awaits_request || awaits_cert_conf)
            && (polls || self.sent == self.awaited && self.check_after_s.is_none())
            && (polls || self.sender_nonce == self.awaited_nonce)
    }

    pub(crate) fn encode(&self) -> der::Result<Vec<u8>> {
        self.to_der()
    }
}

/// Whether the answer to such a request is a certificate.
pub(crate) fn asks_for_certificate(request: BodyType) -> bool {
    matches!(
        request,
        BodyType::Ir | BodyType::Cr | BodyType::P10cr | BodyType::Kur
    )
}

fn version_of(bytes: &[u8]) -> der::Result<u8> {
    let record = Raw::new(bytes)?;
    u8::decode(&mut SliceReader::new(record.value()?)?)
}

/// What an end entity sends, by the number of the body (RFC 9810 §5.1.2).
const KINDS: [(u8, BodyType); 8] = [
    (0, BodyType::Ir),
    (2, BodyType::Cr),
    (4, BodyType::P10cr),
    (7, BodyType::Kur),
    (11, BodyType::Rr),
    (21, BodyType::Genm),
    (24, BodyType::CertConf),
    (25, BodyType::PollReq),
];

/// 255 for what an end entity does not send.
pub(crate) fn code(kind: BodyType) -> u8 {
    KINDS
        .iter()
        .find(|(_, known)| *known == kind)
        .map_or(u8::MAX, |(code, _)| *code)
}

pub(crate) fn kind(code: u8) -> Result<BodyType, StateError> {
    KINDS
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, kind)| *kind)
        .ok_or(StateError::Malformed)
}
