//! PES packets (ISO/IEC 13818-1, 2.4.3.6), put together from the packets that carry them.
//!
//! The one rule: a packet that is not whole is nothing, and none is held beyond its bound.

use std::ops::Range;

/// The longest PES packet: more than the largest picture that is taken.
const MAX_LEN: usize = crate::cmaf::MAX_SAMPLES_LEN + 64 * 1024;
/// Up to where the optional header says its own length.
const FIXED_LEN: usize = 9;

/// Collects one stream's packets.
#[derive(Default)]
pub(super) struct Assembler {
    bytes: Vec<u8>,
    open: bool,
}

/// A whole packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pes {
    /// Ticks of 90 kHz, 33 bits.
    pub(super) presented: Option<u64>,
    pub(super) decoded: Option<u64>,
    bytes: Vec<u8>,
    payload: Range<usize>,
}

/// It was there, and is not whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Assembler {
    /// A packet starts; the one before must have been taken.
    pub(super) fn start(&mut self, payload: &[u8]) {
        self.bytes.clear();
        self.open = true;
        self.bytes.extend_from_slice(payload);
    }

    /// It goes on.
    pub(super) fn extend(&mut self, payload: &[u8]) -> Result<(), Broken> {
        if !self.open {
            return Ok(());
        }
        if self.bytes.len() + payload.len() > MAX_LEN {
            self.clear();
            return Err(Broken);
        }
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    /// What has come of the packet is worth nothing any more.
    pub(super) fn clear(&mut self) {
        self.open = false;
        self.bytes = Vec::new();
    }

    /// Whether all has come that the header announced; of pictures it announces nothing.
    pub(super) fn is_full(&self) -> bool {
        let announced = announced_len(&self.bytes);
        self.open && announced.is_some_and(|len| self.bytes.len() >= len)
    }

    /// Ends the packet, if one was begun.
    pub(super) fn take(&mut self) -> Option<Result<Pes, Broken>> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        Some(Pes::read(std::mem::take(&mut self.bytes)).ok_or(Broken))
    }
}

impl Pes {
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    fn read(bytes: Vec<u8>) -> Option<Self> {
        let end = announced_len(&bytes).unwrap_or(bytes.len());
        let [0, 0, 1, _, _, _, marks, flags, header_len, ..] = bytes[..] else {
            return None;
        };
        // Two marker bits, and two that say that nothing is scrambled.
        if marks & 0xf0 != 0x80 {
            return None;
        }
        let start = FIXED_LEN + usize::from(header_len);
        let header = bytes.get(FIXED_LEN..start)?;
        bytes.get(start..end)?;
        Some(Self {
            presented: (flags & 0x80 != 0).then(|| stamp(header)).flatten(),
            decoded: (flags & 0xc0 == 0xc0)
                .then(|| stamp(header.get(5..)?))
                .flatten(),
            bytes,
            payload: start..end,
        })
    }
}

/// Length of the whole packet, where its header says it.
fn announced_len(bytes: &[u8]) -> Option<usize> {
    let len = u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    (len > 0).then(|| 6 + usize::from(len))
}

/// 33 bits with markers between them (ISO/IEC 13818-1, table 2-21).
fn stamp(bytes: &[u8]) -> Option<u64> {
    let [a, b, c, d, e, ..] = *bytes else {
        return None;
    };
    let high = u64::from(a >> 1 & 7) << 30;
    let middle = u64::from(u16::from_be_bytes([b, c]) >> 1) << 15;
    let low = u64::from(u16::from_be_bytes([d, e]) >> 1);
    Some(high | middle | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = &[
        0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10, 0x3f, 0xff, 0xff, 0xff, 0xff, 0x11, 0, 1, 0, 3,
    ];

    #[test]
    fn stamps_of_33_bits_are_read() {
        let mut assembler = Assembler::default();
        assembler.start(HEAD);
        assembler.extend(b"abc").unwrap();
        assert!(!assembler.is_full());
        let pes = assembler.take().unwrap().unwrap();
        assert_eq!(pes.presented, Some((1 << 33) - 1));
        assert_eq!(pes.decoded, Some(1));
        assert_eq!(pes.payload(), b"abc");
        assert_eq!(assembler.take(), None);
    }

    #[test]
    fn a_packet_shorter_than_announced_is_broken_and_what_follows_it_is_not_its_own() {
        let mut announced = HEAD.to_vec();
        announced[5] = 13 + 3;
        let mut assembler = Assembler::default();
        assembler.start(&announced);
        assembler.extend(b"ab").unwrap();
        assert!(!assembler.is_full());
        assert_eq!(assembler.take(), Some(Err(Broken)));
        assembler.start(&announced);
        assembler.extend(b"abcdef").unwrap();
        assert!(assembler.is_full());
        assert_eq!(assembler.take().unwrap().unwrap().payload(), b"abc");
    }

    #[test]
    fn an_endless_packet_is_given_up() {
        let mut assembler = Assembler::default();
        assembler.start(HEAD);
        let ended = (0..10_000).find(|_| assembler.extend(&[0; 184]).is_err());
        assert!(ended.is_some_and(|count| count * 184 < MAX_LEN));
        assert!(assembler.bytes.capacity() == 0 && assembler.take().is_none());
    }

    #[test]
    fn what_is_no_pes_packet_is_broken() {
        let mut assembler = Assembler::default();
        for bytes in [&[0, 0, 2][..], &HEAD[..12], b""] {
            assembler.start(bytes);
            assert_eq!(assembler.take(), Some(Err(Broken)));
        }
    }
}
