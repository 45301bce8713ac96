//! Every identity against every method, over TLS.

use anyhow::{Context, Result};
use boot::{pki::Holder, tls::Tls};
use proto::{
    access::{METHODS, Role},
    accounts::{TicketKeyReply, TicketKeyRequest},
};
use rcgen::CertificateParams;
use tokio::time::timeout;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use crate::stage::{Log, Pki, QUICK, Server};

/// Who may call what, drawn: the columns are accounts, ingest, encoder, tracker, seeder.
const DECLARED: [(&str, &str); 13] = [
    ("/livestation.accounts.Accounts/Authorize", ".x..."),
    ("/livestation.accounts.Accounts/Revoked", ".x..."),
    ("/livestation.accounts.Accounts/CertifyEpoch", "..x.."),
    ("/livestation.accounts.Accounts/TicketKey", "...xx"),
    ("/livestation.encoder.Encoder/Encode", ".x..."),
    ("/livestation.registry.Registry/Register", ".xxxx"),
    ("/livestation.registry.Registry/Renew", ".xxxx"),
    ("/livestation.registry.Registry/Deregister", ".xxxx"),
    ("/livestation.registry.Registry/List", ".xxxx"),
    ("/livestation.seeder.Seeder/Seed", "..x.."),
    ("/livestation.tracker.Tracker/Announce", "....x"),
    ("/livestation.tracker.Tracker/Stats", "x...."),
    ("/livestation.tracker.Tracker/Swarm", "x...."),
];

/// Calls a method by its path, with a message that is empty in every contract; what became
/// of it.
async fn call(channel: &Channel, path: &'static str) -> Result<Code> {
    let mut client = Grpc::new(channel.clone());
    let called = async {
        client.ready().await?;
        let codec = ProstCodec::<TicketKeyRequest, TicketKeyReply>::default();
        let request = Request::new(TicketKeyRequest {});
        let path = PathAndQuery::from_static(path);
        let code = match client.unary(request, path, codec).await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        };
        anyhow::Ok(code)
    };
    timeout(QUICK, called).await.context("no answer in time")?
}

/// Behind the guard stands the double of accounts, and nothing of the others.
fn answer(path: &str) -> Code {
    match path.rsplit('/').next() {
        Some("Authorize") => Code::Unauthenticated,
        Some("CertifyEpoch") => Code::NotFound,
        Some("TicketKey") => Code::Ok,
        _ => Code::Unimplemented,
    }
}

#[tokio::test]
async fn every_identity_may_call_what_is_declared_and_nothing_else() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    assert_eq!(DECLARED.len(), METHODS.len());
    let mut refusals = 0;
    for (column, role) in Role::ALL.into_iter().enumerate() {
        let caller = server.caller(&pki.tls(role)?)?;
        for method in &METHODS {
            let drawn = DECLARED.iter().find(|(path, _)| *path == method.path);
            let (_, row) = drawn.with_context(|| format!("{} is not drawn", method.path))?;
            let may = row.as_bytes()[column] == b'x';
            let expected = match may {
                true => answer(method.path),
                false => Code::PermissionDenied,
            };
            for _ in 0..2 {
                let code = call(&caller, method.path).await?;
                assert_eq!(code, expected, "{role} calls {}", method.path);
            }
            let name = format!("caller={role} ");
            let said = log.lines(&["a call is refused", &name, method.path]);
            assert_eq!(said, usize::from(!may), "{role} calls {}", method.path);
            refusals += usize::from(!may);
        }
    }
    assert_eq!(log.lines(&["a call is refused"]), refusals);
    Ok(())
}

#[tokio::test]
async fn a_station_may_call_what_any_of_its_roles_may() -> Result<()> {
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let station = Tls::open(pki.files(Holder::Station), &Role::ALL)?;
    let caller = server.caller(&station)?;
    for method in &METHODS {
        assert_eq!(call(&caller, method.path).await?, answer(method.path));
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_a_role_may_call_nothing() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    for names in [
        vec!["localhost".to_owned()],
        vec!["*.livestation.internal".to_owned()],
        vec![format!("{}.example", Role::Tracker.dns_name())],
    ] {
        let shown = pki.sign(&CertificateParams::new(names)?)?;
        let caller = server.stranger(&pki.ca_pem()?, Some(shown))?;
        for method in &METHODS {
            assert_eq!(call(&caller, method.path).await?, Code::PermissionDenied);
        }
    }
    let said = log.lines(&["a call is refused", "without a role"]);
    assert_eq!(said, METHODS.len());
    Ok(())
}

#[tokio::test]
async fn a_method_of_no_contract_is_refused_to_all() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let station = Tls::open(pki.files(Holder::Station), &Role::ALL)?;
    for tls in [station, Tls::default()] {
        let server = Server::start(&tls).await?;
        let caller = server.caller(&tls)?;
        for path in [
            "/livestation.accounts.Accounts/authorize",
            "/livestation.accounts.Accounts/TicketKey/",
            "/livestation.accounts.Accounts/%54icketKey",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/",
        ] {
            let code = call(&caller, path).await?;
            assert_eq!(code, Code::PermissionDenied, "{path}");
        }
    }
    // Once by each server; what the caller made up is not in the log.
    assert_eq!(log.lines(&["a call is refused", "of no contract"]), 2);
    assert_eq!(log.lines(&["reflection"]), 0);
    Ok(())
}
