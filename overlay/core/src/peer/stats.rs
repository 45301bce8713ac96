//! A peer in figures.

use std::time::Duration;

use crate::{PeerId, StripeId, wire::ByteCounts};

/// Where a viewer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum State {
    /// No broadcast, or the broadcaster is away.
    #[default]
    Waiting,
    /// There is one, and the peer gathers what it needs to begin.
    Joining,
    /// The player runs.
    Playing,
    /// The broadcast is over.
    Ended,
}

/// Everything a peer counts since its start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Where it stands.
    pub state: State,
    /// Peers with an open link.
    pub links: Vec<PeerId>,
    /// Program start to first release.
    pub startup: Option<Duration>,
    /// Median lag of the last 60 s.
    pub lag_p50: Option<Duration>,
    /// 95th percentile of it.
    pub lag_p95: Option<Duration>,
    /// Of the last release.
    pub lag_last: Option<Duration>,
    /// Times a generation was not there when due, or nothing new was known of for long.
    pub stalls: u64,
    /// How long the picture stood, a stall that lasts included.
    pub stall_time: Duration,
    /// Generations released.
    pub played: u64,
    /// Generations passed over.
    pub skipped: u64,
    /// Media bytes released.
    pub played_bytes: u64,
    /// From seeders.
    pub received_from_seeders: ByteCounts,
    /// From other peers.
    pub received_from_peers: ByteCounts,
    /// To all; `rescue` holds what a seeder sent so.
    pub sent: ByteCounts,
    /// Whose child it is, by stripe.
    pub parents: Vec<(StripeId, PeerId)>,
    /// Its children, by stripe.
    pub children: Vec<(StripeId, Vec<PeerId>)>,
    /// Pieces that were not what their header lists.
    pub rejected_pieces: u64,
    /// Who sent them.
    pub cut: Vec<PeerId>,
    /// Pieces that came again or too late, or of another epoch.
    pub stale_pieces: u64,
}
