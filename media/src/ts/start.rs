//! The beginning of a stream, which is held back until every track has said how it is to be
//! decoded: else the broadcast would begin with one track, and begin anew with the other.

use std::collections::VecDeque;

use crate::part::Part;

use super::psi::Streams;

/// How long one track waits for the other: ffmpeg holds sounds back for 0.35 s to share a
/// packet (half its `muxdelay`), and has them wait for pictures as long again.
const MAX_WAIT_MS: i32 = 1_000;
/// And how much it may hold meanwhile: a second of 512 frames, or of 32 Mbit/s.
const MAX_PARTS: usize = 512;
const MAX_LEN: usize = 4 * 1024 * 1024;

/// Whether the stream may begin with this.
pub(super) fn is_complete(ready: &VecDeque<(u32, Part)>, streams: &Streams) -> bool {
    let has = |kind: fn(&Part) -> bool| ready.iter().any(|(_, part)| kind(part));
    let video = streams.h264.is_none() || has(|part| matches!(part, Part::VideoHeader(_)));
    let audio = streams.aac.is_none() || has(|part| matches!(part, Part::AudioHeader(_)));
    let waited = ready
        .front()
        .zip(ready.back())
        .is_some_and(|((first, _), (last, _))| last.wrapping_sub(*first) as i32 > MAX_WAIT_MS);
    let len: usize = ready.iter().map(|(_, part)| len(part)).sum();
    // Before anything came nobody knows the tracks.
    (!ready.is_empty() && video && audio) || waited || ready.len() > MAX_PARTS || len > MAX_LEN
}

/// Puts what decoders must know before everything else.
pub(super) fn headers_first(ready: &mut VecDeque<(u32, Part)>) {
    let is_frame = |part: &Part| matches!(part, Part::Picture(_) | Part::Sound(_));
    // The sort leaves the order among headers and among frames alone.
    ready
        .make_contiguous()
        .sort_by_key(|(_, part)| is_frame(part));
}

fn len(part: &Part) -> usize {
    match part {
        Part::Picture(picture) => picture.bytes.len(),
        Part::Sound(bytes) => bytes.len(),
        Part::VideoHeader(_) | Part::AudioHeader(_) => 0,
    }
}
