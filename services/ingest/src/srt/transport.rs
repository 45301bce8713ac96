//! An accepted connection: packets in, messages out in their order and at their time; what is
//! missing is asked for until it is too late.
//!
//! The one rule: when nobody takes the messages they wait, within the bounds that the sender
//! was told; then the sender waits or drops.

use std::{
    io::Cursor,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use srt_protocol::{
    connection::{Connection, ConnectionSettings, DuplexConnection},
    options::{LiveBandwidthMode, PacketCount, PacketSize},
    packet::{ControlTypes, Packet, SeqNumber, SocketId},
    protocol::handshake::Handshake as Repeated,
    settings::CipherSettings,
};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{sleep_until, timeout},
};

use super::{
    handshake::{self, Handshake},
    screen::{self, Kind},
};

/// What a caller and we have agreed on.
pub(super) struct Agreed {
    pub(super) remote: SocketAddr,
    pub(super) caller_id: u32,
    pub(super) socket_id: u32,
    pub(super) first_sequence: u32,
    pub(super) latency: Duration,
    pub(super) cipher: Option<CipherSettings>,
    /// The handshake that said so, to be said again when it was lost.
    pub(super) acceptance: Vec<u8>,
}

/// The connection's state.
pub(super) struct Transport {
    connection: DuplexConnection,
    socket: Arc<UdpSocket>,
    inbox: mpsc::Receiver<Bytes>,
    agreed: Agreed,
    batch: Vec<Bytes>,
    buffer: BytesMut,
    heard: Instant,
    shut_down: bool,
}

/// What comes out.
#[derive(Debug)]
pub(super) enum Message {
    /// Bytes of the broadcast.
    Media(Bytes),
    /// Some were lost for good here.
    Gap,
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The broadcaster said so.
    Shutdown,
    /// It says nothing any more, or starts anew.
    Gone,
}

/// Packets that we hold until their time: as many as libsrt does, 13 s of 6 Mbit/s.
pub(super) const WINDOW: u32 = 8192;
/// After so long without a packet a broadcaster is gone: what libsrt takes for it
/// (SRTO_PEERIDLETIMEO). Its callers send something every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Timers are looked at this often at most, also when what is due has to wait: SRT's own
/// interval (draft-sharabayko-srt-01, 4.8.1).
const TICK: Duration = Duration::from_millis(10);
/// And never sooner than this, whatever is due: the system's timers count in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
/// A datagram that the system does not take within this is lost, as others are.
const SEND_DEADLINE: Duration = Duration::from_millis(100);
/// Packets taken before messages are looked at.
const BATCH: usize = 64;
/// Figures are nobody's concern here.
const STATISTICS_EVERY: Duration = Duration::from_secs(3600);

impl Transport {
    pub(super) fn new(
        agreed: Agreed,
        socket: Arc<UdpSocket>,
        inbox: mpsc::Receiver<Bytes>,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection: DuplexConnection::new(connection(&agreed, now)),
            socket,
            inbox,
            agreed,
            batch: Vec::with_capacity(BATCH),
            buffer: BytesMut::new(),
            heard: now,
            shut_down: false,
        }
    }

    /// Carries until one side has had enough; not longer than `messages` lives.
    pub(super) async fn run(&mut self, messages: mpsc::Sender<Message>) -> End {
        self.send(&self.agreed.acceptance).await;
        while self.connection.is_open() {
            self.send_packets().await;
            self.release(&messages);
            let silent_at = self.heard + SILENCE;
            let due = self.connection.check_timers(Instant::now());
            // What waits for room is always due.
            let pause = match messages.capacity() {
                0 => TICK,
                _ => SHORTEST,
            };
            let due = due.max(Instant::now() + pause);
            // After a goodbye silence means nothing, however long the rest takes.
            let wake = match self.shut_down {
                true => due,
                false => due.min(silent_at),
            };
            tokio::select! {
                count = self.inbox.recv_many(&mut self.batch, BATCH) => {
                    if count == 0 || !self.take_all().await {
                        return End::Gone;
                    }
                }
                () = sleep_until(wake.into()) => {
                    if !self.shut_down && Instant::now() >= silent_at {
                        return End::Gone;
                    }
                }
                () = messages.closed() => return End::Gone,
            }
        }
        match self.shut_down {
            true => End::Shutdown,
            false => End::Gone,
        }
    }

    /// Tells the broadcaster that this is the end.
    pub(super) async fn shut_down(&self) {
        self.send(&handshake::shutdown(self.agreed.caller_id)).await;
    }

    /// What came; `false` when its sender has started anew.
    async fn take_all(&mut self) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        for bytes in batch.drain(..) {
            match Handshake::read(&bytes) {
                None => self.take(&bytes),
                Some(again) if again.caller_id() == self.agreed.caller_id => {
                    self.send(&self.agreed.acceptance).await;
                }
                Some(_) => return false,
            }
        }
        self.batch = batch;
        true
    }

    fn take(&mut self, bytes: &[u8]) {
        let kind = screen::kind(bytes);
        if kind == Kind::Other {
            return;
        }
        let ipv6 = self.agreed.remote.is_ipv6();
        if let Ok(packet) = Packet::parse(&mut Cursor::new(bytes), ipv6)
            && packet.dest_sockid().0 == self.agreed.socket_id
        {
            let now = Instant::now();
            self.heard = now;
            self.shut_down |= kind == Kind::Shutdown;
            let packet = Ok((packet, self.agreed.remote));
            self.connection.handle_packet_input(now, packet);
        }
    }

    async fn send_packets(&mut self) {
        while let Some((packet, _)) = self.connection.next_packet(Instant::now()) {
            self.buffer.clear();
            packet.serialize(&mut self.buffer);
            self.send(&self.buffer).await;
        }
    }

    /// Gives what is due, as far as there is room for it.
    fn release(&mut self, messages: &mpsc::Sender<Message>) {
        while let Ok(room) = messages.try_reserve() {
            let lost = self.connection.statistics().rx_dropped_data;
            let media = self.connection.next_data(Instant::now());
            let gap = self.connection.statistics().rx_dropped_data != lost;
            match media {
                Some((_, bytes)) => room.send(Message::Media(bytes)),
                None if gap => room.send(Message::Gap),
                None => break,
            }
        }
    }

    async fn send(&self, bytes: &[u8]) {
        let sent = self.socket.send_to(bytes, self.agreed.remote);
        let _ = timeout(SEND_DEADLINE, sent).await;
    }
}

fn connection(agreed: &Agreed, now: Instant) -> Connection {
    Connection {
        settings: ConnectionSettings {
            remote: agreed.remote,
            remote_sockid: SocketId(agreed.caller_id),
            local_sockid: SocketId(agreed.socket_id),
            // The caller's clock is learnt from its first control packet.
            socket_start_time: now,
            rtt: Duration::ZERO,
            init_seq_num: SeqNumber::new_truncate(agreed.first_sequence),
            max_packet_size: PacketSize(1500),
            max_flow_size: PacketCount(WINDOW.into()),
            // Also how long the last packets may take after a shutdown: twice this.
            send_tsbpd_latency: agreed.latency,
            recv_tsbpd_latency: agreed.latency,
            too_late_packet_drop: true,
            peer_idle_timeout: SILENCE,
            recv_buffer_size: PacketCount(WINDOW.into()),
            // We send no media.
            send_buffer_size: PacketCount(16),
            cipher: agreed.cipher.clone(),
            stream_id: None,
            bandwidth: LiveBandwidthMode::default(),
            statistics_interval: STATISTICS_EVERY,
        },
        // Repeated handshakes are answered here and never reach it.
        handshake: Repeated::Listener(ControlTypes::KeepAlive),
    }
}
