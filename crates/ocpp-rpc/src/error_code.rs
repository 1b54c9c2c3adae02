//! The error codes of CALLERROR and CALLRESULTERROR.

use crate::Version;

/// An error code of OCPP-J (1.6-J section 4.2.3 table 7, 2.x Part 4 section 4.3).
///
/// The versions differ in spelling and in what exists; [`ErrorCode::name`] gives what a version understands and
/// [`ErrorCode::from_name`] takes all spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The payload is syntactically incorrect or, in 1.6, not conform to the structure of the action (1.6:
    /// `FormationViolation`).
    FormatViolation,
    /// Any other error.
    GenericError,
    /// The receiver failed while it was working.
    InternalError,
    /// The message type number is not supported (2.x).
    MessageTypeNotSupported,
    /// The action is not known.
    NotImplemented,
    /// The action is known and not supported.
    NotSupported,
    /// A field is there too often or not often enough (1.6: `OccurenceConstraintViolation`).
    OccurrenceConstraintViolation,
    /// A field has a value that it must not have.
    PropertyConstraintViolation,
    /// The payload is incomplete (1.6), or not conform to the structure of the action (2.x).
    ProtocolError,
    /// The content is no valid RPC request, such as an unreadable message id (2.x).
    RpcFrameworkError,
    /// A security issue keeps the receiver from going on.
    SecurityError,
    /// A field has the wrong data type.
    TypeConstraintViolation,
}

impl ErrorCode {
    /// How `version` writes this code; one that a version lacks becomes the nearest that it has.
    #[must_use]
    pub const fn name(self, version: Version) -> &'static str {
        let v1_6 = matches!(version, Version::V1_6);
        match self {
            Self::FormatViolation if v1_6 => "FormationViolation",
            Self::FormatViolation => "FormatViolation",
            Self::GenericError => "GenericError",
            Self::InternalError => "InternalError",
            Self::MessageTypeNotSupported if v1_6 => "GenericError",
            Self::MessageTypeNotSupported => "MessageTypeNotSupported",
            Self::NotImplemented => "NotImplemented",
            Self::NotSupported => "NotSupported",
            Self::OccurrenceConstraintViolation if v1_6 => "OccurenceConstraintViolation",
            Self::OccurrenceConstraintViolation => "OccurrenceConstraintViolation",
            Self::PropertyConstraintViolation => "PropertyConstraintViolation",
            Self::ProtocolError => "ProtocolError",
            Self::RpcFrameworkError if v1_6 => "FormationViolation",
            Self::RpcFrameworkError => "RpcFrameworkError",
            Self::SecurityError => "SecurityError",
            Self::TypeConstraintViolation => "TypeConstraintViolation",
        }
    }

    /// The code of a name in the spelling of any version; `None` for a code of a vendor.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "FormatViolation" | "FormationViolation" => Self::FormatViolation,
            "GenericError" => Self::GenericError,
            "InternalError" => Self::InternalError,
            "MessageTypeNotSupported" => Self::MessageTypeNotSupported,
            "NotImplemented" => Self::NotImplemented,
            "NotSupported" => Self::NotSupported,
            "OccurrenceConstraintViolation" | "OccurenceConstraintViolation" => {
                Self::OccurrenceConstraintViolation
            }
            "PropertyConstraintViolation" => Self::PropertyConstraintViolation,
            "ProtocolError" => Self::ProtocolError,
            "RpcFrameworkError" => Self::RpcFrameworkError,
            "SecurityError" => Self::SecurityError,
            "TypeConstraintViolation" => Self::TypeConstraintViolation,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_each_version_gets_its_own() {
        for (old, new) in [
            ("FormationViolation", "FormatViolation"),
            ("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
        ] {
            let code = ErrorCode::from_name(old).unwrap();
            assert_eq!(ErrorCode::from_name(new), Some(code));
            assert_eq!(code.name(Version::V1_6), old);
            assert_eq!(code.name(Version::V2_0_1), new);
        }
        assert_eq!(ErrorCode::from_name("Other"), None);
    }

    #[test]
    fn codes_of_2_x_are_not_sent_in_1_6() {
        assert_eq!(
            ErrorCode::RpcFrameworkError.name(Version::V1_6),
            "FormationViolation"
        );
        assert_eq!(
            ErrorCode::MessageTypeNotSupported.name(Version::V1_6),
            "GenericError"
        );
        assert_eq!(
            ErrorCode::MessageTypeNotSupported.name(Version::V2_1),
            "MessageTypeNotSupported"
        );
    }
}
