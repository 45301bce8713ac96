//! An SRT caller of a few lines, for what ffmpeg would not send and does not tell.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

/// Where a handshake's fields stand.
const VERSION: usize = 16;
const EXTENSIONS: usize = 20;
const TYPE: usize = 36;
const SOCKET_ID: usize = 40;
const COOKIE: usize = 44;

pub(crate) struct Caller {
    pub(crate) socket: UdpSocket,
    /// The listener's number for the connection.
    id: u32,
}

/// What a listener answers to a conclusion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// With a reason, as libsrt counts them.
    Refused(u32),
}

impl Caller {
    pub(crate) async fn connect(listener: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(listener).await?;
        Ok(Self { socket, id: 0 })
    }

    /// The whole handshake.
    pub(crate) async fn call(&mut self, stream_id: &str) -> Result<Answer> {
        self.socket.send(&induction()).await?;
        let cookie = word(&self.receive().await?, COOKIE);
        self.conclude(cookie, stream_id).await
    }

    pub(crate) async fn conclude(&mut self, cookie: u32, stream_id: &str) -> Result<Answer> {
        self.socket.send(&conclusion(cookie, stream_id)).await?;
        let answer = self.receive().await?;
        self.id = word(&answer, SOCKET_ID);
        Ok(match word(&answer, TYPE) {
            u32::MAX => Answer::Accepted,
            reason => Answer::Refused(reason - 1000),
        })
    }

    /// A packet with its header's first word and what follows the header.
    pub(crate) async fn send(&self, first: u32, payload: &[u8]) -> Result<()> {
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend([0xe0, 0, 0, 1, 0, 0, 0, 0]);
        packet.extend(self.id.to_be_bytes());
        packet.extend(payload);
        self.socket.send(&packet).await?;
        Ok(())
    }

    /// Waits until the listener says that it is over.
    pub(crate) async fn until_shut_down(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let packet = timeout_at(deadline, self.receive()).await;
            let packet = packet.context("no shutdown in time")??;
            if packet[..2] == [0x80, 5] {
                return Ok(());
            }
        }
    }

    async fn receive(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        let deadline = Instant::now() + Duration::from_secs(6);
        let received = timeout_at(deadline, self.socket.recv(&mut buffer)).await;
        let len = received.context("no answer in time")??;
        buffer.truncate(len);
        Ok(buffer)
    }
}

pub(crate) fn induction() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 0x80;
    put(&mut bytes, VERSION, 4);
    put(&mut bytes, EXTENSIONS, 2);
    put(&mut bytes, TYPE, 1);
    put(&mut bytes, SOCKET_ID, 77);
    bytes
}

pub(crate) fn conclusion(cookie: u32, stream_id: &str) -> Vec<u8> {
    let mut bytes = induction();
    put(&mut bytes, VERSION, 5);
    put(&mut bytes, EXTENSIONS, 5);
    put(&mut bytes, TYPE, u32::MAX);
    put(&mut bytes, COOKIE, cookie);
    bytes.extend([0, 1, 0, 3, 0, 1, 5, 0, 0, 0, 0, 0xbf, 0, 20, 0, 20]);
    let mut text = stream_id.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(4), 0);
    bytes.extend([0, 5]);
    bytes.extend(((text.len() / 4) as u16).to_be_bytes());
    bytes.extend(text.chunks(4).flat_map(|word| word.iter().rev().copied()));
    bytes
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    u32::from_be_bytes(word.unwrap_or_default())
}
