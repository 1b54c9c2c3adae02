//! A station's credentials and unfinished work in a directory.
//!
//! ```text
//! DIR/current -> credentials/N        the credential in use; switched by one rename
//! DIR/credentials/N/cert.pem          the certificate
//! DIR/credentials/N/chain.pem         its issuers, without the root
//! DIR/credentials/N/key.pem           PKCS #8
//! DIR/credentials/N/revoked           the certificate is revoked: the reason
//! DIR/issued/NAME.pem                 a certificate whose key is not here, and its issuers
//! DIR/pending.key.pem                 the key of a request that is under way
//! DIR/work.der                        what is under way
//! DIR/lock                            held by the one process that works here
//! ```
//! [`super::anchors`] and [`super::general`] say what else is there. Every file has mode 0600 and comes into being under
//! another name, is flushed to disk and then renamed: after a loss of power there is the old content or the new, never a
//! mix. Replaced credentials stay, as OCPP asks for a month.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    string::String,
    vec::Vec,
};

use cmp_message::certificate::Certificate;
use der::{Decode, Encode, Sequence, asn1::OctetString};
use zeroize::Zeroizing;

use super::{
    StateError,
    files::{
        CERTIFICATE, PRIVATE_KEY, at, content, make_dir, next_number, read_certificate, read_certificates,
        read_if_there, read_key, remove, sync_dir, write_atomically, write_certificates, write_pem,
    },
};

/// The credential in use.
#[derive(Clone)]
pub struct StoredCredential {
    /// The certificate.
    pub certificate: Certificate,
    /// Its issuers, the nearest first.
    pub chain: Vec<Certificate>,
    /// The private key, PKCS #8 or SEC 1.
    pub key: Zeroizing<Vec<u8>>,
    /// The reason, where the certificate is revoked.
    pub revoked: Option<String>,
}

/// What is under way.
///
/// ```text
/// Work ::= SEQUENCE {
///     mark    UTF8String,
///     record  OCTET STRING OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where the caller is in what it has to do.
    pub mark: String,
    /// The state of the transaction that is under way, if there is one.
    pub record: Option<Vec<u8>>,
}

#[derive(Sequence)]
struct EncodedWork {
    mark: String,
    record: Option<OctetString>,
}

/// The directory, held by this process.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StateError::Locked`] where another process has it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StateError> {
        let root = root.into();
        make_dir(&root.join("credentials"))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked(root)),
            Err(TryLockError::Error(source)) => Err(StateError::Io { path, source }),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The credential in use; `None` before the first enrolment.
    pub fn current(&self) -> Result<Option<StoredCredential>, StateError> {
        let dir = self.path("current");
        if !dir.exists() {
            return Ok(None);
        }
        let revoked = read_if_there(&dir.join("revoked"))?;
        Ok(Some(StoredCredential {
            certificate: read_certificate(&dir.join("cert.pem"))?,
            chain: read_certificates(&dir.join("chain.pem"))?,
            key: read_key(&dir.join("key.pem"))?,
            revoked: revoked.map(|reason| String::from_utf8_lossy(&reason).trim().into()),
        }))
    }

    /// Where the certificate in use is.
    pub fn certificate_path(&self) -> PathBuf {
        self.path("current").join("cert.pem")
    }

    /// Notes that the certificate in use is revoked, for this reason.
    pub fn store_revoked(&self, reason: &str) -> Result<(), StateError> {
        let path = self.path("current").join("revoked");
        write_atomically(&path, std::format!("{reason}\n").as_bytes())
    }

    /// The key of the request under way.
    pub fn pending_key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        let path = self.pending_path();
        if path.exists() {
            read_key(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Keeps the key (PKCS #8 DER) of a request that is to be made.
    pub fn store_pending_key(&self, key: &[u8]) -> Result<(), StateError> {
        write_pem(&self.pending_path(), PRIVATE_KEY, key)
    }

    /// Forgets the key of the request under way.
    pub fn remove_pending_key(&self) -> Result<(), StateError> {
        remove(&self.pending_path())
    }

    /// Puts the pending key and its certificate to use, in one step. The pending key stays too: whoever comes back after
    /// a loss of power sees by it that this was done.
    pub fn install(&self, certificate: &Certificate, chain: &[Certificate]) -> Result<(), StateError> {
        let pending = self.pending_path();
        let key = self.pending_key()?.ok_or(StateError::NoPendingKey(pending))?;
        let credentials = self.path("credentials");
        let name = next_number(&credentials)?;
        let dir = credentials.join(&name);
        make_dir(&dir)?;
        write_pem(&dir.join("key.pem"), PRIVATE_KEY, &key)?;
        write_pem(&dir.join("cert.pem"), CERTIFICATE, certificate.as_der())?;
        write_certificates(&dir.join("chain.pem"), chain)?;
        sync_dir(&credentials)?;
        let link = self.path("current.new");
        remove(&link)?;
        symlink(Path::new("credentials").join(name), &link).map_err(at(&link))?;
        let current = self.path("current");
        fs::rename(&link, &current).map_err(at(&current))?;
        sync_dir(&self.root)
    }

    /// Keeps a certificate whose key is not here, followed by its issuers; gives the file. One of before with the same
    /// name is replaced. `name` is one component of a path.
    pub fn store_issued(
        &self,
        name: &str,
        certificate: &Certificate,
        chain: &[Certificate],
    ) -> Result<PathBuf, StateError> {
        let dir = self.path("issued");
        make_dir(&dir)?;
        let path = dir.join(std::format!("{name}.pem"));
        let all: Vec<_> = core::iter::once(certificate).chain(chain).cloned().collect();
        write_certificates(&path, &all)?;
        Ok(path)
    }

    /// What is under way.
    pub fn work(&self) -> Result<Option<Work>, StateError> {
        let path = self.work_path();
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(None);
        };
        let work =
            EncodedWork::from_der(&bytes).map_err(|_| content(&path, "a record of unfinished work"))?;
        Ok(Some(Work {
            mark: work.mark,
            record: work.record.map(|record| record.into_bytes().into()),
        }))
    }

    /// Keeps what is under way, in place of what was.
    pub fn store_work(&self, mark: &str, record: Option<&[u8]>) -> Result<(), StateError> {
        let path = self.work_path();
        let encode = || -> der::Result<Vec<u8>> {
            let record = record.map(OctetString::new).transpose()?;
            EncodedWork {
                mark: mark.into(),
                record,
            }
            .to_der()
        };
        let bytes = encode().map_err(|_| StateError::Encoding(path.clone()))?;
        write_atomically(&path, &bytes)
    }

    /// Forgets what is under way and its key.
    pub fn clear(&self) -> Result<(), StateError> {
        remove(&self.work_path())?;
        self.remove_pending_key()?;
        sync_dir(&self.root)
    }

    fn pending_path(&self) -> PathBuf {
        self.path("pending.key.pem")
    }

    fn work_path(&self) -> PathBuf {
        self.path("work.der")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A certificate and a key that are not each other's: the directory does not ask.
    pub(in crate::shell) fn fixture(name: &str) -> Certificate {
        let pki = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/openssl-3.0/pki");
        read_certificate(&pki.join(name)).unwrap()
    }

    #[track_caller]
    pub(in crate::shell) fn assert_private(path: &Path) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }

    #[test]
    fn a_credential_is_there_after_install_with_mode_0600_and_the_one_before_stays() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(state.current().unwrap().is_none());
        for (round, name) in [(1, "lc.crt"), (2, "ra.crt")] {
            state.store_pending_key(&[round; 4]).unwrap();
            let (certificate, issuer) = (fixture(name), fixture("issuing.crt"));
            state
                .install(&certificate, core::slice::from_ref(&issuer))
                .unwrap();
            let current = state.current().unwrap().unwrap();
            assert_eq!(
                (current.certificate, current.chain),
                (certificate, std::vec![issuer])
            );
            assert_eq!(*current.key, [round; 4]);
        }
        for name in ["cert.pem", "key.pem", "chain.pem"] {
            assert_private(&dir.path().join("current").join(name));
        }
        assert!(
            dir.path().join("credentials/0001/key.pem").exists(),
            "the old credential stays"
        );
    }

    #[test]
    fn a_revoked_certificate_is_known_as_such_until_another_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.store_pending_key(b"key").unwrap();
        state.install(&fixture("lc.crt"), &[]).unwrap();
        state.store_revoked("keyCompromise").unwrap();
        let current = StateDir::current(&state).unwrap().unwrap();
        assert_eq!(current.revoked.as_deref(), Some("keyCompromise"));
        assert_private(&dir.path().join("current/revoked"));
        state.install(&fixture("lc2.crt"), &[]).unwrap();
        assert_eq!(state.current().unwrap().unwrap().revoked, None);
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let _held = StateDir::open(dir.path()).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::Locked(_))));
    }

    #[test]
    fn what_a_cut_off_write_left_does_not_hinder_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join("work.der.new"), b"torn").unwrap();
        fs::create_dir(dir.path().join("credentials/0001")).unwrap();
        symlink("nowhere", dir.path().join("current.new")).unwrap();
        state.store_work("mark", Some(b"whole")).unwrap();
        let work = state.work().unwrap().unwrap();
        assert_eq!(
            (work.mark.as_str(), work.record.as_deref()),
            ("mark", Some(&b"whole"[..]))
        );
        state.store_pending_key(b"key").unwrap();
        state.install(&fixture("lc.crt"), &[]).unwrap();
        assert_eq!(state.current().unwrap().unwrap().certificate, fixture("lc.crt"));
    }

    #[test]
    fn what_is_under_way_is_kept_replaced_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.work().unwrap(), None);
        state.store_pending_key(b"key").unwrap();
        state.store_work("a,b 0", Some(b"record")).unwrap();
        state.store_work("a,b 1", None).unwrap();
        let expected = Work {
            mark: "a,b 1".into(),
            record: None,
        };
        assert_eq!(state.work().unwrap(), Some(expected));
        assert_private(&dir.path().join("work.der"));
        state.clear().unwrap();
        assert!(state.work().unwrap().is_none() && state.pending_key().unwrap().is_none());
        fs::write(dir.path().join("work.der"), b"other").unwrap();
        assert!(matches!(state.work(), Err(StateError::Content { .. })));
    }

    #[test]
    fn a_certificate_without_its_key_is_not_installed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(matches!(
            state.install(&fixture("lc.crt"), &[]),
            Err(StateError::NoPendingKey(_))
        ));
        assert!(state.current().unwrap().is_none());
    }
}
