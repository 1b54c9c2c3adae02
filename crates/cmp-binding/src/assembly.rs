//! Putting a message together from pieces that come in order, more than once, or not at all.

use alloc::vec::Vec;

use crate::error::{ErrorCode, TransferError};
use crate::wire::Chunk;

/// A message of known length of which the first part is held.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Assembly {
    len: usize,
    bytes: Vec<u8>,
}

impl core::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Assembly({} of {})", self.bytes.len(), self.len)
    }
}

impl Assembly {
    pub(crate) const fn new(len: usize) -> Self {
        Self {
            len,
            bytes: Vec::new(),
        }
    }

    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len(),
            bytes,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() == self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes that a piece brings: its own and, where it is the last, `max` for the response.
    pub(crate) fn room_for(&self, chunk: &Chunk, max: usize) -> usize {
        let end = chunk.off.saturating_add(chunk.piece.len());
        let response = if end >= self.len { max } else { 0 };
        end.saturating_sub(self.bytes.len()).saturating_add(response)
    }

    /// Takes a piece. What is held already must be equal; a piece beyond what is held is a gap.
    pub(crate) fn accept(&mut self, chunk: &Chunk) -> Result<(), TransferError> {
        if chunk.len != self.len {
            return Err(TransferError::last(ErrorCode::Conflict));
        }
        let Some(held) = self.bytes.get(chunk.off..) else {
            return Err(TransferError::gap(self.bytes.len()));
        };
        let piece = &chunk.piece;
        let overlap = held.len().min(piece.len());
        if held.get(..overlap) != piece.get(..overlap) {
            return Err(TransferError::last(ErrorCode::Conflict));
        }
        self.bytes
            .extend_from_slice(piece.get(overlap..).unwrap_or_default());
        Ok(())
    }
}

/// Whether `bytes` are exactly one DER SEQUENCE, by its outermost tag and length alone.
#[must_use]
pub fn is_one_sequence(bytes: &[u8]) -> bool {
    let Some((0x30, rest)) = bytes.split_first().map(|(tag, rest)| (*tag, rest)) else {
        return false;
    };
    let Some((&first, rest)) = rest.split_first() else {
        return false;
    };
    if first < 0x80 {
        return rest.len() == usize::from(first);
    }
    let count = usize::from(first & 0x7f);
    let Some((length, content)) = rest.split_at_checked(count) else {
        return false;
    };
    if !(1..=4).contains(&count) || length.first() == Some(&0) {
        return false;
    }
    let value = length
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    value >= 0x80 && content.len() as u64 == value
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn code(result: Result<(), TransferError>) -> Option<ErrorCode> {
        result.err().map(|error| error.code)
    }

    fn chunk(len: usize, off: usize, piece: &[u8]) -> Chunk {
        let piece = piece.to_vec();
        Chunk { len, off, piece }
    }

    #[test]
    fn a_repeated_chunk_with_equal_bytes_is_fine_whole_or_in_part() {
        let mut message = Assembly::new(6);
        assert!(message.accept(&chunk(6, 0, &[1, 2, 3])).is_ok());
        assert!(message.accept(&chunk(6, 0, &[1, 2, 3])).is_ok());
        assert!(message.accept(&chunk(6, 1, &[2, 3, 4])).is_ok());
        assert_eq!(message.bytes(), [1, 2, 3, 4]);
        assert!(message.accept(&chunk(6, 4, &[5, 6])).is_ok());
        assert!(message.is_whole());
        assert!(message.accept(&chunk(6, 4, &[5, 6])).is_ok());
    }

    #[test]
    fn a_repeated_chunk_with_other_bytes_or_len_is_a_conflict() {
        let mut message = Assembly::new(6);
        message.accept(&chunk(6, 0, &[1, 2, 3])).unwrap();
        assert_eq!(
            code(message.accept(&chunk(6, 0, &[1, 2, 9]))),
            Some(ErrorCode::Conflict)
        );
        assert_eq!(
            code(message.accept(&chunk(7, 3, &[4]))),
            Some(ErrorCode::Conflict)
        );
        assert_eq!(message.bytes(), [1, 2, 3]);
    }

    #[test]
    fn a_chunk_that_begins_too_late_is_a_gap_with_next() {
        let mut message = Assembly::new(6);
        message.accept(&chunk(6, 0, &[1, 2])).unwrap();
        assert_eq!(message.accept(&chunk(6, 4, &[5])), Err(TransferError::gap(2)));
    }

    #[test]
    fn only_the_outermost_length_of_a_message_is_looked_at() {
        assert!(is_one_sequence(&[0x30, 3, 0xff, 0xff, 0xff]));
        assert!(is_one_sequence(&[0x30, 0]));
        let mut long = vec![0x30, 0x82, 0x01, 0x00];
        long.resize(4 + 256, 0);
        assert!(is_one_sequence(&long));
        for bad in [
            &[][..],
            &[0x30],
            &[0x31, 0],
            &[0x30, 1],
            &[0x30, 0, 0],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 1, 0],
        ] {
            assert!(!is_one_sequence(bad), "{bad:?}");
        }
    }
}
