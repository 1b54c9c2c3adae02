//! The bridge in front of the operator's CSMS: each station has a connection of its own to the CSMS behind it, and what the
//! two say passes as it is. What belongs to the binding is answered here, and calls of the bridge go in between.
//!
//! ```text
//! station ──► legs ──► CSMS        the two sockets; who may send what when is ocpp_rpc's splice
//!              │ ▲
//!              ▼ │
//!            carrier ──► relay     the DataTransfers of the binding
//! ```

mod carrier;
mod legs;
mod outage;
mod upstream;

use std::sync::Arc;

use ocpp_rpc::{
    Splice,
    splice::{self, Boot},
    ws::CloseCode,
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::{
    Config,
    access::Proof,
    link,
    listen::Arrival,
    relay::Relay,
    standalone::{self, Standalone},
};
use carrier::Carrier;
use legs::Legs;
use outage::Outage;
use upstream::NoCsms;
pub(crate) use upstream::Upstream;

/// What the connections have in common.
pub(crate) struct Proxy {
    config: Arc<Config>,
    relay: Arc<Relay>,
    upstream: Arc<Upstream>,
    outage: Outage,
    stop: watch::Receiver<bool>,
}

/// What may wait on its way between the legs and the carrier: a station has few calls without an answer.
const MAX_WAITING: usize = 16;

impl Proxy {
    pub(crate) fn new(
        config: Arc<Config>,
        relay: Arc<Relay>,
        upstream: Arc<Upstream>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            config,
            relay,
            outage: Outage::new(Arc::clone(&upstream), stop.clone()),
            upstream,
            stop,
        }
    }

    /// A station for which there is no CSMS, or which the CSMS is not to see.
    async fn serve_alone(&self, mut arrival: Arrival, stop: watch::Receiver<bool>) {
        arrival.admission.cmp_only = true;
        let alone = Standalone {
            config: Arc::clone(&self.config),
            relay: Arc::clone(&self.relay),
            stop,
        };
        standalone::station(Arc::new(alone), arrival).await;
    }

    fn splice_config(&self, version: ocpp_rpc::Version) -> splice::Config {
        splice::Config {
            call_timeout: self.config.proxy.call_timeout(),
            notify_within: self.config.proxy.notify_within(),
            ..splice::Config::new(version, self.config.vendor_id.clone())
        }
    }
}

/// Serves a station until it or the CSMS is gone. It is let in when the CSMS has let it in.
pub(crate) async fn station(proxy: Arc<Proxy>, arrival: Arrival) {
    if arrival.admission.cmp_only {
        return proxy.serve_alone(arrival, proxy.stop.clone()).await;
    }
    let asked = proxy
        .upstream
        .connect(&arrival.handshake, arrival.certificate.as_ref());
    let csms = match asked.await {
        Ok(csms) => csms,
        Err(NoCsms::NoCommonSubprotocol) => {
            warn!(reason = %NoCsms::NoCommonSubprotocol, "station is not let in");
            // Finishes the handshake without one and closes, as OCPP-J asks.
            let _ = arrival.handshake.accept_as(None).await;
            return;
        }
        Err(NoCsms::Unreachable(error))
            if proxy.config.proxy.cmp_without_csms && arrival.admission.proof != Proof::None =>
        {
            warn!(%error, "the CSMS cannot be reached: CMP only");
            let back = proxy.outage.enter();
            return proxy.serve_alone(arrival, back).await;
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(reason = %error, cause, "station is not let in");
            return arrival.handshake.refuse(error.refusal()).await;
        }
    };
    let version = csms.version();
    let Arrival {
        handshake,
        key,
        place: _place,
        ..
    } = arrival;
    let station = match handshake.accept_as(Some(version)).await {
        Ok(station) => station,
        Err(error) => {
            debug!(%error, "handshake failed");
            return csms.close(CloseCode::AWAY, "the station is gone").await;
        }
    };
    let Some(session) = proxy.relay.connect(key).await else {
        // What is wrong, the log says.
        let reason = "no room for this station";
        let close = (
            station.close(CloseCode(1011), reason),
            csms.close(CloseCode::AWAY, reason),
        );
        tokio::join!(close.0, close.1);
        return;
    };
    info!(version = version.subprotocol(), "station connected");
    let boot = match session.is_pending().await {
        true => Boot::Pending,
        false => Boot::Accepted,
    };
    let (events, from_legs) = mpsc::channel(MAX_WAITING);
    let (orders, from_carrier) = mpsc::channel(MAX_WAITING);
    let carrier = Carrier {
        session: session.clone(),
        vendor_id: proxy.config.vendor_id.clone(),
        version,
        events: from_legs,
        orders,
        stop: proxy.stop.clone(),
    };
    let legs = Legs {
        station,
        csms,
        splice: Splice::new(proxy.splice_config(version), link::seed(), boot),
        session,
        events,
        orders: from_carrier,
        stop: proxy.stop.clone(),
    };
    // Each in its own time: what the store or an RA takes long for does not hold up what passes.
    tokio::join!(legs.run(), carrier.run());
}
