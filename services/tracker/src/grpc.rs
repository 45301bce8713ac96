//! The face to our own services: seeders announce, accounts asks for figures. What each call
//! means stands in `tracker.proto`.

use std::{pin::Pin, time::Duration};

use overlay_core::tracker::{Grant, Role, stats};
use proto::tracker::{
    AnnounceReply, AnnounceRequest, StatsReply, StatsRequest, announce_request,
    tracker_server::{self, TrackerServer},
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::{
    Error, Service, figures,
    session::{Entry, Session},
    swarm::{Figures, Outgoing},
};

const FIGURES_DEADLINE: Duration = Duration::from_millis(900);
/// A tracker message and its envelope.
const MESSAGE_MAX: usize = overlay_core::wire::MAX_TRACKER_MESSAGE_LEN + 1024;

/// Serves gRPC until `shutdown`.
///
/// # Errors
/// Those of the transport.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let tls = service.0.tls.clone();
    let service = TrackerServer::new(service).max_decoding_message_size(MESSAGE_MAX);
    boot::grpc::serve(Routes::new(service), listener, &tls, shutdown).await
}

#[tonic::async_trait]
impl tracker_server::Tracker for Service {
    type AnnounceStream = Pin<Box<dyn Stream<Item = Result<AnnounceReply, Status>> + Send>>;

    async fn announce(
        &self,
        request: Request<Streaming<AnnounceRequest>>,
    ) -> Result<Response<Self::AnnounceStream>, Status> {
        let mut requests = request.into_inner();
        let opened = timeout(self.0.limits.join_within, opened(&mut requests));
        let (channel, name) = opened
            .await
            .map_err(|_| Status::deadline_exceeded("no open came in time"))??;
        let entry = Entry {
            channel,
            name: &name,
            grant: Grant {
                role: Role::Seeder,
                may_share: true,
                origin: None,
            },
        };
        let (session, queue) = Session::open(&self.0.swarms, entry, &self.0.limits).await?;
        let (ending, ended) = mpsc::channel(1);
        let shutdown = self.0.shutdown.clone();
        tokio::spawn(async move {
            let status = tokio::select! {
                status = take(session, requests) => status,
                () = shutdown.cancelled() => Some(Status::unavailable("the tracker is going away")),
                () = ending.closed() => None,
            };
            if let Some(status) = status {
                // There is one place and one message; a reader that is gone needs none.
                let _ = ending.try_send(Err(status));
            }
        });
        let said = ReceiverStream::new(queue).map(|outgoing| match outgoing {
            Outgoing::Message(message) => Ok(AnnounceReply { message }),
            Outgoing::Close(reason) => Err(Status::aborted(reason)),
        });
        let replies = said.merge(ReceiverStream::new(ended));
        Ok(Response::new(Box::pin(replies)))
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        self.ask(&request.into_inner().channel_name, Figures::Stats)
            .await
    }

    async fn swarm(&self, request: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        self.ask(&request.into_inner().channel_name, Figures::Picture)
            .await
    }
}

impl Service {
    async fn ask(&self, name: &str, which: Figures) -> Result<Response<StatsReply>, Status> {
        let json = match self.0.swarms.find(name) {
            Some(swarm) => swarm
                .send(which)
                .timeout(FIGURES_DEADLINE)
                .await
                .map_err(|_| Error::SwarmGone)?,
            None => nobody(which),
        };
        Ok(Response::new(StatsReply { json }))
    }
}

fn nobody(which: Figures) -> String {
    let stats = stats::Stats::default();
    match which {
        Figures::Stats => figures::stats(&stats),
        Figures::Picture => figures::picture(&stats, &stats::Picture::default()),
    }
}

async fn opened(requests: &mut Streaming<AnnounceRequest>) -> Result<([u8; 16], String), Status> {
    let first = requests.message().await?.and_then(|request| request.kind);
    let Some(announce_request::Kind::Open(open)) = first else {
        return Err(Status::invalid_argument("the first request must be open"));
    };
    let channel = open.channel.unwrap_or_default();
    let id = channel.id[..]
        .try_into()
        .map_err(|_| Status::invalid_argument("a channel's id has 16 bytes"))?;
    Ok((id, channel.name))
}

/// Feeds the session until the seeder leaves or breaks a rule. A seeder's silence is judged
/// by the connection's keep-alive.
async fn take(mut session: Session, mut requests: Streaming<AnnounceRequest>) -> Option<Status> {
    loop {
        match requests.message().await {
            Ok(Some(AnnounceRequest {
                kind: Some(announce_request::Kind::Message(bytes)),
            })) => {
                if let Err(ended) = session.on_bytes(&bytes).await {
                    tracing::warn!(reason = %ended, "a seeder's session ends");
                    return Some(Status::invalid_argument(ended.to_string()));
                }
            }
            Ok(Some(_)) => return Some(Status::invalid_argument("a message was due")),
            Ok(None) => return Some(Status::ok("the seeder left")),
            Err(_) => return None,
        }
    }
}
