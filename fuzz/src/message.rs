//! CMP messages and certificates.

use cmp_message::PkiMessage;
use x509_cert::der::{Decode as _, Encode as _};

/// A CMP message: what decodes is written again as it came in, and its fields make a message of their own.
pub fn pki_message(data: &[u8]) {
    let peeked = PkiMessage::peek_header(data);
    let Ok(message) = PkiMessage::from_bytes(data) else {
        return;
    };
    assert_eq!(message.to_bytes().expect("encodes again"), data, "re-encoding");
    assert_eq!(
        peeked.expect("the header of a message that decodes"),
        *message.header,
        "peeked header"
    );
    message
        .protected_part()
        .expect("the protected part of what decodes");
    let (header, body) = (message.header.into_value(), message.body.into_value());
    let again = PkiMessage::new(header, body).expect("a message of the same fields");
    let bytes = again.to_bytes().expect("encodes");
    let reread = PkiMessage::from_bytes(&bytes).expect("what we encode decodes");
    assert_eq!(
        reread.to_bytes().expect("encodes again"),
        bytes,
        "stable encoding"
    );
}

/// A certificate, as it stands in `extraCerts`.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = x509_cert::Certificate::from_der(data) else {
        return;
    };
    certificate.to_der().expect("encodes again");
}
