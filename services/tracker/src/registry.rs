//! Which swarms there are. A swarm begins with its first session and is forgotten a while
//! after its last; one whose actor died is begun anew, and its peers join it again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH},
};

use actix::{Actor, Addr, ArbiterHandle};
use overlay_core::{Instant, Tracker, tracker::Config};

use crate::{
    Error,
    swarm::{Origin, Swarm},
};

/// All swarms of this tracker, by channel. Tickets and our own services name the channels,
/// so there are no more than accounts has.
pub(crate) struct Registry {
    arbiter: ArbiterHandle,
    config: Config,
    empty_for: Duration,
    swarms: Mutex<Swarms>,
}

#[derive(Default)]
struct Swarms {
    by_channel: HashMap<[u8; 16], Addr<Swarm>>,
    by_name: HashMap<String, [u8; 16]>,
}

impl Registry {
    pub(crate) fn new(arbiter: ArbiterHandle, config: Config, empty_for: Duration) -> Arc<Self> {
        Arc::new(Self {
            arbiter,
            config,
            empty_for,
            swarms: Mutex::default(),
        })
    }

    /// The channel's swarm, begun if need be.
    pub(crate) fn enter(self: &Arc<Self>, key: [u8; 16], name: &str) -> Result<Addr<Swarm>, Error> {
        let mut swarms = self.swarms();
        if let Some(swarm) = swarms
            .by_channel
            .get(&key)
            .filter(|swarm| swarm.connected())
        {
            return Ok(swarm.clone());
        }
        let swarm = self.begin(key, name)?;
        swarms.by_channel.insert(key, swarm.clone());
        swarms.by_name.insert(name.to_owned(), key);
        Ok(swarm)
    }

    /// The swarm of this channel, if there is one now.
    pub(crate) fn find(&self, name: &str) -> Option<Addr<Swarm>> {
        let swarms = self.swarms();
        let key = swarms.by_name.get(name)?;
        swarms
            .by_channel
            .get(key)
            .filter(|swarm| swarm.connected())
            .cloned()
    }

    /// All swarms there are now, by their channels.
    pub(crate) fn all(&self) -> Vec<([u8; 16], Addr<Swarm>)> {
        let swarms = self.swarms();
        let all = swarms.by_channel.iter();
        all.map(|(key, swarm)| (*key, swarm.clone())).collect()
    }

    /// Called by a swarm that has ended; one begun since under the same key stays.
    pub(crate) fn forget(&self, key: &[u8; 16]) {
        let mut swarms = self.swarms();
        if swarms
            .by_channel
            .get(key)
            .is_some_and(|swarm| !swarm.connected())
        {
            swarms.by_channel.remove(key);
            swarms.by_name.retain(|_, named| named != key);
        }
    }

    fn begin(self: &Arc<Self>, key: [u8; 16], name: &str) -> Result<Addr<Swarm>, Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let zero = Clock::now();
        let config = Config {
            seed: u64::from_ne_bytes(seed),
            wall_at_zero_us: wall_us(),
            ..self.config.clone()
        };
        let machine = Tracker::new(Instant::default(), config);
        let origin = Origin {
            key,
            name: name.to_owned(),
            registry: Arc::downgrade(self),
            empty_for: self.empty_for,
        };
        let swarm = Swarm::new(origin, machine, zero);
        Ok(Swarm::start_in_arbiter(&self.arbiter, |_| swarm))
    }

    fn swarms(&self) -> MutexGuard<'_, Swarms> {
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wall_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{Crash, Figures};

    #[tokio::test]
    async fn a_swarm_that_died_is_begun_anew() -> anyhow::Result<()> {
        let arbiter = boot::actors::arbiter()?;
        let registry = Registry::new(arbiter, Config::default(), Duration::from_secs(60));
        let first = registry.enter([1; 16], "demo")?;
        assert!(first.send(Crash).await.is_err());
        while first.connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(registry.find("demo").is_none());
        let second = registry.enter([1; 16], "demo")?;
        assert!(second.send(Figures::Stats).await.is_ok());
        assert!(registry.find("demo").is_some());
        Ok(())
    }
}
