//! The binding's side of a station's connection: answers the station's DataTransfers, and says what to call.

use std::time::Duration;

use cmp_binding::{CallToken, Operation};
use futures_util::{StreamExt, stream::FuturesUnordered};
use ocpp_rpc::{
    ErrorCode, RawValue, Version,
    data_transfer::Request,
    endpoint::Outcome,
    splice::{self, IncomingId, Kind},
};
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::{
    Boot, clock,
    link::{from_wire, outcome_of, payload_of, response_of},
    listen::stopped,
    relay::Session,
};

/// What the legs have for the carrier.
pub(super) enum Event {
    DataTransfer {
        call: IncomingId,
        payload: Box<RawValue>,
    },
    Ended(Outcome),
    Booted(splice::Boot),
}

/// What the carrier has for the legs.
pub(super) enum Order {
    Call { kind: Kind, payload: Box<RawValue> },
    Respond { call: IncomingId, response: Reply },
}

/// An answer to a DataTransfer of the station.
pub(super) enum Reply {
    Result(Box<RawValue>),
    Error(ErrorCode, &'static str),
}

pub(super) struct Carrier {
    pub(super) session: Session,
    pub(super) vendor_id: String,
    pub(super) version: Version,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Carrier {
    /// Until the legs are gone.
    pub(super) async fn run(mut self) {
        let mut answers = FuturesUnordered::new();
        let mut stop = self.stop.clone();
        let mut stopping = false;
        let mut call = None;
        loop {
            // While the bridge ends, the station is not called any more.
            if call.is_none() && !stopping {
                call = self.next_call().await;
            }
            let due = self.session.poll_timeout().await.filter(|_| !stopping);
            // What is past and could not be done now is looked at again after a while, not at once.
            let wait = due.map_or(Duration::from_secs(60), |due| due.saturating_sub(clock::now()));
            tokio::select! {
                event = self.events.recv() => match event {
                    None => break,
                    Some(Event::DataTransfer { call, payload }) => {
                        let (session, version) = (self.session.clone(), self.version);
                        answers.push(async move {
                            let response = answer(&session, version, &payload).await;
                            Order::Respond { call, response }
                        });
                    }
                    Some(Event::Ended(outcome)) => {
                        if let Some(token) = call.take() {
                            self.session.handle_result(token, &outcome_of(&outcome)).await;
                        }
                    }
                    Some(Event::Booted(boot)) => self.booted(boot).await,
                },
                // Legs that are gone need no answer.
                Some(order) = answers.next() => drop(self.orders.send(order).await),
                () = self.session.woken() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {
                    self.session.handle_timeout().await;
                }
                () = stopped(&mut stop), if !stopping => stopping = true,
            }
        }
        self.session.disconnect().await;
    }

    /// Hands the next call to the legs.
    async fn next_call(&self) -> Option<CallToken> {
        let call = self.session.poll_call().await?;
        let kind = match Operation::parse(call.message_id) {
            Some(Operation::Notify) => Kind::Notify,
            _ => Kind::Pull,
        };
        let payload = payload_of(&self.vendor_id, &call);
        // Legs that are gone have no place for it.
        let _ = self.orders.send(Order::Call { kind, payload }).await;
        Some(call.token)
    }

    async fn booted(&self, boot: splice::Boot) {
        info!(status = ?boot, "station booted");
        self.session
            .set_boot(match boot {
                splice::Boot::Accepted => Boot::Accepted,
                splice::Boot::Pending => Boot::Pending,
                splice::Boot::Rejected => Boot::Unknown,
            })
            .await;
        if boot == splice::Boot::Pending {
            self.session.start_pull().await;
        }
    }
}

async fn answer(session: &Session, version: Version, payload: &RawValue) -> Reply {
    let request = match Request::parse(payload) {
        Ok(request) => request,
        Err(error) => return Reply::Error(error.code(), "not a DataTransfer request"),
    };
    let message_id = request.message_id.as_deref().unwrap_or_default().to_owned();
    let data = request.data.as_ref().map(from_wire);
    match session.data_transfer(message_id, data).await {
        Some(answer) => Reply::Result(response_of(&answer).to_payload(version)),
        None => Reply::Error(ErrorCode::InternalError, "the answer is lost"),
    }
}
