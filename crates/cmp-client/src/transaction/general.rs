//! General responses (RFC 9483 §4.3).

use alloc::vec::Vec;

use cmp_message::{
    InfoTypeAndValue, Raw,
    certificate::Certificate,
    crl::{Crl, CrlError},
    general::{self, CertReqTemplateContent, CrlStatusList, RootCaKeyUpdateContent},
};
use const_oid::ObjectIdentifier;

use super::Transaction;
use crate::{
    CertReqTemplate, Failure, Outcome, ResponseError, RootCaKeyUpdate, RootUpdateError, Time, request::Asked,
};

/// CA certificates that are taken at most.
const MAX_CA_CERTIFICATES: usize = 64;

impl Transaction {
    pub(super) fn general_response(
        &mut self,
        now: Time,
        content: &[InfoTypeAndValue],
    ) -> Result<(), Failure> {
        let [info] = content else {
            return Err(self.response_error(ResponseError::ResponseCount(content.len())));
        };
        let asked = self.request.as_ref().ok_or(Failure::Encoding)?;
        let outcome = self
            .general_outcome(now, asked, info)
            .map_err(|error| self.response_error(error))?;
        self.succeed(outcome);
        Ok(())
    }

    fn general_outcome(
        &self,
        now: Time,
        asked: &Asked,
        info: &InfoTypeAndValue,
    ) -> Result<Outcome, ResponseError> {
        let unexpected = Err(ResponseError::UnexpectedInfoType(info.info_type));
        let Some(question) = asked.info() else {
            return unexpected;
        };
        let value = info.info_value.as_ref();
        match (question.info_type, info.info_type) {
            (general::CA_CERTS, general::CA_CERTS) => {
                value.map_or(Ok(Vec::new()), ca_certs).map(Outcome::CaCerts)
            }
            (general::ROOT_CA_CERT, general::ROOT_CA_KEY_UPDATE) => value
                .map(|value| self.root_update(now, question, value))
                .transpose()
                .map(Outcome::RootCaUpdate),
            (general::CERT_REQ_TEMPLATE, general::CERT_REQ_TEMPLATE) => {
                value.map(template).transpose().map(Outcome::CertReqTemplate)
            }
            (general::CRL_STATUS_LIST, general::CRLS) => value
                .map(|value| self.crl(now, asked, question, value))
                .transpose()
                .map(Outcome::Crl),
            _ => unexpected,
        }
    }

    fn root_update(
        &self,
        now: Time,
        question: &InfoTypeAndValue,
        value: &Raw,
    ) -> Result<RootCaKeyUpdate, ResponseError> {
        let content: RootCaKeyUpdateContent = parse(general::ROOT_CA_KEY_UPDATE, value)?;
        let old = question
            .info_value
            .as_ref()
            .and_then(|root| Certificate::from_der(root.as_bytes()).ok())
            .filter(|root| self.config.trusts(root))
            .ok_or(ResponseError::RootUpdate(RootUpdateError::NotTrusted))?;
        RootCaKeyUpdate::verify(&content, &old, self.config.crypto, now.utc_s)
            .map_err(ResponseError::RootUpdate)
    }

    fn crl(
        &self,
        now: Time,
        asked: &Asked,
        question: &InfoTypeAndValue,
        value: &Raw,
    ) -> Result<Crl, ResponseError> {
        let crls: Vec<Raw> = parse(general::CRLS, value)?;
        let [der] = crls.as_slice() else {
            return Err(ResponseError::ResponseCount(crls.len()));
        };
        let crl = Crl::from_der(der.as_bytes()).map_err(ResponseError::Crl)?;
        let issuer = asked.crl_issuer.as_ref();
        let issuer = issuer.ok_or(ResponseError::Crl(CrlError::WrongIssuer))?;
        crl.verify(self.config.crypto, issuer, now.utc_s)
            .map_err(ResponseError::Crl)?;
        let known = question
            .info_value
            .as_ref()
            .and_then(|list| list.parse::<CrlStatusList>().ok())
            .and_then(|list| list.first().and_then(|status| status.this_update));
        match known {
            Some(known) if crl.this_update() <= known.to_unix_duration().as_secs() => {
                Err(ResponseError::Crl(CrlError::NotNewer))
            }
            _ => Ok(crl),
        }
    }
}

fn ca_certs(value: &Raw) -> Result<Vec<Certificate>, ResponseError> {
    let certificates: Vec<Raw> = parse(general::CA_CERTS, value)?;
    if certificates.len() > MAX_CA_CERTIFICATES {
        return Err(ResponseError::CaCertificateCount(certificates.len()));
    }
    certificates
        .iter()
        .map(|der| Certificate::from_der(der.as_bytes()).map_err(ResponseError::CaCertificate))
        .collect()
}

fn template(value: &Raw) -> Result<CertReqTemplate, ResponseError> {
    let content: CertReqTemplateContent = parse(general::CERT_REQ_TEMPLATE, value)?;
    CertReqTemplate::from_content(&content).map_err(ResponseError::Template)
}

fn parse<'a, T: der::Decode<'a, Error = der::Error>>(
    info_type: ObjectIdentifier,
    value: &'a Raw,
) -> Result<T, ResponseError> {
    value.parse().map_err(|_| ResponseError::InfoValue(info_type))
}
