//! An RA that passes on to an RA with its CA, both as values.

use super::client::{Client, NOW_S};
use cmp_message::{
    PkiBody, PkiMessage,
    crypto::{HashAlgorithm, KeyAlgorithm},
    mac::{MacAlgorithm, Secret},
};
use lab_ra::{
    Credential, Endpoint, Forward, ForwardConfig, Forwarder, OutgoingFile, Pki, Ra, RaConfig, RaIdentity,
    Step, Store, UpstreamError,
};
use std::collections::HashMap;

pub struct Chain {
    pub ca: Ra,
    pub ra: Forwarder,
    /// The RA's own certificate.
    pub identity: Credential,
    /// What went to the server behind, and came back.
    pub passed: Vec<(Vec<u8>, Vec<u8>)>,
    config: RaConfig,
    ca_config: RaConfig,
    forward: ForwardConfig,
}

/// Secrets as RA and CA have them.
pub fn secrets() -> HashMap<Vec<u8>, Secret> {
    HashMap::from([
        (b"r1".to_vec(), Secret::new(b"s3cret".to_vec())),
        (b"r2".to_vec(), Secret::new(b"other".to_vec())),
    ])
}

pub fn pbm() -> MacAlgorithm {
    MacAlgorithm::PasswordBasedMac {
        owf: HashAlgorithm::Sha256,
        mac: HashAlgorithm::Sha256,
        iterations: 100,
        salt: vec![7; 16],
    }
}

impl Chain {
    pub fn of(forward: Forward) -> Self {
        Self::with(forward, |_| {}, |_| {}, |_| {})
    }

    pub fn with(
        forward: Forward,
        change: impl FnOnce(&mut ForwardConfig),
        change_ra: impl FnOnce(&mut RaConfig),
        change_ca: impl FnOnce(&mut RaConfig),
    ) -> Self {
        let mut config = RaConfig::default();
        config.secrets = secrets();
        change_ca(&mut config);
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        let store = Store::in_memory().unwrap();
        let identity = pki
            .issue(&store, &"CN=Depot RA".parse().unwrap(), true, NOW_S)
            .unwrap();
        let mut ra_config = config_of_ra(&pki);
        change_ra(&mut ra_config);
        let mut forward_config = ForwardConfig::default();
        forward_config.forward = forward;
        forward_config.upstream_anchors = certificates(&[pki.root.certificate()]);
        change(&mut forward_config);
        Self {
            config: ra_config.clone(),
            ca_config: config.clone(),
            forward: forward_config.clone(),
            ra: Forwarder::new(
                RaIdentity::new(&identity).unwrap(),
                ra_config,
                forward_config,
                Store::in_memory().unwrap(),
            )
            .unwrap(),
            ca: Ra::new(pki, config, store).unwrap(),
            identity,
            passed: Vec::new(),
        }
    }

    /// A client with a manufacturer certificate.
    pub fn station(&self, serial_number: &str) -> Client {
        Client::with_idevid(&self.ca, serial_number)
    }

    /// A client with the secret `r1:s3cret`.
    pub fn newcomer(&self) -> Client {
        Client::with_secret(&self.ca, "s3cret", pbm())
    }

    /// What somebody gets for this message.
    pub fn pass(&mut self, message: &[u8]) -> Vec<u8> {
        self.pass_at(NOW_S, message)
    }

    pub fn pass_at(&mut self, now_s: u64, message: &[u8]) -> Vec<u8> {
        self.pass_to(now_s, &Endpoint::default(), message)
    }

    /// What somebody gets for this message at this path. The profile of the path goes on in the path behind.
    pub fn pass_to(&mut self, now_s: u64, endpoint: &Endpoint, message: &[u8]) -> Vec<u8> {
        let step = self.ra.take(now_s, endpoint, message);
        self.go(now_s, step)
    }

    fn go(&mut self, now_s: u64, step: Step) -> Vec<u8> {
        match step {
            Step::Answer(answer) => answer,
            Step::Forward(asked) => {
                let response = match asked.profile.filter(|_| self.forward.profile_paths) {
                    None => self.ca.handle(now_s, &asked.message),
                    Some(profile) => {
                        let path = format!("/.well-known/cmp/p/{profile}");
                        let endpoint = Endpoint::parse(&path).unwrap();
                        self.ca.handle_at(now_s, &endpoint, &asked.message)
                    }
                };
                self.passed.push((asked.message, response.clone()));
                self.ra.give(now_s, &asked.ticket, Ok(response))
            }
            Step::Batch(mut batch) => {
                let steps = std::mem::take(&mut batch.steps);
                let answers: Vec<_> = steps.into_iter().map(|step| self.go(now_s, step)).collect();
                self.ra.answer_batch(now_s, &batch, &answers)
            }
        }
    }

    /// The RA ends and begins again, with what lasts.
    pub fn restart(self) -> Self {
        let identity = RaIdentity::new(&self.identity).unwrap();
        let (config, forward) = (self.config.clone(), self.forward.clone());
        Self {
            ra: Forwarder::new(identity, config, forward, self.ra.into_store()).unwrap(),
            ..self
        }
    }

    /// The server behind ends and begins again, with what lasts.
    pub fn restart_ca(self) -> Self {
        let (pki, store) = self.ca.into_parts();
        Self {
            ca: Ra::new(pki, self.ca_config.clone(), store).unwrap(),
            ..self
        }
    }

    /// What somebody gets for this message if the server behind does this with it.
    pub fn pass_by(
        &mut self,
        message: &[u8],
        behind: impl FnOnce(&mut Ra, &[u8]) -> Result<Vec<u8>, UpstreamError>,
    ) -> Vec<u8> {
        match self.ra.take(NOW_S, &Endpoint::default(), message) {
            Step::Answer(answer) => panic!("not passed on: {:?}", PkiMessage::from_bytes(&answer)),
            Step::Batch(batch) => panic!("{batch:?}"),
            Step::Forward(asked) => {
                let response = behind(&mut self.ca, &asked.message);
                self.ra.give(NOW_S, &asked.ticket, response)
            }
        }
    }

    /// Sends a message of the client through the RA.
    pub fn send(&mut self, client: &mut Client, body: PkiBody) -> PkiMessage {
        let request = client.message(body, |_| {});
        let answer = self.pass(&request);
        client.take(NOW_S, &request, &answer)
    }

    /// The last message that was passed on.
    pub fn last(&self) -> PkiMessage {
        PkiMessage::from_bytes(&self.passed.last().unwrap().0).unwrap()
    }

    /// The messages that are to become files, which then have.
    pub fn carry_out(&mut self, now_s: u64) -> Vec<OutgoingFile> {
        let files = self.ra.outgoing(now_s).unwrap();
        for file in &files {
            self.ra.sent(file).unwrap();
        }
        files
    }
}

/// What an RA in front of this hierarchy knows of end entities.
pub fn config_of_ra(pki: &Pki) -> RaConfig {
    let mut config = RaConfig::default();
    config.secrets = secrets();
    config.manufacturers = certificates(&[pki.manufacturer_ca.certificate()]);
    config
}

pub fn certificates(ders: &[&[u8]]) -> Vec<cmp_message::certificate::Certificate> {
    let parse = |der: &&[u8]| cmp_message::certificate::Certificate::from_der(*der).unwrap();
    ders.iter().map(parse).collect()
}
