//! A seeder and some viewers over real sockets on loopback, with the real core and its
//! tracker, and channels in the place of WebSockets: what the drivers do with time, bytes
//! and commands, from an encoder's pieces to what players are given.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use native::{
    host::{self, Clock, Command, Host, Join, Played, Session, Snapshot, SwarmId},
    link::{self, address::Policy},
    outputs::hub::Media,
    shaper::{Inside, Line, Wire},
    signalling::Notice,
    socket::Socket,
};
use overlay_core::{
    PeerId, Signed, Tracker,
    peer::Event,
    tracker::{self, Grant, Input, Output, Role, SessionId},
    wire::ToTracker,
};
use stripe::{Body, ChannelId, EpochCertificate, EpochSigner, Flags, Meta, Shape};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

const CHANNEL: ChannelId = ChannelId([7; 16]);
const SWARM: SwarmId = SwarmId(4);
const GENERATION: Duration = Duration::from_millis(100);
const GENERATIONS: u64 = 40;
const GOP: u64 = 5;
const DELAY_MS: u32 = 900;

fn wall_us() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.unwrap().as_micros() as u64
}

/// What peers' sessions say to the tracker's task.
enum Said {
    Opened(SessionId, Role, mpsc::Sender<Command>),
    Message(SessionId, Box<ToTracker>),
}

async fn track(clock: Clock, mut said: mpsc::Receiver<Said>) {
    let now = || clock.core(Instant::now());
    let config = tracker::Config {
        wall_at_zero_us: wall_us() - now().as_micros(),
        ..tracker::Config::default()
    };
    let mut tracker = Tracker::new(now(), config);
    let mut peers: HashMap<SessionId, mpsc::Sender<Command>> = HashMap::new();
    loop {
        let wake = loop {
            match tracker.poll() {
                Output::Send { session, message } => {
                    let notice = Command::Notice(SWARM, Notice::Message(message));
                    let _ = peers[&session].send(notice).await;
                }
                Output::Close { reason, .. } => panic!("a session was closed: {reason}"),
                Output::Timeout(at) => break clock.host(at),
            }
        };
        let input = tokio::select! {
            said = said.recv() => match said {
                Some(Said::Opened(session, role, commands)) => {
                    commands.send(Command::Notice(SWARM, Notice::Up)).await.unwrap();
                    peers.insert(session, commands);
                    let grant = Grant { role, may_share: true, origin: None };
                    Input::Opened { session, grant }
                }
                Some(Said::Message(session, message)) => Input::Message { session, message: *message },
                None => return,
            },
            () = time::sleep_until(wake.into()) => Input::Timeout,
        };
        tracker.handle(now(), input);
    }
}

struct Peer {
    commands: mpsc::Sender<Command>,
    played: broadcast::Receiver<Played>,
    stats: watch::Receiver<Snapshot>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

/// Starts peers of one swarm.
struct Bed {
    clock: Clock,
    key: SigningKey,
    tracker: mpsc::Sender<Said>,
    peers: u64,
}

impl Bed {
    fn new() -> Self {
        let clock = Clock::new(Instant::now());
        let (tracker, said) = mpsc::channel(64);
        tokio::spawn(track(clock, said));
        Self {
            clock,
            key: SigningKey::from_bytes(&[9; 32]),
            tracker,
            peers: 0,
        }
    }

    fn scheme(&self) -> Signed {
        Signed::new(CHANNEL, self.key.verifying_key().to_bytes())
    }

    async fn start(&mut self, role: Role, upload_bps: u64, line: Option<Line>) -> Peer {
        self.peers += 1;
        let session = SessionId(self.peers);
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let policy = Policy {
            loopback: true,
            private: true,
        };
        let links = link::Config::new(vec![socket.local()], policy);
        let wire = match line {
            Some(line) => Wire::shaped(socket, line),
            None => Wire::plain(socket),
        };
        let host = Host::new(self.clock, wire, links, self.peers << 32).unwrap();
        let (commands, receiver) = host::commands();
        let (tracker, mut to_tracker) = mpsc::channel(256);
        let (sender, played) = host::played();
        let (figures, stats) = watch::channel(Snapshot::default());
        let join = Join {
            peer: PeerId(self.peers * 1000),
            role,
            upload_bps,
            seed: self.peers,
            started: self.clock.core(Instant::now()),
            scheme: self.scheme(),
            session: Session {
                tracker,
                played: sender,
                stats: figures,
            },
        };
        let said = self.tracker.clone();
        tokio::spawn(async move {
            while let Some(message) = to_tracker.recv().await {
                let _ = said.send(Said::Message(session, Box::new(message))).await;
            }
        });
        let joining = Command::Join(SWARM, Box::new(join));
        commands.send(joining).await.unwrap();
        let opened = Said::Opened(session, role, commands.clone());
        self.tracker.send(opened).await.unwrap();
        let shutdown = CancellationToken::new();
        Peer {
            commands,
            played,
            stats,
            running: tokio::spawn(host.run(receiver, shutdown.clone())),
            shutdown,
        }
    }
}

fn body(sequence: u64) -> Body {
    let media = (0..20_000_u64).map(|at| (at * 31 + sequence * 7) as u8);
    Body {
        init: sequence
            .is_multiple_of(GOP)
            .then(|| Bytes::from_static(b"init")),
        media: media.collect(),
    }
}

/// Publishes the whole broadcast in real time.
async fn broadcast(scheme: Signed, key: SigningKey, commands: mpsc::Sender<Command>) {
    let signer = EpochSigner::new(CHANNEL, 1, &[3; 32]);
    let public_key = signer.public_key();
    let signed = EpochCertificate::signed_bytes(CHANNEL, 1, &public_key);
    let epoch = scheme.epoch(EpochCertificate {
        channel: CHANNEL,
        epoch: 1,
        public_key,
        signature: key.sign(&signed).to_bytes(),
    });
    let epoch = Command::Epoch(SWARM, epoch.unwrap());
    commands.send(epoch).await.unwrap();
    let mut ticks = time::interval(GENERATION);
    for sequence in 0..=GENERATIONS {
        ticks.tick().await;
        let (flags, bytes) = if sequence == GENERATIONS {
            (Flags::END, Bytes::new())
        } else if sequence.is_multiple_of(GOP) {
            (Flags::KEYFRAME, body(sequence).to_bytes())
        } else {
            (Flags::default(), body(sequence).to_bytes())
        };
        let meta = Meta {
            sequence,
            media_time_us: sequence * GENERATION.as_micros() as u64,
            ingest_stamp_us: wall_us(),
            delay_ms: DELAY_MS,
            flags,
        };
        let (header, pieces) = signer.seal(meta, Shape::DEFAULT, &bytes).unwrap();
        let publish = Command::Publish(SWARM, header, pieces);
        commands.send(publish).await.unwrap();
    }
}

/// Everything until the end of the broadcast.
async fn watch_it(played: &mut broadcast::Receiver<Played>) -> Vec<Media> {
    let mut seen = Vec::new();
    loop {
        match played.recv().await.unwrap() {
            Played::Media { media, .. } if !media.media.is_empty() => seen.push(media),
            Played::Event(Event::Ended) => return seen,
            _ => {}
        }
    }
}

async fn whole_broadcast(shaped: bool) {
    let mut bed = Bed::new();
    let inside = Inside::default();
    let line = |seed| Line {
        delay: Duration::from_millis(20),
        loss: 0.005,
        inside: inside.clone(),
        seed,
    };
    let seeder = bed.start(Role::Seeder, 20_000_000, None).await;
    tokio::spawn(broadcast(
        bed.scheme(),
        bed.key.clone(),
        seeder.commands.clone(),
    ));
    let mut viewers = Vec::new();
    for seed in 0..5 {
        let line = shaped.then(|| line(seed));
        viewers.push(bed.start(Role::Viewer, 10_000_000, line).await);
    }
    let limit = GENERATION * GENERATIONS as u32 + Duration::from_secs(6);
    for viewer in &mut viewers {
        let seen = time::timeout(limit, watch_it(&mut viewer.played)).await;
        let seen = seen.expect("the broadcast must end for everybody");
        let first = seen.first().expect("something must be played");
        assert!(first.flags.has(Flags::KEYFRAME));
        let first = GENERATIONS - seen.len() as u64;
        assert!(first <= 2 * GOP, "playing began at {first}");
        for (media, sequence) in seen.iter().zip(first..) {
            assert_eq!(media.media, body(sequence).media, "generation {sequence}");
        }
    }
    let mut relayed = 0;
    for viewer in viewers {
        viewer.shutdown.cancel();
        viewer.running.await.unwrap();
        let snapshot = viewer.stats.borrow().clone();
        assert_eq!(snapshot.stats.stalls, 0);
        assert_eq!(snapshot.seeders, [PeerId(1000)]);
        relayed += snapshot.stats.sent.media + snapshot.stats.sent.parity;
    }
    let whole = GENERATIONS * 20_000;
    assert!(
        relayed > whole,
        "viewers relayed {relayed} bytes of {whole}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_viewer_plays_every_byte_and_they_carry_it_themselves() {
    whole_broadcast(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delay_and_loss_change_nothing() {
    whole_broadcast(true).await;
}
