//! The address for operators' machines: `/metrics`, `/healthz`, `/readyz`.
//!
//! The one rule: it is there only when it is asked for, and apart from what viewers reach.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use boot::health::{self, Readiness};
use tokio_util::sync::CancellationToken;

use crate::web;

/// Where operators' machines ask.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct Operators {
    /// /metrics for Prometheus, /healthz and /readyz; must not be open to strangers
    #[arg(long, env = "LIVESTATION_METRICS", value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

/// The bound address.
pub(crate) struct Bound(Option<TcpListener>);

impl Operators {
    /// Binds it, if it is asked for.
    pub(crate) fn bind(&self) -> anyhow::Result<Bound> {
        let bound = self
            .metrics
            .map(|address| web::bind(address).with_context(|| format!("--metrics {address}")));
        Ok(Bound(bound.transpose()?))
    }
}

impl Bound {
    /// Where that is, as a URL.
    pub(crate) fn url(&self) -> anyhow::Result<Option<String>> {
        let address = self.0.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(address.map(|address| format!("http://{address}")))
    }

    /// Answers until the process ends: what drains is looked at too.
    pub(crate) fn serve(self, readiness: Readiness) -> anyhow::Result<()> {
        let Some(listener) = self.0 else {
            return Ok(());
        };
        let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
            cfg.configure(health::routes(readiness.clone()));
            cfg.configure(health::metrics);
        };
        let serving = web::serve(listener, routes, CancellationToken::new())?;
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "--metrics does not answer any more");
            }
        });
        Ok(())
    }
}
