//! Keys that are made for those who ask for a certificate without having one (RFC 9483 §4.1.6).

use cmp_message::{
    CMP_2021, CertReqMsg, PkiFailure,
    crypto::{AwsLc, CryptoError, KeyAlgorithm, SigningKey, aws_lc::SoftKey},
    envelope::{KeyGenerationAuthority, Recipient, seal},
};
use std::iter;

use super::{Ra, Refusal, authenticate::parse, check::Requester};
use crate::{PkiError, store::Peer};

const SECTION: &str = "4.1.6";

/// Whether a key can be made for who asks for it: encrypted for nobody else, in a message that can carry it.
pub(super) fn check_delivery(
    request: &CertReqMsg,
    pvno: i64,
    requester: &Requester<'_>,
) -> Result<(), Refusal> {
    let refuse = |failure, text| Err(Refusal::new(failure, SECTION, text));
    if pvno < CMP_2021 {
        let text = "a request for a key that is to be made needs pvno 3";
        return refuse(PkiFailure::UnsupportedVersion, text);
    }
    if request.popo.is_some() {
        let text = "there is a proof of possession of a key that is yet to be made";
        return refuse(PkiFailure::BadPop, text);
    }
    if requester.is_ra {
        let text = "a key is made only for who will have it, not for an RA";
        return refuse(PkiFailure::NotAuthorized, text);
    }
    let Peer::Signer(signer) = requester.peer else {
        return Ok(());
    };
    Recipient::Certificate(signer).check().map_err(|error| {
        let text = "the certificate that protects the request is not for key agreement or key encipherment";
        Refusal::new(PkiFailure::NotAuthorized, SECTION, text).because(error)
    })
}

impl Ra {
    /// Makes a key for `peer`: the DER of its SubjectPublicKeyInfo, and of an EncryptedKey with the private key.
    pub(super) fn make_key(
        &self,
        algorithm: KeyAlgorithm,
        peer: &Peer,
    ) -> Result<(Vec<u8>, Vec<u8>), PkiError> {
        let pki = self.pki();
        // A new root is trusted by its link to an old one.
        let links = pki.root_updates().map(|update| update.new_with_old);
        let chain = iter::once(pki.ca.certificate()).chain(links).map(parse);
        let kga = KeyGenerationAuthority {
            key: pki.kga.key(),
            certificate: &parse(pki.kga.certificate())?,
            chain: &chain.collect::<Result<Vec<_>, _>>()?,
        };
        let recipient = match peer {
            Peer::Signer(signer) => Recipient::Certificate(signer),
            Peer::Mac(reference) => {
                let secret = self.config.secrets.get(reference);
                Recipient::Password(secret.ok_or(CryptoError::InvalidParameter)?)
            }
        };
        let key = SoftKey::generate(algorithm)?;
        let private_key = key.to_pkcs8()?;
        let delivered = seal(&AwsLc, &private_key, key.public_key(), &kga, recipient)?;
        Ok((key.public_key().to_vec(), delivered.as_bytes().to_vec()))
    }
}
