//! Frames to CMAF fragments of about 100 ms, each with whole samples of both tracks and
//! cut before every keyframe. Called by ingest, one fragmenter per publish session.
//!
//! The one rule: stamps and bytes leave as they came. Video keeps its stamps; audio is
//! counted in samples from its first stamp and anchored anew when it has drifted.

mod boxes;
mod fragment;
mod init;
mod timeline;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    aac, avc,
    part::{Part, Picture},
};
use fragment::{Pending, Sample};
use timeline::{Timeline, Track};

/// Turns one session's frames into fragments.
pub struct Fragmenter {
    base_us: u64,
    timeline: Timeline,
    /// The configurations that came last; they take effect with the next keyframe.
    video: Option<avc::Config>,
    audio: Option<aac::Config>,
    active: Option<Active>,
    /// Audio from before it is known whether there is video.
    early: VecDeque<(i64, Bytes)>,
    pending: Pending,
    /// The newest picture: its duration is known when the next one comes.
    held: Option<Sample>,
    /// Where the session's first frame stands on the timeline.
    zero_ms: Option<i64>,
    last_video_ms: Option<i64>,
    last_keyframe_ms: i64,
    /// Bytes of pictures since then.
    gop_len: usize,
    wants_keyframe: bool,
    /// Where an audio-only broadcast could last be joined.
    last_join: Option<i64>,
    last_duration: u32,
    sequence: u32,
    ready: VecDeque<Fragment>,
    counts: Counts,
}

/// Some 100 ms of the broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The init segment; set on every fragment that starts with a keyframe.
    pub init: Option<Bytes>,
    /// `moof` and `mdat`.
    pub media: Bytes,
    /// Decodes without anything before it.
    pub keyframe: bool,
    /// Decode time of its first picture (or sound, if it has none) since the broadcast's
    /// zero.
    pub media_time_us: u64,
    /// To where the next one begins.
    pub duration_us: u64,
}

/// What happened that should not; the stream went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The broadcaster's clock jumped, or stood still.
    pub jumps: u64,
    /// More than a second without a picture.
    pub gaps: u64,
    /// The count of audio samples had drifted from the stamps by more than 50 ms.
    pub anchors: u64,
    /// Frames left out: before the first keyframe or header, broken, or too large.
    pub dropped: u64,
}

/// Why the stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody could join within [`MAX_GOP_MS`], or only by fetching [`MAX_GOP_LEN`].
    #[error("too long without a keyframe; set a keyframe interval of 2 s")]
    GopTooLong,
}

/// Ticks a second of the video track.
const VIDEO_TIMESCALE: u32 = 90_000;
const VIDEO_TRACK: u32 = 1;
const AUDIO_TRACK: u32 = 2;
/// Sample flags: depends on nothing, is a sync sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Sample flags: depends on others, is none.
const DELTA_SAMPLE: u32 = 0x0101_0000;
/// A fragment is cut when this much is in it: 100 ms, less what stamps in whole
/// milliseconds lose.
const FRAGMENT_MS: i64 = 98;
/// Audio is cut without waiting for a picture when this much is in a fragment.
const LONE_AUDIO_MS: i64 = 500;
/// How long to wait for video before a broadcast is taken for audio only.
const EARLY_MS: i64 = 1_000;
/// An audio-only broadcast can be joined this often.
const AUDIO_JOIN_MS: i64 = 2_000;
/// The longest time without a keyframe; encoders that are left alone make one in 2-10 s.
pub const MAX_GOP_MS: i64 = 60_000;
/// The most bytes of pictures from one keyframe to the next: 50 Mbit/s for 10 s.
pub const MAX_GOP_LEN: usize = 64 * 1024 * 1024;
/// Bytes of samples in a fragment: with its headers and an init segment it must fit a
/// generation of 960 KiB.
pub const MAX_SAMPLES_LEN: usize = 900 * 1024;
/// The most samples in a fragment, so that many empty ones stay bounded too.
const MAX_SAMPLES: usize = 512;
/// The longest frame of audio; AAC's own bound is 768 bytes a channel.
const MAX_AUDIO_LEN: usize = 64 * 1024;
/// The furthest that presentation may be from decoding.
const MAX_COMPOSITION_MS: i64 = 10_000;

/// The tracks in force, since the last init segment.
struct Active {
    video: Option<avc::Config>,
    audio: Option<aac::Config>,
    init: Bytes,
    /// Where the next audio sample stands, counted from the last anchor.
    next_audio: Option<i64>,
}

impl Fragmenter {
    /// A session whose first frame stands at `base_us` on the broadcast's timeline.
    #[must_use]
    pub fn new(base_us: u64) -> Self {
        Self {
            base_us,
            timeline: Timeline::default(),
            video: None,
            audio: None,
            active: None,
            early: VecDeque::new(),
            pending: Pending::default(),
            held: None,
            zero_ms: None,
            last_video_ms: None,
            last_keyframe_ms: 0,
            gop_len: 0,
            wants_keyframe: true,
            last_join: None,
            // Until two pictures tell: 30 a second.
            last_duration: VIDEO_TIMESCALE / 30,
            sequence: 0,
            ready: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// What a demuxer found, with its stamp.
    ///
    /// # Errors
    /// [`Error::GopTooLong`].
    pub fn put(&mut self, stamp_ms: u32, part: Part) -> Result<(), Error> {
        match part {
            Part::VideoHeader(config) => self.set_video(config),
            Part::Picture(picture) => self.video(stamp_ms, picture)?,
            Part::AudioHeader(config) => self.set_audio(config),
            Part::Sound(bytes) => self.audio(stamp_ms, bytes),
        }
        Ok(())
    }

    /// The header of the pictures to come; in force from the next keyframe on.
    pub fn set_video(&mut self, config: avc::Config) {
        self.video = Some(config);
    }

    /// The header of the sounds to come; in force from the next keyframe on.
    pub fn set_audio(&mut self, config: aac::Config) {
        self.audio = Some(config);
    }

    /// The next picture, in decode order.
    ///
    /// # Errors
    /// [`Error::GopTooLong`].
    pub fn video(&mut self, stamp_ms: u32, picture: Picture) -> Result<(), Error> {
        let whole = self
            .video
            .as_ref()
            .is_some_and(|c| c.is_whole(&picture.bytes));
        if !whole || picture.bytes.len() > MAX_SAMPLES_LEN {
            self.wants_keyframe = true;
            self.counts.dropped += 1;
            return Ok(());
        }
        let placed_ms = self.timeline.place(Track::Video, stamp_ms);
        if self.wants_keyframe && !picture.keyframe {
            self.counts.dropped += 1;
            return Ok(());
        }
        let decode_ms = self.decode_ms(placed_ms);
        if picture.keyframe {
            self.last_keyframe_ms = decode_ms;
            self.gop_len = 0;
            self.wants_keyframe = false;
        }
        self.gop_len += picture.bytes.len();
        if decode_ms - self.last_keyframe_ms > MAX_GOP_MS || self.gop_len > MAX_GOP_LEN {
            return Err(Error::GopTooLong);
        }
        self.on_picture(placed_ms, decode_ms, picture);
        Ok(())
    }

    /// The next frame of audio.
    pub fn audio(&mut self, stamp_ms: u32, bytes: Bytes) {
        let Some(config) = &self.audio else {
            self.counts.dropped += 1;
            return;
        };
        if bytes.is_empty() || bytes.len() > MAX_AUDIO_LEN {
            self.counts.dropped += 1;
            return;
        }
        let placed_ms = self.timeline.place(Track::Audio, stamp_ms);
        let Some(active) = &self.active else {
            return self.on_early_audio(placed_ms, bytes);
        };
        if active.audio.as_ref() != Some(config) {
            if active.video.is_some() {
                self.counts.dropped += 1;
                return;
            }
            self.cut(false);
            self.begin(placed_ms);
        }
        self.on_audio(placed_ms, bytes);
    }

    /// The next finished fragment, if there is one. To be called after every input.
    pub fn poll(&mut self) -> Option<Fragment> {
        self.ready.pop_front()
    }

    /// Finishes what is held back: at the end, or when nothing has come for a while.
    pub fn flush(&mut self) {
        self.finish_held(None);
        self.cut(true);
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            jumps: self.counts.jumps + self.timeline.jumps(),
            ..self.counts
        }
    }

    /// Decode times rise: players and the format insist.
    fn decode_ms(&mut self, placed_ms: i64) -> i64 {
        let decode_ms = match self.last_video_ms {
            Some(last) if placed_ms <= last => {
                self.counts.jumps += 1;
                last + 1
            }
            Some(last) => {
                self.counts.gaps += u64::from(placed_ms - last > 1000);
                placed_ms
            }
            None => placed_ms,
        };
        self.last_video_ms = Some(decode_ms);
        decode_ms
    }

    fn on_picture(&mut self, placed_ms: i64, decode_ms: i64, picture: Picture) {
        self.finish_held(Some(decode_ms));
        let full = self.pending.video_span().is_some_and(|(start, _)| {
            self.video_ticks(decode_ms) - start >= FRAGMENT_MS * i64::from(VIDEO_TIMESCALE) / 1000
        });
        if picture.keyframe || full {
            self.cut(false);
        }
        let stale = self
            .active
            .as_ref()
            .is_none_or(|active| active.video != self.video || active.audio != self.audio);
        if picture.keyframe && stale {
            self.begin(decode_ms);
        }
        // A decode time that had to be moved leaves the presentation time alone.
        let composition_ms = (i64::from(picture.composition_ms) + placed_ms - decode_ms)
            .clamp(-MAX_COMPOSITION_MS, MAX_COMPOSITION_MS);
        self.held = Some(Sample {
            decode: self.video_ticks(decode_ms),
            duration: 0,
            composition: composition_ms as i32 * (VIDEO_TIMESCALE / 1000) as i32,
            keyframe: picture.keyframe,
            bytes: picture.bytes,
        });
        for (placed_ms, bytes) in std::mem::take(&mut self.early) {
            self.on_audio(placed_ms, bytes);
        }
    }

    /// Takes the newest headers into force.
    fn begin(&mut self, first_ms: i64) {
        let early_ms = self.early.front().map_or(first_ms, |(ms, _)| *ms);
        self.zero_ms.get_or_insert(first_ms.min(early_ms));
        let next_audio = self
            .active
            .take()
            .filter(|active| active.audio == self.audio)
            .and_then(|active| active.next_audio);
        self.active = Some(Active {
            init: init::segment(self.video.as_ref(), self.audio.as_ref()),
            video: self.video.clone(),
            audio: self.audio.clone(),
            next_audio,
        });
        self.last_join = None;
    }

    fn on_early_audio(&mut self, placed_ms: i64, bytes: Bytes) {
        self.early.push_back((placed_ms, bytes));
        let first_ms = self.early.front().map_or(placed_ms, |(ms, _)| *ms);
        if placed_ms - first_ms < EARLY_MS && self.early.len() <= MAX_SAMPLES {
            return;
        }
        if self.video.is_some() {
            self.early.pop_front();
            self.counts.dropped += 1;
            return;
        }
        self.begin(first_ms);
        for (placed_ms, bytes) in std::mem::take(&mut self.early) {
            self.on_audio(placed_ms, bytes);
        }
    }

    fn on_audio(&mut self, placed_ms: i64, bytes: Bytes) {
        let Some((rate, frame_len)) = self.audio_clock() else {
            self.counts.dropped += 1;
            return;
        };
        let stamp = self.ticks(placed_ms, rate);
        if stamp < 0 {
            self.counts.dropped += 1;
            return;
        }
        let counted = self.active.as_ref().and_then(|active| active.next_audio);
        let drifted = counted.is_some_and(|c| (c - stamp).abs() > i64::from(rate / 20));
        if drifted {
            self.counts.anchors += 1;
            self.cut(false);
        }
        let decode = counted.filter(|_| !drifted).unwrap_or(stamp);
        if !self.fits(bytes.len()) {
            self.cut(false);
        }
        self.pending.push_audio(decode, bytes);
        if let Some(active) = &mut self.active {
            active.next_audio = Some(decode + i64::from(frame_len));
        }
        self.cut_lone_audio(rate, frame_len);
    }

    /// Audio does not wait for pictures that do not come, but it does for a keyframe's end,
    /// so that the fragment one can join at starts with it.
    fn cut_lone_audio(&mut self, rate: u32, frame_len: u32) {
        let limit_ms = match &self.held {
            Some(held) if held.keyframe => return,
            Some(_) => LONE_AUDIO_MS,
            None if self.active.as_ref().is_some_and(|a| a.video.is_some()) => LONE_AUDIO_MS,
            None => FRAGMENT_MS,
        };
        let limit = limit_ms * i64::from(rate) / 1000;
        if let Some((start, end)) = self.pending.audio_span(frame_len)
            && end - start >= limit
        {
            self.cut(false);
        }
    }

    /// Puts the picture that was held back into the fragment.
    fn finish_held(&mut self, next_ms: Option<i64>) {
        let Some(mut sample) = self.held.take() else {
            return;
        };
        sample.duration = match next_ms {
            Some(next_ms) => (self.video_ticks(next_ms) - sample.decode) as u32,
            None => self.last_duration,
        };
        self.last_duration = sample.duration;
        if !self.fits(sample.bytes.len()) {
            self.cut(false);
        }
        self.pending.push_video(sample);
    }

    fn fits(&self, len: usize) -> bool {
        self.pending.len() + len <= MAX_SAMPLES_LEN && self.pending.count() < MAX_SAMPLES
    }

    /// Ends the fragment. The last one of a session lasts until both tracks have ended, so
    /// that a later session overlaps neither.
    fn cut(&mut self, last: bool) {
        let (rate, frame_len) = self.audio_clock().unwrap_or((1, 0));
        let video = self.pending.video_span();
        let audio = self.pending.audio_span(frame_len);
        let Some(active) = self.active.as_ref().filter(|_| !self.pending.is_empty()) else {
            return;
        };
        let to_us = |(start, end), timescale| (micros(start, timescale), micros(end, timescale));
        let (start_us, mut end_us) = match (video, audio) {
            (Some(span), _) => to_us(span, VIDEO_TIMESCALE),
            (None, Some(span)) => to_us(span, rate),
            (None, None) => return,
        };
        if last && let Some(end) = active.next_audio {
            end_us = end_us.max(micros(end, rate));
        }
        let mut keyframe = self.pending.keyframe();
        if active.video.is_none() {
            let due = |last| start_us as i64 - last >= AUDIO_JOIN_MS * 1000;
            keyframe = self.last_join.is_none_or(due);
            if keyframe {
                self.last_join = Some(start_us as i64);
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.ready.push_back(Fragment {
            init: keyframe.then(|| active.init.clone()),
            media: self.pending.write(self.sequence),
            keyframe,
            media_time_us: start_us,
            duration_us: end_us.saturating_sub(start_us),
        });
        self.pending = Pending::default();
    }

    /// Sample rate and samples per frame of the audio in force.
    fn audio_clock(&self) -> Option<(u32, u32)> {
        let config = self.active.as_ref()?.audio.as_ref()?;
        Some((config.sample_rate(), config.frame_len()))
    }

    fn video_ticks(&self, ms: i64) -> i64 {
        self.ticks(ms, VIDEO_TIMESCALE)
    }

    /// Where a stamp stands on the broadcast's timeline.
    fn ticks(&self, ms: i64, timescale: u32) -> i64 {
        let since_zero_ms = ms - self.zero_ms.unwrap_or(ms);
        let us = i128::from(self.base_us) + i128::from(since_zero_ms) * 1000;
        ((us * i128::from(timescale) + 500_000).div_euclid(1_000_000)) as i64
    }
}

fn micros(ticks: i64, timescale: u32) -> u64 {
    let us = (i128::from(ticks) * 1_000_000 + i128::from(timescale / 2)) / i128::from(timescale);
    u64::try_from(us).unwrap_or(0)
}
