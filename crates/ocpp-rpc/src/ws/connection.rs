//! One open WebSocket of OCPP-J.

use std::future::poll_fn;
use std::string::String;
use std::task::Poll;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::{Error, Limits};
use crate::Version;

/// A close code of RFC 6455 section 7.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away.
    pub const AWAY: Self = Self(1001);
    /// 1002: protocol error.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: text that is no UTF-8.
    pub const INVALID: Self = Self(1007);
    /// 1008: policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: message too large.
    pub const TOO_LARGE: Self = Self(1009);

    /// The code to pass on to another connection: itself, or 1001 for one that must not be sent.
    #[must_use]
    pub fn to_send(self) -> Self {
        if WsCloseCode::from(self.0).is_allowed() {
            self
        } else {
            Self::AWAY
        }
    }
}

/// What [`Connection::drive`] has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The next text message, byte for byte.
    Text(String),
    /// All that was queued has gone.
    Flushed,
    /// The peer has closed, see [`Connection::closed_by_peer`].
    Closed,
}

/// A WebSocket over any stream, after its handshake.
///
/// Pings are answered and sent, and a dead peer is noticed, while [`Connection::recv`] is waited for.
#[derive(Debug)]
pub struct Connection<S> {
    socket: WebSocketStream<S>,
    version: Version,
    limits: Limits,
    /// When the next ping is due or, if one was sent, when the peer is dead.
    deadline: Option<Instant>,
    pinged: bool,
    /// Until when the stream may take to take what was written; `None` if it has.
    flush_by: Option<Instant>,
    closed_by_peer: Option<(CloseCode, Utf8Bytes)>,
    /// Why the connection is over, until the peer was told and [`Connection::recv`] has said so.
    broken: Option<Error>,
    /// Until when the own close frame may take.
    linger_until: Option<Instant>,
    finished: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(socket: WebSocketStream<S>, version: Version, limits: Limits) -> Self {
        let deadline = limits.ping_interval.map(|interval| Instant::now() + interval);
        Self {
            socket,
            version,
            limits,
            deadline,
            pinged: false,
            flush_by: None,
            closed_by_peer: None,
            broken: None,
            linger_until: None,
            finished: false,
        }
    }

    /// The version that was negotiated.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The stream underneath.
    pub fn stream(&self) -> &S {
        self.socket.get_ref()
    }

    /// The next text message, byte for byte; `None` once the peer has closed, see [`Connection::closed_by_peer`].
    ///
    /// May be dropped while it waits: no message is lost, and no error either.
    ///
    /// # Errors
    /// After an error the connection is over: what can be told to the peer was told with a close frame.
    pub async fn recv(&mut self) -> Result<Option<String>, Error> {
        loop {
            match self.drive(true).await? {
                Progress::Text(text) => return Ok(Some(text)),
                Progress::Flushed => {}
                Progress::Closed => return Ok(None),
            }
        }
    }

    /// Writes what is queued and, if `read`, reads at the same time: for one who must do both so as not to wait for a peer
    /// that waits for him. Not reading tells the peer to slow down; nothing is noticed of it meanwhile, and if nothing is
    /// queued either, this waits for ever.
    ///
    /// May be dropped while it waits: no message is lost, and no error either.
    ///
    /// # Errors
    /// As [`Connection::recv`]; [`Error::TimedOut`] also if the peer does not take what is queued.
    pub async fn drive(&mut self, read: bool) -> Result<Progress, Error> {
        if self.broken.is_none() {
            if self.finished {
                return Ok(Progress::Closed);
            }
            match self.next_progress(read).await {
                Ok(Progress::Closed) => self.finished = true,
                Ok(progress) => return Ok(progress),
                Err(error) => self.broken = Some(error),
            }
        }
        // One that was dropped while it closed goes on here.
        if let Some(code) = self.broken.as_ref().and_then(code_for) {
            self.end(code, "").await;
        }
        self.finished = true;
        self.broken.take().map_or(Ok(Progress::Closed), Err)
    }

    /// Queues one text message; [`Connection::drive`] sends it. To bound what is held, wait for
    /// [`Connection::is_flushed`] before the next.
    ///
    /// # Errors
    /// [`Error::NotSent`] above the limit or after the end, or those of the stream.
    pub fn queue(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.begin_write(Message::Text(Utf8Bytes::from(text.into())))
    }

    /// Whether the stream has taken all that was sent.
    pub const fn is_flushed(&self) -> bool {
        self.flush_by.is_none()
    }

    /// Sends one text message and waits until the stream has taken it.
    ///
    /// If it is dropped while it waits, the message may still be sent.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the peer does not read, after which the connection is over.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.queue(text)?;
        self.flush().await
    }

    /// Sends a ping at once, whose answer is expected within the pong time-out.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.begin_ping()?;
        self.flush().await
    }

    /// Closes with `code` ([`CloseCode::to_send`] of it) and `reason` (cropped at 123 bytes), and waits a little for the
    /// peer to close as well.
    pub async fn close(mut self, code: CloseCode, reason: &str) {
        self.end(code, reason).await;
    }

    /// The code that the peer closed with; 1005 if it gave none, `None` if it did not close.
    pub fn closed_by_peer(&self) -> Option<CloseCode> {
        self.closed_by_peer.as_ref().map(|(code, _)| *code)
    }

    /// The reason that the peer gave when it closed, at most 123 bytes; empty if it gave none.
    pub fn close_reason(&self) -> &str {
        self.closed_by_peer
            .as_ref()
            .map_or("", |(_, reason)| reason.as_str())
    }

    async fn next_progress(&mut self, read: bool) -> Result<Progress, Error> {
        loop {
            let deadline = self.deadline.filter(|_| read);
            let due = deadline.into_iter().chain(self.flush_by).min();
            let (socket, flush) = (&mut self.socket, self.flush_by.is_some());
            let step = poll_fn(|cx| {
                if flush && let Poll::Ready(result) = socket.poll_flush_unpin(cx) {
                    return Poll::Ready(Step::Flushed(result));
                }
                match read {
                    true => socket.poll_next_unpin(cx).map(Step::Received),
                    false => Poll::Pending,
                }
            });
            tokio::select! {
                biased;
                step = step => match step {
                    Step::Flushed(result) => {
                        result?;
                        self.flush_by = None;
                        return Ok(Progress::Flushed);
                    }
                    Step::Received(None) => return Ok(Progress::Closed),
                    Step::Received(Some(message)) => {
                        let message = message?;
                        self.alive();
                        if let Some(progress) = self.received(message).await? {
                            return Ok(progress);
                        }
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    if self.flush_by.is_some_and(|by| by <= now) {
                        return Err(Error::TimedOut("write"));
                    }
                    if self.pinged {
                        return Err(Error::TimedOut("answer to a ping"));
                    }
                    self.begin_ping()?;
                }
            }
        }
    }

    async fn received(&mut self, message: Message) -> Result<Option<Progress>, Error> {
        match message {
            Message::Text(text) => Ok(Some(Progress::Text(text.as_str().into()))),
            Message::Binary(_) => Err(Error::Binary),
            Message::Close(frame) => {
                let (code, reason) = frame.map_or((1005, Utf8Bytes::default()), |frame| {
                    (frame.code.into(), frame.reason)
                });
                self.closed_by_peer = Some((CloseCode(code), reason));
                self.finish_close().await;
                Ok(Some(Progress::Closed))
            }
            _ => Ok(None),
        }
    }

    fn alive(&mut self) {
        self.pinged = false;
        self.deadline = self
            .limits
            .ping_interval
            .map(|interval| Instant::now() + interval);
    }

    fn begin_ping(&mut self) -> Result<(), Error> {
        self.deadline = Some(Instant::now() + self.limits.pong_timeout);
        self.pinged = true;
        self.begin_write(Message::Ping(Default::default()))
    }

    /// Writes what the stream takes at once, and keeps the rest.
    fn begin_write(&mut self, message: Message) -> Result<(), Error> {
        if self.finished || self.broken.is_some() {
            return Err(Error::NotSent);
        }
        self.socket.start_send_unpin(message)?;
        self.flush_by
            .get_or_insert(Instant::now() + self.limits.write_timeout);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        match timeout(self.limits.write_timeout, self.socket.flush()).await {
            Ok(result) => {
                self.flush_by = None;
                result.map_err(Error::from)
            }
            Err(_) => {
                self.finished = true;
                Err(Error::TimedOut("write"))
            }
        }
    }

    /// Lets the answer to the peer's close frame out.
    async fn finish_close(&mut self) {
        let _ = timeout(LINGER, async {
            let _ = self.socket.flush().await;
            let _ = self.socket.get_mut().shutdown().await;
        })
        .await;
    }

    /// Sends a close frame, then reads and drops what still comes, so that the frame is not lost to a reset.
    async fn end(&mut self, code: CloseCode, reason: &str) {
        if self.finished {
            return;
        }
        let is_first = self.linger_until.is_none();
        let until = *self.linger_until.get_or_insert_with(|| Instant::now() + LINGER);
        let end = reason.floor_char_boundary_at(REASON_MAX_BYTES);
        let frame = CloseFrame {
            code: WsCloseCode::from(code.to_send().0),
            reason: Utf8Bytes::from(reason.get(..end).unwrap_or_default()),
        };
        let _ = timeout_at(until, async {
            if is_first {
                match self.socket.send(Message::Close(Some(frame))).await {
                    Ok(()) | Err(WsError::ConnectionClosed) => {}
                    Err(_) => return,
                }
            } else if !matches!(self.socket.flush().await, Ok(()) | Err(WsError::ConnectionClosed)) {
                return;
            }
            let stream = self.socket.get_mut();
            let _ = stream.flush().await;
            let _ = stream.shutdown().await;
            let mut rest = [0; 1024];
            while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
        })
        .await;
        self.finished = true;
    }
}

enum Step {
    Flushed(Result<(), WsError>),
    Received(Option<Result<Message, WsError>>),
}

/// How long closing may take.
const LINGER: Duration = Duration::from_secs(2);

/// A control frame has at most 125 bytes, two of them the code.
const REASON_MAX_BYTES: usize = 123;

/// What an error of the peer is closed with; `None` where nothing can be said any more.
fn code_for(error: &Error) -> Option<CloseCode> {
    match error {
        Error::TooLarge => Some(CloseCode::TOO_LARGE),
        Error::Binary => Some(CloseCode::UNSUPPORTED),
        Error::Protocol(WsError::Utf8(_)) => Some(CloseCode::INVALID),
        Error::Protocol(_) => Some(CloseCode::PROTOCOL),
        Error::TimedOut("answer to a ping") => Some(CloseCode::AWAY),
        _ => None,
    }
}

trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        (0..=index.min(self.len()))
            .rev()
            .find(|&at| self.is_char_boundary(at))
            .unwrap_or_default()
    }
}
