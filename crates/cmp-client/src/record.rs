//! A transaction as it is kept over a loss of power. No secret is in it.

use alloc::vec::Vec;

use cmp_message::{BodyType, CertReqMsg, PkiStatusInfo, Raw};
use der::{Decode, Encode, Sequence, SliceReader, asn1::OctetString};

use crate::StateError;

/// The format of [`Record`].
const VERSION: u8 = 2;

/// ```text
/// Record ::= SEQUENCE {
///     version        INTEGER (2),
///     requestKind    INTEGER,       -- 0 ir, 7 kur
///     kind           INTEGER,       -- what `message` is: 0 ir, 7 kur, 24 certConf, 25 pollReq
///     awaited        INTEGER,       -- what the answer is awaited for: 0 ir, 7 kur, 24 certConf
///     attempt        INTEGER,
///     key            INTEGER,
///     pollId         INTEGER,       -- certReqId of pollReq
///     transactionID  OCTET STRING,
///     senderNonce    OCTET STRING,
///     request        CertReqMsg,
///     message        OCTET STRING,  -- as it was, or is about to be, sent
///     implicit       BOOLEAN,       -- implicitConfirm was asked for
///     spent          INTEGER,       -- seconds since the transaction began, without those between two lives
///     peerNonce      OCTET STRING,  -- of the answer before; may be empty
///     issued     [0] Issued OPTIONAL,
///     checkAfter [1] INTEGER OPTIONAL,  -- seconds; the message has been answered, and polling goes on then
///     signer     [2] Certificate OPTIONAL }  -- of the answer before
/// ```
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Record {
    pub(crate) version: u8,
    pub(crate) request_kind: u8,
    pub(crate) kind: u8,
    pub(crate) awaited: u8,
    pub(crate) attempt: u8,
    pub(crate) key: u32,
    pub(crate) poll_id: i64,
    pub(crate) transaction_id: OctetString,
    pub(crate) sender_nonce: OctetString,
    pub(crate) request: CertReqMsg,
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
        let awaits_request = self.awaited == self.request_kind && self.issued.is_none();
        let awaits_cert_conf = self.awaited == code(BodyType::CertConf) && self.issued.is_some();
        let polls = self.kind == code(BodyType::PollReq);
        matches!(self.request_kind, 0 | 7)
            && (awaits_request || awaits_cert_conf)
            && (polls || self.kind == self.awaited && self.check_after_s.is_none())
    }

    pub(crate) fn encode(&self) -> der::Result<Vec<u8>> {
        self.to_der()
    }
}

fn version_of(bytes: &[u8]) -> der::Result<u8> {
    let record = Raw::new(bytes)?;
    u8::decode(&mut SliceReader::new(record.value()?)?)
}

pub(crate) fn code(kind: BodyType) -> u8 {
    match kind {
        BodyType::Kur => 7,
        BodyType::CertConf => 24,
        BodyType::PollReq => 25,
        _ => 0,
    }
}

pub(crate) fn kind(code: u8) -> Result<BodyType, StateError> {
    match code {
        0 => Ok(BodyType::Ir),
        7 => Ok(BodyType::Kur),
        24 => Ok(BodyType::CertConf),
        25 => Ok(BodyType::PollReq),
        _ => Err(StateError::Malformed),
    }
}
