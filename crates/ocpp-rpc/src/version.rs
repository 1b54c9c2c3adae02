//! The versions of OCPP and their WebSocket subprotocols.

use core::fmt;

/// A version of OCPP that is spoken over JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// OCPP 1.6, subprotocol `ocpp1.6`.
    V1_6,
    /// OCPP 2.0.1, subprotocol `ocpp2.0.1`.
    V2_0_1,
    /// OCPP 2.1, subprotocol `ocpp2.1`.
    V2_1,
}

impl Version {
    /// All versions, the newest first.
    pub const ALL: [Self; 3] = [Self::V2_1, Self::V2_0_1, Self::V1_6];

    /// The name registered for `Sec-WebSocket-Protocol`.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_6 => "ocpp1.6",
            Self::V2_0_1 => "ocpp2.0.1",
            Self::V2_1 => "ocpp2.1",
        }
    }

    /// The version of a subprotocol name; the case of letters is not looked at.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.subprotocol().eq_ignore_ascii_case(name))
    }

    /// Whether the message types CALLRESULTERROR and SEND exist (OCPP 2.1 Part 4, section 4.2).
    #[must_use]
    pub const fn has_send(self) -> bool {
        matches!(self, Self::V2_1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_6 => "1.6",
            Self::V2_0_1 => "2.0.1",
            Self::V2_1 => "2.1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_found_by_its_subprotocol() {
        for version in Version::ALL {
            assert_eq!(Version::from_subprotocol(version.subprotocol()), Some(version));
        }
        assert_eq!(Version::from_subprotocol("OCPP2.0.1"), Some(Version::V2_0_1));
        assert_eq!(Version::from_subprotocol("ocpp2.0"), None);
    }
}
