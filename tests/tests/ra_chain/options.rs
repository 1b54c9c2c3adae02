//! Options and keys that cannot be.

use super::*;

#[test]
fn options_and_keys_of_the_other_role_are_refused_by_name() {
    let lab = LabRa::init();
    let depot = lab.issue_ra("Depot");
    let of_ca: [&[&str]; 6] = [
        &["--poll-after", "1,1"],
        &["--delay", "ir"],
        &["--implicit-confirm", "ignore"],
        &["--confirm-wait", "9"],
        &["--days", "9"],
        &["--initial", "x", "--initial-subject", "CN=x"],
    ];
    for options in of_ca {
        let ra = lab.serve_in_front(&depot, "http://127.0.0.1:9/", options);
        let text = format!("{} means nothing with --role ra", options[0]);
        let _ = ra.finish().failure(2, &text);
    }
    let rules = lab.write("rules.toml", "confirm_wait_s = 9");
    let ra = lab.serve_in_front(&depot, "http://127.0.0.1:9/", &["--config", &rules]);
    let _ = ra
        .finish()
        .failure(2, "confirm_wait_s means nothing with --role ra");
    let of_ra: [&[&str]; 8] = [
        &["--upstream", "http://127.0.0.1:9/"],
        &["--forward", "nested"],
        &["--batch", "3,1"],
        &["--organization", "Operator"],
        &["--crl", "x.crl"],
        &["--check-after", "1"],
        &["--upstream-timeout", "1"],
        &["--keep", "1"],
    ];
    for options in of_ra {
        let text = format!("{} means nothing with --role ca", options[0]);
        let _ = lab.serve(options).finish().failure(2, &text);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let lab = LabRa::init();
    let folder = lab.issue_ra("Depot");
    let cases: [(&[&str], &str); 3] = [
        (&["--batch", "3,1"], "--batch needs --forward nested"),
        (
            &["--organization", "Operator"],
            "--organization needs --forward ra-verified",
        ),
        (&["--forward", "nested", "--batch", "1,1"], "N from 2 to 100"),
    ];
    for (options, text) in cases {
        let ra = lab.serve_in_front(&folder, "http://127.0.0.1:9/", options);
        let _ = ra.finish().failure(2, text);
    }
    let trust = lab.file("root.pem");
    let ways: [(&str, &[&str], &str); 5] = [
        ("https://127.0.0.1/", &[], "https needs trust anchors"),
        (
            "http://127.0.0.1/",
            &["--upstream-trust", &trust],
            "the URL should be https",
        ),
        ("spool:x", &["--upstream-trust", &trust], "an upstream with https"),
        ("ftp://127.0.0.1/", &[], "http[s]://HOST[:PORT][/PATH]"),
        (
            "https://127.0.0.1/",
            &["--upstream-trust", "none.pem"],
            "none.pem",
        ),
    ];
    for (upstream, options, text) in ways {
        let ra = lab.serve_in_front(&folder, upstream, options);
        let _ = ra.finish().failure(2, text);
    }
}
