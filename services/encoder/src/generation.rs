//! Groups fragments into generations and seals them. Pure but for the caller's clock.
//!
//! The one rule: a keyframe always begins a generation, and the sequence has no gaps.

use bytes::BytesMut;
use proto::{encoder::Fragment, seeder::Generation};
use stripe::{Body, EpochSigner, Flags, MAX_BODY_LEN, Meta, Shape};

use crate::Error;

/// One epoch's generations.
pub(crate) struct Assembler {
    signer: EpochSigner,
    delay_ms: u32,
    target_us: u64,
    sequence: u64,
    /// Where the timeline goes on after all that came.
    end_us: u64,
    pending: Vec<Fragment>,
    pending_len: usize,
    /// The first generation of a session that continues a broadcast comes next.
    resumes: bool,
    /// Nothing came since the last PAUSE.
    paused: bool,
}

/// Fragments end a little early where stamps are whole milliseconds.
const SLACK_US: u64 = 10_000;
/// Longest init segment; real ones are some 1,200 bytes.
const MAX_INIT_LEN: usize = 16 * 1024;
/// Times beyond this are refused by the header's own bounds.
const MAX_TIME_US: u64 = i64::MAX as u64 / 8;

impl Assembler {
    pub(crate) fn new(signer: EpochSigner, delay_ms: u32, target_us: u64) -> Self {
        Self {
            signer,
            delay_ms,
            target_us,
            sequence: 0,
            end_us: 0,
            pending: Vec::new(),
            pending_len: 0,
            resumes: false,
            paused: true,
        }
    }

    /// A publish session begins; says where its timeline starts.
    pub(crate) fn begin_session(&mut self) -> u64 {
        self.resumes = self.sequence > 0;
        self.end_us
    }

    /// Takes the next fragment; gives what is complete by it, at most two generations.
    pub(crate) fn push(&mut self, fragment: Fragment) -> Result<Vec<Generation>, Error> {
        check(&fragment)?;
        let mut sealed = Vec::new();
        let len = 4 + fragment.init.len() + fragment.media.len();
        if fragment.keyframe || self.pending_len + len > MAX_BODY_LEN {
            sealed.extend(self.flush());
        }
        self.paused = false;
        self.end_us = self
            .end_us
            .max(fragment.media_time_us + fragment.duration_us);
        self.pending_len += len;
        self.pending.push(fragment);
        if self.pending_us() + SLACK_US >= self.target_us {
            sealed.extend(self.flush());
        }
        Ok(sealed)
    }

    /// Seals what is there, without waiting for more.
    pub(crate) fn flush(&mut self) -> Option<Generation> {
        self.seal(Flags::default(), None)
    }

    /// The session is over: what is there is its last, or an empty generation says so.
    /// `None` if nothing has been said since the last pause.
    pub(crate) fn pause(&mut self, now_us: u64) -> Option<Generation> {
        if self.paused {
            return None;
        }
        self.paused = true;
        self.seal(Flags::PAUSE, Some(now_us))
    }

    /// The broadcast is over. `None` if it never began.
    pub(crate) fn end(&mut self, now_us: u64) -> Option<Generation> {
        if !self.has_begun() {
            return None;
        }
        self.seal(Flags::END, Some(now_us))
    }

    /// Whether anything was sealed.
    pub(crate) fn has_begun(&self) -> bool {
        self.sequence > 0
    }

    /// Generations sealed so far.
    pub(crate) fn sealed(&self) -> u64 {
        self.sequence
    }

    fn pending_us(&self) -> u64 {
        let ends = self.pending.iter().map(|f| f.media_time_us + f.duration_us);
        let start = self.pending.first().map_or(0, |f| f.media_time_us);
        ends.max().unwrap_or(0).saturating_sub(start)
    }

    /// Seals the pending fragments, or nothing but flags if there is a stamp to give.
    fn seal(&mut self, mut flags: Flags, empty_stamp_us: Option<u64>) -> Option<Generation> {
        let fragments = std::mem::take(&mut self.pending);
        let media_len = std::mem::take(&mut self.pending_len);
        let (media_time_us, ingest_stamp_us) = match (fragments.first(), fragments.last()) {
            (Some(first), Some(last)) => (first.media_time_us, last.ingest_stamp_us),
            _ => (self.end_us, empty_stamp_us?),
        };
        let mut body = Body::default();
        let mut media = BytesMut::with_capacity(media_len);
        for fragment in &fragments {
            media.extend_from_slice(&fragment.media);
        }
        body.media = media.freeze();
        if let Some(first) = fragments.first().filter(|first| first.keyframe) {
            flags = flags.with(Flags::KEYFRAME);
            body.init = Some(first.init.clone());
        }
        if std::mem::take(&mut self.resumes) && !fragments.is_empty() {
            flags = flags.with(Flags::RESUME);
        }
        let meta = Meta {
            sequence: self.sequence,
            media_time_us,
            ingest_stamp_us,
            delay_ms: self.delay_ms,
            flags,
        };
        let (header, pieces) = self
            .signer
            .seal(meta, Shape::DEFAULT, &body.to_bytes())
            .expect("pending fragments are bounded by MAX_BODY_LEN");
        self.sequence += 1;
        Some(Generation {
            header: header.to_bytes(),
            pieces,
        })
    }
}

fn check(fragment: &Fragment) -> Result<(), Error> {
    let len = 4 + fragment.init.len() + fragment.media.len();
    if fragment.media.is_empty() || len > MAX_BODY_LEN || fragment.init.len() > MAX_INIT_LEN {
        return Err(Error::BadRequest("fragment is empty or too long"));
    }
    if fragment.keyframe == fragment.init.is_empty() {
        return Err(Error::BadRequest(
            "keyframes, and only they, have an init segment",
        ));
    }
    let times = [
        fragment.media_time_us,
        fragment.duration_us,
        fragment.ingest_stamp_us,
    ];
    if times.iter().any(|time| *time > MAX_TIME_US) {
        return Err(Error::BadRequest("time is out of bounds"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stripe::{ChannelId, SignedHeader};

    use super::*;

    fn assembler() -> Assembler {
        let signer = EpochSigner::new(ChannelId([7; 16]), 1, &[9; 32]);
        Assembler::new(signer, 1800, 200_000)
    }

    fn fragment(index: u64, keyframe: bool) -> Fragment {
        Fragment {
            init: Bytes::from_static(if keyframe { b"init" } else { b"" }),
            media: Bytes::from(format!("media {index} ")),
            keyframe,
            media_time_us: index * 100_000,
            duration_us: 100_000,
            ingest_stamp_us: 1_000_000 + index,
        }
    }

    fn read(generation: &Generation) -> (Meta, Body) {
        let signed = SignedHeader::from_bytes(&generation.header).unwrap();
        let pieces: Vec<_> = generation.pieces.iter().cloned().map(Some).collect();
        let len = signed.header.body_len as usize;
        let (bytes, _) = stripe::decode(signed.header.shape, len, &pieces).unwrap();
        (signed.header.meta, Body::from_bytes(&bytes).unwrap())
    }

    #[test]
    fn two_fragments_make_a_generation_and_a_keyframe_begins_one() {
        let mut assembler = assembler();
        let sealed: Vec<_> = [(0, true), (1, false), (2, false), (3, true), (4, false)]
            .into_iter()
            .flat_map(|(index, key)| assembler.push(fragment(index, key)).unwrap())
            .map(|generation| read(&generation))
            .collect();
        assert_eq!(sealed.len(), 3);
        assert_eq!(&sealed[0].1.media[..], b"media 0 media 1 ");
        assert_eq!(&sealed[1].1.media[..], b"media 2 ");
        assert_eq!(&sealed[2].1.media[..], b"media 3 media 4 ");
        let keys = sealed
            .iter()
            .map(|(meta, _)| meta.flags.has(Flags::KEYFRAME));
        assert_eq!(keys.collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(sealed[2].0.ingest_stamp_us, 1_000_004);
        assert_eq!(sealed[2].0.sequence, 2);
    }

    #[test]
    fn a_lost_session_pauses_once_and_the_next_resumes() {
        let mut assembler = assembler();
        assembler.begin_session();
        assert!(assembler.pause(5).is_none());
        assembler.push(fragment(0, true)).unwrap();
        let (meta, _) = read(&assembler.pause(5).unwrap());
        assert!(meta.flags.has(Flags::PAUSE) && meta.flags.has(Flags::KEYFRAME));
        assert!(assembler.pause(6).is_none());
        assert_eq!(assembler.begin_session(), 100_000);
        assembler.push(fragment(1, true)).unwrap();
        let (meta, _) = read(&assembler.flush().unwrap());
        assert!(meta.flags.has(Flags::RESUME));
        let (meta, body) = read(&assembler.pause(7).unwrap());
        assert_eq!((meta.flags, meta.ingest_stamp_us), (Flags::PAUSE, 7));
        assert_eq!(body, Body::default());
        let (meta, _) = read(&assembler.end(8).unwrap());
        assert_eq!((meta.flags, meta.sequence), (Flags::END, 3));
    }

    #[test]
    fn a_generation_never_exceeds_what_can_be_coded() {
        let mut assembler = assembler();
        let mut big = fragment(0, true);
        big.media = Bytes::from(vec![1; 600 * 1024]);
        big.duration_us = 10_000;
        let mut next = big.clone();
        (next.init, next.keyframe) = (Bytes::new(), false);
        assert!(assembler.push(big).unwrap().is_empty());
        assert_eq!(assembler.push(next.clone()).unwrap().len(), 1);
        next.media = Bytes::from(vec![1; MAX_BODY_LEN]);
        assert!(assembler.push(next).is_err());
    }
}
