//! A station's credentials and unfinished work in a directory.
//!
//! ```text
//! DIR/current -> credentials/N        the credential in use; switched by one rename
//! DIR/credentials/N/cert.pem          the certificate
//! DIR/credentials/N/chain.pem         its issuers, without the root
//! DIR/credentials/N/key.pem           PKCS #8
//! DIR/pending.key.pem                 the key of a request that is under way
//! DIR/record.der                      the state of the transaction that is under way
//! DIR/lock                            held by the one process that works here
//! ```
//! Every file has mode 0600 and comes into being under another name, is flushed to disk and then renamed: after a loss
//! of power there is the old content or the new, never a mix. Replaced credentials stay, as OCPP asks for a month.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    string::String,
    vec::Vec,
};

use der::pem::{self, LineEnding};
use zeroize::Zeroizing;

/// A credential: certificate, issuers and private key, each in DER.
#[derive(Clone)]
pub struct StoredCredential {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its issuers, the nearest first.
    pub chain: Vec<Vec<u8>>,
    /// The private key, PKCS #8 or SEC 1.
    pub key: Zeroizing<Vec<u8>>,
}

/// Why the directory cannot be used, with the file that it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// A file is not the PEM that it must be.
    #[error("{path}: not PEM of {expected}")]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What was expected in it.
        expected: &'static str,
    },
    /// A certificate came for a request whose key is gone.
    #[error("{0} is missing: the key of the request that is under way")]
    NoPendingKey(PathBuf),
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
        let credentials = root.join("credentials");
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&credentials)
            .map_err(at(&credentials))?;
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

    /// The credential in use; `None` before the first enrolment.
    pub fn current(&self) -> Result<Option<StoredCredential>, StateError> {
        let dir = self.root.join("current");
        if !dir.exists() {
            return Ok(None);
        }
        let path = dir.join("cert.pem");
        let certificate = read_certificates(&path)?
            .into_iter()
            .next()
            .ok_or(StateError::NotPem {
                path,
                expected: "a certificate",
            })?;
        let chain = read_certificates(&dir.join("chain.pem"))?;
        Ok(Some(StoredCredential {
            certificate,
            chain,
            key: read_key(&dir.join("key.pem"))?,
        }))
    }

    /// Where the certificate in use is.
    pub fn certificate_path(&self) -> PathBuf {
        self.root.join("current").join("cert.pem")
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
        write_atomically(&self.pending_path(), pem_of("PRIVATE KEY", key).as_bytes())
    }

    /// The state of the transaction under way.
    pub fn record(&self) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.record_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Keeps the state of the transaction under way.
    pub fn store_record(&self, record: &[u8]) -> Result<(), StateError> {
        write_atomically(&self.record_path(), record)
    }

    /// Puts the pending key and its certificate to use, in one step; the transaction is over.
    pub fn install(&self, certificate: &[u8], chain: &[Vec<u8>]) -> Result<(), StateError> {
        let pending = self.pending_path();
        let key = self.pending_key()?.ok_or(StateError::NoPendingKey(pending))?;
        let credentials = self.root.join("credentials");
        let number = 1 + newest(&credentials)?;
        let dir = credentials.join(std::format!("{number:04}"));
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&dir).map_err(at(&dir))?;
        write_atomically(&dir.join("key.pem"), pem_of("PRIVATE KEY", &key).as_bytes())?;
        write_atomically(
            &dir.join("cert.pem"),
            pem_of("CERTIFICATE", certificate).as_bytes(),
        )?;
        let chain: String = chain
            .iter()
            .map(|c| (*pem_of("CERTIFICATE", c)).clone())
            .collect();
        write_atomically(&dir.join("chain.pem"), chain.as_bytes())?;
        sync_dir(&credentials)?;
        let link = self.root.join("current.new");
        remove(&link)?;
        symlink(Path::new("credentials").join(std::format!("{number:04}")), &link).map_err(at(&link))?;
        let current = self.root.join("current");
        fs::rename(&link, &current).map_err(at(&current))?;
        sync_dir(&self.root)?;
        self.clear()
    }

    /// Forgets the transaction under way and its key.
    pub fn clear(&self) -> Result<(), StateError> {
        remove(&self.record_path())?;
        remove(&self.pending_path())?;
        sync_dir(&self.root)
    }

    fn pending_path(&self) -> PathBuf {
        self.root.join("pending.key.pem")
    }

    fn record_path(&self) -> PathBuf {
        self.root.join("record.der")
    }
}

/// Every certificate of a PEM file, in DER.
///
/// # Errors
/// [`StateError::Io`], or [`StateError::NotPem`] for a block that is none or not a certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, StateError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let not_pem = || StateError::NotPem {
        path: path.into(),
        expected: "certificates",
    };
    pem_blocks(&text)
        .map(|block| match pem::decode_vec(block.as_bytes()) {
            Ok(("CERTIFICATE", der)) => Ok(der),
            _ => Err(not_pem()),
        })
        .collect()
}

/// The private key of a PEM file, in DER: PKCS #8 or SEC 1.
///
/// # Errors
/// [`StateError::Io`], or [`StateError::NotPem`] where there is no such key, an encrypted one included.
pub fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, StateError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(at(path))?);
    pem_blocks(&text)
        .find_map(|block| match pem::decode_vec(block.as_bytes()) {
            Ok(("PRIVATE KEY" | "EC PRIVATE KEY", der)) => Some(Zeroizing::new(der)),
            _ => None,
        })
        .ok_or(StateError::NotPem {
            path: path.into(),
            expected: "an unencrypted private key",
        })
}

fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    core::iter::from_fn(move || {
        let start = rest.find(BEGIN)?;
        let block = rest.get(start..)?;
        let end = block
            .get(BEGIN.len()..)?
            .find(BEGIN)
            .map_or(block.len(), |n| n + BEGIN.len());
        let (block, after) = block.split_at_checked(end)?;
        rest = after;
        let last = block.rfind("-----")? + 5;
        block.get(..last)
    })
}

fn pem_of(label: &'static str, der: &[u8]) -> Zeroizing<String> {
    // The only error is a label that PEM does not allow.
    Zeroizing::new(pem::encode_string(label, LineEnding::LF, der).unwrap_or_default())
}

fn newest(credentials: &Path) -> Result<u32, StateError> {
    let entries = fs::read_dir(credentials).map_err(at(credentials))?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(numbers.max().unwrap_or(0))
}

/// Writes `bytes` to a file of mode 0600 that replaces `path` in one step.
///
/// # Errors
/// [`StateError::Io`]; `path` is as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut name = OsString::from(path);
    name.push(".new");
    let new = PathBuf::from(name);
    remove(&new)?;
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&new)
        .map_err(at(&new))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(at(&new))?;
    fs::rename(&new, path).map_err(at(path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn sync_dir(path: &Path) -> Result<(), StateError> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> StateError {
    let path = path.to_path_buf();
    move |source| StateError::Io {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_credential_is_there_after_install_with_mode_0600_and_the_transaction_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(state.current().unwrap().is_none());
        for round in 1..=2u8 {
            state.store_pending_key(&[round; 4]).unwrap();
            state.store_record(b"record").unwrap();
            state.install(&[round, 9], &[std::vec![round, 8]]).unwrap();
            let current = state.current().unwrap().unwrap();
            assert_eq!(
                (current.certificate, current.chain),
                (std::vec![round, 9], std::vec![std::vec![round, 8]])
            );
            assert_eq!(*current.key, [round; 4]);
            assert!(state.record().unwrap().is_none() && state.pending_key().unwrap().is_none());
        }
        for name in ["cert.pem", "key.pem", "chain.pem"] {
            let mode = fs::metadata(dir.path().join("current").join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(
            dir.path().join("credentials/0001/key.pem").exists(),
            "the old credential stays"
        );
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
        fs::write(dir.path().join("record.der.new"), b"torn").unwrap();
        fs::create_dir(dir.path().join("credentials/0001")).unwrap();
        symlink("nowhere", dir.path().join("current.new")).unwrap();
        state.store_record(b"whole").unwrap();
        assert_eq!(state.record().unwrap().unwrap(), b"whole");
        state.store_pending_key(b"key").unwrap();
        state.install(b"cert", &[]).unwrap();
        assert_eq!(state.current().unwrap().unwrap().certificate, b"cert");
    }

    #[test]
    fn a_certificate_without_its_key_is_not_installed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(matches!(
            state.install(b"cert", &[]),
            Err(StateError::NoPendingKey(_))
        ));
        assert!(state.current().unwrap().is_none());
    }

    #[test]
    fn text_around_pem_blocks_is_skipped_and_a_key_is_found_behind_its_parameters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let key = pem_of("EC PRIVATE KEY", b"secret");
        fs::write(
            &path,
            std::format!(
                "hello\n{}between\n{}after",
                &*pem_of("EC PARAMETERS", b"p"),
                &*key
            ),
        )
        .unwrap();
        assert_eq!(&**read_key(&path).unwrap(), b"secret");
        assert!(read_certificates(&path).is_err());
    }
}
