//! What a station can be told to do.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind};
use x509_cert::ext::pkix::CrlReason;

use crate::decode::crl_reason;

/// Something that a station can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A first certificate (`ir`), proven by manufacturer certificate or shared secret.
    Enroll,
    /// One more certificate (`cr`), proven by the one in use, else as [`Operation::Enroll`].
    Certify,
    /// A certificate for a certification request (PKCS #10) that was made elsewhere (`p10cr`).
    Csr(PathBuf),
    /// A new key and certificate (`kur`) in place of the one in use.
    Update,
    /// The certificate in use is revoked (`rr`).
    Revoke,
    /// The certificates of CAs (`genm`).
    CaCerts,
    /// The successor of a root, if there is one (`genm`).
    RootUpdate,
    /// What a certificate request is to contain (`genm`).
    Template,
    /// A newer CRL, if there is one (`genm`).
    Crl,
}

/// The names of the operations that stand alone.
const NAMES: [(&str, Operation); 8] = [
    ("enroll", Operation::Enroll),
    ("certify", Operation::Certify),
    ("update", Operation::Update),
    ("revoke", Operation::Revoke),
    ("ca-certs", Operation::CaCerts),
    ("root-update", Operation::RootUpdate),
    ("template", Operation::Template),
    ("crl", Operation::Crl),
];

const CSR: &str = "csr";

impl Operation {
    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, operation)| operation == self)
            .map_or(CSR, |(name, _)| name)
    }

    /// Whether it asks for a certificate for a key of the station's own.
    #[must_use]
    pub const fn makes_key(&self) -> bool {
        matches!(self, Self::Enroll | Self::Certify | Self::Update)
    }
}

/// As on the command line.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csr(file) => write!(f, "{CSR} {}", file.display()),
            _ => f.write_str(self.name()),
        }
    }
}

/// One or several operations, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(pub Vec<Operation>);

const HELP: &str = "What to do, in this order: one or several of enroll, certify, csr FILE, update, revoke, ca-certs, root-update, \
                    template and crl, with commas between them";

/// The operations in words, and examples; at most 80 columns.
pub(super) const AFTER_HELP: &str = "\
Operations:
  enroll       A first certificate and a new key for it, proven by --cert or
               --secret (ir)
  certify      One more certificate and key, proven by the certificate in use,
               else by --cert or --secret (cr). It comes into use; the one before
               stays in STATE/credentials
  csr FILE     A certificate for a PKCS #10 request, PEM or DER, that was made
               elsewhere; proven like certify (p10cr). Written to STATE/issued,
               with its issuers
  update       A new key and certificate in place of those in use (kur)
  revoke       Revokes the certificate in use (rr), see --reason. Then only enroll,
               and certify with --cert or --secret, get a new one
  ca-certs     The certificates of CAs, kept in STATE/ca-certs (genm)
  root-update  The successor of a root (genm). A new root that the old one vouches
               for is kept in STATE/anchors and trusted; the old one stays trusted
               until the RA has signed under the new one
  template     What a request is to contain (genm): kept in STATE/template.der and
               applied to each enroll, certify and update that follows. Delete the
               file to go without
  crl          A CRL newer than the one in STATE/crls, verified and kept (genm)

  All but enroll are signed with the certificate in use if there is one. A comma
  between two operations, or a blank; a FILE has no comma in its name.

Examples, with S for `charger-sim station --csms ws://127.0.0.1:9000/ocpp --id CP-1
--state station --trust root.pem`:
  S --cert idevid.pem --key idevid.key enroll,update
  S --secret installer:1234 --san DNS:cp-1.example template,enroll
  S csr hsm.csr
  S --cert idevid.pem --key idevid.key enroll,csr hsm.csr,update
  S ca-certs,root-update,crl
  S --reason keyCompromise revoke

Started again with the same operations after it was stopped or killed, the station
goes on where it was. What it keeps has mode 0600.";

impl Operations {
    /// Reads the words of a command line. `csr` takes what follows it, after a comma or a blank, for the name of its file.
    ///
    /// # Errors
    /// The part that is no operation, or `csr` without a file.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut parts = words.into_iter().flat_map(|word| word.split(','));
        let mut operations = Vec::new();
        while let Some(part) = parts.next() {
            let known = NAMES.iter().find(|(name, _)| *name == part);
            operations.push(match known {
                Some((_, operation)) => operation.clone(),
                None => {
                    let (name, file) = part.split_once(' ').unwrap_or((part, ""));
                    if name != CSR {
                        return Err(format!("{part:?} is no operation; see --help"));
                    }
                    let file = Some(file)
                        .filter(|file| !file.is_empty())
                        .or_else(|| parts.next());
                    let file = file.filter(|file| !file.is_empty());
                    Operation::Csr(file.ok_or("csr needs a file: `csr FILE`")?.into())
                }
            });
        }
        Ok(Self(operations))
    }
}

/// As one word of the command line.
impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, operation) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{operation}")?;
        }
        Ok(())
    }
}

impl clap::FromArgMatches for Operations {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let words = matches.get_many::<String>("operations").into_iter().flatten();
        Self::parse(words.map(String::as_str))
            .map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Operations {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new("operations")
                .value_name("OPERATIONS")
                .action(ArgAction::Append)
                .num_args(1..)
                .required(true)
                .help(HELP),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub CrlReason);

/// What may be asked for: removeFromCRL takes a revocation back, and is none.
const REASONS: [CrlReason; 9] = [
    CrlReason::Unspecified,
    CrlReason::KeyCompromise,
    CrlReason::CaCompromise,
    CrlReason::AffiliationChanged,
    CrlReason::Superseded,
    CrlReason::CessationOfOperation,
    CrlReason::CertificateHold,
    CrlReason::PrivilegeWithdrawn,
    CrlReason::AaCompromise,
];

impl Default for Reason {
    fn default() -> Self {
        Self(CrlReason::Unspecified)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crl_reason(self.0 as u8))
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = REASONS.map(Self).into_iter();
        let found = all.find(|reason| reason.to_string().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names: Vec<_> = REASONS.map(|reason| Self(reason).to_string()).into();
            format!("one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Vec<Operation>, String> {
        Operations::parse(words.iter().copied()).map(|operations| operations.0)
    }

    #[test]
    fn csr_takes_its_file_from_the_next_word_or_behind_a_comma() {
        let csr = Operation::Csr("a b.pem".into());
        assert_eq!(parsed(&["csr", "a b.pem"]), Ok(vec![csr.clone()]));
        assert_eq!(parsed(&["csr,a b.pem"]), Ok(vec![csr.clone()]));
        let all = vec![
            Operation::Enroll,
            csr,
            Operation::Csr("update".into()),
            Operation::Update,
        ];
        for words in [
            &["enroll,csr", "a b.pem,csr", "update,update"][..],
            &["enroll,csr,a b.pem,csr,update,update"],
            &["enroll,csr a b.pem,csr update,update"],
            &["enroll", "csr", "a b.pem", "csr", "update", "update"],
        ] {
            assert_eq!(parsed(words), Ok(all.clone()), "{words:?}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let names = "enroll,certify,csr a.pem,update,revoke,ca-certs,root-update,template,crl";
        let operations = Operations::parse([names]).unwrap();
        assert_eq!(operations.0.len(), 9);
        assert_eq!(operations.to_string(), names);
    }

    #[test]
    fn what_is_no_operation_is_named() {
        assert!(parsed(&["enrol"]).unwrap_err().contains("\"enrol\""));
        assert!(parsed(&["enroll,"]).unwrap_err().contains("\"\""));
        for words in [&["csr"][..], &["enroll,csr"], &["csr,"], &["csr", ""]] {
            assert!(parsed(words).unwrap_err().contains("csr FILE"), "{words:?}");
        }
    }

    #[test]
    fn reasons_have_the_names_of_rfc_5280() {
        for (name, reason) in [
            ("unspecified", CrlReason::Unspecified),
            ("keyCompromise", CrlReason::KeyCompromise),
            ("cACompromise", CrlReason::CaCompromise),
            ("affiliationChanged", CrlReason::AffiliationChanged),
            ("superseded", CrlReason::Superseded),
            ("cessationOfOperation", CrlReason::CessationOfOperation),
            ("certificateHold", CrlReason::CertificateHold),
            ("privilegeWithdrawn", CrlReason::PrivilegeWithdrawn),
            ("aACompromise", CrlReason::AaCompromise),
        ] {
            assert_eq!(name.parse(), Ok(Reason(reason)));
            assert_eq!(name.to_lowercase().parse(), Ok(Reason(reason)));
            assert_eq!(Reason(reason).to_string(), name);
        }
        for name in ["removeFromCRL", "stolen", ""] {
            assert!(
                Reason::from_str(name).unwrap_err().contains("keyCompromise"),
                "{name}"
            );
        }
    }
}
