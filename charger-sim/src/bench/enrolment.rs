//! Whole enrolments, both sides in this process.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use charger_agent::client::{
    CertificateRequest, Config, KeyId, NewKey, Operation, Protection, Time, Transaction, drive::drive,
};
use clap::ValueEnum;
use cmp_message::{
    Raw,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, KeyAlgorithm, RustCrypto, SigningKey, aws_lc, rustcrypto},
};
use lab_ra::{Credential, Pki, Ra, RaConfig, Store};

/// Who computes for the station; the RA's side is always AWS-LC.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Provider {
    /// Pure Rust, as in a station.
    Rustcrypto,
    /// AWS-LC.
    AwsLc,
}

/// A station with a manufacturer certificate and keys on P-256, and an RA that issues to it.
pub struct Enrolment {
    ra: Ra,
    idevid: Credential,
    config: Arc<Config>,
    request: CertificateRequest,
    keys: Keys,
    now: Time,
    now_s: u64,
}

type Keys = [Box<dyn SigningKey>; 2];

impl Enrolment {
    /// Makes the hierarchy, the RA and the station's keys.
    ///
    /// # Errors
    /// Where there is no randomness or no memory.
    pub fn new(provider: Provider) -> anyhow::Result<Self> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let pki = Pki::generate(KeyAlgorithm::P256, now_s)?;
        let idevid = pki.issue_idevid("SN-BENCH", now_s)?;
        let root = Certificate::from_der(pki.root.certificate())?;
        let (crypto, keys) = keys(provider, &idevid.key)?;
        let [device, new] = &keys;
        let chain = idevid.chain.iter().map(|der| Raw::new(der.as_slice()));
        let protection = Protection::Signature {
            key: KeyId(0),
            algorithm: device.algorithm(),
            certificate: Certificate::from_der(idevid.certificate.as_slice())?,
            chain: chain.collect::<Result<_, _>>()?,
        };
        let new = NewKey::Own {
            key: KeyId(1),
            public_key: new.public_key().to_vec(),
            algorithm: new.algorithm(),
        };
        Ok(Self {
            ra: Ra::new(pki, RaConfig::default(), Store::in_memory()?)?,
            idevid,
            config: Arc::new(Config::new(
                crypto,
                x509_cert::name::Name::default(),
                protection,
                vec![root],
            )),
            request: CertificateRequest::new(Operation::Initialization, "CN=CP-BENCH".parse()?, new),
            keys,
            now: Time {
                monotonic: Duration::ZERO,
                utc_s: Some(now_s),
            },
            now_s,
        })
    }

    /// One enrolment: ir, ip, certConf, pkiConf.
    ///
    /// # Errors
    /// Where it does not end with a certificate.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let (config, request) = (Arc::clone(&self.config), self.request.clone());
        let mut transaction = Transaction::new(config, request, seed, self.now);
        let find = |id: KeyId| self.keys.get(id.0 as usize).map(|key| &**key);
        let mut ask = |_, message: &[u8]| Some(self.ra.handle(self.now_s, message));
        drive(&mut transaction, self.now, find, &mut ask)?;
        Ok(())
    }

    /// The hierarchy.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        self.ra.pki()
    }

    /// The manufacturer certificate and its key.
    #[must_use]
    pub fn idevid(&self) -> &Credential {
        &self.idevid
    }
}

/// The manufacturer's key and a new one, and who computes with them.
fn keys(provider: Provider, device: &[u8]) -> anyhow::Result<(&'static (dyn Crypto + Send + Sync), Keys)> {
    Ok(match provider {
        Provider::AwsLc => {
            let keys: Keys = [
                Box::new(aws_lc::SoftKey::from_der(device)?),
                Box::new(aws_lc::SoftKey::generate(KeyAlgorithm::P256)?),
            ];
            (&AwsLc, keys)
        }
        Provider::Rustcrypto => {
            let new = rustcrypto::SoftKey::generate(KeyAlgorithm::P256, &mut getrandom::SysRng)?;
            let keys: Keys = [Box::new(rustcrypto::SoftKey::from_der(device)?), Box::new(new)];
            (&RustCrypto, keys)
        }
    })
}
