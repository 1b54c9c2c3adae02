//! Asks the RA: the state says so before the first byte is written.

use std::sync::Arc;

use cmp_binding::{ExchangeId, Route, csms::RaError};
use tracing::{Instrument, info, info_span, warn};

use super::{Entry, Relay};
use crate::{header, ra};

impl Relay {
    pub(super) fn spawn_forward(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        id: ExchangeId,
        route: Route,
        request: Vec<u8>,
    ) {
        let span = info_span!("forward", station = %entry.key, exchange = %id, route = route.as_str());
        let (relay, entry) = (Arc::clone(self), Arc::clone(entry));
        relay.count_in_flight(1);
        let task = async move {
            relay.forward(&entry, id, &route, request).await;
            relay.count_in_flight(-1);
        };
        tokio::spawn(task.instrument(span));
    }

    fn count_in_flight(&self, more: isize) {
        self.in_flight.send_modify(|requests| {
            *requests = requests.saturating_add_signed(more);
            self.metrics.in_flight(*requests);
        });
    }

    async fn forward(self: &Arc<Self>, entry: &Arc<Entry>, id: ExchangeId, route: &Route, request: Vec<u8>) {
        let bytes = request.len();
        let began = crate::clock::now();
        let Some(result) = self.ask(entry, id, route, request).await else {
            return;
        };
        match &result {
            Ok(response) => info!(
                request_bytes = bytes,
                response_bytes = response.len(),
                "exchanged"
            ),
            Err(error) => warn!(request_bytes = bytes, %error, "no response"),
        }
        let took = crate::clock::now().saturating_sub(began);
        self.metrics.exchanged(route, bytes, &result, took);
        self.with(entry, |state, now| state.csms.handle_ra_response(now, id, result))
            .await;
    }

    /// `None` if the exchange was given up, or what is about to be done could not be stored, or the answer comes as a file.
    async fn ask(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        id: ExchangeId,
        route: &Route,
        request: Vec<u8>,
    ) -> Option<Result<Vec<u8>, RaError>> {
        let Some(ra) = self.routes.get(route) else {
            return Some(Err(RaError::Forbidden));
        };
        if let Err(reason) = self.access.permit(&entry.key, route, &request) {
            warn!(%reason, "forbidden");
            return Some(Err(RaError::Forbidden));
        }
        let http = match ra {
            ra::Route::Http(http) => http,
            ra::Route::Spool(spool) => {
                return self.deposit(entry, id, spool, request).await.err().map(Err);
            }
        };
        let pinned = match self.pinned(entry, http.has_choice(), &request).await {
            Ok(pinned) => pinned,
            Err(error) => return Some(Err(error)),
        };
        let ready = match http.connect(pinned.as_deref()).await {
            Ok(ready) => ready,
            Err(error) => return Some(Err(error)),
        };
        let may = self.with(entry, |state, now| {
            let may = state.csms.handle_asked(now, id);
            state.target = may.then(|| (id, ready.url().to_owned()));
            may
        });
        if !may.await || entry.is_broken() {
            return None;
        }
        Some(ready.ask(&request).await)
    }

    /// The URL that the request's transaction is bound to.
    async fn pinned(
        &self,
        entry: &Entry,
        has_choice: bool,
        request: &[u8],
    ) -> Result<Option<String>, RaError> {
        match header::transaction_id(request).filter(|_| has_choice) {
            None => Ok(None),
            Some(id) => self.store.target(&entry.key, &id).await.map_err(|error| {
                warn!(%error, "it is not known where the transaction goes");
                RaError::Unreachable
            }),
        }
    }
}
