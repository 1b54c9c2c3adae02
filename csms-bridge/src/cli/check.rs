//! `check`: what is wrong with a configuration file.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use csms_bridge::config::explain;

#[derive(Args)]
pub(crate) struct Check {
    /// The file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Check {
    /// 0: nothing was found; 2: it cannot be used as it is.
    pub(crate) fn run(&self) -> ExitCode {
        let path = self.config.display();
        match explain(&self.config) {
            Ok(problems) if problems.is_empty() => {
                println!("{path}: nothing wrong was found");
                ExitCode::SUCCESS
            }
            Ok(problems) => {
                problems.iter().for_each(|problem| eprintln!("{path}:{problem}"));
                ExitCode::from(2)
            }
            Err(error) => {
                eprintln!("csms-bridge: {error}");
                ExitCode::from(2)
            }
        }
    }
}
