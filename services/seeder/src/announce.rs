//! A channel's session with the tracker: what the core says in gRPC envelopes, and what the
//! tracker answers, for as long as the channel stays. Lost sessions are opened again.
//!
//! The one rule: as for viewers, nothing is kept for a session that is not there.

use std::{sync::Arc, time::Duration};

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

/// Announces until the broadcast leaves or the driver is gone.
pub(crate) async fn run(
    tracker: Channel,
    channel: accounts::Channel,
    broadcast: Arc<Broadcast>,
    mut outgoing: mpsc::Receiver<ToTracker>,
    commands: mpsc::Sender<Command>,
) {
    let notices = Notices::new(broadcast.swarm, commands.clone());
    let mut pause = FIRST_PAUSE;
    let announcing = async {
        loop {
            match open(tracker.clone(), channel.clone()).await {
                Ok((requests, mut replies)) => {
                    pause = FIRST_PAUSE;
                    if !notices.tell(Notice::Up).await {
                        return;
                    }
                    let ended = pump(&requests, &mut replies, &mut outgoing, &notices).await;
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
    };
    tokio::select! {
        () = announcing => {}
        () = tell_http(&broadcast, &commands) => {}
        () = broadcast.leave.cancelled() => {}
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
