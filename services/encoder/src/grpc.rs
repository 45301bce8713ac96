//! The gRPC edge: one call per publish session.

use std::time::Duration;

use boot::traces;
use proto::encoder::{
    Closed, EncodeReply, EncodeRequest, Opened, encode_reply, encode_request,
    encoder_server::Encoder,
};
use stripe::ChannelId;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Error,
    channel::{About, Input, Inputs},
    registry::Registry,
};

/// Serves `Encoder`.
pub(crate) struct Service {
    registry: Registry,
}

/// Fragments on their way to a channel. Ingest waits when it is full: media are never
/// dropped here.
const QUEUE: usize = 8;
/// The first message must come within this.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

impl Service {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

#[tonic::async_trait]
impl Encoder for Service {
    type EncodeStream = ReceiverStream<Result<EncodeReply, Status>>;

    async fn encode(
        &self,
        request: Request<Streaming<EncodeRequest>>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        let span = tracing::info_span!("open session");
        traces::follow(&span, &request);
        let mut requests = request.into_inner();
        let (about, after_epoch) = timeout(OPEN_DEADLINE, on_open(&mut requests))
            .await
            .map_err(|_| Status::deadline_exceeded("no open message"))??;
        let (inputs, received) = mpsc::channel(QUEUE);
        let (verdict, ended) = oneshot::channel();
        let receiver = Inputs {
            received,
            verdict,
            span,
        };
        let opened = self.registry.publish(&about, receiver, after_epoch).await?;
        // Two replies in a call, so that neither ever waits.
        let (replies, stream) = mpsc::channel(2);
        let opened = encode_reply::Kind::Opened(Opened {
            base_time_us: opened.base_us,
            epoch: opened.epoch,
        });
        let _ = replies.try_send(Ok(reply(opened)));
        let session = Session {
            requests,
            inputs,
            ended,
            replies,
            shutdown: self.registry.shutdown().clone(),
        };
        self.registry.spawn(session.run());
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Carries a session's fragments to its channel. When it ends, so does the session.
struct Session {
    requests: Streaming<EncodeRequest>,
    inputs: mpsc::Sender<Input>,
    /// Why the channel does not take them any more.
    ended: oneshot::Receiver<Error>,
    replies: mpsc::Sender<Result<EncodeReply, Status>>,
    shutdown: CancellationToken,
}

impl Session {
    async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {
                let _ = self.replies.try_send(Err(Error::Unavailable.into()));
            }
            () = self.carry() => {}
        }
    }

    async fn carry(&mut self) {
        loop {
            let request = tokio::select! {
                request = self.requests.message() => request,
                () = self.inputs.closed() => return self.on_refused(),
            };
            let Ok(Some(EncodeRequest { kind: Some(kind) })) = request else {
                return;
            };
            match kind {
                encode_request::Kind::Fragment(fragment) => {
                    if self.inputs.send(Input::Fragment(fragment)).await.is_err() {
                        return self.on_refused();
                    }
                }
                encode_request::Kind::Close(_) => return self.on_close().await,
                encode_request::Kind::Open(_) => return,
            }
        }
    }

    /// The channel has another session, has refused a fragment, or stops before we do.
    fn on_refused(&mut self) {
        let unsaid = match self.shutdown.is_cancelled() {
            true => Error::Unavailable,
            false => Error::BadRequest("fragment refused"),
        };
        let refused = self.ended.try_recv().unwrap_or(unsaid);
        let _ = self.replies.try_send(Err(refused.into()));
    }

    async fn on_close(&mut self) {
        let (done, generations) = oneshot::channel();
        if self.inputs.send(Input::Close(done)).await.is_err() {
            return;
        }
        if let Ok(generations) = generations.await {
            let closed = encode_reply::Kind::Closed(Closed { generations });
            let _ = self.replies.try_send(Ok(reply(closed)));
        }
    }
}

/// Of which channel the session is, and the epoch that it had elsewhere.
async fn on_open(requests: &mut Streaming<EncodeRequest>) -> Result<(About, u64), Status> {
    let first = requests.message().await?.and_then(|request| request.kind);
    let Some(encode_request::Kind::Open(open)) = first else {
        return Err(Error::BadRequest("the first message is not open").into());
    };
    let message = open.channel.ok_or(Error::BadRequest("no channel"))?;
    let id = ChannelId::from_slice(&message.id)
        .map_err(|_| Error::BadRequest("channel id is not 16 bytes"))?;
    Ok((About { id, message }, open.after_epoch))
}

fn reply(kind: encode_reply::Kind) -> EncodeReply {
    EncodeReply { kind: Some(kind) }
}
