//! PEM files of a hierarchy.

use der::pem::{self, LineEnding};
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

use super::PkiError;
use crate::atomic_file::{self, Access};

pub(super) fn to_pem(label: &'static str, der: &[u8]) -> Result<Zeroizing<String>, PkiError> {
    let text = pem::encode_string(label, LineEnding::LF, der).map_err(der::Error::from)?;
    Ok(Zeroizing::new(text))
}

pub(super) fn read_pem(folder: &Path, file: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let text = fs::read(folder.join(file)).map_err(|error| io_error(file, error))?;
    let text = Zeroizing::new(text);
    match pem::decode_vec(&text) {
        Ok((found, der)) if found == label => Ok(Zeroizing::new(der)),
        _ => Err(PkiError::Damaged(file.into())),
    }
}

pub(super) fn write(folder: &Path, file: &str, content: &[u8], access: Access) -> Result<(), PkiError> {
    atomic_file::replace(&folder.join(file), content, access).map_err(|error| io_error(file, error))
}

pub(super) fn make_folder(folder: &Path) -> Result<(), PkiError> {
    let made = atomic_file::create_private_folder(folder);
    made.map_err(|error| io_error(&folder.display().to_string(), error))
}

pub(super) fn io_error(file: &str, error: io::Error) -> PkiError {
    PkiError::Io {
        file: file.into(),
        error,
    }
}
