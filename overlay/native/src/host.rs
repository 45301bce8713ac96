//! The driver: one task that owns a socket, its links, and the core of each swarm the
//! program is in (a viewer is in one, a seeder in one a channel). It turns datagrams, the
//! tracker's words and time into the core's inputs, and the core's outputs into datagrams,
//! words and media.
//!
//! The one rule: after anything that happens, `pump` runs until nothing is left to
//! do, and only then the task waits.

mod clock;
mod member;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use overlay_core::{
    PeerId, Signed,
    peer::{Input, Output},
    wire,
};
use stripe::SignedHeader;
use tokio::{
    sync::{broadcast, mpsc},
    time,
};
use tokio_util::sync::CancellationToken;

use self::member::Member;
pub use self::{
    clock::Clock,
    member::{Join, Played, Session, Snapshot},
};
use crate::{
    link::{self, Channel, Event, Links, Role, Transmit, turn::Over},
    shaper::Wire,
    signalling::Notice,
    socket::MAX_BATCH,
    stream::{Happened, Stream},
};

/// Commands that wait for the driver. Who sends them waits for room.
pub const COMMANDS_LEN: usize = 64;
/// Released generations and events that wait for the outputs; the oldest give way. Pre-roll
/// is released all at once and may be 72 generations.
pub const PLAYED_LEN: usize = 256;
/// How often the core hears what the transport has carried.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(200);
/// How often figures are renewed.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// Longest sleep, so that a lost timer is a hiccup and not a standstill.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A swarm the program is in; numbers are the program's own and not used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SwarmId(pub u32);

/// Whose link: a swarm's, with a peer.
type Key = (SwarmId, PeerId);

/// What the driver is told to do.
pub enum Command {
    /// Be a peer of a swarm.
    Join(SwarmId, Box<Join>),
    /// Be one no longer.
    Leave(SwarmId),
    /// The tracker session says something.
    Notice(SwarmId, Notice),
    /// An epoch begins (seeders).
    Epoch(SwarmId, overlay_core::SignedEpoch),
    /// A generation is complete (seeders).
    Publish(SwarmId, SignedHeader, Vec<bytes::Bytes>),
    /// Bytes were sent to players over HTTP (seeders).
    Http(SwarmId, u64),
}

/// The driver.
pub struct Host {
    clock: Clock,
    wire: Wire,
    /// To a TURN server, when one is needed that is reached so.
    stream: Stream,
    links: Links<Key>,
    members: BTreeMap<SwarmId, Member>,
    tap: Option<Box<dyn Tap>>,
    next_traffic: Instant,
    next_stats: Instant,
}

/// Stands between the cores and the links: sees, and may change, what is sent. Tests have
/// one to find out what others do about a peer that lies; no program has.
pub trait Tap: Send {
    /// This is to go to a peer. Whether it does.
    fn on_send(&mut self, to: PeerId, message: &mut wire::Message<Signed>) -> bool;
    /// The other end closed the link, or it is lost.
    fn on_down(&mut self, peer: PeerId);
}

impl Host {
    /// A driver of nothing yet. `seed` should be random.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn new(
        clock: Clock,
        wire: Wire,
        config: link::Config,
        seed: u64,
    ) -> Result<Self, link::Error> {
        let now = Instant::now();
        Ok(Self {
            clock,
            wire,
            stream: Stream::default(),
            links: Links::new(config, seed)?,
            members: BTreeMap::new(),
            tap: None,
            next_traffic: now + TRAFFIC_INTERVAL,
            next_stats: now + STATS_INTERVAL,
        })
    }

    /// With a tap on all its links.
    #[must_use]
    pub fn tapped(self, tap: Box<dyn Tap>) -> Self {
        let tap = Some(tap);
        Self { tap, ..self }
    }

    /// Drives until `shutdown` or until nobody can command any more, then says goodbye to
    /// all peers.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, shutdown: CancellationToken) {
        loop {
            let now = Instant::now();
            self.handle_timeouts(now);
            self.pump(now);
            let wake = self.next_wake(now);
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => {
                        self.on_command(command);
                        while let Ok(command) = commands.try_recv() {
                            self.on_command(command);
                        }
                    }
                    None => break,
                },
                _ = self.wire.readable() => self.receive(),
                _ = self.wire.writable(), if self.wire.is_stuck() => {}
                happened = self.stream.next() => self.on_stream(happened),
                () = time::sleep_until(wake.into()) => {}
            }
        }
        self.leave_all();
    }

    fn receive(&mut self) {
        let now = Instant::now();
        for _ in 0..MAX_BATCH {
            let Some((from, bytes)) = self.wire.try_receive(now) else {
                return;
            };
            self.links.handle_datagram(now, from, bytes);
        }
    }

    fn on_stream(&mut self, happened: Happened) {
        let now = Instant::now();
        match happened {
            Happened::Up(local) => self.links.on_stream_up(now, local),
            Happened::Received(bytes) => self.links.on_stream(now, &bytes),
            Happened::Down => self.links.on_stream_down(now),
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for (from, bytes) in self.wire.due(now) {
            self.links.handle_datagram(now, from, &bytes);
        }
        if self.links.next_timeout(now).is_some_and(|at| at <= now) {
            self.links.handle_timeout(now);
        }
        let core_now = self.clock.core(now);
        for member in self.members.values_mut() {
            if member.timeout <= core_now {
                member.handle(core_now, Input::Timeout);
            }
        }
        if self.next_traffic <= now {
            self.next_traffic = now + TRAFFIC_INTERVAL;
            self.tell_traffic(now);
        }
        if self.next_stats <= now {
            self.next_stats = now + STATS_INTERVAL;
            self.note_turned();
            for member in self.members.values() {
                member.publish_stats();
            }
        }
    }

    fn note_turned(&mut self) {
        for member in self.members.values_mut() {
            member.turned.clear();
        }
        for (swarm, peer) in self.links.turned() {
            if let Some(member) = self.members.get_mut(&swarm) {
                member.turned.push(peer);
            }
        }
    }

    fn tell_traffic(&mut self, now: Instant) {
        let now = self.clock.core(now);
        for ((swarm, peer), traffic) in self.links.take_traffic() {
            if let Some(member) = self.members.get_mut(&swarm) {
                let input = Input::Traffic {
                    peer,
                    sent: traffic.sent,
                    received: traffic.received,
                };
                member.handle(now, input);
            }
        }
    }

    fn next_wake(&mut self, now: Instant) -> Instant {
        let core = self
            .members
            .values()
            .map(|m| self.clock.host(m.timeout))
            .min();
        let links = self.links.next_timeout(now);
        let wire = self.wire.next_due(now);
        [core, links, wire, Some(self.next_traffic)]
            .into_iter()
            .flatten()
            .fold(now + LONGEST_SLEEP, Instant::min)
    }

    /// Moves everything that can move.
    fn pump(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.links.poll_event() {
                self.on_link(now, event);
            }
            let swarms: Vec<SwarmId> = self.touched().collect();
            for swarm in &swarms {
                self.poll_core(now, *swarm);
            }
            while !self.wire.is_stuck() {
                let Some(out) = self.links.poll_transmit(now) else {
                    break;
                };
                self.transmit(now, out);
            }
            self.stream.set(self.links.turn_stream());
            if swarms.is_empty() && !self.links.has_events() {
                return;
            }
        }
    }

    fn transmit(&mut self, now: Instant, out: Transmit) {
        match out.over {
            Over::Udp => self.wire.send(now, out),
            Over::Tcp => self.stream.send(&out.bytes),
        }
    }

    fn touched(&self) -> impl Iterator<Item = SwarmId> {
        let touched = self.members.iter().filter(|(_, member)| member.touched);
        touched.map(|(swarm, _)| *swarm)
    }

    fn on_link(&mut self, now: Instant, event: Event<Key>) {
        let (swarm, peer) = match &event {
            Event::Up(key) | Event::Down(key) => *key,
            Event::Signal { to, .. } | Event::Buffered { to, .. } => *to,
            Event::Received { from, .. } => *from,
        };
        let Some(member) = self.members.get_mut(&swarm) else {
            return;
        };
        if let (Event::Down(_), Some(tap)) = (&event, &mut self.tap) {
            tap.on_down(peer);
        }
        let now = self.clock.core(now);
        match event {
            Event::Up(_) => member.handle(now, Input::LinkUp(peer)),
            Event::Down(_) => member.handle(now, Input::LinkDown(peer)),
            Event::Buffered { bytes, .. } => member.handle(now, Input::Buffered { peer, bytes }),
            Event::Signal { payload, .. } => {
                let to = peer;
                member.handle(now, Input::Signal { to, payload });
            }
            Event::Received { channel, bytes, .. } => {
                member.receive(now, peer, channel, &bytes);
            }
        }
    }

    fn poll_core(&mut self, now: Instant, swarm: SwarmId) {
        loop {
            let Some(member) = self.members.get_mut(&swarm) else {
                return;
            };
            match member.poll() {
                Output::Timeout(at) => {
                    member.timeout = at;
                    member.touched = false;
                    return;
                }
                Output::Send { to, message } => self.send(now, (swarm, to), message),
                Output::Tracker(message) => member.tell_tracker(message),
                Output::Release(release) => member.play(release),
                Output::Event(event) => member.tell(event),
                Output::Connect(peer) => {
                    let role = Role::of(member.id, peer);
                    if self.links.connect(now, (swarm, peer), role).is_err() {
                        let now = self.clock.core(now);
                        member.handle(now, Input::LinkDown(peer));
                    }
                }
                Output::Disconnect(peer) => self.links.close(now, (swarm, peer)),
                Output::Signal {
                    from,
                    payload,
                    near,
                } => {
                    let role = Role::of(member.id, from);
                    let signalled = self.links.signal(now, (swarm, from), role, &payload, near);
                    if let Err(error) = signalled {
                        tracing::debug!(peer = %from, %error, "signal refused");
                    }
                }
            }
        }
    }

    /// A piece that finds no room is lost, as it might be on the wire. A peer that does not
    /// read what controls it is of no use.
    fn send(&mut self, now: Instant, to: Key, mut message: wire::Message<Signed>) {
        let tap = self.tap.as_mut();
        if tap.is_some_and(|tap| !tap.on_send(to.1, &mut message)) {
            return;
        }
        let channel = match message.channel() {
            wire::Channel::Reliable => Channel::Control,
            wire::Channel::Pieces => Channel::Pieces,
        };
        let sent = self.links.send(to, channel, &wire::encode(&message));
        if !sent && channel == Channel::Control && self.links.is_up(to) {
            tracing::debug!(peer = %to.1, "a peer does not read");
            self.links.close(now, to);
            if let Some(member) = self.members.get_mut(&to.0) {
                member.handle(self.clock.core(now), Input::LinkDown(to.1));
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        let core_now = self.clock.core(now);
        let (swarm, input) = match command {
            Command::Join(swarm, join) => {
                self.members.insert(swarm, Member::new(*join, core_now));
                return;
            }
            Command::Leave(swarm) => return self.leave(now, swarm),
            Command::Notice(swarm, Notice::Denied(denial)) => {
                if let Some(member) = self.members.get(&swarm) {
                    member.deny(denial);
                }
                return;
            }
            Command::Notice(swarm, Notice::Up) => (swarm, Input::TrackerUp),
            Command::Notice(swarm, Notice::Down) => {
                self.links.forget_where_seen();
                (swarm, Input::TrackerDown)
            }
            Command::Notice(swarm, Notice::Message(message)) => {
                if let Some(member) = self.members.get_mut(&swarm) {
                    if member.on_tracker(core_now, message) {
                        self.trust_seeders();
                    }
                    self.pump(now);
                }
                return;
            }
            Command::Epoch(swarm, epoch) => (swarm, Input::Epoch(epoch)),
            Command::Publish(swarm, header, pieces) => (swarm, Input::Publish { header, pieces }),
            Command::Http(swarm, bytes) => (swarm, Input::Http(bytes)),
        };
        if let Some(member) = self.members.get_mut(&swarm) {
            member.handle(core_now, input);
            self.pump(now);
        }
    }

    /// Seeders are ours: what they say of where we are seen is true.
    fn trust_seeders(&mut self) {
        let members = self.members.iter();
        let seeders = members
            .flat_map(|(swarm, member)| member.seeders().iter().map(|seeder| (*swarm, *seeder)));
        self.links.trust(seeders);
    }

    fn leave(&mut self, now: Instant, swarm: SwarmId) {
        if let Some(member) = self.members.remove(&swarm) {
            member.publish_stats();
        }
        for key in self
            .links
            .keys()
            .filter(|(of, _)| *of == swarm)
            .collect::<Vec<_>>()
        {
            self.links.close(now, key);
        }
    }

    fn leave_all(&mut self) {
        let now = Instant::now();
        for swarm in self.members.keys().copied().collect::<Vec<_>>() {
            self.leave(now, swarm);
        }
        self.links.close_turn(now);
        while let Some(out) = self.links.poll_transmit(now) {
            self.transmit(now, out);
            if self.wire.is_stuck() {
                return;
            }
        }
    }
}

/// The channel of commands, for whoever makes a host.
#[must_use]
pub fn commands() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
    mpsc::channel(COMMANDS_LEN)
}

/// The channel a swarm's outputs come by.
#[must_use]
pub fn played() -> (broadcast::Sender<Played>, broadcast::Receiver<Played>) {
    broadcast::channel(PLAYED_LEN)
}
