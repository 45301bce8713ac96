//! Where other services reach a process that registers.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, ensure};
use boot::{tls::Tls, units::parse_service_url};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// What starts together finds each other's names within it; after it, they are wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// From the first failure to the next try, and then twice as long each time, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What a process says of its gRPC address to the others.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct GrpcPublic {
    /// Where other services reach --grpc, when not at that address; of 0.0.0.0 it is else this
    /// machine's address on the way to accounts
    #[arg(long, env = "LIVESTATION_GRPC_PUBLIC", value_name = "URL", value_parser = parse_service_url)]
    grpc_public: Option<String>,
}

impl GrpcPublic {
    /// The URL that is registered for what is bound; `None` when `stop` comes before the way
    /// to accounts is known.
    pub(crate) async fn url(
        &self,
        mut bound: SocketAddr,
        accounts: &str,
        tls: &Tls,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<String>> {
        if let Some(url) = &self.grpc_public {
            tls.may_call(url)
                .with_context(|| format!("--grpc-public {url}"))?;
            return Ok(Some(url.clone()));
        }
        if bound.ip().is_unspecified() {
            let found = tokio::select! {
                found = patiently(accounts, PATIENCE) => found,
                () = stop.cancelled() => return Ok(None),
            };
            let outward =
                found.context("say by --grpc-public where other services reach --grpc")?;
            bound.set_ip(outward.ip());
        }
        Ok(Some(format!("{}://{bound}", tls.scheme())))
    }
}

/// As [`outward`], for as long as `patience`: a name that is not known yet may belong to a
/// service that starts at the same time, and an interface may not be up yet.
async fn patiently(url: &str, patience: Duration) -> anyhow::Result<SocketAddr> {
    let began = Instant::now();
    let mut pause = PAUSES.0;
    let mut said = false;
    loop {
        let error = match outward(url).await {
            Ok(address) => return Ok(address),
            Err(error) => error,
        };
        if began.elapsed() + pause > patience {
            let failed = format!("no way to --accounts {url} within {}s", patience.as_secs());
            return Err(error.context(failed));
        }
        if !std::mem::replace(&mut said, true) {
            let error = format!("{error:#}");
            tracing::warn!(
                accounts = url,
                error,
                within_s = patience.as_secs(),
                "--grpc names no address, and there is no way to accounts yet that would say \
                 which is ours (else --grpc-public): trying again"
            );
        }
        sleep(pause).await;
        pause = (2 * pause).min(PAUSES.1);
    }
}

/// This machine's address on the way to a service. Nothing is sent.
async fn outward(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, place) = url.split_once("://").context("no URL")?;
    let mut found = tokio::net::lookup_host(place).await?;
    let to = found.next().context("no address")?;
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    let address = socket.local_addr()?;
    ensure!(!address.ip().is_unspecified(), "no way there");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn url(said: Option<&str>, bound: &str, tls: &Tls) -> anyhow::Result<Option<String>> {
        let flag = GrpcPublic {
            grpc_public: said.map(str::to_owned),
        };
        let stop = CancellationToken::new();
        flag.url(bound.parse()?, "http://127.0.0.1:7700", tls, &stop)
            .await
    }

    #[tokio::test]
    async fn others_are_told_an_address_that_they_can_call() -> anyhow::Result<()> {
        let tls = Tls::plain_anywhere();
        let is = |url: &str| Some(url.to_owned());
        assert_eq!(
            url(None, "10.0.0.1:7", &tls).await?,
            is("http://10.0.0.1:7")
        );
        assert_eq!(
            url(None, "0.0.0.0:7", &tls).await?,
            is("http://127.0.0.1:7")
        );
        let said = Some("http://encoder.example:8");
        assert_eq!(
            url(said, "0.0.0.0:7", &tls).await?,
            is("http://encoder.example:8")
        );
        let here = Tls::plain_on_loopback();
        assert!(url(said, "127.0.0.1:7", &here).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_asked_for_until_the_deadline() {
        // Kept free of meaning by RFC 6761.
        let nobody = "http://accounts.invalid:7700";
        let (began, patience) = (Instant::now(), Duration::from_secs(2));
        let failed = patiently(nobody, patience).await.err();
        assert!(began.elapsed() > Duration::from_millis(500), "tried again");
        assert!(began.elapsed() < patience + Duration::from_secs(5));
        let why = failed.map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(
            why.contains("--accounts") && why.contains("within 2s"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn who_is_told_to_stop_waits_for_no_name() -> anyhow::Result<()> {
        let flag = GrpcPublic { grpc_public: None };
        let (tls, stop) = (Tls::plain_anywhere(), CancellationToken::new());
        let waiting = flag.url(
            "0.0.0.0:7".parse()?,
            "http://accounts.invalid:1",
            &tls,
            &stop,
        );
        let told = async {
            sleep(Duration::from_millis(400)).await;
            stop.cancel();
        };
        let (url, ()) = tokio::join!(waiting, told);
        assert_eq!(url?, None);
        Ok(())
    }
}
