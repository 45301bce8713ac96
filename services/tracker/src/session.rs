//! A peer's session with its swarm, whatever carries it. Both carriers feed it bytes and
//! empty its queue; it holds the limits that they share. Dropping it ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Addr;
use overlay_core::{
    tracker::{Grant, Role, SessionId},
    wire::{MAX_TRACKER_MESSAGE_LEN, ToTracker, to_tracker},
};
use prost::Message as _;
use tokio::sync::mpsc;

use crate::{
    Error, Limits, metrics,
    registry::Registry,
    swarm::{Closed, Opened, Outgoing, Said, Swarm},
};

/// A swarm that takes longer to take one message is not one.
const SWARM_DEADLINE: Duration = Duration::from_secs(5);

/// A seeder is spoken to by every viewer that comes: its queue holds so many viewers'.
const SEEDER_QUEUES: usize = 32;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The session.
pub(crate) struct Session {
    id: SessionId,
    swarm: Addr<Swarm>,
    joined: bool,
    /// None for a seeder, which has something to say to every viewer that comes.
    rate: Option<Rate>,
    _attending: boot::metrics::Level,
}

/// Which channel's swarm, and what one may there.
pub(crate) struct Entry<'a> {
    pub(crate) channel: [u8; 16],
    pub(crate) name: &'a str,
    pub(crate) grant: Grant,
}

/// Why a session ends by its peer's doing; the text is for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the message is too long")]
    TooLong,
    #[error("the message does not parse")]
    Malformed,
    #[error("the first message must be a join")]
    NotJoined,
    #[error("too many messages")]
    TooFast,
    #[error("no join came in time")]
    JoinLate,
    #[error("nothing came in time")]
    Silent,
    #[error("the swarm does not answer")]
    SwarmGone,
}

impl Session {
    /// Enters the swarm; what the swarm says comes out of the receiver, which ends when the
    /// session is closed from within.
    pub(crate) async fn open(
        swarms: &Arc<Registry>,
        entry: Entry<'_>,
        limits: &Limits,
    ) -> Result<(Self, mpsc::Receiver<Outgoing>), Error> {
        let id = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        // A swarm may be forgotten between its being found and its being entered: once.
        for _ in 0..2 {
            let (outgoing, queue) = mpsc::channel(match entry.grant.role {
                Role::Viewer => limits.queue,
                Role::Seeder => limits.queue * SEEDER_QUEUES,
            });
            let swarm = swarms.enter(entry.channel, entry.name)?;
            let opened = Opened {
                session: id,
                grant: entry.grant,
                outgoing,
            };
            if swarm.send(opened).timeout(SWARM_DEADLINE).await.is_ok() {
                let session = Self {
                    id,
                    swarm,
                    joined: false,
                    rate: (entry.grant.role == Role::Viewer)
                        .then(|| Rate::new(limits.messages_per_second, Instant::now())),
                    _attending: metrics::attending(entry.grant.role),
                };
                return Ok((session, queue));
            }
        }
        Err(Error::SwarmGone)
    }

    /// How long the peer may now be silent, and what it is told when it was longer.
    pub(crate) fn patience(&self, limits: &Limits) -> (Duration, Ended) {
        if self.joined {
            (limits.silence, Ended::Silent)
        } else {
            (limits.join_within, Ended::JoinLate)
        }
    }

    /// Takes a sign of life that says nothing.
    pub(crate) fn on_sign(&mut self) -> Result<(), Ended> {
        let within = self
            .rate
            .as_mut()
            .is_none_or(|rate| rate.allow(Instant::now()));
        within.then_some(()).ok_or(Ended::TooFast)
    }

    /// Takes one message's bytes.
    pub(crate) async fn on_bytes(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.on_sign()?;
        if bytes.len() > MAX_TRACKER_MESSAGE_LEN {
            return Err(Ended::TooLong);
        }
        let message = ToTracker::decode(bytes).map_err(|_| Ended::Malformed)?;
        match &message.kind {
            None => return Err(Ended::Malformed),
            Some(to_tracker::Kind::Join(_)) => self.joined = true,
            // A clock may be asked before one joins.
            Some(to_tracker::Kind::Ping(_)) => {}
            Some(_) if !self.joined => return Err(Ended::NotJoined),
            Some(_) => {}
        }
        let said = Said {
            session: self.id,
            message,
        };
        let taken = self.swarm.send(said).timeout(SWARM_DEADLINE).await;
        taken.map_err(|_| Ended::SwarmGone)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Past the mailbox's bound, since a lost end would leave a ghost; each session sends
        // but one.
        self.swarm.do_send(Closed { session: self.id });
    }
}

/// A token bucket.
struct Rate {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Rate {
    fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second: f64::from(per_second),
            tokens: 2.0 * f64::from(per_second),
            at: now,
        }
    }

    fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(2.0 * self.per_second);
        let allowed = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(allowed));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_allows_a_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut rate = Rate::new(200, start);
        assert_eq!((0..1000).filter(|_| rate.allow(start)).count(), 400);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rate.allow(later)).count(), 200);
    }
}
