//! Who sends, and who vouches for it.

use super::*;
use cmp_message::{ProofOfPossession, certificate::Certificate};
use der::asn1::Null;
use x509_cert::ext::pkix::name::GeneralName;

#[test]
fn a_sender_that_is_not_trusted_gets_nothing() {
    play(&[
        Row {
            name: "expired signer",
            config: usual,
            send: |lab| {
                let message = lab.client.message(lab.ir(), |_| {});
                let later_s = NOW_S + 21 * 365 * 86_400;
                PkiMessage::from_bytes(&lab.ra.handle(later_s, &message)).unwrap()
            },
            answer: (Error, F::SignerNotTrusted),
            after: Nothing,
        },
        Row {
            name: "signer that is not valid yet",
            config: usual,
            send: |lab| {
                let message = lab.client.message(lab.ir(), |_| {});
                PkiMessage::from_bytes(&lab.ra.handle(NOW_S - 4_000, &message)).unwrap()
            },
            answer: (Error, F::SignerNotTrusted),
            after: Nothing,
        },
        Row {
            name: "wrong anchor",
            config: usual,
            send: |lab| {
                lab.client = stranger(lab);
                lab.ir_with(|_| {})
            },
            answer: (Error, F::SignerNotTrusted),
            after: Nothing,
        },
        Row {
            name: "protection certificate not first in extraCerts",
            config: usual,
            send: |lab| lab.ir_changed(|message| message.extra_certs.as_mut().unwrap().reverse()),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "no extraCerts",
            config: usual,
            send: |lab| lab.ir_changed(|message| message.extra_certs = None),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "sender that is not the signer's subject",
            config: usual,
            send: |lab| lab.ir_with(|header| header.sender = GeneralName::DirectoryName(name("CN=other"))),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "sender that is no directory name",
            config: usual,
            send: |lab| {
                lab.ir_with(|header| {
                    header.sender = GeneralName::Rfc822Name("a@b".to_owned().try_into().unwrap());
                })
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "senderKID wrong",
            config: usual,
            send: |lab| lab.ir_with(|header| header.sender_kid = Some(octets(&[1; 20]))),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "senderKID missing where it is wanted",
            config: |config| config.header.sender_kid = true,
            send: |lab| lab.ir_with(|_| {}),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "sender of a MAC that is not its reference, where that is wanted",
            config: |config| config.header.mac_sender = true,
            send: |lab| {
                lab.client = with_mac(lab, "s3cret");
                lab.ir_with(|header| header.sender = GeneralName::DirectoryName(name("CN=other")))
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "signer without digitalSignature",
            config: usual,
            send: |lab| {
                // keyAgreement alone.
                let usage = vec![extension("2.5.29.15", true, &[3, 2, 3, 0x08])];
                let wanted = request(&lab.key, "CN=CS-1", |template| template.extensions = Some(usage));
                let answer = lab.client.send(&mut lab.ra, PkiBody::Ir(vec![wanted]));
                lab.certificate = issued(&answer);
                lab.client.send(&mut lab.ra, cert_conf(&lab.certificate));
                let enrolled = key_of(&lab.client_key());
                lab.client = Client::with_certificate(&lab.ra, enrolled, lab.certificate.clone());
                lab.ir_with(|_| {})
            },
            answer: (Error, F::SignerNotTrusted),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "signer that was never confirmed",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let enrolled = key_of(&lab.client_key());
                let other = Client::with_certificate(&lab.ra, enrolled, lab.certificate.clone());
                let message = other.message(lab.ir(), |_| {});
                lab.post(&message)
            },
            answer: (Ip, F::NotAuthorized),
            after: GoesOn,
        },
        Row {
            name: "revoked signer",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client.send(&mut lab.ra, rr(&lab.certificate, None));
                lab.client.begin();
                lab.ir_with(|_| {})
            },
            answer: (Ip, F::CertRevoked),
            after: Kept(CertificateStatus::Revoked),
        },
        Row {
            name: "raVerified of a signer without the extended key usage of an RA",
            config: usual,
            send: |lab| {
                let mut wanted = request(&lab.key, "CN=CS-1", |_| {});
                wanted.popo = Some(ProofOfPossession::RaVerified(Null));
                lab.ir_of(wanted)
            },
            answer: (Ip, F::NotAuthorized),
            after: Nothing,
        },
    ]);
}

#[test]
fn a_chain_that_is_complete_is_trusted_and_one_with_a_gap_is_not() {
    let elsewhere = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let root = Certificate::from_der(elsewhere.manufacturer_root.certificate()).unwrap();
    let mut ra = ra(|config| config.manufacturers = vec![root]);
    for is_complete in [true, false] {
        let issued = elsewhere.issue_idevid("CS-1", NOW_S).unwrap();
        let credential = Credential::Signature {
            key: key_of(&issued.key),
            certificate: issued.certificate,
            chain: if is_complete { issued.chain } else { Vec::new() },
        };
        let mut client = Client::new(&ra, credential);
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        match is_complete {
            true => assert_eq!(answer.body.body_type(), Ip),
            false => assert_eq!(failure(&answer), F::SignerNotTrusted),
        }
    }
}
