//! How much went over the wire for what.

use std::collections::VecDeque;

use cmp_binding::{ExchangeId, Operation};

use super::{Direction, Part, Transfer};

/// Exchanges whose numbers are kept; the sums go on.
const MAX_EXCHANGES: usize = 1_024;

/// Frames and their bytes: the text of the WebSocket message, without WebSocket's and TCP's own headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// OCPP-J frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// The frames of one exchange, calls and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeTraffic {
    /// From the station to the CSMS.
    pub sent: Count,
    /// From the CSMS to the station.
    pub received: Count,
    /// The CMP request, in bytes of DER; 0 until it is whole.
    pub request_bytes: u64,
    /// The CMP response, in bytes of DER; 0 until it is whole.
    pub response_bytes: u64,
}

impl ExchangeTraffic {
    /// Bytes of frames for each byte of DER; `None` before a message was whole.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn overhead(&self) -> Option<f64> {
        let der = self.request_bytes + self.response_bytes;
        (der > 0).then(|| (self.sent.bytes + self.received.bytes) as f64 / der as f64)
    }
}

/// The traffic of a station.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// All frames of the binding but those of `CmpHello`.
    pub total: ExchangeTraffic,
    /// `CmpHello` and its answers, both ways.
    pub hello: Count,
    /// All other frames of OCPP, both ways.
    pub other: Count,
    exchanges: VecDeque<(ExchangeId, ExchangeTraffic)>,
}

impl Traffic {
    /// Counts a frame of `bytes` bytes and what the transcript says about it.
    pub fn count(&mut self, direction: Direction, bytes: usize, transfer: Option<&Transfer>) {
        let Some(transfer) = transfer else {
            return self.other.add(bytes);
        };
        if transfer.operation == Some(Operation::Hello) {
            return self.hello.add(bytes);
        }
        add(&mut self.total, direction, bytes, transfer);
        if let Some(id) = transfer.exchange {
            add(self.entry(id), direction, bytes, transfer);
        }
    }

    /// The numbers of one exchange.
    #[must_use]
    pub fn exchange(&self, id: ExchangeId) -> Option<&ExchangeTraffic> {
        let found = self.exchanges.iter().rev().find(|(known, _)| *known == id);
        found.map(|(_, traffic)| traffic)
    }

    /// All exchanges that are remembered, oldest first.
    pub fn exchanges(&self) -> impl Iterator<Item = &(ExchangeId, ExchangeTraffic)> {
        self.exchanges.iter()
    }

    fn entry(&mut self, id: ExchangeId) -> &mut ExchangeTraffic {
        let at = match self.exchanges.iter().rposition(|(known, _)| *known == id) {
            Some(at) => at,
            None => {
                if self.exchanges.len() >= MAX_EXCHANGES {
                    self.exchanges.pop_front();
                }
                self.exchanges.push_back((id, ExchangeTraffic::default()));
                self.exchanges.len() - 1
            }
        };
        #[allow(clippy::indexing_slicing)] // `at` was found or pushed just now.
        &mut self.exchanges[at].1
    }
}

fn add(traffic: &mut ExchangeTraffic, direction: Direction, bytes: usize, transfer: &Transfer) {
    match direction {
        Direction::Sent => traffic.sent.add(bytes),
        Direction::Received => traffic.received.add(bytes),
    }
    if let Some(message) = &transfer.message {
        match message.part {
            Some(Part::Request) => traffic.request_bytes += message.bytes.len() as u64,
            _ => traffic.response_bytes += message.bytes.len() as u64,
        }
    }
}
