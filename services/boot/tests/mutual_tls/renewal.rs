//! Certificates that change while services run.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use boot::{
    pki::Holder,
    tls::{Files, Tls},
};
use proto::access::Role;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::stage::{Log, Pki, QUICK, Server, ask};

/// Three looks at the files, and what a busy machine takes.
const TAKEN: Duration = Duration::from_secs(12);
const TRACKER: Holder = Holder::Service(Role::Tracker);
const ACCOUNTS: Holder = Holder::Service(Role::Accounts);

/// What the server shows now.
async fn shown(server: &Server, pki: &Pki) -> Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.authority.ca())?)?;
    let own = CertificateDer::from_pem_file(pki.authority.certificate(TRACKER))?;
    let key = PrivateKeyDer::from_pem_file(pki.authority.key(TRACKER))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own], key)?;
    let socket = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from(Role::Accounts.dns_name())?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let stream = timeout(QUICK, connector.connect(name, socket)).await??;
    let chain = stream.get_ref().1.peer_certificates();
    let first = chain.and_then(|chain| chain.first());
    Ok(first.context("nothing was shown")?.clone().into_owned())
}

fn on_file(pki: &Pki) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(
        pki.authority.certificate(ACCOUNTS),
    )?)
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let caller = server.caller(&pki.tls(Role::Tracker)?)?;
    ask(&caller).await??;
    let before = on_file(&pki)?;
    assert_eq!(shown(&server, &pki).await?, before);

    pki.authority.issue(ACCOUNTS, &[])?;
    log.wait(&["certificate renewed"], TAKEN).await?;
    assert_ne!(on_file(&pki)?, before);
    assert_eq!(shown(&server, &pki).await?, on_file(&pki)?);
    // Who is connected stays so.
    ask(&caller).await??;
    assert_eq!(log.lines(&["the old one stays"]), 0);
    Ok(())
}

#[tokio::test]
async fn another_ca_is_believed_from_the_next_connection_on() -> Result<()> {
    let log = Log::start();
    let (old, new) = (Pki::new()?, Pki::new()?);
    let folder = tempfile::tempdir()?;
    let files = Files {
        ca: folder.path().join("ca.pem"),
        cert: folder.path().join("accounts.pem"),
        key: folder.path().join("accounts.key"),
    };
    let copy = |from: &Pki| -> Result<()> {
        let from = from.files(ACCOUNTS);
        fs::copy(from.ca, &files.ca)?;
        fs::copy(from.key, &files.key)?;
        fs::copy(from.cert, &files.cert)?;
        Ok(())
    };
    copy(&old)?;
    let server = Server::start(&Tls::open(files.clone(), &[Role::Accounts])?).await?;
    ask(&server.caller(&old.tls(Role::Tracker)?)?).await??;
    copy(&new)?;
    log.wait(&["certificate renewed"], TAKEN).await?;
    ask(&server.caller(&new.tls(Role::Tracker)?)?).await??;
    assert!(
        ask(&server.caller(&old.tls(Role::Tracker)?)?)
            .await?
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn a_broken_certificate_leaves_the_old_one_in_force_and_is_told_once() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let before = on_file(&pki)?;
    let good = fs::read(pki.authority.certificate(ACCOUNTS))?;
    fs::write(pki.authority.certificate(ACCOUNTS), "half a")?;
    log.wait(&["WARN", "--tls-cert", "the old one stays"], TAKEN)
        .await?;
    assert_eq!(shown(&server, &pki).await?, before);
    // Two more looks.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(log.lines(&["WARN", "the old one stays"]), 1);

    fs::write(pki.authority.certificate(ACCOUNTS), good)?;
    log.wait(&["certificate renewed"], TAKEN).await?;
    Ok(())
}
