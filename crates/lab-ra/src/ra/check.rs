//! What a message asks for, or why it is refused (RFC 9483 §4.1, §5.1).

use cmp_message::{
    CertReqMessages, CertReqMsg, PkiBody, PkiFailure, PkiMessage, ProofOfPossession, Raw,
    certificate::{Certificate, names_match},
    crypto::{AwsLc, Crypto, CryptoError, SignatureAlgorithm},
};
use der::{Encode, referenced::OwnedToRef};
use x509_cert::ext::pkix::name::GeneralName;

use super::{
    Failure, Ra, Refusal, RequestKind, deliver::check_delivery, general::Question, revoke::Revocation,
};
use crate::{
    Profile, RaConfig,
    order::{Order, OrderedKey},
    pkcs10::CertificationRequest,
    store::{Peer, Transaction},
};

/// What is to be done: a message that passed every check.
pub(super) enum Task {
    /// A certificate.
    Issue(Issue),
    /// The end of a transaction: whether the certificate was accepted.
    Confirm(bool),
    /// A revocation, or its end.
    Revoke(Revocation),
    /// A general message.
    Answer(Question),
}

/// Who asks for a certificate.
pub(super) struct Requester<'a> {
    pub(super) peer: &'a Peer,
    /// An RA that asks for others.
    pub(super) is_ra: bool,
    /// An RA has put its protection around the request, and its word counts for the proof of possession too.
    pub(super) is_vouched: bool,
}

/// A certificate that is to be issued.
pub(super) struct Issue {
    pub(super) kind: RequestKind,
    pub(super) order: Order,
    pub(super) implicit_confirm: bool,
}

impl Ra {
    /// Checks a message of the transaction's peer. The same again when its delay is over: much happens meanwhile.
    pub(super) fn check(
        &self,
        now_s: u64,
        message: &PkiMessage,
        transaction: &Transaction,
    ) -> Result<Task, Failure> {
        match &*message.body {
            PkiBody::Ir(content) => self.check_request(now_s, message, transaction, RequestKind::Ir, content),
            PkiBody::Cr(content) => self.check_request(now_s, message, transaction, RequestKind::Cr, content),
            PkiBody::Kur(content) => {
                self.check_request(now_s, message, transaction, RequestKind::Kur, content)
            }
            PkiBody::P10cr(content) => self.check_p10cr(now_s, message, transaction, content),
            PkiBody::Rr(content) => {
                let revocation = self.check_revocation(now_s, message, transaction, content);
                revocation.map(Task::Revoke)
            }
            PkiBody::Genm(content) => {
                let question = self.check_question(message, transaction, content);
                question.map(Task::Answer)
            }
            PkiBody::CertConf(content) => {
                let is_accepted = self.check_cert_conf(message, transaction, content);
                is_accepted.map(Task::Confirm)
            }
            _ => {
                let text = "this kind of message asks for nothing";
                Err(Refusal::new(PkiFailure::BadRequest, "5.1", text).into())
            }
        }
    }

    fn check_request(
        &self,
        now_s: u64,
        message: &PkiMessage,
        transaction: &Transaction,
        kind: RequestKind,
        content: &CertReqMessages,
    ) -> Result<Task, Failure> {
        let is_ra = self.check_requester(now_s, message, transaction, kind)?;
        let profile = self
            .config
            .profile(&message.header, transaction.profile.as_deref())?;
        let (request, order) = self
            .config
            .order(now_s, profile, kind, content, &transaction.peer)?;
        let requester = Requester {
            peer: &transaction.peer,
            is_ra,
            is_vouched: self.config.nested_ra_verified && transaction.is_vouched && kind != RequestKind::Kur,
        };
        self.config
            .check_key(request, message.header.pvno, order.key(), &requester)?;
        Ok(issue(kind, order, message))
    }

    fn check_p10cr(
        &self,
        now_s: u64,
        message: &PkiMessage,
        transaction: &Transaction,
        content: &Raw,
    ) -> Result<Task, Failure> {
        let kind = RequestKind::P10cr;
        self.check_requester(now_s, message, transaction, kind)?;
        let profile = self
            .config
            .profile(&message.header, transaction.profile.as_deref())?;
        let order = self.config.order_p10cr(now_s, profile, content)?;
        Ok(issue(kind, order, message))
    }

    /// Whether the peer may ask for this kind of certificate; and whether it is an RA.
    fn check_requester(
        &self,
        now_s: u64,
        message: &PkiMessage,
        transaction: &Transaction,
        kind: RequestKind,
    ) -> Result<bool, Failure> {
        let Peer::Signer(signer) = &transaction.peer else {
            return Ok(false);
        };
        self.check_signer_status(signer)?;
        let is_ra = self.is_ra(now_s, message, &transaction.peer);
        let is_allowed = match kind {
            RequestKind::Ir | RequestKind::P10cr => true,
            RequestKind::Cr => is_ra || self.is_ours(signer),
            // RFC 9483 §5.2.3: the protection of a kur is not replaced.
            RequestKind::Kur => !is_ra && self.is_ours(signer),
        };
        if !is_allowed {
            let text = match kind {
                RequestKind::Kur => "a kur is protected with the certificate that it updates, one of this CA",
                _ => "a cr is protected with a certificate of this CA",
            };
            return Err(Refusal::new(PkiFailure::NotAuthorized, kind.section(), text).into());
        }
        Ok(is_ra)
    }
}

impl RaConfig {
    /// The one request, and what it orders, if its template may.
    pub(super) fn order<'a>(
        &self,
        now_s: u64,
        profile: &Profile,
        kind: RequestKind,
        content: &'a CertReqMessages,
        peer: &Peer,
    ) -> Result<(&'a CertReqMsg, Order), Refusal> {
        let request = only_request(kind, content)?;
        let template = &request.cert_req.cert_template;
        let order = Order::new(template, profile, self.key_generation, now_s)?;
        if kind == RequestKind::Kur {
            self.check_update(request, &order, peer)?;
        }
        Ok((request, order))
    }

    /// What a PKCS#10 request orders. The proof of possession is its own signature (RFC 9483 §4.1.4).
    pub(super) fn order_p10cr(&self, now_s: u64, profile: &Profile, content: &Raw) -> Result<Order, Refusal> {
        let section = RequestKind::P10cr.section();
        let request = CertificationRequest::from_der(content.as_bytes()).map_err(|error| {
            let text = "this is not a CertificationRequest";
            Refusal::new(PkiFailure::BadDataFormat, section, text).because(error)
        })?;
        let order = Order::new(&request.template, profile, self.key_generation, now_s)?;
        if let OrderedKey::ToBeMade(_) = order.key() {
            let text = "a p10cr is signed with the key that it asks a certificate for";
            return Err(Refusal::new(PkiFailure::BadCertTemplate, section, text));
        }
        self.proof_algorithm(section, request.signature_algorithm())?;
        request.verify(&AwsLc).map_err(bad_proof)?;
        Ok(order)
    }

    /// What is updated is the certificate that protects the request (RFC 9483 §4.1.3): its subject stays.
    fn check_update(&self, request: &CertReqMsg, order: &Order, peer: &Peer) -> Result<(), Refusal> {
        let Peer::Signer(signer) = peer else {
            let text = "a kur is signed";
            return Err(Refusal::new(PkiFailure::WrongIntegrity, "4.1.3", text));
        };
        check_old_cert_id(request, signer)?;
        let bad_template = |text| Err(Refusal::new(PkiFailure::BadCertTemplate, "4.1.3", text));
        if !names_match(order.subject(), signer.subject()) {
            return bad_template("the subject is not that of the certificate which is updated");
        }
        let is_same =
            |key: &OrderedKey| matches!(key, OrderedKey::Given(_, key) if key == signer.public_key());
        if !self.update_with_same_key && is_same(order.key()) {
            return bad_template("an update wants a new key");
        }
        Ok(())
    }

    /// The requester has the key, or is one that a key can be made for.
    pub(super) fn check_key(
        &self,
        request: &CertReqMsg,
        pvno: i64,
        key: &OrderedKey,
        requester: &Requester<'_>,
    ) -> Result<(), Refusal> {
        match key {
            OrderedKey::Given(_, public_key) => {
                let ra_verifies = requester.is_ra || requester.is_vouched;
                self.check_proof_of_possession(request, public_key, ra_verifies)
            }
            OrderedKey::ToBeMade(_) => check_delivery(request, pvno, requester),
        }
    }

    /// The proof is a signature with the new key over the CertRequest as it was received (RFC 4211 §4.1).
    fn check_proof_of_possession(
        &self,
        request: &CertReqMsg,
        public_key: &[u8],
        ra_verifies: bool,
    ) -> Result<(), Refusal> {
        let bad_pop = |text| Refusal::new(PkiFailure::BadPop, "4.1.1", text);
        let proof = match &request.popo {
            Some(ProofOfPossession::Signature(proof)) => proof,
            Some(ProofOfPossession::RaVerified(_)) if ra_verifies => return Ok(()),
            Some(ProofOfPossession::RaVerified(_)) => {
                let text = "raVerified is not for end entities";
                // RFC 9810 §5.2.8.1: "An EE MUST NOT use raVerified", whoever adds protection to its message.
                return Err(Refusal::new(PkiFailure::NotAuthorized, "5.2.3", text));
            }
            Some(_) => return Err(bad_pop("the proof of possession must be a signature")),
            None => return Err(bad_pop("there is no proof of possession")),
        };
        if proof.poposk_input.is_some() {
            return Err(bad_pop(
                "poposkInput is there although the template has subject and publicKey",
            ));
        }
        let algorithm = proof.algorithm_identifier.owned_to_ref();
        let algorithm = SignatureAlgorithm::from_algorithm_identifier(&algorithm);
        let algorithm = self.proof_algorithm("4.1.1", algorithm)?;
        let signature = proof.signature.as_bytes().unwrap_or_default();
        let verified = AwsLc.verify(algorithm, public_key, request.popo_input(), signature);
        verified.map_err(bad_proof)
    }

    fn proof_algorithm(
        &self,
        section: &'static str,
        algorithm: Result<SignatureAlgorithm, CryptoError>,
    ) -> Result<SignatureAlgorithm, Refusal> {
        let refusal = || {
            let text = "the algorithm of the proof of possession is not accepted";
            Refusal::new(PkiFailure::BadAlg, section, text)
        };
        let algorithm = algorithm.map_err(|error| refusal().because(error))?;
        match self.signature_algorithms.contains(&algorithm) {
            true => Ok(algorithm),
            false => Err(refusal()),
        }
    }
}

fn issue(kind: RequestKind, order: Order, message: &PkiMessage) -> Task {
    Task::Issue(Issue {
        kind,
        order,
        implicit_confirm: message.header.implicit_confirm(),
    })
}

fn only_request(kind: RequestKind, content: &CertReqMessages) -> Result<&CertReqMsg, Refusal> {
    let [request] = content.as_slice() else {
        let text = "there must be exactly one CertReqMsg";
        return Err(Refusal::new(PkiFailure::BadRequest, kind.section(), text));
    };
    match request.cert_req.cert_req_id {
        0 => Ok(request),
        _ => Err(Refusal::new(
            PkiFailure::BadRequest,
            kind.section(),
            "certReqId must be 0",
        )),
    }
}

fn check_old_cert_id(request: &CertReqMsg, signer: &Certificate) -> Result<(), Refusal> {
    let bad_cert_id = |text| Refusal::new(PkiFailure::BadCertId, "4.1.3", text);
    let old = match request.cert_req.old_cert_id() {
        None => return Ok(()),
        Some(old) => old.map_err(|error| bad_cert_id("oldCertId is malformed").because(error))?,
    };
    let GeneralName::DirectoryName(issuer) = &old.issuer else {
        return Err(bad_cert_id("the issuer in oldCertId is not a directory name"));
    };
    let same_serial = old.serial_number.as_bytes() == signer.serial_number();
    let issuer = issuer.to_der().unwrap_or_default();
    match same_serial && names_match(&issuer, signer.issuer()) {
        true => Ok(()),
        false => Err(bad_cert_id(
            "oldCertId is not the certificate that protects the request",
        )),
    }
}

/// A key or an algorithm that does not fit is as bad a proof as a wrong signature.
fn bad_proof(error: CryptoError) -> Refusal {
    let text = "the proof of possession does not verify";
    Refusal::new(PkiFailure::BadPop, "4.1.1", text).because(error)
}
