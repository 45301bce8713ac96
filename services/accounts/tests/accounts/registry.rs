//! The registry of running instances: as raw calls, and through the client that services use.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use boot::registry::{LEASE, State};
use proto::{
    access::Role,
    registry::{
        self as wire, DeregisterRequest, ListRequest, RegisterRequest,
        registry_client::RegistryClient,
    },
};
use sqlx::Connection;
use tokio::time::timeout;
use tonic::Code;

use crate::{
    members::{Restartable, SOON, Watched, id, list, list_whole, named, register, renew, seeder},
    place::Place,
    server::Postgres,
    service::Service,
};

on_both! {
    who_renews_lives_and_who_does_not_is_dead_after_a_lease
    who_drains_is_listed_as_draining_and_who_leaves_is_gone_at_once
    what_breaks_a_bound_or_is_of_another_age_is_refused
    no_more_than_4096_live_at_once
    a_restart_of_accounts_ends_no_lease
    an_outage_longer_than_a_lease_is_survived
}

async fn who_renews_lives_and_who_does_not_is_dead_after_a_lease(place: Place) -> Result<()> {
    let service = Service::start(place).await?;
    let remote = service.serve().await?;
    let mut raw = RegistryClient::new(remote.connect_lazy());
    let member = boot::registry::register(remote, seeder(1));
    let mut state = member.state();
    timeout(SOON, state.wait_for(|state| *state == State::Registered)).await??;
    register(&mut raw, named(2)).await?;
    let registered = Instant::now();
    let other = named(3);
    register(
        &mut raw,
        wire::Instance {
            role: "tracker".into(),
            ..other
        },
    )
    .await?;

    let mut last_seen = Duration::ZERO;
    while registered.elapsed() < LEASE + Duration::from_secs(2) {
        let asked = registered.elapsed();
        let listed = list(&mut raw, "seeder").await?;
        assert!(listed.contains(&id(1)), "it renews: {listed:?}");
        assert!(!listed.contains(&id(3)), "another role");
        if listed.contains(&id(2)) {
            last_seen = asked;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last_seen > LEASE - Duration::from_secs(1), "{last_seen:?}");
    assert!(
        last_seen <= LEASE + Duration::from_millis(500),
        "{last_seen:?}"
    );
    let late = renew(&mut raw, &id(2), false).await;
    assert_eq!(late.err().map(|status| status.code()), Some(Code::NotFound));
    member.leave().await;
    Ok(())
}

async fn who_drains_is_listed_as_draining_and_who_leaves_is_gone_at_once(
    place: Place,
) -> Result<()> {
    let service = Service::start(place).await?;
    let remote = service.serve().await?;
    let channel = remote.connect_lazy();
    let mut living = boot::registry::follow(channel.clone(), "seeder");
    let mut wanted = seeder(1);
    wanted.public_url = "https://seeder.example".into();
    wanted.udp = vec!["10.0.0.1:4433".parse()?, "[::1]:4433".parse()?];
    wanted.capacity = 100_000_000;
    let member = boot::registry::register(remote, wanted.clone());
    let listed = timeout(SOON, living.wait_for(|living| !living.is_empty())).await??;
    assert_eq!(*listed, [wanted.clone()]);
    drop(listed);

    member.drain();
    wanted.draining = true;
    timeout(SOON, living.wait_for(|living| *living == [wanted.clone()])).await??;
    // A renewal that says no more of it would take it back.
    let mut raw = RegistryClient::new(channel);
    tokio::time::sleep(boot::registry::RENEW_EVERY + Duration::from_millis(500)).await;
    let listed = list_whole(&mut raw, "seeder").await?;
    assert!(listed[0].draining);

    member.leave().await;
    assert_eq!(list(&mut raw, "seeder").await?, [""; 0]);
    timeout(SOON, living.wait_for(Vec::is_empty)).await??;
    Ok(())
}

async fn what_breaks_a_bound_or_is_of_another_age_is_refused(place: Place) -> Result<()> {
    let service = Service::start(place).await?;
    let remote = service.serve().await?;
    let mut raw = RegistryClient::new(remote.connect_lazy());
    let long = wire::Instance {
        grpc: format!("http://{}", "a".repeat(300)),
        ..named(1)
    };
    let ages_ago = wire::Instance {
        version: "0.99.0".into(),
        ..named(1)
    };
    let refusal = register(&mut raw, long).await.err();
    assert_eq!(
        refusal.map(|status| status.code()),
        Some(Code::InvalidArgument)
    );
    let refusal = register(&mut raw, ages_ago).await.err().context("taken")?;
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("0.99"), "{refusal}");
    for call in [
        renew(&mut raw, "no id", false).await.err(),
        raw.deregister(DeregisterRequest { id: "F".repeat(32) })
            .await
            .err(),
        raw.list(ListRequest {
            role: "Seeder".into(),
        })
        .await
        .err(),
        raw.register(RegisterRequest { instance: None }).await.err(),
    ] {
        assert_eq!(
            call.map(|status| status.code()),
            Some(Code::InvalidArgument)
        );
    }
    assert_eq!(list(&mut raw, "seeder").await?, [""; 0]);

    // The client says why, and keeps asking.
    let mut old = seeder(2);
    old.version = "0.99.0".into();
    let member = boot::registry::register(remote, old);
    let mut state = member.state();
    let told = |state: &State| matches!(state, State::Refused(why) if why.contains("0.99"));
    timeout(SOON, state.wait_for(told)).await??;
    Ok(())
}

async fn no_more_than_4096_live_at_once(place: Place) -> Result<()> {
    let service = Service::start(place).await?;
    let mut raw = RegistryClient::new(service.connect().await?).max_decoding_message_size(8 << 20);
    let fill = "INSERT INTO instances (id, role, grpc, public_url, udp, capacity, version, draining, expires_at_ms) \
                WITH RECURSIVE numbers(number) AS \
                (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 4095) \
                SELECT '000000000000000000000000' || CAST(10000000 + number AS TEXT), 'seeder', 'http://a:1', '', '', 0, '0.1.0', 0, \
                9000000000000000 FROM numbers";
    let mut connection = sqlx::AnyConnection::connect(&service.place.url()).await?;
    sqlx::query(fill).execute(&mut connection).await?;
    connection.close().await?;

    register(&mut raw, named(1)).await?;
    assert_eq!(list(&mut raw, "seeder").await?.len(), 4096);
    let full = register(&mut raw, named(2)).await.err();
    assert_eq!(
        full.map(|status| status.code()),
        Some(Code::ResourceExhausted)
    );
    register(&mut raw, named(1)).await?;
    raw.deregister(DeregisterRequest { id: id(1) }).await?;
    register(&mut raw, named(2)).await?;
    Ok(())
}

async fn a_restart_of_accounts_ends_no_lease(place: Place) -> Result<()> {
    let first = Restartable::start(&place, None).await?;
    let mut raw = RegistryClient::new(boot::grpc::connect_lazy(
        &first.url,
        Role::Accounts,
        &Default::default(),
    )?);
    register(&mut raw, named(1)).await?;
    let url = first.stop().await;
    let _second = Restartable::start(&place, Some(url)).await?;
    assert_eq!(list(&mut raw, "seeder").await?, [id(1)]);
    renew(&mut raw, &id(1), false).await?;
    Ok(())
}

async fn an_outage_longer_than_a_lease_is_survived(place: Place) -> Result<()> {
    let first = Restartable::start(&place, None).await?;
    let watched = Watched::start(&first.url).await?;
    let url = first.stop().await;
    let mut state = watched.member.state();
    timeout(SOON, state.wait_for(|state| *state == State::Away)).await??;
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    let second = Restartable::start(&place, Some(url)).await?;
    timeout(SOON, state.wait_for(|state| *state == State::Registered)).await??;
    watched.was_always_listed(&second.url).await
}

/// The same when it is the database that goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_database_ends_no_membership() -> Result<()> {
    let Some(mut place) = Place::on(Postgres::start()?)? else {
        return Ok(());
    };
    let accounts = Restartable::start(&place, None).await?;
    let watched = Watched::start(&accounts.url).await?;
    let mut state = watched.member.state();
    let server = place.postgres.as_mut().context("not on Postgres")?;
    server.kill()?;
    timeout(SOON, state.wait_for(|state| *state == State::Away)).await??;
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    server.restart()?;
    timeout(SOON, state.wait_for(|state| *state == State::Registered)).await??;
    watched.was_always_listed(&accounts.url).await
}
