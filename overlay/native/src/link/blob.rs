//! What two link ends tell each other by way of the tracker before they can talk: ICE
//! credentials, the fingerprint of the DTLS certificate, addresses. One blob each way;
//! opaque to everybody between them.
//!
//! The one rule: a blob is a stranger's bytes. Sizes are checked before and after parsing,
//! and a blob that breaks any bound is refused whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use prost::Message;

/// Longest blob that is parsed.
pub const MAX_BLOB_LEN: usize = 4096;
/// Addresses a peer may name. A host with more interfaces than this names its first ones.
pub const MAX_CANDIDATES: usize = 16;
/// RFC 8839 allows ICE credentials of up to 256 characters; str0m's have 16 and 24.
const MAX_CREDENTIAL_LEN: usize = 64;
/// An SCTP INIT chunk as str0m writes it has about 50 bytes.
const MAX_SCTP_INIT_LEN: usize = 256;

/// Why a blob is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// More bytes than [`MAX_BLOB_LEN`].
    #[error("signalling blob is too long")]
    TooLong,
    /// Not protobuf, or a field that cannot be what it should be.
    #[error("signalling blob is malformed: {0}")]
    Malformed(&'static str),
    /// More addresses than [`MAX_CANDIDATES`].
    #[error("signalling blob names too many addresses")]
    TooManyCandidates,
}

/// One end's description of itself for one link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blob {
    /// Names this attempt of the sender's, so that an answer to an older one is told apart.
    pub attempt: u64,
    /// The attempt of the receiver's that this answers; none in an offer.
    pub answers: Option<u64>,
    /// ICE user fragment.
    pub ufrag: String,
    /// ICE password.
    pub password: String,
    /// SHA-256 of the DTLS certificate.
    pub fingerprint: [u8; 32],
    /// Where the sender can be reached.
    pub candidates: Vec<SocketAddr>,
    /// The sender's SCTP INIT chunk; when both ends send one the association needs no
    /// handshake of its own.
    pub sctp_init: Vec<u8>,
    /// There will be no link: the sender has no room for one. The rest says nothing.
    pub refused: bool,
    /// Only further addresses of an attempt that is described already.
    pub more: bool,
    /// These are addresses at a TURN server.
    pub turn: bool,
}

impl Blob {
    /// Addresses that were found after the attempt was described.
    #[must_use]
    pub fn more(attempt: u64, candidates: Vec<SocketAddr>) -> Self {
        Self {
            attempt,
            answers: None,
            candidates,
            refused: false,
            more: true,
            ..Self::refusal(0)
        }
    }

    /// An address at a TURN server, for an attempt that finds no other way.
    #[must_use]
    pub fn turn(attempt: u64, address: SocketAddr) -> Self {
        Self {
            turn: true,
            ..Self::more(attempt, vec![address])
        }
    }

    /// No to an offer.
    #[must_use]
    pub fn refusal(attempt: u64) -> Self {
        Self {
            attempt: 0,
            answers: Some(attempt),
            ufrag: String::new(),
            password: String::new(),
            fingerprint: [0; 32],
            candidates: Vec::new(),
            sctp_init: Vec::new(),
            refused: true,
            more: false,
            turn: false,
        }
    }

    /// The bytes to signal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Wire {
            attempt: self.attempt,
            answers: self.answers,
            ufrag: self.ufrag.clone(),
            password: self.password.clone(),
            fingerprint: self.fingerprint.to_vec(),
            candidates: self
                .candidates
                .iter()
                .map(|at| WireAddress::new(*at))
                .collect(),
            sctp_init: self.sctp_init.clone(),
            refused: self.refused,
            more: self.more,
            turn: self.turn,
        }
        .encode_to_vec()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BlobError`], for bytes beyond any of this module's bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() > MAX_BLOB_LEN {
            return Err(BlobError::TooLong);
        }
        let wire = Wire::decode(bytes).map_err(|_| BlobError::Malformed("protobuf"))?;
        if wire.candidates.len() > MAX_CANDIDATES {
            return Err(BlobError::TooManyCandidates);
        }
        if let (true, Some(attempt)) = (wire.refused, wire.answers) {
            return Ok(Self::refusal(attempt));
        }
        let candidates = wire
            .candidates
            .iter()
            .map(WireAddress::address)
            .collect::<Result<_, _>>()?;
        if wire.more {
            return Ok(Self {
                turn: wire.turn,
                ..Self::more(wire.attempt, candidates)
            });
        }
        let credential = |text: &str| {
            (4..=MAX_CREDENTIAL_LEN).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        };
        if !credential(&wire.ufrag) || !credential(&wire.password) {
            return Err(BlobError::Malformed("credentials"));
        }
        if wire.sctp_init.len() > MAX_SCTP_INIT_LEN {
            return Err(BlobError::Malformed("sctp init"));
        }
        Ok(Self {
            attempt: wire.attempt,
            answers: wire.answers,
            ufrag: wire.ufrag,
            password: wire.password,
            fingerprint: wire
                .fingerprint
                .as_slice()
                .try_into()
                .map_err(|_| BlobError::Malformed("fingerprint"))?,
            candidates,
            sctp_init: wire.sctp_init,
            refused: false,
            more: false,
            turn: false,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(fixed64, tag = "1")]
    attempt: u64,
    #[prost(fixed64, optional, tag = "2")]
    answers: Option<u64>,
    #[prost(string, tag = "3")]
    ufrag: String,
    #[prost(string, tag = "4")]
    password: String,
    #[prost(bytes = "vec", tag = "5")]
    fingerprint: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    candidates: Vec<WireAddress>,
    #[prost(bytes = "vec", tag = "7")]
    sctp_init: Vec<u8>,
    #[prost(bool, tag = "8")]
    refused: bool,
    #[prost(bool, tag = "9")]
    more: bool,
    #[prost(bool, tag = "10")]
    turn: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireAddress {
    /// 4 or 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    ip: Vec<u8>,
    #[prost(uint32, tag = "2")]
    port: u32,
}

impl WireAddress {
    fn new(address: SocketAddr) -> Self {
        Self {
            ip: match address.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            },
            port: u32::from(address.port()),
        }
    }

    fn address(&self) -> Result<SocketAddr, BlobError> {
        let ip = if let Ok(octets) = <[u8; 4]>::try_from(self.ip.as_slice()) {
            IpAddr::V4(Ipv4Addr::from(octets))
        } else if let Ok(octets) = <[u8; 16]>::try_from(self.ip.as_slice()) {
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            return Err(BlobError::Malformed("address"));
        };
        match u16::try_from(self.port) {
            Ok(port) if port > 0 => Ok(SocketAddr::new(ip, port)),
            _ => Err(BlobError::Malformed("port")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(candidates: usize) -> Blob {
        Blob {
            attempt: 7,
            answers: Some(9),
            ufrag: "abcdEF12".into(),
            password: "0123456789abcdefABCDEF+/".into(),
            fingerprint: [3; 32],
            candidates: (0..candidates)
                .map(|i| SocketAddr::from(([192, 0, 2, i as u8], 4000)))
                .collect(),
            sctp_init: vec![1; 40],
            refused: false,
            more: false,
            turn: false,
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let blob = blob(MAX_CANDIDATES);
        assert_eq!(Blob::from_bytes(&blob.to_bytes()), Ok(blob.clone()));
        let no = Blob::refusal(4);
        assert_eq!(Blob::from_bytes(&no.to_bytes()), Ok(no));
        let turn = Blob::turn(5, blob.candidates[0]);
        assert_eq!(Blob::from_bytes(&turn.to_bytes()), Ok(turn));
        let more = Blob::more(5, blob.candidates);
        assert_eq!(Blob::from_bytes(&more.to_bytes()), Ok(more));
    }

    #[test]
    fn refuses_every_bound() {
        assert_eq!(
            Blob::from_bytes(&blob(200).to_bytes()),
            Err(BlobError::TooManyCandidates)
        );
        assert_eq!(
            Blob::from_bytes(&[0; MAX_BLOB_LEN + 1]),
            Err(BlobError::TooLong)
        );
        let mut wrong = blob(1);
        wrong.password = "a b".into();
        assert!(Blob::from_bytes(&wrong.to_bytes()).is_err());
        let mut wrong = blob(1);
        wrong.sctp_init = vec![0; MAX_SCTP_INIT_LEN + 1];
        assert!(Blob::from_bytes(&wrong.to_bytes()).is_err());
        let mut wrong = blob(1);
        wrong.candidates[0].set_port(0);
        assert!(Blob::from_bytes(&wrong.to_bytes()).is_err());
    }

    #[test]
    fn no_cut_of_a_blob_panics() {
        let bytes = blob(4).to_bytes();
        for end in 0..bytes.len() {
            let _ = Blob::from_bytes(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            let _ = Blob::from_bytes(&flipped);
        }
    }
}
