//! The stations that are known: a TOML file with a table for each.

use std::{collections::HashMap, fs, io, path::PathBuf};

use cmp_binding::Route;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::password::PasswordVerifier;
use crate::config::Operations;

/// The stations by identity.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Stations(HashMap<String, Station>);

/// What is known of a station.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Station {
    /// Verifier of its password.
    pub(super) password: Option<PasswordVerifier>,
    /// What its certificates call it, where that is not the identity: CN, in manufacturer certificates serialNumber.
    pub(super) serial_number: Option<String>,
    /// Serial numbers of the certificates that its messages may be protected by.
    pub(super) certificate_serials: Vec<Serial>,
    /// The routes that it may use.
    pub(super) routes: Option<Vec<Route>>,
    /// The kinds of messages that it may send.
    pub(super) operations: Option<Operations>,
}

/// A certificate's serial number: hexadecimal, with or without colons; big-endian without leading zeros here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serial(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text.replace(':', ""))
            .map(|bytes| Self(bytes.into_iter().skip_while(|byte| *byte == 0).collect()))
            .ok_or_else(|| {
                D::Error::custom("a serial number is hexadecimal, as `openssl x509 -serial` prints it")
            })
    }
}

/// Bytes written as hexadecimal digits, at least one; an odd number of them has a zero in front.
pub(super) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16));
    let mut digits = digits.collect::<Option<Vec<_>>>()?;
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    let bytes = digits.chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    bytes
        .collect::<Option<Vec<_>>>()
        .filter(|bytes| !bytes.is_empty())
}

/// The file of the stations cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StationsError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what it is to be. Its text is not repeated: there may be a password in it.
    #[error("{} line {line}: {message}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl Stations {
    /// Reads the file.
    ///
    /// # Errors
    /// [`StationsError`].
    pub(super) fn load(path: &std::path::Path) -> Result<Self, StationsError> {
        let text = fs::read_to_string(path).map_err(|source| StationsError::Read {
            path: path.into(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| StationsError::Parse {
            path: path.into(),
            line: line(&text, &error),
            message: error.message().into(),
        })
    }

    pub(super) fn of(&self, identity: &str) -> Option<&Station> {
        self.0.get(identity)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn line(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().get(..start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Stations, StationsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Stations::load(file.path())
    }

    #[test]
    fn a_station_is_what_its_table_says() {
        let stations = load(
            "[CS-1]\nserial_number = 'SN-1'\ncertificate_serials = ['00:0A:ff', 'b']\nroutes = ['a']\n\
             operations = ['ir', 'kur']\n[\"DE*ABC|1\"]\n",
        )
        .unwrap();
        assert_eq!(stations.len(), 2);
        let station = stations.of("CS-1").unwrap();
        assert_eq!(
            station.certificate_serials,
            [Serial(vec![0x0a, 0xff]), Serial(vec![0x0b])]
        );
        assert!(stations.of("DE*ABC|1").is_some() && stations.of("CS-2").is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_never_with_a_password() {
        for (text, line, says) in [
            ("[CS-1]\n\npassword = \"hunter2\"\n", 3, "hash-password"),
            (
                "[CS-1]\n[CS-2]\npasswort = \"hunter2\"\n",
                3,
                "unknown field `passwort`",
            ),
            ("[CS-1]\ncertificate_serials = ['xyz']\n", 2, "hexadecimal"),
            ("[CS-1]\noperations = ['enroll']\n", 2, "\"enroll\" is no kind"),
            ("[CS-1]\nroutes = ['Ü']\n", 2, ""),
            ("[CS-1]\npassword = \"hunter2\n", 2, ""),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: ")), "{error}");
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
        }
    }
}
