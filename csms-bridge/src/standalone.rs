//! The bridge as a small CSMS of its own: it boots stations, answers what they need to stay, and carries CMP.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cmp_binding::{Answer, CallOutcome, CallToken, Data, is_vendor_id};
use futures_util::{StreamExt, stream::FuturesUnordered};
use ocpp_rpc::{
    Endpoint, ErrorCode, RawValue,
    data_transfer::{self, ACTION, Request, Response},
    endpoint::{self, CallId, Event, IncomingId, Priority},
    ws::{CloseCode, Connection},
};
use serde_json::json;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{
    Boot, Config,
    access::Admission,
    clock,
    link::{self, from_wire, outcome_of, payload_of, response_of},
    listen::{Arrival, Stream, stopped},
    relay::{Ended, Relay, Session},
};

/// What the connections have in common.
pub(crate) struct Standalone {
    pub(crate) config: Arc<Config>,
    pub(crate) relay: Arc<Relay>,
    /// Connections end when it turns true.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The one action that a station may call before its boot is accepted.
const BOOT: &str = "BootNotification";

/// Serves a station until it is gone.
pub(crate) async fn station(shared: Arc<Standalone>, arrival: Arrival) {
    let Arrival {
        handshake,
        key,
        admission,
        place: _place,
        ..
    } = arrival;
    let connection = match handshake.accept().await {
        Ok(connection) => connection,
        Err(error) => return warn!(%error, "handshake failed"),
    };
    let Some(session) = shared.relay.connect(key).await else {
        // What is wrong, the log says.
        return connection
            .close(CloseCode(1011), "no room for this station")
            .await;
    };
    info!(version = connection.version().subprotocol(), "station connected");
    let config = endpoint::Config::new(connection.version());
    let mut link = Link {
        endpoint: Endpoint::new(config, link::seed()),
        calls: HashMap::new(),
        admission,
        session,
        shared,
    };
    link.run(connection).await;
    link.session.disconnect().await;
}

/// One station's connection.
struct Link {
    shared: Arc<Standalone>,
    admission: Admission,
    session: Session,
    endpoint: Endpoint,
    /// Our DataTransfers, by the call that carries them.
    calls: HashMap<CallId, CallToken>,
}

impl Link {
    async fn run(&mut self, mut connection: Connection<Stream>) {
        let mut answers = FuturesUnordered::new();
        let mut stop = self.shared.stop.clone();
        let mut stopping = false;
        let (close, reason) = loop {
            if let Err(error) = self.transmit(&mut connection).await {
                return info!(%error, "station disconnected");
            }
            // What the station was asked can be asked again; what it asks for is answered first.
            if stopping && answers.is_empty() {
                break (CloseCode::AWAY, "the server ends");
            }
            // While the bridge ends, the station is not called any more.
            let calls = self.session.poll_timeout().await.filter(|_| !stopping);
            let due = self.endpoint.poll_timeout().into_iter().chain(calls).min();
            // What is past and could not be done now is looked at again after a while, not at once.
            let wait = due.map_or(Duration::from_secs(60), |due| due.saturating_sub(clock::now()));
            tokio::select! {
                received = connection.recv() => match received {
                    Ok(Some(text)) => self.endpoint.handle_frame(clock::now(), &text),
                    Ok(None) => return info!("station closed the connection"),
                    Err(error) => return info!(%error, "station disconnected"),
                },
                Some((call, answer)) = answers.next() => self.respond(call, answer),
                () = self.session.woken() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {
                    self.endpoint.handle_timeout(clock::now());
                    self.session.handle_timeout().await;
                }
                ended = self.session.ended() => break match ended {
                    Ended::Replaced => (CloseCode::POLICY, "a newer connection took over"),
                    Ended::Broken => (CloseCode(1011), "nothing can be kept of this station now"),
                },
                () = stopped(&mut stop), if !stopping => stopping = true,
            }
            while let Some(event) = self.endpoint.poll_event() {
                if let Some((call, message_id, data)) = self.event(event).await {
                    let session = self.session.clone();
                    answers.push(async move { (call, session.data_transfer(message_id, data).await) });
                }
            }
        };
        self.endpoint.handle_disconnect();
        connection.close(close, reason).await;
    }

    /// Sends all that may go out now.
    async fn transmit(&mut self, connection: &mut Connection<Stream>) -> Result<(), ocpp_rpc::ws::Error> {
        let stopping = *self.shared.stop.borrow();
        while !stopping
            && self.calls.is_empty()
            && let Some(call) = self.session.poll_call().await
        {
            let payload = payload_of(&self.shared.config.vendor_id, &call);
            match self.endpoint.call(ACTION, &payload, Priority::High) {
                Ok(id) => drop(self.calls.insert(id, call.token)),
                Err(_) => {
                    self.session
                        .handle_result(call.token, &CallOutcome::Disconnected)
                        .await;
                }
            }
        }
        while let Some(text) = self.endpoint.poll_transmit(clock::now()) {
            connection.send(text).await?;
        }
        Ok(())
    }

    /// Acts on an event; gives a DataTransfer that the relay is to answer.
    async fn event(&mut self, event: Event) -> Option<(IncomingId, String, Option<Data>)> {
        match event {
            // 2.x B01.FR.10 and B02.FR.09. 1.6 (section 4.2) forbids such calls as well, and names no answer.
            Event::Call { call, action, .. }
                if action != BOOT && (self.admission.cmp_only || self.session.is_pending().await) =>
            {
                self.fail(call, ErrorCode::SecurityError, "not before the boot is accepted");
                None
            }
            Event::Call {
                call,
                action,
                payload,
                ..
            } if action == ACTION => self.data_transfer(call, &payload),
            Event::Call { call, action, .. } => {
                self.call(call, &action).await;
                None
            }
            Event::Ended { call, outcome } => {
                if let Some(token) = self.calls.remove(&call) {
                    self.session.handle_result(token, &outcome_of(&outcome)).await;
                }
                None
            }
            Event::Dropped { reason, .. } => {
                debug!(?reason, "dropped a message of the station");
                None
            }
            _ => None,
        }
    }

    fn data_transfer(
        &mut self,
        call: IncomingId,
        payload: &RawValue,
    ) -> Option<(IncomingId, String, Option<Data>)> {
        let request = match Request::parse(payload) {
            Ok(request) => request,
            Err(error) => {
                self.fail(call, error.code(), "not a DataTransfer request");
                return None;
            }
        };
        if !is_vendor_id(&self.shared.config.vendor_id, &request.vendor_id) {
            self.send_response(call, &Response::new(data_transfer::Status::UnknownVendorId, None));
            return None;
        }
        let message_id = request.message_id.as_deref().unwrap_or_default().to_owned();
        Some((call, message_id, request.data.as_ref().map(from_wire)))
    }

    fn respond(&mut self, call: IncomingId, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.send_response(call, &response_of(&answer)),
            None => self.fail(call, ErrorCode::InternalError, "the answer is lost"),
        }
    }

    /// What a station needs in order to stay.
    async fn call(&mut self, call: IncomingId, action: &str) {
        let answer = match action {
            BOOT => self.boot().await,
            "Heartbeat" => json!({ "currentTime": clock::rfc3339(clock::utc()) }),
            "StatusNotification" | "SecurityEventNotification" => json!({}),
            _ => {
                return self.fail(
                    call,
                    ErrorCode::NotImplemented,
                    "this CSMS carries certificates only",
                );
            }
        };
        match serde_json::value::to_raw_value(&answer) {
            Ok(payload) if self.endpoint.respond(call, &payload).is_ok() => {}
            Ok(_) => debug!("an answer came too late"),
            Err(_) => self.fail(call, ErrorCode::InternalError, ""),
        }
    }

    async fn boot(&mut self) -> serde_json::Value {
        let config = &self.shared.config;
        let was_pending = self.session.is_pending().await;
        let boot = match self.admission.cmp_only || config.hold_pending && !self.session.may_be_let_in().await
        {
            true => Boot::Pending,
            false => Boot::Accepted,
        };
        self.session.set_boot(boot).await;
        let (status, interval) = match boot {
            Boot::Pending => ("Pending", config.pending_interval_s),
            _ => ("Accepted", config.heartbeat_interval_s),
        };
        if boot == Boot::Pending {
            self.session.start_pull().await;
        }
        info!(
            status,
            released = was_pending && boot == Boot::Accepted,
            "station booted"
        );
        json!({ "status": status, "currentTime": clock::rfc3339(clock::utc()), "interval": interval })
    }

    fn send_response(&mut self, call: IncomingId, response: &Response<'_>) {
        let payload = response.to_payload(self.endpoint.config().version);
        if self.endpoint.respond(call, &payload).is_err() {
            debug!("an answer came too late");
        }
    }

    fn fail(&mut self, call: IncomingId, code: ErrorCode, description: &str) {
        if self.endpoint.respond_error(call, code, description).is_err() {
            debug!("an answer came too late");
        }
    }
}
