//! The face to the other services. What each call means stands in `accounts.proto`.

use boot::traces;
use proto::{
    accounts::{
        self as wire, AuthorizeReply, AuthorizeRequest, CertifyEpochReply, CertifyEpochRequest,
        RevokedReply, RevokedRequest, StreamKey, TicketKeyReply, TicketKeyRequest,
        accounts_server::AccountsServer,
    },
    registry::registry_server::RegistryServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use tracing::Instrument;

use crate::{Accounts, Channel, Error, Publisher};

/// The requests are small; a larger one is no request of ours.
const MESSAGE_MAX: usize = 16 << 10;

/// Serves gRPC until `shutdown`.
///
/// # Errors
/// Those of the transport.
pub async fn serve(
    accounts: Accounts,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let tls = accounts.0.tls.clone();
    let registry = RegistryServer::new(accounts.clone()).max_decoding_message_size(MESSAGE_MAX);
    let service = AccountsServer::new(accounts).max_decoding_message_size(MESSAGE_MAX);
    let routes = Routes::new(service).add_service(registry);
    boot::grpc::serve(routes, listener, &tls, shutdown).await
}

#[tonic::async_trait]
impl wire::accounts_server::Accounts for Accounts {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeReply>, Status> {
        let span = tracing::info_span!("authorize");
        traces::follow(&span, &request);
        let request = request.into_inner();
        let found = Self::authorize(self, &request.stream_key).instrument(span);
        let Publisher { channel, key_id } = found.await?;
        tracing::info!(channel = %channel.name, protocol = protocol(&request), "publisher authorised");
        Ok(Response::new(AuthorizeReply {
            channel: Some(to_wire(&channel)),
            key_id,
        }))
    }

    async fn revoked(
        &self,
        request: Request<RevokedRequest>,
    ) -> Result<Response<RevokedReply>, Status> {
        let mut keys = request.into_inner().keys;
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let good = self.good_keys(&ids).await?;
        let is = |key: &StreamKey, (id, channel): &(i64, [u8; 16])| {
            key.id == *id && key.channel_id == channel[..]
        };
        keys.retain(|key| !good.iter().any(|good| is(key, good)));
        Ok(Response::new(RevokedReply { keys }))
    }

    async fn certify_epoch(
        &self,
        request: Request<CertifyEpochRequest>,
    ) -> Result<Response<CertifyEpochReply>, Status> {
        let span = tracing::info_span!("certify epoch");
        traces::follow(&span, &request);
        let request = request.into_inner();
        let key: &[u8; 32] = request.epoch_public_key[..]
            .try_into()
            .map_err(|_| Error::Invalid("an epoch key has 32 bytes"))?;
        let found = self.channel_by_id(&request.channel_id).instrument(span);
        let channel = found.await?;
        tracing::info!(channel = %channel.name, epoch = request.epoch, "epoch certified");
        Ok(Response::new(CertifyEpochReply {
            signature: channel.certify(request.epoch, key).to_vec().into(),
        }))
    }

    async fn ticket_key(
        &self,
        _: Request<TicketKeyRequest>,
    ) -> Result<Response<TicketKeyReply>, Status> {
        Ok(Response::new(TicketKeyReply {
            public_key: self.ticket_key().to_vec().into(),
        }))
    }
}

/// What a stranger typed does not reach the log unless it is one of our words.
fn protocol(request: &AuthorizeRequest) -> &'static str {
    match request.protocol.as_str() {
        "rtmp" => "rtmp",
        "srt" => "srt",
        _ => "other",
    }
}

fn to_wire(channel: &Channel) -> wire::Channel {
    wire::Channel {
        id: channel.id.to_vec().into(),
        name: channel.name.to_string(),
        public_key: channel.public_key().to_vec().into(),
        play_out_delay_ms: channel.play_out_delay_ms,
    }
}
