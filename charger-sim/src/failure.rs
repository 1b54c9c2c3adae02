//! How a subcommand fails, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

/// Why a subcommand failed, by blame.
#[derive(Debug)]
pub enum Failure {
    /// It was carried out and did not succeed: exit code 1.
    Operation(anyhow::Error),
    /// What it was given cannot be used: exit code 2, as for a wrong command line.
    Input(anyhow::Error),
}

impl Failure {
    /// Blames what was given.
    pub fn input(error: impl Into<anyhow::Error>) -> Self {
        Self::Input(error.into())
    }

    /// Blames nobody.
    pub fn operation(error: impl Into<anyhow::Error>) -> Self {
        Self::Operation(error.into())
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Operation(_) => 1,
            Self::Input(_) => 2,
        })
    }
}

/// The error with its causes, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Operation(error) | Self::Input(error)) = self;
        write!(f, "{error:#}")
    }
}
