use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{CertificateStatus, IssuedCertificate, Store, StoreError};
use crate::{
    atomic_file::{self, Access},
    pki::to_pem,
};

/// Keeps the certificates in a folder: `<serial>.pem` for each, and `index` with a line for each event, which is only
/// appended to.
///
/// ```text
/// 1800000000 issued 4f0c…  transaction=9a1b… CN=CS-1,O=Example
/// 1800000001 confirmed 4f0c…
/// ```
/// Each event is with the operating system before it is answered for; it outlives the process. A certificate that was
/// not confirmed when the process ended is expired when the folder is opened again: its transaction is gone.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    index: File,
    events: Events,
}

/// What the lines of the index come to.
#[derive(Debug, Default)]
struct Events {
    status: HashMap<Vec<u8>, CertificateStatus>,
    transactions: HashSet<Vec<u8>>,
}

impl FileStore {
    /// Opens `folder`, which is made if needed.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Damaged`].
    pub fn open(folder: &Path, now_s: u64) -> Result<Self, StoreError> {
        atomic_file::create_private_folder(folder).map_err(|error| io_error(folder, error))?;
        let path = folder.join("index");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io_error(&path, error)),
        };
        // A last line without its end was being written when the process died: nobody was told of it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let events = read_index(text.get(..whole).unwrap_or_default())?;
        let index = OpenOptions::new().append(true).create(true).open(&path);
        let index = index.map_err(|error| io_error(&path, error))?;
        index
            .set_len(whole as u64)
            .map_err(|error| io_error(&path, error))?;
        let mut store = Self {
            folder: folder.to_owned(),
            index,
            events,
        };
        store.expire_unconfirmed(now_s)?;
        Ok(store)
    }

    fn expire_unconfirmed(&mut self, now_s: u64) -> Result<(), StoreError> {
        let open = self
            .events
            .status
            .iter()
            .filter(|(_, status)| **status == CertificateStatus::Issued);
        let open = open.map(|(serial, _)| serial.clone()).collect::<Vec<_>>();
        open.iter()
            .try_for_each(|serial| self.change(serial, CertificateStatus::Expired, now_s))
    }

    fn append(&mut self, line: &str) -> Result<(), StoreError> {
        let written = self.index.write_all(line.as_bytes());
        written.map_err(|error| io_error(&self.folder.join("index"), error))
    }
}

impl Store for FileStore {
    fn record(&mut self, issued: IssuedCertificate<'_>, now_s: u64) -> Result<(), StoreError> {
        let serial = hex(issued.serial);
        let path = self.folder.join(format!("{serial}.pem"));
        let pem = to_pem("CERTIFICATE", issued.certificate)
            .map_err(|error| io_error(&path, io::Error::other(error)))?;
        atomic_file::replace(&path, pem.as_bytes(), Access::Public)
            .map_err(|error| io_error(&path, error))?;
        let transaction = hex(issued.transaction_id);
        let subject = issued.subject.replace(char::is_control, " ");
        self.append(&format!(
            "{now_s} issued {serial} transaction={transaction} {subject}\n"
        ))?;
        self.events
            .status
            .insert(issued.serial.to_vec(), CertificateStatus::Issued);
        self.events.transactions.insert(issued.transaction_id.to_vec());
        Ok(())
    }

    fn change(&mut self, serial: &[u8], status: CertificateStatus, now_s: u64) -> Result<(), StoreError> {
        if !self.events.status.contains_key(serial) {
            return Err(StoreError::UnknownSerial);
        }
        self.append(&format!("{now_s} {} {}\n", status.name(), hex(serial)))?;
        self.events.status.insert(serial.to_vec(), status);
        Ok(())
    }

    fn status(&self, serial: &[u8]) -> Option<CertificateStatus> {
        self.events.status.get(serial).copied()
    }

    fn has_transaction(&self, transaction_id: &[u8]) -> bool {
        self.events.transactions.contains(transaction_id)
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_index(text: &str) -> Result<Events, StoreError> {
    let mut events = Events::default();
    for (n, line) in text.lines().enumerate() {
        let mut words = line.split(' ').skip(1);
        let word = words.next();
        let status = CertificateStatus::ALL
            .into_iter()
            .find(|status| Some(status.name()) == word);
        let serial = words.next().and_then(from_hex);
        let (Some(status), Some(serial)) = (status, serial) else {
            return Err(StoreError::Damaged(n + 1));
        };
        events.status.insert(serial, status);
        let transaction = words.next().and_then(|word| word.strip_prefix("transaction="));
        events.transactions.extend(transaction.and_then(from_hex));
    }
    Ok(events)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn io_error(file: &Path, error: io::Error) -> StoreError {
    StoreError::Io {
        file: file.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(serial: &[u8]) -> IssuedCertificate<'_> {
        IssuedCertificate {
            serial,
            certificate: b"0\0",
            subject: "CN=CS-1\nevil",
            transaction_id: &[7; 16],
        }
    }

    #[test]
    fn what_was_recorded_survives_a_restart_and_the_unconfirmed_expires() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(folder.path(), 1).unwrap();
        store.record(issued(&[0x41, 1]), 2).unwrap();
        store.record(issued(&[0x41, 2]), 3).unwrap();
        store.change(&[0x41, 1], CertificateStatus::Confirmed, 4).unwrap();
        drop(store);
        let store = FileStore::open(folder.path(), 5).unwrap();
        assert_eq!(store.status(&[0x41, 1]), Some(CertificateStatus::Confirmed));
        assert_eq!(store.status(&[0x41, 2]), Some(CertificateStatus::Expired));
        assert_eq!(store.status(&[0x41, 3]), None);
        assert!(store.has_transaction(&[7; 16]) && !store.has_transaction(&[8; 16]));
        assert!(folder.path().join("4101.pem").exists());
    }

    #[test]
    fn a_last_line_cut_off_by_a_crash_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(folder.path(), 1).unwrap();
        store.record(issued(&[0x41, 1]), 2).unwrap();
        store.change(&[0x41, 1], CertificateStatus::Confirmed, 3).unwrap();
        store.append("4 revo").unwrap();
        drop(store);
        let mut store = FileStore::open(folder.path(), 5).unwrap();
        assert_eq!(store.status(&[0x41, 1]), Some(CertificateStatus::Confirmed));
        store.change(&[0x41, 1], CertificateStatus::Revoked, 6).unwrap();
        drop(store);
        let store = FileStore::open(folder.path(), 7).unwrap();
        assert_eq!(store.status(&[0x41, 1]), Some(CertificateStatus::Revoked));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index"), "1 issued 41\n2 lost 41\n").unwrap();
        let error = FileStore::open(folder.path(), 1).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(2)), "{error}");
    }
}
