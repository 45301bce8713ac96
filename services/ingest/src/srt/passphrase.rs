//! The secret that broadcasters and the listener may share, so that nobody on the way sees the
//! broadcast. The stream key can be seen all the same: stream ids travel in the clear.

use std::fmt;

use srt_protocol::{
    options::KeySize,
    packet::SrtControlPacket,
    settings::{CipherSettings, KeyMaterialRefreshSettings, KeySettings, Passphrase as Inner},
};

use crate::refusal::Refusal;

/// A passphrase of SRT's; `Debug` hides it.
#[derive(Clone)]
pub struct Passphrase(Inner);

/// It is too short or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SRT passphrase has 10 to 79 bytes, this one has {0}")]
pub struct PassphraseLength(usize);

impl Passphrase {
    /// Takes 10 to 79 bytes (draft-sharabayko-srt-01, 6.1.4).
    ///
    /// # Errors
    /// When it is shorter or longer.
    pub fn new(text: String) -> Result<Self, PassphraseLength> {
        let len = text.len();
        let inner = Inner::try_from(text).map_err(|_| PassphraseLength(len))?;
        Ok(Self(inner))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Before the salt in key material (3.2.2).
const HEADER_LEN: usize = 16;
const SALT_LEN: usize = 16;
/// What wrapping adds to keys (RFC 3394).
const WRAP_LEN: usize = 8;

/// The cipher of a connection, if both sides want one.
pub(super) fn cipher(
    passphrase: Option<&Passphrase>,
    key_material: Option<&[u8]>,
) -> Result<Option<CipherSettings>, Refusal> {
    let (passphrase, mut key_material) = match (passphrase, key_material) {
        (None, None) => return Ok(None),
        (Some(passphrase), Some(key_material)) => (passphrase, key_material),
        _ => return Err(Refusal::Encryption),
    };
    let key_size = key_size(key_material).ok_or(Refusal::WrongPassphrase)?;
    let parsed = SrtControlPacket::parse(3, &mut key_material);
    let Ok(SrtControlPacket::KeyRefreshRequest(message)) = parsed else {
        return Err(Refusal::WrongPassphrase);
    };
    let settings = KeySettings {
        key_size,
        passphrase: passphrase.0.clone(),
    };
    let refresh = KeyMaterialRefreshSettings::default();
    let cipher = CipherSettings::new(&settings, &refresh, &message);
    cipher.map(Some).map_err(|_| Refusal::WrongPassphrase)
}

/// The size of the keys, when the material is as long as it says: the library takes that for
/// granted.
pub(super) fn key_size(key_material: &[u8]) -> Option<KeySize> {
    let header = key_material.first_chunk::<HEADER_LEN>()?;
    let keys = (header[3] & 3).count_ones() as usize;
    let (salt_len, key_len) = (usize::from(header[14]) * 4, usize::from(header[15]) * 4);
    let sound = keys > 0
        && salt_len == SALT_LEN
        && key_material.len() == HEADER_LEN + SALT_LEN + WRAP_LEN + keys * key_len;
    match key_len {
        16 if sound => Some(KeySize::AES128),
        24 if sound => Some(KeySize::AES192),
        32 if sound => Some(KeySize::AES256),
        _ => None,
    }
}
