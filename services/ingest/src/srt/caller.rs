//! One caller, from its conclusion to the end of its connection.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use media::ts::Reader;
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Instrument;

use super::{
    Doorway, Options,
    handshake::{Handshake, Terms},
    passphrase, reject,
    stream_id::stream_key,
    transport::{Agreed, End, Message, Transport, WINDOW},
};
use crate::{
    FLUSH_AFTER, LINGER, Shared, gate::Visitor, metrics, publication::Publication, refusal::Refusal,
};

/// The task's state.
pub(super) struct Caller {
    pub(super) remote: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
    /// What the caller sends; before it is accepted, its handshakes alone.
    pub(super) inbox: mpsc::Receiver<Bytes>,
    pub(super) doorway: Arc<Doorway>,
    pub(super) shared: Arc<Shared>,
    pub(super) options: Arc<Options>,
    pub(super) visitor: Visitor,
}

/// Messages between the connection and the publication: 0.3 s of 6 Mbit/s.
const MESSAGES: usize = 128;
/// The longest latency that a caller can ask for: what its packets may cost grows with it.
const MAX_LATENCY: Duration = Duration::from_secs(8);

impl Caller {
    /// Serves the caller whose conclusion this is; gives back where it was.
    pub(super) async fn run(mut self, conclusion: Bytes) -> SocketAddr {
        let remote = self.remote;
        let Some(handshake) = Handshake::read(&conclusion) else {
            return remote;
        };
        match self.admit(handshake).await {
            Ok((publication, agreed)) => self.carry(publication, agreed).await,
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "refusing");
                metrics::refused(&refusal);
                self.refuse(handshake, &refusal).await;
            }
        }
        remote
    }

    async fn admit(&mut self, handshake: Handshake<'_>) -> Result<(Publication, Agreed), Refusal> {
        let request = handshake.request().ok_or(Refusal::StreamId)?;
        let key = request.stream_id.as_deref().and_then(stream_key);
        let key = key.filter(|_| !request.streams).ok_or(Refusal::StreamId)?;
        if !self.shared.gate.may_try(&self.visitor) {
            return Err(Refusal::TooManyKeys);
        }
        let passphrase = self.options.passphrase.as_ref();
        let cipher = passphrase::cipher(passphrase, request.key_material.as_deref());
        if let Err(Refusal::WrongPassphrase) = &cipher {
            // Trying one costs us more than it costs the caller.
            self.shared.on_wrong_key(&self.visitor);
        }
        let cipher = cipher?;
        let admitted = self.shared.admit(&mut self.visitor, key.to_owned(), "srt");
        let publication = tokio::select! {
            () = self.shared.shutdown.cancelled() => return Err(Refusal::Stopping),
            admitted = admitted => admitted?,
        };
        let latency = request.latency.max(self.options.latency).min(MAX_LATENCY);
        let socket_id = new_socket_id();
        let terms = Terms {
            socket_id,
            latency,
            window: WINDOW,
            key_material: request.key_material.as_deref(),
        };
        let agreed = Agreed {
            remote: self.remote,
            caller_id: handshake.caller_id(),
            socket_id,
            first_sequence: handshake.first_sequence(),
            latency,
            cipher,
            acceptance: handshake.acceptance(&terms),
        };
        Ok((publication, agreed))
    }

    async fn carry(self, mut publication: Publication, agreed: Agreed) {
        let span = tracing::info_span!("publish", channel = publication.channel());
        self.doorway.open();
        let mut transport = Transport::new(agreed, self.socket, self.inbox);
        let (sender, messages) = mpsc::channel(MESSAGES);
        let mut reader = Reader::new();
        let carried = {
            let publishing = publish(&self.shared, &mut publication, &mut reader, messages);
            let publishing = publishing.instrument(span.clone());
            tokio::pin!(publishing);
            tokio::select! {
                end = transport.run(sender) => publishing.await.map(|()| end),
                refused = &mut publishing => refused.map(|()| End::Gone),
            }
        };
        transport.shut_down().await;
        let finish = async {
            publication.log_counts();
            let media::ts::Counts { damages, left_out } = reader.counts();
            tracing::info!(damages, left_out, "its transport stream");
            match carried {
                Ok(End::Shutdown) => _ = publication.close().await,
                // What came whole is shown; the encoder waits for the broadcaster's return.
                Ok(End::Gone) => _ = publication.flush().await,
                Err(refusal) => {
                    tracing::info!(reason = %refusal, "closing");
                    metrics::refused(&refusal);
                    _ = publication.flush().await;
                }
            }
        };
        finish.instrument(span).await;
    }

    /// Says why, and says it again for a while to a caller that has not heard.
    async fn refuse(mut self, handshake: Handshake<'_>, refusal: &Refusal) {
        let rejection = handshake.rejection(reject::reason(refusal));
        let until = Instant::now() + LINGER;
        loop {
            let _ = self.socket.try_send_to(&rejection, self.remote);
            match timeout_at(until, self.inbox.recv()).await {
                Ok(Some(_)) => {}
                _ => return,
            }
        }
    }
}

/// Gives the publication what the messages hold, until there are no more.
async fn publish(
    shared: &Shared,
    publication: &mut Publication,
    reader: &mut Reader,
    mut messages: mpsc::Receiver<Message>,
) -> Result<(), Refusal> {
    let revoked = publication.revoked();
    let mut heard = Instant::now();
    let mut flushed = false;
    loop {
        let idle_at = heard + shared.limits.idle;
        tokio::select! {
            () = shared.shutdown.cancelled() => return Err(Refusal::Stopping),
            () = revoked.cancelled() => return Err(Refusal::Revoked),
            orphaned = publication.orphaned() => {
                orphaned?;
                publication.inherit().await?;
            }
            () = sleep_until(heard + FLUSH_AFTER), if !flushed => {
                publication.flush().await?;
                flushed = true;
            }
            () = sleep_until(idle_at) => return Err(Refusal::Idle),
            message = messages.recv() => {
                let ended = message.is_none();
                match message {
                    Some(Message::Media(bytes)) => reader.push(&bytes),
                    Some(Message::Gap) => reader.on_gap(),
                    None => reader.finish(),
                }
                while let Some((stamp_ms, part)) = reader.poll()? {
                    publication.put(stamp_ms, part).await?;
                    heard = Instant::now();
                    flushed = false;
                }
                if ended {
                    return Ok(());
                }
            }
        }
    }
}

/// Any but zero, which callers send to before they know ours.
fn new_socket_id() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(()) as u32 & 0x3fff_ffff).max(1)
}
