//! What an RA passes on: the transactions of end entities, and the messages on their way into files.

use cmp_message::BodyType;
use const_oid::ObjectIdentifier;
use rusqlite::{OptionalExtension, Row, params};

use super::{Peer, Store, StoreError};
use crate::Forward;

/// Where a transaction that is passed on stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A message is with the server behind, and the end entity waits for the answer.
    Asked,
    /// A message is with the server behind, and the end entity polls.
    Delayed,
    /// A person has not decided yet, or the decision waits for the next pollReq.
    Undecided,
    /// The answer to it is there, and the end entity polls.
    Arrived,
    /// There will be no answer, and the end entity polls.
    Failed,
    /// The end entity has its certificate and is to confirm it.
    AwaitingCertConf,
    /// The server behind has told the end entity to poll.
    AwaitingPollReq,
    /// A certConf was answered with pkiConf.
    Confirmed,
    /// Over in another way.
    Over,
}

impl Progress {
    const ALL: [Self; 9] = [
        Self::Asked,
        Self::Delayed,
        Self::Undecided,
        Self::Arrived,
        Self::Failed,
        Self::AwaitingCertConf,
        Self::AwaitingPollReq,
        Self::Confirmed,
        Self::Over,
    ];

    pub(crate) fn is_open(self) -> bool {
        !matches!(self, Self::Confirmed | Self::Over)
    }

    /// The end entity polls for what is not given out yet.
    pub(crate) fn is_polled_for(self) -> bool {
        matches!(
            self,
            Self::Asked | Self::Delayed | Self::Undecided | Self::Arrived | Self::Failed
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Delayed => "delayed",
            Self::Undecided => "undecided",
            Self::Arrived => "arrived",
            Self::Failed => "failed",
            Self::AwaitingCertConf => "awaiting-cert-conf",
            Self::AwaitingPollReq => "awaiting-poll-req",
            Self::Confirmed => "confirmed",
            Self::Over => "over",
        }
    }
}

/// A transaction that is passed on.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) id: Vec<u8>,
    /// Of the first message.
    pub(crate) body: BodyType,
    pub(crate) forward: Forward,
    pub(crate) peer: Peer,
    /// How the end entity protects: it may not change.
    pub(crate) protection_alg: ObjectIdentifier,
    pub(crate) progress: Progress,
    /// Of the message whose answer is awaited, whatever is polled for it.
    pub(crate) awaited_for: BodyType,
    /// Of the message that was passed on last.
    pub(crate) sent_body: BodyType,
    /// Its senderNonce.
    pub(crate) sent_nonce: Vec<u8>,
    /// senderNonce of what the end entity got last.
    pub(crate) nonce: Vec<u8>,
    /// senderNonce of what it got before that.
    pub(crate) answered_nonce: Option<Vec<u8>>,
    /// Of the server behind, to the message that was passed on last.
    pub(crate) response: Option<Vec<u8>>,
    /// Until when it is open, or remembered.
    pub(crate) deadline_s: u64,
}

impl Forwarded {
    /// The end entity was told to wait for the answer that the server behind is being asked for, and polls.
    pub(crate) fn is_polled(&self) -> bool {
        !self.nonce.is_empty() && !matches!(self.sent_body, BodyType::CertConf | BodyType::Error)
    }

    /// The end entity answers what has this senderNonce next.
    pub(crate) fn turn(&mut self, nonce: Vec<u8>) {
        let answered = std::mem::replace(&mut self.nonce, nonce);
        self.answered_nonce = (!answered.is_empty()).then_some(answered);
    }
}

/// A message on its way into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// In which order it goes.
    pub(crate) number: u64,
    pub(crate) message: Vec<u8>,
    pub(crate) since_s: u64,
}

impl Store {
    /// Whether there is or was a transaction of this name.
    pub(crate) fn has_forwarded(&self, id: &[u8]) -> Result<bool, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT 1 FROM forwards WHERE id = ?1")?;
        Ok(select.exists([id])?)
    }

    /// A transaction that is open, or was not long ago.
    pub(crate) fn forwarded(&self, id: &[u8]) -> Result<Option<Forwarded>, StoreError> {
        let mut select = self.connection.prepare_cached(
            "SELECT id, body, forward, progress, signer, mac_reference, protection_alg, awaited_for, sent_body,
                    sent_nonce, nonce, answered_nonce, response, deadline_s
             FROM forwards WHERE id = ?1 AND protection_alg <> ''",
        )?;
        let row = select.query_row([id], |row| Ok(forwarded(row))).optional()?;
        row.transpose()
    }

    /// Stores a transaction as it is now.
    pub(crate) fn save_forwarded(&self, forwarded: &Forwarded) -> Result<(), StoreError> {
        let (signer, mac_reference) = forwarded.peer.columns();
        let mut upsert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO forwards (id, body, forward, progress, signer, mac_reference, protection_alg,
                 awaited_for, sent_body, sent_nonce, nonce, answered_nonce, response, deadline_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        upsert.execute(params![
            forwarded.id,
            forwarded.body.name(),
            forwarded.forward.name(),
            forwarded.progress.name(),
            signer,
            mac_reference,
            forwarded.protection_alg.to_string(),
            forwarded.awaited_for.name(),
            forwarded.sent_body.name(),
            forwarded.sent_nonce,
            forwarded.nonce,
            forwarded.answered_nonce,
            forwarded.response,
            forwarded.deadline_s,
        ])?;
        match forwarded.progress {
            // It may have to be asked for once more.
            Progress::Undecided | Progress::Asked => Ok(()),
            _ => self.forget_approval(&forwarded.id),
        }
    }

    /// How many transactions are open.
    pub(crate) fn open_forwarded_count(&self) -> Result<usize, StoreError> {
        let mut select = self.connection.prepare_cached(
            "SELECT count(*) FROM forwards WHERE protection_alg <> '' AND progress NOT IN ('confirmed', 'over')",
        )?;
        Ok(select.query_row([], |row| row.get(0))?)
    }

    /// Ends what was open too long, at `now_s`, and forgets who took part in what was over long ago; that there was
    /// something is never forgotten. The transactionIDs of what was ended.
    pub(crate) fn expire_forwarded(&self, now_s: u64, remember_s: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut forget = self.connection.prepare_cached(
            "UPDATE forwards SET signer = NULL, mac_reference = NULL, protection_alg = '', sent_nonce = x'',
                 nonce = x'', answered_nonce = NULL, response = NULL
             WHERE deadline_s < ?1 AND protection_alg <> '' AND progress IN ('confirmed', 'over')",
        )?;
        forget.execute([now_s])?;
        let mut end = self.connection.prepare_cached(
            "UPDATE forwards SET progress = 'over', deadline_s = ?2
             WHERE deadline_s < ?1 AND protection_alg <> '' RETURNING id",
        )?;
        let ended = end.query_map([now_s, now_s.saturating_add(remember_s)], |row| row.get(0))?;
        let ended = ended.collect::<Result<Vec<Vec<u8>>, _>>()?;
        for id in &ended {
            self.forget_approval(id)?;
        }
        let mut forget = self
            .connection
            .prepare_cached("DELETE FROM bundles WHERE deadline_s < ?1")?;
        forget.execute([now_s])?;
        Ok(ended)
    }

    /// Puts a message behind the others that go into files. One that is not `is_bundled` waits for others to go with.
    pub(crate) fn enqueue(&self, message: &[u8], is_bundled: bool, now_s: u64) -> Result<(), StoreError> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO outbox (message, is_bundled, since_s) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![message, is_bundled, now_s])?;
        Ok(())
    }

    /// The first messages that go into files, or those that wait for others to go with.
    pub(crate) fn queued(&self, is_bundled: bool, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let mut select = self.connection.prepare_cached(
            "SELECT number, message, since_s FROM outbox WHERE is_bundled = ?1 ORDER BY number LIMIT ?2",
        )?;
        let rows = select.query_map(params![is_bundled, limit], |row| {
            Ok(Outgoing {
                number: row.get(0)?,
                message: row.get(1)?,
                since_s: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A message has gone.
    pub(crate) fn dequeue(&self, number: u64) -> Result<(), StoreError> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM outbox WHERE number = ?1")?;
        delete.execute([number])?;
        Ok(())
    }

    /// Remembers a nested message until `deadline_s`.
    pub(crate) fn record_bundle(&self, id: &[u8], message: &[u8], deadline_s: u64) -> Result<(), StoreError> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO bundles (id, message, deadline_s) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![id, message, deadline_s])?;
        Ok(())
    }

    /// A nested message that is remembered.
    pub(crate) fn bundle(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT message FROM bundles WHERE id = ?1")?;
        Ok(select.query_row([id], |row| row.get(0)).optional()?)
    }

    /// A nested message was answered.
    pub(crate) fn forget_bundle(&self, id: &[u8]) -> Result<(), StoreError> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM bundles WHERE id = ?1")?;
        delete.execute([id])?;
        Ok(())
    }
}

fn forwarded(row: &Row<'_>) -> Result<Forwarded, StoreError> {
    let text = |column| -> Result<&str, StoreError> {
        Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
    };
    let body = |column| {
        BodyType::from_name(text(column)?).ok_or(StoreError::Damaged("the name of a body in forwards"))
    };
    let progress = text(3)?;
    let mut progresses = Progress::ALL.into_iter();
    Ok(Forwarded {
        id: row.get(0)?,
        body: body(1)?,
        forward: Forward::from_name(text(2)?).ok_or(StoreError::Damaged("forwards.forward"))?,
        progress: progresses
            .find(|one| one.name() == progress)
            .ok_or(StoreError::Damaged("forwards.progress"))?,
        peer: Peer::from_columns(row.get(4)?, row.get(5)?)?,
        protection_alg: ObjectIdentifier::new(text(6)?)
            .map_err(|_| StoreError::Damaged("forwards.protection_alg"))?,
        awaited_for: body(7)?,
        sent_body: body(8)?,
        sent_nonce: row.get(9)?,
        nonce: row.get(10)?,
        answered_nonce: row.get(11)?,
        response: row.get(12)?,
        deadline_s: row.get(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(id: &[u8], progress: Progress, deadline_s: u64) -> Forwarded {
        Forwarded {
            id: id.to_vec(),
            body: BodyType::Ir,
            forward: Forward::Replaced,
            peer: Peer::Mac(b"r1".to_vec()),
            protection_alg: ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13"),
            progress,
            awaited_for: BodyType::CertConf,
            sent_body: BodyType::PollReq,
            sent_nonce: vec![1],
            nonce: vec![2],
            answered_nonce: Some(vec![3]),
            response: Some(vec![4]),
            deadline_s,
        }
    }

    #[test]
    fn what_is_passed_on_survives_a_restart_with_every_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        for progress in Progress::ALL {
            let before = some(progress.name().as_bytes(), progress, 7);
            Store::open(&path).unwrap().save_forwarded(&before).unwrap();
            let after = Store::open(&path)
                .unwrap()
                .forwarded(&before.id)
                .unwrap()
                .unwrap();
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
        assert_eq!(Store::open(&path).unwrap().open_forwarded_count().unwrap(), 7);
    }

    #[test]
    fn what_is_open_too_long_ends_and_is_forgotten_later_but_not_that_it_was() {
        let store = Store::in_memory().unwrap();
        store.save_forwarded(&some(b"a", Progress::Delayed, 10)).unwrap();
        store
            .save_forwarded(&some(b"b", Progress::Confirmed, 99))
            .unwrap();
        assert!(store.expire_forwarded(10, 50).unwrap().is_empty());
        assert_eq!(store.expire_forwarded(11, 50).unwrap(), [b"a"]);
        let ended = store.forwarded(b"a").unwrap().unwrap();
        assert_eq!((ended.progress, ended.deadline_s), (Progress::Over, 61));
        assert!(store.expire_forwarded(62, 50).unwrap().is_empty());
        assert!(store.forwarded(b"a").unwrap().is_none());
        assert!(store.has_forwarded(b"a").unwrap());
        let confirmed = store.forwarded(b"b").unwrap().unwrap();
        assert_eq!(confirmed.progress, Progress::Confirmed);
    }

    #[test]
    fn messages_leave_in_order_and_numbers_are_not_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = Store::open(&path).unwrap();
        store.enqueue(b"alone", false, 1).unwrap();
        store.enqueue(b"first", true, 2).unwrap();
        store.enqueue(b"second", true, 3).unwrap();
        let queued = store.queued(true, 10).unwrap();
        let messages: Vec<_> = queued.iter().map(|one| one.message.as_slice()).collect();
        assert_eq!(messages, [b"first".as_slice(), b"second"]);
        assert_eq!(store.queued(true, 1).unwrap().len(), 1);
        assert_eq!(store.queued(false, 10).unwrap()[0].since_s, 1);
        store.dequeue(queued[1].number).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        store.enqueue(b"third", true, 4).unwrap();
        assert_eq!(store.queued(true, 10).unwrap()[1].number, queued[1].number + 1);
    }

    #[test]
    fn a_nested_message_is_remembered_until_it_is_answered_or_too_old() {
        let store = Store::in_memory().unwrap();
        store.record_bundle(b"a", b"one", 10).unwrap();
        store.record_bundle(b"b", b"two", 20).unwrap();
        assert_eq!(store.bundle(b"a").unwrap().as_deref(), Some(b"one".as_slice()));
        store.expire_forwarded(11, 0).unwrap();
        assert_eq!(store.bundle(b"a").unwrap(), None);
        store.forget_bundle(b"b").unwrap();
        assert_eq!(store.bundle(b"b").unwrap(), None);
    }
}
