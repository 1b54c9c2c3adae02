//! What must fail, cleanly: one row for each wrong thing that a peer can send, with the answer that it gets and with what
//! is left of the state afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "../client/mod.rs"]
mod client;
mod delivery;
mod general;
mod header;
mod nested;
mod protection;
mod request;
mod revocation;
mod state;
mod trust;

use client::*;
use cmp_message::{
    BodyType::{self, Error, Ip, PkiConf},
    InfoTypeAndValue, PkiBody, PkiFailure as F, PkiHeader, PkiMessage, Raw,
    crypto::{KeyAlgorithm, aws_lc::SoftKey},
    general::CERT_PROFILE,
    mac::MacAlgorithm,
};
use lab_ra::{CertificateStatus, Pki, Ra, RaConfig};

/// What is left of the state.
#[derive(Clone, Copy, Debug)]
enum After {
    /// No certificate, no transaction.
    Nothing,
    /// The transaction is as it was: the right certConf is still taken.
    GoesOn,
    /// The transaction is over and its certificate came to this.
    Ended(CertificateStatus),
    /// The certificate that was there before is as it was.
    Kept(CertificateStatus),
}
use After::{Ended, GoesOn, Kept, Nothing};

struct Row {
    /// What is wrong.
    name: &'static str,
    config: fn(&mut RaConfig),
    send: fn(&mut Lab) -> PkiMessage,
    answer: (BodyType, F),
    after: After,
}

/// An RA, a station with a manufacturer certificate, and what it has got so far.
struct Lab {
    ra: Ra,
    client: Client,
    key: SoftKey,
    certificate: Vec<u8>,
    /// Where an honest client would go on.
    recip_nonce: Option<Vec<u8>>,
    transaction_id: [u8; 16],
}

impl Lab {
    fn new(config: fn(&mut RaConfig)) -> Self {
        let ra = ra(config);
        let client = Client::with_idevid(&ra, "CS-1");
        Self {
            transaction_id: client.transaction_id,
            client,
            ra,
            key: key(),
            certificate: Vec::new(),
            recip_nonce: None,
        }
    }

    fn ir(&self) -> PkiBody {
        PkiBody::Ir(vec![request(&self.key, "CN=CS-1", |_| {})])
    }

    /// The answer to these bytes, whoever made them.
    fn post(&mut self, message: &[u8]) -> PkiMessage {
        PkiMessage::from_bytes(&self.ra.handle(NOW_S, message)).unwrap()
    }

    /// The answer to this body of the client under this header.
    fn send(&mut self, body: PkiBody, change: impl FnOnce(&mut PkiHeader)) -> PkiMessage {
        let message = self.client.message(body, change);
        self.post(&message)
    }

    /// The answer to an ir under this header.
    fn ir_with(&mut self, change: impl FnOnce(&mut PkiHeader)) -> PkiMessage {
        let ir = self.ir();
        self.send(ir, change)
    }

    /// The answer to an ir whose message was changed after it was protected.
    fn ir_changed(&mut self, change: impl FnOnce(&mut PkiMessage)) -> PkiMessage {
        let mut message = PkiMessage::from_bytes(&self.client.message(self.ir(), |_| {})).unwrap();
        change(&mut message);
        self.post(&message.to_bytes().unwrap())
    }

    /// The answer to an ir with this request.
    fn ir_of(&mut self, wanted: cmp_message::CertReqMsg) -> PkiMessage {
        self.send(PkiBody::Ir(vec![wanted]), |_| {})
    }

    /// Up to the ip.
    fn get_certificate(&mut self) {
        let ir = self.ir();
        let answer = self.client.send(&mut self.ra, ir);
        self.certificate = issued(&answer);
        self.recip_nonce = self.client.recip_nonce.clone();
        self.transaction_id = self.client.transaction_id;
    }

    /// Up to the pkiConf; the client goes on with the certificate.
    fn enroll(&mut self) {
        self.get_certificate();
        let answer = self.client.send(&mut self.ra, cert_conf(&self.certificate));
        assert_eq!(answer.body.body_type(), PkiConf);
        self.key = key_of(&self.client_key());
        let enrolled = std::mem::replace(&mut self.key, key());
        self.client = Client::with_certificate(&self.ra, enrolled, self.certificate.clone());
    }

    /// The enrolled key again, for the client.
    fn client_key(&self) -> Vec<u8> {
        self.key.to_pkcs8().unwrap().to_vec()
    }

    fn check(&mut self, row: &Row) {
        let name = row.name;
        let certificates = self.ra.store().certificates().unwrap();
        let open = self.ra.store().open_transaction_count();
        match row.after {
            Nothing => assert_eq!((certificates.len(), open), (0, 0), "{name}"),
            Ended(status) => {
                assert_eq!(open, 0, "{name}");
                assert_eq!(status_of(&self.ra, &self.certificate), status, "{name}");
            }
            Kept(status) => {
                assert_eq!((certificates.len(), open), (1, 0), "{name}");
                assert_eq!(status_of(&self.ra, &self.certificate), status, "{name}");
            }
            GoesOn => {
                assert_eq!((certificates.len(), open), (1, 1), "{name}");
                self.client.transaction_id = self.transaction_id;
                self.client.recip_nonce = self.recip_nonce.clone();
                let answer = self.client.send(&mut self.ra, cert_conf(&self.certificate));
                assert_eq!(answer.body.body_type(), PkiConf, "{name}");
            }
        }
    }
}

fn key_of(pkcs8: &[u8]) -> SoftKey {
    SoftKey::from_der(pkcs8).unwrap()
}

fn play(rows: &[Row]) {
    for row in rows {
        let mut lab = Lab::new(row.config);
        let answer = (row.send)(&mut lab);
        assert!(answer.protection.is_some(), "{}", row.name);
        let got = (answer.body.body_type(), failure(&answer));
        assert_eq!(got, row.answer, "{}: {}", row.name, status(&answer));
        lab.check(row);
    }
}

fn usual(_: &mut RaConfig) {}

const MAC: fn() -> MacAlgorithm = || MacAlgorithm::password_based_mac([7; 16]);

/// A client of another lab whose manufacturer is not known here.
fn stranger(lab: &Lab) -> Client {
    let elsewhere = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let issued = elsewhere.issue_idevid("CS-1", NOW_S).unwrap();
    let credential = Credential::Signature {
        key: key_of(&issued.key),
        certificate: issued.certificate,
        chain: issued.chain,
    };
    Client::new(&lab.ra, credential)
}

fn with_mac(lab: &Lab, secret: &'static str) -> Client {
    Client::with_secret(&lab.ra, secret, MAC())
}

#[test]
fn what_is_no_der_of_a_pki_message_is_refused() {
    let mut lab = Lab::new(usual);
    let good = lab.client.message(lab.ir(), |_| {});
    let mut trailing = good.clone();
    trailing.push(0);
    // The outermost length in the indefinite form of BER, with its end.
    let header = good.len() - u16::from_be_bytes([good[2], good[3]]) as usize;
    let indefinite = [&[0x30, 0x80], &good[header..], &[0, 0]].concat();
    let cases = [
        ("empty", Vec::new()),
        ("half", good[..good.len() / 2].to_vec()),
        ("trailing bytes", trailing),
        ("BER", indefinite),
        ("something else", b"hello".to_vec()),
    ];
    for (name, bytes) in cases {
        let answer = lab.post(&bytes);
        assert_eq!(
            (answer.body.body_type(), failure(&answer)),
            (Error, F::BadDataFormat),
            "{name}"
        );
        assert!(answer.protection.is_some());
    }
    assert_eq!(lab.ra.store().certificates().unwrap().len(), 0);
    assert_eq!(lab.post(&good).body.body_type(), Ip);
}

/// SEQUENCEs in one another.
fn deep(levels: usize) -> Vec<u8> {
    let mut reversed = Vec::new();
    for _ in 0..levels {
        let length = der::Length::try_from(reversed.len()).unwrap();
        let header = [vec![0x30], der::Encode::to_der(&length).unwrap()].concat();
        reversed.extend(header.into_iter().rev());
    }
    reversed.reverse();
    reversed
}

#[test]
fn what_is_very_long_or_very_deep_is_refused() {
    let mut lab = Lab::new(usual);
    let ten_mb = der::Encode::to_der(&octets(&vec![0; 10_000_000])).unwrap();
    let long = [&[0x30, 0x84, 0, 0x98, 0x96, 0x86], ten_mb.as_slice()].concat();
    for bytes in [vec![0; 10_000_000], ten_mb, long, deep(100_000)] {
        assert_eq!(failure(&lab.post(&bytes)), F::BadDataFormat);
    }
    let value = Raw::new(deep(100_000)).unwrap();
    let answer = lab.send(PkiBody::P10cr(value.clone()), |_| {});
    assert_eq!(failure(&answer), F::BadDataFormat);
    let info = InfoTypeAndValue {
        info_type: CERT_PROFILE,
        info_value: Some(value),
    };
    lab.client.begin();
    let answer = lab.ir_with(|header| header.general_info = Some(vec![info]));
    assert_eq!(failure(&answer), F::BadDataFormat);
    assert_eq!(lab.ra.store().certificates().unwrap().len(), 0);
}
