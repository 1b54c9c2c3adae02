//! CRLs of the issuing CAs, made when somebody asks and something changed (RFC 5280 §5).

use super::Ra;
use crate::{
    PkiError,
    store::{Crl, NewCrl},
    x509::CrlContent,
};

impl Ra {
    /// DER of the present CRL of an issuing CA; `None` if there is no such generation. The first has number 1.
    ///
    /// # Errors
    /// If it cannot be made or recorded.
    pub fn crl(&mut self, generation: u32, now_s: u64) -> Result<Option<Vec<u8>>, PkiError> {
        if self.pki().issuing_ca(generation).is_none() {
            return Ok(None);
        }
        let crl = self.in_transaction(|ra| ra.current_crl(generation, now_s))?;
        Ok(Some(crl.der))
    }

    /// The CRL, a new one if the last one does not say everything or is soon over.
    pub(super) fn current_crl(&self, generation: u32, now_s: u64) -> Result<Crl, PkiError> {
        let last = self.store.crl(generation)?;
        let half_s = self.config.crl_lifetime_s / 2;
        if let Some(last) = &last
            && !last.is_stale
            && now_s < last.this_update_s.saturating_add(half_s)
        {
            return Ok(last.clone());
        }
        let ca = self.pki().issuing_ca(generation);
        let ca = ca.ok_or_else(|| PkiError::Damaged(format!("the CA of generation {generation}")))?;
        let number = last.as_ref().map_or(1, |last| last.number + 1);
        let last_update_s = last.as_ref().map_or(0, |last| last.this_update_s);
        let this_update_s = now_s.max(last_update_s);
        // An entry goes after it has been on a CRL beyond its certificate's validity (RFC 5280 §3.3).
        let entries = self.store.revoked_certificates(generation, last_update_s)?;
        let content = CrlContent {
            issuer: ca.subject(),
            authority_key_identifier: ca.key_identifier(),
            number,
            this_update_s,
            next_update_s: this_update_s.saturating_add(self.config.crl_lifetime_s),
            entries: &entries,
        };
        let der = content.sign(ca.key())?;
        // Who has the last one sees only by the time that this one is newer: where both are of one second, there will be
        // another.
        let is_stale = this_update_s == last_update_s;
        self.store.save_crl(NewCrl {
            generation,
            number,
            this_update_s,
            der: &der,
            is_stale,
        })?;
        tracing::info!(generation, number, entries = entries.len(), "CRL issued");
        Ok(Crl {
            number,
            this_update_s,
            der,
            is_stale,
        })
    }

    /// Where certificates of an issuing CA say that its CRL is.
    pub(super) fn crl_distribution_point(&self, generation: u32) -> Option<String> {
        let base = self.config.crl_distribution_point.as_deref()?;
        Some(format!("{}/{generation}.crl", base.trim_end_matches('/')))
    }

    /// The issuing CA whose CRL is at this distribution point.
    pub(super) fn generation_at(&self, uri: &str) -> Option<u32> {
        (1..=self.pki().generation()).find(|one| self.crl_distribution_point(*one).as_deref() == Some(uri))
    }
}
