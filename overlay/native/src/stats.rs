//! A viewer's figures as JSON, under the names that scripts outside rely on. Made once a
//! second from what the core counts; a driver's watcher writes or serves them.

use std::{collections::BTreeMap, time::Duration};

use overlay_core::{PeerId, peer::stats::State, wire::ByteCounts};
use serde::Serialize;

use crate::host::Snapshot;

/// The whole object.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Who.
    pub peer: String,
    /// `waiting`, `joining`, `playing` or `ended`.
    pub state: &'static str,
    /// Process start to first release.
    pub startup_ms: Option<u64>,
    /// Release − ingest stamp.
    pub lag_ms: Lag,
    /// Times a generation was not there when due.
    pub stalls: u64,
    /// How long playing stood.
    pub stall_ms: u64,
    /// Of the broadcast.
    pub generations: Generations,
    /// Bytes in.
    pub received: Received,
    /// Bytes out.
    pub sent: Sent,
    /// By stripe.
    pub parents: BTreeMap<u8, String>,
    /// By stripe.
    pub children: BTreeMap<u8, Vec<String>>,
    /// Pieces that were not what their header lists.
    pub rejected_pieces: u64,
    /// Who sent them.
    pub cut: Vec<String>,
    /// Which peers are seeders.
    pub seeders: Vec<String>,
    /// Peers with an open link, seeders among them.
    pub links: Vec<String>,
    /// Those of them that are reached over a TURN server only.
    pub links_over_turn: Vec<String>,
}

/// Of the last 60 s, and of the last release.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Lag {
    pub p50: Option<u64>,
    pub p95: Option<u64>,
    pub last: Option<u64>,
}

/// Released and passed over.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Generations {
    pub played: u64,
    pub skipped: u64,
}

/// From whom.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Received {
    pub seeder: Kinds,
    pub peers: Kinds,
}

/// Bytes received, by kind.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Kinds {
    pub media: u64,
    pub parity: u64,
    pub duplicate: u64,
    pub rescue: u64,
    pub control: u64,
}

/// Bytes sent, by kind.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Sent {
    pub media: u64,
    pub parity: u64,
    pub duplicate: u64,
    pub control: u64,
}

impl Figures {
    /// From what a peer counts.
    #[must_use]
    pub fn new(peer: PeerId, snapshot: &Snapshot) -> Self {
        let stats = &snapshot.stats;
        Self {
            peer: peer.to_string(),
            state: match stats.state {
                State::Waiting => "waiting",
                State::Joining => "joining",
                State::Playing => "playing",
                State::Ended => "ended",
            },
            startup_ms: stats.startup.map(ms),
            lag_ms: Lag {
                p50: stats.lag_p50.map(ms),
                p95: stats.lag_p95.map(ms),
                last: stats.lag_last.map(ms),
            },
            stalls: stats.stalls,
            stall_ms: ms(stats.stall_time),
            generations: Generations {
                played: stats.played,
                skipped: stats.skipped,
            },
            received: Received {
                seeder: kinds(&stats.received_from_seeders),
                peers: kinds(&stats.received_from_peers),
            },
            sent: Sent {
                media: stats.sent.media,
                parity: stats.sent.parity,
                duplicate: stats.sent.duplicate,
                control: stats.sent.control,
            },
            parents: stats
                .parents
                .iter()
                .map(|(stripe, peer)| (stripe.get(), peer.to_string()))
                .collect(),
            children: stats
                .children
                .iter()
                .map(|(stripe, peers)| {
                    (stripe.get(), peers.iter().map(PeerId::to_string).collect())
                })
                .collect(),
            rejected_pieces: stats.rejected_pieces,
            cut: stats.cut.iter().map(PeerId::to_string).collect(),
            seeders: snapshot.seeders.iter().map(PeerId::to_string).collect(),
            links: stats.links.iter().map(PeerId::to_string).collect(),
            links_over_turn: snapshot.turned.iter().map(PeerId::to_string).collect(),
        }
    }
}

fn kinds(bytes: &ByteCounts) -> Kinds {
    Kinds {
        media: bytes.media,
        parity: bytes.parity,
        duplicate: bytes.duplicate,
        rescue: bytes.rescue,
        control: bytes.control,
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use overlay_core::{StripeId, peer::stats::Stats};

    use super::*;

    #[test]
    fn the_names_are_the_contracts() {
        let stats = Stats {
            state: State::Playing,
            startup: Some(Duration::from_millis(640)),
            parents: vec![(StripeId::new(0).unwrap(), PeerId(1))],
            children: vec![(StripeId::new(7).unwrap(), vec![PeerId(2)])],
            links: vec![PeerId(2)],
            ..Stats::default()
        };
        let snapshot = Snapshot {
            stats,
            seeders: vec![PeerId(1)],
            turned: vec![PeerId(2)],
        };
        let json = serde_json::to_value(Figures::new(PeerId(3), &snapshot)).unwrap();
        let kinds = serde_json::json!(
            {"media":0,"parity":0,"duplicate":0,"rescue":0,"control":0});
        let expected = serde_json::json!({
            "peer": "0000000000000003", "state": "playing", "startup_ms": 640,
            "lag_ms": {"p50": null, "p95": null, "last": null}, "stalls": 0, "stall_ms": 0,
            "generations": {"played": 0, "skipped": 0},
            "received": {"seeder": kinds, "peers": kinds},
            "sent": {"media":0,"parity":0,"duplicate":0,"control":0},
            "parents": {"0": "0000000000000001"}, "children": {"7": ["0000000000000002"]},
            "rejected_pieces": 0, "cut": [], "seeders": ["0000000000000001"],
            "links": ["0000000000000002"], "links_over_turn": ["0000000000000002"],
        });
        assert_eq!(json, expected);
    }
}
