//! The two sockets of a station: what comes from one goes through the splice to the other.

use std::time::Duration;

use ocpp_rpc::{
    Splice, splice,
    ws::{CloseCode, Connection, Error, Progress},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::{debug, info, warn};

use super::carrier::{Event, Order, Reply};
use crate::{
    clock,
    listen::{Stream, stopped},
    relay::{Ended, Session},
};

pub(super) struct Legs {
    pub(super) station: Connection<Stream>,
    pub(super) csms: Connection<Stream>,
    pub(super) splice: Splice,
    pub(super) session: Session,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) stop: watch::Receiver<bool>,
}

/// With what each leg is closed.
struct End {
    station: (CloseCode, String),
    csms: (CloseCode, String),
}

impl End {
    fn of(code: CloseCode, reason: &str) -> Self {
        Self {
            station: (code, reason.into()),
            csms: (CloseCode::AWAY, reason.into()),
        }
    }

    /// What one leg was closed with closes the other.
    fn both(code: CloseCode, reason: &str) -> Self {
        Self {
            station: (code, reason.into()),
            csms: (code, reason.into()),
        }
    }
}

/// Room that the carrier must have before more is read: what one text can lead to.
const ROOM: usize = 4;

impl Legs {
    /// Until either side is gone; then closes the other.
    pub(super) async fn run(mut self) {
        let end = self.pass().await;
        // The carrier is done now, and not only when both are closed.
        drop((self.events, self.orders));
        let (station, csms) = (self.station, self.csms);
        tokio::join!(
            station.close(end.station.0, &end.station.1),
            csms.close(end.csms.0, &end.csms.1)
        );
    }

    async fn pass(&mut self) -> End {
        let mut stop = self.stop.clone();
        let mut stopping = false;
        loop {
            if let Err(end) = self.write() {
                return end;
            }
            // What the station asks for is answered first.
            if stopping && self.splice.is_idle() && self.station.is_flushed() && self.csms.is_flushed() {
                return End::of(CloseCode::AWAY, "the server ends");
            }
            // A slow reader on one side holds the other back.
            let has_room = self.events.capacity() >= ROOM;
            let read_station = has_room && self.csms.is_flushed() && self.splice.takes_station();
            let read_csms = has_room && self.station.is_flushed() && self.splice.takes_csms();
            let due = self.splice.poll_timeout();
            let wait = due.map_or(Duration::MAX, |due| due.saturating_sub(clock::now()));
            tokio::select! {
                step = self.station.drive(read_station), if read_station || !self.station.is_flushed() => {
                    match step {
                        Ok(Progress::Text(text)) => self.splice.handle_station(clock::now(), text),
                        Ok(Progress::Flushed) => {}
                        Ok(Progress::Closed) => return self.station_closed(),
                        Err(error) => return self.broken("station", &error),
                    }
                }
                step = self.csms.drive(read_csms), if read_csms || !self.csms.is_flushed() => {
                    match step {
                        Ok(Progress::Text(text)) => self.splice.handle_csms(clock::now(), text),
                        Ok(Progress::Flushed) => {}
                        Ok(Progress::Closed) => return self.csms_closed().await,
                        Err(error) => return self.broken("CSMS", &error),
                    }
                }
                Some(order) = self.orders.recv() => self.obey(order),
                () = sleep(wait), if due.is_some() => self.splice.handle_timeout(clock::now()),
                ended = self.session.ended() => return match ended {
                    Ended::Replaced => End::of(CloseCode::POLICY, "a newer connection took over"),
                    Ended::Broken => End::of(CloseCode(1011), "nothing can be kept of this station now"),
                },
                () = stopped(&mut stop), if !stopping => stopping = true,
                () = room(&self.events), if !has_room => {}
            }
            self.tell();
        }
    }

    /// Gives each socket what is for it, one text at a time.
    fn write(&mut self) -> Result<(), End> {
        while self.station.is_flushed()
            && let Some(text) = self.splice.poll_station()
        {
            if let Err(error) = self.station.queue(text) {
                return Err(self.broken("station", &error));
            }
        }
        while self.csms.is_flushed()
            && let Some(text) = self.splice.poll_csms()
        {
            if let Err(error) = self.csms.queue(text) {
                return Err(self.broken("CSMS", &error));
            }
        }
        Ok(())
    }

    /// Tells the carrier what happened.
    fn tell(&mut self) {
        while let Some(event) = self.splice.poll_event() {
            let event = match event {
                splice::Event::DataTransfer { call, payload } => Event::DataTransfer { call, payload },
                splice::Event::Ended(outcome) => Event::Ended(outcome),
                splice::Event::Booted(boot) => Event::Booted(boot),
                splice::Event::Kept(kept) => {
                    debug!(?kept, "did not pass");
                    continue;
                }
            };
            // There was room for it before what led to it was read.
            if self.events.try_send(event).is_err() {
                warn!("the connection has no room for what happened on it");
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Call { kind, payload } => {
                if self.splice.call(clock::now(), kind, payload).is_err() {
                    warn!("a call before the end of the one before");
                }
            }
            Order::Respond { call, response } => match response {
                Reply::Result(payload) => self.splice.respond(call, &payload),
                Reply::Error(code, description) => self.splice.respond_error(call, code, description),
            },
        }
    }

    fn station_closed(&self) -> End {
        info!("station closed the connection");
        let code = self.station.closed_by_peer().unwrap_or(CloseCode::AWAY);
        End::both(code, self.station.close_reason())
    }

    /// What the CSMS had said before goes on first.
    async fn csms_closed(&mut self) -> End {
        info!("CSMS closed the connection");
        self.splice.handle_csms_closed(clock::now());
        while let Some(text) = self.splice.poll_station() {
            if let Err(error) = self.station.send(text).await {
                return self.broken("station", &error);
            }
        }
        let code = self.csms.closed_by_peer().unwrap_or(CloseCode::AWAY);
        End::both(code, self.csms.close_reason())
    }

    fn broken(&self, leg: &'static str, error: &Error) -> End {
        info!(leg, %error, "disconnected");
        End::both(CloseCode::AWAY, "the other side is gone")
    }
}

/// Returns when the carrier has taken enough.
async fn room(events: &mpsc::Sender<Event>) {
    // One that is gone takes nothing; then the connection ends as well.
    let _ = events.reserve_many(ROOM).await.map(drop);
}
