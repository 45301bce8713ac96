//! A body ⇄ n equally long pieces, of which any k rebuild it: systematic Reed-Solomon, so
//! that the first k pieces *are* the body and cost nothing to decode.

use bytes::{Bytes, BytesMut};

use crate::Shape;

/// The longest body: 960 KiB, so that a piece (a sixteenth) is at most 60 KiB and fits a
/// data channel message, whose usual bound is 64 KiB.
pub const MAX_BODY_LEN: usize = 960 * 1024;

/// Why coding failed. On the decoding side every cause is the sender's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The body is longer than [`MAX_BODY_LEN`].
    #[error("body of {0} bytes is too long")]
    TooLong(usize),
    /// Fewer than k pieces.
    #[error("{have} pieces of the {need} needed")]
    TooFew {
        /// Pieces given.
        have: usize,
        /// k.
        need: usize,
    },
    /// A piece differs in length from what the header says, or the header from itself.
    #[error("pieces do not fit the header")]
    Misfit,
}

/// The length of each piece of a body: the k-th part, rounded up to an even number, since
/// the code works in 16-bit symbols. Never zero.
#[must_use]
pub fn piece_len(shape: Shape, body_len: usize) -> usize {
    body_len
        .div_ceil(usize::from(shape.k))
        .next_multiple_of(2)
        .max(2)
}

/// Codes a body into n pieces in stripe order.
///
/// # Errors
/// [`CodeError::TooLong`].
pub fn code(shape: Shape, body: &Bytes) -> Result<Vec<Bytes>, CodeError> {
    if body.len() > MAX_BODY_LEN {
        return Err(CodeError::TooLong(body.len()));
    }
    let len = piece_len(shape, body.len());
    let mut pieces: Vec<Bytes> = (0..usize::from(shape.k))
        .map(|index| data_piece(body, index, len))
        .collect();
    let parity = usize::from(shape.n - shape.k);
    if parity > 0 {
        let coded = reed_solomon_simd::encode(usize::from(shape.k), parity, &pieces)
            .map_err(|_| CodeError::Misfit)?;
        pieces.extend(coded.into_iter().map(Bytes::from));
    }
    Ok(pieces)
}

fn data_piece(body: &Bytes, index: usize, len: usize) -> Bytes {
    let start = (index * len).min(body.len());
    let end = (start + len).min(body.len());
    if end - start == len {
        return body.slice(start..end);
    }
    let mut padded = BytesMut::with_capacity(len);
    padded.extend_from_slice(&body[start..end]);
    padded.resize(len, 0);
    padded.freeze()
}

/// Rebuilds the k data pieces and with them the body, from any k of `pieces`, given in
/// stripe order with `None` where one is missing. Data pieces come back too, since whoever
/// has decoded can serve them all.
///
/// # Errors
/// [`CodeError::TooFew`], or [`CodeError::Misfit`] when lengths contradict each other.
pub fn decode(
    shape: Shape,
    body_len: usize,
    pieces: &[Option<Bytes>],
) -> Result<(Bytes, Vec<Bytes>), CodeError> {
    let (k, n) = (usize::from(shape.k), usize::from(shape.n));
    let len = piece_len(shape, body_len);
    if body_len > MAX_BODY_LEN || pieces.len() != n {
        return Err(CodeError::Misfit);
    }
    if pieces.iter().flatten().any(|piece| piece.len() != len) {
        return Err(CodeError::Misfit);
    }
    let have = pieces.iter().flatten().count();
    if have < k {
        return Err(CodeError::TooFew { have, need: k });
    }
    let held = |range: std::ops::Range<usize>| {
        range.filter_map(|index| pieces[index].as_ref().map(|piece| (index, piece)))
    };
    let mut data: Vec<Bytes> = pieces[..k]
        .iter()
        .map(|piece| piece.clone().unwrap_or_default())
        .collect();
    if held(0..k).count() < k {
        let parity = held(k..n).map(|(index, piece)| (index - k, piece));
        let restored = reed_solomon_simd::decode(k, n - k, held(0..k), parity)
            .map_err(|_| CodeError::Misfit)?;
        for (index, piece) in restored {
            data[index] = Bytes::from(piece);
        }
    }
    let mut body = BytesMut::with_capacity(len * k);
    for piece in &data {
        body.extend_from_slice(piece);
    }
    body.truncate(body_len);
    Ok((body.freeze(), data))
}
