//! What the agent reports while it works, in words.

use charger_agent::{Report, client};

/// The line for a report that people may want to know of.
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
    Some(format!("  {text}"))
}
