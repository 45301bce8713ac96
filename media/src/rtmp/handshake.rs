//! The plain RTMP handshake (specification, section 5.2). Clients that sign theirs are
//! content with a plain answer when its version field is zero.

use bytes::{Buf, BufMut, BytesMut};

const PART_LEN: usize = 1536;

/// The server's side.
pub(super) struct Handshake {
    input: BytesMut,
    answered: bool,
}

/// Not RTMP, or an encrypted kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RTMP handshake")]
pub struct Error;

impl Handshake {
    pub(super) fn new() -> Self {
        Self {
            input: BytesMut::new(),
            answered: false,
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn held_len(&self) -> usize {
        self.input.len()
    }

    /// Once it is done, the bytes that came after it.
    pub(super) fn poll(&mut self, out: &mut BytesMut) -> Result<Option<BytesMut>, Error> {
        if !self.answered {
            if self.input.first().is_some_and(|version| *version != 3) {
                return Err(Error);
            }
            if self.input.len() < 1 + PART_LEN {
                return Ok(None);
            }
            self.input.advance(1);
            let c1 = self.input.split_to(PART_LEN);
            out.put_u8(3);
            out.put_bytes(0, 8);
            out.extend((8..PART_LEN).map(|at| (at * 31) as u8));
            out.put_slice(&c1);
            self.answered = true;
        }
        if self.input.len() < PART_LEN {
            return Ok(None);
        }
        self.input.advance(PART_LEN);
        Ok(Some(std::mem::take(&mut self.input)))
    }
}
