//! H.264 as a byte stream with start codes (H.264, annex B), which transport streams carry,
//! to NAL units with their lengths before them, which MP4 wants.
//!
//! The one rule: what decoders are shown is left as it came. Only what MP4 keeps elsewhere is
//! taken out: parameter sets, which stand in the record, and delimiters, which samples are.

use bytes::{BufMut, Bytes, BytesMut};

/// What one access unit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// It has a picture that decodes without anything before it (IDR).
    pub keyframe: bool,
    /// It has a picture at all.
    pub picture: bool,
    /// All NAL units but those below, each with its length in four bytes before it.
    pub bytes: Bytes,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
}

/// nal_unit_type (H.264, table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
/// Parameter sets of a kind that an access unit may bring; encoders send one.
const MAX_SETS: usize = 32;
/// Their length, emulation prevention counted; with every list there may be (H.264, 7.3.2.1.1)
/// a set has less than 1 KiB.
const MAX_SET_LEN: usize = 4096;

impl AccessUnit {
    /// Takes an access unit apart. What stands before the first start code is left out.
    #[must_use]
    pub fn read(unit: &[u8]) -> Self {
        let mut read = Self::default();
        // A start code may have three bytes where a length has four.
        let mut bytes = BytesMut::with_capacity(unit.len() + 64);
        for nal in nal_units(unit) {
            let kind = nal[0] & 0x1f;
            match kind {
                SPS => keep(&mut read.sps, nal),
                PPS => keep(&mut read.pps, nal),
                DELIMITER => {}
                _ => {
                    read.keyframe |= kind == IDR;
                    read.picture |= (1..=IDR).contains(&kind);
                    bytes.put_u32(nal.len() as u32);
                    bytes.put_slice(nal);
                }
            }
        }
        read.bytes = bytes.freeze();
        read
    }
}

/// Takes a parameter set in, unless it is none that anybody sends.
fn keep(sets: &mut Vec<Bytes>, nal: &[u8]) {
    if sets.len() < MAX_SETS && nal.len() <= MAX_SET_LEN {
        sets.push(Bytes::copy_from_slice(nal));
    }
}

/// The NAL units, none of them empty, without start codes and the zeros around them.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(unit);
    std::iter::from_fn(move || {
        loop {
            let from = rest?;
            let next = start_code(from);
            let nal = &from[..next.unwrap_or(from.len())];
            rest = next.map(|at| &from[at + 3..]);
            // A unit never ends with a zero (H.264, 7.4.1).
            let len = nal
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            if len > 0 {
                return Some(&nal[..len]);
            }
        }
    })
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Where 0, 0, 1 stands.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // The last of three bytes decides how far the next start code is at least.
    while let Some(last) = bytes.get(at + 2) {
        match last {
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_become_lengths_and_sets_and_delimiters_go() {
        let unit = [
            &[0, 0, 0, 1, 9, 0xf0][..],
            &[0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3],
            &[0, 0, 1, 6, 5, 0x80, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 1, 0, 0],
        ]
        .concat();
        let read = AccessUnit::read(&unit);
        assert!(read.keyframe && read.picture);
        assert_eq!(read.sps, [Bytes::from_static(&[0x67, 1, 2])]);
        assert_eq!(read.pps, [Bytes::from_static(&[0x68, 3])]);
        assert_eq!(
            &read.bytes[..],
            [0, 0, 0, 3, 6, 5, 0x80, 0, 0, 0, 5, 0x65, 0, 0, 3, 1]
        );
    }

    #[test]
    fn a_picture_that_needs_others_is_no_keyframe() {
        let read = AccessUnit::read(&[7, 7, 0, 0, 1, 0x41, 9]);
        assert!(read.picture && !read.keyframe);
        assert_eq!(&read.bytes[..], [0, 0, 0, 2, 0x41, 9]);
    }

    #[test]
    fn what_has_no_start_code_has_nothing() {
        assert_eq!(AccessUnit::read(&[0x65, 1, 2, 3]), AccessUnit::default());
        assert_eq!(AccessUnit::read(&[0, 0, 1]), AccessUnit::default());
        assert_eq!(
            AccessUnit::read(&[0, 0, 1, 0, 0, 0, 1]),
            AccessUnit::default()
        );
    }
}
