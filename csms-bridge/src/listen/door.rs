//! From a TCP connection to a station that is let in.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::select_all;
use ocpp_rpc::ws::{Handshake, Refusal, ServerOptions};
use rustls::pki_types::CertificateDer;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::{Instrument, Span, debug, field, info_span, warn};

use super::{
    Listener, Listeners, Stream, Terms,
    client_certificate::ClientCertificate,
    room::{Full, Place, Room, source},
};
use crate::{
    Config, StationKey,
    access::{Access, Admission, Shown},
};

/// Connections above a limit that are read and answered at a time; what comes on top of them is closed unread.
const MAX_REFUSALS: usize = 32;

/// A station that is let in and waits for its WebSocket.
pub(crate) struct Arrival {
    pub(crate) handshake: Handshake<Stream>,
    pub(crate) key: StationKey,
    pub(crate) admission: Admission,
    /// What its TLS has shown, as DER.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Counts the connection as long as it is held.
    pub(crate) place: Place,
}

struct Door {
    options: ServerOptions,
    handshake_timeout: Duration,
    room: Arc<Room>,
    refusals: Semaphore,
    access: Arc<Access>,
    stop: watch::Receiver<bool>,
}

/// Takes connections until `stop`; `serve_station` has each station that is let in. Returns what still runs then.
pub(crate) async fn serve<F>(
    config: &Config,
    access: Arc<Access>,
    listeners: Listeners,
    mut stop: watch::Receiver<bool>,
    serve_station: impl Fn(Arrival) -> F + Clone + Send + Sync + 'static,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let door = Arc::new(Door {
        options: config.server_options(),
        handshake_timeout: config.handshake_timeout(),
        room: Room::new(config.max_connections, config.max_connections_per_address),
        refusals: Semaphore::new(MAX_REFUSALS),
        access,
        stop: stop.clone(),
    });
    let listeners = listeners.each;
    let mut connections = JoinSet::new();
    loop {
        let accepts = listeners.iter().map(|listener| Box::pin(listener.tcp.accept()));
        tokio::select! {
            () = stopped(&mut stop) => break,
            (accepted, number, _) = select_all(accepts) => match (accepted, listeners.get(number)) {
                (Ok((stream, peer)), Some(Listener { terms, .. })) => {
                    let span = info_span!("connection", %peer, listener = &*terms.name, station = field::Empty);
                    let (door, terms) = (Arc::clone(&door), Arc::clone(terms));
                    let serve_station = serve_station.clone();
                    let task = async move {
                        if let Some(arrival) = door.admit(stream, peer.ip(), &terms).await {
                            serve_station(arrival).await;
                        }
                    };
                    connections.spawn(task.instrument(span));
                }
                (Err(error), _) => {
                    // Out of files, mostly: nothing gets better by trying at once.
                    warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                (Ok(_), None) => {}
            },
            Some(_) = connections.join_next() => {}
        }
    }
    connections
}

impl Door {
    /// Takes a connection as far as to a station that is let in. What is refused is answered, and the log says why.
    async fn admit(&self, stream: TcpStream, address: IpAddr, terms: &Terms) -> Option<Arrival> {
        let place = match self.room.enter(address) {
            Ok(place) => place,
            Err(full) => {
                warn!(reason = %full, "too many connections: this one is refused");
                self.turn_away(stream, terms, full).await;
                return None;
            }
        };
        let mut stop = self.stop.clone();
        let (handshake, certificate) = tokio::select! {
            read = self.read(stream, terms) => read?,
            () = stopped(&mut stop) => return None,
        };
        let station = handshake.station();
        let key = StationKey {
            listener: terms.key().into(),
            prefix: station.prefix().into(),
            identity: station.identity().into(),
        };
        Span::current().record("station", field::display(&key));
        let shown = Shown {
            address: source(address),
            identity: &key.identity,
            certificate: certificate.as_ref(),
            basic: handshake.basic_auth(),
            wants_password: terms.wants_password,
        };
        match self.access.admit(shown).await {
            Ok(admission) => {
                debug!(?admission, "let in");
                Some(Arrival {
                    handshake,
                    key,
                    admission,
                    certificate: certificate.map(|certificate| certificate.der),
                    place,
                })
            }
            Err(denied) => {
                warn!(reason = %denied, "station is not let in");
                handshake.refuse(denied.refusal()).await;
                None
            }
        }
    }

    /// TLS, where the listener has it, and the head of the HTTP request. Each has its time.
    async fn read(
        &self,
        stream: TcpStream,
        terms: &Terms,
    ) -> Option<(Handshake<Stream>, Option<ClientCertificate>)> {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY");
        }
        let (stream, certificate) = match &terms.tls {
            None => (Stream::Plain(stream), None),
            Some(tls) => match tls.accept(stream, self.handshake_timeout).await {
                Ok((stream, certificate)) => (Stream::Tls(Box::new(stream.into())), certificate),
                Err(error) => {
                    warn!(%error, "no TLS");
                    return None;
                }
            },
        };
        match Handshake::read(stream, &self.options).await {
            Ok(handshake) => Some((handshake, certificate)),
            Err(error) => {
                warn!(%error, "no OCPP handshake");
                None
            }
        }
    }

    /// Tells one for whom there is no place that it is so, if not too many are being told.
    async fn turn_away(&self, stream: TcpStream, terms: &Terms, full: Full) {
        let refusal = match full {
            Full::All => Refusal::Unavailable,
            Full::Address => Refusal::TooManyRequests,
        };
        if let Ok(_turn) = self.refusals.try_acquire()
            && let Some((handshake, _)) = self.read(stream, terms).await
        {
            handshake.refuse(refusal).await;
        }
    }
}

/// Returns when the bridge is to end. What the channel lends stays in here: a future that holds it cannot be spawned.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can stop nothing any more, and nobody is left who wants the bridge.
    let _ = stop.wait_for(|stop| *stop).await;
}
