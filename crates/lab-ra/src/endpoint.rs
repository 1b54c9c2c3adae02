use cmp_message::{PkiBody, general};

/// Where a message was posted to: the paths of RFC 9811 §3.6 with the operations of RFC 9483 §6.1.
///
/// ```text
/// /.well-known/cmp[/p/PROFILE][/OPERATION]
/// ```
/// `/` and `/pkix/`, where widespread clients post to, are like `/.well-known/cmp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    profile: Option<String>,
    operation: Option<Operation>,
}

impl Endpoint {
    /// Reads a path; `None` for all that are not CMP's.
    pub fn parse(path: &str) -> Option<Self> {
        if matches!(path, "" | "/" | "/pkix" | "/pkix/") {
            return Some(Self::default());
        }
        let rest = path.strip_prefix("/.well-known/cmp")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = rest.split('/');
        if segments.next() != Some("") {
            return None;
        }
        let mut next = segments.next();
        let mut endpoint = Self::default();
        if next == Some("p") {
            let profile = segments.next().filter(|profile| !profile.is_empty())?;
            endpoint.profile = Some(profile.to_owned());
            next = segments.next();
        }
        if let Some(label) = next {
            endpoint.operation = Some(Operation::from_label(label)?);
        }
        segments.next().is_none().then_some(endpoint)
    }

    /// The certificate profile that the path names.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// For the messages inside of one that was posted here: the operation is that of the outer one.
    pub(crate) fn inside(&self) -> Self {
        Self {
            profile: self.profile.clone(),
            operation: None,
        }
    }

    /// Whether the message belongs here. What goes on with a transaction belongs everywhere.
    pub(crate) fn accepts(&self, body: &PkiBody) -> bool {
        let Some(operation) = self.operation else {
            return true;
        };
        match body {
            PkiBody::Ir(_) => matches!(operation, Operation::Initialization | Operation::ServerKeyGen),
            PkiBody::Cr(_) => matches!(operation, Operation::Certification | Operation::ServerKeyGen),
            PkiBody::Kur(_) => matches!(operation, Operation::KeyUpdate | Operation::ServerKeyGen),
            PkiBody::P10cr(_) => operation == Operation::Pkcs10,
            PkiBody::Rr(_) => operation == Operation::Revocation,
            PkiBody::Nested(_) => operation == Operation::Nested,
            PkiBody::Genm(content) => content.iter().all(|info| match operation {
                Operation::GetCaCerts => info.info_type == general::CA_CERTS,
                Operation::GetRootUpdate => info.info_type == general::ROOT_CA_CERT,
                Operation::GetCertReqTemplate => info.info_type == general::CERT_REQ_TEMPLATE,
                Operation::GetCrls => info.info_type == general::CRL_STATUS_LIST,
                _ => false,
            }),
            _ => true,
        }
    }
}

/// An operation that a path names (RFC 9483 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Initialization,
    Certification,
    KeyUpdate,
    Pkcs10,
    Revocation,
    GetCaCerts,
    GetRootUpdate,
    GetCertReqTemplate,
    GetCrls,
    Nested,
    /// Not of RFC 9483, where central key generation has no path of its own; named like that of EST.
    ServerKeyGen,
}

impl Operation {
    fn from_label(label: &str) -> Option<Self> {
        Some(match label {
            "initialization" => Self::Initialization,
            "certification" => Self::Certification,
            "keyupdate" => Self::KeyUpdate,
            "pkcs10" => Self::Pkcs10,
            "revocation" => Self::Revocation,
            "getcacerts" => Self::GetCaCerts,
            "getrootupdate" => Self::GetRootUpdate,
            "getcertreqtemplate" => Self::GetCertReqTemplate,
            "getcrls" => Self::GetCrls,
            "nested" => Self::Nested,
            "serverkeygen" => Self::ServerKeyGen,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cmp_message::InfoTypeAndValue;

    fn endpoint(path: &str) -> Endpoint {
        Endpoint::parse(path).unwrap()
    }

    #[test]
    fn the_paths_of_rfc_9811_are_read_and_others_are_not() {
        for path in ["/", "/pkix/", "/.well-known/cmp", "/.well-known/cmp/"] {
            assert_eq!(endpoint(path), Endpoint::default(), "{path}");
        }
        let both = endpoint("/.well-known/cmp/p/station/initialization");
        assert_eq!(both.profile(), Some("station"));
        assert_eq!(both.operation, Some(Operation::Initialization));
        assert_eq!(endpoint("/.well-known/cmp/p/p").profile(), Some("p"));
        assert_eq!(
            endpoint("/.well-known/cmp/getcrls").operation,
            Some(Operation::GetCrls)
        );
        for path in [
            "/cmp",
            "/.well-known/cmpx",
            "/.well-known/cmp/p",
            "/.well-known/cmp/p//initialization",
            "/.well-known/cmp/enrolment",
            "/.well-known/cmp/initialization/p/station",
            "/.well-known/cmp/p/station/initialization/more",
        ] {
            assert_eq!(Endpoint::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_message_belongs_to_the_path_of_its_operation() {
        let ca_certs = PkiBody::Genm(vec![InfoTypeAndValue::absent(general::CA_CERTS)]);
        assert!(endpoint("/.well-known/cmp/getcacerts").accepts(&ca_certs));
        assert!(!endpoint("/.well-known/cmp/getcrls").accepts(&ca_certs));
        assert!(endpoint("/.well-known/cmp").accepts(&ca_certs));
        let ir = PkiBody::Ir(Vec::new());
        assert!(endpoint("/.well-known/cmp/initialization").accepts(&ir));
        assert!(!endpoint("/.well-known/cmp/certification").accepts(&ir));
        let poll_req = PkiBody::PollReq(Vec::new());
        assert!(endpoint("/.well-known/cmp/certification").accepts(&poll_req));
    }
}
