//! A program's one UDP socket: big buffers, reads in batches, and the addresses under which
//! others can reach it. The driver owns it; nothing else touches the network's datagrams.
//!
//! The one rule: a batch is bounded, so that timers are never starved by a flood.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdSocket},
};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::UdpSocket;

/// Receive and send buffer: 4 MiB hold 0.4 s of 80 Mbit/s.
const BUFFER_LEN: usize = 4 << 20;
/// Datagrams that are read before timers are looked at again.
pub const MAX_BATCH: usize = 64;
/// Longest datagram that is read whole. Ours have at most 1,200 bytes.
const MAX_DATAGRAM: usize = 2048;

/// The socket and one reading buffer.
pub struct Socket {
    inner: UdpSocket,
    local: SocketAddr,
    buffer: Box<[u8; MAX_DATAGRAM]>,
}

impl Socket {
    /// Binds. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let raw = RawSocket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        raw.set_nonblocking(true)?;
        raw.bind(&address.into())?;
        Self::new(raw.into())
    }

    /// Takes a bound socket over.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new(socket: StdSocket) -> io::Result<Self> {
        let raw = RawSocket::from(socket);
        raw.set_nonblocking(true)?;
        // The kernel caps both at its own limits, silently.
        raw.set_recv_buffer_size(BUFFER_LEN)?;
        raw.set_send_buffer_size(BUFFER_LEN)?;
        let inner = UdpSocket::from_std(raw.into())?;
        Ok(Self {
            local: inner.local_addr()?,
            inner,
            buffer: Box::new([0; MAX_DATAGRAM]),
        })
    }

    /// What it is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Where others can reach it: its own address, or if that is unspecified the address of
    /// the interface that leads to `toward`.
    #[must_use]
    pub fn reachable(&self, toward: SocketAddr) -> Vec<SocketAddr> {
        if !self.local.ip().is_unspecified() {
            return vec![self.local];
        }
        let found = interface_toward(toward).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        vec![SocketAddr::new(found, self.local.port())]
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn readable(&self) -> io::Result<()> {
        self.inner.readable().await
    }

    /// Waits until there is room to send.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn writable(&self) -> io::Result<()> {
        self.inner.writable().await
    }

    /// The next datagram, if one is there. Errors that a sent datagram brought back (an
    /// unreachable port) are skipped.
    pub fn try_receive(&mut self) -> Option<(SocketAddr, &[u8])> {
        for _ in 0..MAX_BATCH {
            match self.inner.try_recv_from(&mut self.buffer[..]) {
                Ok((len, from)) => return Some((from, &self.buffer[..len])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// Sends, or says that there is no room. Any other error loses the datagram, as the
    /// network might.
    pub fn try_send(&self, to: SocketAddr, bytes: &[u8]) -> Sent {
        match self.inner.try_send_to(bytes, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Full,
            _ => Sent::Done,
        }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The network has it.
    Done,
    /// Try again when [`Socket::writable`].
    Full,
}

/// The local address that the routing table picks; nothing is sent.
fn interface_toward(toward: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if toward.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let probe = StdSocket::bind(any).ok()?;
    probe.connect(toward).ok()?;
    Some(probe.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn knows_where_it_is_reached() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = Socket::bind(loopback).unwrap();
        assert_eq!(socket.reachable(loopback), [socket.local()]);
        let any = Socket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let toward: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let reached = any.reachable(toward);
        assert_eq!(reached[0].ip(), toward.ip());
        assert_eq!(reached[0].port(), any.local().port());
    }

    #[tokio::test]
    async fn sends_and_reads() {
        let mut a = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let b = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(a.try_receive().is_none());
        b.writable().await.unwrap();
        assert_eq!(b.try_send(a.local(), b"piece"), Sent::Done);
        a.readable().await.unwrap();
        let (from, bytes) = a.try_receive().unwrap();
        assert_eq!((from, bytes), (b.local(), &b"piece"[..]));
    }
}
