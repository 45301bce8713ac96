//! Who comes, and who goes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use overlay_core::{
    Instant, Peer, Random,
    peer::{self, Input},
    tracker::{self, Grant, SessionId},
};

use super::{
    Event, SEEDER, World,
    host::{Host, Life},
    measure::{self, Counts},
    peer_id,
    repair::Progress,
    role,
};
use crate::{Light, Overlay, Scenario, fault::How, network::Network, scenario::FIRST_COMES};

/// What a Sybil says that it offers: as much as anybody may.
const SYBIL_BPS: u64 = 15_000_000;

impl World {
    /// A viewer is to come.
    pub(super) fn expect(&mut self, upload_bps: u64, at: Instant) -> u32 {
        let number = self.hosts_ever;
        self.hosts_ever += 1;
        self.add_host(number, upload_bps, at);
        self.at(at, Event::Arrive(number));
        number
    }

    pub(super) fn forget(&mut self, number: u32) {
        self.hosts.remove(number);
        self.network.forget(number);
        if let Some(rival) = &mut self.rival {
            rival.forgets(number);
        }
    }

    /// Sybils are to come with the others.
    pub(super) fn expect_sybils(&mut self, honest: usize) {
        let count = (self.scenario.attack.sybils * honest as f64).round() as u32;
        for at in 0..count {
            add_line(&mut self.network, &self.scenario, SYBIL_BPS);
            let after = FIRST_COMES + self.scenario.arrivals * at / count;
            let number = self.expect(SYBIL_BPS, Instant::default() + after);
            if let Some(host) = self.hosts.get_mut(&number) {
                (host.sybil, host.rides) = (true, true);
            }
        }
    }

    /// A viewer has seen enough; its system closes what it had open, and says no goodbye.
    /// Another comes for it.
    pub(super) fn leave(&mut self, number: u32) {
        let Some(host) = self.hosts.get(&number).filter(|host| host.is_alive()) else {
            return;
        };
        let upload = host.upload_bps;
        let means = (host.lies, host.rides, host.drips);
        self.note(5, number, 0);
        self.measure_leaves(number);
        self.vanish(number, How::Killed);
        add_line(&mut self.network, &self.scenario, upload);
        let next = self.expect(upload, self.now);
        if let Some(host) = self.hosts.get_mut(&next) {
            (host.lies, host.rides, host.drips) = means;
        }
        if means.0 {
            self.liars.insert(next);
        }
        let forgets = self.now + Duration::from_secs(10);
        self.at(forgets, Event::Forget(number));
    }

    pub(super) fn arrive(&mut self, number: u32) {
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        host.life = Life::Alive;
        self.rival_arrives(number);
        if number == SEEDER {
            self.feed(number, Input::Epoch(1));
        } else if !self.is_sybil(number) {
            self.at(self.now + measure::BEGINS, Event::MeasureOf(number));
            let stay = self.scenario.session(&mut self.random);
            if let Some(stay) = stay {
                self.at(self.now + stay, Event::Leave(number));
            }
        }
        self.join(number);
    }

    /// Opens a session with the tracker, or tries again when that is not there.
    pub(super) fn join(&mut self, number: u32) {
        if self.rival.is_some() {
            return;
        }
        if self.is_cut_off(number) {
            return self.at(self.now + Duration::from_secs(1), Event::Return(number));
        }
        let session = self.next_session;
        self.next_session += 1;
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_alive()) else {
            return;
        };
        host.session = Some(session);
        self.sessions.insert(session, number);
        let grant = Grant {
            role: role(number),
            may_share: true,
            origin: None,
        };
        let session = SessionId(session);
        self.feed_tracker(tracker::Input::Opened { session, grant });
        self.feed(number, Input::TrackerUp);
    }

    pub(super) fn add_host(&mut self, number: u32, upload_bps: u64, started: Instant) {
        let config = self.config(number, upload_bps, started);
        let peer = self
            .rival
            .is_none()
            .then(|| Peer::new(started, Light, config));
        let host = Host {
            peer: peer.map(Box::new),
            life: Life::Away,
            session: None,
            started,
            upload_bps,
            wakes: Instant::default(),
            traffic: BTreeMap::new(),
            beats: VecDeque::new(),
            second_max: 0,
            lies: false,
            rides: false,
            drips: false,
            sybil: false,
            pieces_sent: 0,
            marked: None,
            progress: Progress::default(),
            stood: None,
            measured: None,
            counted: Counts::default(),
        };
        self.hosts.insert(number, host);
    }

    pub(super) fn config_of(&mut self, number: u32) -> peer::Config {
        let (upload_bps, started) = self
            .hosts
            .get(&number)
            .map_or((0, self.now), |host| (host.upload_bps, host.started));
        self.config(number, upload_bps, started)
    }

    pub(super) fn config(
        &mut self,
        number: u32,
        upload_bps: u64,
        started: Instant,
    ) -> peer::Config {
        peer::Config {
            peer: peer_id(number),
            role: role(number),
            upload_bps,
            seed: self.random.next(),
            started,
        }
    }
}

/// The line of a viewer. Rivals send as fast as it carries, and it carries what is offered;
/// our peers hold themselves to that.
pub(super) fn add_line(network: &mut Network, scenario: &Scenario, upload_bps: u64) {
    match scenario.overlay {
        Overlay::Ours => network.add(upload_bps),
        _ => network.add_line((upload_bps as f64 / 8.0).max(1.0)),
    }
}

/// Uplinks in exactly their shares, in random order.
pub(super) fn draw_uplinks(scenario: &Scenario, random: &mut Random) -> Vec<u64> {
    let (shares, peers) = (&scenario.uplinks, scenario.peers);
    if !scenario.uplinks_in_turn.is_empty() {
        let in_turn = scenario.uplinks_in_turn.iter().cycle();
        return in_turn.take(peers).copied().collect();
    }
    let at = |index: usize| {
        let mut left = (index as f64 + 0.5) / peers as f64;
        let found = shares.iter().find(|(share, _)| {
            left -= share;
            left < 0.0
        });
        found.or(shares.last()).map_or(0, |(_, rate)| *rate)
    };
    let mut uplinks: Vec<u64> = (0..peers).map(at).collect();
    for last in (1..peers).rev() {
        uplinks.swap(last, random.below(last as u64 + 1) as usize);
    }
    uplinks
}
