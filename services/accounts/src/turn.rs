//! Credentials for the operator's TURN servers, which tickets name for viewers that find no
//! other way. Each is good for some hours and names nobody; the servers check it with the
//! secret that they share with us (the "REST API for access to TURN services", which coturn
//! calls `use-auth-secret`).
//!
//! The one rule: the secret never leaves, in a log or otherwise.

use std::{fmt, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

/// Viewers of a long evening keep theirs; servers go on with who is connected.
const GOOD_FOR: Duration = Duration::from_secs(12 * 3600);

/// The operator's TURN servers.
#[derive(Clone)]
pub struct Turn {
    /// Each `turn:host:port?transport=udp` or the like (RFC 7065).
    pub urls: Vec<String>,
    /// What they share with us.
    pub secret: String,
}

/// One entry of a ticket's `ice_servers`, as browsers take it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct IceServer {
    urls: Vec<String>,
    username: String,
    credential: String,
}

impl Turn {
    /// For a viewer with this name, `now` in Unix seconds.
    pub(crate) fn server(&self, now: u64, viewer: &str) -> IceServer {
        let username = format!("{}:{viewer}", now + GOOD_FOR.as_secs());
        let algorithm = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        let key = hmac::Key::new(algorithm, self.secret.as_bytes());
        let credential = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        IceServer {
            urls: self.urls.clone(),
            username,
            credential,
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.urls.len();
        f.debug_struct("Turn").field("urls", &urls).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `printf 1700043200:0f0f | openssl dgst -sha1 -hmac north -binary | base64` says.
    #[test]
    fn a_credential_is_what_turn_servers_compute() {
        let turn = Turn {
            urls: vec!["turn:a".into()],
            secret: "north".into(),
        };
        let server = turn.server(1_700_000_000, "0f0f");
        assert_eq!(server.username, "1700043200:0f0f");
        assert_eq!(server.credential, "47toI6akYreaHkSDf4gF1fJCK8g=");
        assert!(!format!("{turn:?}").contains("north"));
    }
}
