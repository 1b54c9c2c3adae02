//! CRLs in files that somebody else keeps up to date.

use cmp_message::crl::Crl;
use der::pem;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The largest file that is read, in bytes.
const MAX_CRL_BYTES: u64 = 16 * 1024 * 1024;

/// Files with one CRL each, in DER or PEM. What was read last counts until there is something better.
#[derive(Debug)]
pub struct CrlFiles {
    files: Vec<CrlFile>,
}

#[derive(Debug)]
struct CrlFile {
    path: PathBuf,
    /// Of what was read, or tried to.
    version: Option<(SystemTime, u64)>,
    crl: Option<Crl>,
}

impl CrlFiles {
    /// Looks at these files. Nothing is read yet.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let file = |path| CrlFile {
            path,
            version: None,
            crl: None,
        };
        Self {
            files: paths.into_iter().map(file).collect(),
        }
    }

    /// Every CRL, if a file has changed since this was asked last.
    pub fn read_if_changed(&mut self) -> Option<Vec<Crl>> {
        let mut has_changed = false;
        for file in &mut self.files {
            has_changed |= file.read_if_changed();
        }
        has_changed.then(|| self.files.iter().filter_map(|file| file.crl.clone()).collect())
    }
}

impl CrlFile {
    fn read_if_changed(&mut self) -> bool {
        let metadata = fs::metadata(&self.path).ok();
        let version = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        // Without a file the last CRL goes on to count: it says itself how long.
        if version.is_none() || version == self.version {
            return false;
        }
        self.version = version;
        match read(&self.path) {
            Ok(crl) => {
                tracing::info!(file = %self.path.display(), "CRL read");
                self.crl = Some(crl);
                true
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "cannot read a CRL");
                false
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Crl> {
    if fs::metadata(path)?.len() > MAX_CRL_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let content = fs::read(path)?;
    let der = match content.starts_with(b"-----BEGIN") {
        true => pem::decode_vec(&content).map_err(io::Error::other)?.1,
        false => content,
    };
    Crl::from_der(der).map_err(io::Error::other)
}
