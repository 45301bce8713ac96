//! One channel's broadcast in the seeder: checks what the encoder sends, feeds the core and
//! the HTTP readers, counts what those read.
//!
//! The one rule: one encoder at a time, and a later epoch takes over from an earlier one.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use native::{
    host::{Command, SwarmId},
    outputs::hub::{Hub, Media},
};
use overlay_core::{Scheme as _, Signed, SignedEpoch};
use stripe::{Body, ChannelId, EpochCertificate, Flags, SignedHeader};
use tokio_util::sync::CancellationToken;

use crate::{Error, metrics};

/// Progressive readers of one channel.
const MAX_READERS: usize = 256;

/// The broadcast.
pub(crate) struct Broadcast {
    pub(crate) id: ChannelId,
    pub(crate) swarm: SwarmId,
    pub(crate) hub: Hub,
    pub(crate) leave: CancellationToken,
    scheme: Signed,
    encoder: Mutex<Encoder>,
    /// Sent to HTTP readers and not yet told to the core.
    http: AtomicU64,
    _level: boot::metrics::Level,
}

/// The call that feeds the broadcast.
#[derive(Default)]
struct Encoder {
    epoch: u64,
    /// Calls there have been; the last of them may still run.
    calls: u64,
    running: bool,
    replaced: CancellationToken,
}

/// An encoder's right to feed, until it is dropped or replaced.
pub(crate) struct Turn {
    pub(crate) epoch: SignedEpoch,
    pub(crate) calls: u64,
    pub(crate) replaced: CancellationToken,
}

impl Broadcast {
    pub(crate) fn new(
        id: ChannelId,
        key: [u8; 32],
        swarm: SwarmId,
        leave: CancellationToken,
    ) -> Self {
        Self {
            id,
            swarm,
            hub: Hub::new(MAX_READERS),
            leave,
            scheme: Signed::new(id, key),
            encoder: Mutex::default(),
            http: AtomicU64::new(0),
            _level: metrics::channel(),
        }
    }

    pub(crate) fn scheme(&self) -> &Signed {
        &self.scheme
    }

    /// Makes a call the one that feeds; an earlier one ends.
    ///
    /// # Errors
    /// [`Error::Uncertified`], [`Error::Stale`].
    pub(crate) fn take_turn(&self, certificate: &[u8]) -> Result<Turn, Error> {
        let certificate = EpochCertificate::from_bytes(certificate)?;
        let number = certificate.epoch;
        let epoch = self.scheme.epoch(certificate)?;
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        if number < encoder.epoch {
            return Err(Error::Stale);
        }
        encoder.replaced.cancel();
        encoder.replaced = CancellationToken::new();
        encoder.epoch = number;
        encoder.calls += 1;
        encoder.running = true;
        Ok(Turn {
            epoch,
            calls: encoder.calls,
            replaced: encoder.replaced.clone(),
        })
    }

    /// The call has ended.
    pub(crate) fn end_turn(&self, calls: u64) {
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        if encoder.calls == calls {
            encoder.running = false;
        }
    }

    /// Whether no call runs and none has come since.
    pub(crate) fn is_idle(&self, calls: u64) -> bool {
        let encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        encoder.calls == calls && !encoder.running
    }

    /// Checks a generation, hands it to the HTTP readers, and returns what the core is to be
    /// told.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::Stale`].
    pub(crate) fn generation(
        &self,
        epoch: &SignedEpoch,
        header: &[u8],
        pieces: Vec<Bytes>,
    ) -> Result<Command, Error> {
        let header =
            SignedHeader::from_bytes(header).map_err(|_| Error::BadRequest("a header is none"))?;
        let listed = &header.header;
        if listed.channel != self.id || listed.epoch != epoch.certificate().epoch {
            return Err(Error::Stale);
        }
        // Viewers would cut a seeder for what it did not check.
        if !self.scheme.check_header(epoch, &header) {
            return Err(Error::BadRequest("a header is not signed by its epoch"));
        }
        let listed_piece = |(stripe, piece): (u8, &Bytes)| listed.matches(stripe, piece);
        if pieces.len() != usize::from(listed.shape.n)
            || !(0..listed.shape.n).zip(&pieces).all(listed_piece)
        {
            return Err(Error::BadRequest("pieces are not what the header lists"));
        }
        metrics::generation();
        self.feed_readers(&header, &pieces);
        Ok(Command::Publish(self.swarm, header, pieces))
    }

    fn feed_readers(&self, header: &SignedHeader, pieces: &[Bytes]) {
        let header = &header.header;
        let pieces: Vec<Option<Bytes>> = pieces.iter().cloned().map(Some).collect();
        let decoded = stripe::decode(header.shape, header.body_len as usize, &pieces);
        let Some(body) = decoded
            .ok()
            .and_then(|(bytes, _)| Body::from_bytes(&bytes).ok())
        else {
            return;
        };
        self.hub.push(&Media {
            media: body.media,
            init: body.init,
            flags: header.meta.flags,
            ingest_stamp_us: header.meta.ingest_stamp_us,
        });
        if header.meta.flags.has(Flags::END) {
            self.hub.end();
        }
    }

    /// So much was sent to an HTTP reader.
    pub(crate) fn count_http(&self, bytes: usize) {
        metrics::http(bytes);
        self.http.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was sent to HTTP readers since this was last asked.
    pub(crate) fn take_http(&self) -> u64 {
        self.http.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use stripe::{EpochSigner, Meta, Shape};

    use super::*;

    const ID: ChannelId = ChannelId([1; 16]);

    fn certificate(epoch: u64, key: &SigningKey) -> Vec<u8> {
        let public_key = EpochSigner::new(ID, epoch, &[3; 32]).public_key();
        let signed = EpochCertificate::signed_bytes(ID, epoch, &public_key);
        let certificate = EpochCertificate {
            channel: ID,
            epoch,
            public_key,
            signature: key.sign(&signed).to_bytes(),
        };
        certificate.to_bytes().to_vec()
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn seeded() -> Broadcast {
        let key = key().verifying_key().to_bytes();
        Broadcast::new(ID, key, SwarmId(1), CancellationToken::new())
    }

    fn generation(epoch: u64, flags: Flags) -> (Vec<u8>, Vec<Bytes>) {
        let body = Body {
            init: Some(Bytes::from_static(b"init")),
            media: Bytes::from(vec![8; 5000]),
        };
        let meta = Meta {
            sequence: 0,
            media_time_us: 0,
            ingest_stamp_us: 1,
            delay_ms: 1000,
            flags,
        };
        let signer = EpochSigner::new(ID, epoch, &[3; 32]);
        let sealed = signer.seal(meta, Shape::DEFAULT, &body.to_bytes());
        let (header, pieces) = sealed.unwrap();
        (header.to_bytes().to_vec(), pieces)
    }

    #[test]
    fn a_later_encoder_takes_over_and_an_earlier_one_is_refused() {
        let broadcast = seeded();
        let first = broadcast.take_turn(&certificate(5, &key())).unwrap();
        let second = broadcast.take_turn(&certificate(6, &key())).unwrap();
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        let stale = broadcast.take_turn(&certificate(5, &key()));
        assert!(matches!(stale, Err(Error::Stale)));
        broadcast.end_turn(first.calls);
        assert!(!broadcast.is_idle(second.calls));
        broadcast.end_turn(second.calls);
        assert!(broadcast.is_idle(second.calls) && !broadcast.is_idle(first.calls));
    }

    #[test]
    fn an_epoch_of_another_key_is_refused() {
        let foreign = SigningKey::from_bytes(&[6; 32]);
        let refused = seeded().take_turn(&certificate(5, &foreign));
        assert!(matches!(refused, Err(Error::Uncertified(_))));
    }

    #[test]
    fn generations_are_checked_and_reach_readers() {
        let broadcast = seeded();
        let turn = broadcast.take_turn(&certificate(5, &key())).unwrap();
        let (header, pieces) = generation(5, Flags::KEYFRAME);
        let mut reader = broadcast.hub.subscribe().unwrap();
        let refused = |header: &[u8], pieces| broadcast.generation(&turn.epoch, header, pieces);
        assert!(refused(&header[1..], pieces.clone()).is_err());
        assert!(refused(&header, pieces[1..].to_vec()).is_err());
        let mut long = pieces.clone();
        long[3] = Bytes::from(vec![0; 70_000]);
        assert!(refused(&header, long).is_err());
        let mut altered = pieces.clone();
        altered[19] = altered[18].clone();
        assert!(refused(&header, altered).is_err());
        let mut unsigned = header.clone();
        *unsigned.last_mut().unwrap() ^= 1;
        assert!(refused(&unsigned, pieces.clone()).is_err());
        let (foreign, _) = generation(4, Flags::KEYFRAME);
        assert!(matches!(
            refused(&foreign, pieces.clone()),
            Err(Error::Stale)
        ));
        assert!(reader.try_recv().is_err());
        assert!(refused(&header, pieces).is_ok());
        assert_eq!(reader.try_recv().unwrap().concat().len(), 4 + 5000);
    }
}
