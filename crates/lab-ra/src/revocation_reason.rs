use std::str::FromStr;

/// Why a certificate is revoked: CRLReason (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// `unspecified`
    Unspecified = 0,
    /// `keyCompromise`
    KeyCompromise = 1,
    /// `cACompromise`
    CaCompromise = 2,
    /// `affiliationChanged`
    AffiliationChanged = 3,
    /// `superseded`
    Superseded = 4,
    /// `cessationOfOperation`
    CessationOfOperation = 5,
    /// `certificateHold`: for the time being.
    CertificateHold = 6,
    /// `removeFromCRL`: the end of a hold.
    RemoveFromCrl = 8,
    /// `privilegeWithdrawn`
    PrivilegeWithdrawn = 9,
    /// `aACompromise`
    AaCompromise = 10,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The name in the standard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::RemoveFromCrl => "removeFromCRL",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }

    /// The number in the standard.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// A word that is the name of no CRLReason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a CRLReason, such as keyCompromise")]
pub struct UnknownReason;

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        let reason = Self::ALL.into_iter().find(|reason| reason.name() == name);
        reason.ok_or(UnknownReason)
    }
}
