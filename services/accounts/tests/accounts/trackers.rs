//! Accounts that is told of no tracker finds those that are registered.

use std::time::Instant;

use accounts::{Accounts, Config};
use anyhow::{Result, ensure};
use proto::registry::{self as wire, registry_client::RegistryClient};
use reqwest::{Method, StatusCode};

use crate::{
    members::{SOON, id, named, register, renew},
    place::{Place, config},
    service::Service,
};

on_both! {
    tickets_name_the_tracker_that_is_registered
}

async fn tickets_name_the_tracker_that_is_registered(place: Place) -> Result<()> {
    let database = place.database()?;
    accounts::migrate(&database).await?;
    let accounts = Accounts::open(Config {
        tracker: None,
        ..config(database, Some("https://live.example"))
    });
    let service = Service::of(accounts.await?, place).await?;
    service.channel("demo").await?;
    let mut registry = RegistryClient::new(service.connect().await?);
    let nobody = (StatusCode::SERVICE_UNAVAILABLE, String::new());
    named_within(&service, &nobody).await?;

    let tracker = wire::Instance {
        role: "tracker".into(),
        public_url: "https://tracker.example".into(),
        ..named(1)
    };
    register(&mut registry, tracker.clone()).await?;
    let its_own = (StatusCode::OK, "wss://tracker.example/ws".to_owned());
    named_within(&service, &its_own).await?;

    // Without an address of its own it is where the station is.
    let tracker = wire::Instance {
        public_url: String::new(),
        ..tracker
    };
    register(&mut registry, tracker).await?;
    let the_stations = (StatusCode::OK, "wss://live.example/ws".to_owned());
    named_within(&service, &the_stations).await?;

    renew(&mut registry, &id(1), true).await?;
    named_within(&service, &nobody).await
}

/// Waits until a ticket names this tracker.
async fn named_within(service: &Service, wanted: &(StatusCode, String)) -> Result<()> {
    let began = Instant::now();
    loop {
        let path = "/api/v1/channels/demo/ticket";
        let (status, reply) = service.ask(Method::POST, path, None, None).await?;
        let tracker = reply["tracker"].as_str().unwrap_or_default().to_owned();
        if (status, tracker.clone()) == *wanted {
            return Ok(());
        }
        ensure!(began.elapsed() < SOON, "{status} {tracker}, not {wanted:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
