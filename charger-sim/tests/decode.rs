//! Text of messages captured from OpenSSL, of frames, and of input that is none of both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64ct::{Base64, Encoding as _};
use charger_sim::decode::{Error, decode};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(folder("../tests/fixtures/openssl-3.0").join(name)).unwrap()
}

/// Compares with `tests/decoded/NAME.txt`; with `UPDATE_DECODED` set, writes it.
fn assert_text(name: &str, input: &[u8]) {
    let text = decode(input).unwrap();
    let path = folder("tests/decoded").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_DECODED").is_some() {
        fs::create_dir_all(folder("tests/decoded")).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{name}");
}

fn run(argument: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_charger-sim"))
        .args(["decode", argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn frames(message: &[u8], piece: usize) -> String {
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    let mut lines = String::new();
    let pieces: Vec<_> = message.chunks(piece).collect();
    for (n, chunk) in pieces.iter().enumerate() {
        let (off, data) = (n * piece, Base64::encode_string(chunk));
        let data = format!(
            r#"{{"id":"{id}","route":"default","len":{},"off":{off},"data":"{data}"}}"#,
            message.len()
        );
        let call = serde_json::json!([2, format!("m{n}"), "DataTransfer", {
            "vendorId": "io.github.ocpp-cmp", "messageId": "CmpSend", "data": data
        }]);
        let next = if n + 1 < pieces.len() {
            format!(r#"{{"next":{}}}"#, off + chunk.len())
        } else {
            r#"{"wait":5}"#.into()
        };
        let result = serde_json::json!([3, format!("m{n}"), {"status": "Accepted", "data": next}]);
        lines += &format!("2026-01-01T00:00:00Z [info] CP1 > {call}\n{result}\n");
    }
    lines
}

#[test]
fn every_captured_message_becomes_text() {
    let mut count = 0;
    for entry in fs::read_dir(folder("../tests/fixtures/openssl-3.0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "der") {
            let text = decode(&fs::read(&path).unwrap()).unwrap();
            assert!(text.starts_with("CMP message "), "{}: {text}", path.display());
            assert!(text.contains("transactionID"), "{}", path.display());
            assert!(!text.contains("unreadable"), "{}: {text}", path.display());
            count += 1;
        }
    }
    assert!(count >= 80, "only {count} fixtures");
}

#[test]
fn the_text_says_what_is_in_the_message() {
    for name in [
        "ir_sig.1.req",
        "ir_sig.1.rsp",
        "ir_sig.2.req",
        "ir_pbm.1.req",
        "kur.1.req",
        "p10cr.1.req",
        "rr.1.req",
        "rr.1.rsp",
        "poll.2.rsp",
        "reject_ip.1.rsp",
        "error_send.1.req",
        "genm_caCerts.1.rsp",
    ] {
        assert_text(name, &fixture(&format!("{name}.der")));
    }
}

#[test]
fn certificates_become_text() {
    let mut count = 0;
    for entry in fs::read_dir(folder("../tests/fixtures/openssl-3.0/pki")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            let text = decode(&fs::read(&path).unwrap()).unwrap();
            assert!(text.contains("subject ") && text.contains("validity "), "{text}");
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} certificates");
}

#[test]
fn pem_and_base64_say_the_same_as_der() {
    let der = fixture("kur.1.req.der");
    let text = decode(&der).unwrap();
    let base64 = Base64::encode_string(&der);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\r\n");
    assert_eq!(decode(lines.as_bytes()).unwrap(), text);
    assert_eq!(
        decode(
            base64
                .replace('+', "-")
                .replace('/', "_")
                .trim_end_matches('=')
                .as_bytes()
        )
        .unwrap(),
        text
    );
    let pem = format!("A note.\n-----BEGIN ANYTHING-----\n{lines}\n-----END ANYTHING-----\n");
    assert_eq!(decode(pem.as_bytes()).unwrap(), text);
    assert_eq!(decode(format!("{pem}{pem}").as_bytes()).unwrap(), text.repeat(2));
}

#[test]
fn a_private_key_is_not_shown() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
    assert_eq!(
        decode(pem.as_bytes()).unwrap(),
        "PEM              PRIVATE KEY, not shown\n"
    );
}

#[test]
fn frames_show_each_piece_and_then_the_message() {
    let message = fixture("ir_pbm.1.req.der");
    assert_text("frames", frames(&message, 150).as_bytes());
    let output = run("-", frames(&message, 150).as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("CMP message ir,")
    );
}

#[test]
fn control_characters_of_the_peer_do_not_reach_the_terminal() {
    let frame =
        "[2,\"1\",\"Evil\\u001b[2J\",{\"x\":\"\u{9b}31m\u{7f}\"}]\n[4,\"1\",\"a\u{9b}31m\",\"\\u202eb\"]";
    let output = run("-", frame.as_bytes());
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("Evil\\u{1b}"), "{text}");
    assert!(
        text.chars()
            .all(|c| (c == '\n' || !c.is_control()) && c != '\u{202e}'),
        "{text:?}"
    );
}

#[test]
fn input_that_cannot_be_read_is_named_and_ends_with_2() {
    assert!(matches!(decode(b" \n"), Err(Error::Empty)));
    assert!(matches!(decode("grüß gott".as_bytes()), Err(Error::UnknownForm)));
    assert!(matches!(decode(b"\xff\xfe\x00"), Err(Error::UnknownForm)));
    assert!(matches!(decode(b"[2,\"a\",{}]"), Err(Error::NoFrame(_))));
    assert!(matches!(decode(b"-----BEGIN X-----\nMAA"), Err(Error::Pem(1))));
    assert!(matches!(
        decode(b"\x30\x03\x02\x01"),
        Err(Error::UnknownDer { .. })
    ));
    let mut cut = fixture("kur.1.req.der");
    cut.truncate(200);
    for input in [&b"grr"[..], b"", &cut, b"[2,]"] {
        let output = run("-", input);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.starts_with(b"charger-sim: "),
            "{output:?}"
        );
    }
    assert_eq!(run("/does/not/exist", b"").status.code(), Some(2));
}

#[test]
fn broken_messages_never_panic() {
    for name in ["ir_sig.1.rsp.der", "rr.1.rsp.der", "genm_caCerts.1.rsp.der"] {
        let whole = fixture(name);
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x55;
            let _ = decode(&broken);
            let _ = decode(&whole[..at]);
        }
    }
}
