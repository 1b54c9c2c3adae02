//! A station's part of one enrolment without an operating system: reads an ip, verifies its protection, builds an ir
//! with proof of possession and signs it. `tests/bare-metal.sh` prints how large that is.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use core::hint::black_box;

use cmp_message::crypto::{Crypto as _, RustCrypto, SigningKey as _, rustcrypto::SoftKey};
use cmp_message::{
    CertReqMsg, CertRequest, CertTemplate, Exact, PkiBody, PkiHeader, PkiMessage, PopoSigningKey,
    ProofOfPossession,
};
use cortex_m_rt::entry;
use embedded_alloc::LlffHeap;
use panic_halt as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, OctetString};
use x509_cert::der::{Decode as _, Encode as _};

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// An ip of OpenSSL's, its signer first in extraCerts.
static IP: &[u8] = include_bytes!("../../fixtures/openssl-3.0/ir_sig.1.rsp.der");
/// A P-256 key as PKCS#8.
static KEY: &[u8] = include_bytes!("../../../crates/cmp-message/tests/data/p256.pkcs8.der");

#[entry]
fn main() -> ! {
    // SAFETY: called once, before anything is allocated, with memory that only this static names.
    unsafe {
        embedded_alloc::init!(HEAP, 64 * 1024);
    }
    let verified = verify(black_box(IP));
    let request = ir(black_box(KEY));
    black_box((verified, request));
    loop {
        cortex_m::asm::wfi();
    }
}

/// Whether `ip` decodes and is signed by the first of its extraCerts.
fn verify(ip: &[u8]) -> Option<()> {
    let message = PkiMessage::from_bytes(ip).ok()?;
    let PkiBody::Ip(content) = &*message.body else {
        return None;
    };
    black_box(content.response.first()?.status.status);
    let signer = Certificate::from_der(message.extra_certs.as_ref()?.first()?.as_bytes()).ok()?;
    let key = signer.tbs_certificate().subject_public_key_info().to_der().ok()?;
    let algorithm = message.header.protection_alg.as_ref()?.to_der().ok()?;
    let algorithm = cmp_message::crypto::SignatureAlgorithm::from_algorithm_identifier(
        &x509_cert::spki::AlgorithmIdentifierRef::from_der(&algorithm).ok()?,
    )
    .ok()?;
    let protection = message.protection.as_ref()?.as_bytes()?;
    RustCrypto
        .verify(algorithm, &key, &message.protected_part().ok()?, protection)
        .ok()
}

/// An ir for the key, signed with it.
fn ir(key: &[u8]) -> Option<alloc::vec::Vec<u8>> {
    let key = SoftKey::from_der(key).ok()?;
    let template = CertTemplate {
        public_key: Some(x509_cert::spki::SubjectPublicKeyInfoOwned::from_der(key.public_key()).ok()?),
        ..CertTemplate::default()
    };
    let request = Exact::new(CertRequest {
        cert_req_id: 0,
        cert_template: template,
        controls: None,
    })
    .ok()?;
    let algorithm_identifier: x509_cert::spki::AlgorithmIdentifierOwned =
        key.algorithm().algorithm_identifier().into();
    let proof = PopoSigningKey {
        poposk_input: None,
        algorithm_identifier: algorithm_identifier.clone(),
        signature: BitString::from_bytes(&key.sign(request.as_der()).ok()?).ok()?,
    };
    let request = CertReqMsg {
        cert_req: request,
        popo: Some(ProofOfPossession::Signature(proof)),
        reg_info: None,
    };
    let mut header = PkiHeader::new(Default::default(), Default::default());
    header.transaction_id = Some(OctetString::new(black_box([1; 16])).ok()?);
    header.sender_nonce = Some(OctetString::new(black_box([2; 16])).ok()?);
    header.protection_alg = Some(algorithm_identifier);
    let message = PkiMessage::new(header, PkiBody::Ir(vec![request])).ok()?;
    let signature = key.sign(&message.protected_part().ok()?).ok()?;
    message.with_protection(&signature, vec![]).ok()?.to_bytes().ok()
}
