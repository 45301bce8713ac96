//! What peers and the tracker are told, and what they answer.

use overlay_core::{
    Facts, StripeId,
    peer::{Input, Output},
    tracker,
    wire::to_tracker,
};
use stripe::Flags;

use super::{Event, SEEDER, TRACKER_LATENCY, WALL_AT_ZERO_US, World, index, peer_id};
use crate::{Light, LightHeader, LightPiece};

/// Generations that an encoder keeps for a seeder.
const KEPT: usize = 32;

impl World {
    pub(super) fn publish(&mut self, sequence: u64) {
        let scenario = &self.scenario;
        let per_gop = (scenario.gop.as_micros() / scenario.generation.as_micros()).max(1) as u64;
        let keyframe = sequence.is_multiple_of(per_gop);
        let mean = scenario.bitrate_bps as f64 / 8.0 * scenario.generation.as_secs_f64();
        // A keyframe's generation is about three times the mean; the others make up for it.
        let rest = (per_gop as f64 - 3.0).max(1.0) / (per_gop as f64 - 1.0).max(1.0);
        let body_len = (mean * if keyframe { 3.0 } else { rest }) as u32;
        let facts = Facts {
            epoch: 1,
            sequence,
            k: 16,
            n: 20,
            body_len,
            piece_len: body_len.div_ceil(16),
            ingest_stamp_us: WALL_AT_ZERO_US + self.now.as_micros(),
            delay_ms: scenario.delay.as_millis() as u32,
            flags: if keyframe {
                Flags::KEYFRAME
            } else {
                Flags::default()
            },
        };
        let pieces = StripeId::first(facts.n).map(|stripe| LightPiece {
            sequence,
            stripe,
            len: facts.piece_len,
            forged: false,
        });
        let header = LightHeader {
            facts,
            forged: false,
        };
        let pieces = pieces.collect();
        self.at(self.now + scenario.generation, Event::Publish(sequence + 1));
        if self.rival.is_some() {
            return self.rival_publishes(sequence, body_len);
        }
        if self.is_present(SEEDER) {
            self.feed(SEEDER, Input::Publish { header, pieces });
        } else if self.kept.len() < KEPT {
            self.kept.push((header, pieces));
        }
    }

    pub(super) fn feed(&mut self, number: u32, input: Input<Light>) {
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_alive()) else {
            return;
        };
        let Some(peer) = &mut host.peer else {
            return;
        };
        peer.handle(self.now, input);
        loop {
            let Some(host) = self.hosts.get_mut(&number) else {
                return;
            };
            let Some(peer) = &mut host.peer else {
                return;
            };
            match peer.poll() {
                Output::Timeout(at) => {
                    // One timer a peer: an earlier one that fires in vain is harmless.
                    if host.wakes <= self.now || at < host.wakes {
                        host.wakes = at;
                        self.at(at, Event::Wake(number));
                    }
                    return;
                }
                output => self.on_output(number, output),
            }
        }
    }

    pub(super) fn on_output(&mut self, number: u32, output: Output<Light>) {
        match output {
            Output::Send { to, message } => self.send(number, index(to), message),
            Output::Tracker(message) => {
                self.note(3, number, 0);
                if let Some(to_tracker::Kind::Detached(said)) = &message.kind {
                    self.notices(number, said.stripe);
                }
                let at = self.now + TRACKER_LATENCY;
                self.at(at, Event::ToTracker(number, message));
            }
            Output::Connect(peer) => self.connect(number, index(peer)),
            Output::Disconnect(peer) => {
                let other = index(peer);
                if self.unlink(number, other) {
                    let at = self.now + self.network.latency(number, other);
                    self.at(at, Event::ToPeer(other, Input::LinkDown(peer_id(number))));
                }
            }
            Output::Release(release) => {
                self.false_played += u64::from(!release.body);
                self.note(4, number, release.facts.sequence);
            }
            Output::Signal { from, payload, .. } => self.signalled(number, from, &payload),
            Output::Event(_) | Output::Timeout(_) => {}
        }
    }

    pub(super) fn feed_tracker(&mut self, input: tracker::Input) {
        if !self.tracker_up {
            return;
        }
        self.tracker.handle(self.now, input);
        loop {
            match self.tracker.poll() {
                tracker::Output::Send { session, message } => {
                    if let Some(number) = self.sessions.get(&session.0).copied() {
                        let at = self.now + TRACKER_LATENCY;
                        self.at(at, Event::FromTracker(number, message));
                    }
                }
                tracker::Output::Close { .. } => {}
                tracker::Output::Timeout(at) => {
                    if self.tracker_wakes <= self.now || at < self.tracker_wakes {
                        self.tracker_wakes = at;
                        self.at(at, Event::WakeTracker);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn tracker_stats(&self) -> tracker::stats::Stats {
        self.tracker.stats()
    }
}
