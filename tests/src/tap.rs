//! A listener on the WebSocket between a station and its CSMS: reads every OCPP-J frame, cuts the line when told to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::DEADLINE;

/// Passes every byte on, and remembers the text frames.
pub struct Tap {
    address: String,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    frames: Mutex<Vec<String>>,
    more: Condvar,
    /// The line is cut instead of passing on the frame of this number, counted from 1 over all connections; 0: never.
    cut_at: AtomicUsize,
    connections: AtomicUsize,
    closed: AtomicBool,
}

impl Tap {
    /// Listens in front of `upstream` (`HOST:PORT`).
    #[must_use]
    pub fn before(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let wire = Arc::new(Wire::default());
        let shared = wire.clone();
        thread::spawn(move || {
            for station in listener.incoming().flatten() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                // A CSMS that is away is the station's business: it tries again.
                if let Ok(csms) = TcpStream::connect(&upstream) {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let (wire, back) = (shared.clone(), shared.clone());
                    let pair = (station.try_clone().unwrap(), csms.try_clone().unwrap());
                    thread::spawn(move || pump(&station, &csms, &wire));
                    thread::spawn(move || pump(&pair.1, &pair.0, &back));
                }
            }
        });
        Self { address, wire }
    }

    /// The address as a station is told it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/ocpp", self.address)
    }

    /// Cuts the line instead of passing on the frame of this number, counted from 1.
    pub fn cut_at(&self, frame: usize) {
        self.wire.cut_at.store(frame, Ordering::SeqCst);
    }

    /// How often a station has connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.wire.connections.load(Ordering::SeqCst)
    }

    /// The frames so far, in the order in which they came.
    #[must_use]
    pub fn frames(&self) -> Vec<String> {
        self.wire.frames.lock().unwrap().clone()
    }

    /// Waits until the frames so far are as `enough` wants them.
    #[track_caller]
    pub fn wait_for(&self, what: &str, enough: impl Fn(&[String]) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut frames = self.wire.frames.lock().unwrap();
        while !enough(&frames) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in:\n{}", frames.join("\n"));
            frames = self.wire.more.wait_timeout(frames, left).unwrap().0;
        }
    }

    /// The frames of DataTransfer, calls and results; those of `CmpHello` are left out.
    #[must_use]
    pub fn data_transfers(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut all = Vec::new();
        for text in self.frames() {
            let frame: Value = serde_json::from_str(&text).expect("an OCPP-J frame");
            let id = frame[1].clone();
            let begins = frame[0] == 2 && frame[2] == "DataTransfer" && frame[3]["messageId"] != "CmpHello";
            if begins {
                ids.push(id.clone());
            }
            if begins || (frame[0] == 3 && ids.contains(&id)) {
                all.push(text);
            }
        }
        all
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.wire.closed.store(true, Ordering::SeqCst);
        // Wakes the accept.
        let _ = TcpStream::connect(&self.address);
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, wire: &Wire) {
    let mut parser = Parser::default();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let mut frames = wire.frames.lock().unwrap();
        for text in parser.push(&buffer[..n]) {
            frames.push(text);
            wire.more.notify_all();
            if frames.len() == wire.cut_at.load(Ordering::SeqCst) {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return;
            }
        }
        drop(frames);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// The frames of RFC 6455 behind an HTTP handshake, in one direction.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    open: bool,
    text: Vec<u8>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(bytes);
        if !self.open {
            let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Vec::new();
            };
            self.bytes.drain(..end + 4);
            self.open = true;
        }
        let mut texts = Vec::new();
        while let Some((first, payload)) = self.frame() {
            let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
            if opcode > 1 {
                continue;
            }
            self.text.extend(payload);
            if last {
                texts.push(String::from_utf8(std::mem::take(&mut self.text)).expect("text in UTF-8"));
            }
        }
        texts
    }

    /// The first byte and the payload of the next frame, if it is there whole.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.bytes.first()?, *self.bytes.get(1)?);
        let (len, mut at) = match second & 0x7f {
            126 => (self.number(2)?, 4),
            127 => (self.number(8)?, 10),
            len => (usize::from(len), 2),
        };
        let mask = if second & 0x80 != 0 {
            at += 4;
            self.bytes.get(at - 4..at)?.to_vec()
        } else {
            vec![0; 4]
        };
        let payload = self
            .bytes
            .get(at..at + len)?
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        self.bytes.drain(..at + len);
        Some((first, payload))
    }

    fn number(&self, bytes: usize) -> Option<usize> {
        Some(
            self.bytes
                .get(2..2 + bytes)?
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }
}
