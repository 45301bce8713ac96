//! Asks accounts about a stream key.

use std::time::Duration;

use boot::traces;
use proto::accounts::{AuthorizeReply, AuthorizeRequest, Channel, accounts_client::AccountsClient};
use tokio::time::timeout;
use tonic::{Request, transport};
use tracing::Span;

use crate::refusal::Refusal;

/// accounts may take this long.
const DEADLINE: Duration = Duration::from_secs(2);

/// The channel that the key's holder may publish on, and what accounts calls the key.
pub(crate) async fn authorize(
    accounts: transport::Channel,
    stream_key: String,
    protocol: &str,
) -> Result<(Channel, i64), Refusal> {
    let mut request = Request::new(AuthorizeRequest {
        stream_key,
        protocol: protocol.to_owned(),
    });
    traces::carry(&Span::current(), &mut request);
    let reply = timeout(DEADLINE, AccountsClient::new(accounts).authorize(request))
        .await
        .map_err(|_| Refusal::Away("the account service"))?
        .map_err(|status| Refusal::from_accounts(&status))?;
    let AuthorizeReply { channel, key_id } = reply.into_inner();
    let channel = channel.ok_or(Refusal::Away("the account service"))?;
    Ok((channel, key_id))
}
