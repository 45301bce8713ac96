//! RTMP's chunk stream (Adobe's specification, section 5.3): messages cut into chunks
//! that interleave, put together again within a budget, and written.
//!
//! The one rule: memory grows with what has arrived, never with what was declared.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// RTMP's message type id.
    pub kind: u8,
    /// RTMP's message stream id.
    pub stream: u32,
    /// Milliseconds; wraps.
    pub timestamp: u32,
    /// The message's body.
    pub payload: Bytes,
}

/// What one connection may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest message.
    pub message_len: usize,
    /// All unfinished messages together.
    pub held_len: usize,
    /// Chunk streams in use.
    pub chunk_streams: usize,
}

impl Limits {
    /// Of someone who has not shown a key: commands only. Buffers may be twice as large as
    /// what is in them, so this keeps a connection below 256 KiB.
    pub const STRANGER: Self = Self {
        message_len: 64 * 1024,
        held_len: 96 * 1024,
        chunk_streams: 16,
    };
    /// Of a broadcaster: a keyframe of a very good picture.
    pub const BROADCASTER: Self = Self {
        message_len: 2 * 1024 * 1024,
        held_len: 4 * 1024 * 1024,
        chunk_streams: 64,
    };
}

/// Why a peer's chunks cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message longer than allowed was announced.
    #[error("message of {0} bytes is too long")]
    MessageTooLong(usize),
    /// Unfinished messages exceed the budget.
    #[error("too much unfinished at once")]
    TooMuchHeld,
    /// More chunk streams than allowed.
    #[error("too many chunk streams")]
    TooManyStreams,
    /// A chunk refers to a header that never came.
    #[error("chunk without a header")]
    NoHeader,
    /// A chunk size of zero, or with the top bit set.
    #[error("impossible chunk size")]
    ChunkSize,
}

/// Puts messages together.
pub struct Reader {
    input: BytesMut,
    streams: BTreeMap<u32, ChunkStream>,
    /// The chunk whose bytes are arriving: its stream and how many are still to come.
    open: Option<(u32, usize)>,
    chunk_len: usize,
    held: usize,
    limits: Limits,
}

impl Reader {
    /// A reader with the protocol's initial chunk size.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            input: BytesMut::new(),
            streams: BTreeMap::new(),
            open: None,
            chunk_len: 128,
            held: 0,
            limits,
        }
    }

    /// Bytes from the peer. Call [`Self::poll`] until it answers `None` before the next.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the peer breaks the protocol or a limit; nothing can be read after that.
    pub fn poll(&mut self) -> Result<Option<Message>, Error> {
        loop {
            let (id, wanted) = match self.open {
                Some(open) => open,
                None => match self.on_header()? {
                    Some(open) => open,
                    None => return Ok(None),
                },
            };
            let take = wanted.min(self.input.len());
            if self.held + take > self.limits.held_len {
                return Err(Error::TooMuchHeld);
            }
            let stream = self.streams.get_mut(&id).ok_or(Error::NoHeader)?;
            let partial = stream.partial.get_or_insert_default();
            partial.extend_from_slice(&self.input[..take]);
            self.input.advance(take);
            self.held += take;
            if take < wanted {
                self.open = Some((id, wanted - take));
                return Ok(None);
            }
            self.open = None;
            if partial.len() >= stream.len {
                let payload = stream.partial.take().unwrap_or_default().freeze();
                self.held -= payload.len();
                return Ok(Some(stream.message(payload)));
            }
        }
    }

    /// The peer's chunks are this long from now on.
    ///
    /// # Errors
    /// [`Error::ChunkSize`].
    pub fn set_chunk_len(&mut self, len: u32) -> Result<(), Error> {
        if len == 0 || len > 0x7fff_ffff {
            return Err(Error::ChunkSize);
        }
        self.chunk_len = len as usize;
        Ok(())
    }

    /// Forgets what has come of a stream's unfinished message.
    pub fn abort(&mut self, id: u32) {
        if let Some(partial) = self.streams.get_mut(&id).and_then(|s| s.partial.take()) {
            self.held -= partial.len();
        }
    }

    /// The peer is known now, or no longer.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes held for the peer.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.input.len() + self.held
    }

    /// Reads a chunk's header if all of it is there; says how many bytes of it follow.
    fn on_header(&mut self) -> Result<Option<(u32, usize)>, Error> {
        let Some((format, id, basic_len)) = basic_header(&self.input) else {
            return Ok(None);
        };
        if !self.streams.contains_key(&id) {
            // A first chunk of format 1 is seen in the wild: a header but for the stream id.
            if format > 1 {
                return Err(Error::NoHeader);
            }
            if self.streams.len() >= self.limits.chunk_streams {
                return Err(Error::TooManyStreams);
            }
        }
        let known = self.streams.get(&id);
        let Some((header, header_len)) = message_header(format, &self.input[basic_len..], known)
        else {
            return Ok(None);
        };
        if header.len.is_some_and(|len| len > self.limits.message_len) {
            return Err(Error::MessageTooLong(header.len.unwrap_or_default()));
        }
        let stream = self.streams.entry(id).or_default();
        if format < 3
            && let Some(partial) = stream.partial.take()
        {
            self.held -= partial.len();
        }
        if stream.partial.is_none() {
            stream.begin(format, &header);
        }
        self.input.advance(basic_len + header_len);
        let have = stream.partial.as_ref().map_or(0, BytesMut::len);
        Ok(Some((id, (stream.len - have).min(self.chunk_len))))
    }
}

#[derive(Default)]
struct ChunkStream {
    timestamp: u32,
    delta: u32,
    /// The last header's extended timestamp, which chunks of format 3 repeat.
    extended: Option<u32>,
    len: usize,
    kind: u8,
    stream: u32,
    partial: Option<BytesMut>,
}

impl ChunkStream {
    fn begin(&mut self, format: u8, header: &MessageHeader) {
        if let Some(time) = header.time {
            self.delta = time;
            self.extended = header.extended;
        }
        self.len = header.len.unwrap_or(self.len);
        self.kind = header.kind.unwrap_or(self.kind);
        self.stream = header.stream.unwrap_or(self.stream);
        // 5.3.1.2.4: after a format 0 chunk its timestamp serves as the delta.
        self.timestamp = if format == 0 {
            self.delta
        } else {
            self.timestamp.wrapping_add(self.delta)
        };
    }

    fn message(&self, payload: Bytes) -> Message {
        Message {
            kind: self.kind,
            stream: self.stream,
            timestamp: self.timestamp,
            payload,
        }
    }
}

#[derive(Default)]
struct MessageHeader {
    time: Option<u32>,
    extended: Option<u32>,
    len: Option<usize>,
    kind: Option<u8>,
    stream: Option<u32>,
}

/// Format, chunk stream id, and how many bytes they took.
fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *input.first()?;
    let byte = |at: usize| input.get(at).copied().map(u32::from);
    let (id, len) = match first & 0x3f {
        0 => (64 + byte(1)?, 2),
        1 => (64 + byte(1)? + 256 * byte(2)?, 3),
        id => (u32::from(id), 1),
    };
    Some((first >> 6, id, len))
}

fn message_header(
    format: u8,
    input: &[u8],
    known: Option<&ChunkStream>,
) -> Option<(MessageHeader, usize)> {
    let mut header = MessageHeader::default();
    let mut len = [11, 7, 3, 0][usize::from(format & 3)];
    let fields = input.get(..len)?;
    let number = |at: usize| u32::from_be_bytes([0, fields[at], fields[at + 1], fields[at + 2]]);
    if format < 2 {
        header.len = Some(number(3) as usize);
        header.kind = Some(fields[6]);
    }
    if format == 0 {
        header.stream = Some(u32::from_le_bytes([
            fields[7], fields[8], fields[9], fields[10],
        ]));
    }
    if format < 3 {
        header.time = Some(number(0));
    }
    if header.time == Some(0x00ff_ffff) {
        let extended = input.get(len..)?.first_chunk::<4>()?;
        header.time = Some(u32::from_be_bytes(*extended));
        header.extended = header.time;
        len += 4;
    }
    if format == 3
        && let Some(stream) = known
        && let Some(extended) = stream.extended
        && repeats(input, [extended, stream.timestamp])?
    {
        len += 4;
    }
    Some((header, len))
}

/// Chunks of format 3 repeat an extended timestamp, but some encoders leave it out, or
/// write the time instead of the delta: it is there if it looks like one of them. `None`
/// while too little has come to tell.
fn repeats(input: &[u8], candidates: [u32; 2]) -> Option<bool> {
    let next = &input[..input.len().min(4)];
    let alike = candidates.map(|time| time.to_be_bytes().starts_with(next));
    match (alike.contains(&true), next.len()) {
        (true, 4) => Some(true),
        (true, _) => None,
        (false, _) => Some(false),
    }
}

/// Cuts messages into chunks.
pub struct Writer {
    chunk_len: usize,
}

impl Writer {
    /// A writer with the protocol's initial chunk size.
    #[must_use]
    pub fn new() -> Self {
        Self { chunk_len: 128 }
    }

    /// Chunks are this long from now on; the peer must have been told before.
    pub fn set_chunk_len(&mut self, len: u32) {
        self.chunk_len = len.max(1) as usize;
    }

    /// Appends a message on a chunk stream (2 to 63), with a whole header.
    pub fn put(&self, out: &mut BytesMut, id: u8, message: &Message) {
        out.put_u8(id & 0x3f);
        let extended = message.timestamp >= 0x00ff_ffff;
        out.put_uint(u64::from(message.timestamp.min(0x00ff_ffff)), 3);
        out.put_uint(message.payload.len() as u64, 3);
        out.put_u8(message.kind);
        out.put_u32_le(message.stream);
        for (index, part) in message.payload.chunks(self.chunk_len).enumerate() {
            if index > 0 {
                out.put_u8(0xc0 | (id & 0x3f));
            }
            if extended {
                out.put_u32(message.timestamp);
            }
            out.put_slice(part);
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Message> {
        let mut reader = Reader::new(Limits::BROADCASTER);
        reader.receive(bytes);
        std::iter::from_fn(|| reader.poll().unwrap()).collect()
    }

    fn stamps(bytes: &[u8]) -> Vec<u32> {
        read(bytes)
            .iter()
            .map(|message| message.timestamp)
            .collect()
    }

    #[test]
    fn every_format_may_start_a_message() {
        let bytes = [
            &[4, 0, 0, 100, 0, 0, 1, 9, 1, 0, 0, 0, b'a'][..], // 0: at 100
            &[0x44, 0, 0, 20, 0, 0, 1, 8, b'b'],               // 1: +20
            &[0x84, 0, 0, 30, b'c'],                           // 2: +30
            &[0xc4, b'd'],                                     // 3: +30 again
        ]
        .concat();
        assert_eq!(stamps(&bytes), [100, 120, 150, 180]);
        let kinds: Vec<u8> = read(&bytes).iter().map(|m| m.kind).collect();
        assert_eq!(kinds, [9, 8, 8, 8]);
    }

    #[test]
    fn format_3_after_format_0_takes_its_timestamp_for_the_delta() {
        let bytes = [
            &[4, 0, 0, 7, 0, 0, 1, 9, 1, 0, 0, 0, b'a'][..],
            &[0xc4, b'b'],
        ]
        .concat();
        assert_eq!(stamps(&bytes), [7, 14]);
    }

    fn extended(repeat: bool) -> Vec<u8> {
        let time = 0x0123_4567_u32.to_be_bytes();
        let mut bytes = vec![4, 255, 255, 255, 0, 0, 200, 9, 1, 0, 0, 0];
        bytes.extend(time);
        bytes.extend([1; 128]);
        bytes.push(0xc4);
        if repeat {
            bytes.extend(time);
        }
        bytes.extend([1; 72]);
        bytes
    }

    #[test]
    fn extended_timestamps_are_read_whether_repeated_or_not() {
        for repeat in [true, false] {
            let messages = read(&extended(repeat));
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].timestamp, 0x0123_4567);
            assert_eq!(messages[0].payload, vec![1; 200]);
        }
    }

    #[test]
    fn wide_chunk_stream_ids_are_told_apart() {
        let header = [0, 0, 1, 0, 0, 1, 9, 1, 0, 0, 0, b'x'];
        let bytes = [&[0, 5][..], &header, &[1, 5, 2], &header].concat();
        assert_eq!(read(&bytes).len(), 2);
    }

    #[test]
    fn an_aborted_message_is_forgotten() {
        let mut reader = Reader::new(Limits::STRANGER);
        reader.receive(&[4, 0, 0, 0, 0, 1, 0, 9, 1, 0, 0, 0]);
        reader.receive(&[7; 128]);
        assert_eq!(reader.poll(), Ok(None));
        reader.abort(4);
        assert_eq!(reader.held_len(), 0);
        reader.receive(&[4, 0, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0, b'n']);
        assert_eq!(reader.poll().unwrap().unwrap().payload, &b"n"[..]);
    }

    #[test]
    fn strangers_are_held_to_their_limits() {
        let mut reader = Reader::new(Limits::STRANGER);
        reader.receive(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]);
        assert_eq!(reader.poll(), Err(Error::MessageTooLong(0x00ff_ffff)));

        let mut reader = Reader::new(Limits::STRANGER);
        reader.set_chunk_len(60_000).unwrap();
        let mut outcome = Ok(None);
        for id in 3..10 {
            reader.receive(&[id, 0, 0, 0, 0, 0xff, 0xff, 9, 1, 0, 0, 0]);
            reader.receive(&[0; 60_000]);
            outcome = reader.poll();
            assert!(reader.held_len() <= 192 * 1024);
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, Err(Error::TooMuchHeld));

        let mut reader = Reader::new(Limits::STRANGER);
        for id in 3..40 {
            reader.receive(&[id, 0, 0, 0, 0, 0, 2, 9, 1, 0, 0, 0, 0]);
        }
        while reader.poll() == Ok(None) {
            reader.receive(&[0xc3, 0]);
        }
    }
}
