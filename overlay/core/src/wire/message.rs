//! Messages between peers. Pieces travel in a fixed binary layout on the channel without
//! order; everything else in protobuf on the reliable one.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use stripe::{EpochCertificate, MAX_BODY_LEN, SignedHeader};

use super::Error;
use crate::{Scheme, Signed, StripeId};

/// The longest message between peers: a piece of the longest generation with its prefix.
pub const MAX_MESSAGE_LEN: usize = MAX_BODY_LEN / 16 + PIECE_PREFIX_LEN + 2;
/// kind, stripe, the low half of the epoch, sequence.
const PIECE_PREFIX_LEN: usize = 1 + 1 + 4 + 8;
/// Control messages are small; headers of 32 stripes are the longest at about 650 bytes.
const MAX_CONTROL_LEN: usize = 2048;
/// What a neighbour carries is no longer; descriptions of links have some 600 bytes.
pub const MAX_CARRIED_LEN: usize = 1536;

/// Which of a link's two data channels a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Ordered, complete.
    Reliable,
    /// Neither: a piece that is late is worth nothing.
    Pieces,
}

/// One message between peers.
pub enum Message<S: Scheme> {
    /// A coded part of a generation.
    Piece(PieceMessage<S::Piece>),
    /// A generation's signed header. It travels down the trees of two stripes (see
    /// [`crate::peer::header_stripes`]); check it before anything else of that generation,
    /// and hand it on before any piece.
    Header(S::Header),
    /// The epoch in force. First on a new link, again when it changes.
    Epoch(S::Epoch),
    /// All the rest.
    Control(Control),
}

impl<S: Scheme> Clone for Message<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Piece(piece) => Self::Piece(piece.clone()),
            Self::Header(header) => Self::Header(header.clone()),
            Self::Epoch(epoch) => Self::Epoch(epoch.clone()),
            Self::Control(control) => Self::Control(control.clone()),
        }
    }
}

impl<S: Scheme> Message<S> {
    /// Bytes in front of a piece.
    pub const PIECE_PREFIX_LEN: usize = PIECE_PREFIX_LEN;

    /// Which channel it takes.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Piece(_) => Channel::Pieces,
            _ => Channel::Reliable,
        }
    }

    /// Its length on the wire, transport framing aside.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        match self {
            Self::Piece(piece) => PIECE_PREFIX_LEN + S::piece_len(&piece.piece),
            Self::Header(header) => 1 + S::header_len(header),
            Self::Epoch(_) => 1 + EpochCertificate::LEN,
            Self::Control(control) => 1 + control.encoded_len(),
        }
    }
}

/// A piece on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceMessage<P> {
    /// Why it was sent.
    pub kind: PieceKind,
    /// Which stripe it is of.
    pub stripe: StripeId,
    /// The low half of the epoch's number: a piece of another epoch is no offence while
    /// epochs change.
    pub epoch: u32,
    /// Which generation it is of.
    pub sequence: u64,
    /// Its bytes.
    pub piece: P,
}

/// Why a piece was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Down a stripe's tree.
    Push,
    /// What a new parent resends of its stripe.
    Backfill,
    /// Because it was asked for.
    Pull,
    /// Because it was asked of a seeder and the deadline was near.
    Rescue,
}

impl PieceKind {
    const ALL: [Self; 4] = [Self::Push, Self::Backfill, Self::Pull, Self::Rescue];
}

/// Envelope of the control messages.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    /// Which.
    #[prost(
        oneof = "control::Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14"
    )]
    pub kind: Option<control::Kind>,
}

/// The control messages.
pub mod control {
    /// Envelope's content.
    #[derive(Clone, PartialEq, Eq, prost::Oneof)]
    pub enum Kind {
        /// See [`Subscribe`].
        #[prost(message, tag = "1")]
        Subscribe(Subscribe),
        /// See [`Accept`].
        #[prost(message, tag = "2")]
        Accept(Accept),
        /// See [`Reject`].
        #[prost(message, tag = "3")]
        Reject(Reject),
        /// See [`Unsubscribe`].
        #[prost(message, tag = "4")]
        Unsubscribe(Unsubscribe),
        /// See [`Dropped`].
        #[prost(message, tag = "5")]
        Dropped(Dropped),
        /// See [`Have`].
        #[prost(message, tag = "6")]
        Have(Have),
        /// See [`Pull`].
        #[prost(message, tag = "7")]
        Pull(Pull),
        /// See [`Busy`].
        #[prost(message, tag = "8")]
        Busy(Busy),
        /// See [`HeaderRequest`].
        #[prost(message, tag = "9")]
        HeaderRequest(HeaderRequest),
        /// See [`Ask`].
        #[prost(message, tag = "10")]
        Ask(Ask),
        /// See [`Late`].
        #[prost(message, tag = "11")]
        Late(Late),
        /// See [`Know`].
        #[prost(message, tag = "12")]
        Know(Know),
        /// See [`Carry`].
        #[prost(message, tag = "13")]
        Carry(Carry),
        /// See [`Carried`].
        #[prost(message, tag = "14")]
        Carried(Carried),
    }

    /// "Be my parent in this stripe." Answer with `Accept` or `Reject`; after `Accept` push
    /// each piece of the stripe on arrival, and first backfill what you hold from
    /// `from_sequence` on.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Subscribe {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
        /// The first generation the child lacks a piece of: resend the stripe from there.
        /// 0: the child has just come, and fetches the past itself; resend the newest one.
        /// `u64::MAX`: nothing.
        #[prost(uint64, tag = "2")]
        pub from_sequence: u64,
        /// The child relays this stripe: serve it before leaves.
        #[prost(bool, tag = "3")]
        pub interior: bool,
        /// The tracker planned it, and so knows that there is room; else the child helps
        /// itself, and is taken on only where there is room to see.
        #[prost(bool, tag = "5")]
        pub planned: bool,
    }

    /// "I am." Nothing to answer.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Accept {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
    }

    /// "I will not be." Try a backup, then tell the tracker.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Reject {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
    }

    /// "Be my parent no longer." Free the slot; nothing to answer.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Unsubscribe {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
    }

    /// "I am your parent no longer." As `Reject`.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Dropped {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
    }

    /// What the sender can serve. Sent on a new link, in answer to `Ask`, and every few
    /// seconds.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Have {
        /// It can serve whole generations from here,
        #[prost(uint64, tag = "1")]
        pub from: u64,
        /// up to before here; equal when there is none.
        #[prost(uint64, tag = "2")]
        pub until: u64,
        /// The generations among them at which playing can begin; at most 32, the latest.
        #[prost(uint64, repeated, tag = "3")]
        pub keyframes: Vec<u64>,
        /// The newest generation it has heard of.
        #[prost(uint64, tag = "4")]
        pub newest: u64,
        /// Bit i: it relays stripe i, and its own parent there delivers.
        #[prost(uint32, tag = "5")]
        pub relays: u32,
        /// Children that it has room for.
        #[prost(uint32, tag = "6")]
        pub spare: u32,
        /// Bit i: stripe i comes to it.
        #[prost(uint32, tag = "7")]
        pub stripes: u32,
        /// What its children leave of its uplink, in kilobits a second; 0: it shares nothing.
        #[prost(uint32, tag = "8")]
        pub spare_kbps: u32,
    }

    /// "I live, and wait for this stripe myself." From a parent to its children, again and
    /// again while it lasts: do not take my silence for death.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Late {
        /// Which stripe.
        #[prost(uint32, tag = "1")]
        pub stripe: u32,
    }

    /// "Tell me what you have." Answer with `Have`, at most once in 100 ms a link.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Ask {}

    /// "Send me up to `count` pieces of these stripes." Answer with pieces from uplink that
    /// pushing leaves over, else with `Busy`.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Pull {
        /// Which generation.
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
        /// Bit i: stripe i.
        #[prost(uint32, tag = "2")]
        pub stripes: u32,
        /// How many of them are enough.
        #[prost(uint32, tag = "3")]
        pub count: u32,
        /// Milliseconds from now after which an answer is useless.
        #[prost(uint32, tag = "4")]
        pub within_ms: u32,
        /// Send the header too.
        #[prost(bool, tag = "5")]
        pub header: bool,
        /// The asker has just come and begins with it. Such pulls go before all pushes, as
        /// far as those have time.
        #[prost(bool, tag = "6")]
        pub catch_up: bool,
    }

    /// "Not from me": the pull will not be answered, or not in full. Ask another.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Busy {
        /// Which generation.
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
    }

    /// "I have links to these viewers", a few of them, every ten seconds. Remember them for
    /// when the tracker is away.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Know {
        /// At most 8 are read, and with more than 16 it is no message.
        #[prost(message, repeated, tag = "1")]
        pub peers: Vec<Known>,
    }

    /// A viewer, as it last said of itself to who tells.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Known {
        /// Its name.
        #[prost(fixed64, tag = "1")]
        pub peer: u64,
        /// Bit i: it relays stripe i.
        #[prost(uint32, tag = "2")]
        pub relays: u32,
        /// Children that it has room for.
        #[prost(uint32, tag = "3")]
        pub spare: u32,
    }

    /// "Give this to that neighbour of yours": what two who have no link yet must say to make
    /// one. Pass it on as [`Carried`] if you have a link to it, else drop it; at most a few a
    /// second of anybody.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Carry {
        /// Whom it is for.
        #[prost(fixed64, tag = "1")]
        pub peer: u64,
        /// Opaque, at most [`super::MAX_CARRIED_LEN`].
        #[prost(bytes = "bytes", tag = "2")]
        pub payload: bytes::Bytes,
    }

    /// "A neighbour of mine has this for you." Answer by `Carry` to the same neighbour. Never
    /// believe it for a peer that you know yourself, nor for a seeder.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Carried {
        /// Whom it is from, as the neighbour says.
        #[prost(fixed64, tag = "1")]
        pub peer: u64,
        /// Opaque, at most [`super::MAX_CARRIED_LEN`].
        #[prost(bytes = "bytes", tag = "2")]
        pub payload: bytes::Bytes,
    }

    /// "Send me this header."
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct HeaderRequest {
        /// Which generation.
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
    }
}

impl From<control::Kind> for Control {
    fn from(kind: control::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

const TAG_HEADER: u8 = 1;
const TAG_EPOCH: u8 = 2;
const TAG_CONTROL: u8 = 3;

/// The bytes of a message, for [`Message::channel`].
#[must_use]
pub fn encode(message: &Message<Signed>) -> Bytes {
    let mut out = BytesMut::with_capacity(message.wire_len());
    match message {
        Message::Piece(piece) => {
            out.put_u8(piece.kind as u8);
            out.put_u8(piece.stripe.get());
            out.put_u32(piece.epoch);
            out.put_u64(piece.sequence);
            out.put_slice(&piece.piece);
        }
        Message::Header(header) => {
            out.put_u8(TAG_HEADER);
            out.put_slice(&header.to_bytes());
        }
        Message::Epoch(epoch) => {
            out.put_u8(TAG_EPOCH);
            out.put_slice(&epoch.certificate().to_bytes());
        }
        Message::Control(control) => {
            out.put_u8(TAG_CONTROL);
            // A BytesMut grows as needed, so encoding into it cannot run out of room.
            let _ = control.encode(&mut out);
        }
    }
    out.freeze()
}

/// Reads what came by a channel. An epoch's certificate is checked here already, against
/// `scheme`; headers and pieces are not.
///
/// # Errors
/// See [`Error`]; each is the sender's fault.
pub fn decode(scheme: &Signed, channel: Channel, bytes: &Bytes) -> Result<Message<Signed>, Error> {
    match channel {
        Channel::Pieces => decode_piece(bytes).map(Message::Piece),
        Channel::Reliable => decode_control(scheme, bytes),
    }
}

fn decode_piece(bytes: &Bytes) -> Result<PieceMessage<Bytes>, Error> {
    if bytes.len() > MAX_MESSAGE_LEN {
        return Err(Error::TooLong(bytes.len()));
    }
    let Some((prefix, _)) = bytes.split_first_chunk::<PIECE_PREFIX_LEN>() else {
        return Err(Error::Malformed);
    };
    let [kind, stripe, e0, e1, e2, e3, sequence @ ..] = *prefix;
    let sequence = u64::from_be_bytes(sequence);
    if sequence > u64::MAX / 4 {
        return Err(Error::Bounds);
    }
    Ok(PieceMessage {
        kind: *PieceKind::ALL.get(usize::from(kind)).ok_or(Error::Bounds)?,
        stripe: StripeId::new(stripe).ok_or(Error::Bounds)?,
        epoch: u32::from_be_bytes([e0, e1, e2, e3]),
        sequence,
        piece: bytes.slice(PIECE_PREFIX_LEN..),
    })
}

fn decode_control(scheme: &Signed, bytes: &Bytes) -> Result<Message<Signed>, Error> {
    if bytes.len() > MAX_CONTROL_LEN {
        return Err(Error::TooLong(bytes.len()));
    }
    let Some((tag, rest)) = bytes.split_first() else {
        return Err(Error::Malformed);
    };
    match *tag {
        TAG_HEADER => SignedHeader::from_bytes(rest)
            .map(Message::Header)
            .map_err(|_| Error::Bounds),
        TAG_EPOCH => EpochCertificate::from_bytes(rest)
            .and_then(|certificate| scheme.epoch(certificate))
            .map(Message::Epoch)
            .map_err(|_| Error::Bounds),
        TAG_CONTROL => {
            let control = Control::decode(rest).map_err(|_| Error::Malformed)?;
            check_control(&control)?;
            Ok(Message::Control(control))
        }
        _ => Err(Error::WrongChannel),
    }
}

/// Bounds that protobuf does not hold by itself.
fn check_control(control: &Control) -> Result<(), Error> {
    use control::Kind;
    let stripe_ok = |stripe: u32| stripe < u32::from(StripeId::MAX);
    let sequence_ok = |sequence: u64| sequence <= u64::MAX / 4 || sequence == u64::MAX;
    let Some(kind) = control.kind.as_ref() else {
        // A kind that a later release knows: nothing to check, and nothing to do.
        return Ok(());
    };
    let ok = match kind {
        Kind::Subscribe(m) => stripe_ok(m.stripe) && sequence_ok(m.from_sequence),
        Kind::Accept(m) => stripe_ok(m.stripe),
        Kind::Reject(m) => stripe_ok(m.stripe),
        Kind::Unsubscribe(m) => stripe_ok(m.stripe),
        Kind::Dropped(m) => stripe_ok(m.stripe),
        Kind::Late(m) => stripe_ok(m.stripe),
        Kind::Have(m) => {
            m.keyframes.len() <= 32
                && m.from <= m.until
                && sequence_ok(m.until)
                && sequence_ok(m.newest)
        }
        Kind::Pull(m) => sequence_ok(m.sequence) && m.count <= u32::from(StripeId::MAX),
        Kind::Busy(m) => sequence_ok(m.sequence),
        Kind::HeaderRequest(m) => sequence_ok(m.sequence),
        Kind::Know(m) => m.peers.len() <= 16,
        Kind::Carry(m) => m.payload.len() <= MAX_CARRIED_LEN,
        Kind::Carried(m) => m.payload.len() <= MAX_CARRIED_LEN,
        Kind::Ask(_) => true,
    };
    if ok { Ok(()) } else { Err(Error::Bounds) }
}

/// The number a stripe field holds, checked by [`decode`] already.
pub(crate) fn stripe_of(field: u32) -> Option<StripeId> {
    u8::try_from(field).ok().and_then(StripeId::new)
}
