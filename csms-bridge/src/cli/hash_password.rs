//! `csms-bridge hash-password`.

use std::io::Read as _;

use anyhow::{Context, ensure};
use csms_bridge::{ITERATIONS, PasswordVerifier, parse_authorization_key};
use zeroize::Zeroizing;

/// A password longer than this is a mistake: OCPP's have at most 64 characters.
const MAX_INPUT_BYTES: u64 = 1_024;

/// Reads one password and prints `password = "…"`, a line for the station's table. The password itself is not kept.
#[derive(clap::Args)]
pub(crate) struct HashPassword {
    /// The input is hexadecimal, 16 to 20 bytes: the AuthorizationKey of OCPP 1.6, which the station sends in binary.
    #[arg(long)]
    hex: bool,
    /// Rounds of PBKDF2. More protect a guessable password if the list of stations leaks, and cost the bridge time at each
    /// first connection of a station: about 0.2 s for 1,000,000.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(i64::from(*ITERATIONS.start())..=i64::from(*ITERATIONS.end())))]
    iterations: u32,
}

impl HashPassword {
    /// Reads standard input, writes standard output.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut input = Zeroizing::new(Vec::with_capacity(2 * MAX_INPUT_BYTES as usize));
        let mut stdin = std::io::stdin().lock().take(MAX_INPUT_BYTES + 1);
        stdin.read_to_end(&mut input).context("reading the password")?;
        let line = input.strip_suffix(b"\n").unwrap_or(&input);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        ensure!(
            !line.is_empty() && line.len() as u64 <= MAX_INPUT_BYTES && !line.contains(&b'\n'),
            "standard input is not one line with a password"
        );
        let password = match self.hex {
            true => std::str::from_utf8(line)
                .ok()
                .and_then(parse_authorization_key)
                .context("with --hex, a password is 32 to 40 hexadecimal digits")?,
            false => Zeroizing::new(line.to_vec()),
        };
        let verifier = PasswordVerifier::new(&password, self.iterations).context("making a salt")?;
        println!("password = \"{verifier}\"");
        Ok(())
    }
}
