//! An account: somebody who signed up and followed the link. What it may depends on whether it
//! was let in.

use std::fmt;

use crate::email::Email;

/// 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(pub(crate) [u8; 16]);

impl AccountId {
    /// As administrators name it.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads that again.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

/// An account as accounts knows it.
#[derive(Clone)]
pub struct Account {
    /// What its channels name.
    pub id: AccountId,
    /// Where its mail goes; what it logs in with.
    pub email: Email,
    /// Whether it may let others in.
    pub administrator: bool,
    /// Unix milliseconds: its place on the waiting list.
    pub confirmed_at_ms: i64,
    /// Unix seconds; none on the waiting list.
    pub approved_at: Option<i64>,
}

impl Account {
    /// Whether it was let in.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.approved_at.is_some()
    }
}

/// E-mail addresses stay out of logs.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.id.to_hex())
    }
}
