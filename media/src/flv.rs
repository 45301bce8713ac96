//! The bodies of FLV tags, which RTMP's audio and video messages carry (Adobe's FLV
//! specification, annex E; Enhanced RTMP v2 for four-letter codecs).
//!
//! The one rule: a codec that cannot travel is named, so that the broadcaster reads what
//! to change.

use bytes::{Buf, Bytes};

use crate::{
    aac, avc,
    part::{Part, Picture},
};

/// Why a tag is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A codec that is not carried, by a name that people know.
    #[error("{0} is not supported; send H.264 video and AAC audio")]
    Unsupported(String),
    /// The tag ends within its fields.
    #[error("tag is cut short")]
    Short,
    /// See [`avc::Error`].
    #[error(transparent)]
    Avc(#[from] avc::Error),
    /// See [`aac::Error`].
    #[error(transparent)]
    Aac(#[from] aac::Error),
}

/// Reads the body of a video tag; `None` where there is nothing to show: an end mark, a
/// command, metadata.
///
/// # Errors
/// An unsupported codec, a tag cut short, an unreadable codec header.
pub fn video(mut body: Bytes) -> Result<Option<Part>, Error> {
    let first = body.try_get_u8().map_err(|_| Error::Short)?;
    let frame_type = first >> 4 & 7;
    if first & 0x80 != 0 {
        return enhanced_video(first & 15, frame_type, body);
    }
    if first & 15 != 7 {
        return Err(unsupported(legacy_video(first & 15)));
    }
    // Frame type 5 is a command to the player, without a packet.
    if frame_type == 5 {
        return Ok(None);
    }
    let packet = body.try_get_u8().map_err(|_| Error::Short)?;
    let composition_ms = signed_24(&mut body)?;
    match packet {
        0 => Ok(Some(Part::VideoHeader(avc::Config::parse(body)?))),
        1 => Ok(picture(frame_type == 1, composition_ms, body)),
        _ => Ok(None),
    }
}

/// Reads the body of an audio tag; `None` where there is nothing to hear.
///
/// # Errors
/// An unsupported codec, a tag cut short, an unreadable codec header.
pub fn audio(mut body: Bytes) -> Result<Option<Part>, Error> {
    let first = body.try_get_u8().map_err(|_| Error::Short)?;
    let packet = match first >> 4 {
        10 => body.try_get_u8().map_err(|_| Error::Short)?,
        9 => {
            let four_cc = four_cc(&mut body)?;
            if &four_cc != b"mp4a" {
                return Err(unsupported(four_letters(four_cc)));
            }
            first & 15
        }
        format => return Err(unsupported(legacy_audio(format))),
    };
    match packet {
        0 => Ok(Some(Part::AudioHeader(aac::Config::parse(body)?))),
        1 if !body.is_empty() => Ok(Some(Part::Sound(body))),
        _ => Ok(None),
    }
}

/// Enhanced RTMP: a packet type, then the codec's four letters.
fn enhanced_video(packet: u8, frame_type: u8, mut body: Bytes) -> Result<Option<Part>, Error> {
    match packet {
        6 => return Err(unsupported("multitrack video".to_owned())),
        7 => return Err(unsupported("modified video packets (ModEx)".to_owned())),
        _ => {}
    }
    let four_cc = four_cc(&mut body)?;
    if &four_cc != b"avc1" {
        return Err(unsupported(four_letters(four_cc)));
    }
    if frame_type == 5 {
        return Ok(None);
    }
    match packet {
        0 => Ok(Some(Part::VideoHeader(avc::Config::parse(body)?))),
        1 => {
            let composition_ms = signed_24(&mut body)?;
            Ok(picture(frame_type == 1, composition_ms, body))
        }
        3 => Ok(picture(frame_type == 1, 0, body)),
        _ => Ok(None),
    }
}

fn picture(keyframe: bool, composition_ms: i32, bytes: Bytes) -> Option<Part> {
    (!bytes.is_empty()).then_some(Part::Picture(Picture {
        keyframe,
        composition_ms,
        bytes,
    }))
}

fn signed_24(body: &mut Bytes) -> Result<i32, Error> {
    let value = body.try_get_uint(3).map_err(|_| Error::Short)?;
    // Up to the top and back, so that the sign follows.
    Ok((value as i32) << 8 >> 8)
}

fn four_cc(body: &mut Bytes) -> Result<[u8; 4], Error> {
    body.try_get_u32()
        .map(u32::to_be_bytes)
        .map_err(|_| Error::Short)
}

fn unsupported(name: String) -> Error {
    Error::Unsupported(name)
}

fn legacy_video(codec: u8) -> String {
    let name = match codec {
        2 => "Sorenson H.263",
        3 => "Screen Video",
        4 => "VP6",
        5 => "VP6 with alpha",
        6 => "Screen Video 2",
        12 => "HEVC (codec 12)",
        13 => "AV1 (codec 13)",
        codec => return format!("video codec {codec}"),
    };
    name.to_owned()
}

fn legacy_audio(format: u8) -> String {
    let name = match format {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        13 => "Opus",
        format => return format!("audio format {format}"),
    };
    name.to_owned()
}

fn four_letters(four_cc: [u8; 4]) -> String {
    let name = match &four_cc {
        b"hvc1" => "HEVC",
        b"av01" => "AV1",
        b"vp09" => "VP9",
        b"vp08" => "VP8",
        b"vvc1" => "VVC",
        b"Opus" => "Opus",
        b".mp3" => "MP3",
        b"fLaC" => "FLAC",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        _ => "codec",
    };
    format!("{name} ({})", four_cc.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result {
            Err(Error::Unsupported(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn composition_offsets_are_signed() {
        let tag = Bytes::from_static(&[0x27, 1, 0xff, 0xff, 0xd8, 1, 2]);
        let Ok(Some(Part::Picture(picture))) = video(tag) else {
            panic!("no picture");
        };
        assert_eq!(picture.composition_ms, -40);
        assert!(!picture.keyframe);
        assert_eq!(picture.bytes, &[1, 2][..]);
    }

    #[test]
    fn enhanced_h264_is_taken() {
        let tag = Bytes::from_static(b"\x91avc1\0\0\x14xyz");
        let Ok(Some(Part::Picture(picture))) = video(tag) else {
            panic!("no picture");
        };
        assert!(picture.keyframe);
        assert_eq!(
            (picture.composition_ms, &picture.bytes[..]),
            (20, &b"xyz"[..])
        );
    }

    #[test]
    fn codecs_that_are_not_carried_are_named() {
        assert_eq!(
            name_of(video(Bytes::from_static(&[0x12, 0]))),
            "Sorenson H.263"
        );
        assert_eq!(
            name_of(video(Bytes::from_static(b"\x90hvc1"))),
            "HEVC (hvc1)"
        );
        assert_eq!(name_of(audio(Bytes::from_static(&[0x2f, 0]))), "MP3");
        assert_eq!(
            name_of(audio(Bytes::from_static(b"\x90Opus"))),
            "Opus (Opus)"
        );
        assert_eq!(
            name_of(video(Bytes::from_static(b"\x90\n\0zz"))),
            r"codec (\n\x00zz)"
        );
    }
}
