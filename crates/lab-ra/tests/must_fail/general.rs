//! What is wrong with a general message.

use super::*;
use cmp_message::general::{self, CrlSource, CrlStatus};
use x509_cert::ext::pkix::name::GeneralName;

fn ask(lab: &mut Lab, info: InfoTypeAndValue) -> PkiMessage {
    lab.send(genm(info), |_| {})
}

#[test]
fn a_wrong_question_gets_an_error() {
    play(&[
        Row {
            name: "unknown infoType",
            config: usual,
            send: |lab| ask(lab, InfoTypeAndValue::absent("1.2.3.4".parse().unwrap())),
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "no infoType",
            config: usual,
            send: |lab| lab.send(PkiBody::Genm(Vec::new()), |_| {}),
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "two infoTypes",
            config: usual,
            send: |lab| {
                let one = InfoTypeAndValue::absent(general::CA_CERTS);
                lab.send(PkiBody::Genm(vec![one.clone(), one]), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "caCerts with a value",
            config: usual,
            send: |lab| {
                ask(
                    lab,
                    InfoTypeAndValue::with_value(general::CA_CERTS, &1_u8).unwrap(),
                )
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "certReqTemplate with a value",
            config: usual,
            send: |lab| {
                ask(
                    lab,
                    InfoTypeAndValue::with_value(general::CERT_REQ_TEMPLATE, &1_u8).unwrap(),
                )
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "wrong old root",
            config: usual,
            send: |lab| {
                let other = Raw::new(lab.ra.pki().manufacturer_root.certificate()).unwrap();
                ask(
                    lab,
                    InfoTypeAndValue::with_value(general::ROOT_CA_CERT, &other).unwrap(),
                )
            },
            answer: (Error, F::BadCertId),
            after: Nothing,
        },
        Row {
            name: "crlStatusList without a value",
            config: usual,
            send: |lab| ask(lab, InfoTypeAndValue::absent(general::CRL_STATUS_LIST)),
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "crlStatusList that is none",
            config: usual,
            send: |lab| {
                ask(
                    lab,
                    InfoTypeAndValue::with_value(general::CRL_STATUS_LIST, &1_u8).unwrap(),
                )
            },
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "crlStatusList with two CRLStatus",
            config: usual,
            send: |lab| {
                let ours = crl_by_issuer("CN=other");
                ask(lab, crl_status_list(&[ours.clone(), ours]))
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "wrong CRL issuer",
            config: usual,
            send: |lab| ask(lab, crl_status_list(&[crl_by_issuer("CN=other")])),
            answer: (Error, F::AddInfoNotAvailable),
            after: Nothing,
        },
        Row {
            name: "a genm of a revoked certificate",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client.send(&mut lab.ra, rr(&lab.certificate, None));
                lab.client.begin();
                ask(lab, InfoTypeAndValue::absent(general::CA_CERTS))
            },
            answer: (Error, F::CertRevoked),
            after: Kept(CertificateStatus::Revoked),
        },
    ]);
}

fn crl_by_issuer(issuer: &str) -> CrlStatus {
    CrlStatus {
        source: CrlSource::Issuer(vec![GeneralName::DirectoryName(name(issuer))]),
        this_update: None,
    }
}

fn crl_status_list(list: &[CrlStatus]) -> InfoTypeAndValue {
    InfoTypeAndValue::with_value(general::CRL_STATUS_LIST, &list.to_vec()).unwrap()
}
