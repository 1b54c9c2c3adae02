//! A bridge in this process, an RA that misbehaves as it is told, and a station that writes its own JSON.
#![allow(dead_code)]

pub mod http;
pub mod program;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csms_bridge::{Admin, Config, Listeners, Reload};
use ocpp_rpc::Version;
use ocpp_rpc::ws::{ClientOptions, CloseCode, Connection, Error, connect_over, station_url};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to leave the bridge alone between two looks at what it does.
pub const PROMPT: Duration = Duration::from_millis(2);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came")
}

/// A bridge that is served until it is stopped.
pub struct Bridge {
    pub base: String,
    pub addresses: Vec<SocketAddr>,
    pub reload: Reload,
    pub bridge: csms_bridge::Bridge,
    admin: Option<SocketAddr>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Bridge {
    /// `settings` is TOML; the routes are `default` with `urls`.
    pub async fn start(urls: &[&str], settings: &str, route_settings: &str) -> Self {
        let text = format!(
            "{settings}\n[store]\nfile = \"memory\"\n[routes.default]\nurls = {urls:?}\n{route_settings}\n"
        );
        let mut config: Config = toml::from_str(&text).unwrap();
        config.listen = Some(([127, 0, 0, 1], 0).into());
        config.check().unwrap();
        let listeners = Listeners::bind(&config).await.unwrap();
        let addresses = listeners.addresses().unwrap();
        let addresses: Vec<_> = addresses.into_iter().map(|(_, address)| address).collect();
        let base = format!("ws://{}/ocpp", addresses[0]);
        let (stop, stopped) = watch::channel(false);
        let (drain, draining) = watch::channel(false);
        let admin = Admin::bind(&config.admin).await.unwrap();
        let store = config.store.open(config.max_stations).unwrap();
        let bridge = csms_bridge::Bridge::new(config, store).await.unwrap();
        let reload = bridge.reload(&listeners);
        let admin = admin.map(|admin| {
            let address = admin.address().unwrap();
            tokio::spawn(admin.serve(bridge.clone(), draining, stopped.clone()));
            address
        });
        let serving = bridge.clone();
        let served = tokio::spawn(async move { serving.serve(listeners, stopped).await });
        Self {
            admin,
            drain,
            base,
            addresses,
            reload,
            bridge,
            stop,
            served,
        }
    }

    /// The admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("admin.listen is not set")
    }

    pub fn begin_to_drain(&self) {
        self.drain.send_replace(true);
    }

    pub fn begin_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub async fn stopped(mut self) {
        self.begin_to_stop();
        soon(&mut self.served).await.unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// What the RA does with a request.
#[derive(Clone)]
pub enum Reaction {
    /// Answers with status and body, and keeps the connection.
    Answer(&'static str, Vec<u8>),
    /// The same, then closes without having said so.
    AnswerAndClose(&'static str, Vec<u8>),
    /// Writes these bytes and closes.
    Raw(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Answers when the test says so.
    Later(watch::Receiver<bool>, Vec<u8>),
}

type Script = Arc<dyn Fn(usize, &[u8]) -> Reaction + Send + Sync>;

/// An RA on raw TCP that counts what reaches it.
pub struct FakeRa {
    pub url: String,
    pub port: u16,
    requests: watch::Receiver<Vec<Vec<u8>>>,
    connections: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl FakeRa {
    pub async fn start(script: impl Fn(usize, &[u8]) -> Reaction + Send + Sync + 'static) -> Self {
        Self::start_at(0, script).await
    }

    pub async fn start_at(
        port: u16,
        script: impl Fn(usize, &[u8]) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, requests) = watch::channel(Vec::new());
        let (opened, connections) = watch::channel(0);
        let script: Script = Arc::new(script);
        let seen = Arc::new(Mutex::new(seen));
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                opened.send_modify(|count| *count += 1);
                tokio::spawn(serve_http(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        let url = format!("http://127.0.0.1:{port}/cmp");
        Self {
            url,
            port,
            requests,
            connections,
            accepting,
        }
    }

    /// The bodies that came so far, whole or not answered.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.borrow().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    pub async fn asked(&mut self, times: usize) {
        soon(self.requests.wait_for(|requests| requests.len() >= times))
            .await
            .unwrap();
    }
}

impl Drop for FakeRa {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A port that nobody listens on.
pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn serve_http(mut stream: TcpStream, script: Script, seen: Arc<Mutex<watch::Sender<Vec<Vec<u8>>>>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("POST /cmp HTTP/1.1\r\n"), "{head}");
        assert!(
            lower.contains("\r\ncontent-type: application/pkixcmp\r\n"),
            "{head}"
        );
        assert!(lower.contains("\r\nhost: 127.0.0.1:"), "{head}");
        let mut number = 0;
        seen.lock().unwrap().send_modify(|requests| {
            number = requests.len();
            requests.push(body.clone());
        });
        let (status, answer, close) = match script(number, &body) {
            Reaction::Answer(status, answer) => (status, answer, false),
            Reaction::AnswerAndClose(status, answer) => (status, answer, true),
            Reaction::Raw(bytes) => return stream.write_all(&bytes).await.unwrap(),
            Reaction::Close => return,
            Reaction::Later(mut when, answer) => {
                let _ = when.wait_for(|when| *when).await;
                ("200 OK", answer, false)
            }
        };
        let mut bytes = response_head(status, answer.len());
        bytes.extend_from_slice(&answer);
        if stream.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

pub fn response_head(status: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/pkixcmp\r\nContent-Length: {length}\r\n\r\n")
        .into()
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end + 4].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            let length: usize = length.unwrap();
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// One DER SEQUENCE of `len` bytes, all told, that is no CMP message.
pub fn sequence(len: usize, fill: u8) -> Vec<u8> {
    let mut out = match len {
        0..=129 => vec![0x30, u8::try_from(len - 2).unwrap()],
        130..=258 => vec![0x30, 0x81, u8::try_from(len - 3).unwrap()],
        _ => {
            let [high, low] = u16::try_from(len - 4).unwrap().to_be_bytes();
            vec![0x30, 0x82, high, low]
        }
    };
    out.resize(len, fill);
    out
}

/// As much of a CMP message as has a transactionID; `mark` tells messages of one transaction apart.
pub fn message(transaction: &str, mark: u8) -> Vec<u8> {
    let tlv = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
    let name = tlv(0xa4, &[0x30, 0x00]);
    let id = tlv(0xa4, &tlv(0x04, transaction.as_bytes()));
    let header = tlv(0x30, &[&[0x02, 0x01, 0x02][..], &name, &name, &id].concat());
    tlv(0x30, &[header, tlv(0xb3, &[0x04, 0x01, mark])].concat())
}

/// An exchange id of 16 equal bytes below 64.
pub fn exchange_id(byte: u8) -> String {
    cmp_binding::ExchangeId::from_random([byte; 16]).to_string()
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            if at <= three.len() {
                out.push(char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// A piece of `message` from `off` on, `size` bytes.
pub fn chunk(id: &str, message: &[u8], off: usize, size: usize) -> Value {
    let piece = &message[off..(off + size).min(message.len())];
    json!({"id": id, "len": message.len(), "off": off, "data": base64(piece)})
}

/// What a station's WebSocket goes over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A station that speaks JSON and knows nothing.
pub struct Station {
    connection: Connection<Box<dyn Io>>,
    next: u32,
    /// Calls of the bridge that came while something else was waited for.
    calls: VecDeque<Value>,
}

impl Station {
    pub async fn connect(bridge: &Bridge, identity: &str) -> Self {
        Self::connect_as(bridge, identity, Version::V2_0_1).await.unwrap()
    }

    pub async fn connect_as(bridge: &Bridge, identity: &str, version: Version) -> Result<Self, Error> {
        Self::connect_to(&bridge.base, identity, version).await
    }

    pub async fn connect_to(base: &str, identity: &str, version: Version) -> Result<Self, Error> {
        let options = ClientOptions {
            versions: vec![version],
            ..ClientOptions::default()
        };
        let uri: hyper::Uri = base.parse().unwrap();
        let (host, port) = (uri.host().unwrap(), uri.port_u16().unwrap());
        let stream = soon(TcpStream::connect((host, port))).await?;
        Self::connect_over(Box::new(stream), &station_url(base, identity), &options).await
    }

    /// A station over a stream that stands.
    pub async fn connect_over(
        stream: Box<dyn Io>,
        url: &str,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            connection: soon(connect_over(stream, url, options)).await?,
            next: 0,
            calls: VecDeque::new(),
        })
    }

    pub async fn send(&mut self, text: String) {
        soon(self.connection.send(text)).await.unwrap();
    }

    async fn recv(&mut self) -> Value {
        let text = soon(self.connection.recv())
            .await
            .unwrap()
            .expect("the bridge closed");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a CALL; returns its message id.
    pub async fn begin(&mut self, action: &str, payload: Value) -> String {
        self.next += 1;
        let id = format!("s-{}", self.next);
        self.send(json!([2, id, action, payload]).to_string()).await;
        id
    }

    /// The whole frame that answers a CALL.
    pub async fn answer(&mut self, id: &str) -> Value {
        loop {
            let frame = self.recv().await;
            if frame[0] == 2 {
                self.calls.push_back(frame);
            } else {
                assert_eq!(frame[1], id, "{frame}");
                return frame;
            }
        }
    }

    pub async fn call(&mut self, action: &str, payload: Value) -> Value {
        let id = self.begin(action, payload).await;
        self.answer(&id).await
    }

    /// A DataTransfer of the binding; returns the object that it was answered with.
    pub async fn cmp(&mut self, operation: &str, data: Value) -> Value {
        let id = self.begin_cmp(operation, data).await;
        self.cmp_answer(&id).await
    }

    pub async fn begin_cmp(&mut self, operation: &str, data: Value) -> String {
        let payload = json!({
            "vendorId": "io.github.ocpp-cmp", "messageId": operation, "data": data.to_string(),
        });
        self.begin("DataTransfer", payload).await
    }

    pub async fn cmp_answer(&mut self, id: &str) -> Value {
        let frame = self.answer(id).await;
        assert_eq!(
            (&frame[0], &frame[2]["status"]),
            (&json!(3), &json!("Accepted")),
            "{frame}"
        );
        serde_json::from_str(frame[2]["data"].as_str().unwrap()).unwrap()
    }

    /// Sends a whole message in one piece.
    pub async fn submit(&mut self, id: &str, message: &[u8]) -> Value {
        self.cmp("CmpSend", chunk(id, message, 0, message.len())).await
    }

    /// The code of a transfer error, and whether it may be tried again.
    pub async fn error(&mut self, operation: &str, data: Value) -> (String, bool) {
        let answer = self.cmp(operation, data).await;
        let error = &answer["error"];
        let code = error["code"].as_str().unwrap_or_else(|| panic!("{answer}"));
        (code.into(), error.get("retry").is_some())
    }

    /// The next DataTransfer of the bridge: its message id, operation and object.
    pub async fn called(&mut self) -> (String, String, Value) {
        let frame = match self.calls.pop_front() {
            Some(frame) => frame,
            None => self.recv().await,
        };
        assert_eq!(
            (&frame[0], &frame[2]),
            (&json!(2), &json!("DataTransfer")),
            "{frame}"
        );
        let data = serde_json::from_str(frame[3]["data"].as_str().unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&frame[1]), text(&frame[3]["messageId"]), data)
    }

    /// Answers a DataTransfer of the bridge.
    pub async fn respond(&mut self, id: &str, data: Value) {
        let payload = json!({"status": "Accepted", "data": data.to_string()});
        self.send(json!([3, id, payload]).to_string()).await;
    }

    pub async fn boot(&mut self) -> String {
        let payload = json!({"reason": "PowerUp", "chargingStation": {"model": "m", "vendorName": "v"}});
        let answer = self.call("BootNotification", payload).await;
        answer[2]["status"].as_str().unwrap().into()
    }

    /// The code with which the bridge closes; calls that still come are dropped.
    pub async fn closed(&mut self) -> CloseCode {
        while let Ok(Some(_)) = soon(self.connection.recv()).await {}
        self.connection.closed_by_peer().expect("closed without a code")
    }
}

/// The object of an outcome that carries a whole message.
pub fn whole(id: Option<&str>, message: &[u8]) -> Value {
    let mut object = json!({"len": message.len(), "off": 0, "data": base64(message)});
    if let Some(id) = id {
        object["id"] = id.into();
    }
    object
}
