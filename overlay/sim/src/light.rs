//! Payloads without bytes: a hundred thousand viewers of a minute's stream are terabytes,
//! which no machine here could hash.

use overlay_core::{Facts, Scheme, StripeId};

/// The scheme of the simulator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Light;

/// A header that says whether it is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LightHeader {
    /// What it says.
    pub facts: Facts,
    /// Nobody signed it.
    pub forged: bool,
}

/// A piece that says what it is of, and whether it was altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LightPiece {
    /// Its generation.
    pub sequence: u64,
    /// Its stripe.
    pub stripe: StripeId,
    /// Its length.
    pub len: u32,
    /// Somebody altered it.
    pub forged: bool,
}

impl Scheme for Light {
    type Epoch = u64;
    type Header = LightHeader;
    type Piece = LightPiece;
    /// Whether it is what the encoder made.
    type Body = bool;

    fn epoch_number(epoch: &u64) -> u64 {
        *epoch
    }

    fn facts(header: &LightHeader) -> Facts {
        header.facts
    }

    fn header_len(header: &LightHeader) -> usize {
        // As `stripe::SignedHeader`: 59 fixed bytes, 16 a hash, 64 of signature.
        59 + 16 * usize::from(header.facts.n) + 64
    }

    fn piece_len(piece: &LightPiece) -> usize {
        piece.len as usize
    }

    fn check_epoch(&self, _: &u64) -> bool {
        true
    }

    fn check_header(&self, epoch: &u64, header: &LightHeader) -> bool {
        !header.forged && header.facts.epoch == *epoch
    }

    fn check_piece(&self, header: &LightHeader, stripe: StripeId, piece: &LightPiece) -> bool {
        !piece.forged && piece.stripe == stripe && piece.sequence == header.facts.sequence
    }

    fn decode(&self, header: &LightHeader, pieces: &[Option<LightPiece>]) -> Option<bool> {
        let mut held = pieces.iter().flatten();
        let enough = held.clone().count() >= usize::from(header.facts.k);
        enough.then(|| !header.forged && held.all(|piece| !piece.forged))
    }
}
