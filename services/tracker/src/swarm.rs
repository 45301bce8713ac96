//! One swarm: an actor around the pure tracker. It owns the machine, its timer and the way
//! out to each session; sessions send it what peers said. The rule: nothing here decides
//! where a peer goes, and nothing here waits for a peer.

use std::{
    collections::HashMap,
    sync::Weak,
    time::{Duration, Instant as Clock},
};

use actix::prelude::*;
use bytes::Bytes;
use overlay_core::{
    Instant, Tracker,
    tracker::{Grant, Input, Output, SessionId},
    wire::{FromTracker, ToTracker},
};
use prost::Message as _;
use tokio::sync::mpsc;

use crate::{
    figures,
    metrics::{self, Counted},
    registry::Registry,
};

/// Messages that wait for the swarm; senders then wait too, each with one message.
const MAILBOX: usize = 1024;
/// Figures are asked for by every page each second; walking a large swarm is not free.
const FIGURES_FOR: Duration = Duration::from_millis(500);
/// How often what operators watch is renewed: no less often than they look.
const COUNT_EVERY: Duration = Duration::from_secs(5);
const MOVED: &str = "the channel has moved to another tracker";

/// The actor.
pub(crate) struct Swarm {
    name: String,
    machine: Tracker,
    zero: Clock,
    sessions: HashMap<SessionId, mpsc::Sender<Outgoing>>,
    timer: Option<(Instant, SpawnHandle)>,
    empty_for: Duration,
    emptied: Option<SpawnHandle>,
    registry: Weak<Registry>,
    key: [u8; 16],
    cached: HashMap<Figures, (Clock, String)>,
    counted: Counted,
}

/// Where a swarm stands among all.
pub(crate) struct Origin {
    pub(crate) key: [u8; 16],
    pub(crate) name: String,
    pub(crate) registry: Weak<Registry>,
    pub(crate) empty_for: Duration,
}

/// To a session's peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// An encoded `FromTracker`.
    Message(Bytes),
    /// The last word, for people.
    Close(&'static str),
}

/// A session begins.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Opened {
    pub(crate) session: SessionId,
    pub(crate) grant: Grant,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
}

/// A session's peer said something.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Said {
    pub(crate) session: SessionId,
    pub(crate) message: ToTracker,
}

/// A session ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Closed {
    pub(crate) session: SessionId,
}

/// Another tracker has the channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Moved;

/// What accounts may ask for, as JSON.
#[derive(Message, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[rtype(result = "String")]
pub(crate) enum Figures {
    Stats,
    Picture,
}

impl Swarm {
    pub(crate) fn new(origin: Origin, machine: Tracker, zero: Clock) -> Self {
        Self {
            counted: Counted::new(&origin.name),
            name: origin.name,
            machine,
            zero,
            sessions: HashMap::new(),
            timer: None,
            empty_for: origin.empty_for,
            emptied: None,
            registry: origin.registry,
            key: origin.key,
            cached: HashMap::new(),
        }
    }

    fn handle_input(&mut self, input: Input, actor: &mut Context<Self>) {
        self.machine.handle(self.now(), input);
        let mut overrun = self.drain(actor);
        // What is said of one that has left may overrun another.
        while let Some(session) = overrun.pop() {
            self.machine.handle(self.now(), Input::Closed { session });
            overrun.extend(self.drain(actor));
        }
    }

    /// Carries out what the machine wants; names the sessions that do not read.
    fn drain(&mut self, actor: &mut Context<Self>) -> Vec<SessionId> {
        let mut overrun = Vec::new();
        loop {
            match self.machine.poll() {
                Output::Send { session, message } => {
                    if !self.send(session, &message) && self.sessions.remove(&session).is_some() {
                        metrics::overrun();
                        tracing::info!(swarm = %self.name, session = session.0, "a session does not read");
                        overrun.push(session);
                    }
                }
                Output::Close { session, reason } => {
                    tracing::info!(swarm = %self.name, session = session.0, reason, "session closed");
                    if let Some(outgoing) = self.sessions.remove(&session) {
                        // A full queue ends the session all the same, without the word.
                        let _ = outgoing.try_send(Outgoing::Close(reason));
                    }
                }
                Output::Timeout(at) => {
                    self.wake_at(at, actor);
                    return overrun;
                }
            }
        }
    }

    /// False when the session's queue is full or its end is gone.
    fn send(&self, session: SessionId, message: &FromTracker) -> bool {
        self.sessions.get(&session).is_none_or(|outgoing| {
            let bytes = message.encode_to_vec().into();
            outgoing.try_send(Outgoing::Message(bytes)).is_ok()
        })
    }

    fn wake_at(&mut self, at: Instant, actor: &mut Context<Self>) {
        if let Some((set, timer)) = self.timer {
            if set == at {
                return;
            }
            actor.cancel_future(timer);
        }
        let timer = actor.run_later(at.since(self.now()), |swarm, actor| {
            swarm.timer = None;
            swarm.handle_input(Input::Timeout, actor);
        });
        self.timer = Some((at, timer));
    }

    fn note_emptiness(&mut self, actor: &mut Context<Self>) {
        if let Some(timer) = self.emptied.take() {
            actor.cancel_future(timer);
        }
        if self.sessions.is_empty() {
            self.emptied = Some(actor.run_later(self.empty_for, |_, actor| actor.stop()));
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

impl Actor for Swarm {
    type Context = Context<Self>;

    fn started(&mut self, actor: &mut Self::Context) {
        actor.set_mailbox_capacity(MAILBOX);
        tracing::info!(swarm = %self.name, "swarm opened");
        self.note_emptiness(actor);
        actor.run_interval(COUNT_EVERY, |swarm, _| {
            swarm.counted.take(&swarm.machine.stats());
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.counted.take(&self.machine.stats());
        tracing::info!(swarm = %self.name, "swarm forgotten");
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(&self.key);
        }
    }
}

impl Handler<Opened> for Swarm {
    type Result = ();

    fn handle(&mut self, opened: Opened, actor: &mut Self::Context) {
        let Opened {
            session,
            grant,
            outgoing,
        } = opened;
        self.sessions.insert(session, outgoing);
        self.note_emptiness(actor);
        self.handle_input(Input::Opened { session, grant }, actor);
    }
}

impl Handler<Said> for Swarm {
    type Result = ();

    fn handle(&mut self, said: Said, actor: &mut Self::Context) {
        let Said { session, message } = said;
        // A session that was just closed may still have had something to say.
        if self.sessions.contains_key(&session) {
            self.handle_input(Input::Message { session, message }, actor);
        }
    }
}

impl Handler<Closed> for Swarm {
    type Result = ();

    fn handle(&mut self, Closed { session }: Closed, actor: &mut Self::Context) {
        if self.sessions.remove(&session).is_some() {
            self.handle_input(Input::Closed { session }, actor);
        }
        self.note_emptiness(actor);
    }
}

impl Handler<Moved> for Swarm {
    type Result = ();

    fn handle(&mut self, _: Moved, actor: &mut Self::Context) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        if sessions.is_empty() {
            return;
        }
        tracing::info!(swarm = %self.name, sessions = sessions.len(), "let go to another tracker");
        for session in sessions {
            if let Some(outgoing) = self.sessions.remove(&session) {
                // A full queue ends the session all the same, without the word.
                let _ = outgoing.try_send(Outgoing::Close(MOVED));
                self.handle_input(Input::Closed { session }, actor);
            }
        }
        self.note_emptiness(actor);
    }
}

impl Handler<Figures> for Swarm {
    type Result = String;

    fn handle(&mut self, figures: Figures, _: &mut Self::Context) -> String {
        if let Some((at, json)) = self.cached.get(&figures)
            && at.elapsed() < FIGURES_FOR
        {
            return json.clone();
        }
        let json = match figures {
            Figures::Stats => figures::stats(&self.machine.stats()),
            Figures::Picture => figures::picture(&self.machine.stats(), &self.machine.picture()),
        };
        self.cached.insert(figures, (Clock::now(), json.clone()));
        json
    }
}

/// Kills the actor, as a broken invariant would.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

#[cfg(test)]
impl Handler<Crash> for Swarm {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("killed by the test");
    }
}

#[cfg(test)]
mod tests {
    use overlay_core::{
        tracker::{Config, Role},
        wire::{Join, Ping, to_tracker},
    };

    use super::*;

    fn swarm() -> anyhow::Result<Addr<Swarm>> {
        let origin = Origin {
            key: [0; 16],
            name: "demo".into(),
            registry: Weak::new(),
            empty_for: Duration::from_secs(1),
        };
        let machine = Tracker::new(Instant::default(), Config::default());
        let swarm = Swarm::new(origin, machine, Clock::now());
        Ok(Swarm::start_in_arbiter(&boot::actors::arbiter()?, |_| {
            swarm
        }))
    }

    /// A peer named by its session, whose queue holds so many messages.
    async fn join(
        swarm: &Addr<Swarm>,
        name: u64,
        role: Role,
        queue: usize,
    ) -> anyhow::Result<mpsc::Receiver<Outgoing>> {
        let (outgoing, queue) = mpsc::channel(queue);
        let session = SessionId(name);
        let grant = Grant {
            role,
            may_share: true,
            origin: None,
        };
        let opened = Opened {
            session,
            grant,
            outgoing,
        };
        swarm.send(opened).await?;
        let join = Join {
            peer: name,
            upload_bps: 1,
            parents: vec![],
            answers_probes: false,
        };
        swarm.send(say(name, to_tracker::Kind::Join(join))).await?;
        Ok(queue)
    }

    fn say(session: u64, kind: to_tracker::Kind) -> Said {
        Said {
            session: SessionId(session),
            message: ToTracker { kind: Some(kind) },
        }
    }

    async fn viewers(swarm: &Addr<Swarm>) -> anyhow::Result<u64> {
        let figures: serde_json::Value = serde_json::from_str(&swarm.send(Figures::Stats).await?)?;
        figures["viewers"]
            .as_u64()
            .ok_or_else(|| anyhow::anyhow!("no figure"))
    }

    #[tokio::test]
    async fn a_session_that_does_not_read_is_closed_and_has_left() -> anyhow::Result<()> {
        let swarm = swarm()?;
        let mut queue = join(&swarm, 1, Role::Viewer, 3).await?;
        for stamp_us in 0..10 {
            swarm
                .send(say(1, to_tracker::Kind::Ping(Ping { stamp_us })))
                .await?;
        }
        let mut read = 0;
        while queue.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(read, 3, "what fitted the queue, and then its end");
        assert_eq!(viewers(&swarm).await?, 0);
        Ok(())
    }

    #[tokio::test]
    async fn all_that_one_message_overruns_have_left() -> anyhow::Result<()> {
        let swarm = swarm()?;
        // Each has room for the answer to its join, and none for the seeder's name.
        let mut first = join(&swarm, 1, Role::Viewer, 2).await?;
        let mut second = join(&swarm, 2, Role::Viewer, 2).await?;
        let _seeder = join(&swarm, 3, Role::Seeder, 16).await?;
        for queue in [&mut first, &mut second] {
            while queue.recv().await.is_some() {}
        }
        assert_eq!(viewers(&swarm).await?, 0);
        Ok(())
    }
}
