//! The bridges as processes, and what they use.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64ct::{Base64, Encoding as _};
use clap::ValueEnum;
use cmp_http::Client;
use ocpp_rpc::{
    Frame,
    ws::{Handshake, ServerOptions},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{
    Args, Mode, REQUEST_BYTES, RESPONSE_BYTES, message,
    ra::{StandIn, client},
};
use crate::link::{Security, SecurityArgs};

/// What the bridge is held against.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Peer {
    /// A bridge of the obvious kind: websockets and aiohttp, nothing kept (tests/peers/obvious_bridge.py).
    Python,
    /// nginx, which only passes on the same WebSocket and HTTP bytes.
    Nginx,
}

/// A process that stands between stations and the RA.
pub(super) struct Bridge {
    pub(super) name: &'static str,
    /// Where stations connect.
    pub(super) url: String,
    /// With what.
    pub(super) security: Security,
    child: Child,
    _folder: Option<TempDir>,
}

impl Bridge {
    /// `csms-bridge` from beside this program.
    pub(super) async fn ours(ra: &StandIn, args: &Args) -> anyhow::Result<Self> {
        let program = env::current_exe()?.with_file_name("csms-bridge");
        ensure!(
            program.exists(),
            "{} is not there: build it with cargo build --release -p csms-bridge",
            program.display()
        );
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("bridge.toml");
        // A station here calls more often than any should.
        fs::write(&config, "max_calls_per_minute = 1000000\n")?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&config);
        command.args(["--listen", "127.0.0.1:0", "--route"]);
        command.arg(format!("default={}", ra.url));
        command.arg("--store").arg(&args.store).env("RUST_LOG", "warn");
        if args.mode == Mode::Proxy {
            let csms = TcpListener::bind("127.0.0.1:0").await?;
            let upstream = format!("ws://{}", csms.local_addr()?);
            command.args(["--mode", "proxy", "--upstream", &upstream]);
            tokio::spawn(serve_behind(csms, Arc::new(client(&ra.url)?)));
        }
        if !args.tls {
            return Self::listening("csms-bridge", command);
        }
        let folder = tempfile::tempdir()?;
        let (certificate, key) = server_certificate(folder.path())?;
        command
            .arg("--tls-cert")
            .arg(&certificate)
            .arg("--tls-key")
            .arg(&key);
        let mut bridge = Self::listening("csms-bridge", command)?;
        bridge.url = bridge.url.replace("ws://", "wss://");
        bridge.security = SecurityArgs {
            tls_trust: Some(certificate),
            ..SecurityArgs::default()
        }
        .read()?;
        bridge._folder = Some(folder);
        Ok(bridge)
    }

    pub(super) async fn peer(peer: Peer, ra: &StandIn, args: &Args) -> anyhow::Result<Self> {
        match peer {
            Peer::Python => {
                let mut command = Command::new(&args.python);
                command.args(["tests/peers/obvious_bridge.py", &ra.url]);
                Self::listening("python", command)
            }
            Peer::Nginx => Self::nginx(ra).await,
        }
    }

    /// A program that prints `listening on ADDRESS`.
    fn listening(name: &'static str, mut command: Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| Path::new(&program).display().to_string())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Some(address) = line.strip_prefix("listening on ") else {
            bail!("{name} did not start: {line}");
        };
        Ok(Self {
            name,
            url: format!("ws://{}/ocpp", address.trim_end()),
            security: Security::default(),
            child,
            _folder: None,
        })
    }

    /// nginx in front of a server here that takes the stations and asks the RA through nginx.
    async fn nginx(ra: &StandIn) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let behind = TcpListener::bind("127.0.0.1:0").await?;
        let port = free_port()?;
        let config = nginx_config(folder.path(), port, behind.local_addr()?, &ra.url)?;
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config)?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .spawn()
            .context("nginx (Debian package nginx-light)")?;
        let through = Arc::new(client(&format!("http://127.0.0.1:{port}/cmp"))?);
        tokio::spawn(serve_behind(behind, through));
        let bridge = Self {
            name: "nginx",
            url: format!("ws://127.0.0.1:{port}/ocpp"),
            security: Security::default(),
            child,
            _folder: Some(folder),
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(bridge);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("nginx did not start");
    }

    /// CPU time so far: fields 14 and 15 of proc(5)'s stat, in 1/100 s.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let path = self.proc("stat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory.
    pub(super) fn memory_kib(&self) -> anyhow::Result<f64> {
        let path = self.proc("status");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("VmRSS")?.parse()?)
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 that is its own anchor, and its key.
fn server_certificate(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=bench -days 2 \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .args(arguments.split_whitespace())
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status()
        .context("openssl")?;
    ensure!(made.success(), "openssl req: {made}");
    Ok((certificate, key))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One process without a master, so that its CPU time is all there is.
fn nginx_config(folder: &Path, port: u16, behind: SocketAddr, ra: &str) -> anyhow::Result<String> {
    let ra = ra
        .strip_prefix("http://")
        .and_then(|ra| ra.strip_suffix("/cmp"))
        .context("the RA's URL")?;
    let folder = folder.display();
    Ok(format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr error;
        worker_rlimit_nofile 40000;
        events {{ worker_connections 40000; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            upstream behind {{ server {behind}; }}
            upstream ra {{ server {ra}; keepalive 64; }}
            server {{
                listen 127.0.0.1:{port};
                keepalive_requests 1000000;
                location /ocpp {{
                    proxy_pass http://behind; proxy_http_version 1.1; proxy_read_timeout 1h;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
                }}
                location /cmp {{ proxy_pass http://ra; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
            }}
        }}"
    ))
}

/// Answers each DataTransfer of a station with what the RA says, asked through nginx.
async fn serve_behind(listener: TcpListener, ra: Arc<Client>) {
    while let Ok((stream, _)) = listener.accept().await {
        let ra = Arc::clone(&ra);
        tokio::spawn(async move {
            let handshake = Handshake::read(stream, &ServerOptions::default()).await?;
            let mut connection = handshake.accept().await?;
            while let Some(text) = connection.recv().await? {
                let answer = match Frame::parse(&text) {
                    Ok(Frame::Call { id, action, .. }) if action == "DataTransfer" => {
                        ra.post(&message(REQUEST_BYTES)).await?;
                        let data = Base64::encode_string(&message(RESPONSE_BYTES));
                        let data = json!({ "len": RESPONSE_BYTES, "off": 0, "data": data }).to_string();
                        json!([3, id, { "status": "Accepted", "data": data }])
                    }
                    Ok(frame) => json!([3, frame.id(), { "status": "Accepted" }]),
                    Err(_) => break,
                };
                connection.send(answer.to_string()).await?;
            }
            anyhow::Ok(())
        });
    }
}
