//! From when a service serves to its end: registered, then draining, then gone.
//!
//! The one rule: before anything is closed, all that could send more have been told not to.

use std::{convert::Infallible, process::ExitCode};

use boot::{
    grpc::Remote,
    health::Readiness,
    registry::{Instance, Membership, NOTICE, register},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::exit;

/// A service's life in this process.
pub(crate) struct Life {
    signal: CancellationToken,
    /// What its servers watch.
    stop: CancellationToken,
    readiness: Readiness,
}

impl Life {
    /// One that `signal` brings to its end.
    pub(crate) fn new(signal: CancellationToken) -> Self {
        Self {
            signal,
            stop: CancellationToken::new(),
            readiness: Readiness::default(),
        }
    }

    /// What its servers stop by.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// What `/readyz` answers.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Lives until what serves has ended, by the signal or by itself, which is an error.
    /// `registers` is whom it is registered as meanwhile, and with which accounts.
    pub(crate) async fn lead(
        self,
        registers: Option<(Remote, Instance)>,
        serving: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<ExitCode> {
        let membership = registers.map(|(accounts, instance)| register(accounts, instance));
        self.readiness.begin();
        let served = tokio::select! {
            served = serving => served,
            never = self.leave(membership.as_ref()) => match never {},
        };
        self.readiness.end();
        if let Some(membership) = membership {
            membership.leave().await;
        }
        served?;
        anyhow::ensure!(self.signal.is_cancelled(), "a server ended by itself");
        Ok(exit::DONE.into())
    }

    async fn leave(&self, membership: Option<&Membership>) -> Infallible {
        self.signal.cancelled().await;
        tracing::info!("stopping");
        self.readiness.end();
        if let Some(membership) = membership {
            membership.drain();
        }
        sleep(NOTICE).await;
        self.stop.cancel();
        std::future::pending().await
    }
}

/// Two servers of one process: who ends takes the other along, and both drain.
pub(crate) async fn all<E, F>(
    stop: CancellationToken,
    one: impl Future<Output = Result<(), E>>,
    other: impl Future<Output = Result<(), F>>,
) -> anyhow::Result<()>
where
    anyhow::Error: From<E> + From<F>,
{
    let (one, other) = tokio::join!(ending(one, &stop), ending(other, &stop));
    one?;
    Ok(other?)
}

async fn ending<T>(serving: impl Future<Output = T>, stop: &CancellationToken) -> T {
    let ended = serving.await;
    stop.cancel();
    ended
}
