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

use cmp_client::{
    Action, Config, CrlUpdate, Failure, GeneralRequest, JobResult, KeyId, Outcome, Report, Request,
    Transaction, TransferFailure,
};
use cmp_message::{
    BodyType, CertOrEncCert, PkiBody, PkiFailure, PkiStatusInfo, Raw,
    crypto::SigningKey,
    general::{self, CrlSource, CrlStatusList},
};
use ra::{
    CrlDraft, Draft, NOW_S, Ra, config, key, key384, messages, now, old_certificate, operations, request,
    revocation, root, run, speak_otherwise, start, station_keys, update_request,
};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

/// Runs to the end and gives the reports too.
fn reported(
    ra: &mut Ra,
    config: Config,
    request: impl Into<Request>,
) -> (Result<Outcome, Failure>, Vec<Report>) {
    let (keys, now) = (station_keys(), now());
    let mut transaction = start(config, request);
    let mut reports = Vec::new();
    loop {
        match transaction.poll_action() {
            Some(Action::Sign { job, key, input, .. }) => {
                let signature = keys[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now, job, JobResult::Signed(signature));
            }
            Some(Action::Store { job, .. }) => transaction.handle_done(now, job, JobResult::Stored),
            Some(Action::Send { message, .. }) => match ra.answer(now, &message) {
                Some(answer) => transaction.handle_response(now, &answer),
                None => transaction.handle_transfer_failure(now, TransferFailure::OutcomeUnknown),
            },
            Some(Action::Report(report)) => reports.push(report),
            Some(Action::Done(result)) => return (result, reports),
            other => panic!("{other:?}"),
        }
    }
}

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
            ("genm caCerts", Outcome::CaCerts(certificates)) => certificates == [root()],
            ("genm rootCaCert", Outcome::RootCaUpdate(Some(update))) => {
                update.new_root.public_key() == key(11).public_key()
            }
            ("genm certReqTemplate", Outcome::CertReqTemplate(Some(_))) => true,
            ("genm crlStatusList", Outcome::Crl(Some(crl))) => crl.contains(&[5]) && !crl.contains(&[7]),
            _ => false,
        };
        assert!(fits, "{name}");
    }
}

#[test]
fn an_ra_that_has_nothing_to_say_says_so() {
    let mut ra = Ra::new();
    (ra.ca_certs, ra.root_update, ra.template, ra.crls) = (None, None, None, None);
    for (name, config, request) in operations() {
        let nothing = match run(&mut ra, config, request).unwrap() {
            Outcome::CaCerts(certificates) => certificates.is_empty(),
            Outcome::RootCaUpdate(update) => update.is_none(),
            Outcome::CertReqTemplate(template) => template.is_none(),
            Outcome::Crl(crl) => crl.is_none(),
            _ => continue,
        };
        assert!(nothing, "{name}");
    }
}

#[test]
fn every_answer_may_be_delayed_and_is_polled_with_the_cert_req_id_that_it_has() {
    for (name, config, request) in operations() {
        for by_error in [false, true] {
            let mut ra = Ra::new();
            ra.polls = vec![7, 100_000];
            ra.delay_by_error = by_error;
            let kind = request.body_type();
            let outcome = run(&mut ra, config.clone(), request.clone());
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
            let times: Vec<u64> = ra.poll_times.iter().map(core::time::Duration::as_secs).collect();
            assert_eq!(times, [0, 7, 100_007], "{name}");
            let poll_id = match kind {
                BodyType::Ir | BodyType::Cr | BodyType::Kur if !by_error => 0,
                _ => -1,
            };
            assert_eq!(ra.poll_ids, [poll_id; 3], "{name}");
        }
    }
}

#[test]
fn the_answer_of_a_ca_behind_the_ra_ends_a_delay_with_the_nonce_of_the_message_that_was_delayed() {
    for (name, config, request) in operations() {
        let mut ra = Ra::new();
        ra.polls = vec![7, 7];
        ra.delivery_names = Some(0);
        let outcome = run(&mut ra, config, request);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
        assert_eq!(
            ra.seen[..4]
                .iter()
                .filter(|kind| **kind == BodyType::PollReq)
                .count(),
            3
        );
    }
    // The message that is delayed may be the certConf.
    let mut ra = Ra::new();
    ra.delay_confirmation = true;
    ra.delivery_names = Some(1);
    run(&mut ra, config(), request()).unwrap();
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf, BodyType::PollReq]);
}

#[test]
fn a_ca_behind_the_ra_may_sign_with_a_key_of_another_type() {
    let mut ra = Ra::new();
    ra.polls = vec![7];
    ra.delivery_names = Some(0);
    let mut transaction = start(config(), request());
    let keys = station_keys();
    let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
    let outcome = cmp_client::drive::drive(&mut transaction, now(), find, |now, message| {
        if ra.seen.len() == 2 {
            let mut draft = Draft::new("CN=CA", 2, 2);
            draft.public_key = key384().public_key().to_vec();
            ra.speak_as(draft.issue(), key384());
        }
        ra.answer(now, message)
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn every_operation_begins_again_where_its_outcome_is_unknown_or_its_transaction_id_in_use() {
    for (name, config, request) in operations() {
        for in_use in [false, true] {
            let mut ra = Ra::new();
            ra.in_use_once = in_use;
            ra.lose = if in_use { vec![] } else { vec![0] };
            let outcome = run(&mut ra, config.clone(), request.clone());
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
            let kind = request.body_type();
            assert_eq!(ra.seen[..2], [kind, kind], "{name}");
            assert_ne!(ra.transactions[0], ra.transactions[1], "{name}");
            let messages = messages(&ra);
            assert_eq!(
                messages[0].body, messages[1].body,
                "{name}: the same key and proof"
            );
            assert_ne!(
                messages[0].header.sender_nonce, messages[1].header.sender_nonce,
                "{name}"
            );
        }
    }
}

#[test]
fn a_certificate_that_was_revoked_by_a_request_whose_answer_was_lost_is_revoked() {
    let (config, request) = revocation();
    let mut ra = Ra::new();
    ra.lose = vec![0];
    let Ok(Outcome::Revoked(revoked)) = run(&mut ra, config.clone(), request.clone()) else {
        panic!()
    };
    assert!(revoked.earlier);

    // The same where an error says so, as a revoked certificate protects the request.
    let mut ra = Ra::new();
    ra.lose = vec![0];
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::CertRevoked, ""));
    let Ok(Outcome::Revoked(revoked)) = run(&mut ra, config.clone(), request.clone()) else {
        panic!()
    };
    assert!(revoked.earlier);

    // Unprotected it proves nothing.
    ra.unprotected = true;
    ra.lose = vec![ra.seen.len()];
    let failure = run(&mut ra, config, request).unwrap_err();
    assert!(matches!(failure, Failure::UnprotectedError { .. }), "{failure}");
}

#[test]
fn an_rr_names_the_certificate_that_protects_it_and_the_reason() {
    let (config, request) = revocation();
    let mut ra = Ra::new();
    run(&mut ra, config, request).unwrap();
    let message = &messages(&ra)[0];
    let PkiBody::Rr(details) = &*message.body else {
        panic!()
    };
    let [details] = details.as_slice() else { panic!() };
    let old = old_certificate();
    let template = &details.cert_details;
    assert_eq!(
        template.serial_number.as_ref().unwrap().as_bytes(),
        old.serial_number()
    );
    assert_eq!(der::Encode::to_der(&template.issuer).unwrap(), old.issuer());
    let [reason] = details.crl_entry_details.as_deref().unwrap() else {
        panic!()
    };
    assert_eq!(
        (reason.extn_id.to_string().as_str(), reason.critical),
        ("2.5.29.21", false)
    );
    assert_eq!(reason.extn_value.as_bytes(), [0x0a, 1, 4], "superseded");
    assert_eq!(message.extra_certs.as_ref().unwrap()[0].as_bytes(), old.as_der());
}

#[test]
fn a_csr_is_sent_as_it_is_and_confirmed_with_cert_req_id_minus_one() {
    let (_, config, request) = operations()
        .into_iter()
        .find(|(name, ..)| *name == "p10cr")
        .unwrap();
    let Request::Pkcs10(pkcs10) = &request else {
        panic!()
    };
    let csr = pkcs10.csr.clone();
    let mut ra = Ra::new();
    let enrolled = run(&mut ra, config, request).unwrap().into_enrolled().unwrap();
    assert_eq!(enrolled.key, KeyId(1));
    let messages = messages(&ra);
    let (PkiBody::P10cr(sent), PkiBody::CertConf(content)) = (&*messages[0].body, &*messages[1].body) else {
        panic!()
    };
    assert_eq!(sent.as_bytes(), csr);
    assert_eq!(content[0].cert_req_id, -1);
}

#[test]
fn general_info_is_in_requests_only_and_only_where_it_belongs() {
    for (name, config, request) in operations() {
        let mut request = request;
        let profile = Some("station".to_string());
        let takes_profile = match &mut request {
            Request::Certificate(request) => {
                request.cert_profile = profile;
                true
            }
            Request::Pkcs10(request) => {
                request.cert_profile = profile;
                true
            }
            Request::General(GeneralRequest::CertReqTemplate { cert_profile }) => {
                *cert_profile = profile;
                true
            }
            _ => false,
        };
        let for_certificate = matches!(request, Request::Certificate(_) | Request::Pkcs10(_));
        let config = Config {
            implicit_confirm: true,
            ..config
        };
        let mut ra = Ra::new();
        ra.polls = vec![5];
        run(&mut ra, config, request).unwrap();
        let messages = messages(&ra);
        let header = &messages[0].header;
        assert_eq!(header.implicit_confirm(), for_certificate, "{name}");
        let profile = header
            .info(general::CERT_PROFILE)
            .map(|info| info.info_value.as_ref().unwrap().parse::<Vec<String>>().unwrap());
        assert_eq!(
            profile,
            takes_profile.then(|| vec!["station".to_string()]),
            "{name}"
        );
        assert!(
            messages[1..].iter().all(|m| m.header.general_info.is_none()),
            "{name}"
        );
    }
}

#[test]
fn in_a_new_transaction_the_ra_may_have_a_key_of_another_type() {
    let mut ra = Ra::new();
    speak_otherwise(&mut ra);
    ra.in_use_once = true;
    let mut transaction = start(config(), request());
    let keys = station_keys();
    let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
    let outcome = cmp_client::drive::drive(&mut transaction, now(), find, |now, message| {
        if ra.seen.len() == 1 {
            ra.speak_as(Ra::new().certificate, key(2));
        }
        ra.answer(now, message)
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn every_message_of_a_transaction_is_protected_with_the_same_key() {
    for (name, config, request) in operations() {
        let mut ra = Ra::new();
        ra.polls = vec![5];
        ra.delay_confirmation = true;
        let new_key = match &request {
            Request::Certificate(_) => 1,
            _ => 0,
        };
        let mut transaction = start(config.clone(), request);
        let (keys, now) = (station_keys(), now());
        let mut signers = Vec::new();
        loop {
            match transaction.poll_action() {
                Some(Action::Sign { job, key, input, .. }) => {
                    signers.push(key);
                    let signature = keys[key.0 as usize].sign(&input).unwrap();
                    transaction.handle_done(now, job, JobResult::Signed(signature));
                }
                Some(Action::Store { job, .. }) => transaction.handle_done(now, job, JobResult::Stored),
                Some(Action::Send { message, .. }) => {
                    let answer = ra.answer(now, &message).unwrap();
                    transaction.handle_response(now, &answer);
                }
                Some(Action::Done(result)) => break drop(result.unwrap()),
                Some(_) => {}
                None => {
                    let monotonic = transaction.poll_timeout().unwrap();
                    transaction.handle_timeout(cmp_client::Time { monotonic, ..now });
                }
            }
        }
        let protection = match config.protection {
            cmp_client::Protection::Signature { key, .. } => Some(key),
            _ => None,
        };
        let protecting = &signers[new_key.min(signers.len())..];
        assert!(
            protecting.iter().all(|key| Some(*key) == protection),
            "{name}: {signers:?}"
        );
        let expected = if protection.is_some() { ra.seen.len() } else { 0 };
        assert_eq!(protecting.len(), expected, "{name}: one signature a message");
    }
}

#[test]
fn version_3_is_for_a_cert_conf_with_hash_alg_and_for_nothing_else() {
    for (name, config, request) in operations() {
        let mut ra = Ra::new();
        ra.polls = vec![5];
        run(&mut ra, config, request).unwrap();
        assert!(
            messages(&ra).iter().all(|message| message.header.pvno == 2),
            "{name}"
        );
    }
    let mut ra = Ra::new();
    ra.body = Some(|body| match body {
        PkiBody::Ip(mut content) => {
            let pair = content.response[0].certified_key_pair.as_mut().unwrap();
            let CertOrEncCert::Certificate(certificate) = &mut pair.cert_or_enc_cert else {
                panic!()
            };
            *certificate = Raw::new(of_unknown_algorithm(certificate.as_bytes())).unwrap();
            PkiBody::Ip(content)
        }
        other => other,
    });
    let failure = run(&mut ra, config(), request()).unwrap_err();
    assert!(
        matches!(failure, Failure::CertificateRefused { told: true, .. }),
        "{failure}"
    );
    let messages = messages(&ra);
    let versions: Vec<i64> = messages.iter().map(|message| message.header.pvno).collect();
    assert_eq!(versions, [2, 3]);
    let PkiBody::CertConf(content) = &*messages[1].body else {
        panic!()
    };
    assert!(content[0].hash_alg.is_some());
}

/// The same certificate with a signature algorithm that nobody knows.
fn of_unknown_algorithm(certificate: &[u8]) -> Vec<u8> {
    let ecdsa_with_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let mut der = certificate.to_vec();
    for at in 0..der.len() - 8 {
        if der[at..at + 8] == ecdsa_with_sha256 {
            der[at + 7] = 0x7f;
        }
    }
    der
}

#[test]
fn ca_pubs_become_anchors_only_under_the_secret_or_from_a_signer_that_is_authorised() {
    let ra_certificate = Ra::new().certificate;
    let other = Draft::new("CN=RA", 9, 9).issue();
    for (signers, taken) in [
        (vec![], false),
        (vec![other], false),
        (vec![ra_certificate.clone()], true),
        (vec![root()], true),
    ] {
        let config = Config {
            anchor_signers: signers.clone(),
            ..config()
        };
        let (outcome, reports) = reported(&mut Ra::new(), config, request());
        let enrolled = outcome.unwrap().into_enrolled().unwrap();
        assert_eq!(enrolled.new_anchors.len(), usize::from(taken));
        assert_eq!(reports.contains(&Report::CaPubsIgnored { count: 1 }), !taken);

        let (update_config, update) = update_request(&old_certificate());
        let config = Config {
            anchor_signers: signers,
            ..update_config
        };
        let (outcome, reports) = reported(&mut Ra::new(), config, update);
        assert!(
            outcome.unwrap().into_enrolled().unwrap().new_anchors.is_empty(),
            "never in a kup"
        );
        assert!(reports.contains(&Report::CaPubsIgnored { count: 1 }));
    }
}

#[test]
fn a_crl_is_asked_for_by_issuer_or_distribution_point_and_by_what_is_there() {
    let uri = der::asn1::Ia5String::new("http://crl.example/7").unwrap();
    let point = DistributionPointName::FullName(vec![GeneralName::UniformResourceIdentifier(uri)]);
    let of_issuer = CrlUpdate::of_issuer(root(), None).unwrap();
    let of_point = CrlUpdate {
        source: CrlSource::DistributionPoint(point),
        this_update_s: Some(NOW_S - 5000),
        ..of_issuer.clone()
    };
    for update in [of_issuer, of_point] {
        let mut ra = Ra::new();
        let outcome = run(&mut ra, config(), GeneralRequest::CrlUpdate(update.clone())).unwrap();
        assert!(matches!(outcome, Outcome::Crl(Some(_))));
        let message = &messages(&ra)[0];
        let PkiBody::Genm(content) = &*message.body else {
            panic!()
        };
        let value = content[0].info_value.as_ref().unwrap();
        let list = value.parse::<CrlStatusList>().unwrap();
        let [status] = list.as_slice() else { panic!() };
        assert_eq!(status.source, update.source);
        let this_update = status.this_update.map(|time| time.to_unix_duration().as_secs());
        assert_eq!(this_update, update.this_update_s);
    }
}

#[test]
fn a_crl_needs_an_issuer_that_may_sign_it() {
    use x509_cert::ext::pkix::{KeyUsage, KeyUsages};
    let mut draft = Draft::ca("CN=Root", 1, 1);
    draft.extensions[1] = ra::extension("2.5.29.15", true, &KeyUsage(KeyUsages::KeyCertSign.into()));
    let update = CrlUpdate::of_issuer(draft.issue(), None).unwrap();
    let failure = run(&mut Ra::new(), config(), GeneralRequest::CrlUpdate(update)).unwrap_err();
    assert!(
        failure.to_string().contains("does not allow to sign CRLs"),
        "{failure}"
    );
}

#[test]
fn a_crl_without_extensions_and_an_old_one_without_a_clock_are_taken() {
    let mut ra = Ra::new();
    let mut draft = CrlDraft::new();
    draft.next_update_s = NOW_S - 50;
    ra.crls = Some(vec![draft.issue()]);
    let update = CrlUpdate::of_issuer(root(), None).unwrap();
    let without_clock = cmp_client::Time { utc_s: None, ..now() };
    let mut transaction = Transaction::new(
        config(),
        GeneralRequest::CrlUpdate(update),
        [1; 32],
        without_clock,
    );
    let keys = station_keys();
    let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
    let outcome = cmp_client::drive::drive(&mut transaction, without_clock, find, |now, message| {
        ra.answer(now, message)
    });
    assert!(matches!(outcome, Ok(Outcome::Crl(Some(_)))), "{outcome:?}");
}

#[test]
fn a_failure_says_which_check_failed_on_which_message_and_what_the_peer_says() {
    let mut ra = Ra::new();
    ra.header = Some(|header| header.recip_nonce = None);
    let text = run(&mut ra, config(), request()).unwrap_err().to_string();
    let transaction: String = ra.transactions[0]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for part in [
        "ir of transaction",
        &transaction,
        "CN=RA",
        "recipNonce",
        "RFC 9483 §3.1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut ra = Ra::new();
    let expired = Draft {
        not_after_s: NOW_S - 1,
        ..Draft::new("CN=RA", 2, 2)
    };
    ra.speak_as(expired.issue(), key(2));
    let text = run(&mut ra, config(), request()).unwrap_err().to_string();
    for part in ["certificate \"CN=RA\": it has expired", "RFC 9483 §3.3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::BadMessageCheck, "who?"));
    let text = run(&mut ra, config(), request()).unwrap_err().to_string();
    assert!(
        text.ends_with("; it claims, without proof: rejection (badMessageCheck): who?"),
        "{text}"
    );
    ra.error = None;
    ra.speak_as(
        Draft {
            issuer: "CN=Stranger",
            ..Draft::new("CN=RA", 2, 2)
        }
        .issue(),
        key(2),
    );
    let text = run(&mut ra, config(), request()).unwrap_err().to_string();
    assert!(
        text.contains("certificate \"CN=RA\": its issuer is not known: \"CN=Stranger\""),
        "{text}"
    );
    let (config, request) = revocation();
    let mut ra = Ra::new();
    ra.reject = Some(PkiStatusInfo::rejection(
        PkiFailure::BadCertId,
        "never heard of it",
    ));
    let text = run(&mut ra, config.clone(), request.clone())
        .unwrap_err()
        .to_string();
    for part in [
        "rr of transaction",
        "rp",
        "CN=RA",
        "rejection (badCertId): never heard of it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut ra = Ra::new();
    ra.body = Some(|body| match body {
        PkiBody::Rp(mut content) => {
            content.rev_certs.as_mut().unwrap()[0].serial_number = der::asn1::Int::new(&[99]).unwrap();
            PkiBody::Rp(content)
        }
        other => other,
    });
    let text = run(&mut ra, config, request).unwrap_err().to_string();
    assert!(
        text.contains("another certificate") && text.contains("RFC 9483 §4.2"),
        "{text}"
    );
}

#[test]
fn why_a_certificate_was_refused_is_told_even_if_the_ra_never_hears_of_it() {
    let mut ra = Ra::new();
    ra.issue_other_key = true;
    ra.lose = (1..100).collect();
    let failure = run(&mut ra, config(), request()).unwrap_err();
    let Failure::CertificateRefused {
        refusal,
        told,
        exchange,
    } = failure
    else {
        panic!("{failure}")
    };
    assert_eq!((refusal, told), (cmp_client::Refusal::OtherKey, false));
    assert_eq!(exchange.sent, BodyType::CertConf);
}
