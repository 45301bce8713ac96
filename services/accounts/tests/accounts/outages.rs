//! The database killed, or silent, in the middle of everything.

use std::time::{Duration, Instant};

use accounts::{Accounts, ChannelName, Error, PLAY_OUT_DELAY_MS};
use anyhow::{Context, Result, ensure};
use boot::ticket::Share;
use proto::accounts::{AuthorizeRequest, accounts_client::AccountsClient};
use tonic::{Code, transport::Channel};

use crate::{browser::PASSWORD, place::Place, server::Postgres, service::Service};

/// What the callers of accounts give it.
const SOON: Duration = Duration::from_secs(1);
const BACK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_is_told_soon_and_nothing_acknowledged_is_lost() -> Result<()> {
    // With each write on disk, as it is run in earnest.
    let Some(place) = Place::on(Postgres::with_settings(&[])?)? else {
        return Ok(());
    };
    let mut service = Service::start(place).await?;
    let channel = service.channel("demo").await?;
    let (_, key) = service.accounts.create_stream_key(&channel).await?;
    let mut grpc = service.grpc().await?;
    authorize(&mut grpc, key.reveal()).await?;
    let mut acknowledged = vec!["demo".to_owned()];
    for round in 0..3 {
        let writing = tokio::spawn(write(service.accounts.clone(), round));
        tokio::time::sleep(Duration::from_millis(300)).await;
        server(&mut service)?.kill()?;
        let written = writing.await??;
        ensure!(!written.is_empty(), "nothing was written before it died");
        acknowledged.extend(written);

        told_soon(&service, &mut grpc, key.reveal()).await?;
        server(&mut service)?.restart()?;
        let back = Instant::now();
        while authorize(&mut grpc, key.reveal()).await.is_err() {
            ensure!(back.elapsed() < BACK, "it did not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for name in &acknowledged {
            let found = service.accounts.channel(name).await;
            found.with_context(|| format!("{name} was acknowledged"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_is_told_soon_and_holds_nothing_up_afterwards() -> Result<()> {
    let Some(place) = Place::postgres()? else {
        return Ok(());
    };
    let mut service = Service::start(place).await?;
    let channel = service.channel("demo").await?;
    let (_, key) = service.accounts.create_stream_key(&channel).await?;
    let mut grpc = service.grpc().await?;
    authorize(&mut grpc, key.reveal()).await?;
    server(&mut service)?.freeze(true)?;
    for _ in 0..3 {
        told_soon(&service, &mut grpc, key.reveal()).await?;
    }
    // More at once than there are connections.
    let crowd = (0..50).map(|_| service.accounts.authorize(key.reveal()));
    let began = Instant::now();
    let refused = futures_util::future::join_all(crowd).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(
        refused
            .iter()
            .all(|one| matches!(one, Err(Error::Database(_))))
    );

    server(&mut service)?.freeze(false)?;
    let back = Instant::now();
    while authorize(&mut grpc, key.reveal()).await.is_err() {
        ensure!(back.elapsed() < BACK, "it did not come back");
    }
    Ok(())
}

/// By gRPC and by HTTP, that one may try again in a moment.
async fn told_soon(service: &Service, grpc: &mut AccountsClient<Channel>, key: &str) -> Result<()> {
    let began = Instant::now();
    let refused = authorize(grpc, key).await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::Unavailable));
    assert!(began.elapsed() < SOON, "gRPC took {:?}", began.elapsed());

    let began = Instant::now();
    let page = format!("http://{}/demo", service.http);
    let reply = service.client.get(page).send().await?;
    assert_eq!(reply.status().as_u16(), 503);
    assert_eq!(reply.headers()["retry-after"], "1");
    assert!(began.elapsed() < SOON, "HTTP took {:?}", began.elapsed());
    Ok(())
}

async fn authorize(grpc: &mut AccountsClient<Channel>, key: &str) -> Result<(), tonic::Status> {
    let request = AuthorizeRequest {
        stream_key: key.to_owned(),
        protocol: "rtmp".into(),
    };
    grpc.authorize(request).await.map(|_| ())
}

/// Makes channels until one is not acknowledged; those that were.
async fn write(accounts: Accounts, round: usize) -> Result<Vec<String>> {
    let mut written = Vec::new();
    for number in 0.. {
        let name = format!("round-{round}-{number}");
        let parsed = ChannelName::parse(&name)?;
        let made = accounts.create_channel(parsed, PLAY_OUT_DELAY_MS, Share::Off);
        match made.await {
            Ok(_) => written.push(name),
            Err(Error::Database(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

fn server(service: &mut Service) -> Result<&mut Postgres> {
    service.place.postgres.as_mut().context("not on Postgres")
}

/// The bar is 20 deaths during 500 sign-ups: `LIVESTATION_DEATHS=20 LIVESTATION_SIGN_UPS=500`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ups_outlive_a_database_that_dies() -> Result<()> {
    let from_environment = |name: &str, otherwise: usize| {
        let said = std::env::var(name).ok();
        said.and_then(|said| said.parse().ok()).unwrap_or(otherwise)
    };
    let deaths = from_environment("LIVESTATION_DEATHS", 4);
    let sign_ups = from_environment("LIVESTATION_SIGN_UPS", 60);
    let Some(place) = Place::on(Postgres::with_settings(&[])?)? else {
        return Ok(());
    };
    let (mut service, sink) = Service::with_mail(place).await?;
    let signing = tokio::spawn(sign_up(service.http, sign_ups));
    for _ in 0..deaths {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server(&mut service)?.kill()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        server(&mut service)?.restart()?;
    }
    let acknowledged = signing.await??;
    assert_eq!(acknowledged.len(), sign_ups);
    for email in &acknowledged {
        sink.letter(email, 0).await.context("a letter was lost")?;
    }
    for email in acknowledged.iter().step_by(10) {
        let link = sink.letter(email, 0).await?.link().context("no link")?;
        let (status, reply) = service.confirm(&link, PASSWORD).await?;
        ensure!(status.as_u16() == 201, "{status} {reply}");
    }
    let waiting = service.accounts.operator().beta().await?.waiting;
    assert_eq!(waiting as usize, sign_ups.div_ceil(10));
    Ok(())
}

/// Signs up as many, two at a time, each until it is acknowledged.
async fn sign_up(http: std::net::SocketAddr, sign_ups: usize) -> Result<Vec<String>> {
    let client = reqwest::Client::new();
    let one = |number: usize| {
        let client = client.clone();
        async move {
            let email = format!("somebody-{number}@mail.example");
            let new = serde_json::json!({"email": email, "password": PASSWORD});
            loop {
                let began = Instant::now();
                let url = format!("http://{http}/api/v1/signup");
                let reply = client.post(url).json(&new).send().await?;
                match reply.status().as_u16() {
                    202 => return Ok(email),
                    503 => ensure!(
                        reply.headers().contains_key("retry-after") && began.elapsed() < 2 * SOON,
                        "told after {:?}",
                        began.elapsed()
                    ),
                    status => anyhow::bail!("{status}"),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    use futures_util::{StreamExt, TryStreamExt};
    let all = futures_util::stream::iter((0..sign_ups).map(one));
    all.buffer_unordered(2).try_collect().await
}
