//! A transaction as it is kept over a loss of power. No secret is in it.

use alloc::vec::Vec;

use cmp_message::{BodyType, CertReqMsg, PkiStatusInfo, Raw};
use der::{Decode, Encode, Sequence, asn1::OctetString};

use crate::StateError;

/// The format of [`Record`].
const VERSION: u8 = 1;

/// ```text
/// Record ::= SEQUENCE {
///     version        INTEGER (1),
///     kind           INTEGER,       -- what `message` is: 0 ir, 7 kur, 24 certConf, 25 pollReq
///     awaited        INTEGER,       -- what the answer is awaited for: 0 ir, 7 kur, 24 certConf
///     attempt        INTEGER,
///     key            INTEGER,
///     pollId         INTEGER,       -- certReqId of pollReq
///     transactionID  OCTET STRING,
///     senderNonce    OCTET STRING,
///     request        CertReqMsg,
///     message        OCTET STRING,  -- as it was, or is about to be, sent
///     issued     [0] Issued OPTIONAL }
/// ```
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Record {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) awaited: u8,
    pub(crate) attempt: u8,
    pub(crate) key: u32,
    pub(crate) poll_id: i64,
    pub(crate) transaction_id: OctetString,
    pub(crate) sender_nonce: OctetString,
    pub(crate) request: CertReqMsg,
    pub(crate) message: OctetString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) issued: Option<IssuedRecord>,
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
        let record = Self::from_der(bytes).map_err(|_| StateError::Malformed)?;
        match record.version {
            VERSION => Ok(record),
            version => Err(StateError::Version(version)),
        }
    }

    pub(crate) fn encode(&self) -> der::Result<Vec<u8>> {
        self.to_der()
    }
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
