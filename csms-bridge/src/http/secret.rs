//! Secrets from files: tokens of who may ask, keys of what is signed.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::constant_time;
use axum::http::HeaderMap;
use zeroize::Zeroizing;

use super::{Problem, bearer};
use crate::digest::sha256;

/// A secret that guessing does not find has at least so many characters.
const MIN_CHARS: usize = 16;
/// A file with more is not one with a secret.
const MAX_BYTES: usize = 4096;

/// Why a file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Everybody on this machine can read it.
    #[error("{0}: every user of this machine may read it; chmod o-r it")]
    Open(PathBuf),
    /// It is too short or too long, or not printable ASCII.
    #[error(
        "{0}: not one line of {MIN_CHARS} or more printable ASCII characters; make one with: openssl rand -hex 32"
    )]
    Content(PathBuf),
}

/// The content of a file with a secret, without the end of its line. It is wiped when dropped.
pub struct SecretFile(Zeroizing<String>);

impl SecretFile {
    /// Reads it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let failed = |error| SecretError::Read(path.into(), error);
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.permissions().mode() & 0o004 != 0 {
            return Err(SecretError::Open(path.into()));
        }
        if metadata.len() > MAX_BYTES as u64 {
            return Err(SecretError::Content(path.into()));
        }
        let content = Zeroizing::new(fs::read(path).map_err(failed)?);
        let text = std::str::from_utf8(&content).unwrap_or_default();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.len() < MIN_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::Content(path.into()));
        }
        Ok(Self(Zeroizing::new(text.into())))
    }

    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretFile(..)")
    }
}

/// A bearer token that is known by its SHA-256 only.
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn new(secret: &SecretFile) -> Self {
        Self(sha256(secret.expose().as_bytes()))
    }

    /// Refuses a request that does not show the token. How far a wrong one is right cannot be measured.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let shown = sha256(bearer(headers).unwrap_or_default().as_bytes());
        constant_time::verify_slices_are_equal(&self.0, &shown).map_err(|_| Problem::Unauthorized)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_secret_is_one_line_that_only_few_can_read() {
        for (content, mode, is_good) in [
            ("0123456789abcdef\n", 0o600, true),
            ("0123456789abcdef\r\n", 0o640, true),
            ("0123456789abcdef", 0o644, false),
            ("short\n", 0o600, false),
            ("0123456789abcdef\nmore", 0o600, false),
            ("0123456789abcdef ", 0o600, false),
            (&"x".repeat(MAX_BYTES + 1), 0o600, false),
            ("", 0o600, false),
        ] {
            let (_dir, path) = file(content, mode);
            assert_eq!(SecretFile::load(&path).is_ok(), is_good, "{content:?} {mode:o}");
        }
        assert!(matches!(
            SecretFile::load(Path::new("/nowhere")),
            Err(SecretError::Read(..))
        ));
    }

    #[test]
    fn only_the_token_itself_is_taken_and_it_is_never_shown() {
        let (_dir, path) = file("0123456789abcdef\n", 0o600);
        let secret = SecretFile::load(&path).unwrap();
        let token = Token::new(&secret);
        assert!(!format!("{secret:?} {token:?}").contains("0123"));
        for (value, is_good) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            assert_eq!(token.check(&headers).is_ok(), is_good, "{value:?}");
        }
        assert!(token.check(&HeaderMap::new()).is_err());
    }
}
