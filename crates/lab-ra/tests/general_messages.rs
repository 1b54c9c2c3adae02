//! genm and genp, and a new root (RFC 9483 §4.3, RFC 9810 §4.4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::*;
use cmp_message::{
    BodyType, CertTemplate, InfoTypeAndValue, PkiBody, PkiMessage, Raw,
    certificate::Certificate,
    crl::Crl,
    crypto::{AwsLc, KeyAlgorithm},
    general::{
        self, CertReqTemplateContent, CrlSource, CrlStatus, REG_CTRL_ALG_ID, REG_CTRL_RSA_KEY_LEN,
        RootCaKeyUpdateContent,
    },
    mac::MacAlgorithm,
    path::PathRequest,
};
use der::{Decode, Encode, asn1::UtcTime};
use lab_ra::{Pki, Ra, RaConfig, Store};
use spki::AlgorithmIdentifierRef;
use std::time::Duration;
use x509_cert::{
    ext::pkix::name::{DistributionPointName, GeneralName},
    name::Name,
    time::Time,
};

fn ask(ra: &mut Ra, asked: InfoTypeAndValue) -> InfoTypeAndValue {
    let mut client = Client::with_idevid(ra, "CS-1");
    info(&client.send(ra, genm(asked)))
}

fn certificates(value: &Raw) -> Vec<Certificate> {
    let all = value.parse::<Vec<Raw>>().unwrap();
    all.iter()
        .map(|one| Certificate::from_der(one.as_bytes()).unwrap())
        .collect()
}

#[test]
fn ca_certs_gives_issuing_ca_and_root_also_under_a_mac() {
    let mut ra = ra(|_| {});
    let answer = ask(&mut ra, InfoTypeAndValue::absent(general::CA_CERTS));
    assert_eq!(answer.info_type, general::CA_CERTS);
    let all = certificates(answer.info_value.as_ref().unwrap());
    assert_eq!(all[0].as_der(), ra.pki().ca.certificate());
    assert_eq!(all[1].as_der(), ra.pki().root.certificate());
    let mut client = Client::with_secret(&ra, "s3cret", MacAlgorithm::pbmac1([7; 16]));
    let under_mac = client.send(&mut ra, genm(InfoTypeAndValue::absent(general::CA_CERTS)));
    assert_eq!(info(&under_mac), answer);
    assert!(under_mac.header.protection_alg.as_ref().unwrap().oid == cmp_message::mac::PBMAC1);
    assert_eq!(ra.store().open_transaction_count(), 0);
}

fn root_ca_cert(der: &[u8]) -> InfoTypeAndValue {
    InfoTypeAndValue::with_value(general::ROOT_CA_CERT, &Raw::new(der).unwrap()).unwrap()
}

#[test]
fn a_root_that_is_the_present_one_has_no_update() {
    let mut ra = ra(|_| {});
    let root = ra.pki().root.certificate().to_vec();
    for asked in [
        root_ca_cert(&root),
        InfoTypeAndValue::absent(general::ROOT_CA_CERT),
    ] {
        let answer = ask(&mut ra, asked);
        assert_eq!(answer, InfoTypeAndValue::absent(general::ROOT_CA_KEY_UPDATE));
    }
}

/// Whether `target` leads to `anchor` over `others`.
fn leads(target: &[u8], others: &[&[u8]], anchor: &[u8]) -> bool {
    let parse = |der: &[u8]| Certificate::from_der(der).unwrap();
    let (target, anchor) = (parse(target), [parse(anchor)]);
    let others: Vec<_> = others.iter().map(|der| parse(der)).collect();
    let mut request = PathRequest::new(&target, &anchor, Some(NOW_S).into());
    request.untrusted = &others;
    request.validate(&AwsLc).is_ok()
}

/// An RA after two new roots, and each root there was.
fn rolled_over() -> (Ra, [Vec<u8>; 3]) {
    let mut pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let first = pki.root.certificate().to_vec();
    let [second, third] = [(); 2].map(|()| {
        pki.roll_over(NOW_S).unwrap();
        pki.root.certificate().to_vec()
    });
    let ra = Ra::new(pki, RaConfig::default(), Store::in_memory().unwrap()).unwrap();
    (ra, [first, second, third])
}

#[test]
fn an_old_root_is_told_the_next_with_links_in_both_directions() {
    let (mut ra, roots) = rolled_over();
    for step in roots.windows(2) {
        let [old, new] = [step[0].as_slice(), step[1].as_slice()];
        let answer = ask(&mut ra, root_ca_cert(old));
        assert_eq!(answer.info_type, general::ROOT_CA_KEY_UPDATE);
        let update = answer.info_value.unwrap();
        let update = update.parse::<RootCaKeyUpdateContent>().unwrap();
        let (new_with_old, old_with_new) = (update.new_with_old.unwrap(), update.old_with_new.unwrap());
        let [new_with_old, old_with_new] = [new_with_old.as_bytes(), old_with_new.as_bytes()];
        assert_eq!(update.new_with_new.as_bytes(), new);
        let parse = |der: &[u8]| Certificate::from_der(der).unwrap();
        let signs = |issuer: &[u8], subject: &[u8]| {
            let issuer = parse(issuer);
            parse(subject)
                .verify_signature(&AwsLc, issuer.public_key())
                .is_ok()
        };
        assert!(signs(old, new_with_old) && signs(new, old_with_new));
        assert!(!signs(new, new_with_old) && !signs(old, old_with_new));
        assert_eq!(parse(new_with_old).public_key(), parse(new).public_key());
        assert_eq!(parse(old_with_new).public_key(), parse(old).public_key());
        assert_eq!(parse(old).subject(), parse(new).subject());
    }
}

#[test]
fn without_a_root_in_the_question_the_last_update_is_told() {
    let (mut ra, roots) = rolled_over();
    let answer = ask(&mut ra, InfoTypeAndValue::absent(general::ROOT_CA_CERT));
    let update = answer
        .info_value
        .unwrap()
        .parse::<RootCaKeyUpdateContent>()
        .unwrap();
    assert_eq!(update.new_with_new.as_bytes(), roots[2]);
}

#[test]
fn a_station_of_the_old_root_trusts_the_new_ra_and_updates_to_the_new_ca() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    pki.save(folder.path()).unwrap();
    let open = || Store::open(&folder.path().join("state.sqlite")).unwrap();
    let mut ra = Ra::new(Pki::load(folder.path()).unwrap(), RaConfig::default(), open()).unwrap();
    let old_key = key();
    let old_ca = ra.pki().ca.certificate().to_vec();
    let old_root = ra.pki().root.certificate().to_vec();
    let old = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &old_key, "CN=CS-1");
    // The client keeps the old root as its only anchor.
    let mut client = Client::with_certificate(&ra, old_key, old.clone());

    // Another process makes a new root while this one runs.
    let mut there = Pki::load(folder.path()).unwrap();
    there.roll_over(NOW_S).unwrap();
    there.save_generation(folder.path()).unwrap();
    open().announce_generation(there.generation(), NOW_S).unwrap();

    let old = Certificate::from_der(old).unwrap();
    let answer = client.send(&mut ra, PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]));
    assert_eq!(ra.pki().generation(), 2);
    let certificate = issued(&answer);
    let extra_certs = answer.extra_certs.as_ref().unwrap();
    let extra_certs: Vec<_> = extra_certs.iter().map(Raw::as_bytes).collect();
    assert!(leads(&certificate, &extra_certs, &old_root));
    assert!(leads(
        &certificate,
        &[ra.pki().ca.certificate()],
        ra.pki().root.certificate()
    ));
    assert!(!leads(&certificate, &[&old_ca], &old_root));
    assert_eq!(
        client.send(&mut ra, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
    // A restart knows both.
    let again = Pki::load(folder.path()).unwrap();
    assert_eq!(again.root.certificate(), there.root.certificate());
    assert!(again.root_update(1).is_some() && again.root_update(2).is_none());
    assert_eq!(again.issuing_ca(1).unwrap().certificate(), old_ca);
}

fn template(ra: &mut Ra, profile: Option<&str>) -> CertReqTemplateContent {
    let mut client = Client::with_idevid(ra, "CS-1");
    let body = genm(InfoTypeAndValue::absent(general::CERT_REQ_TEMPLATE));
    let answer = client.send_with(ra, NOW_S, body, |header| {
        header.general_info = profile.map(|name| vec![InfoTypeAndValue::cert_profile(name).unwrap()]);
    });
    info(&answer).info_value.unwrap().parse().unwrap()
}

#[test]
fn a_template_says_what_the_profile_wants() {
    let mut ra = ra(|config| {
        let mut profile = config.default_profile.clone();
        profile.key_algorithms = vec![KeyAlgorithm::P384, KeyAlgorithm::Rsa];
        profile.subject = ["CN", "O=Operator"].map(|rule| rule.parse().unwrap()).to_vec();
        profile.ext_key_usages = vec!["1.3.6.1.5.5.7.3.2".parse().unwrap()];
        config.profiles.insert("station".into(), profile);
    });
    let station = template(&mut ra, Some("station"));
    let subject = station.cert_template.subject.unwrap();
    let expected = x509_name(&[("2.5.4.3", ""), ("2.5.4.10", "Operator")]);
    assert_eq!(subject.to_der().unwrap(), expected);
    assert_eq!(station.cert_template.extensions.unwrap().len(), 1);
    let keys = station.key_spec.unwrap();
    assert_eq!(keys[0].attr_type, REG_CTRL_ALG_ID);
    let algorithm = keys[0].value.parse::<AlgorithmIdentifierRef<'_>>().unwrap();
    assert_eq!(algorithm, KeyAlgorithm::P384.algorithm_identifier());
    assert_eq!(keys[1].attr_type, REG_CTRL_RSA_KEY_LEN);
    assert_eq!(keys[1].value.parse::<u32>().unwrap(), 3072);
    let usual = template(&mut ra, None);
    assert_eq!(usual.cert_template, CertTemplate::default());
    assert_eq!(usual.key_spec.unwrap().len(), 8);
}

/// DER of a name with these attributes as UTF8Strings.
fn x509_name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let rdns = attributes.iter().map(|(oid, value)| {
        let oid = oid
            .parse::<der::asn1::ObjectIdentifier>()
            .unwrap()
            .to_der()
            .unwrap();
        tlv(0x31, &tlv(0x30, &[oid, tlv(0x0c, value.as_bytes())].concat()))
    });
    tlv(0x30, &rdns.collect::<Vec<_>>().concat())
}

fn crls(source: CrlSource, this_update_s: Option<u64>) -> InfoTypeAndValue {
    let this_update =
        this_update_s.map(|s| Time::UtcTime(UtcTime::from_unix_duration(Duration::from_secs(s)).unwrap()));
    let list = vec![CrlStatus { source, this_update }];
    InfoTypeAndValue::with_value(general::CRL_STATUS_LIST, &list).unwrap()
}

fn by_issuer(ra: &Ra) -> CrlSource {
    let name = Name::from_der(ra.pki().ca.subject()).unwrap();
    CrlSource::Issuer(vec![GeneralName::DirectoryName(name)])
}

fn only_crl(answer: &InfoTypeAndValue) -> Crl {
    let list = answer.info_value.as_ref().unwrap().parse::<Vec<Raw>>().unwrap();
    assert_eq!(list.len(), 1);
    Crl::from_der(list[0].as_bytes()).unwrap()
}

#[test]
fn a_crl_comes_by_issuer_and_only_if_it_is_newer() {
    let mut ra = ra(|_| {});
    let key = key();
    let certificate = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &key, "CN=CS-1");
    let source = by_issuer(&ra);
    let first = ask(&mut ra, crls(source.clone(), None));
    assert_eq!(first.info_type, general::CRLS);
    let first = only_crl(&first);
    assert_eq!(first.serial_numbers().count(), 0);
    let issuer = Certificate::from_der(ra.pki().ca.certificate()).unwrap();
    first.verify(&AwsLc, &issuer, Some(NOW_S)).unwrap();
    let have = Some(first.this_update());
    let none = ask(&mut ra, crls(source.clone(), have));
    assert_eq!(none, InfoTypeAndValue::absent(general::CRLS));
    let mut client = Client::with_certificate(&ra, key, certificate.clone());
    client.send(&mut ra, rr(&certificate, None));
    let mut asking = Client::with_idevid(&ra, "CS-1");
    let answer = asking.send_with(&mut ra, NOW_S + 1, genm(crls(source, have)), |_| {});
    let next = only_crl(&info(&answer));
    assert!(next.contains(&serial(&certificate)));
}

#[test]
fn a_crl_comes_by_distribution_point_too_and_by_the_older_way_of_asking() {
    let mut ra = ra(|config| config.crl_distribution_point = Some("http://lab/crl".into()));
    let uri = |uri: &str| GeneralName::UniformResourceIdentifier(uri.to_owned().try_into().unwrap());
    let at = |text: &str| CrlSource::DistributionPoint(DistributionPointName::FullName(vec![uri(text)]));
    let found = only_crl(&ask(&mut ra, crls(at("http://lab/crl/1.crl"), None)));
    let answer = ask(
        &mut ra,
        InfoTypeAndValue::absent("1.3.6.1.5.5.7.4.6".parse().unwrap()),
    );
    assert_eq!(answer.info_value.unwrap().as_bytes(), found.as_der());
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer: PkiMessage = client.send(&mut ra, genm(crls(at("http://lab/crl/2.crl"), None)));
    assert_eq!(failure(&answer), cmp_message::PkiFailure::AddInfoNotAvailable);
}
