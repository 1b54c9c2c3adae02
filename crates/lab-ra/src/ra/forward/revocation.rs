//! Whether the signer of a message is revoked, as the CRLs say that the RA was given.

use cmp_message::{
    PkiFailure,
    certificate::{Certificate, names_match},
    crl::{Crl, CrlError},
    crypto::AwsLc,
};

use super::{Failure, Forwarder, Incoming, Refusal, WithoutCrl};
use crate::store::Peer;

impl Forwarder {
    /// Refuses what a revoked certificate has signed. A CRL counts if the signer's CA has signed it. One that is over
    /// says no more who is good, but still who is revoked.
    pub(super) fn check_revoked(&self, incoming: &Incoming<'_>, peer: &Peer) -> Result<(), Failure> {
        let Peer::Signer(signer) = peer else {
            return Ok(());
        };
        let sent = incoming.message.extra_certs.iter().flatten();
        let sent = sent.filter_map(|der| Certificate::from_der(der.as_bytes()).ok());
        let sent: Vec<_> = sent.collect();
        let known = self.anchors.iter().chain(&self.ra_anchors).chain(&sent);
        let is_issuer = |one: &&Certificate| names_match(one.subject(), signer.issuer());
        let issuers: Vec<_> = known.filter(is_issuer).collect();
        let mut is_covered = false;
        for crl in self
            .crls
            .iter()
            .filter(|crl| names_match(crl.issuer(), signer.issuer()))
        {
            match verify(crl, &issuers, incoming.now_s) {
                Ok(()) => is_covered = true,
                Err(CrlError::Expired) => tracing::warn!("a CRL is over"),
                Err(error) => {
                    tracing::warn!(%error, "a CRL is of no use");
                    continue;
                }
            }
            if crl.contains(signer.serial_number()) {
                let text = "the signer's certificate is revoked";
                return Err(Refusal::new(PkiFailure::CertRevoked, "3.5", text).into());
            }
        }
        match is_covered || self.may_do_without(signer) {
            true => Ok(()),
            false => {
                let text = "it cannot be known whether the signer's certificate is revoked; try again later";
                Err(Refusal::new(PkiFailure::SystemUnavail, "3.5", text)
                    .because("there is no CRL of its CA that is good")
                    .into())
            }
        }
    }

    fn may_do_without(&self, signer: &Certificate) -> bool {
        let own_ca = self.identity.chain.first();
        match self.forward.without_crl {
            WithoutCrl::Accept => true,
            WithoutCrl::RefuseOwn => !own_ca.is_some_and(|ca| names_match(ca.subject(), signer.issuer())),
            WithoutCrl::Refuse => false,
        }
    }
}

/// By the best of these issuers: of several with one name, one has signed.
fn verify(crl: &Crl, issuers: &[&Certificate], now_s: u64) -> Result<(), CrlError> {
    let mut verdict = Err(CrlError::WrongIssuer);
    for issuer in issuers {
        match crl.verify(&AwsLc, issuer, Some(now_s)) {
            Ok(()) => return Ok(()),
            Err(CrlError::Expired) => verdict = Err(CrlError::Expired),
            Err(error) if verdict != Err(CrlError::Expired) => verdict = Err(error),
            Err(_) => {}
        }
    }
    verdict
}
