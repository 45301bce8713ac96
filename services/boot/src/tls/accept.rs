//! The server's half of handshakes: connections come out that have shown a certificate of
//! the CA.
//!
//! The one rule: who does not finish its handshake keeps nobody else waiting, and not long.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use super::{Current, refusal::Why};
use crate::grpc::metrics;

/// A handshake takes two round trips and a millisecond of arithmetic.
const DEADLINE: Duration = Duration::from_secs(1);
/// At once; more wait in the listener's queue. A station has a dozen services, and one
/// handshake costs some 50 KiB.
const HANDSHAKES: usize = 256;
/// Connections that are through and not yet served.
const QUEUE: usize = 16;
/// After the operating system refuses a socket (out of descriptors), let some close.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of `listener`, until the stream is dropped.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Arc<Current>,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (accepted, connections) = mpsc::channel(QUEUE);
    tokio::spawn(accept(listener, tls, accepted));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Current>,
    accepted: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let next = async {
            let permit = handshakes.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, socket) = tokio::select! {
            next = next => next,
            () = accepted.closed() => return,
        };
        let Ok((socket, _)) = socket else {
            sleep(PAUSE).await;
            continue;
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            let shaken = shake(socket, &tls).await;
            drop(permit);
            match shaken {
                // Who asked for connections may be gone.
                Ok(connection) => drop(accepted.send(Ok(connection)).await),
                Err(why) => {
                    metrics::turned_away();
                    if tls.said.is_new((None, why)) {
                        tracing::warn!(%why, "a connection is refused; said once");
                    }
                }
            }
        });
    }
}

async fn shake(socket: TcpStream, tls: &Current) -> Result<TlsStream<TcpStream>, Why> {
    socket.set_nodelay(true).map_err(|_| Why::Gone)?;
    let acceptor = TlsAcceptor::from(tls.material().server.clone());
    match timeout(DEADLINE, acceptor.accept(socket)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Why::of(&error)),
        Err(_) => Err(Why::Late),
    }
}
