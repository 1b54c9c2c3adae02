use clap::{Args, Parser, Subcommand, ValueEnum};
use cmp_message::crypto::KeyAlgorithm;
use std::{fmt, path::PathBuf, str::FromStr};
use zeroize::Zeroizing;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by SIGINT or SIGTERM
  1  something else failed, as said on stderr
  2  wrong arguments
  3  the state folder has no PKI, already has one, or is damaged
  4  the address to listen on is not available

Log lines go to stderr; RUST_LOG=debug or RUST_LOG=warn changes how many.";

/// An RA and CA for labs and tests: answers CMP (RFC 9810, RFC 9483) over HTTP and really issues certificates.
///
/// FOR LABS ONLY. Keys lie in files, and whoever has a manufacturer certificate of this lab or a shared secret gets a
/// certificate for any name that it asks for.
///
///   lab-ra init --state lab
///   lab-ra issue-idevid --state lab --serial CS-1 --out station
///   lab-ra serve --state lab --listen 127.0.0.1:8080
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a PKI: root, issuing CA, RA, manufacturer root and CA.
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
    /// POST application/pkixcmp to any path, such as /.well-known/cmp. Prints `listening on ADDRESS` when ready.
    /// Answers ir and cr (signed with a manufacturer certificate or one of this CA, or with a MAC), kur (signed with
    /// the certificate that it updates), certConf, pollReq and error. CMP errors come with HTTP status 200.
    ///
    /// Certificates and transactions are in DIR/state.sqlite. They survive the process, wherever it ends: a client
    /// polls and confirms as if there had been no restart.
    Serve(ServeArgs),
    /// List the certificates that were issued: status, serial number, subject.
    ///
    /// The status is issued (certConf is waited for), confirmed, refused, expired (no certConf in time) or revoked.
    Certificates {
        /// Folder that `init` made.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Folder that `init` made.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// Delay each certificate: answer `waiting`, then N pollReqs with a pollRep whose checkAfter is SECONDS, and the
    /// next pollReq with the certificate. With N = 0 the first pollReq gets it. Polling too early is not punished.
    #[arg(long, value_name = "N,SECONDS", value_parser = poll_after)]
    pub(crate) poll_after: Option<(u32, u32)>,
    /// What becomes of a wish for implicit confirmation: grant it, or ignore it and wait for a certConf.
    #[arg(long, value_enum, default_value_t = ImplicitConfirmArg::Grant)]
    pub(crate) implicit_confirm: ImplicitConfirmArg,
    /// A shared secret and its reference (the senderKID), for MAC protection; may be given several times.
    /// Other users of this machine can see it in the list of processes.
    #[arg(long, value_name = "REF:VALUE")]
    pub(crate) secret: Vec<SecretArg>,
    /// How long a certConf is waited for; a certificate without it is then recorded as expired.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    pub(crate) confirm_wait: u64,
    /// How long an issued certificate is valid, if the request does not ask for less.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Refuse messages whose messageTime is further off than this; by default it is not looked at.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_clock_skew: Option<u64>,
}

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

fn poll_after(text: &str) -> Result<(u32, u32), &'static str> {
    let numbers = text.split_once(',').and_then(|(polls, check_after_s)| {
        let check_after_s = check_after_s.parse::<u32>().ok().filter(|s| *s > 0);
        Some((polls.parse().ok()?, check_after_s?))
    });
    numbers.ok_or("a delay is written N,SECONDS, with SECONDS of at least 1")
}
