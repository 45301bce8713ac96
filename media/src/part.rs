//! What demuxers find in a broadcast and the fragmenter takes, whatever it came in.

use bytes::Bytes;

use crate::{aac, avc};

/// A header or a frame, in the order in which the broadcaster sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// How the pictures that follow are to be decoded.
    VideoHeader(avc::Config),
    /// One picture.
    Picture(Picture),
    /// How the sounds that follow are to be decoded.
    AudioHeader(aac::Config),
    /// One coded frame of audio.
    Sound(Bytes),
}

/// One coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Decodes without anything before it.
    pub keyframe: bool,
    /// Presentation minus decode time.
    pub composition_ms: i32,
    /// NAL units, each with its length before it.
    pub bytes: Bytes,
}
