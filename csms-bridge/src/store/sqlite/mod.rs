//! Everything in one SQLite file, which a thread of its own reads and writes.

mod database;
mod rows;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use database::Database;
use tokio::sync::{mpsc, oneshot};

use super::{AuditEntry, AuditQuery, Batch, Facts, Later, StationKey, Store, StoreError, Stored};
use crate::clock;

/// Batches that wait for the thread.
const MAX_WAITING: usize = 4_096;
/// Batches that are made durable with one write to the disk.
const MAX_GROUP: usize = 512;
/// How often what is too old is looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// How long an [`SqliteStore`] keeps what is over.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Days that an entry of the audit trail is kept.
    pub audit_d: u64,
    /// Entries of the audit trail that are kept at most.
    pub audit_entries: u64,
    /// Days that a station is remembered that does not come any more.
    pub stations_d: u64,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be made.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error("{0}: in use by another csms-bridge; give each its own file")]
    InUse(PathBuf),
    /// A newer program has written it.
    #[error(
        "{path}: written by a newer csms-bridge (version {version}); install that one, or choose another file"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version of its schema.
        version: i64,
    },
    /// It is no database, or damaged.
    #[error("{0}: {1}; restore it from a backup, or move it away to begin anew")]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// Keeps everything in one SQLite file, readable by its owner alone; survives a loss of power.
///
/// Batches of many stations that come at the same time share one write to the disk. Other programs may read the file while
/// it is in use.
#[derive(Debug)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Apply(Box<Batch>, Answer<()>),
    Load(StationKey, Answer<Stored>),
    Unfinished(Answer<Vec<StationKey>>),
    Target(StationKey, Vec<u8>, Answer<Option<String>>),
    Stations(Answer<Vec<(StationKey, Facts)>>),
    Audit(AuditQuery, Answer<Vec<AuditEntry>>),
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// The thread is gone, which only happens when the process ends.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
struct Closed;

impl SqliteStore {
    /// Opens the file, which is made if needed, and brings it up to this version.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        file.map_err(|error| OpenError::File(path.into(), error))?;
        let database = Database::open(path, retention)?;
        let (jobs, queue) = mpsc::channel(MAX_WAITING);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                run(database, queue);
                drop(lock);
            })
            .map_err(|error| OpenError::File(path.into(), error))?;
        Ok(Self { jobs })
    }

    /// Hands a job to the thread at once where there is room, so that jobs keep the order of the calls.
    fn ask<T: Send + 'static>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Later<T> {
        let (answer, answered) = oneshot::channel();
        let full = match self.jobs.try_send(job(answer)) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(job)) => Some((self.jobs.clone(), job)),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Box::pin(std::future::ready(Err(StoreError::of(Closed))));
            }
        };
        Box::pin(async move {
            if let Some((jobs, job)) = full {
                jobs.send(job).await.map_err(|_| StoreError::of(Closed))?;
            }
            answered.await.map_err(|_| StoreError::of(Closed))?
        })
    }
}

impl Store for SqliteStore {
    fn apply(&self, batch: Batch) -> Later<()> {
        self.ask(|answer| Job::Apply(Box::new(batch), answer))
    }

    fn load(&self, station: &StationKey) -> Later<Stored> {
        self.ask(|answer| Job::Load(station.clone(), answer))
    }

    fn unfinished(&self) -> Later<Vec<StationKey>> {
        self.ask(Job::Unfinished)
    }

    fn target(&self, station: &StationKey, transaction_id: &[u8]) -> Later<Option<String>> {
        self.ask(|answer| Job::Target(station.clone(), transaction_id.into(), answer))
    }

    fn stations(&self) -> Later<Vec<(StationKey, Facts)>> {
        self.ask(Job::Stations)
    }

    fn audit(&self, query: AuditQuery) -> Later<Vec<AuditEntry>> {
        self.ask(|answer| Job::Audit(query, answer))
    }
}

/// Takes a lock beside the file; it is free again when the process is gone, however it went.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&name);
    let file = file.map_err(|error| OpenError::File(name.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.into())),
        Err(TryLockError::Error(error)) => Err(OpenError::File(name, error)),
    }
}

/// The thread: does job after job until the store is dropped.
fn run(mut database: Database, mut jobs: mpsc::Receiver<Job>) {
    let mut cleaned = Duration::ZERO;
    while let Some(job) = jobs.blocking_recv() {
        let mut next = Some(job);
        let mut group = Vec::new();
        while let Some(job) = next.take() {
            match job {
                Job::Apply(batch, answer) => group.push((*batch, answer)),
                other => {
                    // What was applied before is seen by who reads after.
                    apply(&mut database, std::mem::take(&mut group));
                    read(&mut database, other);
                }
            }
            if group.len() < MAX_GROUP {
                next = jobs.try_recv().ok();
            }
        }
        apply(&mut database, group);
        let now = clock::now();
        if now.saturating_sub(cleaned) >= CLEAN_EVERY {
            cleaned = now;
            if let Err(error) = database.clean(clock::utc()) {
                tracing::warn!(%error, "what is too old could not be deleted from the store");
            }
        }
    }
}

/// Makes a group of batches durable at once; where that fails, each for itself, so that each has its own error.
fn apply(database: &mut Database, group: Vec<(Batch, Answer<()>)>) {
    if group.is_empty() {
        return;
    }
    let all = database.apply(group.iter().map(|(batch, _)| batch));
    let alone = group.len() == 1;
    for (batch, answer) in group {
        let result = match &all {
            Ok(()) => Ok(()),
            Err(_) if !alone => database.apply([&batch]).map_err(StoreError::of),
            Err(error) => Err(StoreError::of(error.to_string())),
        };
        // Who does not wait any more does not need to know.
        let _ = answer.send(result);
    }
}

fn read(database: &mut Database, job: Job) {
    fn answer<T>(answer: Answer<T>, result: Result<T, database::Error>) {
        let _ = answer.send(result.map_err(StoreError::of));
    }
    match job {
        Job::Apply(..) => {}
        Job::Load(station, to) => answer(to, database.load(&station)),
        Job::Unfinished(to) => answer(to, database.unfinished()),
        Job::Target(station, transaction_id, to) => answer(to, database.target(&station, &transaction_id)),
        Job::Stations(to) => answer(to, database.stations()),
        Job::Audit(query, to) => answer(to, database.audit(&query)),
    }
}
