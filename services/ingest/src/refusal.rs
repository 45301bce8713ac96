//! Why a broadcaster is not served, in the words that it is told.

use media::{flv, rtmp, ts};
use tonic::{Code, Status};

/// Why a connection ends before the broadcaster wanted it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("wrong stream key")]
    WrongKey(String),
    /// Of one who is on air.
    #[error("the stream key was revoked")]
    Revoked,
    #[error("too many wrong keys")]
    TooManyKeys,
    #[error("the channel is already live")]
    AlreadyLive,
    #[error("{0} is away")]
    Away(&'static str),
    #[error("codec: {0}")]
    Codec(#[from] flv::Error),
    #[error("codec: {0}")]
    TransportStream(#[from] ts::Error),
    #[error("stream: {0}")]
    Stream(#[from] media::cmaf::Error),
    #[error("this server has no room for another broadcaster")]
    Full,
    #[error("nothing came for too long")]
    Idle,
    #[error("this server is stopping")]
    Stopping,
    #[error("protocol: {0}")]
    Protocol(#[from] rtmp::Error),
    #[error("a stream id that asks for something else than to publish")]
    StreamId,
    #[error("wrong SRT passphrase")]
    WrongPassphrase,
    #[error("an SRT passphrase is missing on one side")]
    Encryption,
    /// The broadcaster is not there any more to be told.
    #[error("connection lost")]
    Lost,
}

impl Refusal {
    /// RTMP's status code and description for the broadcaster; none for who is gone, or
    /// speaks no RTMP.
    pub(crate) fn status(&self) -> Option<(&'static str, String)> {
        let code = match self {
            Self::WrongKey(_) | Self::Revoked | Self::TooManyKeys => {
                "NetStream.Publish.Unauthorized"
            }
            Self::AlreadyLive => "NetStream.Publish.BadName",
            Self::Codec(_) | Self::TransportStream(_) | Self::Stream(_) => {
                "NetStream.Publish.Rejected"
            }
            Self::Away(_) | Self::Full | Self::Stopping => "NetStream.Publish.Failed",
            Self::Idle => "NetStream.Publish.Idle",
            Self::Protocol(rtmp::Error::NotPublishing) => "NetStream.Failed",
            Self::StreamId | Self::WrongPassphrase | Self::Encryption => return None,
            Self::Protocol(_) | Self::Lost => return None,
        };
        let description = match self {
            Self::WrongKey(message) => message.clone(),
            Self::TooManyKeys => "too many wrong stream keys; try again in a minute".to_owned(),
            Self::AlreadyLive => "channel is already live".to_owned(),
            Self::Away(service) => format!("{service} is not available; try again soon"),
            Self::Codec(error) => error.to_string(),
            Self::TransportStream(error) => error.to_string(),
            Self::Stream(error) => error.to_string(),
            other => other.to_string(),
        };
        Some((code, description))
    }

    /// All that [`Refusal::name`] says.
    pub(crate) const NAMES: [&str; 14] = [
        "wrong_key",
        "revoked",
        "too_many_keys",
        "already_live",
        "away",
        "codec",
        "stream",
        "full",
        "idle",
        "stopping",
        "protocol",
        "stream_id",
        "encryption",
        "lost",
    ];

    /// As figures call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::WrongKey(_) => "wrong_key",
            Self::Revoked => "revoked",
            Self::TooManyKeys => "too_many_keys",
            Self::AlreadyLive => "already_live",
            Self::Away(_) => "away",
            Self::Codec(_) | Self::TransportStream(_) => "codec",
            Self::Stream(_) => "stream",
            Self::Full => "full",
            Self::Idle => "idle",
            Self::Stopping => "stopping",
            Self::Protocol(_) => "protocol",
            Self::StreamId => "stream_id",
            Self::WrongPassphrase | Self::Encryption => "encryption",
            Self::Lost => "lost",
        }
    }

    /// What accounts' answer means.
    pub(crate) fn from_accounts(status: &Status) -> Self {
        match status.code() {
            Code::Unauthenticated | Code::NotFound => Self::WrongKey(status.message().to_owned()),
            _ => Self::Away("the account service"),
        }
    }

    /// What the encoder's answer means.
    pub(crate) fn from_encoder(status: &Status) -> Self {
        match status.code() {
            Code::AlreadyExists => Self::AlreadyLive,
            _ => Self::Away("the encoder"),
        }
    }
}
