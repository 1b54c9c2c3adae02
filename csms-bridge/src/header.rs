//! The one place that looks into a CMP message: at its transactionID, so that all messages of a transaction go to the
//! same RA, and for the policy at the tag of its body and at the serial number of its protection certificate. It reads
//! what is wrapped around the body, never the body. What cannot be read is `None` and fails nothing by itself.

use der::{
    Decode, Header, Reader, SliceReader, Tag, TagNumber,
    asn1::{OctetStringRef, UintRef},
};

/// The kind of a message: the tag of its PKIBody (RFC 9810 §5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyType(usize);

/// The names of PKIBody's alternatives, in the order of their tags.
const BODY_TYPES: [&str; 27] = [
    "ir", "ip", "cr", "cp", "p10cr", "popdecc", "popdecr", "kur", "kup", "krr", "krp", "rr", "rp", "ccr",
    "ccp", "ckuann", "cann", "rann", "crlann", "pkiconf", "nested", "genm", "genp", "error", "certConf",
    "pollReq", "pollRep",
];

impl BodyType {
    /// The kind of this name, as RFC 9810 spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        BODY_TYPES.iter().position(|known| *known == name).map(Self)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        BODY_TYPES.get(self.0).copied().unwrap_or_default()
    }

    /// Whether it goes on with a transaction that another message has begun: certConf, pollReq and error.
    #[must_use]
    pub fn carries_on(self) -> bool {
        ["certConf", "pollReq", "error"].contains(&self.name())
    }
}

/// `transactionID [4] EXPLICIT OCTET STRING` of the PKIHeader (RFC 9810 §5.1.1), if it has at most 64 bytes.
#[must_use]
pub fn transaction_id(message: &[u8]) -> Option<Vec<u8>> {
    let mut header = open(&mut open_whole(message)?, Tag::Sequence)?;
    for _ in ["pvno", "sender", "recipient"] {
        skip(&mut header)?;
    }
    for _ in [
        "messageTime",
        "protectionAlg",
        "senderKID",
        "recipKID",
        "transactionID",
    ] {
        let (tag, value) = field(&mut header)?;
        if tag == context(4) {
            let id = <&OctetStringRef>::from_der(value).ok()?.as_bytes();
            return Some(id.to_vec()).filter(|id| id.len() <= 64);
        }
    }
    None
}

/// The kind of the message.
#[must_use]
pub fn body_type(message: &[u8]) -> Option<BodyType> {
    let mut message = open_whole(message)?;
    skip(&mut message)?;
    match field(&mut message)?.0 {
        Tag::ContextSpecific {
            constructed: true,
            number,
        } => {
            let number = usize::try_from(number.value()).ok()?;
            (number < BODY_TYPES.len()).then_some(BodyType(number))
        }
        _ => None,
    }
}

/// The serial number, big-endian without leading zeros, of the first certificate in extraCerts: the one that a signature
/// is verified with (RFC 9483 §3.3).
#[must_use]
pub fn protection_serial(message: &[u8]) -> Option<Vec<u8>> {
    let mut message = open_whole(message)?;
    for _ in ["header", "body"] {
        skip(&mut message)?;
    }
    let (mut tag, mut value) = field(&mut message)?;
    if tag == context(0) {
        (tag, value) = field(&mut message)?;
    }
    if tag != context(1) {
        return None;
    }
    let mut certificates = open(&mut SliceReader::new(value).ok()?, Tag::Sequence)?;
    let mut certificate = open(&mut certificates, Tag::Sequence)?;
    let mut tbs = open(&mut certificate, Tag::Sequence)?;
    // version [0] EXPLICIT, DEFAULT v1
    if Header::peek(&tbs).ok()?.tag() == context(0) {
        skip(&mut tbs)?;
    }
    let serial = UintRef::decode(&mut tbs).ok()?;
    Some(
        serial
            .as_bytes()
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect(),
    )
}

/// The inside of the SEQUENCE that a PKIMessage is; nothing comes after it.
fn open_whole(message: &[u8]) -> Option<SliceReader<'_>> {
    let mut reader = SliceReader::new(message).ok()?;
    let inside = open(&mut reader, Tag::Sequence)?;
    reader.is_finished().then_some(inside)
}

/// The inside of the next value, which has this tag.
fn open<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Option<SliceReader<'a>> {
    let (found, value) = field(reader)?;
    (found == tag).then(|| SliceReader::new(value).ok())?
}

fn skip(reader: &mut SliceReader<'_>) -> Option<()> {
    field(reader).map(drop)
}

fn field<'a>(reader: &mut SliceReader<'a>) -> Option<(Tag, &'a [u8])> {
    let header = Header::decode(reader).ok()?;
    let value = reader.read_slice(header.length()).ok()?;
    Some((header.tag(), value))
}

fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/openssl-3.0/");
        std::fs::read(format!("{dir}{name}")).unwrap()
    }

    #[test]
    fn the_transaction_id_of_a_captured_message_is_found() {
        let read = |name: &str| transaction_id(&fixture(name)).unwrap();
        assert_eq!(read("ir_sig.1.req.der").len(), 16);
        assert_eq!(read("ir_sig.1.req.der"), read("ir_sig.2.rsp.der"));
        assert_ne!(read("ir_sig.1.req.der"), read("kur.1.req.der"));
    }

    #[test]
    fn the_kind_of_a_captured_message_is_its_name() {
        for (file, kind) in [
            ("ir_sig.1.req.der", "ir"),
            ("ir_sig.1.rsp.der", "ip"),
            ("ir_sig.2.req.der", "certConf"),
            ("ir_sig.2.rsp.der", "pkiconf"),
            ("cr_sig.1.req.der", "cr"),
            ("p10cr.1.req.der", "p10cr"),
            ("kur.1.req.der", "kur"),
            ("rr.1.req.der", "rr"),
            ("genm.1.req.der", "genm"),
            ("poll.2.req.der", "pollReq"),
            ("poll.2.rsp.der", "pollRep"),
        ] {
            let found = body_type(&fixture(file)).unwrap();
            assert_eq!(found.name(), kind, "{file}");
            assert_eq!(BodyType::from_name(kind), Some(found));
        }
        assert_eq!(BodyType::from_name("enroll"), None);
    }

    #[test]
    fn the_serial_number_is_that_of_the_certificate_that_signed() {
        let serial = protection_serial(&fixture("ir_sig.1.req.der")).unwrap();
        // openssl x509 -serial -in pki/idevid.crt
        let hex: String = serial.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hex, "7A080FF2A4B4C735ADB5C2162407432E966A4550");
        assert_ne!(Some(serial), protection_serial(&fixture("kur.1.req.der")));
        assert_eq!(
            protection_serial(&fixture("ir_pbm.1.req.der")),
            None,
            "a MAC has none"
        );
    }

    #[test]
    fn what_is_no_message_has_nothing() {
        let mut longer = fixture("ir_sig.1.req.der");
        longer.push(0);
        for bytes in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x02\x30\x00",
            b"\x30\x84\xff\xff\xff\xff",
            b"hello",
            &longer,
        ] {
            assert_eq!(transaction_id(bytes), None);
            assert_eq!(body_type(bytes), None);
            assert_eq!(protection_serial(bytes), None);
        }
    }
}
