//! Comparison of names (RFC 5280 §7.1), on their DER.

use alloc::vec::Vec;
use core::iter;

use const_oid::ObjectIdentifier;
use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};

/// Whether two DER Names are the same name in the sense of RFC 5280 §7.1.
///
/// Attribute values of type PrintableString, UTF8String and IA5String are compared without regard to the case of ASCII
/// letters and to leading, trailing and repeated spaces, across these types; all others byte for byte. Beyond ASCII
/// no case is folded and nothing is normalised, so that two spellings may fail to match but different names never do.
#[must_use]
pub fn names_match(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((rdns(a), rdns(b)), (Ok(a), Ok(b)) if same_sequence(&a, &b))
}

/// The number of RelativeDistinguishedNames in a DER Name, all of which are well-formed.
pub(super) fn rdn_count(name: &[u8]) -> der::Result<usize> {
    rdns(name).map(|rdns| rdns.len())
}

type Rdn<'a> = Vec<(ObjectIdentifier, AnyRef<'a>)>;

/// `Name ::= SEQUENCE OF SET SIZE (1..MAX) OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }`
fn rdns(name: &[u8]) -> der::Result<Vec<Rdn<'_>>> {
    let name = AnyRef::from_der(name)?;
    name.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(name.value())?;
    let mut rdns = Vec::new();
    while !reader.is_finished() {
        let set = AnyRef::decode(&mut reader)?;
        set.tag().assert_eq(Tag::Set)?;
        let rdn = attributes(set.value())?;
        if rdn.is_empty() || rdn.len() > MAX_ATTRIBUTES_PER_RDN {
            return Err(Tag::Set.value_error().into());
        }
        rdns.push(rdn);
    }
    Ok(rdns)
}

fn attributes(set: &[u8]) -> der::Result<Rdn<'_>> {
    let mut reader = SliceReader::new(set)?;
    let mut rdn = Vec::new();
    while !reader.is_finished() {
        rdn.push(
            reader.sequence(|seq| {
                Ok::<_, der::Error>((ObjectIdentifier::decode(seq)?, AnyRef::decode(seq)?))
            })?,
        );
    }
    Ok(rdn)
}

fn same_sequence(a: &[Rdn<'_>], b: &[Rdn<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_set(a, b))
}

/// The order within a SET follows the encoding, which differs where the case does.
fn same_set(a: &Rdn<'_>, b: &Rdn<'_>) -> bool {
    let within = |part: &Rdn<'_>, whole: &Rdn<'_>| {
        part.iter()
            .all(|x| whole.iter().any(|y| x.0 == y.0 && same_value(&x.1, &y.1)))
    };
    a.len() == b.len() && within(a, b) && within(b, a)
}

fn same_value(a: &AnyRef<'_>, b: &AnyRef<'_>) -> bool {
    let text = |value: &AnyRef<'_>| {
        matches!(
            value.tag(),
            Tag::PrintableString | Tag::Utf8String | Tag::Ia5String
        )
    };
    a == b || (text(a) && text(b) && folded(a.value()).eq(folded(b.value())))
}

/// The words in lower case, with one space behind each.
fn folded(value: &[u8]) -> impl Iterator<Item = u8> + '_ {
    value
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
        .flat_map(|word| word.iter().map(u8::to_ascii_lowercase).chain(iter::once(b' ')))
}

/// Sets are compared in quadratic time.
const MAX_ATTRIBUTES_PER_RDN: usize = 16;
