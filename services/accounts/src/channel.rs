//! A channel: a place to broadcast to, and the rules its fields obey.

use std::fmt;

use boot::ticket::Share;
use ed25519_dalek::{Signer, SigningKey};

use crate::{AccountId, Error, form::Fault, form::line, form::lines, secret::random};

/// The one preset for all goals; a channel may choose another.
pub const PLAY_OUT_DELAY_MS: u32 = 1800;

/// Shorter and no repair fits in; longer and it is not live.
const PLAY_OUT_DELAY_RANGE_MS: std::ops::RangeInclusive<u32> = 500..=30_000;

/// Less carries no stripe of anything worth seeing; more is no cap. As `migrations/` bound it.
const UPLOAD_MAX_RANGE_BPS: std::ops::RangeInclusive<u64> = 100_000..=1_000_000_000;

const NAME_MAX: usize = 40;
/// As `migrations/` bounds them.
const TITLE_MAX: usize = 80;
const DESCRIPTION_MAX: usize = 1000;

/// Names that the site needs for itself.
const RESERVED: [&str; 22] = [
    "about",
    "account",
    "admin",
    "api",
    "assets",
    "channels",
    "dashboard",
    "embed",
    "favicon",
    "healthz",
    "help",
    "live",
    "login",
    "logout",
    "metrics",
    "readyz",
    "robots",
    "settings",
    "signup",
    "static",
    "watch",
    "ws",
];

/// Who may publish, and where.
pub struct Publisher {
    /// Where.
    pub channel: Channel,
    /// Of the stream key that was shown.
    pub key_id: i64,
}

/// A channel as accounts knows it.
#[derive(Clone)]
pub struct Channel {
    /// What pieces and tickets carry.
    pub id: [u8; 16],
    /// What stands in URLs.
    pub name: ChannelName,
    /// D: from ingest stamp to release.
    pub play_out_delay_ms: u32,
    /// Whether its viewers relay.
    pub share: Share,
    /// What each of them uploads at most, in bits a second; `None`: as it likes.
    pub upload_max_bps: Option<u64>,
    /// Unix seconds.
    pub created_at: u64,
    /// Whose it is; the station's own has nobody.
    pub owner: Option<AccountId>,
    /// What it is called before people; empty: as its slug.
    pub title: String,
    /// What it is about.
    pub description: String,
    pub(crate) key: SigningKey,
}

impl Channel {
    /// A new channel with an id and a key of its own; it is not stored yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the delay is out of range, [`Error::Random`].
    pub fn new(name: ChannelName, play_out_delay_ms: u32, share: Share) -> Result<Self, Error> {
        check_delay(play_out_delay_ms)?;
        Ok(Self {
            id: random()?,
            name,
            play_out_delay_ms,
            share,
            upload_max_bps: None,
            created_at: boot::ticket::now(),
            owner: None,
            title: String::new(),
            description: String::new(),
            key: SigningKey::from_bytes(&random()?),
        })
    }

    /// What people read.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self.title.as_str() {
            "" => self.name.as_str(),
            title => title,
        }
    }

    /// What tickets name and epoch certificates verify against.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The channel key's word that this epoch key is the channel's.
    #[must_use]
    pub fn certify(&self, epoch: u64, epoch_key: &[u8; 32]) -> [u8; 64] {
        let signed =
            stripe::EpochCertificate::signed_bytes(stripe::ChannelId(self.id), epoch, epoch_key);
        self.key.sign(&signed).to_bytes()
    }
}

pub(crate) fn check_delay(play_out_delay_ms: u32) -> Result<(), Error> {
    match PLAY_OUT_DELAY_RANGE_MS.contains(&play_out_delay_ms) {
        true => Ok(()),
        false => Err(Error::Invalid(
            "play_out_delay_ms must be from 500 to 30000",
        )),
    }
}

pub(crate) fn check_upload(upload_max_bps: Option<u64>) -> Result<(), Error> {
    match upload_max_bps.is_none_or(|bps| UPLOAD_MAX_RANGE_BPS.contains(&bps)) {
        true => Ok(()),
        false => Err(Error::Invalid(
            "upload_max_bps must be from 100000 to 1000000000, or null",
        )),
    }
}

/// A title, at most 80 characters in one line.
pub(crate) fn title(text: &str) -> Result<String, Fault> {
    line(text, TITLE_MAX, Fault("A title has at most 80 characters."))
}

/// A description, at most 1000 characters.
pub(crate) fn description(text: &str) -> Result<String, Fault> {
    lines(
        text,
        DESCRIPTION_MAX,
        Fault("A description has at most 1000 characters."),
    )
}

/// A slug: 2 to 40 of `a-z`, `0-9` and inner single hyphens, no word of the site's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(String);

impl ChannelName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(2..=NAME_MAX).contains(&text.len()) || !text.bytes().all(plain) {
            return Err(Error::Invalid("a name is 2 to 40 of a-z, 0-9 and hyphens"));
        }
        if text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return Err(Error::Invalid("a name's hyphens stand alone and inside"));
        }
        if RESERVED.contains(&text) {
            return Err(Error::Invalid("the site needs this name for itself"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The slug.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["demo", "a1", "my-channel-2", &"a".repeat(40)] {
            assert!(ChannelName::parse(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "a",
            "-ab",
            "ab-",
            "a--b",
            "Demo",
            "a b",
            "a/b",
            "ä1",
            "api",
            "ws",
            "live",
            "<script>",
            &"a".repeat(41),
        ];
        for bad in bad {
            assert!(ChannelName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_verifies_against_the_channels_key() -> anyhow::Result<()> {
        let channel = Channel::new(
            ChannelName::parse("demo")?,
            PLAY_OUT_DELAY_MS,
            Share::Allowed,
        )?;
        let id = stripe::ChannelId(channel.id);
        let public_key = stripe::EpochSigner::new(id, 9, &[3; 32]).public_key();
        let certificate = stripe::EpochCertificate {
            channel: id,
            epoch: 9,
            public_key,
            signature: channel.certify(9, &public_key),
        };
        assert!(certificate.verify(id, &channel.public_key()).is_ok());
        Ok(())
    }

    #[test]
    fn a_delay_out_of_range_is_refused() -> Result<(), Error> {
        for delay in [0, 499, 30_001] {
            assert!(Channel::new(ChannelName::parse("demo")?, delay, Share::Off).is_err());
        }
        Ok(())
    }
}
