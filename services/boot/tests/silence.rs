//! A way that falls silent, as when the machine at its end lost its power: neither FIN nor RST.
//! Who calls by it must notice, and come by another way, before a lease ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use boot::{
    grpc::Remote,
    registry::{Instance, LEASE, RENEW_EVERY, State, register},
    tls::Tls,
};
use proto::{
    access::Role,
    registry::{
        DeregisterReply, DeregisterRequest, ListReply, ListRequest, RegisterReply, RegisterRequest,
        RenewReply, RenewRequest,
        registry_client::RegistryClient,
        registry_server::{Registry, RegistryServer},
    },
};
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

/// When a renewal came, and from where.
type Sign = (Instant, Option<SocketAddr>);

/// A registry that remembers when it was told that somebody lives, and by which connection.
#[derive(Clone, Default)]
struct Double {
    signs: Arc<Mutex<Vec<Sign>>>,
    /// Answers no renewal that comes by the first connection.
    deaf: bool,
}

impl Double {
    fn heard<T>(&self, request: &Request<T>) {
        let mut signs = self.signs.lock().expect("no panic");
        signs.push((Instant::now(), request.remote_addr()));
    }

    fn signs(&self) -> Vec<Sign> {
        self.signs.lock().expect("no panic").clone()
    }

    async fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Routes::new(RegistryServer::new(self.clone()));
        tokio::spawn(async move {
            let (tls, never) = (Tls::default(), CancellationToken::new());
            boot::grpc::serve(routes, listener, &tls, never).await
        });
        Ok(address)
    }
}

#[tonic::async_trait]
impl Registry for Double {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterReply>, Status> {
        self.heard(&request);
        Ok(Response::new(RegisterReply::default()))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let by = request.remote_addr();
        if self.deaf && self.signs().first().is_some_and(|first| first.1 == by) {
            return std::future::pending().await;
        }
        self.heard(&request);
        Ok(Response::new(RenewReply {}))
    }

    async fn deregister(
        &self,
        _: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterReply>, Status> {
        Ok(Response::new(DeregisterReply {}))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        Ok(Response::new(ListReply::default()))
    }
}

/// Carries connections on until it is told to swallow what those that are there say. New ones
/// it carries, as to a second instance.
struct Proxy {
    address: SocketAddr,
    silence: watch::Sender<()>,
    /// How many that were swallowed the caller has closed.
    given_up: watch::Receiver<usize>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (silence, silent) = watch::channel(());
        let (closed, given_up) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut silent = silent.clone();
                silent.mark_unchanged();
                tokio::spawn(carry(socket, target, silent, closed.clone()));
            }
        });
        Ok(Self {
            address,
            silence,
            given_up,
        })
    }

    fn fall_silent(&self) {
        self.silence.send_replace(());
    }

    fn remote(&self) -> Result<Remote> {
        let url = format!("http://{}", self.address);
        Ok(Remote::new(&url, Role::Accounts, &Tls::default())?)
    }
}

async fn carry(
    mut socket: TcpStream,
    target: SocketAddr,
    mut silent: watch::Receiver<()>,
    closed: watch::Sender<usize>,
) -> Result<()> {
    let mut behind = TcpStream::connect(target).await?;
    tokio::select! {
        _ = copy_bidirectional(&mut socket, &mut behind) => return Ok(()),
        told = silent.changed() => told?,
    }
    let mut swallowed = [0; 4096];
    while socket.read(&mut swallowed).await.unwrap_or(0) > 0 {}
    closed.send_modify(|closed| *closed += 1);
    Ok(())
}

/// The longest time without a sign, from the first one to the end of what is watched.
async fn longest_silence(double: &Double, watched: Duration) -> Duration {
    tokio::time::sleep(watched).await;
    let mut times: Vec<Instant> = double.signs().iter().map(|sign| sign.0).collect();
    times.push(Instant::now());
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or(Duration::MAX)
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up_though_nobody_calls() -> Result<()> {
    boot::start()?;
    let mut proxy = Proxy::start(Double::default().start().await?).await?;
    let mut registry = RegistryClient::new(proxy.remote()?.connect_lazy());
    let seeders = || ListRequest {
        role: "seeder".into(),
    };
    registry.list(seeders()).await?;
    proxy.fall_silent();
    let noticed = proxy.given_up.wait_for(|closed| *closed == 1);
    timeout(Duration::from_secs(4), noticed)
        .await
        .context("the dead connection is kept")??;
    timeout(Duration::from_secs(1), registry.list(seeders())).await??;
    Ok(())
}

#[tokio::test]
async fn who_lives_renews_within_its_lease_though_the_way_falls_silent() -> Result<()> {
    boot::start()?;
    let double = Double::default();
    let proxy = Proxy::start(double.start().await?).await?;
    let instance = Instance::new("seeder", "http://127.0.0.1:1")?;
    let member = register(proxy.remote()?, instance);
    let mut state = member.state();
    state.wait_for(|state| *state == State::Registered).await?;
    tokio::time::sleep(RENEW_EVERY + RENEW_EVERY / 2).await;
    proxy.fall_silent();
    let silence = longest_silence(&double, LEASE + RENEW_EVERY).await;
    assert!(silence < LEASE, "no sign of it for {silence:?}");
    member.leave().await;
    Ok(())
}

#[tokio::test]
async fn who_answers_no_renewal_is_asked_by_another_connection() -> Result<()> {
    boot::start()?;
    let double = Double {
        deaf: true,
        ..Double::default()
    };
    let url = format!("http://{}", double.start().await?);
    let remote = Remote::new(&url, Role::Accounts, &Tls::default())?;
    let member = register(remote, Instance::new("seeder", "http://127.0.0.1:1")?);
    let silence = longest_silence(&double, LEASE + RENEW_EVERY).await;
    assert!(silence < LEASE, "no sign of it for {silence:?}");
    member.leave().await;
    Ok(())
}
