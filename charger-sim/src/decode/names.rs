//! Names of what is a number on the wire.

use cmp_message::crypto::HashAlgorithm;
use cmp_message::general;
use cmp_message::mac::MacAlgorithm;
use const_oid::db::DB;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// Names that the standards for CMP use where the table of `const-oid` has none, or another.
const NAMES: &[(&str, &str)] = &[
    ("1.2.840.113533.7.66.13", "PasswordBasedMac"),
    ("1.2.840.113549.1.5.14", "PBMAC1"),
    ("1.2.840.113549.1.5.12", "PBKDF2"),
    ("1.3.6.1.5.5.8.1.2", "hmac-SHA1"),
    ("1.2.840.113533.7.66.30", "KeyBasedMac"),
    ("1.2.840.113549.2.7", "hmacWithSHA1"),
    ("1.2.840.113549.2.9", "hmacWithSHA256"),
    ("1.2.840.113549.2.10", "hmacWithSHA384"),
    ("1.2.840.113549.2.11", "hmacWithSHA512"),
    ("1.3.14.3.2.26", "sha1"),
    ("2.16.840.1.101.3.4.2.1", "sha256"),
    ("2.16.840.1.101.3.4.2.2", "sha384"),
    ("2.16.840.1.101.3.4.2.3", "sha512"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.3.6.1.5.5.7.4.1", "caProtEncCert"),
    ("1.3.6.1.5.5.7.4.2", "signKeyPairTypes"),
    ("1.3.6.1.5.5.7.4.3", "encKeyPairTypes"),
    ("1.3.6.1.5.5.7.4.4", "preferredSymmAlg"),
    ("1.3.6.1.5.5.7.4.5", "caKeyUpdateInfo"),
    ("1.3.6.1.5.5.7.4.6", "currentCRL"),
    ("1.3.6.1.5.5.7.4.7", "unsupportedOIDs"),
    ("1.3.6.1.5.5.7.4.10", "keyPairParamReq"),
    ("1.3.6.1.5.5.7.4.11", "keyPairParamRep"),
    ("1.3.6.1.5.5.7.4.12", "revPassphrase"),
    ("1.3.6.1.5.5.7.4.15", "origPKIMessage"),
    ("1.3.6.1.5.5.7.4.16", "suppLangTags"),
    ("1.3.6.1.5.5.7.5.1.1", "regToken"),
    ("1.3.6.1.5.5.7.5.1.2", "authenticator"),
    ("1.3.6.1.5.5.7.5.1.3", "pkiPublicationInfo"),
    ("1.3.6.1.5.5.7.5.1.4", "pkiArchiveOptions"),
    ("1.3.6.1.5.5.7.5.1.5", "oldCertID"),
    ("1.3.6.1.5.5.7.5.1.6", "protocolEncrKey"),
    ("1.3.6.1.5.5.7.5.2.1", "utf8Pairs"),
    ("1.3.6.1.5.5.7.3.27", "cmcCA"),
    ("1.3.6.1.5.5.7.3.28", "cmcRA"),
];

/// The name of an object identifier, or its numbers.
pub(crate) fn oid(oid: &ObjectIdentifier) -> String {
    let numbers = oid.to_string();
    let own = NAMES.iter().find(|(known, _)| *known == numbers);
    let name = general::info_type_name(oid)
        .or(own.map(|(_, name)| *name))
        .or_else(|| DB.by_oid(oid));
    match name {
        Some(name) => without_arc(name).to_owned(),
        None => numbers,
    }
}

/// Without the prefixes that say under which arc a name is registered.
fn without_arc(name: &str) -> &str {
    let name = name.strip_prefix("id-").unwrap_or(name);
    ["ce-", "pe-", "kp-", "at-"]
        .into_iter()
        .find_map(|arc| name.strip_prefix(arc))
        .unwrap_or(name)
}

/// An algorithm and, for a MAC and an elliptic curve, its parameters.
pub(crate) fn algorithm(id: &AlgorithmIdentifierOwned) -> String {
    if MacAlgorithm::is_mac(id) {
        return mac(id);
    }
    let curve = id
        .parameters
        .as_ref()
        .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match curve {
        Some(curve) => format!("{} {}", oid(&id.oid), oid(&curve)),
        None => oid(&id.oid),
    }
}

fn mac(id: &AlgorithmIdentifierOwned) -> String {
    let name = oid(&id.oid);
    match MacAlgorithm::from_algorithm_identifier(id) {
        Ok(MacAlgorithm::PasswordBasedMac {
            owf,
            mac,
            iterations,
            salt,
        }) => {
            let salt = salt.len();
            format!(
                "{name}, owf {}, mac HMAC-{}, {iterations} iterations, salt of {salt} bytes",
                hash(owf),
                hash(mac)
            )
        }
        Ok(MacAlgorithm::Pbmac1 {
            prf,
            mac,
            iterations,
            salt,
        }) => {
            let salt = salt.len();
            format!(
                "{name}, PBKDF2 with HMAC-{}, mac HMAC-{}, {iterations} iterations, salt of {salt} bytes",
                hash(prf),
                hash(mac)
            )
        }
        Err(error) => format!("{name}, {error}"),
    }
}

fn hash(algorithm: HashAlgorithm) -> String {
    format!("{algorithm:?}").to_uppercase()
}

/// A general name with its kind, as in `DNS:example.org`; a directory name stands alone.
pub(crate) fn general_name(name: &GeneralName) -> String {
    match name {
        GeneralName::DirectoryName(name) if name.is_empty() => "NULL-DN".into(),
        GeneralName::DirectoryName(name) => name.to_string(),
        GeneralName::DnsName(name) => format!("DNS:{}", name.as_str()),
        GeneralName::Rfc822Name(name) => format!("email:{}", name.as_str()),
        GeneralName::UniformResourceIdentifier(name) => format!("URI:{}", name.as_str()),
        GeneralName::IpAddress(bytes) => ip_address(bytes.as_bytes()),
        GeneralName::RegisteredId(id) => format!("ID:{}", oid(id)),
        GeneralName::OtherName(name) => format!("other:{}", oid(&name.type_id)),
        GeneralName::EdiPartyName(_) => "EDI party".into(),
    }
}

fn ip_address(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        format!("IP:{}", std::net::Ipv4Addr::from(bytes))
    } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        format!("IP:{}", std::net::Ipv6Addr::from(bytes))
    } else {
        format!("IP:{}", super::text::hex(bytes))
    }
}
