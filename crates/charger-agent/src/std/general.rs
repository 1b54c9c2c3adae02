//! What general messages have brought (RFC 9483 §4.3.1, §4.3.3, §4.3.4).
//!
//! ```text
//! DIR/ca-certs/FINGERPRINT.pem    certificates of CAs: unchecked, of use where a path to an anchor leads through them
//! DIR/crls/ISSUER.pem             the newest CRL of each issuer, verified
//! DIR/template.der                what a certificate request is to contain
//! ```
//! FINGERPRINT and ISSUER are the first 8 bytes of SHA-256, of the certificate and of the issuer's name, in hexadecimal.

use std::{
    fs,
    path::{Path, PathBuf},
    string::String,
    vec::Vec,
};

use cmp_client::CertReqTemplate;
use cmp_message::{
    certificate::{Certificate, names_match},
    crl::Crl,
    crypto::{Crypto, HashAlgorithm, RustCrypto},
    general::CertReqTemplateContent,
};
use der::{Decode, Encode, Sequence, pem};

use super::{
    StateDir, StateError,
    files::{
        CERTIFICATE, CRL, at, content, entries, make_dir, pem_blocks, read_certificate, read_if_there,
        remove, write_atomically, write_pem,
    },
};

/// A certificate request template, and for which requests it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTemplate {
    /// What a request is to contain.
    pub template: CertReqTemplate,
    /// The certificate profile that it was asked for.
    pub cert_profile: Option<String>,
}

#[derive(Sequence)]
struct EncodedTemplate {
    content: CertReqTemplateContent,
    cert_profile: Option<String>,
}

impl StateDir {
    /// Keeps these certificates of CAs in place of those of before; gives their files, in this order.
    pub fn store_ca_certs(&self, certificates: &[Certificate]) -> Result<Vec<PathBuf>, StateError> {
        let dir = self.path("ca-certs");
        make_dir(&dir)?;
        let path = |certificate: &Certificate| dir.join(file_name(certificate.as_der()));
        let paths: Vec<_> = certificates.iter().map(path).collect();
        for (certificate, path) in certificates.iter().zip(&paths) {
            write_pem(path, CERTIFICATE, certificate.as_der())?;
        }
        for old in entries(&dir)?.iter().filter(|old| !paths.contains(old)) {
            remove(old)?;
        }
        Ok(paths)
    }

    /// Certificates of CAs; none before the first were kept.
    pub fn ca_certs(&self) -> Result<Vec<Certificate>, StateError> {
        let paths = entries(&self.path("ca-certs"))?;
        let whole = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "pem"));
        whole.map(|path| read_certificate(path)).collect()
    }

    /// Keeps a CRL in place of its issuer's one before; gives its file.
    pub fn store_crl(&self, crl: &Crl) -> Result<PathBuf, StateError> {
        let dir = self.path("crls");
        make_dir(&dir)?;
        let path = match self.crl(crl.issuer())? {
            Some((_, path)) => path,
            None => dir.join(file_name(crl.issuer())),
        };
        write_pem(&path, CRL, crl.as_der())?;
        Ok(path)
    }

    /// The CRL of the issuer with this Name, DER; with its file.
    pub fn crl(&self, issuer: &[u8]) -> Result<Option<(Crl, PathBuf)>, StateError> {
        for path in pem_files(&self.path("crls"))? {
            let crl = read_crl(&path)?;
            if names_match(crl.issuer(), issuer) {
                return Ok(Some((crl, path)));
            }
        }
        Ok(None)
    }

    /// Keeps a template in place of the one before, `None` if the RA demands nothing any more; gives its file.
    pub fn store_template(&self, template: Option<&StoredTemplate>) -> Result<PathBuf, StateError> {
        let path = self.template_path();
        let Some(stored) = template else {
            remove(&path)?;
            return Ok(path);
        };
        let encode = || -> der::Result<Vec<u8>> {
            EncodedTemplate {
                content: stored.template.to_content()?,
                cert_profile: stored.cert_profile.clone(),
            }
            .to_der()
        };
        let bytes = encode().map_err(|_| StateError::Encoding(path.clone()))?;
        write_atomically(&path, &bytes)?;
        Ok(path)
    }

    /// The template that is kept.
    pub fn template(&self) -> Result<Option<StoredTemplate>, StateError> {
        let path = self.template_path();
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(None);
        };
        let parse = || {
            let stored = EncodedTemplate::from_der(&bytes).ok()?;
            Some(StoredTemplate {
                template: CertReqTemplate::from_content(&stored.content).ok()?,
                cert_profile: stored.cert_profile,
            })
        };
        parse()
            .map(Some)
            .ok_or_else(|| content(&path, "a certificate request template"))
    }

    fn template_path(&self) -> PathBuf {
        self.path("template.der")
    }
}

/// Without what a cut-off write has left.
fn pem_files(dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    Ok(paths)
}

fn read_crl(path: &Path) -> Result<Crl, StateError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let block = pem_blocks(&text).next().unwrap_or_default();
    match pem::decode_vec(block.as_bytes()) {
        Ok((CRL, der)) => Crl::from_der(der).map_err(|_| content(path, "a CRL")),
        _ => Err(content(path, "PEM of a CRL")),
    }
}

fn file_name(named: &[u8]) -> String {
    // SHA-256 is always there.
    let digest = RustCrypto.digest(HashAlgorithm::Sha256, named);
    let digest = digest.as_ref().map_or(&[][..], |digest| digest.as_bytes());
    let hex: String = digest
        .iter()
        .take(8)
        .map(|byte| std::format!("{byte:02x}"))
        .collect();
    hex + ".pem"
}

#[cfg(test)]
mod tests {
    use super::super::state_dir::tests::{assert_private, fixture};
    use super::*;
    use cmp_client::KeySpec;
    use x509_cert::{
        crl::{CertificateList, TbsCertList},
        ext::Extension,
        name::Name,
    };

    #[test]
    fn certificates_of_cas_replace_those_of_before_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(state.ca_certs().unwrap().is_empty());
        let (root, issuing, other) = (
            fixture("root.crt"),
            fixture("issuing.crt"),
            fixture("mfrroot.crt"),
        );
        state.store_ca_certs(&[root, other.clone()]).unwrap();
        fs::write(dir.path().join("ca-certs/torn.pem.new"), b"torn").unwrap();
        let paths = state.store_ca_certs(&[issuing.clone(), other.clone()]).unwrap();
        assert_eq!(read_certificate(&paths[0]).unwrap(), issuing);
        paths.iter().for_each(|path| assert_private(path));
        let kept = state.ca_certs().unwrap();
        assert!(kept.len() == 2 && kept.contains(&issuing) && kept.contains(&other));
        state.store_ca_certs(&[]).unwrap();
        assert!(state.ca_certs().unwrap().is_empty());
    }

    /// The directory does not ask who signed it: that is verified before.
    fn crl(issuer: &str, number: u8) -> Crl {
        let algorithm = spki::AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
            parameters: None,
        };
        let now = x509_cert::time::Time::UtcTime(
            der::asn1::UtcTime::from_unix_duration(core::time::Duration::from_secs(1_800_000_000)).unwrap(),
        );
        let list: CertificateList = CertificateList {
            tbs_cert_list: TbsCertList {
                version: x509_cert::Version::V2,
                signature: algorithm.clone(),
                issuer: issuer.parse().unwrap(),
                this_update: now,
                next_update: None,
                revoked_certificates: None,
                crl_extensions: Some(std::vec![Extension {
                    extn_id: "2.5.29.20".parse().unwrap(),
                    critical: false,
                    extn_value: der::asn1::OctetString::new(&[2, 1, number][..]).unwrap(),
                }]),
            },
            signature_algorithm: algorithm,
            signature: der::asn1::BitString::from_bytes(&[0]).unwrap(),
        };
        Crl::from_der(list.to_der().unwrap()).unwrap()
    }

    #[test]
    fn of_each_issuer_the_last_crl_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let (first, second, other) = (crl("CN=A", 1), crl("CN=A", 2), crl("CN=B", 7));
        assert_eq!(state.crl(first.issuer()).unwrap(), None);
        let path = state.store_crl(&first).unwrap();
        assert_private(&path);
        state.store_crl(&other).unwrap();
        assert_eq!(state.store_crl(&second).unwrap(), path);
        assert_eq!(state.crl(first.issuer()).unwrap(), Some((second, path)));
        assert_eq!(state.crl(other.issuer()).unwrap().unwrap().0, other);
        // The same name, written in another way.
        let lower = crl("CN=b", 1);
        assert_eq!(state.crl(lower.issuer()).unwrap().unwrap().0, other);
    }

    #[test]
    fn a_template_comes_back_with_its_profile_and_every_demand() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.template().unwrap(), None);
        let spki = fixture("lc.crt").public_key().to_vec();
        let algorithm = spki::SubjectPublicKeyInfoOwned::from_der(&spki)
            .unwrap()
            .algorithm;
        let stored = StoredTemplate {
            template: CertReqTemplate {
                subject: Some("CN=,O=Operator".parse::<Name>().unwrap()),
                extensions: std::vec![Extension {
                    extn_id: "2.5.29.17".parse().unwrap(),
                    critical: true,
                    extn_value: der::asn1::OctetString::new(&[][..]).unwrap(),
                }],
                key_specs: std::vec![
                    KeySpec::Algorithm(algorithm),
                    KeySpec::RsaKeyLen(2048),
                    KeySpec::Unknown("1.2.3".parse().unwrap()),
                ],
            },
            cert_profile: Some("charger".into()),
        };
        assert_private(&state.store_template(Some(&stored)).unwrap());
        assert_eq!(state.template().unwrap(), Some(stored));
        let path = state.store_template(None).unwrap();
        assert_eq!(state.template().unwrap(), None);
        fs::write(path, b"other").unwrap();
        assert!(matches!(state.template(), Err(StateError::Content { .. })));
    }
}
