//! The generic validation of a received message (RFC 9483 §3.5): one function, one error for each check.

use alloc::vec::Vec;
use core::{fmt, slice};
use der::{Encode, asn1::ObjectIdentifier};
use x509_cert::ext::pkix::name::GeneralName;

use crate::{
    BodyType, CMP_2000, CMP_2021, PkiFailure, PkiHeader, PkiMessage, Raw,
    certificate::{Certificate, names_match},
    crypto::{Crypto, CryptoError, SignatureAlgorithm},
    general,
    mac::{MacAlgorithm, MacError, Secret},
    path::{self, PathError, PathRequest},
};

/// Nonces and transaction identifiers have at least this many bytes (RFC 9810 §5.1.1): 128 bits.
pub const MIN_NONCE_BYTES: usize = 16;
/// Nonces and transaction identifiers that are longer are refused.
pub const MAX_NONCE_BYTES: usize = 64;
/// Certificates that are taken from extraCerts at most.
pub const MAX_EXTRA_CERTS: usize = 16;

/// Where in its transaction a message must be.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// It begins a transaction: no recipNonce.
    First,
    /// It answers a message of ours.
    Answer {
        /// The transactionID of the transaction.
        transaction_id: &'a [u8],
        /// The senderNonce of our last message.
        sender_nonce: &'a [u8],
    },
    /// It ends a delay: an RA with a CA behind it passes on what the CA had answered to the message that was delayed, so that
    /// its recipNonce names either that message or the last pollReq (RFC 9483 §3.1, §4.4).
    Delivery {
        /// The transactionID of the transaction.
        transaction_id: &'a [u8],
        /// The senderNonce of our last pollReq.
        poll_nonce: &'a [u8],
        /// The senderNonce of our message that was delayed.
        delayed_nonce: &'a [u8],
    },
}

impl<'a> Stage<'a> {
    /// The transactionID, and the nonces of which an answer must name one; `None` for a first message.
    fn ours(self) -> Option<(&'a [u8], [&'a [u8]; 2])> {
        match self {
            Self::First => None,
            Self::Answer {
                transaction_id,
                sender_nonce,
            } => Some((transaction_id, [sender_nonce; 2])),
            Self::Delivery {
                transaction_id,
                poll_nonce,
                delayed_nonce,
            } => Some((transaction_id, [poll_nonce, delayed_nonce])),
        }
    }
}

/// Which protection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// A signature or a MAC, whichever has what it needs.
    Any,
    /// A signature: a MAC is an error.
    Signature,
    /// A MAC: a signature is an error.
    Mac,
}

/// Finds the shared secret of a reference, which is the senderKID.
pub type SecretLookup<'a> = dyn Fn(Option<&[u8]>) -> Option<&'a Secret> + 'a;

/// What a message is held against.
pub struct Context<'a> {
    /// Verifies and computes MACs.
    pub crypto: &'a dyn Crypto,
    /// Seconds since 1970; `None` where the clock is not set: then no validity is checked.
    pub now_s: Option<u64>,
    /// Where in its transaction the message must be.
    pub stage: Stage<'a>,
    /// Which protection is taken.
    pub accept: Accept,
    /// Trust anchors for signers.
    pub anchors: &'a [Certificate],
    /// Intermediate certificates that are known beforehand.
    pub intermediates: &'a [Certificate],
    /// An extended key usage that the signer must have.
    pub signer_usage: Option<ObjectIdentifier>,
    /// The signer of an earlier message of the transaction, validated then: used where extraCerts is absent. Its path is
    /// not validated again, only its own validity.
    pub known_signer: Option<&'a Certificate>,
    /// Shared secrets.
    pub secret: &'a SecretLookup<'a>,
    /// An unprotected `error` is let through, as [`Authenticated::Unprotected`]. It proves nothing.
    pub unprotected_errors: bool,
    /// How far messageTime may be off, in seconds; `None`: not looked at.
    pub max_clock_skew_s: Option<u64>,
}

/// Who sent a message, as far as it is proven.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and nearly always it is the large one"
)]
pub enum Authenticated {
    /// The holder of this certificate's key, which chains to an anchor.
    Signer(Certificate),
    /// A holder of the shared secret of this reference.
    Mac(Option<Vec<u8>>),
    /// Nobody knows.
    Unprotected,
}

/// Which check of RFC 9483 §3.5 a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValidationError {
    /// pvno is neither 2 nor 3.
    UnsupportedVersion(i64),
    /// There is no transactionID.
    MissingTransactionId,
    /// The transactionID is shorter than 128 bits, or very long.
    TransactionIdLength(usize),
    /// The transactionID is that of another transaction.
    WrongTransactionId,
    /// There is no senderNonce.
    MissingSenderNonce,
    /// The senderNonce is shorter than 128 bits, or very long.
    SenderNonceLength(usize),
    /// The peer's senderNonce is ours, mirrored.
    ReusedSenderNonce,
    /// There is a recipNonce in a first message.
    UnexpectedRecipNonce,
    /// There is no recipNonce in an answer.
    MissingRecipNonce,
    /// The recipNonce is not the senderNonce of a message that this one may answer.
    WrongRecipNonce,
    /// messageTime is this many seconds away from the clock here.
    MessageTime(u64),
    /// There is a confirmWaitTime and no messageTime.
    MissingMessageTime,
    /// implicitConfirm and confirmWaitTime are both there.
    ImplicitConfirmWithWaitTime,
    /// There is neither protection nor protectionAlg.
    MissingProtection,
    /// protectionAlg without protection.
    ProtectionValueMissing,
    /// protection without protectionAlg.
    ProtectionAlgorithmMissing,
    /// protectionAlg is not known.
    UnknownProtectionAlgorithm(ObjectIdentifier),
    /// It is protected by a signature where a MAC is wanted, or the other way round.
    WrongProtectionKind,
    /// The parameters of the MAC are not accepted.
    Mac(MacError),
    /// There is no secret for the reference in senderKID.
    UnknownSecret,
    /// The MAC is wrong: another secret, or the message was changed.
    WrongMac,
    /// There is no protection certificate: extraCerts is empty.
    MissingExtraCerts,
    /// There are more than [`MAX_EXTRA_CERTS`] certificates.
    TooManyExtraCerts(usize),
    /// The first certificate of extraCerts cannot be read.
    MalformedSigner,
    /// The sender is not a directory name.
    SenderNotDirectoryName,
    /// The sender is not the subject of the protection certificate, the first of extraCerts.
    SenderIsNotSigner,
    /// senderKID is not the subjectKeyIdentifier of the protection certificate.
    SenderKidIsNotSigner,
    /// The protection certificate does not chain to an anchor.
    SignerNotTrusted(PathError),
    /// The signature is wrong: another key, or the message was changed.
    WrongSignature,
    /// The signature cannot be checked.
    Crypto(CryptoError),
    /// The message cannot be encoded again.
    Encoding,
}

impl ValidationError {
    /// Where the rule stands that was broken.
    pub fn section(&self) -> &'static str {
        match self {
            Self::UnsupportedVersion(_)
            | Self::MissingTransactionId
            | Self::TransactionIdLength(_)
            | Self::WrongTransactionId
            | Self::MissingSenderNonce
            | Self::SenderNonceLength(_)
            | Self::ReusedSenderNonce
            | Self::UnexpectedRecipNonce
            | Self::MissingRecipNonce
            | Self::WrongRecipNonce
            | Self::MessageTime(_)
            | Self::MissingMessageTime
            | Self::ImplicitConfirmWithWaitTime
            | Self::SenderNotDirectoryName
            | Self::SenderIsNotSigner
            | Self::SenderKidIsNotSigner => "RFC 9483 §3.1",
            Self::MissingProtection
            | Self::ProtectionValueMissing
            | Self::ProtectionAlgorithmMissing
            | Self::UnknownProtectionAlgorithm(_)
            | Self::WrongProtectionKind
            | Self::Mac(_)
            | Self::UnknownSecret
            | Self::WrongMac
            | Self::WrongSignature
            | Self::Crypto(_) => "RFC 9483 §3.2",
            Self::MissingExtraCerts
            | Self::TooManyExtraCerts(_)
            | Self::MalformedSigner
            | Self::SignerNotTrusted(_) => "RFC 9483 §3.3",
            Self::Encoding => "RFC 9810 §5.1",
        }
    }

    /// What goes into failInfo when this is reported to the sender.
    pub fn fail_info(&self) -> PkiFailure {
        match self {
            Self::UnsupportedVersion(_) => PkiFailure::UnsupportedVersion,
            Self::MissingTransactionId | Self::TransactionIdLength(_) | Self::Encoding => {
                PkiFailure::BadDataFormat
            }
            Self::WrongTransactionId | Self::ImplicitConfirmWithWaitTime => PkiFailure::BadRequest,
            Self::MissingSenderNonce | Self::SenderNonceLength(_) | Self::ReusedSenderNonce => {
                PkiFailure::BadSenderNonce
            }
            Self::UnexpectedRecipNonce | Self::MissingRecipNonce | Self::WrongRecipNonce => {
                PkiFailure::BadRecipientNonce
            }
            Self::MessageTime(_) | Self::MissingMessageTime => PkiFailure::BadTime,
            Self::UnknownProtectionAlgorithm(_) | Self::Mac(_) => PkiFailure::BadAlg,
            Self::Crypto(
                CryptoError::UnsupportedAlgorithm | CryptoError::UnsupportedKey | CryptoError::WeakKey,
            ) => PkiFailure::BadAlg,
            Self::WrongProtectionKind => PkiFailure::WrongIntegrity,
            Self::SignerNotTrusted(_) => PkiFailure::SignerNotTrusted,
            Self::MissingProtection
            | Self::ProtectionValueMissing
            | Self::ProtectionAlgorithmMissing
            | Self::UnknownSecret
            | Self::WrongMac
            | Self::MissingExtraCerts
            | Self::TooManyExtraCerts(_)
            | Self::MalformedSigner
            | Self::SenderNotDirectoryName
            | Self::SenderIsNotSigner
            | Self::SenderKidIsNotSigner
            | Self::WrongSignature
            | Self::Crypto(_) => PkiFailure::BadMessageCheck,
        }
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::UnsupportedVersion(pvno) => return write!(f, "pvno {pvno} is not supported, 2 and 3 are"),
            Self::MissingTransactionId => "there is no transactionID",
            Self::TransactionIdLength(n) => {
                return write!(f, "the transactionID has {n} bytes, not 16 to 64");
            }
            Self::WrongTransactionId => "the transactionID is not that of this transaction",
            Self::MissingSenderNonce => "there is no senderNonce",
            Self::SenderNonceLength(n) => return write!(f, "the senderNonce has {n} bytes, not 16 to 64"),
            Self::ReusedSenderNonce => "the senderNonce is the one that we sent",
            Self::UnexpectedRecipNonce => "there is a recipNonce in the first message of a transaction",
            Self::MissingRecipNonce => "there is no recipNonce",
            Self::WrongRecipNonce => "the recipNonce is not the senderNonce of our last message",
            Self::MessageTime(s) => return write!(f, "messageTime is {s} s away from the clock here"),
            Self::MissingMessageTime => "confirmWaitTime is there without messageTime",
            Self::ImplicitConfirmWithWaitTime => "implicitConfirm and confirmWaitTime exclude each other",
            Self::MissingProtection => "the message is not protected",
            Self::ProtectionValueMissing => "there is a protectionAlg and no protection",
            Self::ProtectionAlgorithmMissing => "there is a protection and no protectionAlg",
            Self::UnknownProtectionAlgorithm(oid) => {
                return write!(f, "the protection algorithm {oid} is not supported");
            }
            Self::WrongProtectionKind => {
                "the message has a MAC where a signature is wanted, or a signature where a MAC is wanted"
            }
            Self::Mac(error) => return error.fmt(f),
            Self::UnknownSecret => "there is no shared secret for the reference in senderKID",
            Self::WrongMac => "the MAC is wrong: the shared secret differs, or the message was changed",
            Self::MissingExtraCerts => "the protection certificate is missing: extraCerts is empty",
            Self::TooManyExtraCerts(n) => {
                return write!(f, "there are {n} extraCerts, more than {MAX_EXTRA_CERTS}");
            }
            Self::MalformedSigner => "the first of extraCerts is not a certificate that can be read",
            Self::SenderNotDirectoryName => "the sender is not a directory name",
            Self::SenderIsNotSigner => {
                "the sender is not the subject of the protection certificate, the first of extraCerts"
            }
            Self::SenderKidIsNotSigner => "senderKID is not the key identifier of the protection certificate",
            Self::SignerNotTrusted(error) => {
                return write!(f, "the protection certificate is not trusted: {error}");
            }
            Self::WrongSignature => {
                "the signature is wrong: the protection certificate is another's, or the message was changed"
            }
            Self::Crypto(error) => return write!(f, "the protection cannot be checked: {error}"),
            Self::Encoding => "the message cannot be encoded again",
        };
        f.write_str(text)
    }
}

impl core::error::Error for ValidationError {}

/// Carries out the checks of RFC 9483 §3.5 that are the same for every message: version, transaction, nonces, time,
/// protection and its signer. What a body must be, and whether a transactionID is in use, the caller knows.
///
/// # Errors
/// The first check that failed; the cheap ones come first.
pub fn validate(message: &PkiMessage, context: &Context<'_>) -> Result<Authenticated, ValidationError> {
    let header = &message.header;
    check_header(header, context)?;
    let (algorithm, value) = match (&header.protection_alg, &message.protection) {
        (Some(algorithm), Some(value)) => (algorithm, value),
        (Some(_), None) => return Err(ValidationError::ProtectionValueMissing),
        (None, Some(_)) => return Err(ValidationError::ProtectionAlgorithmMissing),
        (None, None) if context.unprotected_errors && message.body.body_type() == BodyType::Error => {
            return Ok(Authenticated::Unprotected);
        }
        (None, None) => return Err(ValidationError::MissingProtection),
    };
    let value = value.as_bytes().ok_or(ValidationError::ProtectionValueMissing)?;
    if MacAlgorithm::is_mac(algorithm) {
        if context.accept == Accept::Signature {
            return Err(ValidationError::WrongProtectionKind);
        }
        let algorithm = MacAlgorithm::from_algorithm_identifier(algorithm).map_err(ValidationError::Mac)?;
        return check_mac(message, context, &algorithm, value);
    }
    let identifier = algorithm.to_der().map_err(|_| ValidationError::Encoding)?;
    let algorithm = der::Decode::from_der(&identifier)
        .ok()
        .and_then(|id| SignatureAlgorithm::from_algorithm_identifier(&id).ok())
        .ok_or(ValidationError::UnknownProtectionAlgorithm(algorithm.oid))?;
    if context.accept == Accept::Mac {
        return Err(ValidationError::WrongProtectionKind);
    }
    check_signature(message, context, algorithm, value)
}

fn check_header(header: &PkiHeader, context: &Context<'_>) -> Result<(), ValidationError> {
    if !(CMP_2000..=CMP_2021).contains(&header.pvno) {
        return Err(ValidationError::UnsupportedVersion(header.pvno));
    }
    let lengths = MIN_NONCE_BYTES..=MAX_NONCE_BYTES;
    let transaction_id = header
        .transaction_id
        .as_ref()
        .ok_or(ValidationError::MissingTransactionId)?;
    if !lengths.contains(&transaction_id.as_bytes().len()) {
        return Err(ValidationError::TransactionIdLength(
            transaction_id.as_bytes().len(),
        ));
    }
    let sender_nonce = header
        .sender_nonce
        .as_ref()
        .ok_or(ValidationError::MissingSenderNonce)?;
    if !lengths.contains(&sender_nonce.as_bytes().len()) {
        return Err(ValidationError::SenderNonceLength(sender_nonce.as_bytes().len()));
    }
    match (context.stage.ours(), &header.recip_nonce) {
        (None, None) => {}
        (None, Some(_)) => return Err(ValidationError::UnexpectedRecipNonce),
        (Some(_), None) => return Err(ValidationError::MissingRecipNonce),
        (Some((ours, nonces)), Some(recip_nonce)) => {
            if transaction_id.as_bytes() != ours {
                return Err(ValidationError::WrongTransactionId);
            }
            if !nonces.contains(&recip_nonce.as_bytes()) {
                return Err(ValidationError::WrongRecipNonce);
            }
            if nonces.contains(&sender_nonce.as_bytes()) {
                return Err(ValidationError::ReusedSenderNonce);
            }
        }
    }
    if header.implicit_confirm() && header.info(general::CONFIRM_WAIT_TIME).is_some() {
        return Err(ValidationError::ImplicitConfirmWithWaitTime);
    }
    if header.info(general::CONFIRM_WAIT_TIME).is_some() && header.message_time.is_none() {
        return Err(ValidationError::MissingMessageTime);
    }
    if let (Some(time), Some(now), Some(skew)) =
        (header.message_time, context.now_s, context.max_clock_skew_s)
    {
        let off = time.to_unix_duration().as_secs().abs_diff(now);
        if off > skew {
            return Err(ValidationError::MessageTime(off));
        }
    }
    Ok(())
}

fn check_mac(
    message: &PkiMessage,
    context: &Context<'_>,
    algorithm: &MacAlgorithm,
    value: &[u8],
) -> Result<Authenticated, ValidationError> {
    let reference = message.header.sender_kid.as_ref().map(|kid| kid.as_bytes());
    let secret = (context.secret)(reference).ok_or(ValidationError::UnknownSecret)?;
    let input = message.protected_part().map_err(|_| ValidationError::Encoding)?;
    match algorithm.verify(context.crypto, secret, &input, value) {
        Ok(true) => Ok(Authenticated::Mac(reference.map(Into::into))),
        Ok(false) => Err(ValidationError::WrongMac),
        Err(error) => Err(ValidationError::Crypto(error)),
    }
}

fn check_signature(
    message: &PkiMessage,
    context: &Context<'_>,
    algorithm: SignatureAlgorithm,
    value: &[u8],
) -> Result<Authenticated, ValidationError> {
    let extra_certs = message.extra_certs.as_deref().unwrap_or_default();
    if extra_certs.len() > MAX_EXTRA_CERTS {
        return Err(ValidationError::TooManyExtraCerts(extra_certs.len()));
    }
    let known = context.known_signer.filter(|known| {
        extra_certs
            .first()
            .is_none_or(|first| first.as_bytes() == known.as_der())
    });
    let signer = match (known, extra_certs.first()) {
        (Some(known), _) => known.clone(),
        (None, Some(first)) => {
            Certificate::from_der(first.as_bytes()).map_err(|_| ValidationError::MalformedSigner)?
        }
        (None, None) => return Err(ValidationError::MissingExtraCerts),
    };
    check_sender(&message.header, &signer)?;
    let input = message.protected_part().map_err(|_| ValidationError::Encoding)?;
    context
        .crypto
        .verify(algorithm, signer.public_key(), &input, value)
        .map_err(|error| match error {
            CryptoError::BadSignature => ValidationError::WrongSignature,
            other => ValidationError::Crypto(other),
        })?;
    check_trust(&signer, known, extra_certs.get(1..).unwrap_or_default(), context)?;
    Ok(Authenticated::Signer(signer))
}

fn check_sender(header: &PkiHeader, signer: &Certificate) -> Result<(), ValidationError> {
    let GeneralName::DirectoryName(sender) = &header.sender else {
        return Err(ValidationError::SenderNotDirectoryName);
    };
    let sender = sender.to_der().map_err(|_| ValidationError::Encoding)?;
    if !names_match(&sender, signer.subject()) {
        return Err(ValidationError::SenderIsNotSigner);
    }
    match (&header.sender_kid, signer.subject_key_identifier()) {
        (Some(kid), Some(ski)) if kid.as_bytes() != ski => Err(ValidationError::SenderKidIsNotSigner),
        _ => Ok(()),
    }
}

fn check_trust(
    signer: &Certificate,
    known: Option<&Certificate>,
    others: &[Raw],
    context: &Context<'_>,
) -> Result<(), ValidationError> {
    if let Some(known) = known {
        // A path takes longer than all the rest: it is walked once in a transaction.
        let mut request = PathRequest::new(signer, slice::from_ref(known), context.now_s.into());
        request.check_anchor_validity = true;
        request.ext_key_usage = context.signer_usage;
        return trusted(&request, context);
    }
    // What cannot be read leads nowhere, and need not.
    let received = others
        .iter()
        .filter_map(|der| Certificate::from_der(der.as_bytes()).ok());
    let room = path::MAX_UNTRUSTED_CERTIFICATES;
    let untrusted: Vec<_> = context
        .intermediates
        .iter()
        .cloned()
        .chain(received)
        .take(room)
        .collect();
    let mut request = PathRequest::new(signer, context.anchors, context.now_s.into());
    request.untrusted = &untrusted;
    request.ext_key_usage = context.signer_usage;
    trusted(&request, context)
}

fn trusted(request: &PathRequest<'_>, context: &Context<'_>) -> Result<(), ValidationError> {
    let path = request.validate(context.crypto);
    path.map(|_| ()).map_err(ValidationError::SignerNotTrusted)
}
