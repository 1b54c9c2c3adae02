//! What a transaction is given: who we are, whom we trust, how patient we are.

use alloc::vec::Vec;
use core::{fmt, time::Duration};

use cmp_message::{
    Raw,
    certificate::Certificate,
    crypto::{Crypto, SignatureAlgorithm},
    mac::Secret,
};
use const_oid::ObjectIdentifier;
use x509_cert::name::Name;

/// The two clocks of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Since any fixed point, for timers. Never goes back while the process lives.
    pub monotonic: Duration,
    /// Seconds since 1970, for validity and messageTime; `None` while the clock is not set.
    pub utc_s: Option<u64>,
}

/// Names a private key that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// How our messages are protected; the answers must be protected in the same way.
#[derive(Clone, Debug)]
pub enum Protection {
    /// By a signature. In a `kur` the certificate is the one that is updated (RFC 9483 §4.1.3).
    Signature {
        /// The key that signs.
        key: KeyId,
        /// How it signs.
        algorithm: SignatureAlgorithm,
        /// Its certificate, the first of extraCerts.
        certificate: Certificate,
        /// What follows in extraCerts: the certificates between it and an anchor of the RA.
        chain: Vec<Raw>,
    },
    /// By PasswordBasedMac with a shared secret (RFC 9483 §4.1.5).
    PasswordBasedMac {
        /// The secret's reference, which becomes senderKID.
        reference: Vec<u8>,
        /// The secret.
        secret: Secret,
    },
    /// By PBMAC1 with a shared secret (RFC 9483 §4.1.5, RFC 9481 §6.1.2).
    Pbmac1 {
        /// The secret's reference, which becomes senderKID.
        reference: Vec<u8>,
        /// The secret.
        secret: Secret,
    },
}

impl Protection {
    /// Reference and secret, where there is one.
    pub(crate) fn secret(&self) -> Option<(&[u8], &Secret)> {
        match self {
            Self::PasswordBasedMac { reference, secret } | Self::Pbmac1 { reference, secret } => {
                Some((reference, secret))
            }
            Self::Signature { .. } => None,
        }
    }
}

/// What becomes of a certificate with another subject than was asked for, when the RA said `grantedWithMods`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modifications {
    /// It is taken and reported.
    #[default]
    Accept,
    /// It is refused in certConf.
    Refuse,
}

/// What stays the same for all transactions with one RA. Share it in an [`Arc`](alloc::sync::Arc).
#[derive(Clone)]
pub struct Config {
    /// Verifies, hashes and computes MACs.
    pub crypto: &'static (dyn Crypto + Send + Sync),
    /// The name of the RA or CA; may be empty.
    pub recipient: Name,
    /// How our messages are protected.
    pub protection: Protection,
    /// Trust anchors for the RA, and for issued certificates unless [`issued_anchors`](Self::issued_anchors) is set.
    pub anchors: Vec<Certificate>,
    /// Intermediate certificates that are known beforehand.
    pub intermediates: Vec<Certificate>,
    /// An extended key usage that the RA's certificate must have, such as id-kp-cmcRA. `None`: any certificate under
    /// [`anchors`](Self::anchors) can speak for the RA, also that of another station if the anchor is theirs too.
    pub signer_usage: Option<ObjectIdentifier>,
    /// A signer that is one of these, or chains to one of them, may hand out new trust anchors in caPubs (RFC 9483 §4.1.1).
    /// Empty: caPubs under a signature are ignored and reported.
    pub anchor_signers: Vec<Certificate>,
    /// An issued certificate must chain to one of these. `None`: it is held against [`anchors`](Self::anchors), and a
    /// chain that leads nowhere is only reported.
    pub issued_anchors: Option<Vec<Certificate>>,
    /// Ask that no certConf be needed. The RA decides.
    pub implicit_confirm: bool,
    /// Take an `error` that is not protected for a refusal by the RA. Anybody on the way can make one: it never delays
    /// and never confirms anything.
    pub accept_unprotected_errors: bool,
    /// What becomes of a certificate that is not as asked.
    pub modifications: Modifications,
    /// Ends a transaction that takes longer than this, waiting included. `None`: it waits for as long as the RA wants.
    pub max_total_wait: Option<Duration>,
    /// How far messageTime of an answer may be off, in seconds; where it is set and the clock is, an answer must have a
    /// messageTime. `None`: not looked at.
    pub max_clock_skew_s: Option<u64>,
    /// Longer answers are refused unread, in bytes.
    pub max_message_bytes: usize,
}

impl Config {
    /// A configuration with the defaults: certConf is sent, unprotected errors are not believed, changes that the RA
    /// announces are taken, no signer hands out anchors, no limit of waiting, messageTime and extended key usage not looked
    /// at, answers up to 1 MiB.
    pub fn new(
        crypto: &'static (dyn Crypto + Send + Sync),
        recipient: Name,
        protection: Protection,
        anchors: Vec<Certificate>,
    ) -> Self {
        Self {
            crypto,
            recipient,
            protection,
            anchors,
            intermediates: Vec::new(),
            signer_usage: None,
            anchor_signers: Vec::new(),
            issued_anchors: None,
            implicit_confirm: false,
            accept_unprotected_errors: false,
            modifications: Modifications::Accept,
            max_total_wait: None,
            max_clock_skew_s: None,
            max_message_bytes: 1 << 20,
        }
    }

    /// Whether this certificate is a trust anchor, for the RA or for issued certificates.
    pub(crate) fn trusts(&self, root: &Certificate) -> bool {
        self.anchors.contains(root) || self.issued_anchors.iter().flatten().any(|anchor| anchor == root)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("protection", &self.protection)
            .field("anchors", &self.anchors.len())
            .field("implicit_confirm", &self.implicit_confirm)
            .finish_non_exhaustive()
    }
}
