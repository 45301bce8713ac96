//! gRPC as all services speak it: limits on what a peer may make us hold, keep-alives that
//! find a dead one, a drain that ends; in plain text or by [`Tls`], and with a guard before
//! every method.

use std::time::Duration;

use proto::access::Role;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Endpoint, Error, Server, server::TcpIncoming},
};

pub(crate) mod metrics;

use crate::tls::{self, Connector, Guard, Tls};
pub use crate::tls::{Caller, reason};
/// A connection to a service, made when it is used and again after every break.
pub use tonic::transport::Channel;

/// The largest message in either direction. Services set it on what they serve and call
/// (`max_decoding_message_size`); it is also tonic's default for decoding.
pub const MESSAGE_MAX: usize = 4 << 20;

/// The deadline of a call that answers at once.
pub const CALL_DEADLINE: Duration = Duration::from_secs(1);

/// A handshake is within it.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Beat = Beat {
    every: Duration::from_secs(20),
    within: Duration::from_secs(5),
};
/// Leases end 6 s after the last renewal: a machine that lost its power has to be noticed, and
/// another one asked, before that.
const ACCOUNTS_KEEP_ALIVE: Beat = Beat {
    every: Duration::from_secs(1),
    within: Duration::from_secs(2),
};
/// A service's stay for calls in progress; the rest of its 20 s belongs to what it hosts.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const STREAMS_PER_CONNECTION: u32 = 4096;
const HEADERS_MAX: u32 = 16 << 10;
/// Holds a generation of 8 Mbit/s several times, so that one call is never bound by a
/// window that is smaller than a message.
const WINDOW: u32 = 2 << 20;

/// When a connection that says nothing is asked whether it lives, and how long it may take
/// to say so.
#[derive(Clone, Copy, Debug)]
struct Beat {
    every: Duration,
    within: Duration,
}

impl Beat {
    const fn of(role: Role) -> Self {
        match role {
            Role::Accounts => ACCOUNTS_KEEP_ALIVE,
            _ => KEEP_ALIVE,
        }
    }
}

/// Where a service of some role answers, and how it is reached.
#[derive(Clone, Debug)]
pub struct Remote {
    endpoint: Endpoint,
    beat: Beat,
    connector: Option<Connector>,
}

impl Remote {
    /// A service at `url` (`http://host:port`, `https://…`), which by TLS must show a
    /// certificate for `role`. Whether it is TLS, `tls` alone decides.
    ///
    /// # Errors
    /// When `url` is not one.
    pub fn new(url: &str, role: Role, tls: &Tls) -> Result<Self, Error> {
        let connector = tls.current().map(|tls| Connector::new(role, tls.clone()));
        let endpoint = match url.strip_prefix("https://") {
            // What connects is ours; tonic would look for its own TLS.
            Some(place) if connector.is_some() => Endpoint::from_shared(format!("http://{place}")),
            _ => Endpoint::from_shared(url.to_owned()),
        };
        let beat = Beat::of(role);
        Ok(Self {
            endpoint: endpoint?
                .connect_timeout(CONNECT_DEADLINE)
                .keep_alive_timeout(beat.within)
                // Between two calls too, or the next one is lost on a dead connection.
                .keep_alive_while_idle(true)
                .tcp_nodelay(true),
            beat,
            connector,
        })
    }

    /// With a sign of life so often, and windows of HTTP/2's default, for [`Self::connect`].
    #[must_use]
    pub fn keep_alive_every(mut self, interval: Duration) -> Self {
        self.endpoint = self.endpoint.http2_keep_alive_interval(interval);
        self
    }

    /// Connects now.
    ///
    /// # Errors
    /// When nobody is there within a second, or not whom we meant.
    pub async fn connect(&self) -> Result<Channel, Error> {
        match self.connector.clone() {
            Some(connector) => self.endpoint.connect_with_connector(connector).await,
            None => self.endpoint.connect().await,
        }
    }

    /// A channel of its own, that connects with the first call and again after every break.
    #[must_use]
    pub fn connect_lazy(&self) -> Channel {
        let endpoint = self
            .endpoint
            .clone()
            .http2_keep_alive_interval(self.beat.every)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        match self.connector.clone() {
            Some(connector) => endpoint.connect_with_connector_lazy(connector),
            None => endpoint.connect_lazy(),
        }
    }
}

/// A channel to the service of some role at `url`, as of [`Remote::new`], that connects with
/// the first call and again after every break.
///
/// # Errors
/// When `url` is not one.
pub fn connect_lazy(url: &str, role: Role, tls: &Tls) -> Result<Channel, Error> {
    Ok(Remote::new(url, role, tls)?.connect_lazy())
}

/// Serves with our limits until `shutdown`, then lets running calls end for 5 s and returns.
/// By TLS, callers show a certificate, and may call what [`proto::access`] lets them.
///
/// # Errors
/// Those of the transport.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    tls: &Tls,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let current = tls.current();
    let guarded = Guard::new(routes.prepare(), current.is_some());
    let draining = shutdown.clone();
    let stop = shutdown.cancelled_owned();
    let served = async {
        match current {
            Some(current) => {
                let incoming = tls::incoming(listener, current.clone());
                server()
                    .serve_with_incoming_shutdown(guarded, incoming, stop)
                    .await
            }
            None => {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                server()
                    .serve_with_incoming_shutdown(guarded, incoming, stop)
                    .await
            }
        }
    };
    tokio::select! {
        served = served => served,
        () = drain_deadline(draining) => Ok(()),
    }
}

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADERS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE.every))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.within))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
}

async fn drain_deadline(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_DEADLINE).await;
}
