//! The SRT listener: one socket, and a task for every caller that has proved its address.
//!
//! The one rule: here nothing is parsed but a handshake's fixed fields, and nothing is kept for
//! a stranger that has not shown a cookie. So forged addresses cost an answer, and whatever
//! goes wrong with a caller ends its task alone.

mod caller;
mod cookie;
mod handshake;
mod passphrase;
mod reject;
mod screen;
mod stream_id;
#[cfg(test)]
mod tests;
mod transport;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use crate::{ACCEPT_PAUSE, DRAIN, Shared};
use caller::Caller;
use cookie::Cookies;
use handshake::{Handshake, Step};

pub use passphrase::{Passphrase, PassphraseLength};

/// How SRT is taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long packets are waited for, from 20 ms to 8 s; a caller can ask for more, not for
    /// less. A packet that is lost is asked for again once in a round trip and a bit: four
    /// round trips let 5 % of loss pass unnoticed.
    pub latency: Duration,
    /// What broadcasts must be encrypted with, if they must.
    pub passphrase: Option<Passphrase>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(400),
            passphrase: None,
        }
    }
}

/// Whether a caller was let in: before that, its handshakes alone come through.
#[derive(Default)]
struct Doorway(AtomicBool);

impl Doorway {
    fn open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A caller as the listener sees it.
struct Peer {
    inbox: mpsc::Sender<Bytes>,
    doorway: Arc<Doorway>,
}

/// The listener's state.
struct Listener {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    options: Arc<Options>,
    cookies: Cookies,
    peers: HashMap<SocketAddr, Peer>,
    tasks: JoinSet<SocketAddr>,
}

/// The longest datagram that SRT sends over Ethernet, and some.
const MAX_DATAGRAM: usize = 2048;
/// Packets that wait for a caller's task: 0.4 s of 6 Mbit/s. What does not fit is lost, as on
/// the way.
const INBOX: usize = 256;
/// What the system holds for all callers, if it can: 0.1 s of 100 Mbit/s, twice as it counts.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// Serves callers until the shutdown, and then waits for their ends.
pub(crate) async fn serve(shared: Arc<Shared>, options: Options, socket: UdpSocket) {
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    let shutdown = shared.shutdown.clone();
    let mut listener = Listener {
        socket: Arc::new(socket),
        shared,
        options: Arc::new(options),
        cookies: Cookies::new(),
        peers: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    let socket = listener.socket.clone();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = listener.tasks.join_next() => listener.on_end(ended.ok()),
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, from)) => listener.on_datagram(&buffer[..len], from),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    let mut tasks = listener.tasks;
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("stopped before every SRT broadcaster was told");
    }
}

impl Listener {
    fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(handshake) = Handshake::read(datagram) else {
            if let Some(peer) = self.peers.get(&from).filter(|p| p.doorway.is_open()) {
                let _ = peer.inbox.try_send(Bytes::copy_from_slice(datagram));
            }
            return;
        };
        let now = Instant::now();
        match handshake.step() {
            Some(Step::Induction) => {
                let cookie = self.cookies.make(from, now);
                self.answer(&handshake.induction_reply(cookie), from);
            }
            Some(Step::Conclusion) if self.cookies.is_good(handshake.cookie(), from, now) => {
                self.on_conclusion(handshake, Bytes::copy_from_slice(datagram), from);
            }
            _ => {}
        }
    }

    /// A caller that is where it says wants in, or has not heard the answer yet.
    fn on_conclusion(&mut self, handshake: Handshake<'_>, conclusion: Bytes, from: SocketAddr) {
        let entry = match self.peers.entry(from) {
            Entry::Occupied(peer) => {
                let inbox = &peer.get().inbox;
                // One that waits is enough.
                if inbox.capacity() == inbox.max_capacity() || peer.get().doorway.is_open() {
                    let _ = inbox.try_send(conclusion);
                }
                return;
            }
            Entry::Vacant(entry) => entry,
        };
        let Some(visitor) = self.shared.gate.enter(from.ip()) else {
            tracing::debug!("caller turned away");
            return self.answer(&handshake.rejection(reject::OVERLOAD), from);
        };
        let (inbox, receiver) = mpsc::channel(INBOX);
        let doorway = Arc::<Doorway>::default();
        entry.insert(Peer {
            inbox,
            doorway: doorway.clone(),
        });
        let caller = Caller {
            remote: from,
            socket: self.socket.clone(),
            inbox: receiver,
            doorway,
            shared: self.shared.clone(),
            options: self.options.clone(),
            visitor,
        };
        self.tasks.spawn(caller.run(conclusion));
    }

    /// A task has ended; without an address it has panicked.
    fn on_end(&mut self, address: Option<SocketAddr>) {
        match address {
            Some(address) => _ = self.peers.remove(&address),
            None => self.peers.retain(|_, peer| !peer.inbox.is_closed()),
        }
    }

    /// Best effort, as all datagrams are: a full socket must not hold up the others.
    fn answer(&self, reply: &[u8], to: SocketAddr) {
        let _ = self.socket.try_send_to(reply, to);
    }
}
