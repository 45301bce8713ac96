//! By TLS a caller registers, renews and takes out instances of its own role alone.

use accounts::{Accounts, Config};
use anyhow::{Context, Result};
use boot::{
    pki::{Authority, Holder},
    tls::{Files, Tls},
};
use proto::{
    access::Role,
    registry::{self as wire, DeregisterRequest, registry_client::RegistryClient},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};

use crate::{
    members::{id, list, named, register, renew},
    place::{Place, config},
};

on_both! {
    a_certificate_speaks_for_its_own_role_alone
}

async fn a_certificate_speaks_for_its_own_role_alone(place: Place) -> Result<()> {
    let authority = Authority::open(&place.folder().join("pki"))?;
    let tls = |holder: Holder, roles: &[Role]| {
        authority.issue(holder, &[])?;
        let files = Files {
            ca: authority.ca(),
            cert: authority.certificate(holder),
            key: authority.key(holder),
        };
        anyhow::Ok(Tls::open(files, roles)?)
    };
    let own = tls(Holder::Service(Role::Accounts), &[Role::Accounts])?;
    let url = serve(&place, &own).await?;
    let caller = |holder, roles: &[Role]| -> Result<RegistryClient<Channel>> {
        let tls = tls(holder, roles)?;
        let channel = boot::grpc::connect_lazy(&url, Role::Accounts, &tls)?;
        Ok(RegistryClient::new(channel))
    };
    let mut seeder = caller(Holder::Service(Role::Seeder), &[Role::Seeder])?;
    let mut tracker = caller(Holder::Service(Role::Tracker), &[Role::Tracker])?;
    let mut station = caller(Holder::Station, &Role::ALL)?;

    register(&mut seeder, named(1)).await?;
    let refused = register(&mut tracker, named(2)).await.err();
    assert_eq!(
        refused.map(|status| status.code()),
        Some(Code::PermissionDenied)
    );
    // Under the other's id it may not be found in its place either.
    let taken = wire::Instance {
        role: "tracker".into(),
        ..named(1)
    };
    let refused = register(&mut tracker, taken).await.err().context("taken")?;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("another role"), "{refused}");
    let refused = renew(&mut tracker, &id(1), true).await.err();
    assert_eq!(refused.map(|status| status.code()), Some(Code::NotFound));
    tracker.deregister(DeregisterRequest { id: id(1) }).await?;
    assert_eq!(list(&mut tracker, "seeder").await?, [id(1)]);

    renew(&mut seeder, &id(1), false).await?;
    register(&mut station, named(3)).await?;
    seeder.deregister(DeregisterRequest { id: id(1) }).await?;
    assert_eq!(list(&mut seeder, "seeder").await?, [id(3)]);
    Ok(())
}

async fn serve(place: &Place, tls: &Tls) -> Result<String> {
    let database = place.database()?;
    accounts::migrate(&database).await?;
    let accounts = Accounts::open(Config {
        tracker: None,
        tls: tls.clone(),
        ..config(database, None)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}", listener.local_addr()?);
    let serving = accounts::serve(accounts.await?, listener, CancellationToken::new());
    tokio::spawn(serving);
    Ok(url)
}
