//! The HTTP side of a process that serves: the socket, bound before anything starts, and
//! the server on it.

use std::{net::SocketAddr, time::Duration};

use actix_web::{App, HttpServer, middleware::from_fn, web::ServiceConfig};
use boot::client::{Network, Proxies};
use tokio_util::sync::CancellationToken;

/// WebSockets and pages cost little; media bytes pass here only for players without peers.
const WORKERS: usize = 2;
/// From a connection's first byte to the end of its request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const DRAIN_S: u64 = 3;
/// A crowd comes at once; the standard library would let 128 of it in.
const BACKLOG: i32 = 1024;

/// Which proxies stand before an address that viewers reach.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct TrustedProxies {
    /// A proxy in front, such as 10.0.0.0/8: what it says of whom it asks for
    /// (X-Forwarded-For) is believed, so that limits per address are per viewer; may repeat
    #[arg(
        long = "trusted-proxy",
        env = "LIVESTATION_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// What a server's routes are to be given (`app_data`).
    pub(crate) fn open(&self) -> Proxies {
        Proxies::new(self.networks.clone())
    }
}

/// Binds, so that a port in use is told before anything starts.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener)
}

/// Serves what `routes` adds, until `stop`.
pub(crate) fn serve(
    listener: std::net::TcpListener,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = std::io::Result<()>>> {
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(boot::http::refusals))
            .configure(routes.clone())
    })
    .workers(WORKERS)
    .disable_signals()
    .client_request_timeout(HEAD_DEADLINE)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(DRAIN_S)
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(async move {
        stop.cancelled().await;
        handle.stop(true).await;
    });
    Ok(server)
}
