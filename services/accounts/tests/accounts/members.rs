//! Members of the registry, who follow it, and what both ask.

use std::time::Duration;

use anyhow::Result;
use boot::{
    grpc::Remote,
    registry::{Instance, LEASE, Membership},
};
use proto::{
    access::Role,
    registry::{
        self as wire, ListRequest, RegisterRequest, RenewRequest, registry_client::RegistryClient,
    },
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::place::Place;

/// What a list may be behind by.
pub(crate) const SOON: Duration = Duration::from_secs(4);

/// A member, and somebody who follows the list from before anything goes wrong.
pub(crate) struct Watched {
    pub(crate) member: Membership,
    seen: tokio::task::JoinHandle<usize>,
    end: CancellationToken,
}

impl Watched {
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let remote = Remote::new(url, Role::Accounts, &Default::default())?;
        let mut living = boot::registry::follow(remote.connect_lazy(), "seeder");
        let member = boot::registry::register(remote, seeder(1));
        timeout(SOON, living.wait_for(|living| living.len() == 1)).await??;
        let end = CancellationToken::new();
        let seen = tokio::spawn(fewest(living, end.clone()));
        Ok(Self { member, seen, end })
    }

    /// Also now that the follower's patience is over.
    pub(crate) async fn was_always_listed(self, url: &str) -> Result<()> {
        tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
        let mut raw = RegistryClient::new(boot::grpc::connect_lazy(
            url,
            Role::Accounts,
            &Default::default(),
        )?);
        assert_eq!(list(&mut raw, "seeder").await?, [id(1)]);
        self.end.cancel();
        assert_eq!(self.seen.await?, 1, "a follower lost sight of it");
        Ok(())
    }
}

async fn fewest(mut living: watch::Receiver<Vec<Instance>>, end: CancellationToken) -> usize {
    let mut fewest = usize::MAX;
    loop {
        fewest = fewest.min(living.borrow_and_update().len());
        tokio::select! {
            _ = living.changed() => {}
            () = end.cancelled() => return fewest,
        }
    }
}

/// Accounts on an address that stays.
pub(crate) struct Restartable {
    accounts: accounts::Accounts,
    pub(crate) url: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Restartable {
    pub(crate) async fn start(place: &Place, at: Option<String>) -> Result<Self> {
        let accounts = place.open(None).await?;
        let address = at.as_deref().and_then(|url| url.strip_prefix("http://"));
        let listener = TcpListener::bind(address.unwrap_or("127.0.0.1:0")).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let serve = accounts::serve(accounts.clone(), listener, stop.clone());
        Ok(Self {
            accounts,
            url,
            stop,
            serving: tokio::spawn(serve),
        })
    }

    pub(crate) async fn stop(self) -> String {
        self.stop.cancel();
        let _ = self.serving.await;
        self.accounts.close().await;
        self.url
    }
}

pub(crate) fn id(number: u8) -> String {
    hex::encode([number; 16])
}

pub(crate) fn named(number: u8) -> wire::Instance {
    wire::Instance {
        id: id(number),
        role: "seeder".into(),
        grpc: format!("http://127.0.0.1:{number}"),
        version: boot::version::VERSION.into(),
        ..wire::Instance::default()
    }
}

pub(crate) fn seeder(number: u8) -> Instance {
    Instance::from(named(number))
}

pub(crate) async fn register(
    registry: &mut RegistryClient<Channel>,
    instance: wire::Instance,
) -> Result<(), Status> {
    let request = RegisterRequest {
        instance: Some(instance),
    };
    let reply = registry.register(request).await?.into_inner();
    assert_eq!(u128::from(reply.lease_ms), LEASE.as_millis());
    assert_eq!(reply.version, boot::version::VERSION);
    Ok(())
}

pub(crate) async fn renew(
    registry: &mut RegistryClient<Channel>,
    id: &str,
    draining: bool,
) -> Result<(), Status> {
    let id = id.to_owned();
    registry
        .renew(RenewRequest { id, draining })
        .await
        .map(|_| ())
}

pub(crate) async fn list_whole(
    registry: &mut RegistryClient<Channel>,
    role: &str,
) -> Result<Vec<wire::Instance>, Status> {
    let role = role.to_owned();
    let reply = registry.list(ListRequest { role }).await?;
    Ok(reply.into_inner().instances)
}

pub(crate) async fn list(
    registry: &mut RegistryClient<Channel>,
    role: &str,
) -> Result<Vec<String>, Status> {
    let listed = list_whole(registry, role).await?;
    Ok(listed.into_iter().map(|instance| instance.id).collect())
}
