//! pyasn1-alt-modules' `rfc9810` on every kind of answer of `lab-ra`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "../../crates/lab-ra/tests/client/mod.rs"]
mod client;

use std::fs;

use client::*;
use cmp_message::{
    BodyType, InfoTypeAndValue, PkiBody, PkiMessage, Raw,
    certificate::Certificate,
    crypto::KeyAlgorithm,
    general::{self, CrlSource, CrlStatus},
    mac::MacAlgorithm,
};
use der::Decode;
use lab_ra::{Approval, Pki, PollAfter, Ra, RaConfig, Store};
use system_tests::{arg, folder, programs::run_peer};
use x509_cert::ext::pkix::name::GeneralName;

/// The answers so far, as their bytes.
#[derive(Default)]
struct Answers(Vec<PkiMessage>);

impl Answers {
    fn take(&mut self, client: &mut Client, ra: &mut Ra, body: PkiBody) -> PkiMessage {
        let answer = client.send(ra, body);
        self.0.push(answer.clone());
        answer
    }
}

fn request_of(key: &cmp_message::crypto::aws_lc::SoftKey) -> Vec<cmp_message::CertReqMsg> {
    vec![request(key, "CN=CS-1", |_| {})]
}

/// Certificates under a signature and under both MACs, confirmed, updated, refused and revoked.
fn certificates(ra: &mut Ra, all: &mut Answers) {
    for mac in [
        MacAlgorithm::password_based_mac([7; 16]),
        MacAlgorithm::pbmac1([7; 16]),
    ] {
        let mut client = Client::with_secret(ra, "s3cret", mac);
        let certificate = issued(&all.take(&mut client, ra, p10cr(&key(), "CN=CS-1", |_| {})));
        all.take(&mut client, ra, cert_conf_of_p10cr(&certificate));
    }
    let key_1 = key();
    let mut client = Client::with_idevid(ra, "CS-1");
    let certificate = issued(&all.take(&mut client, ra, PkiBody::Ir(request_of(&key_1))));
    all.take(&mut client, ra, cert_conf(&certificate));
    client.begin();
    all.take(&mut client, ra, PkiBody::Ir(Vec::new()));
    let old = Certificate::from_der(certificate.as_slice()).unwrap();
    let mut client = Client::with_certificate(ra, key_1, certificate.clone());
    for body in [
        PkiBody::Cr(request_of(&key())),
        PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]),
        rr(&certificate, Some(1)),
        rr(&certificate, Some(1)),
    ] {
        client.begin();
        all.take(&mut client, ra, body);
    }
}

fn general_messages(ra: &mut Ra, all: &mut Answers) {
    let old_root = ra.pki().ca_certificates().nth(3).unwrap().to_vec();
    let root_ca_cert =
        |der: &[u8]| InfoTypeAndValue::with_value(general::ROOT_CA_CERT, &Raw::new(der).unwrap()).unwrap();
    let issuer = x509_cert::name::Name::from_der(ra.pki().ca.subject()).unwrap();
    let list = vec![CrlStatus {
        source: CrlSource::Issuer(vec![GeneralName::DirectoryName(issuer)]),
        this_update: None,
    }];
    for info in [
        InfoTypeAndValue::absent(general::CA_CERTS),
        InfoTypeAndValue::absent(general::CERT_REQ_TEMPLATE),
        root_ca_cert(&old_root),
        root_ca_cert(ra.pki().root.certificate()),
        InfoTypeAndValue::with_value(general::CRL_STATUS_LIST, &list).unwrap(),
        InfoTypeAndValue::absent("1.3.6.1.5.5.7.4.6".parse().unwrap()),
    ] {
        let mut client = Client::with_idevid(ra, "CS-1");
        let answer = all.take(&mut client, ra, genm(info));
        assert_eq!(answer.body.body_type(), BodyType::Genp);
    }
}

fn delayed(all: &mut Answers) {
    let delay = PollAfter {
        polls: 1,
        check_after_s: 1,
    };
    let mut ra = ra(|config| {
        config.poll_after = Some(delay);
        config.delayed = vec![BodyType::Genm];
        config.approval = Approval::Person;
    });
    let question = genm(InfoTypeAndValue::absent(general::CA_CERTS));
    for body in [PkiBody::Ir(request_of(&key())), question] {
        let mut client = Client::with_idevid(&ra, "CS-1");
        all.take(&mut client, &mut ra, body);
        all.take(&mut client, &mut ra, poll_req_all());
    }
}

fn nested_answer(ra: &mut Ra) -> Vec<u8> {
    let outer = Client::with_issued(ra, "CN=RA", true);
    let inner = [1, 2].map(|n| {
        let client = Client::with_idevid(ra, &format!("CS-{n}"));
        client.message(PkiBody::Ir(request_of(&key())), |_| {})
    });
    ra.handle(NOW_S, &outer.message(nested(&inner), |_| {}))
}

#[test]
fn every_kind_of_answer_of_lab_ra_is_read_by_pyasn1() {
    let mut pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    pki.roll_over(NOW_S).unwrap();
    let mut config = RaConfig::default();
    let secret = cmp_message::mac::Secret::new(b"s3cret".to_vec());
    config.secrets.insert(b"r1".to_vec(), secret);
    let mut station = config.default_profile.clone();
    station.subject = vec!["CN".parse().unwrap(), "O=Operator".parse().unwrap()];
    config.profiles.insert("station".into(), station);
    let mut ra = Ra::new(pki, config, Store::in_memory().unwrap()).unwrap();
    let mut all = Answers::default();
    certificates(&mut ra, &mut all);
    general_messages(&mut ra, &mut all);
    delayed(&mut all);
    let mut answers: Vec<_> = all.0.iter().map(|answer| answer.to_bytes().unwrap()).collect();
    answers.push(nested_answer(&mut ra));
    answers.push(ra.handle(NOW_S, b"nonsense"));

    let dir = folder();
    let files: Vec<_> = (0..answers.len())
        .map(|n| arg(dir.path().join(format!("{n}.der"))))
        .collect();
    for (file, answer) in files.iter().zip(&answers) {
        fs::write(file, answer).unwrap();
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let read = run_peer("decode_rfc9810.py", &files).success().output;
    let kinds: Vec<_> = read.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    let expected = "cp pkiconf cp pkiconf ip pkiconf ip cp kup rp rp genp genp genp genp genp genp \
                    ip pollRep error pollRep nested error";
    assert_eq!(kinds, expected.split_whitespace().collect::<Vec<_>>());
}
