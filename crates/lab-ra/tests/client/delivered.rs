//! Keys that come with certificates.

use cmp_message::{
    CMP_2021, PkiBody, PkiMessage,
    certificate::Certificate,
    crypto::{AwsLc, aws_lc::SoftKey},
    envelope::{EncryptedPrivateKey, EnvelopeError, KgaTrust, RecipientOperation, RecipientSecret},
    mac::Secret,
};

use super::{Client, Credential, NOW_S, issued};

/// The key in an ip, cp or kup that grants a certificate.
pub fn encrypted_key(answer: &PkiMessage) -> Option<&[u8]> {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) = &*answer.body else {
        panic!("not a certificate response: {:?}", answer.body);
    };
    let pair = content.response[0].certified_key_pair.as_ref().unwrap();
    pair.private_key.as_ref().map(|key| key.as_bytes())
}

impl Client {
    /// Opens the key in an answer; the one who made it must lead to `root`.
    pub fn open(&self, answer: &PkiMessage, root: &[u8]) -> Result<SoftKey, EnvelopeError> {
        assert_eq!(answer.header.pvno, CMP_2021);
        let encrypted = EncryptedPrivateKey::from_der(encrypted_key(answer).unwrap())?;
        let certificate = Certificate::from_der(issued(answer)).unwrap();
        let trust = KgaTrust {
            certificate: &certificate,
            anchors: &[Certificate::from_der(root).unwrap()],
            untrusted: &[],
            now_s: Some(NOW_S),
        };
        let opened = match &self.credential {
            Credential::Mac { secret, .. } => {
                assert_eq!(encrypted.operation(None, &[])?, RecipientOperation::Password);
                let secret = Secret::new(secret.as_bytes().to_vec());
                encrypted.open(&AwsLc, &RecipientSecret::Password(&secret), &trust)?
            }
            Credential::Signature { key, certificate, .. } => {
                let signer = Certificate::from_der(certificate.as_slice()).unwrap();
                let operation = encrypted.operation(Some(&signer), &[])?;
                let agreed = operation.perform(key)?;
                encrypted.open(&AwsLc, &operation.secret(&agreed).unwrap(), &trust)?
            }
        };
        Ok(SoftKey::from_der(opened.as_pkcs8()).unwrap())
    }
}
