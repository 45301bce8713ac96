//! The session with the tracker: a WebSocket with one protobuf message in each binary
//! frame, opened again with a fresh ticket whenever it breaks. The driver feeds what it
//! brings to the core. The seeder's gRPC session offers the same two channels.
//!
//! The one rule: nothing is kept for a session that is not there. What could not be said
//! before it broke is not said after it is back; the core joins anew.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use overlay_core::wire::{FromTracker, MAX_TRACKER_MESSAGE_LEN, ToTracker};
use prost::Message as _;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{self, Instant},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error as WsError, Message as Frame, client::IntoClientRequest, protocol::WebSocketConfig,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    host::{Command, SwarmId},
    ticket::{self, Address, Ticket},
};

/// Messages on their way to the tracker. When full the session is too slow to be of use:
/// what does not fit is refused.
pub const QUEUE_LEN: usize = 256;
/// Who comes while the tracker is away is told so within this.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The tracker answers pings at least every ten seconds; silence for longer is a dead
/// session.
const SILENCE: Duration = Duration::from_secs(30);
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
const CLOSE_DEADLINE: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// With the connecting: a tracker that is back has everyone within ten seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(7);

/// What a session tells its driver.
#[derive(Debug)]
pub enum Notice {
    /// It is open: the peer may join.
    Up,
    /// It is closed; it will be opened again.
    Down,
    /// The tracker says something.
    Message(FromTracker),
    /// There is no use in trying again.
    Denied(Denial),
}

/// Where a session's notices go: to the driver, as one swarm's.
#[derive(Clone)]
pub struct Notices {
    swarm: SwarmId,
    commands: mpsc::Sender<Command>,
}

impl Notices {
    /// For the sessions of one swarm.
    #[must_use]
    pub fn new(swarm: SwarmId, commands: mpsc::Sender<Command>) -> Self {
        Self { swarm, commands }
    }

    /// Tells the driver, when it has room. Whether it is still there.
    pub async fn tell(&self, notice: Notice) -> bool {
        let command = Command::Notice(self.swarm, notice);
        self.commands.send(command).await.is_ok()
    }
}

/// Why a session will never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No such channel.
    NoSuchChannel(String),
    /// The ticket is refused.
    Ticket(String),
}

/// Keeps a session open until `shutdown`. `first` is used for the first connection;
/// after that the address is asked for a new ticket.
pub async fn run(
    address: Address,
    first: Ticket,
    mut outgoing: mpsc::Receiver<ToTracker>,
    notices: Notices,
    shutdown: CancellationToken,
) {
    let mut ticket = Some(first);
    let mut pause = Pause::default();
    let mut was_up = false;
    loop {
        let session = async {
            let opening = open(&address, ticket.take());
            let socket = tokio::select! {
                socket = opening => socket?,
                () = shutdown.cancelled() => return Ok(()),
            };
            pause.reset();
            was_up = true;
            if !notices.tell(Notice::Up).await {
                return Ok(());
            }
            let session = Session {
                socket,
                silence: SILENCE,
            };
            let broken = session.pump(&mut outgoing, &notices, &shutdown).await;
            notices.tell(Notice::Down).await;
            broken
        };
        match session.await {
            Ok(()) => return,
            // Who watches already goes on without a tracker, and asks again: what answers may
            // be a proxy, or a service that is starting.
            Err(Broken::Denied(denial)) if was_up => {
                tracing::warn!(?denial, "no session with the tracker");
            }
            Err(Broken::Denied(denial)) => {
                notices.tell(Notice::Denied(denial)).await;
                return;
            }
            Err(Broken::Full) if pause.is_first() => {
                tracing::warn!("too many viewers from this address: trying again");
            }
            Err(Broken::Full) => {}
            Err(Broken::Lost(why)) if pause.is_first() => {
                tracing::debug!(why, "no session with the tracker");
                tracing::warn!("the tracker does not answer: trying again");
            }
            Err(Broken::Lost(why)) => tracing::debug!(why, "no session with the tracker"),
        }
        while outgoing.try_recv().is_ok() {}
        tokio::select! {
            () = time::sleep(pause.next()) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

enum Broken {
    Lost(String),
    /// 429: it lets no more in from here.
    Full,
    Denied(Denial),
}

impl From<ticket::Error> for Broken {
    fn from(error: ticket::Error) -> Self {
        match error {
            ticket::Error::NoSuchChannel(name) => Self::Denied(Denial::NoSuchChannel(name)),
            ticket::Error::Refused(said) => Self::Denied(Denial::Ticket(said)),
            other => Self::Lost(other.to_string()),
        }
    }
}

async fn open(address: &Address, ticket: Option<Ticket>) -> Result<Socket, Broken> {
    match ticket {
        Some(ticket) => connect(&ticket).await,
        None => connect(&address.ticket().await?).await,
    }
}

async fn connect(ticket: &Ticket) -> Result<Socket, Broken> {
    let mut url = ticket.tracker.clone();
    url.query_pairs_mut().append_pair("ticket", &ticket.token);
    let request = url
        .as_str()
        .into_client_request()
        .map_err(|_| Broken::Lost("not an address of a tracker".into()))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_TRACKER_MESSAGE_LEN)
        .max_message_size(Some(MAX_TRACKER_MESSAGE_LEN))
        .max_frame_size(Some(MAX_TRACKER_MESSAGE_LEN));
    let connecting = connect_async_with_config(request, Some(config), true);
    match time::timeout(CONNECT_DEADLINE, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(answer))) => Err(refused(answer.status().as_u16())),
        Ok(Err(error)) => Err(Broken::Lost(error.to_string())),
        Err(_) => Err(Broken::Lost("no answer within two seconds".into())),
    }
}

fn refused(status: u16) -> Broken {
    match status {
        401 | 403 => Broken::Denied(Denial::Ticket("the tracker does not accept it".into())),
        404 => Broken::Denied(Denial::NoSuchChannel("(the tracker knows none)".into())),
        429 => Broken::Full,
        _ => Broken::Lost(format!("the tracker answers {status}")),
    }
}

/// An open connection, and how long it may be silent.
struct Session {
    socket: Socket,
    silence: Duration,
}

impl Session {
    /// Until one side is gone. `Ok` when it was the driver.
    async fn pump(
        mut self,
        outgoing: &mut mpsc::Receiver<ToTracker>,
        notices: &Notices,
        shutdown: &CancellationToken,
    ) -> Result<(), Broken> {
        let lost = |why: &str| Err(Broken::Lost(why.into()));
        // What we say is no sign that the tracker lives.
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    let _ = time::timeout(CLOSE_DEADLINE, self.socket.close(None)).await;
                    return Ok(());
                }
                message = outgoing.recv() => {
                    let Some(message) = message else {
                        return Ok(());
                    };
                    let frame = Frame::Binary(message.encode_to_vec().into());
                    match time::timeout(WRITE_DEADLINE, self.socket.send(frame)).await {
                        Ok(Ok(())) => {}
                        _ => return lost("the tracker does not read"),
                    }
                }
                frame = self.socket.next() => {
                    heard = Instant::now();
                    match frame {
                        Some(Ok(Frame::Binary(bytes))) => {
                            let Ok(message) = FromTracker::decode(bytes) else {
                                return lost("the tracker sent no message");
                            };
                            if !notices.tell(Notice::Message(message)).await {
                                return Ok(());
                            }
                        }
                        Some(Ok(Frame::Close(_))) | None => return lost("the tracker closed"),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return lost(&error.to_string()),
                    }
                }
                () = time::sleep_until(heard + self.silence) => {
                    return lost("the tracker is silent");
                }
            }
        }
    }
}

/// Doubles with each failure, with a random part so that a whole swarm does not come back
/// at the same moment.
#[derive(Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    fn reset(&mut self) {
        self.failures = 0;
    }

    fn is_first(&self) -> bool {
        self.failures == 0
    }

    fn next(&mut self) -> Duration {
        let full = (FIRST_PAUSE * 2u32.pow(self.failures.min(8))).min(LONGEST_PAUSE);
        self.failures += 1;
        let part = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
        full.mul_f64(0.5 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use overlay_core::wire::{Ping, Pong, from_tracker, to_tracker};
    use stripe::ChannelId;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;
    use crate::host;

    fn ticket(port: u16) -> Ticket {
        Ticket {
            token: "t".into(),
            tracker: format!("ws://127.0.0.1:{port}/").parse().unwrap(),
            channel: "demo".into(),
            channel_id: ChannelId([0; 16]),
            channel_key: [0; 32],
            play_out_delay: Duration::from_secs(1),
            upload_max_bps: None,
            turn: Vec::new(),
        }
    }

    fn ping(stamp_us: u64) -> ToTracker {
        to_tracker::Kind::Ping(Ping { stamp_us }).into()
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut pause = Pause::default();
        assert!(pause.next() <= FIRST_PAUSE);
        for _ in 0..20 {
            assert!(pause.next() <= LONGEST_PAUSE);
        }
        assert!(pause.next() >= LONGEST_PAUSE / 2);
    }

    #[tokio::test]
    async fn a_session_carries_messages_both_ways_and_says_when_it_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tracker = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            let frame = socket.next().await.unwrap().unwrap();
            assert_eq!(ToTracker::decode(frame.into_data()).unwrap(), ping(7));
            let pong = from_tracker::Kind::Pong(Pong {
                stamp_us: 7,
                wall_us: 9,
            });
            let bytes = FromTracker::from(pong).encode_to_vec();
            socket.send(Frame::Binary(bytes.into())).await.unwrap();
            socket.close(None).await.unwrap();
        };
        let (to, outgoing) = mpsc::channel(QUEUE_LEN);
        let shutdown = CancellationToken::new();
        let (commands, mut told) = host::commands();
        let notices = Notices::new(SwarmId(3), commands);
        let address = Address::parse("http://127.0.0.1:9/demo").unwrap();
        let session = run(address, ticket(port), outgoing, notices, shutdown.clone());
        let driver = async {
            let mut seen = Vec::new();
            while let Some(Command::Notice(SwarmId(3), notice)) = told.recv().await {
                seen.push(format!("{notice:?}"));
                match notice {
                    Notice::Up => to.send(ping(7)).await.unwrap(),
                    Notice::Down => shutdown.cancel(),
                    _ => {}
                }
            }
            seen
        };
        let ((), (), seen) = tokio::join!(tracker, session, driver);
        assert!(
            seen[0] == "Up" && seen[1].contains("Pong") && seen[2] == "Down",
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_mute_tracker_is_left_however_much_the_peer_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tracker = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        };
        let (to, mut outgoing) = mpsc::channel(QUEUE_LEN);
        let talks = async {
            while to.send(ping(1)).await.is_ok() {
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (commands, _told) = host::commands();
        let notices = Notices::new(SwarmId(0), commands);
        let session = async move {
            let Ok(socket) = connect(&ticket(port)).await else {
                panic!("no connection");
            };
            let silence = Duration::from_millis(200);
            let session = Session { socket, silence };
            session
                .pump(&mut outgoing, &notices, &CancellationToken::new())
                .await
        };
        let all = async { tokio::join!(tracker, talks, session) };
        let ended = time::timeout(Duration::from_secs(10), all).await;
        let ((), (), ended) = ended.expect("the session goes on");
        assert!(matches!(ended, Err(Broken::Lost(why)) if why == "the tracker is silent"));
    }

    #[tokio::test]
    async fn a_refused_ticket_ends_it() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tracker = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let len = stream.read(&mut request).await.unwrap();
            assert!(request[..len].starts_with(b"GET /?ticket=t "));
            let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        };
        let (_to, outgoing) = mpsc::channel(1);
        let (commands, mut told) = host::commands();
        let notices = Notices::new(SwarmId(0), commands);
        let address = Address::parse("http://127.0.0.1:9/demo").unwrap();
        let shutdown = CancellationToken::new();
        let session = run(address, ticket(port), outgoing, notices, shutdown);
        tokio::join!(tracker, session);
        let told = told.try_recv();
        let denial = |told| matches!(told, Command::Notice(_, Notice::Denied(Denial::Ticket(_))));
        assert!(told.is_ok_and(denial));
    }
}
