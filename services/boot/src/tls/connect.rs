//! The client's half of handshakes: a connection to who shows a certificate for the role
//! that is to be called. Hosts' names are not looked at: a role is who it says it is on
//! whatever machine, and no other role in its place.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use proto::access::Role;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codegen::{Service, http::Uri};

use super::{Current, refusal::Why};

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
        let socket = TcpStream::connect(place).await?;
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
