//! Every operation of RFC 9483 §4 against a small RA made of `cmp-message`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod ra;

use cmp_client::Outcome;
use cmp_message::BodyType;
use ra::{Ra, operations, run};

#[test]
fn every_operation_ends_with_its_result() {
    for (name, config, request) in operations() {
        let mut ra = Ra::new();
        let kind = request.body_type();
        let outcome = run(&mut ra, config, request).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let confirms = matches!(outcome, Outcome::Enrolled(_));
        let seen = if confirms {
            vec![kind, BodyType::CertConf]
        } else {
            vec![kind]
        };
        assert_eq!(ra.seen, seen, "{name}");
        let fits = match (name, outcome) {
            ("ir" | "ir by MAC" | "cr" | "p10cr" | "kur", Outcome::Enrolled(enrolled)) => {
                enrolled.certificate == ra.issued[0]
            }
            ("rr", Outcome::Revoked(revoked)) => ra.revoked == [revoked.certificate] && !revoked.earlier,
            ("genm caCerts", Outcome::CaCerts(certificates)) => certificates == [ra::root()],
            ("genm rootCaCert", Outcome::RootCaUpdate(Some(update))) => {
                update.new_root.public_key() == cmp_message::crypto::SigningKey::public_key(&ra::key(11))
            }
            ("genm certReqTemplate", Outcome::CertReqTemplate(Some(_))) => true,
            ("genm crlStatusList", Outcome::Crl(Some(crl))) => crl.contains(&[5]) && !crl.contains(&[7]),
            _ => false,
        };
        assert!(fits, "{name}");
    }
}
