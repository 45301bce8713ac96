//! Which channels are on air, as the tracker says; asked for seldom, however many look at the
//! front page. The one rule: a page never waits long for it, and a tracker that is away means
//! that nothing is known to be on air.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use proto::tracker::StatsRequest;
use serde::Deserialize;

use crate::{Accounts, Channel};

/// Viewers by the channel's name.
pub(crate) type OnAir = Arc<HashMap<String, u64>>;

/// What is older is asked for again.
const FRESH: Duration = Duration::from_secs(2);
/// What a page waits at most.
const PATIENCE: Duration = Duration::from_millis(300);
/// So many questions at once.
const ASKED_AT_ONCE: usize = 16;

/// What was known last.
#[derive(Default)]
pub(crate) struct Live {
    known: Mutex<(Option<Instant>, OnAir)>,
    asking: tokio::sync::Mutex<()>,
}

/// Of a channel's figures, what is of interest here.
#[derive(Deserialize)]
struct Figures {
    live: bool,
    viewers: u64,
}

impl Live {
    fn known(&self) -> (bool, OnAir) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.0.is_some_and(|at| at.elapsed() < FRESH);
        (fresh, known.1.clone())
    }
}

impl Accounts {
    /// Those of these that are on air, with how many watch.
    pub(crate) async fn on_air(&self, channels: &[Channel]) -> OnAir {
        let live = &self.0.live;
        let (fresh, known) = live.known();
        // One asks, the others take what is known.
        let Ok(_asking) = live.asking.try_lock() else {
            return known;
        };
        if fresh {
            return known;
        }
        let asking = stream::iter(channels.iter().map(|channel| self.viewers(channel)))
            .buffer_unordered(ASKED_AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<HashMap<_, _>>();
        let found = tokio::time::timeout(PATIENCE, asking).await;
        let found = found.map_or(known, Arc::new);
        *live.known.lock().unwrap_or_else(PoisonError::into_inner) =
            (Some(Instant::now()), found.clone());
        found
    }

    async fn viewers(&self, channel: &Channel) -> Option<(String, u64)> {
        let (_, mut tracker) = self.tracker(channel)?;
        let name = channel.name.to_string();
        let mut request = tonic::Request::new(StatsRequest {
            channel_name: name.clone(),
        });
        request.set_timeout(PATIENCE);
        let reply = tracker.stats(request).await.ok()?;
        let figures: Figures = serde_json::from_str(&reply.into_inner().json).ok()?;
        figures.live.then_some((name, figures.viewers))
    }
}
