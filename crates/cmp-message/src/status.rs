//! PKIStatusInfo, PKIStatus and PKIFailureInfo (RFC 9810 §5.2.3).

use alloc::{string::String, vec::Vec};
use core::fmt;
use der::{
    DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Sequence, Tag, Writer, asn1::BitString,
};

/// Free text for a person, in one or more UTF-8 strings.
///
/// ```text
/// PKIFreeText ::= SEQUENCE SIZE (1..MAX) OF UTF8String
/// ```
pub type PkiFreeText = Vec<String>;

/// `PKIStatus`: what became of a request. Values beyond 6 are kept, so that they can be named in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PkiStatus(pub i64);

impl PkiStatus {
    /// Granted exactly as asked.
    pub const ACCEPTED: Self = Self(0);
    /// Granted with changes; the requester is to check them.
    pub const GRANTED_WITH_MODS: Self = Self(1);
    /// Refused.
    pub const REJECTION: Self = Self(2);
    /// Not decided yet: poll.
    pub const WAITING: Self = Self(3);
    /// A revocation is about to happen.
    pub const REVOCATION_WARNING: Self = Self(4);
    /// A revocation has happened.
    pub const REVOCATION_NOTIFICATION: Self = Self(5);
    /// The certificate of the oldCertId is already updated.
    pub const KEY_UPDATE_WARNING: Self = Self(6);

    /// The name of the standard, or `unknown`.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "accepted",
            1 => "grantedWithMods",
            2 => "rejection",
            3 => "waiting",
            4 => "revocationWarning",
            5 => "revocationNotification",
            6 => "keyUpdateWarning",
            _ => "unknown",
        }
    }
}

impl fmt::Display for PkiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "unknown" => write!(f, "unknown status {}", self.0),
            name => f.write_str(name),
        }
    }
}

macro_rules! pki_failures {
    ($($variant:ident = $bit:literal, $name:literal;)+) => {
        /// One reason of `PKIFailureInfo`; the discriminant is the number of its bit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum PkiFailure {
            $(#[doc = concat!("`", $name, "`")] $variant = $bit,)+
        }

        impl PkiFailure {
            /// Every reason, by bit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the standard.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

pki_failures! {
    BadAlg = 0, "badAlg";
    BadMessageCheck = 1, "badMessageCheck";
    BadRequest = 2, "badRequest";
    BadTime = 3, "badTime";
    BadCertId = 4, "badCertId";
    BadDataFormat = 5, "badDataFormat";
    WrongAuthority = 6, "wrongAuthority";
    IncorrectData = 7, "incorrectData";
    MissingTimeStamp = 8, "missingTimeStamp";
    BadPop = 9, "badPOP";
    CertRevoked = 10, "certRevoked";
    CertConfirmed = 11, "certConfirmed";
    WrongIntegrity = 12, "wrongIntegrity";
    BadRecipientNonce = 13, "badRecipientNonce";
    TimeNotAvailable = 14, "timeNotAvailable";
    UnacceptedPolicy = 15, "unacceptedPolicy";
    UnacceptedExtension = 16, "unacceptedExtension";
    AddInfoNotAvailable = 17, "addInfoNotAvailable";
    BadSenderNonce = 18, "badSenderNonce";
    BadCertTemplate = 19, "badCertTemplate";
    SignerNotTrusted = 20, "signerNotTrusted";
    TransactionIdInUse = 21, "transactionIdInUse";
    UnsupportedVersion = 22, "unsupportedVersion";
    NotAuthorized = 23, "notAuthorized";
    SystemUnavail = 24, "systemUnavail";
    SystemFailure = 25, "systemFailure";
    DuplicateCertReq = 26, "duplicateCertReq";
}

impl fmt::Display for PkiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `PKIFailureInfo`: a set of reasons. A BIT STRING of named bits on the wire; bits that no standard names yet are
/// kept up to number 31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PkiFailureInfo(u32);

impl PkiFailureInfo {
    /// The reasons that are set and that the standard names.
    pub fn iter(self) -> impl Iterator<Item = PkiFailure> {
        PkiFailure::ALL
            .iter()
            .copied()
            .filter(move |failure| self.contains(*failure))
    }

    /// Whether `failure` is set.
    pub fn contains(self, failure: PkiFailure) -> bool {
        self.0 & (1 << failure as u32) != 0
    }
}

impl From<PkiFailure> for PkiFailureInfo {
    fn from(failure: PkiFailure) -> Self {
        Self(1 << failure as u32)
    }
}

impl fmt::Display for PkiFailureInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, failure) in self.iter().enumerate() {
            write!(f, "{}{failure}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What became of a request, why, and a text for a person.
///
/// ```text
/// PKIStatusInfo ::= SEQUENCE {
///     status        PKIStatus,
///     statusString  PKIFreeText     OPTIONAL,
///     failInfo      PKIFailureInfo  OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiStatusInfo {
    /// What became of it.
    pub status: PkiStatus,
    /// For a person.
    pub status_string: Option<PkiFreeText>,
    /// The reasons, when it was refused.
    pub fail_info: Option<PkiFailureInfo>,
}

impl PkiStatusInfo {
    /// `accepted`, with nothing to add.
    pub fn accepted() -> Self {
        PkiStatus::ACCEPTED.into()
    }

    /// A refusal with its reason and a text.
    pub fn rejection(failure: PkiFailure, text: &str) -> Self {
        Self {
            status: PkiStatus::REJECTION,
            status_string: (!text.is_empty()).then(|| alloc::vec![text.into()]),
            fail_info: Some(failure.into()),
        }
    }

    /// Whether `failure` is among the reasons.
    pub fn contains(&self, failure: PkiFailure) -> bool {
        self.fail_info.as_ref().is_some_and(|info| info.contains(failure))
    }
}

impl From<PkiStatus> for PkiStatusInfo {
    fn from(status: PkiStatus) -> Self {
        Self {
            status,
            status_string: None,
            fail_info: None,
        }
    }
}

/// `rejection (badPOP): the signature does not verify`.
impl fmt::Display for PkiStatusInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(info) = &self.fail_info {
            write!(f, " ({info})")?;
        }
        for (n, text) in self.status_string.iter().flatten().enumerate() {
            write!(f, "{}", if n == 0 { ": " } else { " | " })?;
            write_printable(f, text)?;
        }
        Ok(())
    }
}

/// Writes a text of the peer without control characters and at most 200 characters of it.
pub(crate) fn write_printable(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for c in text.chars().take(200) {
        f.write_char(if c.is_control() { ' ' } else { c })?;
    }
    if text.chars().nth(200).is_some() {
        f.write_str(" …")?;
    }
    Ok(())
}

impl FixedTag for PkiStatus {
    const TAG: Tag = Tag::Integer;
}

impl<'a> DecodeValue<'a> for PkiStatus {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        i64::decode_value(reader, header).map(Self)
    }
}

impl EncodeValue for PkiStatus {
    fn value_len(&self) -> der::Result<Length> {
        self.0.value_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.0.encode_value(writer)
    }
}

impl PkiFailureInfo {
    /// DER of a BIT STRING with named bits: no zero bits at its end.
    fn bit_string(self) -> der::Result<BitString> {
        let bits = 32 - self.0.leading_zeros();
        let octets = self.0.reverse_bits().to_be_bytes();
        let octets = octets
            .into_iter()
            .take(bits.div_ceil(8) as usize)
            .collect::<Vec<u8>>();
        BitString::new((octets.len() * 8 - bits as usize) as u8, octets)
    }
}

impl FixedTag for PkiFailureInfo {
    const TAG: Tag = Tag::BitString;
}

impl<'a> DecodeValue<'a> for PkiFailureInfo {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let bits = BitString::decode_value(reader, header)?;
        let set = bits.bits().take(32).enumerate().filter(|(_, bit)| *bit);
        Ok(Self(set.fold(0, |all, (n, _)| all | 1 << n)))
    }
}

impl EncodeValue for PkiFailureInfo {
    fn value_len(&self) -> der::Result<Length> {
        self.bit_string()?.value_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.bit_string()?.encode_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use der::{Decode, Encode};

    #[test]
    fn each_failure_is_its_own_bit_and_survives_encoding() {
        for failure in PkiFailure::ALL {
            let info = PkiFailureInfo::from(*failure);
            let again = PkiFailureInfo::from_der(&info.to_der().unwrap()).unwrap();
            assert_eq!(again.iter().collect::<Vec<_>>(), [*failure]);
        }
    }

    #[test]
    fn a_rejection_reads_as_a_sentence_and_control_characters_do_not_reach_the_terminal() {
        let info = PkiStatusInfo::rejection(PkiFailure::BadPop, "no\u{1b}[2J luck");
        assert_eq!(info.to_string(), "rejection (badPOP): no [2J luck");
    }
}
