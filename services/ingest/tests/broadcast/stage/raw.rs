//! An RTMP client of a few lines, for what ffmpeg would not send.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use media::rtmp::{
    amf::{Member, Writer as Amf},
    chunk::{Message, Writer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// C0, C1 and a C2 that no server looks at.
pub(crate) fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

pub(crate) struct Client {
    socket: TcpStream,
    writer: Writer,
    said: Vec<u8>,
    stamp: u32,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&handshake()).await?;
        Ok(Self {
            socket,
            writer: Writer::new(),
            said: Vec::new(),
            stamp: 0,
        })
    }

    pub(crate) async fn set_chunk_len(&mut self, len: u32) -> Result<()> {
        self.send(1, 0, Bytes::copy_from_slice(&len.to_be_bytes()))
            .await?;
        self.writer.set_chunk_len(len);
        Ok(())
    }

    /// Asks to publish; gives all that the server said up to its status.
    pub(crate) async fn publish(&mut self, key: &str) -> Result<String> {
        let connect = Amf::command("connect", 1.0).object(&[("app", Member::Text("live"))]);
        self.send(20, 0, connect.finish().freeze()).await?;
        let create = Amf::command("createStream", 2.0).null();
        self.send(20, 0, create.finish().freeze()).await?;
        let publish = Amf::command("publish", 3.0)
            .null()
            .string(key)
            .string("live");
        self.send(20, 1, publish.finish().freeze()).await?;
        self.until_status("onStatus").await
    }

    /// Publishes, sends one tag, gives what the server says to it.
    pub(crate) async fn publish_tag(&mut self, key: &str, kind: u8, tag: &[u8]) -> Result<String> {
        self.publish(key).await?;
        self.said.clear();
        self.send(kind, 1, Bytes::copy_from_slice(tag)).await?;
        self.until_status("onStatus").await
    }

    /// Publishes keyframes as fast as the server takes them; says how many bytes it took.
    pub(crate) async fn flood(&mut self, most: usize, limit: Duration) -> Result<usize> {
        const HEADER: &[u8] = b"\x17\0\0\0\0\x01\x42\0\x1e\xff\xe1\0\x08\x67\x42\0\x1e\xf4\x05\x01\xec\x01\0\x02\x68\xce";
        self.send(9, 1, Bytes::from_static(HEADER)).await?;
        let len: usize = 100_000;
        let mut picture = b"\x17\x01\0\0\0".to_vec();
        picture.extend((len as u32).to_be_bytes());
        picture.resize(picture.len() + len, 0x65);
        let picture = Bytes::from(picture);
        let deadline = Instant::now() + limit;
        let mut sent = 0;
        while sent < most {
            self.stamp += 33;
            match timeout_at(deadline, self.send(9, 1, picture.clone())).await {
                Ok(done) => done?,
                Err(_) => break,
            }
            sent += picture.len();
        }
        Ok(sent)
    }

    /// All that the server says until it closes.
    pub(crate) async fn until_closed(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        while self.read(deadline).await? > 0 {}
        Ok(String::from_utf8_lossy(&self.said).into_owned())
    }

    async fn until_status(&mut self, word: &str) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(6);
        loop {
            let said = String::from_utf8_lossy(&self.said).into_owned();
            if said.contains(word) && said.contains("description") {
                return Ok(said);
            }
            if self.read(deadline).await? == 0 {
                anyhow::bail!("closed without a status");
            }
        }
    }

    async fn read(&mut self, deadline: Instant) -> Result<usize> {
        let mut buffer = [0; 4096];
        let read = timeout_at(deadline, self.socket.read(&mut buffer));
        let len = read.await.context("no answer in time")??;
        self.said.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    async fn send(&mut self, kind: u8, stream: u32, payload: Bytes) -> Result<()> {
        let message = Message {
            kind,
            stream,
            timestamp: self.stamp,
            payload,
        };
        let mut out = BytesMut::new();
        self.writer.put(&mut out, 3, &message);
        Ok(self.socket.write_all(&out).await?)
    }
}
