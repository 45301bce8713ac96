//! What instances of a service share, and may lose: how often somebody may do something dear.
//! Kept in this process, or in Redis where several instances are to count together. Opened by
//! the program, asked by services.
//!
//! The one rule: whoever asks is answered within [`DEADLINE`], whatever becomes of Redis; while
//! it is away each process goes on by itself, and nothing in it is missed afterwards.

mod memory;
mod remote;

use std::{fmt, sync::Arc, time::Duration};

pub use memory::Memory;
pub use remote::Redis;

/// Within which an answer comes. Most of it is Redis's.
pub const DEADLINE: Duration = Duration::from_millis(100);

/// No answer in time, or none that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store does not answer")]
pub struct Away;

/// Not the URL of a Redis. It is not repeated: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it looks like redis://user:password@host:6379 or rediss:// by TLS")]
pub struct NotAUrl;

/// How often something may be done: so many times at once, and then so many a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once, at least 1.
    pub burst: f64,
    /// What comes back of that in a second, above 0.
    pub per_second: f64,
}

/// Where it is kept.
pub trait Store: Send + Sync {
    /// Whether `whom` may once more by the limit of this name; counted if so. A name has one
    /// rate, everywhere.
    ///
    /// # Errors
    /// [`Away`].
    fn allow(
        &self,
        limit: &'static str,
        rate: Rate,
        whom: u128,
    ) -> impl Future<Output = Result<bool, Away>> + Send;
}

/// What a service asks. Clones are the same one.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    here: Memory,
    shared: Option<Redis>,
}

impl Presence {
    /// Of this process alone.
    #[must_use]
    pub fn in_process() -> Self {
        Self::new(None)
    }

    /// Shared by all that name the same Redis; `redis://user:password@host:6379/0`, or
    /// `rediss://` by TLS. It need not be there yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`NotAUrl`].
    pub fn shared(url: &str) -> Result<Self, NotAUrl> {
        Ok(Self::new(Some(Redis::open(url)?)))
    }

    fn new(shared: Option<Redis>) -> Self {
        let here = Memory::default();
        Self(Arc::new(Inner { here, shared }))
    }

    /// As [`Store::allow`], by Redis as long as it answers.
    pub async fn allow(&self, limit: &'static str, rate: Rate, whom: u128) -> bool {
        if let Some(shared) = &self.0.shared
            && let Ok(allowed) = shared.allow(limit, rate, whom).await
        {
            return allowed;
        }
        // It is always there.
        self.0.here.allow(limit, rate, whom).await.unwrap_or(true)
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.0.shared {
            Some(_) => "Presence(shared)",
            None => "Presence(in process)",
        };
        f.write_str(place)
    }
}
