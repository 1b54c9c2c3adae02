use cmp_message::certificate::Certificate;
use const_oid::ObjectIdentifier;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

/// The peer of a transaction that is over is remembered this long, so that its repetitions are recognised. That there
/// was a transaction is never forgotten: a request that is replayed long after it gets nothing.
const REMEMBERED_S: u64 = 3_600;
/// How often it is looked what can be forgotten.
const FORGET_INTERVAL_S: u64 = 60;

/// Who is on the other side, as far as it was proven.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and nearly always it is the large one"
)]
pub(crate) enum Peer {
    /// The holder of this certificate.
    Signer(Certificate),
    /// A holder of the secret of this reference.
    Mac(Vec<u8>),
}

impl Peer {
    pub(crate) fn is_mac(&self) -> bool {
        matches!(self, Self::Mac(_))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signer(a), Self::Signer(b)) => a.as_der() == b.as_der(),
            (Self::Mac(a), Self::Mac(b)) => a == b,
            _ => false,
        }
    }

    /// As the database has it: signer and mac_reference.
    pub(super) fn columns(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        match self {
            Self::Signer(signer) => (Some(signer.as_der()), None),
            Self::Mac(reference) => (None, Some(reference)),
        }
    }

    pub(super) fn from_columns(
        signer: Option<Vec<u8>>,
        mac_reference: Option<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        match (signer, mac_reference) {
            (Some(der), _) => Certificate::from_der(der)
                .map(Self::Signer)
                .map_err(|_| StoreError::Damaged("signer")),
            (None, Some(reference)) => Ok(Self::Mac(reference)),
            (None, None) => Err(StoreError::Damaged("mac_reference")),
        }
    }
}

/// Where a transaction is, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// `waiting` was said; pollReqs come.
    Waiting,
    /// The certificate is out; certConf comes.
    AwaitingCertConf,
    /// The certificate was confirmed.
    Confirmed,
    /// The certificate needed no certConf.
    ImplicitlyConfirmed,
    /// What was asked for is done; no certificate was issued.
    Answered,
    /// Refused, by whichever side.
    Refused,
    /// The peer did not go on in time.
    Late,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Waiting,
        Self::AwaitingCertConf,
        Self::Confirmed,
        Self::ImplicitlyConfirmed,
        Self::Answered,
        Self::Refused,
        Self::Late,
    ];

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::AwaitingCertConf)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::AwaitingCertConf => "awaiting-cert-conf",
            Self::Confirmed => "confirmed",
            Self::ImplicitlyConfirmed => "implicitly-confirmed",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }

    fn from_name(name: &str) -> Result<Self, StoreError> {
        let state = Self::ALL.into_iter().find(|state| state.name() == name);
        state.ok_or(StoreError::Damaged("transactions.state"))
    }
}

/// What a person says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing yet.
    Open,
    /// Yes.
    Approved,
    /// No, and what the requester is told.
    Denied(String),
}

/// One transaction of a peer.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) id: Vec<u8>,
    /// The name of the first message's body.
    pub(crate) body: String,
    /// The profile that the path of the first message named.
    pub(crate) profile: Option<String>,
    /// An RA had put its protection around the first message.
    pub(crate) is_vouched: bool,
    pub(crate) peer: Peer,
    /// How the peer protects: it may not change.
    pub(crate) protection_alg: ObjectIdentifier,
    pub(crate) state: State,
    /// senderNonce of the peer's last message.
    pub(crate) peer_nonce: Vec<u8>,
    /// senderNonce of our last message that wants an answer.
    pub(crate) sender_nonce: Vec<u8>,
    /// senderNonce of our message that the peer's last one answered.
    pub(crate) answered_nonce: Option<Vec<u8>>,
    /// The message whose answer is delayed.
    pub(crate) message: Option<Vec<u8>>,
    /// The subject that it asks for, as a person reads it.
    pub(crate) subject: String,
    /// pollReqs that will be answered with pollRep.
    pub(crate) polls_left: u32,
    /// Where a person decides.
    pub(crate) decision: Option<Decision>,
    /// Of the certificate that was issued.
    pub(crate) serial: Option<Vec<u8>>,
    /// The key that was made for it: the DER of an EncryptedKey.
    pub(crate) private_key: Option<Vec<u8>>,
    /// The certificate is not all that was asked for.
    pub(crate) is_modified: bool,
    pub(crate) began_s: u64,
    /// When the peer is late, while the transaction is open.
    pub(crate) deadline_s: u64,
    /// As the database has it.
    was_open: bool,
}

impl Transaction {
    /// A transaction that begins with a message of this kind, not stored yet.
    pub(crate) fn new(
        id: &[u8],
        body: &str,
        peer: Peer,
        protection_alg: ObjectIdentifier,
        now_s: u64,
    ) -> Self {
        Self {
            id: id.to_vec(),
            body: body.into(),
            profile: None,
            is_vouched: false,
            peer,
            protection_alg,
            state: State::Waiting,
            peer_nonce: Vec::new(),
            sender_nonce: Vec::new(),
            answered_nonce: None,
            message: None,
            subject: String::new(),
            polls_left: 0,
            decision: None,
            serial: None,
            private_key: None,
            is_modified: false,
            began_s: now_s,
            deadline_s: now_s,
            was_open: false,
        }
    }

    /// Whether it was open when it was loaded or stored last.
    pub(crate) fn is_open_in_store(&self) -> bool {
        self.was_open
    }
}

macro_rules! columns {
    () => {
        "id, body, profile, is_vouched, state, signer, mac_reference, protection_alg, peer_nonce, sender_nonce, \
         answered_nonce, message, subject, polls_left, decision, denial, serial, private_key, is_modified, began_s, \
         deadline_s"
    };
}

impl Store {
    /// How many transactions are open.
    pub fn open_transaction_count(&self) -> usize {
        self.open.get()
    }

    /// Whether there is or was a transaction of this name.
    pub(crate) fn has_transaction(&self, id: &[u8]) -> Result<bool, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT 1 FROM transactions WHERE id = ?1")?;
        Ok(select.exists([id])?)
    }

    /// A transaction that is open, or was not long ago.
    pub(crate) fn transaction(&self, id: &[u8]) -> Result<Option<Transaction>, StoreError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM transactions WHERE id = ?1 AND protection_alg <> ''"
        ))?;
        let row = select.query_row([id], |row| Ok(transaction(row))).optional()?;
        row.transpose()
    }

    /// Stores a transaction as it is now; one that is not open any more has ended.
    pub(crate) fn save(&self, transaction: &mut Transaction, now_s: u64) -> Result<(), StoreError> {
        let is_open = transaction.state.is_open();
        let (signer, mac_reference) = transaction.peer.columns();
        let (decision, denial) = match &transaction.decision {
            None => (None, None),
            Some(Decision::Open) => (Some("open"), None),
            Some(Decision::Approved) => (Some("approved"), None),
            Some(Decision::Denied(why)) => (Some("denied"), Some(why)),
        };
        let mut upsert = self.connection.prepare_cached(concat!(
            "INSERT INTO transactions (",
            columns!(),
            ", ended_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                 ?22)
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, peer_nonce = excluded.peer_nonce,
                 sender_nonce = excluded.sender_nonce, answered_nonce = excluded.answered_nonce,
                 message = excluded.message, polls_left = excluded.polls_left, decision = excluded.decision,
                 denial = excluded.denial, serial = excluded.serial, private_key = excluded.private_key,
                 is_modified = excluded.is_modified, deadline_s = excluded.deadline_s, ended_s = excluded.ended_s",
        ))?;
        upsert.execute(params![
            transaction.id,
            transaction.body,
            transaction.profile,
            transaction.is_vouched,
            transaction.state.name(),
            signer,
            mac_reference,
            transaction.protection_alg.to_string(),
            transaction.peer_nonce,
            transaction.sender_nonce,
            transaction.answered_nonce,
            transaction.message,
            transaction.subject,
            transaction.polls_left,
            decision,
            denial,
            transaction.serial,
            transaction.private_key,
            transaction.is_modified,
            transaction.began_s,
            is_open.then_some(transaction.deadline_s),
            (!is_open).then_some(now_s),
        ])?;
        match (transaction.was_open, is_open) {
            (false, true) => self.open.set(self.open.get() + 1),
            (true, false) => self.open.set(self.open.get().saturating_sub(1)),
            _ => {}
        }
        transaction.was_open = is_open;
        Ok(())
    }

    /// An open transaction whose deadline is over.
    pub(crate) fn due_transaction(&self, now_s: u64) -> Result<Option<Transaction>, StoreError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM transactions WHERE deadline_s < ?1 ORDER BY deadline_s LIMIT 1"
        ))?;
        let row = select.query_row([now_s], |row| Ok(transaction(row))).optional()?;
        row.transpose()
    }

    /// Forgets who took part in what was over long ago.
    pub(crate) fn forget(&self, now_s: u64) -> Result<(), StoreError> {
        if now_s < self.forgot_s.get().saturating_add(FORGET_INTERVAL_S) {
            return Ok(());
        }
        self.forgot_s.set(now_s);
        let mut update = self.connection.prepare_cached(
            "UPDATE transactions SET signer = NULL, mac_reference = NULL, protection_alg = '', peer_nonce = x'',
                 sender_nonce = x'', answered_nonce = NULL, message = NULL, private_key = NULL
             WHERE ended_s < ?1 AND protection_alg <> ''",
        )?;
        update.execute([now_s.saturating_sub(REMEMBERED_S)])?;
        Ok(())
    }
}

fn transaction(row: &Row<'_>) -> Result<Transaction, StoreError> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let state = State::from_name(text(4)?)?;
    let decision: Option<String> = row.get(14)?;
    let decision = match decision.as_deref() {
        None => None,
        Some("open") => Some(Decision::Open),
        Some("approved") => Some(Decision::Approved),
        Some("denied") => Some(Decision::Denied(row.get(15)?)),
        Some(_) => return Err(StoreError::Damaged("transactions.decision")),
    };
    Ok(Transaction {
        id: row.get(0)?,
        body: row.get(1)?,
        profile: row.get(2)?,
        is_vouched: row.get(3)?,
        peer: Peer::from_columns(row.get(5)?, row.get(6)?)?,
        protection_alg: ObjectIdentifier::new(text(7)?)
            .map_err(|_| StoreError::Damaged("transactions.protection_alg"))?,
        state,
        peer_nonce: row.get(8)?,
        sender_nonce: row.get(9)?,
        answered_nonce: row.get(10)?,
        message: row.get(11)?,
        subject: row.get(12)?,
        polls_left: row.get(13)?,
        decision,
        serial: row.get(16)?,
        private_key: row.get(17)?,
        is_modified: row.get(18)?,
        began_s: row.get(19)?,
        deadline_s: row.get::<_, Option<u64>>(20)?.unwrap_or_default(),
        was_open: state.is_open(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

    fn open(store: &Store, id: &[u8], deadline_s: u64) -> Transaction {
        let mut transaction = Transaction::new(id, "ir", Peer::Mac(b"r1".to_vec()), OID, 1);
        transaction.state = State::AwaitingCertConf;
        transaction.deadline_s = deadline_s;
        transaction.serial = Some(vec![5]);
        store.save(&mut transaction, 1).unwrap();
        store.transaction(id).unwrap().unwrap()
    }

    #[test]
    fn open_transactions_and_their_deadlines_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        open(&Store::open(&path).unwrap(), b"a", 10);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.open_transaction_count(), 1);
        assert!(store.due_transaction(10).unwrap().is_none());
        let due = store.due_transaction(11).unwrap().unwrap();
        assert_eq!(
            (due.id.as_slice(), due.serial.as_deref()),
            (b"a".as_slice(), Some([5].as_slice()))
        );
        assert!(due.peer.is_same(&Peer::Mac(b"r1".to_vec())));
    }

    #[test]
    fn who_took_part_is_forgotten_after_a_while_and_that_there_was_something_never() {
        let store = Store::in_memory().unwrap();
        let mut transaction = open(&store, b"a", 10);
        transaction.state = State::ImplicitlyConfirmed;
        transaction.private_key = Some(vec![7]);
        store.save(&mut transaction, 20).unwrap();
        let again = store.transaction(b"a").unwrap().unwrap();
        assert_eq!(again.private_key.as_deref(), Some([7].as_slice()));
        assert_eq!(store.open_transaction_count(), 0);
        assert!(store.due_transaction(1_000).unwrap().is_none());
        store.forget(20 + REMEMBERED_S).unwrap();
        let state = store.transaction(b"a").unwrap().unwrap().state;
        assert_eq!(state, State::ImplicitlyConfirmed);
        store.forget(21 + REMEMBERED_S + FORGET_INTERVAL_S).unwrap();
        assert!(store.transaction(b"a").unwrap().is_none());
        assert!(store.has_transaction(b"a").unwrap() && !store.has_transaction(b"b").unwrap());
        let kept = "SELECT count(*) FROM transactions WHERE private_key IS NOT NULL";
        let kept: u32 = store.connection.query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 0);
    }

    #[test]
    fn the_count_of_open_transactions_is_rolled_back_too() {
        let store = Store::in_memory().unwrap();
        open(&store, b"a", 10);
        store.begin().unwrap();
        open(&store, b"b", 10);
        assert_eq!(store.open_transaction_count(), 2);
        store.roll_back().unwrap();
        assert_eq!(store.open_transaction_count(), 1);
        assert!(!store.has_transaction(b"b").unwrap());
    }
}
