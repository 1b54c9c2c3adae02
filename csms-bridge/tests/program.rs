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
