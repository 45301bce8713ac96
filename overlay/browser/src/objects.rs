//! What JavaScript may hold of this side, by number: buffers, epochs, generations.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use overlay_core::{Scheme, Signed, SignedEpoch, StripeId};
use stripe::{ChannelId, EpochCertificate, EpochSigner, Flags, Meta, Shape, SignedHeader};

/// The longest buffer: a generation of the longest body with all its pieces and its header.
pub const MAX_BUFFER_LEN: usize = 3 << 20;
/// Objects at once: a window of generations, their pieces, and room.
pub const MAX_OBJECTS: usize = 4096;

/// All objects. Number 0 is none: what fails, or is not there, answers 0.
#[derive(Default)]
pub(crate) struct Objects {
    by_number: BTreeMap<u32, Object>,
    last: u32,
}

enum Object {
    Buffer(Vec<u8>),
    Epoch(Box<(Signed, SignedEpoch)>),
    Generation(Box<Generation>),
}

/// A generation whose header was checked, and its pieces so far.
struct Generation {
    scheme: Signed,
    header: SignedHeader,
    pieces: Vec<Option<Bytes>>,
}

impl Objects {
    /// A buffer of zeros, for JavaScript to fill.
    pub(crate) fn take(&mut self, len: usize) -> u32 {
        if len > MAX_BUFFER_LEN {
            return 0;
        }
        self.add(Object::Buffer(vec![0; len]))
    }

    pub(crate) fn buffer(&self, number: u32) -> &[u8] {
        match self.by_number.get(&number) {
            Some(Object::Buffer(bytes)) => bytes,
            _ => &[],
        }
    }

    pub(crate) fn forget(&mut self, number: u32) {
        self.by_number.remove(&number);
    }

    /// Codes and signs a body. The buffer answered holds the header's length (u32, big
    /// endian), the header, and n equally long pieces.
    pub(crate) fn seal(
        &mut self,
        secret: u32,
        channel: u32,
        body: u32,
        epoch: u64,
        sequence: u64,
    ) -> u32 {
        let secret = <[u8; 32]>::try_from(self.buffer(secret));
        let channel = ChannelId::from_slice(self.buffer(channel));
        let (Ok(secret), Ok(channel)) = (secret, channel) else {
            return 0;
        };
        let meta = Meta {
            sequence,
            media_time_us: 0,
            ingest_stamp_us: 0,
            delay_ms: 0,
            flags: Flags::KEYFRAME,
        };
        let body = Bytes::copy_from_slice(self.buffer(body));
        let signer = EpochSigner::new(channel, epoch, &secret);
        let Ok((header, pieces)) = signer.seal(meta, Shape::DEFAULT, &body) else {
            return 0;
        };
        let header = header.to_bytes();
        let mut out = Vec::new();
        out.put_u32(header.len() as u32);
        out.put_slice(&header);
        pieces.iter().for_each(|piece| out.put_slice(piece));
        self.add(Object::Buffer(out))
    }

    /// An epoch, if the channel's key vouches for it.
    pub(crate) fn epoch(&mut self, channel: u32, channel_key: u32, certificate: u32) -> u32 {
        let channel = ChannelId::from_slice(self.buffer(channel));
        let channel_key = <[u8; 32]>::try_from(self.buffer(channel_key));
        let certificate = EpochCertificate::from_bytes(self.buffer(certificate));
        let (Ok(channel), Ok(channel_key), Ok(certificate)) = (channel, channel_key, certificate)
        else {
            return 0;
        };
        let scheme = Signed::new(channel, channel_key);
        match scheme.epoch(certificate) {
            Ok(epoch) => self.add(Object::Epoch(Box::new((scheme, epoch)))),
            Err(_) => 0,
        }
    }

    /// A generation, if the epoch's key signed its header.
    pub(crate) fn generation(&mut self, epoch: u32, header: u32) -> u32 {
        let Some(Object::Epoch(signed)) = self.by_number.get(&epoch) else {
            return 0;
        };
        let (scheme, epoch) = signed.as_ref();
        let Ok(header) = SignedHeader::from_bytes(self.buffer(header)) else {
            return 0;
        };
        if !scheme.check_header(epoch, &header) {
            return 0;
        }
        let generation = Generation {
            scheme: scheme.clone(),
            pieces: vec![None; usize::from(header.header.shape.n)],
            header,
        };
        self.add(Object::Generation(Box::new(generation)))
    }

    /// Adds a piece to a generation, if its header lists it for the stripe.
    pub(crate) fn piece(&mut self, generation: u32, stripe: u32, piece: u32) -> bool {
        let piece = Bytes::copy_from_slice(self.buffer(piece));
        let Some(Object::Generation(generation)) = self.by_number.get_mut(&generation) else {
            return false;
        };
        let Some(stripe) = u8::try_from(stripe).ok().and_then(StripeId::new) else {
            return false;
        };
        let Generation { scheme, header, .. } = generation.as_ref();
        if !scheme.check_piece(header, stripe, &piece) {
            return false;
        }
        match generation.pieces.get_mut(stripe.index()) {
            Some(place) => {
                *place = Some(piece);
                true
            }
            None => false,
        }
    }

    /// The body, from any k pieces.
    pub(crate) fn decode(&mut self, generation: u32) -> u32 {
        let Some(Object::Generation(generation)) = self.by_number.get(&generation) else {
            return 0;
        };
        let Generation {
            scheme,
            header,
            pieces,
        } = generation.as_ref();
        match scheme.decode(header, pieces) {
            Some(body) => self.add(Object::Buffer(body.to_bytes().into())),
            None => 0,
        }
    }

    fn add(&mut self, object: Object) -> u32 {
        if self.by_number.len() >= MAX_OBJECTS {
            return 0;
        }
        let Some(number) = self.last.checked_add(1) else {
            return 0;
        };
        self.last = number;
        self.by_number.insert(number, object);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_nothing() {
        let mut objects = Objects::default();
        assert_eq!(objects.take(MAX_BUFFER_LEN + 1), 0);
        assert_eq!(objects.seal(0, 0, 0, 1, 1), 0);
        assert_eq!(objects.epoch(1, 2, 3), 0);
        assert_eq!(objects.generation(7, 7), 0);
        assert!(!objects.piece(7, 1, 7));
        assert_eq!(objects.decode(7), 0);
        assert!(objects.buffer(9).is_empty());
        let buffer = objects.take(5);
        assert_eq!(
            objects.generation(buffer, buffer),
            0,
            "a buffer is no epoch"
        );
        assert_eq!(objects.buffer(buffer).len(), 5);
        objects.forget(buffer);
        assert!(objects.buffer(buffer).is_empty());
    }

    #[test]
    fn objects_are_bounded() {
        let mut objects = Objects::default();
        for _ in 0..MAX_OBJECTS {
            assert_ne!(objects.take(1), 0);
        }
        assert_eq!(objects.take(1), 0);
        objects.forget(1);
        assert_ne!(objects.take(1), 0);
    }
}
