//! A station, the CSMS side of the binding and `lab-ra` on one clock that nobody waits for.

use core::time::Duration;

use charger_agent::{
    Action, Agent, JobResult,
    binding::{
        Answer, CallOutcome, CallToken, Route,
        csms::{self, Budget, Csms, Reply, ReplyToken, StationRecords},
        station,
    },
    client::{
        CertificateRequest, Config, CrlUpdate, Enrolled, Failure, GeneralRequest, NewKey, Operation, Outcome,
        Pkcs10Request, Protection, Request, RevocationRequest, Time,
    },
    shell::SoftKeys,
};
use cmp_message::{
    BodyType, CertId, PkiMessage, Raw,
    certificate::Certificate,
    crypto::{KeyAlgorithm, RustCrypto, SigningKey},
    mac::Secret,
};
use der::{Decode, Encode, Sequence, asn1::BitString, referenced::RefToOwned};
use lab_ra::{CertificateStatus, Pki, PollAfter, Ra, RaConfig, Store};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{ext::pkix::CrlReason, name::Name};

const NOW_S: u64 = 1_800_000_000;
const SECRET: (&[u8], &[u8]) = (b"installer", b"correct horse");

pub const OPERATIONS: [&str; 9] = [
    "ir",
    "cr",
    "kur",
    "p10cr",
    "rr",
    "caCerts",
    "rootCaCert",
    "certReqTemplate",
    "crlStatusList",
];

/// What survives a loss of power.
#[derive(Default)]
pub struct Flash {
    pub record: Option<Vec<u8>>,
    /// Every result that was to be kept, in order.
    pub outcomes: Vec<Outcome>,
    /// Who signed the last answer to the last one.
    pub signer: Option<Option<Certificate>>,
}

/// What a station proves itself with, and its keys.
pub struct Identity {
    pub config: Config,
    pub keys: SoftKeys,
}

pub struct World {
    now: Time,
    ra: Ra,
    csms: Csms,
    records: StationRecords,
    waiting: Option<(CallToken, ReplyToken)>,
    /// Every message that the RA got.
    pub asked: Vec<Vec<u8>>,
    /// The root before the present one.
    pub first_root: Certificate,
    lives: u8,
}

pub fn kinds(messages: &[Vec<u8>]) -> Vec<BodyType> {
    let kind = |message: &Vec<u8>| PkiMessage::from_bytes(message).unwrap().body.body_type();
    messages.iter().map(kind).collect()
}

impl World {
    /// An RA that delays every answer, and has a new root.
    pub fn new() -> Self {
        let mut pki = Pki::generate(KeyAlgorithm::P256, NOW_S - 1_000).unwrap();
        let first_root = Certificate::from_der(pki.root.certificate()).unwrap();
        pki.roll_over(NOW_S - 500).unwrap();
        let mut config = RaConfig::default();
        config.poll_after = Some(PollAfter {
            polls: 1,
            check_after_s: 1,
        });
        config.delayed = vec![
            BodyType::Ir,
            BodyType::Cr,
            BodyType::P10cr,
            BodyType::Kur,
            BodyType::Rr,
            BodyType::Genm,
        ];
        let secret = Secret::new(SECRET.1.to_vec());
        config.secrets.insert(SECRET.0.to_vec(), secret);
        Self {
            now: Time {
                monotonic: Duration::from_secs(1_000),
                utc_s: Some(NOW_S),
            },
            ra: Ra::new(pki, config, Store::in_memory().unwrap()).unwrap(),
            csms: Csms::new(csms::Config::default(), Budget::default()),
            records: StationRecords::default(),
            waiting: None,
            asked: Vec::new(),
            first_root,
            lives: 0,
        }
    }

    /// The certificate that the RA signs with.
    pub fn ra_certificate(&self) -> &[u8] {
        self.ra.pki().ra.certificate()
    }

    pub fn is_confirmed(&self, certificate: &Certificate) -> bool {
        self.status(certificate.serial_number()) == CertificateStatus::Confirmed
    }

    pub fn is_revoked(&self, id: &CertId) -> bool {
        self.status(id.serial_number.as_bytes()) == CertificateStatus::Revoked
    }

    fn status(&self, serial_number: &[u8]) -> CertificateStatus {
        self.ra.store().status(serial_number).unwrap().unwrap()
    }

    /// A station with a manufacturer certificate. It trusts the first root.
    pub fn manufacturer(&self) -> Identity {
        let idevid = self.ra.pki().issue_idevid("SN-1", NOW_S).unwrap();
        let certificate = Certificate::from_der(idevid.certificate).unwrap();
        let chain = idevid
            .chain
            .into_iter()
            .map(|der| Raw::new(der).unwrap())
            .collect();
        self.identity(&idevid.key, certificate, chain)
    }

    /// A station with a shared secret.
    pub fn secret(&self) -> Identity {
        let protection = Protection::Pbmac1 {
            reference: SECRET.0.to_vec(),
            secret: Secret::new(SECRET.1.to_vec()),
        };
        Identity {
            config: self.config(protection),
            keys: SoftKeys::default(),
        }
    }

    /// The station with its first certificate.
    pub fn enrolled(&mut self, mut identity: Identity) -> Identity {
        let (new, pkcs8) = new_key(&mut identity.keys);
        let request = CertificateRequest::new(Operation::Initialization, name("CN=CP-1"), new);
        let mut flash = Flash::default();
        let mut agent = self.start(&identity, request.into());
        self.live(&mut agent, &identity, &mut flash, usize::MAX)
            .unwrap()
            .unwrap();
        let Some(Outcome::Enrolled(Enrolled { certificate, .. })) = flash.outcomes.pop() else {
            panic!("no certificate");
        };
        self.identity(&pkcs8, certificate, Vec::new())
    }

    fn identity(&self, key: &[u8], certificate: Certificate, chain: Vec<Raw>) -> Identity {
        let mut keys = SoftKeys::default();
        let key = keys.import(key).unwrap();
        let protection = Protection::Signature {
            key,
            algorithm: keys.key(key).unwrap().algorithm(),
            certificate,
            chain,
        };
        Identity {
            config: self.config(protection),
            keys,
        }
    }

    fn config(&self, protection: Protection) -> Config {
        let anchors = vec![self.first_root.clone()];
        Config::new(&RustCrypto, Name::default(), protection, anchors)
    }

    fn agent(&mut self) -> (Agent, [u8; 32]) {
        self.lives += 1;
        (
            Agent::new(station::Config::default(), Route::default()),
            [self.lives; 32],
        )
    }

    pub fn start(&mut self, identity: &Identity, request: Request) -> Agent {
        let (mut agent, seed) = self.agent();
        agent.start(self.now, identity.config.clone(), request, seed);
        agent
    }

    pub fn resume(&mut self, identity: &Identity, record: &[u8]) -> Agent {
        let (mut agent, seed) = self.agent();
        agent
            .resume(self.now, identity.config.clone(), record, seed)
            .unwrap();
        agent
    }

    /// The station is gone, and the connection with it.
    pub fn lose_power(&mut self) {
        self.waiting = None;
        self.csms.handle_disconnected();
        self.store();
    }

    /// Lets the station live until its transaction is over, or for so many steps: a step is an action, the time between an
    /// action and its completion, a call, or the time until its answer.
    pub fn live(
        &mut self,
        agent: &mut Agent,
        identity: &Identity,
        flash: &mut Flash,
        steps: usize,
    ) -> Option<Result<(), Failure>> {
        let mut left = steps;
        let mut step = || {
            let is_alive = left > 0;
            left = left.saturating_sub(1);
            is_alive.then_some(())
        };
        self.csms.handle_connected();
        agent.handle_connected(self.now);
        for _ in 0..10_000 {
            self.store();
            if let Some(action) = agent.poll_action() {
                match action {
                    Action::Report(_) => {}
                    Action::Done(result) => return Some(result),
                    action => {
                        step()?;
                        let (job, result) = carry_out(action, identity, flash);
                        step()?;
                        agent.handle_done(self.now, job, result);
                    }
                }
            } else if let Some(action) = self.csms.poll_action() {
                self.act(agent, action);
            } else if let Some(call) = agent.poll_call(self.now) {
                step()?;
                let reply = self
                    .csms
                    .handle_call(self.now.monotonic, call.message_id, Some(&call.data));
                self.store();
                match reply {
                    Reply::Now(answer) => {
                        step()?;
                        agent.handle_result(self.now, call.token, &outcome(answer));
                    }
                    Reply::Pending(token) => self.waiting = Some((call.token, token)),
                }
            } else if let Some(call) = self.csms.poll_call(self.now.monotonic) {
                let answer = agent.handle_call(self.now, call.message_id, Some(&call.data));
                self.csms
                    .handle_result(self.now.monotonic, call.token, &outcome(answer));
            } else {
                self.pass(agent);
            }
        }
        panic!("it does not come to rest");
    }

    fn act(&mut self, agent: &mut Agent, action: csms::Action) {
        match action {
            csms::Action::Forward { id, request, .. } => {
                assert!(self.csms.handle_asked(self.now.monotonic, id));
                self.store();
                let answer = self.ra.handle(self.now.utc_s.unwrap(), &request);
                self.asked.push(request);
                self.csms.handle_ra_response(self.now.monotonic, id, Ok(answer));
            }
            csms::Action::Reply { token, answer } => {
                if let Some((call, _)) = self.waiting.take_if(|(_, pending)| *pending == token) {
                    agent.handle_result(self.now, call, &outcome(answer));
                }
            }
            _ => {}
        }
    }

    /// Time goes on to whatever is waited for.
    fn pass(&mut self, agent: &mut Agent) {
        let due = [agent.poll_timeout(), self.csms.poll_timeout()];
        let due = due.into_iter().flatten().min().expect("something to wait for");
        let passed = due
            .saturating_sub(self.now.monotonic)
            .max(Duration::from_millis(1));
        self.now.monotonic += passed;
        self.now.utc_s = Some(NOW_S + self.now.monotonic.as_secs() - 1_000);
        agent.handle_timeout(self.now);
        self.csms.handle_timeout(self.now.monotonic);
    }

    fn store(&mut self) {
        for write in self.csms.take_writes() {
            self.records.apply(write);
        }
    }
}

fn carry_out(action: Action, identity: &Identity, flash: &mut Flash) -> (charger_agent::JobId, JobResult) {
    match action {
        Action::Sign { job, key, input, .. } => {
            (job, JobResult::Signed(identity.keys.sign(key, &input).unwrap()))
        }
        Action::Store { job, record } => {
            flash.record = Some(record);
            (job, JobResult::Stored)
        }
        Action::Install { job, outcome, signer } => {
            flash.outcomes.push(outcome);
            flash.signer = Some(signer);
            (job, JobResult::Stored)
        }
        other => panic!("{other:?}"),
    }
}

fn outcome(answer: Answer) -> CallOutcome {
    CallOutcome::Response {
        status: answer.status,
        data: answer.data,
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn new_key(keys: &mut SoftKeys) -> (NewKey, zeroize::Zeroizing<Vec<u8>>) {
    let (key, pkcs8) = keys.generate(KeyAlgorithm::P256).unwrap();
    let new = keys.key(key).unwrap();
    let new = NewKey::Own {
        key,
        public_key: new.public_key().to_vec(),
        algorithm: new.algorithm(),
    };
    (new, pkcs8)
}

/// The request of an operation, with what protects it.
pub fn request(world: &World, identity: &mut Identity, operation: &str) -> Request {
    let current = match &identity.config.protection {
        Protection::Signature { certificate, .. } => Some(certificate.clone()),
        _ => None,
    };
    let mut certificate = |kind| -> Request {
        let (new, _) = new_key(&mut identity.keys);
        CertificateRequest::new(kind, name("CN=CP-1"), new).into()
    };
    match operation {
        "ir" => certificate(Operation::Initialization),
        "cr" => certificate(Operation::Certification),
        "kur" => certificate(Operation::Update(current.unwrap())),
        "p10cr" => pkcs10(&mut identity.keys).into(),
        "rr" => RevocationRequest {
            certificate: current.unwrap(),
            reason: CrlReason::Superseded,
        }
        .into(),
        "caCerts" => GeneralRequest::CaCerts.into(),
        "rootCaCert" => GeneralRequest::RootCaUpdate {
            root: world.first_root.clone(),
        }
        .into(),
        "certReqTemplate" => GeneralRequest::CertReqTemplate { cert_profile: None }.into(),
        "crlStatusList" => {
            let issuer = world.ra.pki().issuing_ca(world.ra.pki().generation()).unwrap();
            let issuer = Certificate::from_der(issuer.certificate()).unwrap();
            GeneralRequest::CrlUpdate(CrlUpdate::of_issuer(issuer, None).unwrap()).into()
        }
        other => panic!("{other}"),
    }
}

#[derive(Sequence)]
struct CertificationRequestInfo {
    version: u8,
    subject: Name,
    public_key: SubjectPublicKeyInfoOwned,
    attributes: Raw,
}

#[derive(Sequence)]
struct CertificationRequest {
    info: Raw,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn pkcs10(keys: &mut SoftKeys) -> Pkcs10Request {
    let (key, _) = keys.generate(KeyAlgorithm::P256).unwrap();
    let signer = keys.key(key).unwrap();
    let info = Raw::encode(&CertificationRequestInfo {
        version: 0,
        subject: name("CN=HSM-1"),
        public_key: SubjectPublicKeyInfoOwned::from_der(signer.public_key()).unwrap(),
        attributes: Raw::new([0xa0, 0]).unwrap(),
    })
    .unwrap();
    let signature = signer.sign(info.as_bytes()).unwrap();
    let request = CertificationRequest {
        info,
        algorithm: signer.algorithm().algorithm_identifier().ref_to_owned(),
        signature: BitString::from_bytes(&signature).unwrap(),
    };
    Pkcs10Request {
        csr: request.to_der().unwrap(),
        key,
        cert_profile: None,
    }
}
