//! A server that sends the broadcast to everybody: HTTP-FLV or RTMP players as they are
//! (nginx-rtmp, SRS), with a cache of what is not due yet for newcomers.
//!
//! Not faithful: the server's line is as wide as its viewers need, since otherwise there would
//! be nothing to compare with beyond its first dozen viewers.

use std::{collections::BTreeMap, time::Duration};

use overlay_core::Instant;

use super::{Format, Rival, Said, Swarm, Way, Why, swarm::SERVER};
use crate::Scenario;

/// Either side gives the other up after so much silence.
const SILENCE: Duration = Duration::from_secs(3);
/// A generation is sent in so many messages.
const PACKETS: u8 = 16;
const BEAT: Duration = Duration::from_secs(1);

pub(super) struct ClientServer {
    delay: Duration,
    /// Whom the server sends to, and when it heard from them.
    watching: BTreeMap<u32, Instant>,
    /// When viewers heard from the server.
    heard: BTreeMap<u32, Instant>,
}

impl ClientServer {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            delay: scenario.rival.delay.unwrap_or(scenario.delay),
            watching: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    fn send(&self, swarm: &mut Swarm<'_>, to: u32, sequence: u64) {
        for packet in 0..PACKETS {
            if let Some(part) = swarm.viewers.part(sequence, 1, packet) {
                swarm.say(SERVER, to, Said::Part(part), self.delay);
            }
        }
    }
}

impl Rival for ClientServer {
    fn format(&self) -> Format {
        Format {
            parts: PACKETS,
            enough: PACKETS,
            delay: self.delay,
            server_unbounded: true,
        }
    }

    fn begins(&mut self, _: &mut Swarm<'_>) {
        self.watching.clear();
    }

    fn arrives(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        let connects = swarm.handshake(viewer, SERVER);
        swarm.wake(connects, viewer, Why::Look);
    }

    fn publishes(&mut self, swarm: &mut Swarm<'_>, sequence: u64) {
        let now = swarm.now;
        self.watching
            .retain(|_, heard| now.since(*heard) <= SILENCE);
        for to in self.watching.keys() {
            self.send(swarm, *to, sequence);
        }
    }

    fn hears(&mut self, swarm: &mut Swarm<'_>, way: Way, said: Said) {
        match said {
            Said::Join(_) if way.to == SERVER => {
                self.watching.insert(way.from, swarm.now);
                for sequence in swarm.viewers.to_come(swarm.now) {
                    self.send(swarm, way.from, sequence);
                }
            }
            Said::Alive => {
                if let Some(heard) = self.watching.get_mut(&way.from) {
                    *heard = swarm.now;
                }
            }
            Said::Part(part) => {
                swarm.viewers.take(way.to, true, &part);
                self.heard.insert(way.to, swarm.now);
            }
            _ => {}
        }
    }

    fn wakes(&mut self, swarm: &mut Swarm<'_>, viewer: u32, _: Why) {
        let heard = self.heard.get(&viewer);
        let joins = heard.is_none_or(|heard| swarm.now.since(*heard) > SILENCE);
        if joins {
            self.heard.insert(viewer, swarm.now);
        }
        let said = if joins { Said::Join(0) } else { Said::Alive };
        swarm.tell(viewer, SERVER, said);
        swarm.wake(BEAT, viewer, Why::Look);
    }

    fn loses(&mut self, _: u32) {}

    fn forgets(&mut self, viewer: u32) {
        self.watching.remove(&viewer);
        self.heard.remove(&viewer);
    }
}
