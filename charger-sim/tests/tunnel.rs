//! The tunnel: its HTTP face, what happens when either side goes away, and `openssl cmp` through it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod csms;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use charger_sim::link;
use charger_sim::transcript::Traffic;
use charger_sim::tunnel::{self, Options};
use cmp_binding::Route;
use cmp_binding::csms::RaError;
use csms::{FakeCsms, Plan, Ra};
use ocpp_rpc::Backoff;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Traffic, link::Error>>,
}

impl Running {
    async fn start(csms: &FakeCsms) -> Self {
        Self::start_with(csms, |_| {}).await
    }

    async fn start_with(csms: &FakeCsms, change: impl FnOnce(&mut Options)) -> Self {
        let mut config = link::Config::new(&csms.url, "CP1");
        config.backoff = Backoff::new(0, Duration::ZERO, Duration::from_millis(1));
        let mut options = Options::new(config, Route::default(), 3_500);
        options.station.ack_delay = Duration::ZERO;
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let ready = move |address| ready.send(address).unwrap();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            tunnel::serve(options, listener, ready, stopped).await
        });
        let address = timeout(SOON, address).await.unwrap().unwrap();
        Self { address, stop, task }
    }

    async fn post(&self, body: &[u8]) -> Answer {
        let head = format!(
            "POST /any HTTP/1.1\r\nContent-Type: application/pkixcmp\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.request(&head, body).await
    }

    async fn request(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.begin(head, body).await;
        let mut bytes = Vec::new();
        timeout(SOON, stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        Answer::parse(&bytes)
    }

    async fn begin(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{head}Host: x\r\nConnection: close\r\n\r\n");
        // The answer to a body that is too large may come before all of it was sent.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        stream
    }

    async fn stop(self) -> Traffic {
        self.stop.send(()).unwrap();
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let headers = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let body = bytes[end + 4..].to_vec();
        Self {
            status,
            headers,
            body,
        }
    }
}

/// A DER SEQUENCE of `len` bytes in all, at least 4.
fn sequence(len: usize) -> Vec<u8> {
    let value = len - 4;
    let mut der = vec![0x30, 0x82, (value >> 8) as u8, value as u8];
    if value < 256 {
        der = vec![0x30, 0x81, (value + 1) as u8];
    }
    let rest = len - der.len();
    der.extend((0..rest).map(|n| n as u8));
    der
}

fn plan(ra: impl Fn(&[u8]) -> Option<Result<Vec<u8>, RaError>> + Send + Sync + 'static) -> Plan {
    Plan {
        boot: "Accepted",
        ra: Arc::new(ra) as Ra,
        drop_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_any_size_gets_its_response_byte_for_byte_and_is_counted() {
    let csms = FakeCsms::start(plan(|request| Some(Ok(sequence(request.len() + 777))))).await;
    let tunnel = Running::start_with(&csms, |options| options.station.unit = 1_000).await;
    for len in [200, 4_000, 60_000] {
        let answer = tunnel.post(&sequence(len)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.headers.contains("content-type: application/pkixcmp"));
        assert!(answer.headers.contains(&format!("content-length: {}", len + 777)));
        assert!(!answer.headers.contains("transfer-encoding"));
        assert_eq!(answer.body, sequence(len + 777));
    }
    let mut open = csms.open.clone();
    timeout(SOON, open.wait_for(|open| *open == 0))
        .await
        .unwrap()
        .unwrap();
    let total = tunnel.stop().await.total;
    assert_eq!(total.request_bytes, 200 + 4_000 + 60_000);
    assert_eq!(total.response_bytes, total.request_bytes + 3 * 777);
    let frames = csms.frames.lock().unwrap();
    assert!(
        frames.iter().all(|(bytes, _)| *bytes <= 1_000),
        "a frame above the unit"
    );
    let transfers = frames.iter().filter(|(_, action)| action == "DataTransfer");
    // With a unit below the default, a connection begins with one `CmpHello`, which is not counted.
    let (hello, rest): (Vec<_>, Vec<_>) = transfers.enumerate().partition(|(n, _)| *n == 0);
    assert_eq!(hello.len(), 1);
    assert_eq!(total.sent.frames, rest.len() as u64);
    assert_eq!(
        total.sent.bytes,
        rest.iter().map(|(_, (bytes, _))| *bytes as u64).sum::<u64>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transfer_error_has_its_http_status() {
    for (error, status) in [
        (RaError::Forbidden, 403),
        (RaError::Timeout, 504),
        (RaError::BadResponse, 502),
        (RaError::Unreachable, 503),
        (RaError::Busy(Duration::from_secs(42)), 503),
    ] {
        let csms = FakeCsms::start(plan(move |_| Some(Err(error)))).await;
        let tunnel = Running::start(&csms).await;
        let answer = tunnel.post(&sequence(300)).await;
        assert_eq!(answer.status, status, "{error:?} {answer:?}");
        assert_eq!(
            answer.headers.contains("retry-after: "),
            status == 503,
            "{answer:?}"
        );
        tunnel.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_cmp_request_is_refused_here() {
    let csms = FakeCsms::start(plan(|_| panic!("asked"))).await;
    let tunnel = Running::start(&csms).await;
    let cmp = "Content-Type: application/pkixcmp\r\n";
    assert_eq!(tunnel.request("GET / HTTP/1.1\r\n", b"").await.status, 405);
    let text = "POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n";
    assert_eq!(tunnel.request(text, b"hi").await.status, 415);
    assert_eq!(tunnel.post(b"\x30\x05\x00").await.status, 400);
    assert_eq!(tunnel.post(b"").await.status, 400);
    assert_eq!(tunnel.post(&vec![0x30; 65_537]).await.status, 413);
    let huge = format!("POST / HTTP/1.1\r\n{cmp}Content-Length: 99999999\r\n");
    assert_eq!(tunnel.request(&huge, &[0x30; 100]).await.status, 413);
    assert_eq!(tunnel.stop().await.total.sent.frames, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_stops_acknowledges_what_it_has_passed_on() {
    for boot in ["Accepted", "Pending"] {
        let csms = FakeCsms::start(Plan {
            boot,
            ..plan(|_| Some(Ok(sequence(500))))
        })
        .await;
        let tunnel = Running::start_with(&csms, |options| {
            options.station.ack_delay = Duration::from_secs(1_000);
            options.station.pull_wait = Duration::from_secs(1);
        })
        .await;
        assert_eq!(tunnel.post(&sequence(300)).await.status, 200);
        tunnel.stop().await;
        let mut open = csms.open.clone();
        timeout(SOON, open.wait_for(|open| *open == 0))
            .await
            .expect(boot)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_gives_its_exchange_up() {
    let csms = FakeCsms::start(plan(|_| None)).await;
    let tunnel = Running::start(&csms).await;
    let mut open = csms.open.clone();
    let head = "POST / HTTP/1.1\r\nContent-Type: application/pkixcmp\r\nContent-Length: 300\r\n";
    let client = tunnel.begin(head, &sequence(300)).await;
    timeout(SOON, open.wait_for(|open| *open == 1))
        .await
        .unwrap()
        .unwrap();
    drop(client);
    timeout(SOON, open.wait_for(|open| *open == 0))
        .await
        .unwrap()
        .unwrap();
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_may_wait_are_told_to_come_later() {
    let csms = FakeCsms::start(plan(|_| None)).await;
    let tunnel = Running::start(&csms).await;
    let head = "POST / HTTP/1.1\r\nContent-Type: application/pkixcmp\r\nContent-Length: 300\r\n";
    let mut waiting = Vec::new();
    for _ in 0..tunnel::MAX_WAITING + 4 {
        waiting.push(tunnel.begin(head, &sequence(300)).await);
    }
    // Those beyond the limit are answered, whichever they are; the others when the tunnel stops.
    let reads: Vec<_> = waiting
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await.unwrap();
                Answer::parse(&bytes)
            })
        })
        .collect();
    let refused = async {
        while reads.iter().filter(|read| read.is_finished()).count() < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.unwrap();
    tunnel.stop().await;
    for read in reads {
        let answer = timeout(SOON, read).await.unwrap().unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.headers.contains("retry-after: 5"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_survives_the_loss_of_the_connection_and_the_ra_is_asked_once() {
    for drop_at in 1..=6 {
        let csms = FakeCsms::start(Plan {
            drop_at: Some(drop_at),
            ..plan(|_| Some(Ok(sequence(5_000))))
        })
        .await;
        let tunnel = Running::start(&csms).await;
        let answer = tunnel.post(&sequence(5_000)).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, sequence(5_000)),
            "drop at {drop_at}"
        );
        tunnel.stop().await;
        assert_eq!(csms.messages.lock().unwrap().len(), 2, "drop at {drop_at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_held_pending_is_pulled_and_calls_nothing_but_boot_notification() {
    let csms = FakeCsms::start(Plan {
        boot: "Pending",
        ..plan(|_| Some(Ok(sequence(5_000))))
    })
    .await;
    let tunnel = Running::start(&csms).await;
    let answer = tunnel.post(&sequence(5_000)).await;
    assert_eq!((answer.status, answer.body), (200, sequence(5_000)));
    tunnel.stop().await;
    let frames = csms.frames.lock().unwrap();
    assert!(
        frames
            .iter()
            .all(|(_, action)| action.is_empty() || action == "BootNotification"),
        "{frames:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csms_that_refuses_the_station_ends_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ocpp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4_096];
        let _ = stream.read(&mut head).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    });
    let options = Options::new(link::Config::new(url, "CP1"), Route::default(), 3_500);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ready = |_| panic!("not accepted");
    let result = timeout(
        SOON,
        tunnel::serve(options, listener, ready, std::future::pending()),
    )
    .await;
    assert!(matches!(result.unwrap(), Err(link::Error::Refused(_))));
}
