//! What a station keeps of a transaction that is under way.

use alloc::vec::Vec;

use cmp_binding::ExchangeId;
use der::{Decode, Encode, Sequence, asn1::OctetString};

/// The format of [`Record`]; a later firmware reads it too.
const VERSION: u8 = 1;

/// ```text
/// Record ::= SEQUENCE {
///     version      INTEGER (1),
///     transaction  OCTET STRING,              -- of cmp-client
///     exchange     OCTET STRING (16) OPTIONAL -- carries the transaction's last message
/// }
/// ```
#[derive(Sequence)]
struct Record {
    version: u8,
    transaction: OctetString,
    exchange: Option<OctetString>,
}

pub(crate) fn encode(transaction: &[u8], exchange: Option<ExchangeId>) -> der::Result<Vec<u8>> {
    Record {
        version: VERSION,
        transaction: OctetString::new(transaction)?,
        exchange: exchange
            .map(|id| OctetString::new(id.as_bytes().as_slice()))
            .transpose()?,
    }
    .to_der()
}

/// The transaction's state and the exchange; `None` for what is no record of this version.
pub(crate) fn decode(record: &[u8]) -> Option<(Vec<u8>, Option<ExchangeId>)> {
    let record = Record::from_der(record)
        .ok()
        .filter(|record| record.version == VERSION)?;
    let exchange = match record.exchange {
        Some(id) => Some(ExchangeId::from_random(id.as_bytes().try_into().ok()?)),
        None => None,
    };
    Some((record.transaction.into_bytes().into_vec(), exchange))
}
