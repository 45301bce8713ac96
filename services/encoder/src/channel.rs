//! One open channel: its epoch, its publisher if there is one, its seeders.

use std::{sync::Arc, time::Duration};

use boot::traces::Origin;
use bytes::Bytes;
use proto::{accounts, encoder::Fragment, seeder};
use stripe::{ChannelId, EpochCertificate};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    Error,
    epoch::{self, unix_us},
    feed,
    feeds::Feeds,
    generation::Assembler,
    metrics,
    registry::Shared,
};

/// The task that owns a channel while it is open.
pub(crate) struct Channel {
    shared: Arc<Shared>,
    about: About,
    publishes: mpsc::Receiver<Publish>,
    session: Option<Inputs>,
    broadcast: Option<Broadcast>,
    /// Cancelled when another encoder has begun a later epoch.
    superseded: CancellationToken,
    /// When nothing came for so long that waiting fragments are sealed, or that the
    /// broadcast is over.
    deadline: Instant,
}

/// What a channel is, as accounts says.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) id: ChannelId,
    pub(crate) message: accounts::Channel,
}

/// A session that wants to publish.
pub(crate) struct Publish {
    pub(crate) inputs: Inputs,
    /// The channel's epoch at an encoder that was lost, if there was one: ours is later.
    pub(crate) after_epoch: u64,
    pub(crate) reply: oneshot::Sender<Result<Opened, Error>>,
}

/// A session's fragments.
pub(crate) struct Inputs {
    /// Closed when the broadcaster is lost.
    pub(crate) received: mpsc::Receiver<Input>,
    /// Why the channel ends the session, when it does.
    pub(crate) verdict: oneshot::Sender<Error>,
    /// Its opening, in the broadcaster's trace.
    pub(crate) span: Span,
}

/// What a session is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// Where its timeline starts.
    pub(crate) base_us: u64,
    pub(crate) epoch: u64,
}

/// What a session sends.
pub(crate) enum Input {
    Fragment(Fragment),
    /// It is over; answered with the number of generations of the broadcast.
    Close(oneshot::Sender<u64>),
}

/// An epoch under way.
struct Broadcast {
    assembler: Assembler,
    certificate: EpochCertificate,
    /// Everything sealed, for the feeds. They begin with the first generation.
    ring: broadcast::Sender<seeder::Generation>,
    feeds: Option<Feeds>,
    /// Ends with the first generation.
    beginning: Option<Span>,
}

impl Broadcast {
    fn epoch(&self) -> u64 {
        self.certificate.epoch
    }
}

/// Fragments come every 100 ms: one that waited so long for company goes alone.
const LONELY: Duration = Duration::from_millis(400);

impl Channel {
    pub(crate) fn new(
        shared: Arc<Shared>,
        about: About,
        publishes: mpsc::Receiver<Publish>,
    ) -> Self {
        Self {
            shared,
            about,
            publishes,
            session: None,
            broadcast: None,
            superseded: CancellationToken::new(),
            deadline: Instant::now() + Duration::from_secs(5),
        }
    }

    pub(crate) async fn run(mut self) {
        let _level = metrics::channel();
        let shutdown = self.shared.shutdown.clone();
        let mut seeders = self.shared.seeders.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(publish) = self.publishes.recv() => self.on_publish(publish).await,
                input = next(&mut self.session) => self.on_input(input),
                () = seeders.changed() => self.renew_feeds(),
                () = self.superseded.cancelled() => self.on_superseded(),
                () = sleep_until(self.deadline) => {}
            }
            if Instant::now() >= self.deadline && self.on_deadline() {
                match self.shared.close(self.about.id, &mut self.publishes) {
                    Some(publish) => self.on_publish(publish).await,
                    None => return self.end(),
                }
            }
        }
        self.pause();
        self.release();
    }

    async fn on_publish(&mut self, mut publish: Publish) {
        if self.session.is_some() {
            let _ = publish.reply.send(Err(Error::AlreadyLive));
            return;
        }
        let after = publish.after_epoch;
        if self.broadcast.as_ref().is_some_and(|b| b.epoch() < after) {
            // It went on elsewhere meanwhile: viewers are there.
            self.forget();
        }
        let opened = match &mut self.broadcast {
            Some(broadcast) => Ok(broadcast),
            None => {
                let span = &publish.inputs.span;
                self.begin(after, span).instrument(span.clone()).await
            }
        };
        let opened = match opened {
            Ok(broadcast) => Opened {
                base_us: broadcast.assembler.begin_session(),
                epoch: broadcast.epoch(),
            },
            Err(error) => {
                tracing::warn!(channel = ?self.about.id, %error, "no epoch");
                let _ = publish.reply.send(Err(error));
                self.deadline = Instant::now();
                return;
            }
        };
        // Who stopped waiting for the answer has dropped its inputs as well.
        if publish.reply.send(Ok(opened)).is_ok() {
            let Opened { base_us, epoch } = opened;
            tracing::info!(channel = ?self.about.id, base_us, epoch, "publishing");
            // It is open: its opening ends here.
            publish.inputs.span = Span::none();
            self.session = Some(publish.inputs);
        }
        self.wait_lonely();
    }

    async fn begin(&mut self, after: u64, span: &Span) -> Result<&mut Broadcast, Error> {
        let (signer, certificate) =
            epoch::begin(self.shared.accounts.clone(), self.about.id, after).await?;
        let target_us = self.shared.config.generation.as_micros() as u64;
        let delay_ms = self.about.message.play_out_delay_ms;
        Ok(self.broadcast.insert(Broadcast {
            assembler: Assembler::new(signer, delay_ms, target_us),
            certificate,
            ring: broadcast::Sender::new(feed::QUEUE),
            feeds: None,
            beginning: Some(tracing::info_span!(parent: span, "first generation")),
        }))
    }

    /// Another encoder has the channel's broadcaster: ours is the second.
    fn on_superseded(&mut self) {
        tracing::warn!(channel = ?self.about.id, "another encoder has taken over");
        if let Some(session) = self.session.take() {
            // A session that is gone needs no reason.
            let _ = session.verdict.send(Error::Superseded);
        }
        self.forget();
        self.deadline = Instant::now();
    }

    /// Ends an epoch that nobody follows any more; what is left of it is given to nobody.
    fn forget(&mut self) {
        self.broadcast = None;
        self.superseded = CancellationToken::new();
    }

    fn on_input(&mut self, input: Option<Input>) {
        match input {
            Some(Input::Fragment(fragment)) => {
                let Some(broadcast) = &mut self.broadcast else {
                    return;
                };
                match broadcast.assembler.push(fragment) {
                    Ok(sealed) => self.give(sealed),
                    Err(error) => {
                        tracing::warn!(channel = ?self.about.id, %error, "session refused");
                        self.pause();
                    }
                }
                if self.session.is_some() {
                    self.wait_lonely();
                }
            }
            Some(Input::Close(done)) => {
                self.pause();
                let _ = done.send(self.sealed());
            }
            None => self.pause(),
        }
    }

    /// Whether the channel should be closed.
    fn on_deadline(&mut self) -> bool {
        if self.session.is_none() {
            return true;
        }
        let flushed = self.broadcast.as_mut().and_then(|b| b.assembler.flush());
        self.give(flushed);
        self.wait_lonely();
        false
    }

    /// The session, if there is one, is over; the channel waits for the next one.
    fn pause(&mut self) {
        if self.session.take().is_none() {
            return;
        }
        let paused = self
            .broadcast
            .as_mut()
            .and_then(|broadcast| broadcast.assembler.pause(unix_us()));
        self.give(paused);
        let begun = self
            .broadcast
            .as_ref()
            .is_some_and(|b| b.assembler.has_begun());
        let window = match begun {
            true => self.shared.config.return_window,
            false => Duration::ZERO,
        };
        tracing::info!(channel = ?self.about.id, sealed = self.sealed(), "publisher gone");
        self.deadline = Instant::now() + window;
    }

    /// Nobody came back. Dropping the ring ends the feeds once they have given all.
    fn end(mut self) {
        let ended = self
            .broadcast
            .as_mut()
            .and_then(|broadcast| broadcast.assembler.end(unix_us()));
        self.give(ended);
        self.release();
        tracing::info!(channel = ?self.about.id, sealed = self.sealed(), "broadcast ended");
    }

    fn give(&mut self, sealed: impl IntoIterator<Item = seeder::Generation>) {
        for generation in sealed {
            self.begin_feeds();
            metrics::sealed();
            if let Some(broadcast) = &mut self.broadcast {
                broadcast.beginning = None;
                // Without seeders nobody listens, which is no fault of the broadcast.
                let _ = broadcast.ring.send(generation);
            }
        }
    }

    /// With the broadcast's first generation.
    fn begin_feeds(&mut self) {
        let Some(broadcast) = self.broadcast.as_mut().filter(|b| b.feeds.is_none()) else {
            return;
        };
        let open = seeder::Open {
            channel: Some(self.about.message.clone()),
            epoch_certificate: Bytes::clone(&broadcast.certificate.to_bytes()),
        };
        let origin = broadcast.beginning.as_ref().map(Origin::of);
        let origin = origin.unwrap_or_default();
        let feeds = Feeds::new(open, broadcast.ring.clone(), origin);
        self.superseded = feeds.superseded();
        broadcast.feeds = Some(feeds);
        self.renew_feeds();
    }

    /// Seeders have come or gone.
    fn renew_feeds(&mut self) {
        let feeds = self.broadcast.as_mut().and_then(|b| b.feeds.as_mut());
        if let Some(feeds) = feeds {
            feeds.renew(&self.shared.seeders.all(), &self.shared);
        }
    }

    /// Lets the feeds give what they have when this is gone.
    fn release(&mut self) {
        let feeds = self.broadcast.as_mut().and_then(|b| b.feeds.take());
        if let Some(feeds) = feeds {
            feeds.release();
        }
    }

    fn wait_lonely(&mut self) {
        self.deadline = Instant::now() + LONELY;
    }

    fn sealed(&self) -> u64 {
        self.broadcast.as_ref().map_or(0, |b| b.assembler.sealed())
    }
}

/// The session's next input; never, while there is no session.
async fn next(session: &mut Option<Inputs>) -> Option<Input> {
    match session {
        Some(inputs) => inputs.received.recv().await,
        None => std::future::pending().await,
    }
}
