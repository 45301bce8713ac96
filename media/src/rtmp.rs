//! A broadcaster's RTMP connection, the server's side, without I/O: ingest feeds bytes
//! and gets events, and bytes to send back.
//!
//! The one rule: after every [`Session::receive`], [`Session::accept`] and
//! [`Session::refuse`] call [`Session::poll`] until it answers `None`, then send what
//! [`Session::take_output`] gives before receiving more. So a peer that does not read
//! cannot make answers pile up.

pub mod amf;
pub mod chunk;
pub mod handshake;

use amf::{Member, Value};
use bytes::{Buf, Bytes, BytesMut};
use chunk::{Limits, Message};
use handshake::Handshake;

/// One connection.
pub struct Session {
    phase: Phase,
    handshake: Option<Handshake>,
    reader: chunk::Reader,
    writer: chunk::Writer,
    output: BytesMut,
    app: String,
    received: u32,
    acknowledged: u32,
    window: u32,
}

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Someone wants to publish: nothing more is read until [`Session::accept`] or
    /// [`Session::refuse`].
    PublishRequest(PublishRequest),
    /// The body of an FLV audio tag.
    Audio(Tag),
    /// The body of an FLV video tag.
    Video(Tag),
    /// The broadcaster is done.
    Unpublish,
}

/// What the broadcaster typed. The key is a secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// The URL's path.
    pub app: String,
    /// The stream key.
    pub key: String,
}

impl std::fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishRequest")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

/// A tag body with its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Milliseconds; wraps.
    pub timestamp: u32,
    /// As FLV has it, see [`crate::flv`].
    pub body: Bytes,
}

/// Why the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// See [`handshake::Error`].
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// See [`chunk::Error`].
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// See [`amf::Error`].
    #[error("command: {0}")]
    Command(#[from] amf::Error),
    /// A control message shorter than its fields.
    #[error("control message is cut short")]
    ShortControl,
    /// Something other than publishing.
    #[error("only publishing is served")]
    NotPublishing,
    /// A second publish on one connection.
    #[error("already publishing")]
    AlreadyPublishing,
    /// An application name or key beyond all reason.
    #[error("name is too long")]
    NameTooLong,
}

/// Bytes we let a peer send unacknowledged, and it us: what servers usually say.
const WINDOW: u32 = 2_500_000;
/// All our messages fit one chunk.
const OUT_CHUNK_LEN: u32 = 4096;
/// The one message stream a connection gets.
const STREAM: u32 = 1;
/// Longest application name or stream key.
const MAX_NAME_LEN: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshake,
    Fresh,
    Connected,
    Asked,
    Publishing,
    Closed,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: Phase::Handshake,
            handshake: Some(Handshake::new()),
            reader: chunk::Reader::new(Limits::STRANGER),
            writer: chunk::Writer::new(),
            output: BytesMut::new(),
            app: String::new(),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
        }
    }

    /// Bytes from the broadcaster. Hand in at most some 16 KiB at a time: they are held
    /// until polled.
    pub fn receive(&mut self, bytes: &[u8]) {
        match &mut self.handshake {
            Some(handshake) => handshake.receive(bytes),
            None => self.reader.receive(bytes),
        }
        self.received = self.received.wrapping_add(bytes.len() as u32);
        let unacknowledged = self.received.wrapping_sub(self.acknowledged);
        if self.handshake.is_none() && unacknowledged >= self.window {
            self.acknowledged = self.received;
            self.put_control(3, &self.received.to_be_bytes());
        }
    }

    /// The next event, or `None` when more bytes (or an answer to a request) are needed.
    ///
    /// # Errors
    /// When the peer breaks the protocol or a limit: send what is left and close.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        if let Some(handshake) = &mut self.handshake {
            let Some(rest) = handshake.poll(&mut self.output)? else {
                return Ok(None);
            };
            self.handshake = None;
            self.phase = Phase::Fresh;
            self.reader.receive(&rest);
        }
        while !matches!(self.phase, Phase::Asked | Phase::Closed) {
            let Some(message) = self.reader.poll()? else {
                return Ok(None);
            };
            if let Some(event) = self.on_message(message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What is to be sent, if anything.
    pub fn take_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// The broadcaster may publish; media follow.
    pub fn accept(&mut self) {
        self.phase = Phase::Publishing;
        self.reader.set_limits(Limits::BROADCASTER);
        let stream_begin = [0, 0, 0, 0, 0, STREAM as u8];
        self.put_control(4, &stream_begin);
        self.put_status("status", "NetStream.Publish.Start", "publishing");
    }

    /// The broadcaster may not publish, or no longer: says why, for people to read. Send
    /// the output and close.
    pub fn refuse(&mut self, code: &str, description: &str) {
        self.phase = Phase::Closed;
        self.put_status("error", code, description);
    }

    /// Bytes held for this connection, its unsent output included.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let handshake = self.handshake.as_ref().map_or(0, Handshake::held_len);
        handshake + self.reader.held_len() + self.output.len()
    }

    fn on_message(&mut self, message: Message) -> Result<Option<Event>, Error> {
        match message.kind {
            1..=6 => self
                .on_control(message.kind, &message.payload)
                .map(|()| None),
            8 | 9 if self.phase == Phase::Publishing && !message.payload.is_empty() => {
                let tag = Tag {
                    timestamp: message.timestamp,
                    body: message.payload,
                };
                Ok(Some(match message.kind {
                    8 => Event::Audio(tag),
                    _ => Event::Video(tag),
                }))
            }
            20 => self.on_command(&message.payload),
            // AMF3 commands of Flash-era encoders: one byte, then AMF0 after all.
            17 => self.on_command(message.payload.get(1..).unwrap_or_default()),
            _ => Ok(None),
        }
    }

    fn on_control(&mut self, kind: u8, mut payload: &[u8]) -> Result<(), Error> {
        if kind == 4 {
            return self.on_user_control(payload);
        }
        let value = payload.try_get_u32().map_err(|_| Error::ShortControl)?;
        match kind {
            1 => self.reader.set_chunk_len(value)?,
            2 => self.reader.abort(value),
            5 => self.window = value.max(4096),
            6 => self.put_control(5, &WINDOW.to_be_bytes()),
            _ => {}
        }
        Ok(())
    }

    fn on_user_control(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        let event = payload.try_get_u16().map_err(|_| Error::ShortControl)?;
        if event == 6 {
            let time = payload.try_get_u32().map_err(|_| Error::ShortControl)?;
            let mut pong = [0, 7, 0, 0, 0, 0];
            pong[2..].copy_from_slice(&time.to_be_bytes());
            self.put_control(4, &pong);
        }
        Ok(())
    }

    fn on_command(&mut self, payload: &[u8]) -> Result<Option<Event>, Error> {
        let values = amf::read_all(payload)?;
        let name = values.first().and_then(Value::as_str).unwrap_or_default();
        let transaction = match values.get(1) {
            Some(Value::Number(number)) => *number,
            _ => 0.0,
        };
        match name {
            "connect" => self.on_connect(transaction, values.get(2))?,
            "createStream" => {
                let reply = amf::Writer::command("_result", transaction)
                    .null()
                    .number(f64::from(STREAM));
                self.put_command(0, reply);
            }
            "releaseStream" | "FCPublish" => {
                self.put_command(0, amf::Writer::command("_result", transaction).null());
            }
            "publish" => return self.on_publish(values.get(3)).map(Some),
            "FCUnpublish" | "deleteStream" | "closeStream" if self.phase == Phase::Publishing => {
                self.phase = Phase::Closed;
                return Ok(Some(Event::Unpublish));
            }
            "play" | "play2" => return Err(Error::NotPublishing),
            _ => {}
        }
        Ok(None)
    }

    fn on_connect(&mut self, transaction: f64, object: Option<&Value>) -> Result<(), Error> {
        if self.phase != Phase::Fresh {
            return Ok(());
        }
        let app = object.and_then(|o| o.get("app")).and_then(Value::as_str);
        self.app = name(app.unwrap_or_default())?;
        self.phase = Phase::Connected;
        self.put_control(5, &WINDOW.to_be_bytes());
        let mut bandwidth = WINDOW.to_be_bytes().to_vec();
        bandwidth.push(2);
        self.put_control(6, &bandwidth);
        self.put_control(1, &OUT_CHUNK_LEN.to_be_bytes());
        self.writer.set_chunk_len(OUT_CHUNK_LEN);
        let reply = amf::Writer::command("_result", transaction)
            .object(&[
                ("fmsVer", Member::Text("FMS/3,0,1,123")),
                ("capabilities", Member::Number(31.0)),
            ])
            .object(&[
                ("level", Member::Text("status")),
                ("code", Member::Text("NetConnection.Connect.Success")),
                ("description", Member::Text("connected")),
                ("objectEncoding", Member::Number(0.0)),
            ]);
        self.put_command(0, reply);
        Ok(())
    }

    fn on_publish(&mut self, key: Option<&Value>) -> Result<Event, Error> {
        match self.phase {
            Phase::Connected => {}
            Phase::Publishing => return Err(Error::AlreadyPublishing),
            _ => return Err(Error::NotPublishing),
        }
        let key = name(key.and_then(Value::as_str).unwrap_or_default())?;
        self.phase = Phase::Asked;
        Ok(Event::PublishRequest(PublishRequest {
            app: self.app.clone(),
            key,
        }))
    }

    fn put_status(&mut self, level: &str, code: &str, description: &str) {
        let status = amf::Writer::command("onStatus", 0.0).null().object(&[
            ("level", Member::Text(level)),
            ("code", Member::Text(code)),
            ("description", Member::Text(description)),
        ]);
        self.put_command(STREAM, status);
    }

    fn put_command(&mut self, stream: u32, command: amf::Writer) {
        let message = Message {
            kind: 20,
            stream,
            timestamp: 0,
            payload: command.finish().freeze(),
        };
        self.writer.put(&mut self.output, 3, &message);
    }

    fn put_control(&mut self, kind: u8, payload: &[u8]) {
        let message = Message {
            kind,
            stream: 0,
            timestamp: 0,
            payload: Bytes::copy_from_slice(payload),
        };
        self.writer.put(&mut self.output, 2, &message);
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

fn name(text: &str) -> Result<String, Error> {
    if text.len() > MAX_NAME_LEN {
        return Err(Error::NameTooLong);
    }
    Ok(text.to_owned())
}
