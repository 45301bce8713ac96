//! One broadcast handed to many HTTP readers: progressive ones, who get everything from the
//! latest keyframe on, and HLS ones, who fetch GOPs by number. A viewer and a seeder each
//! feed one for a channel; their HTTP handlers read it.
//!
//! The one rule: everything kept or queued is bounded, and is shared rather than copied.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use media::hls::{Playlist, Segment as PlaylistSegment};
use stripe::Flags;
use tokio::sync::mpsc;

/// Generations that wait for one progressive reader: 6 s at 200 ms.
const QUEUE_LEN: usize = 32;
/// Bytes of GOPs kept for HLS and newcomers.
const MAX_KEPT: usize = 16 << 20;
/// Keyframes at which a full queue may refuse a reader before it is let go.
const MAX_REFUSED: u32 = 2;
/// GOPs listed in the playlist.
const MAX_SEGMENTS: usize = 6;

/// What a generation holds for players.
#[derive(Clone, Debug)]
pub struct Media {
    /// Whole CMAF fragments.
    pub media: Bytes,
    /// The init segment, with every keyframe.
    pub init: Option<Bytes>,
    /// Keyframe, pause, end.
    pub flags: Flags,
    /// Ingest's wall clock.
    pub ingest_stamp_us: u64,
}

/// A part of a progressive stream: write all of it, in order.
pub type Part = Vec<Bytes>;

/// A shared handle; clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Mutex<Inner>>);

struct Inner {
    max_readers: usize,
    readers: Vec<Reader>,
    inits: VecDeque<(u64, Bytes)>,
    /// The last one is still growing.
    gops: VecDeque<Gop>,
    kept: usize,
    next_number: u64,
    discontinuities: u64,
    ended: bool,
}

struct Gop {
    number: u64,
    init: u64,
    parts: Vec<Bytes>,
    len: usize,
    first_us: u64,
    duration_us: u64,
}

struct Reader {
    queue: mpsc::Sender<Part>,
    /// The init segment it has; none until its first keyframe.
    init: Option<u64>,
    /// It fell behind, or has just come: it goes on at a keyframe.
    waits: bool,
    /// Keyframes in a row for which its queue had no room.
    refused: u32,
}

impl Hub {
    /// For at most so many progressive readers at once.
    #[must_use]
    pub fn new(max_readers: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            max_readers,
            readers: Vec::new(),
            inits: VecDeque::new(),
            gops: VecDeque::new(),
            kept: 0,
            next_number: 0,
            discontinuities: 0,
            ended: false,
        })))
    }

    /// The next generation.
    pub fn push(&self, media: &Media) {
        self.lock().push(media);
    }

    /// The broadcast is over, or the program ends: readers get what is queued and no more.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.readers.clear();
    }

    /// A progressive stream from the latest keyframe on; it ends when the broadcast does.
    /// `None` when there are too many readers.
    #[must_use]
    pub fn subscribe(&self) -> Option<mpsc::Receiver<Part>> {
        self.lock().subscribe()
    }

    /// The current init segment.
    #[must_use]
    pub fn init(&self) -> Option<Bytes> {
        self.lock().inits.back().map(|(_, init)| init.clone())
    }

    /// An init segment that the playlist names.
    #[must_use]
    pub fn init_numbered(&self, number: u64) -> Option<Bytes> {
        let inner = self.lock();
        let (_, init) = inner.inits.iter().find(|(other, _)| *other == number)?;
        Some(init.clone())
    }

    /// A GOP that the playlist names.
    #[must_use]
    pub fn segment(&self, number: u64) -> Option<Part> {
        let inner = self.lock();
        let gop = inner.gops.iter().find(|gop| gop.number == number)?;
        Some(gop.parts.clone())
    }

    /// The playlist of the whole GOPs; `None` before the first is whole.
    #[must_use]
    pub fn playlist(&self) -> Option<Playlist> {
        self.lock().playlist()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, media: &Media) {
        let keyframe = media.flags.has(Flags::KEYFRAME);
        if keyframe {
            if self.ended {
                self.restart();
            }
            self.begin_gop(media);
        }
        let Some(gop) = self.gops.back_mut() else {
            return;
        };
        if !media.media.is_empty() {
            gop.parts.push(media.media.clone());
            gop.len += media.media.len();
            self.kept += media.media.len();
        }
        gop.duration_us = media.ingest_stamp_us.saturating_sub(gop.first_us);
        self.feed(media, keyframe);
        self.forget();
    }

    /// Another broadcast begins where one has ended: readers get nothing of the old one.
    fn restart(&mut self) {
        self.ended = false;
        self.gops.clear();
        self.kept = 0;
        self.discontinuities += 1;
    }

    fn begin_gop(&mut self, media: &Media) {
        if let Some(init) = &media.init
            && self.inits.back().is_none_or(|(_, known)| known != init)
        {
            let number = self.inits.back().map_or(0, |(number, _)| number + 1);
            self.inits.push_back((number, init.clone()));
        }
        let Some((init, _)) = self.inits.back() else {
            return;
        };
        let first_us = media.ingest_stamp_us;
        if let Some(last) = self.gops.back_mut() {
            last.duration_us = first_us.saturating_sub(last.first_us);
        }
        self.gops.push_back(Gop {
            number: self.next_number,
            init: *init,
            parts: Vec::new(),
            len: 0,
            first_us,
            duration_us: 0,
        });
        self.next_number += 1;
    }

    fn feed(&mut self, media: &Media, keyframe: bool) {
        let Some((number, init)) = self.inits.back() else {
            return;
        };
        self.readers.retain_mut(|reader| {
            if reader.queue.is_closed() {
                return false;
            }
            if reader.waits && !keyframe {
                return true;
            }
            let mut part = Vec::with_capacity(2);
            if reader.init != Some(*number) {
                part.push(init.clone());
            }
            part.push(media.media.clone());
            reader.waits = reader.queue.try_send(part).is_err();
            if reader.waits {
                reader.refused += u32::from(keyframe);
            } else {
                reader.init = Some(*number);
                reader.refused = 0;
            }
            // Who reads nothing for so long keeps a place from somebody who would.
            reader.refused < MAX_REFUSED
        });
    }

    fn subscribe(&mut self) -> Option<mpsc::Receiver<Part>> {
        self.readers.retain(|reader| !reader.queue.is_closed());
        if self.readers.len() >= self.max_readers {
            return None;
        }
        let (queue, stream) = mpsc::channel(QUEUE_LEN);
        let mut reader = Reader {
            queue,
            init: None,
            waits: true,
            refused: 0,
        };
        if let (Some(gop), Some((number, init))) = (self.gops.back(), self.inits.back()) {
            let mut part = vec![init.clone()];
            part.extend(gop.parts.iter().cloned());
            reader.waits = reader.queue.try_send(part).is_err();
            reader.init = Some(*number);
        }
        if !self.ended {
            self.readers.push(reader);
        }
        Some(stream)
    }

    fn playlist(&self) -> Option<Playlist> {
        let whole = self.gops.len() - usize::from(!self.ended && !self.gops.is_empty());
        let listed = self.gops.iter().take(whole);
        let listed: Vec<&Gop> = listed.skip(whole.saturating_sub(MAX_SEGMENTS)).collect();
        let first = listed.first()?;
        Some(Playlist {
            media_sequence: first.number,
            discontinuity_sequence: self.discontinuities,
            segments: listed
                .iter()
                .map(|gop| PlaylistSegment {
                    uri: format!("live/{}.m4s", gop.number),
                    init_uri: format!("live/init-{}.mp4", gop.init),
                    duration_us: gop.duration_us,
                })
                .collect(),
            ended: self.ended,
        })
    }

    /// Keeps two GOPs beyond those listed, for who fetches slowly.
    fn forget(&mut self) {
        while self.gops.len() > MAX_SEGMENTS + 3 || (self.kept > MAX_KEPT && self.gops.len() > 1) {
            let Some(gop) = self.gops.pop_front() else {
                return;
            };
            self.kept -= gop.len;
            let next = self.gops.front().map_or(gop.init, |next| next.init);
            self.discontinuities += u64::from(next != gop.init);
            self.inits.retain(|(number, _)| *number >= next);
        }
        // A GOP that alone is too long is of use to nobody who has not seen its start.
        if self.kept > MAX_KEPT {
            self.gops.clear();
            self.kept = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(at: u64, keyframe: bool, text: &'static str) -> Media {
        Media {
            media: Bytes::from_static(text.as_bytes()),
            init: keyframe.then(|| Bytes::from_static(b"init")),
            flags: if keyframe {
                Flags::KEYFRAME
            } else {
                Flags::default()
            },
            ingest_stamp_us: at,
        }
    }

    fn drain(stream: &mut mpsc::Receiver<Part>) -> String {
        let mut out = Vec::new();
        while let Ok(part) = stream.try_recv() {
            out.extend(part.concat());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn another_broadcast_after_the_end_is_served_from_its_own_start() {
        let hub = Hub::new(2);
        hub.push(&media(0, true, "old"));
        hub.end();
        hub.push(&media(9, true, "new"));
        let mut reader = hub.subscribe().unwrap();
        hub.push(&media(10, false, "more"));
        assert_eq!(drain(&mut reader), "initnewmore");
        assert!(!reader.is_closed());
    }

    #[test]
    fn a_reader_starts_at_the_latest_keyframe_and_misses_nothing() {
        let hub = Hub::new(2);
        let mut early = hub.subscribe().unwrap();
        hub.push(&media(0, false, "lost"));
        hub.push(&media(1, true, "K1"));
        hub.push(&media(2, false, "a"));
        hub.push(&media(3, true, "K2"));
        hub.push(&media(4, false, "b"));
        let mut late = hub.subscribe().unwrap();
        assert!(hub.subscribe().is_none(), "readers are limited");
        hub.push(&media(5, false, "c"));
        hub.end();
        assert_eq!(drain(&mut early), "initK1aK2bc");
        assert_eq!(drain(&mut late), "initK2bc");
        assert!(late.is_closed());
    }

    #[test]
    fn a_slow_reader_goes_on_at_a_keyframe() {
        let hub = Hub::new(1);
        let mut slow = hub.subscribe().unwrap();
        hub.push(&media(0, true, "K"));
        for at in 1..100 {
            hub.push(&media(at, false, "."));
        }
        assert_eq!(drain(&mut slow).len(), "initK".len() + QUEUE_LEN - 1);
        hub.push(&media(100, false, "x"));
        hub.push(&media(101, true, "K"));
        hub.push(&media(102, false, "y"));
        assert_eq!(drain(&mut slow), "Ky");
    }

    #[test]
    fn a_reader_that_waits_through_two_keyframes_is_let_go() {
        let hub = Hub::new(1);
        let mut stalled = hub.subscribe().unwrap();
        hub.push(&media(0, true, "K"));
        for at in 1..100 {
            hub.push(&media(at, false, "."));
        }
        hub.push(&media(100, true, "K"));
        assert!(hub.subscribe().is_none(), "one keyframe is not enough");
        hub.push(&media(102, true, "K"));
        let mut next = hub.subscribe().expect("its place is free");
        assert_eq!(drain(&mut stalled).len(), "initK".len() + QUEUE_LEN - 1);
        assert!(stalled.is_closed());
        assert_eq!(drain(&mut next), "initK");
    }

    #[test]
    fn whole_gops_are_listed_and_old_ones_forgotten() {
        let hub = Hub::new(1);
        assert!(hub.playlist().is_none());
        for gop in 0..20 {
            hub.push(&media(gop * 2_000_000, true, "K"));
            hub.push(&media(gop * 2_000_000 + 1_000_000, false, "z"));
        }
        let playlist = hub.playlist().unwrap();
        assert_eq!(playlist.segments.len(), MAX_SEGMENTS);
        assert_eq!(playlist.media_sequence, 13);
        assert!(playlist.segments.iter().all(|s| s.duration_us == 2_000_000));
        assert_eq!(hub.segment(18).unwrap().concat(), b"Kz");
        assert!(hub.segment(3).is_none());
        assert_eq!(hub.init_numbered(0).unwrap(), "init");
        hub.end();
        assert!(hub.playlist().unwrap().ended);
    }
}
