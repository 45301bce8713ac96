//! H.264's headers: the decoder configuration record and the picture size in it.

use bytes::Bytes;

use crate::bits::Bits;

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

impl Config {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is no record, or no picture size can be found in it.
    pub fn parse(record: Bytes) -> Result<Self, Error> {
        if record.len() > MAX_RECORD_LEN || record.first() != Some(&1) {
            return Err(Error);
        }
        let (width, height) = first_sps(&record).and_then(picture_size).ok_or(Error)?;
        Ok(Self {
            record,
            width,
            height,
        })
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

/// H.264, 7.3.2.1.1: seq_parameter_set_data.
fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let raw = without_emulation_prevention(sps);
    let mut bits = Bits::new(raw.get(1..)?);
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.ue()?;
    let mut chroma_format = 1;
    if matches!(
        profile,
        44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
    ) {
        chroma_format = bits.ue()?;
        skip_high_profile_fields(&mut bits, chroma_format)?;
    }
    skip_frame_order_fields(&mut bits)?;
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?;
    let crop = if bits.flag()? {
        [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?]
    } else {
        [0; 4]
    };
    let fields = if frames_only { 1 } else { 2 };
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let width = cropped(width_mbs, 16, [crop[0], crop[1]], unit_x)?;
    let height = cropped(
        height_units,
        16 * fields,
        [crop[2], crop[3]],
        unit_y * fields,
    )?;
    Some((width, height))
}

fn cropped(units: u32, unit: u32, crop: [u32; 2], crop_unit: u32) -> Option<u16> {
    let cut = crop[0].checked_add(crop[1])?.checked_mul(crop_unit)?;
    let size = units.checked_mul(unit)?.checked_sub(cut)?;
    u16::try_from(size).ok().filter(|size| *size > 0)
}

fn skip_high_profile_fields(bits: &mut Bits<'_>, chroma_format: u32) -> Option<()> {
    if chroma_format == 3 {
        bits.flag()?;
    }
    bits.ue()?;
    bits.ue()?;
    bits.flag()?;
    if bits.flag()? {
        let lists = if chroma_format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(())
}

fn skip_scaling_list(bits: &mut Bits<'_>, len: u32) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..len {
        if next != 0 {
            next = (last + bits.se()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn skip_frame_order_fields(bits: &mut Bits<'_>) -> Option<()> {
    bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.flag()?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            for _ in 0..cycle.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.flag()?;
    Some(())
}

/// H.264, 7.3.1: a 3 after two zeros is not part of the content.
fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let kept = nal.iter().filter(|byte| {
        let inserted = zeros >= 2 && **byte == 3;
        zeros = if **byte == 0 { zeros + 1 } else { 0 };
        !inserted
    });
    kept.copied().collect()
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
