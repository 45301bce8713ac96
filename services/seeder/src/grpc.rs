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
use stripe::ChannelId;
use tokio::{
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
        let broadcast = self.broadcast(&open).await?;
        let turn = broadcast.take_turn(&open.epoch_certificate)?;
        let calls = turn.calls;
        let seeded = tokio::select! {
            seeded = self.feed(&broadcast, &turn, &mut requests) => seeded,
            () = turn.replaced.cancelled() => Err(Error::Stale.into()),
            () = self.0.shutdown.cancelled() => Err(Error::Unavailable.into()),
        };
        broadcast.end_turn(calls);
        self.linger(broadcast.id, calls);
        seeded.map(|()| Response::new(SeedReply {}))
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

    /// The channel's broadcast; a new one joins its swarm.
    async fn broadcast(&self, open: &Open) -> Result<Arc<Broadcast>, Error> {
        let channel = open.channel.clone().unwrap_or_default();
        let id = ChannelId::from_slice(&channel.id)
            .map_err(|_| Error::BadRequest("a channel's id has 16 bytes"))?;
        let key = channel.public_key[..]
            .try_into()
            .map_err(|_| Error::BadRequest("a channel's key has 32 bytes"))?;
        let leave = self.0.shutdown.child_token();
        let (broadcast, fresh) = self
            .0
            .channels
            .get_or_make(id, |swarm| Broadcast::new(id, key, swarm, leave))?;
        if fresh {
            tracing::info!(channel = channel.name, "seeding");
            self.join(channel, &broadcast).await?;
        }
        Ok(broadcast)
    }

    async fn join(
        &self,
        channel: accounts::Channel,
        broadcast: &Arc<Broadcast>,
    ) -> Result<(), Error> {
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
        let service = self.clone();
        tokio::spawn(async move {
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
