//! Why there is no connection, in a few words of ours, and who was told of it already.
//!
//! The one rule: what the other end sent stands in no log, and a reason stands there once.

use std::{
    collections::HashSet,
    error::Error as _,
    fmt,
    hash::Hash,
    io,
    sync::{Mutex, PoisonError},
};

use rustls::{AlertDescription, CertificateError, Error};

/// Why two ends do not come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    NoCertificate,
    OtherCa,
    NotInForce,
    OtherRole,
    RefusesOurs,
    NoTls,
    Late,
    Gone,
    Other,
}

impl Why {
    /// What a failed handshake comes down to.
    pub(crate) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(inner) = inner else {
            // Without an error of rustls it is the connection that broke.
            return Self::Gone;
        };
        match inner {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidMessage(_) => Self::NoTls,
            Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => Self::RefusesOurs,
            _ => Self::Other,
        }
    }

    pub(crate) fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // A CA of the same name and another key is another CA.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::OtherCa,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::NotInForce,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherRole
            }
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "it shows no certificate",
            Self::OtherCa => "its certificate is of another CA",
            Self::NotInForce => "its certificate has ended, or not begun",
            Self::OtherRole => "its certificate is for another role",
            Self::RefusesOurs => "it refuses our certificate",
            Self::NoTls => "it does not speak TLS",
            Self::Late => "it takes too long",
            Self::Gone => "it closes the connection",
            Self::Other => "it does not speak TLS as we do",
        })
    }
}

/// The deepest reason of a call that failed, such as the alert of a TLS connection: what is
/// above it says no more than that the transport failed.
#[must_use]
pub fn reason(status: &tonic::Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        reason = error.to_string();
        source = error.source();
    }
    reason
}

/// What was said already; there are as many keys as kinds of refusals.
#[derive(Debug)]
pub(crate) struct Said<K>(Mutex<HashSet<K>>);

impl<K: Eq + Hash> Said<K> {
    /// Whether it is said for the first time.
    pub(crate) fn is_new(&self, key: K) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(key)
    }
}

impl<K> Default for Said<K> {
    fn default() -> Self {
        Self(Mutex::new(HashSet::new()))
    }
}
