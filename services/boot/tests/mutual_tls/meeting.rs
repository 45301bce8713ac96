//! Who comes together and who does not: quickly either way, and the log says it once.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use boot::{
    grpc::{Remote, reason},
    pki::Holder,
    tls::Tls,
};
use proto::access::Role;
use rcgen::CertificateParams;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tonic::{Code, transport::Channel};

use crate::stage::{Log, Pki, QUICK, Server, ask};

/// Often enough that a line for each would show.
const TRIES: usize = 3;

/// Every try is refused, with whatever the transport says.
async fn is_refused(channel: &Channel) -> Result<()> {
    for _ in 0..TRIES {
        let refused = ask(channel).await?;
        assert!(refused.is_err(), "somebody was served");
    }
    Ok(())
}

#[tokio::test]
async fn the_right_certificate_is_served() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    for role in [Role::Tracker, Role::Seeder] {
        ask(&server.caller(&pki.tls(role)?)?).await??;
    }
    assert_eq!(log.lines(&["WARN"]), 0);
    Ok(())
}

#[tokio::test]
async fn who_connects_first_knows_whether_anybody_can_be_called() -> Result<()> {
    let (ours, theirs) = (Pki::new()?, Pki::new()?);
    let server = Server::start(&ours.tls(Role::Accounts)?).await?;
    let connect = async |tls: Tls| {
        let remote = Remote::new(&server.url(&tls), Role::Accounts, &tls)?;
        anyhow::Ok(timeout(QUICK, remote.connect()).await?)
    };
    let connected = connect(ours.tls(Role::Tracker)?).await??;
    ask(&connected).await??;
    assert!(connect(theirs.tls(Role::Tracker)?).await?.is_err());
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() -> Result<()> {
    let log = Log::start();
    let (ours, theirs) = (Pki::new()?, Pki::new()?);
    let server = Server::start(&ours.tls(Role::Accounts)?).await?;
    // Its holder believes us, so that it is we who refuse.
    let mut files = theirs.files(Holder::Service(Role::Tracker));
    files.ca = theirs.folder().join("both.pem");
    std::fs::write(&files.ca, ours.ca_pem()? + &theirs.ca_pem()?)?;
    let caller = server.caller(&Tls::open(files, &[Role::Tracker])?)?;
    is_refused(&caller).await?;
    assert_eq!(log.lines(&["WARN", "of another CA"]), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_called() -> Result<()> {
    let log = Log::start();
    let (ours, theirs) = (Pki::new()?, Pki::new()?);
    let server = Server::start(&theirs.tls(Role::Accounts)?).await?;
    let caller = server.caller(&ours.tls(Role::Tracker)?)?;
    is_refused(&caller).await?;
    assert_eq!(
        log.lines(&["no connection", "accounts", "of another CA"]),
        1
    );
    assert_eq!(log.lines(&["it refuses our certificate"]), 1);
    Ok(())
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    is_refused(&server.stranger(&pki.ca_pem()?, None)?).await?;
    assert_eq!(log.lines(&["WARN", "no certificate"]), 1);
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let mut params = CertificateParams::new([Role::Tracker.dns_name()])?;
    params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    let ended = pki.sign(&params)?;
    is_refused(&server.stranger(&pki.ca_pem()?, Some(ended))?).await?;
    assert_eq!(log.lines(&["WARN", "has ended"]), 1);
    params.not_after = (SystemTime::now() + Duration::from_secs(60)).into();
    let in_force = pki.sign(&params)?;
    ask(&server.stranger(&pki.ca_pem()?, Some(in_force))?).await??;
    Ok(())
}

#[tokio::test]
async fn plain_text_is_refused_where_tls_is_spoken() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    is_refused(&server.caller(&Tls::default())?).await?;
    assert_eq!(log.lines(&["WARN", "does not speak TLS"]), 1);
    Ok(())
}

#[tokio::test]
async fn tls_is_refused_where_plain_text_is_spoken() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&Tls::default()).await?;
    is_refused(&server.caller(&pki.tls(Role::Tracker)?)?).await?;
    assert_eq!(log.lines(&["accounts", "does not speak TLS"]), 1);
    ask(&server.caller(&Tls::default())?).await??;
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_not_on_the_list_is_refused() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let caller = server.caller(&pki.tls(Role::Ingest)?)?;
    for _ in 0..TRIES {
        let refused = ask(&caller).await?.map_err(|status| status.code());
        assert_eq!(refused, Err(Code::PermissionDenied));
    }
    assert_eq!(log.lines(&["WARN", "ingest", "Accounts/TicketKey"]), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_role_is_not_called() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Seeder)?).await?;
    let caller = server.caller(&pki.tls(Role::Tracker)?)?;
    is_refused(&caller).await?;
    assert_eq!(log.lines(&["accounts", "for another role"]), 1);
    let why = ask(&caller).await?.map_err(|status| reason(&status));
    assert_eq!(why, Err("its certificate is for another role".to_owned()));
    Ok(())
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting_and_is_let_go() -> Result<()> {
    let log = Log::start();
    let pki = Pki::new()?;
    let server = Server::start(&pki.tls(Role::Accounts)?).await?;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.address).await?);
    }
    ask(&server.caller(&pki.tls(Role::Tracker)?)?).await??;
    for mut socket in silent {
        let read = timeout(QUICK, socket.read(&mut [0; 64])).await?;
        assert!(matches!(read, Ok(0) | Err(_)), "something was said");
    }
    assert_eq!(log.lines(&["WARN", "takes too long"]), 1);
    Ok(())
}
