//! Secrets that people hold: stream keys and API tokens. 32 random bytes behind a prefix
//! that says which; we keep the hash alone. The rule: a secret is shown once, by the call
//! that made it, and no `Debug` shows it.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::Error;

/// Prefix and 32 bytes in base64url: longer than this is not looked at.
const TEXT_MAX: usize = 64;

/// Which right a secret gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To publish to one channel.
    StreamKey,
    /// To administer.
    ApiToken,
}

/// A secret as its holder types it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate(kind: Kind) -> Result<Self, Error> {
        let bytes = random::<32>()?;
        Ok(Self(
            kind.prefix().to_owned() + &BASE64_URL_SAFE_NO_PAD.encode(bytes),
        ))
    }

    /// The text itself: to show to its owner, never to log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> blake3::Hash {
        blake3::hash(self.0.as_bytes())
    }
}

/// The hash to look a typed secret up by; none when it cannot be one. A look-up by the hash
/// of 256 random bits tells a guesser nothing by its time.
pub(crate) fn hash_of_typed(kind: Kind, text: &str) -> Option<blake3::Hash> {
    (text.len() <= TEXT_MAX && text.starts_with(kind.prefix()))
        .then(|| blake3::hash(text.as_bytes()))
}

/// Fresh randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::StreamKey => "ls_",
            Self::ApiToken => "lsa_",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_what_was_typed() -> Result<(), Error> {
        let secret = Secret::generate(Kind::StreamKey)?;
        assert!(secret.reveal().len() <= TEXT_MAX);
        assert_eq!(
            hash_of_typed(Kind::StreamKey, secret.reveal()),
            Some(secret.hash())
        );
        assert_eq!(hash_of_typed(Kind::ApiToken, secret.reveal()), None);
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        Ok(())
    }

    #[test]
    fn a_long_text_is_not_hashed() {
        let long = "ls_".to_owned() + &"a".repeat(TEXT_MAX);
        assert_eq!(hash_of_typed(Kind::StreamKey, &long), None);
    }
}
