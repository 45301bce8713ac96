//! One stream of the program: from packets to PES packets, and from them to frames.

use std::collections::VecDeque;

use crate::part::Part;

use super::{
    Counts,
    clock::Clock,
    packet::{Counter, Follows, Packet},
    pes::{self, Pes},
};

/// What PES packets mean.
pub(super) trait Track {
    /// A packet came whole.
    fn take(&mut self, pes: &Pes, out: &mut Output);

    /// Something is missing.
    fn on_damage(&mut self);
}

/// What all tracks share: what came of them, and their clock.
#[derive(Default)]
pub(super) struct Output {
    pub(super) clock: Clock,
    /// With their stamps in milliseconds, which wrap.
    pub(super) ready: VecDeque<(u32, Part)>,
    pub(super) counts: Counts,
}

/// The stream's state.
pub(super) struct Elementary<T> {
    pub(super) pid: u16,
    counter: Counter,
    pes: pes::Assembler,
    /// The newest packet was filled up.
    filled_up: bool,
    track: T,
}

impl<T: Track + Default> Elementary<T> {
    pub(super) fn new(pid: u16) -> Self {
        Self {
            pid,
            counter: Counter::default(),
            pes: pes::Assembler::default(),
            filled_up: false,
            track: T::default(),
        }
    }

    pub(super) fn on_packet(&mut self, packet: &Packet<'_>, out: &mut Output) {
        match self.counter.check(packet) {
            Follows::Next => {}
            Follows::Again => return,
            Follows::Gap => self.on_damage(out),
        }
        self.filled_up = packet.filled_up;
        if packet.starts {
            self.end(out);
            self.pes.start(packet.payload);
        } else if self.pes.extend(packet.payload).is_err() {
            self.on_damage(out);
        }
        if self.pes.is_full() {
            self.end(out);
        }
    }

    /// Nothing comes any more. Pictures rarely announce their length, and those whose sender
    /// stopped in the middle must not be shown; the end of a whole one fills its packet up.
    pub(super) fn finish(&mut self, out: &mut Output) {
        if self.filled_up {
            self.end(out);
        }
        self.pes.clear();
    }

    /// What has come of the last packet is all of it.
    fn end(&mut self, out: &mut Output) {
        match self.pes.take() {
            Some(Ok(pes)) => self.track.take(&pes, out),
            Some(Err(pes::Broken)) => self.on_damage(out),
            None => {}
        }
    }

    pub(super) fn on_damage(&mut self, out: &mut Output) {
        self.pes.clear();
        self.track.on_damage();
        out.counts.damages += 1;
    }
}
