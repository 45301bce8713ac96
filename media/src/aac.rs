//! AAC's header.

use bytes::Bytes;

use crate::bits::Bits;

/// An AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    specific: Bytes,
    object_type: u8,
    sample_rate: u32,
    channels: u8,
    frame_len: u32,
}

/// The header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AAC header cannot be read")]
pub struct Error;

const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// Longest header taken; the descriptor it travels in counts to 127.
const MAX_LEN: usize = 64;

impl Config {
    /// Reads a header.
    ///
    /// # Errors
    /// When it is too short, or names no sample rate.
    pub fn parse(specific: Bytes) -> Result<Self, Error> {
        if specific.len() > MAX_LEN {
            return Err(Error);
        }
        let (object_type, sample_rate, channels, short) = fields(&specific).ok_or(Error)?;
        Ok(Self {
            specific,
            object_type,
            sample_rate,
            channels,
            frame_len: if short { 960 } else { 1024 },
        })
    }

    /// The header's bytes, as a player wants them.
    #[must_use]
    pub fn specific(&self) -> &Bytes {
        &self.specific
    }

    /// 2 is AAC-LC, 5 and 29 are HE-AAC.
    #[must_use]
    pub fn object_type(&self) -> u8 {
        self.object_type
    }

    /// Samples a second of the core codec, which frames are counted in.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Channels; 2 if the header leaves it to the stream.
    #[must_use]
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// Samples in a frame.
    #[must_use]
    pub fn frame_len(&self) -> u32 {
        self.frame_len
    }
}

fn fields(specific: &[u8]) -> Option<(u8, u32, u8, bool)> {
    let mut bits = Bits::new(specific);
    let object_type = object_type(&mut bits)?;
    let rate = sample_rate(&mut bits)?;
    let channels = match bits.read(4)? {
        0 => 2,
        7 => 8,
        channels => channels as u8,
    };
    if matches!(object_type, 5 | 29) {
        sample_rate(&mut bits)?;
        self::object_type(&mut bits)?;
    }
    // GASpecificConfig begins with frameLengthFlag; old encoders may end before it.
    let short = bits.flag().unwrap_or(false);
    Some((object_type, rate, channels, short))
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    let object_type = match bits.read(5)? {
        31 => 32 + bits.read(6)?,
        object_type => object_type,
    };
    u8::try_from(object_type).ok().filter(|kind| *kind > 0)
}

fn sample_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(4)? {
        15 => bits
            .read(24)
            .filter(|rate| (4_000..=192_000).contains(rate)),
        index => RATES.get(index as usize).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_headers_are_read() {
        let lc = Config::parse(Bytes::from_static(&[0x12, 0x10])).unwrap();
        assert_eq!(
            (
                lc.object_type(),
                lc.sample_rate(),
                lc.channels(),
                lc.frame_len()
            ),
            (2, 44_100, 2, 1024)
        );
        let extended = Config::parse(Bytes::from_static(&[0x11, 0x90, 0x56, 0xe5, 0])).unwrap();
        assert_eq!((extended.sample_rate(), extended.channels()), (48_000, 2));
    }

    #[test]
    fn an_empty_or_rateless_header_is_an_error() {
        assert_eq!(Config::parse(Bytes::new()), Err(Error));
        assert_eq!(Config::parse(Bytes::from_static(&[0x16, 0x90])), Err(Error));
    }
}
