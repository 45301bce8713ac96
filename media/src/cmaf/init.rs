//! The init segment: `ftyp` and a `moov` without samples (ISO/IEC 14496-12, 23000-19).

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    AUDIO_TRACK, SYNC_SAMPLE, VIDEO_TIMESCALE, VIDEO_TRACK,
    boxes::{boxed, full},
};
use crate::{aac, avc};

/// Row-major 3 × 3, 16.16 and 2.30 fixed point: no rotation.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// ISO 639-2 "und", packed.
const UNDETERMINED: u16 = 0x55c4;

/// Writes the init segment of a broadcast with these tracks.
pub(super) fn segment(video: Option<&avc::Config>, audio: Option<&aac::Config>) -> Bytes {
    let mut out = BytesMut::with_capacity(1500);
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6\0\0\0\0iso6cmfcmp41");
    });
    boxed(&mut out, b"moov", |out| {
        full(out, b"mvhd", 0, |out| {
            out.put_bytes(0, 8);
            out.put_u32(1000);
            out.put_u32(0);
            out.put_u32(0x1_0000);
            out.put_u16(0x100);
            out.put_bytes(0, 10);
            matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(AUDIO_TRACK + 1);
        });
        if let Some(config) = video {
            video_track(out, config);
        }
        if let Some(config) = audio {
            audio_track(out, config);
        }
        boxed(out, b"mvex", |out| {
            if video.is_some() {
                track_defaults(out, VIDEO_TRACK, 0, 0);
            }
            if let Some(config) = audio {
                track_defaults(out, AUDIO_TRACK, config.frame_len(), SYNC_SAMPLE);
            }
        });
    });
    out.freeze()
}

fn video_track(out: &mut BytesMut, config: &avc::Config) {
    let (width, height) = config.size();
    let header = Track {
        id: VIDEO_TRACK,
        size: (width, height),
        volume: 0,
        timescale: VIDEO_TIMESCALE,
        handler: b"vide",
    };
    track(out, &header, |out| {
        boxed(out, b"avc1", |out| {
            out.put_bytes(0, 6);
            out.put_u16(1);
            out.put_bytes(0, 16);
            out.put_u16(width);
            out.put_u16(height);
            // 72 dots per inch, one frame a sample, no compressor name, 24 bits.
            out.put_u32(0x48_0000);
            out.put_u32(0x48_0000);
            out.put_u32(0);
            out.put_u16(1);
            out.put_bytes(0, 32);
            out.put_u16(24);
            out.put_i16(-1);
            boxed(out, b"avcC", |out| out.put_slice(config.record()));
        });
    });
}

fn audio_track(out: &mut BytesMut, config: &aac::Config) {
    let header = Track {
        id: AUDIO_TRACK,
        size: (0, 0),
        volume: 0x100,
        timescale: config.sample_rate(),
        handler: b"soun",
    };
    track(out, &header, |out| {
        boxed(out, b"mp4a", |out| {
            out.put_bytes(0, 6);
            out.put_u16(1);
            out.put_bytes(0, 8);
            out.put_u16(u16::from(config.channels()));
            out.put_u16(16);
            out.put_u32(0);
            // 16.16; rates beyond 65,535 do not fit and are left to the codec header.
            out.put_u16(u16::try_from(config.sample_rate()).unwrap_or(0));
            out.put_u16(0);
            full(out, b"esds", 0, |out| descriptors(out, config.specific()));
        });
    });
}

/// ISO/IEC 14496-1, 7.2.6: nested descriptors; each is short enough for one length byte.
fn descriptors(out: &mut BytesMut, specific: &Bytes) {
    let specific_len = specific.len() as u8;
    out.put_slice(&[3, specific_len + 23, 0, 0, 0]);
    // Decoder: MPEG-4 audio, an audio stream, no buffer size or rates claimed.
    out.put_slice(&[4, specific_len + 15, 0x40, 0x15]);
    out.put_bytes(0, 11);
    out.put_slice(&[5, specific_len]);
    out.put_slice(specific);
    out.put_slice(&[6, 1, 2]);
}

struct Track {
    id: u32,
    size: (u16, u16),
    volume: u16,
    timescale: u32,
    handler: &'static [u8; 4],
}

fn track(out: &mut BytesMut, track: &Track, sample_entry: impl FnOnce(&mut BytesMut)) {
    boxed(out, b"trak", |out| {
        full(out, b"tkhd", 7, |out| {
            out.put_bytes(0, 8);
            out.put_u32(track.id);
            out.put_bytes(0, 4 + 4 + 8 + 2 + 2);
            out.put_u16(track.volume);
            out.put_u16(0);
            matrix(out);
            out.put_u32(u32::from(track.size.0) << 16);
            out.put_u32(u32::from(track.size.1) << 16);
        });
        boxed(out, b"mdia", |out| {
            full(out, b"mdhd", 0, |out| {
                out.put_bytes(0, 8);
                out.put_u32(track.timescale);
                out.put_u32(0);
                out.put_u16(UNDETERMINED);
                out.put_u16(0);
            });
            full(out, b"hdlr", 0, |out| {
                out.put_u32(0);
                out.put_slice(track.handler);
                out.put_bytes(0, 12 + 1);
            });
            boxed(out, b"minf", |out| {
                if track.handler == b"vide" {
                    full(out, b"vmhd", 1, |out| out.put_bytes(0, 8));
                } else {
                    full(out, b"smhd", 0, |out| out.put_bytes(0, 4));
                }
                boxed(out, b"dinf", |out| {
                    full(out, b"dref", 0, |out| {
                        out.put_u32(1);
                        full(out, b"url ", 1, |_| {});
                    });
                });
                sample_table(out, sample_entry);
            });
        });
    });
}

fn sample_table(out: &mut BytesMut, sample_entry: impl FnOnce(&mut BytesMut)) {
    boxed(out, b"stbl", |out| {
        full(out, b"stsd", 0, |out| {
            out.put_u32(1);
            sample_entry(out);
        });
        full(out, b"stts", 0, |out| out.put_u32(0));
        full(out, b"stsc", 0, |out| out.put_u32(0));
        full(out, b"stsz", 0, |out| out.put_bytes(0, 8));
        full(out, b"stco", 0, |out| out.put_u32(0));
    });
}

fn track_defaults(out: &mut BytesMut, id: u32, duration: u32, flags: u32) {
    full(out, b"trex", 0, |out| {
        out.put_u32(id);
        out.put_u32(1);
        out.put_u32(duration);
        out.put_u32(0);
        out.put_u32(flags);
    });
}

fn matrix(out: &mut BytesMut) {
    for value in MATRIX {
        out.put_u32(value);
    }
}
