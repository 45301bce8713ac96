//! The figures of a swarm as JSON, in the names that callers outside rely on. The one place
//! that decides them.

use std::collections::BTreeMap;

use overlay_core::{
    PeerId,
    tracker::stats::{Picture, Stats},
};
use serde_json::json;

/// `GET /api/v1/channels/{name}/stats`.
pub(crate) fn stats(stats: &Stats) -> String {
    let (seeders, peers) = (&stats.seeders, &stats.peers);
    json!({
        "live": stats.live,
        "viewers": stats.viewers,
        "bytes": {
            "seeder": {
                "media": seeders.media,
                "parity": seeders.parity,
                "duplicate": seeders.duplicate,
                "rescue": seeders.rescue,
                "control": seeders.control,
                "http": stats.http,
            },
            "peers": {
                "media": peers.media,
                "parity": peers.parity,
                "duplicate": peers.duplicate,
                "control": peers.control,
            },
        },
        "media_played": stats.media_played,
        "saved_ratio": stats.saved_ratio,
        "saved_ratio_60s": stats.saved_ratio_60s,
        "lag_ms": {"p50": stats.lag_p50_ms, "p95": stats.lag_p95_ms},
        "startup_ms": {"p50": stats.startup_p50_ms, "p95": stats.startup_p95_ms},
        "stalls": stats.stalls,
        "k": stats.k,
        "n": stats.n,
        "rate_bps": stats.rate_bps,
    })
    .to_string()
}

/// `GET /api/v1/channels/{name}/swarm`: parents as pairs of stripe and place in `peers`.
pub(crate) fn picture(stats: &Stats, picture: &Picture) -> String {
    let places: BTreeMap<PeerId, usize> = picture
        .peers
        .iter()
        .enumerate()
        .map(|(place, peer)| (peer.peer, place))
        .collect();
    let peers: Vec<_> = picture
        .peers
        .iter()
        .map(|peer| {
            let parents: Vec<_> = peer
                .parents
                .iter()
                .filter_map(|(stripe, parent)| Some((stripe, places.get(parent)?)))
                .collect();
            json!({
                "id": peer.peer.to_string(),
                "role": if peer.seeder { "seeder" } else { "viewer" },
                "playing": peer.playing,
                "upload_bps": peer.upload_bps,
                "parents": parents,
            })
        })
        .collect();
    json!({"live": stats.live, "k": stats.k, "n": stats.n, "peers": peers}).to_string()
}

#[cfg(test)]
mod tests {
    use overlay_core::tracker::stats::PicturePeer;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_figures_bear_the_names_that_callers_rely_on() -> Result<(), serde_json::Error> {
        let json: Value = serde_json::from_str(&stats(&Stats::default()))?;
        for path in [
            "/viewers",
            "/bytes/seeder/media",
            "/bytes/seeder/parity",
            "/bytes/seeder/duplicate",
            "/bytes/seeder/rescue",
            "/bytes/seeder/control",
            "/bytes/seeder/http",
            "/bytes/peers/media",
            "/bytes/peers/parity",
            "/bytes/peers/duplicate",
            "/bytes/peers/control",
            "/media_played",
            "/stalls",
        ] {
            assert_eq!(json.pointer(path), Some(&json!(0)), "{path}");
        }
        for path in [
            "/saved_ratio",
            "/saved_ratio_60s",
            "/lag_ms/p50",
            "/lag_ms/p95",
            "/startup_ms/p50",
            "/startup_ms/p95",
        ] {
            assert_eq!(json.pointer(path), Some(&Value::Null), "{path}");
        }
        Ok(())
    }

    #[test]
    fn a_picture_names_parents_by_their_place() -> Result<(), serde_json::Error> {
        let peer = |name, seeder, parents| PicturePeer {
            peer: PeerId(name),
            seeder,
            upload_bps: 1,
            playing: true,
            parents,
        };
        let peers = vec![
            peer(7, true, vec![]),
            peer(9, false, vec![(3, PeerId(7)), (4, PeerId(99))]),
        ];
        let json: Value = serde_json::from_str(&picture(&Stats::default(), &Picture { peers }))?;
        assert_eq!(
            json["peers"][1]["parents"],
            json!([[3, 0]]),
            "the undrawn are left out"
        );
        assert_eq!(json["peers"][0]["role"], "seeder");
        Ok(())
    }
}
