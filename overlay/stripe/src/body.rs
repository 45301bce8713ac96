//! What a generation holds once it is decoded: media, and what a player needs to begin.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

/// A decoded generation. Laid out as `init length (u32, big endian) · init · media`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Body {
    /// The CMAF init segment; present in every generation that starts with a keyframe,
    /// so that playing can begin there.
    pub init: Option<Bytes>,
    /// Whole CMAF fragments, in decode order.
    pub media: Bytes,
}

impl Body {
    /// The bytes that are coded. At most [`crate::MAX_BODY_LEN`] may be.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let init = self.init.as_deref().unwrap_or_default();
        let mut out = BytesMut::with_capacity(4 + init.len() + self.media.len());
        out.put_u32(init.len() as u32);
        out.put_slice(init);
        out.put_slice(&self.media);
        out.freeze()
    }

    /// Takes the bytes apart again, without copying them.
    ///
    /// # Errors
    /// When the init segment is said to be longer than what is there.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, Error> {
        let Some(prefix) = bytes.first_chunk::<4>() else {
            return if bytes.is_empty() {
                Ok(Self::default())
            } else {
                Err(Error::Length("body"))
            };
        };
        let init_len = u32::from_be_bytes(*prefix) as usize;
        if init_len > bytes.len() - 4 {
            return Err(Error::Length("init segment"));
        }
        Ok(Self {
            init: (init_len > 0).then(|| bytes.slice(4..4 + init_len)),
            media: bytes.slice(4 + init_len..),
        })
    }
}
