//! Who calls the API with a token, and what the token lets them do.

use std::fmt;

use crate::{AccountId, Channel, Error};

/// What a token may. Each is its own: `keys` without `channels` can give a broadcaster's tool
/// keys, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To list channels and keys.
    Read,
    /// To make, change and delete channels.
    Channels,
    /// To make and revoke stream keys.
    Keys,
}

impl Scope {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Read, Self::Channels, Self::Keys];

    /// As it is stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Channels => "channels",
            Self::Keys => "keys",
        }
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Reads words with blanks between; those that are unknown give no right.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let known = |word: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
        let found = text.split_whitespace().filter_map(known);
        Self(found.fold(0, |set, scope| set | 1 << scope as u8))
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        f.write_str(&has.map(Scope::as_str).collect::<Vec<_>>().join(" "))
    }
}

/// The holder of a token.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Whose token it is; the operator's is nobody's.
    pub owner: Option<AccountId>,
    /// What it may.
    pub scopes: Scopes,
}

impl Caller {
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Error> {
        match self.scopes.has(scope) {
            true => Ok(()),
            false => Err(Error::Scope),
        }
    }

    /// A channel of somebody else's is not there.
    pub(crate) fn owns(&self, channel: &Channel) -> Result<(), Error> {
        match self.owner.is_none() || self.owner == channel.owner {
            true => Ok(()),
            false => Err(Error::NoSuchChannel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_what_was_written() {
        let scopes = Scopes::parse("keys  read admin keys");
        assert_eq!(scopes.to_string(), "read keys");
        assert!(scopes.has(Scope::Keys) && !scopes.has(Scope::Channels));
        assert!(Scopes::parse("").is_empty());
    }
}
