//! The encoder's side: one call per channel and epoch. What the call means stands in
//! `seeder.proto`.

use std::{sync::Arc, time::Duration};

use boot::traces;
use native::{
    host::{self, Command, Join, Session, Snapshot},
    signalling,
};
use overlay_core::{PeerId, tracker::Role};
use proto::{
    accounts,
    seeder::{Open, SeedReply, SeedRequest, seed_request::Kind, seeder_server},
};
use stripe::{ChannelId, EpochCertificate};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time,
};
use tonic::{Request, Response, Status, Streaming};
use tracing::Span;

use crate::{
    Error, Service, announce,
    broadcast::{Broadcast, Turn},
    channels::LINGER,
};

const OPEN_DEADLINE: Duration = Duration::from_secs(5);

#[tonic::async_trait]
impl seeder_server::Seeder for Service {
    async fn seed(
        &self,
        request: Request<Streaming<SeedRequest>>,
    ) -> Result<Response<SeedReply>, Status> {
        let span = tracing::info_span!("take first generation");
        traces::follow(&span, &request);
        let mut requests = request.into_inner();
        let first = time::timeout(OPEN_DEADLINE, requests.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no open came in time"))??;
        let Some(Kind::Open(open)) = first.and_then(|request| request.kind) else {
            return Err(Error::BadRequest("the first request must be open").into());
        };
        let (broadcast, fresh) = self.broadcast(&open)?;
        let turn = broadcast.take_turn(&open.epoch_certificate)?;
        let _ends = Call {
            service: self.clone(),
            broadcast: broadcast.clone(),
            calls: turn.calls,
        };
        if fresh {
            self.join(open.channel.unwrap_or_default(), &broadcast)
                .await?;
        }
        let seeded = tokio::select! {
            seeded = self.feed(&broadcast, (&turn, span), &mut requests) => seeded,
            () = turn.replaced.cancelled() => Err(Error::Stale.into()),
            () = self.0.shutdown.cancelled() => Err(Error::Unavailable.into()),
        };
        seeded.map(|()| Response::new(SeedReply {}))
    }
}

/// A call that has its turn. Dropped when it ends, be it because the encoder is gone: a
/// channel without a call must not stay.
struct Call {
    service: Service,
    broadcast: Arc<Broadcast>,
    calls: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.broadcast.end_turn(self.calls);
        self.service.linger(self.broadcast.id, self.calls);
    }
}

impl Service {
    async fn feed(
        &self,
        broadcast: &Broadcast,
        (turn, span): (&Turn, Span),
        requests: &mut Streaming<SeedRequest>,
    ) -> Result<(), Status> {
        let mut beginning = Some(span);
        self.command(Command::Epoch(broadcast.swarm, turn.epoch.clone()))
            .await?;
        while let Some(request) = requests.message().await? {
            let Some(Kind::Generation(generation)) = request.kind else {
                return Err(Error::BadRequest("generations must follow open").into());
            };
            let publish =
                broadcast.generation(&turn.epoch, &generation.header, generation.pieces)?;
            self.command(publish).await?;
            beginning = None;
        }
        drop(beginning);
        Ok(())
    }

    /// The channel's broadcast, and whether it is new and has yet to join its swarm. What
    /// the channel's key does not vouch for makes none.
    fn broadcast(&self, open: &Open) -> Result<(Arc<Broadcast>, bool), Error> {
        let channel = open.channel.as_ref();
        let channel = channel.ok_or(Error::BadRequest("open names no channel"))?;
        let id = ChannelId::from_slice(&channel.id)
            .map_err(|_| Error::BadRequest("a channel's id has 16 bytes"))?;
        let key = channel.public_key[..]
            .try_into()
            .map_err(|_| Error::BadRequest("a channel's key has 32 bytes"))?;
        let certificate = EpochCertificate::from_bytes(&open.epoch_certificate)?;
        certificate.verify(id, &key)?;
        let leave = self.0.shutdown.child_token();
        let channels = &self.0.channels;
        channels.get_or_make(id, |swarm| Broadcast::new(id, key, swarm, leave))
    }

    async fn join(
        &self,
        channel: accounts::Channel,
        broadcast: &Arc<Broadcast>,
    ) -> Result<(), Error> {
        tracing::info!(channel = channel.name, "seeding");
        let random = || getrandom::u64().map_err(|_| Error::Randomness);
        let (tracker, outgoing) = mpsc::channel(signalling::QUEUE_LEN);
        // A seeder plays nothing.
        let (played, _) = host::played();
        let (stats, _) = watch::channel(Snapshot::default());
        let join = Join {
            peer: PeerId(random()?),
            role: Role::Seeder,
            upload_bps: self.0.config.upload_max.bps(),
            seed: random()?,
            started: self.0.clock.started(),
            scheme: broadcast.scheme().clone(),
            session: Session {
                tracker,
                played,
                stats,
            },
        };
        self.command(Command::Join(broadcast.swarm, Box::new(join)))
            .await?;
        let trackers = self.0.config.trackers.clone();
        let commands = self.0.commands.clone();
        let announcing = announce::Announcing {
            trackers,
            channel,
            broadcast: broadcast.clone(),
            commands,
        };
        tokio::spawn(announce::run(announcing, outgoing));
        Ok(())
    }

    /// Lets the channel go unless an encoder comes back.
    fn linger(&self, id: ChannelId, calls: u64) {
        // Without a runtime the process is at its end.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let service = self.clone();
        runtime.spawn(async move {
            tokio::select! {
                () = time::sleep(LINGER) => {}
                () = service.0.shutdown.cancelled() => {}
            }
            if let Some(gone) = service.0.channels.remove_idle(id, calls) {
                gone.hub.end();
                gone.leave.cancel();
                let _ = service.command(Command::Leave(gone.swarm)).await;
            }
        });
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.0.commands.send(command).await;
        sent.map_err(|_| Error::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use boot::{registry::Services, ticket::Verifier, units::parse_rate};
    use ed25519_dalek::{Signer as _, SigningKey};
    use stripe::EpochSigner;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Config;

    const ID: ChannelId = ChannelId([1; 16]);

    fn service(shutdown: &CancellationToken) -> Service {
        let config = Config {
            // Nobody listens on the discard port.
            trackers: Services::named(
                &["http://127.0.0.1:9".to_owned()],
                proto::access::Role::Tracker,
                &Default::default(),
            )
            .unwrap(),
            tls: Default::default(),
            upload_max: parse_rate("1Mbps").unwrap(),
            tickets: Verifier::new(&SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes()),
            public: Vec::new(),
        };
        Service::new(config, shutdown.clone()).0
    }

    /// For a channel whose key is `owner`'s, with an epoch certified by `signer`.
    fn open(owner: &SigningKey, signer: &SigningKey) -> Open {
        let public_key = EpochSigner::new(ID, 1, &[3; 32]).public_key();
        let signed = EpochCertificate::signed_bytes(ID, 1, &public_key);
        let certificate = EpochCertificate {
            channel: ID,
            epoch: 1,
            public_key,
            signature: signer.sign(&signed).to_bytes(),
        };
        Open {
            channel: Some(accounts::Channel {
                id: ID.0.to_vec().into(),
                public_key: owner.verifying_key().to_bytes().to_vec().into(),
                ..Default::default()
            }),
            epoch_certificate: certificate.to_bytes(),
        }
    }

    #[tokio::test]
    async fn a_refused_open_makes_no_channel() {
        let service = service(&CancellationToken::new());
        let [owner, other] = [[5; 32], [6; 32]].map(|secret| SigningKey::from_bytes(&secret));
        let refused = service.broadcast(&open(&owner, &other));
        assert!(matches!(refused, Err(Error::Uncertified(_))));
        assert!(service.0.channels.get(ID).is_none());
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_lets_its_channel_go() {
        let shutdown = CancellationToken::new();
        let service = service(&shutdown);
        let owner = SigningKey::from_bytes(&[5; 32]);
        let open = open(&owner, &owner);
        let (broadcast, fresh) = service.broadcast(&open).unwrap();
        assert!(fresh);
        let turn = broadcast.take_turn(&open.epoch_certificate).unwrap();
        drop(Call {
            service: service.clone(),
            broadcast: broadcast.clone(),
            calls: turn.calls,
        });
        assert!(broadcast.is_idle(turn.calls));
        // Nobody lingers when the process ends.
        shutdown.cancel();
        let gone = async {
            while service.0.channels.get(ID).is_some() {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = time::timeout(Duration::from_secs(5), gone).await;
        assert!(gone.is_ok(), "the channel stays");
    }
}
