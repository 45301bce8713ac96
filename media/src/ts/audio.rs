//! The sounds of a transport stream: AAC in ADTS (ISO/IEC 13818-7, 6.2; 14496-3, 1.A.2.2).

use bytes::Bytes;

use crate::{aac::Config, part::Part};

use super::{
    clock::{millis, ticks_of},
    elementary::{Output, Track},
    pes::Pes,
};

/// The track's state.
#[derive(Default)]
pub(super) struct Audio {
    /// The beginning of a frame whose end comes in the next packet.
    rest: Vec<u8>,
    /// Where the next frame stands, unless a stamp says otherwise.
    next: Option<i64>,
    config: Option<Config>,
}

/// A header without and with its CRC.
const HEADER_LEN: usize = 7;
const HEADER_WITH_CRC_LEN: usize = 9;

/// What a frame's header says.
struct Header {
    specific: [u8; 2],
    len: usize,
    frame_len: usize,
}

impl Track for Audio {
    fn take(&mut self, pes: &Pes, out: &mut Output) {
        // The stamp is that of the first frame that begins in the packet.
        let begun = self.rest.len();
        let mut stamp = pes.presented.map(|stamp| out.clock.place(stamp));
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(pes.payload());
        let bytes = Bytes::from(bytes);
        let mut at = 0;
        while bytes.len() - at >= HEADER_LEN {
            let Some(header) = Header::read(&bytes[at..]) else {
                out.counts.damages += 1;
                at = next_sync(&bytes, at + 1);
                continue;
            };
            let end = at + header.frame_len;
            if bytes.len() < end {
                break;
            }
            if at >= begun {
                self.next = stamp.take().or(self.next);
            }
            self.frame(&header, bytes.slice(at + header.len..end), out);
            at = end;
        }
        self.rest = bytes[at..].to_vec();
    }

    fn on_damage(&mut self) {
        self.rest.clear();
        self.next = None;
    }
}

impl Audio {
    fn frame(&mut self, header: &Header, frame: Bytes, out: &mut Output) {
        // Without a stamp before it nobody knows when it is to be heard.
        let Some(ticks) = self.next else {
            out.counts.damages += 1;
            return;
        };
        let stamp_ms = millis(ticks) as u32;
        let same = |config: &&Config| config.specific()[..] == header.specific;
        if self.config.as_ref().filter(same).is_none() {
            let specific = Bytes::copy_from_slice(&header.specific);
            self.config = Config::parse(specific).ok();
            let header = self.config.clone().map(Part::AudioHeader);
            out.ready.extend(header.map(|header| (stamp_ms, header)));
        }
        let Some(config) = &self.config else {
            return;
        };
        let lasts = ticks_of(config.frame_len(), config.sample_rate());
        self.next = Some(ticks.wrapping_add(lasts));
        if !frame.is_empty() {
            out.ready.push_back((stamp_ms, Part::Sound(frame)));
        }
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, ..] = *bytes else {
            return None;
        };
        // Twelve ones, and a layer of zero; more than one block in a frame nobody sends.
        if a != 0xff || b & 0xf6 != 0xf0 || g & 3 != 0 {
            return None;
        }
        let object_type = (c >> 6) + 1;
        let rate = c >> 2 & 15;
        let channels = (c & 1) << 2 | d >> 6;
        let len = match b & 1 {
            1 => HEADER_LEN,
            _ => HEADER_WITH_CRC_LEN,
        };
        let frame_len = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
        let specific = [
            object_type << 3 | rate >> 1,
            (rate & 1) << 7 | channels << 3,
        ];
        (frame_len >= len).then_some(Self {
            specific,
            len,
            frame_len,
        })
    }
}

/// Where a header may begin, or too near the end for one.
fn next_sync(bytes: &[u8], from: usize) -> usize {
    let found = bytes[from..]
        .windows(2)
        .position(|pair| pair[0] == 0xff && pair[1] & 0xf6 == 0xf0);
    found.map_or(bytes.len().saturating_sub(1).max(from), |at| from + at)
}
