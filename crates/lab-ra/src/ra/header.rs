//! What the generic checks leave to the RA: generalInfo, and what its configuration asks of a header (RFC 9483 §3.1).

use cmp_message::{
    BodyType, PkiFailure, PkiHeader, PkiMessage,
    crypto::SignatureAlgorithm,
    general::{CERT_PROFILE, CONFIRM_WAIT_TIME, IMPLICIT_CONFIRM},
};
use const_oid::db::rfc4519;
use der::asn1::Null;
use x509_cert::name::Name;

use super::Refusal;
use crate::{Profile, RaConfig, profile::text, store::Peer};

const SECTION: &str = "3.1";

impl RaConfig {
    /// Checks the header of an authentic message.
    pub(super) fn check_header(&self, message: &PkiMessage, peer: &Peer) -> Result<(), Refusal> {
        let header = &message.header;
        let rules = &self.header;
        if rules.message_time && header.message_time.is_none() {
            return Err(Refusal::new(
                PkiFailure::BadTime,
                SECTION,
                "there is no messageTime",
            ));
        }
        let is_accepted = match peer {
            Peer::Signer(_) => header
                .protection_alg
                .as_ref()
                .and_then(|algorithm| SignatureAlgorithm::from_oid(algorithm.oid))
                .is_some_and(|algorithm| self.signature_algorithms.contains(&algorithm)),
            Peer::Mac(_) => header
                .protection_alg
                .as_ref()
                .is_some_and(|algorithm| self.mac_algorithms.contains(&algorithm.oid)),
        };
        if !is_accepted {
            let text = "the protection algorithm is not accepted";
            return Err(Refusal::new(PkiFailure::BadAlg, "3.2", text));
        }
        let bad_sender = |text| Err(Refusal::new(PkiFailure::BadMessageCheck, SECTION, text));
        match peer {
            Peer::Signer(_) if rules.sender_kid && header.sender_kid.is_none() => {
                bad_sender("there is no senderKID")
            }
            Peer::Mac(reference) if rules.mac_sender && !is_named(header.sender_name(), reference) => {
                bad_sender("the common name of the sender is not the senderKID")
            }
            _ => check_general_info(header, message.body.body_type()),
        }
    }

    /// The rules for what a message asks for: those of its certProfile, or of the path that it was posted to.
    pub(super) fn profile(&self, header: &PkiHeader, path: Option<&str>) -> Result<&Profile, Refusal> {
        let named = cert_profile(header)?;
        let name = match (named.as_deref(), path) {
            (Some(named), Some(path)) if named != path => {
                let text = "certProfile is not the profile of the path";
                return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
            }
            (named, path) => named.or(path),
        };
        let Some(name) = name else {
            return Ok(&self.default_profile);
        };
        self.profiles.get(name).ok_or_else(|| {
            Refusal::new(PkiFailure::BadRequest, SECTION, "there is no such certProfile").because(name)
        })
    }
}

fn check_general_info(header: &PkiHeader, body: BodyType) -> Result<(), Refusal> {
    let is_request = matches!(
        body,
        BodyType::Ir | BodyType::Cr | BodyType::P10cr | BodyType::Kur
    );
    if let Some(info) = header.info(IMPLICIT_CONFIRM) {
        let is_null = |value: &cmp_message::Raw| value.parse::<Null>().is_ok();
        if !info.info_value.as_ref().is_some_and(is_null) {
            let text = "the value of implicitConfirm is not NULL";
            return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
        }
        if !is_request {
            let text = "implicitConfirm belongs into requests for certificates";
            return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
        }
    }
    if header.info(CONFIRM_WAIT_TIME).is_some() && header.confirm_wait_time().is_none() {
        let text = "confirmWaitTime is not a GeneralizedTime";
        return Err(Refusal::new(PkiFailure::BadDataFormat, SECTION, text));
    }
    if header.info(CERT_PROFILE).is_some() && !is_request && body != BodyType::Genm {
        let text = "certProfile belongs into requests for certificates and for their templates";
        return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
    }
    cert_profile(header).map(|_| ())
}

/// The one name in certProfile.
fn cert_profile(header: &PkiHeader) -> Result<Option<String>, Refusal> {
    let Some(info) = header.info(CERT_PROFILE) else {
        return Ok(None);
    };
    let names = info.info_value.as_ref().map(|value| value.parse::<Vec<String>>());
    match names.transpose() {
        // RFC 9810 §5.1.1.4: an empty name is none.
        Ok(Some(names)) if names.len() == 1 => Ok(names.into_iter().next().filter(|name| !name.is_empty())),
        Ok(_) => {
            let text = "certProfile has not exactly one name";
            Err(Refusal::new(PkiFailure::BadRequest, SECTION, text))
        }
        Err(error) => {
            let text = "certProfile is not a sequence of names";
            Err(Refusal::new(PkiFailure::BadDataFormat, SECTION, text).because(error))
        }
    }
}

fn is_named(sender: Option<&Name>, reference: &[u8]) -> bool {
    let is_it = |name: &Name| {
        name.iter().any(|attribute| {
            attribute.oid == rfc4519::CN && text(&attribute.value).map(str::as_bytes) == Some(reference)
        })
    };
    sender.is_some_and(is_it)
}
