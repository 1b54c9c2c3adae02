//! What a request asks for, or why it is refused (RFC 9483 §4.1.1 to §4.1.3, §4.1.5).

use cmp_message::{
    CertReqMessages, CertReqMsg, PkiBody, PkiFailure, PkiMessage, ProofOfPossession,
    certificate::names_match,
    crypto::{AwsLc, Crypto, SignatureAlgorithm},
};
use der::{Encode, referenced::OwnedToRef};
use x509_cert::ext::pkix::name::GeneralName;

use super::{Failure, Ra, Refusal, RequestKind};
use crate::{certificate_policy::Order, store::Peer};

/// A request that passed every check.
pub(super) struct Checked {
    pub(super) kind: RequestKind,
    pub(super) order: Order,
    pub(super) implicit_confirm: bool,
}

impl Ra {
    /// Checks a request of `peer`. The same again when its delay is over: certificates are revoked meanwhile.
    pub(super) fn check(&self, now_s: u64, message: &PkiMessage, peer: &Peer) -> Result<Checked, Failure> {
        let (kind, content) = match &*message.body {
            PkiBody::Ir(content) => (RequestKind::Ir, content),
            PkiBody::Cr(content) => (RequestKind::Cr, content),
            PkiBody::Kur(content) => (RequestKind::Kur, content),
            _ => {
                let text = "this kind of message asks for no certificate";
                return Err(Refusal::new(PkiFailure::BadRequest, "5.1", text).into());
            }
        };
        if let Peer::Signer(signer) = peer {
            self.check_signer_status(signer)?;
        }
        let request = only_request(kind, content)?;
        if kind == RequestKind::Kur {
            self.check_old_certificate(request, peer)?;
        }
        let order = Order::new(request, now_s)?;
        check_proof_of_possession(request, order.public_key())?;
        Ok(Checked {
            kind,
            order,
            implicit_confirm: message.header.implicit_confirm(),
        })
    }

    /// What is updated is the certificate that protects the request (RFC 9483 §4.1.3).
    fn check_old_certificate(&self, request: &CertReqMsg, peer: &Peer) -> Result<(), Refusal> {
        let Some(signer) = (match peer {
            Peer::Signer(signer) => Some(signer).filter(|signer| self.is_ours(signer)),
            Peer::Mac(_) => None,
        }) else {
            let text = "a kur is protected with the certificate that it updates, one of this CA";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "4.1.3", text));
        };
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

/// The proof is a signature with the new key over the CertRequest as it was received (RFC 4211 §4.1).
fn check_proof_of_possession(request: &CertReqMsg, public_key: &[u8]) -> Result<(), Refusal> {
    let bad_pop = |text| Refusal::new(PkiFailure::BadPop, "4.1.1", text);
    let proof = match &request.popo {
        Some(ProofOfPossession::Signature(proof)) => proof,
        Some(ProofOfPossession::RaVerified(_)) => {
            let text = "raVerified is not for end entities";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "4.1.1", text));
        }
        Some(_) => return Err(bad_pop("the proof of possession must be a signature")),
        None => return Err(bad_pop("there is no proof of possession")),
    };
    if proof.poposk_input.is_some() {
        return Err(bad_pop(
            "poposkInput is there although the template has subject and publicKey",
        ));
    }
    let algorithm = SignatureAlgorithm::from_algorithm_identifier(&proof.algorithm_identifier.owned_to_ref());
    let algorithm = algorithm.map_err(|error| {
        let text = "the algorithm of the proof of possession is not supported";
        Refusal::new(PkiFailure::BadAlg, "4.1.1", text).because(error)
    })?;
    let signature = proof.signature.as_bytes().unwrap_or_default();
    let verified = AwsLc.verify(algorithm, public_key, request.popo_input(), signature);
    verified.map_err(|error| bad_pop("the proof of possession does not verify").because(error))
}
