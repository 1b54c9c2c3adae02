//! A station and an RA through any sequence of answers, transfer failures, failing completions and restarts.
//!
//! A transaction never panics, ends in bounded steps, and succeeds only with what the RA gave: a certificate that it issued for
//! the key and that was confirmed, a revocation that it carried out, or something that it said.
// Each user takes its part.
#![allow(dead_code)]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use cmp_client::{
    Action, Config, Enrolled, Failure, JobResult, KeyId, Outcome, Request, Time, Transaction, TransferFailure,
};
use cmp_message::{
    ErrorMsgContent, PkiBody, PkiFailure, PkiHeader, PkiMessage, PkiStatus, PkiStatusInfo, PollRep,
    RevRepContent,
    crypto::{Crypto, HashAlgorithm, RustCrypto, SigningKey},
};

#[cfg(feature = "envelope")]
use cmp_message::{envelope::RecipientKey, mac::Secret};

use super::ra::{self, CrlDraft, NOW_S, Ra, Succession, old_certificate, root, station_keys};

/// A configuration, a request that it works with, and what the RA makes of its answers.
type Asked = (Config, Request, Option<fn(PkiBody) -> PkiBody>);

/// Every operation, made once.
pub static OPERATIONS: LazyLock<Vec<Asked>> = LazyLock::new(|| {
    let own = ra::operations()
        .into_iter()
        .map(|(_, config, request)| (config, request, None));
    #[cfg(feature = "envelope")]
    let own = own.chain(
        ra::central_operations()
            .into_iter()
            .map(|(config, request, deliver)| (config, request, Some(deliver))),
    );
    own.collect()
});

/// No run of the operations below, and of an RA that behaves after them, takes more.
const MAX_STEPS: usize = 400;

/// What happens to a message that is sent, or to a completion that is due.
#[derive(Clone, Debug)]
pub enum Op {
    /// The RA's answer.
    Answer,
    /// The RA's answer with one bit changed.
    Mutated(usize, u8),
    /// The RA's answer, cut short.
    Cut(usize),
    /// The answer of before, once more.
    Duplicate,
    /// Bytes.
    Noise(Vec<u8>),
    /// An authentic answer with a body that may have no place here.
    Authentic(Body),
    /// The same without protection.
    Unprotected(Body),
    /// No answer.
    Lost,
    NotSent,
    Refused,
    /// The process dies before the message has left, or after it was answered and before that was taken.
    Restart {
        answered: bool,
    },
    /// The RA's answer, and at once bytes that nobody asked for.
    Extra(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub enum Body {
    PkiConf,
    PollRep(i64, i64),
    Waiting,
    CertConfirmed,
    InUse,
    Rejection,
    CertRevoked,
    Rp(PkiStatus),
    Genp,
}

impl Body {
    fn make(self) -> PkiBody {
        let error = |failure| PkiBody::Error(ErrorMsgContent::from(PkiStatusInfo::rejection(failure, "")));
        match self {
            Self::PkiConf => PkiBody::PkiConf(der::asn1::Null),
            Self::PollRep(cert_req_id, check_after) => PkiBody::PollRep(vec![PollRep {
                cert_req_id,
                check_after,
                reason: None,
            }]),
            Self::Waiting => PkiBody::Error(ErrorMsgContent::from(PkiStatusInfo::from(PkiStatus::WAITING))),
            Self::CertConfirmed => error(PkiFailure::CertConfirmed),
            Self::InUse => error(PkiFailure::TransactionIdInUse),
            Self::Rejection => error(PkiFailure::BadRequest),
            Self::CertRevoked => error(PkiFailure::CertRevoked),
            Self::Rp(status) => PkiBody::Rp(RevRepContent {
                status: vec![status.into()],
                rev_certs: None,
                crls: None,
            }),
            Self::Genp => PkiBody::Genp(Vec::new()),
        }
    }
}

/// The RA says by this that it has taken a certConf.
fn confirms(body: &PkiBody) -> bool {
    match body {
        PkiBody::PkiConf(_) => true,
        PkiBody::Error(error) => error.pki_status_info.contains(PkiFailure::CertConfirmed),
        _ => false,
    }
}

/// The RA says by this that the certificate is revoked.
fn revokes(body: &PkiBody) -> bool {
    match body {
        PkiBody::Rp(content) => {
            let status = &content.status[0];
            status.status == PkiStatus::ACCEPTED || status.contains(PkiFailure::CertRevoked)
        }
        PkiBody::Error(error) => error.pki_status_info.contains(PkiFailure::CertRevoked),
        _ => false,
    }
}

#[derive(Clone, Debug)]
pub struct Case {
    pub ops: Vec<Op>,
    /// Which of the operations.
    pub operation: usize,
    pub ask_implicit: bool,
    pub grant_implicit: bool,
    pub believe_errors: bool,
    pub limited: bool,
    pub polls: Vec<i64>,
    pub delay_confirmation: bool,
    pub other_key: bool,
    pub other_subject: bool,
    /// The number of the completion that fails.
    pub failing_job: Option<usize>,
    /// The number of the keeping before whose completion the process dies.
    pub die_in_store: Option<usize>,
}

/// A station that dies and comes back, and everything that it must hold to.
pub struct World {
    pub ra: Ra,
    config: Arc<Config>,
    now: Time,
    transaction: Transaction,
    pub lives: u8,
    /// What was kept last.
    kept: Option<Kept>,
    last_answer: Vec<u8>,
    /// certHash of each certConf of ours that accepts.
    accepted: Vec<Vec<u8>>,
    /// An authentic answer said that the certConf was taken.
    said_confirmed: bool,
    /// An authentic answer said that the certificate is revoked.
    said_revoked: bool,
    jobs: usize,
    stores: usize,
    sends: usize,
}

#[derive(Clone)]
struct Kept {
    state: Vec<u8>,
    /// The message that is to be sent now and by a restart; `None`: a delay is to be waited for.
    message: Option<Vec<u8>>,
}

impl World {
    pub fn new(case: &Case) -> Self {
        let mut ra = Ra::new();
        ra.grant_implicit = case.grant_implicit;
        ra.polls = case.polls.clone();
        ra.delay_confirmation = case.delay_confirmation && case.polls.is_empty();
        ra.issue_other_key = case.other_key;
        ra.issue_other_subject = case.other_subject;
        let (base, request, deliver) = OPERATIONS[case.operation].clone();
        ra.body = deliver;
        let config = Arc::new(Config {
            implicit_confirm: case.ask_implicit,
            accept_unprotected_errors: case.believe_errors,
            max_total_wait: case.limited.then_some(Duration::from_secs(250_000)),
            ..base
        });
        let now = Time {
            monotonic: Duration::from_secs(5),
            utc_s: Some(NOW_S),
        };
        let transaction = Transaction::new(config.clone(), request, [1; 32], now);
        Self {
            ra,
            config,
            now,
            transaction,
            lives: 1,
            kept: None,
            last_answer: Vec::new(),
            accepted: Vec::new(),
            said_confirmed: false,
            said_revoked: false,
            jobs: 0,
            stores: 0,
            sends: 0,
        }
    }

    pub fn run(&mut self, case: &Case) -> Result<Outcome, Failure> {
        let mut ops = case.ops.iter();
        for _ in 0..MAX_STEPS {
            match self.transaction.poll_action() {
                Some(Action::Sign { job, key, input, .. }) => {
                    let signature = self.sign(key, &input);
                    self.complete(case, job, JobResult::Signed(signature));
                }
                #[cfg(feature = "envelope")]
                Some(Action::Agree { job, key, public_key }) => {
                    let shared = station_keys()[key.0 as usize].agree(&public_key).unwrap();
                    self.complete(case, job, JobResult::Recovered(Secret::new(shared.to_vec())));
                }
                Some(Action::Store { job, state }) => {
                    self.stores += 1;
                    if case.die_in_store == Some(self.stores) && self.kept.is_some() {
                        self.restart();
                    } else if self.complete(case, job, JobResult::Stored) {
                        self.kept = Some(self.look_into(state));
                    }
                }
                Some(Action::Send { message, .. }) => self.send(ops.next().unwrap_or(&Op::Answer), message),
                Some(Action::Done(result)) => {
                    self.is_over();
                    return result;
                }
                Some(_) => {}
                None => self.pass_time(),
            }
        }
        panic!("no end after {MAX_STEPS} steps");
    }

    /// What a restart would do: send a message, or wait exactly as the one that lives.
    fn look_into(&self, state: Vec<u8>) -> Kept {
        let mut probe = Transaction::resume(self.config.clone(), &state, [99; 32], self.now).unwrap();
        let message = match probe.poll_action() {
            Some(Action::Send { message, .. }) => Some(message),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(probe.poll_timeout(), self.transaction.poll_timeout());
        Kept { state, message }
    }

    fn sign(&self, key: KeyId, input: &[u8]) -> Vec<u8> {
        station_keys()[key.0 as usize].sign(input).unwrap()
    }

    /// Completes a job, or lets it fail; a completion of another job and one that came before change nothing.
    fn complete(&mut self, case: &Case, job: cmp_client::JobId, result: JobResult) -> bool {
        self.jobs += 1;
        let fails = case.failing_job == Some(self.jobs);
        let result = if fails { JobResult::Failed } else { result };
        self.transaction.handle_done(self.now, job, result.clone());
        self.transaction.handle_done(self.now, job, result);
        !fails
    }

    fn send(&mut self, op: &Op, message: Vec<u8>) {
        self.sends += 1;
        let kept = self.kept.as_ref().expect("sent without being kept");
        assert_eq!(
            kept.message.as_ref(),
            Some(&message),
            "another message than was kept"
        );
        if let PkiBody::CertConf(content) = PkiMessage::from_bytes(&message).unwrap().body.into_value() {
            let accepts = |status: &PkiStatusInfo| status.status == PkiStatus::ACCEPTED;
            let accepted = content
                .iter()
                .filter(|c| c.status_info.as_ref().is_none_or(accepts));
            self.accepted
                .extend(accepted.map(|c| c.cert_hash.as_bytes().to_vec()));
        }
        let answer = match op {
            Op::Answer => self.answer(&message),
            Op::Mutated(at, bit) => {
                let mut answer = self.answer(&message);
                let at = at % answer.len();
                answer[at] ^= 1 << bit;
                answer
            }
            Op::Cut(at) => {
                let mut answer = self.answer(&message);
                answer.truncate(at % answer.len());
                answer
            }
            Op::Duplicate => self.last_answer.clone(),
            Op::Noise(noise) => noise.clone(),
            Op::Authentic(body) => {
                let body = body.make();
                self.hear(&body);
                self.ra.say(&message, body)
            }
            Op::Unprotected(body) => unprotected(&message, body.make()),
            Op::Lost => {
                let _ = self.answer(&message);
                return self.fail(TransferFailure::OutcomeUnknown);
            }
            Op::NotSent => {
                return self.fail(TransferFailure::NotSent {
                    retry_after: Duration::from_secs(3),
                });
            }
            Op::Refused => return self.fail(TransferFailure::Refused),
            Op::Restart { answered } => {
                if *answered {
                    let _ = self.answer(&message);
                }
                return self.restart();
            }
            Op::Extra(noise) => {
                let answer = self.answer(&message);
                self.transaction.handle_response(self.now, &answer);
                noise.clone()
            }
        };
        self.transaction.handle_response(self.now, &answer);
    }

    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let answer = self.ra.answer(self.now, message).unwrap();
        self.hear(&PkiMessage::from_bytes(&answer).unwrap().body);
        self.last_answer.clone_from(&answer);
        answer
    }

    fn hear(&mut self, body: &PkiBody) {
        self.said_confirmed |= confirms(body);
        self.said_revoked |= revokes(body);
    }

    fn fail(&mut self, failure: TransferFailure) {
        self.transaction.handle_transfer_failure(self.now, failure);
        if matches!(failure, TransferFailure::OutcomeUnknown) {
            // The same failure told twice is told once.
            self.transaction.handle_transfer_failure(
                self.now,
                TransferFailure::NotSent {
                    retry_after: Duration::ZERO,
                },
            );
        }
    }

    fn restart(&mut self) {
        let state = self.kept.clone().expect("nothing is kept").state;
        self.lives += 1;
        self.now.monotonic = Duration::from_secs(1);
        self.transaction =
            Transaction::resume(self.config.clone(), &state, [self.lives; 32], self.now).unwrap();
    }

    fn pass_time(&mut self) {
        let due = self
            .transaction
            .poll_timeout()
            .expect("nothing to do and nothing to wait for");
        if due > self.now.monotonic + Duration::from_secs(1) {
            let early = Time {
                monotonic: due - Duration::from_secs(1),
                ..self.now
            };
            self.transaction.handle_timeout(early);
            assert!(self.transaction.poll_action().is_none(), "before its time");
        }
        let passed = due.saturating_sub(self.now.monotonic);
        self.now.monotonic = due;
        self.now.utc_s = self.now.utc_s.map(|s| s + passed.as_secs().min(1000));
        self.transaction.handle_timeout(self.now);
    }

    /// After the end nothing more comes, whatever is told.
    fn is_over(&mut self) {
        self.transaction.handle_response(self.now, &self.last_answer);
        self.transaction
            .handle_transfer_failure(self.now, TransferFailure::OutcomeUnknown);
        self.transaction.handle_timeout(self.now);
        self.transaction.give_up();
        assert!(
            self.transaction.poll_action().is_none(),
            "something after the end"
        );
        assert_eq!(self.transaction.poll_timeout(), None);
    }
}

fn unprotected(message: &[u8], body: PkiBody) -> Vec<u8> {
    let ours = PkiMessage::from_bytes(message).unwrap();
    let name = ours.header.recipient_name().unwrap().clone();
    let mut header = PkiHeader::new(name.clone(), name);
    header.transaction_id = ours.header.transaction_id.clone();
    header.recip_nonce = ours.header.sender_nonce.clone();
    header.sender_nonce = Some(der::asn1::OctetString::new(vec![0xee; 16]).unwrap());
    PkiMessage::new(header, body).unwrap().to_bytes().unwrap()
}

/// Runs the case and checks what came of it.
pub fn holds(case: &Case) {
    let mut world = World::new(case);
    let Ok(outcome) = world.run(case) else {
        return;
    };
    match outcome {
        Outcome::Enrolled(enrolled) => holds_for_certificate(case, &world, &enrolled),
        Outcome::Revoked(revoked) => {
            assert!(world.said_revoked, "the RA did not say so");
            let ours = old_certificate();
            assert_eq!(revoked.certificate.serial_number.as_bytes(), ours.serial_number());
            let repeated = world.lives > 1 || world.sends > 1;
            assert!(!revoked.earlier || repeated, "by whom, then?");
        }
        Outcome::CaCerts(certificates) => {
            assert_eq!(certificates, vec![root()]);
        }
        Outcome::RootCaUpdate(update) => {
            assert_eq!(update.unwrap().new_root, Succession::new().new_with_new.issue());
        }
        Outcome::CertReqTemplate(template) => {
            assert!(template.is_some());
        }
        Outcome::Crl(crl) => {
            let (crl, issued) = (crl.unwrap(), CrlDraft::new().issue());
            assert_eq!(crl.as_der(), issued.as_bytes());
        }
        other => panic!("{other:?}"),
    }
}

/// The public key of what the certificate is used with: a key of the station's, or the one that came with it.
fn key_of(enrolled: &Enrolled) -> Vec<u8> {
    #[cfg(feature = "envelope")]
    if let Some(delivered) = &enrolled.private_key {
        assert_eq!(enrolled.key, ra::MADE_ID);
        return RustCrypto.public_key_of(delivered.as_pkcs8()).unwrap();
    }
    station_keys()[enrolled.key.0 as usize].public_key().to_vec()
}

fn holds_for_certificate(case: &Case, world: &World, enrolled: &Enrolled) {
    assert!(
        world.ra.issued.contains(&enrolled.certificate),
        "a certificate that the RA has not issued"
    );
    assert_eq!(enrolled.certificate.public_key(), key_of(enrolled));
    assert!(!case.other_key && !case.other_subject);
    if enrolled.implicit {
        assert!(case.ask_implicit && case.grant_implicit);
    } else {
        let hash = RustCrypto
            .digest(HashAlgorithm::Sha256, enrolled.certificate.as_der())
            .unwrap();
        assert!(
            world.accepted.iter().any(|accepted| accepted == hash.as_bytes()),
            "not confirmed by us"
        );
        assert!(world.said_confirmed, "not confirmed by the RA");
    }
}
