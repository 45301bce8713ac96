//! Where other services reach a process that registers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, ensure};
use boot::{tls::Tls, units::parse_service_url};
use tokio::net::UdpSocket;

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
    /// The URL that is registered for what is bound.
    pub(crate) async fn url(
        &self,
        mut bound: SocketAddr,
        accounts: &str,
        tls: &Tls,
    ) -> anyhow::Result<String> {
        if let Some(url) = &self.grpc_public {
            tls.may_call(url)
                .with_context(|| format!("--grpc-public {url}"))?;
            return Ok(url.clone());
        }
        if bound.ip().is_unspecified() {
            let outward = outward(accounts).await;
            let outward =
                outward.context("say by --grpc-public where other services reach --grpc")?;
            bound.set_ip(outward.ip());
        }
        Ok(format!("{}://{bound}", tls.scheme()))
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

    async fn url(said: Option<&str>, bound: &str, tls: &Tls) -> anyhow::Result<String> {
        let flag = GrpcPublic {
            grpc_public: said.map(str::to_owned),
        };
        flag.url(bound.parse()?, "http://127.0.0.1:7700", tls).await
    }

    #[tokio::test]
    async fn others_are_told_an_address_that_they_can_call() -> anyhow::Result<()> {
        let tls = Tls::plain_anywhere();
        assert_eq!(url(None, "10.0.0.1:7", &tls).await?, "http://10.0.0.1:7");
        assert_eq!(url(None, "0.0.0.0:7", &tls).await?, "http://127.0.0.1:7");
        let said = Some("http://encoder.example:8");
        assert_eq!(
            url(said, "0.0.0.0:7", &tls).await?,
            "http://encoder.example:8"
        );
        let here = Tls::plain_on_loopback();
        assert!(url(said, "127.0.0.1:7", &here).await.is_err());
        Ok(())
    }
}
