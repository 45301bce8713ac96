//! The driver's one connection to a TURN server that is reached by TCP. It dials, reads and
//! writes; what the bytes are is the links' affair.
//!
//! The one rule: a message is queued whole or not at all, since half a message would spoil
//! all that follow.

use std::{
    collections::VecDeque,
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
};

use tokio::{io::Interest, net::TcpStream};

/// Bytes that wait for the network: a third of a second of 5 Mbit/s. What finds no room is
/// lost, as a datagram would be.
const MAX_UNSENT: usize = 256 * 1024;
/// Read at once.
const MAX_READ: usize = 64 * 1024;

type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The connection, or none.
#[derive(Default)]
pub struct Stream {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Dialling(SocketAddr, Dial),
    Open(SocketAddr, Box<Open>),
}

struct Open {
    stream: TcpStream,
    unsent: VecDeque<u8>,
}

/// What has become of it.
#[derive(Debug)]
pub enum Happened {
    /// It is made, from this address of ours.
    Up(SocketAddr),
    /// It brought this.
    Received(Vec<u8>),
    /// It could not be made, or has ended.
    Down,
}

impl Stream {
    /// Sees to it that there is a connection to this address and to no other.
    pub fn set(&mut self, to: Option<SocketAddr>) {
        let now = match &self.state {
            State::None => None,
            State::Dialling(at, _) | State::Open(at, _) => Some(*at),
        };
        if now != to {
            self.state = match to {
                Some(to) => State::Dialling(to, Box::pin(TcpStream::connect(to))),
                None => State::None,
            };
        }
    }

    /// Waits for whatever comes next; for ever while there is none. Nothing is lost when the
    /// wait is given up.
    pub async fn next(&mut self) -> Happened {
        match &mut self.state {
            State::None => pending().await,
            State::Dialling(to, dial) => {
                let dialled = dial.await;
                let to = *to;
                let opened = dialled.and_then(|stream| {
                    stream.set_nodelay(true)?;
                    Ok((stream.local_addr()?, stream))
                });
                let Ok((local, stream)) = opened else {
                    return self.down();
                };
                let unsent = VecDeque::new();
                self.state = State::Open(to, Box::new(Open { stream, unsent }));
                Happened::Up(local)
            }
            State::Open(_, open) => match open.next().await {
                Ok(bytes) => Happened::Received(bytes),
                Err(_) => self.down(),
            },
        }
    }

    /// Sends a message, when there is room for all of it.
    pub fn send(&mut self, message: &[u8]) {
        if let State::Open(_, open) = &mut self.state
            && open.unsent.len() + message.len() <= MAX_UNSENT
        {
            open.unsent.extend(message);
            // What went wrong comes out when the connection is next read.
            let _ = open.flush();
        }
    }

    fn down(&mut self) -> Happened {
        self.state = State::None;
        Happened::Down
    }
}

impl Open {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let wanted = match self.unsent.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = self.stream.ready(wanted).await?;
            if ready.is_writable() {
                self.flush()?;
            }
            let mut bytes = vec![0; MAX_READ];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    bytes.truncate(len);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match self.stream.try_write(front) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn carries_both_ways_until_the_other_end_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = Stream::default();
        stream.send(b"nobody hears this");
        stream.set(Some(listener.local_addr().unwrap()));
        assert!(matches!(stream.next().await, Happened::Up(_)));
        let (mut other, _) = listener.accept().await.unwrap();
        stream.send(b"there");
        let mut came = [0; 5];
        other.read_exact(&mut came).await.unwrap();
        other.write_all(b"back").await.unwrap();
        assert!(matches!(stream.next().await, Happened::Received(bytes) if bytes == b"back"));
        drop(other);
        assert!(matches!(stream.next().await, Happened::Down));
        // Whoever still wants it dials again.
        stream.set(Some(listener.local_addr().unwrap()));
        assert!(matches!(stream.next().await, Happened::Up(_)));
    }

    #[tokio::test]
    async fn who_does_not_read_gets_whole_messages_and_no_more_than_there_is_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = Stream::default();
        stream.set(Some(listener.local_addr().unwrap()));
        stream.next().await;
        let (mut other, _) = listener.accept().await.unwrap();
        for _ in 0..20_000 {
            stream.send(&[7; 1000]);
        }
        let State::Open(_, open) = &stream.state else {
            panic!("it is open");
        };
        assert!(open.unsent.len() <= MAX_UNSENT);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            other.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        let waits = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(waits, stream.next()).await.is_err());
        stream.set(None);
        let came = reading.await.unwrap();
        assert!(came > 0 && came % 1000 == 0, "{came}");
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = listener.local_addr().unwrap();
        drop(listener);
        let mut stream = Stream::default();
        stream.set(Some(gone));
        assert!(matches!(stream.next().await, Happened::Down));
    }
}
