//! Secrets that people hold: stream keys, API tokens, what links in mails and cookies say,
//! invitations. 32 random bytes behind a prefix that says which (an invitation is shorter, to
//! be typed); we keep the hash alone. The rule: a secret is shown once, by the call that made
//! it, and no `Debug` shows it.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::Error;

/// Prefix and 32 bytes in base64url: longer than this is not looked at.
const TEXT_MAX: usize = 64;

/// Crockford's base 32.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const INVITATION_LETTERS: usize = 16;

/// Which right a secret gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To publish to one channel.
    StreamKey,
    /// To administer.
    ApiToken,
    /// To do what a letter's link does.
    Link,
    /// To be logged in.
    Login,
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

    /// A code that lets in without waiting: 80 random bits, in groups of four letters that are
    /// not taken for each other.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn invitation() -> Result<Self, Error> {
        let bits = u128::from_be_bytes(random()?);
        let letter = |at: u32| char::from(LETTERS[(bits >> (5 * at)) as usize % LETTERS.len()]);
        let group = |group: u32| (4 * group..4 * group + 4).map(letter).collect::<String>();
        Ok(Self((0..4).map(group).collect::<Vec<_>>().join("-")))
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

/// The same of an invitation, however it was typed.
pub(crate) fn hash_of_invitation(text: &str) -> Option<blake3::Hash> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let letters: String = text
        .chars()
        .filter(|char| !matches!(char, '-' | ' '))
        .map(|char| match char.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            char => char,
        })
        .collect();
    let known = |byte: u8| LETTERS.contains(&byte);
    if letters.len() != INVITATION_LETTERS || !letters.bytes().all(known) {
        return None;
    }
    let groups: Vec<&str> = (0..4)
        .map(|group| &letters[4 * group..4 * group + 4])
        .collect();
    Some(blake3::hash(groups.join("-").as_bytes()))
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
            Self::Link => "lsl_",
            Self::Login => "lsc_",
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
    fn an_invitation_is_found_however_it_was_typed() -> Result<(), Error> {
        let code = Secret::invitation()?;
        assert_eq!(code.reveal().len(), 19);
        let typed = code.reveal().replace('-', " ").to_lowercase();
        let typed = typed.replace('0', "o").replace('1', "l");
        assert_eq!(hash_of_invitation(&typed), Some(code.hash()));
        for bad in ["", "abc", "UUUU-UUUU-UUUU-UUUU", "ßßßßßßßßßßßßßßßß"] {
            assert_eq!(hash_of_invitation(bad), None, "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_long_text_is_not_hashed() {
        let long = "ls_".to_owned() + &"a".repeat(TEXT_MAX);
        assert_eq!(hash_of_typed(Kind::StreamKey, &long), None);
    }
}
