//! PKIHeader (RFC 9810 §5.1.1).

use alloc::vec::Vec;
use der::{
    Decode, Sequence,
    asn1::{GeneralizedTime, ObjectIdentifier, OctetString},
};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{ext::pkix::name::GeneralName, name::Name};

use crate::{InfoTypeAndValue, PkiFreeText, general};

/// CMP version 2, `cmp2000` of RFC 4210: what a sender uses unless it needs version 3.
pub const CMP_2000: i64 = 2;
/// CMP version 3, `cmp2021`: needed for EnvelopedData and for certConf with hashAlg (RFC 9810 §7).
pub const CMP_2021: i64 = 3;

/// The header of each message.
///
/// ```text
/// PKIHeader ::= SEQUENCE {
///     pvno                INTEGER     { cmp1999(1), cmp2000(2), cmp2021(3) },
///     sender              GeneralName,
///     recipient           GeneralName,
///     messageTime     [0] GeneralizedTime         OPTIONAL,
///     protectionAlg   [1] AlgorithmIdentifier     OPTIONAL,
///     senderKID       [2] KeyIdentifier           OPTIONAL,
///     recipKID        [3] KeyIdentifier           OPTIONAL,
///     transactionID   [4] OCTET STRING            OPTIONAL,
///     senderNonce     [5] OCTET STRING            OPTIONAL,
///     recipNonce      [6] OCTET STRING            OPTIONAL,
///     freeText        [7] PKIFreeText             OPTIONAL,
///     generalInfo     [8] SEQUENCE SIZE (1..MAX) OF InfoTypeAndValue OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiHeader {
    /// Version: 2 or 3.
    pub pvno: i64,
    /// Who sends: the subject of the protection certificate.
    pub sender: GeneralName,
    /// To whom.
    pub recipient: GeneralName,
    /// When it was made.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub message_time: Option<GeneralizedTime>,
    /// How it is protected.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub protection_alg: Option<AlgorithmIdentifierOwned>,
    /// Key identifier of the protection certificate, or the reference of a shared secret.
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub sender_kid: Option<OctetString>,
    /// The recipient's key identifier.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub recip_kid: Option<OctetString>,
    /// The same in all messages of a transaction; 128 random bits.
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    pub transaction_id: Option<OctetString>,
    /// Fresh in each message; at least 128 random bits.
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub sender_nonce: Option<OctetString>,
    /// The senderNonce of the message that this one answers.
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    pub recip_nonce: Option<OctetString>,
    /// For a person.
    #[asn1(context_specific = "7", tag_mode = "EXPLICIT", optional = "true")]
    pub free_text: Option<PkiFreeText>,
    /// implicitConfirm, confirmWaitTime, certProfile and others.
    #[asn1(context_specific = "8", tag_mode = "EXPLICIT", optional = "true")]
    pub general_info: Option<Vec<InfoTypeAndValue>>,
}

impl PkiHeader {
    /// A header of version 2 with nothing but its two names.
    pub fn new(sender: Name, recipient: Name) -> Self {
        Self {
            pvno: CMP_2000,
            sender: GeneralName::DirectoryName(sender),
            recipient: GeneralName::DirectoryName(recipient),
            message_time: None,
            protection_alg: None,
            sender_kid: None,
            recip_kid: None,
            transaction_id: None,
            sender_nonce: None,
            recip_nonce: None,
            free_text: None,
            general_info: None,
        }
    }

    /// The sender where it is a directory name, as the profile wants it (RFC 9483 §3.1).
    pub fn sender_name(&self) -> Option<&Name> {
        directory_name(&self.sender)
    }

    /// The recipient where it is a directory name.
    pub fn recipient_name(&self) -> Option<&Name> {
        directory_name(&self.recipient)
    }

    /// The generalInfo entry of this type.
    pub fn info(&self, info_type: ObjectIdentifier) -> Option<&InfoTypeAndValue> {
        self.general_info
            .iter()
            .flatten()
            .find(|info| info.info_type == info_type)
    }

    /// Whether implicit confirmation is asked for, or granted (RFC 9810 §5.1.1.1).
    pub fn implicit_confirm(&self) -> bool {
        self.info(general::IMPLICIT_CONFIRM).is_some()
    }

    /// Until when the server waits for a certConf, in seconds since 1970 (RFC 9810 §5.1.1.2).
    pub fn confirm_wait_time(&self) -> Option<u64> {
        let value = self.info(general::CONFIRM_WAIT_TIME)?.info_value.as_ref()?;
        GeneralizedTime::from_der(value.as_bytes())
            .ok()
            .map(|time| time.to_unix_duration().as_secs())
    }
}

fn directory_name(name: &GeneralName) -> Option<&Name> {
    match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    }
}
