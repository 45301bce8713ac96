//! The client's half of handshakes: a connection to who shows a certificate for the role
//! that is to be called. Hosts' names are not looked at: a role is who it says it is on
//! whatever machine, and no other role in its place.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use proto::access::Role;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codegen::{Service, http::Uri};

use super::{Current, refusal::Why};
use crate::grpc::CONNECT_DEADLINE;

/// Connects to services of one role.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    role: Role,
    tls: Arc<Current>,
}

impl Connector {
    pub(crate) fn new(role: Role, tls: Arc<Current>) -> Self {
        Self { role, tls }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let place = uri.authority().ok_or_else(wrong)?.as_str();
        let socket = first(lookup_host(place).await?.collect()).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.role.dns_name()).map_err(|_| wrong())?;
        let connector = TlsConnector::from(self.tls.material().client.clone());
        let shaken = connector.connect(name, socket).await;
        shaken.map(TokioIo::new).map_err(|error| {
            let why = Why::of(&error);
            if self.tls.said.is_new((Some(self.role), why)) {
                tracing::warn!(service = %self.role, %why, "no connection; said once");
            }
            // What the other end's certificate says is in the error, and not to be passed on.
            io::Error::new(io::ErrorKind::ConnectionRefused, why.to_string())
        })
    }
}

/// A connection to the first of these that answers. Each has its part of the time, so that a
/// dead one does not stand before another of the same name.
async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    // With a part left for the handshake.
    let parts = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let patience = CONNECT_DEADLINE / parts.saturating_add(1);
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address whose machine answers nothing: a queue that is full takes no more.
    async fn dead() -> io::Result<(TcpListener, Vec<TcpStream>)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(1)?;
        let mut waiting = Vec::new();
        let short = Duration::from_millis(200);
        while let Ok(socket) = timeout(short, TcpStream::connect(listener.local_addr()?)).await {
            waiting.push(socket?);
        }
        Ok((listener, waiting))
    }

    #[tokio::test]
    async fn a_dead_address_does_not_stand_before_a_living_one() -> io::Result<()> {
        let (dead, _waiting) = dead().await?;
        let living = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = vec![dead.local_addr()?, living.local_addr()?];
        let began = Instant::now();
        let socket = first(addresses).await?;
        assert_eq!(socket.peer_addr()?, living.local_addr()?);
        assert!(began.elapsed() < CONNECT_DEADLINE, "{:?}", began.elapsed());
        assert!(first(vec![dead.local_addr()?]).await.is_err());
        assert!(first(Vec::new()).await.is_err());
        Ok(())
    }
}
