//! The program: what it prints, how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

fn bridge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_csms-bridge"))
}

#[test]
fn it_prints_one_line_when_it_is_ready_and_ends_with_0_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut child = bridge()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--route",
                "default=http://127.0.0.1:9/cmp",
                "--store",
                "memory",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim_end();
        let address: std::net::SocketAddr = address.parse().unwrap();
        // A connection that never says a word does not hold the end up.
        let _silent = std::net::TcpStream::connect(address).unwrap();
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let started = std::time::Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(
            started.elapsed().as_secs() < 8,
            "it waited for the silent connection"
        );
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

#[test]
fn what_is_wrong_is_said_and_the_exit_code_tells_whose_fault_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bridge.toml");
    std::fs::write(&file, "hold_pending = true\nheartbeat = 3\n").unwrap();
    let file = file.to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let route = "default=http://127.0.0.1:9/cmp";
    for (arguments, code, says) in [
        (vec!["serve"], 2, "--route default=http://HOST:PORT/PATH"),
        (vec!["serve", "--config", file], 2, "line 2"),
        (vec!["serve", "--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (vec!["serve", "--route", "default"], 2, "NAME=URL"),
        (vec!["serve", "--route", "default=ftp://x"], 2, "http://"),
        (vec!["serve", "--no-such-flag"], 2, "--no-such-flag"),
        (
            vec!["serve", "--listen", &taken, "--route", route, "--store", "memory"],
            1,
            &taken,
        ),
        (
            vec!["serve", "--route", route, "--store", "/nowhere/store"],
            1,
            "/nowhere/store",
        ),
    ] {
        let output = bridge().args(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn hash_password_prints_what_the_list_of_stations_keeps_and_never_the_password() {
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = bridge()
            .arg("hash-password")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, line, _) = run(&["--iterations", "1000"], b"a-password-of-16\n");
    assert_eq!(code, 0);
    assert!(
        line.starts_with("password = \"$pbkdf2-sha256$i=1000,l=32$") && line.ends_with("\"\n"),
        "{line}"
    );
    assert!(!line.contains("a-password"));
    let key = b"000102030405060708090a0b0c0d0e0fFFFFFFFF\n";
    assert_eq!(run(&["--hex", "--iterations", "1000"], key).0, 0);
    for (arguments, input, says) in [
        (&[][..], &b""[..], "one line"),
        (&[], b"\n", "one line"),
        (&[], b"a\nb\n", "one line"),
        (&["--hex"], b"0001", "32 to 40"),
        (&["--hex"], b"a-password-of-16-and-more-letters-xx", "32 to 40"),
        (&["--iterations", "999"], b"x", "999"),
    ] {
        let (code, line, said) = run(arguments, input);
        assert_eq!((code, line.as_str()), (2, ""));
        assert!(said.contains(says) && !said.contains("a-password"), "{said}");
    }
}

#[test]
fn a_file_of_tls_or_of_the_stations_that_cannot_be_used_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty.pem", "");
    let list = file("stations.toml", "[CS-1]\npassword = 'hunter2'\n");
    let route = "default=http://127.0.0.1:9/cmp";
    let common = [
        "serve",
        "--store",
        "memory",
        "--route",
        route,
        "--listen",
        "127.0.0.1:0",
    ];
    for (arguments, says) in [
        (
            vec!["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"],
            "/nowhere.pem: No such file",
        ),
        (
            vec!["--tls-cert", empty.as_str(), "--tls-key", empty.as_str()],
            "empty.pem: holds no certificate",
        ),
        (
            vec!["--security-profile", "1", "--stations", list.as_str()],
            "stations.toml line 2: not what `csms-bridge hash-password` prints",
        ),
        (vec!["--security-profile", "2"], "--tls-cert"),
        (vec!["--security-profile", "9"], "one of 1, 2 and 3"),
    ] {
        let output = bridge().args(common).args(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
