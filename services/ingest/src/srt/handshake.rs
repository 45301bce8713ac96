//! SRT's handshake, the listener's side, as bytes (draft-sharabayko-srt-01, 3.2.1 and 4.3).
//!
//! The one rule: pure, and total. Whatever a stranger sends is read or is nothing, and no
//! answer is longer than what it answers.

use std::time::Duration;

/// A handshake packet up to its extensions.
pub(super) const FIXED_LEN: usize = 64;
/// What a control packet of type 0 starts with.
const CONTROL_HANDSHAKE: [u8; 2] = [0x80, 0];
/// Says "this listener speaks SRT" where UDT had the socket type (4.3.1.1).
const MAGIC: u16 = 0x4a17;
const VERSION: u32 = 5;
/// Handshake types (table 4).
const INDUCTION: u32 = 1;
const CONCLUSION: u32 = 0xffff_ffff;
/// Added to a reason, it is the type of a handshake that rejects (4.3).
const REJECTION: u32 = 1000;
/// Extension types (table 5).
const HS_REQUEST: u16 = 1;
const HS_RESPONSE: u16 = 2;
const KM_REQUEST: u16 = 3;
const KM_RESPONSE: u16 = 4;
const STREAM_ID: u16 = 5;
/// Flags that say which extensions there are (table 2).
const HAS_HS: u16 = 1;
const HAS_KM: u16 = 2;
/// The version of SRT that we tell: that whose behaviour we have.
const SRT_VERSION: u32 = 0x0001_0500;
/// What we can, of table 6: stamps both ways, encryption, dropping what is too late, periodic
/// reports of losses, the mark of what is sent again.
const FLAGS: u32 = 0x3f;
/// The caller wants a stream of bytes instead of messages, as for files.
const STREAM_FLAG: u32 = 0x40;
/// The longest stream id (3.2.1.3).
const MAX_STREAM_ID: usize = 512;
/// Ethernet's packet, less IP's and UDP's headers.
const MAX_MTU: u32 = 1500;

/// Reads the fields of a handshake packet.
#[derive(Clone, Copy)]
pub(super) struct Handshake<'a> {
    bytes: &'a [u8],
}

/// What a handshake is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The caller asks for a cookie.
    Induction,
    /// It shows the cookie, and says what it wants.
    Conclusion,
}

/// What a caller wants.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// None when there was none, or it is no text.
    pub(super) stream_id: Option<String>,
    /// The wrapped key of the stream, as it came.
    pub(super) key_material: Option<Vec<u8>>,
    /// The latency that the sender wants its receiver to have.
    pub(super) latency: Duration,
    /// It would send bytes without bounds of messages.
    pub(super) streams: bool,
}

/// What we tell a caller that may come in.
pub(super) struct Terms<'a> {
    /// Our number for the connection, which its packets name.
    pub(super) socket_id: u32,
    /// What was agreed.
    pub(super) latency: Duration,
    /// Packets that we hold.
    pub(super) window: u32,
    /// The key that was unwrapped, as it came.
    pub(super) key_material: Option<&'a [u8]>,
}

impl<'a> Handshake<'a> {
    /// `None` for what is no handshake, whatever else it is.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= FIXED_LEN && bytes[..2] == CONTROL_HANDSHAKE).then_some(Self { bytes })
    }

    pub(super) fn step(self) -> Option<Step> {
        match (self.word(36), self.word(16)) {
            // A caller that could do more starts as UDT's version 4.
            (INDUCTION, 4 | VERSION) => Some(Step::Induction),
            (CONCLUSION, VERSION) => Some(Step::Conclusion),
            _ => None,
        }
    }

    pub(super) fn cookie(self) -> u32 {
        self.word(44)
    }

    /// The caller's number for the connection.
    pub(super) fn caller_id(self) -> u32 {
        self.word(40)
    }

    /// The number of the first packet that it will send; 31 bits.
    pub(super) fn first_sequence(self) -> u32 {
        self.word(24) & 0x7fff_ffff
    }

    /// `None` when an extension is cut short, or the one that every caller sends is missing.
    pub(super) fn request(self) -> Option<Request> {
        let mut request = Request {
            stream_id: None,
            key_material: None,
            latency: Duration::ZERO,
            streams: false,
        };
        let mut said_latency = false;
        let mut rest = &self.bytes[FIXED_LEN..];
        while let Some((head, after)) = rest.split_first_chunk::<4>() {
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let words = u16::from_be_bytes([head[2], head[3]]);
            let (content, after) = after.split_at_checked(usize::from(words) * 4)?;
            match kind {
                HS_REQUEST => {
                    let content = content.first_chunk::<12>()?;
                    // Version, flags, then the latencies as receiver and as sender.
                    let latency_ms = u16::from_be_bytes([content[10], content[11]]);
                    request.latency = Duration::from_millis(latency_ms.into());
                    request.streams = u32::from(content[7]) & STREAM_FLAG != 0;
                    said_latency = true;
                }
                KM_REQUEST => request.key_material = Some(content.to_vec()),
                STREAM_ID => request.stream_id = text(content),
                // Of congestion control, filters and groups we tell nothing: there are none.
                _ => {}
            }
            rest = after;
        }
        said_latency.then_some(request)
    }

    /// The answer to an induction.
    pub(super) fn induction_reply(self, cookie: u32) -> Vec<u8> {
        let mut reply = self.reply();
        put(&mut reply, 16, VERSION);
        put(&mut reply, 20, u32::from(MAGIC));
        put(&mut reply, 44, cookie);
        reply
    }

    /// The answer to a conclusion whose caller may not come in.
    pub(super) fn rejection(self, reason: u32) -> Vec<u8> {
        let mut reply = self.reply();
        put(&mut reply, 20, 0);
        put(&mut reply, 36, REJECTION + reason);
        reply
    }

    /// The answer to a conclusion whose caller may.
    pub(super) fn acceptance(self, terms: &Terms<'_>) -> Vec<u8> {
        let mut reply = self.reply();
        // The key's length is told by the key.
        let extensions = match terms.key_material {
            Some(_) => HAS_HS | HAS_KM,
            None => HAS_HS,
        };
        put(&mut reply, 20, u32::from(extensions));
        put(&mut reply, 28, self.word(28).min(MAX_MTU));
        put(&mut reply, 32, terms.window);
        put(&mut reply, 40, terms.socket_id);
        let latency = terms.latency.as_millis().min(u128::from(u16::MAX)) as u32;
        let words = [SRT_VERSION, FLAGS, latency << 16 | latency];
        let content: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        put_extension(&mut reply, HS_RESPONSE, &content);
        if let Some(key_material) = terms.key_material {
            put_extension(&mut reply, KM_RESPONSE, key_material);
        }
        reply
    }

    /// The fixed part, addressed to the caller.
    fn reply(self) -> Vec<u8> {
        let mut reply = self.bytes[..FIXED_LEN].to_vec();
        put(&mut reply, 12, self.caller_id());
        reply
    }

    fn word(self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_be_bytes(word)
    }
}

/// Says that the connection is over (3.2.7).
pub(super) fn shutdown(caller_id: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    packet.extend(caller_id.to_be_bytes());
    packet.extend([0; 4]);
    packet
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

fn put_extension(bytes: &mut Vec<u8>, kind: u16, content: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend(((content.len() / 4) as u16).to_be_bytes());
    bytes.extend(content);
}

/// Text travels in words whose bytes are turned around, with zeros at the end.
fn text(content: &[u8]) -> Option<String> {
    if content.len() > MAX_STREAM_ID {
        return None;
    }
    let turned = content.chunks_exact(4).flat_map(|word| word.iter().rev());
    let mut bytes: Vec<u8> = turned.copied().collect();
    let len = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}
