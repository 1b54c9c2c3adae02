//! What a client may be granted at most, told from what was said so far alone.

use super::*;
use cmp_message::{CertConfirmContent, PkiHeader, PkiStatus};
use std::collections::HashSet;

/// How long the server waits, as its configuration says.
const CONFIRM_WAIT_S: u64 = 300;
const POLL_S: u64 = CHECK_AFTER_S as u64 + 3_600;

/// Every transaction in which something was granted.
#[derive(Default)]
pub struct Model {
    transactions: HashMap<Vec<u8>, Transaction>,
    /// Header and body of each message that a client made.
    made: HashSet<(Vec<u8>, Vec<u8>)>,
    /// The transactions that a client began with a request for a certificate.
    pub requested: HashSet<Vec<u8>>,
}

struct Transaction {
    /// Sender and senderKID of the first message.
    peer: (Vec<u8>, Option<Vec<u8>>),
    at: At,
    /// The senderNonces of the server, each once.
    nonces: Vec<Vec<u8>>,
    deadline_s: u64,
}

#[derive(Debug, PartialEq)]
enum At {
    /// The answer to the first message comes later.
    Waiting,
    /// A certificate is out, and its confirmation is waited for.
    Issued(Vec<u8>),
    /// The answer to its confirmation comes later.
    Confirming(Vec<u8>),
    Over,
}

impl Model {
    /// A client made this message.
    pub fn made(&mut self, message: &[u8]) {
        let message = inner(message).unwrap();
        if matches!(
            *message.body,
            PkiBody::Ir(_) | PkiBody::Cr(_) | PkiBody::P10cr(_) | PkiBody::Kur(_)
        ) {
            self.requested.insert(id(&message.header));
        }
        self.made.insert(fingerprint(&message));
    }

    /// Holds the answer to a message against what was said before.
    pub fn judge(&mut self, now_s: u64, message: &[u8], answer: &PkiMessage) {
        let Some(message) = inner(message) else {
            assert!(is_refusal(answer), "no message got {:?}", answer.body);
            return;
        };
        if !self.made.contains(&fingerprint(&message)) {
            assert!(is_refusal(answer), "a changed message got {:?}", answer.body);
        } else if is_refusal(answer) {
            self.refused(&message, answer);
        } else {
            self.granted(now_s, &message, answer);
        }
    }

    /// A refused confirmation, and the refusal after a delay, end a transaction.
    fn refused(&mut self, message: &PkiMessage, answer: &PkiMessage) {
        let Some(transaction) = self.transactions.get_mut(&id(&message.header)) else {
            return;
        };
        let is_next = transaction.is_next(&message.header);
        let ends = match (&*message.body, &*answer.body) {
            (PkiBody::CertConf(_), PkiBody::Error(_)) => {
                let failure = failure(answer);
                let is_content = matches!(failure, PkiFailure::BadCertId | PkiFailure::BadRequest);
                is_content && matches!(transaction.at, At::Issued(_))
            }
            (PkiBody::PollReq(_), PkiBody::Ip(_) | PkiBody::Cp(_) | PkiBody::Kup(_) | PkiBody::Rp(_)) => true,
            _ => false,
        };
        if is_next && ends {
            transaction.at = At::Over;
        }
    }

    fn granted(&mut self, now_s: u64, message: &PkiMessage, answer: &PkiMessage) {
        let is_first = !matches!(
            *message.body,
            PkiBody::CertConf(_) | PkiBody::PollReq(_) | PkiBody::Error(_)
        );
        let known = self.transactions.remove(&id(&message.header));
        let transaction = match known {
            // A general message that is answered at once leaves no trace.
            None if matches!(*answer.body, PkiBody::Genp(_)) => {
                assert!(is_first);
                return;
            }
            None => {
                assert!(is_first, "{} began a transaction", message.body.body_type());
                Transaction {
                    peer: peer(&message.header),
                    at: At::Waiting,
                    nonces: Vec::new(),
                    deadline_s: 0,
                }
            }
            Some(transaction) => {
                assert!(!is_first, "a second {} was granted", message.body.body_type());
                transaction.check(now_s, message, answer);
                transaction
            }
        };
        let transaction = transaction.after(now_s, message, answer);
        self.transactions.insert(id(&message.header), transaction);
    }
}

impl Transaction {
    fn is_next(&self, header: &PkiHeader) -> bool {
        peer(header) == self.peer && recip_nonce(header).as_ref() == self.nonces.last()
    }

    /// Whether the message may be granted where the transaction is.
    fn check(&self, now_s: u64, message: &PkiMessage, answer: &PkiMessage) {
        let (body, at) = (message.body.body_type(), &self.at);
        assert_eq!(peer(&message.header), self.peer, "{body} of somebody else");
        let nonce = recip_nonce(&message.header).unwrap();
        let behind = self.nonces.iter().rev().position(|one| *one == nonce);
        let behind = behind.expect("a recipNonce that is none of this transaction");
        let is_late = now_s > self.deadline_s;
        match (&*message.body, at) {
            (PkiBody::CertConf(content), At::Issued(certificate)) => {
                assert!(
                    behind == 0 && !is_late,
                    "a certConf that is {behind} behind, late: {is_late}"
                );
                assert!(is_for(content, certificate), "a certConf for another certificate");
            }
            // The answer to it got lost: it is told the same again.
            (PkiBody::CertConf(_), At::Confirming(_)) => {
                assert!(behind == 1 && answer.body.body_type() == BodyType::Error)
            }
            (PkiBody::PollReq(_), At::Waiting | At::Confirming(_)) => {
                assert!(
                    behind <= 1 && !is_late,
                    "a pollReq that is {behind} behind, late: {is_late}"
                );
            }
            // The answer to the last one got lost.
            (PkiBody::PollReq(_), At::Issued(_) | At::Over) => assert_eq!(behind, 1, "a pollReq at {at:?}"),
            (PkiBody::Error(_), _) => {}
            _ => panic!("{body} was granted at {at:?}"),
        }
    }

    fn after(mut self, now_s: u64, message: &PkiMessage, answer: &PkiMessage) -> Self {
        let nonce = answer.header.sender_nonce.as_ref().unwrap().as_bytes().to_vec();
        let is_again = self.nonces.contains(&nonce);
        // The last word of a transaction is not answered, unless it is asked for again.
        if !is_again {
            self.nonces.push(nonce);
        }
        let is_waiting = is_waiting(answer);
        self.at = match (&*answer.body, self.at) {
            (_, at) if is_again => at,
            (PkiBody::Error(_), At::Issued(certificate)) if is_waiting => At::Confirming(certificate),
            (PkiBody::PollRep(_), at) => at,
            _ if is_waiting => At::Waiting,
            _ => match certificate(answer) {
                Some(certificate) if !answer.header.implicit_confirm() => At::Issued(certificate),
                _ => At::Over,
            },
        };
        if !is_again {
            let is_issued = matches!(self.at, At::Issued(_));
            self.deadline_s = now_s + if is_issued { CONFIRM_WAIT_S } else { POLL_S };
        }
        if matches!(*message.body, PkiBody::Error(_)) {
            self.at = At::Over;
        }
        self
    }
}

/// The message, or the one inside.
fn inner(message: &[u8]) -> Option<PkiMessage> {
    let message = PkiMessage::from_bytes(message).ok()?;
    match &*message.body {
        PkiBody::Nested(content) => content.parse::<Vec<PkiMessage>>().ok()?.pop(),
        _ => Some(message),
    }
}

fn id(header: &PkiHeader) -> Vec<u8> {
    let id = header.transaction_id.as_ref();
    id.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

fn recip_nonce(header: &PkiHeader) -> Option<Vec<u8>> {
    header.recip_nonce.as_ref().map(|nonce| nonce.as_bytes().to_vec())
}

fn peer(header: &PkiHeader) -> (Vec<u8>, Option<Vec<u8>>) {
    let kid = header.sender_kid.as_ref().map(|kid| kid.as_bytes().to_vec());
    (der::Encode::to_der(&header.sender).unwrap(), kid)
}

fn fingerprint(message: &PkiMessage) -> (Vec<u8>, Vec<u8>) {
    (message.header.as_der().to_vec(), message.body.as_der().to_vec())
}

fn is_for(content: &CertConfirmContent, certificate: &[u8]) -> bool {
    let [status] = content.as_slice() else {
        return false;
    };
    status.cert_hash == cert_status(certificate).cert_hash
}

fn is_waiting(answer: &PkiMessage) -> bool {
    match &*answer.body {
        PkiBody::PollRep(_) | PkiBody::Genp(_) | PkiBody::PkiConf(_) => false,
        _ => status(answer).status == PkiStatus::WAITING,
    }
}

fn is_refusal(answer: &PkiMessage) -> bool {
    match &*answer.body {
        PkiBody::PollRep(_) | PkiBody::Genp(_) | PkiBody::PkiConf(_) => false,
        _ => status(answer).status == PkiStatus::REJECTION,
    }
}
