//! Faults as they strike.

use std::{collections::BTreeSet, time::Duration};

use overlay_core::{
    Instant, Peer, Tracker,
    peer::Input,
    tracker::{self, SessionId},
};

use super::{Event, SEEDER, World, host::Life, peer_id};
use crate::{
    Light,
    fault::{How, What, Who},
};

/// After so much silence a link is lost, and a session.
const SILENCE: Duration = Duration::from_secs(3);
/// A session is closed by the tracker's service after so much silence.
const SESSION_SILENCE: Duration = Duration::from_secs(25);
/// Later than anybody asks for one that is gone.
const FORGOTTEN: Duration = Duration::from_secs(35);
/// Peers, seeders too, come back to a tracker within this, at random.
const RETURN: Duration = Duration::from_secs(7);

impl World {
    pub(super) fn strike(&mut self, what: What) {
        if self.struck.is_none() {
            self.mark();
        }
        self.watch_on();
        match what {
            What::Vanish(who, how) => {
                for number in self.choose(who) {
                    self.measure_leaves(number);
                    self.vanish(number, how);
                    self.at(self.now + FORGOTTEN, Event::Forget(number));
                }
            }
            What::TrackerDown(lasts) => {
                self.tracker_up = false;
                self.sessions.clear();
                for number in self.alive() {
                    if let Some(host) = self.hosts.get_mut(&number) {
                        host.session = None;
                    }
                    self.feed(number, Input::TrackerDown);
                }
                self.at(self.now + lasts, Event::TrackerBack);
            }
            What::SeederDown(lasts) => {
                self.vanish(SEEDER, How::Killed);
                self.at(self.now + lasts, Event::SeederBack);
            }
            What::Partition(share, lasts) => {
                self.cut_off = self.choose(Who::Share(share)).into_iter().collect();
                self.at(self.now + SILENCE, Event::Apart);
                self.at(self.now + lasts, Event::Healed);
            }
        }
    }

    fn alive(&self) -> Vec<u32> {
        let alive = self.hosts.iter().filter(|(_, host)| host.is_alive());
        alive.map(|(number, _)| number).collect()
    }

    fn choose(&mut self, who: Who) -> Vec<u32> {
        let mut viewers = self.alive();
        viewers.retain(|number| *number != SEEDER && !self.is_sybil(*number));
        let count = match who {
            Who::Share(share) => (viewers.len() as f64 * share).round() as usize,
            Who::Interior(count) => {
                viewers.retain(|number| {
                    let children = self.stats(*number).children;
                    children.iter().any(|(_, children)| children.len() >= 3)
                });
                count
            }
        };
        while viewers.len() > count {
            let index = self.random.below(viewers.len() as u64) as usize;
            viewers.swap_remove(index);
        }
        viewers
    }

    pub(super) fn vanish(&mut self, number: u32, how: How) {
        self.orphan_children(number);
        self.remember_cut(number);
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        host.life = Life::Gone;
        if how == How::Killed {
            self.end_session(number);
        } else {
            self.at(self.now + SESSION_SILENCE, Event::SessionLost(number));
        }
        let links: Vec<(u32, u64)> = self
            .links
            .with(number)
            .map(|(o, link)| (o, *link))
            .collect();
        for (other, link) in links {
            // No goodbye: the other end notices when the link's liveness runs out.
            self.at(self.now + SILENCE, Event::Silence(number, other, link));
        }
    }

    /// A link has been silent for so long that its transport gives it up.
    pub(super) fn silence(&mut self, number: u32, other: u32) {
        if self.unlink(number, other) {
            self.feed(other, Input::LinkDown(peer_id(number)));
        }
    }

    pub(super) fn end_session(&mut self, number: u32) {
        if let Some(rival) = self.rival.as_mut().filter(|_| self.tracker_up) {
            rival.loses(number);
        }
        let session = self
            .hosts
            .get_mut(&number)
            .and_then(|host| host.session.take());
        if let Some(session) = session.filter(|_| self.tracker_up) {
            self.sessions.remove(&session);
            self.feed_tracker(tracker::Input::Closed {
                session: SessionId(session),
            });
        }
    }

    pub(super) fn tracker_back(&mut self) {
        self.tracker_up = true;
        self.tracker = Tracker::new(self.now, self.tracker_config());
        self.tracker_wakes = Instant::default();
        for number in self.alive() {
            self.return_soon(number);
        }
    }

    fn return_soon(&mut self, number: u32) {
        let after = RETURN.mul_f64(self.random.unit());
        self.at(self.now + after, Event::Return(number));
    }

    /// The seeder begins anew with its old name and none of its memory.
    pub(super) fn seeder_back(&mut self) {
        let now = self.now;
        let config = self.config_of(SEEDER);
        if let Some(host) = self.hosts.get_mut(&SEEDER) {
            host.peer = (host.peer.is_some()).then(|| Box::new(Peer::new(now, Light, config)));
            host.life = Life::Alive;
            host.wakes = Instant::default();
        }
        let others: Vec<u32> = self.links.with(SEEDER).map(|(other, _)| other).collect();
        for other in others {
            self.silence(SEEDER, other);
        }
        self.arrive(SEEDER);
        for (header, pieces) in std::mem::take(&mut self.kept) {
            self.feed(SEEDER, Input::Publish { header, pieces });
        }
    }

    /// The links between those who are apart are lost.
    pub(super) fn apart(&mut self) {
        let links = self.all_links();
        let across: Vec<(u32, u32)> = links.filter(|(a, b)| self.is_apart(*a, *b)).collect();
        for (a, b) in across {
            self.unlink(a, b);
            self.feed(a, Input::LinkDown(peer_id(b)));
            self.feed(b, Input::LinkDown(peer_id(a)));
        }
        let cut_off: Vec<u32> = self.cut_off.iter().copied().collect();
        for number in cut_off {
            self.end_session(number);
            self.feed(number, Input::TrackerDown);
        }
    }

    pub(super) fn healed(&mut self) {
        for number in std::mem::take(&mut self.cut_off) {
            self.return_soon(number);
        }
    }

    pub(super) fn is_apart(&self, a: u32, b: u32) -> bool {
        self.cut_off.contains(&a) != self.cut_off.contains(&b)
    }

    /// Who is cut off from the tracker too.
    pub(super) fn is_cut_off(&self, number: u32) -> bool {
        !self.tracker_up || self.cut_off.contains(&number)
    }
}

/// Draws who means ill.
pub(super) fn draw(share: f64, peers: usize, random: &mut overlay_core::Random) -> BTreeSet<u32> {
    let mut all: Vec<u32> = (1..=peers as u32).collect();
    let count = (share * peers as f64).round() as usize;
    let mut drawn = BTreeSet::new();
    while drawn.len() < count.min(peers) {
        let index = random.below(all.len() as u64) as usize;
        drawn.insert(all.swap_remove(index));
    }
    drawn
}
