//! What every viewer and every seeder runs.
//!
//! The one rule for hosts: after every `handle`, call `poll` until it answers `Timeout`.

use std::{collections::VecDeque, time::Duration};

use crate::{Facts, Instant, PeerId, Random, Scheme, StripeId, StripeSet, tracker::Role, wire};

mod arrival;
mod ask;
mod broker;
mod children;
mod clock;
mod counters;
mod exchange;
mod hearsay;
mod links;
mod liveness;
mod parents;
mod playout;
mod pull;
mod rate;
mod relay;
mod session;
pub mod stats;
mod uplink;
mod window;

use children::Children;
use clock::WallClock;
use counters::{Counters, PieceCount};
use hearsay::Hearsay;
use links::Links;
use liveness::Liveness;
use parents::{Parents, View};
use playout::{Decision, Outlook, Phase, Playout};
use pull::Pull;
use rate::StreamRate;
use stats::{State, Stats};
use uplink::Uplink;
use window::Window;

/// How often deadlines are looked at: fine enough that a pull or a switch of parents loses
/// little against a round trip, coarse enough to cost nothing.
const TICK: Duration = Duration::from_millis(50);
/// The same while the player waits to begin.
const EAGER_TICK: Duration = Duration::from_millis(15);
/// How often the tracker is told.
const STATUS: Duration = Duration::from_secs(1);

/// A viewer's or a seeder's part in a swarm. Its states stand in sub-machines, one file
/// each; `exchange` takes in what peers say, `relay` passes it on, `ask` fetches what is
/// missing, `session` talks with the tracker.
pub struct Peer<S: Scheme> {
    scheme: S,
    config: Config,
    now: Instant,
    random: Random,
    epoch: Option<S::Epoch>,
    clock: WallClock,
    rate: StreamRate,
    window: Window<S>,
    links: Links,
    liveness: Liveness,
    hearsay: Hearsay,
    parents: Parents,
    children: Children,
    uplink: Uplink<Parcel>,
    backfills: Vec<relay::Backfill>,
    rescue: f64,
    /// The encoder gave it something.
    fed: bool,
    /// When it first did, if the broadcast was older than that.
    resumed: Option<Instant>,
    pull: Pull,
    playout: Playout,
    counters: Counters,
    tracker_up: bool,
    joined: bool,
    /// The channel's viewers have nothing to do with each other.
    no_sharing: bool,
    next_tick: Instant,
    next_status: Instant,
    next_have: Instant,
    next_late: Instant,
    /// When all neighbours may be asked again whether they are there.
    next_round: Instant,
    next_know: Instant,
    next_seek: Instant,
    outputs: VecDeque<Output<S>>,
}

/// What an uplink item stands for.
#[derive(Clone, Copy, Debug)]
struct Parcel {
    stripe: StripeId,
    kind: wire::PieceKind,
}

impl<S: Scheme> Peer<S> {
    /// A peer that does nothing until the tracker is there.
    pub fn new(now: Instant, scheme: S, config: Config) -> Self {
        let cap = match config.role {
            Role::Viewer => config.upload_bps,
            // A seeder answers every newcomer; measured at 2 Mbit/s and 50 viewers, what it
            // says to them came to 2.5 % above the cap for some seconds.
            Role::Seeder => config.upload_bps / 100 * 97,
        };
        Self {
            scheme,
            now,
            random: Random::new(config.seed),
            epoch: None,
            clock: WallClock::default(),
            rate: StreamRate::default(),
            window: Window::default(),
            links: Links::default(),
            liveness: Liveness::default(),
            hearsay: Hearsay::default(),
            parents: Parents::default(),
            children: Children::default(),
            uplink: Uplink::new(now, cap),
            backfills: Vec::new(),
            rescue: 0.0,
            fed: false,
            resumed: None,
            pull: Pull::default(),
            playout: Playout::default(),
            counters: Counters::default(),
            tracker_up: false,
            joined: false,
            no_sharing: false,
            next_tick: now,
            next_status: now + STATUS,
            next_have: now,
            next_late: now,
            next_round: Instant::default(),
            next_know: now + hearsay::TELLS / 2,
            next_seek: now,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes an input in. Afterwards call [`Self::poll`] until it answers `Timeout`.
    pub fn handle(&mut self, now: Instant, input: Input<S>) {
        self.now = self.now.max(now);
        match input {
            Input::Timeout => {}
            Input::TrackerUp => self.on_tracker_up(),
            Input::TrackerDown => self.on_tracker_down(),
            Input::Tracker(message) => self.on_tracker(message),
            Input::LinkUp(peer) => self.on_link_up(peer),
            Input::LinkDown(peer) => self.on_link_down(peer),
            Input::Received { from, message } => self.on_message(from, message),
            Input::Malformed(peer) => self.cut(peer),
            Input::Signal { to, payload } => self.on_signal(to, payload),
            Input::Buffered { peer, bytes } => {
                // What a link says on its way out would count for ever.
                if self.links.is_up(peer) {
                    self.uplink.on_buffered(self.now, peer, bytes);
                }
            }
            Input::Traffic {
                peer,
                sent,
                received,
            } => {
                let seeder = self.links.is_seeder(peer);
                self.counters.on_traffic(seeder, sent, received);
                self.uplink.on_traffic(self.now, sent);
                if self.links.is_up(peer) {
                    self.liveness.on_traffic(self.now, peer, sent, received);
                }
            }
            Input::Http(bytes) => self.counters.http += bytes,
            Input::Epoch(epoch) => self.on_epoch(epoch),
            Input::Publish { header, pieces } => self.publish(header, pieces),
        }
        self.advance();
    }

    /// The next thing for the host to do.
    pub fn poll(&mut self) -> Output<S> {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| Output::Timeout(self.next_timeout()))
    }

    /// The figures as they stand.
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.stats(self.now);
        stats.state = self.state();
        stats.links = self.links.up().map(|(peer, _)| peer).collect();
        stats.stall_time += self.standing();
        stats.parents = self.parents.iter().collect();
        stats.children = self
            .children
            .iter()
            .map(|(stripe, peers)| (stripe, peers.to_vec()))
            .collect();
        stats
    }

    /// For how long the picture has stood, if it does.
    fn standing(&self) -> Duration {
        match self.playout.phase() {
            Phase::Stalled(_, since) => self.now.since(since),
            _ => Duration::ZERO,
        }
    }

    fn state(&self) -> State {
        match self.playout.phase() {
            Phase::Ended => State::Ended,
            Phase::Playing(_) if self.playout.paused() => State::Waiting,
            Phase::Playing(_) | Phase::Stalled(..) => State::Playing,
            Phase::Starting if self.window.newest().is_some() => State::Joining,
            Phase::Starting => State::Waiting,
        }
    }

    fn next_timeout(&self) -> Instant {
        let mut next = self.next_tick.min(self.next_status);
        if let Some(sending) = self.uplink.next() {
            next = next.min(sending);
        }
        if self.config.role == Role::Viewer
            && let Some(due) = self.playout.next(&self.window, &self.clock)
        {
            next = next.min(due);
        }
        if let Some(ping) = self.clock.next() {
            next = next.min(ping);
        }
        // A host that obeys is never asked to come back at once without end.
        next.max(self.now + Duration::from_micros(100))
    }

    /// Everything that follows from time or from a change.
    fn advance(&mut self) {
        if self.clock.poll(self.now) {
            let ping = wire::Ping {
                stamp_us: self.now.as_micros(),
            };
            self.tell(wire::to_tracker::Kind::Ping(ping));
        }
        if self.config.role == Role::Viewer {
            self.play();
        }
        if self.now >= self.next_tick {
            self.tick();
        }
        if self.now >= self.next_status {
            self.next_status = self.now + STATUS;
            self.report();
        }
        self.send_queued();
    }

    fn tick(&mut self) {
        let starting = matches!(self.playout.phase(), Phase::Starting | Phase::Stalled(..))
            && self.config.role == Role::Viewer
            && self.window.newest().is_some();
        self.next_tick = self.now + if starting { EAGER_TICK } else { TICK };
        self.forget_old();
        let stripe_bytes = self.rate.stripe_bytes().unwrap_or(0);
        self.uplink
            .commit(self.children.edges() as f64 * stripe_bytes as f64);
        self.uplink.leave_out(self.liveness.mute(self.now));
        self.let_mute_children_go();
        self.tell_have_now_and_then();
        self.look_around();
        if self.config.role == Role::Seeder {
            return;
        }
        let actions = self.with_parents(Parents::tick);
        self.act(actions);
        self.tell_late();
        self.ask_for_headers();
        self.ask_for_pieces(starting);
    }

    /// Asks the parents' machine for a decision, with what it needs to see.
    fn with_parents<T>(&mut self, decide: impl FnOnce(&mut Parents, View<'_>) -> T) -> T {
        let (links, seeders) = (&self.links, self.links.seeders());
        let children = &self.children;
        let relays = |stripe: StripeId| links.relays(stripe, children.of(stripe), seeders);
        let view = View {
            now: self.now,
            newest: self.window.newest(),
            interval: self.rate.interval(),
            liveness: &self.liveness,
            relays: &relays,
        };
        decide(&mut self.parents, view)
    }

    /// Runs the player.
    fn play(&mut self) {
        loop {
            // Who plays asks for no outlook, and has an input for every piece.
            let asks = !matches!(self.playout.phase(), Phase::Playing(_));
            let needed = self.rate.shape().map_or(0, |(k, _)| usize::from(k));
            let outlook = Outlook {
                interval: self.rate.interval(),
                fetched_per_s: self.pull.fetched_per_s(self.now),
                placed: self.parents.iter().next().is_some(),
                carried: asks && self.parents.healthy().len() >= needed,
            };
            let decisions = self
                .playout
                .poll(self.now, &self.window, &self.clock, outlook);
            if decisions.is_empty() {
                return;
            }
            for decision in decisions {
                match decision {
                    Decision::Release {
                        sequence,
                        pre_roll,
                        discontinuity,
                    } => {
                        if !self.release(sequence, pre_roll, discontinuity) {
                            break;
                        }
                    }
                    Decision::Stall { sequence } => {
                        self.counters.stats.stalls += 1;
                        self.event(Event::Stalled { sequence });
                    }
                    Decision::Resume { after, skipped } => {
                        self.counters.stats.skipped += skipped;
                        self.counters.stats.stall_time += after;
                        self.event(Event::Resumed { after });
                    }
                    Decision::End => self.event(Event::Ended),
                }
            }
        }
    }

    fn release(&mut self, sequence: u64, pre_roll: bool, discontinuity: bool) -> bool {
        let Some(generation) = self.window.get(sequence) else {
            return false;
        };
        let (Some(header), Some(facts)) = (generation.header(), generation.facts().copied()) else {
            return false;
        };
        let Some(body) = self.scheme.decode(header, generation.pieces()) else {
            self.counters.stats.stalls += 1;
            self.playout.on_undecodable(self.now, sequence);
            self.event(Event::Stalled { sequence });
            return false;
        };
        // A generation that was due less than one before is played for itself.
        let lag = self
            .clock
            .local(facts.ingest_stamp_us)
            .map(|stamp| self.now.since(stamp))
            .filter(|lag| !pre_roll || *lag <= delay(&facts) + TICK);
        if self.counters.stats.startup.is_none() {
            let after = self.now.since(self.config.started);
            self.counters.stats.startup = Some(after);
            self.event(Event::Started { after });
        }
        self.counters
            .on_release(self.now, facts.body_len as usize, lag);
        self.outputs.push_back(Output::Release(Release {
            facts,
            body,
            lag,
            discontinuity,
        }));
        if facts.flags.has(stripe::Flags::PAUSE) {
            self.event(Event::Waiting);
        }
        true
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

fn delay(facts: &Facts) -> Duration {
    Duration::from_millis(u64::from(facts.delay_ms))
}

/// The stripes whose trees carry a generation's header, so that it reaches everyone once
/// or twice and, like every piece, from the root down: two that lie half the stripes
/// apart, others for each generation.
#[must_use]
pub fn header_stripes(sequence: u64, n: u8) -> StripeSet {
    let n = u64::from(n.max(1));
    let index = |sequence: u64| StripeId::new((sequence % n) as u8);
    [index(sequence), index(sequence + n / 2)]
        .into_iter()
        .flatten()
        .collect()
}

/// What a peer is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, chosen at random.
    pub peer: PeerId,
    /// What it is.
    pub role: Role,
    /// Bits a second it may send at most, all of it counted; 0: shares nothing.
    pub upload_bps: u64,
    /// For choices where any answer is right.
    pub seed: u64,
    /// When the program began, for the start-up time.
    pub started: Instant,
}

/// What happens to a peer.
pub enum Input<S: Scheme> {
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
    /// The session with the tracker is open; the peer joins.
    TrackerUp,
    /// It is closed.
    TrackerDown,
    /// The tracker said something.
    Tracker(wire::FromTracker),
    /// A link is open, whoever began it.
    LinkUp(PeerId),
    /// It is closed, or could not be opened.
    LinkDown(PeerId),
    /// A peer said something.
    Received {
        /// Who.
        from: PeerId,
        /// What.
        message: wire::Message<S>,
    },
    /// A peer sent bytes that are no message.
    Malformed(PeerId),
    /// A link that is being made has this to say to its other end. Lost when nobody can
    /// carry it.
    Signal {
        /// Whom.
        to: PeerId,
        /// What; opaque.
        payload: bytes::Bytes,
    },
    /// So many bytes wait in a link's send buffer.
    Buffered {
        /// Whose.
        peer: PeerId,
        /// How many.
        bytes: usize,
    },
    /// So many bytes of UDP payload passed since the last such input, with what the
    /// transport adds and repeats.
    Traffic {
        /// With whom.
        peer: PeerId,
        /// Sent.
        sent: u64,
        /// Received.
        received: u64,
    },
    /// Bytes sent to players over HTTP since the last such input (seeders only).
    Http(u64),
    /// An epoch begins (seeders only).
    Epoch(S::Epoch),
    /// A generation is complete (seeders only): the header and n pieces in stripe order.
    Publish {
        /// Its header.
        header: S::Header,
        /// Its pieces.
        pieces: Vec<S::Piece>,
    },
}

/// What the host is to do.
pub enum Output<S: Scheme> {
    /// Send to a peer, on `message.channel()`.
    Send {
        /// Whom.
        to: PeerId,
        /// What.
        message: wire::Message<S>,
    },
    /// Send to the tracker.
    Tracker(wire::ToTracker),
    /// Open a link; answer `LinkUp` or, within a few seconds, `LinkDown`. Signals are
    /// handed to the link by [`Output::Signal`] and from it by `Input::Tracker`'s
    /// counterpart [`crate::wire::Signal`] in [`Output::Tracker`], made by the host.
    Connect(PeerId),
    /// Close a link. No `LinkDown` is owed.
    Disconnect(PeerId),
    /// The tracker brought this signal for the link to a peer.
    Signal {
        /// From whom.
        from: PeerId,
        /// What.
        payload: bytes::Bytes,
        /// The tracker sees both ends at one address.
        near: bool,
    },
    /// Give this to the player.
    Release(Release<S>),
    /// Something to tell or log.
    Event(Event),
    /// Nothing until then, unless something happens.
    Timeout(Instant),
}

/// A generation for the player.
pub struct Release<S: Scheme> {
    /// What it is.
    pub facts: Facts,
    /// Its media.
    pub body: S::Body,
    /// Release − ingest stamp; `None` for pre-roll.
    pub lag: Option<Duration>,
    /// The first one, or one after a skip: does not continue the one before.
    pub discontinuity: bool,
}

/// What people may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tracker let the peer in.
    Joined,
    /// It did not; there is no use in asking again unless `retry`.
    Refused {
        /// Why.
        code: wire::RefusedCode,
        /// Later, or under another name, it may work.
        retry: bool,
    },
    /// Nothing to play yet, or the broadcaster is away.
    Waiting,
    /// The first generation is out.
    Started {
        /// Process start to first release.
        after: Duration,
    },
    /// A generation was not there when due.
    Stalled {
        /// Which.
        sequence: u64,
    },
    /// Playing goes on after a stall.
    Resumed {
        /// For how long it stood.
        after: Duration,
    },
    /// The broadcast is over and played to its end.
    Ended,
    /// A stripe has a new parent.
    Attached {
        /// Which stripe.
        stripe: StripeId,
        /// Whose child the peer is in it now.
        parent: PeerId,
    },
    /// A peer sent what was not signed and is cut.
    Cut(PeerId),
}
