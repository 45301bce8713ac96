//! What a peer counts.

use std::{collections::VecDeque, time::Duration};

use super::stats::Stats;
use crate::{Instant, PeerId, wire, wire::ByteCounts, wire::PieceKind};

/// Lags are kept for this long,
const LAG_SPAN: Duration = Duration::from_secs(60);
/// and so many at most (60 s of generations of 100 ms).
const MAX_LAGS: usize = 600;
/// Cut peers named in the figures.
const MAX_CUT: usize = 256;

/// Running counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) stats: Stats,
    lags: VecDeque<(Instant, u32)>,
    /// UDP payload and what of it was pieces, by direction and kind of peer.
    sent: Wire,
    from_seeders: Wire,
    from_peers: Wire,
    pub(super) http: u64,
}

/// Bytes on the wire against bytes of pieces in them; the difference is control.
#[derive(Debug, Default, Clone, Copy)]
struct Wire {
    traffic: u64,
    pieces: u64,
}

impl Wire {
    fn control(self) -> u64 {
        self.traffic.saturating_sub(self.pieces)
    }
}

/// What a piece counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PieceCount {
    pub(super) kind: PieceKind,
    /// Of a stripe at or above k.
    pub(super) parity: bool,
    /// Was there already.
    pub(super) duplicate: bool,
    pub(super) len: usize,
}

impl PieceCount {
    fn add_to(self, bytes: &mut ByteCounts) {
        let len = self.len as u64;
        match self {
            Self {
                duplicate: true, ..
            } => bytes.duplicate += len,
            Self {
                kind: PieceKind::Rescue,
                ..
            } => bytes.rescue += len,
            Self { parity: true, .. } => bytes.parity += len,
            _ => bytes.media += len,
        }
    }
}

impl Counters {
    pub(super) fn on_received(&mut self, seeder: bool, count: PieceCount) {
        let (bytes, wire) = if seeder {
            (
                &mut self.stats.received_from_seeders,
                &mut self.from_seeders,
            )
        } else {
            (&mut self.stats.received_from_peers, &mut self.from_peers)
        };
        count.add_to(bytes);
        wire.pieces += count.len as u64;
    }

    pub(super) fn on_sent(&mut self, count: PieceCount) {
        count.add_to(&mut self.stats.sent);
        self.sent.pieces += count.len as u64;
    }

    pub(super) fn on_traffic(&mut self, seeder: bool, sent: u64, received: u64) {
        self.sent.traffic += sent;
        if seeder {
            self.from_seeders.traffic += received;
        } else {
            self.from_peers.traffic += received;
        }
    }

    pub(super) fn on_release(&mut self, now: Instant, bytes: usize, lag: Option<Duration>) {
        self.stats.played += 1;
        self.stats.played_bytes += bytes as u64;
        let Some(lag) = lag else {
            return;
        };
        self.stats.lag_last = Some(lag);
        if self.lags.len() == MAX_LAGS {
            self.lags.pop_front();
        }
        let ms = u32::try_from(lag.as_millis()).unwrap_or(u32::MAX);
        self.lags.push_back((now, ms));
    }

    pub(super) fn on_cut(&mut self, peer: PeerId) {
        if self.stats.cut.len() < MAX_CUT {
            self.stats.cut.push(peer);
        }
    }

    /// The figures as they stand, edges aside.
    pub(super) fn stats(&self, now: Instant) -> Stats {
        let mut stats = self.stats.clone();
        stats.sent.control = self.sent.control();
        stats.received_from_seeders.control = self.from_seeders.control();
        stats.received_from_peers.control = self.from_peers.control();
        let mut lags: Vec<u32> = self
            .lags
            .iter()
            .filter(|(at, _)| now.since(*at) <= LAG_SPAN)
            .map(|(_, ms)| *ms)
            .collect();
        lags.sort_unstable();
        let percentile = |share: usize| {
            let index = (lags.len() * share).div_ceil(100).max(1) - 1;
            let ms = *lags.get(index)?;
            Some(Duration::from_millis(u64::from(ms)))
        };
        stats.lag_p50 = percentile(50);
        stats.lag_p95 = percentile(95);
        stats
    }

    /// The figures for the tracker.
    pub(super) fn status(&self, now: Instant, age: Duration) -> wire::Status {
        let stats = self.stats(now);
        let ms = |span: Option<Duration>| span.map_or(0, |span| span.as_millis() as u32);
        wire::Status {
            sent: Some(wire::Sent {
                bytes: Some(stats.sent),
                http: self.http,
            }),
            from_seeders: Some(stats.received_from_seeders),
            from_peers: Some(stats.received_from_peers),
            played_bytes: stats.played_bytes,
            played: stats.played,
            stalls: stats.stalls,
            startup_ms: stats
                .startup
                .map_or(0, |span| (span.as_millis() as u32).max(1)),
            lag_p50_ms: ms(stats.lag_p50),
            lag_p95_ms: ms(stats.lag_p95),
            parents: Vec::new(),
            stream: None,
            age_s: age.as_secs() as u32,
            capacity_bps: 0,
        }
    }
}
