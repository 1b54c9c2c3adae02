use cmp_message::certificate::Certificate;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::RequestKind;
use crate::certificate_policy::Order;

/// A closed transaction is remembered this long, so that repetitions are recognised.
const REMEMBERED_S: u64 = 3_600;

/// Who is on the other side, as far as it was proven.
// There is one, behind an `Arc`, for each transaction: nothing is gained by a box inside.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum Peer {
    /// The holder of this certificate.
    Signer(Certificate),
    /// A holder of the secret of this reference.
    Mac(Option<Vec<u8>>),
}

impl Peer {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signer(a), Self::Signer(b)) => a.as_der() == b.as_der(),
            (Self::Mac(a), Self::Mac(b)) => a == b,
            _ => false,
        }
    }
}

/// One transaction of a peer.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) peer: Arc<Peer>,
    /// senderNonce of our last message that wants an answer.
    pub(crate) sender_nonce: Vec<u8>,
    pub(crate) state: State,
    deadline_s: u64,
}

/// Where a transaction is.
#[derive(Debug)]
pub(crate) enum State {
    /// `waiting` was said; pollReqs come.
    Waiting {
        order: Arc<Order>,
        kind: RequestKind,
        implicit_confirm: bool,
        polls_left: u32,
    },
    /// The certificate is out; certConf comes.
    AwaitingCertConf { serial: Vec<u8>, certificate: Vec<u8> },
    /// Over.
    Closed(End),
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Confirmed,
    ImplicitlyConfirmed,
    Refused,
    Late,
}

/// There are too many open transactions.
#[derive(Debug)]
pub(crate) struct Full;

/// The transactions by transactionID: limited in number and in time.
#[derive(Debug)]
pub(crate) struct Transactions {
    all: HashMap<Vec<u8>, Transaction>,
    open: BTreeSet<(u64, Vec<u8>)>,
    /// By the time at which they are forgotten.
    closed: VecDeque<(u64, Vec<u8>)>,
    limit: usize,
}

impl Transactions {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            all: HashMap::new(),
            open: BTreeSet::new(),
            closed: VecDeque::new(),
            limit,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&Transaction> {
        self.all.get(id)
    }

    pub(crate) fn find_mut(&mut self, id: &[u8]) -> Option<&mut Transaction> {
        self.all.get_mut(id)
    }

    /// Makes room for one more, if need be by forgetting what is over.
    pub(crate) fn reserve(&mut self) -> Result<(), Full> {
        while self.all.len() >= self.limit {
            let (_, id) = self.closed.pop_front().ok_or(Full)?;
            self.all.remove(&id);
        }
        Ok(())
    }

    /// Begins a transaction, or moves an open one on, with a new deadline.
    pub(crate) fn set(&mut self, id: &[u8], peer: Arc<Peer>, state: State, deadline_s: u64) {
        let sender_nonce = match self.all.remove(id) {
            Some(old) => {
                self.open.remove(&(old.deadline_s, id.to_vec()));
                old.sender_nonce
            }
            None => Vec::new(),
        };
        self.open.insert((deadline_s, id.to_vec()));
        let transaction = Transaction {
            peer,
            sender_nonce,
            state,
            deadline_s,
        };
        self.all.insert(id.to_vec(), transaction);
    }

    /// Ends an open transaction; gives its last state.
    pub(crate) fn close(&mut self, id: &[u8], end: End, now_s: u64) -> Option<State> {
        let transaction = self.all.get_mut(id)?;
        if !self.open.remove(&(transaction.deadline_s, id.to_vec())) {
            return None;
        }
        self.closed
            .push_back((now_s.saturating_add(REMEMBERED_S), id.to_vec()));
        Some(std::mem::replace(&mut transaction.state, State::Closed(end)))
    }

    /// An open transaction whose deadline is over.
    pub(crate) fn due(&self, now_s: u64) -> Option<Vec<u8>> {
        let (deadline_s, id) = self.open.first()?;
        (*deadline_s < now_s).then(|| id.clone())
    }

    /// Forgets what was over long ago.
    pub(crate) fn forget(&mut self, now_s: u64) {
        while self.closed.front().is_some_and(|(until_s, _)| *until_s < now_s) {
            if let Some((_, id)) = self.closed.pop_front() {
                self.all.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting_for_cert_conf() -> State {
        State::AwaitingCertConf {
            serial: vec![1],
            certificate: vec![2],
        }
    }

    #[test]
    fn closed_transactions_make_room_and_open_ones_do_not() {
        let peer = Arc::new(Peer::Mac(None));
        let mut transactions = Transactions::new(2);
        for id in [b"a", b"b"] {
            transactions.reserve().unwrap();
            transactions.set(id, peer.clone(), waiting_for_cert_conf(), 10);
        }
        assert!(transactions.reserve().is_err());
        assert!(transactions.close(b"a", End::Confirmed, 5).is_some());
        transactions.reserve().unwrap();
        assert!(transactions.find(b"a").is_none());
        assert!(transactions.find(b"b").is_some());
    }

    #[test]
    fn a_transaction_is_due_after_its_deadline_and_forgotten_later() {
        let mut transactions = Transactions::new(2);
        transactions.set(b"a", Arc::new(Peer::Mac(None)), waiting_for_cert_conf(), 10);
        assert!(transactions.due(10).is_none());
        assert_eq!(transactions.due(11).as_deref(), Some(b"a".as_slice()));
        assert!(transactions.close(b"a", End::Late, 11).is_some());
        assert!(transactions.close(b"a", End::Late, 11).is_none());
        assert!(transactions.due(12).is_none());
        transactions.forget(11 + REMEMBERED_S);
        assert_eq!(transactions.len(), 1);
        transactions.forget(12 + REMEMBERED_S);
        assert_eq!(transactions.len(), 0);
    }
}
