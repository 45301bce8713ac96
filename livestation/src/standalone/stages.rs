//! The services while they run, and the order in which they stop.

use std::{fmt::Display, time::Duration};

use anyhow::anyhow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// All stages, in the order of stopping.
pub(super) struct Stages<const N: usize = 3>([Stage; N]);

/// Services that stop together.
pub(super) struct Stage {
    name: &'static str,
    /// How long they may drain; together the stages stay below the 20 s of a service.
    drain: Duration,
    stop: CancellationToken,
    services: JoinSet<anyhow::Result<&'static str>>,
}

impl<const N: usize> Stages<N> {
    pub(super) fn new(stages: [Stage; N]) -> Self {
        Self(stages)
    }

    /// Waits until a service ends that was not told to; its name, or why it failed.
    pub(super) async fn first_end(&mut self) -> anyhow::Result<&'static str> {
        let ends = self.0.iter_mut().map(|stage| Box::pin(stage.end()));
        futures_util::future::select_all(ends).await.0
    }

    /// Stops stage after stage; who does not drain in time is aborted.
    pub(super) async fn stop(self) {
        for mut stage in self.0 {
            stage.stop.cancel();
            let drained = async {
                while let Some(ended) = stage.services.join_next().await {
                    if let Ok(Err(error)) = ended {
                        tracing::warn!(%error, "a service failed while it stopped");
                    }
                }
            };
            if tokio::time::timeout(stage.drain, drained).await.is_err() {
                tracing::warn!(stage = stage.name, "not drained in time");
            }
        }
    }
}

impl Stage {
    pub(super) fn new(name: &'static str, drain: Duration) -> Self {
        Self {
            name,
            drain,
            stop: CancellationToken::new(),
            services: JoinSet::new(),
        }
    }

    /// What its services watch.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(super) fn spawn<E: Display + Send + 'static>(
        &mut self,
        name: &'static str,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.services.spawn(async move {
            match service.await {
                Ok(()) => Ok(name),
                Err(error) => Err(anyhow!("{name}: {error}")),
            }
        });
    }

    async fn end(&mut self) -> anyhow::Result<&'static str> {
        match self.services.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(anyhow!("a service of stage {} panicked", self.name)),
            None => std::future::pending().await,
        }
    }
}
