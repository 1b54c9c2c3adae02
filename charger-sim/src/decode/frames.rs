//! OCPP-J frames, and the CMP messages that they carry in pieces.

use cmp_binding::VENDOR_ID;
use ocpp_rpc::Frame;
use serde_json::Value;

use super::text::Text;
use super::{cmp, text::printable};
use crate::transcript::{Message, Part, Transcript, Transfer};

/// Each line that holds a frame. Lines may have anything before the frame, as in a log.
///
/// # Errors
/// The number of the first line that holds none, and why, if no line holds one.
pub(super) fn write(text: &mut Text, input: &str) -> Result<(), String> {
    let mut transcript = Transcript::new(VENDOR_ID);
    let (mut read, mut first_error) = (0_usize, None);
    for (n, line) in input
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let frame_text = from_bracket(line);
        match Frame::parse(frame_text) {
            Ok(frame) => {
                read += 1;
                let transfer = transcript.observe(None, &frame);
                text.heading(format_args!(
                    "line {}: {}",
                    n + 1,
                    summary(&frame, frame_text.len())
                ));
                text.indented(|text| match &transfer {
                    Some(transfer) => write_transfer(text, transfer),
                    None => write_other(text, &frame),
                });
            }
            Err(unreadable) => {
                let reason = format!("line {}: {unreadable}", n + 1);
                text.heading(&reason);
                first_error.get_or_insert(reason);
            }
        }
    }
    match first_error {
        Some(error) if read == 0 => Err(error),
        _ => Ok(()),
    }
}

/// Whether a line looks as if it held a frame.
pub(super) fn looks_like_frame(line: &str) -> bool {
    from_bracket(line).starts_with('[')
}

/// From the first `[` that a message type number follows, to the end; the whole line if there is none.
fn from_bracket(line: &str) -> &str {
    let line = line.trim();
    line.match_indices('[')
        .map(|(at, _)| line.get(at..).unwrap_or_default())
        .find(|rest| {
            let mut chars = rest.chars().skip(1).filter(|c| !c.is_whitespace());
            matches!((chars.next(), chars.next()), (Some('2'..='6'), Some(',')))
        })
        .unwrap_or(line)
}

fn summary(frame: &Frame<'_>, bytes: usize) -> String {
    let id = frame.id();
    match frame {
        Frame::Call { action, .. } => format!("CALL {action}, id {id}, {bytes} bytes"),
        Frame::CallResult { .. } => format!("CALLRESULT, id {id}, {bytes} bytes"),
        Frame::CallError(failure) => {
            format!("CALLERROR {}, id {id}: {}", failure.code, failure.description)
        }
        Frame::CallResultError(failure) => {
            format!(
                "CALLRESULTERROR {}, id {id}: {}",
                failure.code, failure.description
            )
        }
        Frame::Send { action, .. } => format!("SEND {action}, id {id}, {bytes} bytes"),
    }
}

fn write_other(text: &mut Text, frame: &Frame<'_>) {
    match frame {
        Frame::Call { payload, .. } | Frame::CallResult { payload, .. } | Frame::Send { payload, .. } => {
            text.line("payload", payload.get());
        }
        Frame::CallError(failure) | Frame::CallResultError(failure) => {
            text.maybe("details", failure.details.map(|details| details.get()));
        }
    }
}

fn write_transfer(text: &mut Text, transfer: &Transfer) {
    let answer = if transfer.is_answer { "answer to " } else { "" };
    let operation = transfer
        .operation
        .map_or("an unseen call", |operation| operation.as_str());
    text.line("operation", format_args!("{answer}{operation}"));
    text.maybe("status", transfer.status);
    text.maybe("exchange", transfer.exchange);
    if let Some(chunk) = &transfer.chunk {
        let end = chunk.off.saturating_add(chunk.piece.len());
        text.line(
            "chunk",
            format_args!("bytes {} to {end} of {}", chunk.off, chunk.len),
        );
    }
    for (name, value) in transfer.members.iter().filter(|(name, _)| *name != "id") {
        match value {
            Value::String(value) => text.line(name, value),
            value => text.line(name, value),
        }
    }
    if let Some(message) = &transfer.message {
        write_message(text, message);
    }
}

fn write_message(text: &mut Text, message: &Message) {
    let part = match message.part {
        Some(Part::Request) => "request",
        Some(Part::Response) => "response",
        None => "message",
    };
    text.line(part, format_args!("whole, frames: {}", message.frames));
    text.indented(|text| {
        if let Err(error) = cmp::write(text, &message.bytes) {
            text.line("no CMP message", printable(&error.to_string()));
        }
    });
}
