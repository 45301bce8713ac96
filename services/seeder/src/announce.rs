//! A channel's session with the tracker: what the core says in gRPC envelopes, and what the
//! tracker answers, for as long as the channel stays. Lost sessions are opened again.
//!
//! The one rule: as for viewers, nothing is kept for a session that is not there.

use std::{sync::Arc, time::Duration};

use boot::registry::Services;
use native::{
    host::Command,
    signalling::{Notice, Notices},
};
use overlay_core::wire::{FromTracker, MAX_TRACKER_MESSAGE_LEN, ToTracker};
use prost::Message as _;
use proto::{
    accounts,
    tracker::{
        AnnounceOpen, AnnounceReply, AnnounceRequest, announce_request,
        tracker_client::TrackerClient,
    },
};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::broadcast::Broadcast;

const QUEUE_LEN: usize = 64;
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the core hears what HTTP readers got.
const HTTP_INTERVAL: Duration = Duration::from_secs(1);

/// Whose session it is, and with whom.
pub(crate) struct Announcing {
    pub(crate) trackers: Services,
    pub(crate) channel: accounts::Channel,
    pub(crate) broadcast: Arc<Broadcast>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// Announces until the broadcast leaves or the driver is gone.
pub(crate) async fn run(of: Announcing, mut outgoing: mpsc::Receiver<ToTracker>) {
    let broadcast = of.broadcast.clone();
    let commands = of.commands.clone();
    tokio::select! {
        () = of.announce(&mut outgoing) => {}
        () = tell_http(&broadcast, &commands) => {}
        () = broadcast.leave.cancelled() => {}
    }
}

impl Announcing {
    async fn announce(mut self, outgoing: &mut mpsc::Receiver<ToTracker>) {
        let notices = Notices::new(self.broadcast.swarm, self.commands.clone());
        let mut pause = FIRST_PAUSE;
        loop {
            match self.open().await {
                Ok((tracker, requests, mut replies)) => {
                    pause = FIRST_PAUSE;
                    if !notices.tell(Notice::Up).await {
                        return;
                    }
                    let ended = tokio::select! {
                        ended = pump(&requests, &mut replies, outgoing, &notices) => ended,
                        () = self.moved_from(&tracker) => {
                            Status::aborted("another tracker has the channel")
                        }
                    };
                    tracing::warn!(code = ?ended.code(), "the tracker's session ended");
                    if !notices.tell(Notice::Down).await {
                        return;
                    }
                }
                Err(status) => {
                    tracing::debug!(code = ?status.code(), "no session with the tracker")
                }
            }
            while outgoing.try_recv().is_ok() {}
            time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A session with the channel's tracker, and which that is.
    async fn open(
        &self,
    ) -> Result<
        (
            String,
            mpsc::Sender<AnnounceRequest>,
            Streaming<AnnounceReply>,
        ),
        Status,
    > {
        let tracker = self.tracker();
        let tracker = tracker.ok_or_else(|| Status::unavailable("no tracker is known"))?;
        let transport = self.trackers.connect(&tracker);
        let transport = transport.map_err(|_| Status::internal("no URL"))?;
        let (requests, replies) = open(transport, self.channel.clone()).await?;
        Ok((tracker, requests, replies))
    }

    /// Where those who ask for a ticket now are sent.
    fn tracker(&self) -> Option<String> {
        let ranked = self.trackers.ranked(&self.channel.id);
        ranked.into_iter().next().map(|tracker| tracker.grpc)
    }

    /// Resolves when the channel has another tracker. While none is known the session stays.
    async fn moved_from(&mut self, tracker: &str) {
        while self.tracker().is_none_or(|now| now == tracker) {
            self.trackers.changed().await;
        }
    }
}

async fn open(
    tracker: Channel,
    channel: accounts::Channel,
) -> Result<(mpsc::Sender<AnnounceRequest>, Streaming<AnnounceReply>), Status> {
    let (requests, stream) = mpsc::channel(QUEUE_LEN);
    let open = AnnounceOpen {
        channel: Some(channel),
    };
    let first = announce_request::Kind::Open(open);
    let request = AnnounceRequest { kind: Some(first) };
    if requests.try_send(request).is_err() {
        return Err(Status::internal("a fresh queue is full"));
    }
    let mut client =
        TrackerClient::new(tracker).max_decoding_message_size(MAX_TRACKER_MESSAGE_LEN + 1024);
    let opening = client.announce(ReceiverStream::new(stream));
    let replies = time::timeout(OPEN_DEADLINE, opening)
        .await
        .map_err(|_| Status::deadline_exceeded("no answer"))??;
    Ok((requests, replies.into_inner()))
}

async fn pump(
    requests: &mpsc::Sender<AnnounceRequest>,
    replies: &mut Streaming<AnnounceReply>,
    outgoing: &mut mpsc::Receiver<ToTracker>,
    notices: &Notices,
) -> Status {
    loop {
        tokio::select! {
            message = outgoing.recv() => {
                let Some(message) = message else {
                    return Status::cancelled("the driver is gone");
                };
                let kind = announce_request::Kind::Message(message.encode_to_vec().into());
                if requests.send(AnnounceRequest { kind: Some(kind) }).await.is_err() {
                    return Status::unavailable("the tracker does not read");
                }
            }
            reply = replies.message() => {
                let message = match reply {
                    Ok(Some(reply)) => reply.message,
                    Ok(None) => return Status::unavailable("the tracker closed"),
                    Err(status) => return status,
                };
                let Ok(message) = FromTracker::decode(&message[..]) else {
                    return Status::internal("the tracker sent no message");
                };
                if !notices.tell(Notice::Message(message)).await {
                    return Status::cancelled("the driver is gone");
                }
            }
        }
    }
}

async fn tell_http(broadcast: &Broadcast, commands: &mpsc::Sender<Command>) {
    let mut ticks = time::interval(HTTP_INTERVAL);
    loop {
        ticks.tick().await;
        let bytes = broadcast.take_http();
        if bytes > 0
            && commands
                .send(Command::Http(broadcast.swarm, bytes))
                .await
                .is_err()
        {
            return;
        }
    }
}
