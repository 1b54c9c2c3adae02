//! Messages as files that are carried between two servers (RFC 9483 §6.4).

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{MAX_RESPONSE_BYTES, UpstreamError};
use crate::{
    PkiError, Ra,
    atomic_file::{self, Access},
};

/// Files that are looked at in one go at most.
const MAX_FILES: usize = 1_000;
const EXTENSION: &str = "pki";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {file}: {error}")]
pub struct SpoolError {
    /// Its path.
    pub file: String,
    /// Why.
    pub error: io::Error,
}

/// A folder with requests in `outbox`, answers in `inbox`, and what was of no use in `rejected`, with the reason in a
/// file beside it.
///
/// Each file has one message in DER and a name that ends in `.pki`. It gets that name when it is whole; files of
/// other names are not looked at. Whoever takes a message removes its file.
#[derive(Clone, Debug)]
pub struct Spool {
    outbox: PathBuf,
    inbox: PathBuf,
    rejected: PathBuf,
}

/// The way that a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tray {
    /// To the server behind.
    Outbox,
    /// Back.
    Inbox,
}

/// A file that was found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The message in it, or why it cannot be one.
    pub message: Result<Vec<u8>, UpstreamError>,
}

impl Spool {
    /// Opens a folder, which is made if needed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, SpoolError> {
        let spool = Self {
            outbox: folder.join("outbox"),
            inbox: folder.join("inbox"),
            rejected: folder.join("rejected"),
        };
        for folder in [&spool.outbox, &spool.inbox, &spool.rejected] {
            let made = atomic_file::create_private_folder(folder);
            made.map_err(|error| failed(folder, error))?;
        }
        Ok(spool)
    }

    /// Puts a message there, whole or not at all. A file of that name with the same content stays, one with another
    /// content too: then the message gets a longer name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, tray: Tray, name: &str, message: &[u8]) -> Result<(), SpoolError> {
        let folder = self.folder(tray);
        let path = free_name(folder, name, |path| {
            fs::read(path).is_ok_and(|old| old == message)
        });
        if path.exists() {
            return Ok(());
        }
        atomic_file::replace(&path, message, Access::Public).map_err(|error| failed(&path, error))
    }

    /// The messages that lie there, by their names, as many as fit into one go.
    ///
    /// # Errors
    /// If the folder cannot be read. A file that cannot be read is left for the next time.
    pub fn find(&self, tray: Tray) -> Result<Vec<Found>, SpoolError> {
        let folder = self.folder(tray);
        let entries = fs::read_dir(folder).map_err(|error| failed(folder, error))?;
        // A link may lead anywhere: it is no message.
        let files = entries.flatten().filter(|entry| {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            is_file && is_message(&entry.path())
        });
        let mut names: Vec<_> = files
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names.truncate(MAX_FILES);
        let read = names.into_iter().filter_map(|name| {
            let path = folder.join(&name);
            match read(&path) {
                Ok(message) => Some(Found { name, message }),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot read a message");
                    None
                }
            }
        });
        Ok(read.collect())
    }

    /// Removes a message that was taken.
    ///
    /// # Errors
    /// If it cannot be removed; that it is gone already is none.
    pub fn remove(&self, tray: Tray, name: &str) -> Result<(), SpoolError> {
        let path = self.folder(tray).join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// Moves a message that is of no use to `rejected`, with the reason.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn reject(&self, tray: Tray, name: &str, reason: &UpstreamError) -> Result<(), SpoolError> {
        let path = self.folder(tray).join(name);
        tracing::warn!(file = %path.display(), %reason, "a message is of no use");
        let aside = free_name(&self.rejected, name, |_| false);
        let mut beside = aside.clone().into_os_string();
        beside.push(".reason");
        let beside = PathBuf::from(beside);
        let text = format!("{reason}\n");
        let written = atomic_file::replace(&beside, text.as_bytes(), Access::Public);
        written.map_err(|error| failed(&beside, error))?;
        fs::rename(&path, &aside).map_err(|error| failed(&path, error))
    }

    /// Removes what was rejected longer ago than `keep`.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn forget(&self, keep: Duration) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.rejected).map_err(|error| failed(&self.rejected, error))?;
        let limit = SystemTime::now().checked_sub(keep);
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            if modified.is_some_and(|modified| limit.is_some_and(|limit| modified < limit)) {
                // It is looked at again the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn folder(&self, tray: Tray) -> &Path {
        match tray {
            Tray::Outbox => &self.outbox,
            Tray::Inbox => &self.inbox,
        }
    }
}

/// Answers every message in the outbox of a spool folder into its inbox; how many. Wherever this ends, even by a loss of
/// the process, it is done again to the same effect: the answer is in the store as soon as the message has had one, the
/// file of the message goes when that of the answer is whole, and the answer leaves the store last.
///
/// # Errors
/// If a file or the RA's store fails; the message stays where it is.
pub fn answer_spool(ra: &mut Ra, spool: &Spool, now_s: u64) -> Result<usize, AnswerError> {
    let mut count = 0;
    for found in spool.find(Tray::Outbox)? {
        match found.message {
            Ok(message) => {
                let answer = ra.answer_carried(now_s, &message)?;
                spool.put(Tray::Inbox, &found.name, &answer)?;
                spool.remove(Tray::Outbox, &found.name)?;
                ra.forget_carried(&message)?;
                count += 1;
            }
            Err(reason) => spool.reject(Tray::Outbox, &found.name, &reason)?,
        }
    }
    Ok(count)
}

/// Why the messages of a folder are not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A file.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The RA.
    #[error(transparent)]
    Ra(#[from] PkiError),
}

/// The first of `NAME.pki`, `NAME-2.pki`, `NAME-3.pki` … that is free, or that `may_be_there`.
fn free_name(folder: &Path, name: &str, may_be_there: impl Fn(&Path) -> bool) -> PathBuf {
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    let mut path = folder.join(name);
    let mut number = 2u32;
    while path.exists() && !may_be_there(&path) {
        path = folder.join(format!("{stem}-{number}.{EXTENSION}"));
        number = number.saturating_add(1);
    }
    path
}

fn is_message(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) && !is_hidden
}

fn read(path: &Path) -> io::Result<Result<Vec<u8>, UpstreamError>> {
    let mut message = Vec::new();
    let limit = MAX_RESPONSE_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut message)?;
    Ok(match message.len() {
        0 => Err(UpstreamError::Empty),
        n if n > MAX_RESPONSE_BYTES => Err(UpstreamError::TooLarge),
        _ => Ok(message),
    })
}

fn failed(path: &Path, error: io::Error) -> SpoolError {
    SpoolError {
        file: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        (folder, spool)
    }

    fn names(spool: &Spool, tray: Tray) -> Vec<String> {
        let found = spool.find(tray).unwrap();
        found.into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn messages_come_in_the_order_of_their_names() {
        let (_folder, spool) = spool();
        for name in ["2.pki", "1.pki", "3.PKI"] {
            spool.put(Tray::Outbox, name, name.as_bytes()).unwrap();
        }
        assert_eq!(names(&spool, Tray::Outbox), ["1.pki", "2.pki", "3.PKI"]);
        let first = spool.find(Tray::Outbox).unwrap().remove(0);
        assert_eq!(first.message.unwrap(), b"1.pki");
        spool.remove(Tray::Outbox, "1.pki").unwrap();
        spool.remove(Tray::Outbox, "1.pki").unwrap();
        assert_eq!(names(&spool, Tray::Outbox), ["2.pki", "3.PKI"]);
        assert!(names(&spool, Tray::Inbox).is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_or_leads_elsewhere_is_not_read() {
        let (folder, spool) = spool();
        let inbox = folder.path().join("inbox");
        for name in ["1.pki.part", ".1.pki", "1", "1.pki.77.new"] {
            fs::write(inbox.join(name), "half").unwrap();
        }
        fs::create_dir(inbox.join("folder.pki")).unwrap();
        symlink("/etc/passwd", inbox.join("link.pki")).unwrap();
        assert!(names(&spool, Tray::Inbox).is_empty());
        fs::rename(inbox.join("1.pki.part"), inbox.join("1.pki")).unwrap();
        assert_eq!(names(&spool, Tray::Inbox), ["1.pki"]);
    }

    #[test]
    fn nothing_that_lies_there_is_replaced() {
        let (folder, spool) = spool();
        spool.put(Tray::Outbox, "1.pki", b"a").unwrap();
        spool.put(Tray::Outbox, "1.pki", b"a").unwrap();
        assert_eq!(names(&spool, Tray::Outbox), ["1.pki"]);
        spool.put(Tray::Outbox, "1.pki", b"b").unwrap();
        spool.put(Tray::Outbox, "1.pki", b"b").unwrap();
        assert_eq!(names(&spool, Tray::Outbox), ["1-2.pki", "1.pki"]);
        assert_eq!(fs::read(folder.path().join("outbox/1.pki")).unwrap(), b"a");
    }

    #[test]
    fn what_is_of_no_use_goes_aside_with_the_reason_and_is_forgotten_later() {
        let (folder, spool) = spool();
        let huge = vec![0; MAX_RESPONSE_BYTES + 1];
        for (name, content) in [("1.pki", b"".as_slice()), ("2.pki", &huge), ("3.pki", b"no DER")] {
            fs::write(folder.path().join("inbox").join(name), content).unwrap();
        }
        let found = spool.find(Tray::Inbox).unwrap();
        let messages: Vec<_> = found.into_iter().map(|found| found.message).collect();
        assert_eq!(messages[0], Err(UpstreamError::Empty));
        assert_eq!(messages[1], Err(UpstreamError::TooLarge));
        assert_eq!(messages[2], Ok(b"no DER".to_vec()));
        for _ in 0..2 {
            spool
                .reject(Tray::Inbox, "3.pki", &UpstreamError::Malformed)
                .unwrap();
            fs::write(folder.path().join("inbox/3.pki"), "again").unwrap();
        }
        let rejected = folder.path().join("rejected");
        for name in ["3.pki", "3.pki.reason", "3-2.pki", "3-2.pki.reason"] {
            assert!(rejected.join(name).exists(), "{name}");
        }
        let reason = fs::read_to_string(rejected.join("3.pki.reason")).unwrap();
        assert_eq!(reason, format!("{}\n", UpstreamError::Malformed));
        spool.forget(Duration::from_secs(60)).unwrap();
        assert!(rejected.join("3.pki").exists());
        spool.forget(Duration::ZERO).unwrap();
        assert_eq!(fs::read_dir(rejected).unwrap().count(), 0);
    }
}
