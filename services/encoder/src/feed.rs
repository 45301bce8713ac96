//! Gives one seeder a channel's generations, for as long as the channel lives.
//!
//! The one rule: a seeder that is slow or away costs the others nothing. The queue is a
//! ring: the oldest generations are dropped, and counted.

use std::time::Duration;

use boot::{grpc::Remote, tls::Tls, traces::Origin};
use proto::{
    access::Role,
    seeder::{Generation, Open, SeedRequest, seed_request::Kind, seeder_client::SeederClient},
};
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{Error, metrics};

/// Generations that wait for a seeder: 6 s, three times the play-out delay.
pub(crate) const QUEUE: usize = 32;
/// Generations that HTTP/2 has taken but not sent.
const UNDER_WAY: usize = 2;
/// A seeder that takes nothing for so long is connected to anew.
const STALLED: Duration = Duration::from_secs(5);
/// The last generations of a broadcast must be taken within this.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often a seeder that is away is tried when the broadcast has ended.
const GOODBYES: u32 = 5;
/// A seeder that is gone is noticed within ten seconds: viewers hang on it.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// One seeder's feed.
pub(crate) struct Feed {
    open: Open,
    /// Of the first call alone: what comes later did not begin the broadcast.
    origin: Origin,
    generations: broadcast::Receiver<Generation>,
    /// Taken from the ring, not yet given to the seeder.
    next: Option<Generation>,
    dropped: u64,
}

/// Why a call ended.
enum Ended {
    /// All is delivered and no more will come.
    Done,
    /// The seeder is gone, or refuses, or is stuck.
    Broken(Option<Status>),
}

impl Feed {
    pub(crate) fn new(
        (open, origin): (Open, Origin),
        generations: broadcast::Receiver<Generation>,
    ) -> Self {
        Self {
            open,
            origin,
            generations,
            next: None,
            dropped: 0,
        }
    }

    /// Runs until the channel's ring is closed and all of it given, or the seeder is away
    /// then; or until the seeder has a later epoch of the channel, of which it tells.
    pub(crate) async fn run(mut self, seeder: Remote, superseded: CancellationToken) {
        let _level = metrics::feed();
        let mut backoff = BACKOFF_MIN;
        let mut goodbyes = 0;
        loop {
            let began = Instant::now();
            // Connected first, so that nothing is given to a seeder that is away.
            if let Ok(connected) = seeder.connect().await {
                match self.call(connected).await {
                    Ended::Done => return,
                    Ended::Broken(Some(status)) if status.code() == Code::FailedPrecondition => {
                        tracing::info!("another encoder has taken over");
                        superseded.cancel();
                        return;
                    }
                    Ended::Broken(Some(status)) => {
                        let (code, reason) = (status.code(), status.message());
                        tracing::warn!(?code, reason, "seeder lost");
                    }
                    Ended::Broken(None) => tracing::warn!("seeder stuck"),
                }
                metrics::broke();
            }
            goodbyes += u32::from(self.generations.is_closed());
            if goodbyes > GOODBYES {
                tracing::warn!("a seeder was away when the broadcast ended");
                return;
            }
            if began.elapsed() > BACKOFF_MAX {
                backoff = BACKOFF_MIN;
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn call(&mut self, seeder: Channel) -> Ended {
        let mut client = SeederClient::new(seeder)
            .max_encoding_message_size(boot::grpc::MESSAGE_MAX)
            .max_decoding_message_size(boot::grpc::MESSAGE_MAX);
        let (requests, stream) = mpsc::channel(UNDER_WAY);
        let open = request(Kind::Open(self.open.clone()));
        // The queue is new: there is room.
        let _ = requests.try_send(open);
        let mut seed = Request::new(ReceiverStream::new(stream));
        std::mem::take(&mut self.origin).carry(&mut seed);
        let call = client.seed(seed);
        tokio::pin!(call);
        loop {
            tokio::select! {
                ended = &mut call => return Ended::Broken(ended.err()),
                more = self.give(&requests) => match more {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(()) => return Ended::Broken(None),
                },
            }
        }
        drop(requests);
        match timeout(GOODBYE, call).await {
            Ok(Ok(_)) => Ended::Done,
            Ok(Err(status)) => Ended::Broken(Some(status)),
            Err(_) => Ended::Broken(None),
        }
    }

    /// Gives one generation; `false` when there will be no more. What could not be given
    /// stays for the next call.
    async fn give(&mut self, requests: &mpsc::Sender<SeedRequest>) -> Result<bool, ()> {
        while self.next.is_none() {
            match self.generations.recv().await {
                Ok(generation) => self.next = Some(generation),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.dropped += count;
                    metrics::dropped(count);
                    tracing::warn!(count, "generations dropped: seeder is too slow or away");
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(false),
            }
        }
        let permit = timeout(STALLED, requests.reserve()).await;
        let permit = permit.map_err(|_| ())?.map_err(|_| ())?;
        if let Some(generation) = self.next.take() {
            permit.send(request(Kind::Generation(generation)));
        }
        Ok(true)
    }
}

fn request(kind: Kind) -> SeedRequest {
    SeedRequest { kind: Some(kind) }
}

/// How a seeder is reached.
///
/// # Errors
/// When `url` is none.
pub(crate) fn remote(url: &str, tls: &Tls) -> Result<Remote, Error> {
    Ok(Remote::new(url, Role::Seeder, tls)?.keep_alive_every(KEEP_ALIVE_EVERY))
}
