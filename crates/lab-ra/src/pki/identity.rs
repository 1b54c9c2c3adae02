use cmp_message::{certificate::Certificate, crypto::aws_lc::SoftKey};
use std::{path::Path, sync::Arc};

use super::{Authority, Credential, PkiError, files::read_pem};
use crate::read_certificates;

/// What an RA has that stands apart from its CA: its own key and certificate, and those that lead from it to a root.
#[derive(Clone, Debug)]
pub struct RaIdentity {
    /// Its key, and its certificate with the extended key usage `id-kp-cmcRA`.
    pub ra: Arc<Authority>,
    /// Its CA's certificate, and so on upwards without the root.
    pub chain: Vec<Certificate>,
}

impl RaIdentity {
    /// The identity with this credential.
    ///
    /// # Errors
    /// [`PkiError::Damaged`], [`PkiError::Crypto`] or [`PkiError::WrongKey`].
    pub fn new(credential: &Credential) -> Result<Self, PkiError> {
        let key = SoftKey::from_der(&credential.key)?;
        let chain = credential.chain.iter();
        let chain = chain.map(|der| Certificate::from_der(der.as_slice()));
        Ok(Self {
            ra: Arc::new(Authority::new("cert.pem", key, credential.certificate.clone())?),
            chain: chain
                .collect::<Result<_, _>>()
                .map_err(|_| PkiError::Damaged("chain.pem".into()))?,
        })
    }

    /// Reads the identity from a folder that `lab-ra issue --ra` made: `cert.pem`, `key.pem` and `chain.pem`.
    ///
    /// # Errors
    /// [`PkiError::Io`], [`PkiError::Damaged`], [`PkiError::Crypto`] or [`PkiError::WrongKey`].
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let chain = read_certificates(&folder.join("chain.pem"));
        let chain = chain.map_err(|_| PkiError::Damaged("chain.pem".into()))?;
        Self::new(&Credential {
            certificate: read_pem(folder, "cert.pem", "CERTIFICATE")?.to_vec(),
            key: read_pem(folder, "key.pem", "PRIVATE KEY")?,
            chain: chain.iter().map(|one| one.as_der().to_vec()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pki, Store};
    use cmp_message::crypto::KeyAlgorithm;
    use std::fs;

    const NOW_S: u64 = 1_800_000_000;

    #[test]
    fn an_identity_is_what_the_ca_issued_and_a_key_of_another_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        let store = Store::in_memory().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for out in [&one, &other] {
            let subject = "CN=Depot 7".parse().unwrap();
            pki.issue(&store, &subject, true, NOW_S)
                .unwrap()
                .save(out)
                .unwrap();
        }
        let identity = RaIdentity::load(&one).unwrap();
        assert_eq!(identity.chain[0].as_der(), pki.ca.certificate());
        fs::copy(one.join("key.pem"), other.join("key.pem")).unwrap();
        assert!(matches!(RaIdentity::load(&other), Err(PkiError::WrongKey(_))));
        fs::write(one.join("chain.pem"), "").unwrap();
        assert!(matches!(RaIdentity::load(&one), Err(PkiError::Damaged(_))));
    }
}
