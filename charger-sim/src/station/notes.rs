//! What the agent reports while it works, in words.

use charger_agent::{Report, client};

use crate::decode::text::printable;

/// The line for a report that people may want to know of. Texts of the CSMS side and of the RA are in it: nothing of them
/// steers a terminal.
pub(super) fn line(report: &Report) -> Option<String> {
    let text = match report {
        Report::Transfer(error) => format!("no answer: {error}"),
        Report::Transaction(client::Report::Waiting {
            check_after_s,
            reason,
        }) => {
            let reason = reason.join(", ");
            format!("the RA needs time: asking again in {check_after_s} s {reason}")
        }
        Report::Transaction(client::Report::Suspended { check_after_s }) => {
            format!("the RA needs more than a day: asking again in {check_after_s} s")
        }
        Report::Transaction(client::Report::IncompleteChain) => {
            "note: no chain from the certificate to a trust anchor came with it".into()
        }
        Report::Transaction(client::Report::Modified) => {
            "note: the RA granted another subject than was asked for".into()
        }
        Report::Transaction(client::Report::CaPubsIgnored { count }) => {
            format!("note: {count} new trust anchors came from somebody who may not hand them out")
        }
        Report::Transaction(client::Report::Refusing { status }) => {
            format!("refusing the certificate: {status}")
        }
        Report::Transaction(client::Report::NewTransaction { attempt }) => {
            format!("asking again in a new transaction, attempt {attempt}")
        }
        _ => return None,
    };
    Some(format!("  {}", printable(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_the_ra_does_not_steer_the_terminal() {
        let reason = vec!["soon\u{1b}[2J\r\n\u{202e}enroll: done".to_owned()];
        let waiting = client::Report::Waiting {
            check_after_s: 5,
            reason,
        };
        let line = line(&Report::Transaction(waiting)).unwrap();
        assert!(line.contains("in 5 s soon"), "{line}");
        assert!(
            line.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{line:?}"
        );
    }
}
