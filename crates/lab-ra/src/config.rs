use cmp_message::{
    BodyType,
    certificate::Certificate,
    crypto::SignatureAlgorithm,
    mac::{PASSWORD_BASED_MAC, PBMAC1, Secret},
};
use const_oid::ObjectIdentifier;
use std::collections::{BTreeMap, HashMap};

use crate::Profile;

/// What an RA does where the profile leaves it a choice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RaConfig {
    /// What becomes of a wish for implicit confirmation.
    pub implicit_confirm: ImplicitConfirm,
    /// Answers are delayed, so that clients have to poll.
    pub poll_after: Option<PollAfter>,
    /// Which messages are answered late because of `poll_after`.
    pub delayed: Vec<BodyType>,
    /// Who decides on a request for a certificate.
    pub approval: Approval,
    /// checkAfter while a person decides, where `poll_after` says nothing.
    pub approval_check_after_s: u32,
    /// How long a certConf is waited for.
    pub confirm_wait_s: u64,
    /// How late the next pollReq may be; then the transaction ends.
    pub poll_grace_s: u64,
    /// The rules for requests without a certProfile.
    pub default_profile: Profile,
    /// The rules by certProfile.
    pub profiles: BTreeMap<String, Profile>,
    /// Shared secrets by their reference, the senderKID.
    pub secrets: HashMap<Vec<u8>, Secret>,
    /// CAs of other manufacturers, whose certificates protect requests as those of this lab's manufacturer do.
    pub manufacturers: Vec<Certificate>,
    /// RAs, or CAs of RAs. With id-kp-cmcRA an RA speaks for others: it asks in their name, vouches for their proof of
    /// possession (raVerified) and revokes for them. An RA of this CA needs no mention.
    pub registration_authorities: Vec<Certificate>,
    /// raVerified of an end entity counts if an RA has added its protection. RFC 9810 §5.2.8.1 keeps raVerified from end
    /// entities; some test suites expect it.
    pub nested_ra_verified: bool,
    /// Signatures that are accepted, as protection and as proof of possession.
    pub signature_algorithms: Vec<SignatureAlgorithm>,
    /// MACs that are accepted as protection, by the algorithm of protectionAlg.
    pub mac_algorithms: Vec<ObjectIdentifier>,
    /// What headers must have that the profile only recommends.
    pub header: HeaderRules,
    /// Whether keys are made for those who ask for that.
    pub key_generation: KeyGeneration,
    /// Whether a kur for the key that the certificate has already is granted.
    pub update_with_same_key: bool,
    /// The root comes in caPubs under a signature too. Under a MAC it always does.
    pub ca_pubs_under_signature: bool,
    /// How long a CRL is good; a new one is made after half of that.
    pub crl_lifetime_s: u64,
    /// The folder in which certificates say that the CRL of their CA is, a URL: `URL/1.crl` for the first CA.
    pub crl_distribution_point: Option<String>,
    /// Transactions that are open at most at the same time; beyond it requests are refused with systemUnavail.
    pub max_transactions: usize,
}

impl Default for RaConfig {
    /// Implicit confirmation granted, nothing delayed, 300 s for a certConf, no keys made for others, any profile of this program's algorithms,
    /// no secrets.
    fn default() -> Self {
        Self {
            implicit_confirm: ImplicitConfirm::Grant,
            poll_after: None,
            delayed: vec![BodyType::Ir, BodyType::Cr, BodyType::P10cr, BodyType::Kur],
            approval: Approval::Auto,
            approval_check_after_s: 5,
            confirm_wait_s: 300,
            poll_grace_s: 3_600,
            default_profile: Profile::default(),
            profiles: BTreeMap::new(),
            secrets: HashMap::new(),
            manufacturers: Vec::new(),
            registration_authorities: Vec::new(),
            nested_ra_verified: false,
            signature_algorithms: SIGNATURE_ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
            mac_algorithms: vec![PASSWORD_BASED_MAC, PBMAC1],
            header: HeaderRules::default(),
            key_generation: KeyGeneration::Refuse,
            update_with_same_key: true,
            ca_pubs_under_signature: false,
            crl_lifetime_s: 7 * 86_400,
            crl_distribution_point: None,
            max_transactions: 10_000,
        }
    }
}

/// What becomes of a wish for implicit confirmation (RFC 9810 §5.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImplicitConfirm {
    /// It is granted.
    Grant,
    /// It is passed over: a certConf is expected.
    Ignore,
}

/// Whether keys are made for others and delivered with their certificates (RFC 9483 §4.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyGeneration {
    /// Everybody makes their own.
    Refuse,
    /// For whoever protects a request with something that a key can be encrypted for. Certificates for keys of elliptic
    /// curves and of RSA then allow that too, unless they were asked for otherwise.
    Allow,
}

/// A delay: `waiting`, then this many pollReps, then the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollAfter {
    /// pollReqs that are answered with pollRep.
    pub polls: u32,
    /// checkAfter in each of them.
    pub check_after_s: u32,
}

/// Who decides on a request for a certificate that passed every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// It is granted.
    Auto,
    /// A person, by [`Store::approve`](crate::Store::approve) or [`deny`](crate::Store::deny); the requester polls
    /// until then.
    Person,
}

/// What headers must have that RFC 9483 §3.1 leaves to policy. Stations boot without a clock, and widespread clients
/// leave things out: by default only the nonces are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderRules {
    /// How far messageTime may be off; `None`: it is not looked at.
    pub max_clock_skew_s: Option<u64>,
    /// messageTime must be there.
    pub message_time: bool,
    /// senderKID must be there under a signature.
    pub sender_kid: bool,
    /// Under a MAC the sender must be a directory name whose common name is the senderKID.
    pub mac_sender: bool,
    /// The senderNonce must be another one than in the message before.
    pub fresh_sender_nonce: bool,
}

impl Default for HeaderRules {
    fn default() -> Self {
        Self {
            max_clock_skew_s: None,
            message_time: false,
            sender_kid: false,
            mac_sender: false,
            fresh_sender_nonce: true,
        }
    }
}

/// The signature algorithms by the names that they have in a configuration file.
pub(crate) const SIGNATURE_ALGORITHMS: [(&str, SignatureAlgorithm); 10] = [
    ("ecdsa-sha256", SignatureAlgorithm::EcdsaSha256),
    ("ecdsa-sha384", SignatureAlgorithm::EcdsaSha384),
    ("ecdsa-sha512", SignatureAlgorithm::EcdsaSha512),
    ("ed25519", SignatureAlgorithm::Ed25519),
    ("rsa-sha256", SignatureAlgorithm::RsaSha256),
    ("rsa-sha384", SignatureAlgorithm::RsaSha384),
    ("rsa-sha512", SignatureAlgorithm::RsaSha512),
    ("ml-dsa-44", SignatureAlgorithm::MlDsa44),
    ("ml-dsa-65", SignatureAlgorithm::MlDsa65),
    ("ml-dsa-87", SignatureAlgorithm::MlDsa87),
];
