//! The power goes at each point of each operation of RFC 9483 §4, and the station goes on where it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod world;

use charger_agent::client::{Outcome, Request};
use cmp_message::BodyType;
use world::{Flash, Identity, OPERATIONS, World, request};

/// What a run has come to.
struct Run {
    world: World,
    flash: Flash,
    /// What was asked for the operation itself.
    asked: Vec<BodyType>,
}

/// A station that is ready for an operation: enrolled where it needs a certificate.
fn ready(name: &str) -> (World, Identity, Request) {
    let mut world = World::new();
    let mut identity = world.manufacturer();
    if !matches!(name, "ir" | "p10cr") {
        identity = world.enrolled(identity);
    }
    let request = request(&world, &mut identity, name);
    (world, identity, request)
}

/// The operation with the power going after so many steps; `None` where it was over before that.
fn run(name: &str, cut: Option<usize>) -> Option<Run> {
    let (mut world, identity, request) = ready(name);
    let before = world.asked.len();
    let mut flash = Flash::default();
    let mut agent = world.start(&identity, request.clone());
    let steps = cut.unwrap_or(usize::MAX);
    let ended = world.live(&mut agent, &identity, &mut flash, steps);
    match (ended, cut) {
        (Some(result), None) => result.unwrap_or_else(|failure| panic!("{name}: {failure}")),
        (Some(_), Some(_)) => return None,
        (None, cut) => {
            world.lose_power();
            if flash.record.is_none() {
                assert_eq!(
                    world.asked.len(),
                    before,
                    "{name}: nothing is asked before it is kept"
                );
            }
            let mut agent = match &flash.record {
                Some(record) => world.resume(&identity, record),
                None => world.start(&identity, request),
            };
            let ended = world.live(&mut agent, &identity, &mut flash, usize::MAX).unwrap();
            ended.unwrap_or_else(|failure| panic!("{name}, cut at {cut:?}: {failure}"));
        }
    }
    let asked = world.asked.split_off(before);
    Some(Run {
        asked: world::kinds(&asked),
        world,
        flash,
    })
}

/// Whether the last result is the one that the operation is for.
fn fits(name: &str, run: &Run) -> bool {
    match (name, run.flash.outcomes.last().unwrap()) {
        ("ir" | "cr" | "kur" | "p10cr", Outcome::Enrolled(enrolled)) => {
            run.world.is_confirmed(&enrolled.certificate)
        }
        ("rr", Outcome::Revoked(revoked)) => run.world.is_revoked(&revoked.certificate) && !revoked.earlier,
        ("caCerts", Outcome::CaCerts(certificates)) => certificates.len() >= 2,
        ("rootCaCert", Outcome::RootCaUpdate(Some(update))) => update.old_root == run.world.first_root,
        ("certReqTemplate", Outcome::CertReqTemplate(Some(_))) => true,
        ("crlStatusList", Outcome::Crl(Some(crl))) => crl.serial_numbers().count() == 0,
        _ => false,
    }
}

#[test]
fn a_station_that_loses_power_at_any_point_of_any_operation_goes_on_and_the_ra_is_asked_once() {
    for name in OPERATIONS {
        let whole = run(name, None).unwrap();
        assert!(fits(name, &whole), "{name}");
        assert!(
            whole.asked.contains(&BodyType::PollReq),
            "{name} is delayed: {:?}",
            whole.asked
        );
        let mut cuts = 0;
        while let Some(cut) = run(name, Some(cuts)) {
            assert_eq!(cut.asked, whole.asked, "{name}, cut at {cuts}");
            assert!(fits(name, &cut), "{name}, cut at {cuts}");
            cuts += 1;
        }
        assert!(cuts > 10, "{name} has {cuts} points");
    }
}

#[test]
fn who_signed_for_the_ra_comes_with_the_result_and_nobody_did_under_a_mac() {
    for (name, of_secret) in [("caCerts", false), ("caCerts", true)] {
        let mut world = World::new();
        let mut identity = if of_secret {
            world.secret()
        } else {
            world.manufacturer()
        };
        let request = request(&world, &mut identity, name);
        let mut flash = Flash::default();
        let mut agent = world.start(&identity, request);
        let ended = world.live(&mut agent, &identity, &mut flash, usize::MAX);
        ended.unwrap().unwrap();
        let signer = flash.signer.unwrap();
        assert_eq!(signer.is_none(), of_secret);
        if let Some(signer) = signer {
            assert_eq!(signer.as_der(), world.ra_certificate());
        }
    }
}
