//! Mutual TLS between our services: both ends show a certificate of the same CA, and the
//! certificate names the role of who shows it. The command line opens one [`Tls`] per process;
//! [`crate::grpc`] serves and calls with it.
//!
//! The one rule: whether a process speaks TLS is decided once, when it starts, and never by
//! a URL or by what the other end offers.

mod accept;
mod connect;
mod guard;
mod material;
mod plain;
mod refusal;
mod reload;

use std::{io, path::PathBuf, sync::Arc};

use proto::access::Role;

pub(crate) use accept::incoming;
pub(crate) use connect::Connector;
pub use guard::Caller;
pub(crate) use guard::Guard;
pub use refusal::reason;
pub(crate) use reload::Current;

/// Where the CA's certificate, one's own and its key are, as PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// Certificates of who signs those of our services; several while one CA follows another.
    pub ca: PathBuf,
    /// The certificate that is shown, and those between it and the CA's.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How a process speaks gRPC: in plain text, or with mutual TLS. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Tls(Mode);

#[derive(Clone, Debug, Default)]
enum Mode {
    #[default]
    PlainOnLoopback,
    PlainAnywhere,
    Mutual(Arc<Current>),
}

/// Why a process cannot speak as it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, or is longer than 64 KiB.
    #[error("{file}: {error}")]
    Read {
        /// Its flag, its variable, its path.
        file: String,
        /// What the file system says.
        error: io::Error,
    },
    /// A file that is not what its flag says.
    #[error("{file} holds no {what}")]
    Holds {
        /// Its flag, its variable, its path.
        file: String,
        /// A certificate or a key.
        what: &'static str,
    },
    /// Files that do not belong together, or not to this service, or not any more.
    #[error("{file} {problem}")]
    Unfit {
        /// Its flag, its variable, its path.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// rustls does not take what looked well.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// An address that others may listen in on.
    #[error(
        "plain text is for loopback addresses: give --tls-ca, --tls-cert and --tls-key \
         (`livestation pki init --help`), or --grpc-plaintext where strangers have no way in"
    )]
    Plain,
    /// A URL of the other kind.
    #[error("it begins with {0}://, as --tls-cert is {1}")]
    Scheme(&'static str, &'static str),
}

impl Tls {
    /// Plain text on this machine alone, where callers are trusted; also the default.
    #[must_use]
    pub fn plain_on_loopback() -> Self {
        Self(Mode::PlainOnLoopback)
    }

    /// Plain text wherever it is asked for: whoever reaches the address is trusted.
    #[must_use]
    pub fn plain_anywhere() -> Self {
        Self(Mode::PlainAnywhere)
    }

    /// Mutual TLS by these files, for a process that answers and calls as `roles`. The files
    /// are looked at every two seconds and taken when they change; while they are no good,
    /// what was loaded stays. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Plain`] and [`Error::Scheme`].
    pub fn open(files: Files, roles: &[Role]) -> Result<Self, Error> {
        let current = reload::open(files, roles.to_vec())?;
        Ok(Self(Mode::Mutual(current)))
    }

    /// How URLs of services begin: `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.0 {
            Mode::Mutual(_) => "https",
            Mode::PlainOnLoopback | Mode::PlainAnywhere => "http",
        }
    }

    pub(crate) fn current(&self) -> Option<&Arc<Current>> {
        match &self.0 {
            Mode::Mutual(current) => Some(current),
            Mode::PlainOnLoopback | Mode::PlainAnywhere => None,
        }
    }
}
