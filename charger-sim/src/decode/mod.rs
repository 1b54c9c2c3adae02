//! Frames, CMP messages and certificates as text for a person.

mod certificate;
mod cmp;
mod frames;
mod names;
pub mod text;

use std::fs::File;
use std::io::{Read, Write as _, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64ct::{Base64, Base64Url, Encoding as _};
use der::Decode as _;
use x509_cert::Certificate;

use crate::Failure;
pub(crate) use certificate::{crl_reason, extension_text, name};
pub(crate) use names::{algorithm, general_name, oid};
use text::{Text, printable};

/// The largest input in bytes.
pub const MAX_INPUT_BYTES: u64 = 16 << 20;

/// The arguments of `decode`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// OCPP frames (one on each line, a log is fine), or one CMP message, certificate or PKCS #10 request in DER, PEM or
    /// base64; `-` for standard input.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
}

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing but white space.
    #[error("the input is empty")]
    Empty,
    /// None of the forms.
    #[error("the input is neither OCPP frames nor DER, PEM or base64")]
    UnknownForm,
    /// Lines that look like frames and are none.
    #[error("no OCPP frame: {0}")]
    NoFrame(String),
    /// PEM that cannot be read.
    #[error("PEM block {0} is broken")]
    Pem(usize),
    /// DER of something else, or broken.
    #[error("neither a CMP message ({as_cmp}) nor a certificate ({as_certificate})")]
    UnknownDer {
        /// Why it is no CMP message.
        as_cmp: der::Error,
        /// Why it is no certificate.
        as_certificate: der::Error,
    },
}

/// Prints `args.file` as text.
///
/// # Errors
/// [`Failure::Input`] for a file that cannot be read or understood.
pub fn run(args: &Args) -> Result<(), Failure> {
    let input = read(&args.file).map_err(Failure::Input)?;
    let text = decode(&input).map_err(Failure::input)?;
    match stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::operation),
    }
}

/// The text of an input in any of the forms. Control characters of the input are never in it.
///
/// # Errors
/// See [`Error`].
pub fn decode(input: &[u8]) -> Result<String, Error> {
    let mut out = Text::default();
    match std::str::from_utf8(input).map(str::trim) {
        Ok("") => return Err(Error::Empty),
        Ok(text) if text.contains("-----BEGIN ") => write_pem(&mut out, text)?,
        Ok(text) if text.lines().any(frames::looks_like_frame) => {
            frames::write(&mut out, text).map_err(|reason| Error::NoFrame(printable(&reason)))?;
        }
        Ok(text) => match base64(text) {
            Some(der) => write_der(&mut out, &der)?,
            // DER may happen to be UTF-8.
            None if input.first() == Some(&0x30) => write_der(&mut out, input)?,
            None => return Err(Error::UnknownForm),
        },
        Err(_) if input.first() == Some(&0x30) => write_der(&mut out, input)?,
        Err(_) => return Err(Error::UnknownForm),
    }
    Ok(out.into_string())
}

/// The text of one CMP message.
///
/// # Errors
/// Where it cannot be decoded.
pub fn cmp_message(bytes: &[u8]) -> der::Result<String> {
    let mut out = Text::default();
    cmp::write(&mut out, bytes)?;
    Ok(out.into_string())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let mut bytes = Vec::new();
    source
        .take(MAX_INPUT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_INPUT_BYTES,
        "the input is above {MAX_INPUT_BYTES} bytes"
    );
    Ok(bytes)
}

fn write_der(out: &mut Text, der: &[u8]) -> Result<(), Error> {
    let Err(as_cmp) = cmp::write(out, der) else {
        return Ok(());
    };
    let Err(as_certificate) = Certificate::from_der(der) else {
        certificate::write(out, "certificate", der);
        return Ok(());
    };
    certificate::write_request(out, der).map_err(|_| Error::UnknownDer {
        as_cmp,
        as_certificate,
    })
}

/// Every block of PEM, whatever its label; what is around the blocks is for people.
fn write_pem(out: &mut Text, text: &str) -> Result<(), Error> {
    const END: &str = "-----END ";
    for (n, block) in text.split("-----BEGIN ").skip(1).enumerate() {
        let broken = || Error::Pem(n + 1);
        let (label, rest) = block.split_once("-----").ok_or_else(broken)?;
        let (body, _) = rest.split_once(END).ok_or_else(broken)?;
        if label.contains("PRIVATE KEY") {
            out.line("PEM", format_args!("{label}, not shown"));
            continue;
        }
        write_der(out, &base64(body).ok_or_else(broken)?)?;
    }
    Ok(())
}

/// Base64 in any number of lines, with either alphabet and with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    while !compact.len().is_multiple_of(4) {
        compact.push('=');
    }
    Base64::decode_vec(&compact)
        .or_else(|_| Base64Url::decode_vec(&compact))
        .ok()
        .filter(|bytes| !bytes.is_empty())
}
