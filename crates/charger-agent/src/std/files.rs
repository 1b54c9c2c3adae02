//! Files in PEM, and how they are replaced.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    string::String,
    vec::Vec,
};

use cmp_message::certificate::Certificate;
use der::pem::{self, LineEnding};
use zeroize::Zeroizing;

use super::StateError;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";
pub(super) const CRL: &str = "X509 CRL";

/// Every certificate of a PEM file.
///
/// # Errors
/// [`StateError::Io`], or [`StateError::Content`] for a block that is none or not a certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, StateError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    pem_blocks(&text)
        .map(|block| match pem::decode_vec(block.as_bytes()) {
            Ok((CERTIFICATE, der)) => Certificate::from_der(der).ok(),
            _ => None,
        })
        .map(|certificate| certificate.ok_or_else(|| content(path, "PEM of certificates")))
        .collect()
}

/// The first certificate of a PEM file.
///
/// # Errors
/// As [`read_certificates`], and where there is none.
pub fn read_certificate(path: &Path) -> Result<Certificate, StateError> {
    let first = read_certificates(path)?.into_iter().next();
    first.ok_or_else(|| content(path, "PEM of a certificate"))
}

/// The private key of a PEM file, in DER: PKCS #8 or SEC 1.
///
/// # Errors
/// [`StateError::Io`], or [`StateError::Content`] where there is no such key, an encrypted one included.
pub fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, StateError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(at(path))?);
    pem_blocks(&text)
        .find_map(|block| match pem::decode_vec(block.as_bytes()) {
            Ok((PRIVATE_KEY | "EC PRIVATE KEY", der)) => Some(Zeroizing::new(der)),
            _ => None,
        })
        .ok_or_else(|| content(path, "PEM of an unencrypted private key"))
}

/// A certification request (PKCS #10) in DER, from a file in PEM or DER. Only PEM is looked into.
///
/// # Errors
/// [`StateError::Io`], or [`StateError::Content`] for PEM of something else.
pub fn read_certification_request(path: &Path) -> Result<Vec<u8>, StateError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let Some(text) = core::str::from_utf8(&bytes)
        .ok()
        .filter(|text| text.contains(BEGIN))
    else {
        return Ok(bytes);
    };
    pem_blocks(text)
        .find_map(|block| match pem::decode_vec(block.as_bytes()) {
            Ok(("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST", der)) => Some(der),
            _ => None,
        })
        .ok_or_else(|| content(path, "PEM of a certification request"))
}

const BEGIN: &str = "-----BEGIN ";

pub(super) fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
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

pub(super) fn pem_of(label: &'static str, der: &[u8]) -> Zeroizing<String> {
    // The only error is a label that PEM does not allow.
    Zeroizing::new(pem::encode_string(label, LineEnding::LF, der).unwrap_or_default())
}

pub(super) fn write_pem(path: &Path, label: &'static str, der: &[u8]) -> Result<(), StateError> {
    write_atomically(path, pem_of(label, der).as_bytes())
}

pub(super) fn write_certificates(path: &Path, certificates: &[Certificate]) -> Result<(), StateError> {
    let blocks = certificates
        .iter()
        .map(|certificate| pem_of(CERTIFICATE, certificate.as_der()));
    let text = blocks.fold(String::new(), |text, block| text + &block);
    write_atomically(path, text.as_bytes())
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

/// Makes a directory and those above it, mode 0700, if they are not there.
pub(super) fn make_dir(path: &Path) -> Result<(), StateError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// The bytes of a file; `None` if it is not there.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// What is in a directory, in the order of the names; nothing where it is not there.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    let read = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(at(dir))?,
    };
    let mut paths = read
        .map(|entry| entry.map(|entry| entry.path()).map_err(at(dir)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// The directories in `dir` whose names are numbers, in their order.
pub(super) fn numbered(dir: &Path) -> Result<Vec<(u32, PathBuf)>, StateError> {
    let number = |path: PathBuf| Some((path.file_name()?.to_str()?.parse().ok()?, path));
    let mut found: Vec<_> = entries(dir)?.into_iter().filter_map(number).collect();
    found.sort();
    Ok(found)
}

/// The name of the directory in `dir` that follows the ones that are there.
pub(super) fn next_number(dir: &Path) -> Result<String, StateError> {
    let last = numbered(dir)?.last().map_or(0, |(number, _)| *number);
    Ok(std::format!("{:04}", last + 1))
}

pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn sync_dir(path: &Path) -> Result<(), StateError> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> StateError {
    let path = path.to_path_buf();
    move |source| StateError::Io {
        path: path.clone(),
        source,
    }
}

pub(super) fn content(path: &Path, expected: &'static str) -> StateError {
    StateError::Content {
        path: path.into(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_pem_blocks_is_skipped_and_a_key_is_found_behind_its_parameters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let (parameters, key) = (pem_of("EC PARAMETERS", b"p"), pem_of("EC PRIVATE KEY", b"secret"));
        fs::write(
            &path,
            std::format!("hello\n{}between\n{}after", &*parameters, &*key),
        )
        .unwrap();
        assert_eq!(&**read_key(&path).unwrap(), b"secret");
        assert!(read_certificates(&path).is_err());
        assert!(matches!(
            read_certification_request(&path),
            Err(StateError::Content { .. })
        ));
    }

    #[test]
    fn a_certification_request_is_the_same_from_pem_and_from_der() {
        let dir = tempfile::tempdir().unwrap();
        let der = [0x30, 3, 2, 1, 0xff];
        for bytes in [
            &der[..],
            pem_of("CERTIFICATE REQUEST", &der).as_bytes(),
            pem_of("NEW CERTIFICATE REQUEST", &der).as_bytes(),
        ] {
            let path = dir.path().join("csr");
            fs::write(&path, bytes).unwrap();
            assert_eq!(read_certification_request(&path).unwrap(), der);
        }
    }
}
