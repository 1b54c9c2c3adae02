//! CMP messages.

use cmp_message::{
    CertOrEncCert, CertRepMessage, CertReqMsg, CertResponse, CertStatus, ErrorMsgContent, InfoTypeAndValue,
    PkiBody, PkiHeader, PkiMessage, PkiStatusInfo, PollRep, ProofOfPossession, Raw, RevDetails,
    RevRepContent, general,
};
use der::Decode as _;
use der::asn1::{GeneralizedTime, OctetString};

use super::text::{Text, hex};
use super::{certificate, names};

/// Messages inside `nested` inside messages are read down to this depth.
const MAX_DEPTH: usize = 3;

/// A message under a heading.
///
/// # Errors
/// Where the bytes are no CMP message; nothing was written then.
pub(super) fn write(text: &mut Text, bytes: &[u8]) -> der::Result<()> {
    write_at(text, bytes, 0)
}

fn write_at(text: &mut Text, bytes: &[u8], depth: usize) -> der::Result<()> {
    let message = PkiMessage::from_bytes(bytes)?;
    text.heading(format_args!(
        "CMP message {}, {} bytes",
        message.body.body_type(),
        bytes.len()
    ));
    text.indented(|text| {
        header(text, &message.header);
        text.heading(format_args!("body {}", message.body.body_type()));
        text.indented(|text| body(text, &message.body, depth));
        match &message.protection {
            Some(bits) => text.line("protection", format_args!("{} bytes", bits.raw_bytes().len())),
            None => text.line("protection", "none"),
        }
        let extra = message.extra_certs.as_deref().unwrap_or_default();
        text.line("extraCerts", extra.len());
        text.indented(|text| certificates(text, extra));
    });
    Ok(())
}

fn header(text: &mut Text, header: &PkiHeader) {
    text.heading("header");
    text.indented(|text| {
        let version = match header.pvno {
            1 => " (cmp1999)",
            2 => " (cmp2000)",
            3 => " (cmp2021)",
            _ => " (unknown)",
        };
        text.line("pvno", format_args!("{}{version}", header.pvno));
        text.line("sender", names::general_name(&header.sender));
        text.line("recipient", names::general_name(&header.recipient));
        text.maybe("messageTime", header.message_time.map(|time| time.to_date_time()));
        text.maybe(
            "protectionAlg",
            header.protection_alg.as_ref().map(names::algorithm),
        );
        text.maybe("senderKID", header.sender_kid.as_ref().map(key_identifier));
        text.maybe("recipKID", header.recip_kid.as_ref().map(key_identifier));
        text.maybe("transactionID", header.transaction_id.as_ref().map(octets));
        text.maybe("senderNonce", header.sender_nonce.as_ref().map(octets));
        text.maybe("recipNonce", header.recip_nonce.as_ref().map(octets));
        for free_text in header.free_text.iter().flatten() {
            text.line("freeText", free_text);
        }
        for info in header.general_info.iter().flatten() {
            text.heading("generalInfo");
            text.indented(|text| info_type_and_value(text, info));
        }
    });
}

fn body(text: &mut Text, body: &PkiBody, depth: usize) {
    match body {
        PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests) => {
            requests.iter().for_each(|request| cert_request(text, request));
        }
        PkiBody::Ip(reply) | PkiBody::Cp(reply) | PkiBody::Kup(reply) => cert_reply(text, reply),
        PkiBody::P10cr(raw) => {
            if let Err(error) = certificate::write_request(text, raw.as_bytes()) {
                text.line("unreadable", error);
            }
        }
        PkiBody::Rr(details) => details.iter().for_each(|details| revocation(text, details)),
        PkiBody::Rp(reply) => revocation_reply(text, reply),
        PkiBody::PkiConf(_) => {}
        PkiBody::Nested(raw) => nested(text, raw, depth),
        PkiBody::Genm(infos) | PkiBody::Genp(infos) => {
            infos.iter().for_each(|info| info_type_and_value(text, info));
        }
        PkiBody::Error(error) => error_message(text, error),
        PkiBody::CertConf(statuses) => statuses.iter().for_each(|status| cert_status(text, status)),
        PkiBody::PollReq(polls) => polls
            .iter()
            .for_each(|poll| text.line("certReqId", poll.cert_req_id)),
        PkiBody::PollRep(polls) => polls.iter().for_each(|poll| poll_rep(text, poll)),
        PkiBody::Popdecc(raw)
        | PkiBody::Popdecr(raw)
        | PkiBody::Krr(raw)
        | PkiBody::Krp(raw)
        | PkiBody::Ccr(raw)
        | PkiBody::Ccp(raw)
        | PkiBody::Ckuann(raw)
        | PkiBody::Cann(raw)
        | PkiBody::Rann(raw)
        | PkiBody::Crlann(raw) => text.line("content", size(raw)),
    }
}

fn cert_request(text: &mut Text, request: &CertReqMsg) {
    text.line("certReqId", request.cert_req.cert_req_id);
    text.indented(|text| {
        certificate::write_template(text, &request.cert_req.cert_template);
        for control in request.cert_req.controls.iter().flatten() {
            let name = names::oid(&control.attr_type);
            if control.attr_type != cmp_message::REG_CTRL_OLD_CERT_ID {
                text.line("control", format_args!("{name}, {}", size(&control.value)));
            }
        }
        match request.cert_req.old_cert_id() {
            Some(Ok(id)) => text.line(
                "oldCertID",
                format_args!(
                    "{} of {}",
                    hex(id.serial_number.as_bytes()),
                    names::general_name(&id.issuer)
                ),
            ),
            Some(Err(error)) => text.line("oldCertID", format_args!("unreadable: {error}")),
            None => {}
        }
        text.line("popo", proof_of_possession(request.popo.as_ref()));
        for info in request.reg_info.iter().flatten() {
            let name = names::oid(&info.attr_type);
            text.line("regInfo", format_args!("{name}, {}", size(&info.value)));
        }
    });
}

fn proof_of_possession(proof: Option<&ProofOfPossession>) -> String {
    match proof {
        None => "none".into(),
        Some(ProofOfPossession::RaVerified(_)) => "raVerified".into(),
        Some(ProofOfPossession::Signature(key)) => {
            let input = if key.poposk_input.is_some() {
                " over poposkInput"
            } else {
                ""
            };
            let algorithm = names::algorithm(&key.algorithm_identifier);
            format!(
                "signature {algorithm}{input}, {} bytes",
                key.signature.raw_bytes().len()
            )
        }
        Some(ProofOfPossession::KeyEncipherment(_)) => "keyEncipherment".into(),
        Some(ProofOfPossession::KeyAgreement(_)) => "keyAgreement".into(),
    }
}

fn cert_reply(text: &mut Text, reply: &CertRepMessage) {
    if let Some(ca_pubs) = &reply.ca_pubs {
        text.line("caPubs", ca_pubs.len());
        text.indented(|text| certificates(text, ca_pubs));
    }
    reply
        .response
        .iter()
        .for_each(|response| cert_response(text, response));
}

fn cert_response(text: &mut Text, response: &CertResponse) {
    text.line("certReqId", response.cert_req_id);
    text.indented(|text| {
        status_info(text, &response.status);
        if let Some(pair) = &response.certified_key_pair {
            match &pair.cert_or_enc_cert {
                CertOrEncCert::Certificate(raw) => certificate::write(text, "certificate", raw.as_bytes()),
                CertOrEncCert::EncryptedCert(raw) => text.line("encryptedCert", size(raw)),
            }
            text.maybe("privateKey", pair.private_key.as_ref().map(size));
            text.maybe("publicationInfo", pair.publication_info.as_ref().map(size));
        }
        text.maybe("rspInfo", response.rsp_info.as_ref().map(octets));
    });
}

fn status_info(text: &mut Text, info: &PkiStatusInfo) {
    text.line("status", info.status);
    for status_string in info.status_string.iter().flatten() {
        text.line("statusString", status_string);
    }
    text.maybe("failInfo", info.fail_info.as_ref());
}

fn cert_status(text: &mut Text, status: &CertStatus) {
    text.line("certReqId", status.cert_req_id);
    text.indented(|text| {
        text.line("certHash", octets(&status.cert_hash));
        match &status.status_info {
            Some(info) => status_info(text, info),
            None => text.line("status", "absent, which accepts"),
        }
        text.maybe("hashAlg", status.hash_alg.as_ref().map(names::algorithm));
    });
}

fn revocation(text: &mut Text, details: &RevDetails) {
    certificate::write_template(text, &details.cert_details);
    if let Some(extensions) = &details.crl_entry_details {
        text.heading("crlEntryDetails");
        text.indented(|text| certificate::extensions(text, extensions));
    }
}

fn revocation_reply(text: &mut Text, reply: &RevRepContent) {
    reply.status.iter().for_each(|status| status_info(text, status));
    for id in reply.rev_certs.iter().flatten() {
        let issuer = names::general_name(&id.issuer);
        text.line(
            "revCert",
            format_args!("{} of {issuer}", hex(id.serial_number.as_bytes())),
        );
    }
    for crl in reply.crls.iter().flatten() {
        text.line("crl", size(crl));
    }
}

fn error_message(text: &mut Text, error: &ErrorMsgContent) {
    status_info(text, &error.pki_status_info);
    text.maybe(
        "errorCode",
        error.error_code.as_ref().map(|code| hex(code.as_bytes())),
    );
    for details in error.error_details.iter().flatten() {
        text.line("errorDetails", details);
    }
}

fn poll_rep(text: &mut Text, poll: &PollRep) {
    text.line("certReqId", poll.cert_req_id);
    text.indented(|text| {
        text.line("checkAfter", format_args!("{} s", poll.check_after));
        for reason in poll.reason.iter().flatten() {
            text.line("reason", reason);
        }
    });
}

fn nested(text: &mut Text, raw: &Raw, depth: usize) {
    match Vec::<Raw>::from_der(raw.as_bytes()) {
        Ok(_) if depth >= MAX_DEPTH => text.line("content", format_args!("{}, not read", size(raw))),
        Ok(messages) => {
            for message in messages {
                if let Err(error) = write_at(text, message.as_bytes(), depth + 1) {
                    text.line("unreadable", error);
                }
            }
        }
        Err(error) => text.line("unreadable", error),
    }
}

fn info_type_and_value(text: &mut Text, info: &InfoTypeAndValue) {
    let name = names::oid(&info.info_type);
    let Some(value) = &info.info_value else {
        return text.heading(name);
    };
    let certificates_in = |raw: &Raw| raw.parse::<Vec<Raw>>();
    match info.info_type {
        general::IMPLICIT_CONFIRM => text.heading(name),
        general::CONFIRM_WAIT_TIME => match value.parse::<GeneralizedTime>() {
            Ok(time) => text.line(&name, time.to_date_time()),
            Err(error) => text.line(&name, format_args!("unreadable: {error}")),
        },
        general::CERT_PROFILE => match value.parse::<Vec<String>>() {
            Ok(names) => text.line(&name, names.join(", ")),
            Err(error) => text.line(&name, format_args!("unreadable: {error}")),
        },
        general::CA_CERTS => match certificates_in(value) {
            Ok(all) => {
                text.line(&name, all.len());
                text.indented(|text| certificates(text, &all));
            }
            Err(error) => text.line(&name, format_args!("unreadable: {error}")),
        },
        general::ROOT_CA_CERT => {
            text.heading(name);
            text.indented(|text| certificate::write(text, "certificate", value.as_bytes()));
        }
        _ => text.line(&name, short(value)),
    }
}

fn certificates(text: &mut Text, all: &[Raw]) {
    for (n, raw) in all.iter().enumerate() {
        certificate::write(text, &format!("certificate {}", n + 1), raw.as_bytes());
    }
}

/// A short value in hexadecimal, a long one by its size.
fn short(raw: &Raw) -> String {
    match raw.as_bytes() {
        bytes if bytes.len() <= 48 => hex(bytes),
        _ => size(raw),
    }
}

fn size(raw: &Raw) -> String {
    format!("{} bytes", raw.as_bytes().len())
}

fn octets(octets: &OctetString) -> String {
    hex(octets.as_bytes())
}

/// In hexadecimal and, where it is the readable reference of a shared secret, as text.
fn key_identifier(kid: &OctetString) -> String {
    let bytes = kid.as_bytes();
    let readable = !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    match std::str::from_utf8(bytes) {
        Ok(reference) if readable => format!("{} (\"{reference}\")", hex(bytes)),
        _ => hex(bytes),
    }
}
