//! One fragment: samples in, `moof` and `mdat` out (ISO/IEC 14496-12, 8.8).

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    AUDIO_TRACK, DELTA_SAMPLE, SYNC_SAMPLE, VIDEO_TRACK,
    boxes::{boxed, full},
};

/// What a fragment will hold.
#[derive(Default)]
pub(super) struct Pending {
    video: Vec<Sample>,
    audio: Vec<Bytes>,
    audio_start: i64,
    len: usize,
}

/// A coded picture.
pub(super) struct Sample {
    /// Decode time, in ticks of the video track.
    pub(super) decode: i64,
    /// Ticks until the next one; zero while that is unknown.
    pub(super) duration: u32,
    /// Presentation minus decode time, in ticks.
    pub(super) composition: i32,
    pub(super) keyframe: bool,
    pub(super) bytes: Bytes,
}

impl Pending {
    pub(super) fn push_video(&mut self, sample: Sample) {
        self.len += sample.bytes.len();
        self.video.push(sample);
    }

    /// Appends a coded frame of audio, which starts at `decode` (ticks of its track).
    pub(super) fn push_audio(&mut self, decode: i64, bytes: Bytes) {
        if self.audio.is_empty() {
            self.audio_start = decode;
        }
        self.len += bytes.len();
        self.audio.push(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.video.is_empty() && self.audio.is_empty()
    }

    /// Bytes of samples.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of samples.
    pub(super) fn count(&self) -> usize {
        self.video.len() + self.audio.len()
    }

    pub(super) fn keyframe(&self) -> bool {
        self.video.first().is_some_and(|sample| sample.keyframe)
    }

    /// From the first picture's decode time to the end of the last.
    pub(super) fn video_span(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.video.first()?, self.video.last()?);
        Some((first.decode, last.decode + i64::from(last.duration)))
    }

    /// From the first sound to the end of the last.
    pub(super) fn audio_span(&self, frame_len: u32) -> Option<(i64, i64)> {
        let ticks = self.audio.len() as i64 * i64::from(frame_len);
        (!self.audio.is_empty()).then_some((self.audio_start, self.audio_start + ticks))
    }

    pub(super) fn write(&self, sequence: u32) -> Bytes {
        let headers = 200 + 16 * self.video.len() + 4 * self.audio.len();
        let mut out = BytesMut::with_capacity(headers + self.len);
        let mut offsets = Vec::with_capacity(2);
        boxed(&mut out, b"moof", |out| {
            full(out, b"mfhd", 0, |out| out.put_u32(sequence));
            if !self.video.is_empty() {
                offsets.push(self.put_video(out));
            }
            if !self.audio.is_empty() {
                offsets.push(self.put_audio(out));
            }
        });
        // Samples begin after the header of the `mdat`; audio follows video.
        let mut start = out.len() as u32 + 8;
        let video_len: usize = self.video.iter().map(|sample| sample.bytes.len()).sum();
        for offset in offsets {
            out[offset..offset + 4].copy_from_slice(&start.to_be_bytes());
            start += video_len as u32;
        }
        boxed(&mut out, b"mdat", |out| {
            for sample in &self.video {
                out.put_slice(&sample.bytes);
            }
            for bytes in &self.audio {
                out.put_slice(bytes);
            }
        });
        out.freeze()
    }

    /// Says where the data offset stands, which is not known yet.
    fn put_video(&self, out: &mut BytesMut) -> usize {
        let start = self.video.first().map_or(0, |sample| sample.decode);
        let mut offset = 0;
        boxed(out, b"traf", |out| {
            track_header(out, VIDEO_TRACK, start);
            // Version 1, so that offsets are signed; duration, size, flags and offset each.
            full(out, b"trun", 0x0100_0f01, |out| {
                out.put_u32(self.video.len() as u32);
                offset = out.len();
                out.put_u32(0);
                for sample in &self.video {
                    out.put_u32(sample.duration);
                    out.put_u32(sample.bytes.len() as u32);
                    out.put_u32(if sample.keyframe {
                        SYNC_SAMPLE
                    } else {
                        DELTA_SAMPLE
                    });
                    out.put_i32(sample.composition);
                }
            });
        });
        offset
    }

    fn put_audio(&self, out: &mut BytesMut) -> usize {
        let mut offset = 0;
        boxed(out, b"traf", |out| {
            track_header(out, AUDIO_TRACK, self.audio_start);
            full(out, b"trun", 0x0000_0201, |out| {
                out.put_u32(self.audio.len() as u32);
                offset = out.len();
                out.put_u32(0);
                for bytes in &self.audio {
                    out.put_u32(bytes.len() as u32);
                }
            });
        });
        offset
    }
}

fn track_header(out: &mut BytesMut, track: u32, decode: i64) {
    // Offsets count from the `moof`, as CMAF demands.
    full(out, b"tfhd", 0x0002_0000, |out| out.put_u32(track));
    full(out, b"tfdt", 0x0100_0000, |out| out.put_i64(decode));
}
