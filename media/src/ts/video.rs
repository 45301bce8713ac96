//! The pictures of a transport stream.
//!
//! The one rule: after damage nothing is shown before the next keyframe, since players stop
//! at pictures whose references are missing.

use bytes::Bytes;

use crate::{
    avc::{Config, annex_b::AccessUnit},
    bits::Bits,
    part::{Part, Picture},
};

use super::{
    clock::{millis, signed},
    elementary::{Output, Track},
    pes::Pes,
};

/// The track's state. One PES packet is taken for one access unit, as senders of live video
/// make them.
pub(super) struct Video {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    config: Option<Config>,
    wants_keyframe: bool,
}

/// As many sets of a kind as can be told apart (H.264, 7.4.2.1.1: 0 to 31).
const MAX_SETS: usize = 32;
/// Of a sequence parameter set, what stands before its number: a header, the profile, its
/// constraints and level.
const BEFORE_SPS_ID: u32 = 32;
/// Of a picture parameter set: a header.
const BEFORE_PPS_ID: u32 = 8;

impl Default for Video {
    fn default() -> Self {
        Self {
            sps: Vec::new(),
            pps: Vec::new(),
            config: None,
            wants_keyframe: true,
        }
    }
}

impl Track for Video {
    fn take(&mut self, pes: &Pes, out: &mut Output) {
        let unit = AccessUnit::read(pes.payload());
        if !unit.picture {
            return;
        }
        let Some(presented) = pes.presented else {
            out.counts.left_out += 1;
            return self.on_damage();
        };
        let decoded = pes.decoded.unwrap_or(presented);
        let ticks = out.clock.place(decoded);
        let stamp_ms = millis(ticks);
        if let Some(config) = self.new_config(&unit) {
            self.config = Some(config.clone());
            out.ready
                .push_back((stamp_ms as u32, Part::VideoHeader(config)));
        }
        self.wants_keyframe &= !unit.keyframe || self.config.is_none();
        if self.wants_keyframe {
            out.counts.left_out += 1;
            return;
        }
        let ahead = signed(presented as i64, decoded as i64);
        let picture = Picture {
            keyframe: unit.keyframe,
            composition_ms: (millis(ticks.wrapping_add(ahead)) - stamp_ms) as i32,
            bytes: unit.bytes,
        };
        out.ready
            .push_back((stamp_ms as u32, Part::Picture(picture)));
    }

    fn on_damage(&mut self) {
        self.wants_keyframe = true;
    }
}

impl Video {
    /// The header, if what came changes it.
    fn new_config(&mut self, unit: &AccessUnit) -> Option<Config> {
        if unit.sps.is_empty() && unit.pps.is_empty() {
            return None;
        }
        keep(&mut self.sps, &unit.sps, BEFORE_SPS_ID);
        keep(&mut self.pps, &unit.pps, BEFORE_PPS_ID);
        let config = Config::from_sets(&self.sps, &self.pps).ok()?;
        (self.config.as_ref() != Some(&config)).then_some(config)
    }
}

/// Sets with a number that was there replace it; the newest stand first.
fn keep(sets: &mut Vec<Bytes>, came: &[Bytes], before_id: u32) {
    let id = |set: &[u8]| {
        let mut bits = Bits::new(set);
        bits.read(before_id)?;
        bits.ue()
    };
    for set in came.iter().rev() {
        sets.retain(|old| id(old) != id(set));
        sets.insert(0, set.clone());
    }
    sets.truncate(MAX_SETS);
}
