//! One connection as a value: texts and time go in, texts come out.

use std::collections::BTreeMap;
use std::time::Duration;

use cmp_binding::station::Mode;
use cmp_binding::{Answer, CallOutcome, CallToken, Data, Form, Status, is_vendor_id};
use ocpp_rpc::data_transfer::{self, ACTION, Request, Response};
use ocpp_rpc::endpoint::{self, CallId, Endpoint, Event, IncomingId, Outcome, Priority};
use ocpp_rpc::{ErrorCode, RawValue, Version};
use tracing::{info, warn};

use super::boot::{self, BootStatus, Booted, Identification};
use super::{Carrier, Config};

/// Between BootNotifications that were not answered.
const BOOT_RETRY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Session {
    endpoint: Endpoint,
    version: Version,
    vendor_id: String,
    identification: Identification,
    booted: Option<Booted>,
    boot_due: Option<Duration>,
    heartbeat_due: Option<Duration>,
    status_sent: bool,
    calls: BTreeMap<CallId, Purpose>,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Boot,
    Heartbeat,
    Status,
    Carrier(CallToken),
}

impl Session {
    pub(super) fn new(config: &Config, version: Version, seed: u64, now: Duration) -> Self {
        let endpoint = endpoint::Config {
            call_timeout: config.call_timeout,
            ..endpoint::Config::new(version)
        };
        Self {
            endpoint: Endpoint::new(endpoint, seed),
            version,
            vendor_id: config.vendor_id.clone(),
            identification: config.identification.clone(),
            booted: None,
            boot_due: Some(now),
            heartbeat_due: None,
            status_sent: false,
            calls: BTreeMap::new(),
        }
    }

    pub(super) fn boot_status(&self) -> Option<BootStatus> {
        self.booted.map(|booted| booted.status)
    }

    /// Takes a text of the CSMS. Returns what it said to a BootNotification, if that was it.
    pub(super) fn handle_text<C: Carrier>(
        &mut self,
        carrier: &mut C,
        now: Duration,
        text: &str,
    ) -> Option<BootStatus> {
        self.endpoint.handle_frame(now, text);
        self.take_events(carrier, now)
    }

    pub(super) fn handle_timeout<C: Carrier>(&mut self, carrier: &mut C, now: Duration) {
        self.endpoint.handle_timeout(now);
        self.take_events(carrier, now);
        carrier.handle_timeout(now);
    }

    /// The next text to send.
    pub(super) fn poll_transmit<C: Carrier>(&mut self, carrier: &mut C, now: Duration) -> Option<String> {
        self.queue_calls(carrier, now);
        self.endpoint.poll_transmit(now)
    }

    pub(super) fn poll_timeout<C: Carrier>(&self, carrier: &C) -> Option<Duration> {
        [
            self.endpoint.poll_timeout(),
            carrier.poll_timeout(),
            self.boot_due,
            self.heartbeat_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The connection is gone.
    pub(super) fn close<C: Carrier>(&mut self, carrier: &mut C, now: Duration) {
        self.endpoint.handle_disconnect();
        self.take_events(carrier, now);
        carrier.handle_disconnected(now);
    }

    fn queue_calls<C: Carrier>(&mut self, carrier: &mut C, now: Duration) {
        if self.boot_due.take_if(|due| *due <= now).is_some() {
            let payload = boot::boot_notification(self.version, &self.identification);
            self.call("BootNotification", &payload, Purpose::Boot);
        }
        if self.boot_status() != Some(BootStatus::Accepted) {
            return;
        }
        if !self.status_sent {
            self.status_sent = true;
            let payload = boot::status_notification(self.version);
            self.call("StatusNotification", &payload, Purpose::Status);
        }
        if self.heartbeat_due.take_if(|due| *due <= now).is_some() {
            self.call("Heartbeat", &boot::heartbeat(), Purpose::Heartbeat);
        }
        while let Some(call) = carrier.poll_call(now) {
            let json = object_json(&call.data);
            let request = Request {
                vendor_id: self.vendor_id.as_str().into(),
                message_id: Some(call.message_id.into()),
                data: Some(outgoing(&call.data, json.as_deref())),
            };
            let payload = request.to_payload();
            if !self.call(ACTION, &payload, Purpose::Carrier(call.token)) {
                carrier.handle_result(now, call.token, &CallOutcome::Disconnected);
                break;
            }
        }
    }

    /// Queues a call; returns whether there was room.
    fn call(&mut self, action: &str, payload: &RawValue, purpose: Purpose) -> bool {
        match self.endpoint.call(action, payload, Priority::Normal) {
            Ok(call) => {
                self.calls.insert(call, purpose);
                true
            }
            Err(error) => {
                warn!(action, %error, "call not made");
                false
            }
        }
    }

    fn take_events<C: Carrier>(&mut self, carrier: &mut C, now: Duration) -> Option<BootStatus> {
        let mut said = None;
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Call {
                    call,
                    action,
                    payload,
                    ..
                } => self.answer(carrier, now, call, &action, &payload),
                Event::Ended { call, outcome } => match self.calls.remove(&call) {
                    Some(Purpose::Carrier(token)) => {
                        carrier.handle_result(now, token, &carrier_outcome(outcome));
                    }
                    Some(Purpose::Boot) => said = self.boot_answered(carrier, now, &outcome).or(said),
                    Some(Purpose::Heartbeat) => self.plan_heartbeat(now),
                    Some(Purpose::Status) | None => {}
                },
                Event::ResultRefused { error, .. } => {
                    warn!(code = error.code_name, "the CSMS did not understand an answer");
                }
                Event::Dropped { reason, .. } => info!(?reason, "message dropped"),
                Event::Send { .. } => {}
            }
        }
        said
    }

    fn boot_answered<C: Carrier>(
        &mut self,
        carrier: &mut C,
        now: Duration,
        outcome: &Outcome,
    ) -> Option<BootStatus> {
        let booted = match outcome {
            Outcome::Result(payload) => Booted::parse(payload),
            Outcome::Disconnected { .. } => return None,
            _ => None,
        };
        let Some(booted) = booted else {
            warn!(?outcome, "no answer to BootNotification that can be used");
            self.boot_due = Some(now.saturating_add(BOOT_RETRY));
            return None;
        };
        self.booted = Some(booted);
        if booted.status == BootStatus::Accepted {
            carrier.set_mode(Mode::Push);
            self.plan_heartbeat(now);
        } else {
            carrier.set_mode(Mode::PullOnly);
            self.boot_due = Some(now.saturating_add(booted.interval));
        }
        Some(booted.status)
    }

    fn plan_heartbeat(&mut self, now: Duration) {
        self.heartbeat_due = self.booted.map(|booted| now.saturating_add(booted.interval));
    }

    fn answer<C: Carrier>(
        &mut self,
        carrier: &mut C,
        now: Duration,
        call: IncomingId,
        action: &str,
        payload: &RawValue,
    ) {
        let is_rejected = self.boot_status() == Some(BootStatus::Rejected);
        if is_rejected && self.version == Version::V1_6 {
            // "SHALL NOT respond to any Central System initiated message" (1.6 section 4.2).
            let _ = self.endpoint.leave_unanswered(call);
            return;
        }
        let answer = match action {
            // 2.x has an answer for it (B03.FR.08).
            _ if is_rejected => Err((ErrorCode::SecurityError, "not accepted by the CSMS")),
            ACTION => self.answer_data_transfer(carrier, now, payload),
            "TriggerMessage" => Ok(self.answer_trigger(now, payload)),
            _ => Err((ErrorCode::NotImplemented, "")),
        };
        let answered = match answer {
            Ok(payload) => self.endpoint.respond(call, &payload),
            Err((code, description)) => self.endpoint.respond_error(call, code, description),
        };
        if let Err(error) = answered {
            warn!(%error, "answer not given");
        }
    }

    fn answer_data_transfer<C: Carrier>(
        &self,
        carrier: &mut C,
        now: Duration,
        payload: &RawValue,
    ) -> Result<Box<RawValue>, (ErrorCode, &'static str)> {
        let request = Request::parse(payload).map_err(|error| (error.code(), "no DataTransfer"))?;
        let unknown = |status| Ok(Response::new(status, None).to_payload(self.version));
        if !is_vendor_id(&self.vendor_id, &request.vendor_id) {
            return unknown(data_transfer::Status::UnknownVendorId);
        }
        let Some(message_id) = &request.message_id else {
            return unknown(data_transfer::Status::UnknownMessageId);
        };
        let data = request.data.as_ref().map(incoming);
        let Answer { status, data } = carrier.handle_call(now, message_id, data.as_ref());
        let json = data.as_ref().and_then(object_json);
        let data = data.as_ref().map(|data| outgoing(data, json.as_deref()));
        Ok(Response::new(outgoing_status(status), data).to_payload(self.version))
    }

    /// TriggerMessage: a BootNotification may be asked for, which is how a CSMS ends Pending early.
    fn answer_trigger(&mut self, now: Duration, payload: &RawValue) -> Box<RawValue> {
        #[derive(serde::Deserialize)]
        struct Wire {
            #[serde(rename = "requestedMessage")]
            requested_message: String,
        }
        let wire = serde_json::from_str::<Wire>(payload.get());
        let is_boot = wire.is_ok_and(|wire| wire.requested_message == "BootNotification");
        if is_boot
            && !self
                .calls
                .values()
                .any(|purpose| matches!(purpose, Purpose::Boot))
        {
            self.boot_due = Some(now);
        }
        let status = if is_boot { "Accepted" } else { "NotImplemented" };
        serde_json::value::to_raw_value(&serde_json::json!({ "status": status })).unwrap_or_default()
    }
}

fn carrier_outcome(outcome: Outcome) -> CallOutcome {
    match outcome {
        Outcome::Result(payload) => match Response::parse(&payload) {
            Ok(response) => CallOutcome::Response {
                status: incoming_status(response.status),
                data: response.data.as_ref().map(incoming),
            },
            Err(error) => CallOutcome::CallError {
                code: error.code().name(Version::V2_0_1).into(),
            },
        },
        Outcome::Error(error) => CallOutcome::CallError {
            code: error.code_name,
        },
        Outcome::TimedOut => CallOutcome::TimedOut,
        Outcome::Disconnected { .. } => CallOutcome::Disconnected,
    }
}

fn incoming(data: &data_transfer::Data<'_>) -> Data {
    match data {
        data_transfer::Data::Text(text) => Data::text(&**text),
        data_transfer::Data::Json(raw) => Data::object(raw.get()),
    }
}

/// The JSON of data that travels as an object.
fn object_json(data: &Data) -> Option<Box<RawValue>> {
    let is_object = data.form == Form::Object;
    is_object.then(|| RawValue::from_string(data.json.clone()).ok())?
}

fn outgoing<'a>(data: &'a Data, json: Option<&'a RawValue>) -> data_transfer::Data<'a> {
    match json {
        Some(raw) => data_transfer::Data::Json(raw),
        None => data_transfer::Data::Text(data.json.as_str().into()),
    }
}

const fn incoming_status(status: data_transfer::Status) -> Status {
    match status {
        data_transfer::Status::Accepted => Status::Accepted,
        data_transfer::Status::Rejected => Status::Rejected,
        data_transfer::Status::UnknownMessageId => Status::UnknownMessageId,
        data_transfer::Status::UnknownVendorId => Status::UnknownVendorId,
    }
}

const fn outgoing_status(status: Status) -> data_transfer::Status {
    match status {
        Status::Accepted => data_transfer::Status::Accepted,
        Status::Rejected => data_transfer::Status::Rejected,
        Status::UnknownMessageId => data_transfer::Status::UnknownMessageId,
        Status::UnknownVendorId => data_transfer::Status::UnknownVendorId,
    }
}

#[cfg(test)]
mod tests;
