//! A new epoch: a fresh key, and the channel key's word for it from accounts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot::traces;
use proto::accounts::{CertifyEpochRequest, accounts_client::AccountsClient};
use stripe::{ChannelId, EpochCertificate, EpochSigner};
use tonic::{Request, transport::Channel};
use tracing::Span;

use crate::Error;

/// A call to accounts may take this long.
const DEADLINE: Duration = Duration::from_secs(2);

/// Makes a key and has it certified. Its number is later than `after`, whatever our clock
/// says: another encoder's may have been ahead.
pub(crate) async fn begin(
    mut accounts: AccountsClient<Channel>,
    channel: ChannelId,
    after: u64,
) -> Result<(EpochSigner, EpochCertificate), Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| Error::Randomness)?;
    let number = unix_us().max(after.saturating_add(1));
    let signer = EpochSigner::new(channel, number, &secret);
    let mut request = Request::new(CertifyEpochRequest {
        channel_id: bytes::Bytes::copy_from_slice(&channel.0),
        epoch: signer.epoch(),
        epoch_public_key: bytes::Bytes::copy_from_slice(&signer.public_key()),
    });
    traces::carry(&Span::current(), &mut request);
    let reply = tokio::time::timeout(DEADLINE, accounts.certify_epoch(request))
        .await
        .map_err(|_| Error::Accounts("no answer in time".to_owned()))?
        .map_err(|status| Error::Accounts(status.message().to_owned()))?
        .into_inner();
    let signature = reply.signature.as_ref().try_into();
    let certificate = EpochCertificate {
        channel,
        epoch: signer.epoch(),
        public_key: signer.public_key(),
        signature: signature.map_err(|_| Error::Accounts("no signature".to_owned()))?,
    };
    Ok((signer, certificate))
}

/// This machine's wall clock.
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
