//! Every socket of the station, bound before anything starts, so that a port in use is
//! told by the flag that named it and port 0 is known to all.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context;
use tokio::net::TcpListener;

use super::Args;
use crate::{apart, web};

/// The sockets.
pub(super) struct Sockets {
    pub(super) http: std::net::TcpListener,
    pub(super) ingest: ingest::Sockets,
    pub(super) udp: UdpSocket,
    pub(super) accounts: Inner,
    pub(super) encoder: Inner,
    pub(super) seeder: Inner,
    pub(super) tracker: Inner,
    pub(super) operators: apart::Bound,
    pub(super) addresses: Addresses,
}

/// Where a service answers the others.
pub(super) struct Inner {
    pub(super) listener: TcpListener,
    pub(super) url: String,
}

/// Where the outside comes.
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) rtmp: SocketAddr,
    pub(super) srt: Option<SocketAddr>,
    pub(super) udp: SocketAddr,
    /// A URL.
    pub(super) metrics: Option<String>,
}

impl Sockets {
    pub(super) async fn bind(args: &Args) -> anyhow::Result<Self> {
        let http = web::bind(args.http).with_context(|| format!("--http {}", args.http))?;
        let rtmp = TcpListener::bind(args.rtmp)
            .await
            .with_context(|| format!("--rtmp {}", args.rtmp))?;
        let srt = args.srt.bind().await?;
        let udp = UdpSocket::bind(args.udp).with_context(|| format!("--udp {}", args.udp))?;
        let operators = args.operators.bind()?;
        Ok(Self {
            addresses: Addresses {
                metrics: operators.url()?,
                http: http.local_addr()?,
                rtmp: rtmp.local_addr()?,
                srt: srt.as_ref().map(|srt| srt.local_addr()).transpose()?,
                udp: udp.local_addr()?,
            },
            operators,
            http,
            ingest: ingest::Sockets { rtmp, srt },
            udp,
            accounts: Inner::bind("--accounts-grpc", args.accounts_grpc).await?,
            encoder: Inner::bind("encoder", None).await?,
            seeder: Inner::bind("seeder", None).await?,
            tracker: Inner::bind("--tracker-grpc", args.tracker_grpc).await?,
        })
    }
}

impl Inner {
    /// At the address that was asked for, or any on loopback.
    async fn bind(what: &str, asked: Option<SocketAddr>) -> anyhow::Result<Self> {
        let address = asked.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{what} {address}"))?;
        let mut reached = listener.local_addr()?;
        if reached.ip().is_unspecified() {
            reached.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let url = format!("http://{reached}");
        Ok(Self { listener, url })
    }
}
