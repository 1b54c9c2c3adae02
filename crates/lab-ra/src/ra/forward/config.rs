use cmp_message::certificate::Certificate;

/// How an RA passes messages on (RFC 9483 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Byte for byte (§5.2.1).
    Unchanged,
    /// Inside a nested message with the RA's protection around it (§5.2.2).
    Nested,
    /// With the RA's protection instead of the end entity's, and the other way round (§5.2.3.1).
    Replaced,
    /// Like [`Replaced`](Self::Replaced); the proof of possession in ir and cr becomes raVerified (§5.2.3.2).
    RaVerified,
}

impl Forward {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Unchanged, Self::Nested, Self::Replaced, Self::RaVerified];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Nested => "nested",
            Self::Replaced => "replaced",
            Self::RaVerified => "ra-verified",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether end entities get answers with the RA's protection.
    pub(crate) fn replaces(self) -> bool {
        matches!(self, Self::Replaced | Self::RaVerified)
    }
}

/// What an RA in front of another server does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardConfig {
    /// How messages are passed on.
    pub forward: Forward,
    /// The way to the server behind is slow: end entities are told to poll at once, with this checkAfter.
    pub delayed_check_after_s: Option<u32>,
    /// Messages go together in a nested message; only with [`Forward::Nested`].
    pub batch: Option<Batch>,
    /// Becomes the one organization (O) in the subject of ir and cr; only with [`Forward::RaVerified`].
    pub organization: Option<String>,
    /// Who protects the answers of the server behind, beside the RA's own CA: its certificate, or a CA's.
    pub upstream_anchors: Vec<Certificate>,
    /// The path behind takes a profile: `/p/PROFILE` is put behind it (RFC 9811 §3.3).
    pub profile_paths: bool,
    /// What becomes of signers whose revocation is not known.
    pub without_crl: WithoutCrl,
    /// How long an answer of the server behind is waited for while the end entity waits too.
    pub patience_s: u64,
    /// How long an end entity may take to go on, and an answer to come in a file.
    pub keep_s: u64,
}

impl Default for ForwardConfig {
    /// Unchanged and at once; 600 s of patience, and everything kept for 30 days.
    fn default() -> Self {
        Self {
            forward: Forward::Unchanged,
            delayed_check_after_s: None,
            batch: None,
            organization: None,
            upstream_anchors: Vec::new(),
            profile_paths: false,
            without_crl: WithoutCrl::Accept,
            patience_s: 600,
            keep_s: 30 * 86_400,
        }
    }
}

/// What becomes of a request whose signer's CA has no CRL here that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutCrl {
    /// It is refused.
    Refuse,
    /// It is refused if that CA is the RA's own; of manufacturers there may be no CRLs.
    RefuseOwn,
    /// It passes.
    Accept,
}

/// How many messages go together (RFC 9483 §5.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At most; from 2 to 100.
    pub messages: u32,
    /// How long the first one waits for others.
    pub wait_s: u32,
}
