//! A swarm in figures, and as a picture. The tracker's service writes them as JSON.

use crate::{PeerId, wire::ByteCounts};

/// A swarm in figures, since the broadcast began unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Whether generations come in.
    pub live: bool,
    /// Viewers there are now.
    pub viewers: u64,
    /// As sent by seeders, duplicates taken out of the other kinds.
    pub seeders: ByteCounts,
    /// Sent by seeders to players over HTTP.
    pub http: u64,
    /// As sent by peers; `rescue` stays 0.
    pub peers: ByteCounts,
    /// Media bytes released to all players.
    pub media_played: u64,
    /// 1 − everything seeders sent / media bytes played; `None` while nothing was played.
    pub saved_ratio: Option<f64>,
    /// The same over the last 60 s.
    pub saved_ratio_60s: Option<f64>,
    /// Over viewers, of each one's median; `None` without viewers that play.
    pub lag_p50_ms: Option<u32>,
    /// Over viewers, of each one's 95th percentile.
    pub lag_p95_ms: Option<u32>,
    /// Over viewers that came in the broadcast.
    pub startup_p50_ms: Option<u32>,
    /// 95th percentile of it.
    pub startup_p95_ms: Option<u32>,
    /// All stalls of all viewers.
    pub stalls: u64,
    /// Stripes.
    pub n: u32,
    /// Pieces that rebuild a generation.
    pub k: u32,
    /// Media bits a second.
    pub rate_bps: u64,
}

/// Who relays to whom. Edges of at most [`Picture::MAX_PEERS`] peers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// In order of their names.
    pub peers: Vec<PicturePeer>,
}

impl Picture {
    /// Peers drawn at most.
    pub const MAX_PEERS: usize = 300;
}

/// One peer of a [`Picture`].
#[derive(Clone, Debug, PartialEq)]
pub struct PicturePeer {
    /// Its name.
    pub peer: PeerId,
    /// Ours?
    pub seeder: bool,
    /// Bits a second it offers.
    pub upload_bps: u64,
    /// It plays.
    pub playing: bool,
    /// (stripe, parent).
    pub parents: Vec<(u8, PeerId)>,
}
