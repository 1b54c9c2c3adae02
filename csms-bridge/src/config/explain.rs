//! What is wrong with a configuration file: all of it, each with its line and a cure.

use std::{fmt, fs, path::Path};

use super::{Config, ConfigError};
use crate::{SecretFile, access::Access, listen, sidecar::Sidecar};

/// Problems that are told at most.
const MAX_PROBLEMS: usize = 50;
/// How alike two names are that may be the same with a slip, of 1.
const ALIKE: f64 = 0.8;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Where, counted from 1, if it is somewhere.
    pub line: Option<usize>,
    /// What, and what to do.
    pub text: String,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.text),
            None => write!(f, " {}", self.text),
        }
    }
}

/// Looks at a configuration file and at the files that it names, for all that can be found without serving.
///
/// # Errors
/// [`ConfigError::Read`] if it cannot be read.
pub fn explain(path: &Path) -> Result<Vec<Explained>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.display().to_string(),
        source,
    })?;
    let (config, mut found) = parse(&text);
    let Some(config) = config else {
        return Ok(found);
    };
    // What could not be read may be just what seems to be missing.
    let is_whole = found.is_empty();
    let problems = config.problems().into_iter();
    let problems = problems
        .filter(|error| is_whole || !matches!(error, ConfigError::NoRoute | ConfigError::Missing { .. }));
    found.extend(problems.map(|error| Explained {
        line: error.key().and_then(|key| line_of(&text, &key)),
        text: error.to_string(),
    }));
    if is_whole {
        found.extend(files(&config, &text));
    }
    found.sort_by_key(|problem| problem.line);
    Ok(found)
}

/// Parses again and again, each time without what was wrong the time before.
fn parse(text: &str) -> (Option<Config>, Vec<Explained>) {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    while found.len() < MAX_PROBLEMS {
        let error = match toml::from_str(&lines.join("\n")) {
            Ok(config) => return (Some(config), found),
            Err(error) => error,
        };
        let joined = lines.join("\n");
        let span = error.span().unwrap_or_default();
        let number = |at: usize| joined.get(..at).unwrap_or(&joined).matches('\n').count();
        let (first, last) = (
            number(span.start),
            number(span.end.saturating_sub(1).max(span.start)),
        );
        found.push(Explained {
            line: Some(first + 1),
            text: reword(error.message()),
        });
        if !leave_out(&mut lines, first, last) {
            break;
        }
    }
    (None, found)
}

/// Empties these lines, and for the head of a table all of the table; `false` if they are empty already.
fn leave_out(lines: &mut [&str], first: usize, last: usize) -> bool {
    let is_head = |line: &str| line.trim_start().starts_with('[');
    let takes_table = lines.get(first).is_some_and(|line| is_head(line));
    let mut changed = false;
    for (number, line) in lines.iter_mut().enumerate().skip(first) {
        let in_table = takes_table && (number == first || !is_head(line));
        if number > last && !in_table {
            break;
        }
        changed |= !line.is_empty();
        *line = "";
    }
    changed
}

/// An unknown key with the one that was probably meant, in place of all that there are.
fn reword(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(true), Some((key, others))) = (Some(message.starts_with("unknown field")), names.split_first())
    else {
        return message.into();
    };
    let likeness = |other: &&&str| {
        let contains = other.contains(*key) || key.contains(**other);
        strsim::jaro_winkler(key, other).max(if contains { ALIKE } else { 0.0 })
    };
    let best = others.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= ALIKE) {
        Some(best) => format!("there is no key `{key}` here; did you mean `{best}`?"),
        None => format!(
            "there is no key `{key}` here: take it away; the keys are {}",
            others.join(", ")
        ),
    }
}

/// The line where a key is set, counted from 1. The key has as many of its tables before it as are known.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut table = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(head) = line.strip_prefix('[') {
            table = head.split(']').next().unwrap_or_default().trim().to_owned() + ".";
        } else if let Some((name, _)) = line.split_once('=') {
            let whole = format!("{table}{}", name.trim());
            if whole == key
                || whole
                    .strip_suffix(key)
                    .is_some_and(|tables| tables.ends_with('.'))
            {
                return Some(number + 1);
            }
        }
    }
    None
}

/// What is wrong with files that the configuration names.
fn files(config: &Config, text: &str) -> Vec<Explained> {
    let mut found = Vec::new();
    let mut note = |key: &str, error: String| {
        found.push(Explained {
            line: line_of(text, key),
            text: error,
        });
    };
    if let Err(error) = Access::load(&config.access) {
        note("access.stations", error.to_string());
    }
    for (name, listener) in config.each_listener() {
        if let Err(error) = listen::check_files(&name, &listener) {
            note("cert", error.to_string());
        }
    }
    if let Some(Err(error)) = config.admin.token_file.as_deref().map(SecretFile::load) {
        note("admin.token_file", format!("admin.token_file: {error}"));
    }
    if let Err(error) = Sidecar::load(config) {
        note("sidecar.webhook", error.to_string());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bridge.toml");
        fs::write(&path, text).unwrap();
        let found = explain(&path).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_problem_has_its_line_and_a_cure() {
        let found = explained(
            "mode = \"proxi\"\nlisten = \"127.0.0.1:0\"\nheartbeat_interval = 3\nunit_bytes = 100\n\
             pending_do = \"explode\"\n[stroe]\nfile = \"x\"\n[routes.default]\nurls = [\"ftp://x\"]\n\
             max_concurrent = 0\n[admin]\nlisten = \"192.0.2.1:9001\"\n",
        );
        for (line, says) in [
            ("1: ", "unknown variant `proxi`"),
            ("3: ", "did you mean `heartbeat_interval_s`?"),
            ("4: ", "unit_bytes = 100: must be 512 to"),
            ("5: ", "pending_do = \"explode\": must be one of enroll"),
            ("6: ", "did you mean `store`?"),
            ("9: ", "not an http:// or https:// URL"),
            ("12: ", "admin.token_file"),
        ] {
            let is_there = found
                .iter()
                .any(|problem| problem.starts_with(line) && problem.contains(says));
            assert!(is_there, "{line}{says} is not in {found:#?}");
        }
        assert_eq!(found.len(), 7, "{found:#?}");
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        let found =
            explained("mode = standalone\n[routes.default]\nurls = [\"http://x/\"\nmax_concurrent = 1\n");
        assert!(found[0].starts_with("1: "), "{found:#?}");
        assert!(found.len() > 1, "{found:#?}");
        assert!(explained("").iter().any(|problem| problem.contains("no route")));
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_line_that_names_them() {
        let found = explained(
            "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"/nowhere/token\"\n[routes.default]\nurls = [\"http://x/\"]\n",
        );
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("3: admin.token_file: /nowhere/token"),
            "{found:#?}"
        );
    }

    #[test]
    fn nothing_is_wrong_with_the_sample_and_the_configuration_of_the_package() {
        for file in ["csms-bridge.sample.toml", "../packaging/csms-bridge.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            assert_eq!(explain(&path).unwrap(), [], "{file}");
        }
    }
}
