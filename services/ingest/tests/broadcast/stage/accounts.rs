//! accounts, as far as ingest and encoder ask it: one channel, one key.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use proto::accounts::{
    AuthorizeReply, AuthorizeRequest, CertifyEpochReply, CertifyEpochRequest, Channel,
    RevokedReply, RevokedRequest, StreamKey, TicketKeyReply, TicketKeyRequest,
    accounts_server::Accounts,
};
use stripe::EpochCertificate;
use tonic::{Request, Response, Status};

use super::{CHANNEL, CHANNEL_SECRET, KEY, PLAY_OUT_DELAY_MS};

const KEY_ID: i64 = 7;

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct AccountsDouble {
    /// How many keys it was asked about.
    pub(super) authorizations: Arc<Mutex<u32>>,
    pub(super) key: Arc<Mutex<KeyState>>,
}

/// What it says of the key when it is asked whether it is still good.
#[derive(Clone, Copy, Default)]
pub(crate) enum KeyState {
    #[default]
    Good,
    Revoked,
    /// Nothing: the database is away.
    Unknown,
}

#[tonic::async_trait]
impl Accounts for AccountsDouble {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeReply>, Status> {
        *self.authorizations.lock().expect("as the test made it") += 1;
        if request.into_inner().stream_key != KEY {
            return Err(Status::unauthenticated("unknown stream key"));
        }
        let public_key = SigningKey::from_bytes(&CHANNEL_SECRET).verifying_key();
        Ok(Response::new(AuthorizeReply {
            channel: Some(Channel {
                id: Bytes::copy_from_slice(&CHANNEL.0),
                name: "demo".to_owned(),
                public_key: Bytes::copy_from_slice(public_key.as_bytes()),
                play_out_delay_ms: PLAY_OUT_DELAY_MS,
            }),
            key_id: KEY_ID,
        }))
    }

    async fn revoked(
        &self,
        request: Request<RevokedRequest>,
    ) -> Result<Response<RevokedReply>, Status> {
        let keys = request.into_inner().keys;
        let ours = |key: &StreamKey| key.id == KEY_ID && key.channel_id == CHANNEL.0[..];
        assert!(keys.iter().all(ours), "{keys:?}");
        let keys = match *self.key.lock().expect("as the test made it") {
            KeyState::Good => vec![],
            KeyState::Revoked => keys,
            KeyState::Unknown => return Err(Status::unavailable("the database is away")),
        };
        Ok(Response::new(RevokedReply { keys }))
    }

    async fn ticket_key(
        &self,
        _: Request<TicketKeyRequest>,
    ) -> Result<Response<TicketKeyReply>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn certify_epoch(
        &self,
        request: Request<CertifyEpochRequest>,
    ) -> Result<Response<CertifyEpochReply>, Status> {
        let request = request.into_inner();
        let epoch_key = request
            .epoch_public_key
            .as_ref()
            .try_into()
            .expect("as the test made it");
        let signed = EpochCertificate::signed_bytes(CHANNEL, request.epoch, epoch_key);
        let signature = SigningKey::from_bytes(&CHANNEL_SECRET).sign(&signed);
        Ok(Response::new(CertifyEpochReply {
            signature: Bytes::copy_from_slice(&signature.to_bytes()),
        }))
    }
}
