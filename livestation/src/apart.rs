//! What a service needs when it runs in a process of its own: the key that tickets are
//! checked with, a file that says where it serves, a place in the registry, an address that
//! answers operators' machines, and an orderly end.

mod life;
mod operators;
mod place;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use boot::{
    grpc::{Channel, Remote},
    ticket::Verifier,
    tls::Tls,
};
use proto::{
    access::Role,
    accounts::{TicketKeyRequest, accounts_client::AccountsClient},
};
use serde::Serialize;
use tokio::time;
use tokio_util::sync::CancellationToken;

const CALL_DEADLINE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);
/// While accounts is away, it is said this often.
const REMIND: Duration = Duration::from_secs(10);

pub(crate) use life::{Life, all};
pub(crate) use operators::{Bound, Operators};
pub(crate) use place::GrpcPublic;

/// Where a service serves; scripts rely on the fields. It has those of what it has.
#[derive(Default, Serialize)]
pub(crate) struct Ready {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) udp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtmp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) srt: Option<SocketAddr>,
    /// `/metrics`, `/healthz`, `/readyz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<String>,
}

impl Ready {
    pub(crate) fn publish(&self, file: Option<&Path>) -> anyhow::Result<()> {
        if let Some(file) = file {
            boot::files::write_json_atomically(file, self)
                .with_context(|| format!("--ready-json {}", file.display()))?;
        }
        tracing::info!("ready");
        Ok(())
    }
}

/// How to call accounts.
pub(crate) fn accounts(url: &str, tls: &Tls) -> anyhow::Result<Remote> {
    Remote::new(url, Role::Accounts, tls).context("--accounts is no URL")
}

/// Asks accounts what tickets are checked with, as long as it takes; `None` when `stop`
/// comes first.
pub(crate) async fn tickets(
    accounts: Channel,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Verifier>> {
    let mut client = AccountsClient::new(accounts);
    let asking = async {
        let mut reminded: Option<time::Instant> = None;
        loop {
            let asked = time::timeout(CALL_DEADLINE, client.ticket_key(TicketKeyRequest {})).await;
            let why = match asked {
                Ok(Ok(reply)) => return reply.into_inner().public_key,
                Ok(Err(status)) => boot::grpc::reason(&status),
                Err(_) => format!("no answer within {CALL_DEADLINE:?}"),
            };
            if reminded.is_none_or(|at| at.elapsed() >= REMIND) {
                reminded = Some(time::Instant::now());
                tracing::warn!(
                    why,
                    "accounts does not answer at --accounts (--accounts-grpc of the station): \
                     trying again"
                );
            }
            time::sleep(PAUSE).await;
        }
    };
    let key = tokio::select! {
        key = asking => key,
        () = stop.cancelled() => return Ok(None),
    };
    let key: &[u8; 32] = key[..].try_into().context("accounts has no such key")?;
    Ok(Some(Verifier::new(key)))
}
