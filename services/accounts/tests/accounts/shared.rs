//! Two instances of accounts, which a Redis lets count together.

use std::time::Duration;

use accounts::{Accounts, Config};
use anyhow::Result;
use presence::Presence;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    place::{Place, config},
    redis::Server,
    service::Service,
};

/// From a start, or from a loss, to counting together.
const REBUILT: Duration = Duration::from_secs(15);
/// What an answer takes at most, while the store is away too.
const QUICK: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_at_two_instances_has_no_more_attempts() -> Result<()> {
    let Some(mut redis) = Server::start()? else {
        return Ok(());
    };
    let Some(place) = Place::postgres()? else {
        return Ok(());
    };
    let database = place.database()?;
    accounts::migrate(&database).await?;
    let open = || {
        let presence = Presence::shared(&redis.url())?;
        anyhow::Ok(Config {
            presence,
            attempts_per_address: ATTEMPTS,
            ..config(database.clone(), None)
        })
    };
    let (one, other) = (
        Accounts::open(open()?).await?,
        Accounts::open(open()?).await?,
    );
    let one = Service::of(one, place).await?;
    // The database is the first one's place.
    let other = Service::of(other, Place::sqlite()?).await?;

    // Once they count together, nobody gets more than at one of them.
    until_together(&one, &other, &redis).await?;
    redis.kill()?;
    for instance in [&one, &other] {
        timeout(QUICK, may_try(instance)).await??;
    }
    redis.restart()?;
    until_together(&one, &other, &redis).await
}

/// Tries at both until they allow no more together than one alone.
async fn until_together(one: &Service, other: &Service, redis: &Server) -> Result<()> {
    let began = Instant::now();
    loop {
        redis.forget()?;
        let mut allowed = 0;
        for instance in [one, other].into_iter().cycle().take(4 * ATTEMPTS as usize) {
            allowed += u32::from(may_try(instance).await?);
        }
        if allowed == ATTEMPTS {
            return Ok(());
        }
        anyhow::ensure!(
            began.elapsed() < REBUILT,
            "{allowed} attempts of one address"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Asks for a mail, which this station sends to nobody; whether it was within the limit.
async fn may_try(instance: &Service) -> Result<bool> {
    let body = json!({"email": "ann@mail.example"});
    let path = "/api/v1/password/forgot";
    let (status, _) = instance.ask(Method::POST, path, None, Some(body)).await?;
    Ok(status != StatusCode::TOO_MANY_REQUESTS)
}
