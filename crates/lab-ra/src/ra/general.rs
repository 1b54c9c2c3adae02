//! genm and genp (RFC 9483 §4.3, §5.1.5).

use cmp_message::{
    AttributeTypeAndValue, CertTemplate, GenMsgContent, InfoTypeAndValue, PkiBody, PkiFailure, PkiMessage,
    Raw,
    crypto::KeyAlgorithm,
    general::{
        CA_CERTS, CERT_REQ_TEMPLATE, CRL_STATUS_LIST, CRLS, CertReqTemplateContent, CrlSource, CrlStatusList,
        REG_CTRL_ALG_ID, REG_CTRL_RSA_KEY_LEN, ROOT_CA_CERT, ROOT_CA_KEY_UPDATE, RootCaKeyUpdateContent,
    },
};
use const_oid::{ObjectIdentifier, db::rfc5280::ID_CE_EXT_KEY_USAGE};
use der::{Encode, asn1::OctetString};
use x509_cert::{
    ext::{
        Extension,
        pkix::{
            ExtendedKeyUsage,
            name::{DistributionPointName, GeneralName},
        },
    },
    time::Time,
};

use super::{Failure, Ra, Refusal, answer::Reply};
use crate::{
    Profile,
    store::{Peer, Transaction},
};

/// `id-it-currentCRL` (RFC 9810 §5.3.19.6), value absent in genm and CertificateList in genp.
const CURRENT_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.6");
/// The RSA keys that are asked for where RSA is accepted, in bits; longer ones are accepted too.
const RSA_KEY_LEN: u32 = 3072;

/// What a general message asks for.
pub(super) enum Question {
    /// The CA certificates.
    CaCerts,
    /// The root after the one of this generation.
    RootUpdate { generation: Option<u32> },
    /// What a request must look like.
    CertReqTemplate(Box<CertReqTemplateContent>),
    /// A CRL, if there is one that is newer.
    Crl {
        info_type: ObjectIdentifier,
        generation: u32,
        newer_than_s: Option<u64>,
    },
}

impl Ra {
    pub(super) fn check_question(
        &self,
        message: &PkiMessage,
        transaction: &Transaction,
        content: &GenMsgContent,
    ) -> Result<Question, Failure> {
        if let Peer::Signer(signer) = &transaction.peer {
            self.check_signer_status(signer)?;
        }
        let [info] = content.as_slice() else {
            let text = "there must be exactly one InfoTypeAndValue";
            return Err(Refusal::new(PkiFailure::BadRequest, "4.3", text).into());
        };
        let profile = self
            .config
            .profile(&message.header, transaction.profile.as_deref())?;
        let value = info.info_value.as_ref();
        match info.info_type {
            CA_CERTS => no_value(value, "4.3.1", Question::CaCerts),
            ROOT_CA_CERT => self.check_root_ca_cert(value),
            CERT_REQ_TEMPLATE => {
                let template = Box::new(template(profile)?);
                no_value(value, "4.3.3", Question::CertReqTemplate(template))
            }
            CRL_STATUS_LIST => self.check_crl_status_list(value),
            CURRENT_CRL => {
                let question = Question::Crl {
                    info_type: CURRENT_CRL,
                    generation: self.pki().generation(),
                    newer_than_s: None,
                };
                no_value(value, "4.3.4", question)
            }
            unknown => {
                let text = "this infoType is not supported";
                let refusal = Refusal::new(PkiFailure::BadRequest, "4.3", text);
                Err(refusal.because(unknown).into())
            }
        }
    }

    /// The root that is to be replaced; without one it is the one before the present (RFC 9483 §4.3.2).
    fn check_root_ca_cert(&self, value: Option<&Raw>) -> Result<Question, Failure> {
        let Some(value) = value else {
            let generation = self.pki().generation().checked_sub(1);
            let generation = generation.filter(|generation| *generation > 0);
            return Ok(Question::RootUpdate { generation });
        };
        match self.pki().generation_of_root(value.as_bytes()) {
            Some(generation) => Ok(Question::RootUpdate {
                generation: Some(generation),
            }),
            None => {
                let text = "rootCaCert is no root of this CA";
                Err(Refusal::new(PkiFailure::BadCertId, "4.3.2", text).into())
            }
        }
    }

    /// One CRL, by issuer or by distribution point (RFC 9483 §4.3.4).
    fn check_crl_status_list(&self, value: Option<&Raw>) -> Result<Question, Failure> {
        let bad_format = |text| Refusal::new(PkiFailure::BadDataFormat, "4.3.4", text);
        let value = value.ok_or_else(|| bad_format("crlStatusList has no value"))?;
        let list = value.parse::<CrlStatusList>();
        let list = list.map_err(|error| bad_format("crlStatusList is malformed").because(error))?;
        let [status] = list.as_slice() else {
            let text = "there must be exactly one CRLStatus";
            return Err(Refusal::new(PkiFailure::BadRequest, "4.3.4", text).into());
        };
        let generation = self.crl_of(&status.source)?.ok_or_else(|| {
            let text = "there is no CRL of this issuer or distribution point";
            Refusal::new(PkiFailure::AddInfoNotAvailable, "4.3.4", text)
        })?;
        let this_update = status.this_update.as_ref();
        Ok(Question::Crl {
            info_type: CRLS,
            generation,
            newer_than_s: this_update.map(|time: &Time| time.to_unix_duration().as_secs()),
        })
    }

    fn crl_of(&self, source: &CrlSource) -> Result<Option<u32>, Failure> {
        let names = match source {
            CrlSource::Issuer(names) => names,
            CrlSource::DistributionPoint(DistributionPointName::FullName(names)) => names,
            CrlSource::DistributionPoint(_) => return Ok(None),
        };
        for name in names {
            let generation = match name {
                GeneralName::DirectoryName(name) => self.pki().generation_of(&name.to_der()?),
                GeneralName::UniformResourceIdentifier(uri) => self.generation_at(uri.as_str()),
                _ => None,
            };
            if generation.is_some() {
                return Ok(generation);
            }
        }
        Ok(None)
    }

    pub(super) fn answer_question(&mut self, now_s: u64, question: Question) -> Result<Reply, Failure> {
        let info = match question {
            Question::CaCerts => {
                let certificates = self.pki().ca_certificates().map(Raw::new);
                let certificates = certificates.collect::<der::Result<Vec<_>>>()?;
                InfoTypeAndValue::with_value(CA_CERTS, &certificates)?
            }
            Question::RootUpdate { generation } => {
                let update = generation.and_then(|generation| self.pki().root_update(generation));
                match update {
                    None => InfoTypeAndValue::absent(ROOT_CA_KEY_UPDATE),
                    Some(update) => InfoTypeAndValue::with_value(
                        ROOT_CA_KEY_UPDATE,
                        &RootCaKeyUpdateContent {
                            new_with_new: Raw::new(update.new_with_new)?,
                            new_with_old: Some(Raw::new(update.new_with_old)?),
                            old_with_new: Some(Raw::new(update.old_with_new)?),
                        },
                    )?,
                }
            }
            Question::CertReqTemplate(template) => {
                InfoTypeAndValue::with_value(CERT_REQ_TEMPLATE, &*template)?
            }
            Question::Crl {
                info_type,
                generation,
                newer_than_s,
            } => {
                let crl = self.current_crl(generation, now_s)?;
                let is_newer = newer_than_s.is_none_or(|than_s| crl.this_update_s > than_s);
                let crl = Raw::new(crl.der)?;
                match (is_newer, info_type) {
                    (false, _) => InfoTypeAndValue::absent(info_type),
                    (true, CRLS) => InfoTypeAndValue::with_value(CRLS, &vec![crl])?,
                    (true, _) => InfoTypeAndValue::with_value(info_type, &crl)?,
                }
            }
        };
        Ok(Reply::new(PkiBody::Genp(vec![info])))
    }
}

fn no_value(value: Option<&Raw>, section: &'static str, question: Question) -> Result<Question, Failure> {
    match value {
        None => Ok(question),
        Some(_) => {
            let text = "this infoType has no value in a genm";
            Err(Refusal::new(PkiFailure::BadRequest, section, text).into())
        }
    }
}

/// The template of a profile: what is fixed, what is to be filled in, and which keys will do (RFC 9483 §4.3.3).
fn template(profile: &Profile) -> der::Result<CertReqTemplateContent> {
    let usages = &profile.ext_key_usages;
    let extensions = (!usages.is_empty()).then(|| {
        Ok::<_, der::Error>(vec![Extension {
            extn_id: ID_CE_EXT_KEY_USAGE,
            critical: false,
            extn_value: OctetString::new(ExtendedKeyUsage(usages.clone()).to_der()?)?,
        }])
    });
    let keys = profile.key_algorithms.iter().map(|algorithm| {
        let (attr_type, value) = match algorithm {
            KeyAlgorithm::Rsa => (REG_CTRL_RSA_KEY_LEN, Raw::encode(&RSA_KEY_LEN)?),
            other => (REG_CTRL_ALG_ID, Raw::encode(&other.algorithm_identifier())?),
        };
        Ok(AttributeTypeAndValue { attr_type, value })
    });
    let keys = keys.collect::<der::Result<Vec<_>>>()?;
    Ok(CertReqTemplateContent {
        cert_template: CertTemplate {
            subject: profile.subject_template()?,
            extensions: extensions.transpose()?,
            ..CertTemplate::default()
        },
        key_spec: (!keys.is_empty()).then_some(keys),
    })
}
