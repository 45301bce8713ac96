//! Tickets: the right to watch a channel, signed by accounts, checked offline by trackers
//! and seeders. A JWT with EdDSA, so that anything can read it; only [`Signer`] makes it and
//! only [`Verifier`] believes it.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

/// The longest token that is looked at.
pub const TOKEN_MAX: usize = 2 << 10;

/// How far the clocks of accounts and of a verifier may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// What a valid ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The viewer, chosen by accounts anew for each ticket: it identifies nobody.
    #[serde(rename = "sub")]
    pub viewer: String,
    /// The channel.
    #[serde(rename = "chan", with = "hex_array")]
    pub channel_id: [u8; 16],
    /// The channel's name in URLs.
    pub name: String,
    /// The channel's Ed25519 key: what epoch certificates must verify against.
    #[serde(rename = "key", with = "hex_array")]
    pub channel_key: [u8; 32],
    /// What the operator asks of this viewer.
    pub share: Share,
    /// Unix seconds.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// Unix seconds.
    #[serde(rename = "exp")]
    pub expires_at: u64,
}

/// Whether viewers of a channel relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// A viewer that does not relay may be turned away when supply is short.
    Required,
    /// Each viewer chooses.
    Allowed,
    /// Nobody relays; the seeders serve all.
    Off,
}

/// Why a token gives no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was one of ours; the holder asks for another.
    #[error("the ticket has expired")]
    Expired,
    /// It never was one of ours, or was altered.
    #[error("the ticket is not genuine")]
    Forged,
}

/// Makes tickets. Only accounts has one.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    public_key: [u8; 32],
}

/// Believes or refuses tickets.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Signer {
    /// From the 32 secret bytes of an Ed25519 key.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        // PKCS#8 of RFC 8410: a fixed prefix, then the secret.
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        Self {
            key: EncodingKey::from_ed_der(&[&PREFIX[..], secret].concat()),
            public_key: SigningKey::from_bytes(secret).verifying_key().to_bytes(),
        }
    }

    /// What [`Verifier::new`] is given.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The token of a ticket.
    ///
    /// # Errors
    /// [`Error::Forged`] when the result would exceed [`TOKEN_MAX`], which a verifier
    /// would refuse.
    pub fn sign(&self, ticket: &Ticket) -> Result<String, Error> {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), ticket, &self.key)
            .ok()
            .filter(|token| token.len() <= TOKEN_MAX)
            .ok_or(Error::Forged)
    }
}

impl Verifier {
    /// Believes what the holder of this Ed25519 key signed.
    #[must_use]
    pub fn new(public_key: &[u8; 32]) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY.as_secs();
        Self {
            key: DecodingKey::from_ed_der(public_key),
            validation,
        }
    }

    /// What the token says, if it is genuine and still good.
    ///
    /// # Errors
    /// [`Error::Expired`], and [`Error::Forged`] for everything else.
    pub fn verify(&self, token: &str) -> Result<Ticket, Error> {
        if token.len() > TOKEN_MAX {
            return Err(Error::Forged);
        }
        jsonwebtoken::decode(token, &self.key, &self.validation)
            .map(|decoded| decoded.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Error::Expired,
                _ => Error::Forged,
            })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// Unix time in seconds, as claims count it.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

mod hex_array {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            viewer: "v".into(),
            channel_id: [1; 16],
            name: "demo".into(),
            channel_key: [2; 32],
            share: Share::Allowed,
            issued_at: now(),
            expires_at: now() + 600,
        }
    }

    fn pair() -> (Signer, Verifier) {
        let signer = Signer::new(&[7; 32]);
        let verifier = Verifier::new(&signer.public_key());
        (signer, verifier)
    }

    #[test]
    fn a_ticket_says_what_was_signed() {
        let (signer, verifier) = pair();
        let token = signer.sign(&ticket());
        assert_eq!(
            token.and_then(|token| verifier.verify(&token)),
            Ok(ticket())
        );
    }

    #[test]
    fn an_old_ticket_has_expired_but_not_within_the_leeway() {
        let (signer, verifier) = pair();
        let verify = |expires_at| {
            let token = signer.sign(&Ticket {
                expires_at,
                ..ticket()
            })?;
            verifier.verify(&token).map(|_| ())
        };
        assert_eq!(verify(now() - 90), Err(Error::Expired));
        assert_eq!(verify(now() - 30), Ok(()));
    }

    #[test]
    fn another_key_an_altered_claim_and_another_algorithm_are_forgeries() -> anyhow::Result<()> {
        let (signer, verifier) = pair();
        let token = signer.sign(&ticket())?;
        let foreign = Signer::new(&[8; 32]).sign(&ticket())?;
        assert_eq!(verifier.verify(&foreign), Err(Error::Forged));

        let old = Signer::new(&[8; 32]).sign(&Ticket {
            expires_at: 1,
            ..ticket()
        })?;
        assert_eq!(
            verifier.verify(&old),
            Err(Error::Forged),
            "forged before expired"
        );

        let mut parts: Vec<&str> = token.split('.').collect();
        let other = signer.sign(&Ticket {
            name: "other".into(),
            ..ticket()
        })?;
        let claims = other.split('.').nth(1).unwrap_or_default().to_owned();
        parts[1] = &claims;
        assert_eq!(verifier.verify(&parts.join(".")), Err(Error::Forged));

        let symmetric = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &ticket(),
            &EncodingKey::from_secret(&signer.public_key()),
        )?;
        assert_eq!(verifier.verify(&symmetric), Err(Error::Forged));
        Ok(())
    }

    #[test]
    fn a_long_token_is_not_read_and_not_made() {
        let (signer, verifier) = pair();
        assert_eq!(
            verifier.verify(&"a".repeat(TOKEN_MAX + 1)),
            Err(Error::Forged)
        );
        let long = Ticket {
            name: "n".repeat(TOKEN_MAX),
            ..ticket()
        };
        assert_eq!(signer.sign(&long), Err(Error::Forged));
    }

    proptest! {
        #[test]
        fn no_token_panics(token in "[A-Za-z0-9_.-]{0,200}") {
            prop_assert!(pair().1.verify(&token).is_err());
        }
    }
}
