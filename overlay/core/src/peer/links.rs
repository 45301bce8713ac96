//! Whom the peer has a link to, and what it knows of each.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, PeerId, StripeId, StripeSet, wire::control::Have};

/// Links at most; for one more, one goes that is of no use to either side. A strong viewer has
/// up to 64 children, each once for whom it is a backup and twice for whom it might be; with
/// 96, simulated swarms beyond 300 viewers grew 16 deep and stood. Chromium allows 500.
const MAX_LINKS: usize = 256;
/// Late or foreign pieces within [`STALE_SPAN`] before a peer is cut for replaying. A
/// parent that lags behind makes dozens.
const MAX_STALE: u32 = 400;
/// The same of a parent: four times what all twenty stripes bring in that time.
const MAX_LATE: u32 = 4000;
const STALE_SPAN: Duration = Duration::from_secs(10);
/// `Have` is answered to one peer so often at most.
const HAVE_INTERVAL: Duration = Duration::from_millis(100);
/// Headers sent to one peer on request, in this span: a peer whose header feed is gone asks
/// for five a second.
const MAX_HEADER_REQUESTS: u32 = 40;
const HEADER_REQUEST_SPAN: Duration = Duration::from_secs(2);
/// Pieces of the past that one peer is lent at once, a GOP of 4 s if need be, and how many
/// of them a second are forgiven: enough to come again, too few to live on.
const MAX_LENT: f64 = 320.0;
const FORGIVEN_PER_S: f64 = 4.0;
/// Stripes resent to one peer at once, and how many more a second: a newcomer below a seeder
/// takes all twenty, and where much is lost parents are changed again and again.
const MAX_RESENT: f64 = 80.0;
const RESENT_PER_S: f64 = 8.0;
/// Part of what a seeder has for rescue that one peer may take for long: at once it may take all,
/// and who stands where a fifth of all packets is lost needs that.
const RESCUED_PART: f64 = 0.5;
/// Signals that are carried for or to one peer at once, and how many more a second: a link
/// takes four.
const MAX_CARRIED: f64 = 24.0;
const CARRIED_PER_S: f64 = 4.0;
/// More room than this does not make a neighbour a better parent: it is only what it says.
const MAX_SPARE: u32 = 8;
/// Cut peers remembered.
const MAX_BANNED: usize = 1024;

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<PeerId, Link>,
    banned: Vec<PeerId>,
    seeders: Vec<PeerId>,
}

/// One link.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Open, rather than being opened.
    pub(super) up: bool,
    /// When it was begun.
    since: Instant,
    /// What it can serve, and when it said so.
    pub(super) have: Option<(Instant, Have)>,
    /// When it was last told what we have.
    told: Option<Instant>,
    /// When it was last asked what it has.
    asked: Option<Instant>,
    stale: u32,
    stale_since: Instant,
    header_requests: u32,
    header_requests_since: Instant,
    /// Pieces it was lent.
    lent: Leaky,
    /// Stripes it was resent.
    resent: Leaky,
    /// Bytes it was rescued with.
    rescued: Leaky,
    /// Signals carried for it, and brought by it.
    carried: Leaky,
    /// Signals brought to it.
    brought: Leaky,
    /// When it last told of others.
    told_of_others: Option<Instant>,
}

/// What was taken, less what has been forgiven since.
#[derive(Debug, Default)]
struct Leaky {
    taken: f64,
    at: Instant,
}

impl Leaky {
    /// Takes so much more, if that makes no more than `most`. Whether it did.
    fn take(&mut self, now: Instant, amount: f64, most: f64, forgiven_per_s: f64) -> bool {
        let forgiven = now.since(self.at).as_secs_f64() * forgiven_per_s;
        self.taken = (self.taken - forgiven).max(0.0);
        self.at = now;
        let fits = self.taken + amount <= most;
        if fits {
            self.taken += amount;
        }
        fits
    }
}

impl Links {
    /// Which peers are seeders, as the tracker says.
    pub(super) fn set_seeders(&mut self, seeders: &[u64]) {
        self.seeders = seeders.iter().take(16).copied().map(PeerId).collect();
    }

    pub(super) fn is_seeder(&self, peer: PeerId) -> bool {
        self.seeders.contains(&peer)
    }

    /// Begins a link, unless there is one, no room, or the peer was cut. Whether to open it.
    pub(super) fn begin(&mut self, now: Instant, peer: PeerId) -> bool {
        if self.links.contains_key(&peer) || !self.may_add(peer) {
            return false;
        }
        self.note(now, peer);
        true
    }

    /// A link is open. Whether it is welcome.
    pub(super) fn on_up(&mut self, now: Instant, peer: PeerId) -> bool {
        let welcome = self.may_add(peer);
        if welcome {
            self.note(now, peer).up = true;
        }
        welcome
    }

    fn note(&mut self, now: Instant, peer: PeerId) -> &mut Link {
        self.links.entry(peer).or_insert_with(|| Link {
            since: now,
            ..Link::default()
        })
    }

    /// Whether there is a link to this peer, or may be one.
    fn may_add(&self, peer: PeerId) -> bool {
        let room = self.links.len() < MAX_LINKS || self.links.contains_key(&peer);
        room && !self.is_banned(peer)
    }

    /// The link to give up for another one when there are as many as may be: of those nobody
    /// needs, the oldest.
    pub(super) fn dispensable(&self, needed: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        if self.links.len() < MAX_LINKS {
            return None;
        }
        let links = self.links.iter();
        let idle = links.filter(|(peer, _)| !self.is_seeder(**peer) && !needed(**peer));
        let oldest = idle.min_by_key(|(peer, link)| (link.since, **peer));
        oldest.map(|(peer, _)| *peer)
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.links.remove(&peer);
    }

    /// Never again.
    pub(super) fn ban(&mut self, peer: PeerId) {
        self.remove(peer);
        if self.banned.len() == MAX_BANNED {
            self.banned.remove(0);
        }
        self.banned.push(peer);
    }

    pub(super) fn is_banned(&self, peer: PeerId) -> bool {
        self.banned.contains(&peer)
    }

    /// Whether there is a link, in whatever state.
    pub(super) fn is_known(&self, peer: PeerId) -> bool {
        self.links.contains_key(&peer)
    }

    pub(super) fn is_up(&self, peer: PeerId) -> bool {
        self.links.get(&peer).is_some_and(|link| link.up)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Link> {
        self.links.get_mut(&peer)
    }

    pub(super) fn seeders(&self) -> &[PeerId] {
        &self.seeders
    }

    /// Who says that it relays a stripe and has room, the roomiest first; seeders, who relay
    /// everything and are everyone's last resort, come last. Those `below` would wait for us.
    pub(super) fn relays(
        &self,
        stripe: StripeId,
        below: &[PeerId],
        seeders: &[PeerId],
    ) -> Vec<PeerId> {
        let mut found: Vec<(bool, u32, PeerId)> = self
            .up()
            .filter(|(peer, _)| !below.contains(peer))
            .filter_map(|(peer, link)| {
                let seeder = seeders.contains(&peer);
                let (_, have) = link.have.as_ref()?;
                let carries = StripeSet::from_bits(have.relays).contains(stripe);
                let fits = seeder || (carries && have.spare > 0);
                fits.then_some((seeder, MAX_SPARE - have.spare.min(MAX_SPARE), peer))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, _, peer)| peer).collect()
    }

    /// Open links, in order of names.
    pub(super) fn up(&self) -> impl Iterator<Item = (PeerId, &Link)> {
        self.links
            .iter()
            .filter(|(_, link)| link.up)
            .map(|(peer, link)| (*peer, link))
    }
}

impl Link {
    /// Whether another header may be sent on request.
    pub(super) fn may_request_header(&mut self, now: Instant) -> bool {
        if now.since(self.header_requests_since) > HEADER_REQUEST_SPAN {
            self.header_requests_since = now;
            self.header_requests = 0;
        }
        self.header_requests += 1;
        self.header_requests <= MAX_HEADER_REQUESTS
    }

    /// Whether it may be lent more of the past, and notes that it is.
    pub(super) fn lend(&mut self, now: Instant, pieces: usize) -> bool {
        self.lent.take(now, pieces as f64, MAX_LENT, FORGIVEN_PER_S)
    }

    /// Whether it may be resent another stripe, and notes that it is.
    pub(super) fn resend(&mut self, now: Instant) -> bool {
        self.resent.take(now, 1.0, MAX_RESENT, RESENT_PER_S)
    }

    /// Whether it may be rescued with so many bytes, and notes that it is, where there are
    /// `per_s` bytes a second for everyone and `burst` at once.
    pub(super) fn rescue(&mut self, now: Instant, bytes: usize, per_s: f64, burst: f64) -> bool {
        let (most, forgiven) = (burst, per_s * RESCUED_PART);
        self.rescued.take(now, bytes as f64, most, forgiven)
    }

    /// Whether another signal may be brought to it.
    pub(super) fn may_bring(&mut self, now: Instant) -> bool {
        self.brought.take(now, 1.0, MAX_CARRIED, CARRIED_PER_S)
    }

    /// Whether another signal may be carried for it, or taken from it.
    pub(super) fn may_carry(&mut self, now: Instant) -> bool {
        self.carried.take(now, 1.0, MAX_CARRIED, CARRIED_PER_S)
    }

    /// Whether it is heard on others now, given that it may tell of them so often.
    pub(super) fn may_tell_of_others(&mut self, now: Instant, apart: Duration) -> bool {
        let due = self
            .told_of_others
            .is_none_or(|told| now.since(told) >= apart);
        if due {
            self.told_of_others = Some(now);
        }
        due
    }

    /// Counts a piece that came too late or of another epoch. Whether these are
    /// more than accident explains, or of a parent a slow line.
    pub(super) fn on_stale(&mut self, now: Instant, parent: bool) -> bool {
        if now.since(self.stale_since) > STALE_SPAN {
            self.stale_since = now;
            self.stale = 0;
        }
        self.stale += 1;
        self.stale > if parent { MAX_LATE } else { MAX_STALE }
    }

    /// Whether to answer a question for what we have.
    pub(super) fn may_tell(&mut self, now: Instant) -> bool {
        let due = self
            .told
            .is_none_or(|told| now.since(told) >= HAVE_INTERVAL);
        if due {
            self.told = Some(now);
        }
        due
    }

    /// Whether to ask what it has, given that an answer this old is no use.
    pub(super) fn may_ask(&mut self, now: Instant, stale_after: Duration) -> bool {
        let fresh = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < stale_after);
        if fresh(self.asked) || fresh(self.have.as_ref().map(|(at, _)| *at)) {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// Whether it can probably serve this generation.
    pub(super) fn may_have(&self, sequence: u64) -> bool {
        // What it had whole a while ago it still has, and newer ones came since.
        self.have
            .as_ref()
            .is_some_and(|(_, have)| have.until > 0 && have.from <= sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_one_link_too_many_the_oldest_goes_that_nobody_needs() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut links = Links::default();
        links.set_seeders(&[0]);
        for peer in 0..MAX_LINKS as u64 - 1 {
            assert!(links.begin(at(1000 - peer), PeerId(peer)));
        }
        assert_eq!(links.dispensable(|_| false), None, "there is room for one");
        assert!(links.on_up(at(2000), PeerId(900)));
        assert!(!links.begin(at(2000), PeerId(901)) && !links.on_up(at(2000), PeerId(901)));
        assert!(links.on_up(at(2000), PeerId(3)), "it is known");
        // The youngest are the first to have come; the seeder is the youngest but one.
        let oldest = MAX_LINKS as u64 - 2;
        assert_eq!(links.dispensable(|_| false), Some(PeerId(oldest)));
        let needed = |peer: PeerId| peer.0 > 5 || peer.0 == 4;
        assert_eq!(links.dispensable(needed), Some(PeerId(5)));
        assert_eq!(links.dispensable(|peer| peer.0 > 0), None, "seeders stay");
        links.remove(PeerId(5));
        assert!(links.begin(at(2000), PeerId(901)));
    }
}
