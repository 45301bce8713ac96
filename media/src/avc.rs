//! H.264's headers: the decoder configuration record and the picture size in it.

pub mod annex_b;
mod sps;

use bytes::{BufMut, Bytes, BytesMut};

use sps::Sps;

/// A decoder configuration record (ISO/IEC 14496-15, 5.3.3.1), kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    record: Bytes,
    width: u16,
    height: u16,
}

/// The record, or the parameter set in it, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("H.264 header cannot be read")]
pub struct Error;

/// Longest record taken; real ones are some 50 bytes.
const MAX_RECORD_LEN: usize = 4096;
/// Of them, for parameter sets with their lengths.
const MAX_SETS_LEN: usize = MAX_RECORD_LEN - 11;
/// As many as the record can count (ISO/IEC 14496-15, 5.3.3.1.2).
const MAX_SPS: usize = 31;
/// Likewise.
const MAX_PPS: usize = 255;

impl Config {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is no record, or no picture size can be found in it.
    pub fn parse(record: Bytes) -> Result<Self, Error> {
        if record.len() > MAX_RECORD_LEN || record.first() != Some(&1) {
            return Err(Error);
        }
        let (width, height) = first_sps(&record).and_then(Sps::read).ok_or(Error)?.size;
        Ok(Self {
            record,
            width,
            height,
        })
    }

    /// The record of these parameter sets, for NAL units with lengths of four bytes. The
    /// first of `sps` is the one that pictures use, as far as the record tells.
    ///
    /// # Errors
    /// When a set is missing or cannot be read, or the record would be too long.
    pub fn from_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, Error> {
        let first = sps.first().ok_or(Error)?;
        let fields = Sps::read(first).ok_or(Error)?;
        let [_, profile, compatibility, level, ..] = first[..] else {
            return Err(Error);
        };
        let len: usize = sps.iter().chain(pps).map(|set| 2 + set.len()).sum();
        if pps.is_empty() || sps.len() > MAX_SPS || pps.len() > MAX_PPS || len > MAX_SETS_LEN {
            return Err(Error);
        }
        let mut record = BytesMut::with_capacity(len + 11);
        // Version 1; the reserved bits are ones; lengths have 3 + 1 bytes.
        record.put_slice(&[1, profile, compatibility, level, 0xff]);
        record.put_u8(0xe0 | sps.len() as u8);
        put_sets(&mut record, sps);
        record.put_u8(pps.len() as u8);
        put_sets(&mut record, pps);
        if matches!(profile, 100 | 110 | 122 | 144) {
            let [chroma, luma_depth, chroma_depth] = fields.format;
            record.put_slice(&[0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0]);
        }
        Self::parse(record.freeze())
    }

    /// The record's bytes, as a player wants them.
    #[must_use]
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// Picture width and height, cropped.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// Whether the frame is whole NAL units, each with its length before it.
    #[must_use]
    pub fn is_whole(&self, mut frame: &[u8]) -> bool {
        let prefix = usize::from(self.record.get(4).copied().unwrap_or(3) & 3) + 1;
        while !frame.is_empty() {
            let Some((length, rest)) = frame.split_at_checked(prefix) else {
                return false;
            };
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let Some(rest) = rest.get(length..) else {
                return false;
            };
            frame = rest;
        }
        true
    }
}

fn first_sps(record: &[u8]) -> Option<&[u8]> {
    let count = record.get(5)? & 0x1f;
    let len = usize::from(u16::from_be_bytes([*record.get(6)?, *record.get(7)?]));
    let sps = record.get(8..8 + len)?;
    // Three parameter bytes precede the coded fields.
    (count > 0 && len >= 4).then_some(sps)
}

fn put_sets(record: &mut BytesMut, sets: &[Bytes]) {
    for set in sets {
        record.put_u16(set.len() as u16);
        record.put_slice(set);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// From libx264, 1280x720, High.
    pub(crate) const RECORD_720P: &[u8] = &[
        1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0x1a, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05,
        0xbb, 0x01, 0x10, 0, 0, 0x03, 0, 0x10, 0, 0, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60, 1,
        0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0,
    ];

    #[test]
    fn the_picture_size_is_found() {
        let config = Config::parse(Bytes::from_static(RECORD_720P)).unwrap();
        assert_eq!(config.size(), (1280, 720));
    }

    #[test]
    fn parameter_sets_make_the_record_that_libx264_makes() {
        let whole = Bytes::from_static(RECORD_720P);
        let (sps, pps) = (whole.slice(8..34), whole.slice(37..43));
        let config = Config::from_sets(std::slice::from_ref(&sps), &[pps]).unwrap();
        assert_eq!(config.record(), &whole);
        assert_eq!(Config::from_sets(&[sps], &[]), Err(Error));
    }

    #[test]
    fn a_cut_record_is_an_error() {
        for len in 0..30 {
            assert!(Config::parse(Bytes::from_static(&RECORD_720P[..len])).is_err());
        }
    }

    #[test]
    fn frames_must_be_whole_nal_units() {
        let config = Config::parse(Bytes::from_static(RECORD_720P)).unwrap();
        assert!(config.is_whole(&[0, 0, 0, 1, 9, 0, 0, 0, 2, 1, 1]));
        assert!(!config.is_whole(&[0, 0, 0, 1, 9, 0, 0, 0, 3, 1, 1]));
        assert!(!config.is_whole(&[0, 0]));
    }
}
