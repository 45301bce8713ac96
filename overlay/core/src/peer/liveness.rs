//! Who is still there. A peer shows that it lives by what it says and by what its transport
//! acknowledges; nothing is sent for this alone.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, PeerId};

/// A peer is mute that has been sent something and acknowledged nothing for so long: two of
/// the host's reports and a long round trip.
const MUTE: Duration = Duration::from_millis(400);
/// A peer is doubted after a silence between these (overlay design: 120 to 200 ms after a
/// piece was due, with generations of 200 ms).
const DOUBT: Duration = Duration::from_millis(450);
const MAX_DOUBT: Duration = Duration::from_millis(1000);
/// A shorter pause changes nothing: who makes such pauses is doubted after [`DOUBT`] all the same.
const NOTED: Duration = Duration::from_millis(250);
/// A pause counts half after so long.
const PAUSE_HALF_LIFE_S: f64 = 10.0;
/// A link without traffic carries the transport's checks once a second; one that was silent
/// for longer than this is not to be built upon.
const FRESH: Duration = Duration::from_millis(1500);

/// When each peer was last heard of.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    peers: BTreeMap<PeerId, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    /// Since when what was sent is not acknowledged.
    owes: Option<Instant>,
    /// The longest silence of late after which it spoke again, as it counted then.
    pause: Duration,
    paused: Instant,
}

impl Heard {
    /// What its longest pause counts by then.
    fn pause_by(&self, now: Instant) -> Duration {
        let since = now.since(self.paused).as_secs_f64();
        self.pause.mul_f64(0.5f64.powf(since / PAUSE_HALF_LIFE_S))
    }
}

impl Liveness {
    /// Its link opened, or it said something.
    pub(super) fn on_heard(&mut self, now: Instant, peer: PeerId) {
        let heard = self.peers.entry(peer).or_insert(Heard {
            at: now,
            owes: None,
            pause: Duration::ZERO,
            paused: now,
        });
        let pause = now.since(heard.at);
        if pause >= NOTED {
            heard.pause = pause.max(heard.pause_by(now));
            heard.paused = now;
        }
        heard.at = now;
        heard.owes = None;
    }

    /// The host's report of what its link carried.
    pub(super) fn on_traffic(&mut self, now: Instant, peer: PeerId, sent: u64, received: u64) {
        if received > 0 {
            return self.on_heard(now, peer);
        }
        if let Some(heard) = self.peers.get_mut(&peer).filter(|_| sent > 0) {
            heard.owes = heard.owes.or(Some(now));
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// For how long it has been silent; without end for who has no link.
    pub(super) fn silence(&self, now: Instant, peer: PeerId) -> Duration {
        self.peers
            .get(&peer)
            .map_or(Duration::MAX, |heard| now.since(heard.at))
    }

    /// The silence after which it is to be doubted: clearly longer than those it has made of
    /// late. A keyframe's pieces are several times as long as others, and hold up what is
    /// behind them.
    pub(super) fn patience(&self, peer: PeerId) -> Duration {
        let heard = self.peers.get(&peer);
        let pause = heard.map_or(MAX_DOUBT, |heard| heard.pause_by(heard.at));
        (pause.mul_f64(1.25) + DOUBT / 5).clamp(DOUBT, MAX_DOUBT)
    }

    /// Whether it has made no long pauses of late.
    pub(super) fn is_steady(&self, peer: PeerId) -> bool {
        self.patience(peer) <= DOUBT
    }

    /// Whether it may be built upon.
    pub(super) fn is_fresh(&self, now: Instant, peer: PeerId) -> bool {
        self.silence(now, peer) <= FRESH && !self.is_mute(now, peer)
    }

    /// Whether it does not acknowledge what it is sent.
    pub(super) fn is_mute(&self, now: Instant, peer: PeerId) -> bool {
        let owes = self.peers.get(&peer).and_then(|heard| heard.owes);
        owes.is_some_and(|since| now.since(since) >= MUTE)
    }

    /// Whether it is mute for longer than it has been silent of late: on a line that loses much
    /// it takes its time for others to be heard, and most are there.
    pub(super) fn seems_gone(&self, now: Instant, peer: PeerId) -> bool {
        let owes = self.peers.get(&peer).and_then(|heard| heard.owes);
        owes.is_some_and(|since| now.since(since) >= MUTE.max(self.patience(peer)))
    }

    /// All who are mute.
    pub(super) fn mute(&self, now: Instant) -> impl Iterator<Item = PeerId> {
        self.peers
            .keys()
            .copied()
            .filter(move |peer| self.is_mute(now, *peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mute_is_who_acknowledges_nothing() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let peer = PeerId(1);
        let mut liveness = Liveness::default();
        liveness.on_heard(at(0), peer);
        liveness.on_traffic(at(150), peer, 0, 0);
        assert!(!liveness.is_mute(at(5000), peer), "nothing was sent");
        liveness.on_traffic(at(300), peer, 900, 0);
        assert!(!liveness.is_mute(at(600), peer));
        assert!(liveness.is_mute(at(700), peer));
        assert_eq!(liveness.mute(at(700)).count(), 1);
        liveness.on_traffic(at(750), peer, 900, 60);
        assert!(!liveness.is_mute(at(5000), peer));
    }

    #[test]
    fn who_was_silent_before_and_came_back_seems_gone_later() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let (steady, slow) = (PeerId(1), PeerId(2));
        let mut liveness = Liveness::default();
        for ms in (0..2000).step_by(100) {
            liveness.on_heard(at(ms), steady);
            if ms % 700 == 0 {
                liveness.on_heard(at(ms), slow);
            }
        }
        for peer in [steady, slow] {
            liveness.on_heard(at(2000), peer);
            liveness.on_traffic(at(2000), peer, 900, 0);
            assert!(!liveness.seems_gone(at(2440), peer));
        }
        assert!(liveness.seems_gone(at(2500), steady) && !liveness.seems_gone(at(2900), slow));
        assert!(liveness.seems_gone(at(3000), slow));
    }
}
