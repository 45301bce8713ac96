//! gRPC as all services speak it: limits on what a peer may make us hold, keep-alives that
//! find a dead one, and a drain that ends.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{
    Channel, Endpoint, Server,
    server::{Router, TcpIncoming},
};

/// The largest message in either direction. Services set it on what they serve and call
/// (`max_decoding_message_size`); it is also tonic's default for decoding.
pub const MESSAGE_MAX: usize = 4 << 20;

/// The deadline of a call that answers at once.
pub const CALL_DEADLINE: Duration = Duration::from_secs(1);

const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(5);
/// A service's stay for calls in progress; the rest of its 20 s belongs to what it hosts.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const STREAMS_PER_CONNECTION: u32 = 4096;
const HEADERS_MAX: u32 = 16 << 10;
/// Holds a generation of 8 Mbit/s several times, so that one call is never bound by a
/// window that is smaller than a message.
const WINDOW: u32 = 2 << 20;

/// A channel to `url` (`http://host:port`) that connects with the first call and again
/// after every break.
///
/// # Errors
/// When `url` is not one.
pub fn connect_lazy(url: &str) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_DEADLINE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .tcp_nodelay(true)
        .connect_lazy())
}

/// A server with our limits; add services to it, then [`serve`].
#[must_use]
pub fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADERS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_DEADLINE))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
}

/// Serves until `shutdown`, then lets running calls end for 5 s and returns.
///
/// # Errors
/// Those of the transport.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let draining = shutdown.clone();
    let served = router.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
    tokio::select! {
        served = served => served,
        () = drain_deadline(draining) => Ok(()),
    }
}

async fn drain_deadline(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_DEADLINE).await;
}
