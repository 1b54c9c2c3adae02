//! A minimal CSMS for one station: boots it and carries CMP with the CSMS role of the binding. The RA is a function.
#![allow(dead_code)] // Each test uses its part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cmp_binding::csms::{Action, Budget, Config, Csms, RaError, Reply, ReplyToken};
use cmp_binding::{Answer, Call, CallOutcome, Data, Status};
use ocpp_rpc::data_transfer::{self, Request, Response};
use ocpp_rpc::endpoint::{self, CallId, Endpoint, Event, IncomingId, Outcome, Priority};
use ocpp_rpc::ws::{Connection, Handshake, ServerOptions};
use ocpp_rpc::{Frame, RawValue};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the RA says to a request; `None`: nothing, ever.
pub(crate) type Ra = Arc<dyn Fn(&[u8]) -> Option<Result<Vec<u8>, RaError>> + Send + Sync>;

/// How the CSMS behaves.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) boot: &'static str,
    pub(crate) ra: Ra,
    /// Drops the connection, once, when this many DataTransfers have come, without answering the last.
    pub(crate) drop_at: Option<usize>,
}

/// A CSMS that listens until it is dropped.
pub(crate) struct FakeCsms {
    /// `ws://127.0.0.1:PORT/ocpp`.
    pub(crate) url: String,
    /// Exchanges that are open, after each step.
    pub(crate) open: watch::Receiver<usize>,
    /// Requests that reached the RA and responses that it gave.
    pub(crate) messages: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The length of each frame that the station sent, and its action or "".
    pub(crate) frames: Arc<Mutex<Vec<(usize, String)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeCsms {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeCsms {
    pub(crate) async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ocpp", listener.local_addr().unwrap());
        let (open_out, open) = watch::channel(0);
        let (messages, frames) = (Arc::default(), Arc::default());
        let mut side = Side {
            plan,
            csms: Csms::new(Config::default(), Budget::new(16 << 20)),
            start: Instant::now(),
            open: open_out,
            messages: Arc::clone(&messages),
            frames: Arc::clone(&frames),
            transfers: 0,
            replies: BTreeMap::new(),
            calls: BTreeMap::new(),
        };
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let handshake = Handshake::read(stream, &ServerOptions::default()).await.unwrap();
                let connection = handshake.accept().await.unwrap();
                side.serve(connection).await;
            }
        });
        Self {
            url,
            open,
            messages,
            frames,
            task,
        }
    }
}

struct Side {
    plan: Plan,
    csms: Csms,
    start: Instant,
    open: watch::Sender<usize>,
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    frames: Arc<Mutex<Vec<(usize, String)>>>,
    transfers: usize,
    replies: BTreeMap<ReplyToken, IncomingId>,
    calls: BTreeMap<CallId, Call>,
}

impl Side {
    async fn serve(&mut self, mut connection: Connection<TcpStream>) {
        let mut endpoint = Endpoint::new(endpoint::Config::new(connection.version()), 9);
        self.csms.handle_connected();
        self.replies.clear();
        self.calls.clear();
        loop {
            self.step(&mut endpoint);
            while let Some(text) = endpoint.poll_transmit(self.start.elapsed()) {
                if connection.send(text).await.is_err() {
                    return self.csms.handle_disconnected();
                }
            }
            self.open.send_replace(self.csms.open());
            let due = self.csms.poll_timeout().unwrap_or(Duration::MAX);
            let wait = due
                .saturating_sub(self.start.elapsed())
                .clamp(Duration::from_millis(1), Duration::from_secs(60));
            tokio::select! {
                text = connection.recv() => {
                    let Ok(Some(text)) = text else { return self.csms.handle_disconnected() };
                    self.log(&text);
                    if self.plan.drop_at == Some(self.transfers) {
                        self.plan.drop_at = None;
                        return self.csms.handle_disconnected();
                    }
                    endpoint.handle_frame(self.start.elapsed(), &text);
                }
                () = tokio::time::sleep(wait) => self.csms.handle_timeout(self.start.elapsed()),
            }
        }
    }

    fn log(&mut self, text: &str) {
        let action = match Frame::parse(text).unwrap() {
            Frame::Call { action, .. } => action.into_owned(),
            _ => String::new(),
        };
        self.transfers += usize::from(action == "DataTransfer");
        self.frames.lock().unwrap().push((text.len(), action));
    }

    fn step(&mut self, endpoint: &mut Endpoint) {
        let now = self.start.elapsed();
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Call {
                    call,
                    action,
                    payload,
                    ..
                } => self.answer(endpoint, call, &action, &payload),
                Event::Ended { call, outcome } => {
                    if let (Some(call), Outcome::Result(payload)) = (self.calls.remove(&call), outcome) {
                        let response = Response::parse(&payload).unwrap();
                        let data = response.data.map(|data| Data::text(data.content()));
                        let status = Status::Accepted;
                        self.csms
                            .handle_result(now, call.token, &CallOutcome::Response { status, data });
                    }
                }
                _ => {}
            }
        }
        self.act(endpoint);
        while let Some(call) = self.csms.poll_call(now) {
            let request = Request {
                vendor_id: cmp_binding::VENDOR_ID.into(),
                message_id: Some(call.message_id.into()),
                data: Some(data_transfer::Data::Text(call.data.json.as_str().into())),
            };
            let id = endpoint.call("DataTransfer", &request.to_payload(), Priority::Normal);
            self.calls.insert(id.unwrap(), call);
        }
    }

    fn answer(&mut self, endpoint: &mut Endpoint, call: IncomingId, action: &str, payload: &RawValue) {
        let now = self.start.elapsed();
        let plain = |json: &str| RawValue::from_string(json.into()).unwrap();
        match action {
            "BootNotification" => {
                let json = format!(
                    r#"{{"status":"{}","currentTime":"2026-01-01T00:00:00Z","interval":1}}"#,
                    self.plan.boot
                );
                endpoint.respond(call, &plain(&json)).unwrap();
                if self.plan.boot == "Pending" {
                    self.csms.start_pull(now);
                }
            }
            "DataTransfer" => {
                let request = Request::parse(payload).unwrap();
                let data = request.data.as_ref().map(|data| Data::text(data.content()));
                match self
                    .csms
                    .handle_call(now, &request.message_id.unwrap(), data.as_ref())
                {
                    Reply::Now(answer) => respond(endpoint, call, answer),
                    Reply::Pending(token) => {
                        self.replies.insert(token, call);
                    }
                }
            }
            _ => endpoint.respond(call, &plain("{}")).unwrap(),
        }
    }

    fn act(&mut self, endpoint: &mut Endpoint) {
        let now = self.start.elapsed();
        loop {
            let _ = self.csms.take_writes();
            match self.csms.poll_action() {
                Some(Action::Forward { id, request, .. }) => {
                    if !self.csms.handle_asked(now, id) {
                        continue;
                    }
                    let answer = tokio::task::block_in_place(|| (self.plan.ra)(&request));
                    let mut messages = self.messages.lock().unwrap();
                    messages.push(request);
                    match answer {
                        Some(answer) => {
                            messages.extend(answer.clone());
                            drop(messages);
                            self.csms.handle_ra_response(now, id, answer);
                        }
                        None => {
                            for (token, call) in std::mem::take(&mut self.replies) {
                                let answer = self.csms.expire(now, token).unwrap();
                                respond(endpoint, call, answer);
                            }
                        }
                    }
                }
                Some(Action::Reply { token, answer }) => {
                    respond(endpoint, self.replies.remove(&token).unwrap(), answer);
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn respond(endpoint: &mut Endpoint, call: IncomingId, answer: Answer) {
    assert_eq!(answer.status, Status::Accepted);
    let json = answer.data.unwrap().json;
    let data = data_transfer::Data::Text(json.into());
    let response = Response::new(data_transfer::Status::Accepted, Some(data));
    let payload = response.to_payload(endpoint.config().version);
    endpoint.respond(call, &payload).unwrap();
}
