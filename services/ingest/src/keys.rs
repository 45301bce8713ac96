//! Whether the stream keys of running broadcasts are still good. Asks accounts about all of them
//! at once, and tells each broadcast whose key is not.
//!
//! The one rule: only accounts' word ends a broadcast; while accounts is away, all go on.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use proto::accounts::{Channel, RevokedRequest, StreamKey, accounts_client::AccountsClient};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport};

/// With the deadline, a broadcast ends within 5 s.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// accounts may take this long.
const DEADLINE: Duration = Duration::from_secs(2);
/// As `accounts.proto` bounds it.
const KEYS_MAX: usize = 256;

/// Those of all broadcasts.
#[derive(Default)]
pub(crate) struct Keys(Mutex<Vec<Held>>);

/// The key that a broadcast came with, asked about until it is dropped.
#[derive(Default)]
pub(crate) struct Key {
    revoked: CancellationToken,
    here: Arc<()>,
}

struct Held {
    key: StreamKey,
    revoked: CancellationToken,
    by: Weak<()>,
}

impl Key {
    /// Cancelled when accounts has said that the key is good no more.
    pub(crate) fn revoked(&self) -> CancellationToken {
        self.revoked.clone()
    }
}

impl Keys {
    /// Asks about this key of a channel from now on. Zero is one that there is no asking about.
    pub(crate) fn hold(&self, channel: &Channel, id: i64) -> Key {
        let key = Key::default();
        if id != 0 {
            let held = Held {
                key: StreamKey {
                    channel_id: channel.id.clone(),
                    id,
                },
                revoked: key.revoked(),
                by: Arc::downgrade(&key.here),
            };
            self.with(|all| all.push(held));
        }
        key
    }

    /// Asks again and again, for as long as it is polled.
    pub(crate) async fn watch(&self, accounts: transport::Channel) {
        loop {
            sleep(ASK_EVERY).await;
            for keys in self.all().chunks(KEYS_MAX) {
                match revoked(accounts.clone(), keys).await {
                    Ok(revoked) => self.end(&revoked),
                    Err(status) => {
                        tracing::debug!(code = ?status.code(), "accounts says nothing of keys");
                    }
                }
            }
        }
    }

    /// Of those that are held still.
    fn all(&self) -> Vec<StreamKey> {
        self.with(|all| {
            all.retain(|held| held.by.strong_count() > 0);
            all.iter().map(|held| held.key.clone()).collect()
        })
    }

    fn end(&self, revoked: &[StreamKey]) {
        self.with(|all| {
            for held in all.iter().filter(|held| revoked.contains(&held.key)) {
                held.revoked.cancel();
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Held>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn revoked(
    accounts: transport::Channel,
    keys: &[StreamKey],
) -> Result<Vec<StreamKey>, Status> {
    let request = RevokedRequest {
        keys: keys.to_vec(),
    };
    let mut accounts = AccountsClient::new(accounts);
    let asking = timeout(DEADLINE, accounts.revoked(request));
    let silent = |_| Status::deadline_exceeded("no answer in time");
    Ok(asking.await.map_err(silent)??.into_inner().keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(id: u8) -> Channel {
        Channel {
            id: vec![id; 16].into(),
            ..Channel::default()
        }
    }

    fn named(channel: &Channel, id: i64) -> StreamKey {
        StreamKey {
            channel_id: channel.id.clone(),
            id,
        }
    }

    #[test]
    fn those_whose_key_is_named_are_told_and_who_is_gone_is_not_asked_about() {
        let keys = Keys::default();
        let (ours, other) = (channel(1), channel(2));
        let [first, second, gone] = [3, 4, 5].map(|id| keys.hold(&ours, id));
        let same_id = keys.hold(&other, 4);
        let of_an_older_accounts = keys.hold(&other, 0);
        drop(gone);
        let asked = [named(&ours, 3), named(&ours, 4), named(&other, 4)];
        assert_eq!(keys.all(), asked);
        keys.end(&[named(&other, 0), named(&ours, 4), named(&ours, 5)]);
        let told = [&first, &second, &same_id, &of_an_older_accounts]
            .map(|key| key.revoked().is_cancelled());
        assert_eq!(told, [false, true, false, false]);
    }
}
