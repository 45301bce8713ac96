//! The figures that the demo reads: a viewer's, from the file it writes, and the channel's,
//! from the station's API.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::station::Ready;

/// The station is on this machine.
const DEADLINE: Duration = Duration::from_secs(1);

/// Bytes by kind.
pub(super) type Kinds = BTreeMap<String, u64>;

/// What a viewer says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Viewing {
    pub(super) state: String,
    pub(super) startup_ms: Option<u64>,
    pub(super) lag_ms: Lag,
    pub(super) stalls: u64,
    pub(super) received: Received,
    pub(super) children: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Lag {
    pub(super) p95: Option<u64>,
    pub(super) last: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Received {
    pub(super) seeder: Kinds,
    pub(super) peers: Kinds,
}

/// What the station says of the channel.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Channel {
    pub(super) live: bool,
    pub(super) bytes: Sent,
    pub(super) media_played: u64,
    pub(super) saved_ratio: Option<f64>,
    pub(super) saved_ratio_60s: Option<f64>,
    pub(super) rate_bps: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Sent {
    pub(super) seeder: Kinds,
}

/// Asks the station.
pub(super) struct Watcher {
    client: reqwest::Client,
    url: String,
}

impl Viewing {
    pub(super) fn plays(&self) -> bool {
        self.state == "playing"
    }

    /// Bytes from seeders and from peers.
    pub(super) fn received(&self) -> (u64, u64) {
        let sum = |kinds: &Kinds| kinds.values().sum();
        (sum(&self.received.seeder), sum(&self.received.peers))
    }

    /// Edges, over all stripes.
    pub(super) fn edges(&self) -> usize {
        self.children.values().map(Vec::len).sum()
    }
}

impl Channel {
    pub(super) fn sent_by_seeder(&self) -> u64 {
        self.bytes.seeder.values().sum()
    }

    /// What did not have to come from the station.
    pub(super) fn saved(&self) -> u64 {
        self.media_played.saturating_sub(self.sent_by_seeder())
    }
}

impl Watcher {
    pub(super) fn new(ready: &Ready) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(DEADLINE)
            .build()?;
        let url = format!("{}/api/v1/channels/{}/stats", ready.http, ready.channel);
        Ok(Self { client, url })
    }

    /// The figures of now; nothing when the station does not answer in time.
    pub(super) async fn channel(&self) -> Option<Channel> {
        let reply = self.client.get(&self.url).send().await.ok()?;
        reply.error_for_status().ok()?.json().await.ok()
    }
}
