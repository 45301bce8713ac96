//! What all peers of a swarm come to together.

use std::{collections::VecDeque, time::Duration};

use super::{
    membership::{Member, Members},
    stats::Stats,
};
use crate::{Instant, wire, wire::ByteCounts};

/// Totals are kept for this many seconds, for the ratio over the last 60.
const HISTORY: usize = 61;
/// Start-up times remembered; beyond, every second one is dropped.
const MAX_STARTUPS: usize = 20_000;

/// No peer can have sent or played more (at 10 Gbit/s, two and a half days): what peers
/// report is summed, and must not overflow.
const MOST: u64 = 1 << 48;

/// Running totals.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What members that left had come to.
    gone: Totals,
    /// What there was when the broadcast began.
    begun: Totals,
    history: VecDeque<(Instant, Totals)>,
    startups: Vec<u32>,
    complaints: u64,
}

/// Sums of counters that only rise.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Totals {
    seeders: ByteCounts,
    http: u64,
    peers: ByteCounts,
    played: u64,
    stalls: u64,
}

impl Tally {
    /// A broadcast begins: count from here.
    pub(super) fn on_broadcast(&mut self) {
        let latest = self.history.back().map_or(self.gone, |(_, totals)| *totals);
        self.begun = latest;
        self.history.clear();
        self.startups.clear();
    }

    pub(super) fn on_complaint(&mut self) {
        self.complaints += 1;
    }

    /// A member reports. What it had come to before its first report counts neither for the
    /// broadcast nor for the minute: it comes back, to a tracker that forgot it or counted it
    /// among those who left.
    pub(super) fn on_status(&mut self, member: &mut Member) {
        if !std::mem::replace(&mut member.reported, true) {
            self.begun.add(member);
            for (_, totals) in &mut self.history {
                totals.add(member);
            }
        }
        let startup = member.status.startup_ms;
        if startup > 0 && !member.counted_startup {
            member.counted_startup = true;
            if self.startups.len() >= MAX_STARTUPS {
                let mut keep = false;
                self.startups.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.startups.push(startup);
        }
    }

    pub(super) fn on_gone(&mut self, member: &Member) {
        self.gone.add(member);
    }

    /// Once a second, remembers where the totals stand.
    pub(super) fn tick(&mut self, now: Instant, members: &Members) {
        let due = self
            .history
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= Duration::from_secs(1));
        if due {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((now, self.totals(members)));
        }
    }

    pub(super) fn stats(&self, stream: Option<wire::Stream>, members: &Members) -> Stats {
        let totals = self.totals(members);
        let since = totals.since(&self.begun);
        let minute = self
            .history
            .front()
            .map_or(since, |(_, then)| totals.since(then));
        let playing = || {
            members
                .viewers()
                .filter(|(_, member)| member.status.played > 0)
        };
        let p50s = playing().map(|(_, member)| member.status.lag_p50_ms);
        let p95s = playing().map(|(_, member)| member.status.lag_p95_ms);
        Stats {
            live: stream.is_some_and(|stream| stream.live),
            viewers: members.viewers().count() as u64,
            seeders: since.seeders,
            http: since.http,
            peers: since.peers,
            media_played: since.played,
            saved_ratio: since.saved(),
            saved_ratio_60s: minute.saved(),
            lag_p50_ms: percentile(p50s.filter(|lag| *lag > 0).collect(), 50),
            lag_p95_ms: percentile(p95s.filter(|lag| *lag > 0).collect(), 95),
            startup_p50_ms: percentile(self.startups.clone(), 50),
            startup_p95_ms: percentile(self.startups.clone(), 95),
            stalls: since.stalls,
            n: stream.map_or(0, |stream| stream.n),
            k: stream.map_or(0, |stream| stream.k),
            rate_bps: stream.map_or(0, |stream| stream.rate_bps),
        }
    }

    fn totals(&self, members: &Members) -> Totals {
        let mut totals = self.gone;
        for (_, member) in members.iter() {
            totals.add(member);
        }
        totals
    }
}

impl Totals {
    fn add(&mut self, member: &Member) {
        let status = &member.status;
        let sent = status.sent.unwrap_or_default();
        let bytes = sent.bytes.unwrap_or_default();
        if member.is_seeder() {
            plus(&mut self.seeders, &bytes);
            self.http = self.http.saturating_add(sent.http.min(MOST));
            return;
        }
        plus(&mut self.peers, &bytes);
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more.min(MOST));
        // Only receivers know what they had already; it comes out of what was sent as media.
        let again = status.from_seeders.unwrap_or_default().duplicate;
        add(&mut self.seeders.duplicate, again);
        let again = status.from_peers.unwrap_or_default().duplicate;
        add(&mut self.peers.duplicate, again);
        add(&mut self.played, status.played_bytes);
        add(&mut self.stalls, status.stalls);
    }

    fn since(&self, then: &Self) -> Self {
        Self {
            seeders: disjoint(minus(&self.seeders, &then.seeders)),
            http: self.http.saturating_sub(then.http),
            peers: disjoint(minus(&self.peers, &then.peers)),
            played: self.played.saturating_sub(then.played),
            stalls: self.stalls.saturating_sub(then.stalls),
        }
    }

    fn saved(&self) -> Option<f64> {
        let s = &self.seeders;
        let kinds = [
            s.media,
            s.parity,
            s.duplicate,
            s.rescue,
            s.control,
            self.http,
        ];
        let sent = kinds.into_iter().fold(0, u64::saturating_add);
        (self.played > 0).then(|| 1.0 - sent as f64 / self.played as f64)
    }
}

fn plus(to: &mut ByteCounts, more: &ByteCounts) {
    to.media = to.media.saturating_add(more.media.min(MOST));
    to.parity = to.parity.saturating_add(more.parity.min(MOST));
    to.duplicate = to.duplicate.saturating_add(more.duplicate.min(MOST));
    to.rescue = to.rescue.saturating_add(more.rescue.min(MOST));
    to.control = to.control.saturating_add(more.control.min(MOST));
}

fn minus(from: &ByteCounts, less: &ByteCounts) -> ByteCounts {
    ByteCounts {
        media: from.media.saturating_sub(less.media),
        parity: from.parity.saturating_sub(less.parity),
        duplicate: from.duplicate.saturating_sub(less.duplicate),
        rescue: from.rescue.saturating_sub(less.rescue),
        control: from.control.saturating_sub(less.control),
    }
}

/// Takes the duplicates out of what senders counted as media, then parity, then rescue.
fn disjoint(mut bytes: ByteCounts) -> ByteCounts {
    let mut rest = bytes.duplicate;
    for kind in [&mut bytes.media, &mut bytes.parity, &mut bytes.rescue] {
        let taken = rest.min(*kind);
        *kind -= taken;
        rest -= taken;
    }
    bytes.duplicate -= rest;
    bytes
}

fn percentile(mut values: Vec<u32>, share: usize) -> Option<u32> {
    values.sort_unstable();
    let index = (values.len() * share).div_ceil(100).max(1) - 1;
    values.get(index).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tracker::{Role, SessionId};

    fn member(role: Role, sent: u64, played: u64) -> Member {
        let media = ByteCounts {
            media: sent,
            ..ByteCounts::default()
        };
        Member {
            session: SessionId(1),
            heard: Instant::default(),
            quiet: false,
            distrusted: None,
            role,
            upload_bps: 0,
            offered_bps: 0,
            may_share: true,
            origin: None,
            reported: false,
            counted_startup: false,
            answers_probes: false,
            probed: None,
            missed: None,
            partners: BTreeSet::new(),
            status: wire::Status {
                sent: Some(wire::Sent {
                    bytes: Some(media),
                    http: 0,
                }),
                played_bytes: played,
                ..wire::Status::default()
            },
        }
    }

    #[test]
    fn who_comes_back_counts_from_then_on() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut tally = Tally::default();
        let mut members = Members::default();
        tally.tick(at(0), &members);
        let mut seeder = member(Role::Seeder, 5_000, 0);
        tally.on_status(&mut seeder);
        members.insert(crate::PeerId(1), seeder);
        tally.on_broadcast();
        tally.tick(at(1), &members);
        let mut viewer = member(Role::Viewer, 0, 60_000);
        tally.on_status(&mut viewer);
        viewer.status.played_bytes += 1_000;
        members.insert(crate::PeerId(2), viewer);
        let sender = members.get_mut(crate::PeerId(1)).unwrap();
        let sent = sender
            .status
            .sent
            .as_mut()
            .and_then(|sent| sent.bytes.as_mut());
        sent.unwrap().media += 250;
        let stats = tally.stats(None, &members);
        assert_eq!(stats.media_played, 1_000);
        assert_eq!(stats.saved_ratio, Some(0.75));
        assert_eq!(stats.saved_ratio_60s, Some(0.75));
    }
}
