//! What a run came to, for scripts: `{"ok":bool,"steps":[{"name","ok","ms","detail"}]}`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// The whole run. `ok` is the exit code: every step succeeded, and there was one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether all of it succeeded.
    pub ok: bool,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// One step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// Whether it ended as it should.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What came out: of an operation its certificate, messages and traffic; of a failure `error`.
    pub detail: Map<String, Value>,
}

impl Report {
    /// Adds a step.
    pub fn push(&mut self, name: impl Into<String>, ok: bool, took: Duration, detail: Map<String, Value>) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step {
            name: name.into(),
            ok,
            ms,
            detail,
        });
        self.ok = self.steps.iter().all(|step| step.ok);
    }

    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
