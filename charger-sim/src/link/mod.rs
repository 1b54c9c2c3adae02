//! A station's OCPP connection: boots, keeps alive, connects again, and carries CMP for one [`Carrier`].

mod args;
mod boot;
mod carrier;
mod security;
mod session;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use cmp_binding::Envelope;
use ocpp_rpc::ws::{self, ClientOptions, CloseCode, Connection};
use ocpp_rpc::{Backoff, Frame, Version, data_transfer, frame};
use tracing::{debug, info, warn};

pub use args::LinkArgs;
pub use boot::{BootStatus, Identification};
pub use carrier::{Carrier, Step};
pub(crate) use security::Socket;
pub use security::{Security, SecurityArgs};
use session::Session;

use crate::transcript::{Direction, Traffic, Transcript, Transfer};

/// What a link is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ws://host:port/path` or `wss://…`, without the identity.
    pub csms: String,
    /// The station's identity, the last segment of the URL.
    pub id: String,
    /// The versions to offer, the preferred one first.
    pub versions: Vec<Version>,
    /// The `vendorId` of the binding.
    pub vendor_id: String,
    /// What the station says of itself in BootNotification.
    pub identification: Identification,
    /// The waits between attempts to connect.
    pub backoff: Backoff,
    /// How long a CALL waits for its answer.
    pub call_timeout: Duration,
    /// The address to connect from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// Limits and times of the socket.
    pub limits: ws::Limits,
    /// What the station proves itself with.
    pub security: Security,
}

impl Config {
    /// The defaults: all versions, and a back-off from 1 s to 2 s, doubled four times, as suits a lab.
    #[must_use]
    pub fn new(csms: impl Into<String>, id: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            csms: csms.into(),
            identification: Identification::new(&id),
            id,
            versions: Version::ALL.to_vec(),
            vendor_id: cmp_binding::VENDOR_ID.into(),
            backoff: Backoff::new(4, Duration::from_secs(1), Duration::from_secs(1)),
            call_timeout: Duration::from_secs(30),
            source: None,
            limits: ws::Limits::default(),
            security: Security::default(),
        }
    }
}

/// Bytes of the frames that a link with this `vendorId` writes around `data`: exact for calls, the most for answers.
#[must_use]
pub fn envelope(vendor_id: &str) -> Envelope {
    let longest = Some(cmp_binding::Operation::Deliver.as_str());
    // Without its data, the member `data` still has its name.
    let call = data_transfer::request_len(vendor_id, longest, Some(0));
    let id = "x".repeat(ocpp_rpc::endpoint::OWN_ID_LEN);
    Envelope {
        call_bytes: frame::call_len(&id, data_transfer::ACTION, call),
        result_bytes: Envelope::measured(vendor_id).result_bytes,
    }
}

/// The clock of a link: time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What can be watched on a link.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The WebSocket stands.
    Connected {
        /// The version that was negotiated.
        version: Version,
    },
    /// The CSMS answered a BootNotification.
    Booted {
        /// What it said.
        status: BootStatus,
    },
    /// A frame went over the wire.
    Frame {
        /// Which way.
        direction: Direction,
        /// The frame.
        text: &'a str,
        /// What it has to do with the binding, if anything. A CMP message that it completes is in here.
        transfer: Option<&'a Transfer>,
        /// All that was counted so far, this frame included.
        traffic: &'a Traffic,
    },
    /// The connection ended, or could not be made.
    Disconnected {
        /// Why.
        reason: &'a str,
    },
}

/// Watches a link.
pub trait Observer: Send {
    /// Something happened. Called from the link's task: to be quick.
    fn on_event(&mut self, event: &Event<'_>);
}

/// Watches nothing.
impl Observer for () {
    fn on_event(&mut self, _: &Event<'_>) {}
}

/// Any closure watches.
impl<F: FnMut(&Event<'_>) + Send> Observer for F {
    fn on_event(&mut self, event: &Event<'_>) {
        self(event);
    }
}

/// Why a link gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL of the CSMS, or the identity, cannot be used.
    #[error("cannot connect to this URL as this station")]
    Url(#[source] ws::Error),
    /// Before the first connection: the CSMS does not know the station, does not let it in, or speaks other versions.
    #[error("the CSMS does not take this station")]
    Refused(#[source] ws::Error),
    /// No randomness could be had.
    #[error("no random numbers from the system")]
    Random(#[from] getrandom::Error),
}

/// A station's connection and what it carries.
#[derive(Debug)]
pub struct Link<C, O = ()> {
    carrier: C,
    observer: O,
    config: Config,
    clock: Clock,
    transcript: Transcript,
    traffic: Traffic,
    connected_once: bool,
}

/// How long the end of a connection may be put off.
const LEAVE: Duration = Duration::from_secs(2);

type Stop<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

impl<C: Carrier, O: Observer> Link<C, O> {
    /// A link that is not connected yet. Every `now` of the carrier is a time of `clock`.
    pub fn new(config: Config, clock: Clock, carrier: C, observer: O) -> Self {
        let transcript = Transcript::new(config.vendor_id.clone());
        Self {
            carrier,
            observer,
            config,
            clock,
            transcript,
            traffic: Traffic::default(),
            connected_once: false,
        }
    }

    /// What is carried.
    pub fn carrier(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// What went over the wire so far.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Takes the link apart.
    pub fn into_parts(self) -> (C, O, Traffic) {
        (self.carrier, self.observer, self.traffic)
    }

    /// Connects, again and again, until the carrier is done or `stop` ends; then closes the connection.
    ///
    /// # Errors
    /// What trying again cannot mend. A connection that is refused or ends is not among it.
    pub async fn run(&mut self, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let mut stop: Stop<'_> = pin!(stop);
        let mut backoff = self.config.backoff.clone();
        loop {
            let reason = match self.connect(stop.as_mut()).await? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(Ok(connection)) => {
                    self.connected_once = true;
                    let (end, booted) = self.serve(connection, stop.as_mut()).await?;
                    if booted {
                        backoff.reset();
                    }
                    match end {
                        ControlFlow::Break(()) => return Ok(()),
                        ControlFlow::Continue(reason) => reason,
                    }
                }
                ControlFlow::Continue(Err(error)) => describe(&error),
            };
            let wait = backoff.next_wait(getrandom::u32()?);
            warn!(%reason, wait_ms = wait.as_millis() as u64, "not connected");
            self.observer.on_event(&Event::Disconnected { reason: &reason });
            if self
                .carry_on_until(tokio::time::sleep(wait), stop.as_mut())
                .await
                .is_break()
            {
                return Ok(());
            }
        }
    }

    /// One attempt to connect.
    async fn connect(&mut self, stop: Stop<'_>) -> Result<ControlFlow<(), Result<Socket, ws::Error>>, Error> {
        let url = ws::station_url(&self.config.csms, &self.config.id);
        let options = ClientOptions {
            versions: self.config.versions.clone(),
            source: self.config.source,
            limits: self.config.limits.clone(),
            ..ClientOptions::default()
        };
        let (security, id) = (self.config.security.clone(), self.config.id.clone());
        let attempt = async { security.connect(&url, &id, options).await };
        let ControlFlow::Continue(result) = self.carry_on_until(attempt, stop).await else {
            return Ok(ControlFlow::Break(()));
        };
        match result {
            Err(error @ ws::Error::Url) => Err(Error::Url(error)),
            Err(error @ (ws::Error::NoCommonSubprotocol | ws::Error::Refused(401 | 403 | 404)))
                if !self.connected_once =>
            {
                Err(Error::Refused(error))
            }
            result => Ok(ControlFlow::Continue(result)),
        }
    }

    /// Lets the carrier work without a connection until `done`; breaks if the link is to stop.
    async fn carry_on_until<T>(
        &mut self,
        done: impl Future<Output = T>,
        mut stop: Stop<'_>,
    ) -> ControlFlow<(), T> {
        let mut done = pin!(done);
        loop {
            let now = self.clock.now();
            self.carrier.handle_timeout(now);
            if self.carrier.work(now) == Step::Stop {
                return ControlFlow::Break(());
            }
            let due = self.carrier.poll_timeout();
            tokio::select! {
                biased;
                () = &mut stop => return ControlFlow::Break(()),
                result = &mut done => return ControlFlow::Continue(result),
                () = sleep_until(self.clock, due) => {}
                () = self.carrier.woken() => {}
            }
        }
    }

    /// One connection until its end; says why it ended, or breaks if the link is to stop, and whether the CSMS had
    /// accepted the station.
    async fn serve(
        &mut self,
        mut connection: Socket,
        mut stop: Stop<'_>,
    ) -> Result<(ControlFlow<(), String>, bool), Error> {
        let version = connection.version();
        info!(%version, "connected");
        self.observer.on_event(&Event::Connected { version });
        let now = self.clock.now();
        let mut session = Session::new(&self.config, version, getrandom::u64()?, now);
        self.carrier.set_mode(cmp_binding::station::Mode::PullOnly);
        self.carrier.handle_connected(now);
        let end = loop {
            let now = self.clock.now();
            session.handle_timeout(&mut self.carrier, now);
            let step = self.carrier.work(now);
            if let Err(error) = self.transmit(&mut session, &mut connection).await {
                break ControlFlow::Continue(describe(&error));
            }
            match step {
                Step::Stop => break ControlFlow::Break(()),
                Step::Reconnect => break ControlFlow::Continue("connecting anew, as asked".into()),
                Step::Continue => {}
            }
            let due = session.poll_timeout(&self.carrier);
            tokio::select! {
                biased;
                () = &mut stop => break ControlFlow::Break(()),
                text = connection.recv() => match text {
                    Ok(Some(text)) => self.receive(&mut session, &text),
                    Ok(None) => break ControlFlow::Continue(closed_by_peer(&connection)),
                    Err(error) => break ControlFlow::Continue(describe(&error)),
                },
                () = sleep_until(self.clock, due) => {}
                () = self.carrier.woken() => {}
            }
        };
        if end.is_break() {
            self.take_leave(&mut session, &mut connection).await;
        }
        let booted = session.boot_status() == Some(BootStatus::Accepted);
        session.close(&mut self.carrier, self.clock.now());
        connection.close(CloseCode::AWAY, "").await;
        Ok((end, booted))
    }

    /// Lets the carrier send what still waits, for a moment: acknowledgements mostly.
    async fn take_leave(&mut self, session: &mut Session, connection: &mut Socket) {
        let leave = async {
            loop {
                let is_last = self.carrier.flush(self.clock.now());
                self.transmit(session, connection).await?;
                if is_last {
                    break;
                }
                let due = session.poll_timeout(&self.carrier);
                tokio::select! {
                    text = connection.recv() => match text? {
                        Some(text) => self.receive(session, &text),
                        None => break,
                    },
                    () = sleep_until(self.clock, due) => {
                        session.handle_timeout(&mut self.carrier, self.clock.now());
                    }
                }
            }
            Ok::<_, ws::Error>(())
        };
        if !matches!(tokio::time::timeout(LEAVE, leave).await, Ok(Ok(()))) {
            info!("not all was said before the connection ended");
        }
    }

    async fn transmit(&mut self, session: &mut Session, connection: &mut Socket) -> Result<(), ws::Error> {
        while let Some(text) = session.poll_transmit(&mut self.carrier, self.clock.now()) {
            self.watch(Direction::Sent, &text);
            connection.send(text).await?;
        }
        Ok(())
    }

    fn receive(&mut self, session: &mut Session, text: &str) {
        self.watch(Direction::Received, text);
        if let Some(status) = session.handle_text(&mut self.carrier, self.clock.now(), text) {
            info!(?status, "boot");
            self.observer.on_event(&Event::Booted { status });
        }
    }

    fn watch(&mut self, direction: Direction, text: &str) {
        let transfer = Frame::parse(text)
            .ok()
            .and_then(|frame| self.transcript.observe(Some(direction), &frame));
        self.traffic.count(direction, text.len(), transfer.as_ref());
        debug!(?direction, bytes = text.len(), operation = ?transfer.as_ref().and_then(|t| t.operation), "frame");
        self.observer.on_event(&Event::Frame {
            direction,
            text,
            transfer: transfer.as_ref(),
            traffic: &self.traffic,
        });
    }
}

/// At least a moment, so that a carrier that is due and has nothing to do does not keep the processor busy.
async fn sleep_until(clock: Clock, due: Option<Duration>) {
    match due {
        Some(due) => {
            let wait = due.saturating_sub(clock.now()).max(Duration::from_millis(1));
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}

fn closed_by_peer<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    connection: &Connection<S>,
) -> String {
    match connection.closed_by_peer() {
        Some(CloseCode(code)) => format!("the CSMS closed the connection with code {code}"),
        None => "the CSMS ended the connection".into(),
    }
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_frame_around_data() {
        let request = data_transfer::Request {
            vendor_id: cmp_binding::VENDOR_ID.into(),
            message_id: Some("CmpDeliver".into()),
            data: Some(data_transfer::Data::Text("{}".into())),
        };
        let id = "x".repeat(ocpp_rpc::endpoint::OWN_ID_LEN);
        let envelope = envelope(cmp_binding::VENDOR_ID);
        assert_eq!(
            request.call_len(&id),
            envelope.call_bytes + data_transfer::json_string_len("{}")
        );
    }
}
