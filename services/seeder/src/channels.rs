//! Which channels the seeder has, by id and by name.
//!
//! The one rule: a channel stays for as long as anything of its broadcast may be wanted,
//! and its going is decided here alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use native::host::SwarmId;
use stripe::ChannelId;

use crate::{Error, broadcast::Broadcast};

/// Channels at once.
const MAX_CHANNELS: usize = 64;
/// How long a channel stays after its encoder's stream has ended: the return window of 60 s
/// and the viewers' last fetches.
pub(crate) const LINGER: Duration = Duration::from_secs(90);

/// The channels.
#[derive(Default)]
pub(crate) struct Channels(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_id: HashMap<ChannelId, Arc<Broadcast>>,
    next_swarm: u32,
}

impl Channels {
    /// The channel's broadcast, made by `make` if there is none.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub(crate) fn get_or_make(
        &self,
        id: ChannelId,
        make: impl FnOnce(SwarmId) -> Broadcast,
    ) -> Result<(Arc<Broadcast>, bool), Error> {
        let mut inner = self.lock();
        if let Some(found) = inner.by_id.get(&id) {
            return Ok((found.clone(), false));
        }
        if inner.by_id.len() >= MAX_CHANNELS {
            return Err(Error::Full);
        }
        let swarm = SwarmId(inner.next_swarm);
        inner.next_swarm = inner.next_swarm.wrapping_add(1);
        let made = Arc::new(make(swarm));
        inner.by_id.insert(id, made.clone());
        Ok((made, true))
    }

    /// The channel's broadcast.
    pub(crate) fn get(&self, id: ChannelId) -> Option<Arc<Broadcast>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Removes the broadcast if it has stayed without an encoder since `calls` of them.
    pub(crate) fn remove_idle(&self, id: ChannelId, calls: u64) -> Option<Arc<Broadcast>> {
        let mut inner = self.lock();
        let idle = inner
            .by_id
            .get(&id)
            .is_some_and(|found| found.is_idle(calls));
        if idle { inner.by_id.remove(&id) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
