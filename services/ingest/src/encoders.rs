//! Finds an encoder for a channel, at first and when one is lost, and holds the session with it.
//!
//! The one rule: a channel goes to the first encoder of its order that takes it, so that every
//! ingest comes to the same one and two broadcasters of a channel meet there.

use std::time::Duration;

use boot::{registry::Services, traces};
use proto::{
    accounts::Channel,
    encoder::{
        EncodeReply, EncodeRequest, Open, encode_reply, encode_request::Kind,
        encoder_client::EncoderClient,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Streaming, transport};
use tracing::Span;

use crate::refusal::Refusal;

/// Whom to ask, and until when. Clones are the same.
#[derive(Clone)]
pub(crate) struct Encoders {
    services: Services,
    shutdown: CancellationToken,
}

/// A session with an encoder.
pub(crate) struct Session {
    fragments: mpsc::Sender<EncodeRequest>,
    replies: Streaming<EncodeReply>,
    /// Where the channel's timeline goes on, as far as this encoder knows.
    pub(crate) base_us: u64,
    /// The channel's epoch.
    pub(crate) epoch: u64,
}

/// Fragments that wait for the encoder: 0.8 s.
const QUEUE: usize = 8;
/// The encoder certifies the epoch within 2 s.
const OPEN_DEADLINE: Duration = Duration::from_secs(4);
/// All encoders of a channel's order together, when a broadcaster waits to be accepted.
const FIND_DEADLINE: Duration = Duration::from_secs(6);
/// A lost encoder's heir is looked for this long: its lease ends within 6 s, and one that was
/// restarted is there in less. A broadcaster's own patience is longer.
const HEIR_DEADLINE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(250);
/// A fragment that the encoder does not take within this long will never be.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
const AWAY: Refusal = Refusal::Away("the encoder");

impl Encoders {
    pub(crate) fn new(services: Services, shutdown: CancellationToken) -> Self {
        Self { services, shutdown }
    }

    /// A session for a channel whose broadcaster waits to be accepted.
    pub(crate) async fn open(&self, channel: &Channel) -> Result<Session, Refusal> {
        let trying = self.try_all(channel, 0);
        timeout(FIND_DEADLINE, trying).await.map_err(|_| AWAY)?
    }

    /// A session for a channel that has lost its encoder. The old one may be the new one too:
    /// come back, or only its connection was lost.
    /// A new epoch is later than `after`.
    pub(crate) async fn inherit(&self, channel: &Channel, after: u64) -> Result<Session, Refusal> {
        let deadline = Instant::now() + HEIR_DEADLINE;
        loop {
            let tried = tokio::select! {
                () = self.shutdown.cancelled() => return Err(Refusal::Stopping),
                tried = timeout_at(deadline, self.try_all(channel, after)) => tried,
            };
            match tried {
                Ok(Ok(session)) => return Ok(session),
                // The lost session may still stand there for a moment.
                Ok(Err(refusal)) if Instant::now() + PAUSE >= deadline => return Err(refusal),
                Ok(Err(_)) => sleep(PAUSE).await,
                Err(_) => return Err(AWAY),
            }
        }
    }

    async fn try_all(&self, channel: &Channel, after: u64) -> Result<Session, Refusal> {
        for encoder in self.services.ranked(&channel.id) {
            let Ok(transport) = self.services.connect(&encoder.grpc) else {
                continue;
            };
            match timeout(OPEN_DEADLINE, Session::open(transport, channel, after)).await {
                Ok(Err(Refusal::Away(_))) | Err(_) => {}
                Ok(opened) => return opened,
            }
        }
        Err(AWAY)
    }
}

impl Session {
    async fn open(
        encoder: transport::Channel,
        channel: &Channel,
        after_epoch: u64,
    ) -> Result<Self, Refusal> {
        let mut client = EncoderClient::new(encoder)
            .max_encoding_message_size(boot::grpc::MESSAGE_MAX)
            .max_decoding_message_size(boot::grpc::MESSAGE_MAX);
        let (fragments, requests) = mpsc::channel(QUEUE);
        let open = Kind::Open(Open {
            channel: Some(channel.clone()),
            after_epoch,
        });
        // The queue is new: there is room.
        let _ = fragments.try_send(EncodeRequest { kind: Some(open) });
        let refused = |status: tonic::Status| Refusal::from_encoder(&status);
        let mut request = Request::new(ReceiverStream::new(requests));
        traces::carry(&Span::current(), &mut request);
        let call = client.encode(request).await;
        let mut replies = call.map_err(refused)?.into_inner();
        let reply = replies.message().await.map_err(refused)?;
        let Some(encode_reply::Kind::Opened(opened)) = reply.and_then(|reply| reply.kind) else {
            return Err(AWAY);
        };
        Ok(Self {
            fragments,
            replies,
            base_us: opened.base_time_us,
            epoch: opened.epoch,
        })
    }

    /// Waits while the encoder is slow.
    ///
    /// # Errors
    /// [`Refusal::Away`].
    pub(crate) async fn send(&self, kind: Kind) -> Result<(), Refusal> {
        let request = EncodeRequest { kind: Some(kind) };
        match timeout(SEND_DEADLINE, self.fragments.send(request)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(AWAY),
        }
    }

    /// The encoder's next word; `None` when it has ended the session.
    pub(crate) async fn reply(&mut self) -> Option<encode_reply::Kind> {
        let reply = self.replies.message().await;
        reply.ok().flatten().and_then(|reply| reply.kind)
    }

    /// Resolves when the encoder has ended the session. Safe to be dropped and called again.
    ///
    /// # Errors
    /// When it did so for what it was sent, or because of another broadcaster: no other
    /// encoder would help.
    pub(crate) async fn ended(&mut self) -> Result<(), Refusal> {
        loop {
            let status = match self.replies.message().await {
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(()),
                Err(status) => status,
            };
            tracing::warn!(code = ?status.code(), "the encoder ended the session");
            return match status.code() {
                Code::InvalidArgument => Err(AWAY),
                Code::Aborted => Err(Refusal::AlreadyLive),
                _ => Ok(()),
            };
        }
    }
}
