//! An RA that is reached by files that somebody carries (RFC 9483 §6.4).
//!
//! ```text
//! DIR/outbox/NUMBER-TAG.pki   requests, in the order of their numbers; whoever takes one removes it
//! DIR/outbox/.TAG.part        a request that is not to be seen yet
//! DIR/inbox/NUMBER-TAG.pki    responses under the names of their requests; the bridge removes them
//! DIR/bad, DIR/unclaimed      what is no message, and what nobody waits for
//! ```
//! Each request is seen once, whenever the process ends: it is written under its hidden name, then the store says that it is
//! given away, then it gets its name. A hidden file of which the store says so was not seen yet; of any other the exchange
//! begins anew.

mod name;

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use cmp_binding::{ExchangeId, is_one_sequence};
use tracing::{error, info, warn};

use super::{
    breaker::{BreakerLimits, Pass},
    health::{Failure, Health, TargetView},
};
use crate::{StationKey, clock};
pub(crate) use name::Tag;
use name::{hidden_tag, is_message, number_of, tag_of};

/// Responses that are taken in one look at most.
const MAX_ARRIVED: usize = 100;
/// A file that is no message and was touched less long ago may be one that is still being written.
const MAY_BE_WRITTEN: Duration = Duration::from_secs(10);
/// A folder is never left alone.
const NEVER: BreakerLimits = BreakerLimits {
    failures: u32::MAX,
    first_rest: Duration::ZERO,
    max_rest: Duration::ZERO,
};

/// A folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct SpoolError {
    /// What in it.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// A response.
pub(crate) struct Arrived {
    pub(crate) tag: Tag,
    pub(crate) station: StationKey,
    pub(crate) exchange: ExchangeId,
    pub(crate) message: Vec<u8>,
    /// Its file.
    name: String,
}

/// A folder, used by one bridge alone. What reads or writes files blocks.
pub(crate) struct Spool {
    folder: PathBuf,
    max_bytes: usize,
    register: Mutex<Register>,
    health: Mutex<Health>,
    /// Free again when the process is gone.
    _lock: File,
}

#[derive(Default)]
struct Register {
    deposits: HashMap<Tag, Deposit>,
    tags: HashMap<(StationKey, ExchangeId), Tag>,
    last_number: u64,
    /// What a former run has left in the outbox; `None`: under the hidden name.
    left: HashMap<Tag, Option<String>>,
}

struct Deposit {
    station: StationKey,
    exchange: ExchangeId,
    state: Seen,
}

#[derive(Clone, PartialEq, Eq)]
enum Seen {
    /// It is not given away.
    NotYet,
    /// It is given away and has its hidden name still.
    Soon,
    /// It had this name in the outbox.
    As(String),
    /// Somebody has taken it.
    Taken,
}

/// What a file in the inbox is.
enum Content {
    Message(Vec<u8>),
    /// No message, and nobody writes it any more.
    Bad,
    /// Perhaps a message later.
    Unfinished,
}

impl Spool {
    /// Opens a folder, which is made if needed. `max_bytes` is what a response may have.
    ///
    /// # Errors
    /// [`SpoolError`]; also where another bridge uses it.
    pub(crate) fn open(folder: &Path, max_bytes: usize) -> Result<Self, SpoolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| SpoolError { path, error }
        };
        for folder in ["outbox", "inbox", "bad", "unclaimed"].map(|name| folder.join(name)) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(failed(&folder))?;
        }
        let lock = folder.join(".lock");
        let file = OpenOptions::new().append(true).create(true).open(&lock);
        let file = file.map_err(failed(&lock))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                failed(folder)(io::Error::other("in use by another csms-bridge or route"))
            }
            TryLockError::Error(error) => failed(&lock)(error),
        })?;
        let spool = Self {
            folder: folder.into(),
            max_bytes,
            register: Mutex::default(),
            health: Mutex::new(Health::new(NEVER)),
            _lock: file,
        };
        spool.index().map_err(failed(folder))?;
        Ok(spool)
    }

    /// Finds out what a former run has left, and the last number.
    fn index(&self) -> io::Result<()> {
        let mut register = self.register();
        for folder in [self.outbox(), self.inbox()] {
            let numbers = names(&folder)?.into_iter().filter_map(|name| number_of(&name));
            register.last_number = register.last_number.max(numbers.max().unwrap_or(0));
        }
        for name in names(&self.outbox())? {
            match hidden_tag(&name) {
                Some(tag) => drop(register.left.insert(tag, None)),
                None => {
                    if let Some(tag) = tag_of(&name) {
                        // A hidden one of the same request was not given away again.
                        register.left.entry(tag).or_insert(Some(name));
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins to give a request away; `false` while that is being done already.
    pub(crate) fn begin(&self, tag: Tag, station: &StationKey, exchange: ExchangeId) -> bool {
        let mut register = self.register();
        let is_new = !register.deposits.contains_key(&tag);
        if is_new {
            register.left.remove(&tag);
            register.insert(tag, station, exchange, Seen::NotYet);
        }
        is_new
    }

    /// Writes the request under its hidden name.
    pub(crate) fn prepare(&self, tag: Tag, request: &[u8]) -> io::Result<()> {
        let prepared = write(&self.hidden(tag), request).and_then(|()| sync(&self.outbox()));
        self.note(prepared)
    }

    /// The request was not given away after all.
    pub(crate) fn discard(&self, tag: Tag) {
        // It may not have been written. Only then may the next attempt begin.
        let _ = fs::remove_file(self.hidden(tag));
        self.register().remove(tag);
    }

    /// The store says that the request is given away: lets it be seen. Where that fails, it is tried again with each look.
    pub(crate) fn publish(&self, tag: Tag) {
        let renamed = {
            let mut register = self.register();
            let number = (register.last_number + 1).max(milliseconds());
            let Some(deposit) = register.deposits.get_mut(&tag) else {
                return;
            };
            if !matches!(deposit.state, Seen::NotYet | Seen::Soon) {
                return;
            }
            deposit.state = Seen::Soon;
            let name = format!("{number:015}-{tag}.pki");
            let renamed = fs::rename(self.hidden(tag), self.outbox().join(&name));
            if renamed.is_ok() {
                deposit.state = Seen::As(name);
                register.last_number = number;
            } else if self.outbox().is_dir() && !self.hidden(tag).exists() {
                error!(file = %self.hidden(tag).display(), "a request was removed before it could be seen");
                deposit.state = Seen::Taken;
            }
            renamed
        };
        // The log has it already.
        let _ = self.note(renamed.and_then(|()| sync(&self.outbox())));
    }

    /// Goes on waiting for the answer to a request that a former run has given away.
    pub(crate) fn resume(&self, tag: Tag, station: &StationKey, exchange: ExchangeId) {
        let mut register = self.register();
        if register.deposits.contains_key(&tag) {
            return;
        }
        let state = match register.left.remove(&tag) {
            Some(None) => Seen::Soon,
            Some(Some(name)) => Seen::As(name),
            None => Seen::Taken,
        };
        register.insert(tag, station, exchange, state);
    }

    /// All that a former run has given away is [resumed](Self::resume): nobody waits for what is left.
    pub(crate) fn resumed(&self) {
        let left = std::mem::take(&mut self.register().left);
        for (tag, name) in left {
            match name {
                Some(name) => self.put_aside(&self.outbox(), &name, "unclaimed"),
                None if self.register().deposits.contains_key(&tag) => {}
                None => drop(fs::remove_file(self.hidden(tag))),
            }
        }
    }

    /// Nobody waits for the answer any more: what is to be [removed](Self::remove), if there is something.
    pub(crate) fn withdraw(&self, station: &StationKey, exchange: ExchangeId) -> Option<PathBuf> {
        let mut register = self.register();
        let tag = *register.tags.get(&(station.clone(), exchange))?;
        let deposit = register.remove(tag)?;
        match deposit.state {
            Seen::NotYet | Seen::Soon => Some(self.hidden(tag)),
            Seen::As(name) => Some(self.outbox().join(name)),
            Seen::Taken => None,
        }
    }

    /// Removes a request that was withdrawn, unless it is taken already.
    pub(crate) fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => info!(file = %path.display(), "a request that nobody waits for was withdrawn"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(file = %path.display(), %error, "a request cannot be withdrawn"),
        }
    }

    /// The responses that have come. What is no message goes to `bad`; what nobody waits for to `unclaimed`, where
    /// `all_known` says that this can be known.
    pub(crate) fn look(&self, all_known: bool) -> Vec<Arrived> {
        let soon = self.register().soon();
        soon.into_iter().for_each(|tag| self.publish(tag));
        let mut arrived = Vec::new();
        let Ok(mut found) = self.note(names(&self.inbox())) else {
            return arrived;
        };
        found.retain(|name| is_message(name));
        found.sort_unstable();
        for name in found {
            if arrived.len() == MAX_ARRIVED {
                break;
            }
            let waiting = tag_of(&name).and_then(|tag| self.register().waiting(tag));
            if waiting.is_none() && !all_known {
                continue;
            }
            let message = match self.read(&self.inbox().join(&name)) {
                Ok(Content::Message(message)) => message,
                Ok(Content::Unfinished) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Ok(Content::Bad) | Err(_) => {
                    self.put_aside(&self.inbox(), &name, "bad");
                    continue;
                }
            };
            match waiting {
                Some((tag, station, exchange)) => arrived.push(Arrived {
                    tag,
                    station,
                    exchange,
                    message,
                    name,
                }),
                None => self.put_aside(&self.inbox(), &name, "unclaimed"),
            }
        }
        arrived
    }

    /// The response is where its exchange is, or nobody takes it: then the next look puts it aside.
    pub(crate) fn done(&self, tag: Tag, name: &str, was_taken: bool) {
        self.register().remove(tag);
        if was_taken {
            self.health().succeeded(None);
            // The log has it already.
            let _ = self.note(fs::remove_file(self.inbox().join(name)));
        }
    }

    fn read(&self, path: &Path) -> io::Result<Content> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut message = Vec::new();
        file.take(self.max_bytes as u64 + 1).read_to_end(&mut message)?;
        if message.len() <= self.max_bytes && is_one_sequence(&message) {
            return Ok(Content::Message(message));
        }
        let now = SystemTime::now();
        let modified = metadata.modified()?;
        // Its clock may be ahead of ours.
        let age = now
            .duration_since(modified)
            .or_else(|_| modified.duration_since(now));
        match age {
            Ok(age) if age < MAY_BE_WRITTEN => Ok(Content::Unfinished),
            _ => Ok(Content::Bad),
        }
    }

    fn put_aside(&self, folder: &Path, name: &str, to: &str) {
        let (from, to) = (folder.join(name), self.folder.join(to));
        let mut aside = to.join(name);
        let mut number = 2u32;
        while aside.exists() {
            aside = to.join(format!("{number}-{name}"));
            number = number.saturating_add(1);
        }
        if self.note(fs::rename(&from, &aside)).is_ok() {
            warn!(file = %from.display(), to = %aside.display(), "a file of no use was put aside");
        }
    }

    /// What goes wrong with files is logged when it begins, and counted.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let mut health = self.health();
        match &result {
            Ok(_) => health.works(),
            Err(error) => {
                if health.failures() == 0 {
                    error!(folder = %self.folder.display(), %error, "the folder of a route does not work");
                }
                health.failed(Duration::ZERO, Pass::Ordinary, Failure::File);
            }
        }
        result
    }

    /// What the store says that a request is written to.
    pub(crate) fn target(&self) -> String {
        format!("spool:{}", self.folder.display())
    }

    pub(crate) fn view(&self) -> TargetView {
        self.health().view(Duration::ZERO, self.target())
    }

    /// Requests that are given away and not answered.
    pub(crate) fn deposited(&self) -> usize {
        self.register().deposits.len()
    }

    fn outbox(&self) -> PathBuf {
        self.folder.join("outbox")
    }

    fn inbox(&self) -> PathBuf {
        self.folder.join("inbox")
    }

    fn hidden(&self, tag: Tag) -> PathBuf {
        self.outbox().join(format!(".{tag}.part"))
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrived {
    pub(crate) fn into_parts(self) -> (Tag, String, ExchangeId, Vec<u8>) {
        (self.tag, self.name, self.exchange, self.message)
    }
}

impl Register {
    fn insert(&mut self, tag: Tag, station: &StationKey, exchange: ExchangeId, state: Seen) {
        self.tags.insert((station.clone(), exchange), tag);
        let station = station.clone();
        self.deposits.insert(
            tag,
            Deposit {
                station,
                exchange,
                state,
            },
        );
    }

    fn remove(&mut self, tag: Tag) -> Option<Deposit> {
        let deposit = self.deposits.remove(&tag)?;
        let key = (deposit.station.clone(), deposit.exchange);
        if self.tags.get(&key) == Some(&tag) {
            self.tags.remove(&key);
        }
        Some(deposit)
    }

    fn waiting(&self, tag: Tag) -> Option<(Tag, StationKey, ExchangeId)> {
        let deposit = self.deposits.get(&tag)?;
        Some((tag, deposit.station.clone(), deposit.exchange))
    }

    fn soon(&self) -> Vec<Tag> {
        let soon = self
            .deposits
            .iter()
            .filter(|(_, deposit)| deposit.state == Seen::Soon);
        soon.map(|(tag, _)| *tag).collect()
    }
}

/// The files of a folder; a link may lead anywhere and is none.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let files = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    Ok(files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn milliseconds() -> u64 {
    u64::try_from(clock::utc().as_millis()).unwrap_or(u64::MAX)
}
