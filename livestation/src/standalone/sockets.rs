//! Every socket of the station, bound before anything starts, so that a port in use is
//! told by the flag that named it and port 0 is known to all.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context;
use tokio::net::TcpListener;

use super::Args;

/// A crowd comes at once; the standard library would let 128 of it in.
const HTTP_BACKLOG: i32 = 1024;

/// The sockets.
pub(super) struct Sockets {
    pub(super) http: std::net::TcpListener,
    pub(super) rtmp: TcpListener,
    pub(super) udp: UdpSocket,
    pub(super) accounts: Inner,
    pub(super) encoder: Inner,
    pub(super) seeder: Inner,
    pub(super) tracker: Inner,
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
    pub(super) udp: SocketAddr,
}

impl Sockets {
    pub(super) async fn bind(args: &Args) -> anyhow::Result<Self> {
        let http = std::net::TcpListener::bind(args.http)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                socket2::SockRef::from(&listener).listen(HTTP_BACKLOG)?;
                Ok(listener)
            })
            .with_context(|| format!("--http {}", args.http))?;
        let rtmp = TcpListener::bind(args.rtmp)
            .await
            .with_context(|| format!("--rtmp {}", args.rtmp))?;
        let udp = UdpSocket::bind(args.udp).with_context(|| format!("--udp {}", args.udp))?;
        Ok(Self {
            addresses: Addresses {
                http: http.local_addr()?,
                rtmp: rtmp.local_addr()?,
                udp: udp.local_addr()?,
            },
            http,
            rtmp,
            udp,
            accounts: Inner::bind().await?,
            encoder: Inner::bind().await?,
            seeder: Inner::bind().await?,
            tracker: Inner::bind().await?,
        })
    }
}

impl Inner {
    async fn bind() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no loopback port for a service")?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, url })
    }
}
