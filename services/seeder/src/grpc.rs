//! The encoder's side: one call per channel and epoch. What the call means stands in
//! `seeder.proto`.

use std::{sync::Arc, time::Duration};

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
            seeded = self.feed(&broadcast, &turn, &mut requests) => seeded,
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
        turn: &Turn,
        requests: &mut Streaming<SeedRequest>,
    ) -> Result<(), Status> {
        self.command(Command::Epoch(broadcast.swarm, turn.epoch.clone()))
            .await?;
        while let Some(request) = requests.message().await? {
            let Some(Kind::Generation(generation)) = request.kind else {
                return Err(Error::BadRequest("generations must follow open").into());
            };
            let publish =
                broadcast.generation(&turn.epoch, &generation.header, generation.pieces)?;
            self.command(publish).await?;
        }
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
        let tracker = self.0.tracker.clone();
        let commands = self.0.commands.clone();
        tokio::spawn(announce::run(
            tracker,
            channel,
            broadcast.clone(),
            outgoing,
            commands,
        ));
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
