//! The one place that looks into a CMP message: its transactionID, so that all messages of a transaction go to the same
//! RA. A message that cannot be read is relayed like any other.

use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber, asn1::OctetStringRef};

/// `transactionID [4] EXPLICIT OCTET STRING` of the PKIHeader (RFC 9810 §5.1.1).
pub(crate) fn transaction_id(message: &[u8]) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(message).ok()?;
    for _ in ["PKIMessage", "PKIHeader"] {
        Header::decode(&mut reader)
            .ok()?
            .tag()
            .assert_eq(Tag::Sequence)
            .ok()?;
    }
    for _ in ["pvno", "sender", "recipient"] {
        let length = Header::decode(&mut reader).ok()?.length();
        reader.read_slice(length).ok()?;
    }
    let wanted = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(4),
    };
    for _ in [
        "messageTime",
        "protectionAlg",
        "senderKID",
        "recipKID",
        "transactionID",
    ] {
        let field = Header::decode(&mut reader).ok()?;
        if field.tag() == wanted {
            let id = <&OctetStringRef>::decode(&mut reader).ok()?;
            return Some(id.as_bytes().to_vec()).filter(|id| id.len() <= 64);
        }
        reader.read_slice(field.length()).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::transaction_id;

    #[test]
    fn the_transaction_id_of_a_captured_message_is_found() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/openssl-3.0/");
        let read = |name: &str| transaction_id(&std::fs::read(format!("{dir}{name}")).unwrap()).unwrap();
        assert_eq!(read("ir_sig.1.req.der").len(), 16);
        assert_eq!(read("ir_sig.1.req.der"), read("ir_sig.2.rsp.der"));
        assert_ne!(read("ir_sig.1.req.der"), read("kur.1.req.der"));
    }

    #[test]
    fn what_is_no_message_has_none() {
        for bytes in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x02\x30\x00",
            b"\x30\x84\xff\xff\xff\xff",
            b"hello",
        ] {
            assert_eq!(transaction_id(bytes), None);
        }
    }
}
