use clap::{Args, Parser, Subcommand, ValueEnum};
use cmp_message::{BodyType, crypto::KeyAlgorithm};
use lab_ra::{ConfigError, RevocationReason};
use std::{fmt, path::PathBuf, str::FromStr};
use x509_cert::name::Name;
use zeroize::Zeroizing;

use crate::forward::{ForwardArgs, RoleArg};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by SIGINT or SIGTERM
  1  something else failed, as said on stderr
  2  wrong arguments, or a wrong configuration file
  3  the state folder has no PKI, already has one, or is damaged
  4  the address to listen on is not available
  5  there is no such certificate or request, or it is in no state for that

Log lines go to stderr; RUST_LOG=debug or RUST_LOG=warn changes how many.";

/// An RA and CA for labs and tests: answers CMP (RFC 9810, RFC 9483) over HTTP and really issues certificates.
///
/// FOR LABS ONLY. Keys lie in files, and whoever has a manufacturer certificate of this lab or a shared secret gets a
/// certificate for any name that it asks for.
///
///   lab-ra init --state lab
///   lab-ra issue-idevid --state lab --serial CS-1 --out station
///   lab-ra serve --state lab --listen 127.0.0.1:8080
///
/// All other commands work while the server runs; it sees what they did with its next message.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a PKI: root, issuing CA, RA, key generation authority, manufacturer root and CA.
    ///
    /// Afterwards DIR/root.pem is the trust anchor of the stations, DIR/manufacturer-root.pem that of manufacturer
    /// certificates. An existing PKI is never overwritten.
    Init {
        /// Folder for keys (0600), certificates and what will be issued.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The type of all keys: p256, p384, p521, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87.
        #[arg(long, value_name = "TYPE", default_value_t = KeyAlgorithm::P256)]
        profile: KeyAlgorithm,
    },
    /// Make a manufacturer certificate (IDevID) and its key for a station.
    ///
    /// Writes DIR2/cert.pem, DIR2/key.pem (0600) and DIR2/chain.pem, which has the certificates between the two and
    /// the manufacturer root, without that root. CN and serialNumber of the subject are SN.
    IssueIdevid {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Serial number of the station: letters, digits and ' ( ) + , - . / : = ? of at most 64 characters.
        #[arg(long, value_name = "SN")]
        serial: String,
        /// Folder for the three files; made if needed.
        #[arg(long, value_name = "DIR2")]
        out: PathBuf,
    },
    /// Answer CMP over HTTP until SIGINT or SIGTERM.
    ///
    /// POST application/pkixcmp to /.well-known/cmp, with /p/PROFILE and an operation such as /initialization behind it if
    /// wanted; `/` and `/pkix/` do too. Prints `listening on ADDRESS` when ready. CMP errors come with HTTP status 200.
    ///
    /// Answers ir, cr, p10cr and kur, certConf, rr, genm (caCerts, rootCaCert, certReqTemplate, crlStatusList, currentCRL),
    /// pollReq, error, and nested from an RA. An ir or a p10cr is signed with a manufacturer certificate or one of this CA, or
    /// has a MAC; a cr is signed with a certificate of this CA, or has a MAC; a kur is signed with the certificate that it
    /// updates; an rr with the certificate that it revokes, or by an RA.
    ///
    /// Certificates and transactions are in DIR/state.sqlite. They survive the process, wherever it ends: a client
    /// polls and confirms as if there had been no restart.
    ///
    /// With --role ra it is an RA in front of another CMP server. DIR is then a folder that `issue --ra` made. Requests are
    /// checked as by a CA (protection, proof of possession, profile), then passed on; a request that fails is answered
    /// here. With --approve person they wait here for that. Nested messages of an RA in front are taken. A revoked signer
    /// is noticed with --crl. Options and keys of the configuration that only a CA can obey are refused, and the other way
    /// round.
    Serve(ServeArgs),
    /// Answer the files of an RA: each message in DIR2/outbox into DIR2/inbox, in order, once.
    ///
    /// Files are removed when they are answered; those of no use go to DIR2/rejected, each with its reason. Prints how many
    /// were answered.
    Spool(SpoolArgs),
    /// List the certificates that were issued: status, serial number, subject.
    ///
    /// The status is issued (certConf is waited for), confirmed, refused, expired (no certConf in time) or revoked, then with
    /// the reason.
    Certificates {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Make a certificate of the issuing CA and its key, without a request.
    ///
    /// Writes DIR2/cert.pem, DIR2/key.pem (0600) and DIR2/chain.pem. The certificate counts as confirmed.
    Issue {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The subject, such as CN=CS-1,O=Operator.
        #[arg(long, value_name = "NAME")]
        subject: Name,
        /// Folder for the three files; made if needed.
        #[arg(long, value_name = "DIR2")]
        out: PathBuf,
        /// For an RA: with the extended key usage cmcRA, by which it speaks for others.
        #[arg(long)]
        ra: bool,
    },
    /// Revoke a certificate.
    Revoke {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Its serial number, as `certificates` shows it.
        #[arg(long, value_name = "HEX", value_parser = hex)]
        serial: Serial,
        /// The name of a CRLReason. certificateHold revokes for the time being, removeFromCRL ends that.
        #[arg(long, value_name = "REASON", default_value = "unspecified")]
        reason: RevocationReason,
    },
    /// Write the present CRL of the issuing CA, in PEM.
    Crl {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Of the issuing CA of this generation; by default of the present one.
        #[arg(long, value_name = "N")]
        generation: Option<u32>,
    },
    /// Make a new root of the same name, link certificates between it and the old one, and a new issuing CA and what is under it.
    ///
    /// They are in a folder DIR/2, the next time DIR/3: root.pem, root-new-with-old.pem, root-old-with-new.pem and others.
    /// Certificates of the old CA stay accepted. Who has the old root gets the new one by a genm with rootCaCert; its
    /// certificate also leads from the new RA to the old root, so that nobody has to hurry.
    Rollover {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// List the requests that wait for a person: number, seconds since when, body, subject.
    Pending {
        /// Folder that `init` made, or that of an RA.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Grant a request that waits: its requester gets the certificate when it polls.
    Approve {
        /// Folder that `init` made, or that of an RA.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Its number, as `pending` shows it.
        #[arg(value_name = "ID")]
        number: u64,
    },
    /// Refuse a request that waits: its requester is told so when it polls.
    Deny {
        /// Folder that `init` made, or that of an RA.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Its number, as `pending` shows it.
        #[arg(value_name = "ID")]
        number: u64,
        /// What the requester is told.
        #[arg(long, value_name = "TEXT", default_value = "the request was denied")]
        why: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Folder that `init` made, or `issue --ra` for --role ra.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// What to do with requests.
    #[arg(long, value_enum, default_value_t = RoleArg::Ca)]
    pub(crate) role: RoleArg,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) forward: ForwardArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SpoolArgs {
    /// Folder that `init` made.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The folder of `serve --role ra --upstream spool:DIR2`, or a copy of it.
    #[arg(long, value_name = "DIR2")]
    pub(crate) spool: PathBuf,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// How requests are answered.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// A configuration file in TOML, for all that options cannot say: profiles, algorithms, headers, CRLs.
    /// Options go before it. The file lab-ra.toml of the sources has every key with its explanation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Delay answers: `waiting`, then N pollReqs with a pollRep whose checkAfter is SECONDS, and the next pollReq with the
    /// answer. With N = 0 the first pollReq gets it. Polling too early is not punished.
    #[arg(long, value_name = "N,SECONDS", value_parser = poll_after)]
    pub(crate) poll_after: Option<(u32, u32)>,
    /// Which messages --poll-after delays: ir, cr, p10cr, kur, rr, genm, certConf, with commas between them.
    /// [default: ir,cr,p10cr,kur]
    #[arg(long, value_name = "BODIES", value_delimiter = ',', value_parser = delayed_body)]
    pub(crate) delay: Vec<BodyType>,
    /// Who decides on requests for certificates: nobody, or a person with `pending`, `approve` and `deny`; their
    /// requesters poll until then. [default: auto]
    #[arg(long, value_enum)]
    pub(crate) approve: Option<ApproveArg>,
    /// What becomes of a wish for implicit confirmation: grant it, or ignore it and wait for a certConf.
    /// [default: grant]
    #[arg(long, value_enum)]
    pub(crate) implicit_confirm: Option<ImplicitConfirmArg>,
    /// Whether keys are made for those who send a request without one, and delivered with the certificate (RFC 9483
    /// §4.1.6): to whoever protects the request with a secret, or with a certificate for key agreement or key
    /// encipherment. With --role ra: whether such requests are passed on. [default: refuse]
    #[arg(long, value_enum)]
    pub(crate) keygen: Option<KeyGenerationArg>,
    /// A shared secret and its reference (the senderKID), for MAC protection; may be given several times.
    /// Other users of this machine can see it in the list of processes; the configuration file keeps it from them.
    #[arg(long, value_name = "REF:VALUE")]
    pub(crate) secret: Vec<SecretArg>,
    /// A PEM file with CAs of another manufacturer, whose certificates protect an ir or a p10cr as those of this lab's do;
    /// may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) manufacturer: Vec<PathBuf>,
    /// A PEM file with RAs, or CAs of RAs, of elsewhere. With the extended key usage cmcRA they ask in the name of others, say
    /// raVerified, revoke for others and put their protection around messages of others; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted_ra: Vec<PathBuf>,
    /// Make a first certificate with its key into DIR, as `issue` does, for a client that is to begin with one; nothing is
    /// made where there is one already.
    #[arg(long, value_name = "DIR", requires = "initial_subject")]
    pub(crate) initial: Option<PathBuf>,
    /// The subject of that certificate, such as CN=CS-1,O=Operator.
    #[arg(long, value_name = "NAME", requires = "initial")]
    pub(crate) initial_subject: Option<Name>,
    /// How long a certConf is waited for; a certificate without it is then recorded as expired, and is on the CRL.
    /// [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    pub(crate) confirm_wait: Option<u64>,
    /// How long an issued certificate is valid, if neither its profile nor the request says less. [default: 365]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: Option<u32>,
    /// Refuse messages whose messageTime is further off than this; by default it is not looked at.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_clock_skew: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ApproveArg {
    /// Every request that passes the checks is granted.
    Auto,
    /// A person decides.
    Person,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyGenerationArg {
    /// Everybody makes their own.
    Refuse,
    /// Keys are made.
    Allow,
}

impl PolicyArgs {
    /// The first option that is given and that only a CA can obey.
    pub(crate) fn given_for_ca(&self) -> Option<&'static str> {
        let all = [
            ("--poll-after", self.poll_after.is_some()),
            ("--delay", !self.delay.is_empty()),
            ("--implicit-confirm", self.implicit_confirm.is_some()),
            ("--confirm-wait", self.confirm_wait.is_some()),
            ("--days", self.days.is_some()),
            ("--initial", self.initial.is_some()),
        ];
        all.into_iter()
            .find_map(|(name, is_given)| is_given.then_some(name))
    }
}

/// A serial number: the content of its INTEGER.
#[derive(Clone, Debug)]
pub(crate) struct Serial(pub(crate) Vec<u8>);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ImplicitConfirmArg {
    /// Say yes.
    Grant,
    /// Wait for certConf anyway.
    Ignore,
}

/// A shared secret as it is given on the command line; wiped when dropped, never shown.
#[derive(Clone)]
pub(crate) struct SecretArg {
    pub(crate) reference: String,
    pub(crate) value: Zeroizing<String>,
}

impl FromStr for SecretArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((reference, value)) if !reference.is_empty() && !value.is_empty() => Ok(Self {
                reference: reference.into(),
                value: Zeroizing::new(value.into()),
            }),
            _ => Err("a secret is written REF:VALUE"),
        }
    }
}

impl fmt::Debug for SecretArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretArg({}:…)", self.reference)
    }
}

fn delayed_body(name: &str) -> Result<BodyType, ConfigError> {
    lab_ra::body_type(name)
}

fn hex(text: &str) -> Result<Serial, &'static str> {
    let text = text.replace(':', "");
    let is_even = !text.is_empty() && text.len().is_multiple_of(2);
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
    let bytes = bytes.collect::<Option<Vec<_>>>().filter(|_| is_even);
    bytes
        .map(Serial)
        .ok_or("a serial number has an even number of hexadecimal digits")
}

fn poll_after(text: &str) -> Result<(u32, u32), &'static str> {
    let numbers = text.split_once(',').and_then(|(polls, check_after_s)| {
        let check_after_s = check_after_s.parse::<u32>().ok();
        let check_after_s = check_after_s.filter(|s| (1..=31_536_000).contains(s));
        Some((polls.parse().ok()?, check_after_s?))
    });
    numbers.ok_or("a delay is written N,SECONDS, with SECONDS from 1 to 31536000")
}
